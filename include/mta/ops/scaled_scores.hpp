// Scaled scores: how well each query matches each key it may read, with grouped key-value heads.
// SPDX-License-Identifier: MIT
//
// Source    Attention is all you need, arXiv:1706.03762, Eq. 1; Multi-Token Attention, arXiv:2504.00927,
//           Sec. 2, Eq. 1. Grouped heads: arXiv:2305.13245.
// Forward   out[b,h,i,j] = scale * sum_d q[b,h,i,d] * k[b,g,j,d] for visible keys j, else exactly 0,
//           with g = h / (H/Hkv) the key-value head that query head h shares.
// Backward  with d_x = dLoss/dx, over the same visible (i,j):
//           d_q[b,h,i,d] += scale * d_out[b,h,i,j] * k[b,g,j,d]
//           d_k[b,g,j,d] += scale * d_out[b,h,i,j] * q[b,h,i,d], summed over the H/Hkv heads h that share g
// Shapes    q: (B, H, Sq, D)    k: (B, Hkv, Sk, D)    out: (B, H, Sq, Sk)
// Units     out: dimensionless logits; lookahead: tokens.
// Traps     1. Consecutive query heads share a key-value head (h / group), not every Hkv-th one (h % Hkv).
//           2. The zeros at invisible keys are not a mask: a softmax needs causal_mask_inf, and the
//              convolution of Eq. 4 needs `lookahead` = Cq - 1 more keys than the query itself may read.
//           3. d_out at invisible keys is ignored, whatever it holds. Where d_out is exactly 0 neither q nor
//              k is multiplied: a key that only lookahead shows may hold the NaN of a later token.
// Errors    ShapeError: batch or width differ, H is not a multiple of Hkv, an empty width or no key-value
//           head, Sq != Sk under a causal mask or packed documents. ValueError: scale is not finite,
//           lookahead < 0, unsorted document starts.
#pragma once

#include <cmath>
#include <mta/core/attention_mask.hpp>
#include <mta/core/numeric.hpp>
#include <mta/core/parallel.hpp>
#include <mta/core/require.hpp>
#include <mta/core/tensor.hpp>
#include <optional>

namespace mta {

/// Choices fixed before training; they have no gradient.
struct ScaledScoresConfig {
    std::optional<double> scale = std::nullopt;  ///< absent: 1 / sqrt(D)
    Index lookahead = 0;                         ///< keys beyond a causal mask's range that are computed too
};

/// One d_ member per differentiable argument of forward, in the same order.
template <class Scalar>
struct ScaledScoresGrads {
    Tensor<Scalar, 4> d_q;  // (B, H, Sq, D)
    Tensor<Scalar, 4> d_k;  // (B, Hkv, Sk, D)
};

namespace detail {
// Throws unless the arguments can work; returns the scale in the tensors' own precision.
template <class Q, class K>
RealOf<ScalarOf<Q>> scaled_scores_scale(const Q& q, const K& k, const ScaledScoresConfig& config,
                                        const AttentionMask& mask) {
    static_assert(std::is_same_v<ScalarOf<Q>, ScalarOf<K>>, "scaled_scores: q and k hold different scalars");
    const Index H = q.dimension(1), Hkv = k.dimension(1), D = q.dimension(3);
    require_same("scaled_scores: batch of k", k.dimension(0), q.dimension(0));
    require_same("scaled_scores: width of k", k.dimension(3), D);
    require(D >= 1, "scaled_scores: width of q: got ", D, ", expected at least 1");
    require(Hkv >= 1 && H % Hkv == 0, "scaled_scores: heads of k: got ", Hkv, ", expected a divisor of the ",
            H, " heads of q");
    require<ValueError>(config.lookahead >= 0, "scaled_scores: lookahead: got ", config.lookahead,
                        ", expected at least 0");
    const auto scale =
        static_cast<RealOf<ScalarOf<Q>>>(config.scale.value_or(1.0 / std::sqrt(static_cast<double>(D))));
    require<ValueError>(std::isfinite(scale), "scaled_scores: scale: got ", scale, ", expected a finite one");
    mask.check("scaled_scores", q.dimension(0), q.dimension(2), k.dimension(2));
    return scale;
}
}  // namespace detail

/// Returns out (B, H, Sq, Sk); keys that `mask` and `lookahead` hide are exactly 0 and never read.
template <TensorOf<4> Q, TensorOf<4> K>
auto scaled_scores_forward(const Q& q, const K& k, const ScaledScoresConfig& config = {},
                           const AttentionMask& mask = {MaskRule::none, {}}) -> Tensor<ScalarOf<Q>, 4> {
    const auto scale = detail::scaled_scores_scale(q, k, config, mask);
    const Index H = q.dimension(1), Sq = q.dimension(2), Sk = k.dimension(2);
    const Index heads_per_key_head = H / k.dimension(1);
    auto out = zeros<ScalarOf<Q>>(q.dimension(0), H, Sq, Sk);
    parallel_for(q.dimension(0) * H, [&](Index bh) {
        const Index b = bh / H, h = bh % H;
        for (Index i = 0; i < Sq; ++i) {
            const KeyRange keys = mask.keys(b, i, Sk, config.lookahead);
            const auto q_row = row(q, b, h, i);
            auto out_row = row(out, b, h, i);
            for (Index j = keys.begin; j < keys.end; ++j)
                out_row[j] = scale * dot(q_row, row(k, b, h / heads_per_key_head, j));
        }
    });
    return out;
}

/// Takes d_out, then exactly forward's arguments. Returns fresh gradients; the caller sums them.
template <TensorOf<4> Out, TensorOf<4> Q, TensorOf<4> K>
auto scaled_scores_backward(const Out& d_out, const Q& q, const K& k, const ScaledScoresConfig& config = {},
                            const AttentionMask& mask = {MaskRule::none, {}})
    -> ScaledScoresGrads<ScalarOf<Q>> {
    static_assert(std::is_same_v<ScalarOf<Out>, ScalarOf<Q>>, "scaled_scores: d_out holds another scalar");
    const auto scale = detail::scaled_scores_scale(q, k, config, mask);
    const Index H = q.dimension(1), Hkv = k.dimension(1), Sq = q.dimension(2), Sk = k.dimension(2);
    require_same_shape("scaled_scores: d_out", d_out.dimensions(),
                       std::array<Index, 4>{q.dimension(0), H, Sq, Sk});
    const Index heads_per_key_head = H / Hkv;
    ScaledScoresGrads<ScalarOf<Q>> g{zeros_like(q), zeros_like(k)};
    const auto add_row = [&](Index b, Index h, Index i) {
        const KeyRange keys = mask.keys(b, i, Sk, config.lookahead);
        const auto q_row = row(q, b, h, i), d_out_row = row(d_out, b, h, i);
        auto d_q_row = row(g.d_q, b, h, i);
        for (Index j = keys.begin; j < keys.end; ++j) {
            if (d_out_row[j] == ScalarOf<Out>(0))
                continue;  // 0 * NaN would leak a later key through the lookahead
            const auto d_dot = scale * d_out_row[j];
            const auto k_row = row(k, b, h / heads_per_key_head, j);
            auto d_k_row = row(g.d_k, b, h / heads_per_key_head, j);
            for (Index d = 0; d < q.dimension(3); ++d) {
                d_q_row[d] += d_dot * k_row[d];
                d_k_row[d] += d_dot * q_row[d];
            }
        }
    };
    // One call owns a key head and every query head that shares it, so d_k has one order of summation.
    parallel_for(q.dimension(0) * Hkv, [&](Index bg) {
        const Index b = bg / Hkv, first = bg % Hkv * heads_per_key_head;
        for (Index h = first; h < first + heads_per_key_head; ++h)
            for (Index i = 0; i < Sq; ++i)
                add_row(b, h, i);
    });
    return g;
}

}  // namespace mta
