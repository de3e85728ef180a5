// The memory of one call: what all threads read, and the scratch of each thread.
// SPDX-License-Identifier: MIT
//
// Shared    packed keys and values of one bundle, O(S D); kernels and mixes of the bundle.
// A thread  windows of score rows, O(block S H): as many rows as the stages after them reach back, plus one block; the
//           backward pass also d_k and d_v of the bundle, O(S D), which are summed over threads in order.
#pragma once

#include <mta/fast/detail/output_rows.hpp>
#include <mta/fast/detail/score_stages.hpp>

namespace mta::fast {

/// Which passes the memory is for.
enum class Pass { forward, backward };

/// Gradients of the parameters as one thread sums them.
template <class Scalar>
struct ParameterSums {
    Scalar *pre_kernel, *pre_mix, *post_kernel, *post_mix, *output;
};

/// Read by all threads.
template <class Scalar>
struct SharedMemory {
    ScoreSide<Scalar> pre, post;
    Scalar *k, *v;  // packed rows of the bundle's sequence

    /// `with_keys`: false where keys and values are kept elsewhere.
    SharedMemory(const Layout<Scalar>& layout, const MultiTokenAttentionConfig& config, Arena& arena,
                 bool with_keys = true)
        : pre{config.pre, config.mask == MaskRule::exact, layout}, post{config.post, false, layout} {
        pre.take(arena);
        post.take(arena);
        const Index rows = with_keys ? layout.S + 2 * tile_columns : 0;  // whole tiles read past the end
        k = arena.take<Scalar>(rows * layout.row_stride);
        v = arena.take<Scalar>(rows * layout.row_stride);
    }
};

/// Written by one thread. Windows that a configuration does not need stay empty.
template <class Scalar>
struct ThreadMemory {
    ScoreRows<Scalar> logits, conv, weights, post_conv, final_weights;    // forward
    ScoreRows<Scalar> d_final, d_post_conv, d_weights, d_conv, d_logits;  // backward
    const Scalar** row_table;
    Scalar *q, *out;  // packed rows of a block: queries; context, or d_context
    Scalar *later_q, *d_q, *d_k,
        *d_v;            // backward: queries and their gradients of an earlier block; of all keys
    Scalar *room, *row;  // of the output stages; one row of D
    ParameterSums<Scalar> sums;

    ThreadMemory(const Layout<Scalar>& layout, const SharedMemory<Scalar>& shared, Index output_gradients,
                 Pass pass, Arena& arena) {
        const auto &pre = shared.pre, &post = shared.post;
        const Index R = layout.block, pre_above = pre.above(), post_above = post.above();
        const auto rows = [&](bool needed, Index slots) {
            ScoreRows<Scalar> window;
            if (!needed) return window;
            window.stride = layout.score_stride;
            window.slots = slots;
            Scalar* memory = arena.take<Scalar>(slots * layout.score_stride);
            window.key0 = memory == nullptr ? nullptr : memory + layout.margin * lanes<Scalar>;
            return window;
        };
        const bool backward = pass == Pass::backward;
        logits = rows(pre.has_conv(), R + pre_above + post_above);
        conv = rows(pre.has_mix(), R + post_above);
        weights = rows(true, R + post_above);
        post_conv = rows(post.has_conv() && post.has_mix(), R);
        final_weights = rows(true, R);
        d_final = rows(backward && post.has_mix(), R);
        d_post_conv = rows(backward, R + post_above);
        d_weights = rows(backward && post.has_conv(), R);
        d_conv = rows(backward && pre.has_conv(), R + pre_above);
        d_logits = rows(backward, R);
        row_table = arena.take<const Scalar*>(std::max(pre.Cq, post.Cq) + 1);
        q = arena.take<Scalar>(R * layout.row_stride);
        out = arena.take<Scalar>(R * layout.row_stride);
        room = arena.take<Scalar>(3 * layout.D);
        row = arena.take<Scalar>(layout.D);
        if (backward) take_gradients(layout, shared, output_gradients, arena);
    }

    /// Zeros in the margins, which no stage writes.
    void clear_margins(const Layout<Scalar>& layout) const {
        for (const auto* window : {&logits, &conv, &weights, &post_conv, &final_weights, &d_final,
                                   &d_post_conv, &d_weights, &d_conv, &d_logits})
            for (Index n = 0; *window && n < window->slots * layout.planes; ++n)
                clear(window->key0 + n * layout.plane_stride - layout.margin * lanes<Scalar>, layout.margin);
    }

  private:
    void take_gradients(const Layout<Scalar>& layout, const SharedMemory<Scalar>& shared,
                        Index output_gradients, Arena& arena) {
        later_q = arena.take<Scalar>(layout.block * layout.row_stride);
        d_q = arena.take<Scalar>(layout.block * layout.row_stride);
        d_k = arena.take<Scalar>(layout.S * layout.row_stride);
        d_v = arena.take<Scalar>(layout.S * layout.row_stride);
        sums.pre_kernel = arena.take<Scalar>(shared.pre.kernel_size());
        sums.pre_mix = arena.take<Scalar>(shared.pre.mix_size());
        sums.post_kernel = arena.take<Scalar>(shared.post.kernel_size());
        sums.post_mix = arena.take<Scalar>(shared.post.mix_size());
        sums.output = arena.take<Scalar>(output_gradients);
    }
};

}  // namespace mta::fast
