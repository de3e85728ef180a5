// Kernels of head mixing on packets: a small matrix product between the lanes of every (query, key).
// SPDX-License-Identifier: MIT
//
// Source    Multi-Token Attention, arXiv:2504.00927, Sec. 3.2.
// Dense     a group that has its planes for itself, perhaps with idle lanes after it (9 heads and more in float with
//           AVX-512): blocks of W x W weights in registers, inputs broadcast from memory.
// Rotated   groups that share a plane: each packet is rotated within its groups, so that every lane meets the heads
//           of its group in turn. Zero weights between groups instead would carry the NaN of one into the other.
// Plain     groups that cross from one plane into the next: loops over lanes.
#pragma once

#include <mta/fast/detail/lanes.hpp>

namespace mta::fast {

/// Keys whose sums are in registers at a time.
inline constexpr int mix_keys = many_registers ? 8 : 4;

/// How a mix is computed.
enum class MixWay { dense, rotated, plain };

/// Which lanes a head mix joins. Lane l of all planes mixes the `group` lanes from l / group * group on; `used` lanes
/// hold heads, the others stay 0.
struct MixGroups {
    Index group = 0;
    Index planes = 1;
    Index used = 0;

    template <class Scalar>
    MixWay way() const {
        constexpr Index W = lanes<Scalar>;
        if (group % W == 0 || (2 * group > W && planes * W == round_up(group, W))) return MixWay::dense;
        if (2 * group <= W && (planes == 1 || W % group == 0)) return MixWay::rotated;
        return MixWay::plain;
    }
    /// Planes of a group that is dense.
    template <class Scalar>
    Index blocks() const {
        return round_up(group, lanes<Scalar>) / lanes<Scalar>;
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

// Lanes from `used` on become 0 in every key.
template <class Scalar>
void clear_idle_lanes(Index used, Scalar* row, Index keys) {
    constexpr Index W = lanes<Scalar>;
    if (used >= W) return;
    for (Index j = 0; j < keys; ++j)
        for (Index l = used; l < W; ++l)
            row[j * W + l] = Scalar(0);
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

// out[j] = sum over r of weight[r] in[j] rotated by r within its groups; weight: (r, out lane).
template <int Group, class Scalar>
void mix_rotated(const Scalar* in, const Scalar* weight, Scalar* out, Index keys) {
    constexpr Index W = lanes<Scalar>;
    Packet<Scalar> w[Group];
    unroll<Group>([&](auto r) MTA_FAST_LAMBDA { w[r] = load(weight + r * W); });
    for (Index j = 0; j < keys; ++j) {
        const Packet<Scalar> x = load(in + j * W);
        Packet<Scalar> sum = all(Scalar(0));
        unroll<Group>([&](auto r) MTA_FAST_LAMBDA {
            sum = multiply_add(w[r], rotate_groups<Scalar, Group, r>(x), sum);
        });
        store(out + j * W, sum);
    }
}

template <int Group, class Scalar>
void add_mix_rotated_gradient(const Scalar* d_out, const Scalar* in, Index keys, Scalar* gradient) {
    constexpr Index W = lanes<Scalar>;
    Packet<Scalar> sum[Group];
    unroll<Group>([&](auto r) MTA_FAST_LAMBDA { sum[r] = load(gradient + r * W); });
    for (Index j = 0; j < keys; ++j) {
        const Packet<Scalar> d = load(d_out + j * W), x = load(in + j * W);
        unroll<Group>([&](auto r) MTA_FAST_LAMBDA {
            sum[r] = multiply_add(d, rotate_groups<Scalar, Group, r>(x), sum[r]);
        });
    }
    unroll<Group>([&](auto r) MTA_FAST_LAMBDA { store(gradient + r * W, sum[r]); });
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

template <class Scalar>
void mix_plain(const MixGroups& g, const Scalar* in, const Scalar* weight, Scalar* out, Index keys,
               Index plane_stride) {
    for (Index j = 0; j < keys; ++j) {
        for (Index p = 0; p < g.planes; ++p)
            clear(out + p * plane_stride + j * lanes<Scalar>, 1);
        for_each_lane(g, [&](Index l, Index first) {
            Scalar sum{0};
            for (Index c = 0; c < g.group; ++c)
                sum += weight[l * g.group + c] * in[lane_at<Scalar>(first + c, j, plane_stride)];
            out[lane_at<Scalar>(l, j, plane_stride)] = sum;
        });
    }
}

template <class Scalar>
void add_mix_plain_gradient(const MixGroups& g, const Scalar* d_out, const Scalar* in, Index keys,
                            Index plane_stride, Scalar* gradient) {
    for (Index j = 0; j < keys; ++j)
        for_each_lane(g, [&](Index l, Index first) {
            const Scalar d = d_out[lane_at<Scalar>(l, j, plane_stride)];
            for (Index c = 0; c < g.group; ++c)
                gradient[l * g.group + c] += d * in[lane_at<Scalar>(first + c, j, plane_stride)];
        });
}

// Calls f with the constant number of heads of a group that is rotated.
template <class Scalar, class F>
void with_group(Index group, F&& f) {
    if constexpr (lanes<Scalar> >= 2) with_constant<lanes<Scalar> / 2>(group, f);
}

}  // namespace detail

/// Scalars that the weights of a mix, or their gradient, take: of each plane packets (in lane), (rotation), or of each
/// lane those of its group.
template <class Scalar>
Index mix_weights_size(const MixGroups& g) {
    return g.planes * lanes<Scalar> * round_up(g.group, lanes<Scalar>);
}

/// Index of the weight with which output lane `out` reads lane number `c` of its group.
template <class Scalar>
Index mix_weight_at(const MixGroups& g, Index out, Index c) {
    constexpr Index W = lanes<Scalar>;
    switch (g.way<Scalar>()) {
        case MixWay::dense:
            return (out / W * g.blocks<Scalar>() * W + c) * W + out % W;
        case MixWay::rotated:
            return (out / W * g.group + (c + g.group - out % g.group) % g.group) * W + out % W;
        case MixWay::plain:
            break;
    }
    return out * g.group + c;
}

/// out = mix of in, `keys` keys of a row.
template <class Scalar>
void mix_row(const MixGroups& g, const Scalar* in, const Scalar* weight, Scalar* out, Index keys,
             Index plane_stride) {
    constexpr Index W = lanes<Scalar>;
    const MixWay way = g.way<Scalar>();
    if (way == MixWay::dense) {
        const Index blocks = g.blocks<Scalar>();
        for (Index p = 0; p < g.planes; ++p) {
            Scalar* to = out + p * plane_stride;
            for (Index c = 0; c < blocks; ++c) {
                const Scalar* from = in + (p / blocks * blocks + c) * plane_stride;
                const Scalar* block = weight + (p * blocks + c) * W * W;
                c == 0 ? detail::mix_plane<false>(from, block, to, keys)
                       : detail::mix_plane<true>(from, block, to, keys);
            }
            // An infinite input times the zero weights of idle lanes is NaN, which must not come back.
            detail::clear_idle_lanes(g.group - p % blocks * W, to, keys);
        }
    } else if (way == MixWay::rotated) {
        detail::with_group<Scalar>(g.group, [&](auto group) {
            for (Index p = 0; p < g.planes; ++p)
                detail::mix_rotated<group>(in + p * plane_stride, weight + p * group * W,
                                           out + p * plane_stride, keys);
        });
    } else {
        detail::mix_plain(g, in, weight, out, keys, plane_stride);
    }
}

/// gradient += sum over keys of d_out times in, laid out as the weights.
template <class Scalar>
void add_mix_gradient(const MixGroups& g, const Scalar* d_out, const Scalar* in, Index keys,
                      Index plane_stride, Scalar* gradient) {
    constexpr Index W = lanes<Scalar>;
    const MixWay way = g.way<Scalar>();
    if (way == MixWay::dense) {
        const Index blocks = g.blocks<Scalar>();
        for (Index p = 0; p < g.planes; ++p)
            for (Index c = 0; c < blocks; ++c)
                detail::add_mix_plane_gradient(d_out + p * plane_stride,
                                               in + (p / blocks * blocks + c) * plane_stride, keys,
                                               gradient + (p * blocks + c) * W * W);
    } else if (way == MixWay::rotated) {
        detail::with_group<Scalar>(g.group, [&](auto group) {
            for (Index p = 0; p < g.planes; ++p)
                detail::add_mix_rotated_gradient<group>(d_out + p * plane_stride, in + p * plane_stride, keys,
                                                        gradient + p * group * W);
        });
    } else {
        detail::add_mix_plain_gradient(g, d_out, in, keys, plane_stride, gradient);
    }
}

}  // namespace mta::fast
