// Tests of train/json_fields.hpp: structs to JSON and back, and the first difference of two documents.
// SPDX-License-Identifier: MIT
#include <mta/train/json_fields.hpp>

#include <doctest/doctest.h>

#include <bit>
#include <limits>

#include "../io/io_support.hpp"

namespace mta_test_json_fields {

enum class Colour { red, green };

struct Inner {
    double ratio = 0.5;
    std::optional<Colour> colour;
    bool operator==(const Inner&) const = default;
};

struct Outer {
    std::int64_t count = -3;
    std::uint64_t seed = 7;
    bool flag = true;
    std::string text = "x";
    std::vector<Inner> list;
    bool operator==(const Outer&) const = default;
};

}  // namespace mta_test_json_fields

namespace mta::train {
template <>
struct JsonNames<mta_test_json_fields::Colour> {
    using Colour = mta_test_json_fields::Colour;
    static constexpr std::array<std::pair<std::string_view, Colour>, 2> names{
        {{"red", Colour::red}, {"green", Colour::green}}};
};
template <>
struct JsonFields<mta_test_json_fields::Inner> {
    template <class F, class C>
    static void for_each(F&& f, C& c) {
        f("ratio", c.ratio);
        f("colour", c.colour);
    }
};
template <>
struct JsonFields<mta_test_json_fields::Outer> {
    template <class F, class C>
    static void for_each(F&& f, C& c) {
        f("count", c.count);
        f("seed", c.seed);
        f("flag", c.flag);
        f("text", c.text);
        f("list", c.list);
    }
};
}  // namespace mta::train

namespace mta_test_json_fields {
using namespace mta::train;
using mta::test::sentence_of;

namespace {
Outer example() {
    return {-3, 7, true, "x", {{0.5, std::nullopt}, {0.25, Colour::green}}};
}
const std::string example_text =
    R"({"count":-3,"seed":7,"flag":true,"text":"x","list":[{"ratio":0.5,"colour":null},{"ratio":0.25,"colour":"green"}]})";

// What reading says when one member of the example is replaced.
std::string reading(const std::string& pointer, const Json& value) {
    Json json = to_json(example());
    json[Json::json_pointer(pointer)] = value;
    return sentence_of([&] { from_json<Outer>(json, "f.json: o"); });
}
}  // namespace

TEST_CASE("hand values: fields in order, nested, absent ones as null") {
    CHECK(to_json(example()).dump() == example_text);
    CHECK(from_json<Outer>(Json::parse(example_text), "here") == example());
}

TEST_CASE("properties: numbers keep their bits through text") {
    for (const double x : {0.1, -0.0, 1e-320, 1.7976931348623157e308, 1.0 / 3, 2.0}) {
        const double back = from_json<double>(Json::parse(to_json(x).dump()), "x");
        CHECK(std::bit_cast<std::uint64_t>(back) == std::bit_cast<std::uint64_t>(x));
    }
    constexpr auto largest = std::numeric_limits<std::uint64_t>::max();
    CHECK(from_json<std::uint64_t>(Json::parse(to_json(largest).dump()), "x") == largest);
    constexpr auto least = std::numeric_limits<std::int64_t>::min();
    CHECK(from_json<std::int64_t>(Json::parse(to_json(least).dump()), "x") == least);
}

TEST_CASE("errors: fields that are unknown, missing or of another kind are named with their path") {
    CHECK(reading("/cuont", 1) == "f.json: o: got the unknown field 'cuont', the nearest known is 'count'");
    CHECK(reading("/list/1/colour", "blue") ==
          "f.json: o.list[1].colour: got \"blue\", expected one of red, green");
    CHECK(reading("/count", 1.5) ==
          "f.json: o.count: got 1.5, expected an integer from -9223372036854775808 to 9223372036854775807");
    CHECK(reading("/count", std::uint64_t{1} << 63)
              .starts_with("f.json: o.count: got 9223372036854775808, expected"));
    CHECK(reading("/seed", -1) ==
          "f.json: o.seed: got -1, expected an integer from 0 to 18446744073709551615");
    CHECK(reading("/flag", 1) == "f.json: o.flag: got 1, expected true or false");
    CHECK(reading("/text", 1) == "f.json: o.text: got 1, expected a text");
    CHECK(reading("/list", 1) == "f.json: o.list: got 1, expected a list");
    CHECK(reading("/list/0", 1) == "f.json: o.list[0]: got 1, expected an object");
    CHECK(reading("/list/0/ratio", nullptr) == "f.json: o.list[0].ratio: got null, expected a number");
    Json missing = to_json(example());
    missing.erase("seed");
    CHECK(sentence_of([&] { from_json<Outer>(missing, "f.json: o"); }) ==
          "f.json: o.seed: got none, expected a value");
    CHECK(sentence_of<mta::ValueError>([] { to_json(std::numeric_limits<double>::quiet_NaN()); }) ==
          "to_json: got nan, expected a finite number");
}

TEST_CASE("hand values: the first difference, by the order of what is expected") {
    const Json expected = Json::parse(R"({"a":{"x":1,"y":[1,2]},"b":"t"})");
    const auto difference = [&](const char* got) {
        const auto found = first_difference(Json::parse(got), expected);
        return found ? found->sentence() : "none";
    };
    CHECK(difference(R"({"b":"t","a":{"y":[1,2],"x":1}})") == "none");
    CHECK(difference(R"({"b":"u","a":{"y":[1,3],"x":1}})") == "a.y[1]: got 3, expected 2");
    CHECK(difference(R"({"a":{"x":1,"y":[1,2,3]},"b":"t"})") == "a.y: got [1,2,3], expected [1,2]");
    CHECK(difference(R"({"a":{"x":2,"y":[1,2]},"b":"u"})") == "a.x: got 2, expected 1");
    CHECK(difference(R"({"a":{"x":1,"y":[1,2]}})") == "b: got none, expected \"t\"");
    CHECK(difference(R"({"a":{"x":1,"y":[1,2]},"b":"t","c":0})") == "c: got 0, expected none");
    CHECK(difference(R"({"a":5,"b":"t"})") == "a: got 5, expected {\"x\":1,\"y\":[1,2]}");
}

}  // namespace mta_test_json_fields
