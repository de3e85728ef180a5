// The axes of a line plot: from values to places, and where the numbers stand.
// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace mta::io::detail {

/// Values from one end of the frame to the other.
struct Axis {
    double low = 0, high = 1;
    bool log = false;

    /// 0 at the lower end, 1 at the upper; NaN for what is not finite. On a logarithmic axis, 0 and below are at 0.
    double part(double value) const {
        if (!std::isfinite(value)) return std::numeric_limits<double>::quiet_NaN();
        if (!log) return (value - low) / (high - low);
        return value > 0 ? (std::log(value) - std::log(low)) / (std::log(high) - std::log(low)) : 0;
    }
};

/// Smallest and largest value, of values that are finite.
using Range = std::optional<std::pair<double, double>>;

inline void widen(Range& range, double value) {
    if (!std::isfinite(value)) return;
    if (!range) range.emplace(value, value);
    range->first = std::min(range->first, value);
    range->second = std::max(range->second, value);
}

/// The smallest of 1, 2, 5, 10, 20, ... times a power of ten of which `size` holds at most `most`.
inline double nice_step(double size, double most) {
    const double least = size / most * (1 - 1e-9);
    const double decade = std::pow(10, std::floor(std::log10(least)));
    for (const double digit : {1, 2, 5})
        if (digit * decade >= least) return digit * decade;
    return 10 * decade;
}

/// An axis over the range; 0 to 1 without one. One value is put in the middle of an axis.
inline Axis linear_axis(const Range& range) {
    if (!range) return {};
    auto [low, high] = *range;
    const double size = std::max(std::abs(low), std::abs(high));
    if (high - low <= 1e-12 * size || size < 1e-280) {
        const double half = size < 1e-280 ? 0.5 : size / 2;
        low -= half, high += half;
    }
    return {low, high, false};
}

/// The axis moved out to whole steps, of which it then holds about `most`.
inline Axis whole_steps(Axis axis, double most) {
    const double step = nice_step(axis.high - axis.low, most);
    return {std::floor(axis.low / step + 1e-9) * step, std::ceil(axis.high / step - 1e-9) * step, false};
}

/// The numbers 1, 2, 5, 10, 20, ... next to a value above 0, itself included: the largest below and the smallest above.
inline std::pair<double, double> nice_neighbours(double value) {
    const double decade = std::pow(10, std::floor(std::log10(value)));
    double below = decade / 10, above = 10 * decade;
    for (const double digit : {0.5, 1.0, 2.0, 5.0, 10.0, 20.0}) {
        if (digit * decade <= value * (1 + 1e-9)) below = digit * decade;
        if (digit * decade >= value * (1 - 1e-9)) above = std::min(above, digit * decade);
    }
    return {below, above};
}

/// An axis from 1, 2 or 5 times a power of ten to another, around a range of values above 0; 0.1 to 1 without one.
inline Axis log_axis(const Range& range) {
    const auto [low, high] = range.value_or(std::pair{0.1, 1.0});
    // Values at the ends of double's range have no such neighbours.
    Axis axis{std::max(nice_neighbours(low).first, std::numeric_limits<double>::min()),
              std::min(nice_neighbours(high).second, std::numeric_limits<double>::max()), true};
    if (axis.low >= axis.high) axis.high = 10 * axis.low;
    return axis;
}

/// Numbers on a logarithmic axis: powers of ten, with 2 and 5 times them where there are few.
inline std::vector<double> log_ticks(const Axis& axis, double most) {
    const double first = std::floor(std::log10(axis.low) + 1e-9), last = std::log10(axis.high) + 1e-9;
    const double stride = std::max(1.0, std::ceil((last - first) / most));
    std::vector<double> ticks;
    for (double n = first; n <= last; n += stride)
        for (const double digit : {1, 2, 5}) {
            const double tick = digit * std::pow(10, n);
            const bool inside = tick >= axis.low * (1 - 1e-9) && tick <= axis.high * (1 + 1e-9);
            if (inside && (digit == 1 || last - first <= most / 3)) ticks.push_back(tick);
        }
    return ticks;
}

/// Where the numbers of an axis stand, at most `most` steps between them.
inline std::vector<double> axis_ticks(const Axis& axis, double most) {
    if (axis.log) return log_ticks(axis, most);
    std::vector<double> ticks;
    const double step = nice_step(axis.high - axis.low, most);
    const double first = std::ceil(axis.low / step - 1e-9);
    const auto count = static_cast<int>(
        std::min(axis.high / step + 1e-9 - first, most + 1));  // far from 0 a step may vanish
    for (int n = 0; n <= count; ++n)
        ticks.push_back((first + n) * step + 0.0);  // never -0
    return ticks;
}

/// Enough digits to tell ticks `step` apart.
inline std::string tick_label(double value, double step) {
    const double digits = value == 0 ? 1 : std::ceil(std::log10(std::abs(value) / step)) + 1;
    std::array<char, 40> text{};
    std::snprintf(text.data(), text.size(), "%.*g", static_cast<int>(std::clamp(digits, 6.0, 15.0)), value);
    return text.data();
}

inline std::vector<std::string> tick_labels(const std::vector<double>& ticks) {
    std::vector<std::string> labels;
    for (const double tick : ticks)
        labels.push_back(tick_label(tick, ticks.size() < 2 ? 1 : ticks[1] - ticks[0]));
    return labels;
}

/// The share [from, to] of the segment p q that lies in the unit square, from > to where none does: Liang and Barsky's
/// rule.
inline std::pair<double, double> inside_share(std::array<double, 2> p, std::array<double, 2> q) {
    double from = 0, to = 1;
    for (std::size_t axis = 0; axis < 2; ++axis) {
        const double d = q[axis] - p[axis];
        if (d == 0 && (p[axis] < 0 || p[axis] > 1)) return {1, 0};
        if (d == 0) continue;
        const double at_low = -p[axis] / d, at_high = (1 - p[axis]) / d;
        from = std::max(from, std::min(at_low, at_high));
        to = std::min(to, std::max(at_low, at_high));
    }
    return {from, to};
}

}  // namespace mta::io::detail
