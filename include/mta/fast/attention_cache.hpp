// Decoding: multi-token attention of new tokens against the tokens before them, without computing those again.
// SPDX-License-Identifier: MIT
//
// Source    Multi-Token Attention, arXiv:2504.00927, Sec. 3: row i of the final weights reads the weights of Cq_post - 1
//           rows above it, and each of those the logits of Cq_pre - 1 rows above it.
// State     keys and values of all tokens, packed for the lanes, and the last Cq_pre + Cq_post - 2 queries. Queries, not
//           scores: with MaskRule::exact a cached row of logits would lack the column of the new key.
// Promise   tokens that come one by one, in chunks or all at once have the same bits as in one call of Fast.
// Cost      a token costs as much as Cq_pre + Cq_post - 1 rows of a forward pass.
// Errors    ShapeError: a configuration that is not causal; tokens of another shape; more tokens than the capacity.
#pragma once

#include <mta/fast/multi_token_attention.hpp>
#include <vector>

namespace mta {

/// The memory of one sequence per batch row. Grows up to `capacity` tokens, which are allocated at once.
template <class Scalar>
class AttentionCache {
  public:
    AttentionCache(const MultiTokenAttentionConfig& config, Index batch, Index capacity)
        : config_{checked(config, capacity)}, layout_({batch, capacity}, config_, /*shared_documents=*/true) {
        const Index rows = layout_.bundles * packed_rows();
        keys_.resize(bytes(rows * layout_.row_stride));
        values_.resize(bytes(rows * layout_.row_stride));
        recent_ = zeros<Scalar>(batch, config_.heads, reach(), config_.head_dim);
        fast::Arena counter;
        carve(counter);
        scratch_.resize(counter.bytes());
    }

    Index length() const { return length_; }
    Index capacity() const { return layout_.S; }
    /// Forgets all tokens.
    void clear() { length_ = 0; }

    /// Outputs (B, H, n, D) of n more tokens: q (B, H, n, D), k and v (B, Hkv, n, D). Dropout never acts.
    template <TensorOf<4> Q, TensorOf<4> K, TensorOf<4> V>
    Tensor<Scalar, 4> extend(const Q& q, const K& k, const V& v,
                             const MultiTokenAttentionParams<Scalar>& params) {
        const AttentionCall call;
        detail::check_multi_token_attention(q, k, v, params, config_, call);
        const Index n = q.dimension(2);
        require_same("AttentionCache: batch of q", q.dimension(0), layout_.B);
        require(length_ + n <= capacity(), "AttentionCache: tokens: got ", length_ + n,
                ", expected at most the capacity, ", capacity());
        const auto window = with_recent(q);
        const Index first = length_ + n - window.dimension(2);
        Tensor<Scalar, 4> out(window.dimensions()), context;
        if (config_.norm || config_.gate) context = Tensor<Scalar, 4>(window.dimensions());
        run(describe(window, k, v, first, params, call), params, n,
            {out.data(), layout_.H, out.dimension(2), first},
            {context.data(), layout_.H, out.dimension(2), first});
        keep_recent(window);
        length_ += n;
        return last_tokens(out, n);
    }

  private:
    using Bytes = std::vector<std::byte>;

    static MultiTokenAttentionConfig checked(const MultiTokenAttentionConfig& config, Index capacity) {
        check_config(config);
        require(config.mask != MaskRule::none,
                "AttentionCache: mask: got none, expected a causal one: later tokens would change the past");
        require(capacity >= 1, "AttentionCache: capacity: got ", capacity, ", expected at least 1");
        return config;
    }
    static std::size_t bytes(Index scalars) {
        return static_cast<std::size_t>(scalars) * sizeof(Scalar) + fast::Arena::alignment;
    }
    static Scalar* aligned(Bytes& memory) { return fast::Arena(memory).template take<Scalar>(0); }

    // Queries before a token that its output depends on.
    Index reach() const {
        const auto above = [](const ScoreMixingConfig& c) { return c.has_conv() ? c.query_kernel - 1 : 0; };
        return above(config_.pre) + above(config_.post);
    }
    Index packed_rows() const { return capacity() + 2 * fast::tile_columns; }

    struct Scratch {
        fast::SharedMemory<Scalar> shared;
        fast::ThreadMemory<Scalar> memory;
    };
    Scratch carve(fast::Arena& arena) const {
        fast::SharedMemory<Scalar> shared(layout_, config_, arena, /*with_keys=*/false);
        return {shared, fast::ThreadMemory<Scalar>(layout_, shared, 0, fast::Pass::forward, arena)};
    }

    template <class K, class V>
    fast::Call<Scalar> describe(const Tensor<Scalar, 4>& window, const K& k, const V& v, Index first,
                                const MultiTokenAttentionParams<Scalar>& params,
                                const AttentionCall& call) const {
        const double scale = config_.scale.value_or(1.0 / std::sqrt(static_cast<double>(config_.head_dim)));
        const Index n = k.dimension(2);
        return {layout_,
                config_,
                call,
                static_cast<Scalar>(scale),
                {window.data(), layout_.H, window.dimension(2), first},
                {k.data(), layout_.Hkv, n, length_},
                {v.data(), layout_.Hkv, n, length_},
                nullptr,
                nullptr,
                nullptr,
                nullptr,
                fast::OutputStages<Scalar>(params, config_),
                fast::DropoutRows<Scalar>(config_, call)};
    }

    void run(const fast::Call<Scalar>& call, const MultiTokenAttentionParams<Scalar>& params, Index n,
             fast::TokenRows<Scalar> out, fast::TokenRows<Scalar> context) {
        fast::Arena arena(scratch_);
        auto [shared, memory] = carve(arena);
        memory.clear_margins(layout_);
        const bool exact = config_.mask == MaskRule::exact && config_.pre.has_conv();
        const fast::DocumentRows document{0, length_ + n, true, exact ? config_.pre.query_kernel - 1 : 0};
        for (Index bundle = 0; bundle < layout_.bundles; ++bundle) {
            shared.pre.pack(layout_, bundle, params.pre);
            shared.post.pack(layout_, bundle, params.post);
            const Index at = bundle * packed_rows() * layout_.row_stride;
            shared.k = aligned(keys_) + at;
            shared.v = aligned(values_) + at;
            for (const auto& [from, to] : {std::pair{call.k, shared.k}, std::pair{call.v, shared.v}})
                fast::pack_rows(layout_, bundle, from, length_, length_ + n, Scalar(1),
                                to + length_ * layout_.row_stride);
            fast::ForwardPass<Scalar> pass(call, shared, memory, bundle, out, context);
            pass.run(document, {length_, length_ + n}, /*keep_statistics=*/false);
        }
    }

    // The queries before the new ones that are still needed, then the new ones.
    template <class Q>
    Tensor<Scalar, 4> with_recent(const Q& q) const {
        const Index before = std::min(length_, reach()), n = q.dimension(2);
        Tensor<Scalar, 4> window(layout_.B, layout_.H, before + n, layout_.D);
        for (Index b = 0; b < layout_.B; ++b)
            for (Index h = 0; h < layout_.H; ++h)
                for (Index i = 0; i < before + n; ++i)
                    for (Index d = 0; d < layout_.D; ++d)
                        window(b, h, i, d) =
                            i < before ? recent_(b, h, reach() - before + i, d) : q(b, h, i - before, d);
        return window;
    }
    void keep_recent(const Tensor<Scalar, 4>& window) {
        const Index kept = std::min(reach(), window.dimension(2)), from = window.dimension(2) - kept;
        for (Index b = 0; b < layout_.B; ++b)
            for (Index h = 0; h < layout_.H; ++h)
                for (Index i = 0; i < kept; ++i)
                    for (Index d = 0; d < layout_.D; ++d)
                        recent_(b, h, reach() - kept + i, d) = window(b, h, from + i, d);
    }
    static Tensor<Scalar, 4> last_tokens(const Tensor<Scalar, 4>& t, Index n) {
        Tensor<Scalar, 4> last(t.dimension(0), t.dimension(1), n, t.dimension(3));
        const Index rows = t.dimension(2), D = t.dimension(3);
        for (Index head = 0; head < t.dimension(0) * t.dimension(1); ++head)
            std::copy_n(t.data() + (head * rows + rows - n) * D, n * D, last.data() + head * n * D);
        return last;
    }

    MultiTokenAttentionConfig config_;
    fast::Layout<Scalar> layout_;
    Index length_ = 0;
    Bytes keys_, values_, scratch_;
    Tensor<Scalar, 4> recent_;  // (B, H, reach, D), the newest last
};

}  // namespace mta
