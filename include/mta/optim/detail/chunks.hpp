// Chunks of fixed size: what one call of a parallel loop works on, whatever the number of threads.
// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <mta/core/parallel.hpp>
#include <mta/core/tensor.hpp>

namespace mta::detail {

/// Elements of a chunk: some microseconds of work, and all that it touches stays in the first cache.
inline constexpr Index optimizer_chunk = 4096;

/// Calls f(first element, number of elements), on several threads, for every chunk of `size` elements.
template <class F>
void for_each_chunk(Index size, F&& f) {
    parallel_for((size + optimizer_chunk - 1) / optimizer_chunk, [&](Index n) {
        const Index first = n * optimizer_chunk;
        f(first, std::min(optimizer_chunk, size - first));
    });
}

}  // namespace mta::detail
