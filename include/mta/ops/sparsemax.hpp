// Sparsemax over the last axis: the probability vector nearest to the scores, most entries of it exactly 0.
// SPDX-License-Identifier: MIT
//
// Source    Martins, Astudillo, "From Softmax to Sparsemax", ICML 2016, arXiv:1602.02068, Algorithm 1;
//           in place of the softmax of arXiv:2504.00927, Eq. 5.
// Forward   out[n] = max(scores[n] - tau, 0) with tau such that the row sums to 1. With the scores sorted,
//           z_1 >= z_2 >= ..., the support has the largest k with 1 + k z_k > z_1 + ... + z_k, and
//           tau = (z_1 + ... + z_k - 1) / k.
// Backward  with d_x = dLoss/dx over the support S = {n : out[n] > 0}:
//           d_scores[n] = d_out[n] - (sum_{k in S} d_out[k]) / |S| for n in S, 0 elsewhere
// Shapes    scores, out: (..., N), any rank; every row along the last axis on its own
// Units     scores: dimensionless, out: probabilities; a gap of 1 to the maximum always gives 0.
// Traps     1. -inf marks a masked entry: exactly 0, forward and backward, whatever stands in d_out there.
//           2. Sorting NaN is undefined behaviour, so rows are looked at first. A row of -inf only is
//              NaN, and so are the entries of a row that holds NaN or +inf, except the masked ones.
//           3. Not differentiable where an entry enters the support; there it counts as outside.
// Errors    ShapeError: rows of no entries; d_out or weights not shaped like scores.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <mta/core/numeric.hpp>
#include <mta/core/parallel.hpp>
#include <mta/core/require.hpp>
#include <mta/core/tensor.hpp>
#include <vector>

namespace mta {

/// One d_ member per differentiable argument of forward.
template <class Scalar, int Rank>
struct SparsemaxGrads {
    Tensor<Scalar, Rank> d_scores;  // (..., N)
};

namespace detail {
// tau of scores whose maximum is 0, of which `sorted` holds those above -1, in descending order.
template <class Scalar>
Scalar sparsemax_threshold(const std::vector<Scalar>& sorted) {
    Scalar sum{0}, tau{0};
    RealOf<Scalar> k = 0;
    for (const auto& z : sorted) {
        sum += z;
        k += 1;
        if (!(1 + k * real_part(z) > real_part(sum))) break;
        tau = (sum - Scalar(1)) / k;
    }
    return tau;
}

template <class In, class Out>
void sparsemax_row(In scores, Out out) {
    using Scalar = typename Out::value_type;
    using Real = RealOf<Scalar>;
    const Real maximum = row_maximum(scores);
    if (!std::isfinite(maximum)) {
        for (std::size_t n = 0; n < out.size(); ++n)
            if (is_masked(maximum) || !is_masked(scores[n])) out[n] = std::numeric_limits<Real>::quiet_NaN();
        return;
    }
    std::vector<Scalar> sorted;  // tau >= maximum - 1, so nothing else can be in the support
    for (const auto& x : scores)
        if (real_part(x) - maximum > -1) sorted.push_back(x - maximum);
    std::sort(sorted.begin(), sorted.end(),
              [](const Scalar& a, const Scalar& b) { return real_part(a) > real_part(b); });
    const Scalar tau = sparsemax_threshold(sorted);
    for (std::size_t n = 0; n < out.size(); ++n) {
        const Scalar weight = scores[n] - maximum - tau;
        if (real_part(weight) > 0) out[n] = weight;
    }
}

// d_scores of one row; a NaN weight is a row without an answer, and so is its gradient.
template <class DOut, class In, class Weights, class DIn>
void sparsemax_backward_row(DOut d_out, In scores, Weights weights, DIn d_scores) {
    using Scalar = typename DIn::value_type;
    Scalar sum{0};
    RealOf<Scalar> support = 0;
    for (std::size_t n = 0; n < d_scores.size(); ++n)
        if (real_part(weights[n]) > 0) {
            sum += d_out[n];
            support += 1;
        }
    for (std::size_t n = 0; n < d_scores.size(); ++n) {
        if (is_masked(scores[n])) continue;
        if (std::isnan(real_part(weights[n]))) d_scores[n] = weights[n];
        if (real_part(weights[n]) > 0) d_scores[n] = d_out[n] - sum / support;
    }
}
}  // namespace detail

/// Returns the weights, shaped like scores.
template <AnyTensor Scores>
auto sparsemax_forward(const Scores& scores) -> TensorLike<Scores> {
    static_assert(rank_of<Scores> >= 1, "sparsemax: scores need an axis");
    require(scores.dimension(rank_of<Scores> - 1) > 0, "sparsemax: scores: got shape ", scores.dimensions(),
            ", expected at least 1 entry along the last axis");
    auto out = zeros_like(scores);
    parallel_for(row_count(scores),
                 [&](Index r) { detail::sparsemax_row(nth_row(scores, r), nth_row(out, r)); });
    return out;
}

/// Takes d_out, then forward's argument and forward's result. Returns a fresh gradient.
template <AnyTensor Out, AnyTensor Scores, AnyTensor Weights>
auto sparsemax_backward(const Out& d_out, const Scores& scores, const Weights& weights)
    -> SparsemaxGrads<ScalarOf<Scores>, rank_of<Scores>> {
    static_assert(std::is_same_v<ScalarOf<Out>, ScalarOf<Scores>>, "sparsemax: d_out holds another scalar");
    require_same_shape("sparsemax: d_out", d_out.dimensions(), scores.dimensions());
    require_same_shape("sparsemax: weights", weights.dimensions(), scores.dimensions());
    require(scores.dimension(rank_of<Scores> - 1) > 0, "sparsemax: scores: got shape ", scores.dimensions(),
            ", expected at least 1 entry along the last axis");
    SparsemaxGrads<ScalarOf<Scores>, rank_of<Scores>> g{zeros_like(scores)};
    parallel_for(row_count(scores), [&](Index r) {
        const auto d_out_row = nth_row(d_out, r);
        if (all_zero(d_out_row)) return;
        detail::sparsemax_backward_row(d_out_row, nth_row(scores, r), nth_row(weights, r),
                                       nth_row(g.d_scores, r));
    });
    return g;
}

}  // namespace mta
