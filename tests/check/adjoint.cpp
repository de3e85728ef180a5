// The adjoint identity with right transposes and wrong ones.
// SPDX-License-Identifier: MIT
#include <cmath>
#include <limits>
#include <mta/check/adjoint.hpp>
#include <vector>

#include "support/checks.hpp"

namespace mta_test_adjoint {
using namespace mta;
using namespace mta::test;
using check::adjoint_identity;

namespace {

constexpr double nan_value = std::numeric_limits<double>::quiet_NaN();
constexpr double infinity = std::numeric_limits<double>::infinity();

// J u for a matrix J.
Tensor<double, 1> times(const Tensor<double, 2>& J, const Tensor<double, 1>& u) {
    auto out = zeros<double>(J.dimension(0));
    for (Index i = 0; i < J.dimension(0); ++i)
        for (Index j = 0; j < J.dimension(1); ++j)
            out(i) += J(i, j) * u(j);
    return out;
}

Tensor<double, 2> transposed(const Tensor<double, 2>& J) {
    return J.shuffle(Eigen::array<Index, 2>{1, 0});
}

Tensor<double, 1> list(std::vector<double> values) {
    Tensor<double, 1> t(static_cast<Index>(values.size()));
    std::copy(values.begin(), values.end(), t.data());
    return t;
}

}  // namespace

TEST_CASE("adjoint: both sides by hand") {
    // <(1, 2), (3, 4)> = 11 and <(5, -6), (1, 0.5)> = 5 - 3 = 2; products 3, 8, 5, 3: |11 - 2| / 19.
    const auto identity = adjoint_identity(list({1, 2}), list({3, 4}), list({5, -6}), list({1, 0.5}));
    CHECK(identity.output_side == 11);
    CHECK(identity.input_side == 2);
    CHECK(identity.error == 9.0 / 19);
    // The error is absolute: neither side may be the larger one.
    CHECK(adjoint_identity(list({5, -6}), list({1, 0.5}), list({1, 2}), list({3, 4})).error == 9.0 / 19);
}

TEST_CASE("adjoint: the transpose satisfies it, anything else does not") {
    const auto J = random_tensor(1, 4, 4);
    const auto u = random_tensor(2, 4), d_out = random_tensor(3, 4);
    const auto jvp = times(J, u);
    const auto error = [&](const Tensor<double, 2>& backward) {
        return adjoint_identity(d_out, jvp, times(backward, d_out), u).error;
    };
    const auto Jt = transposed(J);
    CHECK(error(Jt) <= 1e-15);
    CHECK(error(J) > 1e-2);  // not transposed
    const Tensor<double, 2> negated = -Jt, doubled = 2.0 * Jt;
    CHECK(error(negated) > 1e-2);
    CHECK(error(doubled) > 1e-2);
    CHECK(error(zeros_like(Jt)) > 1e-2);
    // One entry wrong by 1e-9 of itself, anywhere.
    for (Index n = 0; n < 16; ++n) {
        auto off = Jt;
        off.data()[n] *= 1 + 1e-9;
        CHECK(error(off) > 1e-13);
    }
    // Shapes may differ between the two sides.
    const auto wide = random_tensor(4, 2, 5);
    const auto v = random_tensor(5, 5), d_narrow = random_tensor(6, 2);
    CHECK(adjoint_identity(d_narrow, times(wide, v), times(transposed(wide), d_narrow), v).error <= 1e-15);
}

TEST_CASE("adjoint: its blind spot is a shared mistake") {
    // Forward and backward of the wrong matrix satisfy it; that is why hand values stand beside it.
    const auto wrong = random_tensor(7, 3, 3);
    const auto u = random_tensor(8, 3), d_out = random_tensor(9, 3);
    CHECK(adjoint_identity(d_out, times(wrong, u), times(transposed(wrong), d_out), u).error <= 1e-15);
}

TEST_CASE("adjoint: NaN and infinities never pass") {
    const auto good = list({1, 2, 3});
    CHECK(adjoint_identity(good, good, good, good).error == 0);
    for (const double bad : {nan_value, infinity, -infinity})
        for (Index n = 0; n < 3; ++n) {
            auto spoiled = good;
            spoiled(n) = bad;
            for (const auto& identity :
                 {adjoint_identity(spoiled, good, good, good), adjoint_identity(good, spoiled, good, good),
                  adjoint_identity(good, good, spoiled, good), adjoint_identity(good, good, good, spoiled),
                  adjoint_identity(spoiled, good, spoiled, good)})
                CHECK(!(identity.error <= 1e300));
        }
    // Not even where the direction is zero.
    CHECK(!(adjoint_identity(good, good, list({nan_value, 14, 0}), list({0, 1, 0})).error <= 1e300));
}

TEST_CASE("adjoint: summing nothing is not agreement") {
    const auto zero = list({0, 0}), none = list({});
    CHECK(adjoint_identity(zero, zero, zero, zero).error == infinity);
    CHECK(adjoint_identity(none, none, none, none).error == infinity);
    // One side zero and the other not is as wrong as can be.
    CHECK(adjoint_identity(zero, zero, list({1, 0}), list({1, 1})).error == 1);
    CHECK(adjoint_identity(list({1, 0}), list({1, 1}), zero, zero).error == 1);
}

TEST_CASE("adjoint: cancellation counts against the products, not against the sum") {
    // Both sides are sums near 0 of products near 1: a difference of 2^-52 is rounding, not a relative error
    // of 1.
    const auto d_out = list({1, -1}), jvp = list({1, 1 + 0x1p-52});
    const auto identity = adjoint_identity(d_out, jvp, list({1, -1}), list({1, 1}));
    CHECK(identity.output_side == -0x1p-52);
    CHECK(identity.error == doctest::Approx(0x1p-54));  // over four products near 1
    // Sums run in extended precision: 1e16 + 1 - 1e16 is 1.
    CHECK(adjoint_identity(list({1, 1, 1}), list({1e16, 1, -1e16}), list({1}), list({1})).output_side == 1);
    // float is widened.
    const auto f = cast<float>(list({0.1, 0.2}));
    CHECK(adjoint_identity(f, f, cast<double>(f), cast<double>(f)).error == 0);
}

TEST_CASE("adjoint: errors") {
    const auto two = list({1, 2}), three = list({1, 2, 3});
    CHECK_THROWS_WITH_AS(adjoint_identity(two, three, two, two),
                         "adjoint_identity: jvp: got shape [3], expected shape [2]", ShapeError);
    CHECK_THROWS_WITH_AS(adjoint_identity(two, two, two, three),
                         "adjoint_identity: direction: got shape [3], expected shape [2]", ShapeError);
}
}  // namespace mta_test_adjoint
