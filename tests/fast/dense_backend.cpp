// Tests that FastDense hands every call to the function of its name.
// SPDX-License-Identifier: MIT
#include <mta/fast/dense_backend.hpp>

#include "support/checks.hpp"
#include "support/tensors.hpp"

namespace mta_test_fast_dense_backend {
namespace {

using namespace mta;
using namespace mta::test;

}  // namespace

TEST_CASE("FastDense: linear map, norm and SwiGLU are the fast twins") {
    const auto x = random_tensor(1, 2, 3, 6), d_x_like = random_tensor(2, 2, 3, 6);
    const LinearParams<double> linear{random_tensor(3, 4, 6), random_tensor(4, 4)};
    const auto d_out = random_tensor(5, 2, 3, 4);
    check_same_bits("linear", FastDense::linear_forward(x, linear), fast::linear_forward(x, linear));
    check_same_bits("d_weight", FastDense::linear_backward(d_out, x, linear).d_params.weight,
                    fast::linear_backward(d_out, x, linear).d_params.weight);
    const RmsNormParams<double> norm{random_tensor(6, 6)};
    const RmsNormConfig config{.eps = 0.5};
    check_same_bits("rms_norm", FastDense::rms_norm_forward(x, norm, config),
                    fast::rms_norm_forward(x, norm, config));
    check_same_bits("d_x", FastDense::rms_norm_backward(d_x_like, x, norm, config).d_x,
                    fast::rms_norm_backward(d_x_like, x, norm, config).d_x);
    check_same_bits("swiglu", FastDense::swiglu_forward(x, d_x_like), fast::swiglu_forward(x, d_x_like));
    check_same_bits("d_up", FastDense::swiglu_backward(x, x, d_x_like).d_up,
                    fast::swiglu_backward(x, x, d_x_like).d_up);
}

TEST_CASE("FastDense: rotary positions and cross-entropy are the operations") {
    const auto x = random_tensor(1, 2, 2, 3, 4), d_out = random_tensor(2, 2, 2, 3, 4);
    const RotaryConfig rotary{.theta = 50};
    check_same_bits("rotary", FastDense::rotary_forward(x, rotary, 7), rotary_forward(x, rotary, 7));
    check_same_bits("d_x", FastDense::rotary_backward(d_out, x, rotary, 7).d_x,
                    rotary_backward(d_out, x, rotary, 7).d_x);
    const auto logits = random_tensor(3, 2, 3, 5);
    Tensor<int, 2> targets(2, 3);
    targets.setConstant(4);
    const auto weights = matrix_of(2, {0.5, 1, 0, 2, 0.25, 1});
    CHECK(FastDense::cross_entropy_forward(logits, targets, weights).loss ==
          cross_entropy_forward(logits, targets, weights).loss);
    check_same_bits("d_logits", FastDense::cross_entropy_backward(1.5, logits, targets, weights).d_logits,
                    cross_entropy_backward(1.5, logits, targets, weights).d_logits);
}

}  // namespace mta_test_fast_dense_backend
