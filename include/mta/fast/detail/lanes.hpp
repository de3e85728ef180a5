// Lanes: one vector register holds one number of each of several heads, so that only small head mixes need shuffles.
// SPDX-License-Identifier: MIT
//
// A packet is Eigen's widest register of the target: 16 floats with AVX-512, 4 with NEON or SSE, 1 without any.
// Multiply-adds are fused where the machine can, whatever -ffp-contract says: they are asked for by name.
#pragma once

#include <mta/core/tensor.hpp>
#include <utility>

#if defined(__GNUC__)
#define MTA_FAST_INLINE __attribute__((always_inline)) inline
#define MTA_FAST_LAMBDA __attribute__((always_inline))
#else
#define MTA_FAST_INLINE inline
#define MTA_FAST_LAMBDA
#endif
#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define MTA_FAST_SHUFFLE
#endif
#endif

namespace mta::fast {

template <class Scalar>
using Packet = typename Eigen::internal::packet_traits<Scalar>::type;

/// W: numbers in a packet.
template <class Scalar>
inline constexpr Index lanes = Eigen::internal::unpacket_traits<Packet<Scalar>>::size;

/// Whether kernels may keep 24 packets in registers, or only 10.
inline constexpr bool many_registers = EIGEN_ARCH_DEFAULT_NUMBER_OF_REGISTERS >= 32;

template <class Scalar>
MTA_FAST_INLINE Packet<Scalar> load(const Scalar* p) {
    return Eigen::internal::pload<Packet<Scalar>>(p);
}
template <class Scalar>
MTA_FAST_INLINE void store(Scalar* p, const Packet<Scalar>& x) {
    Eigen::internal::pstore(p, x);
}
template <class Scalar>
MTA_FAST_INLINE Packet<Scalar> all(Scalar x) {
    return Eigen::internal::pset1<Packet<Scalar>>(x);
}
/// a * b + c
template <class P>
MTA_FAST_INLINE P multiply_add(const P& a, const P& b, const P& c) {
    return Eigen::internal::pmadd(a, b, c);
}

/// Keeps the compiler from reading p from memory again at each use: loads, not sums, would be the limit.
template <class P>
MTA_FAST_INLINE void keep_in_register([[maybe_unused]] P& p) {
#if defined(__GNUC__) && defined(__AVX512F__)
    asm("" : "+v"(p));
#elif defined(__GNUC__) && defined(__SSE2__)
    asm("" : "+x"(p));
#endif
}

/// Lane l holds what lane l / Group * Group + (l + By) % Group held: whole groups turn by `By` lanes. Lanes after the
/// last whole group stay.
template <class Scalar, int Group, int By>
MTA_FAST_INLINE Packet<Scalar> rotate_groups(const Packet<Scalar>& x) {
    constexpr int W = lanes<Scalar>;
    constexpr auto source = [](int l) {
        return l < W / Group * Group ? l / Group * Group + (l % Group + By) % Group : l;
    };
    return [&]<int... l>(std::integer_sequence<int, l...>) MTA_FAST_LAMBDA {
#if defined(MTA_FAST_SHUFFLE)
        return __builtin_shufflevector(x, x, source(l)...);
#else
        alignas(64) Scalar before[W], after[W];
        store(before, x);
        ((after[l] = before[source(l)]), ...);
        return load(after);
#endif
    }
    (std::make_integer_sequence<int, W>{});
}

/// Asks for `count` packets from p on, which will be read soon and do not follow what is read now.
template <class Scalar>
MTA_FAST_INLINE void prefetch([[maybe_unused]] const Scalar* p, [[maybe_unused]] Index count) {
#if defined(__GNUC__)
    constexpr Index line = 64 / static_cast<Index>(sizeof(Scalar));
    for (Index n = 0; n < count * lanes<Scalar>; n += line)
        __builtin_prefetch(p + n);
#endif
}

/// f(0), f(1), ... with constants, so that arrays of packets become registers.
template <int N, class F>
MTA_FAST_INLINE void unroll(F&& f) {
    [&]<int... n>(std::integer_sequence<int, n...>) MTA_FAST_LAMBDA {
        (f(std::integral_constant<int, n>{}), ...);
    }
    (std::make_integer_sequence<int, N>{});
}

/// Calls f with the constant n, 1 <= n <= Most.
template <int Most, class F>
MTA_FAST_INLINE void with_constant(Index n, F&& f) {
    if constexpr (Most > 1)
        if (n < Most) return with_constant<Most - 1>(n, f);
    f(std::integral_constant<int, Most>{});
}

/// x rounded up to a multiple of step.
constexpr Index round_up(Index x, Index step) {
    return (x + step - 1) / step * step;
}

/// `packets`, or one more: strides of an even number of cache lines would make rows evict each other.
constexpr Index odd(Index packets) {
    return packets | 1;
}

/// Writes zeros to `count` packets.
template <class Scalar>
void clear(Scalar* p, Index count) {
    for (Index n = 0; n < count * lanes<Scalar>; ++n)
        p[n] = Scalar(0);
}

}  // namespace mta::fast
