// SwiGLU: a gate passed through SiLU multiplies a second input, element by element.
// SPDX-License-Identifier: MIT
//
// Source    Shazeer, "GLU Variants Improve Transformer", arXiv:2002.05202, Sec. 2 (Swish with beta = 1 is
//           SiLU); the two linear maps before it are linear.hpp's.
// Forward   out = silu(gate) * up,  silu(x) = x * s(x),  s(x) = 1 / (1 + exp(-x))
// Backward  d_gate = d_out * up * silu'(gate),  silu'(x) = s(x) * (1 + x * s(-x))
//           d_up   = d_out * silu(gate)
// Shapes    gate, up, out: (..., D), any rank, all the same
// Units     gate: dimensionless; out: up's unit.
// Traps     1. The first argument passes through SiLU (gate_proj of Llama checkpoints); swapping the two
//              keeps every shape.
//           2. SiLU is not monotone: its slope is 0 at -1.278 and negative below.
//           3. silu(-inf) is -inf * 0 = NaN, not its limit 0.
// Errors    ShapeError: up or d_out unlike gate.
#pragma once

#include <mta/core/numeric.hpp>
#include <mta/core/parallel.hpp>
#include <mta/core/require.hpp>
#include <mta/core/tensor.hpp>

namespace mta {

/// One d_ member per differentiable argument of forward, in the same order.
template <class Scalar, int Rank>
struct SwigluGrads {
    Tensor<Scalar, Rank> d_gate;  // (..., D)
    Tensor<Scalar, Rank> d_up;    // (..., D)
};

/// Returns out, shaped like gate.
template <AnyTensor Gate, TensorOf<rank_of<Gate>> Up>
auto swiglu_forward(const Gate& gate, const Up& up) -> TensorLike<Gate> {
    using Scalar = ScalarOf<Gate>;
    static_assert(rank_of<Gate> >= 1, "swiglu: gate needs an axis");
    require_same_shape("swiglu: up", up.dimensions(), gate.dimensions());
    auto out = zeros_like(gate);
    parallel_for(row_count(gate), [&](Index r) {
        const std::span<const Scalar> gate_row = nth_row(gate, r), up_row = nth_row(up, r);
        const auto out_row = nth_row(out, r);
        for (std::size_t d = 0; d < gate_row.size(); ++d)
            out_row[d] = gate_row[d] * sigmoid(gate_row[d]) * up_row[d];
    });
    return out;
}

/// Takes d_out, then exactly forward's arguments. Returns fresh gradients; the caller sums them.
template <AnyTensor Gate, TensorOf<rank_of<Gate>> Up, TensorOf<rank_of<Gate>> Out>
auto swiglu_backward(const Out& d_out, const Gate& gate, const Up& up)
    -> SwigluGrads<ScalarOf<Gate>, rank_of<Gate>> {
    using Scalar = ScalarOf<Gate>;
    static_assert(rank_of<Gate> >= 1, "swiglu: gate needs an axis");
    require_same_shape("swiglu: up", up.dimensions(), gate.dimensions());
    require_same_shape("swiglu: d_out", d_out.dimensions(), gate.dimensions());
    SwigluGrads<Scalar, rank_of<Gate>> g{zeros_like(gate), zeros_like(gate)};
    parallel_for(row_count(gate), [&](Index r) {
        const std::span<const Scalar> d_out_row = nth_row(d_out, r);
        if (all_zero(d_out_row)) return;
        const std::span<const Scalar> gate_row = nth_row(gate, r), up_row = nth_row(up, r);
        const auto d_gate_row = nth_row(g.d_gate, r), d_up_row = nth_row(g.d_up, r);
        for (std::size_t d = 0; d < gate_row.size(); ++d) {
            const Scalar x = gate_row[d], s = sigmoid(x);
            d_gate_row[d] = d_out_row[d] * up_row[d] * (s * (Scalar(1) + x * sigmoid(-x)));
            d_up_row[d] = d_out_row[d] * (x * s);
        }
    });
    return g;
}

}  // namespace mta
