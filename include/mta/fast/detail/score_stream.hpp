// From queries and keys to final weights, a block of rows at a time: the part that both passes have in common.
// SPDX-License-Identifier: MIT
//
// Windows  a stage keeps the rows that later rows read again, the Cq - 1 before a block, so that rows are computed once
//          as long as blocks follow each other without a gap. Stages that are left out cost no rows: the stage before
//          them writes where they would have written.
#pragma once

#include <mta/fast/detail/call_memory.hpp>
#include <mta/fast/detail/dropout_rows.hpp>
#include <mta/fast/detail/lane_rows.hpp>
#include <mta/fast/detail/row_products.hpp>
#include <mta/fast/detail/softmax_kernels.hpp>

namespace mta::fast {

/// What stays the same during a call.
template <class Scalar>
struct Call {
    Layout<Scalar> layout;
    const MultiTokenAttentionConfig& config;
    const AttentionCall& call;
    Scalar scale;
    TokenRows<const Scalar> q, k, v;
    const Scalar *maximum, *second;          // (B, H, S): row statistics
    Scalar *stored_maximum, *stored_second;  // the same, where the forward pass writes them
    OutputStages<Scalar> output;
    DropoutRows<Scalar> dropout;
};

template <class Scalar>
class ScoreStream {
    static constexpr Index W = lanes<Scalar>;

  public:
    ScoreStream(const Call<Scalar>& call, const SharedMemory<Scalar>& shared, ThreadMemory<Scalar>& memory,
                Index bundle, const DocumentRows& document)
        : call_{call},
          shared_{shared},
          memory_{memory},
          bundle_{bundle},
          document_{document},
          stages{call.layout, document_, memory.row_table},
          products{call.layout} {}

    auto keys() const {
        return [this](Index i) { return document_.keys(i); };
    }
    auto logit_keys() const {
        return [this](Index i) { return document_.logit_keys(i); };
    }
    const DocumentRows& document() const { return document_; }

    /// Rows whose logits, and whose weights, final weights of `rows` depend on.
    RowRange logit_rows(RowRange rows) const {
        return {std::max<Index>(0, rows.begin - shared_.pre.above() - shared_.post.above()), rows.end};
    }
    RowRange weight_rows(RowRange rows) const {
        return {std::max<Index>(0, rows.begin - shared_.post.above()), rows.end};
    }

    // Where a stage writes, and the stage after it reads.
    ScoreRows<Scalar>& mix_input() { return shared_.pre.has_mix() ? memory_.conv : memory_.weights; }
    ScoreRows<Scalar>& logits() { return shared_.pre.has_conv() ? memory_.logits : mix_input(); }
    ScoreRows<Scalar>& post_mix_input() {
        if (!shared_.post.has_conv()) return memory_.weights;
        return shared_.post.has_mix() ? memory_.post_conv : memory_.final_weights;
    }

    /// Logits of these rows. Blocks must follow each other.
    void add_logits(RowRange rows) {
        if (rows.size() == 0) return;
        const auto& layout = call_.layout;
        pack_rows(layout, bundle_, call_.q, document_.begin + rows.begin, document_.begin + rows.end,
                  call_.scale, memory_.q);
        products.dot_features(memory_.q, shared_.k + document_.begin * layout.row_stride, logits(), rows,
                              logit_keys());
    }

    /// Weights of these rows; `own`: the rows whose statistics are stored, or all of them read again.
    void add_weights(RowRange rows, RowRange own, Pass pass) {
        if (shared_.pre.has_conv())
            stages.convolve(shared_.pre, Direction::forward, memory_.logits, mix_input(), rows, keys());
        if (shared_.pre.has_mix())
            stages.mix(shared_.pre, Direction::forward, memory_.conv, memory_.weights, rows);
        for (Index i = rows.begin; i < rows.end; ++i)
            for (Index p = 0; p < call_.layout.planes; ++p) {
                Scalar* row = memory_.weights.row(i) + p * call_.layout.plane_stride;
                const Index keys = document_.keys(i);
                if (pass == Pass::backward) {
                    normalise_row(row, keys, stored_statistics(i, p), call_.config.normalise);
                    continue;
                }
                const auto s = normalise_row(row, keys, call_.config.normalise);
                if (own.begin <= i && i < own.end) store_statistics(i, p, s);
            }
    }

    /// Final weights of these rows, at most a block of them.
    void make_final_weights(RowRange rows) {
        memory_.post_conv.first = memory_.final_weights.first = rows.begin;
        if (shared_.post.has_conv())
            stages.convolve(shared_.post, Direction::forward, memory_.weights, post_mix_input(), rows,
                            keys());
        if (shared_.post.has_mix())
            stages.mix(shared_.post, Direction::forward, post_mix_input(), memory_.final_weights, rows);
        else if (!shared_.post.has_conv())
            stages.copy(memory_.weights, memory_.final_weights, rows);
        drop(memory_.final_weights, rows);
    }

    /// Dropout on these rows, which acts on gradients as on values.
    void drop(const ScoreRows<Scalar>& scores, RowRange rows) const {
        for (Index i = rows.begin; call_.dropout.active && i < rows.end; ++i)
            call_.dropout.apply(call_.layout, bundle_, document_.begin + i, document_.begin,
                                document_.keys(i), scores.row(i));
    }

  private:
    // Offset of a head's statistics of row i.
    Index statistics_at(Lane lane, Index i) const {
        return (lane.b * call_.layout.H + lane.h) * call_.layout.S + document_.begin + i;
    }
    RowStatistics<Scalar> stored_statistics(Index i, Index plane) const {
        alignas(64) Scalar maximum[W] = {}, second[W] = {};
        for (Index l = 0; l < W; ++l) {
            const Lane lane = call_.layout.lane(bundle_, plane * W + l);
            if (!lane.used) continue;
            maximum[l] = call_.maximum[statistics_at(lane, i)];
            second[l] = call_.second[statistics_at(lane, i)];
        }
        return {load(maximum), load(second)};
    }
    void store_statistics(Index i, Index plane, const RowStatistics<Scalar>& s) const {
        alignas(64) Scalar maximum[W], second[W];
        store(maximum, s.maximum);
        store(second, s.second);
        for (Index l = 0; l < W; ++l) {
            const Lane lane = call_.layout.lane(bundle_, plane * W + l);
            if (!lane.used) continue;
            call_.stored_maximum[statistics_at(lane, i)] = maximum[l];
            call_.stored_second[statistics_at(lane, i)] = second[l];
        }
    }

    const Call<Scalar>& call_;
    const SharedMemory<Scalar>& shared_;
    ThreadMemory<Scalar>& memory_;
    Index bundle_;
    DocumentRows document_;

  public:
    ScoreStages<Scalar> stages;
    RowProducts<Scalar> products;
};

}  // namespace mta::fast
