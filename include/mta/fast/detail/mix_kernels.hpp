// Kernels of head mixing on packets: a small matrix product between the lanes of every (query, key).
// SPDX-License-Identifier: MIT
//
// Source    Multi-Token Attention, arXiv:2504.00927, Sec. 3.2.
// Dense     groups that fill whole planes (H = 16 floats with AVX-512): blocks of W x W weights in registers, inputs
//           broadcast from memory. Groups that share a plane take the plain loop: a zero weight between groups would
//           carry the NaN of one into the other.
#pragma once

#include <mta/fast/detail/lanes.hpp>

namespace mta::fast {

/// Keys whose sums are in registers at a time.
inline constexpr int mix_keys = many_registers ? 8 : 4;

/// Which lanes a head mix joins. Lane l of all planes mixes the `group` lanes from l / group * group on; `used` lanes
/// hold heads, the others stay 0.
struct MixGroups {
    Index group = 0;
    Index planes = 1;
    Index used = 0;

    template <class Scalar>
    bool dense() const {
        return group % lanes<Scalar> == 0;
    }
};

namespace detail {

// out[j] (+)= weight^T in[j] for `keys` keys; weight: (in lane, out lane).
template <bool Accumulate, int N, class Scalar>
MTA_FAST_INLINE void mix_block(const Scalar* in, const Packet<Scalar>* weight, Scalar* out) {
    constexpr int W = lanes<Scalar>;
    Packet<Scalar> sum[N];
    unroll<N>([&](auto n) MTA_FAST_LAMBDA {
        if constexpr (Accumulate)
            sum[n] = load(out + n * W);
        else
            sum[n] = all(Scalar(0));
    });
    unroll<W>([&](auto c) MTA_FAST_LAMBDA {
        unroll<N>([&](auto n)
                      MTA_FAST_LAMBDA { sum[n] = multiply_add(all(in[n * W + c]), weight[c], sum[n]); });
    });
    unroll<N>([&](auto n) MTA_FAST_LAMBDA { store(out + n * W, sum[n]); });
}

template <bool Accumulate, class Scalar>
void mix_plane(const Scalar* in, const Scalar* weight, Scalar* out, Index keys) {
    constexpr int W = lanes<Scalar>;
    Packet<Scalar> w[W];
    unroll<W>([&](auto c) MTA_FAST_LAMBDA { w[c] = load(weight + c * W); });
    Index j = 0;
    for (; j + mix_keys <= keys; j += mix_keys)
        mix_block<Accumulate, mix_keys>(in + j * W, w, out + j * W);
    for (; j < keys; ++j)
        mix_block<Accumulate, 1>(in + j * W, w, out + j * W);
}

template <class Scalar>
void add_mix_plane_gradient(const Scalar* d_out, const Scalar* in, Index keys, Scalar* gradient) {
    constexpr int W = lanes<Scalar>;
    Packet<Scalar> sum[W];
    unroll<W>([&](auto c) MTA_FAST_LAMBDA { sum[c] = load(gradient + c * W); });
    for (Index j = 0; j < keys; ++j) {
        Packet<Scalar> d = load(d_out + j * W);
        keep_in_register(d);
        unroll<W>([&](auto c) MTA_FAST_LAMBDA { sum[c] = multiply_add(all(in[j * W + c]), d, sum[c]); });
    }
    unroll<W>([&](auto c) MTA_FAST_LAMBDA { store(gradient + c * W, sum[c]); });
}

// Calls f(position of lane, position of the first lane of its group) for the lanes that hold heads.
template <class F>
void for_each_lane(const MixGroups& g, F&& f) {
    for (Index l = 0; l < g.used; ++l)
        f(l, l / g.group * g.group);
}

// Where lane l of key j is, in a row of planes.
template <class Scalar>
Index lane_at(Index l, Index j, Index plane_stride) {
    return l / lanes<Scalar> * plane_stride + j * lanes<Scalar> + l % lanes<Scalar>;
}

}  // namespace detail

/// Scalars that the weights of a mix, or their gradient, take: (lane, lane of the group), or blocks (in, out).
template <class Scalar>
Index mix_weights_size(const MixGroups& g) {
    return g.planes * lanes<Scalar> * round_up(g.group, lanes<Scalar>);
}

/// Index of the weight with which output lane `out` reads lane number `c` of its group.
template <class Scalar>
Index mix_weight_at(const MixGroups& g, Index out, Index c) {
    constexpr Index W = lanes<Scalar>;
    if (!g.dense<Scalar>()) return out * g.group + c;
    return (out / W * g.group + c) * W + out % W;
}

/// out = mix of in, `keys` keys of a row.
template <class Scalar>
void mix_row(const MixGroups& g, const Scalar* in, const Scalar* weight, Scalar* out, Index keys,
             Index plane_stride) {
    constexpr Index W = lanes<Scalar>;
    if (g.dense<Scalar>()) {
        const Index blocks = g.group / W;
        for (Index p = 0; p < g.planes; ++p)
            for (Index c = 0; c < blocks; ++c) {
                const Scalar* from = in + (p / blocks * blocks + c) * plane_stride;
                const Scalar* block = weight + (p * blocks + c) * W * W;
                c == 0 ? detail::mix_plane<false>(from, block, out + p * plane_stride, keys)
                       : detail::mix_plane<true>(from, block, out + p * plane_stride, keys);
            }
        return;
    }
    for (Index j = 0; j < keys; ++j) {
        for (Index p = 0; p < g.planes; ++p)
            clear(out + p * plane_stride + j * W, 1);
        detail::for_each_lane(g, [&](Index l, Index first) {
            Scalar sum{0};
            for (Index c = 0; c < g.group; ++c)
                sum += weight[l * g.group + c] * in[detail::lane_at<Scalar>(first + c, j, plane_stride)];
            out[detail::lane_at<Scalar>(l, j, plane_stride)] = sum;
        });
    }
}

/// gradient += sum over keys of d_out times in, laid out as the weights.
template <class Scalar>
void add_mix_gradient(const MixGroups& g, const Scalar* d_out, const Scalar* in, Index keys,
                      Index plane_stride, Scalar* gradient) {
    constexpr Index W = lanes<Scalar>;
    if (g.dense<Scalar>()) {
        const Index blocks = g.group / W;
        for (Index p = 0; p < g.planes; ++p)
            for (Index c = 0; c < blocks; ++c)
                detail::add_mix_plane_gradient(d_out + p * plane_stride,
                                               in + (p / blocks * blocks + c) * plane_stride, keys,
                                               gradient + (p * blocks + c) * W * W);
        return;
    }
    for (Index j = 0; j < keys; ++j)
        detail::for_each_lane(g, [&](Index l, Index first) {
            const Scalar d = d_out[detail::lane_at<Scalar>(l, j, plane_stride)];
            for (Index c = 0; c < g.group; ++c)
                gradient[l * g.group + c] += d * in[detail::lane_at<Scalar>(first + c, j, plane_stride)];
        });
}

}  // namespace mta::fast
