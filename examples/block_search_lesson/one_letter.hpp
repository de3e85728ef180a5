// What attention can do that sees one query letter at a time: its ceiling, and a way round with a head per letter.
// SPDX-License-Identifier: MIT
//
// Blind     In the row of the last query letter b, the logit of standard attention for key j is a function of (b, j,
//           the token at j). The first query letter a enters at key i-1 alone, and through the sum of the softmax:
//           it scales the weights of all other keys by one common factor per head. So the order in which a head
//           ranks the blocks is a function of the blocks and b, whatever the embeddings and projections are.
// Ceiling   Given the blocks and b, all queries (a, b) that have an answer are equally likely: targets, places,
//           queries and distractors are uniform. Ranking some block first is right for those a whose answer it is.
// Way round Several heads, each with a common factor of its own, may together depend on a: letter_heads() below.
#pragma once

#include <algorithm>
#include <numeric>
#include <string>
#include <string_view>
#include <vector>

#include "lesson.hpp"

namespace mta::lesson {

/// The blocks of a text, split at '.'.
inline std::vector<std::string> blocks_of(std::string_view text) {
    std::vector<std::string> blocks{""};
    for (const char c : text)
        if (c == '.')
            blocks.emplace_back();
        else
            blocks.back() += c;
    return blocks;
}

/// This sample's blocks with all queries of two letters that end as its query does and have an answer: one for each first
/// letter that shares exactly one block with the last. Whole blocks only; answers are those of variant last.
inline std::vector<BlockSearchSample> same_last_letter(const BlockSearchSample& sample) {
    const auto blocks = blocks_of(sample.blocks);
    const char last = sample.query.back();
    std::vector<BlockSearchSample> all;
    for (char first = 'a'; first <= 'z'; ++first) {
        if (first == last) continue;
        const auto fits = [&](const std::string& block) {
            return block.find(first) != std::string::npos && block.find(last) != std::string::npos;
        };
        if (std::count_if(blocks.begin(), blocks.end(), fits) != 1) continue;
        const auto found = std::find_if(blocks.begin(), blocks.end(), fits);
        all.push_back({sample.blocks, std::string{first, last}, found->substr(found->size() - 1),
                       static_cast<Index>(found - blocks.begin())});
    }
    return all;
}

/// How many of them each block is the answer to, as numbers that credit() takes.
inline std::vector<double> answers_per_block(const BlockSearchSample& sample) {
    std::vector<double> counts(blocks_of(sample.blocks).size());
    for (const auto& other : same_last_letter(sample))
        ++counts[static_cast<std::size_t>(other.target_block)];
    return counts;
}

/// The largest probability of naming the target from the blocks and the last of two query letters.
inline double one_letter_ceiling(const BlockSearchSample& sample) {
    const auto counts = answers_per_block(sample);
    return *std::max_element(counts.begin(), counts.end()) /
           std::accumulate(counts.begin(), counts.end(), 0.0);
}

/// Standard attention with 26 heads, one for each letter c, whose keys know which position holds the first of two query
/// letters. Head c looks for c and for the last query letter. The key of the first query letter draws all attention of
/// head c to itself, unless it holds c. So one head speaks, the right one, and there the target has both letters: twice
/// the attention of any other block. Returns the weights (B, 26, S, S).
inline Tensor<double, 4> letter_heads(const Prompts& prompts) {
    const Index B = prompts.tokens.dimension(0), S = prompts.tokens.dimension(1);
    const Index first_query_letter = prompts.query_row() - 1;
    constexpr double silence = 2 * strength + 20;  // leaves exp(-20) per letter of a silent head
    auto q = zeros<double>(B, letter_count, S, lesson_dim), k = zeros_like(q);
    for (Index b = 0; b < B; ++b)
        for (Index c = 0; c < letter_count; ++c)
            for (Index s = 0; s < S; ++s) {
                const Index token = prompts.tokens(b, s);
                q(b, c, s, letter_count) = 1;
                if (token >= letter_count) {
                    k(b, c, s, letter_count) = -penalty;
                    continue;
                }
                q(b, c, s, token) = 1;
                if (s == first_query_letter) {
                    k(b, c, s, letter_count) = token == c ? -silence : silence;
                    continue;
                }
                k(b, c, s, token) = strength;
                if (token == c) k(b, c, s, letter_count) = strength;
            }
    MultiTokenAttentionConfig config;
    config.heads = letter_count;
    config.head_dim = lesson_dim;
    config.scale = 1;
    return *multi_token_attention_forward(q, k, /*v=*/k, {}, config).weights;
}

}  // namespace mta::lesson
