// Head mixing: each head's scores become a learned combination of the scores of the heads in its group.
// SPDX-License-Identifier: MIT
//
// Source    Multi-Token Attention, arXiv:2504.00927, Sec. 3.2, Eq. 7.
// Forward   out[b, g Ch + o, i, j] = sum_{c<Ch} mix[g,o,c] * scores[b, g Ch + c, i, j], in the order of c.
// Backward  with d_x = dLoss/dx:
//           d_scores[b, g Ch + c, i, j] = sum_{o<Ch}  mix[g,o,c] * d_out[b, g Ch + o, i, j]
//           d_mix[g,o,c]                = sum_{b,i,j} scores[b, g Ch + c, i, j] * d_out[b, g Ch + o, i, j]
// Shapes    scores, out: (B, H, Sq, Sk)    mix: (G, Ch, Ch) with H = G Ch
// Units     scores: dimensionless (logits over sqrt(D), or probabilities); mix: dimensionless.
// Traps     1. Public checkpoints hold the post-softmax mix transposed, [g][in][out]: loaders transpose.
//              Here rows are output heads and columns input heads.
//           2. Mix before the -inf mask, never after: 0 * -inf is NaN.
//           3. Groups are blocks of neighbouring heads, not every G-th head.
// Errors    ShapeError: an empty mix, matrices that are not square, G Ch differs from the heads of scores.
#pragma once

#include <mta/core/numeric.hpp>
#include <mta/core/parallel.hpp>
#include <mta/core/parameters.hpp>
#include <mta/core/require.hpp>
#include <mta/core/tensor.hpp>

namespace mta {

/// Everything an optimizer may change, and nothing else.
template <class Scalar>
struct HeadMixParams {
    Parameter<Scalar, 3> mix;  // (G, Ch, Ch): group, output head, input head

    /// Walks several instances side by side: f("mix", params.mix, grads.mix, ...).
    template <class F, class... P>
    static void for_each(F&& f, P&... p) {
        f("mix", p.mix...);
    }
};

/// One d_ member per differentiable argument of forward, in the same order.
template <class Scalar>
struct HeadMixGrads {
    Tensor<Scalar, 4> d_scores;      // (B, H, Sq, Sk)
    HeadMixParams<Scalar> d_params;  // same struct as the parameters
};

namespace detail {
template <class Scores, class Mix>
void check_head_mix(const Scores& scores, const Mix& mix) {
    require(mix.size() > 0 && mix.dimension(1) == mix.dimension(2), "head_mix: mix: got shape ",
            mix.dimensions(), ", expected square matrices, one per group of heads");
    require_same("head_mix: groups times heads per group of mix", mix.dimension(0) * mix.dimension(1),
                 scores.dimension(1));
}
}  // namespace detail

/// Returns out, shaped like scores.
template <TensorOf<4> Scores>
auto head_mix_forward(const Scores& scores, const HeadMixParams<ScalarOf<Scores>>& params)
    -> Tensor<ScalarOf<Scores>, 4> {
    detail::check_head_mix(scores, params.mix);
    auto out = zeros_like(scores);
    const Index H = scores.dimension(1), Ch = params.mix.dimension(1);
    parallel_for(scores.dimension(0) * H, [&](Index bh) {
        const Index b = bh / H, h = bh % H, g = h / Ch, o = h % Ch;
        for (Index i = 0; i < scores.dimension(2); ++i) {
            auto out_row = row(out, b, h, i);
            for (Index c = 0; c < Ch; ++c) {
                const auto weight = params.mix(g, o, c);
                const auto in_row = row(scores, b, g * Ch + c, i);
                for (std::size_t j = 0; j < out_row.size(); ++j)
                    out_row[j] += weight * in_row[j];
            }
        }
    });
    return out;
}

/// Takes d_out, then exactly forward's arguments. Returns fresh gradients; the caller sums them.
template <TensorOf<4> Out, TensorOf<4> Scores>
auto head_mix_backward(const Out& d_out, const Scores& scores, const HeadMixParams<ScalarOf<Scores>>& params)
    -> HeadMixGrads<ScalarOf<Scores>> {
    static_assert(std::is_same_v<ScalarOf<Out>, ScalarOf<Scores>>, "head_mix: d_out holds another scalar");
    require_same_shape("head_mix: d_out", d_out.dimensions(), scores.dimensions());
    detail::check_head_mix(scores, params.mix);
    HeadMixGrads<ScalarOf<Scores>> g{zeros_like(scores), {zeros_like(params.mix)}};
    const Index Ch = params.mix.dimension(1);
    // Over input heads: column c of a group's matrix belongs to one of them, so the writes are disjoint.
    parallel_for(scores.dimension(1), [&](Index h) {
        const Index group = h / Ch, c = h % Ch;
        for (Index b = 0; b < scores.dimension(0); ++b)
            for (Index i = 0; i < scores.dimension(2); ++i) {
                const auto in_row = row(scores, b, h, i);
                auto d_in_row = row(g.d_scores, b, h, i);
                for (Index o = 0; o < Ch; ++o) {
                    const auto d_out_row = row(d_out, b, group * Ch + o, i);
                    if (all_zero(d_out_row)) continue;
                    const auto weight = params.mix(group, o, c);
                    for (std::size_t j = 0; j < in_row.size(); ++j)
                        d_in_row[j] += weight * d_out_row[j];
                    g.d_params.mix(group, o, c) += dot(in_row, d_out_row);
                }
            }
    });
    return g;
}

}  // namespace mta
