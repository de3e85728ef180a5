// The text of a case descriptor: sizes and key=value pairs, to and from a configuration's JSON.
// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <charconv>
#include <map>
#include <mta/oracle/eval.hpp>
#include <optional>
#include <set>

namespace mta::oracle::detail {

inline const Names<io::DType> io_names{
    {"fp32", io::DType::F32}, {"bf16", io::DType::BF16}, {"fp16", io::DType::F16}, {"fp64", io::DType::F64}};

/// What a descriptor's words change.
struct CaseText {
    Json config;
    Index batch, sequence;
};

inline std::vector<std::string_view> split(std::string_view text, char separator) {
    std::vector<std::string_view> parts;
    for (;;) {
        const auto end = text.find(separator);
        parts.push_back(text.substr(0, end));
        if (end == std::string_view::npos) return parts;
        text.remove_prefix(end + 1);
    }
}

template <class Integer>
Integer read_integer(std::string_view text, std::string_view where, std::string_view key) {
    Integer value{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    const bool whole = error == std::errc() && end == text.data() + text.size();
    require<ConfigError>(whole, where, ": ", key, ": got ", io::detail::in_quotes(text),
                         ", expected an integer from 0 on");
    return value;
}

template <class Value>
std::string choices_of(const Names<Value>& names) {
    std::string choices;
    for (const auto& [name, meaning] : names)
        choices += (choices.empty() ? "" : ", ") + std::string(name);
    return choices;
}

inline io::DType read_io(std::string_view text, std::string_view where) {
    for (const auto& [name, dtype] : io_names)
        if (name == text) return dtype;
    throw ConfigError(sentence(where, ": io: got ", io::detail::in_quotes(text), ", expected one of ",
                               choices_of(io_names)));
}

/// Where a size is kept in the configuration; the last three on both sides of the softmax.
struct SizeKey {
    std::string_view token, key;
    bool of_side;
};
inline constexpr std::array<SizeKey, 6> size_keys{{{"H", "heads", false},
                                                   {"kv", "kv_heads", false},
                                                   {"D", "head_dim", false},
                                                   {"cq", "query_kernel", true},
                                                   {"ck", "key_kernel", true},
                                                   {"g", "mix_group", true}}};
inline constexpr std::array<std::string_view, 2> sides{"pre", "post"};

/// The sides of `config` that have this key.
inline std::vector<std::string> sides_with(const Json& config, std::string_view key) {
    std::vector<std::string> found;
    for (const auto side : sides)
        if (config.contains(side) && config[std::string(side)].contains(key)) found.emplace_back(side);
    return found;
}

inline void set_size(CaseText& text, const SizeKey& size, Index value, const std::string& where) {
    const std::string key(size.key);
    if (!size.of_side) {
        text.config[key] = value;
        return;
    }
    const auto found = sides_with(text.config, size.key);
    require<ConfigError>(!found.empty(), where, ": ", size.token,
                         ": the profile has no such stage, expected pre.", size.key, "=", value, " or post.",
                         size.key, "=", value);
    for (const auto& side : found)
        text.config[side][key] = value;
}

/// Reads "B2_H4_S33": each size at most once.
inline void read_sizes(CaseText& text, std::string_view sizes, const std::string& where) {
    constexpr Index largest = Index{1} << 30;  // products of a few of them do not overflow when widened
    std::set<std::string_view> seen;
    for (const auto word : split(sizes, '_')) {
        const auto digits = std::min(word.find_first_of("0123456789"), word.size());
        const auto token = word.substr(0, digits);
        const auto key = std::find_if(size_keys.begin(), size_keys.end(),
                                      [&](const SizeKey& k) { return k.token == token; });
        const bool known = key != size_keys.end() || token == "B" || token == "S";
        require<ConfigError>(known && digits < word.size(), where, ": got the size ",
                             io::detail::in_quotes(word),
                             ", expected B, H, kv, S, D, cq, ck or g and a number");
        require<ConfigError>(seen.insert(token).second, where, ": got the size ", token,
                             " twice, expected it once");
        const auto value = read_integer<Index>(word.substr(digits), where, token);
        require<ConfigError>(value >= 1 && value <= largest, where, ": ", token, ": got ", value,
                             ", expected 1 to ", largest);
        if (token == "B")
            text.batch = value;
        else if (token == "S")
            text.sequence = value;
        else
            set_size(text, *key, value, where);
    }
    if (!seen.contains("kv")) text.config["kv_heads"] = text.config["heads"];
}

/// Writes the sizes of the case and gives them to `text`, the profile's.
inline std::string take_sizes(CaseText& text, const Json& wanted) {
    const std::string where = "case";
    std::string sizes = sentence("B", text.batch);
    const auto put = [&](std::string_view token, Index value) { sizes += sentence("_", token, value); };
    for (const auto& size : size_keys) {
        const std::string key(size.key);
        if (size.token == "D") put("S", text.sequence);
        if (!size.of_side) {
            set_size(text, size, wanted[key].get<Index>(), where);
            if (size.token != "kv" || wanted["kv_heads"] != wanted["heads"])
                put(size.token, wanted[key].get<Index>());
            continue;
        }
        for (const auto& side : sides_with(text.config, size.key)) {
            if (!wanted.contains(side) || !wanted[side].contains(key)) continue;
            const auto value = wanted[side][key].get<Index>();
            set_size(text, size, value, where);
            put(size.token, value);
            break;
        }
    }
    return sizes;
}

/// Keys that may be given as key=value, in the order in which they are written.
inline const std::vector<std::string> value_keys{"scale",
                                                 "normalise",
                                                 "mask",
                                                 "pre.query_kernel",
                                                 "pre.key_kernel",
                                                 "pre.key_padding",
                                                 "pre.mix_group",
                                                 "post.query_kernel",
                                                 "post.key_kernel",
                                                 "post.key_padding",
                                                 "post.mix_group",
                                                 "norm",
                                                 "gate",
                                                 "eps",
                                                 "layer_index",
                                                 "document_starts"};

/// The member at a dotted key, or nullptr.
inline const Json* member(const Json& config, std::string_view key) {
    const auto dot = key.find('.');
    const auto found = config.find(std::string(key.substr(0, dot)));
    if (found == config.end()) return nullptr;
    return dot == std::string_view::npos ? &*found : member(*found, key.substr(dot + 1));
}

/// A value as a descriptor writes it.
inline std::string value_text(const Json& value) {
    if (value.is_string()) return value.get<std::string>();
    if (value.is_number_float()) return sentence(value.get<double>());
    if (!value.is_array()) return value.dump();
    std::string text;
    const bool lists = !value.empty() && value.front().is_array();
    for (const auto& entry : value)
        text += (text.empty() ? "" : lists ? ";" : ",") + value_text(entry);
    return text;
}

/// " key=value" for whatever of `wanted` the configuration `base` does not say.
inline std::string differences(const Json& base, const Json& wanted) {
    std::string text;
    for (const auto& key : value_keys) {
        const Json* is = member(base, key);
        const Json* should = member(wanted, key);
        const bool padding = key.ends_with("key_padding");
        if (should == nullptr && (is == nullptr || padding)) continue;  // padding goes with its kernel
        if (should != nullptr && (is == nullptr ? padding && *should == "both" : *is == *should)) continue;
        text += " " + key + "=" + (should == nullptr ? "none" : value_text(*should));
    }
    return text;
}

/// The key=value words of a descriptor.
class KeyValues {
  public:
    /// Takes the words after the first.
    KeyValues(const std::vector<std::string_view>& words, std::string where) : where_{std::move(where)} {
        for (std::size_t n = 1; n < words.size(); ++n) {
            const auto word = words[n];
            if (word.empty()) continue;
            const auto equals = word.find('=');
            require<ConfigError>(equals != std::string_view::npos, where_, ": got ",
                                 io::detail::in_quotes(word), ", expected key=value");
            const std::string key(word.substr(0, equals));
            check_key(key);
            require<ConfigError>(values_.emplace(key, word.substr(equals + 1)).second, where_,
                                 ": got the key ", io::detail::in_quotes(key), " twice, expected it once");
        }
    }

    /// The value of this key, once.
    std::optional<std::string> take(const std::string& key) {
        const auto found = values_.find(key);
        if (found == values_.end()) return std::nullopt;
        const std::string value = found->second;
        values_.erase(found);
        return value;
    }

    /// Gives the configuration every value that is left.
    void change(Json& config) const {
        for (const auto& [key, value] : values_)
            change(config, key, value);
    }

  private:
    void check_key(const std::string& key) const {
        std::vector<std::string> known{"fill", "seed", "io"};
        known.insert(known.end(), value_keys.begin(), value_keys.end());
        require<ConfigError>(std::find(known.begin(), known.end(), key) != known.end(), where_,
                             ": unknown key ", io::detail::in_quotes(key), ", ",
                             io::nearest_or_all(key, known));
    }

    void change(Json& config, const std::string& key, const std::string& value) const {
        const auto dot = key.find('.');
        Json& object = dot == std::string::npos ? config : config[key.substr(0, dot)];
        const std::string name = dot == std::string::npos ? key : key.substr(dot + 1);
        if (value == "none" && name != "norm" && name != "gate" && name != "mask")
            object.erase(name);
        else
            object[name] = value_of(name, value);
    }

    Json value_of(const std::string& name, const std::string& value) const {
        if (name == "document_starts") return starts_of(value);
        if (name == "scale" || name == "eps") return number_of(name, value);
        const bool integer = name.ends_with("kernel") || name == "mix_group" || name == "layer_index";
        return integer ? Json(read_integer<Index>(value, where_, name)) : Json(value);
    }

    Json number_of(const std::string& name, const std::string& value) const {
        double number = 0;
        const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
        require<ConfigError>(
            error == std::errc() && end == value.data() + value.size() && std::isfinite(number), where_, ": ",
            name, ": got ", io::detail::in_quotes(value), ", expected a finite number");
        return number;
    }

    Json starts_of(const std::string& value) const {
        Json lists = Json::array();
        for (const auto list : split(value, ';')) {
            Json starts = Json::array();
            for (const auto start : split(list, ','))
                starts.push_back(read_integer<Index>(start, where_, "document_starts"));
            lists.push_back(std::move(starts));
        }
        return lists;
    }

    std::string where_;
    std::map<std::string, std::string> values_;
};

/// Throws UnsupportedError when the inputs alone would not fit into this machine's memory.
inline void check_inputs_fit(const CaseConfig& config, Index B, Index S) {
    const auto& a = config.attention;
    require_memory("case", {.q = {B, a.heads, S, a.head_dim}});
}

}  // namespace mta::oracle::detail
