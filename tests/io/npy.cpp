// Tests of io/npy.hpp: files of NumPy, our own files, and files meant to do harm.
// SPDX-License-Identifier: MIT
#include <mta/io/npy.hpp>

#include <doctest/doctest.h>

#include <mta/core/random.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "io_support.hpp"

namespace mta_test_npy {
using namespace mta::io;
using namespace mta::test;

namespace {

StoredTensor fixture(const std::string& stem) {
    return read_npy(io_fixtures + stem + ".npy");
}

/// A version 1.0 file of this header and `data` zero bytes.
Bytes file_of(std::string_view header, std::size_t data) {
    std::string text = "\x93NUMPY\x01";
    text += '\0';
    text += {static_cast<char>(header.size() & 0xFF), static_cast<char>(header.size() >> 8)};
    Bytes bytes = to_bytes(text + std::string(header));
    bytes.resize(bytes.size() + data);
    return bytes;
}

/// The sentence with which the file is refused; "nothing thrown" when it is not.
std::string refusal(const Bytes& bytes) {
    return sentence_of([&] { parse_npy(bytes, "hostile"); });
}

std::string header_of(const char* descr, const char* order, const char* shape) {
    return detail::sentence("{'descr': ", descr, ", 'fortran_order': ", order, ", 'shape': ", shape, ", }\n");
}

/// Checks a rank 3 fixture of the values f(0), f(1), ... in row-major order.
template <class T, class F>
void check_count(const T& t, F&& f) {
    for (mta::Index n = 0; n < t.size(); ++n)
        CHECK(t.data()[n] == f(n));
}

}  // namespace

TEST_CASE("hand values: a file written out") {
    const auto bytes = serialise_npy(bytes_tensor("t", {1, 2, 3}));
    const std::string dictionary = "{'descr': '|u1', 'fortran_order': False, 'shape': (3,), }";
    REQUIRE(bytes.size() == 128 + 3);
    CHECK(Bytes(bytes.begin(), bytes.begin() + 10) ==
          to_bytes(std::string_view("\x93NUMPY\x01\x00\x76\x00", 10)));
    CHECK(Bytes(bytes.begin() + 10, bytes.begin() + 128) ==
          to_bytes(dictionary + std::string(118 - dictionary.size() - 1, ' ') + "\n"));
    CHECK(bytes[130] == std::byte{3});
}

TEST_CASE("independent values: every type as NumPy wrote it") {
    const auto eighth = [](mta::Index n) { return static_cast<double>(n) / 8; };
    check_count(to_tensor<double, 3>(fixture("f8")), eighth);
    check_count(to_tensor<double, 2>(fixture("f4")), eighth);
    check_count(to_tensor<double, 1>(fixture("f2")), eighth);
    check_count(to_integer_tensor<std::int64_t, 3>(fixture("i8")), [](auto n) { return n - (1LL << 40); });
    check_count(to_integer_tensor<int, 2>(fixture("i4")), [](auto n) { return n - 5; });
    check_count(to_integer_tensor<int, 3>(fixture("u1")), [](auto n) { return n; });
    check_count(to_integer_tensor<bool, 2>(fixture("b1")), [](auto n) { return n % 3 == 0; });
    CHECK(to_tensor<double, 0>(fixture("scalar"))() == 2.5);
    CHECK(fixture("zero").shape == std::vector<std::int64_t>{0, 3});
    CHECK(fixture("wide").shape.size() == 19);
    CHECK(fixture("f8").shape == std::vector<std::int64_t>{2, 3, 4});
}

TEST_CASE("independent values: other byte order, element order and versions") {
    const auto eighth = [](mta::Index n) { return static_cast<double>(n) / 8; };
    for (const char* stem : {"big_f8", "big_f2", "big_i4", "fortran_big_i4"}) {
        const auto bytes = read_file(io_fixtures + stem + ".npy");
        check_contains({reinterpret_cast<const char*>(bytes.data()), 40}, "'descr': '>");
    }
    check_count(to_tensor<double, 2>(fixture("big_f8")), eighth);
    check_count(to_tensor<double, 2>(fixture("big_f2")), eighth);
    check_count(to_integer_tensor<int, 2>(fixture("big_i4")), [](auto n) { return n - 5; });
    check_count(to_tensor<double, 3>(fixture("fortran_f8")), eighth);
    check_count(to_integer_tensor<int, 2>(fixture("fortran_big_i4")), [](auto n) { return n - 5; });
    check_count(to_tensor<double, 2>(fixture("version2")), eighth);
    check_count(to_tensor<double, 2>(fixture("version3")), eighth);
    CHECK(fixture("fortran_f8").shape == std::vector<std::int64_t>{2, 3, 4});
}

TEST_CASE("independent values: row-major files of NumPy are written again with the same bytes") {
    for (const char* stem : {"f8", "f4", "f2", "i8", "i4", "u1", "b1", "scalar", "zero", "wide"}) {
        CAPTURE(std::string(stem));
        const auto bytes = read_file(io_fixtures + stem + ".npy");
        CHECK(serialise_npy(parse_npy(bytes)) == bytes);
    }
}

TEST_CASE("independent values: NumPy's padding where the header ends beside a multiple of 64") {
    const auto text = read_file(io_fixtures + "paddings.txt");
    std::istringstream lines(std::string(reinterpret_cast<const char*>(text.data()), text.size()));
    std::size_t rank = 0;
    std::int64_t last = 0;
    std::string expected;
    int compared = 0;
    while (lines >> rank >> last >> expected) {
        StoredTensor t{"t", DType::U8, std::vector<std::int64_t>(rank, 1),
                       Bytes(static_cast<std::size_t>(last))};
        t.shape.back() = last;
        std::string header;
        const auto bytes = serialise_npy(t);
        for (std::size_t n = 0; n < bytes.size() - t.bytes.size(); ++n)
            header += detail::hex_byte(std::to_integer<unsigned char>(bytes[n]));
        CHECK(header == expected);
        ++compared;
    }
    CHECK(compared == 6);
}

TEST_CASE("properties: headers that other writers produce") {
    for (const char* header : {"{'shape':(2,1),'descr':\"<f8\",'fortran_order':False}",
                               "{ 'descr' : '<f8' , 'shape' : ( 2 , ) , 'fortran_order' : True , } ",
                               "{'descr': '<f8', 'fortran_order': False, 'shape': (2,)}\n",
                               "{'descr': '>u1', 'fortran_order': False, 'shape': (16,)}"}) {
        CAPTURE(std::string(header));
        CHECK(refusal(file_of(header, 16)) == "nothing thrown");
    }
}

TEST_CASE("properties: random tensors come back, at any rank") {
    mta::Random random(11);
    for (int n = 0; n < 200; ++n) {
        StoredTensor t{"hostile", DType::I32, {}, {}};
        for (std::uint32_t axis = random.below(6); axis > 0; --axis)
            t.shape.push_back(random.below(4));
        t.bytes.resize(static_cast<std::size_t>(*byte_count(t.dtype, t.shape)));
        for (auto& byte : t.bytes)
            byte = static_cast<std::byte>(random.below(256));
        CHECK(parse_npy(serialise_npy(t), "hostile") == t);
    }
}

TEST_CASE("properties: every prefix is refused, and damage never crashes") {
    mta::Random random(12);
    int accepted = 0, refused = 0;
    for (const char* stem : {"f4", "scalar", "fortran_f8", "version2", "wide"}) {
        const auto bytes = read_file(io_fixtures + stem + ".npy");
        for (std::size_t size = 0; size < bytes.size(); ++size)
            REQUIRE(refusal(Bytes(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size))) !=
                    "nothing thrown");
        constexpr std::string_view spice = "{}()',: 0123456789<>|fiub\"\n\x00\xff";
        for (int n = 0; n < 4000; ++n) {
            auto damaged = bytes;
            for (std::uint32_t edits = 1 + random.below(2); edits > 0; --edits) {
                auto& byte = damaged[random.below(128)];
                if (random.below(2) == 0)
                    byte =
                        static_cast<std::byte>(spice[random.below(static_cast<std::uint32_t>(spice.size()))]);
                else
                    byte ^= static_cast<std::byte>(1 << random.below(8));
            }
            const auto sentence = refusal(damaged);
            REQUIRE((sentence == "nothing thrown" || sentence.starts_with("hostile: ")));
            sentence == "nothing thrown" ? ++accepted : ++refused;
        }
    }
    CHECK(accepted > 100);
    CHECK(refused > 10000);
}

TEST_CASE("errors: what stands before the header") {
    check_contains(refusal({}), "got '' as the first bytes, expected '\\x93NUMPY'");
    check_contains(refusal(to_bytes("\x93NUMPX\x01")), "got '\\x93NUMPX' as the first bytes");
    check_contains(refusal(to_bytes("\x93NUMPY")), "got 6 bytes, expected a format version");
    for (const auto& version :
         {std::string("\x00\x00", 2), std::string("\x04\x00", 2), std::string("\x01\x01")})
        check_contains(refusal(to_bytes("\x93NUMPY" + version)), "expected 1.0, 2.0 or 3.0");
    check_contains(refusal(to_bytes(std::string("\x93NUMPY\x01\x00\x01", 9))),
                   "got 9 bytes, expected a header length");
    check_contains(refusal(to_bytes(std::string("\x93NUMPY\x02\x00\x01\x00\x00", 11))),
                   "expected a header length");
    check_contains(refusal(to_bytes(std::string("\x93NUMPY\x01\x00\x03\x00{}", 12))),
                   "got a header length of 3, expected at most the 2 bytes that follow it");
    check_contains(refusal(to_bytes(std::string("\x93NUMPY\x02\x00\xff\xff\xff\xff", 12))),
                   "got a header length of 4294967295, expected at most 65535");
}

TEST_CASE("errors: hostile headers") {
    const struct {
        std::string header;
        const char* part;
    } rejects[] = {
        {"", "got its end at byte 0, expected '{'"},
        {"[]", "got '[]' at byte 0, expected '{'"},
        {"{}", "got not all of the keys"},
        {header_of("'<f8'", "False", "(2,)") + "x", "expected the end of the header"},
        {"{'descr': '<f8', 'shape': (2,)}", "got not all of the keys"},
        {"{'descr': '<f8', 'descr': '<f8', 'shape': (2,), 'fortran_order': False}", "got key 'descr' twice"},
        {"{'order': 'C'}", "got key 'order', expected"},
        {"{descr: '<f8'}", "expected a key in quotes"},
        {"{'descr", "expected a closing quote"},
        {"{'descr' '<f8'}", "expected ':'"},
        {"{'descr': '<f8' 'shape': (2,)}", "expected '}'"},
        {header_of("'<f3'", "False", "(2,)"), "got descr '<f3', expected f8, f4"},
        {header_of("'f8'", "False", "(2,)"), "got descr 'f8'"},
        {header_of("'=f8'", "False", "(2,)"), "got descr '=f8'"},
        {header_of("'|f8'", "False", "(2,)"), "got descr '|f8'"},
        {header_of("'|O'", "False", "(2,)"), "got descr '|O'"},
        {header_of("''", "False", "(2,)"), "got descr ''"},
        {header_of("'<c16'", "False", "(1,)"), "got descr '<c16'"},
        {header_of("[('x', '<f8')]", "False", "(2,)"), "structured types are not read"},
        {header_of("'<f8'", "0", "(2,)"), "expected True or False as fortran_order"},
        {header_of("'<f8'", "False", "2"), "expected '('"},
        {header_of("'<f8'", "False", "(2)"), "expected ',' after the only extent"},
        {header_of("'<f8'", "False", "(,)"), "expected a whole number"},
        {header_of("'<f8'", "False", "(-2,)"), "expected a whole number of at least 0"},
        {header_of("'<f8'", "False", "(2.0,)"), "expected ',' after the only extent"},
        {header_of("'<f8'", "False", "(2 1)"), "expected ',' after the only extent"},
        {header_of("'<f8'", "False", "(9223372036854775808,)"), "expected an extent of at most 2^63 - 1"},
        {header_of("'<f8'", "False", "(99999999999999999999999,)"), "expected an extent of at most 2^63 - 1"},
        {header_of("'<f8'", "False", "(4294967296, 4294967296)"), "expected a product that fits in 63 bits"},
        {header_of("'<f8'", "False", "(0, 9223372036854775807)"), "expected a product that fits in 63 bits"},
        {header_of("'<f8'", "False", "(3,)"), "got 16 bytes of data, expected 24 for F64 of shape [3]"},
        {header_of("'<f8'", "False", "(1,)"), "got 16 bytes of data, expected 8"},
    };
    for (const auto& reject : rejects) {
        CAPTURE(reject.header);
        const auto sentence = refusal(file_of(reject.header, 16));
        CHECK(sentence.starts_with("hostile: "));
        check_contains(sentence, reject.part);
    }
    std::string ones = "(";
    for (int n = 0; n < 65; ++n)
        ones += "1,";
    check_contains(refusal(file_of(header_of("'<f8'", "False", (ones + ")").c_str()), 8)),
                   "got more than 64 dimensions");
}

TEST_CASE("errors: what NumPy cannot hold is not written, and a failed write leaves the old file") {
    const TemporaryFolder folder("npy");
    write_npy(folder / "t.npy", bytes_tensor("t", {1}));
    const StoredTensor brain{"w", DType::BF16, {1}, Bytes(2)};
    CHECK(sentence_of([&] { write_npy(folder / "t.npy", brain); }) ==
          "serialise_npy: tensor 'w': got dtype BF16, expected a type that NumPy has");
    auto t = bytes_tensor("t", {1, 2});
    t.shape = {3};
    check_contains(sentence_of([&] { write_npy(folder / "t.npy", t); }), "got 2 bytes, expected 3");
    t.shape.assign(65, 1);
    t.bytes.resize(1);
    check_contains(sentence_of([&] { serialise_npy(t); }), "got 65 dimensions, expected at most 64");
    CHECK(to_integer_tensor<int, 1>(read_npy(folder / "t.npy"))(0) == 1);
    CHECK(folder.files() == std::vector<std::string>{"t.npy"});
    check_contains(sentence_of([&] { read_npy(folder / "absent"); }), "absent: No such file or directory");
}
}  // namespace mta_test_npy
