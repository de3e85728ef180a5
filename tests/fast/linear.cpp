// Tests of the fast linear map: the reference's independent values, and the reference itself on awkward shapes.
// SPDX-License-Identifier: MIT
#include <limits>
#include <mta/fast/linear.hpp>
#include <string>

#include "support/checks.hpp"
#include "support/golden.hpp"
#include "support/tensors.hpp"
#include "support/threads.hpp"

namespace mta_test_fast_linear {
namespace {

using namespace mta;
using namespace mta::test;

LinearParams<double> random_params(std::uint64_t seed, Index outputs, Index inputs, bool bias) {
    LinearParams<double> params{random_tensor(seed, outputs, inputs), std::nullopt};
    if (bias) params.bias = random_tensor(seed + 500, outputs);
    return params;
}

// Sums of at most 1000 terms in another order: 1000 * 1.1e-16 of the sum of magnitudes, which is some tenfold the sum.
constexpr double bound = 1e-12;

}  // namespace

TEST_CASE("fast linear: independent values") {
    const Golden golden("ops/linear");
    for (const std::string name : {"bias", "no_bias", "square", "widening", "long_sums", "one_to_one"}) {
        CAPTURE(name);
        const auto x = golden.tensor<3>(name + ".x");
        LinearParams<double> params{golden.tensor<2>(name + ".weight"), std::nullopt};
        if (golden.has(name + ".bias")) params.bias = golden.tensor<1>(name + ".bias");
        const auto g = fast::linear_backward(golden.tensor<3>(name + ".d_out"), x, params);
        check_agrees("out", fast::linear_forward(x, params), golden.tensor<3>(name + ".out"), bound);
        check_agrees("d_x", g.d_x, golden.tensor<3>(name + ".d_x"), bound);
        check_agrees("d_weight", g.d_params.weight, golden.tensor<2>(name + ".d_weight"), bound);
        REQUIRE(g.d_params.bias.has_value() == params.bias.has_value());
        if (params.bias) check_agrees("d_bias", *g.d_params.bias, golden.tensor<1>(name + ".d_bias"), bound);
    }
}

TEST_CASE("fast linear: agrees with the reference at the edges of blocks") {
    std::uint64_t seed = 0;
    for (const Index rows : {1, 2, 3, 255, 256, 257, 511, 512, 513, 900})
        for (const Index outputs : {1, 63, 64, 65, 130}) {
            CAPTURE(rows);
            CAPTURE(outputs);
            const auto params = random_params(++seed, outputs, 7, rows % 2 == 0);
            const auto x = random_tensor(++seed, 1, rows, 7), d_out = random_tensor(++seed, 1, rows, outputs);
            const auto g = fast::linear_backward(d_out, x, params), want = linear_backward(d_out, x, params);
            check_agrees("out", fast::linear_forward(x, params), linear_forward(x, params), bound);
            check_agrees("d_x", g.d_x, want.d_x, bound);
            LinearParams<double>::for_each(
                [](std::string_view name, const auto& got, const auto& expected) {
                    check_agrees(name, got, expected, bound);
                },
                g.d_params, want.d_params);
        }
}

TEST_CASE("fast linear: float, and vectors instead of matrices") {
    const auto params = random_params(1, 40, 30, true);
    const auto x = random_tensor(2, 50, 30), d_out = random_tensor(3, 50, 40);
    const auto g = fast::linear_backward(cast<float>(d_out), cast<float>(x), cast_params<float>(params));
    const auto want = linear_backward(d_out, x, params);
    constexpr double float_bound = 50 * 6e-8 * 3;  // 50 roundings of terms some three times the sum
    check_agrees("d_x", cast<double>(g.d_x), want.d_x, float_bound);
    check_agrees("d_weight", cast<double>(g.d_params.weight), want.d_params.weight, float_bound);
    const Tensor<double, 1> one = ConstTensorView<double, 1>(x.data(), 30);
    check_agrees("out", fast::linear_forward(one, params), linear_forward(one, params), bound);
}

TEST_CASE("fast linear: no rows") {
    const auto params = random_params(21, 65, 3, true);
    const auto g = fast::linear_backward(zeros<double>(0, 65), zeros<double>(0, 3), params);
    CHECK(fast::linear_forward(zeros<double>(0, 3), params).size() == 0);
    CHECK(g.d_x.size() == 0);
    check_same_bits("d_weight", g.d_params.weight, zeros<double>(65, 3));
    check_same_bits("d_bias", *g.d_params.bias, zeros<double>(65));
}

TEST_CASE("fast linear: bits do not depend on threads") {
    const auto params = random_params(11, 130, 70, true);
    const auto x = random_tensor(12, 3, 300, 70), d_out = random_tensor(13, 3, 300, 130);
    const auto out = fast::linear_forward(x, params);
    const auto g = fast::linear_backward(d_out, x, params);
    at_thread_counts([&] {
        const auto again = fast::linear_backward(d_out, x, params);
        check_same_bits("out", fast::linear_forward(x, params), out);
        check_same_bits("d_x", again.d_x, g.d_x);
        check_same_bits("d_weight", again.d_params.weight, g.d_params.weight);
        check_same_bits("d_bias", *again.d_params.bias, *g.d_params.bias);
    });
}

TEST_CASE("fast linear: errors are those of the reference") {
    const auto params = random_params(1, 4, 3, true);
    CHECK_THROWS_WITH_AS(fast::linear_forward(zeros<double>(2, 5), params),
                         "linear: width of x: got 5, expected 3", ShapeError);
    CHECK_THROWS_WITH_AS(fast::linear_backward(zeros<double>(2, 3), zeros<double>(2, 3), params),
                         "linear: d_out: got shape [2, 3], expected shape [2, 4]", ShapeError);
}

}  // namespace mta_test_fast_linear
