// Multi-token attention: its configuration, its parameters, its trace of stages.
// SPDX-License-Identifier: MIT
//
// Source  Multi-Token Attention, arXiv:2504.00927, Secs. 3.1 to 3.3. Parameter names are those of files:
//         pre.kernel (H, Cq, Ck)   pre.mix (G, Ch, Ch)   post.kernel   post.mix   norm.weight (D)
//         gate.weight (1, D) or (D, D)   gate.bias (1) or (D)
#pragma once

#include <cmath>
#include <cstdint>
#include <mta/core/attention_mask.hpp>
#include <mta/core/parameters.hpp>
#include <mta/core/require.hpp>
#include <mta/core/tensor.hpp>
#include <mta/ops/gate.hpp>
#include <mta/ops/head_mix.hpp>
#include <mta/ops/key_query_conv.hpp>
#include <mta/ops/rms_norm.hpp>
#include <optional>

namespace mta {

/// What turns a row of scores into weights.
enum class Normalise { softmax, sparsemax };

/// What happens to scores on one side of the softmax. Extents of 0 leave a stage out.
struct ScoreMixingConfig {
    Index query_kernel = 0;  // Cq: queries that each output score sees, itself and those before
    Index key_kernel = 0;    // Ck: keys that each output score sees
    KeyPadding key_padding = KeyPadding::both;
    Index mix_group = 0;  // Ch: heads that are mixed with each other

    bool has_conv() const { return query_kernel != 0; }
    bool has_mix() const { return mix_group != 0; }
};

/// Choices fixed before training. The default is standard causal attention with one head.
struct MultiTokenAttentionConfig {
    Index heads = 1;                // H
    std::optional<Index> kv_heads;  // Hkv; default: heads
    Index head_dim = 1;             // D
    std::optional<double> scale;    // of the logits; default 1/sqrt(D)
    Normalise normalise = Normalise::softmax;
    MaskRule mask = MaskRule::twice;
    ScoreMixingConfig pre, post;  // before and after the softmax
    double dropout = 0;           // probability, on the final weights, training only
    std::optional<RmsNormFactor> norm;
    std::optional<GateKind> gate;
    double eps = 1e-5;      // of the norm
    Index layer_index = 0;  // counted from 0; the norm's depth factor and dropout's bits depend on it

    Index key_value_heads() const { return kv_heads.value_or(heads); }
};

/// What changes from call to call.
struct AttentionCall {
    Documents documents;  // default: one document per batch row
    std::uint64_t seed = 0, step = 0;
    bool training = false;  // whether dropout acts
};

/// Parameters of one side of the softmax.
template <class Scalar>
struct ScoreMixingParams {
    std::optional<KeyQueryConvParams<Scalar>> conv;
    std::optional<HeadMixParams<Scalar>> mix;

    template <class F, class... P>
    static void for_each(F&& f, P&... p) {
        for_each_optional("kernel", f, p.conv...);
        for_each_optional("mix", f, p.mix...);
    }

    /// Empty tensors where `other` has tensors, nothing where it has nothing.
    template <class Other>
    static ScoreMixingParams with_members_of(const ScoreMixingParams<Other>& other) {
        ScoreMixingParams made;
        if (other.conv) made.conv.emplace();
        if (other.mix) made.mix.emplace();
        return made;
    }
};

/// Everything an optimizer may change, and nothing else.
template <class Scalar>
struct MultiTokenAttentionParams {
    ScoreMixingParams<Scalar> pre, post;
    std::optional<RmsNormParams<Scalar>> norm;
    std::optional<GateParams<Scalar>> gate;

    template <class F, class... P>
    static void for_each(F&& f, P&... p) {
        ScoreMixingParams<Scalar>::for_each(with_prefix("pre", f), p.pre...);
        ScoreMixingParams<Scalar>::for_each(with_prefix("post", f), p.post...);
        for_each_optional("norm", with_prefix("norm", f), p.norm...);
        for_each_optional("gate", with_prefix("gate", f), p.gate...);
    }

    /// Empty tensors where `other` has tensors, nothing where it has nothing.
    template <class Other>
    static MultiTokenAttentionParams with_members_of(const MultiTokenAttentionParams<Other>& other) {
        MultiTokenAttentionParams made;
        made.pre = ScoreMixingParams<Scalar>::with_members_of(other.pre);
        made.post = ScoreMixingParams<Scalar>::with_members_of(other.post);
        if (other.norm) made.norm.emplace();
        if (other.gate) made.gate.emplace();
        return made;
    }
};

/// The value of every stage, in the order of the pipeline; stages that are left out hold nothing.
/// Scores and weights are (B, H, S, S), exactly 0 where the key is not visible (`logits` under
/// MaskRule::exact keeps the keys j < i + Cq of the document); context, norm and gate are (B, H, S, D).
template <class Scalar>
struct MultiTokenAttentionTrace {
    using Stage = std::optional<Tensor<Scalar, 4>>;
    Stage logits, pre_conv, pre_mix, weights, post_conv, post_mix, dropout, context, norm, gate;

    /// Calls f(name, stage...) for every stage that is present, side by side over several traces.
    template <class F, class First, class... Rest>
    static void for_each(F&& f, First& first, Rest&... rest) {
        const auto visit = [&](std::string_view name, auto member) {
            const bool present = (first.*member).has_value();
            require((true && ... && ((rest.*member).has_value() == present)), "for_each: stage ", name,
                    ": present in some of the traces only, expected in all or none");
            if (present) f(name, *(first.*member), *(rest.*member)...);
        };
        using Trace = MultiTokenAttentionTrace;
        visit("logits", &Trace::logits);
        visit("pre_conv", &Trace::pre_conv);
        visit("pre_mix", &Trace::pre_mix);
        visit("weights", &Trace::weights);
        visit("post_conv", &Trace::post_conv);
        visit("post_mix", &Trace::post_mix);
        visit("dropout", &Trace::dropout);
        visit("context", &Trace::context);
        visit("norm", &Trace::norm);
        visit("gate", &Trace::gate);
    }

    /// The layer's output: the last stage that is present. (B, H, S, D)
    /// Throws ShapeError when no stage is there.
    const Tensor<Scalar, 4>& out() const {
        require(context.has_value(),
                "multi_token_attention: trace: got one without stages, expected what forward returned");
        return gate ? *gate : norm ? *norm : *context;
    }
};

/// Gradients, and the gradient with respect to every stage's value in the same struct as the forward trace.
template <class Scalar>
struct MultiTokenAttentionGrads {
    Tensor<Scalar, 4> d_q, d_k, d_v;
    MultiTokenAttentionParams<Scalar> d_params;
    MultiTokenAttentionTrace<Scalar> d_trace;
};

namespace detail {

// The parts of a sentence are handed over one by one: an argument that is right costs no string.
inline void check_score_mixing(std::string_view side, const ScoreMixingConfig& c, Index heads) {
    constexpr std::string_view f = "multi_token_attention: ", extents = ".query_kernel, key_kernel: got ";
    require(c.query_kernel >= 0 && c.key_kernel >= 0, f, side, extents, c.query_kernel, " x ", c.key_kernel,
            ", expected extents of at least 1, or 0 to leave the convolution out");
    require((c.query_kernel == 0) == (c.key_kernel == 0), f, side, extents, c.query_kernel, " x ",
            c.key_kernel, ", expected both or neither");
    require(c.key_padding != KeyPadding::both || !c.has_conv() || c.key_kernel % 2 == 1, f, side,
            ".key_kernel: got ", c.key_kernel, ", expected an odd extent with key padding `both`");
    require(c.mix_group >= 0 && (c.mix_group == 0 || heads % c.mix_group == 0), f, side, ".mix_group: got ",
            c.mix_group, ", expected a divisor of the ", heads, " heads");
}

}  // namespace detail

/// Throws ShapeError or ValueError with one sentence unless the configuration can work.
inline void check_config(const MultiTokenAttentionConfig& c) {
    constexpr std::string_view f = "multi_token_attention: ";
    require(c.heads >= 1, f, "heads: got ", c.heads, ", expected at least 1");
    require(c.head_dim >= 1, f, "head_dim: got ", c.head_dim, ", expected at least 1");
    require(c.key_value_heads() >= 1 && c.heads % c.key_value_heads() == 0, f, "kv_heads: got ",
            c.key_value_heads(), ", expected a divisor of the ", c.heads, " heads");
    require<ValueError>(!c.scale || std::isfinite(*c.scale), f, "scale: got ", c.scale.value_or(0),
                        ", expected a finite number");
    require<ValueError>(std::isfinite(c.eps) && c.eps >= 0, f, "eps: got ", c.eps,
                        ", expected a number >= 0");
    require<ValueError>(c.layer_index >= 0, f, "layer_index: got ", c.layer_index, ", expected at least 0");
    require<ValueError>(c.dropout >= 0 && c.dropout < 1, f, "dropout: got ", c.dropout,
                        ", expected 0 <= p < 1");
    detail::check_score_mixing("pre", c.pre, c.heads);
    detail::check_score_mixing("post", c.post, c.heads);
}

/// Parameters of the shapes that `config` asks for, all elements 0; over ShapeOnly, the shapes alone.
template <class Scalar>
MultiTokenAttentionParams<Scalar> make_multi_token_attention_params(const MultiTokenAttentionConfig& config) {
    check_config(config);
    const auto side = [&](const ScoreMixingConfig& c) {
        ScoreMixingParams<Scalar> p;
        if (c.has_conv()) p.conv = {make_parameter<Scalar>(config.heads, c.query_kernel, c.key_kernel)};
        if (c.has_mix())
            p.mix = {make_parameter<Scalar>(config.heads / c.mix_group, c.mix_group, c.mix_group)};
        return p;
    };
    MultiTokenAttentionParams<Scalar> params{side(config.pre), side(config.post), {}, {}};
    const Index D = config.head_dim;
    if (config.norm) params.norm = {make_parameter<Scalar>(D)};
    if (config.gate) {
        const Index gates = *config.gate == GateKind::vector ? D : 1;
        params.gate = {make_parameter<Scalar>(gates, D), make_parameter<Scalar>(gates)};
    }
    return params;
}

}  // namespace mta
