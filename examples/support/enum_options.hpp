// Options that name a value of an enumeration, by the names of configuration files.
// SPDX-License-Identifier: MIT
#pragma once

#include <mta/train/json_fields.hpp>
#include <string>
#include <utility>
#include <vector>

namespace mta::program {

/// What an option may name: `others`, then every value of the enumeration.
template <class Enum>
std::vector<std::string> names_of(std::vector<std::string> others = {}) {
    for (const auto& [name, value] : train::JsonNames<Enum>::names)
        others.emplace_back(name);
    return others;
}

/// The value that an option names. Throws io::FileError for any other name: check it with names_of first.
template <class Enum>
Enum named(const std::string& option, const std::string& name) {
    return train::from_json<Enum>(train::Json(name), option);
}

}  // namespace mta::program
