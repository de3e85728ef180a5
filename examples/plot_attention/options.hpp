// The options of plot-attention, and the folder that its pictures go to.
// SPDX-License-Identifier: MIT
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <filesystem>
#include <mta/core/tensor.hpp>
#include <string>
#include <vector>

namespace mta::program {

/// What was typed.
struct PlotOptions {
    std::string checkpoint, out, prompt, kernel_init = "identity";
    bool untrained = false, linear = false;
    std::uint64_t seed = 42;
    std::int64_t sample = 0;
    std::vector<Index> layers, heads;  // empty: all
    std::vector<std::string> runs;

    bool of_model() const { return untrained || !checkpoint.empty(); }
};

/// Declares the options; `o` must outlive the parsing.
void add_options(CLI::App& app, PlotOptions& o);

/// A folder for pictures; made when missing, its parent must be there.
class Folder {
  public:
    /// Throws FileError when there is no such folder and none can be made.
    explicit Folder(std::filesystem::path path);

    /// Where the picture of this name goes.
    std::filesystem::path picture(const std::string& name) const { return path_ / (name + ".png"); }

  private:
    std::filesystem::path path_;
};

/// Prints the path of a picture that was written.
void print_path(const std::filesystem::path& path);

}  // namespace mta::program
