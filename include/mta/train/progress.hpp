// Shows how training goes: a bar that replaces itself on a terminal, a line now and then elsewhere.
// SPDX-License-Identifier: MIT
//
// Units  loss: nats per counted token; tok/s: tokens of the batch, counted or not, per second of training;
//        ETA: hours:minutes:seconds, from the average of the steps that this session has done.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <mta/train/metrics_log.hpp>
#include <string>
#include <utility>

namespace mta::train {

/// "1:02:03"; "0:00:00" for nothing, "?" for what is no time.
inline std::string clock_text(double seconds) {
    constexpr double longest = 1e9;  // 31 years
    if (!(seconds >= 0 && seconds < longest)) return "?";
    const auto whole = std::llround(seconds);
    char text[32];
    std::snprintf(text, sizeof text, "%lld:%02lld:%02lld", whole / 3600, whole / 60 % 60, whole % 60);
    return text;
}

/// "12345" as "12.3k"; three digits and a unit.
inline std::string short_number(double x) {
    const char* unit = x >= 1e6 ? "M" : x >= 1e3 ? "k" : "";
    const double scaled = x >= 1e6 ? x / 1e6 : x >= 1e3 ? x / 1e3 : x;
    char text[32];
    std::snprintf(text, sizeof text, "%.*f%s", scaled >= 100 ? 0 : 1, scaled, unit);
    return text;
}

/// "step 20/100 loss 3.1234 lr 0.001 norm 0.91 41.2k tok/s ETA 0:01:02".
inline std::string progress_text(const StepMetrics& m, std::int64_t steps, double seconds_left) {
    char text[160];
    std::snprintf(text, sizeof text, "step %lld/%lld loss %.4f lr %.3g norm %.2f %s tok/s ETA %s",
                  static_cast<long long>(m.step), static_cast<long long>(steps), m.loss, m.learning_rate,
                  m.gradient_norm, short_number(m.tokens_per_second).c_str(),
                  clock_text(seconds_left).c_str());
    return text;
}

/// "[#####.....]" with `width` places between the brackets.
inline std::string bar_text(std::int64_t step, std::int64_t steps, int width) {
    const double part = steps > 0 ? static_cast<double>(step) / static_cast<double>(steps) : 1;
    const auto full = static_cast<std::size_t>(std::floor(std::clamp(part, 0.0, 1.0) * width));
    return "[" + std::string(full, '#') + std::string(static_cast<std::size_t>(width) - full, '.') + "]";
}

/// Prints to one stream; quiet when that is null.
class ProgressDisplay {
  public:
    using Clock = std::chrono::steady_clock;

    /// `first`: updates done before this session.
    ProgressDisplay(std::FILE* out, bool terminal, std::int64_t first, std::int64_t steps,
                    Clock::time_point now = Clock::now())
        : out_{out}, terminal_{terminal}, first_{first}, steps_{steps}, began_{now}, shown_{now} {}
    ProgressDisplay(const ProgressDisplay&) = delete;
    ProgressDisplay& operator=(const ProgressDisplay&) = delete;
    ~ProgressDisplay() { end_bar(); }

    /// After a step: the bar is renewed ten times a second, a line comes twice a minute and at the end.
    void step(const StepMetrics& m, Clock::time_point now = Clock::now()) {
        const auto rest = std::chrono::milliseconds(terminal_ ? 100 : 30'000);
        if (out_ == nullptr || (now - shown_ < rest && m.step != steps_)) return;
        shown_ = now;
        const double spent = std::chrono::duration<double>(now - began_).count();
        const auto done = static_cast<double>(std::max<std::int64_t>(1, m.step - first_));
        const std::string text =
            progress_text(m, steps_, spent / done * static_cast<double>(steps_ - m.step));
        if (!terminal_) return print(text);
        std::fprintf(out_, "\r%s %s\033[K", bar_text(m.step, steps_, 16).c_str(), text.c_str());
        std::fflush(out_);
        bar_open_ = true;
    }

    /// A line of its own, below what the bar showed.
    void note(const std::string& text) {
        if (out_ == nullptr) return;
        end_bar();
        print(text);
    }

  private:
    void print(const std::string& text) {
        std::fprintf(out_, "%s\n", text.c_str());
        std::fflush(out_);
    }
    void end_bar() {
        if (std::exchange(bar_open_, false)) print("");
    }

    std::FILE* out_;
    bool terminal_, bar_open_ = false;
    std::int64_t first_, steps_;
    Clock::time_point began_, shown_;
};

}  // namespace mta::train
