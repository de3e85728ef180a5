// Scaled scores against hand values, PyTorch, three witnesses of its gradients, and its promises.
// SPDX-License-Identifier: MIT
#include <mta/ops/scaled_scores.hpp>

#include "support/checks.hpp"
#include "support/golden.hpp"
#include "support/tensors.hpp"
#include "support/threads.hpp"

namespace mta_test_scaled_scores {
using namespace mta;
using namespace mta::test;

namespace {

const Documents packed{std::vector<std::vector<Index>>{{0, 3}, {0, 2, 5}}};  // of 7 tokens, two batch rows

struct Case {
    std::string name;
    ScaledScoresConfig config;
    AttentionMask mask;
};
const std::vector<Case> golden_cases{
    {"plain", {}, {MaskRule::none, {}}},
    {"grouped", {-0.37, 0}, {MaskRule::twice, {}}},
    {"documents", {std::nullopt, 2}, {MaskRule::exact, packed}},
    {"encoder_documents", {1.5, 0}, {MaskRule::none, Documents{std::vector<Index>{0, 4}}}},
};

// Six query heads over two key heads, two batch rows of 7 tokens, width 3.
struct Problem {
    Tensor<double, 4> q = random_tensor(1, 2, 6, 7, 3), k = random_tensor(2, 2, 2, 7, 3);
    Tensor<double, 4> d_out = random_tensor(3, 2, 6, 7, 7);
    ScaledScoresConfig config{0.7, 1};
    AttentionMask mask{MaskRule::exact, packed};

    auto forward() const { return scaled_scores_forward(q, k, config, mask); }
    auto backward() const { return scaled_scores_backward(d_out, q, k, config, mask); }
};

}  // namespace

TEST_CASE("scaled_scores: hand values") {
    // Two query heads share the key head; scale 1/2, so every number below is exact.
    const auto q = tensor_of({1, 2, 3, 4, /*head 1*/ 0, 1, -1, 2}, 1, 2, 2, 2);
    const auto k = tensor_of({5, 6, 7, 8}, 1, 1, 2, 2);
    const auto d_out = tensor_of({1, 10, 2, 3, /*head 1*/ 4, 20, 5, -6}, 1, 2, 2, 2);
    SUBCASE("every pair") {
        // head 0: (5+12)/2 = 8.5, (7+16)/2 = 11.5; (15+24)/2 = 19.5, (21+32)/2 = 26.5
        // head 1: 6/2 = 3, 8/2 = 4; (-5+12)/2 = 3.5, (-7+16)/2 = 4.5
        check_same_bits("out", scaled_scores_forward(q, k, {0.5, 0}),
                        tensor_of({8.5, 11.5, 19.5, 26.5, 3, 4, 3.5, 4.5}, 1, 2, 2, 2));
    }
    SUBCASE("causal: the first query does not see the second key, and its 10 and 20 are ignored") {
        const AttentionMask causal{MaskRule::twice, {}};
        check_same_bits("out", scaled_scores_forward(q, k, {0.5, 0}, causal),
                        tensor_of({8.5, 0, 19.5, 26.5, 3, 0, 3.5, 4.5}, 1, 2, 2, 2));
        const auto g = scaled_scores_backward(d_out, q, k, {0.5, 0}, causal);
        // d_q head 0: 1/2 * 1*(5,6) = (2.5, 3);   1/2 * (2*(5,6) + 3*(7,8)) = (31, 36)/2 = (15.5, 18)
        // d_q head 1: 1/2 * 4*(5,6) = (10, 12);   1/2 * (5*(5,6) - 6*(7,8)) = (-17, -18)/2 = (-8.5, -9)
        check_same_bits("d_q", g.d_q, tensor_of({2.5, 3, 15.5, 18, 10, 12, -8.5, -9}, 1, 2, 2, 2));
        // d_k key 0: 1/2 * (1*(1,2) + 2*(3,4) + 4*(0,1) + 5*(-1,2)) = (2, 24)/2 = (1, 12)
        // d_k key 1: 1/2 * (3*(3,4) - 6*(-1,2)) = (15, 0)/2 = (7.5, 0)
        check_same_bits("d_k", g.d_k, tensor_of({1, 12, 7.5, 0}, 1, 1, 2, 2));
    }
    SUBCASE("one key of lookahead brings the second key back") {
        check_same_bits("out", scaled_scores_forward(q, k, {0.5, 1}, {MaskRule::exact, {}}),
                        tensor_of({8.5, 11.5, 19.5, 26.5, 3, 4, 3.5, 4.5}, 1, 2, 2, 2));
    }
    SUBCASE("the default scale is one over the root of the width") {
        // width 4: 1/2 * (1*5 + 2*6 + 3*7 + 4*8) = 70/2
        const auto wide_q = tensor_of({1, 2, 3, 4}, 1, 1, 1, 4), wide_k = tensor_of({5, 6, 7, 8}, 1, 1, 1, 4);
        CHECK(scaled_scores_forward(wide_q, wide_k)(0, 0, 0, 0) == 35);
    }
}

TEST_CASE("scaled_scores: independent values") {
    const Golden golden("ops/scaled_scores");
    for (const Case& test : golden_cases) {
        INFO("case ", test.name);
        const auto value = [&](const char* what) { return golden.tensor<4>(test.name + "." + what); };
        const auto q = value("q"), k = value("k");
        check_agrees("out", scaled_scores_forward(q, k, test.config, test.mask), value("out"), 1e-13);
        const auto g = scaled_scores_backward(value("d_out"), q, k, test.config, test.mask);
        check_agrees("d_q", g.d_q, value("d_q"), 1e-13);
        check_agrees("d_k", g.d_k, value("d_k"), 1e-13);
    }
}

TEST_CASE("scaled_scores: complex step and adjoint") {
    const Problem p;
    for (const auto& mask :
         {p.mask, AttentionMask{MaskRule::twice, {}}, AttentionMask{MaskRule::none, packed}})
        for (const ScaledScoresConfig& config : {p.config, ScaledScoresConfig{}}) {
            const auto g = scaled_scores_backward(p.d_out, p.q, p.k, config, mask);
            check_gradient("d_q", p.d_out, p.q, g.d_q, [&](const auto& q) {
                return scaled_scores_forward(q, cast<ScalarOf<decltype(q)>>(p.k), config, mask);
            });
            check_gradient("d_k", p.d_out, p.k, g.d_k, [&](const auto& k) {
                return scaled_scores_forward(cast<ScalarOf<decltype(k)>>(p.q), k, config, mask);
            });
        }
}

TEST_CASE("scaled_scores: edge shapes") {
    SUBCASE("one token of width one: scale * q * k, and its product rule") {
        const auto q = tensor_of({3}, 1, 1, 1, 1), k = tensor_of({5}, 1, 1, 1, 1);
        CHECK(scaled_scores_forward(q, k, {2.0, 0}, {})(0, 0, 0, 0) == 30);
        const auto g = scaled_scores_backward(tensor_of({7}, 1, 1, 1, 1), q, k, {2.0, 0}, {});
        CHECK(g.d_q(0, 0, 0, 0) == 70);
        CHECK(g.d_k(0, 0, 0, 0) == 42);
    }
    SUBCASE("empty batch") {
        const auto q = zeros<double>(0, 4, 3, 2), k = zeros<double>(0, 2, 3, 2);
        const auto out = scaled_scores_forward(q, k, {}, {});
        CHECK(out.dimensions() == zeros<double>(0, 4, 3, 3).dimensions());
        const auto g = scaled_scores_backward(out, q, k, {}, {});
        CHECK(g.d_q.dimensions() == q.dimensions());
        CHECK(g.d_k.dimensions() == k.dimensions());
    }
    SUBCASE("views of somebody else's memory") {
        const Problem p;
        const ConstTensorView<double, 4> q(p.q.data(), p.q.dimensions()), k(p.k.data(), p.k.dimensions());
        check_same_bits("out", scaled_scores_forward(q, k, p.config, p.mask), p.forward());
        check_same_bits("d_k", scaled_scores_backward(p.d_out, q, k, p.config, p.mask).d_k, p.backward().d_k);
    }
}

TEST_CASE("scaled_scores: properties") {
    const Problem p;
    const auto out = p.forward();
    const auto g = p.backward();
    SUBCASE("the same bits at any thread count") {
        at_thread_counts([&] {
            check_same_bits("out", p.forward(), out);
            check_same_bits("d_q", p.backward().d_q, g.d_q);
            check_same_bits("d_k", p.backward().d_k, g.d_k);
        });
    }
    SUBCASE("a batch row does not depend on the others") {
        const std::vector<std::vector<Index>> starts{{0, 3}, {0, 2, 5}};
        for (Index b = 0; b < 2; ++b) {
            Problem one = p;
            one.q = batch_row(p.q, b), one.k = batch_row(p.k, b), one.d_out = batch_row(p.d_out, b);
            one.mask.documents = Documents{starts[static_cast<std::size_t>(b)]};
            check_same_bits("out", batch_row(out, b), one.forward());
            check_same_bits("d_q", batch_row(g.d_q, b), one.backward().d_q);
            check_same_bits("d_k", batch_row(g.d_k, b), one.backward().d_k);
        }
    }
    SUBCASE("exchanging queries and keys transposes the scores") {
        const auto k = random_tensor(4, 2, 6, 5, 3);
        const Tensor<double, 4> back = scaled_scores_forward(k, p.q).shuffle(std::array<int, 4>{0, 1, 3, 2});
        check_same_bits("transposed", scaled_scores_forward(p.q, k), back);
    }
    SUBCASE("a shared key head is the same as copies of it, and its gradient the sum of theirs") {
        auto copies = zeros<double>(2, 6, 7, 3);
        everywhere(copies,
                   [&](Index b, Index h, Index j, Index d) { copies(b, h, j, d) = p.k(b, h / 3, j, d); });
        check_same_bits("out", out, scaled_scores_forward(p.q, copies, p.config, p.mask));
        const auto d_copies = scaled_scores_backward(p.d_out, p.q, copies, p.config, p.mask).d_k;
        auto sums = zeros_like(p.k);
        everywhere(copies,
                   [&](Index b, Index h, Index j, Index d) { sums(b, h / 3, j, d) += d_copies(b, h, j, d); });
        check_agrees("d_k", g.d_k, sums, 1e-14);  // the same terms in another order
    }
    SUBCASE("doubling the scale doubles the scores exactly") {
        const auto twice = scaled_scores_forward(p.q, p.k, {1.4, 1}, p.mask);
        const Tensor<double, 4> doubled = out * 2.0;
        check_same_bits("out", twice, doubled);
    }
    SUBCASE("a mask selects from the unmasked scores and leaves exact zeros") {
        const auto all = scaled_scores_forward(p.q, p.k, p.config);
        everywhere(out, [&](Index b, Index h, Index i, Index j) {
            const bool visible = p.mask.keys(b, i, 7, 1).contains(j);
            CHECK(out(b, h, i, j) == (visible ? all(b, h, i, j) : 0.0));
        });
    }
    SUBCASE("float agrees with double at float precision") {
        const auto q = cast<float>(p.q), k = cast<float>(p.k), d_out = cast<float>(p.d_out);
        const auto qd = cast<double>(q), kd = cast<double>(k), d_outd = cast<double>(d_out);
        // A sum of n products, scaled: n + 2 roundings of 2^-24 on each term at most. The same operation on
        // absolute values gives the sums of the terms' magnitudes.
        const auto within = [](const char* name, const auto& got, const auto& want, double n,
                               const auto& sizes) {
            const Tensor<double, 0> largest = sizes.maximum();
            const double bound = (n + 2) * 0x1p-24 * largest();
            const auto c = check::compare(name, got, want, {.relative = 0, .absolute = bound});
            CHECK_MESSAGE(c, c.sentence);
        };
        const Tensor<double, 4> size = qd.abs(), k_size = kd.abs(), d_out_size = d_outd.abs();
        within("out", scaled_scores_forward(q, k, p.config, p.mask),
               scaled_scores_forward(qd, kd, p.config, p.mask), 3,
               scaled_scores_forward(size, k_size, p.config, p.mask));
        const auto got = scaled_scores_backward(d_out, q, k, p.config, p.mask);
        const auto want = scaled_scores_backward(d_outd, qd, kd, p.config, p.mask);
        const auto sizes = scaled_scores_backward(d_out_size, size, k_size, p.config, p.mask);
        within("d_q", got.d_q, want.d_q, 7, sizes.d_q);
        within("d_k", got.d_k, want.d_k, 3 * 7, sizes.d_k);
    }
}

TEST_CASE("scaled_scores: properties of NaN and of zero cotangents") {
    const Problem p;
    const auto out = p.forward();
    SUBCASE("a NaN key reaches its own column of the queries that see it, and nothing else") {
        Problem bad = p;
        bad.k(1, 0, 4, 2) =
            not_a_number;  // batch row 1, document [2, 5): queries 3 (by lookahead) and 4 see key 4
        const auto got = bad.forward();
        everywhere(out, [&](Index b, Index h, Index i, Index j) {
            const bool hit = b == 1 && h < 3 && j == 4 && (i == 3 || i == 4);
            CHECK(std::isnan(got(b, h, i, j)) == hit);
            if (!hit) CHECK(got(b, h, i, j) == out(b, h, i, j));
        });
    }
    SUBCASE("a NaN query reaches every key it sees") {
        Problem bad = p;
        bad.q(0, 2, 1, 0) =
            not_a_number;  // batch row 0, document [0, 3): query 1 sees keys 0, 1 and, ahead, 2
        const auto got = bad.forward();
        everywhere(out, [&](Index b, Index h, Index i, Index j) {
            CHECK(std::isnan(got(b, h, i, j)) == (b == 0 && h == 2 && i == 1 && j < 3));
        });
    }
    SUBCASE("cotangents of hidden keys are ignored, whatever they hold") {
        Problem bad = p;
        everywhere(out, [&](Index b, Index h, Index i, Index j) {
            if (!p.mask.keys(b, i, 7, 1).contains(j)) bad.d_out(b, h, i, j) = not_a_number;
        });
        check_same_bits("d_q", bad.backward().d_q, p.backward().d_q);
        check_same_bits("d_k", bad.backward().d_k, p.backward().d_k);
    }
    SUBCASE("zero cotangents pass no NaN on, neither of a padded query nor of a key that lookahead shows") {
        Problem padded = p;
        for (Index h = 3; h < 6; ++h)  // batch row 0, document [0, 3): queries 1 (ahead) and 2 see key 2
            for (const auto& [i, j] : {std::pair{1, 2}, {2, 0}, {2, 1}, {2, 2}})
                padded.d_out(0, h, i, j) = 0;
        const auto clean = padded.backward();
        padded.q(0, 3, 2, 1) = padded.k(0, 1, 2, 0) = not_a_number;
        check_same_bits("d_q", padded.backward().d_q, clean.d_q);
        check_same_bits("d_k", padded.backward().d_k, clean.d_k);
    }
}

TEST_CASE("scaled_scores: errors") {
    const auto q = random_tensor(1, 2, 4, 3, 5), k = random_tensor(2, 2, 2, 3, 5);
    const auto refused = [&](const Tensor<double, 4>& other_k, const char* sentence) {
        CHECK_THROWS_WITH_AS(scaled_scores_forward(q, other_k), sentence, ShapeError);
    };
    refused(zeros<double>(1, 2, 3, 5), "scaled_scores: batch of k: got 1, expected 2");
    refused(zeros<double>(2, 2, 3, 4), "scaled_scores: width of k: got 4, expected 5");
    refused(zeros<double>(2, 3, 3, 5),
            "scaled_scores: heads of k: got 3, expected a divisor of the 4 heads of q");
    refused(zeros<double>(2, 0, 3, 5),
            "scaled_scores: heads of k: got 0, expected a divisor of the 4 heads of q");
    CHECK_THROWS_WITH_AS(scaled_scores_forward(zeros<double>(1, 1, 1, 0), zeros<double>(1, 1, 1, 0)),
                         "scaled_scores: width of q: got 0, expected at least 1", ShapeError);
    const auto refused_choice = [&](ScaledScoresConfig config, const char* sentence) {
        CHECK_THROWS_WITH_AS(scaled_scores_forward(q, k, config), sentence, ValueError);
    };
    refused_choice({not_a_number, 0}, "scaled_scores: scale: got nan, expected a finite one");
    refused_choice({-HUGE_VAL, 0}, "scaled_scores: scale: got -inf, expected a finite one");
    refused_choice({0.5, -1}, "scaled_scores: lookahead: got -1, expected at least 0");
    const AttentionMask causal, unsorted{MaskRule::none, Documents{std::vector<Index>{0, 2, 1}}};
    CHECK_THROWS_WITH_AS(scaled_scores_forward(q, zeros<double>(2, 2, 4, 5), {}, causal),
                         "scaled_scores: got 3 queries and 4 keys, expected equal numbers under a causal "
                         "mask or packed documents",
                         ShapeError);
    CHECK_THROWS_WITH_AS(scaled_scores_forward(q, k, {}, unsorted),
                         "scaled_scores: document starts: got [0, 2, 1], expected strictly increasing",
                         ValueError);
    CHECK_THROWS_WITH_AS(scaled_scores_backward(zeros<double>(2, 4, 3, 4), q, k),
                         "scaled_scores: d_out: got shape [2, 4, 3, 4], expected shape [2, 4, 3, 3]",
                         ShapeError);
    CHECK_THROWS_AS(scaled_scores_backward(zeros<double>(2, 4, 3, 3), q, k, {0.5, -1}), ValueError);
}
}  // namespace mta_test_scaled_scores
