// Multi-token attention in a single pass over the keys, with the online softmax: short, plain, and not fast.
// SPDX-License-Identifier: MIT
//
// Source    Multi-Token Attention, arXiv:2504.00927, Eqs. 5 to 7; online softmax: Milakov and Gimelshein,
//           arXiv:1805.02867. docs/fast.md derives it. This is the form for processors with small fast memories.
// Idea      the post-softmax stages are linear in the weights. Row r of the weights, exp(M[r,m] - max_r) / sum_r,
//           contributes to the outputs of queries r, ..., r + Cq - 1: for query r + u', head g and value feature d
//               w_post[g,h] / sum_r * sum_m exp(M[r,m] - max_r) * sum_v kernel'[h,u',v] * value_g[m + v', d]
//           over the keys m + v' that query r + u' sees. So row r keeps one accumulator for each (h, g, u'), rescales
//           all of them when its maximum grows, and divides by its sum once, at the end of the row.
// Masks     the output mask j <= i cuts taps where the kernel reaches over the diagonal: that is a bound on v', and the
//           only place where the values cannot be convolved before they are weighted.
// Memory    one row of accumulators, Cq_post x Ch x Ch x D numbers, and Cq_pre rows of a tile of logits.
// Shapes    q: (B, H, S, D)   k, v: (B, Hkv, S, D)   returns the context (B, H, S, D): no norm, no gate
// Errors    those of layers/multi_token_attention.hpp. ValueError: MaskRule other than `twice`, sparsemax, documents.
#pragma once

#include <algorithm>
#include <mta/core/parallel.hpp>
#include <mta/layers/multi_token_attention.hpp>
#include <vector>

namespace mta {

namespace detail {

/// A kernel with the identity in place of a convolution that is left out.
template <class Scalar>
Tensor<Scalar, 3> kernel_or_identity(const ScoreMixingParams<Scalar>& params, Index H) {
    if (params.conv) return params.conv->kernel;
    auto one = zeros<Scalar>(H, 1, 1);
    fill(one, Scalar(1));
    return one;
}

/// All heads as one matrix (H, H), zeros between groups; the identity where mixing is left out.
template <class Scalar>
Tensor<Scalar, 2> mix_or_identity(const ScoreMixingParams<Scalar>& params, Index H) {
    auto all = zeros<Scalar>(H, H);
    const Index Ch = params.mix ? params.mix->mix.dimension(1) : 1;
    for (Index h = 0; h < H; ++h)
        for (Index c = 0; c < Ch; ++c)
            all(h, h / Ch * Ch + c) = params.mix ? params.mix->mix(h / Ch, h % Ch, c) : Scalar(1);
    return all;
}

/// One batch row: everything that the walk over its weights needs.
template <class Scalar>
class OnlineRow {
  public:
    OnlineRow(const Scalar* q, const Scalar* k, const Scalar* v, Scalar* out, Index S,
              const MultiTokenAttentionParams<Scalar>& params, const MultiTokenAttentionConfig& config)
        : q_{q},
          k_{k},
          v_{v},
          out_{out},
          S_{S},
          H_{config.heads},
          D_{config.head_dim},
          shared_by_{config.heads / config.key_value_heads()},
          scale_{static_cast<Scalar>(config.scale.value_or(1 / std::sqrt(static_cast<double>(D_))))},
          pre_kernel_{kernel_or_identity(params.pre, H_)},
          post_kernel_{kernel_or_identity(params.post, H_)},
          pre_mix_{mix_or_identity(params.pre, H_)},
          post_mix_{mix_or_identity(params.post, H_)},
          pre_left_{left_of(config.pre)},
          post_left_{left_of(config.post)} {}

    /// Adds what the weights of row r of head h contribute to the outputs. `tile`: keys that are looked at together.
    void add_row(Index r, Index h, Index tile) {
        const Index Cq = post_kernel_.dimension(1);
        std::vector<Scalar> sums(static_cast<std::size_t>(H_ * Cq * D_), Scalar(0)), scores;
        Scalar maximum = -std::numeric_limits<Scalar>::infinity(), total{0};
        for (Index begin = 0; begin <= r; begin += tile) {
            scores.clear();
            for (Index m = begin; m < std::min(begin + tile, r + 1); ++m)
                scores.push_back(mixed_score(h, r, m));
            const Scalar grown = std::max(maximum, *std::max_element(scores.begin(), scores.end()));
            const Scalar shrink = begin == 0 ? Scalar(0) : std::exp(maximum - grown);
            total *= shrink;
            for (auto& x : sums)
                x *= shrink;
            maximum = grown;
            for (std::size_t n = 0; n < scores.size(); ++n) {
                const Scalar weight = std::exp(scores[n] - maximum);
                total += weight;
                add_values(r, h, begin + static_cast<Index>(n), weight, sums);
            }
        }
        for (Index g = 0; g < H_; ++g)
            for (Index below = 0; below < Cq && r + below < S_; ++below)
                for (Index d = 0; d < D_; ++d)
                    out_[(g * S_ + r + below) * D_ + d] +=
                        post_mix_(g, h) * sums[static_cast<std::size_t>((g * Cq + below) * D_ + d)] / total;
    }

  private:
    static Index left_of(const ScoreMixingConfig& c) {
        return c.has_conv() ? keys_to_the_left(c.key_kernel, c.key_padding) : 0;
    }

    // The masked logit; 0 outside the matrix and for keys in the future.
    Scalar logit(Index h, Index i, Index j) const {
        if (i < 0 || j < 0 || j > i) return Scalar(0);
        Scalar sum{0};
        for (Index d = 0; d < D_; ++d)
            sum += q_[(h * S_ + i) * D_ + d] * k_[(h / shared_by_ * S_ + j) * D_ + d];
        return scale_ * sum;
    }

    // Convolved and mixed.
    Scalar mixed_score(Index g, Index i, Index j) const {
        const Index Cq = pre_kernel_.dimension(1), Ck = pre_kernel_.dimension(2);
        Scalar sum{0};
        for (Index h = 0; h < H_; ++h) {
            if (pre_mix_(g, h) == Scalar(0)) continue;
            for (Index u = 0; u < Cq; ++u)
                for (Index v = 0; v < Ck; ++v)
                    sum +=
                        pre_mix_(g, h) * pre_kernel_(h, u, v) * logit(h, i - (Cq - 1) + u, j - pre_left_ + v);
        }
        return sum;
    }

    // Row r, `below` rows above output i = r + below, reads through tap u = Cq - 1 - below. Its key m is read by output
    // key j = m + left - v, if that is visible to query i.
    void add_values(Index r, Index h, Index m, Scalar weight, std::vector<Scalar>& sums) const {
        const Index Cq = post_kernel_.dimension(1), Ck = post_kernel_.dimension(2);
        for (Index g = 0; g < H_; ++g) {
            if (post_mix_(g, h) == Scalar(0)) continue;
            for (Index below = 0; below < Cq && r + below < S_; ++below)
                for (Index v = 0; v < Ck; ++v) {
                    const Index j = m + post_left_ - v;
                    if (j < 0 || j > r + below) continue;
                    const Scalar factor = weight * post_kernel_(h, Cq - 1 - below, v);
                    for (Index d = 0; d < D_; ++d)
                        sums[static_cast<std::size_t>((g * Cq + below) * D_ + d)] +=
                            factor * v_[(g / shared_by_ * S_ + j) * D_ + d];
                }
        }
    }

    const Scalar *q_, *k_, *v_;
    Scalar* out_;
    Index S_, H_, D_, shared_by_;
    Scalar scale_;
    Tensor<Scalar, 3> pre_kernel_, post_kernel_;
    Tensor<Scalar, 2> pre_mix_, post_mix_;
    Index pre_left_, post_left_;
};

}  // namespace detail

/// The context, before norm and gate, from one pass over tiles of `tile` keys for each row of weights.
template <TensorOf<4> Q, TensorOf<4> K, TensorOf<4> V>
auto online_softmax_attention_forward(const Q& q, const K& k, const V& v,
                                      const MultiTokenAttentionParams<ScalarOf<Q>>& params,
                                      const MultiTokenAttentionConfig& config, Index tile)
    -> Tensor<ScalarOf<Q>, 4> {
    using Scalar = ScalarOf<Q>;
    detail::check_multi_token_attention(q, k, v, params, config, {});
    require<ValueError>(
        config.mask == MaskRule::twice && config.normalise == Normalise::softmax,
        "online_softmax_attention: config: got another mask or normalisation, expected the mask "
        "`twice` and softmax");
    require<ValueError>(tile >= 1, "online_softmax_attention: tile: got ", tile, ", expected at least 1");
    auto out = zeros_like(q);
    const Index S = q.dimension(2), H = config.heads, D = config.head_dim, kv = config.key_value_heads();
    parallel_for(q.dimension(0), [&](Index b) {
        detail::OnlineRow<Scalar> row(q.data() + b * H * S * D, k.data() + b * kv * S * D,
                                      v.data() + b * kv * S * D, out.data() + b * H * S * D, S, params,
                                      config);
        for (Index r = 0; r < S; ++r)
            for (Index h = 0; h < H; ++h)
                row.add_row(r, h, tile);
    });
    return out;
}

}  // namespace mta
