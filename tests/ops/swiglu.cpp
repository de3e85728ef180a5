// Tests of SwiGLU.
// SPDX-License-Identifier: MIT
#include <cmath>
#include <limits>
#include <mta/ops/swiglu.hpp>

#include "support/checks.hpp"
#include "support/golden.hpp"
#include "support/tensors.hpp"
#include "support/threads.hpp"

namespace mta_test_swiglu {
namespace {

using namespace mta;
using namespace mta::test;

constexpr double ln3 = 1.0986122886681098;  // sigmoid(ln 3) = 3/4

// Eight roundings of 1.1e-16 each at most, in every hand-worked value.
constexpr double hand_bound = 1e-15;

}  // namespace

TEST_CASE("swiglu: hand values") {
    const auto gate = vector_of({0, ln3, -ln3}), up = vector_of({3, 2, -4}), d_out = vector_of({2, 1, 10});
    // silu(0) = 0, silu(ln 3) = 3/4 ln 3, silu(-ln 3) = -1/4 ln 3; times up: 0, 3/2 ln 3, ln 3
    check_agrees("out", swiglu_forward(gate, up), vector_of({0, 1.6479184330021646, 1.0986122886681098}),
                 hand_bound);
    // silu'(0) = 1/2, silu'(ln 3) = 3/4 (1 + ln 3 / 4) = 0.9559898041252706,
    // silu'(-ln 3) = 1/4 (1 - 3/4 ln 3) = 0.0440101958747294; times d_out * up = 6, 2, -40
    const auto g = swiglu_backward(d_out, gate, up);
    check_agrees("d_gate", g.d_gate, vector_of({3, 1.9119796082505412, -1.760407834989176}), hand_bound);
    // d_out * silu(gate) = 0, 3/4 ln 3, -10/4 ln 3
    check_agrees("d_up", g.d_up, vector_of({0, 0.8239592165010823, -2.7465307216702745}), hand_bound);
}

TEST_CASE("swiglu: hand values of gates far open and far shut") {
    // s(50) = 1 to the last bit and s(-50) = e^-50 = 1.9287498479639178e-22; at 800 the latter is 0.
    const auto gate = vector_of({50, -50, 800, -800}), ones = vector_of({1, 1, 1, 1});
    const auto out = swiglu_forward(gate, ones);
    check_agrees("out", out, vector_of({50, -50 * 1.9287498479639178e-22, 800, 0}), hand_bound);
    CHECK(std::abs(out(1) / (-50 * 1.9287498479639178e-22) - 1) <= hand_bound);
    const auto g = swiglu_backward(ones, gate, ones);
    // silu'(50) = 1 + 50 e^-50, silu'(-50) = e^-50 (1 - 50)
    CHECK(g.d_gate(0) == 1.0);
    CHECK(std::abs(g.d_gate(1) / (-49 * 1.9287498479639178e-22) - 1) <= hand_bound);
    CHECK(g.d_gate(2) == 1.0);
    CHECK(g.d_gate(3) == 0.0);
}

TEST_CASE("swiglu: independent values") {
    const Golden golden("ops/swiglu");
    for (const std::string name : {"plain", "one_token", "wide_gate"}) {
        CAPTURE(name);
        const auto gate = golden.tensor<3>(name + ".gate"), up = golden.tensor<3>(name + ".up");
        const auto g = swiglu_backward(golden.tensor<3>(name + ".d_out"), gate, up);
        check_agrees("out", swiglu_forward(gate, up), golden.tensor<3>(name + ".out"), 1e-13);
        check_agrees("d_gate", g.d_gate, golden.tensor<3>(name + ".d_gate"), 1e-13);
        check_agrees("d_up", g.d_up, golden.tensor<3>(name + ".d_up"), 1e-13);
    }
}

TEST_CASE("swiglu: complex step and adjoint") {
    for (const double scale : {1.0, 6.0}) {
        CAPTURE(scale);
        const Tensor<double, 3> gate = random_tensor(1001, 2, 3, 5) * scale;
        const auto up = random_tensor(1002, 2, 3, 5), d_out = random_tensor(1003, 2, 3, 5);
        const auto g = swiglu_backward(d_out, gate, up);
        check_gradient("d_gate", d_out, gate, g.d_gate,
                       [&](const auto& z) { return swiglu_forward(z, cast<ScalarOf<decltype(z)>>(up)); });
        check_gradient("d_up", d_out, up, g.d_up,
                       [&](const auto& z) { return swiglu_forward(cast<ScalarOf<decltype(z)>>(gate), z); });
    }
}

TEST_CASE("swiglu: edge shapes") {
    const auto none = zeros<double>(0, 3, 5);
    CHECK(swiglu_forward(none, none).dimension(2) == 5);
    CHECK(swiglu_backward(none, none, none).d_up.dimension(1) == 3);
    const auto no_features = zeros<double>(2, 3, 0);
    CHECK(swiglu_forward(no_features, no_features).size() == 0);

    // One token, and the same token as a vector: the rank is only a way to count rows.
    const auto gate = random_tensor(2, 1, 1, 5), up = random_tensor(3, 1, 1, 5);
    const auto out = swiglu_forward(gate, up);
    const ConstTensorView<double, 1> gate_vector(gate.data(), 5), up_vector(up.data(), 5),
        out_vector(out.data(), 5);
    check_same_bits("one row", swiglu_forward(gate_vector, up_vector), Tensor<double, 1>(out_vector));
}

TEST_CASE("swiglu: properties: bits do not depend on threads or on the batch") {
    const auto gate = random_tensor(11, 3, 9, 6), up = random_tensor(12, 3, 9, 6),
               d_out = random_tensor(13, 3, 9, 6);
    const auto out = swiglu_forward(gate, up);
    const auto g = swiglu_backward(d_out, gate, up);
    at_thread_counts([&] {
        const auto again = swiglu_backward(d_out, gate, up);
        check_same_bits("out", swiglu_forward(gate, up), out);
        check_same_bits("d_gate", again.d_gate, g.d_gate);
        check_same_bits("d_up", again.d_up, g.d_up);
    });
    for (Index b = 0; b < 3; ++b) {
        const auto alone = swiglu_backward(batch_row(d_out, b), batch_row(gate, b), batch_row(up, b));
        check_same_bits("out", swiglu_forward(batch_row(gate, b), batch_row(up, b)),
                        Tensor<double, 3>(batch_row(out, b)));
        check_same_bits("d_gate", alone.d_gate, Tensor<double, 3>(batch_row(g.d_gate, b)));
        check_same_bits("d_up", alone.d_up, Tensor<double, 3>(batch_row(g.d_up, b)));
    }
}

TEST_CASE("swiglu: properties: NaN stays in its element and zero cotangents silence a row") {
    auto gate = random_tensor(21, 2, 3, 4), up = random_tensor(22, 2, 3, 4),
         d_out = random_tensor(23, 2, 3, 4);
    for (double& value : row(d_out, 1, 0))
        value = -0.0;
    const auto out = swiglu_forward(gate, up);
    const auto g = swiglu_backward(d_out, gate, up);
    gate(1, 0, 3) = up(1, 0, 1) = not_a_number;
    const auto poisoned_out = swiglu_forward(gate, up);
    const auto poisoned = swiglu_backward(d_out, gate, up);
    check_same_bits("d_gate", poisoned.d_gate, g.d_gate);
    check_same_bits("d_up", poisoned.d_up, g.d_up);
    for (std::size_t d = 0; d < 4; ++d) {
        CHECK(row(g.d_gate, 1, 0)[d] == 0.0);
        CHECK(row(g.d_up, 1, 0)[d] == 0.0);
    }
    for (Index n = 0; n < out.size(); ++n) {
        const bool hit = n == 13 || n == 15;  // (1, 0, 1) and (1, 0, 3)
        CHECK((hit ? std::isnan(poisoned_out.data()[n]) : poisoned_out.data()[n] == out.data()[n]));
    }
    d_out(1, 0, 3) = 1e-300;  // not zero any more: the NaN must show
    CHECK(std::isnan(swiglu_backward(d_out, gate, up).d_gate(1, 0, 3)));
    CHECK(std::isnan(swiglu_backward(d_out, gate, up).d_up(1, 0, 3)));
}

TEST_CASE("swiglu: properties: metamorphic identities") {
    const auto gate = random_tensor(31, 2, 3, 5), up = random_tensor(32, 2, 3, 5),
               d_out = random_tensor(33, 2, 3, 5);
    const auto out = swiglu_forward(gate, up);
    // Linear in up: a power of two and a sign pass exactly.
    const Tensor<double, 3> up_scaled = up * -4.0, out_scaled = out * -4.0;
    check_same_bits("linear in up", swiglu_forward(gate, up_scaled), out_scaled);
    // s(x) + s(-x) = 1, so silu(x) - silu(-x) = x and silu'(x) + silu'(-x) = 1. A few roundings each.
    const Tensor<double, 3> turned = -gate, product = gate * up, d_product = d_out * up;
    const Tensor<double, 3> difference = out - swiglu_forward(turned, up);
    check_agrees("odd part", difference, product, 1e-15);
    const Tensor<double, 3> slopes =
        swiglu_backward(d_out, gate, up).d_gate + swiglu_backward(d_out, turned, up).d_gate;
    check_agrees("slopes", slopes, d_product, 1e-15);
    // The two inputs have different parts to play.
    CHECK_FALSE(check::compare("swapped", swiglu_forward(up, gate), out, {.relative = 0.01}));
}

TEST_CASE("swiglu: properties: float agrees with double") {
    const auto gate = random_tensor<float>(41, 2, 3, 8), up = random_tensor<float>(42, 2, 3, 8);
    const auto d_out = random_tensor<float>(43, 2, 3, 8);
    const auto g = swiglu_backward(d_out, gate, up);
    const auto wide_gate = cast<double>(gate), wide_up = cast<double>(up);
    const auto want = swiglu_backward(cast<double>(d_out), wide_gate, wide_up);
    // Ten roundings of half eps at most, of terms that do not exceed the largest result.
    const double bound = 10 * std::numeric_limits<float>::epsilon() / 2;
    check_agrees("out", swiglu_forward(gate, up), swiglu_forward(wide_gate, wide_up), bound);
    check_agrees("d_gate", g.d_gate, want.d_gate, bound);
    check_agrees("d_up", g.d_up, want.d_up, bound);
}

TEST_CASE("swiglu: errors") {
    const auto gate = zeros<double>(2, 3, 4), other = zeros<double>(2, 3, 5);
    CHECK_THROWS_WITH_AS(swiglu_forward(gate, other),
                         "swiglu: up: got shape [2, 3, 5], expected shape [2, 3, 4]", ShapeError);
    CHECK_THROWS_WITH_AS(swiglu_backward(gate, gate, other),
                         "swiglu: up: got shape [2, 3, 5], expected shape [2, 3, 4]", ShapeError);
    CHECK_THROWS_WITH_AS(swiglu_backward(other, gate, gate),
                         "swiglu: d_out: got shape [2, 3, 5], expected shape [2, 3, 4]", ShapeError);
}
}  // namespace mta_test_swiglu
