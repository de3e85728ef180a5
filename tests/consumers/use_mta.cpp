// A user's first program: convolve scores with an identity kernel and get them back, with gradients.
// SPDX-License-Identifier: MIT
#include <mta/mta.hpp>

int main() {
    auto scores = mta::zeros<double>(1, 1, 3, 3);
    scores.setConstant(2.0);
    mta::KeyQueryConvParams<double> params{mta::make_parameter<double>(1, 2, 3)};
    params.kernel.setZero();
    params.kernel(0, 1, 1) = 1.0;
    const auto out = mta::key_query_conv_forward(scores, params);
    const auto grads = mta::key_query_conv_backward(out, scores, params);
    return out(0, 0, 2, 1) == 2.0 && grads.d_scores(0, 0, 2, 1) == 2.0 ? 0 : 1;
}
