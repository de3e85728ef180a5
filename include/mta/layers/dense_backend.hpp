// The interface of everything in a model that is not attention: the library's own loops, or faster ones.
// SPDX-License-Identifier: MIT
//
// A dense backend has static functions that are named like the operations of ops/ and take and return the
// same: linear_forward, linear_backward, rms_norm_forward, ... Models call them through the type, so that
// another implementation of the products takes the place of the reference without another model.
#pragma once

#include <concepts>
#include <mta/ops/cross_entropy.hpp>
#include <mta/ops/linear.hpp>
#include <mta/ops/rms_norm.hpp>
#include <mta/ops/rotary.hpp>
#include <mta/ops/swiglu.hpp>

namespace mta {

/// The truth: the operations themselves. The bits depend on neither threads nor batch nor later tokens.
struct ReferenceDense {
    template <AnyTensor X>
    static auto linear_forward(const X& x, const LinearParams<ScalarOf<X>>& params) {
        return mta::linear_forward(x, params);
    }
    template <AnyTensor X, TensorOf<rank_of<X>> Out>
    static auto linear_backward(const Out& d_out, const X& x, const LinearParams<ScalarOf<X>>& params) {
        return mta::linear_backward(d_out, x, params);
    }

    template <AnyTensor X>
    static auto rms_norm_forward(const X& x, const RmsNormParams<ScalarOf<X>>& params,
                                 const RmsNormConfig& config = {}) {
        return mta::rms_norm_forward(x, params, config);
    }
    template <AnyTensor X, TensorOf<rank_of<X>> Out>
    static auto rms_norm_backward(const Out& d_out, const X& x, const RmsNormParams<ScalarOf<X>>& params,
                                  const RmsNormConfig& config = {}) {
        return mta::rms_norm_backward(d_out, x, params, config);
    }

    template <AnyTensor Gate, TensorOf<rank_of<Gate>> Up>
    static auto swiglu_forward(const Gate& gate, const Up& up) {
        return mta::swiglu_forward(gate, up);
    }
    template <AnyTensor Gate, TensorOf<rank_of<Gate>> Up, TensorOf<rank_of<Gate>> Out>
    static auto swiglu_backward(const Out& d_out, const Gate& gate, const Up& up) {
        return mta::swiglu_backward(d_out, gate, up);
    }

    template <TensorOf<4> X, class Positions = Index>
    static auto rotary_forward(const X& x, const RotaryConfig& config = {}, const Positions& positions = 0) {
        return mta::rotary_forward(x, config, positions);
    }
    template <TensorOf<4> Out, TensorOf<4> X, class Positions = Index>
    static auto rotary_backward(const Out& d_out, const X& x, const RotaryConfig& config = {},
                                const Positions& positions = 0) {
        return mta::rotary_backward(d_out, x, config, positions);
    }

    template <TensorOf<3> Logits, TensorOf<2> Targets, TensorOf<2> Mask>
    static auto cross_entropy_forward(const Logits& logits, const Targets& targets, const Mask& mask,
                                      CrossEntropyConfig config = {}) {
        return mta::cross_entropy_forward(logits, targets, mask, config);
    }
    template <TensorOf<3> Logits, TensorOf<2> Targets, TensorOf<2> Mask>
    static auto cross_entropy_backward(const ScalarOf<Logits>& d_loss, const Logits& logits,
                                       const Targets& targets, const Mask& mask,
                                       CrossEntropyConfig config = {}) {
        return mta::cross_entropy_backward(d_loss, logits, targets, mask, config);
    }
};

/// Holds for types that can stand where ReferenceDense stands, for this scalar.
template <class T, class Scalar>
concept DenseBackend = requires(const Tensor<Scalar, 3>& x, const Tensor<Scalar, 4>& heads,
                                const LinearParams<Scalar>& linear, const RmsNormParams<Scalar>& norm,
                                const RmsNormConfig& norm_config, const RotaryConfig& rotary,
                                const Tensor<std::int32_t, 2>& targets, const Tensor<float, 2>& mask,
                                const Scalar& d_loss) {
    { T::linear_forward(x, linear) } -> std::convertible_to<Tensor<Scalar, 3>>;
    { T::linear_backward(x, x, linear).d_x } -> std::convertible_to<Tensor<Scalar, 3>>;
    { T::linear_backward(x, x, linear).d_params } -> std::convertible_to<LinearParams<Scalar>>;
    { T::rms_norm_forward(x, norm, norm_config) } -> std::convertible_to<Tensor<Scalar, 3>>;
    { T::rms_norm_backward(x, x, norm, norm_config).d_x } -> std::convertible_to<Tensor<Scalar, 3>>;
    { T::rms_norm_backward(x, x, norm, norm_config).d_params } -> std::convertible_to<RmsNormParams<Scalar>>;
    { T::swiglu_forward(x, x) } -> std::convertible_to<Tensor<Scalar, 3>>;
    { T::swiglu_backward(x, x, x).d_gate } -> std::convertible_to<Tensor<Scalar, 3>>;
    { T::swiglu_backward(x, x, x).d_up } -> std::convertible_to<Tensor<Scalar, 3>>;
    { T::rotary_forward(heads, rotary, Index{0}) } -> std::convertible_to<Tensor<Scalar, 4>>;
    { T::rotary_backward(heads, heads, rotary, Index{0}).d_x } -> std::convertible_to<Tensor<Scalar, 4>>;
    { T::cross_entropy_forward(x, targets, mask).loss } -> std::convertible_to<Scalar>;
    {
        T::cross_entropy_backward(d_loss, x, targets, mask).d_logits
        } -> std::convertible_to<Tensor<Scalar, 3>>;
};

}  // namespace mta
