// A benchmark as a process that is told what to do: a request a line on standard input, a number a line on standard output.
// SPDX-License-Identifier: MIT
#pragma once

#include <sys/resource.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <mta/core/tensor.hpp>
#include <string>
#include <vector>

namespace mta::bench {

/// Seconds that f() takes.
template <class F>
double seconds(F&& f) {
    const auto start = std::chrono::steady_clock::now();
    f();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// The most resident memory so far, in MiB.
inline double peak_mebibytes() {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return static_cast<double>(usage.ru_maxrss) / 1024;
}

/// The words of a command line from number `first` on, as numbers.
inline std::vector<Index> numbers_of(int argc, char** argv, int first) {
    std::vector<Index> numbers;
    for (int n = first; n < argc; ++n)
        numbers.push_back(std::atol(argv[n]));
    return numbers;
}

/// Makes the work and answers requests with answer(work, request) until the input ends; returns the exit code.
template <class Make, class Answer>
int serve(const char* program, Make&& make, Answer&& answer) {
    try {
        auto work = make();
        char line[64];
        while (std::fgets(line, sizeof line, stdin)) {
            line[std::strcspn(line, "\n")] = 0;
            std::printf("%.9g\n", answer(work, std::string(line)));
            std::fflush(stdout);
        }
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s: %s\n", program, error.what());
        return 3;
    }
    return 0;
}

}  // namespace mta::bench
