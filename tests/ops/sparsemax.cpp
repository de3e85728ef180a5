// Tests of ops/sparsemax.hpp: the probability vector nearest to the scores.
// SPDX-License-Identifier: MIT
#include <mta/ops/sparsemax.hpp>

#include "support/checks.hpp"
#include "support/golden.hpp"
#include "support/tensors.hpp"
#include "support/threads.hpp"

namespace mta_test_sparsemax {
using namespace mta;
using namespace mta::test;

namespace {

// Scores with about a third of the entries masked; entry 0 of every row stays. Their spread of 0.5 leaves two
// or three entries of a row in the support, so both sides of the threshold are met.
Tensor<double, 4> masked_scores(std::uint64_t seed, Index B, Index H, Index S) {
    auto scores = random_tensor(seed, B, H, S, S);
    Random random(seed, 1);
    for (Index n = 0; n < scores.size(); ++n) {
        scores.data()[n] *= 0.5;
        if (random.uniform() < 0.35 && n % S != 0) scores.data()[n] = -infinity;
    }
    return scores;
}

template <int Rank>
void check_golden(const Golden& golden, const std::string& name) {
    INFO(name);
    auto scores = golden.tensor<Rank>(name + ".scores");
    const auto masked = golden.tensor<Rank>(name + ".masked"), d_out = golden.tensor<Rank>(name + ".d_out");
    for (Index n = 0; n < scores.size(); ++n)
        if (masked.data()[n] != 0) scores.data()[n] = -infinity;
    const auto out = sparsemax_forward(scores);
    check_agrees("out", out, golden.tensor<Rank>(name + ".out"), 1e-13);
    const auto g = sparsemax_backward(d_out, scores, out);
    check_agrees("d_scores", g.d_scores, golden.tensor<Rank>(name + ".d_scores"), 1e-13);
}

}  // namespace

TEST_CASE("sparsemax: hand values") {
    SUBCASE("two of three in the support") {
        // 1 + 2 * 0.25 > 0.5 + 0.25, but 1 + 3 * (-1) < 0.5 + 0.25 - 1: k = 2, tau = (0.75 - 1) / 2 = -0.125
        const auto scores = vector_of({0.25, -1, 0.5}), d_out = vector_of({1, 100, 3});
        const auto out = sparsemax_forward(scores);
        check_same_bits("out", out, vector_of({0.375, 0, 0.625}));
        // mean over the support = (1 + 3) / 2
        check_same_bits("d_scores", sparsemax_backward(d_out, scores, out).d_scores, vector_of({-1, 0, 1}));
    }
    SUBCASE("a lead of 1 takes everything and has no gradient") {
        const auto scores = vector_of({2, 3, -5}), out = sparsemax_forward(scores);
        check_same_bits("out", out, vector_of({0, 1, 0}));
        const auto g = sparsemax_backward(vector_of({1, 2, 3}), scores, out);
        check_same_bits("d_scores", g.d_scores, vector_of({0, 0, 0}));
    }
    SUBCASE("equal scores share") {
        check_same_bits("out", sparsemax_forward(vector_of({7, 7, 7, 7})),
                        vector_of({0.25, 0.25, 0.25, 0.25}));
    }
    SUBCASE("masked entries") {
        // of (0, 0.5): tau = (0.5 - 1) / 2 = -0.25; mean of d_out = (2 + 6) / 2
        const auto scores = vector_of({-infinity, 0, 0.5}), out = sparsemax_forward(scores);
        check_same_bits("out", out, vector_of({0, 0.25, 0.75}));
        const auto g = sparsemax_backward(vector_of({not_a_number, 2, 6}), scores, out);
        check_same_bits("d_scores", g.d_scores, vector_of({0, -2, 2}));
    }
}

TEST_CASE("sparsemax: independent values") {
    const Golden golden("ops/sparsemax");
    check_golden<1>(golden, "vector");
    check_golden<2>(golden, "plain");
    check_golden<2>(golden, "peaked");
    check_golden<2>(golden, "full_support");
    check_golden<4>(golden, "scattered");
    check_golden<4>(golden, "causal");
    check_golden<4>(golden, "one_entry");
}

TEST_CASE("sparsemax: complex step and adjoint") {
    // Central differences move a score by 2e-3 at most: the seeds keep every score further than that from the
    // threshold of its row, where the function has a corner.
    const auto d_out = random_tensor(2, 2, 2, 5, 5);
    const auto f = [](const auto& s) { return sparsemax_forward(s); };
    for (const bool masked : {false, true}) {
        INFO("masked: ", masked);
        auto scores = masked_scores(3, 2, 2, 5);
        if (!masked) scores = random_tensor(1, 2, 2, 5, 5);
        const auto out = sparsemax_forward(scores);
        const auto g = sparsemax_backward(d_out, scores, out);
        check_gradient("d_scores", d_out, scores, g.d_scores, f);
        for (Index n = 0; n < scores.size(); ++n)
            if (out.data()[n] == 0) CHECK(g.d_scores.data()[n] == 0);
    }
}

TEST_CASE("sparsemax: edge shapes") {
    SUBCASE("one entry has weight 1 and no gradient, whatever its score") {
        const auto scores = random_tensor(4, 2, 1, 1), d_out = random_tensor(5, 2, 1, 1);
        const auto out = sparsemax_forward(scores);
        for (const double x : elements(out))
            CHECK(x == 1);
        check_same_bits("d_scores", sparsemax_backward(d_out, scores, out).d_scores, zeros_like(scores));
    }
    SUBCASE("empty batch") {
        const auto scores = zeros<double>(0, 2, 3, 3);
        CHECK(sparsemax_forward(scores).dimensions() == scores.dimensions());
        CHECK(sparsemax_backward(scores, scores, scores).d_scores.dimensions() == scores.dimensions());
    }
    SUBCASE("one free entry among masked ones") {
        check_same_bits("out", sparsemax_forward(vector_of({-infinity, -3, -infinity})),
                        vector_of({0, 1, 0}));
    }
    SUBCASE("a gap of exactly 1 leaves the support") {
        check_same_bits("out", sparsemax_forward(vector_of({-1e4, -1e4 - 1})), vector_of({1, 0}));
    }
}

TEST_CASE("sparsemax: properties of bits: threads, batch, views") {
    const auto scores = masked_scores(6, 3, 2, 5), d_out = random_tensor(7, 3, 2, 5, 5);
    const auto out = sparsemax_forward(scores);
    const auto g = sparsemax_backward(d_out, scores, out);
    at_thread_counts([&] {
        check_same_bits("out", sparsemax_forward(scores), out);
        check_same_bits("d_scores", sparsemax_backward(d_out, scores, out).d_scores, g.d_scores);
    });
    for (Index b = 0; b < 3; ++b) {
        const auto of_b = [&](const Tensor<double, 4>& t) {
            return ConstTensorView<double, 4>(t.data() + b * 50, 1, 2, 5, 5);
        };
        check_same_bits("out of a batch row", sparsemax_forward(of_b(scores)), of_b(out));
        const auto alone = sparsemax_backward(of_b(d_out), of_b(scores), of_b(out));
        check_same_bits("d_scores of a batch row", alone.d_scores, of_b(g.d_scores));
    }
}

TEST_CASE("sparsemax: properties of the projection onto the probability vectors") {
    const auto scores = masked_scores(8, 2, 3, 6);
    const auto out = sparsemax_forward(scores);
    for (Index r = 0; r < row_count(out); ++r) {
        const auto z = nth_row(scores, r), p = nth_row(out, r);
        double sum = 0, lowest = infinity,
               highest = -infinity;  // of tau, as the entries of the support tell it
        for (std::size_t n = 0; n < 6; ++n) {
            CHECK(p[n] >= 0);
            sum += p[n];
            if (p[n] > 0) lowest = std::min(lowest, z[n] - p[n]), highest = std::max(highest, z[n] - p[n]);
        }
        // k <= 6 shifted scores with partial sums below k - 1 in size: k tau is off by (k-1)^2 + 2 k
        // roundings, the weights by 2 k more and their sum by k - 1, in all 54.
        CHECK(std::abs(sum - 1) <= 54 * 0x1p-53);
        CHECK(highest - lowest <= 24 * 0x1p-53);  // |z| < 3, |p| <= 1: three subtractions on either side
        for (std::size_t n = 0; n < 6; ++n)
            if (p[n] == 0) CHECK(z[n] <= highest + 24 * 0x1p-53);
    }
    const auto point = vector_of({0.5, 0, 0.125, 0.375});  // is its own projection
    check_same_bits("a probability vector", sparsemax_forward(point), point);
}

TEST_CASE("sparsemax: properties: order, a common shift and masked entries change no bit") {
    const auto scores = vector_of({0.5, -0.25, 0.625, 0.125}), d_out = vector_of({0.3, -2, 0.7, 1.1});
    const auto longer = vector_of({-infinity, 0.125, 0.5, -infinity, 0.625, -0.25});
    const auto d_longer = vector_of({not_a_number, 1.1, 0.3, infinity, 0.7, -2});
    const auto out = sparsemax_forward(scores), out_longer = sparsemax_forward(longer);
    check_same_bits("out", out_longer, vector_of({0, out(3), out(0), 0, out(2), out(1)}));
    const auto d = sparsemax_backward(d_out, scores, out).d_scores;
    const auto d_of_longer = sparsemax_backward(d_longer, longer, out_longer).d_scores;
    // The mean of d_out is summed in another order here: three values of at most 1.1.
    check_agrees("d_scores", d_of_longer, vector_of({0, d(3), d(0), 0, d(2), d(1)}), 4 * 0x1p-53);
    // Multiples of 1/8 stay exact after adding 64.
    check_same_bits("shifted", sparsemax_forward(vector_of({64.5, 63.75, 64.625, 64.125})), out);
}

TEST_CASE("sparsemax: properties of NaN and infinity") {
    SUBCASE("a row of masked entries only has no answer, and no gradient") {
        const auto scores = vector_of({-infinity, -infinity}), out = sparsemax_forward(scores);
        CHECK((std::isnan(out(0)) && std::isnan(out(1))));
        const auto g = sparsemax_backward(vector_of({1, 2}), scores, out);
        check_same_bits("d_scores", g.d_scores, vector_of({0, 0}));
    }
    SUBCASE("NaN or +inf takes its row, except the masked entries") {
        for (const double bad : {not_a_number, infinity})
            for (const auto& scores : {vector_of({bad, 1, -infinity}), vector_of({1, -infinity, bad}),
                                       vector_of({-infinity, bad})}) {
                const auto out = sparsemax_forward(scores);
                const auto d_out = random_tensor(10, scores.size());
                const auto d_scores = sparsemax_backward(d_out, scores, out).d_scores;
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
        const auto clean = sparsemax_forward(scores);
        const auto d_clean = sparsemax_backward(d_out, scores, clean).d_scores;
        scores(1, 2) = not_a_number;
        auto out = sparsemax_forward(scores);
        check_same_bits("d_scores", sparsemax_backward(d_out, scores, out).d_scores, d_clean);
        for (Index n = 0; n < 4; ++n) {
            CHECK(std::isnan(out(1, n)));
            out(1, n) = clean(1, n);
        }
        check_same_bits("other rows", out, clean);
    }
}

TEST_CASE("sparsemax: properties of float") {
    auto scores = cast<float>(random_tensor(13, 3, 20)), d_out = cast<float>(random_tensor(14, 3, 20));
    for (auto& x : elements(scores))
        x *= 0.25F;
    const auto out = sparsemax_forward(scores);
    const auto out2 = sparsemax_forward(cast<double>(scores));
    // k <= 20 scores in [-1, 0] after the shift, each off by 2^-24: their sum is off by k (k + 1) 2^-24, tau
    // by (k + 3) 2^-24, a weight by two roundings more. Below 25 * 2^-24, and no weight is that small here.
    const auto c = check::compare("out", out, out2, {.relative = 0, .absolute = 25 * 0x1p-24});
    CHECK_MESSAGE(c, c.sentence);
    for (Index n = 0; n < out.size(); ++n)
        CHECK((out.data()[n] > 0) == (out2.data()[n] > 0));
    const auto g = sparsemax_backward(d_out, scores, out);
    const auto g2 = sparsemax_backward(cast<double>(d_out), cast<double>(scores), out2);
    // The same support, so d_out - mean of k values below 4: (k + 2) roundings of at most 8.
    const auto d =
        check::compare("d_scores", g.d_scores, g2.d_scores, {.relative = 0, .absolute = 176 * 0x1p-24});
    CHECK_MESSAGE(d, d.sentence);
}

TEST_CASE("sparsemax: errors") {
    const auto scores = random_tensor(15, 2, 3), turned = random_tensor(16, 3, 2), none = zeros<double>(2, 0);
    const char* sentence = "sparsemax: d_out: got shape [3, 2], expected shape [2, 3]";
    CHECK_THROWS_WITH_AS((void)sparsemax_backward(turned, scores, scores), sentence, ShapeError);
    sentence = "sparsemax: weights: got shape [3, 2], expected shape [2, 3]";
    CHECK_THROWS_WITH_AS((void)sparsemax_backward(scores, scores, turned), sentence, ShapeError);
    sentence = "sparsemax: scores: got shape [2, 0], expected at least 1 entry along the last axis";
    CHECK_THROWS_WITH_AS((void)sparsemax_forward(none), sentence, ShapeError);
    CHECK_THROWS_WITH_AS((void)sparsemax_backward(none, none, none), sentence, ShapeError);
}
}  // namespace mta_test_sparsemax
