// Layer normalisation over the last axis: mean 0 and variance 1, then a learned weight and bias.
// SPDX-License-Identifier: MIT
//
// Source    Ba, Kiros and Hinton, "Layer Normalization", arXiv:1607.06450, Sec. 3.
// Forward   for each row x with mean m, r = 1 / sqrt(mean_d (x[d] - m)^2 + eps) and n[d] = (x[d] - m) * r:
//           out[d] = weight[d] * n[d] + bias[d]
// Backward  with g[d] = weight[d] * d_out[d]:
//           d_x[d]      = r * (g[d] - mean_c g[c] - n[d] * mean_c(g[c] * n[c]))
//           d_weight[d] = sum over rows of d_out[d] * n[d]    d_bias[d] = sum over rows of d_out[d]
// Shapes    x, out: (..., D), any rank    weight, bias: (D)
// Units     eps: the square of x's unit; out: weight's and bias's unit.
// Traps     1. The variance divides by D, not by D - 1.
//           2. mean(x^2) - m^2 cancels when |m| is large; here the mean is subtracted first (two passes).
//           3. A row of equal numbers (any row of D = 1) gives the bias; with eps = 0 it is 0 * inf = NaN, or
//              amplified rounding where the mean is not exact.
// Errors    ShapeError: D = 0, weight, bias or d_out of another shape. ValueError: eps negative or not
//           finite.
#pragma once

#include <cmath>
#include <mta/core/numeric.hpp>
#include <mta/core/parallel.hpp>
#include <mta/core/parameters.hpp>
#include <mta/core/require.hpp>
#include <mta/core/tensor.hpp>

namespace mta {

/// Choices fixed before training; they have no gradient.
struct LayerNormConfig {
    double eps = 1e-5;
};

/// Everything an optimizer may change, and nothing else.
template <class Scalar>
struct LayerNormParams {
    Parameter<Scalar, 1> weight;  // (D)
    Parameter<Scalar, 1> bias;    // (D)

    /// Walks several instances side by side: f("weight", params.weight, grads.weight, ...), then "bias".
    template <class F, class... P>
    static void for_each(F&& f, P&... p) {
        f("weight", p.weight...);
        f("bias", p.bias...);
    }
};

/// One d_ member per differentiable argument of forward, in the same order.
template <class Scalar, int Rank>
struct LayerNormGrads {
    Tensor<Scalar, Rank> d_x;          // (..., D)
    LayerNormParams<Scalar> d_params;  // same struct as the parameters
};

namespace detail {
template <class X, class Params>
void check_layer_norm(const X& x, const Params& params, const LayerNormConfig& config) {
    static_assert(rank_of<X> >= 1, "layer_norm: x needs an axis to normalise along");
    const Index D = x.dimension(rank_of<X> - 1);
    require(D >= 1, "layer_norm: width of x: got ", D, ", expected at least 1");
    require_same("layer_norm: width of weight", params.weight.dimension(0), D);
    require_same("layer_norm: width of bias", params.bias.dimension(0), D);
    require<ValueError>(config.eps >= 0 && std::isfinite(static_cast<RealOf<ScalarOf<X>>>(config.eps)),
                        "layer_norm: eps: got ", config.eps, ", expected finite and at least 0");
}

// A row's mean m and inverse standard deviation r.
template <class Scalar>
struct RowMoments {
    Scalar mean{0}, inverse{0};

    RowMoments(std::span<const Scalar> x, double eps) {
        using std::sqrt;
        using Real = RealOf<Scalar>;
        const auto D = static_cast<Real>(x.size());
        for (const Scalar& value : x)
            mean += value;
        mean /= D;
        Scalar squares{0};
        for (const Scalar& value : x)
            squares += (value - mean) * (value - mean);
        inverse = Scalar(1) / sqrt(squares / D + static_cast<Real>(eps));
    }

    Scalar normalised(const Scalar& value) const { return (value - mean) * inverse; }
};
}  // namespace detail

/// Returns out, shaped like x.
template <AnyTensor X>
auto layer_norm_forward(const X& x, const LayerNormParams<ScalarOf<X>>& params,
                        const LayerNormConfig& config = {}) -> TensorLike<X> {
    using Scalar = ScalarOf<X>;
    detail::check_layer_norm(x, params, config);
    auto out = zeros_like(x);
    const std::span<const Scalar> weight = elements(params.weight), bias = elements(params.bias);
    parallel_for(row_count(x), [&](Index r) {
        const std::span<const Scalar> x_row = nth_row(x, r);
        const detail::RowMoments<Scalar> moments(x_row, config.eps);
        const auto out_row = nth_row(out, r);
        for (std::size_t d = 0; d < x_row.size(); ++d)
            out_row[d] = weight[d] * moments.normalised(x_row[d]) + bias[d];
    });
    return out;
}

namespace detail {
template <class Scalar>
void layer_norm_backward_row(std::span<const Scalar> d_out, std::span<const Scalar> x,
                             std::span<const Scalar> weight, double eps, std::span<Scalar> d_x) {
    const RowMoments<Scalar> moments(x, eps);
    const auto D = static_cast<RealOf<Scalar>>(x.size());
    Scalar mean_g{0}, along{0};  // mean_c g[c], mean_c(g[c] * n[c])
    for (std::size_t d = 0; d < x.size(); ++d) {
        const Scalar g = weight[d] * d_out[d];
        mean_g += g;
        along += g * moments.normalised(x[d]);
    }
    mean_g /= D;
    along /= D;
    for (std::size_t d = 0; d < x.size(); ++d)
        d_x[d] = moments.inverse * (weight[d] * d_out[d] - mean_g - moments.normalised(x[d]) * along);
}
}  // namespace detail

/// Takes d_out, then exactly forward's arguments. Returns fresh gradients; the caller sums them.
template <AnyTensor X, TensorOf<rank_of<X>> Out>
auto layer_norm_backward(const Out& d_out, const X& x, const LayerNormParams<ScalarOf<X>>& params,
                         const LayerNormConfig& config = {}) -> LayerNormGrads<ScalarOf<X>, rank_of<X>> {
    using Scalar = ScalarOf<X>;
    require_same_shape("layer_norm: d_out", d_out.dimensions(), x.dimensions());
    detail::check_layer_norm(x, params, config);
    const std::span<const Scalar> weight = elements(params.weight);
    LayerNormGrads<Scalar, rank_of<X>> g{zeros_like(x), {zeros_like(params.weight), zeros_like(params.bias)}};
    parallel_for(row_count(x), [&](Index r) {
        const std::span<const Scalar> d_out_row = nth_row(d_out, r);
        if (!all_zero(d_out_row))
            detail::layer_norm_backward_row<Scalar>(d_out_row, nth_row(x, r), weight, config.eps,
                                                    nth_row(g.d_x, r));
    });
    const auto d_weight = elements(g.d_params.weight), d_bias = elements(g.d_params.bias);
    for (Index r = 0; r < row_count(x); ++r) {  // one thread: the order of the sum is part of the result
        const std::span<const Scalar> x_row = nth_row(x, r), d_out_row = nth_row(d_out, r);
        if (all_zero(d_out_row)) continue;
        const detail::RowMoments<Scalar> moments(x_row, config.eps);
        for (std::size_t d = 0; d < x_row.size(); ++d) {
            d_weight[d] += d_out_row[d] * moments.normalised(x_row[d]);
            d_bias[d] += d_out_row[d];
        }
    }
    return g;
}

}  // namespace mta
