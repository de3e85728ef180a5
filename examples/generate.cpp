// generate: a trained block-search model continues prompts, its own task's or yours.
// SPDX-License-Identifier: MIT
//
//     generate --checkpoint runs/mta                                 # eight test samples, greedily
//     generate --checkpoint runs/mta --prompt abcde.fghij#ag --temperature 0.8 --top-p 0.95
//
// Exit codes: 0 done, whether the answers are right or not; 2 usage; 3 a file; 8 out of memory; 70 unexpected. Every
// error is one sentence on standard error.
#include "generate/answers.hpp"
#include "generate/options.hpp"
#include "support/program.hpp"

int main(int argc, char** argv) {
    using namespace mta::program;
    CLI::App app{"Continues block-search prompts (arXiv:2504.00927, Sec. 4.1) with a trained model",
                 "generate"};
    GenerateOptions options;
    add_options(app, options);
    return run_program(app, argc, argv, [&] { print_answers(options); });
}
