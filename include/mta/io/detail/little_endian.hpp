// Numbers to and from little-endian bytes, on any machine.
// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace mta::io::detail {

/// The unsigned number in the first sizeof(Bits) bytes. The caller has checked that they are there.
template <class Bits>
constexpr Bits load_little_endian(std::span<const std::byte> bytes) {
    std::uint64_t bits = 0;
    for (std::size_t n = 0; n < sizeof(Bits); ++n)
        bits |= static_cast<std::uint64_t>(bytes[n]) << (8 * n);
    return static_cast<Bits>(bits);
}

/// Stores `bits` in the first sizeof(Bits) bytes of `into`.
template <class Bits>
constexpr void store_little_endian(Bits bits, std::span<std::byte> into) {
    for (std::size_t n = 0; n < sizeof(Bits); ++n)
        into[n] = static_cast<std::byte>((static_cast<std::uint64_t>(bits) >> (8 * n)) & 0xFF);
}

}  // namespace mta::io::detail
