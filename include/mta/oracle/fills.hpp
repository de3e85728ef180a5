// Fills: what the inputs, parameters and cotangent of a case hold, each for a stated purpose.
// SPDX-License-Identifier: MIT
//
// Promise  every number is an integer of at most W bits (24, 11 or 8: the significand of the input type) times a
//          power of two, drawn by integer arithmetic alone: any language makes the same bits. The recipe in
//          words is docs/oracle/cases.md.
// Scale    ordinary fills keep scores and outputs of order 1: an element of a kernel with n taps, of a mix of n
//          heads or of a gate that sums n channels is of size 1/sqrt(n).
// Errors   ConfigError: an unknown fill. ValueError: a number that the input type cannot hold.
#pragma once

#include <mta/oracle/detail/fill_recipes.hpp>
#include <mta/oracle/problem.hpp>

namespace mta::oracle {

struct Fill {
    std::string_view name;
    std::string_view purpose;
};

/// Every fill, the ordinary one first.
inline constexpr std::array<Fill, 13> fills{{
    {"normal", "roughly normal inputs and parameters: the ordinary case"},
    {"uniform", "inputs uniform in [-1, 1): flat weights, in which lost keys show"},
    {"large-positive", "every score above 88: exp overflows in float unless the row maximum is subtracted"},
    {"large-negative",
     "every score below -88: masked zeros that take part in the maximum make all weights 0"},
    {"below-mask",
     "every allowed score below -1e4: a finite mask value wins over the keys it should lose to"},
    {"ties", "keys that repeat, so that scores are equal: ties of the maximum and of sparsemax's threshold"},
    {"offset", "inputs with mean 1: a missing zero mask or wrong padding leaks a large score"},
    {"tiny-values", "values of 2^-8: the norm's eps is of the size of the mean square"},
    {"denormal", "a quarter of the inputs are subnormal: flushing them may not turn into NaN or spread"},
    {"asymmetric", "taps, heads and channels distinct and none small: flips, transposes and shifts show"},
    {"exact-integers", "small integers: with a scale of a power of two every score is exact in float"},
    {"zero-scores", "queries of 0: all scores 0, so that weights over 2^k keys are exact"},
    {"one-hot", "scores that differ by 1024 or more: every row of weights is one-hot, exactly"},
}};

/// The fill of this name. Throws ConfigError naming the nearest one; `where` begins the sentence.
inline const Fill& fill_named(std::string_view name, std::string_view where = "fill") {
    std::vector<std::string_view> names;
    for (const auto& f : fills) {
        if (f.name == name) return f;
        names.push_back(f.name);
    }
    throw ConfigError(detail::sentence(where, ": unknown fill ", io::detail::in_quotes(name), ", ",
                                       io::nearest_or_all(name, names)));
}

/// Fills every tensor of the problem; shapes, configuration and dtype are there already.
inline void fill_problem(Problem& p, std::string_view fill, std::uint64_t seed) {
    fill_named(fill, "fill_problem");
    for_each_input(
        [&]<class T>(std::string_view name, T& t) {
            const detail::FillRecipe recipe(fill, name, t.dimensions(), p.config.attention, seed, p.dtype);
            for (Index n = 0; n < t.size(); ++n)
                t.data()[n] = detail::stored_exactly(recipe.element(n), p.dtype, name);
        },
        p);
}

}  // namespace mta::oracle
