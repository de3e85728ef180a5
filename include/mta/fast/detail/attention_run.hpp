// One call of the fast path: bundle after bundle, all threads on the rows of the same bundle.
// SPDX-License-Identifier: MIT
//
// Phases    pack kernels, keys and values; rows, each thread its own; backward: sum d_k, d_v and parameter gradients of
//           the threads in their order. Threads are numbered parts of the work: a team of any size runs them all.
#pragma once

#include <mta/core/parallel.hpp>
#include <mta/fast/detail/backward_pass.hpp>
#include <mta/fast/detail/forward_pass.hpp>
#include <mta/fast/detail/work_split.hpp>
#include <new>

namespace mta::fast {

/// Where the gradients of a call go.
template <class Scalar>
struct GradientsOut {
    TokenRows<Scalar> d_q, d_k, d_v;
    MultiTokenAttentionParams<Scalar>& d_params;
};

template <class Scalar>
class AttentionRun {
  public:
    AttentionRun(const Call<Scalar>& call, const MultiTokenAttentionParams<Scalar>& params, Index threads,
                 Pass pass, std::span<std::byte> workspace)
        : call_{call},
          params_{params},
          threads_{threads},
          arena_{workspace},
          shared_{call.layout, call.config, arena_},
          memory_{arena_.template take<ThreadMemory<Scalar>>(threads)} {
        for (Index t = 0; t < threads; ++t) {
            new (memory_ + t)
                ThreadMemory<Scalar>(call_.layout, shared_, call_.output.gradient_size(), pass, arena_);
            memory_[t].clear_margins(call_.layout);
        }
    }

    /// Bytes that a run takes, whatever the documents.
    static std::size_t bytes(const Layout<Scalar>& layout, const MultiTokenAttentionConfig& config,
                             Index output_gradients, Index threads, Pass pass) {
        Arena arena;
        const SharedMemory<Scalar> shared(layout, config, arena);
        arena.template take<ThreadMemory<Scalar>>(threads);
        for (Index t = 0; t < threads; ++t)
            ThreadMemory<Scalar>(layout, shared, output_gradients, pass, arena);
        return arena.bytes();
    }

    void forward(TokenRows<Scalar> out, TokenRows<Scalar> context) {
        for (Index bundle = 0; bundle < call_.layout.bundles; ++bundle) {
            pack(bundle);
            const WorkSplit split = split_of(bundle);
            parallel_for(threads_, [&](Index t) {
                ForwardPass<Scalar> pass(call_, shared_, memory_[t], bundle, out, context);
                split.for_each_piece(rows_of(split, t), [&](const DocumentRows& document, RowRange rows) {
                    pass.run(document, rows);
                });
            });
        }
    }

    void backward(TokenRows<const Scalar> d_out, TokenRows<const Scalar> context, GradientsOut<Scalar> g) {
        const auto& layout = call_.layout;
        const Index kv = layout.B * layout.Hkv * layout.S * layout.D;
        std::fill_n(g.d_k.data, kv, Scalar(0));
        std::fill_n(g.d_v.data, kv, Scalar(0));
        MultiTokenAttentionParams<Scalar>::for_each(
            [](std::string_view, auto& member) { fill(member, Scalar(0)); }, g.d_params);
        for (Index t = 0; t < threads_; ++t)
            std::fill_n(memory_[t].sums.output, call_.output.gradient_size(), Scalar(0));
        for (Index bundle = 0; bundle < layout.bundles; ++bundle) {
            pack(bundle);
            const WorkSplit split = split_of(bundle);
            parallel_for(threads_, [&](Index t) {
                clear_sums(memory_[t], split.keys_of(t));
                BackwardPass<Scalar> pass(call_, shared_, memory_[t], bundle, d_out, context, g.d_q);
                split.for_each_piece(rows_of(split, t), [&](const DocumentRows& document, RowRange rows) {
                    pass.run(document, rows);
                });
            });
            add_key_gradients(bundle, split, g);
            for (Index t = 0; t < threads_; ++t) {
                const auto& sums = memory_[t].sums;
                shared_.pre.add_gradients(layout, bundle, sums.pre_kernel, sums.pre_mix, g.d_params.pre);
                shared_.post.add_gradients(layout, bundle, sums.post_kernel, sums.post_mix, g.d_params.post);
            }
        }
        for (Index t = 0; t < threads_; ++t)
            add_output_gradients(memory_[t].sums.output, g.d_params);
    }

  private:
    WorkSplit split_of(Index bundle) const {
        const MaskRule rule = call_.config.mask;
        const bool ahead = rule == MaskRule::exact && call_.config.pre.has_conv();
        return {call_.call.documents,
                call_.layout.batch_row(bundle),
                call_.layout.S,
                rule != MaskRule::none,
                ahead ? call_.config.pre.query_kernel - 1 : 0,
                threads_};
    }
    static RowRange rows_of(const WorkSplit& split, Index t) { return {split.begin(t), split.begin(t + 1)}; }

    // Part t of n rows.
    RowRange even_part(Index n, Index t) const { return {n * t / threads_, n * (t + 1) / threads_}; }

    void pack(Index bundle) {
        const auto& layout = call_.layout;
        shared_.pre.pack(layout, bundle, params_.pre);
        shared_.post.pack(layout, bundle, params_.post);
        parallel_for(threads_, [&](Index t) {
            const RowRange rows = even_part(layout.S, t);
            for (const auto& [from, to] : {std::pair{call_.k, shared_.k}, std::pair{call_.v, shared_.v}})
                pack_rows(layout, bundle, from, rows.begin, rows.end, Scalar(1),
                          to + rows.begin * layout.row_stride);
        });
    }

    void clear_sums(ThreadMemory<Scalar>& memory, RowRange keys) const {
        const Index stride = call_.layout.row_stride;
        std::fill_n(memory.d_k + keys.begin * stride, keys.size() * stride, Scalar(0));
        std::fill_n(memory.d_v + keys.begin * stride, keys.size() * stride, Scalar(0));
        std::fill_n(memory.sums.pre_kernel, shared_.pre.kernel_size(), Scalar(0));
        std::fill_n(memory.sums.pre_mix, shared_.pre.mix_size(), Scalar(0));
        std::fill_n(memory.sums.post_kernel, shared_.post.kernel_size(), Scalar(0));
        std::fill_n(memory.sums.post_mix, shared_.post.mix_size(), Scalar(0));
    }

    // d_k and d_v of all threads, key by key, in the order of the threads.
    void add_key_gradients(Index bundle, const WorkSplit& split, GradientsOut<Scalar>& g) {
        const auto& layout = call_.layout;
        parallel_for(threads_, [&](Index part) {
            const RowRange chunk = even_part(layout.S, part);
            for (Index t = 0; t < threads_; ++t) {
                const RowRange keys = split.keys_of(t).within(chunk);
                if (keys.size() == 0) continue;
                const Index at = keys.begin * layout.row_stride;
                add_packed_rows(layout, bundle, memory_[t].d_k + at, keys.begin, keys.end, g.d_k);
                add_packed_rows(layout, bundle, memory_[t].d_v + at, keys.begin, keys.end, g.d_v);
            }
        });
    }

    static void add_output_gradients(const Scalar* sums, MultiTokenAttentionParams<Scalar>& d_params) {
        const auto add = [&](auto& member) {
            for (auto& x : elements(member))
                x += *sums++;
        };
        if (d_params.norm) add(d_params.norm->weight);
        if (d_params.gate) {
            add(d_params.gate->weight);
            add(d_params.gate->bias);
        }
    }

    const Call<Scalar>& call_;
    const MultiTokenAttentionParams<Scalar>& params_;
    Index threads_;
    Arena arena_;
    SharedMemory<Scalar> shared_;
    ThreadMemory<Scalar>* memory_;
};

}  // namespace mta::fast
