// Tests of ops/softmax.hpp: rows of scores become rows of weights, masked entries exactly 0.
// SPDX-License-Identifier: MIT
#include <mta/ops/softmax.hpp>

#include "support/checks.hpp"
#include "support/golden.hpp"
#include "support/tensors.hpp"
#include "support/threads.hpp"

namespace mta_test_softmax {
using namespace mta;
using namespace mta::test;

namespace {

// Scores with about a third of the entries masked; entry 0 of every row stays.
Tensor<double, 4> masked_scores(std::uint64_t seed, Index B, Index H, Index S) {
    auto scores = random_tensor(seed, B, H, S, S);
    Random random(seed, 1);
    for (Index n = 0; n < scores.size(); ++n)
        if (random.uniform() < 0.35 && n % S != 0) scores.data()[n] = -infinity;
    return scores;
}

template <int Rank>
void check_golden(const Golden& golden, const std::string& name) {
    INFO(name);
    auto scores = golden.tensor<Rank>(name + ".scores");
    const auto masked = golden.tensor<Rank>(name + ".masked"), d_out = golden.tensor<Rank>(name + ".d_out");
    for (Index n = 0; n < scores.size(); ++n)
        if (masked.data()[n] != 0) scores.data()[n] = -infinity;
    const auto out = softmax_forward(scores);
    check_agrees("out", out, golden.tensor<Rank>(name + ".out"), 1e-13);
    const auto g = softmax_backward(d_out, scores, out);
    check_agrees("d_scores", g.d_scores, golden.tensor<Rank>(name + ".d_scores"), 1e-13);
}

}  // namespace

TEST_CASE("softmax: hand values") {
    // exp(0) : exp(ln 3) = 1 : 3
    const auto scores = vector_of({0, std::log(3.0)}), d_out = vector_of({1, 5});
    const auto out = softmax_forward(scores);
    check_agrees("out", out, vector_of({0.25, 0.75}), 1e-15);
    // mean = 1/4 + 15/4 = 4; (1 - 4) / 4 and 3 (5 - 4) / 4
    check_agrees("d_scores", softmax_backward(d_out, scores, out).d_scores, vector_of({-0.75, 0.75}), 1e-15);
}

TEST_CASE("softmax: hand values of masked and of huge scores") {
    const auto scores = vector_of({1000, -infinity, 1000}), d_out = vector_of({2, not_a_number, 6});
    const auto out = softmax_forward(scores);
    check_same_bits("out", out, vector_of({0.5, 0, 0.5}));
    // mean = 1 + 3 = 4; (2 - 4) / 2 and (6 - 4) / 2; nothing of the masked entry
    check_same_bits("d_scores", softmax_backward(d_out, scores, out).d_scores, vector_of({-1, 0, 1}));
    check_same_bits("far below 0", softmax_forward(vector_of({-1e4, -1e4})), vector_of({0.5, 0.5}));
    check_same_bits("underflow", softmax_forward(vector_of({0, -1e4})), vector_of({1, 0}));
}

TEST_CASE("softmax: independent values") {
    const Golden golden("ops/softmax");
    check_golden<1>(golden, "vector");
    check_golden<2>(golden, "plain");
    check_golden<2>(golden, "peaked");
    check_golden<4>(golden, "scattered");
    check_golden<4>(golden, "causal");
    check_golden<4>(golden, "one_entry");
}

TEST_CASE("softmax: complex step and adjoint") {
    const auto d_out = random_tensor(2, 2, 2, 5, 5);
    const auto f = [](const auto& s) { return softmax_forward(s); };
    SUBCASE("free rows") {
        const auto scores = random_tensor(1, 2, 2, 5, 5);
        const auto g = softmax_backward(d_out, scores, softmax_forward(scores));
        check_gradient("d_scores", d_out, scores, g.d_scores, f);
    }
    SUBCASE("rows with masked entries") {
        const auto scores = masked_scores(3, 2, 2, 5);
        const auto g = softmax_backward(d_out, scores, softmax_forward(scores));
        check_gradient("d_scores", d_out, scores, g.d_scores, f);
        for (Index n = 0; n < scores.size(); ++n)
            if (scores.data()[n] == -infinity) CHECK(g.d_scores.data()[n] == 0);
    }
}

TEST_CASE("softmax: edge shapes") {
    SUBCASE("one entry has weight 1 and no gradient, whatever its score") {
        const auto scores = random_tensor(4, 2, 1, 1), d_out = random_tensor(5, 2, 1, 1);
        const auto out = softmax_forward(scores);
        for (const double x : elements(out))
            CHECK(x == 1);
        const auto g = softmax_backward(d_out, scores, out);
        check_same_bits("d_scores", g.d_scores, zeros_like(scores));
    }
    SUBCASE("empty batch") {
        const auto scores = zeros<double>(0, 2, 3, 3);
        CHECK(softmax_forward(scores).dimensions() == scores.dimensions());
        CHECK(softmax_backward(scores, scores, scores).d_scores.dimensions() == scores.dimensions());
    }
    SUBCASE("one free entry among masked ones") {
        check_same_bits("out", softmax_forward(vector_of({-infinity, -3, -infinity})), vector_of({0, 1, 0}));
    }
}

TEST_CASE("softmax: properties of bits: threads, batch, views") {
    const auto scores = masked_scores(6, 3, 2, 5), d_out = random_tensor(7, 3, 2, 5, 5);
    const auto out = softmax_forward(scores);
    const auto g = softmax_backward(d_out, scores, out);
    at_thread_counts([&] {
        check_same_bits("out", softmax_forward(scores), out);
        check_same_bits("d_scores", softmax_backward(d_out, scores, out).d_scores, g.d_scores);
    });
    for (Index b = 0; b < 3; ++b) {
        const auto of_b = [&](const Tensor<double, 4>& t) {
            return ConstTensorView<double, 4>(t.data() + b * 50, 1, 2, 5, 5);
        };
        check_same_bits("out of a batch row", softmax_forward(of_b(scores)), of_b(out));
        const auto alone = softmax_backward(of_b(d_out), of_b(scores), of_b(out));
        check_same_bits("d_scores of a batch row", alone.d_scores, of_b(g.d_scores));
    }
}

TEST_CASE("softmax: properties of rows") {
    const auto scores = masked_scores(8, 2, 3, 6), d_out = random_tensor(9, 2, 3, 6, 6);
    const auto out = softmax_forward(scores);
    const auto g = softmax_backward(d_out, scores, out);
    for (Index r = 0; r < row_count(out); ++r) {
        double sum = 0, d_sum = 0, d_size = 0, d_largest = 0;
        for (std::size_t n = 0; n < 6; ++n) {
            const bool masked = nth_row(scores, r)[n] == -infinity;
            CHECK((masked ? nth_row(out, r)[n] == 0 : nth_row(out, r)[n] > 0));
            sum += nth_row(out, r)[n];
            d_sum += nth_row(g.d_scores, r)[n];
            d_size += std::abs(nth_row(g.d_scores, r)[n]);
            d_largest = std::max(d_largest, std::abs(nth_row(d_out, r)[n]));
        }
        CHECK(std::abs(sum - 1) <= 8 * 0x1p-53);  // six quotients and five additions, each within 2^-53 of 1
        // A shift of the row changes nothing, so gradients add up to 0: the mean is off by at most
        // (6 + 1 + 8) 2^-53 of the largest d_out, and each of the terms by two roundings more.
        CHECK(std::abs(d_sum) <= 0x1p-53 * (15 * d_largest + 8 * d_size));
    }
}

TEST_CASE("softmax: properties: masked entries might as well be left out, a common shift as well") {
    const auto scores = vector_of({0.5, -1.25, 3, 0.125}), d_out = vector_of({0.3, -2, 0.7, 1.1});
    const auto longer = vector_of({-infinity, 0.5, -1.25, -infinity, 3, 0.125});
    const auto d_longer = vector_of({not_a_number, 0.3, -2, infinity, 0.7, 1.1});
    const auto out = softmax_forward(scores), out_longer = softmax_forward(longer);
    const auto d = softmax_backward(d_out, scores, out).d_scores;
    const auto d_of_longer = softmax_backward(d_longer, longer, out_longer).d_scores;
    check_same_bits("out", out_longer, vector_of({0, out(0), out(1), 0, out(2), out(3)}));
    check_same_bits("d_scores", d_of_longer, vector_of({0, d(0), d(1), 0, d(2), d(3)}));
    // Multiples of 1/8 stay exact after adding 64.
    check_same_bits("shifted", softmax_forward(vector_of({64.5, 62.75, 67, 64.125})), out);
}

TEST_CASE("softmax: properties of NaN and infinity") {
    SUBCASE("a row of masked entries only has no answer, and no gradient") {
        const auto scores = vector_of({-infinity, -infinity}), out = softmax_forward(scores);
        CHECK((std::isnan(out(0)) && std::isnan(out(1))));
        check_same_bits("d_scores", softmax_backward(vector_of({1, 2}), scores, out).d_scores,
                        vector_of({0, 0}));
    }
    SUBCASE("NaN or +inf takes its row, except the masked entries") {
        for (const double bad : {not_a_number, infinity})
            for (const auto& scores : {vector_of({bad, 1, -infinity}), vector_of({1, -infinity, bad}),
                                       vector_of({-infinity, bad})}) {
                const auto out = softmax_forward(scores);
                const auto d_out = random_tensor(10, scores.size());
                const auto d_scores = softmax_backward(d_out, scores, out).d_scores;
                for (Index n = 0; n < scores.size(); ++n) {
                    const bool masked = scores(n) == -infinity;
                    CHECK((masked ? out(n) == 0 : std::isnan(out(n))));
                    CHECK((masked ? d_scores(n) == 0 : std::isnan(d_scores(n))));
                }
            }
    }
    SUBCASE("NaN stays in its row, and out of gradients where the cotangent of the row is zero") {
        auto scores = random_tensor(11, 3, 4), d_out = random_tensor(12, 3, 4);
        for (auto& x : row(d_out, 1))
            x = 0;
        const auto clean = softmax_forward(scores);
        const auto d_clean = softmax_backward(d_out, scores, clean).d_scores;
        scores(1, 2) = not_a_number;
        auto out = softmax_forward(scores);
        check_same_bits("d_scores", softmax_backward(d_out, scores, out).d_scores, d_clean);
        for (auto& x : row(out, 1))
            CHECK(std::isnan(x));
        for (Index n = 0; n < 4; ++n)
            out(1, n) = clean(1, n);
        check_same_bits("other rows", out, clean);
    }
}

TEST_CASE("softmax: properties of float") {
    const auto scores = cast<float>(random_tensor(13, 3, 20)), d_out = cast<float>(random_tensor(14, 3, 20));
    const auto scores2 = cast<double>(scores), d_out2 = cast<double>(d_out);
    const auto out = softmax_forward(scores);
    const auto out2 = softmax_forward(scores2);
    // N = 20, |scores| < 5: the subtraction is off by 2^-24 * 10, exp by 2 ulp, the sum by N roundings and
    // the errors of its terms, so a weight by (2 * (10 + 4) + 20 + 1) 2^-24 of itself, below 50 * 2^-24.
    check_agrees("out", out, out2, 50 * 0x1p-24);
    double largest = 0;
    for (const double d : elements(d_out2))
        largest = std::max(largest, std::abs(d));
    // d_scores = A (d - mean): the error of A on |d - mean| <= 2 max|d|, that of the mean (50 + N + 1) on A
    // <= 1, and two roundings.
    const double bound = (50 * 2 + 71 + 4) * 0x1p-24 * largest;
    const auto c =
        check::compare("d_scores", softmax_backward(d_out, scores, out).d_scores,
                       softmax_backward(d_out2, scores2, out2).d_scores, {.relative = 0, .absolute = bound});
    CHECK_MESSAGE(c, c.sentence);
}

TEST_CASE("softmax: errors") {
    const auto scores = random_tensor(15, 2, 3), turned = random_tensor(16, 3, 2), none = zeros<double>(2, 0);
    const char* sentence = "softmax: d_out: got shape [3, 2], expected shape [2, 3]";
    CHECK_THROWS_WITH_AS((void)softmax_backward(turned, scores, scores), sentence, ShapeError);
    sentence = "softmax: weights: got shape [3, 2], expected shape [2, 3]";
    CHECK_THROWS_WITH_AS((void)softmax_backward(scores, scores, turned), sentence, ShapeError);
    sentence = "softmax: scores: got shape [2, 0], expected at least 1 entry along the last axis";
    CHECK_THROWS_WITH_AS((void)softmax_forward(none), sentence, ShapeError);
    CHECK_THROWS_WITH_AS((void)softmax_backward(none, none, none), sentence, ShapeError);
}
}  // namespace mta_test_softmax
