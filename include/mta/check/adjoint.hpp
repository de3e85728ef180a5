// The adjoint identity: a backward pass is the transpose of the forward pass's derivative.
// SPDX-License-Identifier: MIT
//
// For out = f(x) with derivative J:  <d_out, J u> = <J^T d_out, u> = <d_x, u>  for every direction u.
// Trap    It holds when forward and backward share a wrong index map: hand values and an independent
//         implementation must stand beside it.
#pragma once

#include <cmath>
#include <limits>
#include <mta/core/require.hpp>
#include <mta/core/tensor.hpp>

namespace mta::check {

/// The two sides and their distance.
struct AdjointIdentity {
    double output_side = 0;  // <d_out, J u>
    double input_side = 0;   // <d_x, u>
    double error =
        0;  // |difference| over the sum of |products| on both sides; infinite when nothing was summed
};

namespace detail {
struct InnerProduct {
    long double sum = 0, magnitude = 0;
};

template <AnyTensor A, AnyTensor B>
InnerProduct inner_product(std::string_view what, const A& a, const B& b) {
    require_same_shape(what, a.dimensions(), b.dimensions());
    InnerProduct p;
    for (Index n = 0; n < a.size(); ++n) {
        const long double term = static_cast<long double>(a.data()[n]) * b.data()[n];
        p.sum += term;
        p.magnitude += std::abs(term);
    }
    return p;
}
}  // namespace detail

/// Measures how far <d_out, jvp> is from <d_x, u>. NaN anywhere makes the error NaN, so test !(error <=
/// bound). Errors: ShapeError when d_out and jvp, or d_x and u, differ in shape.
template <AnyTensor DOut, AnyTensor Jvp, AnyTensor DX, AnyTensor U>
AdjointIdentity adjoint_identity(const DOut& d_out, const Jvp& jvp, const DX& d_x, const U& u) {
    const auto out = detail::inner_product("adjoint_identity: jvp", jvp, d_out);
    const auto in = detail::inner_product("adjoint_identity: direction", u, d_x);
    const long double magnitude = out.magnitude + in.magnitude;
    const long double error = magnitude == 0 ? std::numeric_limits<long double>::infinity()
                                             : std::abs(out.sum - in.sum) / magnitude;
    return {static_cast<double>(out.sum), static_cast<double>(in.sum), static_cast<double>(error)};
}

}  // namespace mta::check
