// Scalar functions: values, extremes, derivatives.
// SPDX-License-Identifier: MIT
#include <cmath>
#include <complex>
#include <limits>
#include <mta/core/numeric.hpp>
#include <span>
#include <vector>

#include "support/checks.hpp"

namespace mta_test_numeric {
using namespace mta;

namespace {
using Complex = std::complex<double>;
constexpr double nan_value = std::numeric_limits<double>::quiet_NaN();
constexpr double infinity = std::numeric_limits<double>::infinity();
}  // namespace

TEST_CASE("numeric: real_part") {
    CHECK(real_part(2.5) == 2.5);
    CHECK(real_part(Complex(2.5, 7)) == 2.5);
    static_assert(std::is_same_v<decltype(real_part(1.0F)), float>);
    static_assert(std::is_same_v<decltype(real_part(Complex())), double>);
}

TEST_CASE("numeric: sigmoid values") {
    CHECK(sigmoid(0.0) == 0.5);
    // ln 3: 1 / (1 + 1/3) = 3/4, and its mirror image 1/4.
    CHECK(std::abs(sigmoid(1.0986122886681098) - 0.75) <= 2e-16);
    CHECK(std::abs(sigmoid(-1.0986122886681098) - 0.25) <= 1e-16);
    for (const double x : {0.1, 1.0, 3.7, 20.0, 36.0})
        CHECK(std::abs(sigmoid(x) + sigmoid(-x) - 1) <= 3e-16);
    CHECK(std::abs(sigmoid(2.0F) - 0.880797078F) <= 6e-8F);
}

TEST_CASE("numeric: sigmoid at the ends") {
    CHECK(sigmoid(800.0) == 1);
    CHECK(sigmoid(infinity) == 1);
    CHECK(sigmoid(-infinity) == 0);
    CHECK(sigmoid(-800.0) == 0);
    CHECK(sigmoid(200.0F) == 1);
    CHECK(sigmoid(-200.0F) == 0);
    CHECK(std::isnan(sigmoid(nan_value)));
    // Far below 0 it is exp(x), to every digit that exp has: not 1 - 1.
    CHECK(std::abs(sigmoid(-700.0) / std::exp(-700.0) - 1) <= 1e-15);
    // Complex arguments overflow nowhere either.
    for (const double x : {-800.0, 800.0}) {
        const Complex s = sigmoid(Complex(x, 1e-50));
        CHECK(s.real() == (x > 0 ? 1 : 0));
        CHECK(std::isfinite(s.imag()));
    }
}

TEST_CASE("numeric: sigmoid carries a complex step") {
    // Its derivative is s(x) s(-x), on both branches.
    for (const double x : {-30.0, -2.0, -0.0, 0.0, 0.5, 30.0}) {
        const double slope = sigmoid(Complex(x, 1e-50)).imag() / 1e-50;
        CHECK(std::abs(slope / (sigmoid(x) * sigmoid(-x)) - 1) <= 1e-14);
    }
}

TEST_CASE("numeric: dot adds in order") {
    const std::vector<double> a{1, 2, 3}, b{4, -5, 6};
    CHECK(dot(std::span(a), std::span(b)) == 4 - 10 + 18);
    // In order: ((1e16 + 1) - 1e16) = 0, since 1e16 + 1 rounds to 1e16; in pairs it would be 1.
    const std::vector<double> large{1e16, 1, -1e16}, ones{1, 1, 1};
    CHECK(dot(std::span(large), std::span(ones)) == 0);
    const std::vector<double> reordered{1e16, -1e16, 1};
    CHECK(dot(std::span(reordered), std::span(ones)) == 1);
    CHECK(dot(std::span(a).first(0), std::span(b).first(0)) == 0);
    // No conjugate: (1 + 2i)(3 + i) = 1 + 7i.
    const std::vector<Complex> z{{1, 2}}, w{{3, 1}};
    CHECK(dot(std::span(z), std::span(w)) == Complex(1, 7));
    // Float stays float: 2^24 + 1 rounds away.
    const std::vector<float> f{0x1p24F, 1}, g{1, 1};
    CHECK(dot(std::span(f), std::span(g)) == 0x1p24F);
    const std::vector<double> with_nan{0, nan_value, 0};
    CHECK(std::isnan(dot(std::span(with_nan), std::span(ones))));
}

TEST_CASE("numeric: all_zero") {
    const auto zero = [](std::vector<double> row) { return all_zero(std::span<const double>(row)); };
    CHECK(zero({}));
    CHECK(zero({0, -0.0, 0}));
    CHECK(!zero({nan_value}));
    CHECK(!zero({0, 0, nan_value}));
    CHECK(!zero({5e-324, 0}));
    CHECK(!zero({0, -infinity}));
    const std::vector<Complex> step{{0, 0}, {0, 1e-300}}, none{{0, 0}, {0, -0.0}};
    CHECK(!all_zero(std::span(step)));
    CHECK(all_zero(std::span(none)));
}

TEST_CASE("numeric: only -inf is masked") {
    const double inf = infinity, nan = nan_value;
    CHECK(is_masked(-inf));
    CHECK(is_masked(-std::numeric_limits<float>::infinity()));
    CHECK(is_masked(std::complex<double>(-inf, 1e-50)));
    for (const double x : {inf, nan, 0.0, std::numeric_limits<double>::lowest()})
        CHECK_FALSE(is_masked(x));
}

TEST_CASE("numeric: the maximum of a row keeps NaN, wherever it stands") {
    const double inf = infinity, nan = nan_value;
    const auto maximum = [](std::vector<double> row) { return row_maximum(std::span<const double>(row)); };
    CHECK(maximum({-3, -1, -2}) == -1);
    CHECK(maximum({-inf, -5}) == -5);
    CHECK(maximum({-inf, -inf}) == -inf);
    CHECK(maximum({}) == -inf);
    CHECK(maximum({1, inf, 2}) == inf);
    for (const auto& row :
         {std::vector{nan, 1.0, 2.0}, std::vector{1.0, nan, 2.0}, std::vector{1.0, 2.0, nan}})
        CHECK(std::isnan(maximum(row)));
    const std::vector<std::complex<double>> z{{1, 9}, {2, -9}};
    CHECK(row_maximum(std::span<const std::complex<double>>(z)) == 2.0);
}
}  // namespace mta_test_numeric
