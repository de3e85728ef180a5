// Tests of layer normalisation.
// SPDX-License-Identifier: MIT
#include <cmath>
#include <limits>
#include <mta/ops/layer_norm.hpp>
#include <mta/ops/rms_norm.hpp>

#include "support/checks.hpp"
#include "support/golden.hpp"
#include "support/tensors.hpp"
#include "support/threads.hpp"

namespace mta_test_layer_norm {
namespace {

using namespace mta;
using namespace mta::test;

LayerNormParams<double> random_params(std::uint64_t seed, Index D) {
    return {random_tensor(seed, D), random_tensor(seed + 500, D)};
}

}  // namespace

TEST_CASE("layer_norm: hand values") {
    // mean 8/4 = 2, x - mean = [-1, -1, -1, 3], variance 12/4 = 3, eps 1: r = 1/sqrt(4) = 1/2
    // n = [-1/2, -1/2, -1/2, 3/2], out = weight * n + bias
    const auto x = vector_of({1, 1, 1, 5}), d_out = vector_of({1, 2, 3, -1});
    const LayerNormParams<double> params{vector_of({2, 1, -1, 4}), vector_of({0, 1, 0, -2})};
    const LayerNormConfig config{.eps = 1};
    check_same_bits("out", layer_norm_forward(x, params, config), vector_of({-1, 0.5, 0.5, 4}));
    // g = [2, 2, -3, -4], mean g = -3/4, mean(g n) = (-1 - 1 + 1.5 - 6) / 4 = -1.625
    // d_x = (g + 0.75 + 1.625 n) / 2: (2.75 - 0.8125) / 2 twice, (-2.25 - 0.8125) / 2, (-3.25 + 2.4375) / 2
    const auto g = layer_norm_backward(d_out, x, params, config);
    check_same_bits("d_x", g.d_x, vector_of({0.96875, 0.96875, -1.53125, -0.40625}));
    check_same_bits("d_weight", g.d_params.weight, vector_of({-0.5, -1, -1.5, -1.5}));
    check_same_bits("d_bias", g.d_params.bias, vector_of({1, 2, 3, -1}));
}

TEST_CASE("layer_norm: independent values") {
    const Golden golden("ops/layer_norm");
    for (const std::string name :
         {"plain", "wide", "large_eps", "no_eps", "small_x", "shifted", "two_features"}) {
        CAPTURE(name);
        const LayerNormConfig config{golden.tensor<1>(name + ".options")(0)};
        const auto x = golden.tensor<4>(name + ".x");
        const LayerNormParams<double> params{golden.tensor<1>(name + ".weight"),
                                             golden.tensor<1>(name + ".bias")};
        const auto g = layer_norm_backward(golden.tensor<4>(name + ".d_out"), x, params, config);
        check_agrees("out", layer_norm_forward(x, params, config), golden.tensor<4>(name + ".out"), 1e-13);
        check_agrees("d_x", g.d_x, golden.tensor<4>(name + ".d_x"), 1e-13);
        check_agrees("d_weight", g.d_params.weight, golden.tensor<1>(name + ".d_weight"), 1e-13);
        check_agrees("d_bias", g.d_params.bias, golden.tensor<1>(name + ".d_bias"), 1e-13);
    }
}

TEST_CASE("layer_norm: complex step and adjoint") {
    std::uint64_t seed = 1000;
    for (const double eps : {1e-5, 0.0, 0.3})
        for (const Index D : {3, 6}) {
            CAPTURE(eps);
            CAPTURE(D);
            const LayerNormConfig config{eps};
            const auto x = random_tensor(++seed, 2, 2, 3, D), d_out = random_tensor(++seed, 2, 2, 3, D);
            const auto params = random_params(++seed, D);
            const auto g = layer_norm_backward(d_out, x, params, config);
            check_gradient("d_x", d_out, x, g.d_x, [&](const auto& z) {
                return layer_norm_forward(z, cast_params<ScalarOf<decltype(z)>>(params), config);
            });
            check_parameter_gradients(d_out, params, g.d_params, [&](const auto& p) {
                return layer_norm_forward(cast<ScalarOf<decltype(p.weight)>>(x), p, config);
            });
        }
}

TEST_CASE("layer_norm: edge shapes") {
    const auto params = random_params(1, 5);
    CHECK(layer_norm_forward(zeros<double>(0, 2, 3, 5), params).size() == 0);
    const auto empty = layer_norm_backward(zeros<double>(0, 2, 3, 5), zeros<double>(0, 2, 3, 5), params);
    CHECK(empty.d_x.dimension(3) == 5);
    check_same_bits("d_weight of no rows", empty.d_params.weight, zeros<double>(5));
    check_same_bits("d_bias of no rows", empty.d_params.bias, zeros<double>(5));

    // One token, and the same token as a vector: the rank is only a way to count rows.
    const auto x = random_tensor(2, 1, 1, 1, 5);
    const auto out = layer_norm_forward(x, params);
    const ConstTensorView<double, 1> x_vector(x.data(), 5), out_vector(out.data(), 5);
    check_same_bits("one row", layer_norm_forward(x_vector, params), Tensor<double, 1>(out_vector));

    // Equal numbers (any row of one feature): only the bias is left; without eps 0 * inf is NaN.
    const auto thin = random_tensor(3, 4, 1);
    const LayerNormParams<double> one{vector_of({3}), vector_of({-7})};
    const auto with_eps = layer_norm_forward(thin, one),
               without_eps = layer_norm_forward(thin, one, {.eps = 0});
    for (const double value : elements(with_eps))
        CHECK(value == -7.0);
    const auto g = layer_norm_backward(random_tensor(4, 4, 1), thin, one);
    check_agrees("d_x of one feature", g.d_x, zeros<double>(4, 1), 0);
    for (const double value : elements(without_eps))
        CHECK(std::isnan(value));
}

TEST_CASE("layer_norm: properties: bits do not depend on threads or on the batch") {
    const auto x = random_tensor(11, 3, 2, 7, 6), d_out = random_tensor(12, 3, 2, 7, 6);
    const auto params = random_params(13, 6);
    const auto out = layer_norm_forward(x, params);
    const auto g = layer_norm_backward(d_out, x, params);
    at_thread_counts([&] {
        const auto again = layer_norm_backward(d_out, x, params);
        check_same_bits("out", layer_norm_forward(x, params), out);
        check_same_bits("d_x", again.d_x, g.d_x);
        check_same_bits("d_weight", again.d_params.weight, g.d_params.weight);
        check_same_bits("d_bias", again.d_params.bias, g.d_params.bias);
    });
    auto d_weight = zeros<double>(6), d_bias = zeros<double>(6);
    for (Index b = 0; b < 3; ++b) {
        const auto alone = layer_norm_backward(batch_row(d_out, b), batch_row(x, b), params);
        check_same_bits("out", layer_norm_forward(batch_row(x, b), params),
                        Tensor<double, 4>(batch_row(out, b)));
        check_same_bits("d_x", alone.d_x, Tensor<double, 4>(batch_row(g.d_x, b)));
        d_weight += alone.d_params.weight;
        d_bias += alone.d_params.bias;
    }
    check_agrees("d_weight", g.d_params.weight, d_weight, 1e-14);  // 42 terms in another order
    check_agrees("d_bias", g.d_params.bias, d_bias, 1e-14);
}

TEST_CASE("layer_norm: properties: NaN stays in its row and zero cotangents silence a row") {
    auto x = random_tensor(21, 2, 2, 3, 4), d_out = random_tensor(22, 2, 2, 3, 4);
    const auto params = random_params(23, 4);
    for (double& value : row(d_out, 1, 0, 2))
        value = -0.0;
    const auto out = layer_norm_forward(x, params);
    const auto g = layer_norm_backward(d_out, x, params);
    row(x, 1, 0, 2)[3] = not_a_number;
    const auto poisoned_out = layer_norm_forward(x, params);
    const auto poisoned = layer_norm_backward(d_out, x, params);
    check_same_bits("d_x", poisoned.d_x, g.d_x);
    check_same_bits("d_weight", poisoned.d_params.weight, g.d_params.weight);
    check_same_bits("d_bias", poisoned.d_params.bias, g.d_params.bias);
    for (const double value : row(g.d_x, 1, 0, 2))
        CHECK(value == 0.0);
    for (Index r = 0; r < row_count(x); ++r)
        for (std::size_t d = 0; d < 4; ++d) {
            const double got = nth_row(poisoned_out, r)[d];
            CHECK((r == 8 ? std::isnan(got) : got == nth_row(out, r)[d]));  // row 8 is (1, 0, 2)
        }
    row(d_out, 1, 0, 2)[0] = 1e-300;  // not zero any more: the NaN must show
    const auto heard = layer_norm_backward(d_out, x, params);
    for (const double value : row(heard.d_x, 1, 0, 2))
        CHECK(std::isnan(value));
    CHECK(std::isnan(heard.d_params.weight(0)));
}

TEST_CASE("layer_norm: properties: metamorphic identities") {
    // Eighths, eight of them: sums and means are exact even beside 2^30, so shifting x changes no bit. A
    // variance taken as mean(x^2) - mean^2 would have no digit left there.
    auto x = random_tensor(31, 2, 3, 8);
    for (double& value : elements(x))
        value = std::round(8 * value) / 8;
    const auto d_out = random_tensor(32, 2, 3, 8);
    const auto params = random_params(33, 8);
    const LayerNormConfig no_eps{.eps = 0};
    const auto out = layer_norm_forward(x, params, no_eps);
    const Tensor<double, 3> shifted = x + x.constant(0x1p30), scaled = x * 16.0;
    check_same_bits("shift", layer_norm_forward(shifted, params, no_eps), out);
    check_same_bits("scale", layer_norm_forward(scaled, params, no_eps), out);
    // So d_x has mean 0 and is orthogonal to x.
    const auto g = layer_norm_backward(d_out, x, params, no_eps);
    for (Index r = 0; r < row_count(x); ++r) {
        double sum = 0;
        for (const double value : nth_row(g.d_x, r))
            sum += value;
        CHECK(std::abs(sum) <= 1e-14);  // 8 numbers below 5
        CHECK(std::abs(dot(nth_row(g.d_x, r), nth_row(x, r))) <= 3e-14);
    }
    // On centred rows it is RMS normalisation plus the bias (the mean is exact here).
    auto centred = x;
    for (Index r = 0; r < row_count(x); ++r) {
        double mean = 0;
        for (const double value : nth_row(x, r))
            mean += value / 8;
        for (double& value : nth_row(centred, r))
            value -= mean;
    }
    auto want = rms_norm_forward(centred, RmsNormParams<double>{params.weight}, {.eps = 0.25});
    for (Index r = 0; r < row_count(x); ++r)
        for (std::size_t d = 0; d < 8; ++d)
            nth_row(want, r)[d] += params.bias.data()[d];
    check_agrees("centred", layer_norm_forward(x, params, {.eps = 0.25}), want, 1e-15);
}

TEST_CASE("layer_norm: properties: every parameter matters, to its own column only") {
    const auto x = random_tensor(41, 2, 3, 5);
    const auto params = random_params(42, 5);
    const auto out = layer_norm_forward(x, params);
    for (const bool move_bias : {false, true}) {
        auto moved = params;
        (move_bias ? moved.bias(3) : moved.weight(3)) += 1;
        const auto moved_out = layer_norm_forward(x, moved);
        for (Index r = 0; r < row_count(x); ++r)
            for (std::size_t d = 0; d < 5; ++d)
                CHECK((nth_row(moved_out, r)[d] == nth_row(out, r)[d]) == (d != 3));
    }
}

TEST_CASE("layer_norm: properties: float agrees with double") {
    const auto x = random_tensor<float>(51, 2, 3, 9), d_out = random_tensor<float>(52, 2, 3, 9);
    const LayerNormParams<float> params{random_tensor<float>(53, 9), random_tensor<float>(54, 9)};
    const auto wide = cast_params<double>(params);
    const auto g = layer_norm_backward(d_out, x, params);
    const auto want = layer_norm_backward(cast<double>(d_out), cast<double>(x), wide);
    // Rounding: two sums of D terms and 8 more operations; 4: how far the terms of d_x exceed their
    // difference, and rows of d_weight their sum, in this data.
    const double bound = 4 * (2 * 9 + 8) * std::numeric_limits<float>::epsilon() / 2;
    check_agrees("out", layer_norm_forward(x, params), layer_norm_forward(cast<double>(x), wide), bound);
    check_agrees("d_x", g.d_x, want.d_x, bound);
    check_agrees("d_weight", g.d_params.weight, want.d_params.weight, bound);
    check_agrees("d_bias", g.d_params.bias, want.d_params.bias, bound);
}

TEST_CASE("layer_norm: errors") {
    const auto x = zeros<double>(2, 3, 4);
    const auto params = random_params(1, 4), narrow = random_params(2, 3);
    const LayerNormParams<double> short_bias{params.weight, narrow.bias};
    CHECK_THROWS_WITH_AS(layer_norm_forward(x, narrow), "layer_norm: width of weight: got 3, expected 4",
                         ShapeError);
    CHECK_THROWS_WITH_AS(layer_norm_forward(x, short_bias), "layer_norm: width of bias: got 3, expected 4",
                         ShapeError);
    CHECK_THROWS_WITH_AS(layer_norm_backward(x, x, short_bias),
                         "layer_norm: width of bias: got 3, expected 4", ShapeError);
    CHECK_THROWS_WITH_AS(layer_norm_forward(zeros<double>(2, 0), random_params(3, 0)),
                         "layer_norm: width of x: got 0, expected at least 1", ShapeError);
    CHECK_THROWS_WITH_AS(layer_norm_backward(zeros<double>(2, 4, 4), x, params),
                         "layer_norm: d_out: got shape [2, 4, 4], expected shape [2, 3, 4]", ShapeError);
    CHECK_THROWS_WITH_AS(layer_norm_forward(x, params, {.eps = -1e-5}),
                         "layer_norm: eps: got -1e-05, expected finite and at least 0", ValueError);
    CHECK_THROWS_WITH_AS(layer_norm_backward(x, x, params, {.eps = not_a_number}),
                         "layer_norm: eps: got nan, expected finite and at least 0", ValueError);
    CHECK_THROWS_WITH_AS(layer_norm_forward(x, params, {.eps = infinity}),
                         "layer_norm: eps: got inf, expected finite and at least 0", ValueError);
}
}  // namespace mta_test_layer_norm
