// Rounding profiles and the arithmetic that follows them: hand values, bounds, errors.
// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <mta/oracle/rounding.hpp>

namespace mta_test_rounding {
using namespace mta;
using namespace mta::oracle;

namespace {

constexpr std::array all_precisions{Precision::fp64, Precision::fp32, Precision::tf32, Precision::bf16,
                                    Precision::fp16};

}  // namespace

TEST_CASE("round_to: hand values, ties to even, subnormals and infinity") {
    CHECK(round_to(Precision::fp64, 0.1) == 0.1);
    CHECK(round_to(Precision::fp32, 0.1) == static_cast<double>(0.1F));
    CHECK(round_to(Precision::bf16, 1 + 0x1p-8) == 1);           // a tie: the even neighbour is below
    CHECK(round_to(Precision::bf16, 1 + 0x3p-8) == 1 + 0x1p-6);  // a tie: the even neighbour is above
    CHECK(round_to(Precision::tf32, 1 + 0x1p-11) == 1);
    CHECK(round_to(Precision::tf32, 1 + 0x1.1p-11) == 1 + 0x1p-10);
    CHECK(round_to(Precision::tf32, 1e30) != INFINITY);  // the exponent of float
    CHECK(round_to(Precision::fp16, 65520) == INFINITY);
    CHECK(round_to(Precision::fp16, 65519) == 65504);
    CHECK(round_to(Precision::fp16, 0x1p-25) == 0);
    CHECK(round_to(Precision::fp16, 0x1.8p-25) == 0x1p-24);
    for (const Precision p : all_precisions) {
        CHECK(std::signbit(round_to(p, -0.0)));
        CHECK(std::isnan(round_to(p, NAN)));
        CHECK(round_to(p, -INFINITY) == -INFINITY);
    }
}

TEST_CASE("unit_roundoff: a bound on the relative error of rounding, and reached") {
    Random random(1);
    for (const Precision p : all_precisions) {
        double worst = 0;
        for (int n = 0; n < 4000; ++n) {
            const double x = random.uniform(1, 2);
            worst = std::max(worst, std::abs(round_to(p, x) - x) / x);
        }
        CHECK(worst <= unit_roundoff(p));
        if (p != Precision::fp64) CHECK(worst > 0.9 * unit_roundoff(p));
    }
    CHECK(unit_roundoff(Precision::bf16) == 0x1p-8);
    CHECK(unit_roundoff(Precision::fp16) == 0x1p-11);
    CHECK(unit_roundoff(Precision::fp32) == 0x1p-24);
}

TEST_CASE("dtypes and precisions name each other") {
    for (const auto dtype : {io::DType::F64, io::DType::F32, io::DType::BF16, io::DType::F16})
        CHECK(dtype_of(precision_of(dtype)) == dtype);
    CHECK(dtype_of(Precision::tf32) == io::DType::F32);
}

TEST_CASE("parse_rounding: presets, pairs, defaults, and back again") {
    for (const auto& preset : oracle::detail::rounding_presets()) {
        CHECK(parse_rounding(preset.name) == preset.profile);
        CHECK(describe(preset.profile) == preset.name);
    }
    CHECK(describe(parse_rounding("io=bf16 acc=fp32 p=bf16 lse=fp32")) == "bf16-flash");
    const auto custom = parse_rounding("lse=bf16,acc=fp64 io=fp16");
    CHECK(custom.io == Precision::fp16);
    CHECK(custom.outputs == Precision::fp16);   // as io
    CHECK(custom.multiply == Precision::fp64);  // operands are not rounded
    CHECK(custom.accumulate == Precision::fp64);
    CHECK(custom.scores == Precision::fp64);  // as acc
    CHECK(custom.weights == Precision::fp64);
    CHECK(custom.lse == Precision::bf16);
    Random random(2);
    for (int n = 0; n < 100; ++n) {
        const auto any = [&] { return all_precisions[random.below(5)]; };
        const RoundingProfile p{any(), any(), any(), any(), any(), any(), any()};
        CHECK(parse_rounding(describe(p)) == p);
    }
}

TEST_CASE("parse_rounding: errors name what is known") {
    const auto says = [](std::string_view text, const char* expected) {
        CAPTURE(text);
        CHECK_THROWS_WITH_AS(parse_rounding(text), expected, ConfigError);
    };
    says("", "rounding: got an empty text, expected a preset or io=... acc=...");
    says(" , ", "rounding: got an empty text, expected a preset or io=... acc=...");
    says("bf16-flsh", "rounding: got 'bf16-flsh', the nearest known is 'bf16-flash'");
    says("ios=bf16", "rounding: got 'ios=bf16', the nearest known is 'io'");
    says("io=bf61", "rounding: io: got 'bf61', the nearest known is 'bf16'");
    says("io=", "rounding: io: got '', expected one of fp64, fp32, tf32, bf16, fp16");
    says("bf16",
         "rounding: got 'bf16', expected one of fp64, fp32, tf32, bf16-flash, fp16-flash, bf16-eager, "
         "fp16-eager, or pairs io=... acc=...");
    says("x=bf16", "rounding: got 'x=bf16', expected one of io, mul, acc, s, p, o, lse");
    says("io=bf16 io=bf16", "rounding: io: got it twice, expected it once");
}

TEST_CASE("Arithmetic: exact changes nothing") {
    auto a = Arithmetic::exact();
    CHECK(a.is_exact());
    CHECK(a.stored(Precision::bf16, 0.1) == 0.1);
    Arithmetic::Sum sum;
    a.add(sum, 0.1, 0.2);
    a.add(sum, 0.3, 0.4);
    CHECK(a.finish(sum) == 0.1 * 0.2 + 0.3 * 0.4);
}

TEST_CASE("Arithmetic: rounded sums are those of a loop in that type") {
    Random random(3);
    for (int run = 0; run < 50; ++run) {
        auto a = Arithmetic::rounded(parse_rounding("fp32"));
        auto half = Arithmetic::rounded(parse_rounding("io=fp16 acc=fp16"));
        Arithmetic::Sum sum, half_sum;
        float want = 0;
        double half_want = 0;
        for (int n = 0; n < 40; ++n) {
            const auto x = static_cast<float>(random.uniform(-1, 1)),
                       y = static_cast<float>(random.uniform());
            a.add(sum, x, y);
            half.add(half_sum, x, y);
            want += x * y;
            const double term = round_to(Precision::fp16, static_cast<double>(x) * static_cast<double>(y));
            half_want = round_to(Precision::fp16, half_want + term);
        }
        CHECK(a.finish(sum) == static_cast<double>(want));
        CHECK(half.finish(half_sum) == half_want);
        Arithmetic::Sum merged = sum;
        a.merge(merged, sum);
        CHECK(a.finish(merged) == static_cast<double>(want + want));
        CHECK(a.stored(Precision::bf16, want) == round_to(Precision::bf16, want));
    }
}

TEST_CASE("Arithmetic: perturbed numbers stay within half a unit, differ by seed, repeat with it") {
    const auto profile = parse_rounding("bf16-flash");
    double low = 0, high = 0;
    for (std::uint64_t seed = 0; seed < 200; ++seed) {
        auto a = Arithmetic::perturbed(profile, seed), again = Arithmetic::perturbed(profile, seed);
        const double moved = a.stored(Precision::bf16, 3) / 3 - 1;
        CHECK(again.stored(Precision::bf16, 3) / 3 - 1 == moved);
        low = std::min(low, moved), high = std::max(high, moved);
        CHECK(a.stored(Precision::fp64, 3) == 3);
        auto wide = Arithmetic::perturbed(profile, seed, 2);
        CHECK(wide.stored(Precision::bf16, 3) / 3 - 1 == doctest::Approx(2 * moved).epsilon(1e-12));
    }
    const double u = unit_roundoff(Precision::bf16);
    CHECK(low >= -u);
    CHECK(high <= u);
    CHECK(low < -0.9 * u);
    CHECK(high > 0.9 * u);
}

TEST_CASE("Arithmetic: a sum that cancels is perturbed by the size of its terms and partial sums") {
    double spread = 0, merged_spread = 0;
    for (std::uint64_t seed = 0; seed < 200; ++seed) {
        auto a = Arithmetic::perturbed(parse_rounding("fp32"), seed);
        Arithmetic::Sum sum, part;
        a.add(sum, 1, 1000);
        a.add(part, 1, -1000);
        a.merge(sum, part);
        merged_spread = std::max(merged_spread, std::abs(a.finish(sum)));
        Arithmetic::Sum one;
        a.add(one, 1, 1000);
        a.add(one, 1, -1000);
        spread = std::max(spread, std::abs(a.finish(one)));
    }
    // Squares: two terms and one partial sum of 1000; merged, two partial sums.
    const double u = 1000 * unit_roundoff(Precision::fp32);
    CHECK(spread <= u * std::sqrt(3.0));
    CHECK(spread > 0.9 * u * std::sqrt(3.0));
    CHECK(merged_spread <= u * 2);
    CHECK(merged_spread > 0.9 * u * 2);
}

TEST_CASE("Arithmetic: a long sum of one sign is perturbed as far as a serial sum in float strays") {
    // n terms near 1: partial sums of 1, 2, ... n, so that squares grow as n cubed over 3.
    constexpr int n = 500;
    Random random(4);
    double squares = 0, perturbed = 0;
    constexpr int runs = 400;
    for (int run = 0; run < runs; ++run) {
        auto serial = Arithmetic::rounded(parse_rounding("fp32"));
        auto model = Arithmetic::perturbed(parse_rounding("fp32"), static_cast<std::uint64_t>(run));
        Arithmetic::Sum rounded, sum;
        double exact = 0;
        for (int k = 0; k < n; ++k) {
            const auto x = static_cast<double>(static_cast<float>(random.uniform(0.5, 1.5)));
            serial.add(rounded, x, 1);
            model.add(sum, x, 1);
            exact += x;
        }
        squares += std::pow(serial.finish(rounded) - exact, 2);
        perturbed += std::pow(model.finish(sum) - exact, 2);
    }
    // The model's errors are uniform up to a whole unit roundoff of each partial sum; a float's are as its place in
    // the binade says, which is half to all of it.
    CHECK(perturbed > squares);
    CHECK(perturbed < 4 * squares);
}
}  // namespace mta_test_rounding
