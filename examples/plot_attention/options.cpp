// The options of plot-attention, and the folder that its pictures go to.
// SPDX-License-Identifier: MIT
#include "options.hpp"

#include <cstdio>
#include <mta/core/require.hpp>
#include <mta/io/file.hpp>
#include <mta/train/training_config.hpp>

#include "../support/enum_options.hpp"
#include "../support/program.hpp"

namespace mta::program {

void add_options(CLI::App& app, PlotOptions& o) {
    app.add_option("--out", o.out, "folder of the pictures; made when missing")->required();
    auto* checkpoint =
        app.add_option("--checkpoint", o.checkpoint, "checkpoint of train-block-search, or its run's folder");
    auto* untrained = app.add_flag("--untrained", o.untrained, "a new model of the laptop preset's size")
                          ->excludes(checkpoint);
    app.add_option("--seed", o.seed, "of the new model's weights [42]")->needs(untrained);
    app.add_option("--kernel-init", o.kernel_init, "what its kernels start from [identity]")
        ->needs(untrained)
        ->check(CLI::IsMember(names_of<KernelInit>()));
    auto* prompt = app.add_option("--prompt", o.prompt, "text to read, such as abcde.fghij#ag");
    app.add_option("--sample", o.sample,
                   "number of the test sample to read with its answer, without --prompt [0]")
        ->check(CLI::Range(std::int64_t{0}, (std::int64_t{1} << 40) - 1))
        ->excludes(prompt);
    app.add_option("--layers", o.layers, "which layers, from 0 [all]")
        ->check(CLI::Range(Index{0}, Index{1000000}));
    app.add_option("--heads", o.heads, "which heads, from 0 [all]")
        ->check(CLI::Range(Index{0}, Index{1000000}));
    app.add_option("--runs", o.runs, "run folders, or metrics.jsonl files, whose curves are drawn");
    app.add_flag("--linear", o.linear, "curves on a linear axis instead of a logarithmic one");
}

Folder::Folder(std::filesystem::path path) : path_{std::move(path)} {
    std::error_code error;
    if (std::filesystem::is_directory(path_, error)) return;
    std::filesystem::create_directory(path_, error);
    require<io::FileError>(!error, "cannot make the folder ", path_.native(), ": ", error.message());
}

void print_path(const std::filesystem::path& path) {
    std::printf("%s\n", one_line(path.native()).c_str());
}

}  // namespace mta::program
