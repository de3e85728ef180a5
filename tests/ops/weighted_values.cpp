// Weighted values against hand values, PyTorch, three witnesses of its gradients, and its promises.
// SPDX-License-Identifier: MIT
#include <mta/ops/weighted_values.hpp>

#include "support/checks.hpp"
#include "support/golden.hpp"
#include "support/tensors.hpp"
#include "support/threads.hpp"

namespace mta_test_weighted_values {
using namespace mta;
using namespace mta::test;

namespace {

const Documents packed{std::vector<std::vector<Index>>{{0, 3}, {0, 2, 5}}};  // of 7 tokens, two batch rows

struct Case {
    std::string name;
    AttentionMask mask;
};
const std::vector<Case> golden_cases{
    {"plain", {MaskRule::none, {}}},
    {"grouped", {MaskRule::twice, {}}},
    {"documents", {MaskRule::exact, packed}},
    {"encoder_documents", {MaskRule::none, Documents{std::vector<Index>{0, 4}}}},
};

// Six query heads over two value heads, two batch rows of 7 tokens, width 3; weights also at hidden keys.
struct Problem {
    Tensor<double, 4> weights = random_tensor(1, 2, 6, 7, 7), v = random_tensor(2, 2, 2, 7, 3);
    Tensor<double, 4> d_out = random_tensor(3, 2, 6, 7, 3);
    AttentionMask mask{MaskRule::twice, packed};

    auto forward() const { return weighted_values_forward(weights, v, mask); }
    auto backward() const { return weighted_values_backward(d_out, weights, v, mask); }
};

}  // namespace

TEST_CASE("weighted_values: hand values") {
    // Two query heads share the value head.
    const auto weights = tensor_of({1, 2, 3, -4, /*head 1*/ 5, 6, 0.5, 2}, 1, 2, 2, 2);
    const auto v = tensor_of({1, 10, 2, 20}, 1, 1, 2, 2);
    const auto d_out = tensor_of({1, 0, 2, 1, /*head 1*/ 3, -1, 4, 2}, 1, 2, 2, 2);
    SUBCASE("every key") {
        // head 0: 1*(1,10) + 2*(2,20) = (5, 50); 3*(1,10) - 4*(2,20) = (-5, -50)
        // head 1: 5*(1,10) + 6*(2,20) = (17, 170); 0.5*(1,10) + 2*(2,20) = (4.5, 45)
        check_same_bits("out", weighted_values_forward(weights, v),
                        tensor_of({5, 50, -5, -50, 17, 170, 4.5, 45}, 1, 2, 2, 2));
    }
    SUBCASE("causal: the weights 2 and 6 of the first query on the second key do not count") {
        const AttentionMask causal{MaskRule::twice, {}};
        check_same_bits("out", weighted_values_forward(weights, v, causal),
                        tensor_of({1, 10, -5, -50, 5, 50, 4.5, 45}, 1, 2, 2, 2));
        const auto g = weighted_values_backward(d_out, weights, v, causal);
        // d_weights[i,j] = <d_out_i, v_j>. head 0: (1,0).(1,10) = 1, hidden 0; (2,1).(1,10) = 12,
        // (2,1).(2,20) = 24 head 1: (3,-1).(1,10) = -7, hidden 0; (4,2).(1,10) = 24, (4,2).(2,20) = 48
        check_same_bits("d_weights", g.d_weights, tensor_of({1, 0, 12, 24, -7, 0, 24, 48}, 1, 2, 2, 2));
        // d_v key 0: 1*(1,0) + 3*(2,1) + 5*(3,-1) + 0.5*(4,2) = (24, -1); key 1: -4*(2,1) + 2*(4,2) = (0, 0)
        check_same_bits("d_v", g.d_v, tensor_of({24, -1, 0, 0}, 1, 1, 2, 2));
    }
}

TEST_CASE("weighted_values: independent values") {
    const Golden golden("ops/weighted_values");
    for (const Case& test : golden_cases) {
        INFO("case ", test.name);
        const auto value = [&](const char* what) { return golden.tensor<4>(test.name + "." + what); };
        const auto weights = value("weights"), v = value("v");
        check_agrees("out", weighted_values_forward(weights, v, test.mask), value("out"), 1e-13);
        const auto g = weighted_values_backward(value("d_out"), weights, v, test.mask);
        check_agrees("d_weights", g.d_weights, value("d_weights"), 1e-13);
        check_agrees("d_v", g.d_v, value("d_v"), 1e-13);
    }
}

TEST_CASE("weighted_values: complex step and adjoint") {
    const Problem p;
    for (const auto& mask :
         {p.mask, AttentionMask{MaskRule::exact, {}}, AttentionMask{MaskRule::none, packed}}) {
        const auto g = weighted_values_backward(p.d_out, p.weights, p.v, mask);
        check_gradient("d_weights", p.d_out, p.weights, g.d_weights, [&](const auto& weights) {
            return weighted_values_forward(weights, cast<ScalarOf<decltype(weights)>>(p.v), mask);
        });
        check_gradient("d_v", p.d_out, p.v, g.d_v, [&](const auto& v) {
            return weighted_values_forward(cast<ScalarOf<decltype(v)>>(p.weights), v, mask);
        });
    }
}

TEST_CASE("weighted_values: edge shapes") {
    SUBCASE("one token of width one: the product and its rule") {
        const auto weights = tensor_of({3}, 1, 1, 1, 1), v = tensor_of({5}, 1, 1, 1, 1);
        CHECK(weighted_values_forward(weights, v, {})(0, 0, 0, 0) == 15);
        const auto g = weighted_values_backward(tensor_of({7}, 1, 1, 1, 1), weights, v, {});
        CHECK(g.d_weights(0, 0, 0, 0) == 35);
        CHECK(g.d_v(0, 0, 0, 0) == 21);
    }
    SUBCASE("empty batch") {
        const auto weights = zeros<double>(0, 4, 3, 3), v = zeros<double>(0, 2, 3, 5);
        const auto out = weighted_values_forward(weights, v, {});
        CHECK(out.dimensions() == zeros<double>(0, 4, 3, 5).dimensions());
        const auto g = weighted_values_backward(out, weights, v, {});
        CHECK(g.d_weights.dimensions() == weights.dimensions());
        CHECK(g.d_v.dimensions() == v.dimensions());
    }
    SUBCASE("views of somebody else's memory") {
        const Problem p;
        const ConstTensorView<double, 4> weights(p.weights.data(), p.weights.dimensions());
        const ConstTensorView<double, 4> v(p.v.data(), p.v.dimensions());
        check_same_bits("out", weighted_values_forward(weights, v, p.mask), p.forward());
        check_same_bits("d_v", weighted_values_backward(p.d_out, weights, v, p.mask).d_v, p.backward().d_v);
    }
}

TEST_CASE("weighted_values: properties") {
    const Problem p;
    const auto out = p.forward();
    const auto g = p.backward();
    SUBCASE("the same bits at any thread count") {
        at_thread_counts([&] {
            check_same_bits("out", p.forward(), out);
            check_same_bits("d_weights", p.backward().d_weights, g.d_weights);
            check_same_bits("d_v", p.backward().d_v, g.d_v);
        });
    }
    SUBCASE("a batch row does not depend on the others") {
        const std::vector<std::vector<Index>> starts{{0, 3}, {0, 2, 5}};
        for (Index b = 0; b < 2; ++b) {
            Problem one{batch_row(p.weights, b), batch_row(p.v, b), batch_row(p.d_out, b), p.mask};
            one.mask.documents = Documents{starts[static_cast<std::size_t>(b)]};
            check_same_bits("out", Tensor<double, 4>(batch_row(out, b)), one.forward());
            check_same_bits("d_weights", Tensor<double, 4>(batch_row(g.d_weights, b)),
                            one.backward().d_weights);
            check_same_bits("d_v", Tensor<double, 4>(batch_row(g.d_v, b)), one.backward().d_v);
        }
    }
    SUBCASE("linear in the values") {
        // Halves are exact: f(a/2 + b/2) differs from f(a)/2 + f(b)/2 by the rounding of a/2 + b/2 and of 7
        // terms.
        Problem other = p, middle = p;
        other.v = random_tensor(4, 2, 2, 7, 3);
        middle.v = 0.5 * p.v + 0.5 * other.v;
        const Tensor<double, 4> halfway = 0.5 * out + 0.5 * other.forward();
        check_agrees("out", middle.forward(), halfway, 1e-14);
    }
    SUBCASE("a weight of one on one key copies its value") {
        auto chosen = zeros_like(p.weights);
        for (Index h = 0; h < 6; ++h)
            chosen(0, h, 6, 3 + h % 4) = 1;  // query 6 of batch row 0 sees keys 3 to 6
        const auto copied = weighted_values_forward(chosen, p.v, p.mask);
        for (Index h = 0; h < 6; ++h)
            for (Index d = 0; d < 3; ++d)
                CHECK(copied(0, h, 6, d) == p.v(0, h / 3, 3 + h % 4, d));
    }
    SUBCASE("a shared value head is the same as copies of it, and its gradient the sum of theirs") {
        auto copies = zeros<double>(2, 6, 7, 3);
        everywhere(copies,
                   [&](Index b, Index h, Index j, Index d) { copies(b, h, j, d) = p.v(b, h / 3, j, d); });
        check_same_bits("out", out, weighted_values_forward(p.weights, copies, p.mask));
        const auto d_copies = weighted_values_backward(p.d_out, p.weights, copies, p.mask).d_v;
        auto sums = zeros_like(p.v);
        everywhere(copies,
                   [&](Index b, Index h, Index j, Index d) { sums(b, h / 3, j, d) += d_copies(b, h, j, d); });
        check_agrees("d_v", g.d_v, sums, 1e-14);  // the same terms in another order
    }
    SUBCASE("float agrees with double at float precision") {
        const auto weights = cast<float>(p.weights), v = cast<float>(p.v), d_out = cast<float>(p.d_out);
        const auto wd = cast<double>(weights), vd = cast<double>(v), d_outd = cast<double>(d_out);
        // A sum of n products: n + 1 roundings of 2^-24 on each term at most. The same operation on absolute
        // values gives the sums of the terms' magnitudes.
        const auto within = [](const char* name, const auto& got, const auto& want, double n,
                               const auto& sizes) {
            const Tensor<double, 0> largest = sizes.maximum();
            const double bound = (n + 1) * 0x1p-24 * largest();
            const auto c = check::compare(name, got, want, {.relative = 0, .absolute = bound});
            CHECK_MESSAGE(c, c.sentence);
        };
        const Tensor<double, 4> w_size = wd.abs(), v_size = vd.abs(), d_out_size = d_outd.abs();
        within("out", weighted_values_forward(weights, v, p.mask), weighted_values_forward(wd, vd, p.mask), 7,
               weighted_values_forward(w_size, v_size, p.mask));
        const auto got = weighted_values_backward(d_out, weights, v, p.mask);
        const auto want = weighted_values_backward(d_outd, wd, vd, p.mask);
        const auto sizes = weighted_values_backward(d_out_size, w_size, v_size, p.mask);
        within("d_weights", got.d_weights, want.d_weights, 3, sizes.d_weights);
        within("d_v", got.d_v, want.d_v, 3 * 7, sizes.d_v);
    }
}

TEST_CASE("weighted_values: properties of NaN and of zero cotangents") {
    const Problem p;
    const auto out = p.forward();
    SUBCASE("hidden weights are not read, whatever they hold, and get gradient 0") {
        Problem bad = p;
        everywhere(bad.weights, [&](Index b, Index h, Index i, Index j) {
            if (!p.mask.keys(b, i, 7).contains(j)) bad.weights(b, h, i, j) = not_a_number;
        });
        check_same_bits("out", bad.forward(), out);
        const auto g = bad.backward();
        check_same_bits("d_weights", g.d_weights, p.backward().d_weights);
        check_same_bits("d_v", g.d_v, p.backward().d_v);
        everywhere(bad.weights, [&](Index b, Index h, Index i, Index j) {
            if (!p.mask.keys(b, i, 7).contains(j)) CHECK(g.d_weights(b, h, i, j) == 0);
        });
    }
    SUBCASE("a NaN value reaches the queries that see its key, and no other") {
        Problem bad = p;
        bad.v(1, 0, 3, 2) = not_a_number;  // batch row 1, document [2, 5): queries 3 and 4 see key 3
        const auto got = bad.forward();
        everywhere(out, [&](Index b, Index h, Index i, Index d) {
            const bool hit = b == 1 && h < 3 && (i == 3 || i == 4) && d == 2;
            CHECK(std::isnan(got(b, h, i, d)) == hit);
            if (!hit) CHECK(got(b, h, i, d) == out(b, h, i, d));
        });
        const auto d_weights = bad.backward().d_weights;
        everywhere(d_weights, [&](Index b, Index h, Index i, Index j) {
            CHECK(std::isnan(d_weights(b, h, i, j)) == (b == 1 && h < 3 && j == 3 && (i == 3 || i == 4)));
        });
    }
    SUBCASE("a NaN weight on a visible key reaches its query's whole row") {
        Problem bad = p;
        bad.weights(0, 4, 5, 3) = not_a_number;
        const auto got = bad.forward();
        everywhere(out, [&](Index b, Index h, Index i, Index d) {
            CHECK(std::isnan(got(b, h, i, d)) == (b == 0 && h == 4 && i == 5));
        });
    }
    SUBCASE("a query whose cotangent is zero passes no NaN on") {
        Problem padded = p;
        for (Index d = 0; d < 3; ++d)
            padded.d_out(0, 4, 5, d) = 0;
        const auto clean = padded.backward();
        padded.weights(0, 4, 5, 3) = not_a_number;
        check_same_bits("d_weights", padded.backward().d_weights, clean.d_weights);
        check_same_bits("d_v", padded.backward().d_v, clean.d_v);
    }
}

TEST_CASE("weighted_values: errors") {
    const auto weights = random_tensor(1, 2, 4, 3, 3), v = random_tensor(2, 2, 2, 3, 5);
    const auto refused = [&](const Tensor<double, 4>& other_v, const char* sentence) {
        CHECK_THROWS_WITH_AS(weighted_values_forward(weights, other_v), sentence, ShapeError);
    };
    refused(zeros<double>(1, 2, 3, 5), "weighted_values: batch of v: got 1, expected 2");
    refused(zeros<double>(2, 2, 4, 5), "weighted_values: keys of v: got 4, expected 3");
    refused(zeros<double>(2, 2, 3, 0), "weighted_values: width of v: got 0, expected at least 1");
    refused(zeros<double>(2, 3, 3, 5),
            "weighted_values: heads of v: got 3, expected a divisor of the 4 heads of weights");
    refused(zeros<double>(2, 0, 3, 5),
            "weighted_values: heads of v: got 0, expected a divisor of the 4 heads of weights");
    const AttentionMask causal, unsorted{MaskRule::none, Documents{std::vector<Index>{1}}};
    CHECK_THROWS_WITH_AS(
        weighted_values_forward(zeros<double>(2, 4, 5, 3), v, causal),
        "weighted_values: got 5 queries and 3 keys, expected equal numbers under a causal mask "
        "or packed documents",
        ShapeError);
    CHECK_THROWS_WITH_AS(weighted_values_forward(weights, v, unsorted),
                         "weighted_values: document starts: got [1], expected a list that begins with 0",
                         ValueError);
    CHECK_THROWS_WITH_AS(weighted_values_backward(zeros<double>(2, 4, 3, 4), weights, v),
                         "weighted_values: d_out: got shape [2, 4, 3, 4], expected shape [2, 4, 3, 5]",
                         ShapeError);
    CHECK_THROWS_AS(weighted_values_backward(zeros<double>(2, 4, 3, 5), weights, v, unsorted), ValueError);
}
}  // namespace mta_test_weighted_values
