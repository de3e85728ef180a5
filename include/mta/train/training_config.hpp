// What a training run does, apart from model and task: steps, batch, schedule, optimizer, seeds.
// SPDX-License-Identifier: MIT
//
// Source   The choices that arXiv:2504.00927 states for its runs, one struct for all of them.
// Split    TrainingConfig decides the numbers and is stored with the run; SessionOptions decide when to look, save and
//          stop, change no number of the training and may differ from session to session.
// Errors   ValueError: a number that cannot work.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <mta/core/require.hpp>
#include <mta/layers/initialisers.hpp>
#include <mta/optim/adamw.hpp>
#include <mta/optim/parameter_groups.hpp>
#include <mta/optim/schedule.hpp>
#include <mta/train/json_fields.hpp>
#include <optional>
#include <string_view>
#include <utility>

namespace mta::train {

/// Decides every number of a run, together with model, task and precision. The seed of the data is the task's.
struct TrainingConfig {
    std::int64_t steps = 1000;  // updates
    Index batch = 64;           // sequences per update
    ScheduleConfig schedule = {};
    AdamWConfig adamw = {};
    std::optional<double> clip = std::nullopt;  // largest global gradient norm; absent: no clipping
    ParameterGroups groups = {};
    KernelInit kernel_init = KernelInit::identity;
    std::uint64_t model_seed = 42, dropout_seed = 42;
    std::int64_t validate_every =
        500;                          // steps between validations; the last step is always one; 0: only that
    Index validation_samples = 1024;  // the first of the test split
};

/// What changes no number of the training.
struct SessionOptions {
    std::int64_t checkpoint_every = 500;  // steps; the last one always saves
    double seconds =
        std::numeric_limits<double>::infinity();  // of training in all sessions, then save and stop
};

template <>
struct JsonNames<ScheduleKind> {
    static constexpr std::array<std::pair<std::string_view, ScheduleKind>, 4> names{
        {{"constant", ScheduleKind::constant},
         {"linear", ScheduleKind::linear},
         {"cosine", ScheduleKind::cosine},
         {"hold_then_linear", ScheduleKind::hold_then_linear}}};
};

template <>
struct JsonNames<KernelInit> {
    static constexpr std::array<std::pair<std::string_view, KernelInit>, 6> names{
        {{"identity", KernelInit::identity},
         {"zero", KernelInit::zero},
         {"constant", KernelInit::constant},
         {"uniform", KernelInit::uniform},
         {"normal", KernelInit::normal},
         {"diagonal", KernelInit::diagonal}}};
};

template <>
struct JsonFields<ScheduleConfig> {
    template <class F, class Config>
    static void for_each(F&& f, Config& c) {
        f("kind", c.kind);
        f("peak", c.peak);
        f("warmup", c.warmup);
        f("total", c.total);
        f("min_ratio", c.min_ratio);
        f("decay_fraction", c.decay_fraction);
    }
};

template <>
struct JsonFields<AdamWConfig> {
    template <class F, class Config>
    static void for_each(F&& f, Config& c) {
        f("beta1", c.beta1);
        f("beta2", c.beta2);
        f("eps", c.eps);
        f("weight_decay", c.weight_decay);
    }
};

template <>
struct JsonFields<ParameterRule> {
    template <class F, class Config>
    static void for_each(F&& f, Config& c) {
        f("pattern", c.pattern);
        f("weight_decay", c.weight_decay);
        f("lr_scale", c.lr_scale);
        f("frozen", c.frozen);
    }
};

template <>
struct JsonFields<ParameterGroups> {
    template <class F, class Config>
    static void for_each(F&& f, Config& c) {
        f("rules", c.rules);
    }
};

template <>
struct JsonFields<TrainingConfig> {
    template <class F, class Config>
    static void for_each(F&& f, Config& c) {
        f("steps", c.steps);
        f("batch", c.batch);
        f("schedule", c.schedule);
        f("adamw", c.adamw);
        f("clip", c.clip);
        f("groups", c.groups);
        f("kernel_init", c.kernel_init);
        f("model_seed", c.model_seed);
        f("dropout_seed", c.dropout_seed);
        f("validate_every", c.validate_every);
        f("validation_samples", c.validation_samples);
    }
};

/// Throws ValueError with one sentence unless the configuration can work.
inline void check_config(const TrainingConfig& c) {
    constexpr std::string_view f = "training: ";
    require<ValueError>(c.steps >= 1, f, "steps: got ", c.steps, ", expected at least 1");
    require<ValueError>(c.batch >= 1, f, "batch: got ", c.batch, ", expected at least 1");
    require<ValueError>(c.steps <= std::numeric_limits<std::int64_t>::max() / c.batch, f, "steps: got ",
                        c.steps, ", expected at most 2^63 samples in all");
    require<ValueError>(!c.clip || (*c.clip > 0 && std::isfinite(*c.clip)), f, "clip: got ",
                        c.clip.value_or(0), ", expected finite and above 0");
    require<ValueError>(c.validate_every >= 0, f, "validate_every: got ", c.validate_every,
                        ", expected at least 0");
    require<ValueError>(c.validation_samples >= 1, f, "validation_samples: got ", c.validation_samples,
                        ", expected at least 1");
    mta::check_config(c.schedule);
    mta::check_config(c.adamw);
}

/// Throws ValueError with one sentence unless the options can work.
inline void check_options(const SessionOptions& o) {
    require<ValueError>(o.checkpoint_every >= 1, "training: checkpoint_every: got ", o.checkpoint_every,
                        ", expected at least 1");
    require<ValueError>(o.seconds > 0, "training: seconds: got ", o.seconds, ", expected more than 0");
}

}  // namespace mta::train
