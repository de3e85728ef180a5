// The lesson's pictures: rows of scores above the text that they belong to.
// SPDX-License-Identifier: MIT
#pragma once

#include <filesystem>

#include "lesson.hpp"

namespace mta::lesson {

/// Writes logits.png, after_convolution.png and weights.png of sample 0 into the folder and prints their paths. All are
/// of the query row, the logits also of the row before it. `mta` and `standard` attended to these prompts.
void draw_stages(const std::filesystem::path& folder, const Prompts& prompts,
                 const MultiTokenAttentionTrace<double>& mta,
                 const MultiTokenAttentionTrace<double>& standard);

}  // namespace mta::lesson
