// Tests of io/nearest_name.hpp: the suggestion in "unknown name" sentences.
// SPDX-License-Identifier: MIT
#include <mta/io/nearest_name.hpp>

#include <doctest/doctest.h>

#include <string>
#include <string_view>
#include <vector>

namespace mta_test_nearest_name {
using mta::io::nearest_name;
using mta::io::nearest_or_all;
using mta::io::detail::edit_distance;

TEST_CASE("hand values: distances") {
    CHECK(edit_distance("", "") == 0);
    CHECK(edit_distance("", "abc") == 3);
    CHECK(edit_distance("abc", "") == 3);
    CHECK(edit_distance("kernel", "kernel") == 0);
    CHECK(edit_distance("kernel", "kernal") == 1);
    CHECK(edit_distance("kitten", "sitting") == 3);
    CHECK(edit_distance("ab", "ba") == 2);
    CHECK(edit_distance("flaw", "lawn") == 2);
}

TEST_CASE("hand values: names") {
    const std::vector<std::string> names{"pre.kernel", "pre.mix", "post.kernel", "norm.weight", "q"};
    CHECK(nearest_name("pre_kernel", names) == "pre.kernel");
    CHECK(nearest_name("post.kernl", names) == "post.kernel");
    CHECK(nearest_name("weight", names) == "norm.weight");
    CHECK(nearest_name("Q", names) == "q");
}

TEST_CASE("hand values: the nearest where it is near, else all") {
    const std::vector<std::string> names{"fp64", "fp32", "bf16-flash"};
    CHECK(nearest_or_all("bf16-flsh", names) == "the nearest known is 'bf16-flash'");
    CHECK(nearest_or_all("fp46", names) == "the nearest known is 'fp64'");  // half of the letters are right
    CHECK(nearest_or_all("f46", names) == "the nearest known is 'fp64'");
    CHECK(nearest_or_all("bf16", names) == "expected one of fp64, fp32, bf16-flash");
    CHECK(nearest_or_all("", names) == "expected one of fp64, fp32, bf16-flash");
    CHECK(nearest_or_all("S", std::vector<std::string_view>{"io"}) == "expected one of io");
    CHECK(nearest_or_all("x", std::vector<std::string>(40, "abc")).size() > 40 * 4);
    CHECK(nearest_or_all("x", std::vector<std::string>(41, "abc")) == "expected one of the 41 known names");
}

TEST_CASE("edge shapes: no candidates, ties, long names") {
    CHECK(nearest_name("x", std::vector<std::string>{}).empty());
    CHECK(nearest_name("c", std::vector<std::string_view>{"a", "b"}) == "a");
    const std::string hostile(10'000'000, 'x');
    CHECK(nearest_name(hostile, std::vector<std::string>{"y", std::string(64, 'x')}) == std::string(64, 'x'));
}

TEST_CASE("properties: symmetric, and the triangle inequality holds") {
    const std::vector<std::string> words{"", "a", "ab", "ba", "kernel", "kernels", "mix", "norm.weight"};
    for (const auto& a : words)
        for (const auto& b : words) {
            CHECK(edit_distance(a, b) == edit_distance(b, a));
            CHECK((edit_distance(a, b) == 0) == (a == b));
            for (const auto& c : words)
                CHECK(edit_distance(a, c) <= edit_distance(a, b) + edit_distance(b, c));
        }
}
}  // namespace mta_test_nearest_name
