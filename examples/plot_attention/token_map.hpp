// A heat map whose rows and columns are named by characters.
// SPDX-License-Identifier: MIT
#pragma once

#include <filesystem>
#include <mta/io/heat_map.hpp>
#include <span>
#include <string_view>

namespace mta::program {

/// Writes a square heat map with one character of `tokens` beside each row and below each column, in place of numbers;
/// with numbers when so many characters do not fit.
void write_token_map(const std::filesystem::path& path, std::string_view tokens,
                     std::span<const double> values, io::HeatMapOptions options);

}  // namespace mta::program
