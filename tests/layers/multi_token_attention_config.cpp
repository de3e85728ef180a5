// Configuration, parameters and trace: counts, names, and sentences for what cannot work.
// SPDX-License-Identifier: MIT
#include <cmath>
#include <limits>
#include <mta/layers/multi_token_attention_config.hpp>

#include "support/attention_case.hpp"
#include "support/checks.hpp"

namespace mta_test_multi_token_attention_config {
using namespace mta;
using namespace mta::test;

namespace {

// One layer of the paper's 880M model: 16 heads of 96.
MultiTokenAttentionConfig paper_layer(bool key_query_conv) {
    MultiTokenAttentionConfig config;
    config.heads = 16;
    config.head_dim = 96;
    config.pre.mix_group = config.post.mix_group = 16;
    if (key_query_conv) {
        config.pre.query_kernel = config.post.query_kernel = 6;
        config.pre.key_kernel = config.post.key_kernel = 11;
    }
    config.norm = RmsNormFactor::one;
    config.gate = GateKind::scalar;
    return config;
}

std::vector<std::string> names_of(const MultiTokenAttentionConfig& config) {
    std::vector<std::string> names;
    const auto shapes = make_multi_token_attention_params<ShapeOnly>(config);
    MultiTokenAttentionParams<ShapeOnly>::for_each(
        [&](std::string_view name, const auto&) { names.emplace_back(name); }, shapes);
    return names;
}

}  // namespace

TEST_CASE("multi_token_attention_config: the paper's 880M model gains 29,592 parameters") {
    // Table 8: 876,583,320 - 876,553,728. Convolutions in layers 2, 6, 10, 14, 18, 22; the rest in all 24
    // layers.
    Index added = 0;
    for (Index layer = 0; layer < 24; ++layer)
        added += parameter_count(make_multi_token_attention_params<ShapeOnly>(paper_layer(layer % 4 == 2)));
    CHECK(added == 6 * 2 * 16 * 66 + 2 * 24 * 16 * 16 + 24 * (96 + 97));
    CHECK(added == 876'583'320 - 876'553'728);
    static_assert(sizeof(MultiTokenAttentionParams<ShapeOnly>) < 512, "shapes alone hold no elements");
}

TEST_CASE("multi_token_attention_config: names of parameters") {
    using Names = std::vector<std::string>;
    CHECK(names_of(full_config()) == Names{"pre.kernel", "pre.mix", "post.kernel", "post.mix", "norm.weight",
                                           "gate.weight", "gate.bias"});
    auto config = full_config();
    config.pre = {};
    config.post.mix_group = 0;
    config.norm.reset();
    CHECK(names_of(config) == Names{"post.kernel", "gate.weight", "gate.bias"});
    CHECK(names_of({}).empty());
}

TEST_CASE("multi_token_attention_config: shapes of parameters") {
    const auto p = make_multi_token_attention_params<double>(full_config());
    CHECK(p.pre.conv->kernel.dimensions() == Eigen::DSizes<Index, 3>(4, 3, 3));
    CHECK(p.pre.mix->mix.dimensions() == Eigen::DSizes<Index, 3>(2, 2, 2));
    CHECK(p.post.conv->kernel.dimensions() == Eigen::DSizes<Index, 3>(4, 2, 4));
    CHECK(p.post.mix->mix.dimensions() == Eigen::DSizes<Index, 3>(1, 4, 4));
    CHECK(p.norm->weight.dimensions() == Eigen::DSizes<Index, 1>(3));
    CHECK(p.gate->weight.dimensions() == Eigen::DSizes<Index, 2>(3, 3));
    CHECK(p.gate->bias.dimensions() == Eigen::DSizes<Index, 1>(3));
    CHECK(parameter_count(p) == 36 + 8 + 32 + 16 + 3 + 9 + 3);
    auto scalar = full_config();
    scalar.gate = GateKind::scalar;
    CHECK(make_multi_token_attention_params<float>(scalar).gate->weight.dimensions() ==
          Eigen::DSizes<Index, 2>(1, 3));
}

TEST_CASE("multi_token_attention_config: cast_params keeps values and absent members") {
    auto config = full_config();
    config.post = {};
    const auto c = random_case(config, 1, 2);
    const auto z = cast_params<std::complex<double>>(c.params);
    CHECK_FALSE(z.post.conv.has_value());
    CHECK_FALSE(z.post.mix.has_value());
    CHECK(z.pre.conv->kernel(1, 2, 0) == std::complex<double>(c.params.pre.conv->kernel(1, 2, 0)));
    CHECK(parameter_count(z) == parameter_count(c.params));
}

TEST_CASE("multi_token_attention_config: the trace walks present stages in the order of the pipeline") {
    auto c = random_case(full_config(), 1, 4);
    const auto names = [](const MultiTokenAttentionTrace<double>& trace) {
        std::string all;
        MultiTokenAttentionTrace<double>::for_each(
            [&](std::string_view name, const auto&) { all += std::string(name) + " "; }, trace);
        return all;
    };
    const auto trace = c.forward();
    CHECK(names(trace) == "logits pre_conv pre_mix weights post_conv post_mix context norm gate ");
    CHECK(names(c.backward(trace).d_trace) == names(trace));
    c = random_case({}, 1, 4);
    CHECK(names(c.forward()) == "logits weights context ");
}

TEST_CASE("multi_token_attention_config: the output is the last stage that is present") {
    auto config = full_config();
    const auto out_is = [&](auto stage) {
        const auto trace = random_case(config, 1, 4).forward();
        check_same_bits("out", trace.out(), *(trace.*stage));
    };
    using Trace = MultiTokenAttentionTrace<double>;
    out_is(&Trace::gate);
    config.norm.reset();
    out_is(&Trace::gate);
    config.gate.reset();
    out_is(&Trace::context);
    config.norm = RmsNormFactor::one;
    out_is(&Trace::norm);
}

TEST_CASE("multi_token_attention_config: one side of the parameters can be cast alone") {
    const auto c = random_case(full_config(), 1, 2);
    const auto z = cast_params<std::complex<double>>(c.params.pre);
    CHECK(z.mix->mix(1, 0, 1) == std::complex<double>(c.params.pre.mix->mix(1, 0, 1)));
    const auto none = cast_params<float>(ScoreMixingParams<double>{});
    CHECK_FALSE(none.conv.has_value());
}

TEST_CASE("multi_token_attention_config: traces that do not match are refused") {
    using Trace = MultiTokenAttentionTrace<double>;
    const auto full = random_case(full_config(), 1, 4).forward();
    const auto plain = random_case({}, 1, 4).forward();
    const auto nothing = [](auto&&...) {};
    CHECK_THROWS_WITH_AS(
        Trace::for_each(nothing, full, plain),
        "for_each: stage pre_conv: present in some of the traces only, expected in all or none", ShapeError);
    CHECK_THROWS_WITH_AS(
        Trace::for_each(nothing, plain, full),
        "for_each: stage pre_conv: present in some of the traces only, expected in all or none", ShapeError);
    CHECK_THROWS_WITH_AS(
        Trace{}.out(), "multi_token_attention: trace: got one without stages, expected what forward returned",
        ShapeError);
}

TEST_CASE("multi_token_attention_config: errors") {
    const auto refuses = [](auto change, const char* sentence) {
        auto config = full_config();
        change(config);
        CHECK_THROWS_WITH_AS(check_config(config),
                             (std::string("multi_token_attention: ") + sentence).c_str(), ArgumentError);
    };
    CHECK_NOTHROW(check_config(full_config()));
    refuses([](auto& c) { c.heads = 0; }, "heads: got 0, expected at least 1");
    refuses([](auto& c) { c.head_dim = -1; }, "head_dim: got -1, expected at least 1");
    refuses([](auto& c) { c.kv_heads = 3; }, "kv_heads: got 3, expected a divisor of the 4 heads");
    refuses([](auto& c) { c.kv_heads = 0; }, "kv_heads: got 0, expected a divisor of the 4 heads");
    refuses([](auto& c) { c.scale = std::nan(""); }, "scale: got nan, expected a finite number");
    refuses([](auto& c) { c.scale = HUGE_VAL; }, "scale: got inf, expected a finite number");
    refuses([](auto& c) { c.eps = -1e-5; }, "eps: got -1e-05, expected a number >= 0");
    refuses([](auto& c) { c.eps = std::nan(""); }, "eps: got nan, expected a number >= 0");
    refuses([](auto& c) { c.layer_index = -1; }, "layer_index: got -1, expected at least 0");
    refuses([](auto& c) { c.dropout = 1; }, "dropout: got 1, expected 0 <= p < 1");
    refuses([](auto& c) { c.dropout = std::nan(""); }, "dropout: got nan, expected 0 <= p < 1");
    refuses([](auto& c) { c.pre.key_kernel = 4; },
            "pre.key_kernel: got 4, expected an odd extent with key padding `both`");
    refuses([](auto& c) { c.pre.key_kernel = 0; },
            "pre.query_kernel, key_kernel: got 3 x 0, expected both or neither");
    refuses([](auto& c) { c.post.query_kernel = -2; },
            "post.query_kernel, key_kernel: got -2 x 4, expected extents of at least 1, or 0 to leave the "
            "convolution "
            "out");
    refuses([](auto& c) { c.post.mix_group = 3; },
            "post.mix_group: got 3, expected a divisor of the 4 heads");
    refuses([](auto& c) { c.pre.mix_group = -2; },
            "pre.mix_group: got -2, expected a divisor of the 4 heads");
}
}  // namespace mta_test_multi_token_attention_config
