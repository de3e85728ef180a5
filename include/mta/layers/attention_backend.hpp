// The interface of an attention implementation: the library's own and yours.
// SPDX-License-Identifier: MIT
//
// A backend has forward(q, k, v, params, config, call) -> {out, saved} and
// backward(d_out, q, k, v, params, config, call, saved) -> grads with members d_q, d_k, d_v, d_params.
// `saved` is whatever the backend wants to see again. Models and checks take any backend.
#pragma once

#include <concepts>
#include <mta/layers/multi_token_attention.hpp>

namespace mta {

/// What a backend's forward returns: out (B, H, S, D), and what its backward needs.
template <class Scalar, class Saved>
struct AttentionResult {
    Tensor<Scalar, 4> out;
    Saved saved;
};

/// Holds for types that can stand where Reference stands, for this scalar.
template <class Backend, class Scalar>
concept AttentionBackend =
    requires(const Backend& backend, const Tensor<Scalar, 4>& x,
             const MultiTokenAttentionParams<Scalar>& params, const MultiTokenAttentionConfig& config,
             const AttentionCall& call, decltype(backend.forward(x, x, x, params, config, call)) result,
             decltype(backend.backward(x, x, x, x, params, config, call, result.saved)) grads) {
    { result.out } -> std::convertible_to<Tensor<Scalar, 4>>;
    { grads.d_q } -> std::convertible_to<Tensor<Scalar, 4>>;
    { grads.d_k } -> std::convertible_to<Tensor<Scalar, 4>>;
    { grads.d_v } -> std::convertible_to<Tensor<Scalar, 4>>;
    { grads.d_params } -> std::convertible_to<MultiTokenAttentionParams<Scalar>>;
};

/// The truth: plain loops, fixed order; the bits depend on neither threads, batch nor later tokens.
struct Reference {
    template <TensorOf<4> Q, TensorOf<4> K, TensorOf<4> V>
    auto forward(const Q& q, const K& k, const V& v, const MultiTokenAttentionParams<ScalarOf<Q>>& params,
                 const MultiTokenAttentionConfig& config, const AttentionCall& call) const
        -> AttentionResult<ScalarOf<Q>, MultiTokenAttentionTrace<ScalarOf<Q>>> {
        auto trace = multi_token_attention_forward(q, k, v, params, config, call);
        auto out = trace.out();
        return {std::move(out), std::move(trace)};
    }

    template <TensorOf<4> Out, TensorOf<4> Q, TensorOf<4> K, TensorOf<4> V>
    auto backward(const Out& d_out, const Q& q, const K& k, const V& v,
                  const MultiTokenAttentionParams<ScalarOf<Q>>& params,
                  const MultiTokenAttentionConfig& config, const AttentionCall& call,
                  const MultiTokenAttentionTrace<ScalarOf<Q>>& saved) const
        -> MultiTokenAttentionGrads<ScalarOf<Q>> {
        return multi_token_attention_backward(d_out, q, k, v, params, config, call, saved);
    }
};

}  // namespace mta
