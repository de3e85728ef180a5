// What the tests of check share: cases by descriptor, plain options, a right candidate and changed answers of it.
// SPDX-License-Identifier: MIT
#pragma once

#include <mta/oracle/backend_candidate.hpp>
#include <mta/oracle/check.hpp>

#include "judge_support.hpp"

namespace mta::test {

inline const oracle::RoundingProfile fp32 = oracle::parse_rounding("fp32");

inline std::vector<oracle::CheckCase> cases_of(const std::vector<const char*>& descriptors) {
    std::vector<oracle::Case> cases;
    for (const char* d : descriptors)
        cases.push_back(oracle::parse_case(d));
    return oracle::check_cases(cases);
}

inline oracle::CheckOptions plain_options() {
    oracle::CheckOptions options;
    options.rounding = fp32;
    options.power = options.diagnose = false;
    options.repeats = 0;
    return options;
}

inline oracle::Candidate right() {
    return oracle::backend_candidate<float>("reference float32", Reference{});
}

/// A candidate whose answer to case number n (counted from 0) is f(n, right answer).
template <class F>
oracle::Candidate changed(F f) {
    auto calls = std::make_shared<std::size_t>(0);
    return {"changed", "--lib ./x.so", [calls, f](const oracle::Problem& p) {
                oracle::Answer answer = right().answer(p);
                f((*calls)++, answer);
                return answer;
            }};
}

}  // namespace mta::test
