// Tests of the linear map with and without a bias.
// SPDX-License-Identifier: MIT
#include <cmath>
#include <limits>
#include <mta/ops/linear.hpp>
#include <string>

#include "support/checks.hpp"
#include "support/golden.hpp"
#include "support/tensors.hpp"
#include "support/threads.hpp"

namespace mta_test_linear {
namespace {

using namespace mta;
using namespace mta::test;

LinearParams<double> random_params(std::uint64_t seed, Index outputs, Index inputs, bool bias = true) {
    LinearParams<double> params{random_tensor(seed, outputs, inputs), std::nullopt};
    if (bias) params.bias = random_tensor(seed + 500, outputs);
    return params;
}

// Small whole numbers: sums and products of a few of them are exact.
template <class T>
T whole_numbers(T t) {
    for (double& value : elements(t))
        value = std::round(4 * value);
    return t;
}

}  // namespace

TEST_CASE("linear: hand values") {
    const auto x = matrix_of(2, {1, 2, 3, 0, 1, -1}), d_out = matrix_of(2, {2, -4, 1, 1});
    const LinearParams<double> params{matrix_of(2, {1, 0, -1, 2, -1, 0.5}), vector_of({10, -1})};
    // row 0: [1 - 3 + 10, 2 - 2 + 1.5 - 1]    row 1: [0 + 1 + 10, -1 - 0.5 - 1]
    check_same_bits("out", linear_forward(x, params), matrix_of(2, {8, 0.5, 11, -2.5}));
    // d_x row 0: 2 * [1, 0, -1] - 4 * [2, -1, 0.5]    row 1: [1, 0, -1] + [2, -1, 0.5]
    const auto g = linear_backward(d_out, x, params);
    check_same_bits("d_x", g.d_x, matrix_of(2, {-6, 4, -4, 3, -1, -0.5}));
    // d_weight = [2, -4]^T [1, 2, 3] + [1, 1]^T [0, 1, -1], d_bias = [2, -4] + [1, 1]
    check_same_bits("d_weight", g.d_params.weight, matrix_of(2, {2, 5, 5, -4, -7, -13}));
    check_same_bits("d_bias", *g.d_params.bias, vector_of({3, -3}));
    // Without a bias: 10 and -1 less, and no gradient for what is not there.
    const LinearParams<double> bare{params.weight, std::nullopt};
    check_same_bits("out", linear_forward(x, bare), matrix_of(2, {-2, 1.5, 1, -1.5}));
    CHECK_FALSE(linear_backward(d_out, x, bare).d_params.bias.has_value());
}

TEST_CASE("linear: independent values") {
    const Golden golden("ops/linear");
    for (const std::string name : {"bias", "no_bias", "square", "widening", "long_sums", "one_to_one"}) {
        CAPTURE(name);
        const auto x = golden.tensor<3>(name + ".x");
        LinearParams<double> params{golden.tensor<2>(name + ".weight"), std::nullopt};
        if (golden.has(name + ".bias")) params.bias = golden.tensor<1>(name + ".bias");
        const auto g = linear_backward(golden.tensor<3>(name + ".d_out"), x, params);
        check_agrees("out", linear_forward(x, params), golden.tensor<3>(name + ".out"), 1e-13);
        check_agrees("d_x", g.d_x, golden.tensor<3>(name + ".d_x"), 1e-13);
        check_agrees("d_weight", g.d_params.weight, golden.tensor<2>(name + ".d_weight"), 1e-13);
        CHECK(g.d_params.bias.has_value() == golden.has(name + ".d_bias"));
        if (params.bias) check_agrees("d_bias", *g.d_params.bias, golden.tensor<1>(name + ".d_bias"), 1e-13);
    }
}

TEST_CASE("linear: complex step and adjoint") {
    std::uint64_t seed = 1000;
    for (const bool bias : {true, false})
        for (const Index outputs : {1, 3, 6}) {
            CAPTURE(bias);
            CAPTURE(outputs);
            const auto x = random_tensor(++seed, 2, 3, 4), d_out = random_tensor(++seed, 2, 3, outputs);
            const auto params = random_params(++seed, outputs, 4, bias);
            const auto g = linear_backward(d_out, x, params);
            check_gradient("d_x", d_out, x, g.d_x, [&](const auto& z) {
                return linear_forward(z, cast_params<ScalarOf<decltype(z)>>(params));
            });
            check_parameter_gradients(d_out, params, g.d_params, [&](const auto& p) {
                return linear_forward(cast<ScalarOf<decltype(p.weight)>>(x), p);
            });
        }
}

TEST_CASE("linear: edge shapes") {
    const auto params = random_params(1, 3, 5);
    CHECK(linear_forward(zeros<double>(0, 4, 5), params).dimension(2) == 3);
    const auto empty = linear_backward(zeros<double>(0, 4, 3), zeros<double>(0, 4, 5), params);
    CHECK(empty.d_x.dimension(2) == 5);
    check_same_bits("d_weight of no rows", empty.d_params.weight, zeros<double>(3, 5));
    check_same_bits("d_bias of no rows", *empty.d_params.bias, zeros<double>(3));

    // One token, and the same token as a vector: the rank is only a way to count rows.
    const auto x = random_tensor(2, 1, 1, 5);
    const auto out = linear_forward(x, params);
    const ConstTensorView<double, 1> x_vector(x.data(), 5), out_vector(out.data(), 3);
    check_same_bits("one row", linear_forward(x_vector, params), Tensor<double, 1>(out_vector));
}

TEST_CASE("linear: edge shapes: parameters with and without a bias") {
    using Shapes = LinearParams<ShapeOnly>;
    CHECK(parameter_count(Shapes{make_parameter<ShapeOnly>(1536, 4096), std::nullopt}) == 1536 * 4096);
    CHECK(parameter_count(Shapes{make_parameter<ShapeOnly>(7, 4), make_parameter<ShapeOnly>(7)}) == 35);
    auto with = random_params(1, 2, 3), without = random_params(2, 2, 3, false);
    std::string names;
    LinearParams<double>::for_each([&](std::string_view name, auto&) { names += std::string(name) + " "; },
                                   with);
    LinearParams<double>::for_each([&](std::string_view name, auto&) { names += std::string(name) + " "; },
                                   without);
    CHECK(names == "weight bias weight ");
    CHECK(cast_params<float>(with).bias.has_value());
    CHECK_FALSE(cast_params<float>(without).bias.has_value());
    const auto walk_both = [&] { LinearParams<double>::for_each([](auto&&...) {}, with, without); };
    CHECK_THROWS_WITH_AS(
        walk_both(), "linear: bias: got one in some of the parameter sets, expected one in all or in none",
        ShapeError);
}

TEST_CASE("linear: properties: bits do not depend on threads or on the batch") {
    const auto x = random_tensor(11, 3, 9, 6), d_out = random_tensor(12, 3, 9, 5);
    const auto params = random_params(13, 5, 6);
    const auto out = linear_forward(x, params);
    const auto g = linear_backward(d_out, x, params);
    at_thread_counts([&] {
        const auto again = linear_backward(d_out, x, params);
        check_same_bits("out", linear_forward(x, params), out);
        check_same_bits("d_x", again.d_x, g.d_x);
        check_same_bits("d_weight", again.d_params.weight, g.d_params.weight);
        check_same_bits("d_bias", *again.d_params.bias, *g.d_params.bias);
    });
    auto d_weight = zeros<double>(5, 6);
    for (Index b = 0; b < 3; ++b) {
        const auto alone = linear_backward(batch_row(d_out, b), batch_row(x, b), params);
        check_same_bits("out", linear_forward(batch_row(x, b), params), Tensor<double, 3>(batch_row(out, b)));
        check_same_bits("d_x", alone.d_x, Tensor<double, 3>(batch_row(g.d_x, b)));
        d_weight += alone.d_params.weight;
    }
    check_agrees("d_weight", g.d_params.weight, d_weight, 1e-14);  // 27 terms in another order
}

TEST_CASE("linear: properties: NaN stays in its row and zero cotangents silence a row") {
    auto x = random_tensor(21, 2, 3, 4), d_out = random_tensor(22, 2, 3, 5);
    const auto params = random_params(23, 5, 4);
    for (double& value : row(d_out, 1, 0))
        value = -0.0;
    const auto out = linear_forward(x, params);
    const auto g = linear_backward(d_out, x, params);
    row(x, 1, 0)[2] = not_a_number;
    const auto poisoned_out = linear_forward(x, params);
    const auto poisoned = linear_backward(d_out, x, params);
    check_same_bits("d_x", poisoned.d_x, g.d_x);
    check_same_bits("d_weight", poisoned.d_params.weight, g.d_params.weight);
    check_same_bits("d_bias", *poisoned.d_params.bias, *g.d_params.bias);
    for (Index r = 0; r < 6; ++r)
        for (std::size_t o = 0; o < 5; ++o) {
            const double got = nth_row(poisoned_out, r)[o];
            CHECK((r == 3 ? std::isnan(got) : got == nth_row(out, r)[o]));  // row 3 is (1, 0)
        }
    row(d_out, 1, 0)[1] = 1e-300;  // not zero any more: the NaN must show
    CHECK(std::isnan(linear_backward(d_out, x, params).d_params.weight(1, 2)));
    // A NaN weight under a row without a cotangent does not reach that row's d_x.
    for (double& value : row(d_out, 1, 0))
        value = 0.0;
    auto broken = params;
    broken.weight(4, 1) = not_a_number;
    const auto d_x = linear_backward(d_out, x, broken).d_x;
    for (const double value : row(d_x, 1, 0))
        CHECK(value == 0.0);
}

TEST_CASE("linear: properties: exact on whole numbers") {
    const auto x = whole_numbers(random_tensor(31, 4, 5)), y = whole_numbers(random_tensor(32, 4, 5));
    LinearParams<double> first = random_params(33, 3, 5, false), second = random_params(34, 6, 3, false);
    first.weight = whole_numbers(first.weight);
    second.weight = whole_numbers(second.weight);
    // Linear in x, and two maps in a row are the product of their matrices.
    const Tensor<double, 2> mixed = 3.0 * x - y;
    const Tensor<double, 2> parts = 3.0 * linear_forward(x, first) - linear_forward(y, first);
    check_agrees("linear", linear_forward(mixed, first), parts, 0);
    auto product = zeros<double>(6, 5);
    for (Index o = 0; o < 6; ++o)
        for (Index d = 0; d < 5; ++d)
            for (Index m = 0; m < 3; ++m)
                product(o, d) += second.weight(o, m) * first.weight(m, d);
    check_agrees("composed", linear_forward(linear_forward(x, first), second),
                 linear_forward(x, LinearParams<double>{product, std::nullopt}), 0);
    // The identity matrix copies x bit for bit (finite x), and a bias shifts it.
    LinearParams<double> identity{zeros<double>(5, 5), std::nullopt};
    for (Index d = 0; d < 5; ++d)
        identity.weight(d, d) = 1;
    check_agrees("identity", linear_forward(x, identity), x, 0);
    // d_bias is what d_weight would be against an input of ones.
    const auto d_out = whole_numbers(random_tensor(35, 4, 5));
    identity.bias = vector_of({1, 2, 3, 4, 5});
    auto ones = zeros_like(x);
    ones.setConstant(1);
    const auto g = linear_backward(d_out, ones, identity);
    for (Index o = 0; o < 5; ++o)
        CHECK((*g.d_params.bias)(o) == g.d_params.weight(o, 0));
}

TEST_CASE("linear: properties: float agrees with double") {
    const auto x = random_tensor<float>(41, 2, 3, 8), d_out = random_tensor<float>(42, 2, 3, 5);
    const LinearParams<float> params{random_tensor<float>(43, 5, 8), random_tensor<float>(44, 5)};
    const auto wide = cast_params<double>(params);
    const auto g = linear_backward(d_out, x, params);
    const auto want = linear_backward(cast<double>(d_out), cast<double>(x), wide);
    // A sum of n products errs by n half eps of the sum of their magnitudes; n <= 9. 4: how far that sum
    // exceeds the largest result in this data.
    const double bound = 4 * 9 * std::numeric_limits<float>::epsilon() / 2;
    check_agrees("out", linear_forward(x, params), linear_forward(cast<double>(x), wide), bound);
    check_agrees("d_x", g.d_x, want.d_x, bound);
    check_agrees("d_weight", g.d_params.weight, want.d_params.weight, bound);
    check_agrees("d_bias", *g.d_params.bias, *want.d_params.bias, bound);
}

TEST_CASE("linear: errors") {
    const auto x = zeros<double>(2, 3, 4);
    const auto params = random_params(1, 5, 4);
    CHECK_THROWS_WITH_AS(linear_forward(zeros<double>(2, 3), params), "linear: width of x: got 3, expected 4",
                         ShapeError);
    const LinearParams<double> short_bias{params.weight, random_tensor(2, 4)};
    CHECK_THROWS_WITH_AS(linear_forward(x, short_bias), "linear: width of bias: got 4, expected 5",
                         ShapeError);
    CHECK_THROWS_WITH_AS(linear_backward(x, x, params),
                         "linear: d_out: got shape [2, 3, 4], expected shape [2, 3, 5]", ShapeError);
    CHECK_THROWS_WITH_AS(linear_backward(zeros<double>(2, 3, 5), x, short_bias),
                         "linear: width of bias: got 4, expected 5", ShapeError);
    CHECK_THROWS_WITH_AS(linear_forward(zeros<double>(2, 0), random_params(3, 2, 0)),
                         "linear: weight: got shape [2, 0], expected at least one output and one input",
                         ShapeError);
    CHECK_THROWS_WITH_AS(linear_forward(x, random_params(4, 0, 4)),
                         "linear: weight: got shape [0, 4], expected at least one output and one input",
                         ShapeError);
}
}  // namespace mta_test_linear
