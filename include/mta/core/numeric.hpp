// What operations share about numbers and rows, analytic so that complex-step derivatives pass through.
// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <complex>
#include <limits>
#include <mta/core/tensor.hpp>
#include <span>

namespace mta {

/// The real part; the number itself when it is real.
template <class Scalar>
RealOf<Scalar> real_part(const Scalar& x) {
    if constexpr (std::is_same_v<Scalar, RealOf<Scalar>>)
        return x;
    else
        return x.real();
}

/// 1 / (1 + exp(-x)) without overflow at either end.
template <class Scalar>
Scalar sigmoid(const Scalar& x) {
    using std::exp;
    if (real_part(x) >= 0) return Scalar(1) / (Scalar(1) + exp(-x));
    const Scalar e = exp(x);
    return e / (Scalar(1) + e);
}

/// Sum of a[n] * b[n], in order.
template <class A, class B>
auto dot(std::span<A> a, std::span<B> b) {
    static_assert(std::is_same_v<std::remove_const_t<A>, std::remove_const_t<B>>,
                  "dot: a and b hold different scalars");
    std::remove_const_t<A> sum{0};
    for (std::size_t n = 0; n < a.size(); ++n)
        sum += a[n] * b[n];
    return sum;
}

/// Whether every element is exactly 0 (NaN is not). A row whose cotangent is all zero adds nothing to any
/// gradient, and backward passes skip it: 0 * NaN would carry a NaN of a padded token into every parameter.
template <class Scalar>
bool all_zero(std::span<Scalar> row) {
    for (const auto& x : row)
        if (!(x == Scalar(0))) return false;
    return true;
}

/// Whether a score is -inf, which marks a masked entry. It is asked for, never computed with: vectorised exp(-inf) need
/// not be 0, and 0 * inf is NaN.
template <class Scalar>
bool is_masked(const Scalar& score) {
    return real_part(score) == -std::numeric_limits<RealOf<Scalar>>::infinity();
}

/// The largest real part in a row; NaN when the row holds a NaN, -inf when it is empty.
template <class Scalar>
auto row_maximum(std::span<Scalar> row) {
    using Real = RealOf<std::remove_const_t<Scalar>>;
    Real maximum = -std::numeric_limits<Real>::infinity();
    for (const auto& x : row)  // the second test lets a NaN in; once there it stays
        if (real_part(x) > maximum || std::isnan(real_part(x))) maximum = real_part(x);
    return maximum;
}

}  // namespace mta
