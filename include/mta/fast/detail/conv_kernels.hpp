// Kernels of the key-query convolution on rows of packets: the sums, and the gradient of the kernel.
// SPDX-License-Identifier: MIT
//
// Source    Multi-Token Attention, arXiv:2504.00927, Sec. 3.1.
// Sums      out_r[j] = sum_{u,v} weight[u,v] * row_{r+u}[j - left + v]; the convolution and, with the kernel reversed,
//           its transpose. Heads are lanes, so a weight is a packet and no element moves between lanes.
// Blocking  two neighbouring outputs rows share all rows but two; 8 keys of both stay in registers.
#pragma once

#include <algorithm>
#include <mta/fast/detail/lanes.hpp>

namespace mta::fast {

/// Keys in a register tile of the convolution.
inline constexpr int conv_keys = many_registers ? 8 : 4;
/// Taps whose gradients are summed at a time, for each of two rows.
inline constexpr int gradient_taps = many_registers ? 12 : 5;

/// Rows that a group of outputs reads. Row u is tap u of the first output, tap u - 1 of the second.
template <class Scalar>
struct ConvRows {
    const Scalar* const* row;  // Cq + outputs - 1 of them
    Index begin, end;          // those that exist
    Index Cq, Ck;
    const Scalar* weight;  // (Cq, Ck) packets
};

namespace detail {

// Adds row `in` (at the key of the first tap) to the outputs First to Last; `weight` is that of output 0.
template <int First, int Last, class Scalar, class Sums>
MTA_FAST_INLINE void add_conv_row(Sums& sum, const Scalar* in, const Scalar* weight, Index Ck) {
    constexpr Index W = lanes<Scalar>;
    for (Index v = 0; v < Ck; ++v) {
        Packet<Scalar> tap[Last + 1];
        unroll<Last + 1>([&](auto r) MTA_FAST_LAMBDA {
            if constexpr (r >= First) tap[r] = load(weight + (v - r * Ck) * W);
        });
        unroll<conv_keys>([&](auto n) MTA_FAST_LAMBDA {
            Packet<Scalar> x = load(in + (v + n) * W);
            if constexpr (First != Last) keep_in_register(x);
            unroll<Last + 1>([&](auto r) MTA_FAST_LAMBDA {
                if constexpr (r >= First) sum[r][n] = multiply_add(x, tap[r], sum[r][n]);
            });
        });
    }
}

}  // namespace detail

/// conv_keys keys of `Outputs` rows. `first`: where the first tap reads in each row.
template <int Outputs, class Scalar>
MTA_FAST_INLINE void convolve_tile(const ConvRows<Scalar>& c, Index first, Scalar* const* out, Index offset) {
    static_assert(Outputs == 1 || Outputs == 2);
    constexpr Index W = lanes<Scalar>;
    Packet<Scalar> sum[Outputs][conv_keys];
    unroll<Outputs>([&](auto r) MTA_FAST_LAMBDA {
        unroll<conv_keys>([&](auto n) MTA_FAST_LAMBDA { sum[r][n] = all(Scalar(0)); });
    });
    const auto weight = [&](Index u) { return c.weight + u * c.Ck * W; };
    if constexpr (Outputs == 1) {
        for (Index u = c.begin; u < std::min(c.end, c.Cq); ++u)
            detail::add_conv_row<0, 0>(sum, c.row[u] + first, weight(u), c.Ck);
    } else {
        if (c.begin == 0) detail::add_conv_row<0, 0>(sum, c.row[0] + first, weight(0), c.Ck);
        for (Index u = std::max<Index>(c.begin, 1); u < std::min(c.end, c.Cq); ++u)
            detail::add_conv_row<0, 1>(sum, c.row[u] + first, weight(u), c.Ck);
        if (c.end > c.Cq) detail::add_conv_row<1, 1>(sum, c.row[c.Cq] + first, weight(c.Cq), c.Ck);
    }
    unroll<Outputs>([&](auto r) MTA_FAST_LAMBDA {
        unroll<conv_keys>([&](auto n) MTA_FAST_LAMBDA { store(out[r] + offset + n * W, sum[r][n]); });
    });
}

namespace detail {

// gradient[b] += sum_j d_out[j] in[j + b] of N taps for one or two rows of d_out that read the same row.
template <int N, int Outputs, class Scalar>
MTA_FAST_INLINE void add_tap_gradients(const Scalar* const* d_out, const Scalar* in, Index keys,
                                       Scalar* const* gradient) {
    constexpr Index W = lanes<Scalar>;
    Packet<Scalar> sum[Outputs][N];
    unroll<Outputs>([&](auto r) MTA_FAST_LAMBDA {
        unroll<N>([&](auto b) MTA_FAST_LAMBDA { sum[r][b] = load(gradient[r] + b * W); });
    });
    for (Index j = 0; j < keys; ++j) {
        Packet<Scalar> d[Outputs];
        unroll<Outputs>([&](auto r) MTA_FAST_LAMBDA { d[r] = load(d_out[r] + j * W); });
        unroll<N>([&](auto b) MTA_FAST_LAMBDA {
            Packet<Scalar> x = load(in + (j + b) * W);
            if constexpr (Outputs > 1) keep_in_register(x);
            unroll<Outputs>([&](auto r) MTA_FAST_LAMBDA { sum[r][b] = multiply_add(d[r], x, sum[r][b]); });
        });
    }
    unroll<Outputs>([&](auto r) MTA_FAST_LAMBDA {
        unroll<N>([&](auto b) MTA_FAST_LAMBDA { store(gradient[r] + b * W, sum[r][b]); });
    });
}

template <int Outputs, class Scalar>
void add_row_gradients(const Scalar* const* d_out, const Scalar* in, Index keys, Index Ck,
                       Scalar* const* gradient) {
    constexpr Index W = lanes<Scalar>;
    const Index parts = (Ck + gradient_taps - 1) / gradient_taps, part = (Ck + parts - 1) / parts;
    for (Index b = 0; b < Ck; b += part) {
        Scalar* to[Outputs];
        for (int r = 0; r < Outputs; ++r)
            to[r] = gradient[r] + b * W;
        with_constant<gradient_taps>(std::min(part, Ck - b), [&](auto n) {
            add_tap_gradients<n, Outputs>(d_out, in + b * W, keys, to);
        });
    }
}

}  // namespace detail

/// gradient[u,v] += sum_r sum_j d_out_r[j] row_{r+u}[j + v]; rows point at the key of the first tap for j = 0.
template <class Scalar>
void add_kernel_gradient(const ConvRows<Scalar>& c, Index outputs, Index first, const Scalar* const* d_out,
                         Index keys, Scalar* gradient) {
    const auto of = [&](Index u) { return gradient + u * c.Ck * lanes<Scalar>; };
    for (Index u = c.begin; u < std::min(c.end, c.Cq + outputs - 1); ++u) {
        const Scalar* in = c.row[u] + first;
        Scalar* const both[2]{u < c.Cq ? of(u) : nullptr, u > 0 ? of(u - 1) : nullptr};
        if (outputs == 2 && u > 0 && u < c.Cq)
            detail::add_row_gradients<2>(d_out, in, keys, c.Ck, both);
        else if (u < c.Cq)
            detail::add_row_gradients<1>(d_out, in, keys, c.Ck, both);
        else
            detail::add_row_gradients<1>(d_out + 1, in, keys, c.Ck, both + 1);
    }
}

}  // namespace mta::fast
