// A small model's parameters: a matrix, a list of layers with optional stages, an optional head.
// SPDX-License-Identifier: MIT
#pragma once

#include <mta/core/parameters.hpp>
#include <mta/layers/multi_token_attention_config.hpp>
#include <optional>
#include <string>
#include <vector>

#include "support/random_tensor.hpp"

namespace mta::test {

template <class Scalar>
struct SampleLayerParams {
    Parameter<Scalar, 2> w;
    MultiTokenAttentionParams<Scalar> mta;

    template <class F, class... P>
    static void for_each(F&& f, P&... p) {
        f("w.weight", p.w...);
        MultiTokenAttentionParams<Scalar>::for_each(with_prefix("mta", f), p.mta...);
    }
};

template <class Scalar>
struct SampleParams {
    Parameter<Scalar, 2> embedding;
    std::vector<SampleLayerParams<Scalar>> layers;
    std::optional<RmsNormParams<Scalar>> norm;

    template <class F, class First, class... Rest>
    static void for_each(F&& f, First& first, Rest&... rest) {
        f("embedding.weight", first.embedding, rest.embedding...);
        for (std::size_t n = 0; n < first.layers.size(); ++n)
            SampleLayerParams<Scalar>::for_each(with_prefix("layers." + std::to_string(n), f),
                                                first.layers[n], rest.layers.at(n)...);
        for_each_optional("norm", with_prefix("norm", f), first.norm, rest.norm...);
    }
};

/// Every element random. Layer 0 has convolution, mix, norm and gate, layer 1 a convolution after the softmax only.
/// Tensors: the embedding, 1 + 7, 1 + 1, the norm: 12.
template <class Scalar>
SampleParams<Scalar> sample_params(std::uint64_t seed) {
    MultiTokenAttentionConfig everything, plain;
    everything.heads = plain.heads = 2;
    everything.head_dim = plain.head_dim = 3;
    everything.pre = everything.post = {2, 3, KeyPadding::both, 2};
    everything.norm = RmsNormFactor::one;
    everything.gate = GateKind::scalar;
    plain.post = {2, 1, KeyPadding::both, 0};
    SampleParams<Scalar> p;
    p.embedding = make_parameter<Scalar>(7, 4);
    p.layers.push_back({make_parameter<Scalar>(4, 5), make_multi_token_attention_params<Scalar>(everything)});
    p.layers.push_back({make_parameter<Scalar>(3, 1), make_multi_token_attention_params<Scalar>(plain)});
    p.norm = RmsNormParams<Scalar>{make_parameter<Scalar>(4)};
    Random random(seed, 0x5a3);
    SampleParams<Scalar>::for_each([&](std::string_view, auto& t) { fill_normal(t, random); }, p);
    return p;
}

}  // namespace mta::test
