// Parameter groups: patterns, the order of rules, and sentences about rules that cannot work.
// SPDX-License-Identifier: MIT
#include <cmath>
#include <mta/optim/parameter_groups.hpp>
#include <string>
#include <vector>

#include "optim/sample_params.hpp"
#include "support/checks.hpp"
#include "support/tensors.hpp"

namespace mta_test_parameter_groups {
using namespace mta;
using namespace mta::test;

namespace {

// The definition, as short as it can be said.
bool matches_by_definition(std::string_view pattern, std::string_view name) {
    if (pattern.empty()) return name.empty();
    if (pattern[0] == '*')
        return matches_by_definition(pattern.substr(1), name) ||
               (!name.empty() && matches_by_definition(pattern, name.substr(1)));
    return !name.empty() && (pattern[0] == '?' || pattern[0] == name[0]) &&
           matches_by_definition(pattern.substr(1), name.substr(1));
}

// Every string of at most `length` of these letters.
std::vector<std::string> all_strings(std::string_view letters, std::size_t length) {
    std::vector<std::string> all{""};
    for (std::size_t n = 0; n < all.size(); ++n)
        if (all[n].size() < length)
            for (const char c : letters)
                all.push_back(all[n] + c);
    return all;
}

// What changes the name least, by trying: one edit of the name at a time, at most `most` of them.
std::size_t distance_by_definition(std::string_view pattern, const std::string& name, std::size_t most) {
    if (matches_by_definition(pattern, name)) return 0;
    if (most == 0) return 100;
    std::size_t least = 100;
    const auto attempt = [&](const std::string& edited) {
        least = std::min(least, 1 + distance_by_definition(pattern, edited, most - 1));
    };
    for (std::size_t n = 0; n <= name.size(); ++n)
        for (const char c : {'a', 'b'}) {
            attempt(std::string(name).insert(n, 1, c));
            if (n < name.size()) attempt(std::string(name).replace(n, 1, 1, c));
            if (n < name.size()) attempt(std::string(name).erase(n, 1));
        }
    return least;
}

std::vector<std::string> matched(std::string_view pattern) {
    std::vector<std::string> names;
    const auto params = sample_params<double>(1);
    SampleParams<double>::for_each(
        [&](std::string_view name, const auto&) {
            if (matches_pattern(pattern, name)) names.emplace_back(name);
        },
        params);
    return names;
}

using Names = std::vector<std::string>;

}  // namespace

TEST_CASE("parameter_groups: patterns by hand") {
    CHECK(matched("embedding.weight") == Names{"embedding.weight"});
    CHECK(matched("*").size() == 12);
    CHECK(matched("*.kernel") ==
          Names{"layers.0.mta.pre.kernel", "layers.0.mta.post.kernel", "layers.1.mta.post.kernel"});
    CHECK(matched("layers.1.*") == Names{"layers.1.w.weight", "layers.1.mta.post.kernel"});
    CHECK(matched("layers.?.w.*") == Names{"layers.0.w.weight", "layers.1.w.weight"});
    CHECK(matched("*norm*") == Names{"layers.0.mta.norm.weight", "norm.weight"});
    CHECK(matched("norm.weight") == Names{"norm.weight"});  // the whole name, not a part of it
    CHECK(matched("norm").empty());
    CHECK(matched("").empty());
    CHECK(matched("layers..w.weight").empty());
    CHECK(matches_pattern("layers.?.w", "layers.1.w"));
    CHECK(!matches_pattern("layers.?.w", "layers.10.w"));
    CHECK(matches_pattern("a*b*c", "a.b.b.c"));
    CHECK(!matches_pattern("a*b*c", "a.c.b"));
    CHECK(matches_pattern("", ""));
    CHECK(matches_pattern("***", ""));
    CHECK(!matches_pattern("?", ""));
    CHECK(!matches_pattern("[a]", "a"));  // brackets stand for themselves
    // Many stars must not take exponential time.
    const std::string as(20000, 'a');
    CHECK(!matches_pattern("*a*a*a*a*a*a*a*a*a*a*b", as));
    CHECK(matches_pattern("*a*a*a*a*a*a*a*a*a*a*", as));
}

TEST_CASE("parameter_groups: patterns against their definition") {
    const auto names = all_strings("ab", 5);
    int matching = 0;
    for (const std::string& pattern : all_strings("ab*?", 4))
        for (const std::string& name : names) {
            const bool want = matches_by_definition(pattern, name);
            matching += want;
            if (matches_pattern(pattern, name) != want) FAIL_CHECK("pattern ", pattern, ", name ", name);
            if ((detail::pattern_distance(pattern, name) == 0) != want)
                FAIL_CHECK("distance of pattern ", pattern, " and name ", name);
        }
    CHECK(matching > 3000);
    for (const std::string& pattern : all_strings("ab*?", 3))
        for (const std::string& name : all_strings("ab", 2))
            if (const std::size_t want = distance_by_definition(pattern, name, 3);
                detail::pattern_distance(pattern, name) != want)
                FAIL_CHECK("distance of pattern ", pattern, " and name ", name, ": expected ", want);
}

TEST_CASE("parameter_groups: later rules win, setting by setting") {
    const ParameterGroups groups{{{"*", 0.5, {}, {}},
                                  {"*.mta.*", 0.0, 4.0, {}},
                                  {"*.pre.*", {}, {}, true},
                                  {"layers.0.*", {}, 2.0, {}},
                                  {"*.pre.mix", {}, {}, false}}};
    const auto is = [&](const char* name, double weight_decay, double lr_scale, bool frozen) {
        const auto s = groups.settings_for(name, {0.1, 1, false});
        CAPTURE(name);
        CHECK(s.weight_decay == weight_decay);
        CHECK(s.lr_scale == lr_scale);
        CHECK(s.frozen == frozen);
    };
    is("embedding.weight", 0.5, 1, false);
    is("layers.0.w.weight", 0.5, 2, false);
    is("layers.0.mta.pre.kernel", 0, 2, true);
    is("layers.0.mta.pre.mix", 0, 2, false);
    is("layers.1.mta.post.kernel", 0, 4, false);
    check_rules(groups, sample_params<double>(1));
    // Without rules the defaults stay as they are.
    const auto s = ParameterGroups{}.settings_for("x", {0.25, 3, true});
    CHECK((s.weight_decay == 0.25 && s.lr_scale == 3 && s.frozen));
    const auto none = ParameterGroups{}.settings_for("x");
    CHECK((none.weight_decay == 0 && none.lr_scale == 1 && !none.frozen));
}

TEST_CASE("parameter_groups: errors") {
    const auto params = sample_params<double>(1);
    const auto says = [&](const ParameterRule& rule, const char* sentence) {
        const ParameterGroups groups{{{"*", {}, {}, {}}, rule}};
        CHECK_THROWS_WITH_AS(check_rules(groups, params), sentence, ValueError);
    };
    says({"layers.0.mta.pre.kernal", {}, {}, true},
         "parameter groups: pattern: got layers.0.mta.pre.kernal, which matches no parameter, expected one "
         "that does; "
         "the nearest is layers.0.mta.pre.kernel");
    says({"layers.7.*", 0.0, {}, {}},
         "parameter groups: pattern: got layers.7.*, which matches no parameter, expected one that does; the "
         "nearest is "
         "layers.0.w.weight");
    says({"norm.weights", 0.0, {}, {}},
         "parameter groups: pattern: got norm.weights, which matches no parameter, expected one that does; "
         "the nearest "
         "is norm.weight");
    says({"*", -0.5, {}, {}},
         "parameter groups: weight_decay for *: got -0.5, expected finite and at least 0");
    says({"*", {}, not_a_number, {}},
         "parameter groups: lr_scale for *: got nan, expected finite and at least 0");
    says({"*", {}, infinity, {}},
         "parameter groups: lr_scale for *: got inf, expected finite and at least 0");
    says({"*", {}, -1.0, {}}, "parameter groups: lr_scale for *: got -1, expected finite and at least 0");
    // Shapes without elements do, so a configuration is checked before anything is allocated.
    MultiTokenAttentionConfig config;
    config.pre = {2, 3};
    const auto shapes = make_multi_token_attention_params<ShapeOnly>(config);
    CHECK_NOTHROW(check_rules({{{"pre.kernel", {}, {}, true}}}, shapes));
    CHECK_THROWS_AS(check_rules({{{"post.kernel", {}, {}, true}}}, shapes), ValueError);
    // Where there are no parameters, none is near.
    CHECK_THROWS_WITH_AS(
        check_rules({{{"a", {}, {}, {}}}}, MultiTokenAttentionParams<double>{}),
        "parameter groups: pattern: got a, which matches no parameter, expected one that does", ValueError);
}
}  // namespace mta_test_parameter_groups
