// Bugs of head mixing, on either side of the softmax, and of what stands between convolution, mixing and masks.
// SPDX-License-Identifier: MIT
#pragma once

#include <mta/oracle/detail/bugs_conv.hpp>

namespace mta::oracle::detail {

/// A bug of one mix, in a table.
struct MixBug {
    std::string_view name, sentence;
    void (*set)(MixKnobs&);
    bool (*applies)(const BugSite&, const ScoreMixingConfig&);
};

inline bool several_members(const BugSite&, const ScoreMixingConfig& c) {
    return c.mix_group > 1;
}
inline bool several_groups(const BugSite& s, const ScoreMixingConfig& c) {
    return s.heads() > c.mix_group;
}
inline bool strided_differs(const BugSite& s, const ScoreMixingConfig& c) {
    return c.mix_group > 1 && s.heads() > c.mix_group;
}
inline bool mixed_after_conv(const BugSite&, const ScoreMixingConfig& c) {
    return c.mix_group > 1 && c.has_conv();
}
inline bool convolved(const BugSite&, const ScoreMixingConfig& c) {
    return c.has_conv();
}

inline constexpr MixBug mix_forward_bugs[]{
    {"mix transposed",
     "rows and columns of the mixing weights are exchanged: the authors store the post-softmax ones as "
     "[in][out]",
     [](MixKnobs& k) { k.transposed = true; }, several_members},
    {"mix over strided groups", "group g takes heads g, g + G, ...; it should take neighbours",
     [](MixKnobs& k) { k.strided_groups = true; }, strided_differs},
    {"mix of group 0 for all groups", "the group's offset into the mixing weights is missing",
     [](MixKnobs& k) { k.first_group = true; }, several_groups},
    {"mix without its diagonal", "a head does not contribute to itself",
     [](MixKnobs& k) { k.no_diagonal = true; }, always},
    {"mix added to its input", "a residual connection around the mix", [](MixKnobs& k) { k.residual = true; },
     always},
    {"mix skipped", "heads are not mixed", [](MixKnobs& k) { k.skip = true; }, always},
    {"mix before the convolution",
     "heads are mixed first and convolved afterwards; every head has its own kernel, so the order matters",
     [](MixKnobs& k) { k.before_conv = true; }, mixed_after_conv},
};

inline constexpr MixBug mix_backward_bugs[]{
    {"weights not transposed", "the gradient of the input needs the transposed weights",
     [](MixKnobs& k) { k.transposed = true; }, several_members},
    {"strided groups", "the backward pass takes heads g, g + G, ... for a group",
     [](MixKnobs& k) { k.strided_groups = true; }, strided_differs},
    {"weights of group 0 for all groups", "the group's offset is missing in the backward pass",
     [](MixKnobs& k) { k.first_group = true; }, several_groups},
    {"passed straight through", "the gradient skips the mix", [](MixKnobs& k) { k.skip = true; }, always},
    {"without the diagonal", "a head's own gradient is lost", [](MixKnobs& k) { k.no_diagonal = true; },
     always},
};

inline constexpr MixBug mix_parameter_bugs[]{
    {"transposed", "the gradient of the mixing weights is stored as [in][out]",
     [](MixKnobs& k) { k.transposed = true; }, several_members},
    {"of strided groups", "the gradient takes heads g, g + G, ... for a group",
     [](MixKnobs& k) { k.strided_groups = true; }, strided_differs},
    {"summed into group 0", "the group's offset into the gradient is missing",
     [](MixKnobs& k) { k.first_group = true; }, several_groups},
    {"without its diagonal", "products of a head with itself are not counted",
     [](MixKnobs& k) { k.no_diagonal = true; }, always},
    {"from the convolution's input",
     "what came before the convolution was saved for the backward pass; the mix read its output",
     [](MixKnobs& k) { k.from_conv_input = true; }, convolved},
    {"left at zero", "the gradient is never accumulated, or is overwritten with 0",
     [](MixKnobs& k) { k.skip = true; }, always},
};

inline void add_mix_bugs(std::vector<Bug>& bugs, BugKind kind, const MixBug& row, bool before,
                         const std::string& prefix, const std::string& stage) {
    bugs.push_back({prefix + std::string(row.name), std::string(row.sentence), stage, kind,
                    [set = row.set, before](Knobs& k) { set(before ? k.pre_mix : k.post_mix); },
                    [applies = row.applies, before](const BugSite& s) {
                        return s.side(before).has_mix() && applies(s, s.side(before));
                    }});
}

inline void add_mix_bugs(std::vector<Bug>& bugs) {
    for (const bool before : {true, false}) {
        const std::string side = before ? "pre" : "post", parameter = "grad." + side + ".mix";
        for (const auto& row : mix_forward_bugs)
            add_mix_bugs(bugs, BugKind::forward, row, before, side + ".",
                         row.name.ends_with("before the convolution") ? side + "_conv" : side + "_mix");
        for (const auto& row : mix_backward_bugs)
            add_mix_bugs(bugs, BugKind::backward, row, before,
                         side + "_mix backward: ", "d_" + side + "_conv");
        for (const auto& row : mix_parameter_bugs)
            add_mix_bugs(bugs, BugKind::parameters, row, before, parameter + ": ", parameter);
    }
}

// Keys that a pre-softmax convolution reads can lie in the future of the query that they belong to.
inline bool reads_masked_logits(const BugSite& s) {
    const auto& c = s.side(true);
    return s.causal() && c.has_conv() && (c.query_kernel > 1 || padded_otherwise<KeyPadding::left>(s, c));
}
inline bool rules_differ(const BugSite& s) {
    return s.causal() && s.side(true).query_kernel > 1;
}
// Whether the post-softmax convolution puts weight on the future.
inline bool writes_future(const BugSite& s) {
    const auto& c = s.side(false);
    return s.causal() && c.has_conv() && padded_otherwise<KeyPadding::right>(s, c);
}
inline bool mixes_before_softmax(const BugSite& s) {
    return s.causal() && s.side(true).has_mix();
}

inline constexpr PlainBug score_mask_bugs[]{
    {"zero mask missing before pre.kernel",
     "logits of keys in the future are convolved: they leak into earlier rows and must be 0 first",
     "pre_conv", [](Knobs& k) { k.pre.input_masked = false; }, reads_masked_logits},
    {"-infinity convolved by pre.kernel",
     "the logits were masked with -infinity before the convolution, which spreads it; they must be 0 there",
     "pre_conv", [](Knobs& k) { k.pre.input_infinite = true; }, reads_masked_logits},
    {"the other mask rule",
     "Eq. 4 in place of Eq. 5 or the reverse: which logits near the diagonal are convolved", "pre_conv",
     [](Knobs& k) { k.other_mask = true; }, rules_differ},
    {"zero mask missing after post.kernel", "the convolved weights of keys in the future meet the values",
     "context", [](Knobs& k) { k.post.output_masked = false; }, writes_future},
    {"pre.mix after the -infinity mask",
     "heads are mixed after the causal mask: sums of infinities of both signs are NaN", "weights",
     [](Knobs& k) { k.future = FutureKnob::mixed_infinity; }, mixes_before_softmax},
};

inline constexpr PlainBug score_mask_backward_bugs[]{
    {"pre_conv backward: zero mask missing", "gradients reach logits that were masked with 0 and had none",
     "d_future_logits", [](Knobs& k) { k.pre.input_masked = false; }, reads_masked_logits},
    {"pre_conv backward: the other mask rule",
     "the backward pass masks by Eq. 4 where the forward pass masked by Eq. 5, or the reverse",
     "d_future_logits", [](Knobs& k) { k.other_mask = true; }, rules_differ},
    {"post_conv backward: zero mask missing", "masked outputs pass gradients", "d_weights",
     [](Knobs& k) { k.post.output_masked = false; }, writes_future},
};

inline constexpr PlainBug score_mask_parameter_bugs[]{
    {"grad.pre.kernel: from unmasked logits", "the logits were saved before they were masked with 0",
     "grad.pre.kernel", [](Knobs& k) { k.pre.input_masked = false; }, reads_masked_logits},
    {"grad.pre.kernel: the other mask rule",
     "the gradient counts the taps of Eq. 4 where the forward pass has those of Eq. 5, or the reverse",
     "grad.pre.kernel", [](Knobs& k) { k.other_mask = true; }, rules_differ},
};

}  // namespace mta::oracle::detail
