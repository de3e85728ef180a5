// The precision that a run's configuration names.
// SPDX-License-Identifier: MIT
#pragma once

#include <mta/io/file.hpp>
#include <mta/train/json_fields.hpp>
#include <string>

namespace mta::program {

/// Whether it is float64. Throws FileError for anything but float32 and float64; `where` begins the sentence.
inline bool is_double_precision(const train::Json& precision, const std::string& where) {
    const auto text = train::from_json<std::string>(precision, where);
    require<io::FileError>(text == "float32" || text == "float64", where, ": got '", text,
                           "', expected float32 or float64");
    return text == "float64";
}

}  // namespace mta::program
