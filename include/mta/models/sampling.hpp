// The next token from a row of logits: the largest, or one drawn at a temperature from the likely ones.
// SPDX-License-Identifier: MIT
//
// Source    Top-k: Fan, Lewis, Dauphin, arXiv:1805.04833. Top-p, the nucleus: Holtzman et al., arXiv:1904.09751.
// Formula   temperature T > 0: p = softmax(z / T) over the top_k largest logits; of these the smallest set whose
//           probabilities sum to top_p or more, at least one token, divided by its sum. T = 0: the largest logit.
// Shapes    z: (V), one position of one batch row
// Units     everything but the logits is computed in double, whatever their scalar.
// Traps     1. Ties go to the lowest token, in the argmax as in both cuts: a result never depends on a sort.
//           2. Top-p counts what top-k left, renormalised, after the temperature.
//           3. A logit of -inf forbids its token. NaN and +inf are errors: no draw from them has a meaning.
//           4. The draw is portable; probabilities go through the platform's exp, which may differ in the last bit.
// Errors    ValueError: settings out of range, logits that are empty, NaN, +inf or all -inf.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <mta/core/random.hpp>
#include <mta/core/require.hpp>
#include <mta/core/tensor.hpp>
#include <span>
#include <vector>

namespace mta {

/// How the next token is chosen. The default draws from the model's own distribution.
struct SamplingConfig {
    double temperature = 1;  // 0: always the largest logit, and the rest does not matter
    Index top_k = 0;         // how many tokens can be drawn; 0: all
    double top_p = 1;        // share of the probability that can be drawn, in (0, 1]
};

/// Throws ValueError with one sentence unless tokens can be chosen so.
inline void check_config(const SamplingConfig& config) {
    require<ValueError>(std::isfinite(config.temperature) && config.temperature >= 0,
                        "sampling: temperature: got ", config.temperature,
                        ", expected finite and at least 0");
    require<ValueError>(config.top_k >= 0, "sampling: top_k: got ", config.top_k,
                        ", expected at least 1, or 0 for all tokens");
    require<ValueError>(config.top_p > 0 && config.top_p <= 1, "sampling: top_p: got ", config.top_p,
                        ", expected above 0 and at most 1");
}

/// A token that can be drawn.
struct TokenProbability {
    std::int32_t token = 0;
    double probability = 0;
};

namespace detail {

template <class Scalar>
void check_logits(std::span<Scalar> logits) {
    constexpr double infinity = std::numeric_limits<double>::infinity();
    double largest = -infinity;
    for (std::size_t v = 0; v < logits.size(); ++v) {
        const auto logit = static_cast<double>(logits[v]);
        require<ValueError>(!std::isnan(logit) && logit < infinity, "sampling: logits: got ", logit,
                            " for token ", v, ", expected a finite number, or -inf to forbid the token");
        largest = std::max(largest, logit);
    }
    require<ValueError>(largest > -infinity, "sampling: logits: got ",
                        logits.empty() ? "none" : "-inf for every token", ", expected at least one finite");
}

// Tokens with finite logits by falling logit, ties by rising token; `probability` holds the logit.
template <class Scalar>
std::vector<TokenProbability> ranked_tokens(std::span<Scalar> logits, Index top_k) {
    std::vector<TokenProbability> ranked;
    for (std::size_t v = 0; v < logits.size(); ++v)
        if (std::isfinite(logits[v]))
            ranked.push_back({static_cast<std::int32_t>(v), static_cast<double>(logits[v])});
    const auto count = static_cast<Index>(ranked.size());
    const Index kept = top_k == 0 ? count : std::min(top_k, count);
    std::partial_sort(ranked.begin(), ranked.begin() + kept, ranked.end(),
                      [](const TokenProbability& a, const TokenProbability& b) {
                          return a.probability != b.probability ? a.probability > b.probability
                                                                : a.token < b.token;
                      });
    ranked.resize(static_cast<std::size_t>(kept));
    return ranked;
}

inline double total_probability(const std::vector<TokenProbability>& tokens) {
    double sum = 0;
    for (const auto& t : tokens)
        sum += t.probability;
    return sum;
}

// Divides by the sum.
inline void normalise(std::vector<TokenProbability>& tokens) {
    const double sum = total_probability(tokens);
    for (auto& t : tokens)
        t.probability /= sum;
}

// Leaves the shortest beginning whose probabilities sum to top_p or more.
inline void keep_nucleus(std::vector<TokenProbability>& tokens, double top_p) {
    if (top_p == 1) return;  // a sum that rounds to 1 early must not cut anything
    double sum = 0;
    std::size_t kept = 0;
    while (kept < tokens.size() && sum < top_p)
        sum += tokens[kept++].probability;
    tokens.resize(kept);
}

}  // namespace detail

/// The token with the largest logit; of several the lowest.
template <class Scalar>
std::int32_t greedy_token(std::span<Scalar> logits) {
    detail::check_logits(logits);
    return static_cast<std::int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

/// The tokens that can be drawn, the likely ones first; their probabilities sum to 1.
template <class Scalar>
std::vector<TokenProbability> token_probabilities(std::span<Scalar> logits,
                                                  const SamplingConfig& config = {}) {
    check_config(config);
    if (config.temperature == 0) return {{greedy_token(logits), 1}};
    detail::check_logits(logits);
    auto tokens = detail::ranked_tokens(logits, config.top_k);
    const double largest = tokens.front().probability;
    for (auto& t : tokens)
        t.probability = std::exp((t.probability - largest) / config.temperature);
    detail::normalise(tokens);
    detail::keep_nucleus(tokens, config.top_p);
    detail::normalise(tokens);
    return tokens;
}

/// Draws one token: the first, in the order of token_probabilities, at which the summed probability exceeds a uniform
/// number. Temperature 0 takes no number from `random`.
template <class Scalar>
std::int32_t sample_token(std::span<Scalar> logits, const SamplingConfig& config, Random& random) {
    const auto tokens = token_probabilities(logits, config);
    if (config.temperature == 0) return tokens.front().token;
    const double target = random.uniform() * detail::total_probability(tokens);
    std::int32_t chosen = tokens.front().token;  // the last possible one, should rounding reach the end
    double sum = 0;
    for (const auto& t : tokens) {
        if (t.probability > 0) chosen = t.token;
        sum += t.probability;
        if (sum > target) break;
    }
    return chosen;
}

}  // namespace mta
