// GELU: x times the probability that a standard normal number is below x, exactly or in the tanh form.
// SPDX-License-Identifier: MIT
//
// Source    Hendrycks and Gimpel, "Gaussian Error Linear Units", arXiv:1606.08415, Sec. 2.
// Forward   none: out = x * P(x),  P(x) = erfc(-x / sqrt 2) / 2
//           tanh: out = x * (1 + tanh u) / 2 = x * s(2u),  u = sqrt(2/pi) * (x + 0.044715 x^3)
// Backward  none: d_x = d_out * (P(x) + x * p(x)),  p(x) = exp(-x^2 / 2) / sqrt(2 pi)
//           tanh: d_x = d_out * (s(2u) + x * s(2u) * s(-2u) * 2u'),  u' = sqrt(2/pi) * (1 + 0.134145 x^2)
// Shapes    x, out: (..., D), any rank
// Units     x, out: dimensionless.
// Traps     1. 1 + erf and 1 + tanh cancel for negative x: at x = -6 half of the digits of the result are
//              gone, and from x = -8.5 on all of them. erfc and the sigmoid s keep them.
//           2. The two forms differ by up to 5e-4: a checkpoint was trained with one of them.
//           3. The error function has no complex form here, so `none` takes real numbers only.
// Errors    ShapeError: d_out unlike x. ValueError: approximation `none` with complex numbers.
#pragma once

#include <cmath>
#include <mta/core/numeric.hpp>
#include <mta/core/parallel.hpp>
#include <mta/core/require.hpp>
#include <mta/core/tensor.hpp>
#include <numbers>

namespace mta {

/// How the normal distribution function is computed.
enum class GeluApproximation {
    none,  ///< by the error function
    tanh   ///< by a hyperbolic tangent
};

/// Choices fixed before training; they have no gradient.
struct GeluConfig {
    GeluApproximation approximation = GeluApproximation::none;
};

/// One d_ member per differentiable argument of forward, in the same order.
template <class Scalar, int Rank>
struct GeluGrads {
    Tensor<Scalar, Rank> d_x;  // (..., D)
};

namespace detail {
// A form of GELU has value(x) and slope(x) = d value / d x.
template <class Real>
struct GeluByErf {
    static Real value(Real x) { return x * below(x); }
    static Real slope(Real x) {
        const Real density =
            std::exp(-x * x / 2) * std::numbers::inv_sqrtpi_v<Real> / std::numbers::sqrt2_v<Real>;
        return below(x) + x * density;
    }

  private:
    static Real below(Real x) { return std::erfc(-x / std::numbers::sqrt2_v<Real>) / 2; }
};

template <class Scalar>
struct GeluByTanh {
    using Real = RealOf<Scalar>;
    static Scalar value(const Scalar& x) { return x * sigmoid(twice_u(x)); }
    static Scalar slope(const Scalar& x) {
        const Scalar s = sigmoid(twice_u(x)), s_slope = s * sigmoid(-twice_u(x));
        if (s_slope == Scalar(0)) return s;  // far out: 0 times a u' that may have overflowed
        return s + x * s_slope * (scale * (Scalar(1) + 3 * cubic * x * x));
    }

  private:
    static constexpr Real scale = 2 * std::numbers::sqrt2_v<Real> * std::numbers::inv_sqrtpi_v<Real>;
    static constexpr Real cubic = Real(0.044715L);
    static Scalar twice_u(const Scalar& x) { return scale * (x + cubic * x * x * x); }
};

// Calls run(form) with the form that `config` names.
template <class Scalar, class Run>
void with_gelu_form(const GeluConfig& config, Run&& run) {
    if (config.approximation == GeluApproximation::tanh) return run(GeluByTanh<Scalar>{});
    constexpr bool real = std::is_same_v<Scalar, RealOf<Scalar>>;
    require<ValueError>(real, "gelu: approximation: got none with complex numbers, expected tanh");
    if constexpr (real) run(GeluByErf<Scalar>{});
}
}  // namespace detail

/// Returns out, shaped like x.
template <AnyTensor X>
auto gelu_forward(const X& x, const GeluConfig& config = {}) -> TensorLike<X> {
    using Scalar = ScalarOf<X>;
    static_assert(rank_of<X> >= 1, "gelu: x needs an axis");
    auto out = zeros_like(x);
    detail::with_gelu_form<Scalar>(config, [&](auto form) {
        parallel_for(row_count(x), [&](Index r) {
            const std::span<const Scalar> x_row = nth_row(x, r);
            const auto out_row = nth_row(out, r);
            for (std::size_t d = 0; d < x_row.size(); ++d)
                out_row[d] = form.value(x_row[d]);
        });
    });
    return out;
}

/// Takes d_out, then exactly forward's arguments. Returns fresh gradients; the caller sums them.
template <AnyTensor X, TensorOf<rank_of<X>> Out>
auto gelu_backward(const Out& d_out, const X& x, const GeluConfig& config = {})
    -> GeluGrads<ScalarOf<X>, rank_of<X>> {
    using Scalar = ScalarOf<X>;
    static_assert(rank_of<X> >= 1, "gelu: x needs an axis");
    require_same_shape("gelu: d_out", d_out.dimensions(), x.dimensions());
    GeluGrads<Scalar, rank_of<X>> g{zeros_like(x)};
    detail::with_gelu_form<Scalar>(config, [&](auto form) {
        parallel_for(row_count(x), [&](Index r) {
            const std::span<const Scalar> x_row = nth_row(x, r), d_out_row = nth_row(d_out, r);
            if (all_zero(d_out_row)) return;
            const auto d_x_row = nth_row(g.d_x, r);
            for (std::size_t d = 0; d < x_row.size(); ++d)
                d_x_row[d] = d_out_row[d] * form.slope(x_row[d]);
        });
    });
    return g;
}

}  // namespace mta
