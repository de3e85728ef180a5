// Global-norm clipping: values, PyTorch, threads, and what is left alone.
// SPDX-License-Identifier: MIT
#include <cmath>
#include <mta/optim/clip_gradients.hpp>
#include <string>

#include "optim/sample_params.hpp"
#include "support/checks.hpp"
#include "support/golden.hpp"
#include "support/tensors.hpp"
#include "support/threads.hpp"

namespace mta_test_clip_gradients {
using namespace mta;
using namespace mta::test;

namespace {

// Two tensors, a and b.
template <class Scalar>
struct PairParams {
    Parameter<Scalar, 2> a;
    Parameter<Scalar, 1> b;

    template <class F, class... P>
    static void for_each(F&& f, P&... p) {
        f("a", p.a...);
        f("b", p.b...);
    }
};

using Pair = PairParams<double>;

template <class Params>
void check_same_params(const Params& got, const Params& want) {
    Params::for_each([](std::string_view name, const auto& g, const auto& w) { check_same_bits(name, g, w); },
                     got, want);
}

// All elements of all tensors in a row, widened.
template <class Params>
std::vector<long double> flat(const Params& params) {
    std::vector<long double> all;
    Params::for_each(
        [&](std::string_view, const auto& t) { all.insert(all.end(), t.data(), t.data() + t.size()); },
        params);
    return all;
}

long double norm_of(const std::vector<long double>& values) {
    long double sum = 0;
    for (const long double x : values)
        sum += x * x;
    return std::sqrt(sum);
}

}  // namespace

TEST_CASE("clip_gradients: hand values") {
    // 1 + 4 + 4 + 0 + 16 = 25.
    const Pair grads{matrix_of(2, {1, -2, 2, 0}), vector_of({4})};
    CHECK(global_norm(grads) == 5);
    auto clipped = grads;
    CHECK(clip_gradients(clipped, 2) == 5);
    const double factor = 2 / (5 + 1e-6);
    check_same_bits("a", clipped.a, matrix_of(2, {factor, -2 * factor, 2 * factor, 0}));
    check_same_bits("b", clipped.b, vector_of({4 * factor}));
    // Not longer than allowed: no bit changes, although 5 / (5 + 1e-6) is below 1 only from max_norm 5 down.
    for (const double max_norm : {5.000001, 6.0, 1e300, infinity}) {
        auto same = grads;
        CHECK(clip_gradients(same, max_norm) == 5);
        check_same_params(same, grads);
    }
    auto just = grads;
    clip_gradients(just, 5);
    CHECK(just.b(0) == 4 * (5 / (5 + 1e-6)));
}

TEST_CASE("clip_gradients: independent values") {
    // torch.nn.utils.clip_grad_norm_ in float64, whose norm is a norm of norms: some roundings each.
    const Golden golden("optim/clip_gradients");
    for (const std::string name : {"clipped", "not_clipped", "tiny", "huge"}) {
        CAPTURE(name);
        Pair grads{golden.tensor<2>(name + ".a"), golden.tensor<1>(name + ".b")};
        const double max_norm = golden.tensor<1>(name + ".max_norm")(0);
        const double norm = clip_gradients(grads, max_norm), want = golden.tensor<1>(name + ".norm")(0);
        CHECK(std::abs(norm - want) <= 1e-14 * want);
        check_agrees("a", grads.a, golden.tensor<2>(name + ".clipped_a"), 1e-14);
        check_agrees("b", grads.b, golden.tensor<1>(name + ".clipped_b"), 1e-14);
    }
}

TEST_CASE("clip_gradients: edge shapes") {
    // Nothing at all; tensors without elements; one element; every remainder of lanes and chunks.
    MultiTokenAttentionParams<double> nothing;
    CHECK(clip_gradients(nothing, 1) == 0);
    Pair empty{Tensor<double, 2>(0, 3), Tensor<double, 1>(0)};
    CHECK(clip_gradients(empty, 1) == 0);
    for (const Index size : {1, 2, 7, 8, 9, 15, 4095, 4096, 4097, 4096 * 3 + 5}) {
        CAPTURE(size);
        const Pair grads{Tensor<double, 2>(0, 1), random_tensor(static_cast<std::uint64_t>(size), size)};
        const auto want = static_cast<double>(norm_of(flat(grads)));
        CHECK(std::abs(global_norm(grads) - want) <= 1e-14 * want);
    }
    // More chunks than are summed in one round: 256 of 4096. Whole numbers, so the sum is exact.
    const Index size = 256 * 4096 + 4096 + 3;
    PairParams<float> large{Tensor<float, 2>(0, 1), Tensor<float, 1>(size)};
    double sum = 0;
    for (Index n = 0; n < size; ++n) {
        large.b(n) = static_cast<float>(n % 13 - 6);
        sum += static_cast<double>(large.b(n)) * static_cast<double>(large.b(n));
    }
    CHECK(global_norm(large) == std::sqrt(sum));
}

TEST_CASE("clip_gradients: properties") {
    const auto grads = sample_params<double>(3);
    const auto values = flat(grads);
    const auto norm = static_cast<double>(norm_of(values));
    CHECK(std::abs(global_norm(grads) - norm) <= 1e-14 * norm);
    // Whatever the start, the norm afterwards is max_norm, up to its 1e-6; direction is kept.
    auto clipped = grads;
    clip_gradients(clipped, 0.25);
    CHECK(std::abs(global_norm(clipped) - 0.25 * norm / (norm + 1e-6)) <= 1e-14);
    const auto after = flat(clipped);
    for (std::size_t n = 0; n < values.size(); ++n)
        CHECK(std::abs(after[n] - values[n] * 0.25L / (norm + 1e-6L)) <= 1e-15L);
    // Float gradients whose squares are no floats: the norm is summed in double.
    // 3 is summed in the lanes, 4 behind them.
    for (const double unit : {1e30, 1e-30}) {
        PairParams<float> grads_of_unit{Tensor<float, 2>(0, 1), zeros<float>(10)};
        grads_of_unit.b(0) = static_cast<float>(3 * unit);
        grads_of_unit.b(9) = static_cast<float>(4 * unit);
        CHECK(std::abs(global_norm(grads_of_unit) - 5 * unit) <= 5 * unit * 0x1p-24);
        clip_gradients(grads_of_unit, unit);
        if (unit > 1) CHECK(std::abs(grads_of_unit.b(0) - 0.6e30F) <= 1e23F);
    }
}

TEST_CASE("clip_gradients: same bits at any number of threads") {
    PairParams<float> grads{random_tensor<float>(5, 300, 100), random_tensor<float>(6, 4096 * 5 + 77)};
    const double norm = global_norm(grads);
    auto want = grads;
    clip_gradients(want, 0.5);
    at_thread_counts([&] {
        auto got = grads;
        CHECK(clip_gradients(got, 0.5) == norm);
        check_same_params(got, want);
    });
}

TEST_CASE("clip_gradients: frozen tensors count for nothing") {
    const Pair grads{matrix_of(1, {3, 4}), vector_of({not_a_number, 100})};
    const ParameterGroups frozen{{{"b", {}, {}, true}}};
    CHECK(global_norm(grads, frozen) == 5);
    auto clipped = grads;
    CHECK(clip_gradients(clipped, 1, frozen) == 5);
    check_same_bits("a", clipped.a, matrix_of(1, {3 / (5 + 1e-6), 4 / (5 + 1e-6)}));
    check_same_bits("b", clipped.b, grads.b);
    auto all = grads;
    CHECK(clip_gradients(all, 1, {{{"*", {}, {}, true}}}) == 0);
    check_same_params(all, grads);
}

TEST_CASE("clip_gradients: a norm that is not finite is returned, and nothing is scaled") {
    for (const double bad : {not_a_number, infinity, -infinity, 1e200}) {  // 1e200: its square is infinite
        CAPTURE(bad);
        Pair grads{matrix_of(1, {3, 4}), vector_of({1, bad, 2})};
        const auto before = grads;
        const double norm = clip_gradients(grads, 1);
        CHECK(!std::isfinite(norm));
        CHECK(std::isnan(norm) == std::isnan(bad));
        check_same_params(grads, before);
    }
}

TEST_CASE("clip_gradients: errors") {
    Pair grads{matrix_of(1, {3, 4}), vector_of({1})};
    const auto before = grads;
    CHECK_THROWS_WITH_AS(clip_gradients(grads, 0), "clip_gradients: max_norm: got 0, expected above 0",
                         ValueError);
    CHECK_THROWS_WITH_AS(clip_gradients(grads, -1), "clip_gradients: max_norm: got -1, expected above 0",
                         ValueError);
    CHECK_THROWS_WITH_AS(clip_gradients(grads, not_a_number),
                         "clip_gradients: max_norm: got nan, expected above 0", ValueError);
    const char* sentence =
        "parameter groups: pattern: got c, which matches no parameter, expected one that does; the nearest "
        "is a";
    CHECK_THROWS_WITH_AS(clip_gradients(grads, 1, {{{"c", {}, {}, true}}}), sentence, ValueError);
    CHECK_THROWS_WITH_AS(global_norm(grads, {{{"c", {}, {}, true}}}), sentence, ValueError);
    check_same_params(grads, before);
}
}  // namespace mta_test_clip_gradients
