// Linear map of the last axis: multiply by a weight matrix and add an optional bias.
// SPDX-License-Identifier: MIT
//
// Source    The projections of attention and of the feed-forward block, Vaswani et al., arXiv:1706.03762,
//           Secs. 3.2.2 and 3.3.
// Forward   out[o] = sum_d weight[o,d] * x[d] + bias[o]  for each row x, in the order of d, the bias last
// Backward  d_x[d]        = sum_o d_out[o] * weight[o,d]
//           d_weight[o,d] = sum over rows of d_out[o] * x[d]    d_bias[o] = sum over rows of d_out[o]
// Shapes    x: (..., in), any rank    weight: (out, in)    bias: (out) or absent    out: (..., out)
// Units     weight: out's unit over x's; bias: out's unit.
// Traps     1. weight is (out, in), as torch stores it: the rows are outputs. A square weight hides a
//              transposition.
//           2. Parameter sets walked side by side must agree on whether there is a bias.
// Errors    ShapeError: no inputs or no outputs, weight, bias or d_out of another shape.
#pragma once

#include <mta/core/numeric.hpp>
#include <mta/core/parallel.hpp>
#include <mta/core/parameters.hpp>
#include <mta/core/require.hpp>
#include <mta/core/tensor.hpp>
#include <optional>

namespace mta {

/// Everything an optimizer may change, and nothing else.
template <class Scalar>
struct LinearParams {
    Parameter<Scalar, 2> weight;               // (out, in)
    std::optional<Parameter<Scalar, 1>> bias;  // (out)

    /// Walks several instances side by side: f("weight", ...), then f("bias", ...) when there is one.
    /// Errors: ShapeError when only some instances have a bias.
    template <class F, class First, class... Rest>
    static void for_each(F&& f, First& first, Rest&... rest) {
        require((true && ... && (rest.bias.has_value() == first.bias.has_value())),
                "linear: bias: got one in some of the parameter sets, expected one in all or in none");
        f("weight", first.weight, rest.weight...);
        if (first.bias.has_value()) f("bias", *first.bias, *rest.bias...);
    }

    /// Empty parameters that have a bias exactly when `other` has one.
    template <class Other>
    static LinearParams with_members_of(const LinearParams<Other>& other) {
        LinearParams params;
        if (other.bias.has_value()) params.bias.emplace();
        return params;
    }
};

/// One d_ member per differentiable argument of forward, in the same order.
template <class Scalar, int Rank>
struct LinearGrads {
    Tensor<Scalar, Rank> d_x;       // (..., in)
    LinearParams<Scalar> d_params;  // same struct as the parameters, with a bias when they have one
};

namespace detail {
// Returns the extents of out: those of x with the last one replaced.
template <class X, class Params>
auto check_linear(const X& x, const Params& params) {
    static_assert(rank_of<X> >= 1, "linear: x needs an axis to map");
    const Index outputs = params.weight.dimension(0), inputs = params.weight.dimension(1);
    require(outputs >= 1 && inputs >= 1, "linear: weight: got shape ", params.weight.dimensions(),
            ", expected at least one output and one input");
    require_same("linear: width of x", x.dimension(rank_of<X> - 1), inputs);
    if (params.bias.has_value()) require_same("linear: width of bias", params.bias->dimension(0), outputs);
    auto extents = x.dimensions();
    extents[rank_of<X> - 1] = outputs;
    return extents;
}
}  // namespace detail

/// Returns out, shaped like x but for its last extent.
template <AnyTensor X>
auto linear_forward(const X& x, const LinearParams<ScalarOf<X>>& params) -> TensorLike<X> {
    using Scalar = ScalarOf<X>;
    TensorLike<X> out(detail::check_linear(x, params));
    parallel_for(row_count(x), [&](Index r) {
        const std::span<const Scalar> x_row = nth_row(x, r);
        const auto out_row = nth_row(out, r);
        for (Index o = 0; o < params.weight.dimension(0); ++o) {
            out_row[o] = dot(x_row, row(params.weight, o));
            if (params.bias.has_value()) out_row[o] += (*params.bias)(o);
        }
    });
    return out;
}

/// Takes d_out, then exactly forward's arguments. Returns fresh gradients; the caller sums them.
template <AnyTensor X, TensorOf<rank_of<X>> Out>
auto linear_backward(const Out& d_out, const X& x, const LinearParams<ScalarOf<X>>& params)
    -> LinearGrads<ScalarOf<X>, rank_of<X>> {
    using Scalar = ScalarOf<X>;
    require_same_shape("linear: d_out", d_out.dimensions(), detail::check_linear(x, params));
    const Index outputs = params.weight.dimension(0), inputs = params.weight.dimension(1);
    LinearGrads<Scalar, rank_of<X>> g{zeros_like(x), {zeros_like(params.weight), std::nullopt}};
    if (params.bias.has_value()) g.d_params.bias = zeros_like(*params.bias);
    parallel_for(row_count(x), [&](Index r) {
        const std::span<const Scalar> d_out_row = nth_row(d_out, r);
        if (all_zero(d_out_row)) return;
        const auto d_x_row = nth_row(g.d_x, r);
        for (Index o = 0; o < outputs; ++o) {
            const std::span<const Scalar> weight_row = row(params.weight, o);
            for (Index d = 0; d < inputs; ++d)
                d_x_row[d] += d_out_row[o] * weight_row[d];
        }
    });
    parallel_for(outputs, [&](Index o) {
        const auto d_weight_row = row(g.d_params.weight, o);
        for (Index r = 0; r < row_count(x); ++r) {
            const std::span<const Scalar> x_row = nth_row(x, r), d_out_row = nth_row(d_out, r);
            if (all_zero(d_out_row)) continue;
            for (Index d = 0; d < inputs; ++d)
                d_weight_row[d] += d_out_row[o] * x_row[d];
            if (params.bias.has_value()) (*g.d_params.bias)(o) += d_out_row[o];
        }
    });
    return g;
}

}  // namespace mta
