// The one place that states the version; CMake, pkg-config and CITATION.cff are checked against it.
// SPDX-License-Identifier: MIT
#pragma once

#define MTA_VERSION_MAJOR 0
#define MTA_VERSION_MINOR 1
#define MTA_VERSION_PATCH 0
#define MTA_VERSION_STRING "0.1.0"
