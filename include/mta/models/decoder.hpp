// A Llama-style decoder: token vectors, blocks, a last norm, one logit per word of the vocabulary.
// SPDX-License-Identifier: MIT
//
// Source    Touvron et al., "LLaMA", arXiv:2302.13971, with the attention of arXiv:2504.00927 in every block.
// Forward   x_0 = E[tokens]    x_l+1 = block_l(x_l)    logits = RMS(x_L) W^T,  W = E when tied
// Backward  the same in reverse; a tied table gets d_E = d_logits^T RMS(x_L) plus the rows of d_x_0, added up by
//           token.
// Shapes    tokens: (B, S), any integer type    E, W: (V, d)    x: (B, S, d)    logits: (B, S, V)
// Units     tokens: rows of E; logits: dimensionless (cross_entropy.hpp makes the loss).
// Traps     1. Logits at position s judge the token at s + 1; nothing here shifts them.
//           2. Positions are 0, 1, ..., also where packed documents begin.
//           3. With wanted positions the logits are (1, R, V), those of all positions otherwise are not computed.
//           4. checkpoint_activations keeps one tensor per block; backward then computes each block again from it
//              with the same call, so that dropout repeats its bits, and returns the same bits as without.
// Errors    ShapeError: parameters or d_logits of another shape, a saved of another configuration, no tokens.
//           ValueError: a token that is not in the vocabulary.
#pragma once

#include <mta/models/decoder_layer.hpp>
#include <utility>
#include <vector>

namespace mta {

/// What decoder_backward wants to see again.
template <class Scalar, class AttentionSaved>
struct DecoderSaved {
    std::vector<Tensor<Scalar, 3>> inputs;  // x_0 ... x_L: of every block, then of the last norm
    std::vector<DecoderLayerSaved<Scalar, AttentionSaved>> layers;  // empty with checkpoint_activations
};

/// The logits (B, S, V), and what backward needs.
template <class Scalar, class AttentionSaved>
struct DecoderResult {
    Tensor<Scalar, 3> logits;
    DecoderSaved<Scalar, AttentionSaved> saved;
};

/// The output projection: `output`, or a copy of the tied table.
template <class Scalar>
LinearParams<Scalar> decoder_output_params(const DecoderParams<Scalar>& params) {
    return params.output ? *params.output : LinearParams<Scalar>{params.tok_embeddings.weight, std::nullopt};
}

/// Last norm and output projection of x_L (B, S, d), for any number of positions.
template <class Dense = ReferenceDense, TensorOf<3> X>
Tensor<ScalarOf<X>, 3> decoder_head(const X& x, const RmsNormParams<ScalarOf<X>>& norm,
                                    const LinearParams<ScalarOf<X>>& output, const DecoderConfig& config) {
    return Dense::linear_forward(Dense::rms_norm_forward(x, norm, RmsNormConfig{.eps = config.norm_eps}),
                                 output);
}

namespace detail {

template <class Tokens, class Scalar>
void check_decoder(const Tokens& tokens, const DecoderParams<Scalar>& params, const DecoderConfig& config) {
    check_config(config);
    check_decoder_params(params, config);
    require(tokens.dimension(1) >= 1, "decoder: tokens: got a sequence length of 0, expected at least 1");
}

// Positions of the last block's output: none are left out before it.
inline WantedPositions wanted_of_block(const WantedPositions& wanted, Index l, const DecoderConfig& config) {
    return l + 1 == config.layers ? wanted : WantedPositions{};
}

template <class Saved, class Tokens>
void check_decoder_saved(const Saved& saved, const Tokens& tokens, const DecoderConfig& config,
                         const WantedPositions& wanted) {
    const Index blocks = config.checkpoint_activations ? 0 : config.layers;
    require(static_cast<Index>(saved.inputs.size()) == config.layers + 1, "decoder: saved.inputs: got ",
            saved.inputs.size(), ", expected ", config.layers + 1, " as decoder_forward saves");
    require(static_cast<Index>(saved.layers.size()) == blocks, "decoder: saved.layers: got ",
            saved.layers.size(), ", expected ", blocks, " as decoder_forward saves for this configuration");
    for (const auto& x : saved.inputs) {
        const bool last = &x == &saved.inputs.back() && wanted;
        require_same_shape(
            "decoder: saved.inputs", x.dimensions(),
            std::array<Index, 3>{last ? 1 : tokens.dimension(0),
                                 last ? static_cast<Index>(wanted->size()) : tokens.dimension(1),
                                 config.width});
    }
}

}  // namespace detail

/// Returns the logits and what decoder_backward needs.
template <TensorOf<2> Tokens, class Scalar, class Attention = Reference, class Dense = ReferenceDense>
auto decoder_forward(const Tokens& tokens, const DecoderParams<Scalar>& params, const DecoderConfig& config,
                     const DecoderBackend<Attention, Dense>& backend = {}, const AttentionCall& call = {},
                     const WantedPositions& wanted = {})
    -> DecoderResult<Scalar, AttentionSavedOf<Attention, Scalar>> {
    detail::check_decoder(tokens, params, config);
    detail::check_wanted(wanted, tokens.size());
    DecoderResult<Scalar, AttentionSavedOf<Attention, Scalar>> result;
    auto& inputs = result.saved.inputs;
    inputs.reserve(params.layers.size() + 1);  // growing would copy: moving an Eigen tensor is not noexcept
    if (!config.checkpoint_activations) result.saved.layers.reserve(params.layers.size());
    inputs.push_back(embedding_forward(tokens, params.tok_embeddings));
    for (Index l = 0; l < config.layers; ++l) {
        auto block = decoder_layer_forward(inputs.back(), params.layers[static_cast<std::size_t>(l)], config,
                                           l, backend, call, detail::wanted_of_block(wanted, l, config));
        inputs.push_back(std::move(block.out));
        if (!config.checkpoint_activations) result.saved.layers.push_back(std::move(block.saved));
    }
    result.logits = decoder_head<Dense>(inputs.back(), params.norm, decoder_output_params(params), config);
    return result;
}

/// The logits alone: nothing is kept for a backward pass.
template <TensorOf<2> Tokens, class Scalar, class Attention = Reference, class Dense = ReferenceDense>
Tensor<Scalar, 3> decoder_logits(const Tokens& tokens, const DecoderParams<Scalar>& params,
                                 const DecoderConfig& config,
                                 const DecoderBackend<Attention, Dense>& backend = {},
                                 const AttentionCall& call = {}, const WantedPositions& wanted = {}) {
    detail::check_decoder(tokens, params, config);
    detail::check_wanted(wanted, tokens.size());
    auto x = embedding_forward(tokens, params.tok_embeddings);
    for (Index l = 0; l < config.layers; ++l)
        x = decoder_layer_forward(x, params.layers[static_cast<std::size_t>(l)], config, l, backend, call,
                                  detail::wanted_of_block(wanted, l, config))
                .out;
    return decoder_head<Dense>(x, params.norm, decoder_output_params(params), config);
}

namespace detail {

// The gradients of one block; computes what was not saved.
template <class Scalar, class Attention, class Dense, class AttentionSaved>
DecoderLayerGrads<Scalar> decoder_block_backward(
    const Tensor<Scalar, 3>& d_out, const DecoderParams<Scalar>& params, const DecoderConfig& config, Index l,
    const DecoderBackend<Attention, Dense>& backend, const AttentionCall& call,
    const DecoderSaved<Scalar, AttentionSaved>& saved, const WantedPositions& wanted) {
    const auto at = static_cast<std::size_t>(l);
    const auto& x = saved.inputs[at];
    const auto& layer = params.layers[at];
    if (!config.checkpoint_activations)
        return decoder_layer_backward(d_out, x, layer, config, l, backend, call, saved.layers[at], wanted);
    const auto again = decoder_layer_forward(x, layer, config, l, backend, call, wanted).saved;
    return decoder_layer_backward(d_out, x, layer, config, l, backend, call, again, wanted);
}

}  // namespace detail

/// Takes d_logits, then forward's arguments and what forward saved. Returns fresh gradients of every parameter.
template <TensorOf<3> DLogits, TensorOf<2> Tokens, class Scalar, class Attention, class Dense>
DecoderParams<Scalar> decoder_backward(const DLogits& d_logits, const Tokens& tokens,
                                       const DecoderParams<Scalar>& params, const DecoderConfig& config,
                                       const DecoderBackend<Attention, Dense>& backend,
                                       const AttentionCall& call,
                                       const DecoderSaved<Scalar, AttentionSavedOf<Attention, Scalar>>& saved,
                                       const WantedPositions& wanted = {}) {
    detail::check_decoder(tokens, params, config);
    detail::check_wanted(wanted, tokens.size());
    detail::check_decoder_saved(saved, tokens, config, wanted);
    const RmsNormConfig norm{.eps = config.norm_eps};
    const auto& last = saved.inputs.back();
    require_same_shape("decoder: d_logits", d_logits.dimensions(),
                       std::array<Index, 3>{last.dimension(0), last.dimension(1), config.vocabulary});
    DecoderParams<Scalar> g;
    g.layers.resize(params.layers.size());
    auto output = Dense::linear_backward(d_logits, Dense::rms_norm_forward(last, params.norm, norm),
                                         decoder_output_params(params));
    auto top = Dense::rms_norm_backward(output.d_x, last, params.norm, norm);
    g.norm = std::move(top.d_params);
    auto d_x = std::move(top.d_x);
    for (Index l = config.layers; l-- > 0;) {
        auto block = detail::decoder_block_backward(d_x, params, config, l, backend, call, saved,
                                                    detail::wanted_of_block(wanted, l, config));
        g.layers[static_cast<std::size_t>(l)] = std::move(block.d_params);
        d_x = std::move(block.d_x);
    }
    g.tok_embeddings = embedding_backward(d_x, tokens, params.tok_embeddings).d_params;
    if (params.output)
        g.output = std::move(output.d_params);
    else
        detail::add_to(g.tok_embeddings.weight, output.d_params.weight);
    return g;
}

}  // namespace mta
