// CRC-32 of bytes, the checksum that zlib, PNG and gzip use.
// SPDX-License-Identifier: MIT
//
// Source   ISO 3309: polynomial 0x04C11DB7, bits reflected, start and end inverted. Check: "123456789" gives cbf43926.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace mta::train::detail {

using Crc32Table = std::array<std::array<std::uint32_t, 256>, 8>;

/// Row n holds the effect of a byte that n further bytes follow: eight bytes are then taken at once.
constexpr Crc32Table make_crc32_table() {
    Crc32Table table{};
    for (std::uint32_t byte = 0; byte < 256; ++byte) {
        std::uint32_t crc = byte;
        for (int bit = 0; bit < 8; ++bit)
            crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0xEDB88320u : 0u);
        table[0][byte] = crc;
    }
    for (std::size_t n = 1; n < table.size(); ++n)
        for (std::size_t byte = 0; byte < 256; ++byte)
            table[n][byte] = (table[n - 1][byte] >> 8) ^ table[0][table[n - 1][byte] & 255];
    return table;
}

inline constexpr Crc32Table crc32_table = make_crc32_table();

/// The checksum of these bytes.
inline std::uint32_t crc32(std::span<const std::byte> bytes) {
    std::uint32_t crc = 0xFFFFFFFFu;
    while (bytes.size() >= 8) {
        std::uint32_t next = 0;
        for (std::size_t n = 0; n < 8; ++n) {
            const auto byte = std::to_integer<std::uint32_t>(bytes[n]);
            const std::uint32_t mixed = n < 4 ? byte ^ ((crc >> (8 * n)) & 255) : byte;
            next ^= crc32_table[7 - n][mixed];
        }
        crc = next;
        bytes = bytes.subspan(8);
    }
    for (const std::byte byte : bytes)
        crc = (crc >> 8) ^ crc32_table[0][(crc ^ std::to_integer<std::uint32_t>(byte)) & 255];
    return ~crc;
}

/// Eight lower-case hexadecimal digits.
inline std::string crc32_text(std::uint32_t crc) {
    constexpr char digits[] = "0123456789abcdef";
    std::string text(8, '0');
    for (std::size_t n = 0; n < 8; ++n)
        text[n] = digits[(crc >> (28 - 4 * n)) & 15];
    return text;
}

}  // namespace mta::train::detail
