// Tests of the fast root-mean-square norm: the reference's independent values, and the reference itself on awkward shapes.
// SPDX-License-Identifier: MIT
#include <limits>
#include <mta/fast/rms_norm.hpp>
#include <string>

#include "support/checks.hpp"
#include "support/golden.hpp"
#include "support/tensors.hpp"
#include "support/threads.hpp"

namespace mta_test_fast_rms_norm {
namespace {

using namespace mta;
using namespace mta::test;

constexpr double bound = 1e-13;  // some roundings of sums of a few dozen terms in another order

}  // namespace

TEST_CASE("fast rms_norm: independent values") {
    const Golden golden("ops/rms_norm");
    for (const std::string name : {"one", "depth_first", "depth_later", "layer_first", "layer_later",
                                   "large_eps", "no_eps", "small_x", "one_feature"}) {
        CAPTURE(name);
        const auto options = golden.tensor<1>(name + ".options");
        const RmsNormConfig config{options(0), static_cast<RmsNormFactor>(std::lround(options(1))),
                                   std::lround(options(2))};
        const auto x = golden.tensor<4>(name + ".x");
        const RmsNormParams<double> params{golden.tensor<1>(name + ".weight")};
        const auto g = fast::rms_norm_backward(golden.tensor<4>(name + ".d_out"), x, params, config);
        check_agrees("out", fast::rms_norm_forward(x, params, config), golden.tensor<4>(name + ".out"),
                     bound);
        check_agrees("d_x", g.d_x, golden.tensor<4>(name + ".d_x"), bound);
        check_agrees("d_weight", g.d_params.weight, golden.tensor<1>(name + ".d_weight"), bound);
    }
}

TEST_CASE("fast rms_norm: agrees with the reference at the edges of blocks, bits do not depend on threads") {
    std::uint64_t seed = 20;
    const RmsNormConfig config{.eps = 0.01, .factor = RmsNormFactor::depth, .layer_index = 3};
    for (const Index rows : {1, 2, 255, 256, 257, 600}) {
        CAPTURE(rows);
        const auto x = random_tensor(++seed, rows, 19), d_out = random_tensor(++seed, rows, 19);
        const RmsNormParams<double> params{random_tensor(++seed, 19)};
        const auto out = fast::rms_norm_forward(x, params, config);
        const auto g = fast::rms_norm_backward(d_out, x, params, config);
        const auto want = rms_norm_backward(d_out, x, params, config);
        check_agrees("out", out, rms_norm_forward(x, params, config), bound);
        check_agrees("d_x", g.d_x, want.d_x, bound);
        check_agrees("d_weight", g.d_params.weight, want.d_params.weight, 1e-12);
        at_thread_counts([&] {
            const auto again = fast::rms_norm_backward(d_out, x, params, config);
            check_same_bits("out", fast::rms_norm_forward(x, params, config), out);
            check_same_bits("d_x", again.d_x, g.d_x);
            check_same_bits("d_weight", again.d_params.weight, g.d_params.weight);
        });
    }
}

TEST_CASE("fast rms_norm: no rows") {
    const RmsNormParams<double> params{random_tensor(1, 3)};
    CHECK(fast::rms_norm_forward(zeros<double>(0, 3), params).size() == 0);
    const auto g = fast::rms_norm_backward(zeros<double>(0, 3), zeros<double>(0, 3), params);
    CHECK(g.d_x.size() == 0);
    check_same_bits("d_weight", g.d_params.weight, zeros<double>(3));
}

TEST_CASE("fast rms_norm: errors are those of the reference") {
    const RmsNormParams<double> params{zeros<double>(3)};
    CHECK_THROWS_WITH_AS(fast::rms_norm_forward(zeros<double>(2, 5), params),
                         "rms_norm: width of weight: got 3, expected 5", ShapeError);
    CHECK_THROWS_WITH_AS(fast::rms_norm_backward(zeros<double>(3, 3), zeros<double>(2, 3), params),
                         "rms_norm: d_out: got shape [3, 3], expected shape [2, 3]", ShapeError);
}

}  // namespace mta_test_fast_rms_norm
