// A library that is hostile before any of its functions is called: loading it ends or blocks the process.
// SPDX-License-Identifier: MIT
#include <mta/oracle/c_api.h>

#include <cstdlib>

namespace {
[[maybe_unused]] const bool never = (std::abort(), true);
}

extern "C" int never_called(const mta_call*) {
    return MTA_OK;
}
