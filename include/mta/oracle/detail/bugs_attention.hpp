// Bugs of logits, masks, normalisation, values and the gradients that belong to them.
// SPDX-License-Identifier: MIT
#pragma once

#include <mta/oracle/detail/bugs_mixing.hpp>

namespace mta::oracle::detail {

inline bool anywhere(const BugSite&) {
    return true;
}
inline bool is_causal(const BugSite& s) {
    return s.causal();
}
inline bool is_softmax_site(const BugSite& s) {
    return s.softmax();
}
inline bool causal_softmax(const BugSite& s) {
    return s.causal() && s.softmax();
}
inline bool is_packed(const BugSite& s) {
    return s.packed();
}
inline bool shares_kv(const BugSite& s) {
    return s.shared_kv();
}
inline bool shares_several_kv(const BugSite& s) {
    return s.shared_kv() && s.attention().key_value_heads() > 1;
}
inline double right_scale(const BugSite& s) {
    return s.attention().scale.value_or(1 / std::sqrt(static_cast<double>(s.attention().head_dim)));
}
inline bool is_scaled(const BugSite& s) {
    return right_scale(s) != 1;
}
inline bool is_scaled_by_other(const BugSite& s) {
    return right_scale(s) * static_cast<double>(s.attention().head_dim) != 1;
}
inline bool has_heads(const BugSite& s) {
    return s.heads() > 1;
}
inline bool mixes_after(const BugSite& s) {
    return s.mixes(false);
}
inline bool softmax_mixes_after(const BugSite& s) {
    return s.softmax() && s.mixes(false);
}
inline bool softmax_mixes_before(const BugSite& s) {
    return s.softmax() && s.mixes(true);
}

inline constexpr PlainBug logit_bugs[]{
    {"scale missing", "the logits are not scaled", "logits", [](Knobs& k) { k.scale = ScaleKnob::one; },
     is_scaled},
    {"scale 1/D", "the logits are divided by D in place of its square root", "logits",
     [](Knobs& k) { k.scale = ScaleKnob::over_head_dim; }, is_scaled_by_other},
    {"scale applied twice", "q and the logits are both scaled", "logits",
     [](Knobs& k) { k.scale = ScaleKnob::twice; }, is_scaled},
    {"scale of the model width", "the scale is 1/sqrt(H D), that of one wide head", "logits",
     [](Knobs& k) { k.scale = ScaleKnob::over_heads; }, has_heads},
    {"scale inverted", "the logits are multiplied with what they should be divided by", "logits",
     [](Knobs& k) { k.scale = ScaleKnob::inverse; }, is_scaled},
    {"log2(e) in the scale, exp in the softmax",
     "the scale was folded with log2(e) for exp2, but exp is called", "logits",
     [](Knobs& k) { k.scale = ScaleKnob::log2e; }, anywhere},
    {"kv heads interleaved", "query head h reads key/value head h mod Hkv; it should read h / (H / Hkv)",
     "logits", [](Knobs& k) { k.keys_interleaved = k.values_interleaved = true; }, shares_several_kv},
    {"key heads interleaved", "query head h reads the keys of head h mod Hkv, its values are right", "logits",
     [](Knobs& k) { k.keys_interleaved = true; }, shares_several_kv},
    {"value heads interleaved", "query head h reads the values of head h mod Hkv, its keys are right",
     "context", [](Knobs& k) { k.values_interleaved = true; }, shares_several_kv},
    {"kv head 0 for all", "the key/value head's offset is missing", "logits",
     [](Knobs& k) { k.first_kv_head = true; },
     [](const BugSite& s) { return s.attention().key_value_heads() > 1; }},
    {"documents ignored", "queries read keys of earlier documents, in every stage", "pre_conv",
     [](Knobs& k) { k.ignore_documents = true; }, is_packed},
    {"own key masked", "the mask is j < i: a query does not see its own key", "pre_conv",
     [](Knobs& k) { k.strict_mask = true; }, is_causal},
    {"one future key visible", "the mask is j <= i + 1", "weights", [](Knobs& k) { k.loose_mask = true; },
     is_causal},
    {"no causal mask", "weights and values of keys in the future are used", "weights",
     [](Knobs& k) { k.future = FutureKnob::leaked; }, is_causal},
    {"no causal mask before the softmax",
     "keys in the future take part in the normalisation; their values are masked later", "weights",
     [](Knobs& k) {
         k.future = FutureKnob::leaked;
         k.causal_values = true;
     },
     is_causal},
    {"future scored 0", "masked scores are 0 in place of -infinity: exp(0) is 1", "weights",
     [](Knobs& k) { k.future = FutureKnob::zero; }, is_causal},
    {"future scored 0, its values masked",
     "masked scores are 0 in the normalisation; their weights are masked later", "weights",
     [](Knobs& k) {
         k.future = FutureKnob::zero;
         k.causal_values = true;
     },
     is_causal},
    {"mask value -1e4", "a finite mask value: a row whose own scores are lower attends to the future",
     "weights", [](Knobs& k) { k.future = FutureKnob::minus_ten_thousand; }, is_causal},
};

inline constexpr PlainBug softmax_bugs[]{
    {"softmax without maximum", "exp of the raw score overflows in float above 88", "weights",
     [](Knobs& k) { k.softmax = SoftmaxKnob::no_maximum; }, is_softmax_site},
    {"zeros of masked keys in the row maximum",
     "the maximum is taken before the mask: all weights underflow when scores are below -88", "weights",
     [](Knobs& k) { k.softmax = SoftmaxKnob::masked_maximum; }, causal_softmax},
    {"softmax applied twice",
     "the weights are normalised again, as the authors' code did at one commit when nothing followed the "
     "softmax",
     "weights", [](Knobs& k) { k.softmax = SoftmaxKnob::twice; }, is_softmax_site},
    {"softmax plus one", "the sum of exponentials has an extra 1 (an attention sink)", "weights",
     [](Knobs& k) { k.softmax = SoftmaxKnob::plus_one; }, is_softmax_site},
    {"softmax in base two", "exp2 without log2(e) in the scale", "weights",
     [](Knobs& k) { k.softmax = SoftmaxKnob::base_two; }, is_softmax_site},
    {"the other normalisation", "softmax in place of sparsemax or the reverse", "weights",
     [](Knobs& k) { k.softmax = SoftmaxKnob::other_kind; }, anywhere},
    {"weights renormalised after the post stages",
     "rows of the final weights are divided by their sums; they are no distribution any more and must stay "
     "so",
     "context", [](Knobs& k) { k.renormalised = true; }, mixes_after},
    {"negative weights clipped after the post stages", "final weights below 0 become 0", "context",
     [](Knobs& k) { k.clipped = true; }, mixes_after},
    {"values meet the weights before the post stages",
     "the convolved and mixed weights are computed and not used", "context",
     [](Knobs& k) { k.context_from_weights = true; }, mixes_after},
};

inline constexpr PlainBug attention_backward_bugs[]{
    {"softmax backward: row term missing", "d_scores is A * d_A without the subtracted row sum", "d_pre_mix",
     [](Knobs& k) { k.row_term = RowTermKnob::missing; }, is_softmax_site},
    {"softmax backward: row term rowsum(dO * O)",
     "FlashAttention's shortcut for the row sum of A * d_A: a post-softmax convolution or mix makes it wrong",
     "d_pre_mix", [](Knobs& k) { k.row_term = RowTermKnob::from_output; }, softmax_mixes_after},
    {"softmax backward: row mean subtracted", "the mean of d_A is subtracted in place of its mean under A",
     "d_pre_mix", [](Knobs& k) { k.row_term = RowTermKnob::mean; }, is_softmax_site},
    {"softmax backward: factor A missing", "d_scores lacks the weights in front", "d_pre_mix",
     [](Knobs& k) { k.no_weights_factor = true; }, is_softmax_site},
    {"softmax backward: from the final weights",
     "the weights after the post stages were saved; the gradient needs those before", "d_pre_mix",
     [](Knobs& k) { k.final_weights_factor = true; }, mixes_after},
    {"softmax backward: weights recomputed from the logits",
     "the recomputation leaves out the pre-softmax convolution and mix", "d_pre_mix",
     [](Knobs& k) { k.weights_from_logits = true; }, [](const BugSite& s) { return s.mixes(true); }},
    {"softmax backward: ln 2 left over", "the gradient of exp2, but log2(e) is not multiplied back",
     "d_pre_mix", [](Knobs& k) { k.softmax = SoftmaxKnob::base_two; }, is_softmax_site},
    {"softmax backward: the other normalisation", "softmax's gradient for sparsemax or the reverse",
     "d_pre_mix", [](Knobs& k) { k.softmax = SoftmaxKnob::other_kind; }, anywhere},
    {"grad.q unscaled", "the gradient of q lacks the scale", "grad.q",
     [](Knobs& k) { k.query_unscaled = true; }, is_scaled},
    {"grad.k unscaled", "the gradient of k lacks the scale", "grad.k",
     [](Knobs& k) { k.key_unscaled = true; }, is_scaled},
    {"grad.q and grad.k unscaled", "the gradients of q and k lack the scale", "grad.q",
     [](Knobs& k) { k.query_unscaled = k.key_unscaled = true; }, is_scaled},
    {"grad.q and grad.k scaled twice",
     "the scale is applied to the gradient of the logits and again to those of q and k", "grad.q",
     [](Knobs& k) { k.scale = ScaleKnob::twice; }, is_scaled},
    {"grad.k of the last query head only",
     "query heads that share a key head overwrite each other; they must be summed", "grad.k",
     [](Knobs& k) { k.key_group = GroupKnob::last_head; }, shares_kv},
    {"grad.v of the last query head only",
     "query heads that share a value head overwrite each other; they must be summed", "grad.v",
     [](Knobs& k) { k.value_group = GroupKnob::last_head; }, shares_kv},
    {"grad.k and grad.v of the last query head only",
     "query heads that share a key/value head overwrite each other; they must be summed", "grad.v",
     [](Knobs& k) { k.key_group = k.value_group = GroupKnob::last_head; }, shares_kv},
    {"grad.k of the first query head only",
     "only the first of the query heads that share a key head adds to its gradient", "grad.k",
     [](Knobs& k) { k.key_group = GroupKnob::first_head; }, shares_kv},
    {"grad.v of the first query head only",
     "only the first of the query heads that share a value head adds to its gradient", "grad.v",
     [](Knobs& k) { k.value_group = GroupKnob::first_head; }, shares_kv},
    {"grad.k and grad.v of the first query head only",
     "only the first of the query heads that share a key/value head adds to its gradients", "grad.v",
     [](Knobs& k) { k.key_group = k.value_group = GroupKnob::first_head; }, shares_kv},
    {"grad.k and grad.v averaged over query heads",
     "the mean over the query heads that share a key/value head in place of the sum", "grad.v",
     [](Knobs& k) { k.key_group = k.value_group = GroupKnob::mean; }, shares_kv},
    {"backward: kv heads interleaved", "the backward pass takes h mod Hkv for the key/value head",
     "d_post_mix", [](Knobs& k) { k.keys_interleaved = k.values_interleaved = true; }, shares_several_kv},
    {"grad.v from the weights before the post stages",
     "the softmax's weights were saved; the gradient of v needs the convolved and mixed ones", "grad.v",
     [](Knobs& k) { k.values_from_weights = true; }, mixes_after},
};

inline void add_tile_bugs(std::vector<Bug>& bugs) {
    for (const Index tile : bug_tiles) {
        const auto larger = [tile](const BugSite& s) { return s.softmax() && s.sequence > tile; };
        bugs.push_back({sentence("online softmax not rescaled between key tiles of ", tile),
                        "sums of earlier tiles keep the old maximum when it grows", "weights",
                        BugKind::forward,
                        [tile](Knobs& k) { k.softmax = SoftmaxKnob::not_rescaled, k.tile = tile; }, larger});
        bugs.push_back({sentence("row sum of the first ", tile, " keys only"),
                        "the sum of exponentials misses later key tiles", "weights", BugKind::forward,
                        [tile](Knobs& k) { k.softmax = SoftmaxKnob::first_tile_sum, k.tile = tile; },
                        larger});
        bugs.push_back({sentence("softmax backward: row term of the first ", tile, " keys only"),
                        "the row sum of A * d_A misses later key tiles", "d_pre_mix", BugKind::backward,
                        [tile](Knobs& k) { k.row_term = RowTermKnob::of_first_tile, k.tile = tile; },
                        larger});
        bugs.push_back({sentence("parameter gradients miss the queries that do not fill a tile of ", tile),
                        "the reduction runs over S / tile full tiles and leaves out the rest",
                        "grad.post.mix", BugKind::parameters,
                        [tile](Knobs& k) { k.last_query_tile_lost = true, k.tile = tile; },
                        [tile](const BugSite& s) {
                            return s.sequence % tile != 0 && (s.mixes(true) || s.mixes(false));
                        }});
    }
}

}  // namespace mta::oracle::detail
