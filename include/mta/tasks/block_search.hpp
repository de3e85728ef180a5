// Block search: find the one block of letters that holds all the letters of a query.
// SPDX-License-Identifier: MIT
//
// Source   The toy task of arXiv:2504.00927, Sec. 4.1 (Table 1), with the details of its public generator.
// Sample   abcde.fghij.klmno#olklmno: blocks of N distinct letters joined by '.', then '#', a query of L < N
//          distinct letters in any order, and the answer. Exactly one block holds all letters of the query.
// Answer   all: the block   first: its first letter   last: its last letter
// Tokens   a..z 0..25   '.' 26   '#' 27   '_' 28 (unused)   BOS 29   EOS 30   padding 31.
//          A sequence is BOS, the characters, EOS; its length is the same for every sample of a configuration.
// Length   With B blocks: B (N + 1) - 1 characters of blocks, 1 + L of query, the answer; plus 2 tokens. The 8 blocks
//          of N = 5, L = 2, all: 47 + 3 + 5 = 55 characters, 57 tokens. With `total_length` T, the number of all
//          characters, the blocks fill T - answer - L - 1 of them; a shorter answer leaves them more room.
// Random   Sample n of a split is a pure function of (configuration with its seed, split, n), from integers of
//          Philox alone: the same with every compiler. A text of blocks belongs to `test` when its hash says so (1
//          in 16), else to `train`, and samples are redrawn until they belong: no text is in both, whatever the seeds.
// Traps    1. T may cut the last block (N = 8, T = 319 keeps 2 letters of it). It is never the target: the answer
//             would not be in the text. CutBlock::reject makes such a configuration an error.
//          2. Two samples of one split may be equal; only tiny configurations make that likely.
// Errors   ValueError: a configuration that cannot work, an index outside 0..2^40-1, a count below 1, a character
//          or token that is none of these. ShapeError: logits that do not fit the batch.
#pragma once

#include <algorithm>
#include <cstdint>
#include <mta/core/parallel.hpp>
#include <mta/core/require.hpp>
#include <mta/core/tensor.hpp>
#include <mta/tasks/answer_errors.hpp>
#include <mta/tasks/detail/letter_blocks.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mta {

/// The tokens that are no letters, and how many tokens there are.
namespace block_search_token {
inline constexpr std::int32_t separator = 26, query_mark = 27, blank = 28, bos = 29, eos = 30, padding = 31;
inline constexpr Index vocabulary = 32;
}  // namespace block_search_token

/// What is asked of the block that was found.
enum class BlockSearchVariant { all, first, last };
enum class BlockSearchSplit { train, test };
/// What to do when total_length cuts the last block: never make it the target, or refuse the configuration.
enum class CutBlock { never_target, reject };

/// Choices fixed before training.
struct BlockSearchConfig {
    BlockSearchVariant variant = BlockSearchVariant::all;
    Index letters = 5;                  // N, per block
    Index query_letters = 2;            // L < N
    Index blocks = 8;                   // B; total_length overrules it
    std::optional<Index> total_length;  // T: characters, those of the answer included
    CutBlock cut_block = CutBlock::never_target;
    std::uint64_t seed = 0;

    Index answer_letters() const { return variant == BlockSearchVariant::all ? letters : 1; }
};

/// The configuration of the paper's Table 1: 319 characters, 52 blocks of N = 5.
inline BlockSearchConfig paper_block_search(BlockSearchVariant variant = BlockSearchVariant::all,
                                            Index letters = 5) {
    BlockSearchConfig config;
    config.variant = variant;
    config.letters = letters;
    config.total_length = 319;
    return config;
}

/// Where the pieces of a sequence stand, as positions of tokens: the same for every sample of a configuration.
struct BlockSearchLayout {
    Index letters = 0;
    Index whole_blocks = 0;    // the target is one of them
    Index cut_characters = 0;  // what follows the whole blocks: a '.' and some letters of one more block
    Index query_mark = 0;      // position of '#'; the query follows it
    Index answer_begin = 0;
    Index answer_letters = 0;
    Index sequence_length = 0;  // with BOS and EOS

    /// Position of the first letter of a block; its last letter is letters - 1 further on.
    Index block_begin(Index block) const { return 1 + block * (letters + 1); }
};

namespace detail {

inline constexpr std::string_view block_search_characters = "abcdefghijklmnopqrstuvwxyz.#_";
inline constexpr Index most_characters = 1000000;
inline constexpr std::int64_t most_samples = std::int64_t{1} << 40;

// Characters of the blocks and the '.' between and after them.
inline Index blocks_length(const BlockSearchConfig& c) {
    if (!c.total_length) return c.blocks * (c.letters + 1) - 1;
    return *c.total_length - c.answer_letters() - c.query_letters - 1;
}

inline void check_blocks(const BlockSearchConfig& c) {
    constexpr std::string_view f = "block_search: ";
    if (!c.total_length) {
        require<ValueError>(c.blocks >= 1 && c.blocks <= most_characters, f, "blocks: got ", c.blocks,
                            ", expected from 1 to ", most_characters);
        return;
    }
    const Index least = c.letters + c.query_letters + 1 + c.answer_letters();
    require<ValueError>(*c.total_length >= least && *c.total_length <= most_characters, f,
                        "total_length: got ", *c.total_length, " characters, expected from ", least,
                        " (one block, query and answer) to ", most_characters);
    const Index cut = (blocks_length(c) + 1) % (c.letters + 1);
    require<ValueError>(
        c.cut_block != CutBlock::reject || cut == 0, f, "total_length: got ", *c.total_length,
        " characters, which cuts the last block, expected a length that leaves blocks whole, such as ",
        *c.total_length - cut);
}

}  // namespace detail

/// Throws ValueError with one sentence unless samples can be made.
inline void check_config(const BlockSearchConfig& c) {
    constexpr std::string_view f = "block_search: ";
    require<ValueError>(c.letters >= 2 && c.letters <= 26, f, "letters: got ", c.letters,
                        " letters in a block, expected from 2 to 26");
    require<ValueError>(c.query_letters >= 1 && c.query_letters < c.letters, f, "query_letters: got ",
                        c.query_letters, ", expected at least 1 and fewer than the ", c.letters,
                        " of a block");
    detail::check_blocks(c);
    const Index distractors = detail::blocks_length(c) / (c.letters + 1);
    const double possible = detail::distractor_count(c.letters, c.query_letters);
    require<ValueError>(static_cast<double>(distractors) <= possible / 2, f,
                        c.total_length ? "total_length: got room for " : "blocks: got ", distractors + 1,
                        c.total_length ? " blocks" : "", ", expected at most half as many as the ", possible,
                        " different blocks that do not hold the query");
}

/// Where everything stands in the sequences of this configuration.
inline BlockSearchLayout block_search_layout(const BlockSearchConfig& c) {
    check_config(c);
    const Index length = detail::blocks_length(c);
    BlockSearchLayout layout;
    layout.letters = c.letters;
    layout.whole_blocks = (length + 1) / (c.letters + 1);
    layout.cut_characters = (length + 1) % (c.letters + 1);
    layout.query_mark = 1 + length;
    layout.answer_begin = layout.query_mark + 1 + c.query_letters;
    layout.answer_letters = c.answer_letters();
    layout.sequence_length = layout.answer_begin + layout.answer_letters + 1;
    return layout;
}

/// Tokens of every sample, BOS and EOS included; a batch's inputs are one shorter.
inline Index sequence_length(const BlockSearchConfig& c) {
    return block_search_layout(c).sequence_length;
}

/// The tokens of characters a..z . # _ in order.
inline std::vector<std::int32_t> block_search_tokens(std::string_view text) {
    std::vector<std::int32_t> tokens;
    tokens.reserve(text.size());
    for (const char c : text) {
        const std::size_t token = detail::block_search_characters.find(c);
        require<ValueError>(token != std::string_view::npos, "block_search_tokens: character ", tokens.size(),
                            ": got '", c, "', expected one of a to z . # _");
        tokens.push_back(static_cast<std::int32_t>(token));
    }
    return tokens;
}

/// The characters of tokens; <bos>, <eos> and <pad> for those that are none.
inline std::string block_search_text(std::span<const std::int32_t> tokens) {
    constexpr std::string_view marks[] = {"<bos>", "<eos>", "<pad>"};
    std::string text;
    for (std::size_t n = 0; n < tokens.size(); ++n) {
        const std::int32_t token = tokens[n];
        require<ValueError>(token >= 0 && token < block_search_token::vocabulary, "block_search_text: token ",
                            n, ": got ", token, ", expected from 0 to ", block_search_token::vocabulary - 1);
        const auto at = static_cast<std::size_t>(token);
        if (token < block_search_token::bos)
            text += detail::block_search_characters[at];
        else
            text += marks[at - static_cast<std::size_t>(block_search_token::bos)];
    }
    return text;
}

/// One sample. Its whole text is blocks + '#' + query + answer.
struct BlockSearchSample {
    std::string blocks, query, answer;
    Index target_block = 0;  // which block of the text is asked for, from 0

    std::string text() const { return blocks + '#' + query + answer; }

    /// BOS, the text, EOS.
    std::vector<std::int32_t> tokens() const {
        std::vector<std::int32_t> all = block_search_tokens(text());
        all.insert(all.begin(), block_search_token::bos);
        all.push_back(block_search_token::eos);
        return all;
    }
};

namespace detail {

inline BlockSearchSample draw_block_search(const BlockSearchConfig& c, const BlockSearchLayout& layout,
                                           Random& random) {
    BlockSearchSample sample;
    const std::string target = draw_letters(std::string(alphabet), c.letters, random);
    sample.query = draw_letters(target, c.query_letters, random);
    sample.target_block = random.below(static_cast<std::uint32_t>(layout.whole_blocks));
    std::vector<std::string> blocks;
    const Index count = layout.whole_blocks + (layout.cut_characters > 0 ? 1 : 0);
    for (Index b = 0; b < count; ++b) {
        const bool is_target = b == sample.target_block;
        blocks.push_back(is_target ? target : draw_distractor(c.letters, sample.query, blocks, random));
        sample.blocks += (b > 0 ? "." : "") + blocks.back();
    }
    sample.blocks.resize(static_cast<std::size_t>(blocks_length(c)));
    sample.answer = c.variant == BlockSearchVariant::all     ? target
                    : c.variant == BlockSearchVariant::first ? target.substr(0, 1)
                                                             : target.substr(target.size() - 1);
    return sample;
}

}  // namespace detail

/// Sample number `index` of a split.
inline BlockSearchSample block_search_sample(const BlockSearchConfig& c, BlockSearchSplit split,
                                             std::int64_t index) {
    const BlockSearchLayout layout = block_search_layout(c);
    require<ValueError>(index >= 0 && index < detail::most_samples, "block_search_sample: index: got ", index,
                        ", expected from 0 to 2^40 - 1");
    const bool test = split == BlockSearchSplit::test;
    // The upper bits keep these streams apart from those that others draw from the same seed.
    const std::uint64_t purpose = 0xB10C000000000000 | std::uint64_t{test} << 40;
    Random random(c.seed, purpose | static_cast<std::uint64_t>(index));
    BlockSearchSample sample = detail::draw_block_search(c, layout, random);
    while (detail::is_held_out(sample.blocks) != test)
        sample = detail::draw_block_search(c, layout, random);
    return sample;
}

/// Rows for a decoder, S = sequence_length - 1: at each position the token, the one to be predicted from it,
/// and whether that counts: 1 where the target is a letter of the answer or the EOS after it, else 0.
struct BlockSearchBatch {
    Tensor<std::int32_t, 2> tokens, targets;  // (B, S)
    Tensor<float, 2> mask;                    // (B, S)
};

/// Samples first_index to first_index + count - 1 of a split.
inline BlockSearchBatch block_search_batch(const BlockSearchConfig& c, BlockSearchSplit split,
                                           std::int64_t first_index, Index count) {
    const BlockSearchLayout layout = block_search_layout(c);
    require<ValueError>(count >= 1, "block_search_batch: count: got ", count,
                        " samples, expected at least 1");
    require<ValueError>(first_index >= 0 && first_index <= detail::most_samples - count,
                        "block_search_batch: first_index: got ", first_index, " for ", count,
                        " samples, expected indices from 0 to 2^40 - 1");
    const Index S = layout.sequence_length - 1;
    BlockSearchBatch batch{Tensor<std::int32_t, 2>(count, S), Tensor<std::int32_t, 2>(count, S),
                           zeros<float>(count, S)};
    parallel_for(count, [&](Index b) {
        const auto tokens = block_search_sample(c, split, first_index + b).tokens();
        std::copy(tokens.begin(), tokens.end() - 1, nth_row(batch.tokens, b).begin());
        std::copy(tokens.begin() + 1, tokens.end(), nth_row(batch.targets, b).begin());
        for (Index s = layout.answer_begin - 1; s < S; ++s)
            batch.mask(b, s) = 1;
    });
    return batch;
}

/// Wrong predictions of answers, by the rules of answer_errors. logits: (B, S, V) with V at least 32, so that a model of
/// a larger vocabulary is judged too.
template <TensorOf<3> Logits>
AnswerErrors block_search_errors(const Logits& logits, const BlockSearchBatch& batch) {
    require(logits.dimension(2) >= block_search_token::vocabulary,
            "block_search_errors: vocabulary of logits: got ", logits.dimension(2), ", expected at least ",
            block_search_token::vocabulary);
    return answer_errors(logits, batch.targets, batch.mask);
}

}  // namespace mta
