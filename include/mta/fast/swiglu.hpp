// SwiGLU on CPUs, fast: Eigen's vector exponential on short runs of elements.
// SPDX-License-Identifier: MIT
//
// Source    ops/swiglu.hpp states the map, its gradients and its errors.
// Bits      every element by itself: they depend on neither threads nor batch, except that an element's place in a run
//           decides between the vector exponential and its scalar tail, which may differ in the last bit.
// Agrees    with the reference to some roundings where sigmoid(gate) does not underflow.
// Traps     1. Eigen's exponential is cut at its largest argument: a gate of -inf gives -inf * tiny instead of NaN.
#pragma once

#include <concepts>
#include <mta/ops/swiglu.hpp>

namespace mta::fast {

inline constexpr Index swiglu_run = 1024;

template <class Element>
auto array_run(Element* first, Index size) {
    using Array = Eigen::Array<std::remove_const_t<Element>, Eigen::Dynamic, 1>;
    return Eigen::Map<std::conditional_t<std::is_const_v<Element>, const Array, Array>>(first, size);
}
template <class Scalar>
using SigmoidRun = Eigen::Array<Scalar, Eigen::Dynamic, 1, 0, swiglu_run, 1>;  // lives on the stack

/// Calls f(begin, size) for runs of the elements of a tensor.
template <class F>
void for_runs(Index size, F&& f) {
    mta::parallel_for((size + swiglu_run - 1) / swiglu_run,
                      [&](Index n) { f(n * swiglu_run, std::min(swiglu_run, size - n * swiglu_run)); });
}

/// Returns out, shaped like gate.
template <AnyTensor Gate, TensorOf<rank_of<Gate>> Up>
requires std::floating_point<ScalarOf<Gate>>
auto swiglu_forward(const Gate& gate, const Up& up) -> TensorLike<Gate> {
    using Scalar = ScalarOf<Gate>;
    require_same_shape("swiglu: up", up.dimensions(), gate.dimensions());
    TensorLike<Gate> out(gate.dimensions());
    for_runs(gate.size(), [&](Index begin, Index size) {
        const auto x = array_run(gate.data() + begin, size), y = array_run(up.data() + begin, size);
        array_run(out.data() + begin, size) = x / (Scalar(1) + (-x).exp()) * y;
    });
    return out;
}

/// Takes d_out, then exactly forward's arguments. Returns fresh gradients; the caller sums them.
template <AnyTensor Gate, TensorOf<rank_of<Gate>> Up, TensorOf<rank_of<Gate>> Out>
requires std::floating_point<ScalarOf<Gate>>
auto swiglu_backward(const Out& d_out, const Gate& gate, const Up& up)
    -> SwigluGrads<ScalarOf<Gate>, rank_of<Gate>> {
    using Scalar = ScalarOf<Gate>;
    require_same_shape("swiglu: up", up.dimensions(), gate.dimensions());
    require_same_shape("swiglu: d_out", d_out.dimensions(), gate.dimensions());
    SwigluGrads<Scalar, rank_of<Gate>> g{TensorLike<Gate>(gate.dimensions()),
                                         TensorLike<Gate>(gate.dimensions())};
    for_runs(gate.size(), [&](Index begin, Index size) {
        const auto d = array_run(d_out.data() + begin, size);
        const auto x = array_run(gate.data() + begin, size), y = array_run(up.data() + begin, size);
        const SigmoidRun<Scalar> s = (Scalar(1) + (-x).exp()).inverse();
        array_run(g.d_gate.data() + begin, size) = d * y * s * (Scalar(1) + x * (Scalar(1) - s));
        array_run(g.d_up.data() + begin, size) = d * x * s;
    });
    return g;
}

}  // namespace mta::fast
