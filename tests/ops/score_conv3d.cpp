// Tests of ops/score_conv3d.hpp: key-query convolution and head mixing in one kernel.
// SPDX-License-Identifier: MIT
#include <mta/ops/head_mix.hpp>
#include <mta/ops/key_query_conv.hpp>
#include <mta/ops/score_conv3d.hpp>

#include "support/checks.hpp"
#include "support/golden.hpp"
#include "support/tensors.hpp"
#include "support/threads.hpp"

namespace mta_test_score_conv3d {
using namespace mta;
using namespace mta::test;
namespace {

constexpr auto all = TapRule::all, exact = TapRule::not_after_query;
constexpr auto both = KeyPadding::both, left = KeyPadding::left, right = KeyPadding::right;

// Small integers: sums of their products are exact, so every order of summation gives the same bits.
template <class... Extents>
auto random_integers(std::uint64_t seed, Extents... extents) {
    auto t = zeros<double>(extents...);
    Random random(seed);
    for (auto& x : elements(t))
        x = static_cast<double>(random.below(9)) - 4;
    return t;
}

void check_same_grads(const ScoreConv3dGrads<double>& got, const ScoreConv3dGrads<double>& want) {
    check_same_bits("d_scores", got.d_scores, want.d_scores);
    check_same_bits("d_kernel", got.d_params.kernel, want.d_params.kernel);
}

// Documents of the configurations below: none, one list for all rows, one list per row.
const Documents whole, halves(std::vector<Index>{0, 2}),
    per_row(std::vector<std::vector<Index>>{{0, 3}, {0, 1, 4}});

struct Case {
    std::string name;
    ScoreConv3dConfig config;
    Documents documents;
    Index Cq = 1, Ck = 1;
};
const std::vector<Case> cases{{"both", {both, all}, whole, 2, 3},
                              {"left, even", {left, all}, whole, 3, 2},
                              {"right, even", {right, all}, whole, 2, 4},
                              {"exact", {both, exact}, whole, 3, 5},
                              {"exact, left", {left, exact}, whole, 2, 3},
                              {"exact, right", {right, exact}, whole, 3, 2},
                              {"documents", {both, all}, halves, 3, 3},
                              {"documents, exact", {both, exact}, per_row, 2, 3},
                              {"documents, left", {left, all}, per_row, 2, 3}};
}  // namespace

TEST_CASE("score_conv3d: hand values over queries and heads") {
    Tensor<double, 4> scores(1, 2, 2, 2), want(1, 2, 2, 2);
    scores.setValues({{{{1, 2}, {3, 4}}, {{5, 6}, {7, 8}}}});
    ScoreConv3dParams<double> params{Tensor<double, 4>(2, 2, 2, 1)};
    // [output head][input head][previous query, this query][this key]
    params.kernel.setValues({{{{1}, {10}}, {{100}, {1000}}}, {{{2}, {0}}, {{0}, {-1}}}});
    // head 0, query 0: 10 * (1, 2) + 1000 * (5, 6)
    // head 0, query 1: (1, 2) + 10 * (3, 4) + 100 * (5, 6) + 1000 * (7, 8)
    // head 1, query 0: -(5, 6); query 1: 2 * (1, 2) - (7, 8)
    want.setValues({{{{5010, 6020}, {7531, 8642}}, {{-5, -6}, {-5, -4}}}});
    check_same_bits("out", score_conv3d_forward(scores, params), want);
}

TEST_CASE("score_conv3d: hand values over keys and heads, with gradients") {
    Tensor<double, 4> scores(1, 2, 1, 3), d_out(1, 2, 1, 3), want(1, 2, 1, 3);
    scores.setValues({{{{1, 2, 3}}, {{10, 20, 30}}}});
    ScoreConv3dParams<double> params{Tensor<double, 4>(2, 2, 1, 3)};
    params.kernel.setValues({{{{1, 0, 2}}, {{0, 3, 0}}}, {{{0, 0, 1}}, {{1, 0, 0}}}});
    // head 0: s0[j-1] + 2 s0[j+1] + 3 s1[j] = 0+4+30, 1+6+60, 2+0+90
    // head 1: s0[j+1] + s1[j-1] = 2+0, 3+10, 0+20
    want.setValues({{{{34, 67, 92}}, {{2, 13, 20}}}});
    check_same_bits("out", score_conv3d_forward(scores, params), want);

    d_out.setValues({{{{1, 0, -1}}, {{0, 2, 0}}}});
    const auto g = score_conv3d_backward(d_out, scores, params);
    // head 0: d0[q+1] + 2 d0[q-1] + d1[q-1] = 0+0+0, -1+2+0, 0+0+2
    // head 1: 3 d0[q] + d1[q+1] = 3+2, 0+0, -3+0
    want.setValues({{{{0, 1, 2}}, {{5, 0, -3}}}});
    check_same_bits("d_scores", g.d_scores, want);
    // [0][0]: sum_j d0[j] s0[j-1], s0[j], s0[j+1] = -2, 1-3, 2; [0][1] the same with s1 = 10 s0;
    // [1][0]: 2 * (s0[0], s0[1], s0[2]); [1][1] the same with s1
    Tensor<double, 4> want_kernel(2, 2, 1, 3);
    want_kernel.setValues({{{{-2, -2, 2}}, {{-20, -20, 20}}}, {{{2, 4, 6}}, {{20, 40, 60}}}});
    check_same_bits("d_kernel", g.d_params.kernel, want_kernel);
}

TEST_CASE("score_conv3d: hand values of the outer-product kernel") {
    Tensor<double, 3> mix(2, 2, 2), kernel(4, 1, 2);
    mix.setValues({{{2, 3}, {5, 7}}, {{1, 0}, {0, -1}}});
    kernel.setValues({{{1, 2}}, {{10, 20}}, {{3, 4}}, {{30, 40}}});
    Tensor<double, 4> want(4, 2, 1, 2);  // [h][c] = mix of row h, column c times kernel of input head c
    want.setValues(
        {{{{2, 4}}, {{30, 60}}}, {{{5, 10}}, {{70, 140}}}, {{{3, 4}}, {{0, 0}}}, {{{0, 0}}, {{-30, -40}}}});
    check_same_bits("kernel", score_conv3d_kernel(mix, kernel), want);
}

TEST_CASE("score_conv3d: independent values") {
    const Golden golden("ops/score_conv3d");
    const std::vector<Case> fixtures{{"both", {both, all}, whole},
                                     {"left_even", {left, all}, whole},
                                     {"right_even", {right, all}, whole},
                                     {"exact", {both, exact}, whole},
                                     {"exact_right", {right, exact}, whole},
                                     {"documents", {both, all}, per_row},
                                     {"documents_exact", {both, exact}, halves},
                                     {"one_token", {}, whole},
                                     {"longer_than_sequence", {}, whole},
                                     {"one_tap", {}, whole}};
    for (const auto& c : fixtures) {
        INFO(c.name);
        const auto scores = golden.tensor<4>(c.name + ".scores"), d_out = golden.tensor<4>(c.name + ".d_out");
        const ScoreConv3dParams<double> params{golden.tensor<4>(c.name + ".kernel")};
        check_agrees("out", score_conv3d_forward(scores, params, c.config, c.documents),
                     golden.tensor<4>(c.name + ".out"), 1e-13);
        const auto g = score_conv3d_backward(d_out, scores, params, c.config, c.documents);
        check_agrees("d_scores", g.d_scores, golden.tensor<4>(c.name + ".d_scores"), 1e-13);
        check_agrees("d_kernel", g.d_params.kernel, golden.tensor<4>(c.name + ".d_kernel"), 1e-13);
    }
}

TEST_CASE("score_conv3d: complex step and adjoint") {
    for (const auto& c : cases) {
        INFO(c.name);
        const auto scores = random_tensor(1, 2, 4, 5, 5), d_out = random_tensor(2, 2, 4, 5, 5);
        const ScoreConv3dParams<double> params{random_tensor(3, 4, 2, c.Cq, c.Ck)};
        const auto g = score_conv3d_backward(d_out, scores, params, c.config, c.documents);
        check_gradient("d_scores", d_out, scores, g.d_scores, [&](const auto& s) {
            const auto p = cast_params<ScalarOf<decltype(s)>>(params);
            return score_conv3d_forward(s, p, c.config, c.documents);
        });
        check_parameter_gradients(d_out, params, g.d_params, [&](const auto& p) {
            const auto s = cast<ScalarOf<decltype(p.kernel)>>(scores);
            return score_conv3d_forward(s, p, c.config, c.documents);
        });
    }
}

TEST_CASE("score_conv3d: edge shapes") {
    SUBCASE("one token sees the last row's middle tap only") {
        const auto scores = random_tensor(4, 1, 2, 1, 1);
        const ScoreConv3dParams<double> params{random_tensor(5, 2, 2, 3, 5)};
        const auto out = score_conv3d_forward(scores, params);
        for (Index h = 0; h < 2; ++h)
            CHECK(out(0, h, 0, 0) == params.kernel(h, 0, 2, 2) * scores(0, 0, 0, 0) +
                                         params.kernel(h, 1, 2, 2) * scores(0, 1, 0, 0));
    }
    SUBCASE("a kernel longer than the sequence: its outer taps meet zeros only and get no gradient") {
        const auto scores = random_tensor(6, 1, 2, 2, 2), d_out = random_tensor(28, 1, 2, 2, 2);
        const auto g = score_conv3d_backward(d_out, scores, {random_tensor(7, 2, 2, 4, 7)});
        for (Index u = 0; u < 4; ++u)
            for (Index v = 0; v < 7; ++v)  // reads query i + u - 3, key j + v - 3
                CHECK((g.d_params.kernel(1, 0, u, v) != 0) == (u >= 2 && 2 <= v && v <= 4));
    }
    SUBCASE("empty batch") {
        const auto scores = zeros<double>(0, 4, 3, 3);
        const ScoreConv3dParams<double> params{random_tensor(5, 4, 2, 2, 3)};
        CHECK(score_conv3d_forward(scores, params).dimensions() == scores.dimensions());
        const auto g = score_conv3d_backward(scores, scores, params);
        CHECK(g.d_scores.dimensions() == scores.dimensions());
        check_same_bits("d_kernel", g.d_params.kernel, zeros_like(params.kernel));
    }
}

TEST_CASE("score_conv3d: properties: an outer-product kernel is conv, then mix, bit for bit on integers") {
    const auto scores = random_integers(11, 2, 4, 5, 5), d_out = random_integers(12, 2, 4, 5, 5);
    const HeadMixParams<double> mix{random_integers(13, 2, 2, 2)};
    for (const auto& c : cases) {
        INFO(c.name);
        const KeyQueryConvParams<double> conv{random_integers(14, 4, c.Cq, c.Ck)};
        const KeyQueryConvConfig config{c.config.key_padding, c.config.taps};
        const ScoreConv3dParams<double> params{score_conv3d_kernel(mix.mix, conv.kernel)};
        const auto middle = key_query_conv_forward(scores, conv, config, c.documents);
        check_same_bits("out", score_conv3d_forward(scores, params, c.config, c.documents),
                        head_mix_forward(middle, mix));
        const auto g = score_conv3d_backward(d_out, scores, params, c.config, c.documents);
        const auto g_mix = head_mix_backward(d_out, middle, mix);
        const auto g_conv = key_query_conv_backward(g_mix.d_scores, scores, conv, config, c.documents);
        check_same_bits("d_scores", g.d_scores, g_conv.d_scores);
        auto d_mix = zeros_like(mix.mix);  // the chain rule through the outer product
        for (Index n = 0; n < g.d_params.kernel.size(); ++n) {
            const Index tap = n % (c.Cq * c.Ck), in = n / (c.Cq * c.Ck) % 2, h = n / (c.Cq * c.Ck * 2);
            const Index at = (h / 2 * 2 + in) * c.Cq * c.Ck + tap;
            d_mix(h / 2, h % 2, in) += g.d_params.kernel.data()[n] * conv.kernel.data()[at];
        }
        check_same_bits("d_mix", d_mix, g_mix.d_params.mix);
    }
}

TEST_CASE("score_conv3d: properties of bits: threads, batch, views") {
    const auto scores = random_tensor(15, 2, 4, 5, 5), d_out = random_tensor(16, 2, 4, 5, 5);
    for (const auto& c : cases) {
        INFO(c.name);
        const ScoreConv3dParams<double> params{random_tensor(17, 4, 2, c.Cq, c.Ck)};
        const auto out = score_conv3d_forward(scores, params, c.config, c.documents);
        const auto g = score_conv3d_backward(d_out, scores, params, c.config, c.documents);
        at_thread_counts([&] {
            check_same_bits("out", score_conv3d_forward(scores, params, c.config, c.documents), out);
            check_same_grads(score_conv3d_backward(d_out, scores, params, c.config, c.documents), g);
        });
        for (Index b = 0; b < 2 && c.documents.single(); ++b) {
            const auto of_b = [&](const Tensor<double, 4>& t) {
                return ConstTensorView<double, 4>(t.data() + b * 100, 1, 4, 5, 5);
            };
            const auto alone = score_conv3d_forward(of_b(scores), params, c.config);
            check_same_bits("out of a batch row", alone, of_b(out));
            const auto g_alone = score_conv3d_backward(of_b(d_out), of_b(scores), params, c.config);
            check_same_bits("d_scores of a batch row", g_alone.d_scores, of_b(g.d_scores));
        }
    }
}

TEST_CASE("score_conv3d: properties of NaN") {
    auto scores = random_tensor(20, 2, 4, 5, 5), d_out = random_tensor(21, 2, 4, 5, 5);
    const ScoreConv3dParams<double> params{random_tensor(22, 4, 2, 2, 3)};
    SUBCASE("reaches exactly the outputs whose taps read it") {
        const auto clean = score_conv3d_forward(scores, params);
        scores(1, 2, 2, 1) = not_a_number;  // group 1: outputs of heads 2, 3, queries 2, 3, keys 0, 1, 2
        auto out = score_conv3d_forward(scores, params);
        for (const Index h : {2, 3})
            for (const Index i : {2, 3})
                for (const Index j : {0, 1, 2}) {
                    CHECK(std::isnan(out(1, h, i, j)));
                    out(1, h, i, j) = clean(1, h, i, j);
                }
        check_same_bits("elsewhere", out, clean);
    }
    SUBCASE("in later keys leaves earlier rows and their gradients alone under not_after_query") {
        for (Index r = 0; r < row_count(d_out); ++r)
            for (auto& x : nth_row(d_out, r))
                if (r % 5 >= 3) x = 0;
        const ScoreConv3dConfig config{both, exact};
        const auto clean = score_conv3d_forward(scores, params, config);
        const auto g_clean = score_conv3d_backward(d_out, scores, params, config);
        for (Index r = 0; r < row_count(scores); ++r)
            for (std::size_t j = 0; j < 5; ++j)
                if (r % 5 >= 3 || j >= 3) nth_row(scores, r)[j] = not_a_number;
        const auto out = score_conv3d_forward(scores, params, config);
        const Eigen::array<Index, 4> origin{0, 0, 0, 0}, early{2, 4, 3, 3};
        const Tensor<double, 4> got = out.slice(origin, early), want = clean.slice(origin, early);
        check_same_bits("earlier rows", got, want);
        check_same_grads(score_conv3d_backward(d_out, scores, params, config), g_clean);
    }
}

TEST_CASE("score_conv3d: properties of float") {
    const auto scores = cast<float>(random_integers(23, 2, 4, 4, 4));
    const auto d_out = cast<float>(random_integers(24, 2, 4, 4, 4));
    const ScoreConv3dParams<float> params{cast<float>(random_integers(25, 4, 2, 3, 3))};
    const auto g = score_conv3d_backward(d_out, scores, params);
    const auto scores2 = cast<double>(scores);
    const auto params2 = cast_params<double>(params);
    // Integers below 2^24: both precisions are exact.
    check_same_bits("out", cast<double>(score_conv3d_forward(scores, params)),
                    score_conv3d_forward(scores2, params2));
    check_same_grads({cast<double>(g.d_scores), cast_params<double>(g.d_params)},
                     score_conv3d_backward(cast<double>(d_out), scores2, params2));
}

TEST_CASE("score_conv3d: errors") {
    const auto scores = random_tensor(26, 2, 4, 5, 5), wide = random_tensor(27, 2, 4, 3, 5);
    const auto refused = [&](const auto& s, Eigen::array<Index, 4> extents, const char* sentence,
                             ScoreConv3dConfig config = {}, const Documents& documents = {}) {
        const ScoreConv3dParams<double> params{Tensor<double, 4>(extents)};
        CHECK_THROWS_WITH_AS((void)score_conv3d_forward(s, params, config, documents), sentence, ShapeError);
        CHECK_THROWS_WITH_AS((void)score_conv3d_backward(s, s, params, config, documents), sentence,
                             ShapeError);
    };
    refused(scores, {3, 2, 1, 1}, "score_conv3d: output heads of kernel: got 3, expected 4");
    refused(scores, {4, 3, 1, 1},
            "score_conv3d: input heads per group of kernel: got 3, expected a divisor of 4 heads");
    refused(scores, {4, 0, 1, 1},
            "score_conv3d: input heads per group of kernel: got 0, expected a divisor of 4 heads");
    refused(scores, {4, 2, 0, 1}, "score_conv3d: kernel extents must be at least 1, got 0 x 1");
    refused(scores, {4, 2, 2, 4}, "score_conv3d: key padding `both` needs an odd key extent, got 4");
    const char* unequal =
        "score_conv3d: got 3 queries and 5 keys, expected equal numbers with packed documents or "
        "taps `not_after_query`";
    refused(wide, {4, 2, 1, 1}, unequal, {both, exact});
    refused(wide, {4, 2, 1, 1}, unequal, {both, all}, halves);
    const ScoreConv3dParams<double> fits{zeros<double>(4, 2, 1, 1)};
    const Documents unsorted(std::vector<Index>{0, 3, 2});
    const char* sentence = "score_conv3d: document starts: got [0, 3, 2], expected strictly increasing";
    CHECK_THROWS_WITH_AS((void)score_conv3d_forward(scores, fits, {}, unsorted), sentence, ValueError);
    sentence = "score_conv3d: d_out: got shape [2, 4, 3, 5], expected shape [2, 4, 5, 5]";
    CHECK_THROWS_WITH_AS((void)score_conv3d_backward(wide, scores, fits), sentence, ShapeError);
    sentence =
        "score_conv3d_kernel: mix: got shape [1, 2, 3], expected square matrices, one per group of heads";
    const auto product = [](Index in) {
        (void)score_conv3d_kernel(zeros<double>(1, 2, in), zeros<double>(4, 1, 1));
    };
    CHECK_THROWS_WITH_AS(product(3), sentence, ShapeError);
    CHECK_THROWS_WITH_AS(product(2), "score_conv3d_kernel: heads of kernel: got 4, expected 2", ShapeError);
}
}  // namespace mta_test_score_conv3d
