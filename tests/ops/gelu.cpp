// Tests of GELU in its exact and its tanh form.
// SPDX-License-Identifier: MIT
#include <cmath>
#include <limits>
#include <mta/ops/gelu.hpp>

#include "support/checks.hpp"
#include "support/golden.hpp"
#include "support/tensors.hpp"
#include "support/threads.hpp"

namespace mta_test_gelu {
namespace {

using namespace mta;
using namespace mta::test;

constexpr GeluConfig by_erf{GeluApproximation::none}, by_tanh{GeluApproximation::tanh};

// Eight roundings of 1.1e-16 each at most, in every hand-worked value.
constexpr double hand_bound = 1e-15;

// Slope of GELU at x, by the backward pass.
double slope_at(double x, GeluConfig config) {
    return gelu_backward(vector_of({1}), vector_of({x}), config).d_x(0);
}

}  // namespace

TEST_CASE("gelu: hand values of the exact form") {
    // P(1) = 0.8413447460685429, P(-1) = 1 - P(1), p(1) = p(-1) = 0.24197072451914337 (tables of the normal
    // law)
    const auto x = vector_of({0, 1, -1}), d_out = vector_of({3, 2, -4});
    check_agrees("out", gelu_forward(x), vector_of({0, 0.8413447460685429, -0.1586552539314571}), hand_bound);
    // slopes 1/2, P(1) + p(1) = 1.0833154705876863, P(-1) - p(1) = -0.0833154705876863
    const auto g = gelu_backward(d_out, x);
    check_agrees("d_x", g.d_x, vector_of({1.5, 2.1666309411753726, 0.3332618823507452}), hand_bound);
    // P(-10) = 7.619853024160527e-24, which 1 + erf loses altogether. The argument of erfc is rounded, and
    // erfc(z) falls by 2 z^2 = 100 times that.
    CHECK(std::abs(gelu_forward(vector_of({-10}))(0) / -7.619853024160527e-23 - 1) <= 100 * 2.3e-16);
}

TEST_CASE("gelu: hand values of the tanh form") {
    // 2u = 1.5957691216057308 * (1 + 0.044715) = 1.667123937878331 at x = 1, s = 1 / (1 + e^-2u) =
    // 0.8411919906082767; 2u' = 1.5957691216057308 * 1.134145 = 1.8098335706135316
    const auto x = vector_of({0, 1, -1}), d_out = vector_of({3, 2, -4});
    check_agrees("out", gelu_forward(x, by_tanh), vector_of({0, 0.8411919906082767, -0.1588080093917233}),
                 hand_bound);
    // slopes 1/2, s + s (1 - s) 2u' = 1.0829640838457826, and 1 minus that at -1
    const auto g = gelu_backward(d_out, x, by_tanh);
    check_agrees("d_x", g.d_x, vector_of({1.5, 2.165928167691565, 0.3318563353831302}), hand_bound);
    // At -5, 2u = -16.898197642103685 and s = 4.583592393259012e-8, of which 1 + tanh keeps half the digits.
    CHECK(std::abs(gelu_forward(vector_of({-5}), by_tanh)(0) / -2.2917961966295060e-7 - 1) <= 20 * 2.3e-16);
    CHECK(std::abs(slope_at(-5, by_tanh) / -1.5463619875325946e-6 - 1) <= 20 * 2.3e-16);
}

TEST_CASE("gelu: hand values far out") {
    for (const auto& config : {by_erf, by_tanh})
        for (const double x : {40.0, 1e160}) {  // x^2 overflows at the second
            CHECK(gelu_forward(vector_of({x}), config)(0) == x);
            CHECK(gelu_forward(vector_of({-x}), config)(0) == 0.0);
            CHECK(slope_at(x, config) == 1.0);
            CHECK(slope_at(-x, config) == 0.0);
        }
}

TEST_CASE("gelu: independent values") {
    const Golden golden("ops/gelu");
    for (const std::string name : {"none", "none_wide", "tanh", "tanh_wide"}) {
        CAPTURE(name);
        const GeluConfig config = name.starts_with("tanh") ? by_tanh : by_erf;
        const auto x = golden.tensor<3>(name + ".x");
        const auto g = gelu_backward(golden.tensor<3>(name + ".d_out"), x, config);
        check_agrees("out", gelu_forward(x, config), golden.tensor<3>(name + ".out"), 1e-13);
        check_agrees("d_x", g.d_x, golden.tensor<3>(name + ".d_x"), 1e-13);
    }
}

TEST_CASE("gelu: complex step and adjoint of the tanh form") {
    for (const double scale : {1.0, 3.0}) {
        CAPTURE(scale);
        const Tensor<double, 3> x = random_tensor(1001, 2, 3, 7) * scale;
        const auto d_out = random_tensor(1002, 2, 3, 7);
        const auto g = gelu_backward(d_out, x, by_tanh);
        check_gradient("d_x", d_out, x, g.d_x, [](const auto& z) { return gelu_forward(z, by_tanh); });
    }
}

TEST_CASE("gelu: extended-precision differences and adjoint of the exact form") {
    // In place of complex step. Truncation h^4 f^(5) / 30 with h = 1e-4 and f^(5) below 10: 3e-17;
    // rounding 1.5
    // * 5e-20 |f| / h: below 1e-14.
    for (const double scale : {1.0, 3.0}) {
        CAPTURE(scale);
        const Tensor<double, 3> x = random_tensor(1003, 2, 3, 7) * scale;
        const auto d_out = random_tensor(1004, 2, 3, 7), u = random_tensor(1005, 2, 3, 7);
        const auto long_x = cast<long double>(x), long_u = cast<long double>(u);
        const auto g = gelu_backward(d_out, x);
        const auto want = check::central_difference_gradient(
            d_out, long_x, [](const auto& z) { return gelu_forward(z); }, 1e-4);
        check_agrees("d_x", g.d_x, want, 1e-13);
        // <d_out, J u> is the derivative of t -> <d_out, f(x + t u)> at 0, one number; <d_x, u> must equal
        // it.
        const auto along_u = [&](const Tensor<long double, 1>& t) {
            Tensor<long double, 3> moved = long_x + long_u * t(0);
            return gelu_forward(moved);
        };
        const auto output_side =
            check::central_difference_gradient(d_out, zeros<long double>(1), along_u, 1e-4);
        const double input_side = dot(elements(g.d_x), elements(u));
        check_agrees("adjoint", vector_of({input_side}), output_side, 1e-13);
    }
}

TEST_CASE("gelu: edge shapes") {
    for (const auto& config : {by_erf, by_tanh}) {
        const auto none = zeros<double>(0, 3, 5);
        CHECK(gelu_forward(none, config).dimension(2) == 5);
        CHECK(gelu_backward(none, none, config).d_x.dimension(1) == 3);
        CHECK(gelu_forward(zeros<double>(2, 3, 0), config).size() == 0);
        // One token, and the same token as a vector: the rank is only a way to count rows.
        const auto x = random_tensor(2, 1, 1, 5);
        const auto out = gelu_forward(x, config);
        const ConstTensorView<double, 1> x_vector(x.data(), 5), out_vector(out.data(), 5);
        check_same_bits("one row", gelu_forward(x_vector, config), Tensor<double, 1>(out_vector));
    }
}

TEST_CASE("gelu: properties: bits do not depend on threads or on the batch") {
    const auto x = random_tensor(11, 3, 9, 6), d_out = random_tensor(12, 3, 9, 6);
    for (const auto& config : {by_erf, by_tanh}) {
        const auto out = gelu_forward(x, config);
        const auto d_x = gelu_backward(d_out, x, config).d_x;
        at_thread_counts([&] {
            check_same_bits("out", gelu_forward(x, config), out);
            check_same_bits("d_x", gelu_backward(d_out, x, config).d_x, d_x);
        });
        for (Index b = 0; b < 3; ++b) {
            check_same_bits("out", gelu_forward(batch_row(x, b), config),
                            Tensor<double, 3>(batch_row(out, b)));
            check_same_bits("d_x", gelu_backward(batch_row(d_out, b), batch_row(x, b), config).d_x,
                            Tensor<double, 3>(batch_row(d_x, b)));
        }
    }
}

TEST_CASE("gelu: properties: NaN stays in its element and zero cotangents silence a row") {
    for (const auto& config : {by_erf, by_tanh}) {
        auto x = random_tensor(21, 2, 3, 4), d_out = random_tensor(22, 2, 3, 4);
        for (double& value : row(d_out, 1, 0))
            value = -0.0;
        const auto out = gelu_forward(x, config);
        const auto d_x = gelu_backward(d_out, x, config).d_x;
        x(1, 0, 3) = not_a_number;
        const auto poisoned_out = gelu_forward(x, config);
        check_same_bits("d_x", gelu_backward(d_out, x, config).d_x, d_x);
        for (const double value : row(d_x, 1, 0))
            CHECK(value == 0.0);
        for (Index n = 0; n < out.size(); ++n) {
            const double got = poisoned_out.data()[n];
            CHECK((n == 15 ? std::isnan(got) : got == out.data()[n]));  // element 15 is (1, 0, 3)
        }
        d_out(1, 0, 3) = 1e-300;  // not zero any more: the NaN must show
        CHECK(std::isnan(gelu_backward(d_out, x, config).d_x(1, 0, 3)));
    }
}

TEST_CASE("gelu: properties: metamorphic identities") {
    const auto x = random_tensor(31, 2, 3, 9), d_out = random_tensor(32, 2, 3, 9);
    const Tensor<double, 3> turned = -x;
    for (const auto& config : {by_erf, by_tanh}) {
        // P(x) + P(-x) = 1 and s(2u) + s(-2u) = 1: f(x) - f(-x) = x, and the slopes at x and -x add up to 1.
        const Tensor<double, 3> difference = gelu_forward(x, config) - gelu_forward(turned, config);
        check_agrees("odd part", difference, x, 1e-15);
        const Tensor<double, 3> slopes =
            gelu_backward(d_out, x, config).d_x + gelu_backward(d_out, turned, config).d_x;
        check_agrees("slopes", slopes, d_out, 1e-15);
    }
    // The forms are close to each other, and not the same.
    const auto exact = gelu_forward(x, by_erf), approximate = gelu_forward(x, by_tanh);
    CHECK(check::compare("forms", approximate, exact, {.relative = 0, .absolute = 5e-4}));
    CHECK_FALSE(check::compare("forms", approximate, exact, {.relative = 0, .absolute = 1e-4}));
}

TEST_CASE("gelu: properties: float agrees with double") {
    const auto x = random_tensor<float>(41, 2, 3, 8), d_out = random_tensor<float>(42, 2, 3, 8);
    for (const auto& config : {by_erf, by_tanh}) {
        // Twelve roundings of half eps at most, of terms that do not exceed the largest result.
        const double bound = 12 * std::numeric_limits<float>::epsilon() / 2;
        check_agrees("out", gelu_forward(x, config), gelu_forward(cast<double>(x), config), bound);
        check_agrees("d_x", gelu_backward(d_out, x, config).d_x,
                     gelu_backward(cast<double>(d_out), cast<double>(x), config).d_x, bound);
    }
}

TEST_CASE("gelu: errors") {
    const auto x = zeros<double>(2, 3, 4);
    CHECK_THROWS_WITH_AS(gelu_backward(zeros<double>(2, 3, 5), x),
                         "gelu: d_out: got shape [2, 3, 5], expected shape [2, 3, 4]", ShapeError);
    const auto complex_x = zeros<std::complex<double>>(2, 3);
    CHECK_THROWS_WITH_AS(gelu_forward(complex_x),
                         "gelu: approximation: got none with complex numbers, expected tanh", ValueError);
    CHECK_THROWS_WITH_AS(gelu_backward(complex_x, complex_x),
                         "gelu: approximation: got none with complex numbers, expected tanh", ValueError);
    CHECK(gelu_forward(complex_x, by_tanh).size() == 6);
}
}  // namespace mta_test_gelu
