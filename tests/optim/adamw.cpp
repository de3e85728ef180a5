// AdamW: hand values, PyTorch, groups, freezing, bits.
// SPDX-License-Identifier: MIT
#include <array>
#include <cmath>
#include <cstring>
#include <mta/optim/adamw.hpp>
#include <string>
#include <vector>

#include "optim/sample_run.hpp"
#include "support/checks.hpp"
#include "support/golden.hpp"
#include "support/tensors.hpp"
#include "support/threads.hpp"

namespace mta_test_adamw {
using namespace mta;
using namespace mta::test;

namespace {

// One tensor, w.
template <class Scalar>
struct OneParams {
    Parameter<Scalar, 1> w;

    template <class F, class... P>
    static void for_each(F&& f, P&... p) {
        f("w", p.w...);
    }
};

using One = OneParams<double>;

// Three tensors of ranks 2, 1 and 3, as in the fixture.
struct Three {
    Tensor<double, 2> a;
    Tensor<double, 1> b;
    Tensor<double, 3> c;

    template <class F, class... P>
    static void for_each(F&& f, P&... p) {
        f("a", p.a...);
        f("b", p.b...);
        f("c", p.c...);
    }
};

}  // namespace

TEST_CASE("adamw: hand values") {
    // b1 = 1/2, b2 = 3/4, lr = wd = 1/2, eps = 1/4, start 1, gradients 2 and -4.
    // Step 1: m = 1, v = 1; corrected 2 and 4: x = 1 - 1/4 - 1/2 * 2 / (2 + 1/4) = 3/4 - 4/9 = 11/36.
    // Step 2: m = 1/2 - 2 = -3/2, v = 3/4 + 4 = 19/4; corrected by 3/4 and 7/16: -2 and 76/7.
    One params{vector_of({1})};
    auto state = make_adamw_state(params);
    const AdamWConfig config{0.5, 0.75, 0.25, 0.5};
    adamw_step(params, {vector_of({2})}, state, config, 0.5);
    check_agrees("x", params.w, vector_of({11. / 36}), 1e-15);
    CHECK(state.first.w(0) == 1);
    CHECK(state.second.w(0) == 1);
    CHECK(state.steps == std::vector<std::int64_t>{1});
    adamw_step(params, {vector_of({-4})}, state, config, 0.5);
    check_agrees("x", params.w, vector_of({11. / 48 + 1 / (std::sqrt(76. / 7) + 0.25)}), 1e-15);
    CHECK(state.first.w(0) == -1.5);
    CHECK(state.second.w(0) == 4.75);
    CHECK(state.steps == std::vector<std::int64_t>{2});

    // The first step moves every element by lr g / (|g| + eps), however large the gradient is.
    One first{vector_of({0, 0, 0, 5})};
    auto fresh = make_adamw_state(first);
    adamw_step(first, {vector_of({3, -3e6, 1e-9, 0})}, fresh, {0.9, 0.99, 1e-8, 0}, 0.01);
    check_agrees("first", first.w, vector_of({-0.03 / (3 + 1e-8), 0.01, -0.01 / 11, 5}), 1e-14);
    CHECK(first.w(3) == 5);  // no gradient, no decay: no bit
    // The defaults.
    const AdamWConfig defaults;
    CHECK((defaults.beta1 == 0.9 && defaults.beta2 == 0.95 && defaults.eps == 1e-8 &&
           defaults.weight_decay == 0.1));
}

TEST_CASE("adamw: independent values") {
    // torch.optim.AdamW in float64. 9 steps of some 10 roundings each, one of them a cancellation of moments.
    const Golden golden("optim/adamw");
    const Index frozen_steps = std::llround(golden.tensor<1>("frozen_steps")(0));
    for (const std::string name : {"default", "language_model", "no_momentum", "eps_matters"}) {
        CAPTURE(name);
        const auto at = [&](const std::string& key) { return golden.tensor<2>(name + "." + key); };
        const auto numbers = golden.tensor<1>(name + ".config"), rates = golden.tensor<1>(name + ".rates");
        const AdamWConfig config{numbers(0), numbers(1), numbers(2), numbers(3)};
        Three params{at("a"), golden.tensor<1>(name + ".b"), golden.tensor<3>(name + ".c")}, grads = params;
        auto state = make_adamw_state(params);
        for (Index step = 0; step < rates.size(); ++step) {
            ParameterGroups groups{{{"b", numbers(4), numbers(5), {}}}};
            if (step < frozen_steps) groups.rules.push_back({"c", {}, {}, true});
            Three::for_each(
                [&](std::string_view tensor, auto& g) {
                    std::copy_n(at(std::string(tensor) + ".grads").data() + step * g.size(), g.size(),
                                g.data());
                },
                grads);
            adamw_step(params, grads, state, config, rates(step), groups);
            Three::for_each(
                [&](std::string_view tensor, const auto& x) {
                    Tensor<double, 1> want(x.size()), got(x.size());
                    std::copy_n(at(std::string(tensor) + ".after").data() + step * x.size(), x.size(),
                                want.data());
                    std::copy_n(x.data(), x.size(), got.data());
                    check_agrees(tensor, got, want, 1e-14);
                },
                params);
        }
        check_agrees("m", state.first.a, at("a.first"), 1e-14);
        check_agrees("v", state.second.a, at("a.second"), 1e-14);
        check_agrees("m", state.first.c, golden.tensor<3>(name + ".c.first"), 1e-14);
        check_agrees("v", state.second.c, golden.tensor<3>(name + ".c.second"), 1e-14);
        const auto steps = [&](const char* key) { return std::llround(golden.tensor<1>(name + key)(0)); };
        CHECK(state.steps ==
              std::vector<std::int64_t>{steps(".a.steps"), steps(".b.steps"), steps(".c.steps")});
    }
}

TEST_CASE("adamw: every length, element by element") {
    // Strips, chunks and remainders: each element alone, in float, to the bit.
    const AdamWConfig config{0.8, 0.9, 1e-8, 0.3};
    for (const Index size : {0, 1, 3, 4, 5, 255, 256, 257, 4095, 4096, 4097, 3 * 4096 + 259}) {
        CAPTURE(size);
        const auto seed = static_cast<std::uint64_t>(size);
        OneParams<float> params{random_tensor<float>(seed, size)};
        const OneParams<float> start = params;
        auto state = make_adamw_state(params);
        std::vector<float> m(static_cast<std::size_t>(size)), v(m),
            x(params.w.data(), params.w.data() + size);
        for (int step = 1; step <= 2; ++step) {
            const OneParams<float> grads{
                random_tensor<float>(seed + 7 * static_cast<std::uint64_t>(step), size)};
            adamw_step(params, grads, state, config, 0.02);
            const auto rate = static_cast<float>(0.02 / (1 - std::pow(0.8, step)));
            const auto root_scale = static_cast<float>(1 / std::sqrt(1 - std::pow(0.9, step)));
            for (std::size_t n = 0; n < x.size(); ++n) {
                const float g = grads.w.data()[n];
                m[n] = 0.8F * m[n] + static_cast<float>(1 - 0.8) * g;
                v[n] = 0.9F * v[n] + static_cast<float>(1 - 0.9) * g * g;
                x[n] -= static_cast<float>(0.02 * 0.3) * x[n] +
                        rate * m[n] / (std::sqrt(v[n]) * root_scale + 1e-8F);
            }
        }
        CHECK((size == 0 || std::memcmp(params.w.data(), x.data(), x.size() * sizeof(float)) == 0));
        CHECK((size == 0 || std::memcmp(state.first.w.data(), m.data(), m.size() * sizeof(float)) == 0));
        CHECK((size == 0 || std::memcmp(state.second.w.data(), v.data(), v.size() * sizeof(float)) == 0));
    }
    MultiTokenAttentionParams<double> nothing;
    auto state = make_adamw_state(nothing);
    adamw_step(nothing, {}, state, config, 1);
    CHECK(state.steps.empty());
}

TEST_CASE("adamw: decay is decoupled and reaches every tensor") {
    // Without gradients x shrinks by 1 - lr wd and the moments stay 0; by powers of two exactly.
    Run run;
    const auto start = run.params;
    auto zero = run.params;
    SampleParams<double>::for_each([](std::string_view, auto& t) { fill(t, 0.0); }, zero);
    run.config.weight_decay = 0.25;
    adamw_step(run.params, zero, run.state, run.config, 0.5);
    SampleParams<double>::for_each(
        [](std::string_view name, const auto& now, const auto& then) {
            for (Index n = 0; n < now.size(); ++n)
                CHECK_MESSAGE(now.data()[n] == 0.875 * then.data()[n], name);
        },
        run.params, start);
    check_same_params(run.state.first, zero);
    check_same_params(run.state.second, zero);
    // The gradient's size does not matter (eps aside), also beside a decay: a factor of 2^10 changes no bit.
    Run plain, scaled;
    plain.config.eps = scaled.config.eps = 1e-300;
    for (std::uint64_t n = 0; n < 4; ++n) {
        auto grads = sample_grads<double>(n);
        adamw_step(plain.params, grads, plain.state, plain.config, 0.01);
        SampleParams<double>::for_each([](std::string_view, auto& g) { g = g * 1024.0; }, grads);
        adamw_step(scaled.params, grads, scaled.state, scaled.config, 0.01);
    }
    check_same_params(scaled.params, plain.params);
    // A small decay in float is right to the last rounding: 1 - lr wd as a float would be off by up to 3 % of it.
    OneParams<float> small{random_tensor<float>(9, 1000)};
    const auto before = small;
    auto state = make_adamw_state(small);
    adamw_step(small, {zeros<float>(1000)}, state, {0.9, 0.95, 1e-8, 0.5}, 1.9e-6);
    for (Index n = 0; n < 1000; ++n) {
        const double x = static_cast<double>(before.w(n)),
                     unit = std::nextafter(std::abs(before.w(n)), 9.0F) - std::abs(before.w(n));
        CHECK(std::abs(static_cast<double>(small.w(n)) - x * (1 - 0.95e-6)) <= 0.501 * unit);
    }
}

TEST_CASE("adamw: same bits at any number of threads and across a copy of the state") {
    OneParams<float> start{random_tensor<float>(1, 4096 * 5 + 300)};
    const OneParams<float> grads{random_tensor<float>(2, start.w.size())};
    const auto train = [&](OneParams<float> params, int steps) {
        auto state = make_adamw_state(params);
        for (int n = 0; n < steps; ++n)
            adamw_step(params, grads, state, {}, 0.01);
        return std::pair(params, state);
    };
    const auto want = train(start, 3);
    at_thread_counts([&] {
        const auto got = train(start, 3);
        check_same_params(got.first, want.first);
        check_same_state(got.second, want.second);
    });
    auto [params, state] = train(start, 2);
    const auto saved = state;
    auto resumed = saved;
    adamw_step(params, grads, resumed, {}, 0.01);
    check_same_params(params, want.first);
    check_same_state(resumed, want.second);
}

TEST_CASE("adamw: a bad gradient stays in its element; float agrees with double") {
    for (const double bad : {not_a_number, infinity}) {
        Run clean, hurt;
        auto grads = sample_grads<double>(0);
        clean.step(0, 0.01);
        grads.layers[1].w(2, 0) = bad;
        adamw_step(hurt.params, grads, hurt.state, hurt.config, 0.01);
        CHECK(std::isnan(hurt.params.layers[1].w(2, 0)));
        hurt.params.layers[1].w(2, 0) = clean.params.layers[1].w(2, 0);
        check_same_params(hurt.params, clean.params);
    }
    // One step: the moments have 3 and 4 roundings, the update is 0.01 of the parameters' size with some 12 of
    // them, and one more in the subtraction. u = 2^-24.
    auto params = sample_params<float>(1);
    auto state = make_adamw_state(params);
    adamw_step(params, sample_grads<float>(0), state, {}, 0.01);
    Run run;
    run.params = sample_params<double>(1);
    SampleParams<double>::for_each([](std::string_view, auto& t) { t = cast<double>(cast<float>(t)); },
                                   run.params);
    auto grads = sample_grads<double>(0);
    SampleParams<double>::for_each([](std::string_view, auto& t) { t = cast<double>(cast<float>(t)); },
                                   grads);
    adamw_step(run.params, grads, run.state, run.config, 0.01);
    check_agrees("x", params.embedding, run.params.embedding, 2 * 0x1p-24);
    check_agrees("m", state.first.embedding, run.state.first.embedding, 4 * 0x1p-24);
    check_agrees("v", state.second.embedding, run.state.second.embedding, 5 * 0x1p-24);
    // An eps below the smallest float is not 0: an element without a gradient stays.
    OneParams<float> idle{zeros<float>(2)};
    auto idle_state = make_adamw_state(idle);
    adamw_step(idle, {zeros<float>(2)}, idle_state, {0.9, 0.95, 1e-60, 0.1}, 0.1);
    check_same_bits("idle", idle.w, zeros<float>(2));
}

}  // namespace mta_test_adamw
