// What every test file parses, precompiled once: half of the build time otherwise.
// SPDX-License-Identifier: MIT
#pragma once

#include <doctest/doctest.h>

#include <complex>
#include <string>
#include <unsupported/Eigen/CXX11/Tensor>
#include <vector>
