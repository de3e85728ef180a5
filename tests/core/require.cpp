// Errors as sentences: what they say and what they are.
// SPDX-License-Identifier: MIT
#include <array>
#include <cstdint>
#include <limits>
#include <mta/core/require.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/checks.hpp"

namespace mta_test_require {
using namespace mta;

TEST_CASE("require: parts join into one sentence") {
    CHECK_THROWS_WITH_AS(require(false, "op: x: got ", 3, ", expected ", std::string("more")),
                         "op: x: got 3, expected more", ShapeError);
    CHECK_THROWS_WITH_AS(require<ValueError>(false, "op: flag: got ", true, ' ', 'c', " ", 2.5),
                         "op: flag: got true c 2.5", ValueError);
    CHECK_THROWS_WITH_AS(require(false, std::array<long, 3>{2, 0, -1}), "[2, 0, -1]", ShapeError);
    CHECK_THROWS_WITH_AS(require(false, std::vector<double>{}, std::vector<double>{0.5}), "[][0.5]",
                         ShapeError);
    CHECK_THROWS_WITH_AS(require(false, Tensor<float, 2>(4, 7).dimensions()), "[4, 7]", ShapeError);
    CHECK_THROWS_WITH_AS(require(false), "", ShapeError);
    CHECK_NOTHROW(require(true, "never said"));
}

TEST_CASE("require: numbers print as the shortest text that reads back") {
    const auto text = [](auto number) { return detail::text_of(number); };
    CHECK(text(0.1) == "0.1");
    CHECK(text(0.1F) == "0.1");
    CHECK(text(1.0 / 3) == "0.3333333333333333");
    CHECK(text(1e300) == "1e+300");
    CHECK(text(-0.0) == "-0");
    CHECK(text(5e-324) == "5e-324");
    CHECK(text(std::numeric_limits<double>::quiet_NaN()) == "nan");
    CHECK(text(-std::numeric_limits<double>::infinity()) == "-inf");
    CHECK(text(std::numeric_limits<std::int64_t>::min()) == "-9223372036854775808");
    CHECK(text(std::numeric_limits<std::uint64_t>::max()) == "18446744073709551615");
    CHECK(text(std::uint8_t{200}) == "200");
    CHECK(text(false) == "false");
}

TEST_CASE("require: both failures are invalid arguments, and neither is the other") {
    CHECK_THROWS_AS(require(false), ArgumentError);
    CHECK_THROWS_AS(require<ValueError>(false), ArgumentError);
    CHECK_THROWS_AS(require<ValueError>(false), std::invalid_argument);
    const auto kind = [](auto&& f) -> std::string {
        try {
            f();
        } catch (const ShapeError&) {
            return "shape";
        } catch (const ValueError&) {
            return "value";
        }
        return "none";
    };
    CHECK(kind([] { require(false); }) == "shape");
    CHECK(kind([] { require<ValueError>(false); }) == "value");
    CHECK(kind([] { require_same("x", 1, 2); }) == "shape");
    CHECK(kind([] { require<ValueError>(true); }) == "none");
}

TEST_CASE("require: equal values") {
    CHECK_NOTHROW(require_same("op: heads", 4, 4));
    CHECK_THROWS_WITH_AS(require_same("op: heads", 3, 4), "op: heads: got 3, expected 4", ShapeError);
    const double nan = std::numeric_limits<double>::quiet_NaN();
    CHECK_THROWS_AS(require_same("op: NaN is never as expected", nan, nan), ShapeError);
}

TEST_CASE("require: equal shapes") {
    const std::array<long, 2> two{2, 3};
    CHECK_NOTHROW(require_same_shape("op: x", two, std::vector<long>{2, 3}));
    CHECK_NOTHROW(require_same_shape("op: x", std::vector<long>{}, std::vector<long>{}));
    const auto refused = [&](const std::vector<long>& got, const char* sentence) {
        CHECK_THROWS_WITH_AS(require_same_shape("op: x", got, two), sentence, ShapeError);
    };
    refused({3, 2}, "op: x: got shape [3, 2], expected shape [2, 3]");  // transposed
    refused({1, 3}, "op: x: got shape [1, 3], expected shape [2, 3]");  // the first differs
    refused({2, 4}, "op: x: got shape [2, 4], expected shape [2, 3]");  // the last differs
    refused({2}, "op: x: got shape [2], expected shape [2, 3]");        // a prefix
    refused({2, 3, 1}, "op: x: got shape [2, 3, 1], expected shape [2, 3]");
    refused({6}, "op: x: got shape [6], expected shape [2, 3]");  // as many elements
    CHECK_NOTHROW(require_same_shape("op: x", Tensor<double, 2>(2, 3).dimensions(), two));
}
}  // namespace mta_test_require
