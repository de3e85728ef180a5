// Configurations of decoders: hidden widths, who convolves where, the presets, sentences about what cannot work.
// SPDX-License-Identifier: MIT
#include <cmath>
#include <mta/models/decoder_config.hpp>
#include <mta/models/decoder_params.hpp>

#include "support/checks.hpp"
#include "support/tensors.hpp"

namespace mta_test_decoder_config {
using namespace mta;
using namespace mta::test;

namespace {

DecoderConfig small() {
    return standard_decoder(
        {.vocabulary = 11, .width = 8, .layers = 3, .heads = 4, .kv_heads = 2, .hidden = 10});
}

// The first sentence that check_config has to say after this change.
template <class Failure, class F>
void check_sentence(const char* sentence, F&& change) {
    auto config = small();
    change(config);
    CHECK_THROWS_WITH_AS(check_config(config), sentence, Failure);
}

}  // namespace

TEST_CASE("decoder_config: hand values of the hidden width") {
    CHECK(llama_hidden(256) == 768);
    CHECK(llama_hidden(1024) == 2816);
    CHECK(llama_hidden(1280) == 3584);
    CHECK(llama_hidden(1536) == 4096);
    CHECK(llama_hidden(2048) == 5632);
    // 8/3 is truncated to 2 before the factor: 2 * 1.4 = 2.8, not 3.7.
    CHECK(llama_hidden(1, 1, 1.4) == 2);
    // Llama 2 70B: 8192, multiple of 4096, factor 1.3: 21845 * 1.3 = 28398.5, up to 28672.
    CHECK(llama_hidden(8192, 4096, 1.3) == 28672);
    CHECK(llama_hidden(3, 8) == 8);  // a multiple stays
    CHECK(llama_hidden(3, 9) == 9);
}

TEST_CASE("decoder_config: hand values of the standard decoder") {
    const auto config = standard_decoder({.vocabulary = 11, .width = 8, .layers = 2, .heads = 2});
    CHECK(config.hidden == 256);
    CHECK(config.rotary.theta == 1e5);
    CHECK(config.rotary.layout == RotaryLayout::interleaved);
    CHECK(config.norm_eps == 1e-5);
    CHECK(config.tied_embeddings);
    CHECK_FALSE(config.checkpoint_activations);
    CHECK(config.key_value_heads() == 2);
    CHECK(config.head_width() == 4);
    REQUIRE(config.attention.size() == 2);
    for (Index l = 0; l < 2; ++l) {
        const auto& a = config.attention[static_cast<std::size_t>(l)];
        CHECK(a.heads == 2);
        CHECK(a.head_dim == 4);
        CHECK(a.layer_index == l);
        CHECK_FALSE((a.pre.has_conv() || a.pre.has_mix() || a.post.has_conv() || a.post.has_mix()));
        CHECK_FALSE((a.norm.has_value() || a.gate.has_value()));
    }
    const auto wide = standard_decoder(
        {.vocabulary = 11, .width = 9, .layers = 1, .heads = 4, .kv_heads = 1, .head_dim = 6, .hidden = 5});
    CHECK(wide.head_width() == 6);
    CHECK(wide.hidden == 5);
    CHECK(wide.attention[0].head_dim == 6);
    CHECK(wide.attention[0].key_value_heads() == 1);
}

TEST_CASE("decoder_config: convolutions in the listed layers, everything else in all") {
    auto stages = paper_stages(4);
    stages.pre.key_kernel = 3;
    stages.dropout = 0.1;
    stages.scale = 0.5;
    stages.mask = MaskRule::exact;
    stages.layer_index = 7;  // the decoder's own indices count
    stages.heads = 99;
    const auto config = with_multi_token_attention(small(), stages, std::vector<Index>{2, 0});
    REQUIRE(config.attention.size() == 3);
    for (Index l = 0; l < 3; ++l) {
        const auto& a = config.attention[static_cast<std::size_t>(l)];
        CHECK(a.pre.has_conv() == (l != 1));
        CHECK(a.post.has_conv() == (l != 1));
        CHECK(a.pre.mix_group == 4);
        CHECK(a.post.mix_group == 4);
        CHECK(a.norm == RmsNormFactor::one);
        CHECK(a.gate == GateKind::scalar);
        CHECK(a.dropout == 0.1);
        CHECK(a.scale == 0.5);
        CHECK(a.mask == MaskRule::exact);
        CHECK(a.layer_index == l);
        CHECK(a.heads == 4);
        CHECK(a.key_value_heads() == 2);
        CHECK(a.head_dim == 2);
    }
    CHECK(config.attention[0].pre.key_kernel == 3);
    CHECK(config.attention[0].post.key_kernel == 11);
    for (const auto& a : with_multi_token_attention(small(), stages).attention)
        CHECK(a.pre.has_conv());
    for (const auto& a : with_multi_token_attention(small(), stages, std::vector<Index>{}).attention)
        CHECK_FALSE(a.post.has_conv());
    // A second call replaces what the first one chose.
    CHECK_FALSE(with_multi_token_attention(config, {}).attention[0].gate.has_value());
}

TEST_CASE("decoder_config: the presets have the parameters of the paper's Table 8") {
    const auto count = [](const DecoderConfig& config) {
        return parameter_count(make_decoder_params<ShapeOnly>(config));
    };
    CHECK(count(llama_300m()) == 388277248);
    CHECK(count(llama_550m()) == 651818240);
    CHECK(count(llama_880m()) == 876553728);
    CHECK(count(llama_1400m()) == 1495894016);
    CHECK(count(mta_880m()) == 876583320);
    CHECK(llama_300m().heads == 16);
    CHECK(llama_550m().heads == 10);
    CHECK(llama_880m().heads == 16);
    CHECK(llama_1400m().heads == 16);
    CHECK(paper_conv_layers(24) == std::vector<Index>{2, 6, 10, 14, 18, 22});
    CHECK(paper_conv_layers(22) == std::vector<Index>{2, 6, 10, 14, 18});
    CHECK(paper_conv_layers(2).empty());
    const auto mta = mta_880m();
    for (std::size_t l = 0; l < 24; ++l) {
        CHECK(mta.attention[l].pre.query_kernel == (l % 4 == 2 ? 6 : 0));
        CHECK(mta.attention[l].post.key_kernel == (l % 4 == 2 ? 11 : 0));
        CHECK(mta.attention[l].pre.mix_group == 16);
    }
    // Talking heads: mixing on both sides alone, 2 * 24 * 16^2 more than the Transformer.
    MultiTokenAttentionConfig talking;
    talking.pre.mix_group = talking.post.mix_group = 16;
    CHECK(count(with_multi_token_attention(llama_880m(), talking)) == 876566016);
}

TEST_CASE("decoder_config: errors of sizes") {
    check_sentence<ShapeError>("decoder: vocabulary: got 0, expected at least 1",
                               [](auto& c) { c.vocabulary = 0; });
    check_sentence<ShapeError>("decoder: width: got -8, expected at least 1", [](auto& c) { c.width = -8; });
    check_sentence<ShapeError>("decoder: layers: got 0, expected at least 1", [](auto& c) { c.layers = 0; });
    check_sentence<ShapeError>("decoder: heads: got 0, expected at least 1", [](auto& c) { c.heads = 0; });
    check_sentence<ShapeError>("decoder: width: got 10, expected a multiple of the 4 heads, or head_dim",
                               [](auto& c) { c.width = 10; });
    check_sentence<ShapeError>("decoder: head_dim: got 0, expected at least 1",
                               [](auto& c) { c.head_dim = 0; });
    check_sentence<ShapeError>("decoder: kv_heads: got 3, expected a divisor of the 4 heads",
                               [](auto& c) { c.kv_heads = 3; });
    check_sentence<ShapeError>("decoder: kv_heads: got 0, expected a divisor of the 4 heads",
                               [](auto& c) { c.kv_heads = 0; });
    check_sentence<ShapeError>("decoder: hidden: got 0, expected at least 1", [](auto& c) { c.hidden = 0; });
    check_sentence<ValueError>("decoder: norm_eps: got -1, expected finite and at least 0",
                               [](auto& c) { c.norm_eps = -1; });
    check_sentence<ValueError>("decoder: norm_eps: got nan, expected finite and at least 0",
                               [](auto& c) { c.norm_eps = not_a_number; });
    check_sentence<ValueError>("rotary: theta: got 0, expected finite and above 0",
                               [](auto& c) { c.rotary.theta = 0; });
    check_sentence<ShapeError>(
        "rotary: head dimension of x: got 3, expected even and at least 2, or rotary_dims",
        [](auto& c) { c.head_dim = 3; });
    CHECK_NOTHROW(check_config(small()));
}

TEST_CASE("decoder_config: errors of layers") {
    check_sentence<ShapeError>(
        "decoder: attention: got 2 configurations, expected one for each of the 3 layers; "
        "standard_decoder makes them",
        [](auto& c) { c.attention.pop_back(); });
    check_sentence<ShapeError>("decoder: attention[1].heads: got 2, expected 4 as in the decoder",
                               [](auto& c) { c.attention[1].heads = 2; });
    check_sentence<ShapeError>("decoder: attention[2].kv_heads: got 4, expected 2 as in the decoder",
                               [](auto& c) { c.attention[2].kv_heads.reset(); });
    check_sentence<ShapeError>("decoder: attention[0].head_dim: got 4, expected 2 as in the decoder",
                               [](auto& c) { c.attention[0].head_dim = 4; });
    check_sentence<ValueError>("decoder: attention[1].layer_index: got 0, expected 1",
                               [](auto& c) { c.attention[1].layer_index = 0; });
    check_sentence<ValueError>("decoder: attention[2].mask: got none, expected a causal one",
                               [](auto& c) { c.attention[2].mask = MaskRule::none; });
    check_sentence<ShapeError>(
        "multi_token_attention: pre.mix_group: got 3, expected a divisor of the 4 heads",
        [](auto& c) { c.attention[1].pre.mix_group = 3; });
    CHECK_THROWS_WITH_AS(
        with_multi_token_attention(small(), paper_stages(4), std::vector<Index>{1, 3}),
        "with_multi_token_attention: conv_layers: got layer 3, expected from 0 to below the 3 layers",
        ValueError);
    CHECK_THROWS_WITH_AS(
        with_multi_token_attention(small(), paper_stages(4), std::vector<Index>{-1}),
        "with_multi_token_attention: conv_layers: got layer -1, expected from 0 to below the 3 layers",
        ValueError);
    CHECK_THROWS_WITH_AS(standard_decoder({}), "decoder: vocabulary: got 0, expected at least 1", ShapeError);
    CHECK_THROWS_WITH_AS(llama_hidden(0), "llama_hidden: width: got 0, expected at least 1", ValueError);
    CHECK_THROWS_WITH_AS(llama_hidden(8, 0), "llama_hidden: multiple_of: got 0, expected at least 1",
                         ValueError);
    CHECK_THROWS_WITH_AS(llama_hidden(8, 1, 0.0),
                         "llama_hidden: multiplier: got 0, expected finite and above 0", ValueError);
    CHECK_THROWS_AS(llama_hidden(8, 1, infinity), ValueError);
}
}  // namespace mta_test_decoder_config
