// Tests of the fast SwiGLU: the reference's independent values, and the reference itself on awkward shapes.
// SPDX-License-Identifier: MIT
#include <limits>
#include <mta/fast/swiglu.hpp>
#include <string>

#include "support/checks.hpp"
#include "support/golden.hpp"
#include "support/tensors.hpp"
#include "support/threads.hpp"

namespace mta_test_fast_swiglu {
namespace {

using namespace mta;
using namespace mta::test;

// Gates far out as well as near 0: (rows, 21), from -40 to 40.
Tensor<double, 2> wide_gates(std::uint64_t seed, Index rows) {
    auto gate = random_tensor(seed, rows, 21);
    for (Index n = 0; n < gate.size(); ++n)
        gate.data()[n] *= n % 3 == 0 ? 40 : 2;
    return gate;
}

}  // namespace

TEST_CASE("fast swiglu: agrees with the reference at the edges of runs, bits do not depend on threads") {
    std::uint64_t seed = 40;
    for (const Index rows : {1, 48, 49, 98, 200}) {  // 1024 elements lie in row 48
        CAPTURE(rows);
        const auto gate = wide_gates(++seed, rows);
        const auto up = random_tensor(++seed, rows, 21), d_out = random_tensor(++seed, rows, 21);
        const auto out = fast::swiglu_forward(gate, up);
        const auto g = fast::swiglu_backward(d_out, gate, up), want = swiglu_backward(d_out, gate, up);
        // Two exponentials of a few ulp each, then five roundings: 1e-14 is some 45 of them.
        check_agrees("out", out, swiglu_forward(gate, up), 1e-14);
        check_agrees("d_gate", g.d_gate, want.d_gate, 1e-13);  // 1 - sigmoid cancels: 40 * 1.1e-16
        check_agrees("d_up", g.d_up, want.d_up, 1e-14);
        at_thread_counts([&] {
            const auto again = fast::swiglu_backward(d_out, gate, up);
            check_same_bits("out", fast::swiglu_forward(gate, up), out);
            check_same_bits("d_gate", again.d_gate, g.d_gate);
            check_same_bits("d_up", again.d_up, g.d_up);
        });
    }
}

TEST_CASE("fast swiglu: independent values") {
    const Golden golden("ops/swiglu");
    for (const std::string name : {"plain", "one_token", "wide_gate"}) {
        CAPTURE(name);
        const auto gate = golden.tensor<3>(name + ".gate"), up = golden.tensor<3>(name + ".up");
        const auto g = fast::swiglu_backward(golden.tensor<3>(name + ".d_out"), gate, up);
        check_agrees("out", fast::swiglu_forward(gate, up), golden.tensor<3>(name + ".out"), 1e-13);
        check_agrees("d_gate", g.d_gate, golden.tensor<3>(name + ".d_gate"), 1e-13);
        check_agrees("d_up", g.d_up, golden.tensor<3>(name + ".d_up"), 1e-13);
    }
}

TEST_CASE("fast swiglu: NaN stays NaN, float underflows to 0") {
    auto gate = zeros<double>(1, 20);
    const auto up = random_tensor(1, 1, 20), d_out = random_tensor(2, 1, 20);
    gate(0, 3) = gate(0, 19) = std::numeric_limits<double>::quiet_NaN();
    const auto out = fast::swiglu_forward(gate, up);
    const auto g = fast::swiglu_backward(d_out, gate, up);
    for (Index n = 0; n < 20; ++n) {
        CHECK(std::isnan(out(0, n)) == (n == 3 || n == 19));
        CHECK(std::isnan(g.d_gate(0, n)) == (n == 3 || n == 19));
        CHECK(std::isnan(g.d_up(0, n)) == (n == 3 || n == 19));
    }
    auto steep = zeros<float>(40);
    fill(steep, -200.0F);
    const auto ones = [] {
        auto t = zeros<float>(40);
        fill(t, 1.0F);
        return t;
    }();
    const auto small = fast::swiglu_forward(steep, ones);
    for (const float x : elements(small))
        CHECK(std::abs(x) < 1e-30F);
}

TEST_CASE("fast swiglu: no rows") {
    CHECK(fast::swiglu_forward(zeros<double>(0, 3), zeros<double>(0, 3)).size() == 0);
    CHECK(fast::swiglu_backward(zeros<double>(0, 3), zeros<double>(0, 3), zeros<double>(0, 3)).d_up.size() ==
          0);
}

TEST_CASE("fast swiglu: errors are those of the reference") {
    CHECK_THROWS_WITH_AS(fast::swiglu_forward(zeros<double>(2, 5), zeros<double>(2, 4)),
                         "swiglu: up: got shape [2, 4], expected shape [2, 5]", ShapeError);
    CHECK_THROWS_WITH_AS(fast::swiglu_backward(zeros<double>(1, 5), zeros<double>(2, 5), zeros<double>(2, 5)),
                         "swiglu: d_out: got shape [1, 5], expected shape [2, 5]", ShapeError);
}

}  // namespace mta_test_fast_swiglu
