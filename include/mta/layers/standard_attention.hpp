// Standard attention: multi-token attention with every extra stage left out.
// SPDX-License-Identifier: MIT
//
// Source  Multi-Token Attention, arXiv:2504.00927, Sec. 2, Eqs. 1 to 3.
// It is not a second implementation: with identity kernels, identity mixes, no norm and no gate, multi-token
// attention gives the same bits as this on finite inputs.
#pragma once

#include <mta/layers/multi_token_attention.hpp>

namespace mta {

/// Configuration of causal softmax attention. `kv_heads`: default as many as `heads`.
/// Throws ShapeError when kv_heads does not divide heads or an extent is below 1.
inline MultiTokenAttentionConfig standard_attention_config(Index heads, Index head_dim,
                                                           std::optional<Index> kv_heads = std::nullopt) {
    MultiTokenAttentionConfig config;
    config.heads = heads;
    config.head_dim = head_dim;
    config.kv_heads = kv_heads;
    check_config(config);
    return config;
}

/// out (B, H, S, D) = softmax(q k^T / sqrt(D)) v, causal. Head counts and D come from the shapes of q and k.
template <TensorOf<4> Q, TensorOf<4> K, TensorOf<4> V>
auto standard_attention_forward(const Q& q, const K& k, const V& v, const AttentionCall& call = {})
    -> MultiTokenAttentionTrace<ScalarOf<Q>> {
    const auto config = standard_attention_config(q.dimension(1), q.dimension(3), k.dimension(1));
    return multi_token_attention_forward(q, k, v, {}, config, call);
}

/// Takes d_out, forward's arguments and the trace that forward returned.
template <TensorOf<4> Out, TensorOf<4> Q, TensorOf<4> K, TensorOf<4> V>
auto standard_attention_backward(const Out& d_out, const Q& q, const K& k, const V& v,
                                 const AttentionCall& call,
                                 const MultiTokenAttentionTrace<ScalarOf<Q>>& trace)
    -> MultiTokenAttentionGrads<ScalarOf<Q>> {
    const auto config = standard_attention_config(q.dimension(1), q.dimension(3), k.dimension(1));
    return multi_token_attention_backward(d_out, q, k, v, {}, config, call, trace);
}

}  // namespace mta
