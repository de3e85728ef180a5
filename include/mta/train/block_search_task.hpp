// Block search as a task that Trainer trains on: batches, errors, configuration.
// SPDX-License-Identifier: MIT
//
// Source   The toy task of arXiv:2504.00927, Sec. 4.1; the samples are tasks/block_search.hpp's.
// Errors   of validation, as fractions: token_error of the counted tokens, sequence_error of the answers (wrong when
//          any of their tokens is), both with the right answer's earlier tokens given (teacher forcing).
#pragma once

#include <array>
#include <cstdint>
#include <mta/tasks/block_search.hpp>
#include <mta/train/json_fields.hpp>
#include <mta/train/metrics_log.hpp>
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
    using Errors = BlockSearchErrors;

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
    template <TensorOf<3> Logits>
    Errors errors(const Logits& logits, const BlockSearchBatch& batch) const {
        return block_search_errors(logits, batch);
    }
    NamedNumbers report(const Errors& errors) const {
        return {{"token_error", errors.token_error()}, {"sequence_error", errors.sequence_error()}};
    }

  private:
    BlockSearchConfig config_;
};

}  // namespace mta::train
