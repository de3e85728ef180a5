// Tests of train/metrics_log.hpp: lines as they are written, and files cut back to a step.
// SPDX-License-Identifier: MIT
#include <mta/train/metrics_log.hpp>

#include <doctest/doctest.h>

#include "train_support.hpp"

namespace mta_test_metrics_log {
using namespace mta::test;
using namespace mta::train;

namespace {
// Six lines, steps 1 2 2 3 4 4, as a run with validations every second step writes them.
std::string six_lines() {
    std::string text;
    for (std::int64_t step = 1; step <= 4; ++step) {
        const auto seconds = 0.5 * static_cast<double>(step);
        text += metrics_line({step, 1, 0.1, 2, 100, seconds}) + "\n";
        if (step % 2 == 0) text += validation_line(step, {{"sequence_error", 0.5}}, seconds) + "\n";
    }
    return text;
}

std::string first_lines(std::string text, int lines) {
    std::size_t at = 0;
    for (int n = 0; n < lines; ++n)
        at = text.find('\n', at) + 1;
    return text.substr(0, at);
}
}  // namespace

TEST_CASE("hand values: the two kinds of lines") {
    CHECK(metrics_line({12, 3.25, 0.001, 0.75, 41000.4, 1.5}) ==
          R"({"step":12,"loss":3.25,"lr":0.001,"grad_norm":0.75,"tokens_per_second":41000.0,"seconds":1.5})");
    CHECK(validation_line(500, {{"token_error", 0.25}, {"sequence_error", 0.5}}, 2) ==
          R"({"step":500,"validation":{"token_error":0.25,"sequence_error":0.5},"seconds":2.0})");
}

TEST_CASE("hand values: lines are appended, also after the file was opened again") {
    const TemporaryFolder folder("metrics");
    const auto path = folder / "m.jsonl";
    MetricsLog(path).append("{\"step\":1,}");
    MetricsLog log(path);
    log.append("{\"step\":2,}");
    log.flush();
    CHECK(text_of(path) == "{\"step\":1,}\n{\"step\":2,}\n");
}

TEST_CASE("hand values: what is cut, what is kept, and the seconds of the last line kept") {
    const TemporaryFolder folder("metrics");
    const auto path = folder / "m.jsonl";
    const int kept[] = {0, 1, 3, 4, 6, 6};
    for (std::int64_t step = 0; step <= 5; ++step) {
        write_text(path, six_lines());
        CHECK(cut_metrics(path, step) == 0.5 * static_cast<double>(std::min<std::int64_t>(step, 4)));
        CHECK(text_of(path) == first_lines(six_lines(), kept[step]));
    }
    CHECK(folder.files() == std::vector<std::string>{"m.jsonl"});
}

TEST_CASE("edge shapes: half a line at the end, an empty file, no file") {
    const TemporaryFolder folder("metrics");
    const auto path = folder / "m.jsonl";
    CHECK(cut_metrics(path, 3) == 0);
    CHECK(folder.files().empty());
    write_text(path, "");
    CHECK(cut_metrics(path, 3) == 0);
    const std::string whole = six_lines();
    for (std::size_t size = 0; size <= whole.size(); ++size) {
        write_text(path, whole.substr(0, size));
        cut_metrics(path, 4);
        const std::size_t end = whole.substr(0, size).rfind('\n');
        CHECK(text_of(path) == whole.substr(0, end == whole.npos ? 0 : end + 1));
    }
    write_text(path, first_lines(whole, 2) + std::string("{\"st\0\0", 6));
    CHECK(cut_metrics(path, 4) == 1.0);
    CHECK(text_of(path) == first_lines(whole, 2));
}

TEST_CASE("properties: a file that needs no cut is not touched") {
    const TemporaryFolder folder("metrics");
    const auto path = folder / "m.jsonl";
    write_text(path, six_lines());
    const auto before = std::filesystem::last_write_time(path) - std::chrono::hours(1);
    std::filesystem::last_write_time(path, before);
    cut_metrics(path, 4);
    CHECK(std::filesystem::last_write_time(path) == before);
}

TEST_CASE("errors: lines that no training wrote are named, and stay") {
    const TemporaryFolder folder("metrics");
    const auto path = folder / "m.jsonl";
    for (const std::string line :
         {"hello", "{\"step\":x,\"a\":1}", "{\"step\":3", "{\"loss\":3,\"step\":1}", ""}) {
        const std::string text = first_lines(six_lines(), 1) + line + "\n";
        write_text(path, text);
        CHECK(sentence_of([&] { cut_metrics(path, 1); }) ==
              path.native() + ":2: got '" + line + "', expected a line of metrics that begins with its step");
        CHECK(text_of(path) == text);
    }
    CHECK(sentence_of([&] { MetricsLog log(folder / "no/m"); }) ==
          "cannot write " + (folder / "no/m").native() + ": No such file or directory");
    CHECK(sentence_of([&] { MetricsLog("/dev/full").append("x"); }) ==
          "cannot write /dev/full: No space left on device");
}

}  // namespace mta_test_metrics_log
