// The configuration of a case as JSON: the keys that the command-line contract fixes.
// SPDX-License-Identifier: MIT
//
// Required  heads, head_dim.
// Optional  kv_heads (heads), scale (1/sqrt(head_dim)), normalise softmax|sparsemax, mask twice|exact|none,
//           pre and post {query_kernel, key_kernel, key_padding both|left|right, mix_group},
//           norm none|rms|rms_depth|rms_layer, gate none|scalar|vector, eps (1e-5), layer_index (0),
//           document_starts ([0]; one list for every batch row or a list of lists).
// Errors    ConfigError: a key that is unknown (naming the nearest), missing or of the wrong kind; half of a
//           kernel pair. What check_config(MultiTokenAttentionConfig) refuses arrives as ShapeError or
//           ValueError.
#pragma once

#include <array>
#include <cmath>
#include <mta/io/json.hpp>
#include <mta/io/nearest_name.hpp>
#include <mta/layers/multi_token_attention_config.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mta::oracle {

using io::Json;

/// A configuration that says something it must not.
struct ConfigError : ArgumentError {
    using ArgumentError::ArgumentError;
};

/// What a configuration file says: the layer, and the documents of its call.
struct CaseConfig {
    MultiTokenAttentionConfig attention;
    std::vector<std::vector<Index>> document_starts{{0}};  // one list, or one per batch row

    AttentionCall call() const { return {.documents = Documents(document_starts), .seed = 0, .step = 0}; }
};

namespace detail {

using mta::detail::sentence;

template <class Value>
using Names = std::vector<std::pair<std::string_view, Value>>;

inline const Names<Normalise> normalise_names{{"softmax", Normalise::softmax},
                                              {"sparsemax", Normalise::sparsemax}};
inline const Names<MaskRule> mask_names{
    {"twice", MaskRule::twice}, {"exact", MaskRule::exact}, {"none", MaskRule::none}};
inline const Names<KeyPadding> padding_names{
    {"both", KeyPadding::both}, {"left", KeyPadding::left}, {"right", KeyPadding::right}};
inline const Names<std::optional<RmsNormFactor>> norm_names{{"none", std::nullopt},
                                                            {"rms", RmsNormFactor::one},
                                                            {"rms_depth", RmsNormFactor::depth},
                                                            {"rms_layer", RmsNormFactor::layer}};
inline const Names<std::optional<GateKind>> gate_names{
    {"none", std::nullopt}, {"scalar", GateKind::scalar}, {"vector", GateKind::vector}};

// Reads the members of one JSON object; errors name the object, the key, what was found, what was expected.
class ObjectReader {
  public:
    ObjectReader(const Json& object, std::string where) : object_{object}, where_{std::move(where)} {
        require<ConfigError>(object.is_object(), where_, ": got ", shown(object), ", expected an object");
    }

    const Json* find(std::string_view key) {
        known_.emplace_back(key);
        const auto found = object_.find(key);
        return found == object_.end() ? nullptr : &*found;
    }

    void read(std::string_view key, Index& into) {
        if (const Json* value = find(key)) into = integer(*value, key);
    }
    void read(std::string_view key, double& into) {
        if (const Json* value = find(key)) into = number(*value, key);
    }
    template <class Value>
    void read(std::string_view key, std::optional<Value>& into) {
        Value value{};
        if (object_.contains(key)) into = (read(key, value), value);
        known_.emplace_back(key);
    }
    template <class Value>
    void read(std::string_view key, Value& into, const Names<Value>& names) {
        const Json* value = find(key);
        if (value == nullptr) return;
        std::string choices;
        for (const auto& [name, meaning] : names) {
            if (*value == name) return void(into = meaning);
            choices += (choices.empty() ? "" : ", ") + std::string(name);
        }
        refuse(key, *value, "one of " + choices);
    }

    Index integer(const Json& value, std::string_view key) const {
        if (!value.is_number_integer()) refuse(key, value, "an integer");
        // Unsigned first: read as signed, 2^64 - 1 would be -1.
        const bool small = value.is_number_unsigned()
                               ? value.get<std::uint64_t>() <= std::uint64_t{max_integer}
                               : value.get<std::int64_t>() >= -max_integer;
        if (!small) refuse(key, value, "an integer from -2^40 to 2^40");
        return value.get<Index>();
    }
    double number(const Json& value, std::string_view key) const {
        if (!value.is_number()) refuse(key, value, "a number");
        return value.get<double>();
    }

    /// Throws when the object holds a key that nobody asked for.
    void finish() const {
        for (const auto& [key, value] : object_.items()) {
            const bool known = std::find(known_.begin(), known_.end(), key) != known_.end();
            require<ConfigError>(known, where_, ": unknown key ", io::detail::in_quotes(key), ", ",
                                 io::nearest_or_all(key, known_));
        }
    }

    [[noreturn]] void refuse(std::string_view key, const Json& got, std::string_view expected) const {
        throw ConfigError(sentence(where_, ": ", key, ": got ", shown(got), ", expected ", expected));
    }

  private:
    // Small enough that no sum or product of a few positions overflows.
    static constexpr std::int64_t max_integer = std::int64_t{1} << 40;

    static std::string shown(const Json& value) {
        const std::string text = value.dump(-1, ' ', /*ensure_ascii=*/true);
        return text.size() <= 60 ? text : text.substr(0, 57) + "...";
    }

    const Json& object_;
    std::string where_;
    std::vector<std::string> known_;
};

inline void read_score_mixing(ObjectReader& parent, std::string_view key, const std::string& where,
                              ScoreMixingConfig& config) {
    const Json* object = parent.find(key);
    if (object == nullptr) return;
    ObjectReader reader(*object, sentence(where, ": ", key));
    const auto positive = [&](std::string_view name, Index& into) {
        reader.read(name, into);
        if (object->contains(name) && into < 1)
            reader.refuse(name, (*object)[std::string(name)], "at least 1");
    };
    positive("query_kernel", config.query_kernel);
    positive("key_kernel", config.key_kernel);
    positive("mix_group", config.mix_group);
    reader.read("key_padding", config.key_padding, padding_names);
    reader.finish();
    require<ConfigError>(object->contains("query_kernel") == object->contains("key_kernel"), where, ": ", key,
                         ": got query_kernel ", config.query_kernel, " and key_kernel ", config.key_kernel,
                         ", expected both or neither");
}

inline std::vector<Index> read_starts(const ObjectReader& reader, const Json& list) {
    std::vector<Index> starts;
    for (const Json& start : list)
        starts.push_back(reader.integer(start, "document_starts"));
    return starts;
}

inline void read_documents(ObjectReader& reader, std::vector<std::vector<Index>>& starts) {
    const Json* lists = reader.find("document_starts");
    if (lists == nullptr) return;
    if (!lists->is_array() || lists->empty())
        reader.refuse("document_starts", *lists, "a list that begins with 0");
    starts.clear();
    if (!lists->front().is_array()) return void(starts.push_back(read_starts(reader, *lists)));
    for (const Json& list : *lists) {
        if (!list.is_array()) reader.refuse("document_starts", list, "a list of starts");
        starts.push_back(read_starts(reader, list));
    }
}

template <class Value>
std::string name_of(const Names<Value>& names, const Value& value) {
    for (const auto& [name, meaning] : names)
        if (meaning == value) return std::string(name);
    return {};
}

inline Json json_of(const ScoreMixingConfig& c) {
    Json object = Json::object();
    if (c.has_conv()) {
        object["query_kernel"] = c.query_kernel;
        object["key_kernel"] = c.key_kernel;
        object["key_padding"] = name_of(padding_names, c.key_padding);
    }
    if (c.has_mix()) object["mix_group"] = c.mix_group;
    return object;
}

}  // namespace detail

/// The configuration in a JSON document; `where` begins every error sentence.
inline CaseConfig parse_config(const Json& document, const std::string& where) {
    CaseConfig config;
    auto& c = config.attention;
    detail::ObjectReader reader(document, where);
    reader.read("heads", c.heads);
    reader.read("head_dim", c.head_dim);
    reader.read("kv_heads", c.kv_heads);
    reader.read("scale", c.scale);
    reader.read("normalise", c.normalise, detail::normalise_names);
    reader.read("mask", c.mask, detail::mask_names);
    detail::read_score_mixing(reader, "pre", where, c.pre);
    detail::read_score_mixing(reader, "post", where, c.post);
    reader.read("norm", c.norm, detail::norm_names);
    reader.read("gate", c.gate, detail::gate_names);
    reader.read("eps", c.eps);
    reader.read("layer_index", c.layer_index);
    detail::read_documents(reader, config.document_starts);
    reader.finish();  // before what is missing: `head` explains why there is no `heads`
    for (const std::string_view key : {"heads", "head_dim"})
        require<ConfigError>(document.contains(key), where, ": ", key, ": got none, expected an integer");
    check_config(c);
    return config;
}

/// The configuration in the file at `path`.
inline CaseConfig read_config(const std::filesystem::path& path) {
    return parse_config(io::read_json(path), path.native());
}

/// The same configuration as JSON, defaults written out; a default scale and absent stages are left out.
inline Json to_json(const CaseConfig& config) {
    const auto& c = config.attention;
    Json j{{"heads", c.heads}, {"kv_heads", c.key_value_heads()}, {"head_dim", c.head_dim}};
    if (c.scale) j["scale"] = *c.scale;
    j["normalise"] = detail::name_of(detail::normalise_names, c.normalise);
    j["mask"] = detail::name_of(detail::mask_names, c.mask);
    if (c.pre.has_conv() || c.pre.has_mix()) j["pre"] = detail::json_of(c.pre);
    if (c.post.has_conv() || c.post.has_mix()) j["post"] = detail::json_of(c.post);
    j["norm"] = detail::name_of(detail::norm_names, c.norm);
    j["gate"] = detail::name_of(detail::gate_names, c.gate);
    j["eps"] = c.eps;
    j["layer_index"] = c.layer_index;
    if (config.document_starts.size() == 1)
        j["document_starts"] = config.document_starts.front();
    else
        j["document_starts"] = config.document_starts;
    return j;
}

}  // namespace mta::oracle
