// Configuration structs as JSON and back: each struct lists its fields once, for writing and for strict reading.
// SPDX-License-Identifier: MIT
//
// Promise  numbers keep their bits on the way there and back. Every field is written, defaults too, so that a
//          file says all of what it was made with. Reading refuses fields that are unknown, missing or of the
//          wrong kind: nothing is guessed.
// Errors   io::FileError, one sentence: where ("config.json: model.layers[0].heads"), what was found, what was
//          expected.
#pragma once

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <limits>
#include <mta/core/require.hpp>
#include <mta/io/json.hpp>
#include <mta/io/nearest_name.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace mta::train {

using io::FileError;
using io::Json;

/// The fields of a struct: specialise with
/// template <class F, class Config> static void for_each(F&& f, Config& c) { f("steps", c.steps); ... }
template <class Config>
struct JsonFields;

/// The names of an enumeration's values: specialise with a static array `names` of pairs (name, value).
template <class Enum>
struct JsonNames;

namespace detail {

using mta::detail::sentence;

template <class T>
struct IsOptional : std::false_type {};
template <class T>
struct IsOptional<std::optional<T>> : std::true_type {};
template <class T>
struct IsVector : std::false_type {};
template <class T>
struct IsVector<std::vector<T>> : std::true_type {};

/// The value for a sentence, cut where it is long.
inline std::string shown(const Json& value) {
    constexpr std::size_t longest = 60;
    const std::string text = value.dump(-1, ' ', /*ensure_ascii=*/true);
    return text.size() <= longest ? text : text.substr(0, longest - 3) + "...";
}

[[noreturn]] inline void refuse(const std::string& where, const Json& got, std::string_view expected) {
    throw FileError(sentence(where, ": got ", shown(got), ", expected ", expected));
}

inline std::string field_path(const std::string& where, std::string_view name) {
    if (where.empty() || where.ends_with(": ")) return where + std::string(name);
    return where + "." + std::string(name);
}

template <class Enum>
Json enum_json(const Enum& value) {
    for (const auto& [name, meaning] : JsonNames<Enum>::names)
        if (meaning == value) return std::string(name);
    throw ValueError(
        sentence("to_json: got the value ", static_cast<int>(value), ", expected one with a name"));
}

template <class Enum>
Enum enum_of(const Json& json, const std::string& where) {
    std::string choices;
    for (const auto& [name, meaning] : JsonNames<Enum>::names) {
        if (json.is_string() && json.get_ref<const std::string&>() == name) return meaning;
        choices += (choices.empty() ? "" : ", ") + std::string(name);
    }
    refuse(where, json, "one of " + choices);
}

template <std::integral Int>
Int integer_of(const Json& json, const std::string& where) {
    const auto refuse_range = [&] {
        refuse(where, json,
               sentence("an integer from ", std::numeric_limits<Int>::min(), " to ",
                        std::numeric_limits<Int>::max()));
    };
    if (!json.is_number_integer()) refuse_range();
    const bool fits = json.is_number_unsigned() ? std::in_range<Int>(json.get<std::uint64_t>())
                                                : std::in_range<Int>(json.get<std::int64_t>());
    if (!fits) refuse_range();
    return json.is_number_unsigned() ? static_cast<Int>(json.get<std::uint64_t>())
                                     : static_cast<Int>(json.get<std::int64_t>());
}

}  // namespace detail

/// The value as JSON; an absent optional is null. Throws ValueError for a number that is not finite.
template <class T>
Json to_json(const T& value) {
    if constexpr (std::is_same_v<T, bool> || std::is_same_v<T, std::string> || std::is_integral_v<T>) {
        return value;
    } else if constexpr (std::is_floating_point_v<T>) {
        require<ValueError>(std::isfinite(value), "to_json: got ", value, ", expected a finite number");
        return value;
    } else if constexpr (std::is_enum_v<T>) {
        return detail::enum_json(value);
    } else if constexpr (detail::IsOptional<T>::value) {
        return value ? to_json(*value) : Json(nullptr);
    } else if constexpr (detail::IsVector<T>::value) {
        Json list = Json::array();
        for (const auto& element : value)
            list.push_back(to_json(element));
        return list;
    } else {
        Json object = Json::object();
        JsonFields<T>::for_each(
            [&](std::string_view name, const auto& field) { object[std::string(name)] = to_json(field); },
            value);
        return object;
    }
}

template <class T>
T from_json(const Json& json, const std::string& where);

namespace detail {

template <class Config>
Config struct_of(const Json& json, const std::string& where) {
    if (!json.is_object()) refuse(where, json, "an object");
    Config config{};
    std::vector<std::string> known;
    JsonFields<Config>::for_each([&](std::string_view name, auto&) { known.emplace_back(name); }, config);
    // Before what is missing: `step` explains why there is no `steps`.
    for (const auto& [key, value] : json.items())
        require<FileError>(std::find(known.begin(), known.end(), key) != known.end(), where,
                           ": got the unknown field ", io::detail::in_quotes(key), ", ",
                           io::nearest_or_all(key, known));
    JsonFields<Config>::for_each(
        [&](std::string_view name, auto& field) {
            const auto found = json.find(std::string(name));
            require<FileError>(found != json.end(), field_path(where, name), ": got none, expected a value");
            field = from_json<std::remove_cvref_t<decltype(field)>>(*found, field_path(where, name));
        },
        config);
    return config;
}

template <class Element>
std::vector<Element> vector_of(const Json& json, const std::string& where) {
    if (!json.is_array()) refuse(where, json, "a list");
    std::vector<Element> list;
    for (const auto& element : json)
        list.push_back(from_json<Element>(element, sentence(where, "[", list.size(), "]")));
    return list;
}

}  // namespace detail

/// The value that to_json wrote; `where` begins every error sentence.
template <class T>
T from_json(const Json& json, const std::string& where) {
    if constexpr (std::is_same_v<T, bool>) {
        if (!json.is_boolean()) detail::refuse(where, json, "true or false");
        return json.get<bool>();
    } else if constexpr (std::is_same_v<T, std::string>) {
        if (!json.is_string()) detail::refuse(where, json, "a text");
        return json.get<std::string>();
    } else if constexpr (std::is_integral_v<T>) {
        return detail::integer_of<T>(json, where);
    } else if constexpr (std::is_floating_point_v<T>) {
        if (!json.is_number()) detail::refuse(where, json, "a number");
        return json.get<T>();
    } else if constexpr (std::is_enum_v<T>) {
        return detail::enum_of<T>(json, where);
    } else if constexpr (detail::IsOptional<T>::value) {
        if (json.is_null()) return std::nullopt;
        return from_json<typename T::value_type>(json, where);
    } else if constexpr (detail::IsVector<T>::value) {
        return detail::vector_of<typename T::value_type>(json, where);
    } else {
        return detail::struct_of<T>(json, where);
    }
}

/// One field in which two documents differ.
struct JsonDifference {
    std::string field;  // "model.attention[0].heads"
    std::string got, expected;

    /// "model.width: got 64, expected 128".
    std::string sentence() const { return field + ": got " + got + ", expected " + expected; }
};

/// The first field, in the order of `expected`, that is not the same in `got`; nothing where they agree. The
/// order of fields is no difference.
inline std::optional<JsonDifference> first_difference(const Json& got, const Json& expected,
                                                      const std::string& where = "") {
    const auto among = [&](const auto& key, const std::string& path) -> std::optional<JsonDifference> {
        const bool here = got.contains(key), there = expected.contains(key);
        if (here && there) return first_difference(got[key], expected[key], path);
        return JsonDifference{path, here ? detail::shown(got[key]) : "none",
                              there ? detail::shown(expected[key]) : "none"};
    };
    if (got.is_object() && expected.is_object()) {
        for (const auto* document : {&expected, &got})
            for (const auto& [key, value] : document->items())
                if (auto found = among(key, detail::field_path(where, key))) return found;
        return std::nullopt;
    }
    if (got.is_array() && expected.is_array() && got.size() == expected.size()) {
        for (std::size_t n = 0; n < got.size(); ++n)
            if (auto found = first_difference(got[n], expected[n], detail::sentence(where, "[", n, "]")))
                return found;
        return std::nullopt;
    }
    if (got == expected) return std::nullopt;
    return JsonDifference{where, detail::shown(got), detail::shown(expected)};
}

}  // namespace mta::train
