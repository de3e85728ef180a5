// The most multiply-adds that one core can do: what fractions of the peak are fractions of.
// SPDX-License-Identifier: MIT
#pragma once

#include <mta/fast/detail/lanes.hpp>

namespace mta::bench {

/// Chains of fused multiply-adds that multiply_adds keeps in registers.
inline constexpr int chains = fast::many_registers ? 16 : 10;

/// `repeats` times `chains` packets of independent multiply-adds; numbers: `chains` packets, aligned.
inline void multiply_adds(float* numbers, Index repeats) {
    constexpr Index W = fast::lanes<float>;
    fast::Packet<float> sum[chains];
    const auto factor = fast::all(0.999F), addend = fast::all(0.001F);
    fast::unroll<chains>([&](auto n) MTA_FAST_LAMBDA { sum[n] = fast::load(numbers + n * W); });
    for (Index r = 0; r < repeats; ++r)
        fast::unroll<chains>([&](auto n)
                                 MTA_FAST_LAMBDA { sum[n] = fast::multiply_add(sum[n], factor, addend); });
    fast::unroll<chains>([&](auto n) MTA_FAST_LAMBDA { fast::store(numbers + n * W, sum[n]); });
}

}  // namespace mta::bench
