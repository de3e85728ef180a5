// Answer errors: how many predicted tokens, and how many whole answers, are wrong.
// SPDX-License-Identifier: MIT
//
// Source   The token and sequence errors of arXiv:2504.00927, Sec. 4.1, on teacher-forced predictions: every token is
//          predicted from the right ones before it.
// Right    A token is right when its logit is larger than every other one; a sequence when all its tokens that
//          count (mask not 0) are.
// Shapes   logits: (B, S, V)    targets: (B, S), any integer type    mask: (B, S)
// Traps    1. A tie is wrong: a model whose logits are all equal must not pass. A row with a NaN is wrong too.
//          2. Rows whose mask is all 0 are no sequences: they are not counted.
//          3. Logits where the mask is 0 are not read.
// Errors   ShapeError: targets or mask. ValueError: a target outside 0..V-1 that counts.
#pragma once

#include <array>
#include <mta/core/require.hpp>
#include <mta/core/tensor.hpp>
#include <type_traits>
#include <utility>

namespace mta {

/// Counts of one batch or, added up, of many.
struct AnswerErrors {
    Index token_errors = 0, tokens = 0;  // where the mask is not 0
    Index sequence_errors = 0, sequences = 0;

    /// Shares between 0 and 1; NaN when nothing was counted.
    double token_error() const { return static_cast<double>(token_errors) / static_cast<double>(tokens); }
    double sequence_error() const {
        return static_cast<double>(sequence_errors) / static_cast<double>(sequences);
    }

    AnswerErrors& operator+=(const AnswerErrors& other) {
        token_errors += other.token_errors;
        tokens += other.tokens;
        sequence_errors += other.sequence_errors;
        sequences += other.sequences;
        return *this;
    }
};

namespace detail {

// Whether logit y is larger than all others; comparisons with NaN are false.
template <class Row>
bool is_largest(Row logits, std::size_t y) {
    for (std::size_t v = 0; v < logits.size(); ++v)
        if (v != y && !(logits[y] > logits[v])) return false;
    return logits[y] == logits[y];
}

}  // namespace detail

/// Judges the prediction at every position that counts.
template <TensorOf<3> Logits, TensorOf<2> Targets, TensorOf<2> Mask>
AnswerErrors answer_errors(const Logits& logits, const Targets& targets, const Mask& mask) {
    static_assert(std::is_integral_v<ScalarOf<Targets>>, "answer_errors: targets must be integers");
    const Index B = logits.dimension(0), S = logits.dimension(1), V = logits.dimension(2);
    require_same_shape("answer_errors: targets", targets.dimensions(), std::array<Index, 2>{B, S});
    require_same_shape("answer_errors: mask", mask.dimensions(), std::array<Index, 2>{B, S});
    AnswerErrors errors;
    for (Index b = 0; b < B; ++b) {
        const AnswerErrors before = errors;
        for (Index s = 0; s < S; ++s) {
            if (mask(b, s) == 0) continue;
            const auto target = +targets(b, s);
            require<ValueError>(std::cmp_greater_equal(target, 0) && std::cmp_less(target, V),
                                "answer_errors: targets[", b, ", ", s, "]: got ", target,
                                ", expected from 0 to below the vocabulary size ", V);
            errors.tokens += 1;
            if (!detail::is_largest(row(logits, b, s), static_cast<std::size_t>(target)))
                errors.token_errors += 1;
        }
        if (errors.tokens > before.tokens) errors.sequences += 1;
        if (errors.token_errors > before.token_errors) errors.sequence_errors += 1;
    }
    return errors;
}

}  // namespace mta
