// Tests of train/training_run.hpp: starting, stopping, resuming to the same bits, and folders that hold something else.
// SPDX-License-Identifier: MIT
#include <mta/train/training_run.hpp>

#include <doctest/doctest.h>
#include <sys/resource.h>

#include <csignal>
#include <functional>
#include <limits>

#include "tiny_trainer.hpp"
#include "train_support.hpp"

namespace mta_test_training_run {
using namespace mta;
using namespace mta::test;
using namespace mta::train;

namespace {
struct Session {
    RunEnd end;
    std::int64_t step;
    double seconds;  // of the sessions before
};

// One session on the tiny model; `stop` is asked before every step, after `asked` questions.
Session run(
    const std::filesystem::path& path, std::int64_t steps, const SessionOptions& options = {},
    const std::function<bool(int)>& stop = [](int) { return false; }) {
    const RunDirectory directory(path);
    auto trainer = tiny_trainer(steps);
    ProgressDisplay quiet(nullptr, false, 0, steps);
    const double seconds = open_run(trainer, directory);
    int asked = 0;
    const auto end = run_training(
        trainer, directory, options, seconds, [&] { return stop(asked++); }, quiet);
    return {end, trainer.step_count(), seconds};
}

// Stops after n steps of the session.
std::function<bool(int)> after(int n) {
    return [n](int asked) { return asked >= n; };
}

// The lines without what a clock says.
std::string timeless(const std::filesystem::path& metrics) {
    std::string text = text_of(metrics), kept;
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t end = text.find('\n', at);
        const std::string line = text.substr(at, end - at);
        kept += line.substr(0, std::min(line.find(",\"tokens_per_second"), line.find(",\"seconds"))) + "\n";
        at = end + 1;
    }
    return kept;
}

std::size_t lines_of(const std::filesystem::path& path) {
    const std::string text = text_of(path);
    return static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
}

std::string refused(const std::filesystem::path& path, std::int64_t steps) {
    const std::string got = sentence_of<std::exception>([&] { run(path, steps); });
    return got.starts_with(path.native()) ? "RUN" + got.substr(path.native().size()) : got;
}
}  // namespace

TEST_CASE("hand values: a run's files, its lines, its validations") {
    const TemporaryFolder folder("training_run");
    const auto done = run(folder / "r", 10, {.checkpoint_every = 3});
    CHECK(done.end == RunEnd::finished);
    CHECK(done.step == 10);
    // 10 steps; validations after 4, 8 and the last.
    CHECK(lines_of(folder / "r/metrics.jsonl") == 13);
    const auto checkpoint = read_checkpoint(folder / "r/checkpoint.safetensors");
    CHECK(checkpoint.progress == TrainingProgress{10, 20});
    CHECK(checkpoint.config == io::read_json(folder / "r/config.json"));
    CHECK(std::filesystem::exists(folder / "r/config.json"));
}

TEST_CASE(
    "properties: whenever a run is stopped and resumed, checkpoint and metrics are those of one session") {
    const TemporaryFolder folder("training_run");
    run(folder / "whole", 12);
    const auto checkpoint = io::read_file(folder / "whole/checkpoint.safetensors");
    const auto metrics = timeless(folder / "whole/metrics.jsonl");
    for (const int first : {0, 1, 4, 5, 11}) {
        const auto path = folder / ("cut" + std::to_string(first));
        const auto stopped = run(path, 12, {.checkpoint_every = 3}, after(first));
        CHECK(stopped.end == RunEnd::interrupted);
        CHECK(stopped.step == first);
        CHECK(read_checkpoint(path / "checkpoint.safetensors").progress.step == first);
        CHECK(run(path, 12, {}, after(2)).step == std::min(12, first + 2));
        CHECK(run(path, 12).end == RunEnd::finished);
        CHECK(io::read_file(path / "checkpoint.safetensors") == checkpoint);
        CHECK(timeless(path / "metrics.jsonl") == metrics);
    }
}

TEST_CASE("properties: a process that dies between checkpoints loses only what comes after the last one") {
    const TemporaryFolder folder("training_run");
    run(folder / "whole", 12);
    const auto dies = [&](int at) {
        run(folder / "r", 12, {.checkpoint_every = 5}, [at](int asked) -> bool {
            if (asked >= at) throw std::runtime_error("as if killed");
            return false;
        });
    };
    CHECK_THROWS(dies(0));
    CHECK(read_checkpoint(folder / "r/checkpoint.safetensors").progress.step == 0);
    CHECK_THROWS(dies(8));
    CHECK(lines_of(folder / "r/metrics.jsonl") == 10);
    CHECK(read_checkpoint(folder / "r/checkpoint.safetensors").progress.step == 5);
    CHECK_THROWS(dies(1));
    CHECK(lines_of(folder / "r/metrics.jsonl") == 7);
    CHECK(run(folder / "r", 12).end == RunEnd::finished);
    CHECK(io::read_file(folder / "r/checkpoint.safetensors") ==
          io::read_file(folder / "whole/checkpoint.safetensors"));
    CHECK(timeless(folder / "r/metrics.jsonl") == timeless(folder / "whole/metrics.jsonl"));
}

TEST_CASE("properties: seconds stop a run, count over sessions, and a finished run stays as it is") {
    const TemporaryFolder folder("training_run");
    const auto first = run(folder / "r", 12, {.seconds = 1e-9});
    CHECK(first.end == RunEnd::out_of_time);
    CHECK(first.step == 1);
    const auto second = run(folder / "r", 12, {.seconds = 1e-9});
    CHECK(second.end == RunEnd::out_of_time);
    CHECK(second.step == 1);
    CHECK(second.seconds > 1e-9);
    CHECK(run(folder / "r", 12).step == 12);
    const auto before = std::filesystem::last_write_time(folder / "r/checkpoint.safetensors");
    CHECK(run(folder / "r", 12).end == RunEnd::finished);
    CHECK(std::filesystem::last_write_time(folder / "r/checkpoint.safetensors") == before);
}

TEST_CASE("properties: the clock of the metrics never goes back, over sessions either") {
    const TemporaryFolder folder("training_run");
    run(folder / "r", 12, {}, after(5));
    run(folder / "r", 12);
    const std::string text = text_of(folder / "r/metrics.jsonl");
    double last = 0;
    for (std::size_t at = 0; at < text.size(); at = text.find('\n', at) + 1) {
        const Json line = Json::parse(text.substr(at, text.find('\n', at) - at));
        const double seconds = line["seconds"].get<double>();
        CHECK((line.contains("validation") ? seconds == last : seconds > last));
        last = seconds;
    }
}

TEST_CASE("errors: the folder of another run: the first field that differs, and nothing changes") {
    const TemporaryFolder folder("training_run");
    run(folder / "r", 12, {}, after(3));
    const auto checkpoint = io::read_file(folder / "r/checkpoint.safetensors");
    const auto metrics = text_of(folder / "r/metrics.jsonl");
    CHECK(refused(folder / "r", 13) == "RUN/checkpoint.safetensors: training.steps: got 12, expected 13");
    CHECK(io::read_file(folder / "r/checkpoint.safetensors") == checkpoint);
    CHECK(text_of(folder / "r/metrics.jsonl") == metrics);
    std::filesystem::remove(folder / "r/checkpoint.safetensors");
    CHECK(refused(folder / "r", 12) ==
          "RUN/metrics.jsonl: got metrics without a checkpoint.safetensors beside them, expected both or "
          "neither");
    std::filesystem::remove(folder / "r/metrics.jsonl");
    CHECK(refused(folder / "r", 13) == "RUN/config.json: training.steps: got 12, expected 13");
    CHECK(run(folder / "r", 12).end == RunEnd::finished);
}

TEST_CASE("errors: a damaged checkpoint is refused and stays for whoever wants to look at it") {
    const TemporaryFolder folder("training_run");
    run(folder / "r", 12, {}, after(3));
    auto bytes = io::read_file(folder / "r/checkpoint.safetensors");
    bytes[bytes.size() / 2] ^= std::byte{4};
    io::write_file_atomically(folder / "r/checkpoint.safetensors", bytes);
    CHECK(refused(folder / "r", 12).ends_with("(the file is damaged)"));
    bytes.resize(100);
    io::write_file_atomically(folder / "r/checkpoint.safetensors", bytes);
    CHECK(refused(folder / "r", 12).starts_with("RUN/checkpoint.safetensors: got a header length of "));
    CHECK(io::read_file(folder / "r/checkpoint.safetensors") == bytes);
    CHECK(lines_of(folder / "r/metrics.jsonl") == 3);
}

TEST_CASE("properties: a missing config.json is written again; stored_config reads either") {
    const TemporaryFolder folder("training_run");
    run(folder / "r", 12, {}, after(2));
    const auto config = text_of(folder / "r/config.json");
    std::filesystem::remove(folder / "r/config.json");
    CHECK(stored_config(RunDirectory(folder / "r")) == Json::parse(config));
    run(folder / "r", 12, {}, after(0));
    CHECK(text_of(folder / "r/config.json") == config);
    std::filesystem::remove(folder / "r/checkpoint.safetensors");
    CHECK(stored_config(RunDirectory(folder / "r")) == Json::parse(config));
    check_contains(sentence_of([&] { stored_config(RunDirectory(folder / "new")); }),
                   "No such file or directory");
}

TEST_CASE(
    "errors: no room on the disk: a sentence, and the last good checkpoint goes on once there is room") {
    const TemporaryFolder folder("training_run");
    run(folder / "whole", 12);
    run(folder / "r", 12, {}, after(5));
    const auto good = io::read_file(folder / "r/checkpoint.safetensors");
    rlimit before{};
    ::getrlimit(RLIMIT_FSIZE, &before);
    const auto handler = std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limited{good.size() / 2, before.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limited);
    const auto got = refused(folder / "r", 12);
    ::setrlimit(RLIMIT_FSIZE, &before);
    std::signal(SIGXFSZ, handler);
    CHECK(got == "cannot write " + (folder / "r/checkpoint.safetensors").native() + ": File too large");
    CHECK(io::read_file(folder / "r/checkpoint.safetensors") == good);
    run(folder / "r", 12);
    CHECK(io::read_file(folder / "r/checkpoint.safetensors") ==
          io::read_file(folder / "whole/checkpoint.safetensors"));
    CHECK(timeless(folder / "r/metrics.jsonl") == timeless(folder / "whole/metrics.jsonl"));
}

}  // namespace mta_test_training_run
