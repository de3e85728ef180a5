// Gate: each row is multiplied by a sigmoid of a linear map of itself, one gate per row or one per feature.
// SPDX-License-Identifier: MIT
//
// Source    Multi-Token Attention, arXiv:2504.00927, Sec. 3.3: the gate reads a head's normalised output.
// Forward   z[o] = sum_d weight[o,d] * x[d] + bias[o]
//           out[d] = x[d] * sigmoid(z[0])  (scalar)    out[d] = x[d] * sigmoid(z[d])  (vector)
// Backward  d_s[o] = sum_d d_out[d] * x[d]  (scalar)   d_s[o] = d_out[o] * x[o]  (vector)
//           d_z[o] = d_s[o] * sigmoid(z[o]) * sigmoid(-z[o])
//           d_x[d] = d_out[d] * sigmoid(z[0 or d]) + sum_o d_z[o] * weight[o,d]
//           d_weight[o,d] = sum over rows of d_z[o] * x[d]    d_bias[o] = sum over rows of d_z[o]
// Shapes    x, out: (..., D), any rank    scalar: weight (1, D), bias (1)    vector: weight (D, D), bias (D)
// Units     z: dimensionless; weight: one over x's unit; out: x's unit.
// Traps     1. sigmoid'(z) as s * (1 - s) cancels: in double it is off by up to 1e-3 at z = 30 and exactly 0
//              from z = 37 on, where the slope is 1e-16. sigmoid(z) * sigmoid(-z) keeps every digit.
//           2. x occurs twice in the output, so d_x has two terms; each alone still looks plausible.
//           3. With weight and bias 0 the gate halves its input; no finite bias makes it the identity.
// Errors    ShapeError: D = 0, weight or bias that does not fit D and the kind, d_out unlike x.
#pragma once

#include <mta/core/numeric.hpp>
#include <mta/core/parallel.hpp>
#include <mta/core/parameters.hpp>
#include <mta/core/require.hpp>
#include <mta/core/tensor.hpp>

namespace mta {

/// How many gates a row has.
enum class GateKind {
    scalar,  ///< one for the whole row
    vector   ///< one per feature
};

/// Choices fixed before training; they have no gradient.
struct GateConfig {
    GateKind kind = GateKind::scalar;
};

/// Everything an optimizer may change, and nothing else. O = 1 gate (scalar) or O = D gates (vector).
template <class Scalar>
struct GateParams {
    Parameter<Scalar, 2> weight;  // (O, D)
    Parameter<Scalar, 1> bias;    // (O)

    /// Walks several instances side by side: f("weight", params.weight, grads.weight, ...), then "bias".
    template <class F, class... P>
    static void for_each(F&& f, P&... p) {
        f("weight", p.weight...);
        f("bias", p.bias...);
    }
};

/// One d_ member per differentiable argument of forward, in the same order.
template <class Scalar, int Rank>
struct GateGrads {
    Tensor<Scalar, Rank> d_x;     // (..., D)
    GateParams<Scalar> d_params;  // same struct as the parameters
};

namespace detail {
template <class X, class Params>
void check_gate(const X& x, const Params& params, const GateConfig& config) {
    static_assert(rank_of<X> >= 1, "gate: x needs an axis to read along");
    const Index D = x.dimension(rank_of<X> - 1);
    require(D >= 1, "gate: width of x: got ", D, ", expected at least 1");
    const Index gates = config.kind == GateKind::scalar ? 1 : D;
    require_same_shape("gate: weight", params.weight.dimensions(), std::array<Index, 2>{gates, D});
    require_same_shape("gate: bias", params.bias.dimensions(), std::array<Index, 1>{gates});
}

// z[o], the number that gate o squashes.
template <class Scalar>
Scalar gate_logit(std::span<const Scalar> x, const GateParams<Scalar>& params, Index o) {
    return dot(x, row(params.weight, o)) + params.bias(o);
}
}  // namespace detail

/// Returns out, shaped like x.
template <AnyTensor X>
auto gate_forward(const X& x, const GateParams<ScalarOf<X>>& params, const GateConfig& config = {})
    -> TensorLike<X> {
    using Scalar = ScalarOf<X>;
    detail::check_gate(x, params, config);
    auto out = zeros_like(x);
    const Index gates = params.bias.size(), D = x.dimension(rank_of<X> - 1), features = D / gates;
    parallel_for(row_count(x), [&](Index r) {
        const std::span<const Scalar> x_row = nth_row(x, r);
        const auto out_row = nth_row(out, r);
        for (Index o = 0; o < gates; ++o) {
            const Scalar open = sigmoid(detail::gate_logit(x_row, params, o));
            for (Index d = o * features; d < (o + 1) * features; ++d)
                out_row[d] = x_row[d] * open;
        }
    });
    return out;
}

namespace detail {
// d_z (rows, O) and the part of d_x that goes past the gate; rows whose d_out is all zero stay 0.
template <class Out, class X, class DX>
auto gate_backward_rows(const Out& d_out, const X& x, const GateParams<ScalarOf<X>>& params, DX& d_x) {
    using Scalar = ScalarOf<X>;
    const Index gates = params.bias.size(), D = x.dimension(rank_of<X> - 1), features = D / gates;
    auto d_z = zeros<Scalar>(row_count(x), gates);
    parallel_for(row_count(x), [&](Index r) {
        const std::span<const Scalar> x_row = nth_row(x, r), d_out_row = nth_row(d_out, r);
        if (all_zero(d_out_row)) return;
        const auto d_x_row = nth_row(d_x, r);
        for (Index o = 0; o < gates; ++o) {
            const Scalar z = gate_logit(x_row, params, o), open = sigmoid(z);
            Scalar d_open{0};
            for (Index d = o * features; d < (o + 1) * features; ++d) {
                d_x_row[d] += d_out_row[d] * open;
                d_open += d_out_row[d] * x_row[d];
            }
            d_z(r, o) = d_open * open * sigmoid(-z);
        }
        for (Index o = 0; o < gates; ++o)
            for (Index d = 0; d < D; ++d)
                d_x_row[d] += d_z(r, o) * params.weight(o, d);
    });
    return d_z;
}
}  // namespace detail

/// Takes d_out, then exactly forward's arguments. Returns fresh gradients; the caller sums them.
template <AnyTensor X, TensorOf<rank_of<X>> Out>
auto gate_backward(const Out& d_out, const X& x, const GateParams<ScalarOf<X>>& params,
                   const GateConfig& config = {}) -> GateGrads<ScalarOf<X>, rank_of<X>> {
    using Scalar = ScalarOf<X>;
    require_same_shape("gate: d_out", d_out.dimensions(), x.dimensions());
    detail::check_gate(x, params, config);
    GateGrads<Scalar, rank_of<X>> g{zeros_like(x), {zeros_like(params.weight), zeros_like(params.bias)}};
    const auto d_z = detail::gate_backward_rows(d_out, x, params, g.d_x);
    parallel_for(params.bias.size(), [&](Index o) {
        const auto d_weight = row(g.d_params.weight, o);
        for (Index r = 0; r < row_count(x); ++r) {
            if (all_zero(nth_row(d_out, r))) continue;
            const std::span<const Scalar> x_row = nth_row(x, r);
            for (std::size_t d = 0; d < x_row.size(); ++d)
                d_weight[d] += d_z(r, o) * x_row[d];
            g.d_params.bias(o) += d_z(r, o);
        }
    });
    return g;
}

}  // namespace mta
