// A model that train-block-search saved, and the prompts that it understands.
// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <mta/models/decoder_params.hpp>
#include <mta/tasks/block_search.hpp>
#include <mta/train/block_search_task.hpp>
#include <mta/train/checkpoint.hpp>
#include <mta/train/decoder_json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "precision.hpp"

namespace mta::program {

/// Configuration and task of a checkpoint; its parameters are read with train::load_parameters.
struct TrainedModel {
    train::Checkpoint checkpoint;
    BlockSearchConfig task;
    DecoderConfig model;

    bool double_precision = false;

    template <class Scalar>
    DecoderParams<Scalar> params() const {
        auto params = make_decoder_params<Scalar>(model);
        train::load_parameters(checkpoint, params);
        return params;
    }
};

/// Reads a checkpoint, or that of a run's folder. Throws FileError, one sentence, when it is not of block search.
inline TrainedModel read_trained_model(std::filesystem::path path) {
    std::error_code error;
    if (std::filesystem::is_directory(path, error)) path /= "checkpoint.safetensors";
    TrainedModel m{train::read_checkpoint(path), {}, {}, false};
    const std::string& source = m.checkpoint.source;
    for (const auto* member : {"model", "task", "precision"})
        require<io::FileError>(m.checkpoint.config.contains(member), source, ": got no ", member,
                               ", expected that of a block-search run");
    try {
        m.model = train::decoder_config_of(m.checkpoint.config["model"], source + ": model");
        m.task = train::from_json<BlockSearchConfig>(m.checkpoint.config["task"], source + ": task");
        m.double_precision = is_double_precision(m.checkpoint.config["precision"], source + ": precision");
        check_config(m.task);
    } catch (const ArgumentError& impossible) {  // the file's fault, not the command line's
        throw io::FileError(source + ": " + impossible.what());
    }
    require<io::FileError>(m.model.vocabulary == block_search_token::vocabulary, source,
                           ": model.vocabulary: got ", m.model.vocabulary, ", expected ",
                           block_search_token::vocabulary, ", the tokens of block search");
    return m;
}

/// BOS and the tokens of a prompt such as abcde.fghij#ag. Throws ValueError for other characters.
inline std::vector<std::int32_t> prompt_tokens(std::string_view prompt) {
    require<ValueError>(!prompt.empty(), "--prompt: got '', expected a text such as abcde.fghij#ag");
    auto tokens = block_search_tokens(prompt);
    tokens.insert(tokens.begin(), block_search_token::bos);
    return tokens;
}

/// The sample without its answer.
inline std::string prompt_of(const BlockSearchSample& sample) {
    return sample.blocks + '#' + sample.query;
}

/// What the task asks for: of the one whole block that holds all letters of the query. Nothing where no or several
/// blocks do, or where no query is.
inline std::optional<std::string> expected_answer(const BlockSearchConfig& task, std::string_view prompt) {
    const auto mark = prompt.find('#');
    if (mark == prompt.npos || mark + 1 == prompt.size()) return std::nullopt;
    const auto query = prompt.substr(mark + 1);
    const auto letters = static_cast<std::size_t>(task.letters);
    std::vector<std::string_view> found;
    for (std::size_t at = 0; at < mark;) {
        const auto block = prompt.substr(at, std::min(prompt.find_first_of(".#", at), mark) - at);
        const bool holds =
            std::all_of(query.begin(), query.end(), [&](char c) { return block.find(c) != block.npos; });
        if (block.size() == letters && holds) found.push_back(block);
        at += block.size() + 1;
    }
    if (found.size() != 1) return std::nullopt;
    if (task.variant == BlockSearchVariant::all) return std::string(found[0]);
    return std::string(1, task.variant == BlockSearchVariant::first ? found[0].front() : found[0].back());
}

}  // namespace mta::program
