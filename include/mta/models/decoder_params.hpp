// A Llama-style decoder's parameters under the names that files use, and their initial values.
// SPDX-License-Identifier: MIT
//
// Source    Names, shapes and initial values are those of the authors' public training code for Multi-Token
//           Attention, arXiv:2504.00927.
// Names     tok_embeddings.weight (V, d)    norm.weight (d)    output.weight (V, d), unless tied; in layer l, below
//           layers.<l>.:    attention.wq.weight (H D, d)    attention.wk.weight, attention.wv.weight (Hkv D, d)
//           attention.wo.weight (d, H D)    attention.mta.<name> as in multi_token_attention_config.hpp
//           feed_forward.w1.weight, feed_forward.w3.weight (F, d)    feed_forward.w2.weight (d, F)
//           attention_norm.weight (d)    ffn_norm.weight (d)
// Init      Normal, redrawn beyond 3 standard deviations s: w2 s = F^-1/2, all other matrices s = d^-1/2 (the gate's
//           D^-1/2); norm weights 1, gate bias 0, kernels and mixes as asked.
// Streams   Every tensor draws from Random(seed, parameter_stream(name)): two models of one seed share every tensor
//           that both have, whatever else they have.
// Errors    ShapeError: a parameter that is missing, superfluous or of another shape.
#pragma once

#include <cmath>
#include <cstdint>
#include <mta/core/parameters.hpp>
#include <mta/core/random.hpp>
#include <mta/layers/initialisers.hpp>
#include <mta/models/decoder_config.hpp>
#include <mta/ops/embedding.hpp>
#include <mta/ops/linear.hpp>
#include <mta/ops/rms_norm.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace mta {

/// The projections around a layer's attention, and what the attention itself learns.
template <class Scalar>
struct DecoderAttentionParams {
    LinearParams<Scalar> wq, wk, wv, wo;
    MultiTokenAttentionParams<Scalar> mta;

    template <class F, class... P>
    static void for_each(F&& f, P&... p) {
        LinearParams<Scalar>::for_each(with_prefix("wq", f), p.wq...);
        LinearParams<Scalar>::for_each(with_prefix("wk", f), p.wk...);
        LinearParams<Scalar>::for_each(with_prefix("wv", f), p.wv...);
        LinearParams<Scalar>::for_each(with_prefix("wo", f), p.wo...);
        MultiTokenAttentionParams<Scalar>::for_each(with_prefix("mta", f), p.mta...);
    }
};

/// w2 (silu(w1 u) * w3 u).
template <class Scalar>
struct FeedForwardParams {
    LinearParams<Scalar> w1, w2, w3;

    template <class F, class... P>
    static void for_each(F&& f, P&... p) {
        LinearParams<Scalar>::for_each(with_prefix("w1", f), p.w1...);
        LinearParams<Scalar>::for_each(with_prefix("w2", f), p.w2...);
        LinearParams<Scalar>::for_each(with_prefix("w3", f), p.w3...);
    }
};

/// One block.
template <class Scalar>
struct DecoderLayerParams {
    DecoderAttentionParams<Scalar> attention;
    FeedForwardParams<Scalar> feed_forward;
    RmsNormParams<Scalar> attention_norm, ffn_norm;

    template <class F, class... P>
    static void for_each(F&& f, P&... p) {
        DecoderAttentionParams<Scalar>::for_each(with_prefix("attention", f), p.attention...);
        FeedForwardParams<Scalar>::for_each(with_prefix("feed_forward", f), p.feed_forward...);
        RmsNormParams<Scalar>::for_each(with_prefix("attention_norm", f), p.attention_norm...);
        RmsNormParams<Scalar>::for_each(with_prefix("ffn_norm", f), p.ffn_norm...);
    }
};

/// Everything an optimizer may change, and nothing else.
template <class Scalar>
struct DecoderParams {
    EmbeddingParams<Scalar> tok_embeddings;
    std::vector<DecoderLayerParams<Scalar>> layers;
    RmsNormParams<Scalar> norm;
    std::optional<LinearParams<Scalar>> output;  // absent: tied to tok_embeddings

    /// Walks several instances side by side. Errors: ShapeError when their layers or members differ in number.
    template <class F, class First, class... Rest>
    static void for_each(F&& f, First& first, Rest&... rest) {
        require((true && ... && (rest.layers.size() == first.layers.size())),
                "decoder: layers: got parameter sets of different depth, expected the same in all");
        EmbeddingParams<Scalar>::for_each(with_prefix("tok_embeddings", f), first.tok_embeddings,
                                          rest.tok_embeddings...);
        for (std::size_t l = 0; l < first.layers.size(); ++l)
            DecoderLayerParams<Scalar>::for_each(with_prefix("layers." + detail::number_text(l), f),
                                                 first.layers[l], rest.layers[l]...);
        RmsNormParams<Scalar>::for_each(with_prefix("norm", f), first.norm, rest.norm...);
        for_each_optional("output", with_prefix("output", f), first.output, rest.output...);
    }

    /// Empty tensors where `other` has tensors, nothing where it has nothing.
    template <class Other>
    static DecoderParams with_members_of(const DecoderParams<Other>& other) {
        DecoderParams made;
        made.layers.resize(other.layers.size());
        for (std::size_t l = 0; l < other.layers.size(); ++l)
            made.layers[l].attention.mta =
                MultiTokenAttentionParams<Scalar>::with_members_of(other.layers[l].attention.mta);
        if (other.output) made.output.emplace();
        return made;
    }
};

/// Parameters of the shapes that `config` asks for, all elements 0; over ShapeOnly, the shapes alone.
template <class Scalar>
DecoderParams<Scalar> make_decoder_params(const DecoderConfig& config) {
    check_config(config);
    const Index d = config.width, F = config.hidden, D = config.head_width();
    const auto linear = [](Index out, Index in) {
        return LinearParams<Scalar>{make_parameter<Scalar>(out, in), std::nullopt};
    };
    DecoderParams<Scalar> params;
    params.tok_embeddings = {make_parameter<Scalar>(config.vocabulary, d)};
    params.layers.reserve(
        config.attention.size());  // growing would copy: moving an Eigen tensor is not noexcept
    for (const auto& attention : config.attention) {
        DecoderLayerParams<Scalar> layer;
        layer.attention.wq = linear(config.heads * D, d);
        layer.attention.wk = linear(config.key_value_heads() * D, d);
        layer.attention.wv = linear(config.key_value_heads() * D, d);
        layer.attention.wo = linear(d, config.heads * D);
        layer.attention.mta = make_multi_token_attention_params<Scalar>(attention);
        layer.feed_forward = {linear(F, d), linear(d, F), linear(F, d)};
        layer.attention_norm = {make_parameter<Scalar>(d)};
        layer.ffn_norm = {make_parameter<Scalar>(d)};
        params.layers.push_back(std::move(layer));
    }
    params.norm = {make_parameter<Scalar>(d)};
    if (!config.tied_embeddings) params.output = linear(config.vocabulary, d);
    return params;
}

namespace detail {
// Names and extents of every tensor, in the order of the walk.
template <class Params>
auto parameter_shapes(const Params& params) {
    std::vector<std::pair<std::string, std::vector<Index>>> shapes;
    Params::for_each(
        [&](std::string_view name, const auto& p) {
            shapes.emplace_back(name, std::vector<Index>(p.dimensions().begin(), p.dimensions().end()));
        },
        params);
    return shapes;
}
}  // namespace detail

/// Throws ShapeError, with the first parameter that differs, unless `params` are what `config` asks for.
template <class Scalar>
void check_decoder_params(const DecoderParams<Scalar>& params, const DecoderConfig& config) {
    require(static_cast<Index>(params.layers.size()) == config.layers, "decoder: parameters: got ",
            params.layers.size(), " layers, expected ", config.layers);
    const auto got = detail::parameter_shapes(params);
    const auto want = detail::parameter_shapes(make_decoder_params<ShapeOnly>(config));
    for (std::size_t n = 0; n < std::max(got.size(), want.size()); ++n) {
        const bool ended = n >= want.size();
        require(!ended, "decoder: parameters: got ", ended ? got[n].first : "", ", expected none after ",
                want.back().first);
        require(n < got.size() && got[n].first == want[n].first, "decoder: parameters: got ",
                n < got.size() ? got[n].first : "none", ", expected ", want[n].first);
        require_same_shape(detail::sentence("decoder: ", got[n].first), got[n].second, want[n].second);
    }
}

/// The stream of Random from which a parameter draws: FNV-1a, 64 bits, of the bytes of its name.
inline std::uint64_t parameter_stream(std::string_view name) {
    return fnv1a(name);
}

namespace detail {
template <class T>
void initialise_matrix(T& weight, Index fan_in, Random& random) {
    const double deviation = 1 / std::sqrt(static_cast<double>(fan_in));
    for (auto& x : elements(weight))
        x = static_cast<RealOf<ScalarOf<T>>>(deviation * random.truncated_normal(3));
}

// One tensor of a layer's attention below mta.
template <class T>
void initialise_stage(std::string_view name, T& p, const MultiTokenAttentionConfig& config, KernelInit init,
                      Random& random) {
    if constexpr (rank_of<T> == 3) {
        const auto padding = name.starts_with("pre.") ? config.pre.key_padding : config.post.key_padding;
        if (name.ends_with(".kernel"))
            initialise_kernel(p, init, padding, random);
        else
            initialise_mix(p, init, random);
    } else if constexpr (rank_of<T> == 2) {
        initialise_matrix(p, config.head_dim, random);  // gate.weight
    } else {
        fill(p, ScalarOf<T>(name == "gate.bias" ? 0 : 1));
    }
}
}  // namespace detail

/// Parameters to start training from; see Init and Streams above.
template <class Scalar>
DecoderParams<Scalar> initial_decoder_params(const DecoderConfig& config, std::uint64_t seed,
                                             KernelInit init = KernelInit::identity) {
    auto params = make_decoder_params<Scalar>(config);
    DecoderParams<Scalar>::for_each(
        [&](std::string_view name, auto& p) {
            if (name.find(".mta.") != name.npos) return;
            Random random(seed, parameter_stream(name));
            if constexpr (rank_of<decltype(p)> == 1)
                fill(p, Scalar(1));
            else if constexpr (rank_of<decltype(p)> == 2)
                detail::initialise_matrix(
                    p, name.ends_with("feed_forward.w2.weight") ? config.hidden : config.width, random);
        },
        params);
    for (std::size_t l = 0; l < params.layers.size(); ++l)
        MultiTokenAttentionParams<Scalar>::for_each(
            [&](std::string_view name, auto& p) {
                const std::string below = detail::sentence("layers.", l, ".attention.mta.");
                Random random(seed, parameter_stream(below + std::string(name)));
                detail::initialise_stage(name, p, config.attention[l], init, random);
            },
            params.layers[l].attention.mta);
    return params;
}

}  // namespace mta
