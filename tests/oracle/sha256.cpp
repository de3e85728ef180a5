// SHA-256 against the values that its standard publishes.
// SPDX-License-Identifier: MIT
#include <mta/oracle/sha256.hpp>
#include <span>
#include <string>
#include <string_view>

#include "support/checks.hpp"

namespace mta_test_sha256 {
namespace {

std::string digest(std::string_view text) {
    return mta::oracle::sha256(std::as_bytes(std::span(text)));
}

}  // namespace

TEST_CASE("sha256: independent values, the examples of FIPS 180-4") {
    CHECK(digest("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    CHECK(digest("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    CHECK(digest("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq") ==
          "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    CHECK(digest(std::string(1000000, 'a')) ==
          "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST_CASE("sha256: every byte counts, NUL bytes too") {
    const std::string zeros(3, '\0');
    CHECK(digest(zeros) != digest(zeros.substr(1)));
    CHECK(digest(zeros) != digest(""));
    std::string flipped = zeros;
    flipped.back() = '\1';
    CHECK(digest(flipped) != digest(zeros));
}
}  // namespace mta_test_sha256
