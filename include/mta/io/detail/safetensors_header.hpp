// The JSON header of a safetensors file, from untrusted bytes to names, types, shapes and offsets.
// SPDX-License-Identifier: MIT
//
// Why not a parsed JSON document: the parser keeps the last of two equal keys, skips a byte order mark, stops
// at a NUL and takes any nesting. As a stream of events every key is seen, and whatever the format does not
// have (anything deeper than header > tensor > list included) is refused at the event, before it costs
// memory.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <mta/core/require.hpp>
#include <mta/io/detail/text.hpp>
#include <mta/io/dtype.hpp>
#include <mta/io/file.hpp>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mta::io::detail {

/// One tensor's entry; begin and end count bytes from the start of the data.
struct HeaderEntry {
    std::string name;
    DType dtype = DType::F64;
    std::vector<std::int64_t> shape;
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
};

struct SafetensorsHeader {
    std::vector<HeaderEntry> entries;  // in header order
    std::optional<std::vector<std::pair<std::string, std::string>>> metadata;
    std::size_t metadata_position = 0;  // how many entries came before it
};

inline constexpr std::string_view metadata_key = "__metadata__";
/// Libraries that tensors end up in stop at 64 dimensions or fewer.
inline constexpr std::size_t most_dimensions = 64;

/// Receives the parser's events; throws FileError at the first that the format does not allow.
class HeaderEvents final : public nlohmann::json_sax<nlohmann::json> {
  public:
    explicit HeaderEvents(std::string_view source) : source_{source} {}

    SafetensorsHeader take() { return std::move(header_); }

    bool null() override { refuse_value("null"); }
    bool boolean(bool value) override { refuse_value(value ? "true" : "false"); }
    // Called for numbers with a minus sign only, -0 among them.
    bool number_integer(number_integer_t value) override {
        refuse_value("the number " + (value == 0 ? std::string("-0") : number_text(value)));
    }
    bool number_float(number_float_t, const string_t& text) override {
        refuse_value("the number " + shorten(text));
    }
    bool binary(binary_t&) override { refuse_value("binary data"); }

    bool number_unsigned(number_unsigned_t value) override {
        if (place_ == Place::shape) return add_extent(value);
        if (place_ == Place::offsets) return add_offset(value);
        refuse_value("the number " + number_text(value));
    }

    bool string(string_t& text) override {
        if (place_ == Place::metadata) {
            header_.metadata->back().second = text;
            return true;
        }
        if (place_ != Place::tensor || field_ != Field::dtype) refuse_value("the text " + in_quotes(text));
        const auto dtype = dtype_of_name(text);
        check(dtype.has_value(), where(), ": got dtype ", in_quotes(text),
              ", expected F64, F32, F16, BF16, I64, I32, U8 or BOOL");
        entry().dtype = *dtype;
        return true;
    }

    bool start_object(std::size_t) override {
        if (place_ == Place::nowhere) return enter(Place::header);
        if (place_ != Place::header) refuse_value("an object");
        fields_seen_ = {};
        return enter(in_metadata_ ? Place::metadata : Place::tensor);
    }

    bool end_object() override {
        if (place_ == Place::tensor)
            for (std::size_t n = 0; n < field_names.size(); ++n)
                check(fields_seen_[n], where(), ": got no ", field_names[n],
                      ", expected dtype, shape and data_offsets");
        return enter(Place::header);
    }

    bool start_array(std::size_t) override {
        if (place_ != Place::tensor || field_ == Field::dtype) refuse_value("a list");
        offset_count_ = 0;
        return enter(field_ == Field::shape ? Place::shape : Place::offsets);
    }

    bool end_array() override {
        check(place_ == Place::shape || offset_count_ == 2, where(), ": got ", offset_count_,
              " data_offsets, expected 2");
        return enter(Place::tensor);
    }

    bool key(string_t& name) override {
        if (place_ == Place::header) return begin_entry(name);
        if (place_ == Place::tensor) return begin_field(name);
        check(metadata_names_.insert(name).second, "metadata key ", in_quotes(name),
              ": got it twice, expected it once");
        header_.metadata->emplace_back(name, std::string());
        return true;
    }

    bool parse_error(std::size_t position, const std::string& last,
                     const nlohmann::detail::exception&) override {
        fail("header: got text that is not JSON near byte ", position, ", at ", in_quotes(last),
             ", expected JSON");
    }

  private:
    enum class Place { nowhere, header, metadata, tensor, shape, offsets };
    enum class Field { dtype, shape, offsets };
    static constexpr std::array<std::string_view, 3> field_names{"dtype", "shape", "data_offsets"};

    template <class... Parts>
    [[noreturn]] void fail(const Parts&... parts) const {
        throw FileError(sentence(source_, ": ", parts...));
    }
    template <class... Parts>
    void check(bool ok, const Parts&... parts) const {
        if (!ok) fail(parts...);
    }

    static std::string shorten(const std::string& text) {
        return text.size() <= 40 ? text : text.substr(0, 40) + "...";
    }
    HeaderEntry& entry() { return header_.entries.back(); }
    bool enter(Place place) {
        place_ = place;
        return true;
    }

    /// Which part of the header an event belongs to, for sentences.
    std::string where() const {
        if (place_ == Place::nowhere) return "header";
        if (in_metadata_) return "header: " + std::string(metadata_key);
        return "tensor " + in_quotes(header_.entries.back().name);
    }

    [[noreturn]] void refuse_value(const std::string& got) const {
        if (place_ == Place::header) fail(where(), ": got ", got, ", expected an object");
        if (place_ == Place::metadata)
            fail("metadata key ", in_quotes(header_.metadata->back().first), ": got ", got,
                 ", expected a text");
        if (place_ == Place::shape || place_ == Place::offsets)
            fail(where(), ": got ", got, " in ", field_names[static_cast<std::size_t>(field_)],
                 ", expected whole numbers from 0 to 2^63 - 1");
        if (place_ == Place::tensor)
            fail(where(), ": got ", got, " as ", field_names[static_cast<std::size_t>(field_)], ", expected ",
                 field_ == Field::dtype ? "a text" : "a list of whole numbers");
        fail("header: got ", got, ", expected an object");
    }

    bool begin_entry(const std::string& name) {
        in_metadata_ = name == metadata_key;
        if (in_metadata_) {
            check(!header_.metadata.has_value(), "header: got __metadata__ twice, expected it once");
            header_.metadata.emplace();
            header_.metadata_position = header_.entries.size();
        } else {
            check(tensor_names_.insert(name).second, "tensor ", in_quotes(name),
                  ": got it twice, expected it once");
            header_.entries.push_back({name, DType::F64, {}, 0, 0});
        }
        return true;
    }

    bool begin_field(const std::string& name) {
        for (std::size_t n = 0; n < field_names.size(); ++n) {
            if (name != field_names[n]) continue;
            check(!std::exchange(fields_seen_[n], true), where(), ": got ", name, " twice, expected it once");
            field_ = static_cast<Field>(n);
            return true;
        }
        fail(where(), ": got unknown field ", in_quotes(name), ", expected dtype, shape and data_offsets");
    }

    bool add_extent(std::uint64_t value) {
        if (value > std::numeric_limits<std::int64_t>::max())
            refuse_value("the number " + number_text(value));
        check(entry().shape.size() < most_dimensions, where(), ": got more than ", most_dimensions,
              " dimensions in shape, expected at most ", most_dimensions);
        entry().shape.push_back(static_cast<std::int64_t>(value));
        return true;
    }

    bool add_offset(std::uint64_t value) {
        if (value > std::numeric_limits<std::int64_t>::max())
            refuse_value("the number " + number_text(value));
        check(offset_count_ < 2, where(), ": got more than 2 data_offsets, expected 2");
        (offset_count_++ == 0 ? entry().begin : entry().end) = value;
        return true;
    }

    std::string source_;
    SafetensorsHeader header_;
    std::set<std::string, std::less<>> tensor_names_;
    std::set<std::string, std::less<>> metadata_names_;
    std::array<bool, 3> fields_seen_{};
    Place place_ = Place::nowhere;
    Field field_ = Field::dtype;
    int offset_count_ = 0;
    bool in_metadata_ = false;
};

/// Throws FileError unless `text` is what may stand around and inside the JSON: begins with {, ends with }
/// and spaces, is UTF-8 and holds no NUL. The parser alone would let a byte order mark and anything after a
/// NUL pass.
inline void check_header_text(std::string_view source, std::string_view text) {
    const auto check = [&](bool ok, const auto&... parts) {
        require<FileError>(ok, source, ": header: ", parts...);
    };
    check(!text.starts_with("\xEF\xBB\xBF"), "got a byte order mark, expected { as the first byte");
    check(!text.empty(), "got 0 bytes, expected a JSON object");
    check(text.front() == '{', "got ", in_quotes(text.substr(0, 1)),
          " as the first byte, expected {, a JSON object");
    const std::size_t invalid = first_invalid_utf8(text);
    check(invalid == text.size(), "got invalid UTF-8 at byte ", invalid, ", expected UTF-8");
    const std::size_t nul = text.find('\0');
    check(nul == text.npos, "got a NUL at byte ", nul, ", expected JSON padded with spaces");
    const char last = text[text.find_last_not_of(' ')];
    check(last == '}', "got ", in_quotes({&last, 1}),
          " as the last byte before the padding, expected } and then spaces");
}

/// Throws FileError with `source` in front of the sentence.
inline SafetensorsHeader parse_safetensors_header(std::string_view source, std::string_view text) {
    check_header_text(source, text);
    HeaderEvents events(source);
    nlohmann::json::sax_parse(text.begin(), text.end(), &events);
    return events.take();
}

}  // namespace mta::io::detail
