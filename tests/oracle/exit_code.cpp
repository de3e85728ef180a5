// The exit codes are a contract with other programs: their numbers never change.
// SPDX-License-Identifier: MIT
#include <mta/oracle/exit_code.hpp>
#include <utility>

#include "support/checks.hpp"

namespace mta_test_exit_code {
using mta::oracle::ExitCode;

TEST_CASE("exit_code: the numbers of the contract") {
    constexpr std::pair<ExitCode, int> contract[] = {
        {ExitCode::agrees, 0},      {ExitCode::mismatch, 1},         {ExitCode::usage, 2},
        {ExitCode::file, 3},        {ExitCode::candidate, 4},        {ExitCode::mistrusted, 5},
        {ExitCode::memory, 6},      {ExitCode::nondeterministic, 7}, {ExitCode::unsupported, 8},
        {ExitCode::self_check, 70},
    };
    for (const auto& [code, number] : contract)
        CHECK(static_cast<int>(code) == number);
}
}  // namespace mta_test_exit_code
