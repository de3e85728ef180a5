// Bugs of the norm, the gate and the sums over the batch.
// SPDX-License-Identifier: MIT
#pragma once

#include <mta/ops/rms_norm.hpp>
#include <mta/oracle/detail/bug.hpp>

namespace mta::oracle::detail {

inline bool has_norm(const BugSite& s) {
    return s.attention().norm.has_value();
}
inline bool wide_norm(const BugSite& s) {
    return has_norm(s) && s.attention().head_dim > 1;
}
inline bool norm_of_heads(const BugSite& s) {
    return has_norm(s) && s.heads() > 1;
}
inline bool depth_norm(const BugSite& s) {
    return has_norm(s) && *s.attention().norm != RmsNormFactor::one;
}
inline bool factor_acts(const BugSite& s) {
    const auto& a = s.attention();
    return has_norm(s) && rms_norm_factor({a.eps, *a.norm, a.layer_index}) != 1;
}
inline bool has_eps(const BugSite& s) {
    return has_norm(s) && s.attention().eps != 0;
}
inline bool has_gate(const BugSite& s) {
    return s.attention().gate.has_value();
}
inline bool gate_after_norm(const BugSite& s) {
    return has_gate(s) && has_norm(s);
}
inline bool vector_gate(const BugSite& s) {
    return has_gate(s) && *s.attention().gate == GateKind::vector && s.attention().head_dim > 1;
}
inline bool has_parameters(const BugSite& s) {
    return has_norm(s) || has_gate(s) || s.mixes(true) || s.mixes(false);
}
inline bool batched_parameters(const BugSite& s) {
    return s.batch > 1 && has_parameters(s);
}

inline constexpr PlainBug output_bugs[]{
    {"norm skipped", "the context is not normalised", "norm", [](Knobs& k) { k.norm.skip = true; }, has_norm},
    {"norm.weight unused", "the normalised vector is not multiplied with its weight", "norm",
     [](Knobs& k) { k.norm.no_weight = true; }, has_norm},
    {"norm.weight plus one", "the weight is stored as a difference from 1 in other models; not here", "norm",
     [](Knobs& k) { k.norm.weight_plus_one = true; }, has_norm},
    {"norm's depth factor missing", "the factor of the layer's depth is left out", "norm",
     [](Knobs& k) { k.norm.no_factor = true; }, factor_acts},
    {"layers counted from one", "the depth factor takes l + 1 for the layer's index", "norm",
     [](Knobs& k) { k.norm.layer_from_one = true; }, depth_norm},
    {"the other depth factor", "1/sqrt(l + 1) in place of 1 - lambda_init(l) or the reverse", "norm",
     [](Knobs& k) { k.norm.other_factor = true; }, depth_norm},
    {"norm without eps", "vectors of zeros are divided by 0, small ones come out too large", "norm",
     [](Knobs& k) { k.norm.no_eps = true; }, has_eps},
    {"norm's eps ten times smaller", "another default: 1e-6 for 1e-5", "norm",
     [](Knobs& k) { k.norm.small_eps = true; }, has_eps},
    {"norm's eps outside the root", "1 / (rms + eps) in place of 1 / sqrt(mean of squares + eps)", "norm",
     [](Knobs& k) { k.norm.eps_outside = true; }, has_eps},
    {"norm of the sum of squares", "the sum of squares is not divided by D", "norm",
     [](Knobs& k) { k.norm.sum_of_squares = true; }, wide_norm},
    {"mean subtracted in the norm", "LayerNorm or GroupNorm in place of RMS norm", "norm",
     [](Knobs& k) { k.norm.centred = true; }, wide_norm},
    {"norm over all heads", "one statistic per token; each head has its own", "norm",
     [](Knobs& k) { k.norm.all_heads = true; }, norm_of_heads},
    {"gate skipped", "the output is not gated", "gate", [](Knobs& k) { k.gate.skip = true; }, has_gate},
    {"gate reads the context", "the gate is computed from what came before the norm", "gate",
     [](Knobs& k) { k.gate.reads_context = true; }, gate_after_norm},
    {"gate.bias unused", "the gate's bias is not added", "gate", [](Knobs& k) { k.gate.no_bias = true; },
     has_gate},
    {"gate.weight transposed", "the gate's weight is read as [in][out]", "gate",
     [](Knobs& k) { k.gate.transposed = true; }, vector_gate},
    {"gate plus one", "the output is x * (1 + sigmoid)", "gate", [](Knobs& k) { k.gate.residual = true; },
     has_gate},
    {"gate with tanh", "tanh in place of the sigmoid", "gate", [](Knobs& k) { k.gate.tanh = true; },
     has_gate},
};

inline constexpr PlainBug output_backward_bugs[]{
    {"norm backward: statistic taken for a constant", "the term with the mean of x * g is missing",
     "d_context", [](Knobs& k) { k.norm.no_coupling = true; }, has_norm},
    {"norm backward: weight missing", "the gradient is not multiplied with the weight", "d_context",
     [](Knobs& k) { k.norm.no_weight = true; }, has_norm},
    {"norm backward: depth factor missing", "the gradient lacks the factor of the layer's depth", "d_context",
     [](Knobs& k) { k.norm.no_factor = true; }, factor_acts},
    {"norm backward: sum in place of the mean", "the coupling term is not divided by D", "d_context",
     [](Knobs& k) { k.norm.sum_of_squares = true; }, wide_norm},
    {"norm backward: passed straight through", "the gradient skips the norm", "d_context",
     [](Knobs& k) { k.norm.skip = true; }, has_norm},
    {"norm backward: one statistic for all heads", "the coupling term is summed over heads", "d_context",
     [](Knobs& k) { k.norm.all_heads = true; }, norm_of_heads},
    {"gate backward: path through the gate missing", "the gate is taken for a constant", "d_norm",
     [](Knobs& k) { k.gate.no_gate_path = true; }, has_gate},
    {"gate backward: direct path missing", "only what flows through the gate's input is counted", "d_norm",
     [](Knobs& k) { k.gate.no_direct_path = true; }, has_gate},
    {"gate backward: slope of tanh", "1 - s * s in place of s * (1 - s)", "d_norm",
     [](Knobs& k) { k.gate.slope = GateSlopeKnob::of_tanh; }, has_gate},
    {"gate backward: slope lacks 1 - s", "s in place of s * (1 - s)", "d_norm",
     [](Knobs& k) { k.gate.slope = GateSlopeKnob::of_value; }, has_gate},
    {"gate backward: weight transposed", "the gradient of the input needs dz W, not dz W^T", "d_norm",
     [](Knobs& k) { k.gate.transposed = true; }, vector_gate},
    {"gate backward: passed straight through", "the gradient skips the gate", "d_norm",
     [](Knobs& k) { k.gate.skip = true; }, has_gate},
};

inline constexpr PlainBug output_parameter_bugs[]{
    {"grad.norm.weight: from the unnormalised input",
     "the context was saved; the gradient needs it normalised", "grad.norm.weight",
     [](Knobs& k) { k.norm.unnormalised_weight_gradient = true; }, has_norm},
    {"grad.norm.weight: depth factor missing", "the gradient lacks the factor of the layer's depth",
     "grad.norm.weight", [](Knobs& k) { k.norm.no_factor = true; }, factor_acts},
    {"grad.norm.weight: left at zero", "the gradient is never accumulated, or is overwritten with 0",
     "grad.norm.weight", [](Knobs& k) { k.norm.skip = true; }, has_norm},
    {"grad.gate.weight: from the context", "the gate's input was taken before the norm", "grad.gate.weight",
     [](Knobs& k) { k.gate.reads_context = true; }, gate_after_norm},
    {"grad.gate.weight: transposed", "the gradient is stored as [in][out]", "grad.gate.weight",
     [](Knobs& k) { k.gate.transposed = true; }, vector_gate},
    {"grad.gate: slope of tanh", "1 - s * s in place of s * (1 - s) in the gradients of weight and bias",
     "grad.gate.weight", [](Knobs& k) { k.gate.slope = GateSlopeKnob::of_tanh; }, has_gate},
    {"grad.gate: slope lacks 1 - s", "s in place of s * (1 - s) in the gradients of weight and bias",
     "grad.gate.weight", [](Knobs& k) { k.gate.slope = GateSlopeKnob::of_value; }, has_gate},
    {"grad.gate: left at zero", "the gradients are never accumulated, or are overwritten with 0",
     "grad.gate.weight", [](Knobs& k) { k.gate.skip = true; }, has_gate},
    {"grad.gate.bias: last token only", "tokens overwrite each other; they must be summed", "grad.gate.bias",
     [](Knobs& k) { k.gate.last_token_bias = true; },
     [](const BugSite& s) { return has_gate(s) && s.sequence > 1; }},
    {"grad.gate.bias: left at zero", "the bias has no gradient", "grad.gate.bias",
     [](Knobs& k) { k.gate.no_bias_gradient = true; }, has_gate},
    {"parameter gradients of the first batch row only", "the sum over the batch is missing",
     "grad.gate.weight", [](Knobs& k) { k.batch = BatchKnob::first; }, batched_parameters},
    {"parameter gradients averaged over the batch", "the mean over the batch in place of the sum",
     "grad.gate.weight", [](Knobs& k) { k.batch = BatchKnob::mean; }, batched_parameters},
    {"parameter gradients counted twice",
     "partial sums are added two times (an accumulation onto a buffer that was not cleared)",
     "grad.gate.weight", [](Knobs& k) { k.batch = BatchKnob::twice; }, has_parameters},
};

}  // namespace mta::oracle::detail
