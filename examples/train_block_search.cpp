// train-block-search: trains a decoder, multi-token or standard attention, to find blocks of letters.
// SPDX-License-Identifier: MIT
//
//     train-block-search --run runs/mta                          # the laptop preset; again: goes on
//     train-block-search --run runs/standard --attention standard
//     train-block-search --run runs/paper --preset paper --seconds 600
//
// Exit codes: 0 the run is finished, or its --seconds are spent and it is saved; 1 training cannot go on; 2 usage or
// configuration; 3 a file; 8 out of memory; 70 unexpected; 130 interrupted and saved. Every error is one sentence on
// standard error.
#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <mta/io/nearest_name.hpp>
#include <mta/train/interrupt.hpp>
#include <mta/train/trainer.hpp>
#include <mta/version.hpp>
#include <new>
#include <string>
#include <vector>
#if defined(__GLIBC__)
#include <malloc.h>
#endif
#if defined(_OPENMP)
#include <omp.h>
#endif

#include "train_block_search/options.hpp"
#include "train_block_search/session.hpp"

namespace {

using namespace mta;

enum Code { done = 0, training_failed = 1, usage = 2, file = 3, out_of_memory = 8, unexpected = 70 };

int exit_with(Code code, const std::string& sentence) {
    std::string
        line;  // names come from files and command lines: none may forge a line or command the terminal
    for (const char c : sentence)
        line += static_cast<unsigned char>(c) < 0x20 || c == 0x7F ? '?' : c;
    std::fprintf(stderr, "train-block-search: %s\n", line.c_str());
    return code;
}

// Every step makes the tensors of the step before again. Memory that goes back to the system in between would have to
// be mapped and cleared anew, page by page.
void keep_memory() {
#if defined(__GLIBC__)
    constexpr int largest = 32 << 20;  // that M_MMAP_THRESHOLD takes
    mallopt(M_MMAP_THRESHOLD, largest);
    mallopt(M_MMAP_MAX, 0);  // tensors above it too
    mallopt(M_TRIM_THRESHOLD, -1);
#endif
}

std::string usage_sentence(const CLI::App& app, const CLI::ParseError& error) {
    const std::string help = " (train-block-search --help says what it takes)";
    const auto unknown = app.remaining(/*recurse=*/true);
    if (unknown.empty()) return error.what() + help;
    std::vector<std::string> known{"--run",     "--resume", "--seconds", "--checkpoint-every",
                                   "--threads", "--quiet"};
    for (const auto* group : app.get_subcommands([](const CLI::App*) { return true; }))
        for (const auto* option : group->get_options())
            known.push_back(option->get_name());
    return "got " + io::detail::in_quotes(unknown.front()) + ", the nearest known is " +
           io::detail::in_quotes(io::nearest_name(unknown.front(), known)) + help;
}

int run(int argc, char** argv) {
    CLI::App app{
        "Trains a decoder to find the block that holds the letters of a query (arXiv:2504.00927, Sec. 4.1)"};
    app.name("train-block-search");
    app.set_version_flag("--version", "train-block-search " MTA_VERSION_STRING);
    program::Options options;
    program::add_options(app, options);
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        if (error.get_exit_code() == 0) return app.exit(error);  // --help, --version
        return exit_with(usage, usage_sentence(app, error));
    }
#if defined(_OPENMP)
    if (options.threads) omp_set_num_threads(*options.threads);
#endif
    const auto session = program::session_of(options);
    // Before the folder is made: a command line that cannot work leaves nothing behind.
    program::RunConfig config;
    if (!options.resume) config = program::run_config_of(options);
    std::error_code none;
    require<io::FileError>(!options.resume || std::filesystem::is_directory(options.run, none), options.run,
                           ": got no such folder, expected the run to resume");
    const train::RunDirectory directory(options.run);
    if (options.resume)
        config = program::stored_run_config(options, train::stored_config(directory), options.run);
    const auto end = program::train_session(config, directory, session, options.quiet);
    return end == train::RunEnd::interrupted ? train::interrupted_exit_code : done;
}

}  // namespace

int main(int argc, char** argv) {
    keep_memory();
    std::signal(SIGXFSZ, SIG_IGN);  // a file at its size limit is an error of the write, told in a sentence
    try {
        return run(argc, argv);
    } catch (const io::FileError& error) {
        return exit_with(file, error.what());
    } catch (const train::TrainingError& error) {
        return exit_with(training_failed, error.what());
    } catch (const ArgumentError& error) {
        return exit_with(usage, error.what());
    } catch (const std::bad_alloc&) {
        return exit_with(out_of_memory, "out of memory, expected a smaller model or batch");
    } catch (const std::exception& error) {
        return exit_with(unexpected, std::string("unexpected: ") + error.what());
    }
}
