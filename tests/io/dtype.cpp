// Tests of io/dtype.hpp: names, sizes, and the two 16-bit float formats.
// SPDX-License-Identifier: MIT
#include <mta/io/dtype.hpp>

#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <mta/core/random.hpp>
#include <mta/io/safetensors.hpp>
#include <string>

namespace mta_test_dtype {
using namespace mta::io;

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr std::uint16_t sign_bit = 0x8000;

/// Independent of the library: a 16-bit format's number, from its definition.
double meaning(std::uint16_t bits, int exponent_bits) {
    const int mantissa_bits = 15 - exponent_bits;
    const int exponent = (bits >> mantissa_bits) & ((1 << exponent_bits) - 1);
    const int mantissa = bits & ((1 << mantissa_bits) - 1);
    const int bias = (1 << (exponent_bits - 1)) - 1;
    const double sign = (bits & sign_bit) != 0 ? -1 : 1;
    if (exponent == (1 << exponent_bits) - 1) return mantissa != 0 ? std::nan("") : sign * infinity;
    if (exponent == 0) return sign * std::ldexp(mantissa, 1 - bias - mantissa_bits);
    return sign * std::ldexp(mantissa + (1 << mantissa_bits), exponent - bias - mantissa_bits);
}

/// NaN equals NaN, 0 differs from -0.
bool same_number(double a, double b) {
    return std::isnan(a) ? std::isnan(b) : a == b && std::signbit(a) == std::signbit(b);
}

/// Checks one finite double against the two neighbours in a format: nearest, and at a tie the even one.
template <class Narrow>
bool rounds_to_nearest_even(double x, int exponent_bits, Narrow narrow) {
    const std::uint16_t infinite =
        static_cast<std::uint16_t>(((1 << exponent_bits) - 1) << (15 - exponent_bits));
    const std::uint16_t bits = narrow(x);
    const auto magnitude = static_cast<std::uint16_t>(bits & ~sign_bit);
    if (std::signbit(x) != ((bits & sign_bit) != 0) || magnitude >= infinite) return false;
    const double error = std::abs(std::abs(x) - meaning(magnitude, exponent_bits));
    for (const int step : {-1, 1}) {
        const auto neighbour = static_cast<std::uint16_t>(magnitude + step);
        if (neighbour >= infinite) continue;  // below 0 wraps round, and no test value is near infinity
        const double other = std::abs(std::abs(x) - meaning(neighbour, exponent_bits));
        if (other < error || (other == error && magnitude % 2 != 0)) return false;
    }
    return true;
}

const SafetensorsFile& rounding() {
    static const SafetensorsFile file =
        read_safetensors(std::string(MTA_TEST_DATA) + "/io/rounding.safetensors");
    return file;
}

/// Elements of a fixture tensor as numbers and, for 16-bit types, as bits.
template <class Float>
mta::Tensor<Float, 1> numbers(const char* name) {
    return to_tensor<Float, 1>(rounding(), name);
}
std::uint16_t bits_of(const char* name, mta::Index n) {
    return detail::element_bits<std::uint16_t>(rounding().at(name), static_cast<std::size_t>(n));
}

}  // namespace

TEST_CASE("hand values: names and sizes") {
    CHECK(dtype_name(DType::F64) == "F64");
    CHECK(dtype_name(DType::BF16) == "BF16");
    CHECK(dtype_name(DType::BOOL) == "BOOL");
    CHECK(dtype_size(DType::F64) == 8);
    CHECK(dtype_size(DType::F32) == 4);
    CHECK(dtype_size(DType::F16) == 2);
    CHECK(dtype_size(DType::BF16) == 2);
    CHECK(dtype_size(DType::I64) == 8);
    CHECK(dtype_size(DType::I32) == 4);
    CHECK(dtype_size(DType::U8) == 1);
    CHECK(dtype_size(DType::BOOL) == 1);
    CHECK(is_floating(DType::BF16));
    CHECK_FALSE(is_floating(DType::I32));
    for (const DType dtype : all_dtypes)
        CHECK(dtype_of_name(dtype_name(dtype)) == dtype);
}

TEST_CASE("hand values: binary16") {
    CHECK(to_half(1.0) == 0x3c00);
    CHECK(to_half(-2.0f) == 0xc000);
    CHECK(to_half(0.1) == 0x2e66);
    CHECK(to_half(65504.0) == 0x7bff);   // the largest
    CHECK(to_half(65519.99) == 0x7bff);  // just below half a unit above it
    CHECK(to_half(65520.0) == 0x7c00);   // the tie goes to the even side, infinity
    CHECK(to_half(1e300) == 0x7c00);
    CHECK(to_half(-infinity) == 0xfc00);
    CHECK(to_half(-0.0) == 0x8000);
    CHECK(to_half(0x1p-14) == 0x0400);  // the smallest normal number
    CHECK(to_half(0x1p-24) == 0x0001);  // the smallest subnormal
    CHECK(to_half(0x1p-25) == 0x0000);  // a tie between 0 and it
    CHECK(to_half(0x1.0000000000001p-25) == 0x0001);
    CHECK(to_half(0x1.8p-24) == 0x0002);    // a tie between two subnormals
    CHECK(to_half(0x1.ffcp-15) == 0x0400);  // rounds up from the subnormals to the smallest normal number
    CHECK(to_half(1 + 0x1p-11) == 0x3c00);
    CHECK(to_half(1 + 0x3p-11) == 0x3c02);
    CHECK(to_half(2 - 0x1p-12) == 0x4000);  // the carry runs into the exponent
    CHECK(to_half(std::numeric_limits<double>::denorm_min()) == 0x0000);
    CHECK(from_half<double>(0x3555) == 0x1.554p-2);
    CHECK(from_half<float>(0x03ff) == 0x3ffp-24f);
}

TEST_CASE("hand values: double is rounded once") {
    // Through float this would round up to the tie first, and from there to even.
    const double just_below_tie = 1 + 0x3p-11 - 0x1p-40;
    CHECK(to_half(just_below_tie) == 0x3c01);
    CHECK(to_half(static_cast<float>(just_below_tie)) == 0x3c02);
    const double just_above_tie = 1 + 0x1p-8 + 0x1p-40;
    CHECK(to_bfloat16(just_above_tie) == 0x3f81);
    CHECK(to_bfloat16(static_cast<float>(just_above_tie)) == 0x3f80);
}

TEST_CASE("hand values: bfloat16") {
    CHECK(to_bfloat16(1.0f) == 0x3f80);
    CHECK(to_bfloat16(3.141592653589793) == 0x4049);
    CHECK(to_bfloat16(std::numeric_limits<float>::max()) == 0x7f80);
    CHECK(to_bfloat16(std::numeric_limits<float>::denorm_min()) == 0x0000);
    CHECK(to_bfloat16(0x1p-133) == 0x0001);   // the smallest subnormal, from double
    CHECK(to_bfloat16(0x1p-133f) == 0x0001);  // and from a float that is subnormal too
    CHECK(to_bfloat16(0x1.ffp-127f) == 0x0080);
    CHECK(to_bfloat16(1e300) == 0x7f80);
    CHECK(from_bfloat16<double>(0x0001) == 0x1p-133);
    CHECK(from_bfloat16<float>(0xc049) == -3.140625f);
}

TEST_CASE("hand values: NaN keeps its sign and never becomes infinity") {
    const double low_payload = std::bit_cast<double>(std::uint64_t{0xfff0000000000001});
    CHECK(to_half(low_payload) == 0xfc01);
    CHECK(to_bfloat16(low_payload) == 0xff81);
    CHECK(to_half(std::bit_cast<float>(std::uint32_t{0x7f800001})) == 0x7c01);
    CHECK(to_half(std::numeric_limits<float>::quiet_NaN()) == 0x7e00);
    CHECK(to_bfloat16(std::numeric_limits<double>::quiet_NaN()) == 0x7fc0);
}

TEST_CASE("independent values: NumPy's binary16 and PyTorch's bfloat16") {
    const auto f64 = numbers<double>("f64");
    const auto f32 = numbers<float>("f32");
    REQUIRE(f64.size() > 500);
    REQUIRE(f32.size() > 500);
    for (mta::Index n = 0; n < f64.size(); ++n) {
        CAPTURE(f64(n));
        CHECK(to_half(f64(n)) == bits_of("f64_as_f16", n));
    }
    for (mta::Index n = 0; n < f32.size(); ++n) {
        CAPTURE(f32(n));
        CHECK(to_half(f32(n)) == bits_of("f32_as_f16", n));
        CHECK(to_bfloat16(f32(n)) == bits_of("f32_as_bf16", n));
    }
}

TEST_CASE("properties: all 65536 values of both formats widen exactly and come back with the same bits") {
    int wrong = 0;
    for (std::uint32_t n = 0; n < 65536; ++n) {
        const auto bits = static_cast<std::uint16_t>(n);
        wrong += !same_number(from_half<double>(bits), meaning(bits, 5));
        wrong += !same_number(from_half<float>(bits), meaning(bits, 5));
        wrong += !same_number(from_bfloat16<double>(bits), meaning(bits, 8));
        wrong += !same_number(from_bfloat16<float>(bits), meaning(bits, 8));
        wrong += to_half(from_half<double>(bits)) != bits;
        wrong += to_half(from_half<float>(bits)) != bits;
        wrong += to_bfloat16(from_bfloat16<double>(bits)) != bits;
        wrong += to_bfloat16(from_bfloat16<float>(bits)) != bits;
    }
    CHECK(wrong == 0);
}

TEST_CASE("properties: random doubles and exact ties go to the nearest value, ties to the even one") {
    mta::Random random(20250401);
    const auto half = [](double x) { return to_half(x); };
    const auto bfloat16 = [](double x) { return to_bfloat16(x); };
    for (int n = 0; n < 20000; ++n) {
        const double sign = n % 2 == 0 ? 1 : -1;
        const double fraction = 1 + random.uniform();
        const double x =
            sign * std::ldexp(fraction, n % 45 - 30);  // 2^-30 to 2^15: subnormals and below included
        REQUIRE_MESSAGE(rounds_to_nearest_even(x, 5, half), x);
        const double y = sign * std::ldexp(fraction, n % 260 - 140);
        REQUIRE_MESSAGE(rounds_to_nearest_even(y, 8, bfloat16), y);
    }
    for (std::uint16_t bits = 0; bits < 0x7bff; bits = static_cast<std::uint16_t>(bits + 1)) {
        const auto next = static_cast<std::uint16_t>(bits + 1);
        REQUIRE(rounds_to_nearest_even((meaning(bits, 5) + meaning(next, 5)) / 2, 5, half));
        REQUIRE(rounds_to_nearest_even((meaning(bits, 8) + meaning(next, 8)) / 2, 8, bfloat16));
    }
}

TEST_CASE("errors: an unknown name is no type") {
    for (const char* name : {"", "F8", "f32", "F32 ", "I16", "U64", "BOOLEAN"})
        CHECK_FALSE(dtype_of_name(name));
}
}  // namespace mta_test_dtype
