// One session of a run of train-block-search.
// SPDX-License-Identifier: MIT
#pragma once

#include <mta/train/run_directory.hpp>
#include <mta/train/training_run.hpp>

#include "options.hpp"

namespace mta::program {

/// Trains in this folder until the end, an interrupt or the end of the session's time.
train::RunEnd train_session(const RunConfig& config, const train::RunDirectory& directory,
                            const train::SessionOptions& options, bool quiet);

}  // namespace mta::program
