// Problems made from problems: fewer batch rows, tokens, heads, channels or taps; other values.
// SPDX-License-Identifier: MIT
//
// Every function returns a problem that is valid again, or nothing where there is none. Names are kept.
#pragma once

#include <mta/layers/initialisers.hpp>
#include <mta/oracle/problem.hpp>
#include <numeric>
#include <optional>
#include <vector>

namespace mta::oracle::detail {

/// x rounded to the type in which a candidate receives it.
inline double rounded_to(io::DType dtype, double x) {
    switch (dtype) {
        case io::DType::F32:
            return static_cast<double>(static_cast<float>(x));
        case io::DType::F16:
            return io::from_half<double>(io::to_half(x));
        case io::DType::BF16:
            return io::from_bfloat16<double>(io::to_bfloat16(x));
        default:
            return x;
    }
}

/// Half the distance from 1 to the next number of the type: 2^-53, 2^-24, 2^-11 or 2^-8.
inline double unit_roundoff_of(io::DType dtype) {
    return dtype == io::DType::F64   ? 0x1p-53
           : dtype == io::DType::F32 ? 0x1p-24
           : dtype == io::DType::F16 ? 0x1p-11
                                     : 0x1p-8;
}

inline void round_inputs(Problem& p) {
    for_each_input(
        [&](std::string_view, auto& t) {
            for (auto& x : elements(t))
                x = rounded_to(p.dtype, x);
        },
        p);
}

/// 0, 1, ..., n - 1.
inline std::vector<Index> all_of(Index n) {
    std::vector<Index> list(static_cast<std::size_t>(n));
    std::iota(list.begin(), list.end(), Index{0});
    return list;
}

/// The slices `keep` of t along `axis`, in that order.
template <AnyTensor T>
TensorLike<T> gather(const T& t, int axis, const std::vector<Index>& keep) {
    auto extents = t.dimensions();
    Index outer = 1, inner = 1;
    for (int a = 0; a < axis; ++a)
        outer *= extents[a];
    for (int a = axis + 1; a < rank_of<T>; ++a)
        inner *= extents[a];
    const Index before = extents[axis];
    extents[axis] = static_cast<Index>(keep.size());
    TensorLike<T> out(extents);
    auto* to = out.data();
    for (Index o = 0; o < outer; ++o)
        for (const Index at : keep)
            to = std::copy_n(t.data() + (o * before + at) * inner, inner, to);
    return out;
}

template <class F>
void for_each_token_tensor(Problem& p, F&& f) {
    f(p.q);
    f(p.k);
    f(p.v);
    if (p.d_out) f(*p.d_out);
}

/// These batch rows, with their documents.
inline Problem with_batch_rows(Problem p, const std::vector<Index>& rows) {
    for_each_token_tensor(p, [&](auto& t) { t = gather(t, 0, rows); });
    if (p.config.document_starts.size() > 1) {
        std::vector<std::vector<Index>> starts;
        for (const Index b : rows)
            starts.push_back(p.config.document_starts[static_cast<std::size_t>(b)]);
        p.config.document_starts = std::move(starts);
    }
    return p;
}

/// These tokens, ascending, each in the document it was in.
inline Problem with_tokens(Problem p, const std::vector<Index>& tokens) {
    for (auto& starts : p.config.document_starts) {
        std::vector<Index> kept;
        Index last = -1;
        for (std::size_t n = 0; n < tokens.size(); ++n) {
            const auto document = std::upper_bound(starts.begin(), starts.end(), tokens[n]) - starts.begin();
            if (document != last) kept.push_back(static_cast<Index>(n));
            last = document;
        }
        starts = std::move(kept);
    }
    for_each_token_tensor(p, [&](auto& t) { t = gather(t, 2, tokens); });
    return p;
}

/// These channels of q, k, v and what follows them. A default scale follows their number.
inline Problem with_channels(Problem p, const std::vector<Index>& channels) {
    for_each_token_tensor(p, [&](auto& t) { t = gather(t, 3, channels); });
    p.config.attention.head_dim = static_cast<Index>(channels.size());
    if (p.params.norm) p.params.norm->weight = gather(p.params.norm->weight, 0, channels);
    if (!p.params.gate) return p;
    auto& gate = *p.params.gate;
    gate.weight = gather(gate.weight, 1, channels);
    if (p.config.attention.gate == GateKind::vector) {
        gate.weight = gather(gate.weight, 0, channels);
        gate.bias = gather(gate.bias, 0, channels);
    }
    return p;
}

/// How a list of heads falls into equally large runs that each come from one old block of `size` heads.
struct HeadBlocks {
    Index size = 0;
    std::vector<Index> old;  // the old block of each run
};
inline std::optional<HeadBlocks> blocks_of(const std::vector<Index>& heads, Index size) {
    HeadBlocks b;
    std::vector<Index> lengths;
    for (const Index h : heads) {
        if (b.old.empty() || b.old.back() != h / size) {
            b.old.push_back(h / size);
            lengths.push_back(0);
        }
        ++lengths.back();
    }
    for (const Index n : lengths)
        if (n != lengths.front()) return std::nullopt;
    auto sorted = b.old;
    std::sort(sorted.begin(), sorted.end());
    if (std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end()) return std::nullopt;
    b.size = lengths.front();
    return b;
}

inline bool keep_heads(ScoreMixingConfig& config, ScoreMixingParams<double>& params,
                       const std::vector<Index>& heads) {
    if (params.conv) params.conv->kernel = gather(params.conv->kernel, 0, heads);
    if (!params.mix) return true;
    const Index old_size = config.mix_group;
    const auto blocks = blocks_of(heads, old_size);
    if (!blocks) return false;
    const Tensor<double, 3> old = params.mix->mix;
    auto& mix = params.mix->mix;
    mix = zeros<double>(static_cast<Index>(blocks->old.size()), blocks->size, blocks->size);
    for (Index g = 0; g < mix.dimension(0); ++g)
        for (Index o = 0; o < blocks->size; ++o)
            for (Index c = 0; c < blocks->size; ++c) {
                const Index row = heads[static_cast<std::size_t>(g * blocks->size + o)];
                const Index column = heads[static_cast<std::size_t>(g * blocks->size + c)];
                mix(g, o, c) = old(row / old_size, row % old_size, column % old_size);
            }
    config.mix_group = blocks->size;
    return true;
}

/// These query heads in this order, with the key-value heads that they read; nothing where the list breaks up
/// the groups of either.
inline std::optional<Problem> with_heads(Problem p, const std::vector<Index>& heads) {
    auto& c = p.config.attention;
    const auto kv = blocks_of(heads, c.heads / c.key_value_heads());
    if (heads.empty() || !kv) return std::nullopt;
    if (!keep_heads(c.pre, p.params.pre, heads) || !keep_heads(c.post, p.params.post, heads))
        return std::nullopt;
    p.q = gather(p.q, 1, heads);
    if (p.d_out) p.d_out = gather(*p.d_out, 1, heads);
    p.k = gather(p.k, 1, kv->old);
    p.v = gather(p.v, 1, kv->old);
    c.heads = static_cast<Index>(heads.size());
    c.kv_heads = static_cast<Index>(kv->old.size());
    return p;
}

/// Zero inputs and parameters of the shapes that the configuration asks for; no d_out.
inline Problem blank_problem(const CaseConfig& config, Index B, Index S, io::DType dtype) {
    Problem p;
    p.config = config;
    p.dtype = dtype;
    const auto& c = config.attention;
    p.q = zeros<double>(B, c.heads, S, c.head_dim);
    p.k = zeros<double>(B, c.key_value_heads(), S, c.head_dim);
    p.v = p.k;
    p.params = make_multi_token_attention_params<double>(c);
    return p;
}

/// Kernels and mixes that change nothing, norm weight 1, gate weight and bias 0 (a gate of 1/2).
inline void set_identity(Problem& p) {
    Random unused(0);
    p.params = initial_multi_token_attention_params<double>(p.config.attention, unused);
    if (p.params.gate) fill(p.params.gate->weight, 0.0);
}

}  // namespace mta::oracle::detail
