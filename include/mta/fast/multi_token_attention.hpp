// Multi-token attention on CPUs, fast: row blocks streamed through all stages, heads in vector lanes, no S x S matrix.
// SPDX-License-Identifier: MIT
//
// Source    Multi-Token Attention, arXiv:2504.00927, Secs. 3.1 to 3.3; layers/multi_token_attention.hpp states the
//           stages. docs/fast.md: the algorithm, its cost, its memory.
// Bits      the forward pass gives the same bits at any thread count, block size and batch; the backward pass at a
//           fixed thread count, since threads sum d_k, d_v and parameter gradients apart and are then added in order.
// Agrees    with Reference to rounding: sums have another order and multiply-adds are fused where the machine can.
// Traps     1. NaN or infinity of later tokens stays out of earlier rows, except where MaskRule::exact looks ahead in
//              the backward pass. A row without cotangent that holds NaN spoils sums over rows (0 * NaN).
//           2. Groups of a head mix that do not fill whole packets, and dropout, run plain loops.
// Errors    those of layers/multi_token_attention.hpp; ShapeError: results, saved or workspace that do not fit.
#pragma once

#include <cstddef>
#include <memory>
#include <mta/fast/detail/attention_run.hpp>
#include <mta/layers/attention_backend.hpp>
#if defined(_OPENMP)
#include <omp.h>
#endif

namespace mta {

/// What Fast's forward pass leaves for its backward pass: O(S) numbers per head.
template <class Scalar>
struct FastSaved {
    Tensor<Scalar, 3> maximum, second;         // (B, H, S): statistics of each row of masked scores
    std::optional<Tensor<Scalar, 4>> context;  // (B, H, S, D), where a norm or gate follows
};

/// Gradients with respect to inputs and parameters.
template <class Scalar>
struct FastGrads {
    Tensor<Scalar, 4> d_q, d_k, d_v;
    MultiTokenAttentionParams<Scalar> d_params;
};

/// The backend. Pure and reentrant: calls share nothing.
struct Fast {
    /// Threads that a call uses; 0: as many as OpenMP would.
    Index threads = 0;

    Index thread_count() const {
#if defined(_OPENMP)
        return threads > 0 ? threads : omp_get_max_threads();
#else
        return std::max<Index>(threads, 1);
#endif
    }

    /// Bytes that forward_into, or backward_into, needs at most.
    template <class Scalar>
    static std::size_t workspace_bytes(const fast::AttentionShape& shape,
                                       const MultiTokenAttentionConfig& config, Index threads,
                                       fast::Pass pass = fast::Pass::backward) {
        check_config(config);
        const Index gates = !config.gate ? 0 : *config.gate == GateKind::vector ? config.head_dim : 1;
        const Index output = (config.norm ? config.head_dim : 0) + gates * (config.head_dim + 1);
        const fast::Layout<Scalar> layout(shape, config, /*shared_documents=*/false);
        return fast::AttentionRun<Scalar>::bytes(layout, config, output, threads, pass);
    }

    /// Room for what forward_into saves.
    template <class Scalar>
    static FastSaved<Scalar> make_saved(const fast::AttentionShape& shape,
                                        const MultiTokenAttentionConfig& config) {
        FastSaved<Scalar> saved;
        saved.maximum = zeros<Scalar>(shape.batch, config.heads, shape.length);
        saved.second = saved.maximum;
        if (config.norm || config.gate)
            saved.context = zeros<Scalar>(shape.batch, config.heads, shape.length, config.head_dim);
        return saved;
    }

    template <TensorOf<4> Q, TensorOf<4> K, TensorOf<4> V>
    auto forward(const Q& q, const K& k, const V& v, const MultiTokenAttentionParams<ScalarOf<Q>>& params,
                 const MultiTokenAttentionConfig& config, const AttentionCall& call) const
        -> AttentionResult<ScalarOf<Q>, FastSaved<ScalarOf<Q>>> {
        using Scalar = ScalarOf<Q>;
        detail::check_multi_token_attention(q, k, v, params, config, call);
        const auto shape = shape_of(q);
        const Workspace workspace(
            workspace_bytes<Scalar>(shape, config, thread_count(), fast::Pass::forward));
        AttentionResult<Scalar, FastSaved<Scalar>> result{Tensor<Scalar, 4>(q.dimensions()),
                                                          make_saved<Scalar>(shape, config)};
        forward_into(q, k, v, params, config, call, result.out, result.saved, workspace.bytes());
        return result;
    }

    template <TensorOf<4> Out, TensorOf<4> Q, TensorOf<4> K, TensorOf<4> V>
    auto backward(const Out& d_out, const Q& q, const K& k, const V& v,
                  const MultiTokenAttentionParams<ScalarOf<Q>>& params,
                  const MultiTokenAttentionConfig& config, const AttentionCall& call,
                  const FastSaved<ScalarOf<Q>>& saved) const -> FastGrads<ScalarOf<Q>> {
        using Scalar = ScalarOf<Q>;
        detail::check_multi_token_attention(q, k, v, params, config, call);
        const Workspace workspace(workspace_bytes<Scalar>(shape_of(q), config, thread_count()));
        FastGrads<Scalar> g{Tensor<Scalar, 4>(q.dimensions()), Tensor<Scalar, 4>(k.dimensions()),
                            Tensor<Scalar, 4>(v.dimensions()),
                            make_multi_token_attention_params<Scalar>(config)};
        backward_into(d_out, q, k, v, params, config, call, saved, g, workspace.bytes());
        return g;
    }

    /// forward without allocations: `out` is shaped like q, `saved` comes from make_saved, `workspace` holds at least
    /// workspace_bytes for Pass::forward.
    template <TensorOf<4> Q, TensorOf<4> K, TensorOf<4> V, TensorOf<4> Out>
    void forward_into(const Q& q, const K& k, const V& v,
                      const MultiTokenAttentionParams<ScalarOf<Q>>& params,
                      const MultiTokenAttentionConfig& config, const AttentionCall& call, Out& out,
                      FastSaved<ScalarOf<Q>>& saved, std::span<std::byte> workspace) const {
        using Scalar = ScalarOf<Q>;
        detail::check_multi_token_attention(q, k, v, params, config, call);
        require_same_shape("Fast: out", out.dimensions(), q.dimensions());
        check_saved(saved, q, config);
        check_workspace<Scalar>(workspace, shape_of(q), config, fast::Pass::forward);
        auto described = describe(q, k, v, params, config, call, saved);
        described.stored_maximum = saved.maximum.data();
        described.stored_second = saved.second.data();
        fast::AttentionRun<Scalar> run(described, params, thread_count(), fast::Pass::forward, workspace);
        run.forward(tokens_of(out), saved.context ? tokens_of(*saved.context) : fast::TokenRows<Scalar>{});
    }

    /// backward without allocations: the gradients in `g` are shaped like what they are gradients of.
    template <TensorOf<4> Out, TensorOf<4> Q, TensorOf<4> K, TensorOf<4> V>
    void backward_into(const Out& d_out, const Q& q, const K& k, const V& v,
                       const MultiTokenAttentionParams<ScalarOf<Q>>& params,
                       const MultiTokenAttentionConfig& config, const AttentionCall& call,
                       const FastSaved<ScalarOf<Q>>& saved, FastGrads<ScalarOf<Q>>& g,
                       std::span<std::byte> workspace) const {
        using Scalar = ScalarOf<Q>;
        detail::check_multi_token_attention(q, k, v, params, config, call);
        require_same_shape("Fast: d_out", d_out.dimensions(), q.dimensions());
        require_same_shape("Fast: d_q", g.d_q.dimensions(), q.dimensions());
        require_same_shape("Fast: d_k", g.d_k.dimensions(), k.dimensions());
        require_same_shape("Fast: d_v", g.d_v.dimensions(), v.dimensions());
        detail::check_params(g.d_params, config);
        check_saved(saved, q, config);
        check_workspace<Scalar>(workspace, shape_of(q), config, fast::Pass::backward);
        const auto described = describe(q, k, v, params, config, call, saved);
        fast::AttentionRun<Scalar> run(described, params, thread_count(), fast::Pass::backward, workspace);
        run.backward(tokens_of(d_out),
                     saved.context ? tokens_of(*saved.context) : fast::TokenRows<const Scalar>{},
                     {tokens_of(g.d_q), tokens_of(g.d_k), tokens_of(g.d_v), g.d_params});
    }

  private:
    // Memory of a call that brings none: not cleared, so that what is not used is never touched.
    class Workspace {
      public:
        explicit Workspace(std::size_t bytes)
            : memory_{std::make_unique_for_overwrite<std::byte[]>(bytes)}, bytes_{bytes} {}
        std::span<std::byte> bytes() const { return {memory_.get(), bytes_}; }

      private:
        std::unique_ptr<std::byte[]> memory_;
        std::size_t bytes_;
    };

    // All tokens of a tensor (B, heads, S, D).
    template <class T>
    static auto tokens_of(T& t) {
        using Scalar = std::remove_pointer_t<decltype(t.data())>;
        return fast::TokenRows<Scalar>{t.data(), t.dimension(1), t.dimension(2)};
    }

    template <class Q>
    static fast::AttentionShape shape_of(const Q& q) {
        return {q.dimension(0), q.dimension(2)};
    }

    template <class Scalar, class Q>
    static void check_saved(const FastSaved<Scalar>& saved, const Q& q,
                            const MultiTokenAttentionConfig& config) {
        const std::array<Index, 3> rows{q.dimension(0), q.dimension(1), q.dimension(2)};
        require_same_shape("Fast: saved.maximum", saved.maximum.dimensions(), rows);
        require_same_shape("Fast: saved.second", saved.second.dimensions(), rows);
        const bool needed = config.norm || config.gate;
        require(saved.context.has_value() == needed, "Fast: saved.context: got ", needed ? "none" : "one",
                ", expected ", needed ? "one" : "none", ", as forward returns for this configuration");
        if (needed) require_same_shape("Fast: saved.context", saved.context->dimensions(), q.dimensions());
    }

    template <class Scalar>
    void check_workspace(std::span<std::byte> workspace, const fast::AttentionShape& shape,
                         const MultiTokenAttentionConfig& config, fast::Pass pass) const {
        const std::size_t bytes = workspace_bytes<Scalar>(shape, config, thread_count(), pass);
        require(workspace.size() >= bytes, "Fast: workspace: got ", workspace.size(),
                " bytes, expected at least ", bytes, " as workspace_bytes says");
    }

    template <class Q, class K, class V>
    static fast::Call<ScalarOf<Q>> describe(const Q& q, const K& k, const V& v,
                                            const MultiTokenAttentionParams<ScalarOf<Q>>& params,
                                            const MultiTokenAttentionConfig& config,
                                            const AttentionCall& call, const FastSaved<ScalarOf<Q>>& saved) {
        using Scalar = ScalarOf<Q>;
        const auto shape = shape_of(q);
        const double scale = config.scale.value_or(1.0 / std::sqrt(static_cast<double>(config.head_dim)));
        return {fast::Layout<Scalar>(shape, config,
                                     fast::same_documents(call.documents, shape.batch, shape.length)),
                config,
                call,
                static_cast<Scalar>(scale),
                tokens_of(q),
                tokens_of(k),
                tokens_of(v),
                saved.maximum.data(),
                saved.second.data(),
                nullptr,
                nullptr,
                fast::OutputStages<Scalar>(params, config),
                fast::DropoutRows<Scalar>(config, call)};
    }
};

}  // namespace mta
