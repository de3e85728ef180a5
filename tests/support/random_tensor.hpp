// Random tensors for tests: seeded, different at every element, never at an initial value.
// SPDX-License-Identifier: MIT
#pragma once

#include <mta/core/random.hpp>
#include <mta/core/tensor.hpp>

namespace mta::test {

/// Normal elements; every seed is its own stream.
template <class Scalar = double, class... Extents>
auto random_tensor(std::uint64_t seed, Extents... extents) {
    auto t = zeros<Scalar>(extents...);
    Random random(seed, 0x7e57);
    fill_normal(t, random);
    return t;
}

}  // namespace mta::test
