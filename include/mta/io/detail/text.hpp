// Untrusted text: is it UTF-8, and how to show it in an error sentence.
// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <string>
#include <string_view>

namespace mta::io::detail {

/// Bytes of the UTF-8 sequence that begins text[at], or 0 when that is none (RFC 3629: no overlong form, no
/// surrogate, nothing above U+10FFFF).
constexpr std::size_t utf8_sequence(std::string_view text, std::size_t at) {
    const auto byte = [&](std::size_t n) { return static_cast<unsigned char>(text[at + n]); };
    const unsigned char first = byte(0);
    if (first < 0x80) return 1;
    if (first < 0xC2 || first > 0xF4) return 0;
    const std::size_t length = first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
    if (text.size() - at < length) return 0;
    for (std::size_t n = 1; n < length; ++n)
        if ((byte(n) & 0xC0) != 0x80) return 0;
    if (first == 0xE0 && byte(1) < 0xA0) return 0;
    if (first == 0xED && byte(1) > 0x9F) return 0;
    if (first == 0xF0 && byte(1) < 0x90) return 0;
    if (first == 0xF4 && byte(1) > 0x8F) return 0;
    return length;
}

/// Position of the first byte that is not UTF-8, or text.size().
constexpr std::size_t first_invalid_utf8(std::string_view text) {
    std::size_t at = 0;
    while (at < text.size()) {
        const std::size_t length = utf8_sequence(text, at);
        if (length == 0) return at;
        at += length;
    }
    return at;
}

/// Two lower-case hexadecimal digits.
inline std::string hex_byte(unsigned char byte) {
    constexpr std::string_view digits = "0123456789abcdef";
    return {digits[byte >> 4], digits[byte & 15]};
}

/// `text` between quotes, for a sentence on a terminal: control characters and invalid bytes become \xNN, and
/// a long text is cut.
inline std::string in_quotes(std::string_view text) {
    constexpr std::size_t longest = 80;
    std::string shown = "'";
    std::size_t at = 0;
    while (at < text.size() && at < longest) {
        const std::size_t length = utf8_sequence(text, at);
        const auto byte = static_cast<unsigned char>(text[at]);
        // U+0080 to U+009F, encoded C2 80 to C2 9F, are control characters too.
        const bool control =
            byte < 0x20 || byte == 0x7F || (byte == 0xC2 && length == 2 && text[at + 1] < '\xA0');
        if (length == 0 || control)
            shown += "\\x" + hex_byte(byte);
        else
            shown += text.substr(at, length);
        at += length == 0 || control ? 1 : length;
    }
    return shown + (at < text.size() ? "...'" : "'");
}

}  // namespace mta::io::detail
