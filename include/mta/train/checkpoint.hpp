// Checkpoints: everything that training needs to go on, bit for bit, in one safetensors file.
// SPDX-License-Identifier: MIT
//
// Tensors   every parameter under its own name; AdamW's moments as optimizer.first.<name> and
//           optimizer.second.<name>; optimizer.steps (I64), one count per parameter in their order.
// Metadata  format, format_version, library_version; crc32 of the file with this value as eight zeros; progress
//           {"step", "next_sample"}; then one JSON text per member of the run's configuration (task, model,
//           training, precision). Random numbers come from counters, so that seeds, step and next_sample are the
//           whole state of every generator.
// Promise   the file is replaced at once (temporary file, fsync, rename): whatever happens, the last good one stays.
//           Its bytes depend on configuration, step, thread count and build: no clock, no host name.
// Errors    io::FileError, one sentence that begins with the file's name: missing, damaged, no checkpoint, of another
//           configuration (naming the first field that differs). Loading changes nothing when it fails.
#pragma once

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <mta/core/parameters.hpp>
#include <mta/io/safetensors.hpp>
#include <mta/train/detail/crc32.hpp>
#include <mta/train/json_fields.hpp>
#include <mta/version.hpp>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mta::train {

/// How far training is.
struct TrainingProgress {
    std::int64_t step = 0;         // updates done
    std::int64_t next_sample = 0;  // index of the next training sample

    bool operator==(const TrainingProgress&) const = default;
};

template <>
struct JsonFields<TrainingProgress> {
    template <class F, class P>
    static void for_each(F&& f, P& p) {
        f("step", p.step);
        f("next_sample", p.next_sample);
    }
};

/// A checkpoint file that was read and found whole.
struct Checkpoint {
    std::string source;  // begins every sentence about it
    Json config;         // the run's configuration, an object
    TrainingProgress progress;
    io::SafetensorsFile file;
};

namespace detail {

inline constexpr std::string_view checkpoint_format = "mta-checkpoint", checkpoint_version = "1";
inline constexpr std::string_view no_crc = "00000000", crc_mark = "\"crc32\":\"";
inline constexpr std::string_view first_moment = "optimizer.first.", second_moment = "optimizer.second.",
                                  step_counts = "optimizer.steps";

template <class Scalar>
inline constexpr io::DType dtype_of = sizeof(Scalar) == 8 ? io::DType::F64 : io::DType::F32;

template <class Params>
void append_tensors(std::vector<io::StoredTensor>& tensors, std::string_view prefix, const Params& params) {
    Params::for_each(
        [&](std::string_view name, const auto& p) {
            using Scalar = ScalarOf<decltype(p)>;
            tensors.push_back(io::from_tensor(sentence(prefix, name), p, dtype_of<Scalar>));
        },
        params);
}

inline io::Metadata checkpoint_metadata(const Json& config, const TrainingProgress& progress) {
    io::Metadata metadata{{"format", std::string(checkpoint_format)},
                          {"format_version", std::string(checkpoint_version)},
                          {"crc32", std::string(no_crc)},
                          {"library_version", MTA_VERSION_STRING},
                          {"progress", to_json(progress).dump()}};
    for (const auto& [key, value] : config.items())
        metadata.emplace_back(key, value.dump());
    return metadata;
}

/// Where the eight digits of the checksum stand, or nothing. A quote inside a JSON text is escaped, so the mark
/// can only be the key.
inline std::span<std::byte> crc_digits(std::span<std::byte> bytes) {
    const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    const std::size_t at = text.find(crc_mark);
    if (at == text.npos || at + crc_mark.size() + no_crc.size() > text.size()) return {};
    return bytes.subspan(at + crc_mark.size(), no_crc.size());
}

inline void put_digits(std::span<std::byte> digits, std::string_view text) {
    std::transform(text.begin(), text.end(), digits.begin(),
                   [](char c) { return static_cast<std::byte>(c); });
}

/// Throws unless the checksum in the file is that of its bytes. A file without one, as another tool may write it, passes.
inline void check_crc(std::vector<std::byte>& bytes, const Checkpoint& checkpoint) {
    const auto stored = checkpoint.file.metadata_value("crc32");
    if (!stored) return;
    const auto digits = crc_digits(bytes);
    if (!digits.empty() && digits.size() == stored->size()) put_digits(digits, no_crc);
    const std::string got = crc32_text(crc32(bytes));
    require<FileError>(got == *stored, checkpoint.source, ": got bytes with the checksum ", got,
                       ", expected ", io::detail::in_quotes(*stored), " as it says (the file is damaged)");
}

/// Takes the configuration and the progress out of the metadata.
inline void read_metadata(Checkpoint& c) {
    const auto value = [&](std::string_view key) { return c.file.metadata_value(key).value_or("none"); };
    require<FileError>(value("format") == checkpoint_format, c.source, ": got the format ",
                       io::detail::in_quotes(value("format")), ", expected '", checkpoint_format,
                       "', as a training run writes it");
    require<FileError>(value("format_version") == checkpoint_version, c.source, ": got format_version ",
                       io::detail::in_quotes(value("format_version")), ", expected '", checkpoint_version,
                       "'");
    const auto json = [&](const std::string& key, const std::string& text) {
        return io::parse_json(text, c.source + ": metadata key " + io::detail::in_quotes(key));
    };
    c.progress = from_json<TrainingProgress>(json("progress", value("progress")), c.source + ": progress");
    require<FileError>(c.progress.step >= 0 && c.progress.next_sample >= 0, c.source, ": progress: got step ",
                       c.progress.step, " and next_sample ", c.progress.next_sample, ", expected at least 0");
    const std::set<std::string_view> own{"format", "format_version", "crc32", "library_version", "progress"};
    c.config = Json::object();
    for (const auto& [key, text] : *c.file.metadata)
        if (!own.contains(key)) c.config[key] = json(key, text);
}

/// The tensor of this name in the shape of `like`.
template <AnyTensor T>
T loaded_tensor(const Checkpoint& c, const std::string& name, const T& like) {
    const io::StoredTensor* stored = c.file.find(name);
    require<FileError>(stored != nullptr, c.source, ": tensor ", io::detail::in_quotes(name),
                       ": got none, expected one of shape ", like.dimensions());
    const std::vector<std::int64_t> expected(like.dimensions().begin(), like.dimensions().end());
    require<FileError>(stored->shape == expected, c.source, ": tensor ", io::detail::in_quotes(name),
                       ": got shape ", stored->shape, ", expected shape ", expected);
    const bool same_kind = io::is_floating(stored->dtype) == std::is_floating_point_v<ScalarOf<T>>;
    require<FileError>(same_kind, c.source, ": tensor ", io::detail::in_quotes(name), ": got dtype ",
                       io::dtype_name(stored->dtype), ", expected ",
                       std::is_floating_point_v<ScalarOf<T>> ? "a floating-point type" : "an integer type");
    if constexpr (std::is_floating_point_v<ScalarOf<T>>)
        return io::to_tensor<ScalarOf<T>, rank_of<T>>(*stored, io::Narrowing::round);
    else
        return io::to_integer_tensor<ScalarOf<T>, rank_of<T>>(*stored);
}

template <class Params>
void load_tensors(const Checkpoint& c, std::string_view prefix, Params& params) {
    Params::for_each([&](std::string_view name, auto& p) { p = loaded_tensor(c, sentence(prefix, name), p); },
                     params);
}

template <class Params>
std::size_t tensor_count(const Params& params) {
    std::size_t count = 0;
    Params::for_each([&](std::string_view, const auto&) { ++count; }, params);
    return count;
}

}  // namespace detail

/// The file's bytes. `state` has members first and second, as `params`, and steps, one integer per tensor.
template <class Params, class State>
std::vector<std::byte> serialise_checkpoint(const Json& config, const TrainingProgress& progress,
                                            const Params& params, const State& state) {
    io::SafetensorsFile file;
    file.metadata = detail::checkpoint_metadata(config, progress);
    detail::append_tensors(file.tensors, "", params);
    detail::append_tensors(file.tensors, detail::first_moment, state.first);
    detail::append_tensors(file.tensors, detail::second_moment, state.second);
    Tensor<std::int64_t, 1> steps(static_cast<Index>(state.steps.size()));
    std::copy(state.steps.begin(), state.steps.end(), steps.data());
    file.tensors.push_back(io::from_integer_tensor(std::string(detail::step_counts), steps, io::DType::I64));
    auto bytes = io::serialise_safetensors(file);
    detail::put_digits(detail::crc_digits(bytes), detail::crc32_text(detail::crc32(bytes)));
    return bytes;
}

/// Writes the file at once: on any failure, FileError, and the checkpoint that was there is untouched.
template <class Params, class State>
void save_checkpoint(const std::filesystem::path& path, const Json& config, const TrainingProgress& progress,
                     const Params& params, const State& state) {
    io::write_file_atomically(path, serialise_checkpoint(config, progress, params, state));
}

/// Reads the file and checks that it is whole and a checkpoint; whose, the caller decides.
inline Checkpoint read_checkpoint(const std::filesystem::path& path) {
    auto bytes = io::read_file(path);
    Checkpoint checkpoint{path.native(), {}, {}, io::parse_safetensors(bytes, path.native())};
    detail::check_crc(bytes, checkpoint);
    detail::read_metadata(checkpoint);
    return checkpoint;
}

/// Throws FileError, naming the first field that differs, unless the checkpoint is of this configuration.
inline void require_config(const Checkpoint& checkpoint, const Json& expected) {
    const auto difference = first_difference(checkpoint.config, expected);
    if (difference) throw FileError(checkpoint.source + ": " + difference->sentence());
}

/// Fills the parameters, which have the shapes that are expected. They may be over another floating-point type.
template <class Params>
void load_parameters(const Checkpoint& checkpoint, Params& params) {
    Params loaded = params;
    detail::load_tensors(checkpoint, "", loaded);
    params = std::move(loaded);
}

/// Fills parameters and optimizer state; a tensor that neither has is an error.
template <class Params, class State>
void load_checkpoint(const Checkpoint& checkpoint, Params& params, State& state) {
    Params loaded = params;
    State loaded_state = state;
    detail::load_tensors(checkpoint, "", loaded);
    detail::load_tensors(checkpoint, detail::first_moment, loaded_state.first);
    detail::load_tensors(checkpoint, detail::second_moment, loaded_state.second);
    Tensor<std::int64_t, 1> steps(static_cast<Index>(state.steps.size()));
    steps = detail::loaded_tensor(checkpoint, std::string(detail::step_counts), steps);
    std::copy(steps.data(), steps.data() + steps.size(), loaded_state.steps.begin());
    const std::size_t expected = 3 * detail::tensor_count(params) + 1;
    require<FileError>(checkpoint.file.tensors.size() == expected, checkpoint.source, ": got ",
                       checkpoint.file.tensors.size(), " tensors, expected ", expected,
                       ", three per parameter and the step counts");
    params = std::move(loaded), state = std::move(loaded_state);
}

}  // namespace mta::train
