// Key-query convolution against hand values, torch's conv2d, three witnesses of its gradients, and its promises.
// SPDX-License-Identifier: MIT
#include <mta/ops/key_query_conv.hpp>

#include "support/checks.hpp"
#include "support/golden.hpp"
#include "support/tensors.hpp"

namespace mta_test_key_query_conv {
using namespace mta;
using namespace mta::test;

namespace {

using Config = KeyQueryConvConfig;
using Params = KeyQueryConvParams<double>;

Documents documents_of(std::vector<std::vector<Index>> starts) {
    return Documents{std::move(starts)};
}

constexpr Config exact_both{KeyPadding::both, TapRule::not_after_query};

struct Case {
    std::string name;
    Config config = {};
    Documents documents = {};
};
const std::vector<Case> golden_cases{
    {"both"},
    {"both_even_queries"},
    {"left_even", {KeyPadding::left, TapRule::all}},
    {"left_odd", {KeyPadding::left, TapRule::all}},
    {"right_even", {KeyPadding::right, TapRule::all}},
    {"right_odd", {KeyPadding::right, TapRule::all}},
    {"exact_both", exact_both},
    {"exact_left", {KeyPadding::left, TapRule::not_after_query}},
    {"exact_right", {KeyPadding::right, TapRule::not_after_query}},
    {"documents", {}, documents_of({{0, 3, 4}, {0, 5}})},
    {"documents_left", {KeyPadding::left, TapRule::all}, documents_of({{0, 2}})},
    {"documents_exact", exact_both, documents_of({{0, 3, 4}, {0, 5}})},
    {"longer_than_sequence"},
    {"one_token"},
};

// Two batch rows of three heads and 7 tokens, a 3 x 5 kernel, two documents in each row.
struct Problem {
    Tensor<double, 4> scores = random_tensor(1, 2, 3, 7, 7), d_out = random_tensor(2, 2, 3, 7, 7);
    Params params{random_tensor(3, 3, 3, 5)};
    Config config{};
    Documents documents = documents_of({{0, 3}, {0, 5}});

    auto forward() const { return key_query_conv_forward(scores, params, config, documents); }
    auto backward() const { return key_query_conv_backward(d_out, scores, params, config, documents); }
};

}  // namespace

TEST_CASE("key_query_conv: hand values") {
    const auto scores = tensor_of({1, 2, 3, 4, 5, 6, 7, 8, 9}, 1, 1, 3, 3);
    const Params params{tensor_of({1, 2, 3, 4, 5, 6}, 1, 2, 3)};
    SUBCASE("padding both: the upper kernel row reads the query above, the middle column the key itself") {
        // row 0: 5*1+6*2 = 17, 4*1+5*2+6*3 = 32, 4*2+5*3 = 23
        // row 1: (2*1+3*2) + (5*4+6*5) = 58, (1*1+2*2+3*3) + (4*4+5*5+6*6) = 91, (1*2+2*3) + (4*5+5*6) = 58
        // row 2: (2*4+3*5) + (5*7+6*8) = 106, (4+10+18) + (28+40+54) = 154, (5+12) + (32+45) = 94
        check_same_bits("out", key_query_conv_forward(scores, params),
                        tensor_of({17, 32, 23, 58, 91, 58, 106, 154, 94}, 1, 1, 3, 3));
    }
    SUBCASE("not after query: keys after i count as 0 in row i, also in the row above it") {
        // row 0, key 0 only: 5*1 = 5, 4*1 = 4, 0
        // row 1, keys 0 and 1: (2*1+3*2) + (5*4+6*5) = 58, (1*1+2*2) + (4*4+5*5) = 46, 1*2 + 4*5 = 22
        check_same_bits("out", key_query_conv_forward(scores, params, exact_both),
                        tensor_of({5, 4, 0, 58, 46, 22, 106, 154, 94}, 1, 1, 3, 3));
    }
    SUBCASE("documents of one and two tokens: (1) and (5 6; 8 9) are matrices of their own") {
        // 5*1 = 5;  row 1: 5*5+6*6 = 61, 4*5+5*6 = 50
        // row 2: (2*5+3*6) + (5*8+6*9) = 122, (1*5+2*6) + (4*8+5*9) = 94
        check_same_bits("out", key_query_conv_forward(scores, params, {}, documents_of({{0, 1}})),
                        tensor_of({5, 0, 0, 0, 61, 50, 0, 122, 94}, 1, 1, 3, 3));
    }
    SUBCASE("paddings left and right of the kernel (10, 1)") {
        const auto one_row = tensor_of({1, 2, 3}, 1, 1, 1, 3);
        const Params pair{tensor_of({10, 1}, 1, 1, 2)};
        // left: 10*0+1, 10*1+2, 10*2+3;  right: 10*1+2, 10*2+3, 10*3+0
        check_same_bits("left", key_query_conv_forward(one_row, pair, {KeyPadding::left, TapRule::all}),
                        tensor_of({1, 12, 23}, 1, 1, 1, 3));
        check_same_bits("right", key_query_conv_forward(one_row, pair, {KeyPadding::right, TapRule::all}),
                        tensor_of({12, 23, 30}, 1, 1, 1, 3));
    }
    SUBCASE("backward: d_out is 1 at (1, 0) and 2 at (2, 2)") {
        const auto g =
            key_query_conv_backward(tensor_of({0, 0, 0, 1, 0, 0, 0, 0, 2}, 1, 1, 3, 3), scores, params);
        // (1, 0) reads keys 0 and 1 of rows 0 and 1 through columns 1 and 2: 2 3 / 5 6
        // (2, 2) reads keys 1 and 2 of rows 1 and 2 through columns 0 and 1, twice: 2*1 2*2 / 2*4 2*5
        check_same_bits("d_scores", g.d_scores, tensor_of({2, 3, 0, 5, 6 + 2, 4, 0, 8, 10}, 1, 1, 3, 3));
        // columns 1 and 2 get the scores 1 2 / 4 5; columns 0 and 1 get twice 5 6 / 8 9
        check_same_bits("d_kernel", g.d_params.kernel, tensor_of({10, 1 + 12, 2, 16, 4 + 18, 5}, 1, 2, 3));
    }
}

TEST_CASE("key_query_conv: independent values") {
    const Golden golden("ops/key_query_conv");
    for (const Case& test : golden_cases) {
        INFO("case ", test.name);
        const auto value = [&](const char* what) { return golden.tensor<4>(test.name + "." + what); };
        const auto scores = value("scores");
        const Params params{golden.tensor<3>(test.name + ".kernel")};
        const auto out = key_query_conv_forward(scores, params, test.config, test.documents);
        check_agrees("out", out, value("out"), 1e-13);
        const auto g = key_query_conv_backward(value("d_out"), scores, params, test.config, test.documents);
        check_agrees("d_scores", g.d_scores, value("d_scores"), 1e-13);
        check_agrees("d_kernel", g.d_params.kernel, golden.tensor<3>(test.name + ".d_kernel"), 1e-13);
    }
}

TEST_CASE("key_query_conv: complex step and adjoint") {
    Problem p;
    for (const TapRule rule : {TapRule::all, TapRule::not_after_query})
        for (const KeyPadding padding : {KeyPadding::both, KeyPadding::left, KeyPadding::right})
            for (const Documents& documents : {p.documents, Documents{}}) {
                const Config config{padding, rule};
                const auto g = key_query_conv_backward(p.d_out, p.scores, p.params, config, documents);
                check_gradient("d_scores", p.d_out, p.scores, g.d_scores, [&](const auto& scores) {
                    const auto params = cast_params<ScalarOf<decltype(scores)>>(p.params);
                    return key_query_conv_forward(scores, params, config, documents);
                });
                check_parameter_gradients(p.d_out, p.params, g.d_params, [&](const auto& params) {
                    const auto scores = cast<ScalarOf<decltype(params.kernel)>>(p.scores);
                    return key_query_conv_forward(scores, params, config, documents);
                });
            }
}

TEST_CASE("key_query_conv: edge shapes") {
    SUBCASE("one token meets the one tap on itself") {
        const auto scores = tensor_of({7}, 1, 1, 1, 1);
        const Params params{tensor_of({1, 2, 3, 4, 5, 6}, 1, 2, 3)};
        CHECK(key_query_conv_forward(scores, params)(0, 0, 0, 0) == 5 * 7);
        const auto g = key_query_conv_backward(tensor_of({3}, 1, 1, 1, 1), scores, params);
        CHECK(g.d_scores(0, 0, 0, 0) == 3 * 5);
        check_same_bits("d_kernel", g.d_params.kernel, tensor_of({0, 0, 0, 0, 3 * 7, 0}, 1, 2, 3));
    }
    SUBCASE("empty batch") {
        const auto scores = zeros<double>(0, 3, 4, 4);
        const Params params{random_tensor(1, 3, 2, 3)};
        CHECK(key_query_conv_forward(scores, params).dimensions() == scores.dimensions());
        const auto g = key_query_conv_backward(scores, scores, params);
        CHECK(g.d_scores.dimensions() == scores.dimensions());
        check_same_bits("d_kernel", g.d_params.kernel, zeros<double>(3, 2, 3));
    }
    SUBCASE("a kernel of one tap scales each head") {
        const auto scores = random_tensor(4, 2, 3, 4, 5);
        const Params params{tensor_of({2, -0.5, 4}, 3, 1, 1)};
        const auto out = key_query_conv_forward(scores, params);
        everywhere(scores, [&](Index b, Index h, Index i, Index j) {
            CHECK(out(b, h, i, j) == params.kernel(h, 0, 0) * scores(b, h, i, j));
        });
    }
}

TEST_CASE("key_query_conv: errors") {
    const auto scores = zeros<double>(2, 3, 4, 5);
    const auto refused = [&](const Tensor<double, 3>& kernel, Config config, const char* sentence) {
        CHECK_THROWS_WITH_AS(key_query_conv_forward(scores, Params{kernel}, config), sentence, ShapeError);
        CHECK_THROWS_WITH_AS(key_query_conv_backward(scores, scores, Params{kernel}, config), sentence,
                             ShapeError);
    };
    refused(zeros<double>(2, 2, 3), {}, "key_query_conv: heads of kernel: got 2, expected 3");
    refused(zeros<double>(3, 0, 3), {}, "key_query_conv: kernel extents must be at least 1, got 0 x 3");
    refused(zeros<double>(3, 2, 0), {KeyPadding::left, TapRule::all},
            "key_query_conv: kernel extents must be at least 1, got 2 x 0");
    refused(zeros<double>(3, 2, 4), {}, "key_query_conv: key padding `both` needs an odd key extent, got 4");
    refused(zeros<double>(3, 2, 3), exact_both,
            "key_query_conv: got 4 queries and 5 keys, expected equal numbers with packed documents or taps "
            "`not_after_query`");
    const Params params{zeros<double>(3, 2, 3)};
    const auto square = zeros<double>(2, 3, 4, 4);
    CHECK_THROWS_WITH_AS(key_query_conv_forward(square, params, {}, documents_of({{0, 2, 1}})),
                         "key_query_conv: document starts: got [0, 2, 1], expected strictly increasing",
                         ValueError);
    CHECK_THROWS_WITH_AS(key_query_conv_backward(square, scores, params),
                         "key_query_conv: d_out: got shape [2, 3, 4, 4], expected shape [2, 3, 4, 5]",
                         ShapeError);
}
}  // namespace mta_test_key_query_conv
