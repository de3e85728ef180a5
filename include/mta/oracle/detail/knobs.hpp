// What a wrong implementation does differently, as switches of the model; every default is right.
// SPDX-License-Identifier: MIT
#pragma once

#include <mta/core/tensor.hpp>
#include <mta/ops/key_query_conv.hpp>
#include <optional>
#include <string>

namespace mta::oracle {

/// What a tap reads beyond the document's ends.
enum class EdgeKnob { zero, wrapped, clamped };
/// Whose kernel a head uses.
enum class HeadKnob { own, first, reversed, next };
/// The score of a key in the future when weights are computed. `mixed_infinity`: heads are mixed after the mask.
enum class FutureKnob { hidden, zero, leaked, minus_ten_thousand, mixed_infinity };
enum class SoftmaxKnob {
    right,
    no_maximum,
    masked_maximum,  // the zeros of masked keys take part in the maximum
    not_rescaled,
    twice,
    plus_one,
    base_two,
    other_kind,
    first_tile_sum
};
/// The term that softmax's gradient subtracts.
enum class RowTermKnob { right, missing, from_output, mean, of_first_tile };
enum class ScaleKnob { right, one, over_head_dim, twice, over_heads, inverse, log2e };
/// Gradients of k and v over the query heads that share them.
enum class GroupKnob { summed, first_head, last_head, mean };
/// Gradients of parameters over the batch. `twice`: every contribution is added two times.
enum class BatchKnob { summed, first, mean, twice };
enum class GateSlopeKnob { right, of_tanh, of_value };

/// The last tap of an axis, whatever its extent.
inline constexpr Index last_tap = -2;

struct ConvKnobs {
    bool skip = false;
    bool flip_queries = false, flip_keys = false;
    bool swap_axes = false;  // the kernel's memory read as (Ck, Cq)
    Index query_shift = 0, key_shift = 0;
    bool centred_queries = false;       // padded on both sides of the query axis, as nn.Conv2d does
    std::optional<KeyPadding> padding;  // in place of the configured one
    Index lost_query_tap = -1, lost_key_tap = -1;
    Index query_tile = 0, key_tile = 0;  // taps that leave a tile of this size are lost; 0: no tiles
    EdgeKnob edge = EdgeKnob::zero;
    HeadKnob head = HeadKnob::own;
    bool ignore_documents = false;
    bool input_masked = true;     // before the softmax: the future's logits are 0 when they are convolved
    bool input_infinite = false;  // they are -infinity
    bool output_masked = true;    // after the softmax: the future's outputs are 0
    bool residual = false;        // the input is added to the output
    bool not_transposed = false;  // gradient of the input: the forward convolution once more
};

struct MixKnobs {
    bool skip = false;
    bool transposed = false;
    bool strided_groups = false;  // group g holds heads g, g + G, ... instead of neighbours
    bool first_group = false;     // every group uses the first group's weights
    bool no_diagonal = false;     // a head does not see itself
    bool residual = false;
    bool before_conv = false;      // heads are mixed, then convolved
    bool from_conv_input = false;  // gradient: what came before the convolution was saved
};

struct NormKnobs {
    bool skip = false, no_weight = false, weight_plus_one = false, no_factor = false, no_eps = false;
    bool layer_from_one = false;
    bool other_factor = false;  // rms_depth and rms_layer exchanged
    bool small_eps = false;     // a tenth
    bool eps_outside = false;   // 1 / (rms + eps)
    bool sum_of_squares = false;
    bool centred = false;      // the mean is subtracted, as LayerNorm does
    bool all_heads = false;    // one statistic for all heads of a token
    bool no_coupling = false;  // gradient: the statistic is taken for a constant
    bool unnormalised_weight_gradient = false;
};

struct GateKnobs {
    bool skip = false, reads_context = false, no_bias = false, transposed = false, residual = false;
    bool tanh = false;
    bool no_gate_path = false;    // gradient: what flows back through the gate's input is lost
    bool no_direct_path = false;  // gradient: only what flows through the gate's input
    GateSlopeKnob slope = GateSlopeKnob::right;
    bool no_bias_gradient = false;
    bool last_token_bias = false;  // gradient of the bias from the last token of each head alone
};

/// All switches. The same set describes a wrong forward pass, a wrong gradient of inputs, or a wrong gradient of
/// parameters: see Deviation.
struct Knobs {
    ScaleKnob scale = ScaleKnob::right;
    bool late_scale = false;  // right: the scores are scaled just before they are normalised
    bool keys_interleaved = false, values_interleaved = false;  // kv head = h mod Hkv
    bool first_kv_head = false;                                 // kv head = 0
    bool other_mask = false;                                    // exact for twice and twice for exact
    bool ignore_documents = false;                              // of the attention mask
    bool strict_mask = false;  // a query but the first does not see its own key
    bool loose_mask = false;   // a query sees one key of its future
    ConvKnobs pre, post;
    MixKnobs pre_mix, post_mix;
    FutureKnob future = FutureKnob::hidden;
    bool causal_values = false;  // whatever weights the future got, its values are not read
    SoftmaxKnob softmax = SoftmaxKnob::right;
    double row_constant = 0;            // right: softmax does not see what is added to all scores of a row
    bool renormalised = false;          // rows of the final weights are divided by their sums
    bool clipped = false;               // negative final weights become 0
    bool context_from_weights = false;  // the weights before convolution and mixing meet the values
    NormKnobs norm;
    GateKnobs gate;
    Index tile = 8;  // keys per tile, or queries, of the bugs that concern tiles
    // Of gradients only.
    bool query_unscaled = false, key_unscaled = false;
    GroupKnob key_group = GroupKnob::summed, value_group = GroupKnob::summed;
    BatchKnob batch = BatchKnob::summed;
    RowTermKnob row_term = RowTermKnob::right;
    bool no_weights_factor = false;     // softmax's gradient lacks the factor A
    bool values_from_weights = false;   // gradient of v: the weights before convolution and mixing were saved
    bool final_weights_factor = false;  // the weights after convolution and mixing were saved for it
    bool weights_from_logits = false;   // the weights are recomputed without convolution and mixing
    bool last_query_tile_lost = false;  // parameter gradients miss the rows that do not fill a tile
};

/// A named bug: which switches the forward pass, the gradients of inputs and those of parameters are computed with.
struct Deviation {
    std::string name;      // "pre.kernel flipped on the key axis"
    std::string sentence;  // what to look for in the code
    std::string stage;     // the first tensor that it makes wrong: "pre_conv", "d_weights", "grad.pre.kernel"
    Knobs forward, backward, parameters;
};

}  // namespace mta::oracle
