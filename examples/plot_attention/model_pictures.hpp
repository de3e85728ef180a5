// Pictures of a model: its kernels and mixes, and its attention to a prompt.
// SPDX-License-Identifier: MIT
#pragma once

#include <mta/models/decoder_params.hpp>
#include <mta/tasks/block_search.hpp>
#include <string>

#include "options.hpp"

namespace mta::program {

/// What is drawn.
struct PlottedModel {
    DecoderConfig config;
    DecoderParams<double> params;
    std::string prompt;
};

/// The model and prompt that the options ask for. Throws FileError for the checkpoint, ValueError for the prompt, layers
/// and heads.
PlottedModel model_of(const PlotOptions& o);

/// Draws the chosen layers and heads.
void draw_model(const PlotOptions& o, const PlottedModel& model, const Folder& folder);

}  // namespace mta::program
