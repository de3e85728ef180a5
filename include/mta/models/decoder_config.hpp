// A Llama-style decoder's configuration: sizes, and the attention of every layer.
// SPDX-License-Identifier: MIT
//
// Source    The language models of Multi-Token Attention, arXiv:2504.00927, Sec. 4.2 and Table 8: a decoder as in
//           Llama, arXiv:2302.13971, with convolutions in some layers, head mixes, norm and gate in all.
// Traps     1. The hidden width of the feed-forward block truncates twice before it is rounded up: llama_hidden.
//           2. Layers are counted from 0, in conv_layers and in layer_index.
//           3. theta is 1e5 here, not rotary's default of 1e4.
// Errors    ShapeError: a size that cannot work, a list of another length. ValueError: eps, theta, a layer that is
//           not there, a mask that is not causal.
#pragma once

#include <algorithm>
#include <cmath>
#include <mta/layers/multi_token_attention_config.hpp>
#include <mta/ops/rotary.hpp>
#include <optional>
#include <vector>

namespace mta {

/// Choices fixed before training; they have no gradient. standard_decoder and with_multi_token_attention fill
/// `attention`.
struct DecoderConfig {
    Index vocabulary = 0;                          // V
    Index width = 0;                               // d, of the residual stream
    Index layers = 0;                              // L
    Index heads = 0;                               // H, query heads
    std::optional<Index> kv_heads = std::nullopt;  // Hkv; default: heads
    std::optional<Index> head_dim = std::nullopt;  // D; default: width / heads
    Index hidden = 0;                              // F, of the feed-forward block
    double norm_eps = 1e-5;
    RotaryConfig rotary = {.layout = RotaryLayout::interleaved, .theta = 1e5};
    bool tied_embeddings = true;                            // the output projection is the embedding table
    std::vector<MultiTokenAttentionConfig> attention = {};  // one per layer
    bool checkpoint_activations = false;  // keep only each layer's input, recompute the rest backward

    Index key_value_heads() const { return kv_heads.value_or(heads); }
    Index head_width() const { return head_dim.value_or(heads > 0 ? width / heads : 0); }
};

/// Hidden width of Llama's feed-forward block: two thirds of 4 d, truncated, times `multiplier`, truncated,
/// rounded up to a multiple. Throws ValueError for arguments below 1, or a multiplier that is not above 0.
inline Index llama_hidden(Index width, Index multiple_of = 256,
                          std::optional<double> multiplier = std::nullopt) {
    require<ValueError>(width >= 1, "llama_hidden: width: got ", width, ", expected at least 1");
    require<ValueError>(multiple_of >= 1, "llama_hidden: multiple_of: got ", multiple_of,
                        ", expected at least 1");
    require<ValueError>(!multiplier || (*multiplier > 0 && std::isfinite(*multiplier)),
                        "llama_hidden: multiplier: got ", multiplier.value_or(0),
                        ", expected finite and above 0");
    Index hidden = 2 * (4 * width) / 3;
    if (multiplier) hidden = static_cast<Index>(*multiplier * static_cast<double>(hidden));
    return (hidden + multiple_of - 1) / multiple_of * multiple_of;
}

namespace detail {

inline void check_decoder_sizes(const DecoderConfig& c) {
    const auto require_positive = [](std::string_view name, Index value) {
        require(value >= 1, "decoder: ", name, ": got ", value, ", expected at least 1");
    };
    require_positive("vocabulary", c.vocabulary);
    require_positive("width", c.width);
    require_positive("layers", c.layers);
    require_positive("heads", c.heads);
    require(c.head_dim.has_value() || c.width % c.heads == 0, "decoder: width: got ", c.width,
            ", expected a multiple of the ", c.heads, " heads, or head_dim");
    require_positive("head_dim", c.head_width());
    require(c.key_value_heads() >= 1 && c.heads % c.key_value_heads() == 0, "decoder: kv_heads: got ",
            c.key_value_heads(), ", expected a divisor of the ", c.heads, " heads");
    require_positive("hidden", c.hidden);
    require<ValueError>(std::isfinite(c.norm_eps) && c.norm_eps >= 0, "decoder: norm_eps: got ", c.norm_eps,
                        ", expected finite and at least 0");
    check_rotary(c.head_width(), c.rotary);
}

inline void check_decoder_attention(const DecoderConfig& c, Index layer) {
    const auto& attention = c.attention[static_cast<std::size_t>(layer)];
    const auto require_equal = [&](std::string_view name, Index got, Index expected) {
        require(got == expected, "decoder: attention[", layer, "].", name, ": got ", got, ", expected ",
                expected, " as in the decoder");
    };
    require_equal("heads", attention.heads, c.heads);
    require_equal("kv_heads", attention.key_value_heads(), c.key_value_heads());
    require_equal("head_dim", attention.head_dim, c.head_width());
    require<ValueError>(attention.layer_index == layer, "decoder: attention[", layer, "].layer_index: got ",
                        attention.layer_index, ", expected ", layer);
    require<ValueError>(attention.mask != MaskRule::none, "decoder: attention[", layer,
                        "].mask: got none, expected a causal one");
    mta::check_config(attention);
}

}  // namespace detail

/// Throws ShapeError or ValueError with one sentence unless the configuration can work.
inline void check_config(const DecoderConfig& config) {
    detail::check_decoder_sizes(config);
    require(static_cast<Index>(config.attention.size()) == config.layers, "decoder: attention: got ",
            config.attention.size(), " configurations, expected one for each of the ", config.layers,
            " layers; standard_decoder makes them");
    for (Index layer = 0; layer < config.layers; ++layer)
        detail::check_decoder_attention(config, layer);
}

/// The decoder of these sizes with the stages of `stages` in its layers: convolutions in `conv_layers` only
/// (counted from 0; absent: in all), head mixes, norm, gate, mask, scale and dropout in every layer. Heads, head
/// width and layer_index are the decoder's.
inline DecoderConfig with_multi_token_attention(
    DecoderConfig config, const MultiTokenAttentionConfig& stages,
    const std::optional<std::vector<Index>>& conv_layers = std::nullopt) {
    if (conv_layers)
        for (const Index layer : *conv_layers)
            require<ValueError>(layer >= 0 && layer < config.layers,
                                "with_multi_token_attention: conv_layers: got layer ", layer,
                                ", expected from 0 to below the ", config.layers, " layers");
    config.attention.clear();
    for (Index layer = 0; layer < config.layers; ++layer) {
        MultiTokenAttentionConfig attention = stages;
        attention.heads = config.heads;
        attention.kv_heads = config.kv_heads;
        attention.head_dim = config.head_width();
        attention.layer_index = layer;
        if (conv_layers && std::count(conv_layers->begin(), conv_layers->end(), layer) == 0)
            for (ScoreMixingConfig* side : {&attention.pre, &attention.post})
                side->query_kernel = side->key_kernel = 0;
        config.attention.push_back(attention);
    }
    check_config(config);
    return config;
}

/// The decoder of these sizes with standard attention in every layer; `hidden` 0 becomes llama_hidden(width).
inline DecoderConfig standard_decoder(DecoderConfig sizes) {
    if (sizes.hidden == 0 && sizes.width >= 1) sizes.hidden = llama_hidden(sizes.width);
    return with_multi_token_attention(std::move(sizes), {});
}

/// The stages of the paper's language models, Secs. 3.3 and 4.2: kernels 6 x 11 on both sides of the softmax, all
/// heads mixed on both sides, RMS norm and a scalar gate.
inline MultiTokenAttentionConfig paper_stages(Index heads) {
    MultiTokenAttentionConfig stages;
    stages.pre = stages.post = {.query_kernel = 6, .key_kernel = 11, .mix_group = heads};
    stages.norm = RmsNormFactor::one;
    stages.gate = GateKind::scalar;
    return stages;
}

/// The layers in which the paper's language models convolve: every fourth, 2, 6, 10, ... below `layers`.
inline std::vector<Index> paper_conv_layers(Index layers) {
    std::vector<Index> chosen;
    for (Index layer = 2; layer < layers; layer += 4)
        chosen.push_back(layer);
    return chosen;
}

/// The Transformers of the paper's Table 8 and scaling study, with Llama 3's vocabulary: 388,277,248 parameters.
inline DecoderConfig llama_300m() {
    return standard_decoder({.vocabulary = 128256, .width = 1024, .layers = 20, .heads = 16});
}
/// 651,818,240 parameters.
inline DecoderConfig llama_550m() {
    return standard_decoder({.vocabulary = 128256, .width = 1280, .layers = 24, .heads = 10});
}
/// 876,553,728 parameters.
inline DecoderConfig llama_880m() {
    return standard_decoder({.vocabulary = 128256, .width = 1536, .layers = 24, .heads = 16});
}
/// 1,495,894,016 parameters.
inline DecoderConfig llama_1400m() {
    return standard_decoder({.vocabulary = 128256, .width = 2048, .layers = 24, .heads = 16});
}
/// llama_880m with the paper's stages: 876,583,320 parameters.
inline DecoderConfig mta_880m() {
    return with_multi_token_attention(llama_880m(), paper_stages(16), paper_conv_layers(24));
}

}  // namespace mta
