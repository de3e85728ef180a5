// AdamW, continued: freezing, rules for rate and decay, errors.
// SPDX-License-Identifier: MIT
#include <mta/optim/adamw.hpp>
#include <vector>

#include "optim/sample_run.hpp"
#include "support/checks.hpp"
#include "support/tensors.hpp"

namespace mta_test_adamw_groups {
using namespace mta;
using namespace mta::test;

TEST_CASE("adamw: frozen tensors keep every bit") {
    const ParameterGroups frozen{{{"layers.0.mta.*", {}, {}, true}, {"*.mix", {}, {}, false}}};
    Run run, never;
    const auto before = run.params;
    for (std::uint64_t n = 0; n < 3; ++n) {
        auto grads = sample_grads<double>(n);
        fill(grads.layers[0].mta.pre.conv->kernel, not_a_number);  // must not be read
        adamw_step(run.params, grads, run.state, run.config, 0.01, frozen);
        never.step(n, 0.01);
    }
    std::size_t tensor = 0, kept = 0;
    SampleParams<double>::for_each(
        [&](std::string_view name, const auto& x, const auto& then, const auto& m, const auto& trained) {
            CAPTURE(name);
            const bool is_frozen = frozen.settings_for(name).frozen;
            CHECK(run.state.steps[tensor++] == (is_frozen ? 0 : 3));
            kept += is_frozen;
            // What is frozen kept its bits; what is not went the way it goes without any freezing.
            check_same_bits(name, x, is_frozen ? then : trained);
            if (is_frozen) check_same_bits(name, m, zeros_like(m));
        },
        run.params, before, run.state.first, never.params);
    CHECK(kept == 5);
    // Unfrozen, it starts like a new tensor: the same as a run that begins now, gradient by gradient.
    Run fresh;
    for (std::uint64_t n = 3; n < 6; ++n) {
        run.step(n, 0.01);
        fresh.step(n, 0.01);
    }
    check_same_bits("kernel", run.params.layers[0].mta.pre.conv->kernel,
                    fresh.params.layers[0].mta.pre.conv->kernel);
    CHECK(run.state.steps[0] == 6);
    CHECK(run.state.steps[2] == 3);
    // Frozen in the middle of a run, everything of it stays as it is; then it goes on as if there was no pause.
    Run paused, straight;
    paused.step(0, 0.01);
    straight.step(0, 0.01);
    const auto stopped = paused;
    paused.step(77, 0.01, {{{"*", {}, {}, true}}});
    check_same_params(paused.params, stopped.params);
    check_same_state(paused.state, stopped.state);
    paused.step(1, 0.01);
    straight.step(1, 0.01);
    check_same_params(paused.params, straight.params);
}

TEST_CASE("adamw: rules for rate and decay") {
    // lr_scale 1/2 is half the learning rate, for the decay too; a rule for one tensor leaves the others alone.
    Run ruled, halved, plain;
    const ParameterGroups half{{{"layers.*", {}, 0.5, {}}}}, no_decay{{{"norm.*", 0.0, {}, {}}}};
    ruled.step(0, 0.25, half);
    halved.step(0, 0.125);
    plain.step(0, 0.25);
    check_same_bits("scaled", ruled.params.layers[1].w, halved.params.layers[1].w);
    check_same_bits("others", ruled.params.embedding, plain.params.embedding);
    Run without, config_without;
    config_without.config.weight_decay = 0;
    without.step(0, 0.25, no_decay);
    config_without.step(0, 0.25);
    check_same_bits("norm", without.params.norm->weight, config_without.params.norm->weight);
    check_same_bits("embedding", without.params.embedding, plain.params.embedding);
    // Rate 0: nothing moves, the moments and the counts do.
    Run still;
    const auto before = still.params;
    still.step(0, 0);
    check_same_params(still.params, before);
    check_same_state(still.state, plain.state);
}

TEST_CASE("adamw: errors, before anything changes") {
    Run run;
    run.step(0, 0.01);
    const auto before = run;
    const auto says = [&](auto&& change, double lr, const ParameterGroups& groups, const char* sentence,
                          auto failure) {
        auto grads = sample_grads<double>(1);
        Run bad = before;
        change(bad, grads);
        const Run changed = bad;
        CHECK_THROWS_WITH_AS(adamw_step(bad.params, grads, bad.state, bad.config, lr, groups), sentence,
                             decltype(failure));
        check_same_params(bad.params, before.params);
        check_same_params(bad.state.first, changed.state.first);
        CHECK(bad.state.steps == changed.state.steps);
    };
    const ShapeError shape("");
    const ValueError value("");
    const auto nothing = [](Run&, auto&) {};
    says(nothing, -1, {}, "adamw: lr: got -1, expected finite and at least 0", value);
    says(nothing, not_a_number, {}, "adamw: lr: got nan, expected finite and at least 0", value);
    says(nothing, infinity, {}, "adamw: lr: got inf, expected finite and at least 0", value);
    says(nothing, 1, {{{"head.*", 0.0, {}, {}}}},
         "parameter groups: pattern: got head.*, which matches no parameter, expected one that does; the "
         "nearest is "
         "embedding.weight",
         value);
    const auto config = [&](AdamWConfig c, const char* sentence) {
        says([&](Run& r, auto&) { r.config = c; }, 1, {}, sentence, value);
    };
    config({1, 0.95, 1e-8, 0}, "adamw: beta1: got 1, expected at least 0 and below 1");
    config({-0.5, 0.95, 1e-8, 0}, "adamw: beta1: got -0.5, expected at least 0 and below 1");
    config({0.9, not_a_number, 1e-8, 0}, "adamw: beta2: got nan, expected at least 0 and below 1");
    config({0.9, 0.95, 0, 0}, "adamw: eps: got 0, expected finite and above 0");
    config({0.9, 0.95, infinity, 0}, "adamw: eps: got inf, expected finite and above 0");
    config({0.9, 0.95, 1e-8, -1}, "adamw: weight_decay: got -1, expected finite and at least 0");
    config({0.9, 0.95, 1e-8, infinity}, "adamw: weight_decay: got inf, expected finite and at least 0");
    says([](Run&, auto& g) { g.norm->weight = Tensor<double, 1>(5); }, 1, {},
         "adamw: gradient of norm.weight: got shape [5], expected shape [4]", shape);
    says([](Run& r, auto&) { r.state.second.embedding = Tensor<double, 2>(4, 7); }, 1, {},
         "adamw: second moment of embedding.weight: got shape [4, 7], expected shape [7, 4]", shape);
    says([](Run&, auto& g) { g.norm.reset(); }, 1, {},
         "for_each: norm: present in some of the parameter sets only, expected in all or none", shape);
    says([](Run& r, auto&) { r.state.steps.pop_back(); }, 1, {},
         "adamw: state.steps: got 11 counts, expected one for each of the 12 tensors", value);
    says([](Run& r, auto&) { r.state.steps[3] = -2; }, 1, {},
         "adamw: state.steps: got -2, expected at least 0", value);
}
}  // namespace mta_test_adamw_groups
