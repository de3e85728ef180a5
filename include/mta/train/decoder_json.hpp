// A decoder's configuration as JSON and back, every field written out.
// SPDX-License-Identifier: MIT
//
// to_json(DecoderConfig) and from_json<DecoderConfig>(json, where) of json_fields.hpp do the work; what a field means
// stands with the struct it belongs to. Absent choices (kv_heads, scale, norm, gate, ...) are null.
#pragma once

#include <array>
#include <mta/models/decoder_config.hpp>
#include <mta/train/json_fields.hpp>
#include <string>
#include <string_view>
#include <utility>

namespace mta::train {

template <>
struct JsonNames<Normalise> {
    static constexpr std::array<std::pair<std::string_view, Normalise>, 2> names{
        {{"softmax", Normalise::softmax}, {"sparsemax", Normalise::sparsemax}}};
};
template <>
struct JsonNames<MaskRule> {
    static constexpr std::array<std::pair<std::string_view, MaskRule>, 3> names{
        {{"twice", MaskRule::twice}, {"exact", MaskRule::exact}, {"none", MaskRule::none}}};
};
template <>
struct JsonNames<KeyPadding> {
    static constexpr std::array<std::pair<std::string_view, KeyPadding>, 3> names{
        {{"both", KeyPadding::both}, {"left", KeyPadding::left}, {"right", KeyPadding::right}}};
};
template <>
struct JsonNames<RmsNormFactor> {
    static constexpr std::array<std::pair<std::string_view, RmsNormFactor>, 3> names{
        {{"rms", RmsNormFactor::one},
         {"rms_depth", RmsNormFactor::depth},
         {"rms_layer", RmsNormFactor::layer}}};
};
template <>
struct JsonNames<GateKind> {
    static constexpr std::array<std::pair<std::string_view, GateKind>, 2> names{
        {{"scalar", GateKind::scalar}, {"vector", GateKind::vector}}};
};
template <>
struct JsonNames<RotaryLayout> {
    static constexpr std::array<std::pair<std::string_view, RotaryLayout>, 2> names{
        {{"interleaved", RotaryLayout::interleaved}, {"half_split", RotaryLayout::half_split}}};
};

template <>
struct JsonFields<ScoreMixingConfig> {
    template <class F, class Config>
    static void for_each(F&& f, Config& c) {
        f("query_kernel", c.query_kernel);
        f("key_kernel", c.key_kernel);
        f("key_padding", c.key_padding);
        f("mix_group", c.mix_group);
    }
};

template <>
struct JsonFields<MultiTokenAttentionConfig> {
    template <class F, class Config>
    static void for_each(F&& f, Config& c) {
        f("heads", c.heads);
        f("kv_heads", c.kv_heads);
        f("head_dim", c.head_dim);
        f("scale", c.scale);
        f("normalise", c.normalise);
        f("mask", c.mask);
        f("pre", c.pre);
        f("post", c.post);
        f("dropout", c.dropout);
        f("norm", c.norm);
        f("gate", c.gate);
        f("eps", c.eps);
        f("layer_index", c.layer_index);
    }
};

template <>
struct JsonFields<RotaryScaling> {
    template <class F, class Config>
    static void for_each(F&& f, Config& c) {
        f("factor", c.factor);
        f("low_freq_factor", c.low_freq_factor);
        f("high_freq_factor", c.high_freq_factor);
        f("original_context", c.original_context);
    }
};

template <>
struct JsonFields<RotaryConfig> {
    template <class F, class Config>
    static void for_each(F&& f, Config& c) {
        f("layout", c.layout);
        f("theta", c.theta);
        f("rotary_dims", c.rotary_dims);
        f("scaling", c.scaling);
    }
};

template <>
struct JsonFields<DecoderConfig> {
    template <class F, class Config>
    static void for_each(F&& f, Config& c) {
        f("vocabulary", c.vocabulary);
        f("width", c.width);
        f("layers", c.layers);
        f("heads", c.heads);
        f("kv_heads", c.kv_heads);
        f("head_dim", c.head_dim);
        f("hidden", c.hidden);
        f("norm_eps", c.norm_eps);
        f("rotary", c.rotary);
        f("tied_embeddings", c.tied_embeddings);
        f("attention", c.attention);
        f("checkpoint_activations", c.checkpoint_activations);
    }
};

/// The decoder in a JSON document, checked. Throws FileError for a field that does not fit, ShapeError or ValueError
/// for a configuration that cannot work.
inline DecoderConfig decoder_config_of(const Json& json, const std::string& where) {
    auto config = from_json<DecoderConfig>(json, where);
    check_config(config);
    return config;
}

}  // namespace mta::train
