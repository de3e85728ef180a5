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
#include <csignal>
#include <mta/train/interrupt.hpp>
#include <mta/train/trainer.hpp>
#if defined(__GLIBC__)
#include <malloc.h>
#endif
#if defined(_OPENMP)
#include <omp.h>
#endif

#include "support/program.hpp"
#include "train_block_search/options.hpp"
#include "train_block_search/session.hpp"

namespace {

using namespace mta;

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

// The exit code of a session.
int run(const program::Options& options) {
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
    return end == train::RunEnd::interrupted ? train::interrupted_exit_code : program::done;
}

}  // namespace

int main(int argc, char** argv) {
    keep_memory();
    std::signal(SIGXFSZ, SIG_IGN);  // a file at its size limit is an error of the write, told in a sentence
    CLI::App app{
        "Trains a decoder to find the block that holds the letters of a query (arXiv:2504.00927, Sec. 4.1)",
        "train-block-search"};
    program::Options options;
    program::add_options(app, options);
    return program::run_program(app, argc, argv, [&] {
        try {
            return run(options);
        } catch (const train::TrainingError& error) {
            return program::exit_with(app.get_name(), program::failed, error.what());
        }
    });
}
