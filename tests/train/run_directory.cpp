// Tests of train/run_directory.hpp: names, the lock, what is removed and what is not.
// SPDX-License-Identifier: MIT
#include <mta/train/run_directory.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <memory>

#include "train_support.hpp"

namespace mta_test_run_directory {
using namespace mta::test;
using namespace mta::train;

TEST_CASE("hand values: the folder is made, its files have fixed names") {
    const TemporaryFolder folder("run_directory");
    const RunDirectory run(folder / "r");
    CHECK(std::filesystem::is_directory(folder / "r"));
    CHECK(run.path() == folder / "r");
    CHECK(run.checkpoint() == folder / "r/checkpoint.safetensors");
    CHECK(run.metrics() == folder / "r/metrics.jsonl");
    CHECK(run.config() == folder / "r/config.json");
}

TEST_CASE("properties: leftovers of killed writers go, everything else stays") {
    const TemporaryFolder folder("run_directory");
    std::vector<std::string> stay{"checkpoint.safetensors",
                                  "metrics.jsonl",
                                  "config.json",
                                  "checkpoint.safetensors.tmp-12",
                                  "checkpoint.safetensors.tmp-12-",
                                  "checkpoint.safetensors.tmp--3",
                                  "checkpoint.safetensors.tmp-12-3x",
                                  "checkpoint.safetensors.tmp-12x-3",
                                  "my-checkpoint.safetensors.tmp-12-3",
                                  "notes.txt.tmp-12-3",
                                  "checkpoint.safetensors.bak",
                                  "checkpoint.safetensors12-3",
                                  "checkpoint.safetensors.old-12-3"};
    for (const auto& name : stay)
        write_text(folder / name, "x");
    for (const auto* name :
         {"checkpoint.safetensors.tmp-12-3", "metrics.jsonl.tmp-1-0", "config.json.tmp-99999-10"})
        write_text(folder / name, "x");
    std::filesystem::create_directory(folder / "config.json.tmp-1-1");  // no file of ours
    stay.emplace_back("config.json.tmp-1-1");
    const RunDirectory run(folder / "");
    auto files = folder.files();
    std::sort(files.begin(), files.end());
    std::sort(stay.begin(), stay.end());
    CHECK(files == stay);
}

TEST_CASE("properties: what io leaves when it is killed is what is removed") {
    const TemporaryFolder folder("run_directory");
    std::string left;
    {
        const mta::io::detail::FreshFile fresh(folder / "checkpoint.safetensors", 0600);
        left = folder.files().at(0);
    }
    CHECK(mta::train::detail::is_leftover_of(left, "checkpoint.safetensors"));
    CHECK(!mta::train::detail::is_leftover_of(left, "metrics.jsonl"));
}

TEST_CASE("properties: one trainer at a time; the lock goes with its owner") {
    const TemporaryFolder folder("run_directory");
    {
        auto first = std::make_unique<RunDirectory>(folder / "r");
        write_text(folder / "r/config.json.tmp-1-1", "being written");
        CHECK(sentence_of([&] { const RunDirectory second(folder / "r"); }) ==
              (folder / "r").native() + ": another program is training here, expected a run of one's own");
        CHECK(std::filesystem::exists(folder / "r/config.json.tmp-1-1"));
        first.reset();
    }
    const RunDirectory third(folder / "r");
    CHECK(!std::filesystem::exists(folder / "r/config.json.tmp-1-1"));
}

TEST_CASE("errors: no parent folder, a file in its place, no name") {
    const TemporaryFolder folder("run_directory");
    const auto refused = [](const std::filesystem::path& path) {
        return sentence_of([&] { const RunDirectory run(path); });
    };
    CHECK(refused(folder / "a/b") ==
          "cannot make the folder " + (folder / "a/b").native() + ": No such file or directory");
    CHECK(!std::filesystem::exists(folder / "a"));
    write_text(folder / "f", "x");
    check_contains(refused(folder / "f"), "f: ");
    CHECK(text_of(folder / "f") == "x");
    CHECK(refused("") == "run directory: got an empty name, expected a folder");
}

}  // namespace mta_test_run_directory
