// Decoding, the reference: multi-token attention of new tokens by computing all tokens again.
// SPDX-License-Identifier: MIT
//
// Source    Multi-Token Attention, arXiv:2504.00927, Sec. 3: a row of the final weights reads the weights of
//           Cq_post - 1 rows above it, and each of those the logits of Cq_pre - 1 rows above it.
// State     queries, keys and values of all tokens. Nothing is left out, so that nothing can be left out wrongly:
//           it judges caches that keep less, such as AttentionCache of fast/attention_cache.hpp.
// Promise   tokens that come one by one, in chunks or all at once have the same bits as in one call of Reference.
// Cost      a call costs as much as a forward pass over all tokens so far.
// Errors    ShapeError: a configuration that is not causal; tokens of another shape; more tokens than the capacity.
//           A call that throws leaves the cache as it was.
#pragma once

#include <algorithm>
#include <mta/layers/multi_token_attention.hpp>
#include <utility>

namespace mta {

/// The memory of one sequence per batch row, up to `capacity` tokens.
template <class Scalar>
class ReferenceAttentionCache {
  public:
    ReferenceAttentionCache(const MultiTokenAttentionConfig& config, Index batch, Index capacity)
        : config_{checked(config, capacity)}, batch_{batch}, capacity_{capacity} {
        require(batch >= 0, "ReferenceAttentionCache: batch: got ", batch, ", expected at least 0");
        clear();
    }

    Index length() const { return q_.dimension(2); }
    Index capacity() const { return capacity_; }
    /// Forgets all tokens.
    void clear() {
        q_ = Tensor<Scalar, 4>(batch_, config_.heads, Index{0}, config_.head_dim);
        k_ = v_ = Tensor<Scalar, 4>(batch_, config_.key_value_heads(), Index{0}, config_.head_dim);
    }

    /// Outputs (B, H, n, D) of n more tokens: q (B, H, n, D), k and v (B, Hkv, n, D). Dropout never acts.
    template <TensorOf<4> Q, TensorOf<4> K, TensorOf<4> V>
    Tensor<Scalar, 4> extend(const Q& q, const K& k, const V& v,
                             const MultiTokenAttentionParams<Scalar>& params) {
        detail::check_multi_token_attention(q, k, v, params, config_, AttentionCall{});
        const Index n = q.dimension(2);
        require_same("ReferenceAttentionCache: batch of q", q.dimension(0), batch_);
        require(length() + n <= capacity_, "ReferenceAttentionCache: tokens: got ", length() + n,
                ", expected at most the capacity, ", capacity_);
        auto all_q = joined(q_, q), all_k = joined(k_, k), all_v = joined(v_, v);
        const auto trace = multi_token_attention_forward(all_q, all_k, all_v, params, config_);
        auto out = last_tokens(trace.out(), n);
        q_ = std::move(all_q), k_ = std::move(all_k), v_ = std::move(all_v);
        return out;
    }

  private:
    static MultiTokenAttentionConfig checked(const MultiTokenAttentionConfig& config, Index capacity) {
        check_config(config);
        require(
            config.mask != MaskRule::none,
            "ReferenceAttentionCache: mask: got none, expected a causal one: later tokens would change the "
            "past");
        require(capacity >= 1, "ReferenceAttentionCache: capacity: got ", capacity, ", expected at least 1");
        return config;
    }

    // The tokens of `past`, then those of `next`.
    template <class T>
    static Tensor<Scalar, 4> joined(const Tensor<Scalar, 4>& past, const T& next) {
        const Index D = past.dimension(3), before = past.dimension(2) * D, more = next.dimension(2) * D;
        Tensor<Scalar, 4> all(past.dimension(0), past.dimension(1), past.dimension(2) + next.dimension(2), D);
        for (Index head = 0; head < past.dimension(0) * past.dimension(1); ++head) {
            Scalar* to = all.data() + head * (before + more);
            std::copy_n(past.data() + head * before, before, to);
            std::copy_n(next.data() + head * more, more, to + before);
        }
        return all;
    }
    static Tensor<Scalar, 4> last_tokens(const Tensor<Scalar, 4>& t, Index n) {
        const Index D = t.dimension(3), rows = t.dimension(2);
        Tensor<Scalar, 4> last(t.dimension(0), t.dimension(1), n, D);
        for (Index head = 0; head < t.dimension(0) * t.dimension(1); ++head)
            std::copy_n(t.data() + (head * rows + rows - n) * D, n * D, last.data() + head * n * D);
        return last;
    }

    MultiTokenAttentionConfig config_;
    Index batch_, capacity_;
    Tensor<Scalar, 4> q_, k_, v_;
};

}  // namespace mta
