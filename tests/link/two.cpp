// The other half: a function or variable defined in a header without `inline` fails to link.
// SPDX-License-Identifier: MIT
#include "everything.hpp"

std::string version_of_the_other_half();

std::string version_of_the_other_half() {
    return MTA_VERSION_STRING;
}
