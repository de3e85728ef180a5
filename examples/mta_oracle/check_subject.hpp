// Who is judged, and on which cases: what the options of check and diagnose name.
// SPDX-License-Identifier: MIT
#pragma once

#include <mta/oracle/check.hpp>
#include <mta/oracle/library_candidate.hpp>
#include <optional>
#include <string>
#include <vector>

#include "check_options.hpp"

namespace mta::program {

struct Subject {
    oracle::Candidate candidate;
    std::vector<oracle::CheckCase> cases;
    std::optional<oracle::LibraryOptions> library;
    io::DType dtype = io::DType::F32;  // of the inputs
    std::string suite;                 // for the report
    std::vector<std::string> files;    // that are read, which no report may replace
};

/// Throws ConfigError where options contradict each other, FileError where a file or library cannot be read,
/// UnsupportedError for a backend that is not there. `who` begins error sentences: "check".
Subject subject_of(const std::string& who, const CheckArguments& arguments);

}  // namespace mta::program
