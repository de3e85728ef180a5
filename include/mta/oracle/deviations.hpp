// The catalogue of known bugs of multi-token attention kernels, each of which the model can run with.
// SPDX-License-Identifier: MIT
//
// Kinds     a wrong forward pass (with the right gradient of the wrong operator), a wrong gradient of the inputs, a
//           wrong gradient of the parameters.
// Names     "pre.kernel flipped on the key axis", "softmax backward: row term missing", "grad.post.mix: transposed".
// Correct   equivalent_variants() are implementations that differ and are right; no report may name them.
// Table     docs/oracle/diagnosis.md lists all of them.
#pragma once

#include <algorithm>
#include <limits>
#include <mta/oracle/candidate.hpp>
#include <mta/oracle/detail/bugs_attention.hpp>
#include <mta/oracle/detail/bugs_outputs.hpp>
#include <mta/oracle/model.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace mta::oracle {

namespace detail {

inline std::vector<Bug> make_bugs() {
    std::vector<Bug> bugs;
    add_plain_bugs(bugs, BugKind::forward, logit_bugs);
    add_plain_bugs(bugs, BugKind::forward, score_mask_bugs);
    add_plain_bugs(bugs, BugKind::forward, softmax_bugs);
    add_plain_bugs(bugs, BugKind::forward, output_bugs);
    add_plain_bugs(bugs, BugKind::backward, score_mask_backward_bugs);
    add_plain_bugs(bugs, BugKind::backward, attention_backward_bugs);
    add_plain_bugs(bugs, BugKind::backward, output_backward_bugs);
    add_plain_bugs(bugs, BugKind::parameters, score_mask_parameter_bugs);
    add_plain_bugs(bugs, BugKind::parameters, output_parameter_bugs);
    add_conv_bugs(bugs);
    add_mix_bugs(bugs);
    add_tile_bugs(bugs);
    std::stable_sort(bugs.begin(), bugs.end(), [](const auto& a, const auto& b) { return a.kind < b.kind; });
    return bugs;
}

/// The bugs behind deviations(), in the same order.
inline const std::vector<Bug>& bugs() {
    static const std::vector<Bug> all = make_bugs();
    return all;
}

// Adds the bug's switches to those passes that it changes.
inline void switch_on(Deviation& d, const Bug& bug) {
    if (bug.kind == BugKind::forward) bug.set(d.forward);
    if (bug.kind != BugKind::parameters) bug.set(d.backward);
    // The gradients of parameters follow a wrong forward pass, not a wrong gradient of the inputs.
    if (bug.kind != BugKind::backward) bug.set(d.parameters);
}

inline Deviation deviation_of(const Bug& bug) {
    Deviation d{bug.name, bug.sentence, bug.stage, {}, {}, {}};
    switch_on(d, bug);
    return d;
}

inline std::vector<Deviation> make_deviations() {
    std::vector<Deviation> all;
    for (const auto& bug : bugs())
        all.push_back(deviation_of(bug));
    return all;
}

inline const Bug& bug_named(std::string_view name) {
    const auto found =
        std::find_if(bugs().begin(), bugs().end(), [&](const Bug& b) { return b.name == name; });
    if (found != bugs().end()) return *found;
    std::vector<std::string> known;
    for (const auto& bug : bugs())
        known.push_back(bug.name);
    throw ConfigError(sentence("deviation: unknown name ", io::detail::in_quotes(name), ", ",
                               io::nearest_or_all(name, known)));
}

}  // namespace detail

/// Every known bug: wrong forward passes first, then wrong gradients of inputs, then those of parameters.
inline const std::vector<Deviation>& deviations() {
    static const std::vector<Deviation> all = detail::make_deviations();
    return all;
}

/// The deviation of this name. Throws ConfigError naming the nearest one.
inline const Deviation& deviation(std::string_view name) {
    const auto at = &detail::bug_named(name) - detail::bugs().data();
    return deviations()[static_cast<std::size_t>(at)];
}

/// "forward", "backward" (gradients of inputs) or "parameters" (gradients of parameters).
inline std::string_view kind_of(const Deviation& d) {
    const auto kind = detail::bug_named(d.name).kind;
    return kind == detail::BugKind::forward    ? "forward"
           : kind == detail::BugKind::backward ? "backward"
                                               : "parameters";
}

/// False where the deviation cannot change anything: the stage is not there, a kernel of one tap has no mirror.
inline bool applies(const Deviation& d, const CaseConfig& config) {
    return detail::bug_named(d.name).applies({config, 2, std::numeric_limits<Index>::max()});
}
/// The same for a problem, whose batch and sequence may be too small, too.
inline bool applies(const Deviation& d, const Problem& p) {
    const auto& bug = detail::bug_named(d.name);
    return (p.d_out || bug.kind == detail::BugKind::forward) &&
           bug.applies({p.config, p.batch(), p.sequence()});
}

/// The first tensor of the file contract that is wrong, for the stages of this configuration: "stage.pre_conv",
/// "stage.d_logits", "grad.k". Where the deviation's own is absent, the next one that is computed.
std::string first_wrong_tensor(const Deviation& d, const MultiTokenAttentionConfig& config);

/// Implementations that are right and unlike the model: the scale applied late, a constant added to rows of scores,
/// zero mask after the post-softmax mix. Their stages may differ; out and gradients must not.
const std::vector<Deviation>& equivalent_variants();

/// The model with this deviation as a candidate. Tensors are rounded as `profile` says; stages on request.
Candidate model_candidate(const Deviation& d, const RoundingProfile& profile, bool stages);

namespace detail {

// Names of all tensors after out in the order in which a backward pass computes them, then gradients.
inline std::vector<std::string> tensors_in_order(const MultiTokenAttentionConfig& c) {
    std::vector<std::string> stages{"stage.logits"};
    const auto add = [&](bool present, const char* stage) {
        if (present) stages.push_back(std::string("stage.") + stage);
    };
    add(c.pre.has_conv(), "pre_conv");
    add(c.pre.has_mix(), "pre_mix");
    add(true, "weights");
    add(c.post.has_conv(), "post_conv");
    add(c.post.has_mix(), "post_mix");
    add(true, "context");
    add(c.norm.has_value(), "norm");
    add(c.gate.has_value(), "gate");
    std::vector<std::string> all = stages;
    all.emplace_back("out");
    for (auto stage = stages.rbegin(); stage != stages.rend(); ++stage)
        all.push_back("stage.d_" + stage->substr(6));
    const auto gradient = [&](bool present, const char* name) {
        if (present) all.push_back(std::string("grad.") + name);
    };
    for (const char* name : {"v", "q", "k"})
        gradient(true, name);
    gradient(c.gate.has_value(), "gate.weight");
    gradient(c.gate.has_value(), "gate.bias");
    gradient(c.norm.has_value(), "norm.weight");
    gradient(c.post.has_mix(), "post.mix");
    gradient(c.post.has_conv(), "post.kernel");
    gradient(c.pre.has_mix(), "pre.mix");
    gradient(c.pre.has_conv(), "pre.kernel");
    return all;
}

inline MultiTokenAttentionConfig with_every_stage() {
    MultiTokenAttentionConfig c;
    c.pre = c.post = {2, 3, KeyPadding::both, 1};
    c.norm = RmsNormFactor::one;
    c.gate = GateKind::scalar;
    return c;
}

inline std::vector<Deviation> make_equivalent_variants() {
    const auto variant = [](const char* name, const char* sentence, void (*set)(Knobs&)) {
        Deviation d{name, sentence, "", {}, {}, {}};
        set(d.forward), set(d.backward), set(d.parameters);
        return d;
    };
    return {
        variant("scale after the pre-softmax stages",
                "convolution and mix are linear: a factor passes through them",
                [](Knobs& k) { k.late_scale = true; }),
        variant("a constant added to every row of scores", "softmax and sparsemax do not see it",
                [](Knobs& k) { k.row_constant = 0.75; }),
        variant("zero mask after the post-softmax mix",
                "the mix joins heads at one position, the mask is the same for all heads",
                [](Knobs& k) {
                    k.post.output_masked = false;
                    k.causal_values = true;
                }),
        variant("scale late and a constant added", "both at once",
                [](Knobs& k) {
                    k.late_scale = true;
                    k.row_constant = -1.5;
                }),
    };
}

}  // namespace detail

inline std::string first_wrong_tensor(const Deviation& d, const MultiTokenAttentionConfig& config) {
    const auto full = detail::tensors_in_order(detail::with_every_stage());
    const auto present = detail::tensors_in_order(config);
    std::string wanted = d.stage.starts_with("grad.") ? d.stage : "stage." + d.stage;
    // Gradients of masked logits: only under `exact` are some of them judged.
    if (wanted == "stage.d_future_logits")
        wanted = config.mask == MaskRule::exact ? "stage.d_logits" : "grad.q";
    for (auto at = std::find(full.begin(), full.end(), wanted); at != full.end(); ++at)
        if (std::find(present.begin(), present.end(), *at) != present.end()) return *at;
    return "";
}

inline const std::vector<Deviation>& equivalent_variants() {
    static const std::vector<Deviation> all = detail::make_equivalent_variants();
    return all;
}

inline Candidate model_candidate(const Deviation& d, const RoundingProfile& profile, bool stages) {
    Candidate candidate;
    candidate.name = "model" + (d.name.empty() ? "" : ": " + d.name);
    candidate.answer = [d, profile, stages](const Problem& p) {
        Arithmetic arithmetic = Arithmetic::rounded(profile);
        Answer answer;
        answer.results = run_model(p, arithmetic, d);
        if (!stages)
            std::erase_if(answer.results.tensors, [](const auto& t) { return t.name.starts_with("stage."); });
        return answer;
    };
    return candidate;
}

}  // namespace mta::oracle
