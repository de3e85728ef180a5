// Changes one leaf of a JSON document at a time, to another value of its kind.
// SPDX-License-Identifier: MIT
#pragma once

#include <doctest/doctest.h>

#include <map>
#include <mta/train/json_fields.hpp>
#include <string>
#include <vector>

namespace mta::test {

/// Another value of the same kind; texts are names of enumerations, so another one of the same set.
inline train::Json other_value(const train::Json& leaf) {
    static const std::vector<std::vector<std::string>> sets{
        {"softmax", "sparsemax"},
        {"twice", "exact", "none"},
        {"both", "left", "right"},
        {"rms", "rms_depth", "rms_layer"},
        {"scalar", "vector"},
        {"interleaved", "half_split"},
        {"constant", "linear", "cosine", "hold_then_linear"},
        {"identity", "zero", "uniform", "diagonal"},
        {"all", "first", "last"},
        {"never_target", "reject"}};
    if (leaf.is_boolean()) return !leaf.get<bool>();
    if (leaf.is_number_integer()) return leaf.get<std::int64_t>() + 17;
    if (leaf.is_number()) return leaf.get<double>() + 0.17;
    if (!leaf.is_string()) return leaf;
    for (const auto& set : sets)
        for (std::size_t n = 0; n < set.size(); ++n)
            if (set[n] == leaf) return set[(n + 1) % set.size()];
    return leaf.get<std::string>() + "x";
}

/// Calls f(pointer, document) for every leaf that is not null, with that leaf changed.
template <class F>
void for_each_changed_leaf(const train::Json& document, F&& f) {
    int changed = 0;
    const auto flat = document.flatten();
    for (const auto& [pointer, leaf] : flat.items()) {
        if (leaf.is_null() || leaf.is_structured()) continue;
        train::Json copy = document;
        copy[train::Json::json_pointer(pointer)] = other_value(leaf);
        f(pointer, copy);
        ++changed;
    }
    CHECK(changed > 5);
}

}  // namespace mta::test
