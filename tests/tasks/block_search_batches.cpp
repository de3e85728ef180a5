// Block search, continued: what a sample depends on, batches, errors of a model, errors.
// SPDX-License-Identifier: MIT
#include <cstdint>
#include <mta/tasks/block_search.hpp>
#include <set>
#include <string>
#include <vector>

#include "support/checks.hpp"
#include "support/tensors.hpp"
#include "support/threads.hpp"
#include "tasks/block_search_configs.hpp"

namespace mta_test_block_search_batches {
using namespace mta;
using namespace mta::test;

TEST_CASE("block_search: a sample depends on seed, split and index, and on nothing else") {
    const auto c = task(Variant::all, 5, 2, 8, 3);
    std::set<std::string> seen;
    for (const Split split : {Split::train, Split::test})
        for (const std::uint64_t seed : {std::uint64_t{3}, std::uint64_t{4}, std::uint64_t{3} << 32})
            for (const std::int64_t index :
                 {std::int64_t{0}, std::int64_t{1}, std::int64_t{1} << 32, (std::int64_t{1} << 40) - 1})
                seen.insert(block_search_sample(task(Variant::all, 5, 2, 8, seed), split, index).blocks);
    CHECK(seen.size() == 24);
    // The variant asks another thing about the same blocks.
    const auto sample = block_search_sample(c, Split::train, 5);
    const auto first = block_search_sample(task(Variant::first, 5, 2, 8, 3), Split::train, 5);
    CHECK(first.blocks == sample.blocks);
    CHECK(first.query == sample.query);
    CHECK(first.answer == sample.answer.substr(0, 1));
    // Batches: any cut of the index range gives the same rows, at any number of threads.
    const auto whole = block_search_batch(c, Split::train, 10, 7);
    at_thread_counts(
        [&] { check_same_bits("tokens", block_search_batch(c, Split::train, 10, 7).tokens, whole.tokens); });
    for (Index b = 0; b < 7; ++b) {
        const auto one = block_search_batch(c, Split::train, 10 + b, 1);
        check_same_bits("tokens", one.tokens, batch_row(whole.tokens, b));
        check_same_bits("targets", one.targets, batch_row(whole.targets, b));
        check_same_bits("mask", one.mask, batch_row(whole.mask, b));
    }
}

TEST_CASE("block_search: batches") {
    for (const Variant variant : {Variant::all, Variant::first})
        for (const auto& c : {task(variant, 5, 2, 8), of_length(variant, 8, 50)}) {
            const auto batch = block_search_batch(c, Split::test, 3, 4);
            const Index S = sequence_length(c) - 1;
            CHECK(batch.tokens.dimensions() == std::array<Index, 2>{4, S});
            for (Index b = 0; b < 4; ++b) {
                const auto sample = block_search_sample(c, Split::test, 3 + b);
                const auto tokens = sample.tokens();
                std::vector<std::int32_t> counted;
                for (Index s = 0; s < S; ++s) {
                    const auto at = static_cast<std::size_t>(s);
                    CHECK(batch.tokens(b, s) == tokens[at]);
                    CHECK(batch.targets(b, s) == tokens[at + 1]);
                    CHECK((batch.mask(b, s) == 0 || batch.mask(b, s) == 1));
                    if (batch.mask(b, s) != 0) counted.push_back(batch.targets(b, s));
                }
                // What counts is the answer and the end, no more and no less.
                CHECK(block_search_text(counted) == sample.answer + "<eos>");
                CHECK(batch.tokens(b, 0) == block_search_token::bos);
            }
        }
}

TEST_CASE("block_search: errors of a model") {
    const auto c = task(Variant::all, 5, 2, 8);
    const auto batch = block_search_batch(c, Split::test, 0, 5);
    const Index S = sequence_length(c) - 1;
    auto logits = random_tensor(1, 5, S, 33);  // one word more than the task has
    for (Index b = 0; b < 5; ++b)
        for (Index s = 0; s < S; ++s)
            logits(b, s, batch.targets(b, s)) = 10;
    CHECK(block_search_errors(logits, batch).token_errors == 0);
    CHECK(block_search_errors(logits, batch).tokens == 5 * 6);
    CHECK(block_search_errors(logits, batch).sequences == 5);
    logits(1, S - 1, 32) = 11;  // another word, where EOS is due
    logits(3, S - 2, 0) = not_a_number;
    logits(3, S - 6, 7) = 12;
    logits(4, S - 7, 7) = 12;  // before the answer: does not count
    const bool seven = batch.targets(3, S - 6) == 7;
    const auto errors = block_search_errors(logits, batch);
    CHECK(errors.token_errors == (seven ? 2 : 3));
    CHECK(errors.sequence_errors == 2);
    const auto mute = block_search_errors(zeros<float>(5, S, 32), batch);
    CHECK(mute.token_error() == 1);
    CHECK_THROWS_WITH_AS(block_search_errors(zeros<float>(5, S, 31), batch),
                         "block_search_errors: vocabulary of logits: got 31, expected at least 32",
                         ShapeError);
    CHECK_THROWS_AS(block_search_errors(zeros<float>(4, S, 32), batch), ShapeError);
}

TEST_CASE("block_search: errors") {
    const auto says = [](const BlockSearchConfig& c, const char* sentence) {
        CHECK_THROWS_WITH_AS(check_config(c), sentence, ValueError);
        CHECK_THROWS_WITH_AS(block_search_sample(c, Split::train, 0), sentence, ValueError);
        CHECK_THROWS_WITH_AS(block_search_batch(c, Split::train, 0, 1), sentence, ValueError);
        CHECK_THROWS_WITH_AS(sequence_length(c), sentence, ValueError);
    };
    says(task(Variant::all, 1, 1, 8),
         "block_search: letters: got 1 letters in a block, expected from 2 to 26");
    says(task(Variant::all, 27, 2, 8),
         "block_search: letters: got 27 letters in a block, expected from 2 to 26");
    says(task(Variant::all, 5, 0, 8),
         "block_search: query_letters: got 0, expected at least 1 and fewer than the 5 of a block");
    says(task(Variant::all, 5, 5, 8),
         "block_search: query_letters: got 5, expected at least 1 and fewer than the 5 of a block");
    says(task(Variant::all, 5, 2, 0), "block_search: blocks: got 0, expected from 1 to 1000000");
    says(task(Variant::all, 5, 2, 1000001), "block_search: blocks: got 1000001, expected from 1 to 1000000");
    // Blocks of all 26 letters hold every query; of two letters, 600 of 650 do not hold a given one.
    says(task(Variant::all, 26, 2, 2),
         "block_search: blocks: got 2, expected at most half as many as the 0 different blocks that do not "
         "hold the query");
    says(task(Variant::all, 2, 1, 302),
         "block_search: blocks: got 302, expected at most half as many as the 600 different blocks that do "
         "not hold the "
         "query");
    CHECK_NOTHROW(check_config(task(Variant::all, 2, 1, 301)));
    says(of_length(Variant::all, 5, 12),
         "block_search: total_length: got 12 characters, expected from 13 (one block, query and answer) to "
         "1000000");
    says(of_length(Variant::last, 5, 8),
         "block_search: total_length: got 8 characters, expected from 9 (one block, query and answer) to "
         "1000000");
    says(of_length(Variant::all, 5, 1000001),
         "block_search: total_length: got 1000001 characters, expected from 13 (one block, query and answer) "
         "to 1000000");
    auto strict = paper_block_search(Variant::all, 8);
    strict.cut_block = CutBlock::reject;
    says(strict,
         "block_search: total_length: got 319 characters, which cuts the last block, expected a length that "
         "leaves blocks "
         "whole, such as 316");
    strict.total_length = 316;
    CHECK(block_search_layout(strict).cut_characters == 0);
    const BlockSearchConfig c;
    for (const std::int64_t index : {std::int64_t{-1}, std::int64_t{1} << 40})
        CHECK_THROWS_WITH_AS(
            block_search_sample(c, Split::train, index),
            ("block_search_sample: index: got " + std::to_string(index) + ", expected from 0 to 2^40 - 1")
                .c_str(),
            ValueError);
    CHECK_THROWS_WITH_AS(block_search_batch(c, Split::train, 0, 0),
                         "block_search_batch: count: got 0 samples, expected at least 1", ValueError);
    CHECK_THROWS_WITH_AS(
        block_search_batch(c, Split::train, -1, 1),
        "block_search_batch: first_index: got -1 for 1 samples, expected indices from 0 to 2^40 - 1",
        ValueError);
    CHECK_THROWS_AS(block_search_batch(c, Split::train, (std::int64_t{1} << 40) - 3, 4), ValueError);
    CHECK_THROWS_WITH_AS(block_search_tokens("abC"),
                         "block_search_tokens: character 2: got 'C', expected one of a to z . # _",
                         ValueError);
    CHECK_THROWS_WITH_AS(block_search_text(std::vector<std::int32_t>{0, 32}),
                         "block_search_text: token 1: got 32, expected from 0 to 31", ValueError);
    CHECK_THROWS_AS(block_search_text(std::vector<std::int32_t>{-1}), ValueError);
}
}  // namespace mta_test_block_search_batches
