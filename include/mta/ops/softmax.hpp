// Softmax over the last axis: scores of a query become weights that are positive and sum to 1.
// SPDX-License-Identifier: MIT
//
// Source    Multi-Token Attention, arXiv:2504.00927, Eq. 5.
// Forward   out[n] = exp(scores[n] - m) / sum_k exp(scores[k] - m), m the row's maximum; the sum runs in
//           order over the entries that are not -inf.
// Backward  with d_x = dLoss/dx and A = out, over the same entries:
//           d_scores[n] = A[n] * (d_out[n] - sum_k A[k] d_out[k])
// Shapes    scores, out: (..., N), any rank; every row along the last axis on its own
// Units     scores: nats; out: probabilities.
// Traps     1. -inf marks a masked entry. It is selected, not computed: vectorised exp(-inf) need not be 0.
//              Masked entries are exactly 0, forward and backward, whatever stands in d_out there.
//           2. A row of -inf only has no answer and is NaN. So are the entries of a row that holds NaN or
//              +inf, except the masked ones.
//           3. Backward needs forward's result: pass it as `weights`. rowsum(dO * O), FlashAttention's form
//              of the inner sum, is wrong once anything mixes the weights afterwards.
// Errors    ShapeError: rows of no entries; d_out or weights not shaped like scores.
#pragma once

#include <cmath>
#include <limits>
#include <mta/core/numeric.hpp>
#include <mta/core/parallel.hpp>
#include <mta/core/require.hpp>
#include <mta/core/tensor.hpp>

namespace mta {

/// One d_ member per differentiable argument of forward.
template <class Scalar, int Rank>
struct SoftmaxGrads {
    Tensor<Scalar, Rank> d_scores;  // (..., N)
};

namespace detail {
template <class In, class Out>
void softmax_row(In scores, Out out) {
    using Scalar = typename Out::value_type;
    using Real = RealOf<Scalar>;
    const Real maximum = row_maximum(scores);
    if (is_masked(maximum)) {
        for (auto& x : out)
            x = std::numeric_limits<Real>::quiet_NaN();
        return;
    }
    Scalar sum{0};
    for (std::size_t n = 0; n < out.size(); ++n) {
        if (is_masked(scores[n])) continue;
        out[n] = std::exp(scores[n] - maximum);
        sum += out[n];
    }
    for (std::size_t n = 0; n < out.size(); ++n)
        if (!is_masked(scores[n])) out[n] /= sum;
}
}  // namespace detail

/// Returns the weights, shaped like scores.
template <AnyTensor Scores>
auto softmax_forward(const Scores& scores) -> TensorLike<Scores> {
    static_assert(rank_of<Scores> >= 1, "softmax: scores need an axis");
    require(scores.dimension(rank_of<Scores> - 1) > 0, "softmax: scores: got shape ", scores.dimensions(),
            ", expected at least 1 entry along the last axis");
    auto out = zeros_like(scores);
    parallel_for(row_count(scores),
                 [&](Index r) { detail::softmax_row(nth_row(scores, r), nth_row(out, r)); });
    return out;
}

/// Takes d_out, then forward's argument and forward's result. Returns a fresh gradient.
template <AnyTensor Out, AnyTensor Scores, AnyTensor Weights>
auto softmax_backward(const Out& d_out, const Scores& scores, const Weights& weights)
    -> SoftmaxGrads<ScalarOf<Scores>, rank_of<Scores>> {
    static_assert(std::is_same_v<ScalarOf<Out>, ScalarOf<Scores>>, "softmax: d_out holds another scalar");
    require_same_shape("softmax: d_out", d_out.dimensions(), scores.dimensions());
    require_same_shape("softmax: weights", weights.dimensions(), scores.dimensions());
    require(scores.dimension(rank_of<Scores> - 1) > 0, "softmax: scores: got shape ", scores.dimensions(),
            ", expected at least 1 entry along the last axis");
    SoftmaxGrads<ScalarOf<Scores>, rank_of<Scores>> g{zeros_like(scores)};
    parallel_for(row_count(scores), [&](Index r) {
        const auto in_row = nth_row(scores, r);
        const auto weight_row = nth_row(weights, r);
        const auto d_out_row = nth_row(d_out, r);
        auto d_in_row = nth_row(g.d_scores, r);
        if (all_zero(d_out_row)) return;
        ScalarOf<Scores> mean{0};  // of d_out under the weights
        for (std::size_t n = 0; n < in_row.size(); ++n)
            if (!is_masked(in_row[n])) mean += weight_row[n] * d_out_row[n];
        for (std::size_t n = 0; n < in_row.size(); ++n)
            if (!is_masked(in_row[n])) d_in_row[n] = weight_row[n] * (d_out_row[n] - mean);
    });
    return g;
}

}  // namespace mta
