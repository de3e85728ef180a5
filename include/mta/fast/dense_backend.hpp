// The dense parts of a model on CPUs, fast: what ReferenceDense is for the operations, for their fast twins.
// SPDX-License-Identifier: MIT
//
// Linear maps, norms and SwiGLU are the fast twins; rotary positions and cross-entropy cost too little to have one.
// Bits    the same at any thread count.
// Agrees  with ReferenceDense to rounding.
#pragma once

#include <mta/fast/linear.hpp>
#include <mta/fast/rms_norm.hpp>
#include <mta/fast/swiglu.hpp>
#include <mta/ops/cross_entropy.hpp>
#include <mta/ops/rotary.hpp>
#include <utility>

namespace mta {

/// Every member takes the arguments of the operation of its name and returns what that returns.
struct FastDense {
    template <class... A>
    static auto linear_forward(A&&... a) {
        return fast::linear_forward(std::forward<A>(a)...);
    }
    template <class... A>
    static auto linear_backward(A&&... a) {
        return fast::linear_backward(std::forward<A>(a)...);
    }
    template <class... A>
    static auto rms_norm_forward(A&&... a) {
        return fast::rms_norm_forward(std::forward<A>(a)...);
    }
    template <class... A>
    static auto rms_norm_backward(A&&... a) {
        return fast::rms_norm_backward(std::forward<A>(a)...);
    }
    template <class... A>
    static auto swiglu_forward(A&&... a) {
        return fast::swiglu_forward(std::forward<A>(a)...);
    }
    template <class... A>
    static auto swiglu_backward(A&&... a) {
        return fast::swiglu_backward(std::forward<A>(a)...);
    }
    template <class... A>
    static auto rotary_forward(A&&... a) {
        return mta::rotary_forward(std::forward<A>(a)...);
    }
    template <class... A>
    static auto rotary_backward(A&&... a) {
        return mta::rotary_backward(std::forward<A>(a)...);
    }
    template <class... A>
    static auto cross_entropy_forward(A&&... a) {
        return mta::cross_entropy_forward(std::forward<A>(a)...);
    }
    template <class... A>
    static auto cross_entropy_backward(A&&... a) {
        return mta::cross_entropy_backward(std::forward<A>(a)...);
    }
};

}  // namespace mta
