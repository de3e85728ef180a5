// Kernels and mixing matrices of one bundle, laid out for the lanes; and the way of their gradients back.
// SPDX-License-Identifier: MIT
#pragma once

#include <mta/fast/detail/arena.hpp>
#include <mta/fast/detail/layout.hpp>

namespace mta::fast {

/// One side of the softmax: what is mixed, and the weights in both directions.
template <class Scalar>
struct ScoreSide {
    Index Cq = 0, Ck = 0, left = 0;                 // 0 x 0: no convolution
    bool exact = false;                             // taps count whose key is not after the output's query
    MixGroups groups;                               // of 0 heads: no mixing
    Scalar *kernel = nullptr, *reversed = nullptr;  // (planes, Cq, Ck) packets
    Scalar *mix = nullptr, *transposed = nullptr;   // mix_kernels.hpp

    bool has_conv() const { return Cq > 0; }
    bool has_mix() const { return groups.group > 0; }
    Index above() const { return has_conv() ? Cq - 1 : 0; }  // earlier rows that an output row reads
    Index kernel_packets() const { return Cq * Ck; }         // of one plane

    ScoreSide() = default;
    ScoreSide(const ScoreMixingConfig& c, bool exact_taps, const Layout<Scalar>& layout)
        : Cq{c.query_kernel},
          Ck{c.key_kernel},
          left{c.has_conv() ? keys_to_the_left(c.key_kernel, c.key_padding) : 0},
          exact{exact_taps && c.has_conv()},
          groups{c.mix_group, layout.planes, 0} {}

    Index kernel_size() const { return groups.planes * kernel_packets() * lanes<Scalar>; }
    Index mix_size() const { return has_mix() ? mix_weights_size<Scalar>(groups) : 0; }

    void take(Arena& arena) {
        kernel = arena.take<Scalar>(kernel_size());
        reversed = arena.take<Scalar>(kernel_size());
        mix = arena.take<Scalar>(mix_size());
        transposed = arena.take<Scalar>(mix_size());
    }

    // Scalar of tap (u, v) of lane l in a kernel or its gradient.
    Index tap_at(Index l, Index u, Index v) const {
        constexpr Index W = lanes<Scalar>;
        return ((l / W * Cq + u) * Ck + v) * W + l % W;
    }

    /// Reads the parameters of a bundle's heads.
    void pack(const Layout<Scalar>& layout, Index bundle, const ScoreMixingParams<Scalar>& params) {
        groups.used = layout.used_lanes(bundle);
        clear(kernel, kernel_size() / lanes<Scalar>);
        clear(reversed, kernel_size() / lanes<Scalar>);
        for (Index n = 0; n < mix_size(); ++n)
            mix[n] = transposed[n] = Scalar(0);
        for (Index l = 0; l < groups.used; ++l) {
            const Index h = layout.lane(bundle, l).h, group = groups.group;
            for (Index u = 0; u < Cq; ++u)
                for (Index v = 0; v < Ck; ++v)
                    kernel[tap_at(l, u, v)] = reversed[tap_at(l, Cq - 1 - u, Ck - 1 - v)] =
                        params.conv->kernel(h, u, v);
            for (Index c = 0; c < group; ++c) {
                const auto at = mix_weight_at<Scalar>(groups, l, c);
                mix[at] = params.mix->mix(h / group, h % group, c);
                transposed[at] = params.mix->mix(h / group, c, h % group);
            }
        }
    }

    /// Adds gradients in the layout of `kernel` and `mix`; heads of several batch rows add up in order.
    void add_gradients(const Layout<Scalar>& layout, Index bundle, const Scalar* d_kernel,
                       const Scalar* d_mix, ScoreMixingParams<Scalar>& d_params) const {
        for (Index l = 0; l < groups.used; ++l) {
            const Index h = layout.lane(bundle, l).h, group = groups.group;
            for (Index u = 0; u < Cq; ++u)
                for (Index v = 0; v < Ck; ++v)
                    d_params.conv->kernel(h, u, v) += d_kernel[tap_at(l, u, v)];
            for (Index c = 0; c < group; ++c)
                d_params.mix->mix(h / group, h % group, c) += d_mix[mix_weight_at<Scalar>(groups, l, c)];
        }
    }
};

}  // namespace mta::fast
