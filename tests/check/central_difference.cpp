// Central differences: exact on polynomials, fourth order beyond, limited by rounding.
// SPDX-License-Identifier: MIT
#include <cmath>
#include <limits>
#include <mta/check/central_difference.hpp>
#include <vector>

#include "support/checks.hpp"

namespace mta_test_central_difference {
using namespace mta;
using namespace mta::test;
using check::central_difference_gradient;

namespace {

constexpr double nan_value = std::numeric_limits<double>::quiet_NaN();

template <class Scalar>
Tensor<Scalar, 1> one(Scalar value) {
    Tensor<Scalar, 1> t(1);
    t(0) = value;
    return t;
}

// Derivative of f at x.
template <class Scalar, class F>
Scalar slope(Scalar x, F&& f, double step) {
    return central_difference_gradient(
        one<Scalar>(1), one(x), [&](const auto& t) { return one<Scalar>(f(t(0))); }, step)(0);
}

}  // namespace

TEST_CASE("central_difference: exact up to fourth powers") {
    // The stencil's error starts with the fifth derivative. Whole numbers and steps of 1/4: no rounding.
    CHECK(slope(
              3.0, [](double) { return 7.0; }, 0.25) == 0);
    CHECK(slope(
              3.0, [](double x) { return 5 * x - 1; }, 0.25) == 5);
    CHECK(slope(
              3.0, [](double x) { return x * x; }, 0.25) == 6);
    CHECK(slope(
              3.0, [](double x) { return x * x * x; }, 0.25) == 27);
    CHECK(slope(
              3.0, [](double x) { return x * x * x * x; }, 0.25) == 108);
    // x^5 at 0: f' = 0, the stencil gives -4 h^4 = -4/256.
    CHECK(slope(
              0.0, [](double x) { return x * x * x * x * x; }, 0.25) == -0.015625);
}

TEST_CASE("central_difference: order of accuracy") {
    // Halving the step divides the error by 2^4; the error of exp at 1 is h^4 e / 30.
    const auto error = [](double step) {
        const auto f = [](long double x) { return std::exp(x); };
        return static_cast<double>(slope(1.0L, f, step) - std::exp(1.0L));
    };
    for (const double h : {0.2, 0.1, 0.05}) {
        CHECK(std::abs(error(h) / error(h / 2) - 16) < 0.5);
        CHECK(std::abs(error(h) / (-h * h * h * h * std::exp(1.0) / 30) - 1) < 0.05);
    }
}

TEST_CASE("central_difference: precision at the steps that are recommended") {
    // double, h = 1e-3: truncation 1e-12 e^x / 30 and rounding 1.5 eps e^x / h = 3.3e-13 e^x.
    const auto in_double = slope(
        1.3, [](double x) { return std::exp(x); }, 1e-3);
    CHECK(std::abs(in_double / std::exp(1.3) - 1) < 1e-12);
    // long double, h = 1e-4: 1e-16 / 30 and 1.5 * 1.1e-19 / 1e-4 = 1.6e-15.
    const auto in_long = slope(
        1.3L, [](long double x) { return std::exp(x); }, 1e-4);
    CHECK(std::abs(static_cast<double>(in_long / std::exp(1.3L) - 1)) < 1e-14);
    // float, h = 1/16: 1.5e-5 / 30 and 1.5 * 1.2e-7 * 16 = 2.9e-6.
    const auto in_float = slope(
        1.3F, [](float x) { return std::exp(x); }, 0.0625);
    CHECK(std::abs(in_float / std::exp(1.3F) - 1) < 5e-6F);
}

TEST_CASE("central_difference: gradients mix elements as the function does") {
    // out = (x0 x1, x1 + 3 x2): gradient (d0 x1, d0 x0 + d1, 3 d1) with x = (2, 5, 7), d_out = (10, 100).
    Tensor<double, 1> x(3), d_out(2), want(3);
    x.setValues({2, 5, 7});
    d_out.setValues({10, 100});
    want.setValues({50, 120, 300});
    int calls = 0;
    const auto f = [&](const auto& t) {
        ++calls;
        // One element at a time is moved, and put back with the same bits.
        CHECK((t(0) != x(0)) + (t(1) != x(1)) + (t(2) != x(2)) == 1);
        Tensor<double, 1> out(2);
        out(0) = t(0) * t(1);
        out(1) = t(1) + 3 * t(2);
        return out;
    };
    // Rounding: 1.5 eps |<d_out, f>| / h = 1.5 * 2.2e-16 * 2700 / 1e-3 = 9e-10, relative to 300: 3e-12.
    check_agrees("gradient", central_difference_gradient(d_out, x, f), want, 3e-12);
    CHECK(calls == 12);
    // Axes and views.
    const auto m = random_tensor(1, 2, 3), d = random_tensor(2, 2, 3);
    const ConstTensorView<double, 2> view(m.data(), 2, 3);
    const Tensor<double, 2> twice = 2.0 * d;
    const auto doubled = [](const auto& t) {
        const Tensor<double, 2> out = 2.0 * t;
        return out;
    };
    check_agrees("view", central_difference_gradient(d, view, doubled), twice, 1e-11);
}

TEST_CASE("central_difference: wrong gradients are told from right ones") {
    const auto x = random_tensor(3, 5), d_out = random_tensor(4, 5);
    const auto f = [](const auto& t) {
        const Tensor<double, 1> out = t * t;
        return out;
    };
    const Tensor<double, 1> right = 2.0 * x * d_out, half = x * d_out, negated = -2.0 * x * d_out;
    const auto numeric = central_difference_gradient(d_out, x, f);
    CHECK(check::compare("right", right, numeric, {.relative = 1e-8}));
    for (const auto& wrong : {half, negated, zeros_like(x)})
        CHECK(!check::compare("wrong", wrong, numeric, {.relative = 1e-8}));
    for (Index n = 0; n < 5; ++n) {
        auto off = right;
        off(n) += 1e-6;
        CHECK(!check::compare("off", off, numeric, {.relative = 1e-8}));
    }
    // Its limits: a kink inside the stencil gives the mean of both slopes.
    CHECK(slope(
              0.0, [](double v) { return std::abs(v); }, 1e-3) == 0);
}

TEST_CASE("central_difference: a NaN is never lost") {
    const auto identity = [](const auto& t) { return t; };
    const auto x = random_tensor(5, 3);
    auto bad = x;
    bad(1) = nan_value;
    for (Index n = 0; n < 3; ++n) {
        CHECK(std::isnan(central_difference_gradient(bad, x, identity)(n)));
        CHECK(std::isnan(central_difference_gradient(x, bad, identity)(n)));
    }
}

TEST_CASE("central_difference: errors and empty tensors") {
    const auto x = random_tensor(6, 2, 3);
    const auto identity = [](const auto& t) { return t; };
    CHECK_THROWS_WITH_AS(central_difference_gradient(random_tensor(7, 3, 2), x, identity),
                         "central_difference_gradient: d_out: got shape [3, 2], expected shape [2, 3]",
                         ShapeError);
    CHECK_THROWS_WITH_AS(central_difference_gradient(x, x, identity, 0),
                         "central_difference_gradient: step: got 0, expected finite and above 0", ValueError);
    for (const double step : {-1e-3, nan_value, std::numeric_limits<double>::infinity()})
        CHECK_THROWS_AS(central_difference_gradient(x, x, identity, step), ValueError);
    const auto none = zeros<double>(2, 0);
    CHECK(central_difference_gradient(none, none, identity).size() == 0);
}
}  // namespace mta_test_central_difference
