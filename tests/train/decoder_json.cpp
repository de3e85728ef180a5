// Tests of train/decoder_json.hpp: every field of a decoder's configuration, there and back.
// SPDX-License-Identifier: MIT
#include <mta/train/decoder_json.hpp>

#include <doctest/doctest.h>

#include "../io/io_support.hpp"
#include "json_leaves.hpp"

namespace mta_test_decoder_json {
using namespace mta;
using namespace mta::train;
using mta::test::sentence_of;

namespace {
// Nothing is at its default.
DecoderConfig example() {
    MultiTokenAttentionConfig stages;
    stages.scale = 0.125;
    stages.pre = {.query_kernel = 2, .key_kernel = 3, .key_padding = KeyPadding::left, .mix_group = 2};
    stages.post = {.query_kernel = 4, .key_kernel = 5, .key_padding = KeyPadding::right, .mix_group = 4};
    stages.dropout = 0.1;
    stages.norm = RmsNormFactor::depth;
    stages.gate = GateKind::vector;
    stages.eps = 1e-6;
    DecoderConfig sizes{
        .vocabulary = 11, .width = 12, .layers = 2, .heads = 4, .kv_heads = 2, .head_dim = 6, .hidden = 7};
    sizes.norm_eps = 1e-4;
    sizes.rotary = {
        .layout = RotaryLayout::half_split, .theta = 1e4, .rotary_dims = 4, .scaling = RotaryScaling{}};
    sizes.tied_embeddings = false;
    sizes.checkpoint_activations = true;
    return with_multi_token_attention(sizes, stages);
}
}  // namespace

TEST_CASE("hand values: the fields of a decoder and of its attention, by name") {
    const Json json =
        to_json(standard_decoder({.vocabulary = 5, .width = 4, .layers = 1, .heads = 2, .hidden = 3}));
    CHECK(
        json.dump() ==
        R"({"vocabulary":5,"width":4,"layers":1,"heads":2,"kv_heads":null,"head_dim":null,"hidden":3,"norm_eps":1e-05,)"
        R"("rotary":{"layout":"interleaved","theta":100000.0,"rotary_dims":null,"scaling":null},"tied_embeddings":true,)"
        R"("attention":[{"heads":2,"kv_heads":null,"head_dim":2,"scale":null,"normalise":"softmax","mask":"twice",)"
        R"("pre":{"query_kernel":0,"key_kernel":0,"key_padding":"both","mix_group":0},)"
        R"("post":{"query_kernel":0,"key_kernel":0,"key_padding":"both","mix_group":0},)"
        R"("dropout":0.0,"norm":null,"gate":null,"eps":1e-05,"layer_index":0}],"checkpoint_activations":false})");
    CHECK(to_json(example())["attention"][1]["gate"] == "vector");
    CHECK(to_json(example())["attention"][0]["pre"].dump() ==
          R"({"query_kernel":2,"key_kernel":3,"key_padding":"left","mix_group":2})");
    CHECK(to_json(example())["attention"][0]["post"].dump() ==
          R"({"query_kernel":4,"key_kernel":5,"key_padding":"right","mix_group":4})");
    CHECK(to_json(example())["rotary"]["scaling"].dump() ==
          R"({"factor":8.0,"low_freq_factor":1.0,"high_freq_factor":4.0,"original_context":8192.0})");
}

TEST_CASE("properties: every single field survives the way there and back, whatever its value") {
    const Json json = to_json(example());
    CHECK(to_json(decoder_config_of(json, "c")) == json);
    test::for_each_changed_leaf(json, [&](const std::string& where, const Json& changed) {
        CHECK_MESSAGE(to_json(from_json<DecoderConfig>(changed, "c")) == changed, where);
    });
}

TEST_CASE("errors: names that do not exist, and a configuration that cannot work") {
    Json json = to_json(example());
    json["attention"][1]["norm"] = "layer";
    CHECK(sentence_of([&] { decoder_config_of(json, "r/config.json: model"); }) ==
          "r/config.json: model.attention[1].norm: got \"layer\", expected one of rms, rms_depth, rms_layer");
    json = to_json(example());
    json["heads"] = 3;
    CHECK(sentence_of<ArgumentError>([&] {
              decoder_config_of(json, "c");
          }).starts_with("decoder: kv_heads: got 2"));
}

}  // namespace mta_test_decoder_json
