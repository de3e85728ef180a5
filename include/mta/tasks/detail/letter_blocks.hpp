// Blocks of distinct letters drawn at random, and which split a text of them belongs to.
// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstdint>
#include <mta/core/random.hpp>
#include <mta/core/tensor.hpp>
#include <numeric>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mta::detail {

inline constexpr std::string_view alphabet = "abcdefghijklmnopqrstuvwxyz";

/// `count` different characters of `from`, in the order in which they were drawn (Fisher-Yates, cut short).
inline std::string draw_letters(std::string from, Index count, Random& random) {
    for (std::size_t n = 0; n < static_cast<std::size_t>(count); ++n) {
        const std::size_t left = from.size() - n;
        std::swap(from[n], from[n + random.below(static_cast<std::uint32_t>(left))]);
    }
    from.resize(static_cast<std::size_t>(count));
    return from;
}

inline bool holds_all(std::string_view block, std::string_view query) {
    for (const char letter : query)
        if (block.find(letter) == std::string_view::npos) return false;
    return true;
}

/// A block without at least one letter of the query, and unlike every block in `others`.
inline std::string draw_distractor(Index letters, std::string_view query,
                                   const std::vector<std::string>& others, Random& random) {
    while (true) {
        std::string block = draw_letters(std::string(alphabet), letters, random);
        if (holds_all(block, query)) continue;
        if (std::find(others.begin(), others.end(), block) == others.end()) return block;
    }
}

/// Ordered samples of `letters` distinct letters that lack at least one of `query_letters` given letters.
inline double distractor_count(Index letters, Index query_letters) {
    double samples = 1, share = 1;  // share: of the samples, those that hold the whole query
    for (Index n = 0; n < letters; ++n)
        samples *= static_cast<double>(26 - n);
    for (Index n = 0; n < query_letters; ++n)
        share *= static_cast<double>(letters - n) / static_cast<double>(26 - n);
    return samples * (1 - share);
}

/// Whether this text of blocks is kept for testing: 1 text in 16, by its hash (FNV-1a, then Philox).
inline bool is_held_out(std::string_view text) {
    const std::uint64_t hash = fnv1a(text);
    return philox4x32({low_word(hash), high_word(hash), 0, 0}, {0, 0})[0] % 16 == 0;
}

}  // namespace mta::detail
