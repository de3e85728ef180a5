// Random numbers from a counter: the n-th number of a stream is a pure function of (seed, stream, n).
// SPDX-License-Identifier: MIT
//
// Source   Philox4x32-10: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
//          FNV-1a: Fowler, Noll and Vo, 1991.
// Promise  uniform numbers use integer arithmetic and exact scaling only: the same bits with every compiler
//          and at any thread count. Normal numbers go through the platform's log and cos.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <mta/core/require.hpp>
#include <mta/core/tensor.hpp>
#include <string_view>

namespace mta {

/// Four random 32-bit words for a 128-bit counter under a 64-bit key: ten rounds of Philox4x32.
inline std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> counter,
                                               std::array<std::uint32_t, 2> key) {
    for (int round = 0; round < 10; ++round) {
        const std::uint64_t product0 = std::uint64_t{0xD2511F53} * counter[0];
        const std::uint64_t product1 = std::uint64_t{0xCD9E8D57} * counter[2];
        counter = {static_cast<std::uint32_t>(product1 >> 32) ^ counter[1] ^ key[0],
                   static_cast<std::uint32_t>(product1),
                   static_cast<std::uint32_t>(product0 >> 32) ^ counter[3] ^ key[1],
                   static_cast<std::uint32_t>(product0)};
        key[0] += 0x9E3779B9;
        key[1] += 0xBB67AE85;
    }
    return counter;
}

namespace detail {
inline std::uint32_t low_word(std::uint64_t x) {
    return static_cast<std::uint32_t>(x);
}
inline std::uint32_t high_word(std::uint64_t x) {
    return static_cast<std::uint32_t>(x >> 32);
}
}  // namespace detail

/// The 64-bit FNV-1a hash of a text: makes a stream of a name. No defence against texts that are made to collide.
inline std::uint64_t fnv1a(std::string_view text) {
    std::uint64_t hash = 0xcbf29ce484222325;
    for (const char c : text)
        hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
    return hash;
}

/// One stream of numbers. Streams of the same seed are independent of each other.
class Random {
  public:
    explicit Random(std::uint64_t seed, std::uint64_t stream = 0) : seed_(seed), stream_(stream) {}

    /// 32 uniform bits.
    std::uint32_t bits() {
        if (position_ % 4 == 0) {
            const std::uint64_t block = position_ / 4;
            words_ = philox4x32({detail::low_word(block), detail::high_word(block), detail::low_word(stream_),
                                 detail::high_word(stream_)},
                                {detail::low_word(seed_), detail::high_word(seed_)});
        }
        return words_[position_++ % 4];
    }

    /// Uniform in [0, 1), a multiple of 2^-53.
    double uniform() {
        const std::uint64_t high = bits() >> 5, low = bits() >> 6;
        return static_cast<double>((high << 26) | low) * 0x1p-53;
    }
    /// Uniform from low to high; the sum is rounded, so high itself can come out where low is not 0.
    double uniform(double low, double high) { return low + (high - low) * uniform(); }

    /// Uniform integer in [0, bound). Throws ValueError when bound is 0.
    std::uint32_t below(std::uint32_t bound) {
        require<ValueError>(bound > 0, "Random::below: bound: got 0, expected at least 1");
        const std::uint32_t unbiased = static_cast<std::uint32_t>((std::uint64_t{1} << 32) % bound);
        std::uint32_t word = bits();
        while (word < unbiased)
            word = bits();
        return word % bound;
    }

    /// Normal with mean 0 and standard deviation 1 (Box-Muller).
    double normal() {
        const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform()));
        return radius * std::cos(6.283185307179586 * uniform());
    }
    /// Normal redrawn until it lies within `bound` standard deviations.
    double truncated_normal(double bound) {
        require<ValueError>(bound > 0, "Random::truncated_normal: bound: got ", bound, ", expected above 0");
        double x = normal();
        while (!(std::abs(x) <= bound))
            x = normal();
        return x;
    }

  private:
    std::uint64_t seed_, stream_, position_ = 0;
    std::array<std::uint32_t, 4> words_{};
};

/// Fills t, in memory order, with low + (high - low) * uniform.
template <AnyTensor T>
void fill_uniform(T& t, Random& random, double low = -1.0, double high = 1.0) {
    for (auto& x : elements(t))
        x = static_cast<RealOf<ScalarOf<T>>>(random.uniform(low, high));
}

/// Fills t, in memory order, with standard_deviation * normal.
template <AnyTensor T>
void fill_normal(T& t, Random& random, double standard_deviation = 1.0) {
    for (auto& x : elements(t))
        x = static_cast<RealOf<ScalarOf<T>>>(standard_deviation * random.normal());
}

}  // namespace mta
