// Training curves from the metrics of runs.
// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <vector>

#include "options.hpp"

namespace mta::program {

/// One quantity as it went: the updates done, the seconds of training, its values.
struct History {
    std::vector<double> step, seconds, value;
};

/// What a run's metrics.jsonl tells.
struct RunHistory {
    std::string name;
    History loss, sequence_error, token_error;
};

/// Reads metrics.jsonl of every run. Throws FileError for a file that is missing or holds something else; half a line at
/// the end, as a killed run leaves it, is passed over.
std::vector<RunHistory> read_runs(const std::vector<std::string>& runs);

/// Draws loss and errors against steps and against seconds: up to six pictures, none without runs.
void draw_curves(const std::vector<RunHistory>& runs, bool linear, const Folder& folder);

}  // namespace mta::program
