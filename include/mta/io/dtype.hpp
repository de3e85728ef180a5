// Element types of stored tensors, and the two 16-bit float formats to and from float and double.
// SPDX-License-Identifier: MIT
//
// Source   IEEE 754-2019 (binary16, and the rounding rule); bfloat16 is the upper half of binary32.
// Promise  widening is exact; narrowing rounds once, to nearest with ties to even, into subnormals and to
// infinity
//          where the format has them. NaN stays NaN and keeps its sign and the upper bits of its payload.
// Traps    double -> float -> half rounds twice and is wrong at ties: narrow from the type you have.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string_view>
#include <type_traits>

namespace mta::io {

enum class DType { F64, F32, F16, BF16, I64, I32, U8, BOOL };

inline constexpr std::array all_dtypes{DType::F64, DType::F32, DType::F16, DType::BF16,
                                       DType::I64, DType::I32, DType::U8,  DType::BOOL};

/// The name that safetensors files use: "F64", "BF16", "BOOL".
constexpr std::string_view dtype_name(DType dtype) {
    constexpr std::array<std::string_view, 8> names{"F64", "F32", "F16", "BF16", "I64", "I32", "U8", "BOOL"};
    return names[static_cast<std::size_t>(dtype)];
}

/// The type of this name, or nothing.
constexpr std::optional<DType> dtype_of_name(std::string_view name) {
    for (const DType dtype : all_dtypes)
        if (dtype_name(dtype) == name) return dtype;
    return std::nullopt;
}

/// Bytes per element.
constexpr std::size_t dtype_size(DType dtype) {
    constexpr std::array<std::size_t, 8> sizes{8, 4, 2, 2, 8, 4, 1, 1};
    return sizes[static_cast<std::size_t>(dtype)];
}

constexpr bool is_floating(DType dtype) {
    return dtype == DType::F64 || dtype == DType::F32 || dtype == DType::F16 || dtype == DType::BF16;
}

namespace detail {

/// A binary floating-point format: sign, exponent and stored mantissa bits.
struct FloatFormat {
    int exponent_bits;
    int mantissa_bits;

    constexpr int bias() const { return (1 << (exponent_bits - 1)) - 1; }
    constexpr std::uint64_t exponent_mask() const { return (std::uint64_t{1} << exponent_bits) - 1; }
    constexpr std::uint64_t mantissa_mask() const { return (std::uint64_t{1} << mantissa_bits) - 1; }
    constexpr std::uint64_t infinity() const { return exponent_mask() << mantissa_bits; }
    constexpr int sign_shift() const { return exponent_bits + mantissa_bits; }
};

inline constexpr FloatFormat half_format{5, 10};
inline constexpr FloatFormat bfloat16_format{8, 7};

template <class Float>
inline constexpr FloatFormat format_of = sizeof(Float) == 4 ? FloatFormat{8, 23} : FloatFormat{11, 52};

template <class Float>
using BitsOf = std::conditional_t<sizeof(Float) == 4, std::uint32_t, std::uint64_t>;

/// value >> shift, rounded to nearest, ties to even; 0 <= shift.
constexpr std::uint64_t shift_right_to_even(std::uint64_t value, int shift) {
    if (shift == 0) return value;
    if (shift > 63) return 0;  // mantissas have at most 53 bits, so this is far below half a unit
    const std::uint64_t kept = value >> shift;
    const std::uint64_t rest = value & ((std::uint64_t{1} << shift) - 1);
    const std::uint64_t half = std::uint64_t{1} << (shift - 1);
    return kept + (rest > half || (rest == half && (kept & 1) != 0) ? 1 : 0);
}

/// The bits of a number of the `wide` format, rounded to the `narrow` one.
constexpr std::uint64_t narrow_bits(std::uint64_t bits, FloatFormat wide, FloatFormat narrow) {
    const std::uint64_t sign = (bits >> wide.sign_shift()) << narrow.sign_shift();
    const std::uint64_t exponent = (bits >> wide.mantissa_bits) & wide.exponent_mask();
    const std::uint64_t mantissa = bits & wide.mantissa_mask();
    const int dropped = wide.mantissa_bits - narrow.mantissa_bits;
    if (exponent == wide.exponent_mask()) {
        const std::uint64_t payload = mantissa >> dropped;
        const bool vanished = mantissa != 0 && payload == 0;  // would turn NaN into infinity
        return sign | narrow.infinity() | payload | (vanished ? 1 : 0);
    }
    // The number is significand * 2^(e - wide.bias() - wide.mantissa_bits); e is at least 1, the subnormals'
    // own.
    const int e = exponent == 0 ? 1 : static_cast<int>(exponent);
    const std::uint64_t significand = mantissa | (exponent == 0 ? 0 : std::uint64_t{1} << wide.mantissa_bits);
    const int narrow_e = e - wide.bias() + narrow.bias();
    if (narrow_e < 1) return sign | shift_right_to_even(significand, dropped + 1 - narrow_e);
    // The hidden bit of a normal number adds the missing 1 to the exponent, and so does a carry out of the
    // mantissa.
    const std::uint64_t rounded = shift_right_to_even(significand, dropped) +
                                  (static_cast<std::uint64_t>(narrow_e - 1) << narrow.mantissa_bits);
    return sign | (rounded < narrow.infinity() ? rounded : narrow.infinity());
}

/// The bits of a number of the `narrow` format in the `wide` one, exactly.
constexpr std::uint64_t widen_bits(std::uint64_t bits, FloatFormat narrow, FloatFormat wide) {
    const std::uint64_t sign = (bits >> narrow.sign_shift()) << wide.sign_shift();
    const std::uint64_t exponent = (bits >> narrow.mantissa_bits) & narrow.exponent_mask();
    const std::uint64_t mantissa = bits & narrow.mantissa_mask();
    const int gained = wide.mantissa_bits - narrow.mantissa_bits;
    if (exponent == narrow.exponent_mask()) return sign | wide.infinity() | (mantissa << gained);
    if (exponent == 0 && mantissa == 0) return sign;
    const auto rebias = static_cast<std::uint64_t>(wide.bias() - narrow.bias());
    if (exponent != 0) return sign | ((exponent + rebias) << wide.mantissa_bits) | (mantissa << gained);
    if (rebias == 0) return sign | (mantissa << gained);  // same exponents: a subnormal stays one
    // A subnormal becomes normal: its highest set bit turns into the hidden one.
    const int shift = narrow.mantissa_bits + 1 - static_cast<int>(std::bit_width(mantissa));
    const std::uint64_t e = 1 + rebias - static_cast<std::uint64_t>(shift);
    return sign | (e << wide.mantissa_bits) | (((mantissa << shift) & narrow.mantissa_mask()) << gained);
}

template <class Float>
constexpr std::uint16_t narrow_to(FloatFormat format, Float x) {
    static_assert(std::numeric_limits<Float>::is_iec559 && sizeof(Float) <= 8);
    return static_cast<std::uint16_t>(narrow_bits(std::bit_cast<BitsOf<Float>>(x), format_of<Float>, format));
}

template <class Float>
constexpr Float widen_from(FloatFormat format, std::uint16_t bits) {
    static_assert(std::numeric_limits<Float>::is_iec559 && sizeof(Float) <= 8);
    return std::bit_cast<Float>(static_cast<BitsOf<Float>>(widen_bits(bits, format, format_of<Float>)));
}

}  // namespace detail

/// The bits of x rounded to binary16. Float: float or double.
template <class Float>
constexpr std::uint16_t to_half(Float x) {
    return detail::narrow_to(detail::half_format, x);
}

/// The bits of x rounded to bfloat16.
template <class Float>
constexpr std::uint16_t to_bfloat16(Float x) {
    return detail::narrow_to(detail::bfloat16_format, x);
}

/// The number that these binary16 bits mean: from_half<float>(0x3c00) is 1.
template <class Float>
constexpr Float from_half(std::uint16_t bits) {
    return detail::widen_from<Float>(detail::half_format, bits);
}

/// The number that these bfloat16 bits mean.
template <class Float>
constexpr Float from_bfloat16(std::uint16_t bits) {
    return detail::widen_from<Float>(detail::bfloat16_format, bits);
}

}  // namespace mta::io
