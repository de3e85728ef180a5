// Decoders for tests: random cases with every kind of layer, and the configurations of the golden cases.
// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <cstdint>
#include <mta/models/decoder.hpp>
#include <string>
#include <vector>

#include "support/golden.hpp"
#include "support/random_tensor.hpp"

namespace mta::test {

template <class Scalar>
struct DecoderCase {
    DecoderConfig config;
    AttentionCall call;
    Tensor<std::int64_t, 2> tokens;
    Tensor<Scalar, 3> d_logits;
    DecoderParams<Scalar> params;

    template <class Backend = DecoderBackend<>>
    auto forward(const Backend& backend = {}) const {
        return decoder_forward(tokens, params, config, backend, call);
    }
    template <class Backend = DecoderBackend<>>
    auto backward(const Backend& backend = {}) const {
        return decoder_backward(d_logits, tokens, params, config, backend, call, forward(backend).saved);
    }
};

/// Far from initial values: matrices that keep a row's size, norm weights about 1, everything else about 0.5.
template <class Scalar>
void fill_decoder_params(DecoderParams<Scalar>& params, std::uint64_t seed) {
    DecoderParams<Scalar>::for_each(
        [&](std::string_view name, auto& p) {
            Random random(seed, parameter_stream(name));
            const bool matrix = rank_of<decltype(p)> == 2 && name.find(".mta.") == name.npos;
            const double size =
                matrix ? 1.3 / std::sqrt(static_cast<double>(p.dimension(rank_of<decltype(p)> - 1))) : 0.4;
            fill_normal(p, random, size);
            if (name.ends_with("norm.weight"))
                for (auto& x : elements(p))
                    x += Scalar(1);
        },
        params);
}

/// Tokens that all occur, in random order.
inline Tensor<std::int64_t, 2> random_tokens(Index B, Index S, Index vocabulary, std::uint64_t seed) {
    Tensor<std::int64_t, 2> tokens(B, S);
    Random random(seed, 0x70c5);
    for (auto& t : elements(tokens))
        t = random.below(static_cast<std::uint32_t>(vocabulary));
    return tokens;
}

template <class Scalar = double>
DecoderCase<Scalar> random_decoder(const DecoderConfig& config, Index B, Index S, AttentionCall call = {},
                                   std::uint64_t seed = 1) {
    DecoderCase<Scalar> c{config,
                          std::move(call),
                          random_tokens(B, S, config.vocabulary, seed),
                          {},
                          make_decoder_params<Scalar>(config)};
    c.d_logits = cast<Scalar>(random_tensor(seed, B, S, config.vocabulary));
    fill_decoder_params(c.params, seed);
    return c;
}

/// Every stage: kernels 2x3 and 3x5, groups of 2 and 4, norm with a depth factor, a vector gate.
inline MultiTokenAttentionConfig every_stage() {
    MultiTokenAttentionConfig stages;
    stages.pre = {2, 3, KeyPadding::both, 2};
    stages.post = {3, 5, KeyPadding::both, 4};
    stages.norm = RmsNormFactor::depth;
    stages.gate = GateKind::vector;
    return stages;
}

inline DecoderConfig plain_decoder() {
    return standard_decoder({.vocabulary = 11, .width = 8, .layers = 2, .heads = 2, .hidden = 10});
}

/// H D is not the width, two query heads share a key head, the output is a matrix of its own.
inline DecoderConfig grouped_decoder() {
    return standard_decoder({.vocabulary = 7,
                             .width = 10,
                             .layers = 2,
                             .heads = 4,
                             .kv_heads = 2,
                             .head_dim = 6,
                             .hidden = 9,
                             .norm_eps = 1e-3,
                             .rotary = {.layout = RotaryLayout::half_split, .theta = 500},
                             .tied_embeddings = false});
}

/// Three layers, convolutions in the middle one.
inline DecoderConfig mta_decoder() {
    const auto sizes =
        standard_decoder({.vocabulary = 9, .width = 16, .layers = 3, .heads = 4, .hidden = 14});
    return with_multi_token_attention(sizes, every_stage(), std::vector<Index>{1});
}

/// The exact mask, one key head, even kernels, no norm, an output of its own.
inline DecoderConfig exact_decoder() {
    const auto sizes = standard_decoder({.vocabulary = 13,
                                         .width = 8,
                                         .layers = 2,
                                         .heads = 4,
                                         .kv_heads = 1,
                                         .head_dim = 4,
                                         .hidden = 7,
                                         .tied_embeddings = false});
    MultiTokenAttentionConfig stages;
    stages.mask = MaskRule::exact;
    stages.scale = 0.4;
    stages.gate = GateKind::scalar;
    stages.pre = {3, 4, KeyPadding::left, 0};
    stages.post = {2, 2, KeyPadding::right, 2};
    return with_multi_token_attention(sizes, stages);
}

struct NamedDecoder {
    std::string name;
    DecoderConfig config;
    AttentionCall call;
};

/// The cases of tests/golden/models/decoder.py.
inline std::vector<NamedDecoder> golden_decoders() {
    AttentionCall packed;
    packed.documents = Documents(std::vector<Index>{0, 3});
    return {{"standard", plain_decoder(), {}},
            {"gqa_untied", grouped_decoder(), {}},
            {"mta", mta_decoder(), packed},
            {"mta_exact", exact_decoder(), {}}};
}

/// Two decoders with few parameters and, together, every kind of stage: for derivatives one parameter at a time.
inline std::vector<NamedDecoder> tiny_decoders() {
    AttentionCall packed;
    packed.documents = Documents(std::vector<Index>{0, 2});
    MultiTokenAttentionConfig stages = every_stage(), exact;
    stages.post = {2, 3, KeyPadding::both, 2};
    exact.mask = MaskRule::exact;
    exact.pre = {2, 2, KeyPadding::left, 0};
    exact.gate = GateKind::scalar;
    const auto tied = standard_decoder({.vocabulary = 5, .width = 4, .layers = 2, .heads = 2, .hidden = 3});
    const auto untied = standard_decoder({.vocabulary = 4,
                                          .width = 5,
                                          .layers = 2,
                                          .heads = 2,
                                          .kv_heads = 1,
                                          .head_dim = 4,
                                          .hidden = 3,
                                          .norm_eps = 1e-2,
                                          .rotary = {.layout = RotaryLayout::half_split, .theta = 50},
                                          .tied_embeddings = false});
    return {{"tied", with_multi_token_attention(tied, stages, std::vector<Index>{1}), packed},
            {"untied", with_multi_token_attention(untied, exact), {}}};
}

/// The parameters of a golden case, or (`kind` "grads") their gradients.
inline DecoderParams<double> golden_params(const Golden& golden, const NamedDecoder& named,
                                           const std::string& kind) {
    auto params = make_decoder_params<double>(named.config);
    DecoderParams<double>::for_each(
        [&](std::string_view name, auto& p) {
            p = golden.tensor<rank_of<decltype(p)>>(named.name + "." + kind + "." + std::string(name));
        },
        params);
    return params;
}

inline DecoderCase<double> golden_decoder(const Golden& golden, const NamedDecoder& named) {
    return {named.config, named.call, cast<std::int64_t>(golden.tensor<2>(named.name + ".tokens")),
            golden.tensor<3>(named.name + ".d_logits"), golden_params(golden, named, "params")};
}

}  // namespace mta::test
