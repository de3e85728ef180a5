// Doubles as hexadecimal text, exactly: "-0x1.8p+1" is -3.
// SPDX-License-Identifier: MIT
#pragma once

#include <charconv>
#include <cmath>
#include <mta/io/json.hpp>
#include <mta/oracle/detail/folder.hpp>
#include <mta/oracle/results.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace mta::oracle::detail {

/// As C99's %a, Python's float.hex and Java write and read it.
inline std::string hex_text(double x) {
    char digits[64];
    const auto end = std::to_chars(digits, digits + sizeof digits, std::abs(x), std::chars_format::hex).ptr;
    return (std::signbit(x) ? "-0x" : "0x") + std::string(digits, end);
}

/// Reads the number into `x`; false where the text is not all of one.
inline bool read_hex(std::string_view text, double& x) {
    const bool negative = text.starts_with('-');
    if (negative) text.remove_prefix(1);
    if (!text.starts_with("0x") || text.size() == 2 || text[2] == '-') return false;
    text.remove_prefix(2);
    const auto [end, error] =
        std::from_chars(text.data(), text.data() + text.size(), x, std::chars_format::hex);
    if (negative) x = -x;
    return error == std::errc() && end == text.data() + text.size();
}

/// {"name": {"shape": [...], "values": ["0x1p+0", ...]}, ...}
inline io::Json hex_tensors(const Results& results) {
    io::Json object = io::Json::object();
    for (const auto& t : results.tensors) {
        io::Json values = io::Json::array();
        for (const double x : t.values)
            values.push_back(hex_text(x));
        object[t.name] = {{"shape", t.shape}, {"values", std::move(values)}};
    }
    return object;
}

/// One case of a pocket document.
struct PocketCase {
    std::string descriptor;
    Results inputs, outputs;
};

inline NamedTensor read_hex_tensor(const std::string& name, const io::Json& entry, const std::string& where) {
    const bool members = entry.is_object() && entry.contains("shape") && entry["shape"].is_array() &&
                         entry.contains("values") && entry["values"].is_array();
    require<io::FileError>(members, where, ": got no shape and values, expected both as lists");
    NamedTensor t{name, {}, {}};
    std::size_t count = 1;
    for (const auto& extent : entry["shape"]) {
        const bool usable =
            extent.is_number_unsigned() && extent.get<std::uint64_t>() < (std::uint64_t{1} << 20);
        require<io::FileError>(usable && count < (std::size_t{1} << 40), where, ": shape: got ",
                               extent.dump(), ", expected a small integer");
        t.shape.push_back(extent.get<Index>());
        count *= extent.get<std::size_t>();
    }
    for (const auto& value : entry["values"]) {
        double number = 0;
        const bool read = value.is_string() && read_hex(value.get<std::string>(), number);
        require<io::FileError>(read, where, ": values: got ", value.dump(-1, ' ', true),
                               ", expected a hexadecimal float as text");
        t.values.push_back(number);
    }
    require<io::FileError>(t.values.size() == count, where, ": got ", t.values.size(), " values, expected ",
                           count, " for shape ", t.shape);
    return t;
}

inline Results read_hex_tensors(const io::Json& entry, const std::string& key, const std::string& where) {
    const auto found = entry.find(key);
    require<io::FileError>(found != entry.end() && found->is_object(), where, ": ", key,
                           ": got no object, expected tensors by name");
    Results results;
    for (const auto& [name, tensor] : found->items())
        results.put(
            read_hex_tensor(name, tensor, mta::detail::sentence(where, ": ", io::detail::in_quotes(name))));
    return results;
}

/// The cases of a pocket document.
inline std::vector<PocketCase> pocket_cases(const io::Json& document, const std::string& where,
                                            std::string_view schema) {
    require<io::FileError>(document.is_object(), where, ": got ", document.type_name(),
                           ", expected an object");
    const std::string got = TextMembers(document, where).text("schema");
    require<io::FileError>(got == schema, where, ": schema: got ", io::detail::in_quotes(got), ", expected '",
                           schema, "'");
    const auto list = document.find("cases");
    require<io::FileError>(list != document.end() && list->is_array() && !list->empty(), where,
                           ": cases: got none, expected a list");
    std::vector<PocketCase> cases;
    for (const auto& entry : *list) {
        const std::string at = mta::detail::sentence(where, ": case ", cases.size());
        require<io::FileError>(entry.is_object(), at, ": got ", entry.type_name(), ", expected an object");
        cases.push_back({TextMembers(entry, at).text("case"), read_hex_tensors(entry, "inputs", at),
                         read_hex_tensors(entry, "outputs", at)});
    }
    return cases;
}

}  // namespace mta::oracle::detail
