// The options of generate.
// SPDX-License-Identifier: MIT
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <mta/models/sampling.hpp>
#include <optional>
#include <string>
#include <vector>

namespace mta::program {

/// What was typed.
struct GenerateOptions {
    std::string checkpoint;
    std::vector<std::string> prompts;
    Index samples = 8;
    std::int64_t first = 0;
    std::optional<Index> count;
    bool greedy = false, reference = false;
    std::optional<double> temperature, top_p;
    std::optional<Index> top_k;
    std::optional<std::uint64_t> seed;

    /// Greedy unless something was asked that only a draw can do. Throws ValueError for values out of range.
    SamplingConfig sampling() const;
};

/// Declares the options; `o` must outlive the parsing.
void add_options(CLI::App& app, GenerateOptions& o);

}  // namespace mta::program
