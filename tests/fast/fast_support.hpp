// What the tests of the fast path share: a case run by Fast and by the reference, and the bounds between them.
// SPDX-License-Identifier: MIT
#pragma once

#include <mta/fast/multi_token_attention.hpp>

#include "support/attention_case.hpp"
#include "support/checks.hpp"

namespace mta::test {

/// Both are right to a few roundings of sums of at most 400 terms, which take another order (and fused multiply-adds)
/// in Fast: 400 * 1.1e-16 of the largest term, some tenfold amplified by softmax and norm.
inline constexpr double double_bound = 4e-13;

template <class Scalar>
struct FastAnswer {
    Tensor<Scalar, 4> out;
    FastGrads<Scalar> grads;
};

template <class Scalar>
FastAnswer<Scalar> run_fast(const AttentionCase<Scalar>& c, Index threads = 1) {
    const Fast fast{threads};
    auto result = fast.forward(c.q, c.k, c.v, c.params, c.config, c.call);
    auto grads = fast.backward(c.d_out, c.q, c.k, c.v, c.params, c.config, c.call, result.saved);
    return {std::move(result.out), std::move(grads)};
}

/// Calls f(name, of got, of want) for the output and every gradient.
template <class Scalar, class Want, class F>
void side_by_side(const FastAnswer<Scalar>& got, const Tensor<Scalar, 4>& out, const Want& want, F&& f) {
    f("out", got.out, out);
    f("d_q", got.grads.d_q, want.d_q);
    f("d_k", got.grads.d_k, want.d_k);
    f("d_v", got.grads.d_v, want.d_v);
    MultiTokenAttentionParams<Scalar>::for_each(f, got.grads.d_params, want.d_params);
}

/// Everything that Fast computes agrees with the reference.
inline void check_agrees_with_reference(const AttentionCase<double>& c, Index threads = 1,
                                        double bound = double_bound) {
    const auto got = run_fast(c, threads);
    const auto trace = c.forward();
    side_by_side(
        got, trace.out(), c.backward(trace),
        [&](std::string_view name, const auto& g, const auto& w) { check_agrees(name, g, w, bound); });
}

template <class Scalar>
void check_same_answers(const FastAnswer<Scalar>& got, const FastAnswer<Scalar>& want) {
    side_by_side(got, want.out, want.grads,
                 [](std::string_view name, const auto& g, const auto& w) { check_same_bits(name, g, w); });
}

/// The paper's layer with fewer features: 16 heads, 6 x 11 kernels on both sides, all heads mixed.
inline MultiTokenAttentionConfig paper_config(Index head_dim = 5) {
    MultiTokenAttentionConfig config;
    config.heads = 16;
    config.head_dim = head_dim;
    config.pre = config.post = {6, 11, KeyPadding::both, 16};
    return config;
}

/// Configurations whose heads fill lanes in other ways than varied_configs(): one head, groups that share a packet or
/// need several, stages left out on one side, wide kernels.
inline std::vector<MultiTokenAttentionConfig> lane_configs() {
    std::vector<MultiTokenAttentionConfig> all;
    const auto add = [&](Index heads, Index head_dim, ScoreMixingConfig pre, ScoreMixingConfig post) {
        MultiTokenAttentionConfig config;
        config.heads = heads;
        config.head_dim = head_dim;
        config.pre = pre;
        config.post = post;
        all.push_back(config);
    };
    add(1, 7, {}, {});
    add(2, 13, {2, 9, KeyPadding::both, 0}, {});
    add(3, 1, {0, 0, KeyPadding::both, 3}, {0, 0, KeyPadding::both, 1});
    add(6, 4, {1, 4, KeyPadding::left, 3}, {4, 1, KeyPadding::both, 2});
    add(12, 2, {1, 4, KeyPadding::left, 4}, {2, 1, KeyPadding::both, 12});
    add(12, 3, {1, 2, KeyPadding::left, 12}, {0, 0, KeyPadding::both, 6});
    add(14, 2, {0, 0, KeyPadding::both, 7}, {2, 2, KeyPadding::left, 7});
    add(32, 2, {2, 3, KeyPadding::both, 16}, {3, 5, KeyPadding::right, 32});
    add(24, 3, {}, {7, 2, KeyPadding::left, 8});
    add(16, 6, {6, 11, KeyPadding::both, 16}, {});
    add(16, 6, {}, {6, 11, KeyPadding::both, 16});
    add(5, 3, {3, 25, KeyPadding::both, 0}, {2, 14, KeyPadding::right, 5});
    return all;
}

}  // namespace mta::test
