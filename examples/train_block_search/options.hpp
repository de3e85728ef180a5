// The options of train-block-search, and the configurations that are made of them.
// SPDX-License-Identifier: MIT
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <mta/models/decoder_config.hpp>
#include <mta/tasks/block_search.hpp>
#include <mta/train/training_config.hpp>
#include <optional>
#include <string>
#include <vector>

namespace mta::program {

/// What was typed; absent values come from the preset.
struct Options {
    std::string preset = "laptop", attention = "mta", variant = "all", norm = "none", gate = "none";
    std::string kernel_init = "identity";
    std::optional<std::string> schedule;
    std::optional<Index> letters, query_letters, blocks, length, layers, heads, width, hidden, query_kernel,
        key_kernel;
    std::optional<Index> batch;
    Index mix_group = 0, validation_samples = 1024;
    bool post = false, double_precision = false;
    std::optional<std::int64_t> steps, warmup, validate_every, checkpoint_every;
    std::optional<double> dropout, lr, decay_fraction, min_ratio, beta2, weight_decay, clip, seconds;
    std::uint64_t seed = 42;
    std::optional<std::uint64_t> model_seed, data_seed, dropout_seed;
    std::string run;
    bool resume = false, quiet = false;
    std::optional<int> threads;

    std::vector<const CLI::Option*> configuration;  // those that decide the numbers of a run
};

/// Declares the options; `o` must outlive the parsing.
void add_options(CLI::App& app, Options& o);

/// What a run trains: everything that decides its numbers.
struct RunConfig {
    BlockSearchConfig task;
    DecoderConfig model;
    train::TrainingConfig training;
    bool double_precision = false;
};

/// Throws ValueError or ShapeError for options that contradict each other or cannot work.
RunConfig run_config_of(const Options& o);

/// The configuration that a run folder holds, for --resume. Throws ValueError when one was typed besides.
RunConfig stored_run_config(const Options& o, const train::Json& stored, const std::string& where);

/// When to save and stop.
train::SessionOptions session_of(const Options& o);

}  // namespace mta::program
