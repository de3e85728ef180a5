// Complex-step derivatives: exact to rounding, because nothing is subtracted.
// SPDX-License-Identifier: MIT
//
// Source  Squire and Trapp, "Using complex variables to estimate derivatives of real functions", SIAM Review
//         40, 1998: f'(x) = Im f(x + i h) / h + O(h^2), for analytic f. With h = 1e-50 the remainder is far
//         below rounding.
// Use     The function takes and returns complex tensors; anything templated on its scalar qualifies as long
//         as it has no abs, max of complex numbers, conjugate or table of reals in it.
#pragma once

#include <mta/core/parameters.hpp>
#include <mta/core/require.hpp>
#include <mta/core/tensor.hpp>
#include <utility>

namespace mta::check {

using Complex = std::complex<double>;
inline constexpr double complex_step_size = 1e-50;

namespace detail {
// <d_out, Im(out) / h>, summed in extended precision so that the witness is better than what it judges.
template <AnyTensor Out, AnyTensor DOut>
double imaginary_dot(const Out& out, const DOut& d_out) {
    require_same_shape("complex_step: d_out", d_out.dimensions(), out.dimensions());
    long double sum = 0;
    for (Index n = 0; n < out.size(); ++n)
        sum += static_cast<long double>(d_out.data()[n]) * (out.data()[n].imag() / complex_step_size);
    return static_cast<double>(sum);
}
}  // namespace detail

/// Gradient of <d_out, f(x)> with respect to x: one evaluation of f per element of x.
template <AnyTensor DOut, AnyTensor X, class F>
TensorLike<X> complex_step_gradient(const DOut& d_out, const X& x, F&& f) {
    TensorLike<X> gradient(x.dimensions());
    auto z = cast<Complex>(x);
    for (Index n = 0; n < x.size(); ++n) {
        const Complex keep = z.data()[n];
        z.data()[n] += Complex(0, complex_step_size);
        gradient.data()[n] = detail::imaginary_dot(f(std::as_const(z)), d_out);
        z.data()[n] = keep;
    }
    return gradient;
}

/// The same with respect to every tensor of a parameter struct.
template <AnyTensor DOut, template <class> class Params, class F>
Params<double> complex_step_gradients(const DOut& d_out, const Params<double>& params, F&& f) {
    Params<double> gradients = params;
    Params<Complex> z = cast_params<Complex>(params);
    Params<double>::for_each(
        [&](std::string_view, auto& gradient, auto& member) {
            for (Index n = 0; n < member.size(); ++n) {
                const Complex keep = member.data()[n];
                member.data()[n] += Complex(0, complex_step_size);
                gradient.data()[n] = detail::imaginary_dot(f(std::as_const(z)), d_out);
                member.data()[n] = keep;
            }
        },
        gradients, z);
    return gradients;
}

/// Directional derivative J(x) u: one evaluation of f. Returns a real tensor shaped like f's result.
template <AnyTensor X, AnyTensor U, class F>
auto complex_step_jvp(const X& x, const U& u, F&& f) {
    require_same_shape("complex_step_jvp: direction", u.dimensions(), x.dimensions());
    auto z = cast<Complex>(x);
    for (Index n = 0; n < x.size(); ++n)
        z.data()[n] += Complex(0, complex_step_size * u.data()[n]);
    const auto out = f(std::as_const(z));
    Tensor<double, rank_of<decltype(out)>> jvp(out.dimensions());
    for (Index n = 0; n < out.size(); ++n)
        jvp.data()[n] = out.data()[n].imag() / complex_step_size;
    return jvp;
}

}  // namespace mta::check
