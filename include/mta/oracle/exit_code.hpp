// What the oracle's programs end with.
// SPDX-License-Identifier: MIT
#pragma once

namespace mta::oracle {

/// Exit codes are part of the command-line contract; their numbers never change.
enum class ExitCode {
    agrees = 0,      ///< and could have failed
    mismatch = 1,    ///< a tensor is wrong or missing
    usage = 2,       ///< command line, configuration, or a tensor's shape against the configuration
    file = 3,        ///< a file cannot be read or written, or breaks its format
    candidate = 4,   ///< the candidate crashed, timed out or returned an error
    mistrusted = 5,  ///< agrees, but nothing could have failed
    memory = 6,      ///< the candidate broke the memory contract
    nondeterministic = 7,
    unsupported = 8,  ///< a configuration, backend or size that this program cannot run
    self_check = 70   ///< the oracle itself is broken
};

}  // namespace mta::oracle
