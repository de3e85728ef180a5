// Candidates: which exit code each outcome becomes.
// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <mta/oracle/candidate.hpp>

#include "support/problem.hpp"

namespace mta_test_candidate {
using namespace mta;
using namespace mta::oracle;

TEST_CASE("every outcome has its exit code") {
    CHECK(exit_code(Outcome::answered) == ExitCode::agrees);
    CHECK(exit_code(Outcome::refused) == ExitCode::unsupported);
    CHECK(exit_code(Outcome::failed) == ExitCode::candidate);
    CHECK(exit_code(Outcome::crashed) == ExitCode::candidate);
    CHECK(exit_code(Outcome::timed_out) == ExitCode::candidate);
    CHECK(exit_code(Outcome::broke_memory) == ExitCode::memory);
}

TEST_CASE("a candidate is anything that answers a problem") {
    const Candidate reference{"reference", "", [](const Problem& p) {
                                  Answer answer;
                                  answer.results = reference_results(p, /*stages=*/false);
                                  return answer;
                              }};
    const Problem p = test::random_problem(test::full_config(), 1, 3);
    const Answer answer = reference.answer(p);
    CHECK(answer.outcome == Outcome::answered);
    CHECK(test::worst_difference(answer.results, reference_results(p, false)) == 0);
}
}  // namespace mta_test_candidate
