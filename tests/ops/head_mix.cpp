// Tests of ops/head_mix.hpp: each head becomes a combination of the heads of its group.
// SPDX-License-Identifier: MIT
#include <mta/ops/head_mix.hpp>

#include "support/checks.hpp"
#include "support/golden.hpp"
#include "support/tensors.hpp"
#include "support/threads.hpp"

namespace mta_test_head_mix {
using namespace mta;
using namespace mta::test;

namespace {

HeadMixParams<double> random_params(std::uint64_t seed, Index G, Index Ch) {
    return {random_tensor(seed, G, Ch, Ch)};
}

template <AnyTensor T>
TensorLike<T> magnitudes(T t) {
    for (auto& x : elements(t))
        x = std::abs(x);
    return t;
}

// float against double for a sum of `terms` products, given the sums of their magnitudes: each product is
// rounded once and each addition once, so |error| <= terms * 2^-24 * sum|products|; doubled for the second
// order.
void check_float_sum(std::string_view name, const auto& in_float, const auto& in_double,
                     const auto& sum_of_magnitudes, double terms) {
    double largest = 0;
    for (const double x : elements(sum_of_magnitudes))
        largest = std::max(largest, x);
    const auto c =
        check::compare(name, in_float, in_double, {.relative = 0, .absolute = 2 * terms * 0x1p-24 * largest});
    CHECK_MESSAGE(c, c.sentence);
}

}  // namespace

TEST_CASE("head_mix: hand values") {
    Tensor<double, 4> scores(1, 2, 1, 2), d_out(1, 2, 1, 2), want(1, 2, 1, 2);
    scores.setValues({{{{1, 2}}, {{10, 20}}}});
    HeadMixParams<double> params{Tensor<double, 3>(1, 2, 2)};
    params.mix.setValues({{{2, -1}, {0.5, 3}}});
    // head 0: 2 * (1, 2) - (10, 20) = (-8, -16); head 1: 0.5 * (1, 2) + 3 * (10, 20) = (30.5, 61)
    want.setValues({{{{-8, -16}}, {{30.5, 61}}}});
    check_same_bits("out", head_mix_forward(scores, params), want);

    d_out.setValues({{{{1, -1}}, {{2, 4}}}});
    const auto g = head_mix_backward(d_out, scores, params);
    // head 0: 2 * (1, -1) + 0.5 * (2, 4) = (3, 0); head 1: -1 * (1, -1) + 3 * (2, 4) = (5, 13)
    want.setValues({{{{3, 0}}, {{5, 13}}}});
    check_same_bits("d_scores", g.d_scores, want);
    // d_mix[o][c] = <d_out of o, scores of c>: 1-2, 10-20 / 2+8, 20+80
    Tensor<double, 3> want_mix(1, 2, 2);
    want_mix.setValues({{{-1, -10}, {10, 100}}});
    check_same_bits("d_mix", g.d_params.mix, want_mix);
}

TEST_CASE("head_mix: hand values of two groups") {
    Tensor<double, 4> scores(1, 4, 1, 1), want(1, 4, 1, 1);
    scores.setValues({{{{1}}, {{2}}, {{3}}, {{4}}}});
    HeadMixParams<double> params{Tensor<double, 3>(2, 2, 2)};
    params.mix.setValues({{{1, 10}, {100, 1000}}, {{-1, 0}, {0.5, 2}}});
    // 1*1 + 10*2 = 21, 100*1 + 1000*2 = 2100 from heads 0, 1; -1*3 + 0*4 = -3, 0.5*3 + 2*4 = 9.5 from 2, 3
    want.setValues({{{{21}}, {{2100}}, {{-3}}, {{9.5}}}});
    check_same_bits("out", head_mix_forward(scores, params), want);
}

TEST_CASE("head_mix: independent values") {
    const Golden golden("ops/head_mix");
    for (const std::string name : {"one_group", "two_groups", "single_heads", "paper_group"}) {
        INFO(name);
        const auto scores = golden.tensor<4>(name + ".scores"), d_out = golden.tensor<4>(name + ".d_out");
        const HeadMixParams<double> params{golden.tensor<3>(name + ".mix")};
        check_agrees("out", head_mix_forward(scores, params), golden.tensor<4>(name + ".out"), 1e-13);
        const auto g = head_mix_backward(d_out, scores, params);
        check_agrees("d_scores", g.d_scores, golden.tensor<4>(name + ".d_scores"), 1e-13);
        check_agrees("d_mix", g.d_params.mix, golden.tensor<3>(name + ".d_mix"), 1e-13);
    }
}

TEST_CASE("head_mix: complex step and adjoint") {
    for (const auto& groups : {std::pair<Index, Index>{1, 3}, {2, 2}, {3, 1}}) {
        const Index G = groups.first, Ch = groups.second;
        INFO("G = ", G, ", Ch = ", Ch);
        const auto scores = random_tensor(1, 2, G * Ch, 3, 4), d_out = random_tensor(2, 2, G * Ch, 3, 4);
        const auto params = random_params(3, G, Ch);
        const auto g = head_mix_backward(d_out, scores, params);
        check_gradient("d_scores", d_out, scores, g.d_scores, [&](const auto& s) {
            return head_mix_forward(s, cast_params<ScalarOf<decltype(s)>>(params));
        });
        check_parameter_gradients(d_out, params, g.d_params, [&](const auto& p) {
            return head_mix_forward(cast<ScalarOf<decltype(p.mix)>>(scores), p);
        });
    }
}

TEST_CASE("head_mix: edge shapes") {
    SUBCASE("one token") {
        const auto scores = random_tensor(4, 2, 2, 1, 1);
        const auto params = random_params(5, 1, 2);
        const auto out = head_mix_forward(scores, params);
        for (Index b = 0; b < 2; ++b)
            for (Index o = 0; o < 2; ++o)
                CHECK(out(b, o, 0, 0) ==
                      params.mix(0, o, 0) * scores(b, 0, 0, 0) + params.mix(0, o, 1) * scores(b, 1, 0, 0));
    }
    SUBCASE("empty batch") {
        const auto scores = zeros<double>(0, 4, 3, 3);
        const auto params = random_params(5, 2, 2);
        CHECK(head_mix_forward(scores, params).dimensions() == scores.dimensions());
        const auto g = head_mix_backward(scores, scores, params);
        CHECK(g.d_scores.dimensions() == scores.dimensions());
        check_same_bits("d_mix", g.d_params.mix, zeros<double>(2, 2, 2));
    }
    SUBCASE("no keys") {
        const auto scores = zeros<double>(1, 2, 3, 0);
        CHECK(head_mix_forward(scores, random_params(5, 1, 2)).size() == 0);
    }
}

TEST_CASE("head_mix: properties of bits: threads, batch, views") {
    const auto scores = random_tensor(6, 3, 6, 4, 5), d_out = random_tensor(7, 3, 6, 4, 5);
    const auto params = random_params(8, 2, 3);
    const auto out = head_mix_forward(scores, params);
    const auto g = head_mix_backward(d_out, scores, params);
    at_thread_counts([&] {
        check_same_bits("out", head_mix_forward(scores, params), out);
        const auto again = head_mix_backward(d_out, scores, params);
        check_same_bits("d_scores", again.d_scores, g.d_scores);
        check_same_bits("d_mix", again.d_params.mix, g.d_params.mix);
    });
    auto d_mix_sum = zeros_like(params.mix);
    for (Index b = 0; b < 3; ++b) {
        const ConstTensorView<double, 4> alone(scores.data() + b * 120, 1, 6, 4, 5);
        const ConstTensorView<double, 4> d_alone(d_out.data() + b * 120, 1, 6, 4, 5);
        const ConstTensorView<double, 4> want(out.data() + b * 120, 1, 6, 4, 5);
        const ConstTensorView<double, 4> want_d(g.d_scores.data() + b * 120, 1, 6, 4, 5);
        check_same_bits("out of a batch row", head_mix_forward(alone, params), want);
        const auto g_alone = head_mix_backward(d_alone, alone, params);
        check_same_bits("d_scores of a batch row", g_alone.d_scores, want_d);
        d_mix_sum += g_alone.d_params.mix;
    }
    // Sums of 60 products in two orders: 60 * 2^-53 of their magnitudes, which are a few times the result.
    check_agrees("d_mix over the batch", g.d_params.mix, d_mix_sum, 1e-13);
}

TEST_CASE("head_mix: properties of special matrices") {
    const auto scores = random_tensor(9, 2, 4, 3, 3);
    SUBCASE("identity changes no bit") {
        HeadMixParams<double> identity{zeros<double>(2, 2, 2)};
        for (Index g = 0; g < 2; ++g)
            for (Index c = 0; c < 2; ++c)
                identity.mix(g, c, c) = 1;
        check_same_bits("out", head_mix_forward(scores, identity), scores);
    }
    SUBCASE("a cycle of the heads moves them") {
        HeadMixParams<double> cycle{zeros<double>(1, 4, 4)};
        for (Index o = 0; o < 4; ++o)
            cycle.mix(0, o, (o + 1) % 4) = 1;
        const auto out = head_mix_forward(scores, cycle);
        for (Index h = 0; h < 4; ++h) {
            const Tensor<double, 3> got = out.chip(h, 1), want = scores.chip((h + 1) % 4, 1);
            check_same_bits("moved head", got, want);
        }
    }
    SUBCASE("swapping the groups of scores and mix swaps those of the output") {
        const Eigen::array<Index, 4> first{0, 0, 0, 0}, second{0, 2, 0, 0}, half{2, 2, 3, 3};
        const auto params = random_params(10, 2, 2);
        auto swapped_scores = scores;
        swapped_scores.slice(first, half) = scores.slice(second, half);
        swapped_scores.slice(second, half) = scores.slice(first, half);
        auto swapped = params;
        swapped.mix.chip(0, 0) = params.mix.chip(1, 0);
        swapped.mix.chip(1, 0) = params.mix.chip(0, 0);
        const auto out = head_mix_forward(scores, params), got = head_mix_forward(swapped_scores, swapped);
        const Tensor<double, 4> got_first = got.slice(first, half), want_first = out.slice(second, half);
        const Tensor<double, 4> got_second = got.slice(second, half), want_second = out.slice(first, half);
        check_same_bits("first group", got_first, want_first);
        check_same_bits("second group", got_second, want_second);
    }
    SUBCASE("mixing twice is mixing once by the product") {
        const auto a = random_params(11, 2, 2), b = random_params(12, 2, 2);
        HeadMixParams<double> product{zeros<double>(2, 2, 2)};
        for (Index g = 0; g < 2; ++g)
            for (Index o = 0; o < 2; ++o)
                for (Index c = 0; c < 2; ++c)
                    product.mix(g, o, c) = b.mix(g, o, 0) * a.mix(g, 0, c) + b.mix(g, o, 1) * a.mix(g, 1, c);
        // Four products of three factors each, rounded about six times: far below 1e-14 of the largest.
        check_agrees("out", head_mix_forward(head_mix_forward(scores, a), b),
                     head_mix_forward(scores, product), 1e-14);
    }
}

TEST_CASE("head_mix: properties of NaN") {
    auto scores = random_tensor(13, 2, 4, 3, 3);
    const auto d_out = random_tensor(14, 2, 4, 3, 3);
    const auto params = random_params(15, 2, 2);
    SUBCASE("reaches the heads of its group at its place, and nothing else") {
        const auto clean = head_mix_forward(scores, params);
        scores(1, 3, 0, 2) = not_a_number;
        auto out = head_mix_forward(scores, params);
        for (const Index h : {2, 3}) {
            CHECK(std::isnan(out(1, h, 0, 2)));
            out(1, h, 0, 2) = clean(1, h, 0, 2);
        }
        check_same_bits("elsewhere", out, clean);
    }
    SUBCASE("does not reach gradients through rows whose cotangent is zero") {
        auto masked = d_out;
        for (const Index h : {0, 1})
            for (auto& x : row(masked, 1, h, 2))
                x = 0;
        const auto clean = head_mix_backward(masked, scores, params);
        for (const Index h : {0, 1})
            for (auto& x : row(scores, 1, h, 2))
                x = not_a_number;
        const auto g = head_mix_backward(masked, scores, params);
        check_same_bits("d_scores", g.d_scores, clean.d_scores);
        check_same_bits("d_mix", g.d_params.mix, clean.d_params.mix);
    }
    SUBCASE("reaches only the rows of d_mix whose cotangent is not zero") {
        auto masked = d_out;
        for (auto& x : row(masked, 0, 0, 1))
            x = 0;
        scores(0, 1, 1, 1) = not_a_number;
        const auto d_mix = head_mix_backward(masked, scores, params).d_params.mix;
        CHECK(std::isfinite(d_mix(0, 0, 0)));
        CHECK(std::isfinite(d_mix(0, 0, 1)));
        CHECK(std::isfinite(d_mix(0, 1, 0)));
        CHECK(std::isnan(d_mix(0, 1, 1)));
    }
}

TEST_CASE("head_mix: properties of float") {
    const auto scores = cast<float>(random_tensor(16, 2, 4, 3, 5));
    const auto d_out = cast<float>(random_tensor(17, 2, 4, 3, 5));
    const HeadMixParams<float> params{cast<float>(random_params(18, 2, 2).mix)};
    const auto g = head_mix_backward(d_out, scores, params);
    const auto scores2 = cast<double>(scores), d_out2 = cast<double>(d_out);
    const HeadMixParams<double> params2 = cast_params<double>(params), sizes{magnitudes(params2.mix)};
    const auto g2 = head_mix_backward(d_out2, scores2, params2);
    const auto g_sizes = head_mix_backward(magnitudes(d_out2), magnitudes(scores2), sizes);
    check_float_sum("out", head_mix_forward(scores, params), head_mix_forward(scores2, params2),
                    head_mix_forward(magnitudes(scores2), sizes), 2);
    check_float_sum("d_scores", g.d_scores, g2.d_scores, g_sizes.d_scores, 2);
    check_float_sum("d_mix", g.d_params.mix, g2.d_params.mix, g_sizes.d_params.mix, 2 * 3 * 5);
}

TEST_CASE("head_mix: properties of the parameters") {
    // arXiv:2504.00927, Table 8: two mixes of all 16 heads in each of 24 layers.
    const HeadMixParams<ShapeOnly> shapes{make_parameter<ShapeOnly>(1, 16, 16)};
    CHECK(24 * 2 * parameter_count(shapes) == 12288);
    auto params = random_params(19, 1, 2);
    std::string names;
    HeadMixParams<double>::for_each([&](std::string_view name, auto&) { names += name; }, params);
    CHECK(names == "mix");
}

TEST_CASE("head_mix: errors") {
    const auto scores = random_tensor(20, 1, 4, 2, 3);
    const auto forward = [&](Index G, Index out, Index in) {
        (void)head_mix_forward(scores, HeadMixParams<double>{zeros<double>(G, out, in)});
    };
    CHECK_THROWS_WITH_AS(
        forward(2, 2, 3),
        "head_mix: mix: got shape [2, 2, 3], expected square matrices, one per group of heads", ShapeError);
    CHECK_THROWS_WITH_AS(
        forward(0, 2, 2),
        "head_mix: mix: got shape [0, 2, 2], expected square matrices, one per group of heads", ShapeError);
    CHECK_THROWS_WITH_AS(forward(1, 3, 3), "head_mix: groups times heads per group of mix: got 3, expected 4",
                         ShapeError);
    CHECK_THROWS_WITH_AS(forward(3, 2, 2), "head_mix: groups times heads per group of mix: got 6, expected 4",
                         ShapeError);
    CHECK_THROWS_WITH_AS((void)head_mix_backward(zeros<double>(1, 4, 3, 2), scores, random_params(1, 1, 4)),
                         "head_mix: d_out: got shape [1, 4, 3, 2], expected shape [1, 4, 2, 3]", ShapeError);
    CHECK_THROWS_WITH_AS((void)head_mix_backward(scores, scores, random_params(1, 1, 2)),
                         "head_mix: groups times heads per group of mix: got 2, expected 4", ShapeError);
}
}  // namespace mta_test_head_mix
