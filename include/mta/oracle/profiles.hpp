// Profiles: names for what is computed, so that "which multi-token attention is this?" has an answer.
// SPDX-License-Identifier: MIT
//
// Source  Multi-Token Attention, arXiv:2504.00927, Secs. 3 and 4. A profile fixes semantics; its sizes are a
//         default that a case overrides (case.hpp).
#pragma once

#include <mta/oracle/config.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace mta::oracle {

struct Profile {
    std::string name;
    std::string sentence;  // what is computed, and by whom
    CaseConfig config;
    Index batch = 1;
    Index sequence = 1;
};

namespace detail {

inline MultiTokenAttentionConfig sizes(Index heads, Index head_dim) {
    MultiTokenAttentionConfig c;
    c.heads = heads;
    c.head_dim = head_dim;
    return c;
}

// The paper's default for language models: 6 x 11 kernels, all heads mixed, RMS norm, a gate per token and head.
inline MultiTokenAttentionConfig paper_config(Index heads, Index head_dim) {
    MultiTokenAttentionConfig c = sizes(heads, head_dim);
    c.pre = c.post = {6, 11, KeyPadding::both, heads};
    c.norm = RmsNormFactor::one;
    c.gate = GateKind::scalar;
    return c;
}

inline MultiTokenAttentionConfig toy_config() {
    MultiTokenAttentionConfig c = sizes(2, 128);
    c.pre = {2, 9, KeyPadding::both, 0};
    return c;
}

// Liger-Kernel's own kernel of 3 x 3, symmetric in both directions, restricted to present and past queries.
inline MultiTokenAttentionConfig liger_config() {
    MultiTokenAttentionConfig c = sizes(4, 64);
    c.post = {2, 3, KeyPadding::both, 0};
    return c;
}

inline MultiTokenAttentionConfig talking_heads_config() {
    MultiTokenAttentionConfig c = sizes(8, 64);
    c.pre.mix_group = c.post.mix_group = c.heads;
    return c;
}

inline MultiTokenAttentionConfig with_mask(MultiTokenAttentionConfig c, MaskRule mask) {
    c.mask = mask;
    return c;
}

inline MultiTokenAttentionConfig with_sparsemax(MultiTokenAttentionConfig c) {
    c.normalise = Normalise::sparsemax;
    return c;
}

inline std::vector<Profile> make_profiles() {
    constexpr std::string_view paper =
        "the paper's 880M language model: convolution and head mixing before and after the softmax, zero "
        "mask of "
        "Eq. 5, RMS norm, scalar gate";
    constexpr std::string_view toy =
        "the paper's toy task with blocks of N = 5 letters: one 2 x (2N - 1) convolution before the softmax, "
        "nothing else";
    constexpr std::string_view liger =
        "what Liger-Kernel's operator covers, from given scores on: causal softmax (or normalise=sparsemax), "
        "a "
        "depthwise convolution of the weights, zero mask; only its taps on present and past queries, since "
        "its own "
        "symmetric padding also reads future ones";
    constexpr std::string_view exact =
        "all stages, the convolution before the softmax by Eq. 4: a tap counts when its key is not in the "
        "future "
        "of the output's query";
    const auto make = [](std::string_view name, std::string_view sentence, const MultiTokenAttentionConfig& c,
                         Index batch = 1, Index sequence = 64) {
        return Profile{std::string(name), std::string(sentence), {c}, batch, sequence};
    };
    return {
        make("paper-880m", paper, paper_config(16, 96)),
        make("paper-toy", toy, toy_config(), 2, 40),
        make("liger-post", liger, liger_config()),
        make("talking-heads",
             "head mixing before and after the softmax, all heads in one group; no convolution",
             talking_heads_config()),
        make("sdpa", "standard causal scaled-dot-product attention, every other stage left out",
             sizes(8, 64)),
        make("mta-exact", exact, with_mask(paper_config(8, 64), MaskRule::exact)),
        make("mta-sparsemax", "all stages with sparsemax in place of softmax",
             with_sparsemax(paper_config(8, 64))),
    };
}

}  // namespace detail

/// Every profile, the paper's first.
inline const std::vector<Profile>& profiles() {
    static const std::vector<Profile> all = detail::make_profiles();
    return all;
}

/// The profile of this name. Throws ConfigError naming the nearest one; `where` begins the sentence.
inline const Profile& profile(std::string_view name, std::string_view where = "profile") {
    std::vector<std::string> names;
    for (const auto& p : profiles()) {
        if (p.name == name) return p;
        names.push_back(p.name);
    }
    throw ConfigError(detail::sentence(where, ": unknown profile ", io::detail::in_quotes(name), ", ",
                                       io::nearest_or_all(name, names)));
}

}  // namespace mta::oracle
