// Prompts, their continuations, and whether they are right.
// SPDX-License-Identifier: MIT
#pragma once

#include "options.hpp"

namespace mta::program {

/// Prints every prompt with its continuation, the expected answer and a verdict, then one line about all of them.
void print_answers(const GenerateOptions& options);

}  // namespace mta::program
