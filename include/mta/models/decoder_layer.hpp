// One block of a Llama-style decoder: attention and feed-forward, each behind a norm, each added to its input.
// SPDX-License-Identifier: MIT
//
// Source    Touvron et al., "LLaMA", arXiv:2302.13971, Sec. 2.2, with the attention of arXiv:2504.00927.
// Forward   n = RMS1(x)    q, k = rotary(wq n), rotary(wk n)    v = wv n    a = attention(q, k, v)
//           h = x + wo a   u = RMS2(h)                          out = h + w2 (silu(w1 u) * w3 u)
// Backward  t = silu(w1 u) * w3 u;  d_t = d_out w2;  d_u = d_(w1 u) w1 + d_(w3 u) w3;  d_h = d_out + RMS2'(d_u)
//           d_a = d_h wo;  d_n = d_q' wq + d_k' wk + d_v wv with q', k' before rotary;  d_x = d_h + RMS1'(d_n)
// Shapes    x, h, out: (B, S, d)    q, a: (B, H, S, D)    k, v: (B, Hkv, S, D)    w1 u, w3 u: (B, S, F)
// Units     positions: tokens.
// Traps     1. Rotary turns queries and keys, not values.
//           2. The second norm reads h, not x; the second sum starts from h.
//           3. Both norms and t are computed again backward: they cost less than the memory that would hold them.
//           4. Positions count on through packed documents; scores depend on differences of positions only.
// Errors    those of the operations and of the attention backend. ValueError: wanted positions that are not ascending
//           positions of tokens.
#pragma once

#include <mta/layers/attention_backend.hpp>
#include <mta/layers/dense_backend.hpp>
#include <mta/models/decoder_params.hpp>
#include <mta/models/detail/activations.hpp>
#include <optional>
#include <utility>
#include <vector>

namespace mta {

/// What computes a model: its attention, and everything else. DecoderBackend{Fast{}} infers the types.
template <class Attention = Reference, class Dense = ReferenceDense>
struct DecoderBackend {
    Attention attention = {};
    Dense dense = {};
};
template <class Attention>
DecoderBackend(Attention) -> DecoderBackend<Attention>;  // clang 14 does not infer them from members
template <class Attention, class Dense>
DecoderBackend(Attention, Dense) -> DecoderBackend<Attention, Dense>;

/// What an attention backend's forward leaves for its backward.
template <class Attention, class Scalar>
using AttentionSavedOf = std::remove_cvref_t<
    decltype(std::declval<const Attention&>()
                 .forward(std::declval<const Tensor<Scalar, 4>&>(), std::declval<const Tensor<Scalar, 4>&>(),
                          std::declval<const Tensor<Scalar, 4>&>(), MultiTokenAttentionParams<Scalar>{},
                          MultiTokenAttentionConfig{}, AttentionCall{})
                 .saved)>;

/// Queries, keys and values as attention takes them: queries and keys turned by their positions.
template <class Scalar>
struct DecoderHeads {
    Tensor<Scalar, 4> q;     // (B, H, S, D)
    Tensor<Scalar, 4> k, v;  // (B, Hkv, S, D)
};

/// What follows attention in a block.
template <class Scalar>
struct DecoderAfterAttention {
    Tensor<Scalar, 3> out;       // (B, S, d)
    Tensor<Scalar, 3> attended;  // wo's input, (B, S, H D)
    Tensor<Scalar, 3> middle;    // h, (B, S, d)
    Tensor<Scalar, 3> gate, up;  // w1 u and w3 u, (B, S, F)
};

/// Positions whose outputs are wanted, as b S + s, ascending; all positions when absent. Where a loss counts few tokens,
/// the last block needs its second half, and the head, at these alone: results have the shape (1, R, ...) then.
using WantedPositions = std::optional<std::vector<Index>>;

namespace detail {
inline void check_wanted(const WantedPositions& wanted, Index tokens) {
    if (!wanted) return;
    Index least = 0;
    for (std::size_t r = 0; r < wanted->size(); ++r) {
        const Index at = (*wanted)[r];
        require<ValueError>(at >= least && at < tokens, "decoder: wanted[", r, "]: got ", at,
                            ", expected ascending positions from ", least, " to below the ", tokens,
                            " tokens");
        least = at + 1;
    }
}
}  // namespace detail

/// What decoder_layer_backward wants to see again, apart from x.
template <class Scalar, class AttentionSaved>
struct DecoderLayerSaved {
    DecoderHeads<Scalar> heads;
    AttentionSaved attention;
    Tensor<Scalar, 3> attended, middle, gate, up;  // as in DecoderAfterAttention, at the wanted positions
};

/// The block's output, and what its backward needs.
template <class Scalar, class AttentionSaved>
struct DecoderLayerResult {
    Tensor<Scalar, 3> out;
    DecoderLayerSaved<Scalar, AttentionSaved> saved;
};

/// One d_ member per differentiable argument of forward, in the same order.
template <class Scalar>
struct DecoderLayerGrads {
    Tensor<Scalar, 3> d_x;
    DecoderLayerParams<Scalar> d_params;
};

/// First half of a block: norm, projections and rotary. `positions` as in rotary_forward: the position of the first
/// token, or one per token (B, S). A decode session calls this with new tokens alone.
template <class Dense = ReferenceDense, TensorOf<3> X, class Positions = Index>
DecoderHeads<ScalarOf<X>> decoder_heads(const X& x, const DecoderLayerParams<ScalarOf<X>>& params,
                                        const DecoderConfig& config, const Positions& positions = 0) {
    const Index D = config.head_width();
    const auto n = Dense::rms_norm_forward(x, params.attention_norm, RmsNormConfig{.eps = config.norm_eps});
    const auto project = [&](const LinearParams<ScalarOf<X>>& w) {
        return detail::split_heads(Dense::linear_forward(n, w), D);
    };
    return {Dense::rotary_forward(project(params.attention.wq), config.rotary, positions),
            Dense::rotary_forward(project(params.attention.wk), config.rotary, positions),
            project(params.attention.wv)};
}

/// Second half of a block: the output projection of attention's out (B, H, S, D), the feed-forward block and both
/// sums.
template <class Dense = ReferenceDense, TensorOf<3> X, TensorOf<4> A>
DecoderAfterAttention<ScalarOf<X>> decoder_after_attention(const X& x, const A& attention_out,
                                                           const DecoderLayerParams<ScalarOf<X>>& params,
                                                           const DecoderConfig& config,
                                                           const WantedPositions& wanted = {}) {
    detail::check_wanted(wanted, x.dimension(0) * x.dimension(1));
    DecoderAfterAttention<ScalarOf<X>> r;
    r.attended = detail::merge_heads(attention_out);
    if (wanted) r.attended = detail::gather_tokens(r.attended, *wanted);
    r.middle = Dense::linear_forward(r.attended, params.attention.wo);
    if (wanted)
        detail::add_to(r.middle, detail::gather_tokens(x, *wanted));
    else
        detail::add_to(r.middle, x);
    const auto u = Dense::rms_norm_forward(r.middle, params.ffn_norm, RmsNormConfig{.eps = config.norm_eps});
    r.gate = Dense::linear_forward(u, params.feed_forward.w1);
    r.up = Dense::linear_forward(u, params.feed_forward.w3);
    r.out = Dense::linear_forward(Dense::swiglu_forward(r.gate, r.up), params.feed_forward.w2);
    detail::add_to(r.out, r.middle);
    return r;
}

/// Block number `layer` of a decoder. x: (B, S, d); out likewise, or (1, R, d) at the wanted positions.
template <class Scalar, class Attention, class Dense>
auto decoder_layer_forward(const Tensor<Scalar, 3>& x, const DecoderLayerParams<Scalar>& params,
                           const DecoderConfig& config, Index layer,
                           const DecoderBackend<Attention, Dense>& backend, const AttentionCall& call,
                           const WantedPositions& wanted = {})
    -> DecoderLayerResult<Scalar, AttentionSavedOf<Attention, Scalar>> {
    static_assert(AttentionBackend<Attention, Scalar> && DenseBackend<Dense, Scalar>);
    const auto& attention = config.attention[static_cast<std::size_t>(layer)];
    auto heads = decoder_heads<Dense>(x, params, config);
    auto attended =
        backend.attention.forward(heads.q, heads.k, heads.v, params.attention.mta, attention, call);
    auto after = decoder_after_attention<Dense>(x, attended.out, params, config, wanted);
    return {std::move(after.out),
            {std::move(heads), std::move(attended.saved), std::move(after.attended), std::move(after.middle),
             std::move(after.gate), std::move(after.up)}};
}

namespace detail {

// From d_out to d_h; fills the gradients of the feed-forward block and its norm.
template <class Dense, class Scalar, class AttentionSaved>
Tensor<Scalar, 3> feed_forward_backward(const Tensor<Scalar, 3>& d_out,
                                        const DecoderLayerParams<Scalar>& params, const DecoderConfig& config,
                                        const DecoderLayerSaved<Scalar, AttentionSaved>& saved,
                                        DecoderLayerParams<Scalar>& d_params) {
    const RmsNormConfig norm{.eps = config.norm_eps};
    auto t =
        Dense::linear_backward(d_out, Dense::swiglu_forward(saved.gate, saved.up), params.feed_forward.w2);
    d_params.feed_forward.w2 = std::move(t.d_params);
    const auto swiglu = Dense::swiglu_backward(t.d_x, saved.gate, saved.up);
    const auto u = Dense::rms_norm_forward(saved.middle, params.ffn_norm, norm);
    auto gate = Dense::linear_backward(swiglu.d_gate, u, params.feed_forward.w1);
    auto up = Dense::linear_backward(swiglu.d_up, u, params.feed_forward.w3);
    d_params.feed_forward.w1 = std::move(gate.d_params);
    d_params.feed_forward.w3 = std::move(up.d_params);
    add_to(gate.d_x, up.d_x);
    auto h = Dense::rms_norm_backward(gate.d_x, saved.middle, params.ffn_norm, norm);
    d_params.ffn_norm = std::move(h.d_params);
    add_to(h.d_x, d_out);
    return std::move(h.d_x);
}

// From the gradients of q, k, v to that of x through the first norm.
template <class Dense, class Scalar>
Tensor<Scalar, 3> decoder_heads_backward(const DecoderHeads<Scalar>& d_heads, const Tensor<Scalar, 3>& x,
                                         const DecoderLayerParams<Scalar>& params,
                                         const DecoderConfig& config, DecoderLayerParams<Scalar>& d_params) {
    const RmsNormConfig norm{.eps = config.norm_eps};
    const auto n = Dense::rms_norm_forward(x, params.attention_norm, norm);
    const auto turned_back = [&](const Tensor<Scalar, 4>& d) {
        return merge_heads(Dense::rotary_backward(d, d, config.rotary, Index{0}).d_x);
    };
    auto q = Dense::linear_backward(turned_back(d_heads.q), n, params.attention.wq);
    auto k = Dense::linear_backward(turned_back(d_heads.k), n, params.attention.wk);
    auto v = Dense::linear_backward(merge_heads(d_heads.v), n, params.attention.wv);
    d_params.attention.wq = std::move(q.d_params);
    d_params.attention.wk = std::move(k.d_params);
    d_params.attention.wv = std::move(v.d_params);
    add_to(q.d_x, k.d_x);
    add_to(q.d_x, v.d_x);
    auto first = Dense::rms_norm_backward(q.d_x, x, params.attention_norm, norm);
    d_params.attention_norm = std::move(first.d_params);
    return std::move(first.d_x);
}

}  // namespace detail

/// Takes d_out, forward's arguments and what forward saved. Returns fresh gradients; the caller sums them.
template <class Scalar, class Attention, class Dense>
auto decoder_layer_backward(const Tensor<Scalar, 3>& d_out, const Tensor<Scalar, 3>& x,
                            const DecoderLayerParams<Scalar>& params, const DecoderConfig& config,
                            Index layer, const DecoderBackend<Attention, Dense>& backend,
                            const AttentionCall& call,
                            const DecoderLayerSaved<Scalar, AttentionSavedOf<Attention, Scalar>>& saved,
                            const WantedPositions& wanted = {}) -> DecoderLayerGrads<Scalar> {
    const auto& attention = config.attention[static_cast<std::size_t>(layer)];
    detail::check_wanted(wanted, x.dimension(0) * x.dimension(1));
    DecoderLayerGrads<Scalar> g;
    const auto d_h = detail::feed_forward_backward<Dense>(d_out, params, config, saved, g.d_params);
    auto wo = Dense::linear_backward(d_h, saved.attended, params.attention.wo);
    g.d_params.attention.wo = std::move(wo.d_params);
    if (wanted) wo.d_x = detail::scatter_tokens(wo.d_x, *wanted, x.dimension(0), x.dimension(1));
    auto a = backend.attention.backward(detail::split_heads(wo.d_x, config.head_width()), saved.heads.q,
                                        saved.heads.k, saved.heads.v, params.attention.mta, attention, call,
                                        saved.attention);
    g.d_params.attention.mta = std::move(a.d_params);
    const DecoderHeads<Scalar> d_heads{std::move(a.d_q), std::move(a.d_k), std::move(a.d_v)};
    g.d_x = detail::decoder_heads_backward<Dense>(d_heads, x, params, config, g.d_params);
    if (wanted)
        detail::scatter_add_to(g.d_x, d_h, *wanted);
    else
        detail::add_to(g.d_x, d_h);
    return g;
}

}  // namespace mta
