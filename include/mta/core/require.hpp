// Errors as sentences: which function, which argument, what it got, what it expected.
// SPDX-License-Identifier: MIT
//
// Every public function checks its arguments with these before it touches an element, so bad input never
// leaves a result half computed. ShapeError: shapes disagree or cannot work. ValueError: a number, an index
// or a choice is out of range. Both are std::invalid_argument.
#pragma once

#include <charconv>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>

namespace mta {

/// Base of every error this library throws because of an argument.
struct ArgumentError : std::invalid_argument {
    using std::invalid_argument::invalid_argument;
};
/// Shapes of arguments disagree, or a shape cannot work.
struct ShapeError : ArgumentError {
    using ArgumentError::ArgumentError;
};
/// A number, an index or a choice is out of range.
struct ValueError : ArgumentError {
    using ArgumentError::ArgumentError;
};

namespace detail {

/// The shortest text that reads back as the same number.
template <class Number>
std::string number_text(Number value) {
    char text[64];
    const auto end = std::to_chars(text, text + sizeof text, value).ptr;
    return std::string(text, end);
}

template <class Part>
std::string text_of(const Part& part) {
    if constexpr (std::is_same_v<Part, bool>)
        return part ? "true" : "false";
    else if constexpr (std::is_same_v<Part, char>)
        return std::string(1, part);
    else if constexpr (std::is_arithmetic_v<Part>)
        return number_text(part);
    else if constexpr (std::is_convertible_v<const Part&, std::string_view>)
        return std::string(std::string_view(part));
    else {  // a list of extents
        std::string list = "[";
        for (const auto& extent : part)
            list += (list.size() > 1 ? ", " : "") + number_text(extent);
        return list + "]";
    }
}

template <class... Parts>
std::string sentence(const Parts&... parts) {
    return (std::string() + ... + text_of(parts));
}

}  // namespace detail

/// Throws `Failure` with the sentence made of `parts` unless `condition` holds.
template <class Failure = ShapeError, class... Parts>
void require(bool condition, const Parts&... parts) {
    if (!condition) throw Failure(detail::sentence(parts...));
}

/// Throws ShapeError "<what>: got <got>, expected <expected>" unless the two are equal.
template <class Got, class Expected>
void require_same(std::string_view what, const Got& got, const Expected& expected) {
    require(got == expected, what, ": got ", got, ", expected ", expected);
}

/// Throws ShapeError "<what>: got shape [..], expected shape [..]" unless the two extents lists are equal.
template <class Got, class Expected>
void require_same_shape(std::string_view what, const Got& got, const Expected& expected) {
    bool same = got.size() == expected.size();
    for (std::size_t axis = 0; same && axis < static_cast<std::size_t>(got.size()); ++axis)
        same = got[axis] == expected[axis];
    require(same, what, ": got shape ", got, ", expected shape ", expected);
}

}  // namespace mta
