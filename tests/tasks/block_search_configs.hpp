// Short words for configurations of block search.
// SPDX-License-Identifier: MIT
#pragma once

#include <mta/tasks/block_search.hpp>

namespace mta::test {

using Variant = BlockSearchVariant;
using Split = BlockSearchSplit;

inline BlockSearchConfig task(Variant variant, Index letters, Index query_letters, Index blocks,
                              std::uint64_t seed = 0) {
    BlockSearchConfig c;
    c.variant = variant;
    c.letters = letters;
    c.query_letters = query_letters;
    c.blocks = blocks;
    c.seed = seed;
    return c;
}

/// Queries of two letters, blocks until `total` characters are full.
inline BlockSearchConfig of_length(Variant variant, Index letters, Index total, std::uint64_t seed = 0) {
    auto c = task(variant, letters, 2, 1, seed);
    c.total_length = total;
    return c;
}

}  // namespace mta::test
