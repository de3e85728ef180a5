// What the commands check and diagnose share: their options, and from them a candidate, cases and a report.
// SPDX-License-Identifier: MIT
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <mta/oracle/report.hpp>
#include <optional>
#include <string>
#include <vector>

namespace mta::program {

struct CheckArguments {
    // Which candidate: a folder of results, a library, or a backend.
    std::string results, library, symbol, backward_symbol, backend, dtype;
    std::optional<double> timeout;
    // Which cases.
    std::string suite, profile, io;
    std::vector<std::string> cases;
    std::optional<std::uint64_t> seed;
    // How it is judged.
    std::string rounding, expect = "all";
    bool declared_deterministic = false, no_probes = false, no_memory = false, stop = false;
    bool misaligned = false, strided = false;  // layouts of memory that are tried too
    int repeats = 3;
    // What is written.
    std::string json, junit, heat_map;
};

/// Registers the options that say who is judged, on what and how.
void add_check_options(CLI::App& command, CheckArguments& arguments);

/// Asks, judges and diagnoses as the arguments say; `who` begins error sentences: "check".
oracle::Report run_check(const std::string& who, const CheckArguments& arguments, bool diagnose);

/// Prints the report, writes the files that were asked for, and returns the exit code; what is neither agreement nor
/// mismatch is a sentence on standard error as well.
int finish_check(const std::string& who, const CheckArguments& arguments, const oracle::Report& report);

}  // namespace mta::program
