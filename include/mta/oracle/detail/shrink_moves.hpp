// Smaller problems to try instead of a failing one. A move lists proposals; each is valid or not offered.
// SPDX-License-Identifier: MIT
#pragma once

#include <functional>
#include <mta/oracle/detail/problem_edit.hpp>
#include <utility>

namespace mta::oracle::detail {

/// Something smaller, and in words what became smaller. Made only when it is tried.
struct Proposal {
    std::string step;
    std::function<std::optional<Problem>(const Problem&)> make;
};
using Proposals = std::vector<Proposal>;

template <class F>
void propose(Proposals& list, std::string step, F change) {
    list.push_back({std::move(step), [change](Problem p) -> std::optional<Problem> {
                        if constexpr (std::is_void_v<decltype(change(p))>) {
                            change(p);
                            return p;
                        } else {
                            return change(p);
                        }
                    }});
}

/// All of n things but those from `begin` on, `count` of them.
inline std::vector<Index> without(Index n, Index begin, Index count) {
    std::vector<Index> kept;
    for (Index i = 0; i < n; ++i)
        if (i < begin || i >= begin + count) kept.push_back(i);
    return kept;
}

inline Proposals batch_moves(const Problem& p) {
    Proposals list;
    for (Index b = 0; b < p.batch() && p.batch() > 1; ++b)
        propose(list, sentence("batch row ", b, " alone"),
                [=](const Problem& q) { return with_batch_rows(q, {b}); });
    return list;
}

// Prefixes first, the shortest first: most bugs show on one; then pieces, the largest first.
inline Proposals token_moves(const Problem& p) {
    Proposals list;
    const Index S = p.sequence();
    for (Index n = 1; n < S; n = n < 4 ? n + 1 : n * 3 / 2)
        propose(list, sentence("the first ", n, " tokens"),
                [=](const Problem& q) { return with_tokens(q, all_of(n)); });
    for (Index count = S / 2; count >= 1; count /= 2)
        for (Index begin = 0; begin < S; begin += count)
            if (std::min(count, S - begin) < S)
                propose(list, sentence("without tokens ", begin, " to ", std::min(begin + count, S) - 1),
                        [=](const Problem& q) { return with_tokens(q, without(S, begin, count)); });
    return list;
}

inline Proposals head_moves(const Problem& p) {
    Proposals list;
    const auto& c = p.config.attention;
    const auto keep = [&](std::vector<Index> heads) {
        const std::string step = sentence("heads ", heads);
        propose(list, step, [heads = std::move(heads)](const Problem& q) { return with_heads(q, heads); });
    };
    for (Index count = 1; count < c.heads; ++count)
        for (Index begin = 0; begin + count <= c.heads; ++begin) {
            auto heads = all_of(count);
            for (auto& h : heads)
                h += begin;
            keep(std::move(heads));
        }
    for (Index stride = 2; stride < c.heads; ++stride)  // one head of every group
        for (Index first = 0; first < stride && c.heads % stride == 0; ++first) {
            std::vector<Index> heads;
            for (Index h = first; h < c.heads; h += stride)
                heads.push_back(h);
            keep(std::move(heads));
        }
    return list;
}

inline Proposals channel_moves(const Problem& p) {
    Proposals list;
    const Index D = p.config.attention.head_dim;
    for (Index count = D - 1; count >= 1; count = count > D / 2 ? D / 2 : count / 2)
        for (Index begin = 0; begin < D; begin += count)
            if (std::min(count, D - begin) < D)
                propose(list, sentence("without channels ", begin, " to ", std::min(begin + count, D) - 1),
                        [=](const Problem& q) { return with_channels(q, without(D, begin, count)); });
    return list;
}

// Keeps these query offsets and keys of a kernel.
inline void cut_kernel(ScoreMixingConfig& config, ScoreMixingParams<double>& params, Index first_query,
                       Index first_key, Index keys) {
    auto queries = all_of(config.query_kernel - first_query), columns = all_of(keys);
    for (auto& a : queries)
        a += first_query;
    for (auto& c : columns)
        c += first_key;
    params.conv->kernel = gather(gather(params.conv->kernel, 1, queries), 2, columns);
    config.query_kernel -= first_query;
    config.key_kernel = keys;
}

struct Side {
    const char* name;
    ScoreMixingConfig MultiTokenAttentionConfig::*config;
    ScoreMixingParams<double> MultiTokenAttentionParams<double>::*params;
};
inline const std::array<Side, 2> both_sides{
    {{"pre", &MultiTokenAttentionConfig::pre, &MultiTokenAttentionParams<double>::pre},
     {"post", &MultiTokenAttentionConfig::post, &MultiTokenAttentionParams<double>::post}}};

inline Proposals stage_moves(const Problem& p) {
    Proposals list;
    if (p.d_out) propose(list, "no d_out", [](Problem& q) { q.d_out.reset(); });
    if (p.config.attention.gate)
        propose(list, "no gate", [](Problem& q) {
            q.config.attention.gate.reset();
            q.params.gate.reset();
        });
    if (p.config.attention.norm)
        propose(list, "no norm", [](Problem& q) {
            q.config.attention.norm.reset();
            q.params.norm.reset();
        });
    for (const Side& side : both_sides) {
        const auto& c = p.config.attention.*side.config;
        if (c.has_mix())
            propose(list, sentence("no ", side.name, ".mix"), [=](Problem& q) {
                (q.config.attention.*side.config).mix_group = 0;
                (q.params.*side.params).mix.reset();
            });
        if (c.has_conv())
            propose(list, sentence("no ", side.name, ".kernel"), [=](Problem& q) {
                auto& changed = q.config.attention.*side.config;
                changed = {0, 0, KeyPadding::both, changed.mix_group};
                (q.params.*side.params).conv.reset();
            });
    }
    return list;
}

inline Proposals kernel_moves(const Problem& p) {
    Proposals list;
    for (const Side& side : both_sides) {
        const auto& c = p.config.attention.*side.config;
        const auto cut = [&](const char* what, Index query, Index key, Index keys) {
            propose(list, sentence(what, " of ", side.name, ".kernel"), [=](Problem& q) {
                cut_kernel(q.config.attention.*side.config, q.params.*side.params, query, key, keys);
            });
        };
        const Index Ck = c.key_kernel, left = keys_to_the_left(Ck, c.key_padding);
        if (c.query_kernel > 1) cut("one query", c.query_kernel - 1, 0, Ck);
        if (c.query_kernel > 2) cut("without the first query", 1, 0, Ck);
        if (Ck > 1) cut("one key", 0, left, 1);
        if (c.key_padding == KeyPadding::both && Ck > 3) cut("without the outer keys", 0, 1, Ck - 2);
        if (c.key_padding == KeyPadding::left && Ck > 2) cut("without the first key", 0, 1, Ck - 1);
        if (c.key_padding == KeyPadding::right && Ck > 2) cut("without the last key", 0, 0, Ck - 1);
    }
    return list;
}

inline Proposals option_moves(const Problem& p) {
    Proposals list;
    const auto& c = p.config.attention;
    const MultiTokenAttentionConfig usual;
    const auto set = [&](const char* what, auto member) {
        if (c.*member != usual.*member)
            propose(list, sentence("the usual ", what),
                    [=](Problem& q) { q.config.attention.*member = usual.*member; });
    };
    set("layer_index", &MultiTokenAttentionConfig::layer_index);
    set("eps", &MultiTokenAttentionConfig::eps);
    set("scale", &MultiTokenAttentionConfig::scale);
    set("mask", &MultiTokenAttentionConfig::mask);
    set("normalise", &MultiTokenAttentionConfig::normalise);
    if (c.norm && *c.norm != RmsNormFactor::one)
        propose(list, "norm rms", [](Problem& q) { q.config.attention.norm = RmsNormFactor::one; });
    const auto& starts = p.config.document_starts;
    if (starts.size() > 1 || starts[0].size() > 1)
        propose(list, "one document", [](Problem& q) { q.config.document_starts = {{0}}; });
    for (std::size_t n = 1; n < starts[0].size() && starts.size() == 1; ++n)
        propose(list, sentence("without the document start ", starts[0][n]), [=](Problem& q) {
            q.config.document_starts[0].erase(q.config.document_starts[0].begin() + static_cast<Index>(n));
        });
    return list;
}

/// Calls f(element) for elements begin <= n < end of the input of this name.
template <class F>
void change_values(Problem& p, std::string_view name, Index begin, Index end, F&& f) {
    for_each_input(
        [&](std::string_view input, auto& t) {
            if (input == name)
                for (Index n = begin; n < std::min<Index>(end, t.size()); ++n)
                    t.data()[n] = rounded_to(p.dtype, f(t.data()[n]));
        },
        p);
}

// Whole tensors to simple numbers, then pieces of them to 0. Small integers and halves are their own roundings.
inline Proposals value_moves(const Problem& p) {
    Proposals list;
    const auto try_values = [&](const std::string& step, std::string_view name, const auto& t, Index begin,
                                Index end, auto f) {
        bool changes = false;
        for (Index n = begin; n < std::min<Index>(end, t.size()); ++n)
            changes |= rounded_to(p.dtype, f(t.data()[n])) != t.data()[n];
        if (changes)
            propose(list, step,
                    [=, tensor = std::string(name)](Problem& q) { change_values(q, tensor, begin, end, f); });
    };
    for_each_input(
        [&](std::string_view name, const auto& t) {
            const Index all = t.size();
            try_values(sentence(name, " = 0"), name, t, 0, all, [](double) { return 0.0; });
            try_values(sentence(name, " in whole numbers"), name, t, 0, all,
                       [](double x) { return std::round(x); });
            try_values(sentence(name, " in halves"), name, t, 0, all,
                       [](double x) { return std::round(2 * x) / 2; });
            try_values(sentence(name, " in eighths"), name, t, 0, all,
                       [](double x) { return std::round(8 * x) / 8; });
        },
        p);
    for_each_input(
        [&](std::string_view name, const auto& t) {
            for (Index count = (t.size() + 1) / 2; count >= 1; count /= 2)
                for (Index begin = 0; begin < t.size(); begin += count)
                    try_values(sentence(name, ": ", count, " elements = 0"), name, t, begin, begin + count,
                               [](double) { return 0.0; });
            for (Index n = 0; n < t.size(); ++n)
                if (t.data()[n] != 0)
                    try_values(sentence(name, ": an element = 1"), name, t, n, n + 1,
                               [](double) { return 1.0; });
        },
        p);
    return list;
}

}  // namespace mta::oracle::detail
