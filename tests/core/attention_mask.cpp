// Which keys a query may read: hand-made ranges, the definition spelled out, and the sentences of the errors.
// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <limits>
#include <mta/core/attention_mask.hpp>

namespace mta_test_attention_mask {
using namespace mta;

namespace {

const Documents two_five{std::vector<Index>{0, 2, 5}};  // documents [0,2), [2,5), [5,S)

std::vector<Index> list(std::initializer_list<Index> starts) {
    return starts;
}

// Says which document a position is in by counting starts, unlike the search of Documents::around.
Index document_number(const std::vector<Index>& starts, Index position) {
    Index number = 0;
    for (const Index start : starts)
        number += start <= position ? 1 : 0;
    return number;
}

}  // namespace

TEST_CASE("attention_mask: hand values") {
    SUBCASE("causal: a query reads keys up to its own position") {
        for (const MaskRule rule : {MaskRule::twice, MaskRule::exact}) {
            const AttentionMask mask{rule, {}};
            CHECK(mask.keys(0, 0, 5) == KeyRange{0, 1});
            CHECK(mask.keys(0, 2, 5) == KeyRange{0, 3});
            CHECK(mask.keys(0, 4, 5) == KeyRange{0, 5});
        }
    }
    SUBCASE("lookahead widens a causal range up to the end of the sequence") {
        const AttentionMask mask{MaskRule::exact, {}};
        CHECK(mask.keys(0, 2, 5, 1) == KeyRange{0, 4});
        CHECK(mask.keys(0, 2, 5, 2) == KeyRange{0, 5});
        CHECK(mask.keys(0, 2, 5, 3) == KeyRange{0, 5});
    }
    SUBCASE("none: every key, also when queries and keys differ in number") {
        const AttentionMask mask{MaskRule::none, {}};
        CHECK(mask.keys(0, 0, 5) == KeyRange{0, 5});
        CHECK(mask.keys(0, 7, 5, 3) == KeyRange{0, 5});
    }
    SUBCASE("a document ends where the next begins, the last at the end of the sequence") {
        CHECK(two_five.around(0, 0, 7) == KeyRange{0, 2});
        CHECK(two_five.around(0, 1, 7) == KeyRange{0, 2});
        CHECK(two_five.around(0, 2, 7) == KeyRange{2, 5});
        CHECK(two_five.around(0, 4, 7) == KeyRange{2, 5});
        CHECK(two_five.around(0, 5, 7) == KeyRange{5, 7});
        CHECK(two_five.around(0, 6, 7) == KeyRange{5, 7});
    }
    SUBCASE("causal inside a document; lookahead stops at the document's end") {
        const AttentionMask mask{MaskRule::twice, two_five};
        CHECK(mask.keys(0, 2, 7) == KeyRange{2, 3});
        CHECK(mask.keys(0, 3, 7) == KeyRange{2, 4});
        CHECK(mask.keys(0, 3, 7, 1) == KeyRange{2, 5});
        CHECK(mask.keys(0, 3, 7, 2) == KeyRange{2, 5});
        CHECK(mask.keys(0, 5, 7) == KeyRange{5, 6});
    }
    SUBCASE("none still hides other documents") {
        const AttentionMask mask{MaskRule::none, two_five};
        CHECK(mask.keys(0, 0, 7) == KeyRange{0, 2});
        CHECK(mask.keys(0, 3, 7) == KeyRange{2, 5});
    }
    SUBCASE("one list serves every batch row, several serve one row each") {
        const Documents per_row{std::vector<std::vector<Index>>{{0, 3}, {0}, {0, 1, 2}}};
        CHECK(two_five.around(2, 3, 7) == KeyRange{2, 5});
        CHECK(per_row.around(0, 3, 4) == KeyRange{3, 4});
        CHECK(per_row.around(1, 3, 4) == KeyRange{0, 4});
        CHECK(per_row.around(2, 1, 4) == KeyRange{1, 2});
        CHECK(per_row.around(2, 3, 4) == KeyRange{2, 4});
    }
    SUBCASE("contains: the end is outside") {
        CHECK(KeyRange{2, 4}.contains(2));
        CHECK(KeyRange{2, 4}.contains(3));
        CHECK_FALSE(KeyRange{2, 4}.contains(4));
        CHECK_FALSE(KeyRange{2, 4}.contains(1));
    }
    SUBCASE("single: no row is split") {
        CHECK(Documents().single());
        CHECK(Documents(list({0})).single());
        CHECK_FALSE(two_five.single());
        CHECK(Documents(std::vector<std::vector<Index>>{{0}, {0}}).single());
        CHECK_FALSE(Documents(std::vector<std::vector<Index>>{{0}, {0, 1}}).single());
    }
}

TEST_CASE("attention_mask: the definition, pair by pair") {
    const std::vector<std::vector<Index>> starts{{0, 1, 4}, {0, 6}};
    constexpr Index S = 8;
    for (const MaskRule rule : {MaskRule::twice, MaskRule::exact, MaskRule::none})
        for (const Index lookahead : {0, 2}) {
            const AttentionMask mask{rule, Documents{starts}};
            for (Index b = 0; b < 2; ++b)
                for (Index i = 0; i < S; ++i)
                    for (Index j = 0; j < S; ++j) {
                        const auto& row_starts = starts[static_cast<std::size_t>(b)];
                        const bool same = document_number(row_starts, i) == document_number(row_starts, j);
                        const bool visible = same && (rule == MaskRule::none || j <= i + lookahead);
                        INFO("batch row ", b, ", query ", i, ", key ", j, ", lookahead ", lookahead);
                        CHECK(mask.keys(b, i, S, lookahead).contains(j) == visible);
                    }
        }
}

TEST_CASE("attention_mask: edge shapes") {
    CHECK(AttentionMask{}.rule == MaskRule::twice);
    CHECK(AttentionMask{}.keys(0, 0, 1) == KeyRange{0, 1});
    CHECK(AttentionMask{}.keys(0, 0, 1, 5) == KeyRange{0, 1});
    CHECK_NOTHROW(AttentionMask{}.check("f", 0, 3, 3));
    CHECK_NOTHROW(AttentionMask{}.check("f", 2, 0, 0));
    CHECK_NOTHROW((AttentionMask{MaskRule::twice, Documents{list({0})}}.check("f", 0, 0, 0)));
    CHECK_NOTHROW((AttentionMask{MaskRule::none, {}}.check("f", 2, 3, 5)));
    CHECK_NOTHROW((AttentionMask{MaskRule::none, Documents{list({0})}}.check("f", 2, 3, 5)));
    CHECK_NOTHROW((AttentionMask{MaskRule::none, two_five}.check("f", 3, 6, 6)));
}

TEST_CASE("attention_mask: errors") {
    const auto check = [](MaskRule rule, const Documents& documents, Index Sq, Index Sk) {
        AttentionMask{rule, documents}.check("f", 2, Sq, Sk);
    };
    for (const MaskRule rule : {MaskRule::twice, MaskRule::exact})
        CHECK_THROWS_WITH_AS(
            check(rule, {}, 3, 5),
            "f: got 3 queries and 5 keys, expected equal numbers under a causal mask or packed documents",
            ShapeError);
    CHECK_THROWS_WITH_AS(
        check(MaskRule::none, two_five, 8, 7),
        "f: got 8 queries and 7 keys, expected equal numbers under a causal mask or packed documents",
        ShapeError);
    const Documents three_lists{std::vector<std::vector<Index>>{{0}, {0}, {0}}};
    CHECK_THROWS_WITH_AS(check(MaskRule::twice, three_lists, 7, 7),
                         "f: document starts: got 3 lists, expected 1 or one per batch row, 2", ShapeError);
    CHECK_THROWS_WITH_AS(check(MaskRule::twice, Documents{list({})}, 7, 7),
                         "f: document starts: got [], expected a list that begins with 0", ValueError);
    CHECK_THROWS_WITH_AS(check(MaskRule::twice, Documents{list({1, 2})}, 7, 7),
                         "f: document starts: got [1, 2], expected a list that begins with 0", ValueError);
    CHECK_THROWS_WITH_AS(check(MaskRule::none, Documents{list({0, 3, 3})}, 7, 7),
                         "f: document starts: got [0, 3, 3], expected strictly increasing", ValueError);
    CHECK_THROWS_WITH_AS(check(MaskRule::twice, Documents{list({0, 4, 2})}, 7, 7),
                         "f: document starts: got [0, 4, 2], expected strictly increasing", ValueError);
    CHECK_THROWS_WITH_AS(check(MaskRule::twice, Documents{list({0, 7})}, 7, 7),
                         "f: document starts: got [0, 7], expected all below the sequence length 7",
                         ValueError);
    const Documents bad_second{std::vector<std::vector<Index>>{{0, 2}, {0, 9}}};
    CHECK_THROWS_WITH_AS(check(MaskRule::twice, bad_second, 7, 7),
                         "f: document starts: got [0, 9], expected all below the sequence length 7",
                         ValueError);
}

TEST_CASE("attention_mask: any lookahead, however large, ends with the document") {
    const AttentionMask mask{MaskRule::exact, Documents(std::vector<Index>{0, 4})};
    for (const Index lookahead : {Index{100}, std::numeric_limits<Index>::max()}) {
        CHECK(mask.keys(0, 1, 9, lookahead) == KeyRange{0, 4});
        CHECK(mask.keys(0, 8, 9, lookahead) == KeyRange{4, 9});
    }
}
}  // namespace mta_test_attention_mask
