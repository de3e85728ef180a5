// Central differences: the plainest witness of a gradient, for functions that complex step cannot enter.
// SPDX-License-Identifier: MIT
//
// Fourth-order stencil f'(x) = (8 (f(x+h) - f(x-h)) - (f(x+2h) - f(x-2h))) / (12 h) + O(h^4).
// Error   about h^4 |f^(5)| / 30 from truncation and 1.5 eps |f| / h from rounding: near 1e-12 |f| at the
//         default h = 1e-3 in double; use long double and h = 1e-4 where 1e-13 is wanted.
#pragma once

#include <cmath>
#include <mta/core/require.hpp>
#include <mta/core/tensor.hpp>
#include <utility>

namespace mta::check {

/// Gradient of <d_out, f(x)> with respect to x, in x's own scalar type: four evaluations of f per element.
template <AnyTensor DOut, AnyTensor X, class F>
TensorLike<X> central_difference_gradient(const DOut& d_out, const X& x, F&& f, double step = 1e-3) {
    require<ValueError>(step > 0 && std::isfinite(step), "central_difference_gradient: step: got ", step,
                        ", expected finite and above 0");
    TensorLike<X> at = x;
    TensorLike<X> gradient(x.dimensions());
    for (Index n = 0; n < x.size(); ++n) {
        const auto value = [&](double offset) {
            at.data()[n] = x.data()[n] + static_cast<ScalarOf<X>>(offset);
            const auto out = f(std::as_const(at));
            require_same_shape("central_difference_gradient: d_out", d_out.dimensions(), out.dimensions());
            long double sum = 0;
            for (Index m = 0; m < out.size(); ++m)
                sum += static_cast<long double>(out.data()[m]) * static_cast<long double>(d_out.data()[m]);
            return sum;
        };
        const long double near = value(step) - value(-step), far = value(2 * step) - value(-2 * step);
        at.data()[n] = x.data()[n];
        gradient.data()[n] =
            static_cast<ScalarOf<X>>((8 * near - far) / (12 * static_cast<long double>(step)));
    }
    return gradient;
}

}  // namespace mta::check
