// Causal mask: keep the keys a query may read, and replace the others by 0 or by -infinity.
// SPDX-License-Identifier: MIT
//
// Source    Multi-Token Attention, arXiv:2504.00927, Sec. 3.1, Eq. 5 (zeros before the convolution, -infinity
//           before the softmax) and Eq. 6 (zeros after the convolution of the attention weights).
// Forward   zero: out[b,h,i,j] = scores[b,h,i,j] where key j is visible to query i, else 0
//           inf:  out[b,h,i,j] = scores[b,h,i,j] where key j is visible to query i, else -infinity
// Backward  both forms: d_scores[b,h,i,j] = d_out[b,h,i,j] where key j is visible to query i, else 0
// Shapes    scores, out: (B, H, Sq, Sk)
// Units     those of scores.
// Traps     1. A selection, never a product: 0 * NaN and 0 * infinity are NaN, so multiplying by a mask lets
//              the hidden future spoil the past, in the values and again in the gradients.
//           2. Mask rules `twice` and `exact` hide the same keys here; they differ in the convolution alone.
//              `none` lets queries read later keys, but still none of another document.
//           3. Before a convolution use zero, before a softmax use inf: a zero is a score like any other to a
//              softmax, and an infinity spreads through every tap of a convolution.
// Errors    ShapeError: Sq != Sk under a causal rule or packed documents, d_out unlike scores. ValueError:
//           unsorted document starts.
#pragma once

#include <limits>
#include <mta/core/attention_mask.hpp>
#include <mta/core/parallel.hpp>
#include <mta/core/require.hpp>
#include <mta/core/tensor.hpp>

namespace mta {

/// One d_ member per differentiable argument of forward.
template <class Scalar>
struct CausalMaskGrads {
    Tensor<Scalar, 4> d_scores;  // (B, H, Sq, Sk)
};

namespace detail {
// Copies visible elements of x; the others become `hidden`.
template <class X>
TensorLike<X> causal_mask_select(const X& x, const AttentionMask& mask, ScalarOf<X> hidden) {
    const Index H = x.dimension(1), Sq = x.dimension(2), Sk = x.dimension(3);
    mask.check("causal_mask", x.dimension(0), Sq, Sk);
    TensorLike<X> out(x.dimensions());
    fill(out, hidden);
    parallel_for(x.dimension(0) * H, [&](Index bh) {
        const Index b = bh / H, h = bh % H;
        for (Index i = 0; i < Sq; ++i) {
            const KeyRange keys = mask.keys(b, i, Sk);
            const auto x_row = row(x, b, h, i);
            auto out_row = row(out, b, h, i);
            for (Index j = keys.begin; j < keys.end; ++j)
                out_row[j] = x_row[j];
        }
    });
    return out;
}

template <class Out, class Scores>
CausalMaskGrads<ScalarOf<Scores>> causal_mask_gradient(const Out& d_out, const Scores& scores,
                                                       const AttentionMask& mask) {
    static_assert(std::is_same_v<ScalarOf<Out>, ScalarOf<Scores>>, "causal_mask: d_out and scores differ");
    require_same_shape("causal_mask: d_out", d_out.dimensions(), scores.dimensions());
    return {causal_mask_select(d_out, mask, ScalarOf<Scores>(0))};
}
}  // namespace detail

/// Returns scores with every hidden key's element replaced by 0.
template <TensorOf<4> Scores>
auto causal_mask_zero_forward(const Scores& scores, const AttentionMask& mask)
    -> Tensor<ScalarOf<Scores>, 4> {
    return detail::causal_mask_select(scores, mask, ScalarOf<Scores>(0));
}

/// Takes d_out, then exactly forward's arguments. Only the shape of `scores` matters.
template <TensorOf<4> Out, TensorOf<4> Scores>
auto causal_mask_zero_backward(const Out& d_out, const Scores& scores, const AttentionMask& mask)
    -> CausalMaskGrads<ScalarOf<Scores>> {
    return detail::causal_mask_gradient(d_out, scores, mask);
}

/// Returns scores with every hidden key's element replaced by -infinity.
template <TensorOf<4> Scores>
auto causal_mask_inf_forward(const Scores& scores, const AttentionMask& mask) -> Tensor<ScalarOf<Scores>, 4> {
    using Real = RealOf<ScalarOf<Scores>>;
    return detail::causal_mask_select(scores, mask, ScalarOf<Scores>(-std::numeric_limits<Real>::infinity()));
}

/// Takes d_out, then exactly forward's arguments. A constant passes no gradient, and -infinity is one.
template <TensorOf<4> Out, TensorOf<4> Scores>
auto causal_mask_inf_backward(const Out& d_out, const Scores& scores, const AttentionMask& mask)
    -> CausalMaskGrads<ScalarOf<Scores>> {
    return detail::causal_mask_gradient(d_out, scores, mask);
}

}  // namespace mta
