// What the tests of eval share: one configuration with almost every stage, and inputs for it.
// SPDX-License-Identifier: MIT
#pragma once

#include <mta/oracle/eval.hpp>
#include <string>
#include <vector>

#include "support/checks.hpp"

namespace mta::test {

using io::DType;
using io::SafetensorsFile;
using io::StoredTensor;
using namespace mta::oracle;

inline CaseConfig config_of(const std::string& text) {
    return parse_config(io::parse_json(text, "c.json"), "c.json");
}

// Every stage but the post-softmax mix.
inline const char* const full_config_text =
    R"({"heads": 4, "kv_heads": 2, "head_dim": 3, "norm": "rms", "gate": "scalar",
    "pre": {"query_kernel": 2, "key_kernel": 5, "mix_group": 2}, "post": {"query_kernel": 3, "key_kernel": 1}})";

inline StoredTensor random_stored(const std::string& name, std::uint64_t seed,
                                  std::vector<std::int64_t> shape, DType dtype = DType::F64) {
    Index size = 1;
    for (const auto extent : shape)
        size *= static_cast<Index>(extent);
    auto t = io::from_tensor(name, random_tensor(seed, size), dtype);
    t.shape = std::move(shape);
    return t;
}

/// Inputs of full_config_text: B = 2, S = 7.
inline SafetensorsFile full_input(DType dtype = DType::F64) {
    SafetensorsFile in;
    std::uint64_t seed = 0;
    const auto add = [&](const char* name, std::vector<std::int64_t> shape) {
        in.tensors.push_back(random_stored(name, ++seed, std::move(shape), dtype));
    };
    add("q", {2, 4, 7, 3});
    add("k", {2, 2, 7, 3});
    add("v", {2, 2, 7, 3});
    add("d_out", {2, 4, 7, 3});
    add("pre.kernel", {4, 2, 5});
    add("pre.mix", {2, 2, 2});
    add("post.kernel", {4, 3, 1});
    add("norm.weight", {3});
    add("gate.weight", {1, 3});
    add("gate.bias", {1});
    return in;
}

inline StoredTensor& tensor_of(SafetensorsFile& file, std::string_view name) {
    for (auto& t : file.tensors)
        if (t.name == name) return t;
    throw io::FileError("no tensor " + std::string(name));
}

inline void erase(SafetensorsFile& file, std::string_view name) {
    std::erase_if(file.tensors, [&](const auto& t) { return t.name == name; });
}

inline SafetensorsFile evaluated(const SafetensorsFile& in, EvalOptions options = {},
                                 const char* config = full_config_text) {
    Notes notes;
    auto out = evaluate(config_of(config), in, options, notes);
    CHECK(notes.empty());
    return out;
}

template <class Error>
std::string refusal(const SafetensorsFile& in, const char* config = full_config_text) {
    try {
        Notes notes;
        evaluate(config_of(config), in, {}, notes);
    } catch (const Error& error) {
        return error.what();
    }
    return "accepted";
}

}  // namespace mta::test
