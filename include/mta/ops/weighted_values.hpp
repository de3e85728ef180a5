// Weighted values: the context of each query, the sum of the values it reads times their weights.
// SPDX-License-Identifier: MIT
//
// Source    Attention is all you need, arXiv:1706.03762, Eq. 1; Multi-Token Attention, arXiv:2504.00927,
//           Sec. 2. Grouped heads: arXiv:2305.13245.
// Forward   out[b,h,i,d] = sum over visible keys j, ascending, of weights[b,h,i,j] * v[b,g,j,d],
//           with g = h / (H/Hkv) the key-value head that query head h shares.
// Backward  with d_x = dLoss/dx, over the same visible (i,j):
//           d_weights[b,h,i,j] = sum_d d_out[b,h,i,d] * v[b,g,j,d], 0 at hidden keys
//           d_v[b,g,j,d]      += weights[b,h,i,j] * d_out[b,h,i,d], summed over the heads h that share g
// Shapes    weights: (B, H, Sq, Sk)    v: (B, Hkv, Sk, Dv)    out: (B, H, Sq, Dv)
// Units     weights: dimensionless; out: those of v.
// Traps     1. Weights need not be probabilities: after the post-softmax convolution and head mixing rows
//              may be negative and do not sum to 1. Nothing is normalised here.
//           2. A hidden key's weight is 0, but 0 * NaN is NaN: the loop must not visit hidden keys at all.
//           3. Dv may differ from the width of the keys.
// Errors    ShapeError: batch or keys differ, H is not a multiple of Hkv, an empty width or no key-value
//           head, Sq != Sk under a causal mask or packed documents, d_out unlike out. ValueError: unsorted
//           document starts.
#pragma once

#include <mta/core/attention_mask.hpp>
#include <mta/core/numeric.hpp>
#include <mta/core/parallel.hpp>
#include <mta/core/require.hpp>
#include <mta/core/tensor.hpp>

namespace mta {

/// One d_ member per differentiable argument of forward, in the same order.
template <class Scalar>
struct WeightedValuesGrads {
    Tensor<Scalar, 4> d_weights;  // (B, H, Sq, Sk)
    Tensor<Scalar, 4> d_v;        // (B, Hkv, Sk, Dv)
};

namespace detail {
template <class Weights, class V>
void weighted_values_check(const Weights& weights, const V& v, const AttentionMask& mask) {
    static_assert(std::is_same_v<ScalarOf<Weights>, ScalarOf<V>>,
                  "weighted_values: weights and v hold different scalars");
    const Index H = weights.dimension(1), Hkv = v.dimension(1);
    require_same("weighted_values: batch of v", v.dimension(0), weights.dimension(0));
    require_same("weighted_values: keys of v", v.dimension(2), weights.dimension(3));
    require(v.dimension(3) >= 1, "weighted_values: width of v: got ", v.dimension(3),
            ", expected at least 1");
    require(Hkv >= 1 && H % Hkv == 0, "weighted_values: heads of v: got ", Hkv,
            ", expected a divisor of the ", H, " heads of weights");
    mask.check("weighted_values", weights.dimension(0), weights.dimension(2), weights.dimension(3));
}
}  // namespace detail

/// Returns out (B, H, Sq, Dv); keys that `mask` hides are never read.
template <TensorOf<4> Weights, TensorOf<4> V>
auto weighted_values_forward(const Weights& weights, const V& v,
                             const AttentionMask& mask = {MaskRule::none, {}})
    -> Tensor<ScalarOf<Weights>, 4> {
    detail::weighted_values_check(weights, v, mask);
    const Index H = weights.dimension(1), Sq = weights.dimension(2), Sk = v.dimension(2);
    const Index Dv = v.dimension(3), heads_per_value_head = H / v.dimension(1);
    auto out = zeros<ScalarOf<Weights>>(weights.dimension(0), H, Sq, Dv);
    parallel_for(weights.dimension(0) * H, [&](Index bh) {
        const Index b = bh / H, h = bh % H;
        for (Index i = 0; i < Sq; ++i) {
            const KeyRange keys = mask.keys(b, i, Sk);
            auto out_row = row(out, b, h, i);
            for (Index j = keys.begin; j < keys.end; ++j) {
                const auto weight = weights(b, h, i, j);
                const auto v_row = row(v, b, h / heads_per_value_head, j);
                for (Index d = 0; d < Dv; ++d)
                    out_row[d] += weight * v_row[d];
            }
        }
    });
    return out;
}

/// Takes d_out, then exactly forward's arguments. Returns fresh gradients; the caller sums them.
template <TensorOf<4> Out, TensorOf<4> Weights, TensorOf<4> V>
auto weighted_values_backward(const Out& d_out, const Weights& weights, const V& v,
                              const AttentionMask& mask = {MaskRule::none, {}})
    -> WeightedValuesGrads<ScalarOf<Weights>> {
    static_assert(std::is_same_v<ScalarOf<Out>, ScalarOf<V>>, "weighted_values: d_out holds another scalar");
    detail::weighted_values_check(weights, v, mask);
    const Index H = weights.dimension(1), Hkv = v.dimension(1), Sq = weights.dimension(2);
    const Index Sk = v.dimension(2), Dv = v.dimension(3), heads_per_value_head = H / Hkv;
    require_same_shape("weighted_values: d_out", d_out.dimensions(),
                       std::array<Index, 4>{weights.dimension(0), H, Sq, Dv});
    WeightedValuesGrads<ScalarOf<Weights>> g{zeros_like(weights), zeros_like(v)};
    const auto add_row = [&](Index b, Index h, Index i) {
        const auto d_out_row = row(d_out, b, h, i);
        if (all_zero(d_out_row)) return;
        const KeyRange keys = mask.keys(b, i, Sk);
        for (Index j = keys.begin; j < keys.end; ++j) {
            g.d_weights(b, h, i, j) = dot(d_out_row, row(v, b, h / heads_per_value_head, j));
            const auto weight = weights(b, h, i, j);
            auto d_v_row = row(g.d_v, b, h / heads_per_value_head, j);
            for (Index d = 0; d < Dv; ++d)
                d_v_row[d] += weight * d_out_row[d];
        }
    };
    // One call owns a value head and every query head that shares it, so d_v has one order of summation.
    parallel_for(weights.dimension(0) * Hkv, [&](Index bg) {
        const Index b = bg / Hkv, first = bg % Hkv * heads_per_value_head;
        for (Index h = first; h < first + heads_per_value_head; ++h)
            for (Index i = 0; i < Sq; ++i)
                add_row(b, h, i);
    });
    return g;
}

}  // namespace mta
