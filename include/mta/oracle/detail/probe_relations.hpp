// Probes that relate two runs: what must stay when something else changes, moves or is left out.
// SPDX-License-Identifier: MIT
#pragma once

#include <mta/oracle/detail/probe_run.hpp>
#include <mta/oracle/detail/textbook.hpp>
#include <set>

namespace mta::oracle::detail {

inline void probe_identity_kernels(ProbeRun& run) {
    Problem p = run.lively;
    set_identity(p);
    p.params.norm = run.lively.params.norm;
    p.params.gate = run.lively.params.gate;
    const auto want = textbook_attention(p);
    run.same("out", run.out(p), want, run.tolerance_to_double(largest(want)),
             [](Index, Index, Index) { return true; });
}

inline void require_causal(const ProbeRun& run) {
    if (run.config().mask == MaskRule::none) not_applicable("the mask is none: every token sees every other");
    if (run.S() < 2) not_applicable("one token has no later ones");
}

/// Tokens after which things are cut or changed: the first, the middle, the last but one.
inline std::set<Index> cuts(Index S) {
    return {0, (S - 1) / 2, S - 2};
}

/// Calls f(element) for q, k and v of all tokens after t.
template <class F>
void for_each_later_element(Problem& p, Index t, F&& f) {
    for (auto* x : {&p.q, &p.k, &p.v})
        for (Index r = 0; r < row_count(*x); ++r)
            if (r % p.sequence() > t)
                for (auto& element : nth_row(*x, r))
                    f(element);
}

inline void probe_later_tokens(ProbeRun& run) {
    require_causal(run);
    const auto want = run.out(run.lively);
    for (const Index t : cuts(run.S())) {
        Problem p = run.lively;
        Random random = run.random(static_cast<std::uint64_t>(t));
        for_each_later_element(p, t, [&](double& x) { x = rounded_to(p.dtype, 4 * random.normal()); });
        run.same(sentence("tokens after ", t, " changed, and so did out"), run.out(p), want,
                 run.unchanged(largest(want)), [=](Index, Index, Index i) { return i <= t; });
    }
}

inline void probe_later_nan(ProbeRun& run) {
    require_causal(run);
    const auto want = run.out(run.lively);
    const Index t = (run.S() - 1) / 2;
    Problem p = run.lively;
    for_each_later_element(p, t, [](double& x) { x = std::nan(""); });
    try {
        run.same("", run.out(p), want, run.tolerance(largest(want)),
                 [=](Index, Index, Index i) { return i <= t; });
    } catch (const ProbeEnd& end) {
        throw ProbeEnd{ProbeState::informative,
                       sentence("NaN in tokens after ", t, " reaches out", end.sentence,
                                "; no mismatch: matrix ", "products compute 0 * NaN")};
    }
}

inline void probe_prefix(ProbeRun& run) {
    require_causal(run);
    const auto full = run.out(run.lively);
    for (const Index t : cuts(run.S())) {
        const auto tokens = all_of(t + 1);
        run.same(sentence("the first ", t + 1, " of ", run.S(), " tokens alone: out"),
                 run.out(with_tokens(run.lively, tokens)), gather(full, 2, tokens));
    }
}

inline void probe_batch(ProbeRun& run) {
    const Index B = run.B();
    if (B < 2) not_applicable("the batch has one row");
    const auto full = run.out(run.lively);
    for (const Index b : {Index{0}, B - 1})
        run.same(sentence("batch row ", b, " alone: out"), run.out(with_batch_rows(run.lively, {b})),
                 gather(full, 0, {b}));
    Problem p = run.lively;
    Random random = run.random(1);
    for (auto* x : {&p.q, &p.k, &p.v})
        for (Index n = 0; n < x->size() / B; ++n)
            x->data()[n] = rounded_to(p.dtype, 4 * random.normal());
    run.same("batch row 0 changed, and so did out", run.out(p), full, run.unchanged(largest(full)),
             [](Index b, Index, Index) { return b > 0; });
}

inline void probe_head_permutation(ProbeRun& run) {
    const auto& c = run.config();
    if (c.heads < 2) not_applicable("there is one head");
    const auto full = run.out(run.lively);
    const auto judge = [&](const std::string& what, const std::vector<Index>& order) {
        const auto p = with_heads(run.lively, order);
        if (p) run.same(what + ": out", run.out(*p), gather(full, 1, order));
    };
    // Neighbours share their groups or are alone in them, and reversal keeps groups together.
    auto order = all_of(c.heads);
    std::swap(order[0], order[1]);
    judge("heads 0 and 1 exchanged", order);
    order = all_of(c.heads);
    std::reverse(order.begin(), order.end());
    judge("heads in reverse order", order);
    Index block = c.heads / c.key_value_heads();
    for (const auto* side : {&c.pre, &c.post})
        if (side->has_mix()) block = std::lcm(block, side->mix_group);
    if (c.heads / block < 3) return;
    order = all_of(c.heads);
    std::rotate(order.begin(), order.begin() + block, order.end());
    judge(sentence("head groups turned by ", block, " heads"), order);
}

inline void probe_rotation(ProbeRun& run) {
    // Quarter turns in random planes: rotations that every type holds exactly.
    const Index D = run.config().head_dim;
    Random random = run.random(2);
    std::vector<Index> order = all_of(D);
    for (Index n = D - 1; n > 0; --n)
        std::swap(order[static_cast<std::size_t>(n)], order[random.below(static_cast<std::uint32_t>(n + 1))]);
    Problem p = run.lively;
    for (auto* x : {&p.q, &p.k}) {
        *x = gather(*x, 3, order);
        for (Index n = 0; n < x->size(); n += 1)
            if (n % D % 2 == 0) x->data()[n] *= -1;
    }
    run.same("q and k rotated together: out", run.out(p), run.out(run.lively));
}

inline void probe_documents(ProbeRun& run) {
    const auto documents = run.lively.config.call().documents;
    if (documents.single()) not_applicable("every row holds one document");
    const auto packed = run.out(run.lively);
    for (Index b = 0; b < run.B(); ++b)
        for (Index begin = 0; begin < run.S();) {
            const Index end = documents.around(b, begin, run.S()).end;
            std::vector<Index> tokens(static_cast<std::size_t>(end - begin));
            std::iota(tokens.begin(), tokens.end(), begin);
            run.same(sentence("the document of batch row ", b, " from token ", begin, " alone: out"),
                     run.out(with_tokens(with_batch_rows(run.lively, {b}), tokens)),
                     gather(gather(packed, 0, {b}), 2, tokens));
            begin = end;
        }
}

}  // namespace mta::oracle::detail
