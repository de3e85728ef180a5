// Moving activations between tokens (B, S, H D) and heads (B, H, S, D), and adding to them in place.
// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <mta/core/parallel.hpp>
#include <mta/core/require.hpp>
#include <mta/core/tensor.hpp>

namespace mta::detail {

/// out(b, h, s, :) = x(b, s, h D ... h D + D - 1). The width of x is a multiple of D.
template <TensorOf<3> X>
Tensor<ScalarOf<X>, 4> split_heads(const X& x, Index D) {
    const Index B = x.dimension(0), S = x.dimension(1), H = x.dimension(2) / D;
    Tensor<ScalarOf<X>, 4> out(B, H, S, D);
    parallel_for(B * S, [&](Index token) {
        const auto* from = x.data() + token * H * D;
        for (Index h = 0; h < H; ++h)
            std::copy_n(from + h * D, D, &out(token / S, h, token % S, 0));
    });
    return out;
}

/// The inverse of split_heads.
template <TensorOf<4> X>
Tensor<ScalarOf<X>, 3> merge_heads(const X& x) {
    const Index B = x.dimension(0), H = x.dimension(1), S = x.dimension(2), D = x.dimension(3);
    Tensor<ScalarOf<X>, 3> out(B, S, H * D);
    parallel_for(B * S, [&](Index token) {
        auto* to = out.data() + token * H * D;
        for (Index h = 0; h < H; ++h)
            std::copy_n(&x(token / S, h, token % S, 0), D, to + h * D);
    });
    return out;
}

/// sum += x, element by element.
template <AnyTensor Sum, TensorOf<rank_of<Sum>> X>
void add_to(Sum& sum, const X& x) {
    require_same_shape("add_to: x", x.dimensions(), sum.dimensions());
    parallel_for(row_count(sum), [&](Index r) {
        const auto to = nth_row(sum, r);
        const auto from = nth_row(x, r);
        for (std::size_t n = 0; n < to.size(); ++n)
            to[n] += from[n];
    });
}

}  // namespace mta::detail
