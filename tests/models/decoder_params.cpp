// Parameters of decoders: names, shapes, counting without memory, initial values and their streams, errors.
// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>
#include <map>
#include <mta/models/decoder_params.hpp>
#include <set>

#include "models/decoder_cases.hpp"
#include "support/checks.hpp"

namespace mta_test_decoder_params {
using namespace mta;
using namespace mta::test;

namespace {

using Shapes = std::vector<std::pair<std::string, std::vector<Index>>>;

template <AnyTensor T>
double root_mean_square(const T& t) {
    double square = 0;
    for (const double x : elements(t))
        square += x * x;
    return std::sqrt(square / static_cast<double>(t.size()));
}

// Normal, redrawn beyond 3 deviations: the root mean square is 0.98658 of the deviation, found within 4 standard errors
// of deviation / sqrt(2 n); the largest of some thousand draws is close to the bound and never beyond.
template <AnyTensor T>
void check_truncated_normal(std::string_view name, const T& t, double deviation) {
    const double size = root_mean_square(t);
    double largest = 0;
    for (const double x : elements(t))
        largest = std::max(largest, std::abs(x));
    const auto n = static_cast<double>(t.size());
    CHECK_MESSAGE(std::abs(size - 0.98658 * deviation) < 4 * deviation / std::sqrt(2 * n), name, ": ", size);
    CHECK_MESSAGE(largest <= 3 * deviation, name, ": ", largest);
    CHECK_MESSAGE(largest > 2.6 * deviation, name, ": ", largest);
}

}  // namespace

TEST_CASE("decoder_params: hand values of names and shapes") {
    const auto config = with_multi_token_attention(standard_decoder({.vocabulary = 7,
                                                                     .width = 10,
                                                                     .layers = 2,
                                                                     .heads = 4,
                                                                     .kv_heads = 2,
                                                                     .head_dim = 6,
                                                                     .hidden = 9,
                                                                     .tied_embeddings = false}),
                                                   every_stage(), std::vector<Index>{1});
    const auto layer = [](std::string at, bool convolves) {
        Shapes s{{"attention.wq.weight", {24, 10}},
                 {"attention.wk.weight", {12, 10}},
                 {"attention.wv.weight", {12, 10}},
                 {"attention.wo.weight", {10, 24}}};
        if (convolves) s.push_back({"attention.mta.pre.kernel", {4, 2, 3}});
        s.push_back({"attention.mta.pre.mix", {2, 2, 2}});
        if (convolves) s.push_back({"attention.mta.post.kernel", {4, 3, 5}});
        s.insert(s.end(), {{"attention.mta.post.mix", {1, 4, 4}},
                           {"attention.mta.norm.weight", {6}},
                           {"attention.mta.gate.weight", {6, 6}},
                           {"attention.mta.gate.bias", {6}},
                           {"feed_forward.w1.weight", {9, 10}},
                           {"feed_forward.w2.weight", {10, 9}},
                           {"feed_forward.w3.weight", {9, 10}},
                           {"attention_norm.weight", {10}},
                           {"ffn_norm.weight", {10}}});
        for (auto& [name, shape] : s)
            name = at + name;
        return s;
    };
    Shapes want{{"tok_embeddings.weight", {7, 10}}};
    for (const auto& part : {layer("layers.0.", false), layer("layers.1.", true)})
        want.insert(want.end(), part.begin(), part.end());
    want.push_back({"norm.weight", {10}});
    want.push_back({"output.weight", {7, 10}});
    CHECK(mta::detail::parameter_shapes(make_decoder_params<double>(config)) == want);
    CHECK(mta::detail::parameter_shapes(make_decoder_params<ShapeOnly>(config)) == want);

    auto tied = config;
    tied.tied_embeddings = true;
    want.pop_back();
    CHECK(mta::detail::parameter_shapes(make_decoder_params<float>(tied)) == want);
}

TEST_CASE("decoder_params: hand values of a count") {
    // V d + L (4 d^2 + 3 d F + 2 d) + d = 88 + 2 (256 + 240 + 16) + 8.
    CHECK(parameter_count(make_decoder_params<ShapeOnly>(plain_decoder())) == 1120);
    auto untied = plain_decoder();
    untied.tied_embeddings = false;
    CHECK(parameter_count(make_decoder_params<double>(untied)) == 1208);
    // The largest model of the paper's study would need 6 GB in float; its shapes fit anywhere.
    CHECK(sizeof(make_decoder_params<ShapeOnly>(llama_1400m()).layers[0]) < 1000);
}

TEST_CASE("decoder_params: independent values of the streams") {
    // Test vectors of FNV-1a, 64 bits, as its authors publish them.
    CHECK(parameter_stream("") == 0xcbf29ce484222325);
    CHECK(parameter_stream("a") == 0xaf63dc4c8601ec8c);
    CHECK(parameter_stream("foobar") == 0x85944171f73967e8);
    // Streams of a deep model do not collide.
    std::set<std::uint64_t> streams;
    for (const auto& [name, shape] :
         mta::detail::parameter_shapes(make_decoder_params<ShapeOnly>(mta_880m())))
        CHECK(streams.insert(parameter_stream(name)).second);
}

TEST_CASE("decoder_params: walking, copies and other scalars") {
    auto c = random_decoder(mta_decoder(), 1, 1);
    const auto narrow = cast_params<float>(c.params);
    CHECK(mta::detail::parameter_shapes(narrow) == mta::detail::parameter_shapes(c.params));
    DecoderParams<double>::for_each(
        [](std::string_view name, auto& p, const auto& f) {
            for (Index n = 0; n < p.size(); ++n)
                CHECK_MESSAGE(f.data()[n] == static_cast<float>(p.data()[n]), name);
        },
        c.params, narrow);
    auto untied = random_decoder(grouped_decoder(), 1, 1).params;
    CHECK(cast_params<float>(untied).output.has_value());
    const auto walk = [](auto&, auto&) {};
    CHECK_THROWS_WITH_AS(DecoderParams<double>::for_each(
                             [&](std::string_view, auto& a, auto& b) { walk(a, b); }, c.params, untied),
                         "decoder: layers: got parameter sets of different depth, expected the same in all",
                         ShapeError);
    auto without = untied;
    without.output.reset();
    CHECK_THROWS_AS(DecoderParams<double>::for_each([&](std::string_view, auto& a, auto& b) { walk(a, b); },
                                                    untied, without),
                    ShapeError);
}

TEST_CASE("decoder_params: initial values have the sizes they should have") {
    // head_dim 24 makes H D = 96 another number than the width 64, and the hidden width is 150.
    auto stages = every_stage();
    const auto config = with_multi_token_attention(standard_decoder({.vocabulary = 70,
                                                                     .width = 64,
                                                                     .layers = 2,
                                                                     .heads = 4,
                                                                     .head_dim = 24,
                                                                     .hidden = 150,
                                                                     .tied_embeddings = false}),
                                                   stages);
    const auto params = initial_decoder_params<double>(config, 11);
    const double d = 1 / std::sqrt(64.0);
    check_truncated_normal("tok_embeddings", params.tok_embeddings.weight, d);
    check_truncated_normal("output", params.output->weight, d);
    for (const auto& layer : params.layers) {
        check_truncated_normal("wq", layer.attention.wq.weight, d);
        check_truncated_normal("wk", layer.attention.wk.weight, d);
        check_truncated_normal("wv", layer.attention.wv.weight, d);
        check_truncated_normal("wo", layer.attention.wo.weight, d);
        check_truncated_normal("w1", layer.feed_forward.w1.weight, d);
        check_truncated_normal("w3", layer.feed_forward.w3.weight, d);
        check_truncated_normal("w2", layer.feed_forward.w2.weight, 1 / std::sqrt(150.0));
        const double gate = root_mean_square(layer.attention.mta.gate->weight);  // 576 draws
        CHECK(std::abs(gate - 0.98658 / std::sqrt(24.0)) < 4 / std::sqrt(24.0 * 2 * 576));
        for (const auto* ones : {&layer.attention_norm, &layer.ffn_norm, &*layer.attention.mta.norm})
            CHECK(std::all_of(ones->weight.data(), ones->weight.data() + ones->weight.size(),
                              [](double x) { return x == 1; }));
        for (const double x : elements(layer.attention.mta.gate->bias))
            CHECK(x == 0);
    }
    for (const double x : elements(params.norm.weight))
        CHECK(x == 1);
}

TEST_CASE("decoder_params: kernels and mixes start as asked, each side with its own padding") {
    auto stages = every_stage();
    stages.pre.key_padding = KeyPadding::left;
    stages.post.key_padding = KeyPadding::right;
    const auto config = with_multi_token_attention(mta_decoder(), stages);
    const auto at = [](const auto& params) { return params.layers[2].attention.mta; };
    const auto identity = at(initial_decoder_params<double>(config, 3));
    for (Index h = 0; h < 4; ++h) {
        CHECK(identity.pre.conv->kernel(h, 1, 2) == 1);   // the last query, the last key
        CHECK(identity.post.conv->kernel(h, 2, 0) == 1);  // the last query, the first key
    }
    double sum = 0;
    for (const double x : elements(identity.pre.conv->kernel))
        sum += std::abs(x);
    CHECK(sum == 4);
    CHECK(identity.pre.mix->mix(1, 1, 1) == 1);
    CHECK(identity.pre.mix->mix(1, 0, 1) == 0);
    const auto constant = at(initial_decoder_params<double>(config, 3, KernelInit::constant));
    for (const double x : elements(constant.post.mix->mix))
        CHECK(x == 0.3);
    const auto uniform = at(initial_decoder_params<double>(config, 3, KernelInit::uniform));
    CHECK(uniform.pre.mix->mix(0, 0, 0) != uniform.post.mix->mix(0, 0, 0));
    CHECK(uniform.pre.conv->kernel(0, 0, 0) != uniform.post.conv->kernel(0, 0, 0));
}

TEST_CASE("decoder_params: models of one seed share every tensor that both have") {
    const auto standard =
        standard_decoder({.vocabulary = 9, .width = 16, .layers = 3, .heads = 4, .hidden = 14});
    const auto collect = [](const DecoderParams<double>& params) {
        std::map<std::string, std::vector<double>> all;
        DecoderParams<double>::for_each(
            [&](std::string_view name, const auto& p) {
                all[std::string(name)].assign(p.data(), p.data() + p.size());
            },
            params);
        return all;
    };
    const auto plain = collect(initial_decoder_params<double>(standard, 5));
    auto mta_config = mta_decoder();
    auto no_conv = with_multi_token_attention(standard, every_stage(), std::vector<Index>{});
    const auto mta = collect(initial_decoder_params<double>(mta_config, 5, KernelInit::uniform));
    const auto mixed = collect(initial_decoder_params<double>(no_conv, 5, KernelInit::uniform));
    for (const auto* smaller : {&plain, &mixed})
        for (const auto& tensor : *smaller)
            CHECK_MESSAGE(mta.at(tensor.first) == tensor.second, tensor.first);
    CHECK(mta.size() == mixed.size() + 2);

    const auto again = collect(initial_decoder_params<double>(standard, 5));
    const auto other = collect(initial_decoder_params<double>(standard, 6));
    CHECK(again == plain);
    CHECK(other.at("layers.0.attention.wq.weight") != plain.at("layers.0.attention.wq.weight"));
    // No two tensors of one model repeat each other.
    std::set<double> first;
    for (const auto& tensor : plain)
        if (!tensor.first.ends_with("norm.weight"))
            CHECK_MESSAGE(first.insert(tensor.second[0]).second, tensor.first);
    const auto narrow = initial_decoder_params<float>(standard, 5);
    CHECK(narrow.tok_embeddings.weight(1, 2) ==
          static_cast<float>(plain.at("tok_embeddings.weight")[16 + 2]));
}

TEST_CASE("decoder_params: errors") {
    const auto config = mta_decoder();
    const auto params = make_decoder_params<double>(config);
    CHECK_NOTHROW(check_decoder_params(params, config));
    auto wrong = params;
    wrong.layers[1].feed_forward.w2.weight = zeros<double>(14, 16);
    CHECK_THROWS_WITH_AS(
        check_decoder_params(wrong, config),
        "decoder: layers.1.feed_forward.w2.weight: got shape [14, 16], expected shape [16, 14]", ShapeError);
    wrong = params;
    wrong.layers[0].attention.mta.gate.reset();
    CHECK_THROWS_WITH_AS(check_decoder_params(wrong, config),
                         "decoder: parameters: got layers.0.feed_forward.w1.weight, expected "
                         "layers.0.attention.mta.gate.weight",
                         ShapeError);
    wrong = params;
    wrong.layers[2].attention.wq.bias = zeros<double>(16);
    CHECK_THROWS_WITH_AS(
        check_decoder_params(wrong, config),
        "decoder: parameters: got layers.2.attention.wq.bias, expected layers.2.attention.wk.weight",
        ShapeError);
    wrong = params;
    wrong.output = LinearParams<double>{zeros<double>(9, 16), std::nullopt};
    CHECK_THROWS_WITH_AS(check_decoder_params(wrong, config),
                         "decoder: parameters: got output.weight, expected none after norm.weight",
                         ShapeError);
    auto untied = config;
    untied.tied_embeddings = false;
    CHECK_THROWS_WITH_AS(check_decoder_params(params, untied),
                         "decoder: parameters: got none, expected output.weight", ShapeError);
    wrong = params;
    wrong.layers.pop_back();
    CHECK_THROWS_WITH_AS(check_decoder_params(wrong, config), "decoder: parameters: got 2 layers, expected 3",
                         ShapeError);
    CHECK_THROWS_WITH_AS(make_decoder_params<double>({}), "decoder: vocabulary: got 0, expected at least 1",
                         ShapeError);
}
}  // namespace mta_test_decoder_params
