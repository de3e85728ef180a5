// The known name that a mistyped one was probably meant to be, for error sentences.
// SPDX-License-Identifier: MIT
//
// Source  Levenshtein, "Binary codes capable of correcting deletions, insertions, and reversals", 1966 (the
// distance).
#pragma once

#include <algorithm>
#include <cstddef>
#include <limits>
#include <mta/io/detail/text.hpp>
#include <numeric>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mta::io {

namespace detail {

/// Insertions, deletions and substitutions that turn a into b.
inline std::size_t edit_distance(std::string_view a, std::string_view b) {
    std::vector<std::size_t> row(b.size() + 1);
    std::iota(row.begin(), row.end(), std::size_t{0});
    for (std::size_t i = 0; i < a.size(); ++i) {
        std::size_t diagonal = std::exchange(row[0], i + 1);
        for (std::size_t j = 0; j < b.size(); ++j) {
            const std::size_t substituted = diagonal + (a[i] == b[j] ? 0 : 1);
            diagonal = row[j + 1];
            row[j + 1] = std::min({substituted, diagonal + 1, row[j] + 1});
        }
    }
    return row.back();
}

}  // namespace detail

/// The candidate with the smallest edit distance to `name`, the first of several; empty when there is no
/// candidate. Only the first 64 bytes of each name are compared, so that hostile names cost little.
template <class Names>
std::string nearest_name(std::string_view name, const Names& candidates) {
    constexpr std::size_t compared = 64;
    std::string nearest;
    std::size_t smallest = std::numeric_limits<std::size_t>::max();
    for (const std::string_view candidate : candidates) {
        const std::size_t distance =
            detail::edit_distance(name.substr(0, compared), candidate.substr(0, compared));
        if (distance < smallest) {
            smallest = distance;
            nearest = candidate;
        }
    }
    return nearest;
}

/// The end of an error sentence about an unknown name: "the nearest known is 'x'" where half of the letters or more
/// are right, else "expected one of x, y", or how many there are where they are more than 40.
template <class Names>
std::string nearest_or_all(std::string_view name, const Names& candidates) {
    constexpr std::size_t compared = 64, longest_list = 40;
    const std::string nearest = nearest_name(name, candidates);
    const std::string_view a = name.substr(0, compared), b = std::string_view(nearest).substr(0, compared);
    if (!b.empty() && 2 * detail::edit_distance(a, b) <= std::max(a.size(), b.size()))
        return "the nearest known is " + detail::in_quotes(nearest);
    std::string all;
    std::size_t count = 0;
    for (const std::string_view candidate : candidates)
        all += (count++ == 0 ? "" : ", ") + std::string(candidate);
    return count > longest_list ? "expected one of the " + std::to_string(count) + " known names"
                                : "expected one of " + all;
}

}  // namespace mta::io
