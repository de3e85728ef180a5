// The presets of train-block-search: every number that a command line may override.
// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstdint>
#include <mta/core/tensor.hpp>
#include <mta/optim/schedule.hpp>
#include <optional>
#include <string_view>

namespace mta::program {

/// One row of the table.
struct Preset {
    std::string_view name;
    // The task: letters of a block, blocks (or characters of the whole text).
    Index letters, query_letters, blocks;
    std::optional<Index> length;
    // The model: feed-forward width `hidden`, probability of attention dropout.
    Index layers, heads, width, hidden;
    double dropout;
    Index query_kernel;  // of multi-token attention; its key kernel is 2 letters - 1
    // The training: the schedule rises over `warmup` steps, and falls to min_ratio of lr (hold_then_linear: in the last
    // decay_fraction of the steps).
    Index batch;
    std::int64_t steps;
    double lr;
    ScheduleKind schedule;
    std::int64_t warmup;
    double decay_fraction, min_ratio, beta2, weight_decay, clip;
    std::int64_t validate_every, checkpoint_every;
};

/// `laptop` trains within minutes: half the paper's layers, and kernels over more queries (docs/block-search.md says
/// why). `paper` has the sizes of arXiv:2504.00927, Sec. 4.1 and its public configuration.
inline constexpr std::array presets{
    Preset{.name = "laptop",
           .letters = 5,
           .query_letters = 2,
           .blocks = 8,
           .length = std::nullopt,
           .layers = 2,
           .heads = 2,
           .width = 128,
           .hidden = 512,
           .dropout = 0,
           .query_kernel = 4,
           .batch = 64,
           .steps = 4000,
           .lr = 2e-3,
           .schedule = ScheduleKind::cosine,
           .warmup = 200,
           .decay_fraction = .3,
           .min_ratio = .05,
           .beta2 = .98,
           .weight_decay = 0,
           .clip = 1,
           .validate_every = 250,
           .checkpoint_every = 100},
    Preset{.name = "paper",
           .letters = 5,
           .query_letters = 2,
           .blocks = 52,
           .length = 319,
           .layers = 4,
           .heads = 2,
           .width = 256,
           .hidden = 768,
           .dropout = .1,
           .query_kernel = 2,
           .batch = 64,
           .steps = 100'000,
           .lr = 1e-4,
           .schedule = ScheduleKind::constant,
           .warmup = 0,
           .decay_fraction = .3,
           .min_ratio = 0,
           .beta2 = .98,
           .weight_decay = 0,
           .clip = 1,
           .validate_every = 500,
           .checkpoint_every = 100},
};

}  // namespace mta::program
