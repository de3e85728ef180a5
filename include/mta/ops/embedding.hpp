// Embedding: the row of a table that each token names.
// SPDX-License-Identifier: MIT
//
// Source    Any language model's input table; the MTA models of arXiv:2504.00927 tie it to their output.
// Forward   out[b,s,:] = weight[tokens[b,s], :]
// Backward  d_weight[v, :] = sum of d_out[b,s,:] over the (b, s) with tokens[b,s] = v; b, then s ascend
// Shapes    tokens: (B, S), any integer type    weight: (V, D)    out: (B, S, D)
// Units     tokens: rows of the table, from 0.
// Traps     1. A tied table gets this gradient plus the output projection's; the caller adds them.
//           2. A token that occurs twice adds twice: the gradient accumulates, it does not overwrite.
// Errors    ValueError: a token below 0 or not below V, with its place. ShapeError: shape of d_out.
#pragma once

#include <algorithm>
#include <mta/core/parallel.hpp>
#include <mta/core/parameters.hpp>
#include <mta/core/require.hpp>
#include <mta/core/tensor.hpp>
#include <utility>

namespace mta {

/// Everything an optimizer may change, and nothing else.
template <class Scalar>
struct EmbeddingParams {
    Parameter<Scalar, 2> weight;  // (V, D)

    /// Walks several instances side by side: f("weight", params.weight, grads.weight, ...).
    template <class F, class... P>
    static void for_each(F&& f, P&... p) {
        f("weight", p.weight...);
    }
};

/// Tokens are not differentiable: parameters only.
template <class Scalar>
struct EmbeddingGrads {
    EmbeddingParams<Scalar> d_params;  // same struct as the parameters
};

namespace detail {
template <TensorOf<2> Tokens>
void check_tokens(const Tokens& tokens, Index V) {
    static_assert(std::is_integral_v<ScalarOf<Tokens>>, "embedding: tokens must be integers");
    const Index S = tokens.dimension(1);
    for (Index n = 0; n < tokens.size(); ++n) {
        const auto token = +tokens.data()[n];  // promoted, so that small types print as numbers
        require<ValueError>(std::cmp_greater_equal(token, 0) && std::cmp_less(token, V), "embedding: tokens[",
                            n / S, ", ", n % S, "]: got ", token, ", expected from 0 to below the ", V,
                            " rows of weight");
    }
}
}  // namespace detail

/// Returns out (B, S, D).
template <TensorOf<2> Tokens, class Scalar>
Tensor<Scalar, 3> embedding_forward(const Tokens& tokens, const EmbeddingParams<Scalar>& params) {
    detail::check_tokens(tokens, params.weight.dimension(0));
    Tensor<Scalar, 3> out(tokens.dimension(0), tokens.dimension(1), params.weight.dimension(1));
    parallel_for(tokens.size(), [&](Index n) {
        const auto from = row(params.weight, tokens.data()[n]);
        std::copy(from.begin(), from.end(), nth_row(out, n).begin());
    });
    return out;
}

/// Takes d_out, then exactly forward's arguments. Of the table it reads the shape only, so neither a zero
/// cotangent nor a NaN in the table can pollute the gradient.
template <TensorOf<3> Out, TensorOf<2> Tokens, class Scalar>
EmbeddingGrads<Scalar> embedding_backward(const Out& d_out, const Tokens& tokens,
                                          const EmbeddingParams<Scalar>& params) {
    const Index D = params.weight.dimension(1);
    require_same_shape("embedding: d_out", d_out.dimensions(),
                       std::array<Index, 3>{tokens.dimension(0), tokens.dimension(1), D});
    detail::check_tokens(tokens, params.weight.dimension(0));
    EmbeddingGrads<Scalar> g{{zeros_like(params.weight)}};
    // Threads share out columns, not tokens: every element is summed by one thread, in token order.
    constexpr Index slice = 32;
    parallel_for((D + slice - 1) / slice, [&](Index k) {
        const Index begin = k * slice, end = std::min(D, begin + slice);
        for (Index n = 0; n < tokens.size(); ++n) {
            const auto from = nth_row(d_out, n);
            const auto to = row(g.d_params.weight, tokens.data()[n]);
            for (Index d = begin; d < end; ++d)
                to[d] += from[d];
        }
    });
    return g;
}

}  // namespace mta
