// Score convolution over queries, keys and heads: key-query convolution and head mixing in one kernel.
// SPDX-License-Identifier: MIT
//
// Source    Multi-Token Attention, arXiv:2504.00927, Sec. 3.3 (the 3-dimensional convolution).
// Forward   out[b, g Ch + o, i, j]
//             = sum_{c<Ch, u<Cq, v<Ck} kernel[g Ch + o, c, u, v] * scores[b, g Ch + c, p, q]
//           with p = i + u - (Cq-1), q = j + v - left; reads outside the matrix count as 0.
// Backward  with d_x = dLoss/dx, over the same taps (o,i,j,c,u,v) -> (c,p,q):
//           d_scores[b, g Ch + c, p, q] += kernel[g Ch + o, c, u, v] * d_out[b, g Ch + o, i, j]
//           d_kernel[g Ch + o, c, u, v] += scores[b, g Ch + c, p, q] * d_out[b, g Ch + o, i, j]
// Shapes    scores, out: (B, H, Sq, Sk)    kernel: (H, Ch, Cq, Ck), H divisible by Ch
// Units     scores: dimensionless (logits over sqrt(D), or probabilities); indices: tokens.
// Traps     1. Axis 0 of the kernel counts all output heads, axis 1 the input heads of one group, as the
//              weight of torch's grouped conv2d (groups = H / Ch).
//           2. Cross-correlation, and not causal by itself: the rules of the (query, key) plane are those of
//              core/key_query_taps.hpp.
//           3. A kernel is conv-then-mix (score_conv3d_kernel) only if it is an outer product; a general one
//              has Ch times the parameters and cannot be split back.
// Errors    ShapeError: heads of kernel and scores differ, heads not divisible by Ch, an empty kernel,
//           an even Ck with padding `both`, Sq != Sk with documents or not_after_query.
//           ValueError: unsorted document starts.
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
struct ScoreConv3dConfig {
    KeyPadding key_padding = KeyPadding::both;
    TapRule taps = TapRule::all;
};

/// Everything an optimizer may change, and nothing else.
template <class Scalar>
struct ScoreConv3dParams {
    Parameter<Scalar, 4> kernel;  // (H, Ch, Cq, Ck): output head, input head in its group, query, key

    /// Walks several instances side by side: f("kernel", params.kernel, grads.kernel, ...).
    template <class F, class... P>
    static void for_each(F&& f, P&... p) {
        f("kernel", p.kernel...);
    }
};

/// One d_ member per differentiable argument of forward, in the same order.
template <class Scalar>
struct ScoreConv3dGrads {
    Tensor<Scalar, 4> d_scores;          // (B, H, Sq, Sk)
    ScoreConv3dParams<Scalar> d_params;  // same struct as the parameters
};

/// The kernel that convolves each head with kernel[h] and then mixes the heads of each group: the outer
/// product mix[g,o,c] * kernel[g Ch + c, u, v]. mix: (G, Ch, Ch), kernel: (G Ch, Cq, Ck).
/// Throws ShapeError when mix is not square matrices or the heads differ.
template <TensorOf<3> Mix, TensorOf<3> Kernel>
auto score_conv3d_kernel(const Mix& mix, const Kernel& kernel) -> Tensor<ScalarOf<Kernel>, 4> {
    const Index Ch = mix.dimension(1), H = mix.dimension(0) * Ch;
    require(mix.size() > 0 && mix.dimension(2) == Ch, "score_conv3d_kernel: mix: got shape ",
            mix.dimensions(), ", expected square matrices, one per group of heads");
    require_same("score_conv3d_kernel: heads of kernel", kernel.dimension(0), H);
    auto product = zeros<ScalarOf<Kernel>>(H, Ch, kernel.dimension(1), kernel.dimension(2));
    for (Index h = 0; h < H; ++h)
        for (Index c = 0; c < Ch; ++c)
            for (Index u = 0; u < kernel.dimension(1); ++u)
                for (Index v = 0; v < kernel.dimension(2); ++v)
                    product(h, c, u, v) = mix(h / Ch, h % Ch, c) * kernel(h / Ch * Ch + c, u, v);
    return product;
}

namespace detail {
template <class Scores, class Kernel>
KeyQueryTaps score_conv3d_taps(const Scores& scores, const Kernel& kernel, ScoreConv3dConfig config,
                               const Documents& documents) {
    const Index H = scores.dimension(1), Ch = kernel.dimension(1);
    require_same("score_conv3d: output heads of kernel", kernel.dimension(0), H);
    require(Ch >= 1 && H % Ch == 0, "score_conv3d: input heads per group of kernel: got ", Ch,
            ", expected a divisor of ", H, " heads");
    const KeyQueryTaps taps{kernel.dimension(2), kernel.dimension(3), config.key_padding, config.taps};
    taps.check("score_conv3d", documents, scores.dimension(0), scores.dimension(2), scores.dimension(3));
    return taps;
}
}  // namespace detail

/// Returns out, shaped like scores. `documents`: where packed documents start in each batch row.
template <TensorOf<4> Scores>
auto score_conv3d_forward(const Scores& scores, const ScoreConv3dParams<ScalarOf<Scores>>& params,
                          ScoreConv3dConfig config = {}, const Documents& documents = {})
    -> Tensor<ScalarOf<Scores>, 4> {
    const auto taps = detail::score_conv3d_taps(scores, params.kernel, config, documents);
    auto out = zeros_like(scores);
    const Index H = scores.dimension(1), Ch = params.kernel.dimension(1);
    parallel_for(scores.dimension(0) * H, [&](Index bh) {
        const Index b = bh / H, h = bh % H, first_head = h / Ch * Ch;
        for (Index i = 0; i < scores.dimension(2); ++i)
            for (Index c = 0; c < Ch; ++c) {
                auto out_row = row(out, b, h, i);
                auto run = [&](Index u, Index v, Index p, Index begin, Index end, Index shift) {
                    const auto weight = params.kernel(h, c, u, v);
                    const auto in_row = row(scores, b, first_head + c, p);
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
auto score_conv3d_backward(const Out& d_out, const Scores& scores,
                           const ScoreConv3dParams<ScalarOf<Scores>>& params, ScoreConv3dConfig config = {},
                           const Documents& documents = {}) -> ScoreConv3dGrads<ScalarOf<Scores>> {
    static_assert(std::is_same_v<ScalarOf<Out>, ScalarOf<Scores>>,
                  "score_conv3d: d_out holds another scalar");
    require_same_shape("score_conv3d: d_out", d_out.dimensions(), scores.dimensions());
    const auto taps = detail::score_conv3d_taps(scores, params.kernel, config, documents);
    ScoreConv3dGrads<ScalarOf<Scores>> g{zeros_like(scores), {zeros_like(params.kernel)}};
    const Index Ch = params.kernel.dimension(1);
    // Over input heads: slice (.., c) of a group's kernels belongs to one of them, so the writes are
    // disjoint.
    parallel_for(scores.dimension(1), [&](Index in_head) {
        const Index first_head = in_head / Ch * Ch, c = in_head % Ch;
        const auto add_row = [&](Index b, Index h, Index i) {
            const auto d_out_row = row(d_out, b, h, i);
            if (all_zero(d_out_row)) return;
            auto run = [&](Index u, Index v, Index p, Index begin, Index end, Index shift) {
                const auto weight = params.kernel(h, c, u, v);
                const auto in_row = row(scores, b, in_head, p);
                auto d_in_row = row(g.d_scores, b, in_head, p);
                ScalarOf<Scores> d_weight{0};
                for (Index j = begin; j < end; ++j) {
                    d_in_row[j + shift] += weight * d_out_row[j];
                    d_weight += in_row[j + shift] * d_out_row[j];
                }
                g.d_params.kernel(h, c, u, v) += d_weight;
            };
            taps.of_query(documents, b, i, scores.dimension(3), run);
        };
        for (Index b = 0; b < scores.dimension(0); ++b)
            for (Index i = 0; i < scores.dimension(2); ++i)
                for (Index o = 0; o < Ch; ++o)
                    add_row(b, first_head + o, i);
    });
    return g;
}

}  // namespace mta
