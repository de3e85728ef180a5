// The dense backend: the reference is the operations themselves, and what the concept asks.
// SPDX-License-Identifier: MIT
#include <complex>
#include <mta/layers/dense_backend.hpp>

#include "support/checks.hpp"

namespace mta_test_dense_backend {
using namespace mta;
using namespace mta::test;

namespace {

static_assert(DenseBackend<ReferenceDense, double> && DenseBackend<ReferenceDense, float>);
static_assert(DenseBackend<ReferenceDense, std::complex<double>>);

// Another implementation of one product takes everything else over.
struct OwnLinear : ReferenceDense {
    template <AnyTensor X>
    static auto linear_forward(const X& x, const LinearParams<ScalarOf<X>>& params) -> TensorLike<X> {
        return mta::linear_forward(x, params);
    }
};
static_assert(DenseBackend<OwnLinear, float>);

struct WithoutRotary {
    template <class... A>
    static auto linear_forward(const A&... a) {
        return ReferenceDense::linear_forward(a...);
    }
};
struct WrongResult : ReferenceDense {
    template <AnyTensor X>
    static auto rms_norm_forward(const X&, const RmsNormParams<ScalarOf<X>>& params, const RmsNormConfig&) {
        return params;
    }
};
static_assert(!DenseBackend<WithoutRotary, double> && !DenseBackend<WrongResult, double>);
static_assert(!DenseBackend<int, double>);

}  // namespace

TEST_CASE("dense_backend: linear is the operation") {
    const auto x = random_tensor(1, 2, 3, 4), d_out = random_tensor(2, 2, 3, 5);
    const LinearParams<double> params{random_tensor(3, 5, 4), random_tensor(4, 5)};
    check_same_bits("out", ReferenceDense::linear_forward(x, params), linear_forward(x, params));
    const auto got = ReferenceDense::linear_backward(d_out, x, params),
               want = linear_backward(d_out, x, params);
    check_same_bits("d_x", got.d_x, want.d_x);
    check_same_bits("d_weight", got.d_params.weight, want.d_params.weight);
    check_same_bits("d_bias", *got.d_params.bias, *want.d_params.bias);
}

TEST_CASE("dense_backend: rms_norm is the operation, with its configuration") {
    const auto x = random_tensor(5, 2, 3, 4), d_out = random_tensor(6, 2, 3, 4);
    const RmsNormParams<double> params{random_tensor(7, 4)};
    const RmsNormConfig config{.eps = 0.3, .factor = RmsNormFactor::depth, .layer_index = 2};
    check_same_bits("out", ReferenceDense::rms_norm_forward(x, params, config),
                    rms_norm_forward(x, params, config));
    check_same_bits("out", ReferenceDense::rms_norm_forward(x, params), rms_norm_forward(x, params));
    const auto got = ReferenceDense::rms_norm_backward(d_out, x, params, config);
    const auto want = rms_norm_backward(d_out, x, params, config);
    check_same_bits("d_x", got.d_x, want.d_x);
    check_same_bits("d_weight", got.d_params.weight, want.d_params.weight);
}

TEST_CASE("dense_backend: swiglu is the operation, gate first") {
    const auto gate = random_tensor(8, 2, 3, 4), up = random_tensor(9, 2, 3, 4),
               d_out = random_tensor(10, 2, 3, 4);
    check_same_bits("out", ReferenceDense::swiglu_forward(gate, up), swiglu_forward(gate, up));
    const auto got = ReferenceDense::swiglu_backward(d_out, gate, up),
               want = swiglu_backward(d_out, gate, up);
    check_same_bits("d_gate", got.d_gate, want.d_gate);
    check_same_bits("d_up", got.d_up, want.d_up);
}

TEST_CASE("dense_backend: rotary is the operation, with its configuration and positions") {
    const auto x = random_tensor(11, 2, 2, 3, 4), d_out = random_tensor(12, 2, 2, 3, 4);
    const RotaryConfig config{.layout = RotaryLayout::half_split, .theta = 50};
    Tensor<int, 2> positions(2, 3);
    positions.setValues({{3, 1, 4}, {1, 5, 9}});
    check_same_bits("out", ReferenceDense::rotary_forward(x), rotary_forward(x));
    check_same_bits("out", ReferenceDense::rotary_forward(x, config, 7), rotary_forward(x, config, 7));
    check_same_bits("out", ReferenceDense::rotary_forward(x, config, positions),
                    rotary_forward(x, config, positions));
    check_same_bits("d_x", ReferenceDense::rotary_backward(d_out, x, config, 7).d_x,
                    rotary_backward(d_out, x, config, 7).d_x);
    check_same_bits("d_x", ReferenceDense::rotary_backward(d_out, x, config, positions).d_x,
                    rotary_backward(d_out, x, config, positions).d_x);
}

TEST_CASE("dense_backend: cross_entropy is the operation, with its mask and configuration") {
    const auto logits = random_tensor(13, 2, 3, 5);
    Tensor<std::int32_t, 2> targets(2, 3);
    targets.setValues({{0, 4, 2}, {1, 1, 3}});
    Tensor<float, 2> mask(2, 3);
    mask.setValues({{0, 1, 0.5}, {2, 0, 1}});
    const CrossEntropyConfig config{.denominator_eps = 0.7};
    const auto got = ReferenceDense::cross_entropy_forward(logits, targets, mask, config);
    const auto want = cross_entropy_forward(logits, targets, mask, config);
    CHECK(got.loss == want.loss);
    CHECK(got.loss != ReferenceDense::cross_entropy_forward(logits, targets, mask).loss);
    check_same_bits("token_losses", got.token_losses, want.token_losses);
    check_same_bits("d_logits",
                    ReferenceDense::cross_entropy_backward(0.3, logits, targets, mask, config).d_logits,
                    cross_entropy_backward(0.3, logits, targets, mask, config).d_logits);
}

TEST_CASE("dense_backend: errors are those of the operations") {
    const LinearParams<double> params{random_tensor(3, 5, 4), std::nullopt};
    CHECK_THROWS_WITH_AS(ReferenceDense::linear_forward(random_tensor(1, 2, 3, 6), params),
                         "linear: width of x: got 6, expected 4", ShapeError);
}
}  // namespace mta_test_dense_backend
