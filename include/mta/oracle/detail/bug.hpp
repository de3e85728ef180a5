// One entry of the catalogue of bugs: its words, its switches, and where it can act at all.
// SPDX-License-Identifier: MIT
#pragma once

#include <functional>
#include <mta/oracle/config.hpp>
#include <mta/oracle/detail/knobs.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace mta::oracle::detail {

/// Which passes a bug changes. A wrong forward pass has the right gradient of the wrong operator.
enum class BugKind { forward, backward, parameters };

/// Where a bug would act.
struct BugSite {
    const CaseConfig& config;
    Index batch, sequence;

    const MultiTokenAttentionConfig& attention() const { return config.attention; }
    bool causal() const { return config.attention.mask != MaskRule::none; }
    bool packed() const { return !config.call().documents.single(); }
    bool softmax() const { return config.attention.normalise == Normalise::softmax; }
    Index heads() const { return config.attention.heads; }
    bool shared_kv() const { return config.attention.key_value_heads() < heads(); }
    const ScoreMixingConfig& side(bool before) const {
        return before ? config.attention.pre : config.attention.post;
    }
    bool mixes(bool before) const { return side(before).has_conv() || side(before).has_mix(); }
};

struct Bug {
    std::string name, sentence;
    std::string stage;  // the first wrong tensor of a pipeline that has every stage
    BugKind kind;
    std::function<void(Knobs&)> set;
    std::function<bool(const BugSite&)> applies;
};

/// A bug of the whole operator, in a table.
struct PlainBug {
    std::string_view name, sentence, stage;
    void (*set)(Knobs&);
    bool (*applies)(const BugSite&);
};

template <class Table>
void add_plain_bugs(std::vector<Bug>& bugs, BugKind kind, const Table& table) {
    for (const PlainBug& row : table)
        bugs.push_back({std::string(row.name), std::string(row.sentence), std::string(row.stage), kind,
                        row.set, row.applies});
}

}  // namespace mta::oracle::detail
