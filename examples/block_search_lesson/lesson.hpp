// Block search by hand: weights, set without any training, with which one multi-token attention layer finds the block.
// SPDX-License-Identifier: MIT
//
// Task      include/mta/tasks/block_search.hpp: BOS, blocks of N letters joined by '.', '#', a query of L letters.
// Layer     one head, as in the toy models of arXiv:2504.00927, Sec. 4.1: a kernel of L queries x (2N-1) keys before
//           the softmax. Tokens are embedded as one-hot vectors; positions are not embedded at all.
// Logits    of query i and key j: strength when both are the same letter, -penalty when key j is no letter, else 0.
// Kernel    1 at the last N keys (j-N+1 to j) of all L queries, 0 at the keys after j. Of the row of the last query
//           letter it makes   C[j] = strength * (letters of the query in the window) - L penalty * (marks in it).
// Exact     N + 1 is the distance of two marks, so a window of N keys is free of marks only when it is one whole
//           block, and then j is its last letter. There the target has strength * L, any other block at most
//           strength * (L-1). A window with a mark reaches into two blocks, or into one and the query, and has each
//           letter of the query at most twice: 2 L strength - L penalty = 0 at most. Windows that end in the query
//           hold the '#', since L < N. Hence, of S keys and B whole blocks, the target has at least
//           1 / (1 + (B-1) exp(-strength) + S exp(-L strength)) of the attention, for every sample.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <mta/layers/multi_token_attention.hpp>
#include <mta/ops/linear.hpp>
#include <mta/tasks/block_search.hpp>
#include <utility>
#include <vector>

namespace mta::lesson {

inline constexpr Index letter_count = 26;
inline constexpr Index lesson_dim = letter_count + 1;  // one feature per letter, one for "is no letter"
inline constexpr double strength = 8, penalty = 2 * strength;

/// An attention layer on one-hot tokens.
struct LessonLayer {
    LinearParams<double> wq, wk, wv;  // (27, 32)
    MultiTokenAttentionConfig config;
    MultiTokenAttentionParams<double> mixing;
};

/// Samples up to the last query letter, from whose row the layers attend.
struct Prompts {
    BlockSearchLayout layout;
    std::vector<BlockSearchSample> samples;
    Tensor<std::int32_t, 2> tokens;  // (B, S)

    Index query_row() const { return tokens.dimension(1) - 1; }
};

/// Tokens of these samples, the answers left out. Samples must all be of this configuration.
inline Prompts prompts_of(const BlockSearchConfig& task, std::vector<BlockSearchSample> samples) {
    Prompts p{block_search_layout(task), std::move(samples), {}};
    const Index S = p.layout.answer_begin;
    p.tokens = Tensor<std::int32_t, 2>(static_cast<Index>(p.samples.size()), S);
    for (Index b = 0; b < p.tokens.dimension(0); ++b) {
        const auto tokens = p.samples[static_cast<std::size_t>(b)].tokens();
        std::copy_n(tokens.begin(), S, nth_row(p.tokens, b).begin());
    }
    return p;
}

/// Test samples first to first + count - 1.
inline Prompts test_prompts(const BlockSearchConfig& task, Index first, Index count) {
    std::vector<BlockSearchSample> samples;
    for (Index n = first; n < first + count; ++n)
        samples.push_back(block_search_sample(task, BlockSearchSplit::test, n));
    return prompts_of(task, std::move(samples));
}

/// Standard attention: each query letter looks for itself, and what is no letter is shunned by `no_letter`.
/// Values are the letters, so that the output says how much attention each letter of the alphabet got.
inline LessonLayer standard_layer(double no_letter = penalty) {
    const auto table = [] { return zeros<double>(lesson_dim, block_search_token::vocabulary); };
    LessonLayer layer{{table(), {}}, {table(), {}}, {table(), {}}, {}, {}};
    for (Index token = 0; token < block_search_token::vocabulary; ++token) {
        layer.wq.weight(letter_count, token) = 1;
        if (token >= letter_count) {
            layer.wk.weight(letter_count, token) = -no_letter;
            continue;
        }
        layer.wq.weight(token, token) = 1;
        layer.wk.weight(token, token) = strength;
        layer.wv.weight(token, token) = 1;
    }
    layer.config.head_dim = lesson_dim;
    layer.config.scale = 1;  // the numbers above are the logits
    return layer;
}

namespace detail {
// Gives the layer a kernel of all query letters x (2N-1) keys, 1 at the first `taps` keys.
inline void add_pre_kernel(LessonLayer& layer, const BlockSearchConfig& task, Index taps) {
    layer.config.pre.query_kernel = task.query_letters;
    layer.config.pre.key_kernel = 2 * task.letters - 1;
    layer.mixing = make_multi_token_attention_params<double>(layer.config);
    for (Index u = 0; u < task.query_letters; ++u)
        for (Index v = 0; v < taps; ++v)
            layer.mixing.pre.conv->kernel(0, u, v) = 1;
}
}  // namespace detail

/// The same with the convolution described above: all attention goes to the last letter of the target.
inline LessonLayer mta_layer(const BlockSearchConfig& task) {
    auto layer = standard_layer();
    detail::add_pre_kernel(layer, task, task.letters);
    return layer;
}

/// The first idea that comes to mind, and it is not exact: all taps 1, marks not shunned, so that letters count that
/// are near each other in neighbouring blocks.
inline LessonLayer border_blind_layer(const BlockSearchConfig& task) {
    auto layer = standard_layer(/*no_letter=*/0);
    detail::add_pre_kernel(layer, task, 2 * task.letters - 1);
    return layer;
}

/// mta_layer, and a convolution after the softmax that moves the attention to what the variant asks for: the first
/// letter, the last, or an equal share of it to each letter of the block.
inline LessonLayer answering_layer(const BlockSearchConfig& task) {
    auto layer = mta_layer(task);
    const Index N = task.letters;
    const auto pre_kernel = layer.mixing.pre;
    layer.config.post.query_kernel = 1;
    layer.config.post.key_kernel = 2 * N - 1;  // tap N-1 reads key j itself, tap 2N-2 key j+N-1
    layer.mixing = make_multi_token_attention_params<double>(layer.config);
    layer.mixing.pre = pre_kernel;
    auto& kernel = layer.mixing.post.conv->kernel;
    if (task.variant == BlockSearchVariant::first) kernel(0, 0, 2 * N - 2) = 1;
    if (task.variant == BlockSearchVariant::last) kernel(0, 0, N - 1) = 1;
    if (task.variant == BlockSearchVariant::all)
        for (Index v = N - 1; v <= 2 * N - 2; ++v)
            kernel(0, 0, v) = 1 / static_cast<double>(N);
    return layer;
}

/// Every stage of the layer on these tokens.
inline MultiTokenAttentionTrace<double> attend(const LessonLayer& layer,
                                               const Tensor<std::int32_t, 2>& tokens) {
    const Index B = tokens.dimension(0), S = tokens.dimension(1);
    auto one_hot = zeros<double>(B, S, block_search_token::vocabulary);
    for (Index b = 0; b < B; ++b)
        for (Index s = 0; s < S; ++s)
            one_hot(b, s, tokens(b, s)) = 1;
    const auto head = [&](const LinearParams<double>& w) -> Tensor<double, 4> {
        return linear_forward(one_hot, w).reshape(std::array<Index, 4>{B, 1, S, lesson_dim});
    };
    return multi_token_attention_forward(head(layer.wq), head(layer.wk), head(layer.wv), layer.mixing,
                                         layer.config);
}

/// The weights that multiply the values: those after the last convolution.
inline const Tensor<double, 4>& final_weights(const MultiTokenAttentionTrace<double>& trace) {
    return trace.post_conv ? *trace.post_conv : *trace.weights;
}

/// Attention from one query row of sample b to each whole block, summed over its letters and over the heads.
inline std::vector<double> block_attention(const Tensor<double, 4>& weights, Index b, Index query_row,
                                           const BlockSearchLayout& layout) {
    std::vector<double> attention(static_cast<std::size_t>(layout.whole_blocks));
    for (Index block = 0; block < layout.whole_blocks; ++block)
        for (Index h = 0; h < weights.dimension(1); ++h)
            for (Index n = 0; n < layout.letters; ++n)
                attention[static_cast<std::size_t>(block)] +=
                    weights(b, h, query_row, layout.block_begin(block) + n);
    return attention;
}

/// 1 when the target has most of the attention, 1/n when it is one of n blocks that have, 0 otherwise. Sums that
/// agree to 1e-9 are ties: they differ by rounding alone.
inline double credit(const std::vector<double>& attention, Index target) {
    const double most = *std::max_element(attention.begin(), attention.end());
    const auto leads = [&](double a) { return a >= most * (1 - 1e-9); };
    if (!leads(attention[static_cast<std::size_t>(target)])) return 0;
    return 1 / static_cast<double>(std::count_if(attention.begin(), attention.end(), leads));
}

/// The letter that got most of the attention from the query row of sample b.
inline char answer_letter(const MultiTokenAttentionTrace<double>& trace, Index b) {
    const auto& out = trace.out();
    const auto letters = row(out, b, 0, out.dimension(2) - 1).first(letter_count);
    return static_cast<char>('a' + (std::max_element(letters.begin(), letters.end()) - letters.begin()));
}

}  // namespace mta::lesson
