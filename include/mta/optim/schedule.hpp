// Learning-rate schedules: warm-up, then linear or cosine decay, or a plateau with a linear end.
// SPDX-License-Identifier: MIT
//
// Source   The schedules of the training code that arXiv:2504.00927 builds on (Meta Lingua); its language models use
//          `linear` with 375 warm-up updates. `hold_then_linear` is the trapezoid of Zhai et al., arXiv:2106.04560.
// Formula  rate = peak f(k), k = updates already done, w = warmup, n = total, r = min_ratio:
//          k < w             f = k / w                                        (not for `constant`)
//          k >= n            f = r                                            (not for `constant`)
//          linear            f = s r + (1 - s)                                s = (k - w) / (n - w)
//          cosine            f = r + (1 - r) (1 + cos(pi s)) / 2              s = (k - w) / (n - w)
//          hold_then_linear  f = 1 before k = n - d, then f = s r + (1 - s)   s = (k - (n - d)) / d
//                            d = decay_fraction n, rounded to the nearest integer
//          constant          f = 1, always: warm-up and min_ratio are ignored, as in that code
// Traps    1. With a warm-up the first update has rate 0: it moves the moments and no parameter.
//          2. The last of n updates sees k = n - 1, so the rate r itself is reached after the run only.
// Errors   ValueError: a peak, ratio, fraction, warm-up or total that cannot work; a negative update number.
#pragma once

#include <cmath>
#include <cstdint>
#include <mta/core/require.hpp>
#include <string_view>

namespace mta {

enum class ScheduleKind { constant, linear, cosine, hold_then_linear };

/// Choices fixed before training. Counts are in optimizer updates.
struct ScheduleConfig {
    ScheduleKind kind = ScheduleKind::constant;
    double peak = 1e-3;          // the learning rate where f is 1
    std::int64_t warmup = 0;     // updates
    std::int64_t total = 0;      // updates of the whole run; unused by `constant`
    double min_ratio = 0;        // f at the end, 0 to 1
    double decay_fraction = .3;  // of the total, `hold_then_linear` only

    /// First update, counted from 0, that is no longer on the plateau of `hold_then_linear`.
    std::int64_t decay_begin() const {
        return total - std::llround(decay_fraction * static_cast<double>(total));
    }
};

/// Throws ValueError with one sentence unless the schedule can work.
inline void check_config(const ScheduleConfig& c) {
    constexpr std::string_view f = "schedule: ";
    require<ValueError>(c.peak >= 0 && std::isfinite(c.peak), f, "peak: got ", c.peak,
                        ", expected finite and at least 0");
    if (c.kind == ScheduleKind::constant) return;
    require<ValueError>(c.warmup >= 0, f, "warmup: got ", c.warmup, " updates, expected at least 0");
    require<ValueError>(c.total > c.warmup, f, "total: got ", c.total, " updates, expected more than the ",
                        c.warmup, " of the warm-up");
    require<ValueError>(c.min_ratio >= 0 && c.min_ratio <= 1, f, "min_ratio: got ", c.min_ratio,
                        ", expected from 0 to 1");
    if (c.kind != ScheduleKind::hold_then_linear) return;
    require<ValueError>(c.decay_fraction >= 0 && c.decay_fraction <= 1, f, "decay_fraction: got ",
                        c.decay_fraction, ", expected from 0 to 1");
    require<ValueError>(c.decay_begin() >= c.warmup, f, "decay_fraction: got ", c.decay_fraction,
                        ", expected a decay that begins after the warm-up of ", c.warmup, " of the ", c.total,
                        " updates");
}

/// The factor f on the peak for the next update, after `completed_updates` of them.
inline double schedule_factor(const ScheduleConfig& c, std::int64_t completed_updates) {
    check_config(c);
    require<ValueError>(completed_updates >= 0, "schedule: completed_updates: got ", completed_updates,
                        ", expected at least 0");
    if (c.kind == ScheduleKind::constant) return 1;
    if (completed_updates < c.warmup)
        return static_cast<double>(completed_updates) / static_cast<double>(c.warmup);
    if (completed_updates >= c.total) return c.min_ratio;
    const std::int64_t begin = c.kind == ScheduleKind::hold_then_linear ? c.decay_begin() : c.warmup;
    if (completed_updates < begin) return 1;
    const double s = static_cast<double>(completed_updates - begin) / static_cast<double>(c.total - begin);
    if (c.kind == ScheduleKind::cosine)
        return c.min_ratio + 0.5 * (1 - c.min_ratio) * (1 + std::cos(3.141592653589793 * s));
    return s * c.min_ratio + (1 - s);
}

/// The learning rate of the next update, after `completed_updates` of them.
inline double learning_rate(const ScheduleConfig& c, std::int64_t completed_updates) {
    return c.peak * schedule_factor(c, completed_updates);
}

}  // namespace mta
