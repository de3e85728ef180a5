// Tests of train/interrupt.hpp: the first signal is noted, the second ends the process, handlers come back.
// SPDX-License-Identifier: MIT
#include <mta/train/interrupt.hpp>

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <functional>

#include "../io/io_support.hpp"

namespace mta_test_interrupt {
using namespace mta::train;

namespace {
int calls = 0;

extern "C" void mta_test_count_signal(int) {
    ++calls;
}

// How a child that runs f ends, as waitpid says it.
int ending_of(const std::function<int()>& f) {
    const ::pid_t child = ::fork();
    if (child == 0) ::_exit(f());
    int status = 0;
    ::waitpid(child, &status, 0);
    return status;
}
}  // namespace

TEST_CASE("hand values: nothing is requested until a signal comes; each of the two counts; the exit code") {
    for (const int signal : {SIGINT, SIGTERM}) {
        const Interrupt interrupt;
        CHECK(!interrupt.requested());
        std::raise(signal);
        CHECK(interrupt.requested());
        CHECK(interrupt.requested());
    }
    const Interrupt fresh;
    CHECK(!fresh.requested());
    CHECK(interrupted_exit_code == 130);
}

TEST_CASE("properties: a second signal ends the process, of either kind") {
    for (const int first : {SIGINT, SIGTERM})
        for (const int second : {SIGINT, SIGTERM}) {
            const int status = ending_of([&] {
                const Interrupt interrupt;
                std::raise(first);
                if (!interrupt.requested()) return 3;
                std::raise(second);
                return 4;
            });
            CHECK(WIFSIGNALED(status));
            CHECK(WTERMSIG(status) == second);
        }
}

TEST_CASE("properties: the handlers from before come back") {
    calls = 0;
    const auto before = std::signal(SIGINT, mta_test_count_signal);
    {
        const Interrupt interrupt;
        std::raise(SIGINT);
        CHECK(calls == 0);
    }
    std::raise(SIGINT);
    CHECK(calls == 1);
    std::signal(SIGINT, before);
    const int status = ending_of([] {
        std::signal(SIGTERM, SIG_DFL);
        { const Interrupt interrupt; }
        std::raise(SIGTERM);
        return 4;
    });
    CHECK(WIFSIGNALED(status));
}

TEST_CASE("properties: an ignored signal is noted too") {
    const auto before = std::signal(SIGINT, SIG_IGN);
    {
        const Interrupt interrupt;
        std::raise(SIGINT);
        CHECK(interrupt.requested());
    }
    std::raise(SIGINT);  // ignored again
    std::signal(SIGINT, before);
}

TEST_CASE("errors: one at a time") {
    const Interrupt interrupt;
    CHECK(mta::test::sentence_of<mta::ValueError>([] { const Interrupt second; }) ==
          "Interrupt: got a second one, expected one at a time");
}

}  // namespace mta_test_interrupt
