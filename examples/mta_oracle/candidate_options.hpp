// What identities, gradcheck, identify and shrink share: options that name a candidate and a problem.
// SPDX-License-Identifier: MIT
#pragma once

#include <CLI/CLI.hpp>
#include <initializer_list>
#include <mta/oracle/candidate.hpp>
#include <mta/oracle/rounding.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace mta::program {

/// A library with the C interface, or a backend of this program.
struct CandidateArguments {
    std::string library, symbol, backward_symbol, backend, dtype;
    std::optional<double> timeout;
    bool misaligned = false, strided = false;  // how a library's tensors lie in memory
};

/// Cases by descriptor, or one problem in files.
struct ProblemArguments {
    std::vector<std::string> cases;
    std::string config, in, problem;
};

void add_candidate_options(CLI::App& command, CandidateArguments& arguments);
void add_problem_options(CLI::App& command, ProblemArguments& arguments);
void add_rounding_option(CLI::App& command, std::string& rounding);

/// The candidate that the options name; `who` begins error sentences: "shrink".
oracle::Candidate candidate_of(const std::string& who, const CandidateArguments& arguments);

/// A backend of this program, in float32, float64, or by default in that of the two that holds the inputs. Throws
/// UnsupportedError where it was built without it; a problem that does not fit into memory is refused.
oracle::Candidate named_backend(const std::string& who, const std::string& backend, const std::string& dtype);

/// Throws ConfigError for the first option that was given beside one that ignores it: {"--dtype", given}.
void refuse_ignored(const std::string& who, const std::string& beside,
                    std::initializer_list<std::pair<const char*, bool>> options);

/// The problems that the options name, or `usual`, a case descriptor, where they name none.
std::vector<oracle::Problem> problems_of(const std::string& who, const ProblemArguments& arguments,
                                         const std::string& usual);

/// The profile that the option names, or the one that goes with the problem's type.
oracle::RoundingProfile rounding_of(const std::string& rounding, const oracle::Problem& p);

/// The largest unit roundoff of the profile.
double coarsest_roundoff(const oracle::RoundingProfile& profile);

/// Says that the candidate did not answer the problem, and returns the exit code that goes with how.
int exit_unanswered(const std::string& who, const oracle::Problem& p, oracle::Outcome outcome,
                    const std::string& sentence);

}  // namespace mta::program
