// The index map of the key-query convolution: hand-made runs, the definition tap by tap, and the errors.
// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <array>
#include <mta/core/key_query_taps.hpp>
#include <set>

namespace mta_test_key_query_taps {
using namespace mta;

namespace {

using Run = std::array<Index, 6>;  // u, v, p, begin, end, shift
using Tap = std::array<Index, 5>;  // j, u, v, p, q

std::vector<Run> runs_of(const KeyQueryTaps& taps, const Documents& documents, Index i, Index Sk) {
    std::vector<Run> runs;
    taps.of_query(documents, 0, i, Sk, [&](Index u, Index v, Index p, Index begin, Index end, Index shift) {
        runs.push_back({u, v, p, begin, end, shift});
    });
    return runs;
}

Index document_number(const std::vector<Index>& starts, Index position) {
    Index number = 0;
    for (const Index start : starts)
        number += start <= position ? 1 : 0;
    return number;
}

// The taps of query i straight from the definition: every candidate is asked every question.
std::set<Tap> taps_by_definition(const KeyQueryTaps& taps, const std::vector<Index>& starts, Index i,
                                 Index Sk) {
    const Index left = taps.key_padding == KeyPadding::right  ? 0
                       : taps.key_padding == KeyPadding::left ? taps.Ck - 1
                                                              : taps.Ck / 2;  // Ck is odd
    std::set<Tap> all;
    for (Index j = 0; j < Sk; ++j)
        for (Index u = 0; u < taps.Cq; ++u)
            for (Index v = 0; v < taps.Ck; ++v) {
                const Index p = i - taps.Cq + 1 + u, q = j - left + v;
                const bool inside = p >= 0 && q >= 0 && q < Sk;
                const bool allowed = taps.rule == TapRule::all || q <= i;
                if (!inside || !allowed) continue;
                const Index here = document_number(starts, i);
                if (document_number(starts, j) == here && document_number(starts, p) == here &&
                    document_number(starts, q) == here)
                    all.insert({j, u, v, p, q});
            }
    return all;
}

std::set<Tap> taps_of_runs(const std::vector<Run>& runs) {
    std::set<Tap> all;
    for (const auto& [u, v, p, begin, end, shift] : runs) {
        CHECK(begin < end);
        for (Index j = begin; j < end; ++j) {
            const bool is_new = all.insert({j, u, v, p, j + shift}).second;
            CHECK(is_new);  // a tap counted twice would double its weight
        }
    }
    return all;
}

}  // namespace

TEST_CASE("key_query_taps: hand values") {
    SUBCASE("keys to the left of the output") {
        CHECK(keys_to_the_left(1, KeyPadding::both) == 0);
        CHECK(keys_to_the_left(3, KeyPadding::both) == 1);
        CHECK(keys_to_the_left(11, KeyPadding::both) == 5);
        CHECK(keys_to_the_left(4, KeyPadding::left) == 3);
        CHECK(keys_to_the_left(1, KeyPadding::left) == 0);
        CHECK(keys_to_the_left(4, KeyPadding::right) == 0);
    }
    // A 2 x 3 kernel on 3 keys. Tap v reads key j + v - 1, tap u reads query i + u - 1.
    SUBCASE("all taps of the second query: v = 0 misses j = 0, v = 2 misses j = 2") {
        const std::vector<Run> expected{{0, 0, 0, 1, 3, -1}, {0, 1, 0, 0, 3, 0}, {0, 2, 0, 0, 2, 1},
                                        {1, 0, 1, 1, 3, -1}, {1, 1, 1, 0, 3, 0}, {1, 2, 1, 0, 2, 1}};
        CHECK(runs_of({2, 3, KeyPadding::both, TapRule::all}, {}, 1, 3) == expected);
    }
    SUBCASE("the first query has no query above it: u = 1 only") {
        const std::vector<Run> expected{{1, 0, 0, 1, 3, -1}, {1, 1, 0, 0, 3, 0}, {1, 2, 0, 0, 2, 1}};
        CHECK(runs_of({2, 3, KeyPadding::both, TapRule::all}, {}, 0, 3) == expected);
    }
    SUBCASE("not after query 1: key j + v - 1 <= 1, hence j < 3, 2, 1 for v = 0, 1, 2") {
        const std::vector<Run> expected{{0, 0, 0, 1, 3, -1}, {0, 1, 0, 0, 2, 0}, {0, 2, 0, 0, 1, 1},
                                        {1, 0, 1, 1, 3, -1}, {1, 1, 1, 0, 2, 0}, {1, 2, 1, 0, 1, 1}};
        CHECK(runs_of({2, 3, KeyPadding::both, TapRule::not_after_query}, {}, 1, 3) == expected);
    }
    SUBCASE("documents [0,2) and [2,5): query 2 reads neither query 1 nor keys 0 and 1") {
        const std::vector<Run> expected{{1, 0, 2, 3, 5, -1}, {1, 1, 2, 2, 5, 0}, {1, 2, 2, 2, 4, 1}};
        const Documents documents{std::vector<Index>{0, 2}};
        CHECK(runs_of({2, 3, KeyPadding::both, TapRule::all}, documents, 2, 5) == expected);
    }
    SUBCASE("documents: query 1 ends at key 1") {
        const std::vector<Run> expected{{0, 0, 0, 1, 2, -1}, {0, 1, 0, 0, 2, 0}, {0, 2, 0, 0, 1, 1},
                                        {1, 0, 1, 1, 2, -1}, {1, 1, 1, 0, 2, 0}, {1, 2, 1, 0, 1, 1}};
        const Documents documents{std::vector<Index>{0, 2}};
        CHECK(runs_of({2, 3, KeyPadding::both, TapRule::all}, documents, 1, 5) == expected);
    }
    SUBCASE("padding left reads j - 1 and j, padding right j and j + 1") {
        const std::vector<Run> left{{0, 0, 0, 1, 3, -1}, {0, 1, 0, 0, 3, 0}};
        const std::vector<Run> right{{0, 0, 0, 0, 3, 0}, {0, 1, 0, 0, 2, 1}};
        CHECK(runs_of({1, 2, KeyPadding::left, TapRule::all}, {}, 0, 3) == left);
        CHECK(runs_of({1, 2, KeyPadding::right, TapRule::all}, {}, 0, 3) == right);
    }
}

TEST_CASE("key_query_taps: the definition, tap by tap") {
    const std::vector<std::vector<Index>> packings{{0}, {0, 1, 4}, {0, 3, 4, 5}};
    for (const auto& starts : packings)
        for (const TapRule rule : {TapRule::all, TapRule::not_after_query})
            for (const KeyPadding padding : {KeyPadding::both, KeyPadding::left, KeyPadding::right})
                for (Index Cq = 1; Cq <= 4; ++Cq)
                    for (Index Ck = 1; Ck <= 5; ++Ck) {
                        if (padding == KeyPadding::both && Ck % 2 == 0) continue;
                        const KeyQueryTaps taps{Cq, Ck, padding, rule};
                        for (Index i = 0; i < 7; ++i) {
                            INFO("kernel ", Cq, " x ", Ck, ", query ", i, ", documents ", starts.size());
                            const auto runs = runs_of(taps, Documents{starts}, i, 7);
                            CHECK(taps_of_runs(runs) == taps_by_definition(taps, starts, i, 7));
                            CHECK(std::is_sorted(runs.begin(), runs.end()));  // u, then v ascend
                        }
                    }
}

TEST_CASE("key_query_taps: edge shapes") {
    SUBCASE("one token: the tap on the token itself") {
        const std::vector<Run> expected{{2, 1, 0, 0, 1, 0}};
        CHECK(runs_of({3, 3, KeyPadding::both, TapRule::all}, {}, 0, 1) == expected);
        CHECK(runs_of({3, 3, KeyPadding::both, TapRule::not_after_query}, {}, 0, 1) == expected);
    }
    SUBCASE("a kernel longer than the sequence") {
        const KeyQueryTaps taps{6, 11, KeyPadding::both, TapRule::all};
        for (Index i = 0; i < 3; ++i)
            CHECK(taps_of_runs(runs_of(taps, {}, i, 3)) == taps_by_definition(taps, {0}, i, 3));
    }
    SUBCASE("more queries than keys, and fewer") {
        const KeyQueryTaps taps{2, 3, KeyPadding::both, TapRule::all};
        for (const Index i : {0, 1, 6})
            CHECK(taps_of_runs(runs_of(taps, {}, i, 4)) == taps_by_definition(taps, {0}, i, 4));
        CHECK_NOTHROW(taps.check("f", {}, 1, 7, 4));
        CHECK_NOTHROW(taps.check("f", Documents{std::vector<Index>{0}}, 1, 4, 7));
    }
    SUBCASE("no key, no run") {
        CHECK(runs_of({2, 3, KeyPadding::both, TapRule::all}, {}, 0, 0).empty());
        CHECK_NOTHROW((KeyQueryTaps{2, 3, KeyPadding::both, TapRule::all}.check("f", {}, 0, 0, 0)));
    }
}

TEST_CASE("key_query_taps: errors") {
    const auto check = [](const KeyQueryTaps& taps, const Documents& documents, Index Sq, Index Sk) {
        taps.check("f", documents, 2, Sq, Sk);
    };
    const KeyQueryTaps good{2, 3, KeyPadding::both, TapRule::all};
    const KeyQueryTaps exact{2, 3, KeyPadding::both, TapRule::not_after_query};
    const Documents split{std::vector<Index>{0, 2}};
    CHECK_THROWS_WITH_AS(check({0, 3, KeyPadding::both, TapRule::all}, {}, 4, 4),
                         "f: kernel extents must be at least 1, got 0 x 3", ShapeError);
    CHECK_THROWS_WITH_AS(check({2, 0, KeyPadding::left, TapRule::all}, {}, 4, 4),
                         "f: kernel extents must be at least 1, got 2 x 0", ShapeError);
    CHECK_THROWS_WITH_AS(check({2, 4, KeyPadding::both, TapRule::all}, {}, 4, 4),
                         "f: key padding `both` needs an odd key extent, got 4", ShapeError);
    CHECK_NOTHROW(check({2, 4, KeyPadding::left, TapRule::all}, {}, 4, 4));
    CHECK_NOTHROW(check({2, 4, KeyPadding::right, TapRule::all}, {}, 4, 4));
    const char* const unequal =
        "f: got 4 queries and 5 keys, expected equal numbers with packed documents or taps "
        "`not_after_query`";
    CHECK_THROWS_WITH_AS(check(exact, {}, 4, 5), unequal, ShapeError);
    CHECK_THROWS_WITH_AS(check(good, split, 4, 5), unequal, ShapeError);
    CHECK_THROWS_WITH_AS(check(good, Documents{std::vector<Index>{0, 2, 2}}, 4, 4),
                         "f: document starts: got [0, 2, 2], expected strictly increasing", ValueError);
}
}  // namespace mta_test_key_query_taps
