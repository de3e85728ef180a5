// Headers that a safetensors reader must refuse, and what its sentence must say.
// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <mta/io/detail/little_endian.hpp>
#include <mta/io/file.hpp>
#include <mta/io/safetensors.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mta::test {

struct HostileHeader {
    const char* what;
    std::string header;
    std::size_t data;  // bytes that follow the header
    const char* part;  // of the sentence
};

/// One U8 tensor whose fields are given as JSON.
inline std::string tensor_json(std::string_view shape, std::string_view offsets,
                               std::string_view dtype = "\"U8\"") {
    return io::detail::sentence("{\"dtype\":", dtype, ",\"shape\":", shape, ",\"data_offsets\":", offsets,
                                "}");
}
inline std::string one_tensor(std::string_view shape, std::string_view offsets,
                              std::string_view dtype = "\"U8\"") {
    return "{\"t\":" + tensor_json(shape, offsets, dtype) + "}";
}

/// A file of this header and `data` bytes 0, 1, 2, ...; `claimed` replaces the true header length.
inline std::vector<std::byte> file_of(std::string_view header, std::size_t data,
                                      std::optional<std::uint64_t> claimed = {}) {
    std::vector<std::byte> bytes(8 + header.size() + data);
    io::detail::store_little_endian(claimed.value_or(header.size()), std::span(bytes));
    if (!header.empty()) std::memcpy(bytes.data() + 8, header.data(), header.size());
    for (std::size_t n = 0; n < data; ++n)
        bytes[8 + header.size() + n] = static_cast<std::byte>(n & 0xFF);
    return bytes;
}

/// The sentence with which the file is refused; "accepted" when it is not.
inline std::string refusal(const std::vector<std::byte>& bytes) {
    try {
        io::parse_safetensors(bytes, "hostile");
    } catch (const io::FileError& error) {
        return error.what();
    }
    return "accepted";
}

inline std::string repeated(std::string_view text, int times) {
    std::string all;
    for (int n = 0; n < times; ++n)
        all += text;
    return all;
}

/// Text that is not one JSON object.
inline std::vector<HostileHeader> text_rejects() {
    const std::string t = tensor_json("[2]", "[0,2]");
    return {
        {"empty header", "", 0, "got 0 bytes, expected a JSON object"},
        {"a list", "[1,2]", 0, "got '[' as the first byte, expected {"},
        {"a text", "\"{}\"", 0, "got '\"' as the first byte"},
        {"space first", " {}", 0, "got ' ' as the first byte"},
        {"byte order mark", "\xEF\xBB\xBF{}", 0, "got a byte order mark"},
        {"invalid UTF-8", "{\"a\xff\":" + t + "}", 2, "got invalid UTF-8 at byte 3"},
        {"overlong UTF-8", "{\"\xc0\xaf\":" + t + "}", 2, "got invalid UTF-8 at byte 2"},
        {"surrogate in UTF-8", "{\"\xed\xa0\x80\":" + t + "}", 2, "got invalid UTF-8 at byte 2"},
        {"above U+10FFFF", "{\"\xf4\x90\x80\x80\":" + t + "}", 2, "got invalid UTF-8 at byte 2"},
        {"cut UTF-8", "{}\xe6\xb3", 0, "got invalid UTF-8 at byte 2"},
        {"escaped lone surrogate", "{\"\\ud800\":" + t + "}", 2, "text that is not JSON"},
        {"NUL padding", std::string("{}\0\0", 4), 0, "got a NUL at byte 2"},
        {"NUL inside", std::string("{\"a\0\":1}", 8), 0, "got a NUL at byte 3"},
        {"NUL, then garbage", std::string("{}\0}", 4), 0, "got a NUL at byte 2"},
        {"garbage padding", "{}x", 0, "got 'x' as the last byte before the padding"},
        {"newline padding", "{}\n", 0, "got '\\x0a' as the last byte before the padding"},
        {"two objects", "{}{}", 0, "text that is not JSON"},
        {"comment", "{/**/}", 0, "text that is not JSON"},
        {"trailing comma", "{\"t\":" + t + ",}", 2, "text that is not JSON"},
        {"control character in a name", "{\"\t\":" + t + "}", 2, "text that is not JSON"},
        {"cut JSON", "{\"__metadata__\":{}", 0, "text that is not JSON"},
    };
}

/// Keys that repeat, are missing or are unknown, and values of the wrong kind.
inline std::vector<HostileHeader> key_rejects() {
    const std::string t = tensor_json("[2]", "[0,2]"), u = tensor_json("[2]", "[2,4]");
    return {
        {"duplicate tensor", "{\"t\":" + t + ",\"t\":" + u + "}", 4, "tensor 't': got it twice"},
        {"the same name escaped", "{\"t\":" + t + ",\"\\u0074\":" + u + "}", 4, "tensor 't': got it twice"},
        {"duplicate field", R"({"t":{"dtype":"U8","dtype":"U8","shape":[2],"data_offsets":[0,2]}})", 2,
         "got dtype twice"},
        {"duplicate shape", R"({"t":{"dtype":"U8","shape":[2],"shape":[2],"data_offsets":[0,2]}})", 2,
         "got shape twice"},
        {"duplicate offsets", R"({"t":{"dtype":"U8","shape":[2],"data_offsets":[0,2],"data_offsets":[0,2]}})",
         2, "got data_offsets twice"},
        {"duplicate metadata", R"({"__metadata__":{},"__metadata__":{}})", 0, "got __metadata__ twice"},
        {"duplicate metadata key", R"({"__metadata__":{"k":"1","k":"2"}})", 0,
         "metadata key 'k': got it twice"},
        {"unknown dtype", one_tensor("[2]", "[0,2]", "\"Q4\""), 2,
         "tensor 't': got dtype 'Q4', expected F64"},
        {"lower-case dtype", one_tensor("[2]", "[0,2]", "\"u8\""), 2, "got dtype 'u8'"},
        {"dtype is a number", one_tensor("[2]", "[0,2]", "8"), 2,
         "got the number 8 as dtype, expected a text"},
        {"dtype is null", one_tensor("[2]", "[0,2]", "null"), 2, "got null as dtype, expected a text"},
        {"no dtype", R"({"t":{"shape":[2],"data_offsets":[0,2]}})", 2, "tensor 't': got no dtype"},
        {"no shape", R"({"t":{"dtype":"U8","data_offsets":[0,2]}})", 2, "tensor 't': got no shape"},
        {"no offsets", R"({"t":{"dtype":"U8","shape":[2]}})", 2, "tensor 't': got no data_offsets"},
        {"no field, and a full tensor before", "{\"t\":" + t + ",\"u\":{}}", 2, "tensor 'u': got no dtype"},
        {"unknown field", R"({"t":{"dtype":"U8","shape":[2],"data_offsets":[0,2],"stride":[1]}})", 2,
         "got unknown field 'stride'"},
        {"entry is a number", R"({"t":3})", 0, "tensor 't': got the number 3, expected an object"},
        {"entry is a list", R"({"t":[]})", 0, "tensor 't': got a list, expected an object"},
    };
}

/// Offsets that do not share out the data, or disagree with the shape.
inline std::vector<HostileHeader> offset_rejects() {
    const std::string t = tensor_json("[2]", "[0,2]");
    return {
        {"one offset", one_tensor("[2]", "[2]"), 2, "got 1 data_offsets, expected 2"},
        {"no offsets at all", one_tensor("[2]", "[]"), 2, "got 0 data_offsets, expected 2"},
        {"three offsets", one_tensor("[2]", "[0,2,2]"), 2, "got more than 2 data_offsets"},
        {"offsets not in a list", one_tensor("[2]", "2"), 2, "got the number 2 as data_offsets"},
        {"reversed offsets", one_tensor("[2]", "[2,0]"), 2, "got data_offsets [2, 0], expected begin <= end"},
        {"overlap", "{\"t\":" + t + ",\"u\":" + tensor_json("[2]", "[1,3]") + "}", 3,
         "tensor 'u': got data from byte 1"},
        {"the same bytes twice", "{\"t\":" + t + ",\"u\":" + t + "}", 2,
         "(it overlaps the tensor before it)"},
        {"zero size inside another", "{\"t\":" + t + ",\"u\":" + tensor_json("[0]", "[1,1]") + "}", 2,
         "tensor 'u': got data from byte 1, expected from byte 2"},
        {"hole", "{\"t\":" + t + ",\"u\":" + tensor_json("[2]", "[3,5]") + "}", 5,
         "(no tensor owns the bytes between)"},
        {"not from 0", one_tensor("[2]", "[1,3]"), 3, "got data from byte 1, expected from byte 0"},
        {"tail", one_tensor("[2]", "[0,2]"), 3, "got 3 bytes of data, expected 2 (no tensor owns the rest)"},
        {"tail without tensors", "{}", 1, "got 1 bytes of data, expected 0"},
        {"beyond the end", one_tensor("[3]", "[0,3]"), 2,
         "got data up to byte 3, expected at most the 2 bytes"},
        {"overflow", one_tensor("[4294967296,4294967296]", "[0,0]"), 0,
         "expected a product that fits in 63 bits"},
        {"overflow beside a 0", one_tensor("[0,4294967296,4294967296]", "[0,0]"), 0, "fits in 63 bits"},
        {"overflow by the element size", one_tensor("[2305843009213693952]", "[0,0]", "\"F64\""), 0,
         "fits in 63 bits"},
        {"too few bytes", one_tensor("[3]", "[0,2]"), 2,
         "got 2 bytes of data, expected 3 for U8 of shape [3]"},
        {"too many bytes", one_tensor("[]", "[0,2]"), 2, "got 2 bytes of data, expected 1"},
        {"bytes of another type", one_tensor("[2]", "[0,2]", "\"F16\""), 2,
         "expected 4 for F16 of shape [2]"},
    };
}

/// Numbers that are no sizes, nesting, and metadata that is not text.
inline std::vector<HostileHeader> number_rejects() {
    return {
        {"negative extent", one_tensor("[-1]", "[0,2]"), 2,
         "got the number -1 in shape, expected whole numbers"},
        {"minus zero", one_tensor("[-0]", "[0,0]"), 0, "got the number -0 in shape"},
        {"fractional extent", one_tensor("[2.0]", "[0,2]"), 2, "got the number 2.0 in shape"},
        {"exponent", one_tensor("[2e0]", "[0,2]"), 2, "got the number 2e0 in shape"},
        {"extent above 2^63", one_tensor("[9223372036854775808]", "[0,2]"), 2,
         "got the number 9223372036854775808"},
        {"extent above 2^64", one_tensor("[18446744073709551617]", "[0,1]"), 1,
         "got the number 18446744073709551617"},
        {"infinite extent", one_tensor("[1e999]", "[0,1]"), 1, "text that is not JSON"},
        {"negative offset", one_tensor("[2]", "[-2,0]"), 2, "got the number -2 in data_offsets"},
        {"fractional offset", one_tensor("[2]", "[0,2.5]"), 2, "got the number 2.5 in data_offsets"},
        {"offset above 2^63", one_tensor("[2]", "[0,9223372036854775808]"), 2,
         "in data_offsets, expected whole"},
        {"text in shape", one_tensor("[\"2\"]", "[0,2]"), 2, "got the text '2' in shape"},
        {"list in shape", one_tensor("[[2]]", "[0,2]"), 2, "got a list in shape"},
        {"65 dimensions", one_tensor("[" + repeated("1,", 64) + "1]", "[0,1]"), 1,
         "got more than 64 dimensions"},
        {"deep lists", "{\"t\":{\"shape\":" + repeated("[", 100000) + "}", 0, "got a list in shape"},
        {"deep lists at once", "{\"t\":" + repeated("[", 100000) + "}", 0, "got a list, expected an object"},
        {"deep objects", repeated("{\"a\":", 50000) + "}", 0, "tensor 'a': got unknown field 'a'"},
        {"metadata is a text", R"({"__metadata__":"x"})", 0,
         "__metadata__: got the text 'x', expected an object"},
        {"metadata number", R"({"__metadata__":{"k":1}})", 0,
         "metadata key 'k': got the number 1, expected a text"},
        {"metadata null", R"({"__metadata__":{"k":null}})", 0, "metadata key 'k': got null, expected a text"},
        {"metadata truth", R"({"__metadata__":{"k":true}})", 0,
         "metadata key 'k': got true, expected a text"},
        {"metadata object", R"({"__metadata__":{"k":{}}})", 0,
         "metadata key 'k': got an object, expected a text"},
        {"metadata list", R"({"__metadata__":{"k":["v"]}})", 0,
         "metadata key 'k': got a list, expected a text"},
    };
}

inline std::vector<HostileHeader> hostile_headers() {
    std::vector<HostileHeader> all;
    for (const auto& part : {text_rejects(), key_rejects(), offset_rejects(), number_rejects()})
        all.insert(all.end(), part.begin(), part.end());
    return all;
}

}  // namespace mta::test
