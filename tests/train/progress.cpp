// Tests of train/progress.hpp: texts, and how often they come.
// SPDX-License-Identifier: MIT
#include <mta/train/progress.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <limits>

#include "train_support.hpp"

namespace mta_test_progress {
using namespace mta::test;
using namespace mta::train;
using namespace std::chrono_literals;

namespace {
// What a display prints for steps 11 to 20 of 20, a step every `pause`; steps before 11 were done earlier.
std::string shown(bool terminal, std::chrono::milliseconds pause, bool note = false) {
    const TemporaryFolder folder("progress");
    const auto path = folder / "out";
    std::FILE* out = std::fopen(path.c_str(), "w");
    {
        const ProgressDisplay::Clock::time_point began{};
        ProgressDisplay display(out, terminal, 10, 20, began);
        for (std::int64_t step = 11; step <= 20; ++step) {
            display.step({step, 3.14159, 0.001, 0.5, 41234, 1}, began + pause * (step - 10));
            if (note && step == 15) display.note("half");
        }
    }
    std::fclose(out);
    return text_of(path);
}

std::size_t count(const std::string& text, std::string_view part) {
    std::size_t found = 0;
    for (std::size_t at = text.find(part); at != text.npos; at = text.find(part, at + 1))
        ++found;
    return found;
}
}  // namespace

TEST_CASE("hand values: times, short numbers, bars") {
    CHECK(clock_text(0) == "0:00:00");
    CHECK(clock_text(3723.4) == "1:02:03");
    CHECK(clock_text(59.7) == "0:01:00");
    CHECK(clock_text(360000) == "100:00:00");
    for (const double x : {-1.0, 1e300, std::numeric_limits<double>::infinity(), std::nan("")})
        CHECK(clock_text(x) == "?");
    CHECK(short_number(7) == "7.0");
    CHECK(short_number(950) == "950");
    CHECK(short_number(12345) == "12.3k");
    CHECK(short_number(2.5e6) == "2.5M");
    CHECK(bar_text(0, 10, 4) == "[....]");
    CHECK(bar_text(5, 10, 4) == "[##..]");
    CHECK(bar_text(9, 10, 4) == "[###.]");
    CHECK(bar_text(10, 10, 4) == "[####]");
    CHECK(bar_text(11, 10, 4) == "[####]");
    CHECK(progress_text({20, 3.12345, 0.00125, 0.914, 41234, 9}, 100, 62) ==
          "step 20/100 loss 3.1235 lr 0.00125 norm 0.91 41.2k tok/s ETA 0:01:02");
}

TEST_CASE("hand values: a line twice a minute and one at the end, with the time that is left") {
    const std::string text = shown(false, 10s);
    CHECK(count(text, "\n") == 4);
    CHECK(count(text, "\r") == 0);
    CHECK(count(text, "step 13/20 loss 3.1416 lr 0.001 norm 0.50 41.2k tok/s ETA 0:01:10\n") == 1);
    CHECK(count(text, "step 16/20") + count(text, "step 19/20") + count(text, "step 20/20") == 3);
    CHECK(shown(false, 1s) == "step 20/20 loss 3.1416 lr 0.001 norm 0.50 41.2k tok/s ETA 0:00:00\n");
}

TEST_CASE("hand values: on a terminal a bar that replaces itself ten times a second, notes below it") {
    const std::string text = shown(true, 50ms);
    CHECK(count(text, "\r[") == 5);
    CHECK(count(text, "\n") == 1);
    CHECK(text.ends_with("ETA 0:00:00\033[K\n"));
    const std::string noted = shown(true, 100ms, true);
    CHECK(count(noted, "\033[K\nhalf\n\r[") == 1);
    CHECK(count(noted, "\n") == 3);
}

TEST_CASE("edge shapes: a quiet display prints nothing") {
    ProgressDisplay quiet(nullptr, true, 0, 1);
    quiet.step({1, 0, 0, 0, 0, 0}, ProgressDisplay::Clock::now() + 1h);
    quiet.note("nothing");
    CHECK(true);  // reached without touching a stream
}

}  // namespace mta_test_progress
