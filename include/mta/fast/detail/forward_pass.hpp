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
    /// `context`: null where the context is the output.
    ForwardPass(const Call<Scalar>& call, const SharedMemory<Scalar>& shared, ThreadMemory<Scalar>& memory,
                Index bundle, Scalar* out, Scalar* context)
        : call_{call}, shared_{shared}, memory_{memory}, bundle_{bundle}, out_{out}, context_{context} {}

    void run(const DocumentRows& document, RowRange own) {
        ScoreStream<Scalar> stream(call_, shared_, memory_, bundle_, document);
        const RowRange logit_rows = stream.logit_rows(own), weight_rows = stream.weight_rows(own);
        for (Index f = logit_rows.begin; f < own.end; f += call_.layout.block) {
            const RowRange block{f, std::min(f + call_.layout.block, own.end)};
            stream.add_logits(block);
            stream.add_weights(block.within(weight_rows), own, Pass::forward);
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
        for_each_head(layout, bundle_, [&](Lane lane, Index at) {
            const Index head = (lane.b * layout.H + lane.h) * layout.S + begin;
            for (Index i = rows.begin; i < rows.end; ++i) {
                const Scalar* packed = memory_.out + (i - rows.begin) * layout.row_stride + at;
                Scalar* out = out_ + (head + i) * layout.D;
                Scalar* context = context_ == nullptr ? out : context_ + (head + i) * layout.D;
                unpack_head(packed, layout.D, Scalar(1), context);
                if (context_ != nullptr) call_.output.forward(context, out, memory_.room);
            }
        });
    }

    const Call<Scalar>& call_;
    const SharedMemory<Scalar>& shared_;
    ThreadMemory<Scalar>& memory_;
    Index bundle_;
    Scalar *out_, *context_;
};

}  // namespace mta::fast
