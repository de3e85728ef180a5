// plot-attention: kernels, head mixes and attention maps of a block-search model, and training curves, as PNG.
// SPDX-License-Identifier: MIT
//
//     plot-attention --checkpoint runs/mta --out pictures            # on the first test sample
//     plot-attention --untrained --kernel-init normal --out pictures
//     plot-attention --runs runs/mta runs/standard --out pictures    # curves alone
//
// Prints the path of every picture. Exit codes: 0 done; 2 usage; 3 a file; 8 out of memory; 70 unexpected. Every error is
// one sentence on standard error.
#include "plot_attention/curves.hpp"
#include "plot_attention/model_pictures.hpp"
#include "plot_attention/options.hpp"
#include "support/program.hpp"

namespace {

using namespace mta;

void plot(const program::PlotOptions& o) {
    require<ValueError>(o.of_model() || !o.runs.empty(),
                        "got nothing to plot, expected --checkpoint, --untrained or --runs");
    require<ValueError>(
        o.of_model() || (o.prompt.empty() && o.sample == 0 && o.layers.empty() && o.heads.empty()),
        "got what to draw of a model without one, expected --checkpoint or --untrained");
    require<ValueError>(!o.linear || !o.runs.empty(), "--linear: got no curves to draw, expected --runs");
    // Everything is read before the first picture is drawn.
    const auto runs = program::read_runs(o.runs);
    if (o.of_model()) {
        const auto model = program::model_of(o);
        const program::Folder folder(o.out);
        program::draw_model(o, model, folder);
        program::draw_curves(runs, o.linear, folder);
    } else {
        program::draw_curves(runs, o.linear, program::Folder(o.out));
    }
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app{"Draws what a block-search model attends to and how its training went", "plot-attention"};
    program::PlotOptions options;
    program::add_options(app, options);
    return program::run_program(app, argc, argv, [&] { plot(options); });
}
