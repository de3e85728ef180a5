// Training curves from the metrics of runs.
// SPDX-License-Identifier: MIT
#include "curves.hpp"

#include <cmath>
#include <limits>
#include <mta/io/json.hpp>
#include <mta/io/line_plot.hpp>
#include <string_view>

namespace mta::program {

namespace {

using io::Json;

// A number of a line; NaN where the run had none (JSON has no NaN, so null was written).
double number(const Json& object, const char* key, const std::string& where) {
    const auto found = object.find(key);
    if (found != object.end() && found->is_null()) return std::numeric_limits<double>::quiet_NaN();
    require<io::FileError>(found != object.end() && found->is_number(), where, ": ", key,
                           ": got no number, expected one in a line of metrics");
    return found->get<double>();
}

void add_line(RunHistory& run, const Json& line, const std::string& where) {
    require<io::FileError>(line.is_object(), where, ": got no object, expected a line of metrics");
    const double step = number(line, "step", where), seconds = number(line, "seconds", where);
    const auto add = [&](History& history, const Json& from, const char* key) {
        history.value.push_back(number(from, key, where));
        history.step.push_back(step);
        history.seconds.push_back(seconds);
    };
    const auto validation = line.find("validation");
    if (validation == line.end()) return add(run.loss, line, "loss");
    require<io::FileError>(validation->is_object(), where, ": validation: got no object, expected errors");
    add(run.sequence_error, *validation, "sequence_error");
    add(run.token_error, *validation, "token_error");
}

RunHistory read_run(std::filesystem::path path) {
    std::error_code error;
    if (std::filesystem::is_directory(path, error)) path /= "metrics.jsonl";
    const auto bytes = io::read_file(path);
    std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    RunHistory run;
    const auto folder = std::filesystem::absolute(path).parent_path().filename();
    run.name = path.filename() == "metrics.jsonl" ? folder.native() : path.stem().native();
    for (std::size_t n = 1, end; (end = text.find('\n')) != text.npos; ++n, text.remove_prefix(end + 1)) {
        const std::string where = mta::detail::sentence(path.native(), ":", n);
        add_line(run, io::parse_json(text.substr(0, end), where), where);
    }
    require<io::FileError>(!run.loss.step.empty(), path.native(), ": got no step, expected at least one");
    return run;
}

// At most `most` points, each the mean of neighbours: thousands of steps would hide each other.
History thinned(const History& h, std::size_t most) {
    const std::size_t width = (h.value.size() + most - 1) / most;
    History thin;
    for (std::size_t begin = 0; begin < h.value.size(); begin += width) {
        const std::size_t end = std::min(begin + width, h.value.size());
        double sum = 0;
        for (std::size_t n = begin; n < end; ++n)
            sum += h.value[n];
        thin.value.push_back(sum / static_cast<double>(end - begin));
        thin.step.push_back(h.step[end - 1]);
        thin.seconds.push_back(h.seconds[end - 1]);
    }
    return thin;
}

// What is drawn of every run.
struct Quantity {
    const char* name;
    const char* label;
    History RunHistory::*history;
};

void draw(const std::vector<RunHistory>& runs, const Quantity& q, bool against_seconds, bool linear,
          const Folder& folder) {
    constexpr std::size_t most_points = 360;  // two pixels each
    std::vector<io::Curve> curves;
    for (const auto& run : runs) {
        auto history = thinned(run.*q.history, most_points);
        curves.push_back({.name = run.name,
                          .x = std::move(against_seconds ? history.seconds : history.step),
                          .y = std::move(history.value)});
    }
    const auto path = folder.picture(std::string(q.name) + (against_seconds ? "_seconds" : "_steps"));
    io::write_line_plot(
        path, curves,
        {.title = q.label, .x_label = against_seconds ? "seconds of training" : "steps", .log_y = !linear});
    print_path(path);
}

}  // namespace

std::vector<RunHistory> read_runs(const std::vector<std::string>& runs) {
    std::vector<RunHistory> histories;
    for (const auto& run : runs)
        histories.push_back(read_run(run));
    return histories;
}

void draw_curves(const std::vector<RunHistory>& runs, bool linear, const Folder& folder) {
    constexpr Quantity quantities[] = {
        {"loss", "loss, nats per counted token", &RunHistory::loss},
        {"sequence_error", "sequence error on held-out samples", &RunHistory::sequence_error},
        {"token_error", "token error on held-out samples", &RunHistory::token_error}};
    if (runs.empty()) return;
    for (const auto& quantity : quantities)
        for (const bool against_seconds : {false, true})
            draw(runs, quantity, against_seconds, linear, folder);
}

}  // namespace mta::program
