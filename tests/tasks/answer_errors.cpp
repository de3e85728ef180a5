// Answer errors: who counts, ties, NaN, sums over batches.
// SPDX-License-Identifier: MIT
#include <cmath>
#include <cstdint>
#include <mta/tasks/answer_errors.hpp>

#include "support/checks.hpp"
#include "support/tensors.hpp"

namespace mta_test_answer_errors {
using namespace mta;
using namespace mta::test;

namespace {

template <class Value>
Tensor<Value, 2> table(Index B, Index S, std::initializer_list<int> values) {
    Tensor<Value, 2> t(B, S);
    std::transform(values.begin(), values.end(), t.data(), [](int v) { return static_cast<Value>(v); });
    return t;
}

// Whether the answer `target` to one row of logits is judged right.
bool is_right(std::initializer_list<double> logits, int target) {
    const auto errors = answer_errors(tensor_of(logits, 1, 1, logits.size()), table<int>(1, 1, {target}),
                                      table<float>(1, 1, {1}));
    CHECK(errors.tokens == 1);
    CHECK(errors.sequences == 1);
    CHECK(errors.sequence_errors == errors.token_errors);
    return errors.token_errors == 0;
}

void check_counts(const AnswerErrors& e, Index token_errors, Index tokens, Index sequence_errors,
                  Index sequences) {
    CHECK(e.token_errors == token_errors);
    CHECK(e.tokens == tokens);
    CHECK(e.sequence_errors == sequence_errors);
    CHECK(e.sequences == sequences);
}

}  // namespace

TEST_CASE("answer_errors: hand values") {
    // Three sequences of three tokens over two words; the largest logits are 1 0 1 | 0 0 1 | 1 1 0.
    const auto logits = tensor_of({0, 1, 3, 2, -5, -4, 1, 0, 0, -1, 2, 3, 0, 7, 0, 7, 7, 0}, 3, 3, 2);
    const auto targets = table<std::int32_t>(3, 3, {1, 0, 1, 0, 1, 0, 0, 1, 0});
    check_counts(answer_errors(logits, targets, table<float>(3, 3, {1, 1, 1, 1, 1, 1, 1, 1, 1})), 3, 9, 2, 3);
    // A right sequence after a wrong one is right.
    const auto first_wrong = table<std::int32_t>(3, 3, {0, 0, 1, 0, 0, 1, 1, 1, 0});
    check_counts(answer_errors(logits, first_wrong, table<float>(3, 3, {1, 1, 1, 1, 1, 1, 1, 1, 1})), 1, 9, 1,
                 3);
    // Masked: the first token of all, the errors of sequence 1; weights other than 1 count once.
    const auto masked = answer_errors(logits, targets, table<float>(3, 3, {0, 1, 3, 1, 0, 0, 0, 1, 1}));
    check_counts(masked, 0, 5, 0, 3);
    CHECK(masked.token_error() == 0);
    // A row that does not count at all is no sequence.
    const auto two = answer_errors(logits, targets, table<double>(3, 3, {1, 1, 1, 0, 0, 0, 1, 1, 1}));
    check_counts(two, 1, 6, 1, 2);
    CHECK(two.token_error() == 1. / 6);
    CHECK(two.sequence_error() == 0.5);
    // Batches add up.
    auto sum = two;
    sum += masked;
    check_counts(sum, 1, 11, 1, 5);
}

TEST_CASE("answer_errors: only the strictly largest logit is right") {
    CHECK(is_right({0, 2, 1}, 1));
    CHECK(!is_right({0, 2, 1}, 2));
    CHECK(is_right({-3, -4, -5}, 0));
    CHECK(is_right({1, 2, 3}, 2));
    // Ties, wherever the target stands: a model that says nothing is never right.
    for (const int target : {0, 1, 2}) {
        CHECK(!is_right({0, 0, 0}, target));
        CHECK(!is_right({5, 5, 5}, target));
        CHECK(!is_right({infinity, infinity, infinity}, target));
        CHECK(!is_right({-infinity, -infinity, -infinity}, target));
        CHECK(!is_right({not_a_number, not_a_number, not_a_number}, target));
    }
    CHECK(!is_right({2, 2, 1}, 0));
    CHECK(!is_right({2, 2, 1}, 1));
    // NaN in the target's place, before it, behind it.
    CHECK(!is_right({0, not_a_number, 1}, 1));
    CHECK(!is_right({not_a_number, 2, 1}, 1));
    CHECK(!is_right({0, 2, not_a_number}, 1));
    // Infinities are numbers.
    CHECK(is_right({0, infinity, -infinity}, 1));
    CHECK(!is_right({0, infinity, 1}, 2));
    // One word: right, unless it is NaN.
    CHECK(is_right({-1}, 0));
    CHECK(!is_right({not_a_number}, 0));
}

TEST_CASE("answer_errors: what is masked is not read") {
    auto logits = tensor_of({0, 1, 0, 1}, 1, 2, 2);
    logits(0, 0, 0) = logits(0, 0, 1) = not_a_number;
    check_counts(answer_errors(logits, table<int>(1, 2, {-100, 1}), table<float>(1, 2, {0, 1})), 0, 1, 0, 1);
    const auto nothing = answer_errors(logits, table<int>(1, 2, {-100, 99}), table<float>(1, 2, {0, 0}));
    check_counts(nothing, 0, 0, 0, 0);
    CHECK(std::isnan(nothing.token_error()));
    CHECK(std::isnan(nothing.sequence_error()));
    const auto empty = answer_errors(Tensor<float, 3>(0, 2, 2), Tensor<int, 2>(0, 2), Tensor<float, 2>(0, 2));
    check_counts(empty, 0, 0, 0, 0);
    // float logits, views, small integers.
    const Tensor<float, 3> narrow = cast<float>(tensor_of({3, 1, 2, 4}, 1, 2, 2));
    const ConstTensorView<float, 3> view(narrow.data(), 1, 2, 2);
    check_counts(answer_errors(view, table<std::int8_t>(1, 2, {0, 0}), table<int>(1, 2, {1, 1})), 1, 2, 1, 1);
}

TEST_CASE("answer_errors: errors") {
    const auto logits = zeros<double>(2, 3, 4);
    const auto targets = table<int>(2, 3, {0, 1, 2, 3, 4, 5});
    const auto ones = table<float>(2, 3, {1, 1, 1, 1, 1, 1});
    CHECK_THROWS_WITH_AS(answer_errors(logits, table<int>(1, 3, {0, 0, 0}), ones),
                         "answer_errors: targets: got shape [1, 3], expected shape [2, 3]", ShapeError);
    CHECK_THROWS_WITH_AS(answer_errors(logits, targets, table<float>(3, 2, {1, 1, 1, 1, 1, 1})),
                         "answer_errors: mask: got shape [3, 2], expected shape [2, 3]", ShapeError);
    CHECK_THROWS_WITH_AS(
        answer_errors(logits, targets, ones),
        "answer_errors: targets[1, 1]: got 4, expected from 0 to below the vocabulary size 4", ValueError);
    CHECK_THROWS_WITH_AS(
        answer_errors(logits, table<std::int8_t>(2, 3, {0, 0, -1, 0, 0, 0}), ones),
        "answer_errors: targets[0, 2]: got -1, expected from 0 to below the vocabulary size 4", ValueError);
}
}  // namespace mta_test_answer_errors
