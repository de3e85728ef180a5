// Multi-token attention: every stage of the paper in the paper's order, each of them optional.
// SPDX-License-Identifier: MIT
//
// Source    Multi-Token Attention, arXiv:2504.00927, Secs. 3.1 to 3.3, Eqs. 1 and 4 to 7.
// Forward   logits    L = Mask0(scale q k^T)                  pre_conv   C = Conv(L)
//           pre_mix   M = head mix of C                       weights    A = Normalise(MaskInf(M))
//           post_conv E = Mask0(Conv'(A))                     post_mix   F = head mix of E, then dropout
//           context   O = F v       norm  N = RMS norm of O       gate  Y = N sigmoid(gate(N))
// Backward  the same stages in reverse; masks act on gradients exactly where they acted on values.
// Shapes    q: (B, H, S, D)   k, v: (B, Hkv, S, D)   out: (B, H, S, D)   scores, weights: (B, H, S, S)
// Units     logits and weights are dimensionless; positions are tokens.
// Traps     1. Mixing comes before the -inf mask, never after: 0 * -inf is NaN.
//           2. Rows of post_conv and post_mix are no probability distributions and are not renormalised.
//           3. Masking C, M, A and F to 0 again changes no visible value (heads mix position by
//              position); it keeps the trace free of entries that no other implementation computes.
// Errors    ShapeError: shapes of q, k, v or of a parameter against the config; backward: a trace that another
//           config or call made. ValueError: scale, eps, dropout, layer_index, document starts.
#pragma once

#include <mta/layers/multi_token_attention_config.hpp>
#include <mta/ops/causal_mask.hpp>
#include <mta/ops/dropout.hpp>
#include <mta/ops/scaled_scores.hpp>
#include <mta/ops/softmax.hpp>
#include <mta/ops/sparsemax.hpp>
#include <mta/ops/weighted_values.hpp>

namespace mta {

namespace detail {

// Throws unless a part that can be absent is there exactly when it should be.
inline void require_presence(std::string_view what, bool got, bool expected) {
    require(got == expected, "multi_token_attention: ", what, ": got ", got ? "one" : "none", ", expected ",
            expected ? "one, since the configuration has this stage" : "none, since there is no such stage");
}

template <class Scalar>
void check_params(const MultiTokenAttentionParams<Scalar>& params, const MultiTokenAttentionConfig& config) {
    require_presence("pre.kernel", params.pre.conv.has_value(), config.pre.has_conv());
    require_presence("pre.mix", params.pre.mix.has_value(), config.pre.has_mix());
    require_presence("post.kernel", params.post.conv.has_value(), config.post.has_conv());
    require_presence("post.mix", params.post.mix.has_value(), config.post.has_mix());
    require_presence("norm.weight", params.norm.has_value(), config.norm.has_value());
    require_presence("gate.weight, gate.bias", params.gate.has_value(), config.gate.has_value());
    const auto expected = make_multi_token_attention_params<ShapeOnly>(config);
    MultiTokenAttentionParams<ShapeOnly>::for_each(
        [](std::string_view name, const auto& shape, const auto& member) {
            // A right shape costs no string: Fast promises calls without allocations.
            if (!std::equal(shape.dimensions().begin(), shape.dimensions().end(),
                            member.dimensions().begin()))
                require_same_shape(sentence("multi_token_attention: ", name), member.dimensions(),
                                   shape.dimensions());
        },
        expected, params);
}

template <class Q, class K, class V, class Scalar>
void check_multi_token_attention(const Q& q, const K& k, const V& v,
                                 const MultiTokenAttentionParams<Scalar>& params,
                                 const MultiTokenAttentionConfig& config, const AttentionCall& call) {
    check_config(config);
    using Extents = std::array<Index, 4>;
    const Index B = q.dimension(0), S = q.dimension(2), Hkv = config.key_value_heads();
    require(S >= 1, "multi_token_attention: q: got a sequence length of 0, expected at least 1");
    require_same_shape("multi_token_attention: q", q.dimensions(),
                       Extents{B, config.heads, S, config.head_dim});
    require_same_shape("multi_token_attention: k", k.dimensions(), Extents{B, Hkv, S, config.head_dim});
    require_same_shape("multi_token_attention: v", v.dimensions(), Extents{B, Hkv, S, config.head_dim});
    call.documents.check("multi_token_attention", B, S);
    check_params(params, config);
}

// Throws unless the trace is one that forward returns for this config and call: a wrong one gives wrong gradients.
template <class Scalar, class Extents>
void check_trace(const MultiTokenAttentionTrace<Scalar>& t, const MultiTokenAttentionConfig& config,
                 const AttentionCall& call, const Extents& q) {
    require_presence("trace: logits", t.logits.has_value(), true);
    require_presence("trace: pre_conv", t.pre_conv.has_value(), config.pre.has_conv());
    require_presence("trace: pre_mix", t.pre_mix.has_value(), config.pre.has_mix());
    require_presence("trace: weights", t.weights.has_value(), true);
    require_presence("trace: post_conv", t.post_conv.has_value(), config.post.has_conv());
    require_presence("trace: post_mix", t.post_mix.has_value(), config.post.has_mix());
    require_presence("trace: dropout", t.dropout.has_value(), call.training && config.dropout > 0);
    require_presence("trace: context", t.context.has_value(), true);
    require_presence("trace: norm", t.norm.has_value(), config.norm.has_value());
    require_presence("trace: gate", t.gate.has_value(), config.gate.has_value());
    MultiTokenAttentionTrace<Scalar>::for_each(
        [&](std::string_view name, const auto& stage) {
            const bool scores = name != "context" && name != "norm" && name != "gate";
            const std::array<Index, 4> expected{q[0], q[1], q[2], scores ? q[2] : q[3]};
            require_same_shape(sentence("multi_token_attention: trace: ", name), stage.dimensions(),
                               expected);
        },
        t);
}

// What every stage of one call needs to know.
struct AttentionPlan {
    AttentionMask mask;
    ScaledScoresConfig scores;
    KeyQueryConvConfig pre_conv, post_conv;
    DropoutConfig dropout;
    DropoutCall dropout_call;
    RmsNormConfig norm;
    GateConfig gate;

    AttentionPlan(const MultiTokenAttentionConfig& c, const AttentionCall& call)
        : mask{c.mask, call.documents},
          pre_conv{c.pre.key_padding, c.mask == MaskRule::exact ? TapRule::not_after_query : TapRule::all},
          post_conv{c.post.key_padding, TapRule::all},
          dropout{c.dropout},
          dropout_call{call.seed, call.step, static_cast<std::uint64_t>(c.layer_index), call.training},
          norm{c.eps, c.norm.value_or(RmsNormFactor::one), c.layer_index},
          gate{c.gate.value_or(GateKind::scalar)} {
        scores.scale = c.scale;
        if (c.mask == MaskRule::exact && c.pre.has_conv()) scores.lookahead = c.pre.query_kernel - 1;
    }
};

// Convolution and head mixing on one side of the softmax; fills the stages that are present, returns the
// last.
template <class Scalar>
const Tensor<Scalar, 4>& mix_scores_forward(const Tensor<Scalar, 4>& scores,
                                            const ScoreMixingParams<Scalar>& params,
                                            KeyQueryConvConfig conv_config, const AttentionMask& mask,
                                            std::optional<Tensor<Scalar, 4>>& conv,
                                            std::optional<Tensor<Scalar, 4>>& mix) {
    if (params.conv) {
        const auto plain = key_query_conv_forward(scores, *params.conv, conv_config, mask.documents);
        conv = causal_mask_zero_forward(plain, mask);
    }
    if (params.mix)
        mix = causal_mask_zero_forward(head_mix_forward(conv ? *conv : scores, *params.mix), mask);
    return mix ? *mix : conv ? *conv : scores;
}

// Takes the gradient of what mix_scores_forward returned; returns the gradient of its `scores`.
template <class Scalar>
Tensor<Scalar, 4> mix_scores_backward(Tensor<Scalar, 4> d, const Tensor<Scalar, 4>& scores,
                                      const ScoreMixingParams<Scalar>& params, KeyQueryConvConfig conv_config,
                                      const AttentionMask& mask, const std::optional<Tensor<Scalar, 4>>& conv,
                                      ScoreMixingParams<Scalar>& d_params,
                                      std::optional<Tensor<Scalar, 4>>& d_conv,
                                      std::optional<Tensor<Scalar, 4>>& d_mix) {
    if (params.mix) {
        d_mix = d;
        auto g = head_mix_backward(d, conv ? *conv : scores, *params.mix);
        d_params.mix = std::move(g.d_params);
        d = std::move(g.d_scores);
    }
    if (params.conv) {
        d_conv = causal_mask_zero_backward(d, *conv, mask).d_scores;
        auto g = key_query_conv_backward(*d_conv, scores, *params.conv, conv_config, mask.documents);
        d_params.conv = std::move(g.d_params);
        d = std::move(g.d_scores);
    }
    return d;
}

template <class Scalar>
Tensor<Scalar, 4> normalise_forward(const Tensor<Scalar, 4>& masked, Normalise kind) {
    return kind == Normalise::softmax ? softmax_forward(masked) : sparsemax_forward(masked);
}

template <class Scalar>
Tensor<Scalar, 4> normalise_backward(const Tensor<Scalar, 4>& d, const Tensor<Scalar, 4>& masked,
                                     const Tensor<Scalar, 4>& weights, Normalise kind) {
    return kind == Normalise::softmax ? softmax_backward(d, masked, weights).d_scores
                                      : sparsemax_backward(d, masked, weights).d_scores;
}

// From d_context down to d_q, d_k, d_v and the parameters of the score stages.
template <class Scalar, class Q, class K, class V>
void attention_map_backward(MultiTokenAttentionGrads<Scalar>& g, const Q& q, const K& k, const V& v,
                            const MultiTokenAttentionParams<Scalar>& params,
                            const MultiTokenAttentionConfig& config, const AttentionPlan& plan,
                            const MultiTokenAttentionTrace<Scalar>& t) {
    const auto& before_dropout = t.post_mix ? *t.post_mix : t.post_conv ? *t.post_conv : *t.weights;
    auto values =
        weighted_values_backward(*g.d_trace.context, t.dropout ? *t.dropout : before_dropout, v, plan.mask);
    g.d_v = std::move(values.d_v);
    auto d = std::move(values.d_weights);
    if (t.dropout) {
        g.d_trace.dropout = d;
        d = dropout_backward(d, before_dropout, plan.dropout, plan.dropout_call).d_x;
    }
    d = mix_scores_backward(std::move(d), *t.weights, params.post, plan.post_conv, plan.mask, t.post_conv,
                            g.d_params.post, g.d_trace.post_conv, g.d_trace.post_mix);
    g.d_trace.weights = causal_mask_zero_backward(d, *t.weights, plan.mask).d_scores;

    const auto& mixed = t.pre_mix ? *t.pre_mix : t.pre_conv ? *t.pre_conv : *t.logits;
    const auto masked = causal_mask_inf_forward(mixed, plan.mask);
    d = normalise_backward(*g.d_trace.weights, masked, *t.weights, config.normalise);
    d = causal_mask_inf_backward(d, mixed, plan.mask).d_scores;
    d = mix_scores_backward(std::move(d), *t.logits, params.pre, plan.pre_conv, plan.mask, t.pre_conv,
                            g.d_params.pre, g.d_trace.pre_conv, g.d_trace.pre_mix);
    // Mask0 of the logits; under `exact` the taps themselves never reach further than the lookahead.
    if (config.mask != MaskRule::exact) d = causal_mask_zero_backward(d, *t.logits, plan.mask).d_scores;
    auto scores = scaled_scores_backward(d, q, k, plan.scores, plan.mask);
    g.d_q = std::move(scores.d_q);
    g.d_k = std::move(scores.d_k);
    g.d_trace.logits = std::move(d);
}

}  // namespace detail

/// Returns the trace of every stage; its out() is the layer's output. `params` must have the shapes that
/// `config` asks for (make_multi_token_attention_params, layers/initialisers.hpp).
template <TensorOf<4> Q, TensorOf<4> K, TensorOf<4> V>
auto multi_token_attention_forward(const Q& q, const K& k, const V& v,
                                   const MultiTokenAttentionParams<ScalarOf<Q>>& params,
                                   const MultiTokenAttentionConfig& config, const AttentionCall& call = {})
    -> MultiTokenAttentionTrace<ScalarOf<Q>> {
    detail::check_multi_token_attention(q, k, v, params, config, call);
    const detail::AttentionPlan plan(config, call);
    MultiTokenAttentionTrace<ScalarOf<Q>> t;
    t.logits = scaled_scores_forward(q, k, plan.scores, plan.mask);
    const auto& mixed =
        detail::mix_scores_forward(*t.logits, params.pre, plan.pre_conv, plan.mask, t.pre_conv, t.pre_mix);
    const auto weights =
        detail::normalise_forward(causal_mask_inf_forward(mixed, plan.mask), config.normalise);
    t.weights = causal_mask_zero_forward(weights, plan.mask);  // a row without a finite score is all NaN
    const auto* final_weights = &detail::mix_scores_forward(*t.weights, params.post, plan.post_conv,
                                                            plan.mask, t.post_conv, t.post_mix);
    if (call.training && config.dropout > 0)
        final_weights = &t.dropout.emplace(dropout_forward(*final_weights, plan.dropout, plan.dropout_call));
    t.context = weighted_values_forward(*final_weights, v, plan.mask);
    if (params.norm) t.norm = rms_norm_forward(*t.context, *params.norm, plan.norm);
    if (params.gate) t.gate = gate_forward(t.norm ? *t.norm : *t.context, *params.gate, plan.gate);
    return t;
}

/// Takes d_out (B, H, S, D), forward's arguments and the trace that forward returned.
template <TensorOf<4> Out, TensorOf<4> Q, TensorOf<4> K, TensorOf<4> V>
auto multi_token_attention_backward(const Out& d_out, const Q& q, const K& k, const V& v,
                                    const MultiTokenAttentionParams<ScalarOf<Q>>& params,
                                    const MultiTokenAttentionConfig& config, const AttentionCall& call,
                                    const MultiTokenAttentionTrace<ScalarOf<Q>>& t)
    -> MultiTokenAttentionGrads<ScalarOf<Q>> {
    detail::check_multi_token_attention(q, k, v, params, config, call);
    require_same_shape("multi_token_attention: d_out", d_out.dimensions(), q.dimensions());
    detail::check_trace(t, config, call, q.dimensions());
    const detail::AttentionPlan plan(config, call);
    MultiTokenAttentionGrads<ScalarOf<Q>> g;
    Tensor<ScalarOf<Q>, 4> d = d_out;
    if (params.gate) {
        g.d_trace.gate = d;
        auto gate = gate_backward(d, t.norm ? *t.norm : *t.context, *params.gate, plan.gate);
        g.d_params.gate = std::move(gate.d_params);
        d = std::move(gate.d_x);
    }
    if (params.norm) {
        g.d_trace.norm = d;
        auto norm = rms_norm_backward(d, *t.context, *params.norm, plan.norm);
        g.d_params.norm = std::move(norm.d_params);
        d = std::move(norm.d_x);
    }
    g.d_trace.context = std::move(d);
    detail::attention_map_backward(g, q, k, v, params, config, plan, t);
    return g;
}

}  // namespace mta
