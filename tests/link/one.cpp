// Half of a program that includes every header twice; see two.cpp.
// SPDX-License-Identifier: MIT
#include "everything.hpp"

std::string version_of_the_other_half();

int main() {
    return version_of_the_other_half() == MTA_VERSION_STRING ? 0 : 1;
}
