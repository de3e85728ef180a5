// Block search as a task that Trainer trains on: batches and configuration.
// SPDX-License-Identifier: MIT
//
// Source  The toy task of arXiv:2504.00927, Sec. 4.1; the samples are tasks/block_search.hpp's.
#pragma once

#include <array>
#include <cstdint>
#include <mta/tasks/block_search.hpp>
#include <mta/train/json_fields.hpp>
#include <string_view>
#include <utility>

namespace mta::train {

template <>
struct JsonNames<BlockSearchVariant> {
    static constexpr std::array<std::pair<std::string_view, BlockSearchVariant>, 3> names{
        {{"all", BlockSearchVariant::all},
         {"first", BlockSearchVariant::first},
         {"last", BlockSearchVariant::last}}};
};
template <>
struct JsonNames<CutBlock> {
    static constexpr std::array<std::pair<std::string_view, CutBlock>, 2> names{
        {{"never_target", CutBlock::never_target}, {"reject", CutBlock::reject}}};
};
template <>
struct JsonFields<BlockSearchConfig> {
    template <class F, class Config>
    static void for_each(F&& f, Config& c) {
        f("variant", c.variant);
        f("letters", c.letters);
        f("query_letters", c.query_letters);
        f("blocks", c.blocks);
        f("total_length", c.total_length);
        f("cut_block", c.cut_block);
        f("seed", c.seed);
    }
};

/// The task of one configuration; see TrainingTask in trainer.hpp.
class BlockSearchTask {
  public:
    /// Throws ValueError when no samples can be made.
    explicit BlockSearchTask(BlockSearchConfig config) : config_{config} { mta::check_config(config_); }

    const BlockSearchConfig& config() const { return config_; }
    Index vocabulary() const { return block_search_token::vocabulary; }
    Json config_json() const { return to_json(config_); }

    BlockSearchBatch training_batch(std::int64_t first, Index count) const {
        return block_search_batch(config_, BlockSearchSplit::train, first, count);
    }
    BlockSearchBatch test_batch(std::int64_t first, Index count) const {
        return block_search_batch(config_, BlockSearchSplit::test, first, count);
    }

  private:
    BlockSearchConfig config_;
};

}  // namespace mta::train
