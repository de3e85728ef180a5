// SHA-256 of a tensor's bytes, as files carry it in their metadata.
// SPDX-License-Identifier: MIT
#pragma once

#include <openssl/evp.h>

#include <array>
#include <cstddef>
#include <mta/io/detail/text.hpp>
#include <span>
#include <stdexcept>
#include <string>

namespace mta::oracle {

/// 64 lower-case hexadecimal digits.
inline std::string sha256(std::span<const std::byte> bytes) {
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned int size = 0;
    if (EVP_Digest(bytes.data(), bytes.size(), digest.data(), &size, EVP_sha256(), nullptr) != 1)
        throw std::runtime_error("sha256: the digest failed, expected libcrypto to provide SHA-256");
    std::string hex;
    for (unsigned int n = 0; n < size; ++n)
        hex += io::detail::hex_byte(digest[n]);
    return hex;
}

}  // namespace mta::oracle
