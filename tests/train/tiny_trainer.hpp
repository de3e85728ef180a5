// A tiny block-search trainer for tests: its task, model and training.
// SPDX-License-Identifier: MIT
#pragma once

#include <mta/fast/dense_backend.hpp>
#include <mta/fast/multi_token_attention.hpp>
#include <mta/train/block_search_task.hpp>
#include <mta/train/trainer.hpp>

namespace mta::test {

/// 2 blocks of 3 letters; one layer of width 8 with a convolution; dropout, so that its state counts.
inline BlockSearchConfig tiny_task() {
    BlockSearchConfig task;
    task.letters = 3, task.blocks = 2, task.seed = 7;
    return task;
}

inline DecoderConfig tiny_model() {
    MultiTokenAttentionConfig stages;
    stages.pre.query_kernel = 2, stages.pre.key_kernel = 3, stages.dropout = 0.1;
    return with_multi_token_attention({.vocabulary = 32, .width = 8, .layers = 1, .heads = 2, .hidden = 8},
                                      stages);
}

inline train::TrainingConfig tiny_training(std::int64_t steps) {
    train::TrainingConfig training;
    training.steps = steps, training.batch = 2;
    training.schedule = {.kind = ScheduleKind::linear, .peak = 0.01, .warmup = 2, .total = steps};
    training.clip = 1;
    training.validate_every = 4, training.validation_samples = 5;
    return training;
}

using FastTrainer = train::Trainer<float, DecoderBackend<Fast, FastDense>, train::BlockSearchTask>;

inline FastTrainer tiny_trainer(std::int64_t steps) {
    return {tiny_model(), tiny_training(steps), train::BlockSearchTask(tiny_task())};
}

}  // namespace mta::test
