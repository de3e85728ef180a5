// The header of an .npy file: a Python dictionary literal, from untrusted text and back.
// SPDX-License-Identifier: MIT
//
// Source  NumPy's format description (numpy.lib.format): {'descr': '<f8', 'fortran_order': False, 'shape':
// (3, 4), }.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <mta/core/require.hpp>
#include <mta/io/detail/text.hpp>
#include <mta/io/dtype.hpp>
#include <mta/io/file.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mta::io::detail {

struct NpyHeader {
    DType dtype = DType::F64;
    bool big_endian = false;
    bool fortran_order = false;  // the first dimension is contiguous
    std::vector<std::int64_t> shape;
};

/// NumPy's own limit on dimensions.
inline constexpr std::size_t most_npy_dimensions = 64;

/// NumPy's type code without the byte order, and the type it means.
inline constexpr std::array<std::pair<std::string_view, DType>, 7> npy_types{{{"f8", DType::F64},
                                                                              {"f4", DType::F32},
                                                                              {"f2", DType::F16},
                                                                              {"i8", DType::I64},
                                                                              {"i4", DType::I32},
                                                                              {"u1", DType::U8},
                                                                              {"b1", DType::BOOL}}};

/// Reads the dictionary from left to right; throws FileError at the first character that does not fit.
class NpyHeaderParser {
  public:
    NpyHeaderParser(std::string_view source, std::string_view text) : source_{source}, text_{text} {}

    NpyHeader parse() {
        expect('{');
        while (!accept('}')) {
            parse_item();
            if (accept(',')) continue;
            expect('}');
            break;
        }
        skip_spaces();
        if (at_ < text_.size() && text_[at_] == '\n') ++at_;
        if (at_ != text_.size()) refuse("the end of the header");
        check(seen_.descr && seen_.fortran_order && seen_.shape,
              "got not all of the keys, expected 'descr', 'fortran_order' and 'shape'");
        return std::move(header_);
    }

  private:
    template <class... Parts>
    void check(bool ok, const Parts&... parts) const {
        if (!ok) throw FileError(sentence(source_, ": header: ", parts...));
    }
    [[noreturn]] void refuse(std::string_view expected) const {
        const bool ended = at_ >= text_.size();
        throw FileError(sentence(source_, ": header: got ",
                                 ended ? "its end" : in_quotes(text_.substr(at_, 12)), " at byte ", at_,
                                 ", expected ", expected));
    }

    void skip_spaces() {
        while (at_ < text_.size() && text_[at_] == ' ')
            ++at_;
    }
    bool accept(char c) {
        skip_spaces();
        const bool there = at_ < text_.size() && text_[at_] == c;
        at_ += there ? 1 : 0;
        return there;
    }
    void expect(char c) {
        if (!accept(c)) refuse(in_quotes({&c, 1}));
    }
    bool accept_word(std::string_view word) {
        skip_spaces();
        const bool there = text_.substr(at_).starts_with(word);
        at_ += there ? word.size() : 0;
        return there;
    }

    /// A text between single or double quotes, without escapes.
    std::string_view parse_text(std::string_view what) {
        const char quote = accept('\'') ? '\'' : '"';
        if (quote == '"' && !accept('"')) refuse(what);
        const std::size_t end = text_.find(quote, at_);
        if (end == text_.npos) refuse("a closing quote");
        const auto text = text_.substr(at_, end - at_);
        at_ = end + 1;
        return text;
    }

    void parse_item() {
        const auto key = parse_text("a key in quotes");
        bool* const seen = key == "descr"           ? &seen_.descr
                           : key == "fortran_order" ? &seen_.fortran_order
                           : key == "shape"         ? &seen_.shape
                                                    : nullptr;
        check(seen != nullptr, "got key ", in_quotes(key), ", expected 'descr', 'fortran_order' and 'shape'");
        check(!std::exchange(*seen, true), "got key ", in_quotes(key), " twice, expected it once");
        expect(':');
        if (key == "descr")
            parse_type();
        else if (key == "shape")
            parse_shape();
        else
            parse_order();
    }

    void parse_order() {
        header_.fortran_order = accept_word("True");
        if (!header_.fortran_order && !accept_word("False")) refuse("True or False as fortran_order");
    }

    void parse_type() {
        const auto descr = parse_text("a type such as '<f8' (structured types are not read)");
        const char order = descr.empty() ? ' ' : descr.front();
        std::optional<DType> dtype;
        for (const auto& [code, type] : npy_types)
            if (!descr.empty() && descr.substr(1) == code) dtype = type;
        const bool one_byte = dtype.has_value() && dtype_size(*dtype) == 1;
        // One byte has no order: NumPy writes '|', other writers '<'.
        check(dtype.has_value() && (order == '<' || order == '>' || (order == '|' && one_byte)), "got descr ",
              in_quotes(descr),
              ", expected f8, f4, f2, i8, i4, u1 or b1 behind a byte order, < or > (| for one byte)");
        header_.dtype = *dtype;
        header_.big_endian = order == '>';
    }

    void parse_shape() {
        expect('(');
        while (!accept(')')) {
            check(header_.shape.size() < most_npy_dimensions, "got more than ", most_npy_dimensions,
                  " dimensions, expected at most ", most_npy_dimensions);
            header_.shape.push_back(parse_extent());
            if (accept(',')) continue;
            // (3) is a number in Python, not a shape.
            if (header_.shape.size() == 1) refuse("',' after the only extent");
            expect(')');
            break;
        }
    }

    std::int64_t parse_extent() {
        constexpr std::int64_t largest = std::numeric_limits<std::int64_t>::max();
        skip_spaces();
        const std::size_t begin = at_;
        std::int64_t extent = 0;
        while (at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9') {
            const std::int64_t digit = text_[at_] - '0';
            if (extent > (largest - digit) / 10) refuse("an extent of at most 2^63 - 1");
            extent = extent * 10 + digit;
            ++at_;
        }
        if (at_ == begin) refuse("a whole number of at least 0");
        return extent;
    }

    struct Seen {
        bool descr = false;
        bool fortran_order = false;
        bool shape = false;
    };

    std::string source_;
    std::string_view text_;
    std::size_t at_ = 0;
    NpyHeader header_;
    Seen seen_;
};

/// The dictionary as NumPy writes it, with its room for a first extent of 21 digits, not yet padded.
inline std::string npy_dictionary(std::string_view type, const std::vector<std::int64_t>& shape) {
    constexpr std::size_t growth = 21;
    std::string text = sentence("{'descr': '", type, "', 'fortran_order': False, 'shape': (");
    for (std::size_t axis = 0; axis < shape.size(); ++axis)
        text += (axis > 0 ? ", " : "") + number_text(shape[axis]);
    text += shape.size() == 1 ? ",), }" : "), }";
    if (!shape.empty()) text.append(growth - number_text(shape.front()).size(), ' ');
    return text;
}

}  // namespace mta::io::detail
