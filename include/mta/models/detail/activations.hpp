// Moving activations between tokens (B, S, H D) and heads (B, H, S, D), picking tokens out, and adding in place.
// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <mta/core/parallel.hpp>
#include <mta/core/require.hpp>
#include <mta/core/tensor.hpp>
#include <vector>

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

/// The tokens of x (B, S, d) that `wanted` lists as b S + s, in its order: (1, R, d).
template <TensorOf<3> X>
Tensor<ScalarOf<X>, 3> gather_tokens(const X& x, const std::vector<Index>& wanted) {
    const Index d = x.dimension(2);
    Tensor<ScalarOf<X>, 3> out(Index{1}, static_cast<Index>(wanted.size()), d);
    parallel_for(out.dimension(1), [&](Index r) {
        std::copy_n(x.data() + wanted[static_cast<std::size_t>(r)] * d, d, out.data() + r * d);
    });
    return out;
}

/// sum(b, s, :) += x(0, r, :) where wanted[r] = b S + s.
template <TensorOf<3> Sum, TensorOf<3> X>
void scatter_add_to(Sum& sum, const X& x, const std::vector<Index>& wanted) {
    parallel_for(x.dimension(1), [&](Index r) {
        const auto from = nth_row(x, r);
        const auto to = nth_row(sum, wanted[static_cast<std::size_t>(r)]);
        for (std::size_t n = 0; n < to.size(); ++n)
            to[n] += from[n];
    });
}

/// The tokens of x (1, R, d) at their places in (B, S, d), 0 everywhere else.
template <TensorOf<3> X>
Tensor<ScalarOf<X>, 3> scatter_tokens(const X& x, const std::vector<Index>& wanted, Index B, Index S) {
    auto out = zeros<ScalarOf<X>>(B, S, x.dimension(2));
    scatter_add_to(out, x, wanted);
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
