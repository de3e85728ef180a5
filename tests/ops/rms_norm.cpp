// Tests of RMS normalisation with its depth factors.
// SPDX-License-Identifier: MIT
#include <cmath>
#include <limits>
#include <mta/ops/rms_norm.hpp>

#include "support/checks.hpp"
#include "support/golden.hpp"
#include "support/tensors.hpp"
#include "support/threads.hpp"

namespace mta_test_rms_norm {
namespace {

using namespace mta;
using namespace mta::test;

// Eight roundings of 1.1e-16 each at most, in every hand-worked value.
constexpr double hand_bound = 1e-15;

RmsNormParams<double> params_of(std::initializer_list<double> weight) {
    RmsNormParams<double> params{make_parameter<double>(weight.size())};
    std::copy(weight.begin(), weight.end(), params.weight.data());
    return params;
}

RmsNormParams<double> random_params(std::uint64_t seed, Index D) {
    return {random_tensor(seed, D)};
}

}  // namespace

TEST_CASE("rms_norm: hand values") {
    // mean of squares (1 + 49) / 2 = 25, r = 1/5, n = [0.2, 1.4], out = [2 * 0.2, -0.5 * 1.4]
    const auto x = vector_of({1, 7}), d_out = vector_of({1, 3});
    const auto params = params_of({2, -0.5});
    const RmsNormConfig no_eps{.eps = 0};
    check_agrees("out", rms_norm_forward(x, params, no_eps), vector_of({0.4, -0.7}), hand_bound);
    // g = [2 * 1, -0.5 * 3], mean(g n) = (0.4 - 2.1) / 2 = -0.85
    // d_x = [(2 + 0.2 * 0.85) / 5, (-1.5 + 1.4 * 0.85) / 5], d_weight = [1 * 0.2, 3 * 1.4]
    const auto g = rms_norm_backward(d_out, x, params, no_eps);
    check_agrees("d_x", g.d_x, vector_of({0.434, -0.062}), hand_bound);
    check_agrees("d_weight", g.d_params.weight, vector_of({0.2, 4.2}), hand_bound);
}

TEST_CASE("rms_norm: hand values with eps and a layer factor") {
    // mean of squares 1, eps 3: r = 1/2; factor at layer 3 is 1/sqrt(4) = 1/2; out = 1/2 * weight * 1/2
    const auto x = vector_of({1, 1}), d_out = vector_of({1, 0});
    const auto params = params_of({2, 4});
    const RmsNormConfig config{.eps = 3, .factor = RmsNormFactor::layer, .layer_index = 3};
    check_same_bits("out", rms_norm_forward(x, params, config), vector_of({0.5, 1}));
    // g = [1/2 * 2 * 1, 0], n = [1/2, 1/2], mean(g n) = 1/4, d_x = [(1 - 1/8) / 2, (0 - 1/8) / 2]
    const auto g = rms_norm_backward(d_out, x, params, config);
    check_same_bits("d_x", g.d_x, vector_of({0.4375, -0.0625}));
    check_same_bits("d_weight", g.d_params.weight, vector_of({0.25, 0}));
}

TEST_CASE("rms_norm: hand values of the factor") {
    const auto factor = [](RmsNormFactor kind, Index layer) {
        return rms_norm_factor({.factor = kind, .layer_index = layer});
    };
    CHECK(factor(RmsNormFactor::one, 5) == 1.0);
    // lambda_init(0) = 0.8 - 0.6 = 0.2; lambda_init(10) = 0.8 - 0.6 e^-3 with e^-3 = 0.04978706836786394
    CHECK(std::abs(factor(RmsNormFactor::depth, 0) - 0.8) <= hand_bound);
    CHECK(std::abs(factor(RmsNormFactor::depth, 10) - 0.22987224102071837) <= hand_bound);
    CHECK(factor(RmsNormFactor::layer, 0) == 1.0);
    CHECK(factor(RmsNormFactor::layer, 3) == 0.5);
    CHECK(factor(RmsNormFactor::layer, 15) == 0.25);
}

TEST_CASE("rms_norm: independent values") {
    const Golden golden("ops/rms_norm");
    for (const std::string name : {"one", "depth_first", "depth_later", "layer_first", "layer_later",
                                   "large_eps", "no_eps", "small_x", "one_feature"}) {
        CAPTURE(name);
        const auto options = golden.tensor<1>(name + ".options");
        const RmsNormConfig config{options(0), static_cast<RmsNormFactor>(std::lround(options(1))),
                                   std::lround(options(2))};
        const auto x = golden.tensor<4>(name + ".x");
        const RmsNormParams<double> params{golden.tensor<1>(name + ".weight")};
        const auto g = rms_norm_backward(golden.tensor<4>(name + ".d_out"), x, params, config);
        check_agrees("out", rms_norm_forward(x, params, config), golden.tensor<4>(name + ".out"), 1e-13);
        check_agrees("d_x", g.d_x, golden.tensor<4>(name + ".d_x"), 1e-13);
        check_agrees("d_weight", g.d_params.weight, golden.tensor<1>(name + ".d_weight"), 1e-13);
    }
}

TEST_CASE("rms_norm: complex step and adjoint") {
    const RmsNormConfig configs[] = {{},
                                     {.eps = 0.3},
                                     {.eps = 0, .factor = RmsNormFactor::depth, .layer_index = 0},
                                     {.factor = RmsNormFactor::depth, .layer_index = 6},
                                     {.eps = 0.01, .factor = RmsNormFactor::layer, .layer_index = 4}};
    std::uint64_t seed = 1000;
    for (const auto& config : configs) {
        CAPTURE(config.eps);
        CAPTURE(config.layer_index);
        const auto x = random_tensor(++seed, 2, 3, 2, 6), d_out = random_tensor(++seed, 2, 3, 2, 6);
        const auto params = random_params(++seed, 6);
        const auto g = rms_norm_backward(d_out, x, params, config);
        check_gradient("d_x", d_out, x, g.d_x, [&](const auto& z) {
            return rms_norm_forward(z, cast_params<ScalarOf<decltype(z)>>(params), config);
        });
        check_parameter_gradients(d_out, params, g.d_params, [&](const auto& p) {
            return rms_norm_forward(cast<ScalarOf<decltype(p.weight)>>(x), p, config);
        });
    }
}

TEST_CASE("rms_norm: edge shapes") {
    const auto params = random_params(1, 5);
    const auto empty = rms_norm_backward(zeros<double>(0, 2, 3, 5), zeros<double>(0, 2, 3, 5), params);
    CHECK(rms_norm_forward(zeros<double>(0, 2, 3, 5), params).size() == 0);
    CHECK(empty.d_x.dimension(0) == 0);
    check_same_bits("d_weight of no rows", empty.d_params.weight, zeros<double>(5));

    // One token, and the same token as a vector: the rank is only a way to count rows.
    const auto x = random_tensor(2, 1, 1, 1, 5);
    const auto out = rms_norm_forward(x, params);
    const ConstTensorView<double, 1> x_vector(x.data(), 5), out_vector(out.data(), 5);
    check_same_bits("one row", rms_norm_forward(x_vector, params), Tensor<double, 1>(out_vector));

    // A row of zeros: eps keeps r finite; without it 0 * inf is NaN in the whole row.
    check_agrees("zeros", rms_norm_forward(zeros<double>(2, 5), params), zeros<double>(2, 5), 0);
    const auto without_eps = rms_norm_forward(zeros<double>(2, 5), params, {.eps = 0});
    for (const double value : elements(without_eps))
        CHECK(std::isnan(value));
}

TEST_CASE("rms_norm: properties: bits do not depend on threads or on the batch") {
    const auto x = random_tensor(11, 3, 2, 7, 6), d_out = random_tensor(12, 3, 2, 7, 6);
    const auto params = random_params(13, 6);
    const RmsNormConfig config{.factor = RmsNormFactor::depth, .layer_index = 2};
    const auto out = rms_norm_forward(x, params, config);
    const auto g = rms_norm_backward(d_out, x, params, config);
    at_thread_counts([&] {
        const auto again = rms_norm_backward(d_out, x, params, config);
        check_same_bits("out", rms_norm_forward(x, params, config), out);
        check_same_bits("d_x", again.d_x, g.d_x);
        check_same_bits("d_weight", again.d_params.weight, g.d_params.weight);
    });
    auto d_weight = zeros<double>(6);
    for (Index b = 0; b < 3; ++b) {
        const auto alone = rms_norm_backward(batch_row(d_out, b), batch_row(x, b), params, config);
        check_same_bits("out", rms_norm_forward(batch_row(x, b), params, config),
                        Tensor<double, 4>(batch_row(out, b)));
        check_same_bits("d_x", alone.d_x, Tensor<double, 4>(batch_row(g.d_x, b)));
        d_weight += alone.d_params.weight;
    }
    check_agrees("d_weight", g.d_params.weight, d_weight, 1e-14);  // 42 terms in another order
}

TEST_CASE("rms_norm: properties: NaN stays in its row and zero cotangents silence a row") {
    auto x = random_tensor(21, 2, 2, 3, 4), d_out = random_tensor(22, 2, 2, 3, 4);
    const auto params = random_params(23, 4);
    for (double& value : row(d_out, 1, 0, 2))
        value = -0.0;
    const auto out = rms_norm_forward(x, params);
    const auto g = rms_norm_backward(d_out, x, params);
    row(x, 1, 0, 2)[3] = not_a_number;
    const auto poisoned_out = rms_norm_forward(x, params);
    const auto poisoned = rms_norm_backward(d_out, x, params);
    check_same_bits("d_x", poisoned.d_x, g.d_x);
    check_same_bits("d_weight", poisoned.d_params.weight, g.d_params.weight);
    for (const double value : row(g.d_x, 1, 0, 2))
        CHECK(value == 0.0);
    for (Index r = 0; r < row_count(x); ++r)
        for (std::size_t d = 0; d < 4; ++d) {
            const double got = nth_row(poisoned_out, r)[d];
            CHECK((r == 8 ? std::isnan(got) : got == nth_row(out, r)[d]));  // row 8 is (1, 0, 2)
        }
    row(d_out, 1, 0, 2)[0] = 1e-300;  // not zero any more: the NaN must show
    const auto heard = rms_norm_backward(d_out, x, params);
    for (const double value : row(heard.d_x, 1, 0, 2))
        CHECK(std::isnan(value));
    CHECK(std::isnan(heard.d_params.weight(0)));
}

TEST_CASE("rms_norm: properties: metamorphic identities") {
    const auto x = random_tensor(31, 2, 3, 5), d_out = random_tensor(32, 2, 3, 5);
    const auto params = random_params(33, 5);
    const RmsNormConfig no_eps{.eps = 0};
    const auto out = rms_norm_forward(x, params, no_eps);
    // A power of two passes through squares, root and quotient exactly.
    const Tensor<double, 3> scaled = x * 8.0, negative = -x, minus_out = -out, twice_out = out * 2.0;
    check_same_bits("scale of x", rms_norm_forward(scaled, params, no_eps), out);
    check_same_bits("sign of x", rms_norm_forward(negative, params, no_eps), minus_out);
    const RmsNormParams<double> twice{params.weight * 2.0};
    check_same_bits("scale of weight", rms_norm_forward(x, twice, no_eps), twice_out);
    // Without eps the output does not change along x, so d_x is orthogonal to x.
    const auto g = rms_norm_backward(d_out, x, params, no_eps);
    for (Index r = 0; r < row_count(x); ++r)
        CHECK(std::abs(dot(nth_row(g.d_x, r), nth_row(x, r))) <= 1e-14);  // 5 products of numbers below 5
    // The depth factor multiplies everything: two roundings apart.
    const RmsNormConfig deep{.eps = 0, .factor = RmsNormFactor::layer, .layer_index = 8};
    const Tensor<double, 3> third = out / 3.0;
    check_agrees("factor", rms_norm_forward(x, params, deep), third, 1e-15);
    // Every weight matters, to its own column only.
    auto moved = params;
    moved.weight(3) += 1;
    const auto moved_out = rms_norm_forward(x, moved, no_eps);
    for (Index r = 0; r < row_count(x); ++r)
        for (std::size_t d = 0; d < 5; ++d)
            CHECK((nth_row(moved_out, r)[d] == nth_row(out, r)[d]) == (d != 3));
}

TEST_CASE("rms_norm: properties: float agrees with double") {
    const auto x = random_tensor<float>(41, 2, 3, 9), d_out = random_tensor<float>(42, 2, 3, 9);
    const RmsNormParams<float> params{random_tensor<float>(43, 9)};
    const RmsNormConfig config{.factor = RmsNormFactor::depth, .layer_index = 3};
    const auto wide = cast_params<double>(params);
    const auto g = rms_norm_backward(d_out, x, params, config);
    const auto want = rms_norm_backward(cast<double>(d_out), cast<double>(x), wide, config);
    // Rounding: the sum of D squares and 6 more operations; 4: how far the terms of d_x exceed their
    // difference, and rows of d_weight their sum, in this data.
    const double bound = 4 * (9 + 6) * std::numeric_limits<float>::epsilon() / 2;
    check_agrees("out", rms_norm_forward(x, params, config), rms_norm_forward(cast<double>(x), wide, config),
                 bound);
    check_agrees("d_x", g.d_x, want.d_x, bound);
    check_agrees("d_weight", g.d_params.weight, want.d_params.weight, bound);
}

TEST_CASE("rms_norm: errors") {
    const auto x = zeros<double>(2, 3, 4);
    const auto params = random_params(1, 4), narrow = random_params(1, 3);
    CHECK_THROWS_WITH_AS(rms_norm_forward(x, narrow), "rms_norm: width of weight: got 3, expected 4",
                         ShapeError);
    CHECK_THROWS_WITH_AS(rms_norm_forward(zeros<double>(2, 0), random_params(1, 0)),
                         "rms_norm: width of x: got 0, expected at least 1", ShapeError);
    CHECK_THROWS_WITH_AS(rms_norm_backward(zeros<double>(2, 4, 4), x, params),
                         "rms_norm: d_out: got shape [2, 4, 4], expected shape [2, 3, 4]", ShapeError);
    CHECK_THROWS_WITH_AS(rms_norm_backward(x, x, narrow), "rms_norm: width of weight: got 3, expected 4",
                         ShapeError);
    CHECK_THROWS_WITH_AS(rms_norm_forward(x, params, {.eps = -1e-5}),
                         "rms_norm: eps: got -1e-05, expected finite and at least 0", ValueError);
    CHECK_THROWS_WITH_AS(rms_norm_forward(x, params, {.eps = not_a_number}),
                         "rms_norm: eps: got nan, expected finite and at least 0", ValueError);
    CHECK_THROWS_WITH_AS(rms_norm_backward(x, x, params, {.eps = infinity}),
                         "rms_norm: eps: got inf, expected finite and at least 0", ValueError);
    CHECK_THROWS_WITH_AS(rms_norm_forward(x, params, {.layer_index = -1}),
                         "rms_norm: layer_index: got -1, expected at least 0", ValueError);
    CHECK_THROWS_WITH_AS(rms_norm_factor({.layer_index = -2}),
                         "rms_norm: layer_index: got -2, expected at least 0", ValueError);
}
}  // namespace mta_test_rms_norm
