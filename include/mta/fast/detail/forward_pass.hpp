// The forward pass of a range of rows of one document.
// SPDX-License-Identifier: MIT
//
// For every block of rows: logits, weights, final weights, context, output stages. The first block begins earlier by
// the rows above that its final weights depend on.
#pragma once

#include <mta/fast/detail/score_stream.hpp>

namespace mta::fast {

template <class Scalar>
class ForwardPass {
  public:
    /// `context`: without data where the context is the output.
    ForwardPass(const Call<Scalar>& call, const SharedMemory<Scalar>& shared, ThreadMemory<Scalar>& memory,
                Index bundle, TokenRows<Scalar> out, TokenRows<Scalar> context)
        : call_{call}, shared_{shared}, memory_{memory}, bundle_{bundle}, out_{out}, context_{context} {}

    void run(const DocumentRows& document, RowRange own, bool keep_statistics = true) {
        ScoreStream<Scalar> stream(call_, shared_, memory_, bundle_, document);
        const RowRange logit_rows = stream.logit_rows(own), weight_rows = stream.weight_rows(own);
        for (Index f = logit_rows.begin; f < own.end; f += call_.layout.block) {
            const RowRange block{f, std::min(f + call_.layout.block, own.end)};
            stream.add_logits(block);
            stream.add_weights(block.within(weight_rows), keep_statistics ? own : RowRange{}, Pass::forward);
            if (const RowRange rows = block.within(own); rows.size() > 0) {
                stream.make_final_weights(rows);
                make_outputs(stream, rows);
            }
        }
    }

  private:
    void make_outputs(ScoreStream<Scalar>& stream, RowRange rows) {
        const auto& layout = call_.layout;
        const Index begin = stream.document().begin;
        clear(memory_.out, rows.size() * layout.row_stride / lanes<Scalar>);
        stream.products.sum_keys(memory_.final_weights, shared_.v + begin * layout.row_stride, memory_.out,
                                 rows, stream.keys());
        unpack_rows(layout, bundle_, memory_.out, begin + rows.begin, begin + rows.end, Scalar(1),
                    call_.output.any() ? context_ : out_);
        for_each_head(layout, bundle_, [&](Lane lane, Index) {
            for (Index i = begin + rows.begin; call_.output.any() && i < begin + rows.end; ++i)
                call_.output.forward(context_.row(layout, lane, i), out_.row(layout, lane, i), memory_.room);
        });
    }

    const Call<Scalar>& call_;
    const SharedMemory<Scalar>& shared_;
    ThreadMemory<Scalar>& memory_;
    Index bundle_;
    TokenRows<Scalar> out_, context_;
};

}  // namespace mta::fast
