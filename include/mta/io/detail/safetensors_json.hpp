// The pieces of a safetensors header as JSON text, byte for byte as the Python package writes them.
// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <mta/core/require.hpp>
#include <mta/io/detail/text.hpp>
#include <mta/io/dtype.hpp>
#include <mta/io/file.hpp>
#include <mta/io/stored_tensor.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mta::io {

/// Keys and values in file order.
using Metadata = std::vector<std::pair<std::string, std::string>>;

namespace detail {

/// `text` as a JSON string. Only quotes, backslashes and control characters are escaped; UTF-8 stays as it
/// is.
inline void append_json_text(std::string& json, std::string_view text) {
    constexpr std::string_view special = "\"\\\b\f\n\r\t";
    constexpr std::string_view escape = "\"\\bfnrt";
    json += '"';
    for (const char c : text) {
        const std::size_t n = special.find(c);
        if (n != special.npos)
            json += {'\\', escape[n]};
        else if (static_cast<unsigned char>(c) < 0x20)
            json += "\\u00" + hex_byte(static_cast<unsigned char>(c));
        else
            json += c;
    }
    json += '"';
}

/// The metadata as one member of the header object; a comma comes first unless it is the first member.
inline void append_metadata(std::string& json, const Metadata& metadata) {
    json += json.size() > 1 ? ",\"__metadata__\":{" : "\"__metadata__\":{";
    for (std::size_t n = 0; n < metadata.size(); ++n) {
        if (n > 0) json += ',';
        append_json_text(json, metadata[n].first);
        json += ':';
        append_json_text(json, metadata[n].second);
    }
    json += '}';
}

/// A tensor as one member of the header object.
inline void append_entry(std::string& json, const StoredTensor& t, std::uint64_t begin) {
    if (json.size() > 1) json += ',';
    append_json_text(json, t.name);
    json += ":{\"dtype\":\"" + std::string(dtype_name(t.dtype)) + "\",\"shape\":[";
    for (std::size_t axis = 0; axis < t.shape.size(); ++axis)
        json += (axis > 0 ? "," : "") + number_text(t.shape[axis]);
    json += "],\"data_offsets\":[" + number_text(begin) + "," + number_text(begin + t.bytes.size()) + "]}";
}

}  // namespace detail

}  // namespace mta::io
