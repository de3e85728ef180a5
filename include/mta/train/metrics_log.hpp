// The metrics of a run: one JSON object per line, appended as training goes, cut back when it resumes.
// SPDX-License-Identifier: MIT
//
// Lines    {"step":12,"loss":3.1,"lr":0.001,"grad_norm":0.9,"tokens_per_second":41000,"seconds":1.3}
//          {"step":500,"validation":{"token_error":0.2,"sequence_error":0.5},"seconds":55.1}
// Units    loss: nats per counted token; grad_norm: before clipping; seconds: spent in training steps since step 0,
//          validation and saving not counted; errors: fractions.
// Promise  every line begins with its step, and steps never decrease. After cut_metrics(path, n) the file ends as it
//          did when step n was done, so that a resumed run writes the lines that an uninterrupted one writes (but for
//          tokens_per_second and seconds, which are a clock's).
// Errors   io::FileError: cannot be read or written; a line that this class did not write.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <mta/io/file.hpp>
#include <mta/train/json_fields.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mta::train {

/// What one training step reports.
struct StepMetrics {
    std::int64_t step = 0;  // updates done, this one included
    double loss = 0, learning_rate = 0, gradient_norm = 0, tokens_per_second = 0, seconds = 0;
};

/// Named numbers of a validation, in the order they are written.
using NamedNumbers = std::vector<std::pair<std::string, double>>;

/// The line of a training step, without its end.
inline std::string metrics_line(const StepMetrics& m) {
    const Json line{{"step", m.step},
                    {"loss", m.loss},
                    {"lr", m.learning_rate},
                    {"grad_norm", m.gradient_norm},
                    {"tokens_per_second", std::round(m.tokens_per_second)},
                    {"seconds", m.seconds}};
    return line.dump();
}

/// The line of a validation after `step` updates, without its end.
inline std::string validation_line(std::int64_t step, const NamedNumbers& numbers, double seconds) {
    Json line{{"step", step}, {"validation", Json::object()}, {"seconds", seconds}};
    for (const auto& [name, number] : numbers)
        line["validation"][name] = number;
    return line.dump();
}

/// Appends lines; each reaches the file whole, in one write.
class MetricsLog {
  public:
    explicit MetricsLog(std::filesystem::path path)
        : path_{std::move(path)},
          file_{::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666)} {
        check(file_.get() >= 0);
    }

    void append(std::string line) {
        line += '\n';
        check(io::detail::write_fully(file_.get(), std::as_bytes(std::span(line))));
    }
    /// Returns when the lines are on the disk.
    void flush() { check(::fsync(file_.get()) == 0); }

  private:
    void check(bool ok) const {
        require<FileError>(ok, "cannot write ", path_.native(), ": ",
                           ok ? "" : io::detail::errno_text(errno));
    }

    std::filesystem::path path_;
    io::detail::Descriptor file_;
};

namespace detail {

/// The step that a whole line begins with, or nothing.
inline std::optional<std::int64_t> step_of_line(std::string_view line) {
    constexpr std::string_view start = "{\"step\":";
    if (!line.starts_with(start) || !line.ends_with('}')) return std::nullopt;
    line.remove_prefix(start.size());
    std::int64_t step = 0;
    const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), step);
    return error == std::errc() && *end == ',' ? std::optional(step) : std::nullopt;
}

/// Bytes of `text` up to the last line of `step` or before. What follows the last line end is no line: a killed
/// process may have left half of one.
inline std::size_t bytes_until(std::string_view text, std::int64_t step, const std::string& source) {
    std::size_t at = 0, number = 1;
    for (std::size_t end; (end = text.find('\n', at)) != text.npos; at = end + 1, ++number) {
        const auto line = text.substr(at, end - at);
        const auto found = step_of_line(line);
        require<FileError>(found.has_value(), source, ":", number, ": got ", io::detail::in_quotes(line),
                           ", expected a line of metrics that begins with its step");
        if (*found > step) break;
    }
    return at;
}

}  // namespace detail

/// Cuts off every line of a later step and half a line at the end, at once; returns the seconds that the last line
/// left tells, 0 where there is none. A missing file counts as an empty one.
inline double cut_metrics(const std::filesystem::path& path, std::int64_t step) {
    std::error_code error;
    if (!std::filesystem::exists(path, error)) return 0;
    const auto bytes = io::read_file(path);
    const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    const std::size_t kept = detail::bytes_until(text, step, path.native());
    if (kept < text.size()) io::write_file_atomically(path, std::span(bytes).first(kept));
    if (kept == 0) return 0;
    const std::size_t before = text.rfind('\n', kept - 2);
    const std::size_t begin = before == text.npos || kept < 2 ? 0 : before + 1;
    const Json last = io::parse_json(text.substr(begin, kept - 1 - begin), path.native() + ": last line");
    const auto seconds = last.find("seconds");
    return seconds != last.end() && seconds->is_number() ? seconds->get<double>() : 0;
}

}  // namespace mta::train
