// One session of a run of train-block-search.
// SPDX-License-Identifier: MIT
#include "session.hpp"

#include <unistd.h>

#include <cstdio>
#include <mta/fast/dense_backend.hpp>
#include <mta/fast/multi_token_attention.hpp>
#include <mta/train/block_search_task.hpp>
#include <mta/train/interrupt.hpp>
#include <mta/train/trainer.hpp>

namespace mta::program {

namespace {

using train::RunEnd;

template <class Trainer>
std::string beginning(const Trainer& trainer, const train::RunDirectory& directory) {
    const auto& m = trainer.model();
    const std::string text = mta::detail::sentence(
        directory.path().native(), ": ", m.layers, " layers, ", m.heads, " heads, width ", m.width, ", ",
        parameter_count(trainer.params().layers.front().attention.mta) > 0 ? "multi-token attention"
                                                                           : "standard attention",
        ", ", parameter_count(trainer.params()), " parameters");
    if (trainer.step_count() == 0) return text + "; a new run";
    return text + mta::detail::sentence("; resumed after step ", trainer.step_count());
}

std::string ending(RunEnd end, std::int64_t step, const train::RunDirectory& directory) {
    const std::string saved =
        mta::detail::sentence("step ", step, " is saved in ", directory.path().native());
    if (end == RunEnd::finished) return "finished: " + saved;
    return (end == RunEnd::interrupted ? "interrupted: " : "out of time: ") + saved;
}

template <class Scalar, class Backend>
RunEnd session_with(const RunConfig& config, const train::RunDirectory& directory,
                    const train::SessionOptions& options, bool quiet) {
    const train::Interrupt interrupt;
    train::Trainer<Scalar, Backend, train::BlockSearchTask> trainer(config.model, config.training,
                                                                    train::BlockSearchTask(config.task));
    const double seconds = train::open_run(trainer, directory);
    train::ProgressDisplay display(quiet ? nullptr : stderr, ::isatty(STDERR_FILENO) != 0,
                                   trainer.step_count(), config.training.steps);
    display.note(beginning(trainer, directory));
    const auto end = train::run_training(
        trainer, directory, options, seconds, [&] { return interrupt.requested(); }, display);
    display.note(ending(end, trainer.step_count(), directory));
    return end;
}

}  // namespace

train::RunEnd train_session(const RunConfig& config, const train::RunDirectory& directory,
                            const train::SessionOptions& options, bool quiet) {
    if (config.double_precision)
        return session_with<double, DecoderBackend<Reference, ReferenceDense>>(config, directory, options,
                                                                               quiet);
    return session_with<float, DecoderBackend<Fast, FastDense>>(config, directory, options, quiet);
}

}  // namespace mta::program
