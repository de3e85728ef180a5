// Tests of io/safetensors.hpp: files of the Python package, and files of our own.
// SPDX-License-Identifier: MIT
#include <mta/io/safetensors.hpp>

#include <doctest/doctest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "hostile_headers.hpp"
#include "io_support.hpp"

namespace mta_test_safetensors {
using namespace mta::io;
using namespace mta::test;

namespace {

constexpr const char* fixture_names[] = {"all_types", "names", "shapes", "no_tensors", "nothing", "rounding"};

}  // namespace

TEST_CASE("hand values: a file written out byte by byte") {
    SafetensorsFile file;
    file.tensors.push_back(bytes_tensor("a\"\n\x01\xc3\xa9", {7, 9}));
    file.metadata = Metadata{{"k", "v"}};
    const std::string header =
        "{\"__metadata__\":{\"k\":\"v\"},\"a\\\"\\n\\u0001\xc3\xa9\":{\"dtype\":\"U8\",\"shape\":[2],\"data_"
        "offsets\":[0,2]}}";
    Bytes expected = file_of(header + std::string((8 - header.size() % 8) % 8, ' '), 2);
    expected[expected.size() - 2] = std::byte{7};
    expected[expected.size() - 1] = std::byte{9};
    CHECK(serialise_safetensors(file) == expected);
    const auto read = parse_safetensors(expected);
    CHECK(read.tensors == file.tensors);
    CHECK(read.metadata == file.metadata);
    CHECK(read.metadata_value("k") == "v");
    CHECK_FALSE(read.metadata_value("K").has_value());
}

TEST_CASE("hand values: a new header is padded to the next multiple of 8, and not at all when it is one") {
    for (std::size_t length = 1; length <= 16; ++length) {
        const SafetensorsFile file{{}, Metadata{{std::string(length, 'k'), ""}}, {}, 0, {}};
        const std::size_t json = std::string_view("{\"__metadata__\":{\"\":\"\"}}").size() + length;
        CHECK(serialise_safetensors(file).size() == 8 + (json % 8 == 0 ? json : json + 8 - json % 8));
    }
}

TEST_CASE("independent values: every type as the Python package wrote it") {
    const auto file = read_safetensors(io_fixtures + "all_types.safetensors");
    REQUIRE(file.tensors.size() == 8);
    const double numbers[] = {-1.5, 0.0, 0.1, 1e-3, 65504.0, -0.0};
    const auto f64 = to_tensor<double, 2>(file, "f64");
    const auto f32 = to_tensor<double, 2>(file, "f32");
    const auto f32_as_float = to_tensor<float, 2>(file, "f32");
    const auto f16 = to_tensor<double, 1>(file, "f16");
    const auto bf16 = to_tensor<float, 1>(file, "bf16");
    const auto rounded = to_tensor<float, 2>(file, "f64", Narrowing::round);
    CHECK(f64.dimension(0) == 2);
    CHECK(f32.dimension(0) == 3);
    for (mta::Index n = 0; n < 6; ++n) {
        const double x = numbers[n];
        CHECK(std::bit_cast<std::uint64_t>(f64.data()[n]) == std::bit_cast<std::uint64_t>(x));
        CHECK(f32.data()[n] == static_cast<double>(static_cast<float>(x)));
        CHECK(f32_as_float.data()[n] == static_cast<float>(x));
        CHECK(f16(n) == from_half<double>(to_half(x)));
        CHECK(bf16(n) == from_bfloat16<float>(to_bfloat16(x)));
        CHECK(rounded.data()[n] == static_cast<float>(x));
    }
    const auto i64 = to_integer_tensor<std::int64_t, 1>(file, "i64");
    CHECK(i64(0) == std::numeric_limits<std::int64_t>::min());
    CHECK(i64(6) == std::numeric_limits<std::int64_t>::max());
    const auto i32 = to_integer_tensor<std::int64_t, 1>(file, "i32");
    CHECK(i32(0) == -2147483648LL);
    CHECK(i32(4) == 2147483647);
    CHECK(to_integer_tensor<int, 1>(file, "u8")(4) == 255);
    CHECK(to_integer_tensor<bool, 1>(file, "bool")(1) == false);
    CHECK(to_integer_tensor<bool, 1>(file, "bool")(2) == true);
}

TEST_CASE("independent values: names and metadata keep what the Python package wrote") {
    const auto file = read_safetensors(io_fixtures + "names.safetensors");
    for (const std::string name : {"", "a.b.c", "gewicht \xc3\xbc", "\xe6\xb3\xa8\xe6\x84\x8f",
                                   "\xf0\x9f\x99\x82", "quote\" back\\slash / tab\t nl\n\x01\x7f"})
        CHECK(file.find(name) != nullptr);
    const Metadata expected{{"z", "last key first"},
                            {"schl\xc3\xbcssel",
                             "Gr\xc3\xb6\xc3\x9f"
                             "e 3 \xc2\xb5m"},
                            {"a", "line\nbreak \"quoted\" \\ \x1f"},
                            {"empty", ""}};
    CHECK(file.metadata == expected);
}

TEST_CASE("independent values: files of the Python package are written again with the same bytes") {
    for (const char* stem : fixture_names) {
        CAPTURE(std::string(stem));
        const auto bytes = read_file(io_fixtures + stem + ".safetensors");
        auto file = parse_safetensors(bytes);
        CHECK(serialise_safetensors(file) == bytes);
        // And from nothing but names, types, shapes and values, in any order.
        std::reverse(file.tensors.begin(), file.tensors.end());
        SafetensorsFile built{std::move(file.tensors), std::move(file.metadata), {}, 0, {}};
        sort_as_python(built);
        CHECK(serialise_safetensors(built) == bytes);
    }
}

TEST_CASE("edge shapes: scalars, tensors without elements, files without tensors") {
    const auto file = read_safetensors(io_fixtures + "shapes.safetensors");
    CHECK(to_tensor<double, 0>(file, "scalar")() == 2.5);
    CHECK(to_tensor<float, 1>(file, "zero").size() == 0);
    CHECK(to_tensor<double, 3>(file, "zero_inside").dimension(2) == 2);
    CHECK(to_integer_tensor<int, 5>(file, "five")(0, 1, 2, 0, 3) == 23);
    CHECK(read_safetensors(io_fixtures + "no_tensors.safetensors").metadata_value("only") == "metadata");
    const auto nothing = read_safetensors(io_fixtures + "nothing.safetensors");
    CHECK(nothing.tensors.empty());
    CHECK_FALSE(nothing.metadata.has_value());
    const auto empty_metadata = parse_safetensors(file_of("{\"__metadata__\":{}}", 0));
    CHECK(empty_metadata.metadata == Metadata{});
    const std::string two = tensor_json("[2]", "[0,2]");
    CHECK(refusal(file_of("{\"t\":" + two + ",\"z\":" + tensor_json("[0]", "[0,0]") + "}", 2)) == "accepted");
    // Zero-size tensors may sit at any boundary, and an extent of 0 leaves the others free up to 63 bits.
    const std::string zero = tensor_json("[0,9223372036854775807]", "[2,2]");
    CHECK(refusal(file_of("{\"z\":" + zero + ",\"t\":" + tensor_json("[2]", "[0,2]") + "}", 2)) ==
          "accepted");
}

TEST_CASE("properties: every layout that the format allows is kept") {
    const std::string a = "\"a\":" + tensor_json("[2]", "[3,5]"), b = "\"b\":" + tensor_json("[3]", "[0,3]");
    const std::string metadata = "\"__metadata__\":{\"b\":\"1\",\"a\":\"2\"}";
    const std::string layouts[] = {
        "{" + a + "," + b + "}",                             // data in another order than the header
        "{" + a + "," + metadata + "," + b + "}",            // metadata between
        "{" + b + "," + a + "," + metadata + "}",            // metadata last
        "{" + b + "," + a + "}" + std::string(4096, ' '),    // padded to a page
        "{" + b + "," + a + ",\"__metadata__\":{}" + "}  ",  // not aligned at all
    };
    for (const auto& header : layouts) {
        CAPTURE(header);
        const Bytes bytes = file_of(header, 5);
        const auto file = parse_safetensors(bytes);
        CHECK(file.at("a").bytes == Bytes{std::byte{3}, std::byte{4}});
        CHECK(serialise_safetensors(file) == bytes);
    }
}

TEST_CASE("properties: an edited file keeps the order of the tensors that stayed") {
    auto file = parse_safetensors(
        file_of("{\"a\":" + tensor_json("[2]", "[1,3]") + ",\"b\":" + tensor_json("[1]", "[0,1]") + "}", 3));
    CHECK(file.data_order == std::vector<std::string>{"b", "a"});
    file.tensors.erase(file.tensors.begin());
    file.tensors.insert(file.tensors.begin(), bytes_tensor("new", {5}));
    file.metadata = Metadata{{"long", std::string(300, 'x')}};
    const auto read = parse_safetensors(serialise_safetensors(file));
    CHECK(read.tensor_names() == std::vector<std::string>{"new", "b"});
    CHECK(read.data_order == std::vector<std::string>{"b", "new"});
    CHECK(read.at("new").bytes == Bytes{std::byte{5}});
    CHECK(*read.header_size % 8 == 0);
}

TEST_CASE("errors: a missing tensor names the nearest") {
    const auto file = read_safetensors(io_fixtures + "all_types.safetensors");
    CHECK(sentence_of([&] { file.at("b16"); }) ==
          "tensor 'b16': got none of this name, the nearest is 'bf16'");
    CHECK(sentence_of([&] { to_tensor<double, 1>(file, "F16"); }) ==
          "tensor 'F16': got none of this name, the nearest is 'f16'");
    CHECK(sentence_of([&] { SafetensorsFile{}.at("q"); }) ==
          "tensor 'q': got none of this name, the file holds no tensors");
}

TEST_CASE("errors: what cannot be read again is not written") {
    const auto refused = [](std::vector<StoredTensor> tensors, std::optional<Metadata> metadata = {}) {
        const SafetensorsFile file{std::move(tensors), std::move(metadata), {}, 0, {}};
        return sentence_of([&] { serialise_safetensors(file); });
    };
    auto shape = bytes_tensor("t", {1, 2});
    shape.shape = {3};
    check_contains(refused({shape}), "tensor 't': got 2 bytes, expected 3 for U8 of shape [3]");
    shape.shape = {-2};
    check_contains(refused({shape}), "got shape [-2], expected extents of at least 0");
    shape.shape.assign(65, 1);
    shape.bytes.resize(1);
    check_contains(refused({shape}), "got 65 dimensions, expected at most 64");
    check_contains(refused({bytes_tensor("t", {}), bytes_tensor("t", {})}), "tensor 't': got it twice");
    check_contains(refused({bytes_tensor("__metadata__", {})}), "got a tensor named __metadata__");
    check_contains(refused({bytes_tensor("\xff", {})}), "tensor name: got '\\xff', expected UTF-8");
    check_contains(refused({}, Metadata{{"\xc3", ""}}), "metadata key: got '\\xc3', expected UTF-8");
    check_contains(refused({}, Metadata{{"k", "\xc3"}}), "metadata value: got '\\xc3', expected UTF-8");
    check_contains(refused({}, Metadata{{"k", "1"}, {"k", "1"}}), "metadata key 'k': got it twice");
    check_contains(refused({}, Metadata{{"k", std::string(100'000'000, 'x')}}), "expected at most 100000000");
}

TEST_CASE("errors: files carry their path, and a failed write leaves the old file") {
    const TemporaryFolder folder("safetensors");
    const auto path = folder / "t.safetensors";
    write_safetensors(path, SafetensorsFile{{bytes_tensor("t", {1})}, {}, {}, 0, {}});
    const SafetensorsFile twice{{bytes_tensor("t", {2}), bytes_tensor("t", {3})}, {}, {}, 0, {}};
    CHECK_THROWS_AS(write_safetensors(path, twice), FileError);
    CHECK(read_safetensors(path).at("t").bytes == Bytes{std::byte{1}});
    check_contains(sentence_of([&] { read_safetensors(folder / "absent"); }),
                   "absent: No such file or directory");
    check_contains(sentence_of([&] { read_safetensors(path, 10); }), "bytes, expected at most 10");
    write_file_atomically(path, Bytes(4));
    CHECK(sentence_of([&] { read_safetensors(path); }) ==
          path.native() + ": got 4 bytes, expected at least 8, which hold the length of the header");
    CHECK(folder.files() == std::vector<std::string>{"t.safetensors"});
}
}  // namespace mta_test_safetensors
