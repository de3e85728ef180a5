// Key-query convolution: mix each attention score with its neighbours, one kernel per head.
// SPDX-License-Identifier: MIT
//
// Source    Multi-Token Attention, arXiv:2504.00927, Sec. 3.1, Eqs. 4 to 6.
// Forward   out[b,h,i,j] = sum_{u<Cq, v<Ck} kernel[h,u,v] * scores[b,h,p,q]
//           with p = i + u - (Cq-1), q = j + v - left; reads outside the matrix count as 0.
// Backward  with d_x = dLoss/dx, over the same taps (i,j,u,v) -> (p,q):
//           d_scores[b,h,p,q] += kernel[h,u,v]   * d_out[b,h,i,j]
//           d_kernel[h,u,v]   += scores[b,h,p,q] * d_out[b,h,i,j]
// Shapes    scores, out: (B, H, Sq, Sk)    kernel: (H, Cq, Ck)
// Units     scores: dimensionless (logits over sqrt(D), or probabilities); indices: tokens.
// Traps     1. Cross-correlation, as torch conv2d; the paper's theta is the kernel flipped in both
//              directions: theta[i',j'] = kernel[Cq-1-i', left-j'].
//           2. Not causal by itself: padding `both` reads key j+1. TapRule::all relies on masks around it
//              (causal_mask.hpp); TapRule::not_after_query is the paper's Eq. 4 and needs logits of keys < i
//              + Cq.
//           3. Packed documents are a rule of the tap walk, not of a mask: masking blocks and convolving
//              plainly leaks across the boundary. Outputs whose key lies in another document stay 0.
// Errors    ShapeError: heads differ, an empty kernel, an even Ck with padding `both`, Sq != Sk with
//           documents or not_after_query. ValueError: unsorted document starts.
#pragma once

#include <mta/core/attention_mask.hpp>
#include <mta/core/key_query_taps.hpp>
#include <mta/core/numeric.hpp>
#include <mta/core/parallel.hpp>
#include <mta/core/parameters.hpp>
#include <mta/core/require.hpp>
#include <mta/core/tensor.hpp>

namespace mta {

/// Choices fixed before training; they have no gradient.
struct KeyQueryConvConfig {
    KeyPadding key_padding = KeyPadding::both;
    TapRule taps = TapRule::all;
};

/// Everything an optimizer may change, and nothing else.
template <class Scalar>
struct KeyQueryConvParams {
    Parameter<Scalar, 3> kernel;  // (H, Cq, Ck)

    /// Walks several instances side by side: f("kernel", params.kernel, grads.kernel, ...).
    template <class F, class... P>
    static void for_each(F&& f, P&... p) {
        f("kernel", p.kernel...);
    }
};

/// One d_ member per differentiable argument of forward, in the same order.
template <class Scalar>
struct KeyQueryConvGrads {
    Tensor<Scalar, 4> d_scores;           // (B, H, Sq, Sk)
    KeyQueryConvParams<Scalar> d_params;  // same struct as the parameters
};

namespace detail {
template <class Scores, class Kernel>
KeyQueryTaps key_query_conv_taps(const Scores& scores, const Kernel& kernel, KeyQueryConvConfig config,
                                 const Documents& documents) {
    require_same("key_query_conv: heads of kernel", kernel.dimension(0), scores.dimension(1));
    const KeyQueryTaps taps{kernel.dimension(1), kernel.dimension(2), config.key_padding, config.taps};
    taps.check("key_query_conv", documents, scores.dimension(0), scores.dimension(2), scores.dimension(3));
    return taps;
}
}  // namespace detail

/// Returns out, shaped like scores. `documents`: where packed documents start in each batch row.
template <TensorOf<4> Scores>
auto key_query_conv_forward(const Scores& scores, const KeyQueryConvParams<ScalarOf<Scores>>& params,
                            KeyQueryConvConfig config = {}, const Documents& documents = {})
    -> Tensor<ScalarOf<Scores>, 4> {
    const auto taps = detail::key_query_conv_taps(scores, params.kernel, config, documents);
    auto out = zeros_like(scores);
    const Index H = scores.dimension(1);
    parallel_for(scores.dimension(0) * H, [&](Index bh) {
        const Index b = bh / H, h = bh % H;
        for (Index i = 0; i < scores.dimension(2); ++i) {
            auto out_row = row(out, b, h, i);
            auto run = [&](Index u, Index v, Index p, Index begin, Index end, Index shift) {
                const auto weight = params.kernel(h, u, v);
                const auto in_row = row(scores, b, h, p);
                for (Index j = begin; j < end; ++j)
                    out_row[j] += weight * in_row[j + shift];
            };
            taps.of_query(documents, b, i, scores.dimension(3), run);
        }
    });
    return out;
}

/// Takes d_out, then exactly forward's arguments. Returns fresh gradients; the caller sums them.
template <TensorOf<4> Out, TensorOf<4> Scores>
auto key_query_conv_backward(const Out& d_out, const Scores& scores,
                             const KeyQueryConvParams<ScalarOf<Scores>>& params,
                             KeyQueryConvConfig config = {}, const Documents& documents = {})
    -> KeyQueryConvGrads<ScalarOf<Scores>> {
    static_assert(std::is_same_v<ScalarOf<Out>, ScalarOf<Scores>>,
                  "key_query_conv: d_out holds another scalar");
    require_same_shape("key_query_conv: d_out", d_out.dimensions(), scores.dimensions());
    const auto taps = detail::key_query_conv_taps(scores, params.kernel, config, documents);
    KeyQueryConvGrads<ScalarOf<Scores>> g{zeros_like(scores), {zeros_like(params.kernel)}};
    parallel_for(scores.dimension(1), [&](Index h) {
        for (Index b = 0; b < scores.dimension(0); ++b)
            for (Index i = 0; i < scores.dimension(2); ++i) {
                const auto d_out_row = row(d_out, b, h, i);
                if (all_zero(d_out_row)) continue;
                auto run = [&](Index u, Index v, Index p, Index begin, Index end, Index shift) {
                    const auto weight = params.kernel(h, u, v);
                    const auto in_row = row(scores, b, h, p);
                    auto d_in_row = row(g.d_scores, b, h, p);
                    ScalarOf<Scores> d_weight{0};
                    for (Index j = begin; j < end; ++j) {
                        d_in_row[j + shift] += weight * d_out_row[j];
                        d_weight += in_row[j + shift] * d_out_row[j];
                    }
                    g.d_params.kernel(h, u, v) += d_weight;
                };
                taps.of_query(documents, b, i, scores.dimension(3), run);
            }
    });
    return g;
}

}  // namespace mta
