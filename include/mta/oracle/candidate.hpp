// A candidate: an implementation that is judged, as something that answers a problem.
// SPDX-License-Identifier: MIT
//
// The four ways in (C++ callables and backends, C libraries, files, Python) all become a Candidate. Candidates
// never throw: what goes wrong is an outcome with a sentence.
#pragma once

#include <functional>
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

/// What a candidate made of a problem.
struct Answer {
    Outcome outcome = Outcome::answered;
    std::string sentence;  // what went wrong, when something did
    Results results;
    std::vector<std::string> notes;  // worth saying, no error
};

/// What is asked: gradients only where the problem has a d_out and the caller wants them.
struct Candidate {
    std::string name;                              // "./libmykernel.so:my_mta", "reference float32"
    std::string reproduce;                         // the options that name it on a command line, or empty
    std::function<Answer(const Problem&)> answer;  // never throws
};

}  // namespace mta::oracle
