// What identities, gradcheck, identify and shrink share: options that name a candidate and a problem.
// SPDX-License-Identifier: MIT
#pragma once

#include <CLI/CLI.hpp>
#include <mta/oracle/candidate.hpp>
#include <mta/oracle/rounding.hpp>
#include <string>
#include <vector>

namespace mta::program {

/// A library with the C interface, or a backend of this program.
struct CandidateArguments {
    std::string library, symbol, backward_symbol, backend, dtype = "float32";
    double timeout = 60;
};

/// Cases by descriptor, or one problem in files.
struct ProblemArguments {
    std::vector<std::string> cases;
    std::string config, in, problem;
};

void add_candidate_options(CLI::App& command, CandidateArguments& arguments);
void add_problem_options(CLI::App& command, ProblemArguments& arguments);
void add_rounding_option(CLI::App& command, std::string& rounding);

/// A backend of this program, `backend` and `dtype` as the options say.
oracle::Candidate backend_named(const std::string& who, const std::string& backend, const std::string& dtype);

/// The candidate that the options name; `who` begins error sentences: "shrink".
oracle::Candidate candidate_of(const std::string& who, const CandidateArguments& arguments);

/// The problems that the options name, or `usual`, a case descriptor, where they name none.
std::vector<oracle::Problem> problems_of(const std::string& who, const ProblemArguments& arguments,
                                         const std::string& usual);

/// The profile that the option names, or the one that goes with the problem's type.
oracle::RoundingProfile rounding_of(const std::string& rounding, const oracle::Problem& p);

/// The largest unit roundoff of the profile.
double coarsest_roundoff(const oracle::RoundingProfile& profile);

/// Exit code 4's sentence when the candidate did not answer, empty when it did.
std::string what_went_wrong(const oracle::Answer& answer);

}  // namespace mta::program
