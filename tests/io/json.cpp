// Tests of io/json.hpp: JSON that is read, and text that is meant to do harm.
// SPDX-License-Identifier: MIT
#include <mta/io/json.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <fstream>
#include <string>
#include <vector>

#include "io_support.hpp"

namespace mta_test_json {
using namespace mta::io;
using namespace mta::test;

namespace {

std::string refusal(std::string_view text) {
    return sentence_of([&] { parse_json(text, "t.json"); });
}

std::string repeated(std::string_view text, int times) {
    std::string all;
    for (int n = 0; n < times; ++n)
        all += text;
    return all;
}

constexpr const char* cut_document =
    "{\"a\": [1, -2.5e3, \"\\u00e9\\n\"], \"b\": {\"c\": null, \"d\": true}}";

}  // namespace

TEST_CASE("json: hand values") {
    const Json j = parse_json(
        " {\"z\": [1, -2, 0.5, 1e-5], \"a\": {\"t\": true, \"n\": null}, \"s\": \"\\u00e9\"} \r\n\t",
        "t.json");
    CHECK(j.at("z").at(0) == 1);
    CHECK(j.at("z").at(1) == -2);
    CHECK(j.at("z").at(2) == 0.5);
    CHECK(j.at("z").at(3) == 1e-5);
    CHECK(j.at("a").at("t") == true);
    CHECK(j.at("a").at("n").is_null());
    CHECK(j.at("s") == "\xc3\xa9");
    CHECK(j.begin().key() == "z");  // the order of the file, not of the alphabet
    CHECK(parse_json("3", "t.json") == 3);
    CHECK(parse_json("\"{\"", "t.json") == "{");
    CHECK(parse_json("[]", "t.json").empty());
}

TEST_CASE("json: edge values of numbers") {
    CHECK(parse_json("18446744073709551615", "t.json").get<std::uint64_t>() == UINT64_MAX);
    CHECK(parse_json("-9223372036854775808", "t.json").get<std::int64_t>() == INT64_MIN);
    CHECK(parse_json("18446744073709551616", "t.json").is_number_float());
    CHECK(parse_json("-9223372036854775809", "t.json").is_number_float());
    CHECK(parse_json("1.7976931348623157e308", "t.json") == 1.7976931348623157e308);
    CHECK(parse_json("5e-324", "t.json") == 5e-324);
    CHECK(parse_json("1e-999", "t.json") == 0.0);  // rounds to 0, which is the nearest double
    CHECK(parse_json("0.1", "t.json").get<double>() == 0.1);
    CHECK(parse_json("8.0", "t.json").is_number_float());
}

TEST_CASE("json: properties, names repeat in different objects") {
    const Json j =
        parse_json(R"({"a": {"a": 1}, "b": [{"a": 2}, {"a": 3}], "c": {"b": {}, "c": {}}})", "t.json");
    CHECK(j.at("a").at("a") == 1);
    CHECK(j.at("b").at(1).at("a") == 3);
}

TEST_CASE("json: properties, a document cut anywhere is refused") {
    const std::string whole = cut_document;
    CHECK(parse_json(whole, "t.json").size() == 2);
    for (std::size_t size = 0; size < whole.size(); ++size) {
        CAPTURE(size);
        const std::string got = refusal(whole.substr(0, size));
        check_contains(got, "t.json: got text that does not fit at byte ");
        check_contains(got, ", expected one JSON document");
    }
}

TEST_CASE("json: properties, every byte may be damaged") {
    // Whatever comes, it is a document or one sentence.
    const std::string whole = cut_document;
    for (std::size_t at = 0; at < whole.size(); ++at)
        for (int byte = 0; byte < 256; ++byte) {
            std::string damaged = whole;
            damaged[at] = static_cast<char>(byte);
            const std::string got = refusal(damaged);
            if (got != "nothing thrown" && !got.starts_with("t.json: got ")) FAIL_CHECK(got);
        }
}

TEST_CASE("json: errors, duplicate keys") {
    const std::string twice = "t.json: got the key 'a' twice in one object, expected it once";
    CHECK(refusal(R"({"a": 1, "a": 1})") == twice);
    CHECK(refusal(R"({"a": 1, "b": 2, "a": 3})") == twice);
    CHECK(refusal(R"({"x": [{"y": {"a": 1, "a": 2}}]})") == twice);
    CHECK(refusal(R"({"a": {"b": [{}]}, "a": 1})") == twice);  // after inner objects were left
    CHECK(refusal("{\"a\": 1, \"\\u0061\": 2}") == twice);     // escaped, the same name
    CHECK(refusal(R"({"": 1, "": 2})") == "t.json: got the key '' twice in one object, expected it once");
    check_contains(refusal("{\"\\n\\u0000\": 1, \"\\n\\u0000\": 2}"), "the key '\\x0a\\x00' twice");
}

TEST_CASE("json: errors, bytes that are no text") {
    CHECK(refusal("\xEF\xBB\xBF{}") == "t.json: got a byte order mark, expected JSON text");
    CHECK(refusal(std::string_view("{}\0", 3)) == "t.json: got a NUL byte, expected JSON text");
    CHECK(refusal(std::string_view("\0{}", 3)) == "t.json: got a NUL byte, expected JSON text");
    CHECK(refusal(std::string_view("{\"a\0b\": 1}", 10)) == "t.json: got a NUL byte, expected JSON text");
    CHECK(refusal("{\"\xff\": 1}") == "t.json: got byte 2 that is not UTF-8, expected JSON text");
    CHECK(refusal("{}\xc3") == "t.json: got byte 2 that is not UTF-8, expected JSON text");        // cut
    CHECK(refusal("\"\xc0\xaf\"") == "t.json: got byte 1 that is not UTF-8, expected JSON text");  // overlong
    CHECK(refusal("\"\xed\xa0\x80\"") ==
          "t.json: got byte 1 that is not UTF-8, expected JSON text");  // surrogate
    check_contains(refusal(std::string_view("{\0}\0", 4)), "NUL");
    check_contains(refusal(std::string_view("{\0\"\0}\0", 6)), "NUL");  // UTF-16
}

TEST_CASE("json: errors, text that is no JSON") {
    const char* broken[] = {"",       " ",        "{",         "}",         "[1, 2",       "[1, 2]]",
                            "{} {}",  "{} x",     "{}{}",      "1 2",       "{\"a\"}",     "{\"a\": }",
                            "{a: 1}", "{'a': 1}", "[1,]",      "[,1]",      "{,}",         "{\"a\": 1,}",
                            "{1: 2}", "[1 2]",    "// x\n{}",  "/**/ {}",   "# x\n{}",     "nul",
                            "True",   "NaN",      "[NaN]",     "Infinity",  "[-Infinity]", "+1",
                            "01",     "1.",       ".5",        "0x10",      "1e",          "-",
                            "1_000",  "\"a",      "\"\\x\"",   "\"\\u12\"", "\"\\ud800\"", "\"\t\"",
                            "\"\n\"", "\v{}",     "\xc2\xa0{}"};
    for (const std::string text : broken) {
        CAPTURE(text);
        check_contains(refusal(text), "t.json: got text that does not fit at byte ");
    }
    CHECK(refusal("{} x") == "t.json: got text that does not fit at byte 4, expected one JSON document");
}

TEST_CASE("json: errors, numbers beyond double") {
    CHECK(refusal("1e999") == "t.json: got the number '1e999', expected one that a double can hold");
    CHECK(refusal("[-1e400]") == "t.json: got the number '-1e400', expected one that a double can hold");
    const std::string sentence = refusal("[" + repeated("9", 100000) + "]");
    check_contains(sentence, "t.json: got the number '999");
    CHECK(sentence.size() < 200);
}

TEST_CASE("json: errors, depth") {
    CHECK(refusal(repeated("[", 32) + repeated("]", 32)) == "nothing thrown");
    const std::string deep = "t.json: got nesting deeper than 32 levels, expected less";
    CHECK(refusal(repeated("[", 33) + repeated("]", 33)) == deep);
    CHECK(refusal(repeated("{\"a\":", 33) + "1" + repeated("}", 33)) == deep);
    CHECK(refusal(repeated("[", 1000000)) == deep);
    CHECK(refusal(repeated("{\"a\":[", 500000)) == deep);
    // Width is no depth: levels that were left do not count.
    CHECK(refusal("[" + repeated("[[]],", 1000) + "[]]") == "nothing thrown");
}

TEST_CASE("json: files") {
    const TemporaryFolder folder("json");
    const auto path = folder / "c.json";
    std::ofstream(path) << "{\"a\": 1}\n";
    CHECK(read_json(path).at("a") == 1);
    std::ofstream(path) << "{\"a\": 1, \"a\": 2}";
    CHECK(sentence_of([&] { read_json(path); }) ==
          path.native() + ": got the key 'a' twice in one object, expected it once");
    CHECK(sentence_of([&] { read_json(folder / "none.json"); }) ==
          "cannot read " + (folder / "none.json").native() + ": No such file or directory");
    std::ofstream(path) << std::string((1 << 24) + 1, ' ');
    check_contains(sentence_of([&] { read_json(path); }),
                   "it holds 16777217 bytes, expected at most 16777216");
}
}  // namespace mta_test_json
