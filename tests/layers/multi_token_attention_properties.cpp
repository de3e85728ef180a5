// What the layer promises about bits and dependence, whatever the numbers are.
// SPDX-License-Identifier: MIT
#include <cmath>
#include <limits>
#include <mta/layers/multi_token_attention.hpp>

#include "support/attention_case.hpp"
#include "support/checks.hpp"
#include "support/threads.hpp"

namespace mta_test_multi_token_attention_properties {
using namespace mta;
using namespace mta::test;

namespace {

// Tokens [begin, begin + length) of batch row b, as a batch of one.
template <class T>
auto tokens(const T& t, Index b, Index begin, Index length) {
    auto part = zeros<ScalarOf<T>>(1, t.dimension(1), length, t.dimension(3));
    for (Index h = 0; h < t.dimension(1); ++h)
        for (Index i = 0; i < length; ++i)
            for (Index d = 0; d < t.dimension(3); ++d)
                part(0, h, i, d) = t(b, h, begin + i, d);
    return part;
}

AttentionCase<double> cut(const AttentionCase<double>& c, Index b, Index begin, Index length) {
    AttentionCase<double> part = c;
    part.call = {};
    part.q = tokens(c.q, b, begin, length);
    part.k = tokens(c.k, b, begin, length);
    part.v = tokens(c.v, b, begin, length);
    part.d_out = tokens(c.d_out, b, begin, length);
    return part;
}

// Fills tokens after t of every row and head.
template <class T>
void fill_after(T& x, Index t, double value) {
    for (Index b = 0; b < x.dimension(0); ++b)
        for (Index h = 0; h < x.dimension(1); ++h)
            for (Index i = t + 1; i < x.dimension(2); ++i)
                for (Index d = 0; d < x.dimension(3); ++d)
                    x(b, h, i, d) = value;
}

void check_same_parameter_bits(const MultiTokenAttentionParams<double>& got,
                               const MultiTokenAttentionParams<double>& want) {
    MultiTokenAttentionParams<double>::for_each(
        [](std::string_view name, const auto& g, const auto& w) { check_same_bits(name, g, w); }, got, want);
}

bool is_causal(const MultiTokenAttentionConfig& config) {
    return config.mask != MaskRule::none;
}

}  // namespace

TEST_CASE("multi_token_attention: bits do not depend on the thread count") {
    for (const auto& config : varied_configs()) {
        const auto c = random_case(config, 2, 9);
        const auto trace = c.forward();
        const auto g = c.backward(trace);
        at_thread_counts([&] {
            const auto again = c.forward();
            MultiTokenAttentionTrace<double>::for_each(
                [](std::string_view name, const auto& got, const auto& want) {
                    check_same_bits(name, got, want);
                },
                again, trace);
            const auto h = c.backward(again);
            check_same_bits("d_q", h.d_q, g.d_q);
            check_same_bits("d_k", h.d_k, g.d_k);
            check_same_bits("d_v", h.d_v, g.d_v);
            check_same_parameter_bits(h.d_params, g.d_params);
        });
    }
}

TEST_CASE("multi_token_attention: bits do not depend on the batch") {
    for (const auto& config : varied_configs()) {
        const auto c = random_case(config, 3, 6);
        const auto out = c.forward().out();
        const auto g = c.backward();
        for (Index b = 0; b < 3; ++b) {
            const auto alone = cut(c, b, 0, 6);
            const auto d = alone.backward();
            check_same_bits("out", tokens(out, b, 0, 6), alone.forward().out());
            check_same_bits("d_q", tokens(g.d_q, b, 0, 6), d.d_q);
            check_same_bits("d_k", tokens(g.d_k, b, 0, 6), d.d_k);
            check_same_bits("d_v", tokens(g.d_v, b, 0, 6), d.d_v);
        }
    }
}

TEST_CASE("multi_token_attention: a prefix gives the same bits as the whole") {
    for (const auto& config : varied_configs()) {
        if (!is_causal(config)) continue;
        const auto c = random_case(config, 1, 9);
        const auto out = c.forward().out();
        for (Index n = 1; n < 9; ++n)
            check_same_bits("out", tokens(out, 0, 0, n), cut(c, 0, 0, n).forward().out());
    }
}

TEST_CASE("multi_token_attention: NaN in later tokens reaches no earlier row, forward") {
    const double nan = std::numeric_limits<double>::quiet_NaN();
    for (const auto& config : varied_configs()) {
        if (!is_causal(config)) continue;
        const auto clean = random_case(config, 2, 9);
        const auto want = clean.forward().out();
        for (const Index t : {0, 3, 7}) {
            auto c = clean;
            for (auto* x : {&c.q, &c.k, &c.v})
                fill_after(*x, t, nan);
            const auto got = c.forward().out();
            for (Index b = 0; b < 2; ++b)
                check_same_bits("out", tokens(got, b, 0, t + 1), tokens(want, b, 0, t + 1));
            for (Index h = 0; h < config.heads; ++h)
                CHECK(std::isnan(got(0, h, t + 1, 0)));
        }
    }
}

TEST_CASE("multi_token_attention: NaN in later tokens reaches no gradient that does not depend on them") {
    const double nan = std::numeric_limits<double>::quiet_NaN();
    for (const auto& config : varied_configs()) {
        if (!is_causal(config)) continue;
        const auto clean = random_case(config, 2, 9);
        const Index t = 6, halo = std::max<Index>(config.pre.query_kernel, 1) +
                                  std::max<Index>(config.post.query_kernel, 1) - 2;
        auto c = clean;
        for (auto* x : {&c.q, &c.k, &c.v})
            fill_after(*x, t, nan);
        // Any cotangent: query i takes part in outputs up to i + halo.
        const auto want = clean.backward(), got = c.backward();
        REQUIRE(t - halo >= 0);
        for (Index b = 0; b < 2; ++b)
            check_same_bits("d_q", tokens(got.d_q, b, 0, t + 1 - halo), tokens(want.d_q, b, 0, t + 1 - halo));
        // A cotangent that is zero on the later tokens: nothing depends on them.
        auto masked = clean;
        fill_after(masked.d_out, t, 0);
        c.d_out = masked.d_out;
        const auto quiet = masked.backward(), noisy = c.backward();
        for (Index b = 0; b < 2; ++b) {
            check_same_bits("d_q", tokens(noisy.d_q, b, 0, t + 1), tokens(quiet.d_q, b, 0, t + 1));
            check_same_bits("d_k", tokens(noisy.d_k, b, 0, t + 1), tokens(quiet.d_k, b, 0, t + 1));
            check_same_bits("d_v", tokens(noisy.d_v, b, 0, t + 1), tokens(quiet.d_v, b, 0, t + 1));
        }
        check_same_parameter_bits(noisy.d_params, quiet.d_params);
    }
}

TEST_CASE("multi_token_attention: packed documents equal separate runs") {
    for (const auto& config : varied_configs()) {
        AttentionCall call;
        call.documents = Documents(std::vector<std::vector<Index>>{{0, 2, 7}, {0, 1, 8}});
        const auto c = random_case(config, 2, 9, call);
        const auto out = c.forward().out();
        const auto g = c.backward();
        const Index edges[2][4] = {{0, 2, 7, 9}, {0, 1, 8, 9}};
        for (Index b = 0; b < 2; ++b)
            for (int n = 0; n < 3; ++n) {
                const Index begin = edges[b][n], length = edges[b][n + 1] - begin;
                const auto alone = cut(c, b, begin, length);
                const auto d = alone.backward();
                check_same_bits("out", tokens(out, b, begin, length), alone.forward().out());
                check_same_bits("d_q", tokens(g.d_q, b, begin, length), d.d_q);
                check_same_bits("d_k", tokens(g.d_k, b, begin, length), d.d_k);
                check_same_bits("d_v", tokens(g.d_v, b, begin, length), d.d_v);
            }
    }
}

TEST_CASE("multi_token_attention: the output is linear in v up to the norm") {
    for (auto config : varied_configs()) {
        config.norm.reset();
        config.gate.reset();
        auto a = random_case(config, 2, 7), b = a, sum = a;
        b.v = random_tensor(99, 2, config.key_value_heads(), 7, config.head_dim);
        sum.v = a.v + 2.0 * b.v;
        Tensor<double, 4> want = a.forward().out() + 2.0 * b.forward().out();
        check_agrees("out(v1 + 2 v2)", sum.forward().out(), want,
                     1e-14);  // 7 products and sums of eps 1.1e-16, and margin
    }
}

TEST_CASE("multi_token_attention: permuting head groups permutes the output") {
    auto config = full_config();
    config.kv_heads = 4;
    config.post.mix_group = 2;
    const auto c = random_case(config, 1, 7);
    auto swapped = c;
    const auto swap_halves = [](auto& t, int axis) {
        const auto copy = t;
        const Index half = t.dimension(axis) / 2, inner = t.size() / (axis == 0 ? 2 : 2 * t.dimension(0));
        REQUIRE(t.dimension(0) * (axis == 0 ? 1 : t.dimension(1)) > 0);
        REQUIRE(half * 2 == t.dimension(axis));
        for (Index n = 0; n < inner; ++n) {  // B = 1, so the axis is the outermost that varies
            t.data()[n] = copy.data()[n + inner];
            t.data()[n + inner] = copy.data()[n];
        }
    };
    for (auto* x : {&swapped.q, &swapped.k, &swapped.v})
        swap_halves(*x, 1);
    for (auto* side : {&swapped.params.pre, &swapped.params.post}) {
        swap_halves(side->conv->kernel, 0);
        swap_halves(side->mix->mix, 0);
    }
    auto want = c.forward().out();
    swap_halves(want, 1);
    check_same_bits("out", swapped.forward().out(), want);
}

TEST_CASE("multi_token_attention: every parameter and every input matters") {
    for (const auto& config : varied_configs()) {
        auto c = random_case(config, 1, 9);
        const auto before = c.forward().out();
        const auto matters = [&](std::string_view name, auto& member) {
            for (Index n = 0; n < member.size(); ++n) {
                const double keep = member.data()[n];
                member.data()[n] += 0.25;
                const bool changed = !check::compare_bits(name, c.forward().out(), before);
                CHECK_MESSAGE(changed, name, " element ", n);
                member.data()[n] = keep;
            }
        };
        if (config.normalise == Normalise::sparsemax)
            continue;  // an entry outside the support rightly changes nothing
        MultiTokenAttentionParams<double>::for_each(matters, c.params);
        matters("v", c.v);
        matters("k", c.k);
    }
}
}  // namespace mta_test_multi_token_attention_properties
