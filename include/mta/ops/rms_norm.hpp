// Root-mean-square normalisation over the last axis, with a learned weight and a factor for depth.
// SPDX-License-Identifier: MIT
//
// Source    Zhang and Sennrich, "Root Mean Square Layer Normalization", arXiv:1910.07467, Eq. 4; applied to
//           each head's context in Multi-Token Attention, arXiv:2504.00927, Sec. 3.3. The factors: `depth` is
//           the Differential Transformer's, arXiv:2410.05258; `layer` is LayerNorm scaling, arXiv:2502.05795.
// Forward   with r = 1 / sqrt(mean_d x[d]^2 + eps) for each row x of D numbers:
//           out[d] = factor * weight[d] * x[d] * r
// Backward  with n = x * r and g[d] = factor * weight[d] * d_out[d]:
//           d_x[d]      = r * (g[d] - n[d] * mean_c(g[c] * n[c]))
//           d_weight[d] = factor * sum over rows of d_out[d] * n[d]
// Shapes    x, out: (..., D), any rank    weight: (D)
// Units     eps: the square of x's unit; layer_index: layers, counted from 0; out: weight's unit.
// Traps     1. The mean is not subtracted (layer_norm.hpp does that).
//           2. A row of zeros gives zeros; with eps = 0 it is 0 * inf, hence a row of NaN.
//           3. x^2 must be finite: in float, rows with numbers beyond 1.8e19 get r = 0 and become 0.
//           4. Of a context (B, H, S, D) one row is one (token, head); the heads share the weight.
// Errors    ShapeError: D = 0, weight or d_out of another shape. ValueError: eps negative or not finite,
//           layer_index < 0.
#pragma once

#include <cmath>
#include <mta/core/numeric.hpp>
#include <mta/core/parallel.hpp>
#include <mta/core/parameters.hpp>
#include <mta/core/require.hpp>
#include <mta/core/tensor.hpp>

namespace mta {

/// A number that every output is multiplied by, from the layer's index l (counted from 0).
enum class RmsNormFactor {
    one,    ///< 1
    depth,  ///< 1 - lambda_init(l) with lambda_init(l) = 0.8 - 0.6 exp(-0.3 l)
    layer   ///< 1 / sqrt(l + 1)
};

/// Choices fixed before training; they have no gradient.
struct RmsNormConfig {
    double eps = 1e-5;
    RmsNormFactor factor = RmsNormFactor::one;
    Index layer_index = 0;
};

/// Everything an optimizer may change, and nothing else.
template <class Scalar>
struct RmsNormParams {
    Parameter<Scalar, 1> weight;  // (D)

    /// Walks several instances side by side: f("weight", params.weight, grads.weight, ...).
    template <class F, class... P>
    static void for_each(F&& f, P&... p) {
        f("weight", p.weight...);
    }
};

/// One d_ member per differentiable argument of forward, in the same order.
template <class Scalar, int Rank>
struct RmsNormGrads {
    Tensor<Scalar, Rank> d_x;        // (..., D)
    RmsNormParams<Scalar> d_params;  // same struct as the parameters
};

/// The factor that `config` asks for. Errors: ValueError when layer_index < 0.
inline double rms_norm_factor(const RmsNormConfig& config) {
    require<ValueError>(config.layer_index >= 0, "rms_norm: layer_index: got ", config.layer_index,
                        ", expected at least 0");
    const auto l = static_cast<double>(config.layer_index);
    switch (config.factor) {
        case RmsNormFactor::depth:
            return 1.0 - (0.8 - 0.6 * std::exp(-0.3 * l));
        case RmsNormFactor::layer:
            return 1.0 / std::sqrt(l + 1.0);
        case RmsNormFactor::one:
            break;
    }
    return 1.0;
}

namespace detail {
template <class X, class Weight>
void check_rms_norm(const X& x, const Weight& weight, const RmsNormConfig& config) {
    static_assert(rank_of<X> >= 1, "rms_norm: x needs an axis to normalise along");
    const Index D = x.dimension(rank_of<X> - 1);
    require(D >= 1, "rms_norm: width of x: got ", D, ", expected at least 1");
    require_same("rms_norm: width of weight", weight.dimension(0), D);
    require<ValueError>(config.eps >= 0 && std::isfinite(static_cast<RealOf<ScalarOf<X>>>(config.eps)),
                        "rms_norm: eps: got ", config.eps, ", expected finite and at least 0");
}

// 1 / sqrt(mean x^2 + eps).
template <class Scalar>
auto inverse_rms(std::span<const Scalar> x, double eps) {
    using std::sqrt;
    using Real = RealOf<Scalar>;
    return Scalar(1) / sqrt(dot(x, x) / static_cast<Real>(x.size()) + static_cast<Real>(eps));
}
}  // namespace detail

/// Returns out, shaped like x.
template <AnyTensor X>
auto rms_norm_forward(const X& x, const RmsNormParams<ScalarOf<X>>& params, const RmsNormConfig& config = {})
    -> TensorLike<X> {
    using Scalar = ScalarOf<X>;
    detail::check_rms_norm(x, params.weight, config);
    const auto factor = static_cast<RealOf<Scalar>>(rms_norm_factor(config));
    auto out = zeros_like(x);
    parallel_for(row_count(x), [&](Index r) {
        const std::span<const Scalar> x_row = nth_row(x, r), weight = elements(params.weight);
        const Scalar inverse = detail::inverse_rms(x_row, config.eps);
        const auto out_row = nth_row(out, r);
        for (std::size_t d = 0; d < x_row.size(); ++d)
            out_row[d] = factor * weight[d] * (x_row[d] * inverse);
    });
    return out;
}

/// Takes d_out, then exactly forward's arguments. Returns fresh gradients; the caller sums them.
template <AnyTensor X, TensorOf<rank_of<X>> Out>
auto rms_norm_backward(const Out& d_out, const X& x, const RmsNormParams<ScalarOf<X>>& params,
                       const RmsNormConfig& config = {}) -> RmsNormGrads<ScalarOf<X>, rank_of<X>> {
    using Scalar = ScalarOf<X>;
    using Real = RealOf<Scalar>;
    require_same_shape("rms_norm: d_out", d_out.dimensions(), x.dimensions());
    detail::check_rms_norm(x, params.weight, config);
    const auto factor = static_cast<Real>(rms_norm_factor(config));
    const std::span<const Scalar> weight = elements(params.weight);
    RmsNormGrads<Scalar, rank_of<X>> g{zeros_like(x), {zeros_like(params.weight)}};
    parallel_for(row_count(x), [&](Index r) {
        const std::span<const Scalar> x_row = nth_row(x, r), d_out_row = nth_row(d_out, r);
        if (all_zero(d_out_row)) return;
        const Scalar inverse = detail::inverse_rms(x_row, config.eps);
        Scalar along{0};  // mean_c(g[c] * n[c])
        for (std::size_t d = 0; d < x_row.size(); ++d)
            along += factor * weight[d] * d_out_row[d] * (x_row[d] * inverse);
        along /= static_cast<Real>(x_row.size());
        const auto d_x_row = nth_row(g.d_x, r);
        for (std::size_t d = 0; d < x_row.size(); ++d)
            d_x_row[d] = inverse * (factor * weight[d] * d_out_row[d] - x_row[d] * inverse * along);
    });
    const auto d_weight = elements(g.d_params.weight);
    for (Index r = 0; r < row_count(x); ++r) {  // one thread: the order of the sum is part of the result
        const std::span<const Scalar> x_row = nth_row(x, r), d_out_row = nth_row(d_out, r);
        if (all_zero(d_out_row)) continue;
        const Scalar inverse = detail::inverse_rms(x_row, config.eps);
        for (std::size_t d = 0; d < x_row.size(); ++d)
            d_weight[d] += factor * d_out_row[d] * (x_row[d] * inverse);
    }
    return g;
}

}  // namespace mta
