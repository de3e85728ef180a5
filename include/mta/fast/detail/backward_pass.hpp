// The backward pass of a range of rows of one document: weights are made again, gradients follow behind them.
// SPDX-License-Identifier: MIT
//
// Three fronts run down the rows. At the first, logits and weights are computed again and d_context becomes
// d_post_conv; d_weights of a row is complete when the rows of d_post_conv that read it are, Cq_post - 1 further down:
// the second front, where it becomes d_conv; d_logits lags by another Cq_pre - 1: the third, where it becomes d_q, d_k.
//
// Own rows are those whose d_q this range writes and whose sums into d_k, d_v and the parameters it adds; the rows
// above and below that it needs besides are computed by two ranges, and counted by one.
#pragma once

#include <mta/fast/detail/score_stream.hpp>

namespace mta::fast {

template <class Scalar>
class BackwardPass {
  public:
    BackwardPass(const Call<Scalar>& call, const SharedMemory<Scalar>& shared, ThreadMemory<Scalar>& memory,
                 Index bundle, TokenRows<const Scalar> d_out, TokenRows<const Scalar> context,
                 TokenRows<Scalar> d_q)
        : call_{call},
          shared_{shared},
          memory_{memory},
          bundle_{bundle},
          d_out_{d_out},
          context_{context},
          d_q_{d_q} {}

    void run(const DocumentRows& document, RowRange own) {
        ScoreStream<Scalar> stream(call_, shared_, memory_, bundle_, document);
        const auto until = [&](Index rows) { return std::min(own.end + rows, document.length); };
        const Index pre = shared_.pre.above(), post = shared_.post.above();
        const RowRange weight_rows{stream.weight_rows(own).begin, until(pre)};
        const RowRange d_rows{own.begin, until(pre + post)};
        Index second = own.begin, third = own.begin;
        for (Index f = stream.logit_rows(own).begin; f < d_rows.end; f += call_.layout.block) {
            const RowRange block{f, std::min(f + call_.layout.block, d_rows.end)};
            stream.add_logits(block.within({0, weight_rows.end}));
            stream.add_weights(block.within(weight_rows), own, Pass::backward);
            add_d_post_conv(stream, block.within(d_rows), own);
            const Index complete = block.end == d_rows.end ? weight_rows.end : block.end - post;
            while (second < complete) {
                const RowRange rows{second, std::min(second + call_.layout.block, complete)};
                add_d_conv(stream, rows, own);
                second = rows.end;
                third = finish_rows(stream, third, second == weight_rows.end ? own.end : second - pre);
            }
        }
    }

  private:
    // Where a gradient goes, and the stage before takes it from.
    ScoreRows<Scalar>& d_weights() {
        return shared_.post.has_conv() ? memory_.d_weights : memory_.d_post_conv;
    }
    ScoreRows<Scalar>& d_conv() { return shared_.pre.has_conv() ? memory_.d_conv : memory_.d_logits; }

    // First front: from d_context of these rows to d_post_conv; of own rows also d_v and the sums of the post side.
    void add_d_post_conv(ScoreStream<Scalar>& stream, RowRange rows, RowRange own) {
        if (rows.size() == 0) return;
        const auto& post = shared_.post;
        const auto& layout = call_.layout;
        const Index begin = stream.document().begin;
        pack_d_context(begin, rows, own);
        auto& d_final = post.has_mix() ? memory_.d_final : memory_.d_post_conv;
        memory_.d_final.first = rows.begin;
        stream.products.dot_features(memory_.out, shared_.v + begin * layout.row_stride, d_final, rows,
                                     stream.keys());
        stream.drop(d_final, rows);
        const RowRange counted = rows.within(own);
        if (counted.size() > 0) {
            stream.make_final_weights(counted);
            stream.products.sum_rows(
                memory_.final_weights, memory_.out + (counted.begin - rows.begin) * layout.row_stride,
                memory_.d_v + begin * layout.row_stride, counted, stream.keys(), stream.document().causal, 0);
        }
        if (post.has_mix()) {
            stream.stages.add_mix_gradients(post, d_final, stream.post_mix_input(), counted,
                                            memory_.sums.post_mix);
            stream.stages.mix(post, Direction::transposed, d_final, memory_.d_post_conv, rows);
        }
        if (post.has_conv())
            stream.stages.add_kernel_gradients(post, memory_.d_post_conv, memory_.weights, counted,
                                               memory_.sums.post_kernel);
    }

    // Second front: d_weights of these rows, through the softmax, to d_conv; of own rows the sums of the pre side.
    void add_d_conv(ScoreStream<Scalar>& stream, RowRange rows, RowRange own) {
        const auto &pre = shared_.pre, &post = shared_.post;
        const auto& layout = call_.layout;
        const RowRange counted = rows.within(own);
        memory_.d_weights.first = memory_.d_logits.first = rows.begin;
        if (post.has_conv())
            stream.stages.convolve(post, Direction::transposed, memory_.d_post_conv, memory_.d_weights, rows,
                                   stream.keys());
        auto& d_scores = pre.has_mix() ? d_weights() : d_conv();
        for (Index i = rows.begin; i < rows.end; ++i) {
            const Index keys = stream.document().keys(i);
            for (Index p = 0; p < layout.planes; ++p) {
                const Index at = p * layout.plane_stride;
                normalise_row_backward(d_weights().row(i) + at, memory_.weights.row(i) + at,
                                       d_scores.row(i) + at, keys, call_.config.normalise);
            }
            clear_tail(layout, d_scores.row(i), keys);
        }
        if (pre.has_mix()) {
            stream.stages.add_mix_gradients(pre, d_scores, memory_.conv, counted, memory_.sums.pre_mix);
            stream.stages.mix(pre, Direction::transposed, d_scores, d_conv(), rows);
        }
        if (pre.has_conv())
            stream.stages.add_kernel_gradients(pre, memory_.d_conv, memory_.logits, counted,
                                               memory_.sums.pre_kernel);
    }

    // Third front: own rows [begin, end) of d_logits, to d_q and d_k. Returns the first row that is left.
    Index finish_rows(ScoreStream<Scalar>& stream, Index begin, Index end) {
        for (Index i = begin; i < end; i += call_.layout.block) {
            const RowRange rows{i, std::min(i + call_.layout.block, end)};
            if (shared_.pre.has_conv()) {
                memory_.d_logits.first = rows.begin;
                stream.stages.convolve(shared_.pre, Direction::transposed, memory_.d_conv, memory_.d_logits,
                                       rows, stream.logit_keys());
            }
            add_query_key_gradients(stream, rows);
        }
        return std::max(begin, end);
    }

    void add_query_key_gradients(ScoreStream<Scalar>& stream, RowRange rows) {
        const auto& layout = call_.layout;
        const auto& document = stream.document();
        const Index from = document.begin + rows.begin, to = document.begin + rows.end;
        const Index keys = document.begin * layout.row_stride;
        pack_rows(layout, bundle_, call_.q, from, to, call_.scale, memory_.later_q);
        clear(memory_.d_q, rows.size() * layout.row_stride / lanes<Scalar>);
        stream.products.sum_keys(memory_.d_logits, shared_.k + keys, memory_.d_q, rows, stream.logit_keys());
        stream.products.sum_rows(memory_.d_logits, memory_.later_q, memory_.d_k + keys, rows,
                                 stream.logit_keys(), document.causal, document.lookahead);
        unpack_rows(layout, bundle_, memory_.d_q, from, to, call_.scale, d_q_);
    }

    // d_context of these rows, through the output stages, packed.
    void pack_d_context(Index begin, RowRange rows, RowRange own) {
        const auto& layout = call_.layout;
        if (!call_.output.any())
            return pack_rows(layout, bundle_, d_out_, begin + rows.begin, begin + rows.end, Scalar(1),
                             memory_.out);
        clear(memory_.out, rows.size() * layout.row_stride / lanes<Scalar>);
        for_each_head(layout, bundle_, [&](Lane lane, Index at) {
            for (Index i = rows.begin; i < rows.end; ++i) {
                const bool counted = own.begin <= i && i < own.end;
                call_.output.backward(d_out_.row(layout, lane, begin + i),
                                      context_.row(layout, lane, begin + i), memory_.row,
                                      counted ? memory_.sums.output : nullptr, memory_.room);
                pack_head(memory_.row, layout.D, memory_.out + (i - rows.begin) * layout.row_stride + at);
            }
        });
    }

    const Call<Scalar>& call_;
    const SharedMemory<Scalar>& shared_;
    ThreadMemory<Scalar>& memory_;
    Index bundle_;
    TokenRows<const Scalar> d_out_, context_;
    TokenRows<Scalar> d_q_;
};

}  // namespace mta::fast
