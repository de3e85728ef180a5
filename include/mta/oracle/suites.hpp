// Suites: lists of cases that are run together.
// SPDX-License-Identifier: MIT
//
// smoke        every option and most fills at lengths up to 33: cheap enough for every commit
// full         smoke, sizes at the edges of tiles of 32, 64 and 128, kernels, groups, documents, options in grids
// adversarial  every fill on several operators
// exact        data for which scores, weights or outputs are exact in float
// Seeds        case number n of a suite has seed 1000 * SuiteOptions::seed + n, so that no two cases share numbers.
// Errors       ConfigError: an unknown suite or profile, naming the nearest.
#pragma once

#include <mta/oracle/case.hpp>
#include <mta/oracle/detail/suite_cases.hpp>

namespace mta::oracle {

struct SuiteOptions {
    std::uint64_t seed = 0;
    io::DType dtype = io::DType::F32;
    std::string profile = "";  // not empty: the suite's shapes and fills with this profile's semantics
};

struct Suite {
    std::string_view name;
    std::string_view sentence;
    std::vector<std::string> (*descriptors)();
};

/// Every suite, the cheapest first.
inline constexpr std::array<Suite, 4> suites{{
    {"smoke", "every option and most fills at lengths up to 33", detail::smoke_cases},
    {"full", "smoke, tile edges up to 129, and options in grids", detail::full_cases},
    {"adversarial", "every fill on several operators", detail::adversarial_cases},
    {"exact", "scores, weights or outputs that are exact in float", detail::exact_cases},
}};

namespace detail {

// Extents and padding that a case has on this side or else on the other; groups of all heads where it has none.
inline void adopt_sizes(ScoreMixingConfig& side, const ScoreMixingConfig& own, const ScoreMixingConfig& other,
                        Index heads) {
    const auto& conv = own.has_conv() ? own : other;
    if (side.has_conv() && conv.has_conv())
        side = {conv.query_kernel, conv.key_kernel, conv.key_padding, side.mix_group};
    const auto& mix = own.has_mix() ? own : other;
    if (side.has_mix()) side.mix_group = mix.has_mix() ? mix.mix_group : heads;
}

}  // namespace detail

/// The sizes, padding, documents and fill of `c`, and everything else as the profile has it.
inline Case with_profile(const Case& c, const Profile& p) {
    Case made = c;
    auto& a = made.config.attention;
    const auto& own = c.config.attention;
    made.profile = p.name;
    a = p.config.attention;
    a.heads = own.heads;
    a.kv_heads = own.kv_heads;
    a.head_dim = own.head_dim;
    detail::adopt_sizes(a.pre, own.pre, own.post, own.heads);
    detail::adopt_sizes(a.post, own.post, own.pre, own.heads);
    return made;
}

/// The cases of a suite. With a profile, cases that become the same are listed once.
inline std::vector<Case> suite(std::string_view name, const SuiteOptions& options = {}) {
    std::vector<std::string_view> names;
    for (const auto& s : suites)
        names.push_back(s.name);
    const auto found = std::find(names.begin(), names.end(), name);
    require<ConfigError>(found != names.end(), "suite: unknown suite ", io::detail::in_quotes(name), ", ",
                         io::nearest_or_all(name, names));
    const Profile* wanted = options.profile.empty() ? nullptr : &profile(options.profile, "suite");
    std::vector<Case> cases;
    std::set<std::string> seen;
    for (const auto& descriptor : suites[static_cast<std::size_t>(found - names.begin())].descriptors()) {
        Case c = parse_case(descriptor);
        if (wanted != nullptr) c = with_profile(c, *wanted);
        if (!seen.insert(describe(c)).second) continue;
        c.seed = 1000 * options.seed + cases.size();
        c.dtype = options.dtype;
        cases.push_back(std::move(c));
    }
    return cases;
}

}  // namespace mta::oracle
