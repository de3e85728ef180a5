// Tests of io/safetensors.hpp, continued: files that are cut, damaged or meant to do harm.
// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <mta/core/random.hpp>
#include <mta/io/safetensors.hpp>
#include <string>

#include "hostile_headers.hpp"
#include "io_support.hpp"

namespace mta_test_safetensors_hostile {
using namespace mta::io;
using namespace mta::test;

TEST_CASE("properties: every prefix of a valid file is refused, and so is a longer file") {
    for (const char* stem : {"all_types", "names", "shapes", "no_tensors"}) {
        auto bytes = read_file(io_fixtures + stem + ".safetensors");
        for (std::size_t size = 0; size < bytes.size(); ++size) {
            const Bytes prefix(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
            REQUIRE_MESSAGE(refusal(prefix) != "accepted", stem, " cut to ", size, " bytes");
        }
        bytes.push_back(std::byte{0});
        CHECK(refusal(bytes) != "accepted");
    }
}

TEST_CASE("properties: damaged files are refused or read as another valid file, never a crash") {
    mta::Random random(7);
    int accepted = 0, refused = 0;
    const auto judge = [&](const Bytes& damaged) {
        try {
            const auto file = parse_safetensors(damaged);
            std::size_t data = 0;
            for (const auto& t : file.tensors)
                data += t.bytes.size();
            REQUIRE(8 + *file.header_size + data == damaged.size());
            REQUIRE(parse_safetensors(serialise_safetensors(file)) == file);
            ++accepted;
        } catch (const FileError& error) {
            REQUIRE(std::string(error.what()).starts_with("safetensors: "));
            ++refused;
        }
    };
    for (const char* stem : {"all_types", "names", "shapes"}) {
        const auto bytes = read_file(io_fixtures + stem + ".safetensors");
        const std::size_t head = 8 + *parse_safetensors(bytes).header_size;
        for (std::size_t at = 0; at < head; ++at)
            for (int bit = 0; bit < 8; ++bit) {
                auto damaged = bytes;
                damaged[at] ^= static_cast<std::byte>(1 << bit);
                judge(damaged);
            }
        constexpr std::string_view spice = "{}[]\",:0123456789-.eE \\u\x00\xff\xc3tn";
        for (int n = 0; n < 4000; ++n) {
            auto damaged = bytes;
            for (std::uint32_t edits = 1 + random.below(3); edits > 0; --edits) {
                const auto at = damaged.begin() +
                                static_cast<std::ptrdiff_t>(random.below(static_cast<std::uint32_t>(head)));
                const auto byte =
                    static_cast<std::byte>(spice[random.below(static_cast<std::uint32_t>(spice.size()))]);
                const auto kind = random.below(3);
                if (kind == 0) *at = byte;
                if (kind == 1) damaged.insert(at, byte);
                if (kind == 2) damaged.erase(at);
            }
            judge(damaged);
        }
    }
    CHECK(accepted > 100);
    CHECK(refused > 10000);
}

TEST_CASE("errors: the length in front of the header") {
    for (std::size_t size = 0; size < 8; ++size)
        check_contains(refusal(Bytes(size)),
                       mta::io::detail::sentence("got ", size, " bytes, expected at least 8"));
    CHECK(refusal(file_of("{}", 0, 3)) ==
          "hostile: got a header length of 3, expected at most the 2 bytes that follow it");
    check_contains(refusal(file_of("{}", 0, 100'000'001)), "length of 100000001, expected at most 100000000");
    check_contains(refusal(file_of("{}", 0, ~std::uint64_t{0})),
                   "length of 18446744073709551615, expected at most");
    check_contains(refusal(file_of("{}", 0, 100'000'000)), "expected at most the 2 bytes that follow it");
}

TEST_CASE("errors: every item of the reject list gets its sentence") {
    for (const auto& hostile : hostile_headers()) {
        CAPTURE(std::string(hostile.what));
        const auto sentence = refusal(file_of(hostile.header, hostile.data));
        CHECK(sentence.starts_with("hostile: "));
        CHECK(sentence.size() < 400);
        check_contains(sentence, hostile.part);
    }
}
}  // namespace mta_test_safetensors_hostile
