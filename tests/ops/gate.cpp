// Tests of the sigmoid gate, scalar and vector.
// SPDX-License-Identifier: MIT
#include <cmath>
#include <limits>
#include <mta/ops/gate.hpp>

#include "support/checks.hpp"
#include "support/golden.hpp"
#include "support/tensors.hpp"
#include "support/threads.hpp"

namespace mta_test_gate {
namespace {

using namespace mta;
using namespace mta::test;

constexpr GateConfig scalar{GateKind::scalar}, vector{GateKind::vector};

// Eight roundings of 1.1e-16 each at most, in every hand-worked value.
constexpr double hand_bound = 1e-15;

GateParams<double> random_params(std::uint64_t seed, Index gates, Index D) {
    return {random_tensor(seed, gates, D), random_tensor(seed + 500, gates)};
}

}  // namespace

TEST_CASE("gate: hand values of the scalar gate") {
    // z = 0.5 * 1 + 0.25 * (-2) + 0 = 0, sigmoid 1/2, out = x / 2
    const auto x = vector_of({1, -2}), d_out = vector_of({4, 1});
    const GateParams<double> params{matrix_of(1, {0.5, 0.25}), vector_of({0})};
    check_same_bits("out", gate_forward(x, params), vector_of({0.5, -1}));
    // d_s = 4 * 1 + 1 * (-2) = 2, d_z = 2 * 1/2 * 1/2 = 1/2
    // d_x = [4/2 + 1/2 * 0.5, 1/2 + 1/2 * 0.25], d_weight = 1/2 * x, d_bias = 1/2
    const auto g = gate_backward(d_out, x, params);
    check_same_bits("d_x", g.d_x, vector_of({2.25, 0.625}));
    check_same_bits("d_weight", g.d_params.weight, matrix_of(1, {0.5, -1}));
    check_same_bits("d_bias", g.d_params.bias, vector_of({0.5}));
}

TEST_CASE("gate: hand values of the vector gate") {
    // z = [2 * 1 - 1 * 2 + ln 3, 1 * 1 - 0.5 * 2 + 0] = [ln 3, 0], sigmoid = [3/4, 1/2], out = [3/4, 1]
    const auto x = vector_of({1, 2}), d_out = vector_of({8, 2});
    const GateParams<double> params{matrix_of(2, {2, -1, 1, -0.5}), vector_of({1.0986122886681098, 0})};
    check_agrees("out", gate_forward(x, params, vector), vector_of({0.75, 1}), hand_bound);
    // d_s = [8 * 1, 2 * 2], d_z = [8 * 3/4 * 1/4, 4 * 1/2 * 1/2] = [1.5, 1]
    // d_x = [8 * 3/4 + 1.5 * 2 + 1 * 1, 2 * 1/2 + 1.5 * (-1) + 1 * (-0.5)]
    const auto g = gate_backward(d_out, x, params, vector);
    check_agrees("d_x", g.d_x, vector_of({10, -1}), hand_bound);
    check_agrees("d_weight", g.d_params.weight, matrix_of(2, {1.5, 3, 1, 2}), hand_bound);
    check_agrees("d_bias", g.d_params.bias, vector_of({1.5, 1}), hand_bound);
}

TEST_CASE("gate: hand values of a gate far open and far shut") {
    // Slope of the sigmoid at z: e^-|z| / (1 + e^-|z|)^2; e^-30 = 9.357622968840175e-14, e^-40 =
    // 4.248354255291589e-18. One minus the sigmoid is off by up to 1e-3 at 30 and is 0 at 40.
    const auto x = vector_of({1}), d_out = vector_of({1});
    const auto slope_at = [&](double z) {
        const GateParams<double> params{matrix_of(1, {0}), vector_of({z})};
        return gate_backward(d_out, x, params).d_params.bias;
    };
    check_agrees("at 30", slope_at(30), vector_of({9.357622968840175e-14 * (1 - 2 * 9.357622968840175e-14)}),
                 hand_bound);
    check_agrees("at -30", slope_at(-30), slope_at(30), hand_bound);
    check_agrees("at 40", slope_at(40), vector_of({4.248354255291589e-18}), hand_bound);
    const GateParams<double> open{matrix_of(1, {0}), vector_of({800})},
        shut{matrix_of(1, {0}), vector_of({-800})};
    CHECK(gate_forward(x, open)(0) == 1.0);
    CHECK(gate_forward(x, shut)(0) == 0.0);
}

TEST_CASE("gate: independent values") {
    const Golden golden("ops/gate");
    for (const std::string name :
         {"scalar", "scalar_wide", "scalar_open", "vector", "vector_wide", "vector_shut", "one_feature"}) {
        CAPTURE(name);
        const auto x = golden.tensor<4>(name + ".x");
        const GateParams<double> params{golden.tensor<2>(name + ".weight"), golden.tensor<1>(name + ".bias")};
        const GateConfig config = name.starts_with("vector") ? vector : scalar;
        const auto g = gate_backward(golden.tensor<4>(name + ".d_out"), x, params, config);
        check_agrees("out", gate_forward(x, params, config), golden.tensor<4>(name + ".out"), 1e-13);
        check_agrees("d_x", g.d_x, golden.tensor<4>(name + ".d_x"), 1e-13);
        check_agrees("d_weight", g.d_params.weight, golden.tensor<2>(name + ".d_weight"), 1e-13);
        check_agrees("d_bias", g.d_params.bias, golden.tensor<1>(name + ".d_bias"), 1e-13);
    }
}

TEST_CASE("gate: complex step and adjoint") {
    std::uint64_t seed = 1000;
    for (const auto& config : {scalar, vector})
        for (const Index D : {1, 5}) {
            CAPTURE(D);
            const bool is_vector = config.kind == GateKind::vector;
            CAPTURE(is_vector);
            const auto x = random_tensor(++seed, 2, 2, 3, D), d_out = random_tensor(++seed, 2, 2, 3, D);
            const auto params = random_params(++seed, is_vector ? D : 1, D);
            const auto g = gate_backward(d_out, x, params, config);
            check_gradient("d_x", d_out, x, g.d_x, [&](const auto& z) {
                return gate_forward(z, cast_params<ScalarOf<decltype(z)>>(params), config);
            });
            check_parameter_gradients(d_out, params, g.d_params, [&](const auto& p) {
                return gate_forward(cast<ScalarOf<decltype(p.weight)>>(x), p, config);
            });
        }
}

TEST_CASE("gate: edge shapes") {
    const auto params = random_params(1, 5, 5);
    CHECK(gate_forward(zeros<double>(0, 2, 3, 5), params, vector).size() == 0);
    const auto empty = gate_backward(zeros<double>(0, 2, 3, 5), zeros<double>(0, 2, 3, 5), params, vector);
    CHECK(empty.d_x.dimension(3) == 5);
    check_same_bits("d_weight of no rows", empty.d_params.weight, zeros<double>(5, 5));
    check_same_bits("d_bias of no rows", empty.d_params.bias, zeros<double>(5));

    // One token, and the same token as a vector: the rank is only a way to count rows.
    const auto x = random_tensor(2, 1, 1, 1, 5);
    const auto out = gate_forward(x, params, vector);
    const ConstTensorView<double, 1> x_vector(x.data(), 5), out_vector(out.data(), 5);
    check_same_bits("one row", gate_forward(x_vector, params, vector), Tensor<double, 1>(out_vector));

    // One feature: the two kinds are the same operation.
    const auto thin = random_tensor(3, 2, 3, 1);
    const auto thin_params = random_params(4, 1, 1);
    check_same_bits("one feature", gate_forward(thin, thin_params, vector),
                    gate_forward(thin, thin_params, scalar));
}

TEST_CASE("gate: properties: bits do not depend on threads or on the batch") {
    const auto x = random_tensor(11, 3, 2, 7, 6), d_out = random_tensor(12, 3, 2, 7, 6);
    for (const auto& config : {scalar, vector}) {
        const auto params = random_params(13, config.kind == GateKind::vector ? 6 : 1, 6);
        const auto out = gate_forward(x, params, config);
        const auto g = gate_backward(d_out, x, params, config);
        at_thread_counts([&] {
            const auto again = gate_backward(d_out, x, params, config);
            check_same_bits("out", gate_forward(x, params, config), out);
            check_same_bits("d_x", again.d_x, g.d_x);
            check_same_bits("d_weight", again.d_params.weight, g.d_params.weight);
            check_same_bits("d_bias", again.d_params.bias, g.d_params.bias);
        });
        auto sum = gate_backward(batch_row(d_out, 0), batch_row(x, 0), params, config).d_params;
        for (Index b = 0; b < 3; ++b) {
            const auto alone = gate_backward(batch_row(d_out, b), batch_row(x, b), params, config);
            check_same_bits("out", gate_forward(batch_row(x, b), params, config),
                            Tensor<double, 4>(batch_row(out, b)));
            check_same_bits("d_x", alone.d_x, Tensor<double, 4>(batch_row(g.d_x, b)));
            if (b > 0) sum.weight += alone.d_params.weight;
            if (b > 0) sum.bias += alone.d_params.bias;
        }
        check_agrees("d_weight", g.d_params.weight, sum.weight, 1e-14);  // 42 terms in another order
        check_agrees("d_bias", g.d_params.bias, sum.bias, 1e-14);
    }
}

TEST_CASE("gate: properties: NaN stays in its row and zero cotangents silence a row") {
    for (const auto& config : {scalar, vector}) {
        auto x = random_tensor(21, 2, 2, 3, 4), d_out = random_tensor(22, 2, 2, 3, 4);
        const auto params = random_params(23, config.kind == GateKind::vector ? 4 : 1, 4);
        for (double& value : row(d_out, 1, 0, 2))
            value = -0.0;
        const auto out = gate_forward(x, params, config);
        const auto g = gate_backward(d_out, x, params, config);
        row(x, 1, 0, 2)[3] = not_a_number;
        const auto poisoned_out = gate_forward(x, params, config);
        const auto poisoned = gate_backward(d_out, x, params, config);
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
        const auto heard = gate_backward(d_out, x, params, config);
        CHECK(std::isnan(row(heard.d_x, 1, 0, 2)[0]));
        CHECK(std::isnan(heard.d_params.weight(0, 3)));
        CHECK(std::isnan(heard.d_params.bias(0)));
    }
}

TEST_CASE("gate: properties: metamorphic identities") {
    const auto x = random_tensor(31, 2, 3, 4), d_out = random_tensor(32, 2, 3, 4);
    const auto params = random_params(33, 1, 4);
    const auto out = gate_forward(x, params);
    // Shut or open evenly, the gate halves.
    const GateParams<double> even{zeros<double>(1, 4), zeros<double>(1)};
    const Tensor<double, 3> half = x * 0.5, negative = -x, minus_out = -out;
    check_same_bits("even", gate_forward(x, even), half);
    // Turning the sign of x and of weight keeps z.
    const GateParams<double> turned{-params.weight, params.bias};
    check_same_bits("sign", gate_forward(negative, turned), minus_out);
    // D equal vector gates are one scalar gate; its gradient is the sum of theirs.
    GateParams<double> repeated{zeros<double>(4, 4), zeros<double>(4)};
    for (Index o = 0; o < 4; ++o) {
        std::copy_n(params.weight.data(), 4, row(repeated.weight, o).data());
        repeated.bias(o) = params.bias(0);
    }
    check_same_bits("repeated", gate_forward(x, repeated, vector), out);
    const auto g = gate_backward(d_out, x, params), parts = gate_backward(d_out, x, repeated, vector);
    check_agrees("d_x", parts.d_x, g.d_x, 1e-14);
    auto d_weight = zeros<double>(1, 4);
    for (Index o = 0; o < 4; ++o)
        for (Index d = 0; d < 4; ++d)
            d_weight(0, d) += parts.d_params.weight(o, d);
    check_agrees("d_weight", d_weight, g.d_params.weight, 1e-14);
    // Every parameter of a vector gate matters, to its own column only.
    for (const bool move_bias : {false, true}) {
        auto moved = repeated;
        (move_bias ? moved.bias(2) : moved.weight(2, 0)) += 1;
        const auto moved_out = gate_forward(x, moved, vector);
        for (Index r = 0; r < row_count(x); ++r)
            for (std::size_t d = 0; d < 4; ++d)
                CHECK((nth_row(moved_out, r)[d] == nth_row(out, r)[d]) == (d != 2));
    }
}

TEST_CASE("gate: properties: float agrees with double") {
    const auto x = random_tensor<float>(41, 2, 3, 7), d_out = random_tensor<float>(42, 2, 3, 7);
    for (const auto& config : {scalar, vector}) {
        const Index gates = config.kind == GateKind::vector ? 7 : 1;
        const GateParams<float> params{random_tensor<float>(43, gates, 7), random_tensor<float>(44, gates)};
        const auto wide = cast_params<double>(params);
        const auto g = gate_backward(d_out, x, params, config);
        const auto want = gate_backward(cast<double>(d_out), cast<double>(x), wide, config);
        // z errs by (D + 1) half eps of the sum of |products|, below 12 here; the sigmoid takes it over.
        const double bound = 12 * (7 + 1) * std::numeric_limits<float>::epsilon() / 2;
        check_agrees("out", gate_forward(x, params, config), gate_forward(cast<double>(x), wide, config),
                     bound);
        check_agrees("d_x", g.d_x, want.d_x, bound);
        check_agrees("d_weight", g.d_params.weight, want.d_params.weight, bound);
        check_agrees("d_bias", g.d_params.bias, want.d_params.bias, bound);
    }
}

TEST_CASE("gate: errors") {
    const auto x = zeros<double>(2, 3, 4);
    const auto one = random_params(1, 1, 4), four = random_params(2, 4, 4);
    CHECK_THROWS_WITH_AS(gate_forward(x, four), "gate: weight: got shape [4, 4], expected shape [1, 4]",
                         ShapeError);
    CHECK_THROWS_WITH_AS(gate_forward(x, one, vector),
                         "gate: weight: got shape [1, 4], expected shape [4, 4]", ShapeError);
    CHECK_THROWS_WITH_AS(gate_backward(x, x, random_params(3, 1, 5)),
                         "gate: weight: got shape [1, 5], expected shape [1, 4]", ShapeError);
    const GateParams<double> long_bias{one.weight, four.bias};
    CHECK_THROWS_WITH_AS(gate_forward(x, long_bias), "gate: bias: got shape [4], expected shape [1]",
                         ShapeError);
    CHECK_THROWS_WITH_AS(gate_backward(zeros<double>(2, 3, 3), x, one),
                         "gate: d_out: got shape [2, 3, 3], expected shape [2, 3, 4]", ShapeError);
    CHECK_THROWS_WITH_AS(gate_forward(zeros<double>(2, 0), random_params(4, 1, 0)),
                         "gate: width of x: got 0, expected at least 1", ShapeError);
}
}  // namespace mta_test_gate
