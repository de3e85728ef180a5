// The two causal masks against hand values, PyTorch, three witnesses of their gradients, and their promises.
// SPDX-License-Identifier: MIT
#include <mta/core/numeric.hpp>
#include <mta/ops/causal_mask.hpp>

#include "support/checks.hpp"
#include "support/golden.hpp"
#include "support/tensors.hpp"
#include "support/threads.hpp"

namespace mta_test_causal_mask {
using namespace mta;
using namespace mta::test;

namespace {

const std::vector<std::vector<Index>> starts{{0, 3}, {0, 1, 5}};  // of 7 tokens, two batch rows
const Documents packed{starts};

struct Case {
    std::string name;
    AttentionMask mask;
};
const std::vector<Case> golden_cases{
    {"causal", {MaskRule::twice, {}}},
    {"causal", {MaskRule::exact, {}}},
    {"documents", {MaskRule::twice, packed}},
    {"documents", {MaskRule::exact, packed}},
    {"encoder_documents", {MaskRule::none, Documents{std::vector<Index>{0, 2}}}},
    {"encoder", {MaskRule::none, {}}},
};
const std::vector<AttentionMask> masks{
    {MaskRule::twice, {}}, {MaskRule::exact, packed}, {MaskRule::none, packed}};

}  // namespace

TEST_CASE("causal_mask: hand values") {
    const auto scores = tensor_of({1, 2, 3, 4, 5, 6, 7, 8, 9}, 1, 1, 3, 3);
    const auto d_out = tensor_of({10, 20, 30, 40, 50, 60, 70, 80, 90}, 1, 1, 3, 3);
    SUBCASE("causal: keys up to the query itself stay") {
        for (const MaskRule rule : {MaskRule::twice, MaskRule::exact}) {
            const AttentionMask mask{rule, {}};
            const auto kept_d_out = tensor_of({10, 0, 0, 40, 50, 0, 70, 80, 90}, 1, 1, 3, 3);
            check_same_bits("zero", causal_mask_zero_forward(scores, mask),
                            tensor_of({1, 0, 0, 4, 5, 0, 7, 8, 9}, 1, 1, 3, 3));
            check_same_bits("inf", causal_mask_inf_forward(scores, mask),
                            tensor_of({1, -infinity, -infinity, 4, 5, -infinity, 7, 8, 9}, 1, 1, 3, 3));
            check_same_bits("d zero", causal_mask_zero_backward(d_out, scores, mask).d_scores, kept_d_out);
            check_same_bits("d inf", causal_mask_inf_backward(d_out, scores, mask).d_scores, kept_d_out);
        }
    }
    SUBCASE("documents of one and two tokens: key 0 is hidden from queries 1 and 2") {
        const AttentionMask mask{MaskRule::twice, Documents{std::vector<Index>{0, 1}}};
        check_same_bits("zero", causal_mask_zero_forward(scores, mask),
                        tensor_of({1, 0, 0, 0, 5, 0, 0, 8, 9}, 1, 1, 3, 3));
    }
    SUBCASE("none: both keys of the second document, whatever their order") {
        const AttentionMask mask{MaskRule::none, Documents{std::vector<Index>{0, 1}}};
        check_same_bits("zero", causal_mask_zero_forward(scores, mask),
                        tensor_of({1, 0, 0, 0, 5, 6, 0, 8, 9}, 1, 1, 3, 3));
        check_same_bits("all", causal_mask_inf_forward(scores, {MaskRule::none, {}}), scores);
    }
}

TEST_CASE("causal_mask: independent values") {
    const Golden golden("ops/causal_mask");
    for (const Case& test : golden_cases) {
        INFO("case ", test.name);
        const auto value = [&](const char* what) { return golden.tensor<4>(test.name + "." + what); };
        const AttentionMask& mask = test.mask;
        const auto scores = value("scores"), d_out = value("d_out"), hidden = value("hidden");
        check_same_bits("zero", causal_mask_zero_forward(scores, mask), value("out"));
        const auto zero = causal_mask_zero_backward(d_out, scores, mask);
        const auto inf = causal_mask_inf_backward(d_out, scores, mask);
        check_same_bits("d zero", zero.d_scores, value("d_scores"));
        check_same_bits("d inf", inf.d_scores, value("d_scores"));
        auto want = scores;
        for (Index n = 0; n < want.size(); ++n)
            if (hidden.data()[n] == 1) want.data()[n] = -infinity;
        check_same_bits("inf", causal_mask_inf_forward(scores, mask), want);
    }
}

TEST_CASE("causal_mask: complex step and adjoint") {
    const auto scores = random_tensor(1, 2, 3, 7, 7), d_out = random_tensor(2, 2, 3, 7, 7);
    for (const auto& mask : masks) {
        check_gradient("d zero", d_out, scores, causal_mask_zero_backward(d_out, scores, mask).d_scores,
                       [&](const auto& x) { return causal_mask_zero_forward(x, mask); });
        // Differences of -infinity are NaN, so the -infinities are replaced by a constant: no gradient
        // changes.
        check_gradient("d inf", d_out, scores, causal_mask_inf_backward(d_out, scores, mask).d_scores,
                       [&](const auto& x) {
                           auto out = causal_mask_inf_forward(x, mask);
                           for (auto& element : elements(out))
                               if (real_part(element) == -infinity) element = -1;
                           return out;
                       });
    }
}

TEST_CASE("causal_mask: edge shapes") {
    SUBCASE("one token sees itself") {
        const auto scores = tensor_of({3}, 1, 1, 1, 1);
        check_same_bits("zero", causal_mask_zero_forward(scores, {}), scores);
        check_same_bits("inf", causal_mask_inf_forward(scores, {}), scores);
        check_same_bits("d inf", causal_mask_inf_backward(scores, scores, {}).d_scores, scores);
    }
    SUBCASE("empty batch") {
        const auto scores = zeros<double>(0, 2, 3, 3);
        CHECK(causal_mask_zero_forward(scores, {}).dimensions() == scores.dimensions());
        CHECK(causal_mask_inf_forward(scores, {}).dimensions() == scores.dimensions());
        CHECK(causal_mask_inf_backward(scores, scores, {}).d_scores.dimensions() == scores.dimensions());
    }
    SUBCASE("views, and float: the same selection") {
        const auto scores = random_tensor(3, 2, 3, 7, 7);
        const ConstTensorView<double, 4> view(scores.data(), scores.dimensions());
        check_same_bits("view", causal_mask_inf_forward(view, masks[1]),
                        causal_mask_inf_forward(scores, masks[1]));
        const auto in_float = cast<float>(scores);
        check_same_bits("zero", causal_mask_zero_forward(in_float, masks[1]),
                        cast<float>(causal_mask_zero_forward(scores, masks[1])));
        check_same_bits("inf", causal_mask_inf_forward(in_float, masks[1]),
                        cast<float>(causal_mask_inf_forward(scores, masks[1])));
    }
}

TEST_CASE("causal_mask: properties") {
    const auto scores = random_tensor(4, 2, 3, 7, 7), d_out = random_tensor(5, 2, 3, 7, 7);
    const AttentionMask mask{MaskRule::twice, packed};
    const auto zero = causal_mask_zero_forward(scores, mask), inf = causal_mask_inf_forward(scores, mask);
    SUBCASE("the same bits at any thread count") {
        const auto d_scores = causal_mask_inf_backward(d_out, scores, mask).d_scores;
        at_thread_counts([&] {
            check_same_bits("zero", causal_mask_zero_forward(scores, mask), zero);
            check_same_bits("inf", causal_mask_inf_forward(scores, mask), inf);
            check_same_bits("d inf", causal_mask_inf_backward(d_out, scores, mask).d_scores, d_scores);
        });
    }
    SUBCASE("a batch row does not depend on the others") {
        for (std::size_t b = 0; b < 2; ++b) {
            const AttentionMask alone{MaskRule::twice, Documents{starts[b]}};
            const auto at = static_cast<Index>(b);
            check_same_bits("zero", batch_row(zero, at),
                            causal_mask_zero_forward(batch_row(scores, at), alone));
            check_same_bits("inf", batch_row(inf, at), causal_mask_inf_forward(batch_row(scores, at), alone));
        }
    }
    SUBCASE("masking twice is masking once") {
        check_same_bits("zero", causal_mask_zero_forward(zero, mask), zero);
        check_same_bits("inf", causal_mask_inf_forward(inf, mask), inf);
        check_same_bits("inf of zero", causal_mask_inf_forward(zero, mask), inf);
        check_same_bits("zero of inf", causal_mask_zero_forward(inf, mask), zero);
    }
    SUBCASE("hidden NaN and infinity vanish, in values and in cotangents; visible ones stay") {
        auto bad = scores, bad_d_out = d_out;
        bad(0, 1, 2, 3) = not_a_number, bad_d_out(0, 1, 2, 3) = not_a_number;  // the next document's key
        bad(1, 2, 2, 4) = infinity, bad_d_out(1, 2, 2, 4) = infinity;          // a later key
        check_same_bits("zero", causal_mask_zero_forward(bad, mask), zero);
        check_same_bits("inf", causal_mask_inf_forward(bad, mask), inf);
        check_same_bits("d zero", causal_mask_zero_backward(bad_d_out, bad, mask).d_scores,
                        causal_mask_zero_backward(d_out, scores, mask).d_scores);
        bad(1, 0, 4, 2) = not_a_number;
        CHECK(std::isnan(causal_mask_zero_forward(bad, mask)(1, 0, 4, 2)));
        CHECK(std::isnan(causal_mask_inf_forward(bad, mask)(1, 0, 4, 2)));
    }
    SUBCASE("a NaN score does not reach the gradients") {
        auto bad = scores;
        bad.setConstant(not_a_number);
        check_same_bits("d zero", causal_mask_zero_backward(d_out, bad, mask).d_scores,
                        causal_mask_zero_backward(d_out, scores, mask).d_scores);
    }
}

TEST_CASE("causal_mask: errors") {
    const auto scores = zeros<double>(2, 3, 4, 5);
    const char* const unequal =
        "causal_mask: got 4 queries and 5 keys, expected equal numbers under a causal mask or packed "
        "documents";
    CHECK_THROWS_WITH_AS(causal_mask_zero_forward(scores, {}), unequal, ShapeError);
    CHECK_THROWS_WITH_AS(causal_mask_inf_forward(scores, {}), unequal, ShapeError);
    CHECK_THROWS_WITH_AS(causal_mask_zero_backward(scores, scores, {}), unequal, ShapeError);
    CHECK_THROWS_WITH_AS(causal_mask_inf_backward(scores, scores, {}), unequal, ShapeError);
    const auto square = zeros<double>(2, 3, 4, 4);
    const AttentionMask unsorted{MaskRule::twice, Documents{std::vector<Index>{0, 3, 2}}};
    CHECK_THROWS_WITH_AS(causal_mask_zero_forward(square, unsorted),
                         "causal_mask: document starts: got [0, 3, 2], expected strictly increasing",
                         ValueError);
    const char* const unlike = "causal_mask: d_out: got shape [2, 3, 4, 5], expected shape [2, 3, 4, 4]";
    CHECK_THROWS_WITH_AS(causal_mask_zero_backward(scores, square, {}), unlike, ShapeError);
    CHECK_THROWS_WITH_AS(causal_mask_inf_backward(scores, square, {}), unlike, ShapeError);
}
}  // namespace mta_test_causal_mask
