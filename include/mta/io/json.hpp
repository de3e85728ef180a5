// JSON documents from untrusted text: what the parser would let pass in silence is refused.
// SPDX-License-Identifier: MIT
//
// Refused  a byte order mark, NUL bytes, text that is not UTF-8, a key that appears twice in an object,
//          nesting deeper than 32, a number too large for a double, anything after the document.
// Errors   FileError, one sentence: the source, where, what was found.
#pragma once

#include <mta/io/detail/text.hpp>
#include <mta/io/file.hpp>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace mta::io {

/// Objects keep the order of their keys.
using Json = nlohmann::ordered_json;

namespace detail {

inline constexpr std::size_t deepest_json = 32;

// Sees every event before a document is built of them.
class JsonGuard final : public nlohmann::json_sax<nlohmann::json> {
  public:
    explicit JsonGuard(std::string_view source) : source_{source} {}

    bool null() override { return true; }
    bool boolean(bool) override { return true; }
    bool number_integer(number_integer_t) override { return true; }
    bool number_unsigned(number_unsigned_t) override { return true; }
    bool number_float(number_float_t, const string_t&) override { return true; }
    bool string(string_t&) override { return true; }
    bool binary(binary_t&) override { return true; }
    bool start_object(std::size_t) override { return enter(); }
    bool end_object() override { return leave(); }
    bool start_array(std::size_t) override { return enter(); }
    bool end_array() override { return leave(); }
    bool key(string_t& name) override {
        require<FileError>(keys_.back().insert(name).second, source_, ": got the key ", in_quotes(name),
                           " twice in one object, expected it once");
        return true;
    }
    bool parse_error(std::size_t position, const std::string& token,
                     const nlohmann::json::exception& error) override {
        constexpr int out_of_range = 406;  // the parser's code for a number
        require<FileError>(error.id != out_of_range, source_, ": got the number ", in_quotes(token),
                           ", expected one that a double can hold");
        throw FileError(sentence(source_, ": got text that does not fit at byte ", position,
                                 ", expected one JSON document"));
    }

  private:
    bool enter() {
        require<FileError>(keys_.size() < deepest_json, source_, ": got nesting deeper than ", deepest_json,
                           " levels, expected less");
        keys_.emplace_back();
        return true;
    }
    bool leave() {
        keys_.pop_back();
        return true;
    }

    std::string_view source_;
    std::vector<std::set<std::string>> keys_;  // one set per open object or array
};

}  // namespace detail

/// The document in `text`; `source` begins every error sentence.
inline Json parse_json(std::string_view text, std::string_view source) {
    require<FileError>(!text.starts_with("\xEF\xBB\xBF"), source,
                       ": got a byte order mark, expected JSON text");
    require<FileError>(text.find('\0') == text.npos, source, ": got a NUL byte, expected JSON text");
    const std::size_t valid = detail::first_invalid_utf8(text);
    require<FileError>(valid == text.size(), source, ": got byte ", valid,
                       " that is not UTF-8, expected JSON text");
    detail::JsonGuard guard(source);
    nlohmann::json::sax_parse(text, &guard);
    return Json::parse(text);
}

/// The document in the file at `path`.
inline Json read_json(const std::filesystem::path& path) {
    constexpr std::uint64_t largest = std::uint64_t{1} << 24;
    const auto bytes = read_file(path, largest);
    return parse_json({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, path.native());
}

}  // namespace mta::io
