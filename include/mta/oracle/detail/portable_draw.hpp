// Random integers that every language draws alike: one Philox block per element, no floating-point arithmetic.
// SPDX-License-Identifier: MIT
//
// Source  Philox4x32-10 (core/random.hpp). Element n of tensor number t under a seed is made of the four words
//         of the block with counter (n mod 2^32, n / 2^32, t, 0) and key (seed mod 2^32, seed / 2^32).
#pragma once

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <mta/core/random.hpp>
#include <mta/io/dtype.hpp>

namespace mta::oracle::detail {

/// Bits of an input's integer W: what a significand of the type holds. Doubles get those of float.
inline int significand_width(io::DType dtype) {
    return dtype == io::DType::BF16 ? 8 : dtype == io::DType::F16 ? 11 : 24;
}

/// Exponent of the smallest positive number of the type; doubles get float's.
inline int smallest_exponent(io::DType dtype) {
    return dtype == io::DType::BF16 ? -133 : dtype == io::DType::F16 ? -24 : -149;
}

/// An exact number: integer * 2^exponent.
struct Portable {
    std::int64_t integer = 0;
    int exponent = 0;

    double value() const { return std::ldexp(static_cast<double>(integer), exponent); }
    Portable times_two_to(int power) const { return {integer, exponent + power}; }
};

/// The four words of one element, as numbers. W is `width`.
struct Draw {
    std::array<std::uint32_t, 4> words;
    int width;

    Draw(std::uint64_t seed, std::uint32_t tensor, std::uint64_t element, int significand)
        : words{philox4x32({mta::detail::low_word(element), mta::detail::high_word(element), tensor, 0},
                           {mta::detail::low_word(seed), mta::detail::high_word(seed)})},
          width{significand} {}

    /// The highest `bits` bits of word w, as an integer of at least 0.
    std::int64_t top(std::size_t w, int bits) const { return words[w] >> (32 - bits); }

    /// Roughly normal: four uniform integers of W - 1 bits, summed and centred. Standard deviation 1.15, |x| < 4.
    Portable bell() const {
        const std::int64_t middle = 2 * ((std::int64_t{1} << (width - 1)) - 1);
        std::int64_t sum = -middle;
        for (std::size_t w = 0; w < 4; ++w)
            sum += top(w, width - 1);
        return {sum, 2 - width};
    }
    /// Uniform in [-1, 1).
    Portable flat() const { return {top(0, width) - (std::int64_t{1} << (width - 1)), 1 - width}; }
    /// Uniform in [0.5, 1.5).
    Portable around_one() const { return {top(0, width - 1) + (std::int64_t{1} << (width - 2)), 1 - width}; }
    /// One of -m, ..., m.
    Portable small(std::uint32_t m) const {
        return {static_cast<std::int64_t>(words[0] % (2 * m + 1)) - static_cast<std::int64_t>(m), 0};
    }
    /// One of -2, -1, 1, 2.
    Portable small_not_zero() const {
        constexpr std::array<std::int64_t, 4> values{-2, -1, 1, 2};
        return {values[words[0] % 4], 0};
    }
    /// -1 or 1.
    std::int64_t sign() const { return words[0] >> 31 != 0 ? -1 : 1; }
};

/// floor(bits of n / 2): 2^this is sqrt(n) to within a factor of sqrt(2). n >= 1.
inline int half_logarithm(std::uint64_t n) {
    return static_cast<int>(std::bit_width(n)) / 2;
}

}  // namespace mta::oracle::detail
