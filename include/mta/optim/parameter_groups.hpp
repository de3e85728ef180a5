// Parameter groups: weight decay, learning rate and freezing chosen by the names of parameters.
// SPDX-License-Identifier: MIT
//
// Patterns  * stands for any number of characters, dots included, ? for exactly one; everything else for
//           itself. The whole name must match: "*.mta.*" finds layers.0.attention.mta.pre.kernel.
// Order     A later rule wins over an earlier one, setting by setting; what no rule sets keeps its default.
// Errors    ValueError: a pattern that matches no parameter, a decay or a scale that is negative or not finite.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <mta/core/parameters.hpp>
#include <mta/core/require.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mta {

/// What an optimizer does with one tensor.
struct ParameterSettings {
    double weight_decay = 0;
    double lr_scale = 1;  // times the learning rate of the step, for the update and for the decay
    bool frozen = false;  // no bit of the tensor or of its optimizer state changes
};

/// Settings for the parameters whose names match a pattern; what is absent stays as it was.
struct ParameterRule {
    std::string pattern;
    std::optional<double> weight_decay;
    std::optional<double> lr_scale;
    std::optional<bool> frozen;
};

/// Whether the whole name matches the pattern: * any characters, ? one.
inline bool matches_pattern(std::string_view pattern, std::string_view name) {
    constexpr std::size_t none = std::string_view::npos;
    std::size_t p = 0, n = 0, star = none, resume = 0;
    while (n < name.size()) {
        if (p < pattern.size() && pattern[p] == '*') {
            star = p++;
            resume = n;
        } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == name[n])) {
            ++p;
            ++n;
        } else if (star != none) {  // the last star takes one character more
            p = star + 1;
            n = ++resume;
        } else {
            return false;
        }
    }
    return pattern.find_first_not_of('*', p) == none;
}

/// Rules by name; none: every parameter keeps the defaults.
struct ParameterGroups {
    std::vector<ParameterRule> rules;

    /// The defaults, changed by every rule that matches the name, in order.
    ParameterSettings settings_for(std::string_view name, ParameterSettings defaults = {}) const {
        for (const ParameterRule& rule : rules) {
            if (!matches_pattern(rule.pattern, name)) continue;
            defaults.weight_decay = rule.weight_decay.value_or(defaults.weight_decay);
            defaults.lr_scale = rule.lr_scale.value_or(defaults.lr_scale);
            defaults.frozen = rule.frozen.value_or(defaults.frozen);
        }
        return defaults;
    }
};

namespace detail {

// Characters to insert, delete or change until the name matches the pattern; 0 when it does.
inline std::size_t pattern_distance(std::string_view pattern, std::string_view name) {
    std::vector<std::size_t> row(name.size() + 1), next(name.size() + 1);
    for (std::size_t n = 0; n <= name.size(); ++n)
        row[n] = n;
    for (const char c : pattern) {
        const bool star = c == '*';
        next[0] = row[0] + (star ? 0 : 1);
        for (std::size_t n = 1; n <= name.size(); ++n) {
            const bool same = star || c == '?' || c == name[n - 1];
            next[n] = std::min(
                {row[n - 1] + (same ? 0 : 1), row[n] + (star ? 0 : 1), next[n - 1] + (star ? 0 : 1)});
        }
        row.swap(next);
    }
    return row.back();
}

template <class Params>
std::string nearest_parameter(std::string_view pattern, const Params& params) {
    std::string nearest;
    std::size_t smallest = std::numeric_limits<std::size_t>::max();
    Params::for_each(
        [&](std::string_view name, const auto&) {
            const std::size_t distance = pattern_distance(pattern, name);
            if (distance >= smallest) return;
            smallest = distance;
            nearest = std::string(name);
        },
        params);
    return nearest;
}

inline void check_rule_value(const ParameterRule& rule, std::string_view what, double value) {
    require<ValueError>(value >= 0 && std::isfinite(value), "parameter groups: ", what, " for ", rule.pattern,
                        ": got ", value, ", expected finite and at least 0");
}

}  // namespace detail

/// Throws ValueError unless every rule matches a parameter of `params` (over any scalar, ShapeOnly too) and
/// its numbers can work.
template <class Params>
void check_rules(const ParameterGroups& groups, const Params& params) {
    for (const ParameterRule& rule : groups.rules) {
        detail::check_rule_value(rule, "weight_decay", rule.weight_decay.value_or(0));
        detail::check_rule_value(rule, "lr_scale", rule.lr_scale.value_or(1));
        bool found = false;
        Params::for_each(
            [&](std::string_view name, const auto&) { found = found || matches_pattern(rule.pattern, name); },
            params);
        if (found) continue;
        const std::string nearest = detail::nearest_parameter(rule.pattern, params);
        require<ValueError>(false, "parameter groups: pattern: got ", rule.pattern,
                            ", which matches no parameter, expected one that does",
                            nearest.empty() ? "" : "; the nearest is ", nearest);
    }
}

}  // namespace mta
