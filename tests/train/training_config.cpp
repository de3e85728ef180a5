// Tests of train/training_config.hpp: JSON there and back, and what cannot work.
// SPDX-License-Identifier: MIT
#include <mta/train/training_config.hpp>

#include <doctest/doctest.h>

#include <functional>

#include "../io/io_support.hpp"
#include "json_leaves.hpp"

namespace mta_test_training_config {
using namespace mta;
using namespace mta::train;
using mta::test::sentence_of;

namespace {
TrainingConfig example() {
    TrainingConfig c;
    c.steps = 100, c.batch = 3, c.clip = 0.5;
    c.schedule = {.kind = ScheduleKind::cosine, .peak = 0.01, .warmup = 5, .total = 100, .min_ratio = 0.1};
    c.groups.rules = {{"*.mta.*", 0.0, 2.0, false}, {"norm.weight", std::nullopt, std::nullopt, true}};
    return c;
}

std::string refused(const std::function<void(TrainingConfig&)>& change) {
    TrainingConfig c = example();
    change(c);
    return sentence_of<ValueError>([&] { check_config(c); });
}

std::string refused_options(const SessionOptions& options) {
    return sentence_of<ValueError>([&] { check_options(options); });
}
}  // namespace

TEST_CASE("hand values: every field by name") {
    CHECK(
        to_json(example()).dump() ==
        R"({"steps":100,"batch":3,"schedule":{"kind":"cosine","peak":0.01,"warmup":5,"total":100,"min_ratio":0.1,)"
        R"("decay_fraction":0.3},"adamw":{"beta1":0.9,"beta2":0.95,"eps":1e-08,"weight_decay":0.1},"clip":0.5,)"
        R"("groups":{"rules":[{"pattern":"*.mta.*","weight_decay":0.0,"lr_scale":2.0,"frozen":false},)"
        R"({"pattern":"norm.weight","weight_decay":null,"lr_scale":null,"frozen":true}]},"kernel_init":"identity",)"
        R"("model_seed":42,"dropout_seed":42,"validate_every":500,"validation_samples":1024})");
}

TEST_CASE("properties: every single field survives the way there and back") {
    const Json json = to_json(example());
    CHECK(to_json(from_json<TrainingConfig>(json, "c")) == json);
    test::for_each_changed_leaf(json, [&](const std::string& where, const Json& changed) {
        CHECK_MESSAGE(to_json(from_json<TrainingConfig>(changed, "c")) == changed, where);
    });
}

TEST_CASE("errors: numbers that cannot work") {
    CHECK(refused([](auto&) {}) == "nothing thrown");
    CHECK(refused([](auto& c) { c.steps = 0; }) == "training: steps: got 0, expected at least 1");
    CHECK(refused([](auto& c) { c.batch = 0; }) == "training: batch: got 0, expected at least 1");
    CHECK(refused([](auto& c) { c.steps = INT64_MAX / 2; }).starts_with("training: steps: got "));
    CHECK(refused([](auto& c) { c.clip = 0; }) == "training: clip: got 0, expected finite and above 0");
    CHECK(refused([](auto& c) { c.clip = std::nan(""); }) ==
          "training: clip: got nan, expected finite and above 0");
    CHECK(refused([](auto& c) { c.clip = std::nullopt; }) == "nothing thrown");
    CHECK(refused([](auto& c) { c.validate_every = -1; }) ==
          "training: validate_every: got -1, expected at least 0");
    CHECK(refused([](auto& c) { c.validation_samples = 0; }) ==
          "training: validation_samples: got 0, expected at least 1");
    CHECK(refused([](auto& c) { c.schedule.peak = -1; }).starts_with("schedule: peak: got -1"));
    CHECK(refused([](auto& c) { c.adamw.beta2 = 1; }).starts_with("adamw: beta2: got 1"));
    CHECK(refused_options({}) == "nothing thrown");
    CHECK(refused_options({.checkpoint_every = 0}) ==
          "training: checkpoint_every: got 0, expected at least 1");
    CHECK(refused_options({.seconds = 0}) == "training: seconds: got 0, expected more than 0");
    CHECK(refused_options({.seconds = std::nan("")}) == "training: seconds: got nan, expected more than 0");
}

}  // namespace mta_test_training_config
