// Tests of train/block_search_task.hpp: the task's batches and its configuration as JSON.
// SPDX-License-Identifier: MIT
#include <mta/train/block_search_task.hpp>

#include <doctest/doctest.h>

#include "json_leaves.hpp"
#include "support/checks.hpp"
#include "tiny_trainer.hpp"
#include "train_support.hpp"

namespace mta_test_block_search_task {
using namespace mta;
using namespace mta::test;
using namespace mta::train;

TEST_CASE("hand values: every field of the configuration by name") {
    auto config = paper_block_search(BlockSearchVariant::last);
    config.seed = 9;
    CHECK(BlockSearchTask(config).config_json().dump() ==
          R"({"variant":"last","letters":5,"query_letters":2,"blocks":8,"total_length":319,)"
          R"("cut_block":"never_target","seed":9})");
    CHECK(BlockSearchTask(config).vocabulary() == 32);
    CHECK(BlockSearchTask(config).config().total_length == 319);
}

TEST_CASE("properties: every single field survives the way there and back") {
    const Json json = to_json(paper_block_search());
    for_each_changed_leaf(json, [&](const std::string& where, const Json& changed) {
        CHECK_MESSAGE(to_json(from_json<BlockSearchConfig>(changed, "c")) == changed, where);
    });
}

TEST_CASE("independent values: batches are those of the task's own functions, each from its split") {
    const BlockSearchTask task(tiny_task());
    const auto check = [](const BlockSearchBatch& got, const BlockSearchBatch& want) {
        check_same_bits("tokens", got.tokens, want.tokens);
        check_same_bits("targets", got.targets, want.targets);
        check_same_bits("mask", got.mask, want.mask);
    };
    check(task.training_batch(6, 3), block_search_batch(tiny_task(), BlockSearchSplit::train, 6, 3));
    check(task.test_batch(2, 4), block_search_batch(tiny_task(), BlockSearchSplit::test, 2, 4));
    CHECK(task.training_batch(0, 1).tokens.dimension(1) == sequence_length(tiny_task()) - 1);
}

TEST_CASE("errors: a configuration without samples") {
    auto config = tiny_task();
    config.query_letters = 3;
    CHECK(sentence_of<ValueError>([&] {
              const BlockSearchTask task(config);
          }).starts_with("block_search: query_letters: got 3, expected at least 1"));
}

}  // namespace mta_test_block_search_task
