// Complex step against known derivatives, and against functions it must not vouch for.
// SPDX-License-Identifier: MIT
#include <cmath>
#include <complex>
#include <limits>
#include <mta/check/complex_step.hpp>
#include <string>

#include "support/checks.hpp"

namespace mta_test_complex_step {
using namespace mta;
using namespace mta::test;
using check::Complex;

namespace {

constexpr double nan_value = std::numeric_limits<double>::quiet_NaN();

// Applies f to every element.
template <class T, class F>
TensorLike<T> map(const T& t, F&& f) {
    TensorLike<T> out(t.dimensions());
    for (Index n = 0; n < t.size(); ++n)
        out.data()[n] = f(t.data()[n]);
    return out;
}

template <class Scalar>
struct LineParams {
    Parameter<Scalar, 1> slope, shift;

    template <class F, class... P>
    static void for_each(F&& f, P&... p) {
        f("slope", p.slope...);
        f("shift", p.shift...);
    }
};

}  // namespace

TEST_CASE("complex_step: known derivatives, element by element") {
    const auto x = map(random_tensor(1, 2, 3), [](double v) { return 0.1 + std::abs(v); });
    const auto d_out = random_tensor(2, 2, 3);
    const auto judge = [&](auto&& f, auto&& slope) {
        auto want = map(x, slope);
        for (Index n = 0; n < want.size(); ++n)
            want.data()[n] *= d_out.data()[n];
        check_agrees("gradient",
                     check::complex_step_gradient(d_out, x, [&](const auto& z) { return map(z, f); }), want,
                     4e-16 * 8);  // a few roundings of the function itself; the step costs none
    };
    judge([](auto z) { return exp(z); }, [](double v) { return std::exp(v); });
    judge([](auto z) { return log(z); }, [](double v) { return 1 / v; });
    judge([](auto z) { return sin(z); }, [](double v) { return std::cos(v); });
    judge([](auto z) { return sqrt(z); }, [](double v) { return 0.5 / std::sqrt(v); });
    judge([](auto z) { return z * z * z; }, [](double v) { return 3 * v * v; });
    judge([](auto z) { return 1.0 / z; }, [](double v) { return -1 / (v * v); });
    judge([](auto z) { return tanh(z); }, [](double v) { return std::pow(std::cosh(v), -2.0); });
    judge([](auto) { return Complex(5); }, [](double) { return 0.0; });
}

TEST_CASE("complex_step: no cancellation where differences have none left") {
    // f(x) = exp(x) / (sin(x)^3 + cos(x)^3) at 1.5, Squire and Trapp's example: f' = 3.62203370071632.
    auto x = zeros<double>(1), one = zeros<double>(1);
    x(0) = 1.5;
    one(0) = 1;
    const auto f = [](const auto& z) {
        return map(z, [](auto v) { return exp(v) / (sin(v) * sin(v) * sin(v) + cos(v) * cos(v) * cos(v)); });
    };
    CHECK(std::abs(check::complex_step_gradient(one, x, f)(0) / 3.62203370071632 - 1) <= 1e-14);
    // A slope of 1e-30 beside a value of 1 would vanish in any difference.
    const auto tiny = [](const auto& z) { return map(z, [](auto v) { return 1.0 + 1e-30 * v; }); };
    CHECK(std::abs(check::complex_step_gradient(one, x, tiny)(0) / 1e-30 - 1) <= 1e-15);
}

TEST_CASE("complex_step: gradients mix elements as the function does") {
    // out = (x0 x1, x1 + 3 x2): gradient (d0 x1, d0 x0 + d1, 3 d1) with x = (2, 5, 7), d_out = (10, 100).
    Tensor<double, 1> x(3), d_out(2), want(3), u(3), jvp(2);
    x.setValues({2, 5, 7});
    d_out.setValues({10, 100});
    want.setValues({50, 120, 300});
    const auto f = [](const auto& z) {
        Tensor<ScalarOf<decltype(z)>, 1> out(2);
        out(0) = z(0) * z(1);
        out(1) = z(1) + 3.0 * z(2);
        return out;
    };
    check_agrees("gradient", check::complex_step_gradient(d_out, x, f), want, 1e-15);
    // Direction (1, -1, 2): (x1 - x0, -1 + 6) = (3, 5).
    u.setValues({1, -1, 2});
    jvp.setValues({3, 5});
    check_agrees("jvp", check::complex_step_jvp(x, u, f), jvp, 1e-15);
    // The two describe one derivative: <d_out, J u> = <gradient, u> = 10 * 3 + 100 * 5.
    CHECK(std::abs(10 * jvp(0) + 100 * jvp(1) - (50 - 120 + 600)) <= 1e-12);
}

TEST_CASE("complex_step: every member of a parameter struct, and only one at a time") {
    // out = slope * 2 + shift^2, elementwise: d_slope = 2 d, d_shift = 2 shift d.
    const LineParams<double> params{random_tensor(3, 4), random_tensor(4, 4)};
    const auto d_out = random_tensor(5, 4);
    const auto g = check::complex_step_gradients(d_out, params, [](const auto& p) {
        auto out = p.slope;
        for (Index n = 0; n < 4; ++n)
            out(n) = 2.0 * p.slope(n) + p.shift(n) * p.shift(n);
        return out;
    });
    const Tensor<double, 1> d_slope = 2.0 * d_out, d_shift = 2.0 * params.shift * d_out;
    check_agrees("slope", g.slope, d_slope, 1e-15);
    check_agrees("shift", g.shift, d_shift, 1e-15);
}

TEST_CASE("complex_step: evaluations") {
    const auto x = random_tensor(6, 2, 2);
    int calls = 0;
    const auto count = [&](const auto& z) {
        ++calls;
        int moved = 0;
        for (const auto& v : elements(z))
            moved += v.imag() != 0;
        CHECK(moved == 1);  // the step was taken back before the next one
        return z;
    };
    check_agrees("identity", check::complex_step_gradient(x, x, count), x, 1e-15);
    CHECK(calls == 4);
}

TEST_CASE("complex_step: a NaN is never lost") {
    const auto identity = [](const auto& z) { return z; };
    const auto doubled = [](const auto& z) { return map(z, [](auto v) { return v * Complex(2); }); };
    const auto x = random_tensor(7, 3);
    auto bad = x;
    bad(1) = nan_value;
    CHECK(std::isnan(check::complex_step_gradient(x, bad, doubled)(1)));
    for (Index n = 0; n < 3; ++n) {
        CHECK(std::isnan(check::complex_step_gradient(bad, x, identity)(n)));  // in the cotangent
        CHECK(std::isnan(check::complex_step_jvp(x, bad, identity)(n)) == (n == 1));
    }
}

TEST_CASE("complex_step: functions that are not analytic are not vouched for") {
    // |z| and conj(z): the documented limits. A right gradient must look wrong, not a wrong one right.
    const auto x = map(random_tensor(8, 3), [](double v) { return 0.1 + std::abs(v); });
    const auto d_out = random_tensor(9, 3);
    const auto by = [&](auto&& f) {
        return check::complex_step_gradient(d_out, x, [&](const auto& z) { return map(z, f); });
    };
    CHECK(!check::compare("abs", by([](auto z) { return Complex(std::abs(z)); }), d_out, {.relative = 0.5}));
    CHECK(!check::compare("conj", by([](auto z) { return std::conj(z); }), d_out, {.relative = 0.5}));
}

TEST_CASE("complex_step: errors and empty tensors") {
    const auto x = random_tensor(10, 2, 3);
    const auto identity = [](const auto& z) { return z; };
    CHECK_THROWS_WITH_AS(check::complex_step_gradient(random_tensor(11, 3, 2), x, identity),
                         "complex_step: d_out: got shape [3, 2], expected shape [2, 3]", ShapeError);
    CHECK_THROWS_WITH_AS(check::complex_step_jvp(x, random_tensor(12, 2, 2), identity),
                         "complex_step_jvp: direction: got shape [2, 2], expected shape [2, 3]", ShapeError);
    const auto none = zeros<double>(0, 3);
    CHECK(check::complex_step_gradient(none, none, identity).size() == 0);
    CHECK(check::complex_step_jvp(none, none, identity).size() == 0);
}
}  // namespace mta_test_complex_step
