// A candidate: an implementation that is judged, as something that answers a problem.
// SPDX-License-Identifier: MIT
//
// The four ways in (C++ callables and backends, C libraries, files, Python) all become a Candidate. Candidates
// never throw: what goes wrong is an outcome with a sentence.
#pragma once

#include <functional>
#include <mta/oracle/exit_code.hpp>
#include <mta/oracle/problem.hpp>
#include <string>
#include <vector>

namespace mta::oracle {

enum class Outcome {
    answered,     ///< results are there
    refused,      ///< the candidate said that it does not do this configuration
    failed,       ///< it returned an error, threw, or gave tensors of wrong shapes
    crashed,      ///< a signal, or it called exit
    timed_out,    ///< it was stopped
    broke_memory  ///< it wrote where it must not, changed inputs, or left outputs unwritten
};

/// The exit code with which a program reports this outcome; `answered` alone says nothing about being right.
constexpr ExitCode exit_code(Outcome outcome) {
    switch (outcome) {
        case Outcome::answered:
            return ExitCode::agrees;
        case Outcome::refused:
            return ExitCode::unsupported;
        case Outcome::broke_memory:
            return ExitCode::memory;
        default:
            return ExitCode::candidate;
    }
}

/// What a candidate made of a problem.
struct Answer {
    Outcome outcome = Outcome::answered;
    std::string sentence;  // what went wrong, when something did
    Results results;
    std::vector<std::string> notes;  // worth saying, no error
};

/// Gradients are asked for where the problem has a d_out.
struct Candidate {
    std::string name;                              // "./libmykernel.so:my_mta", "reference float32"
    std::string reproduce;                         // the options that name it on a command line, or empty
    std::function<Answer(const Problem&)> answer;  // never throws
};

}  // namespace mta::oracle
