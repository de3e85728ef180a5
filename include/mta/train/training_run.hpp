// A run in its folder: start or resume, train, measure, validate, save, stop when told.
// SPDX-License-Identifier: MIT
//
// Order    step -> metrics line -> validation line -> checkpoint. A process that dies anywhere resumes from the last
//          checkpoint, and the metrics are cut back to it; what is done again gives the same bits.
// Start    a new run saves a checkpoint of step 0 before its first step: a folder that cannot be written to shows at
//          once, and metrics without a checkpoint never are a run of ours.
// Errors   io::FileError: a folder that holds another run (naming the first field that differs), files that are
//          damaged or cannot be written. TrainingError: see trainer.hpp. The last good checkpoint stays.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <mta/train/checkpoint.hpp>
#include <mta/train/metrics_log.hpp>
#include <mta/train/progress.hpp>
#include <mta/train/run_directory.hpp>
#include <mta/train/training_config.hpp>
#include <string>

namespace mta::train {

/// Why run_training returned. The state is saved in every case.
enum class RunEnd { finished, interrupted, out_of_time };

/// The configuration of the run in this folder. Throws FileError when there is none.
inline Json stored_config(const RunDirectory& directory) {
    std::error_code error;
    if (std::filesystem::exists(directory.checkpoint(), error))
        return read_checkpoint(directory.checkpoint()).config;
    return io::read_json(directory.config());
}

namespace detail {

inline void write_config(const std::filesystem::path& path, const Json& config) {
    const std::string text = config.dump(4) + "\n";
    io::write_file_atomically(path, std::as_bytes(std::span(text)));
}

/// A folder without a checkpoint: new, or of a run that was killed before its first one.
template <class Trainer>
void start_run(const Trainer& trainer, const RunDirectory& directory) {
    std::error_code error;
    const bool measured = std::filesystem::exists(directory.metrics(), error);
    require<FileError>(
        !measured, directory.metrics().native(),
        ": got metrics without a checkpoint.safetensors beside them, expected both or neither");
    if (std::filesystem::exists(directory.config(), error)) {
        const auto difference = first_difference(io::read_json(directory.config()), trainer.config());
        if (difference) throw FileError(directory.config().native() + ": " + difference->sentence());
    } else {
        write_config(directory.config(), trainer.config());
    }
    trainer.save(directory.checkpoint());
}

}  // namespace detail

/// Starts the run of this folder, or takes up the one that is there; returns its seconds of training so far.
template <class Trainer>
double open_run(Trainer& trainer, const RunDirectory& directory) {
    std::error_code error;
    if (!std::filesystem::exists(directory.checkpoint(), error)) {
        detail::start_run(trainer, directory);
        return 0;
    }
    trainer.load(read_checkpoint(directory.checkpoint()));
    if (!std::filesystem::exists(directory.config(), error))
        detail::write_config(directory.config(), trainer.config());
    return cut_metrics(directory.metrics(), trainer.step_count());
}

namespace detail {

template <class Trainer>
void note_validation(const Trainer& trainer, double seconds, MetricsLog& log, ProgressDisplay& display) {
    const auto numbers = trainer.validate();
    log.append(validation_line(trainer.step_count(), numbers, seconds));
    std::string text = sentence("step ", trainer.step_count(), " validation:");
    for (const auto& [name, number] : numbers)
        text += sentence(" ", name, " ", number);
    display.note(text);
}

/// One step and its line of metrics; adds to the seconds.
template <class Trainer>
void measured_step(Trainer& trainer, double& seconds, MetricsLog& log, ProgressDisplay& display) {
    using Clock = std::chrono::steady_clock;
    const auto before = Clock::now();
    const auto report = trainer.step();
    const double spent = std::chrono::duration<double>(Clock::now() - before).count();
    seconds += spent;
    const StepMetrics metrics{trainer.step_count(),
                              report.loss,
                              report.learning_rate,
                              report.gradient_norm,
                              static_cast<double>(trainer.tokens_per_step()) / std::max(spent, 1e-9),
                              seconds};
    log.append(metrics_line(metrics));
    display.step(metrics);
}

}  // namespace detail

/// Trains until the last step, until interrupted() or until the seconds are spent; saves at the end. `seconds` is what
/// open_run returned.
template <class Trainer>
RunEnd run_training(Trainer& trainer, const RunDirectory& directory, const SessionOptions& options,
                    double seconds, const std::function<bool()>& interrupted, ProgressDisplay& display) {
    check_options(options);
    MetricsLog log(directory.metrics());
    const auto save = [&] {
        log.flush();
        trainer.save(directory.checkpoint());
    };
    bool saved = true;
    RunEnd end = RunEnd::finished;
    while (!trainer.finished()) {
        if (interrupted() || seconds >= options.seconds) {
            end = interrupted() ? RunEnd::interrupted : RunEnd::out_of_time;
            break;
        }
        detail::measured_step(trainer, seconds, log, display);
        const auto due = [&](std::int64_t every) { return every > 0 && trainer.step_count() % every == 0; };
        if (due(trainer.training().validate_every) || trainer.finished())
            detail::note_validation(trainer, seconds, log, display);
        saved = due(options.checkpoint_every);
        if (saved) save();
    }
    if (!saved) save();
    return end;
}

}  // namespace mta::train
