// Attention as a textbook has it, in plain loops that share nothing with the layer: for identity kernels.
// SPDX-License-Identifier: MIT
//
// Source  Attention is all you need, arXiv:1706.03762, Eq. 1; sparsemax: arXiv:1602.02068, Eq. 2.
#pragma once

#include <algorithm>
#include <cmath>
#include <mta/oracle/problem.hpp>
#include <vector>

namespace mta::oracle::detail {

/// The threshold t for which sum max(x - t, 0) = 1.
inline double simplex_threshold(std::vector<double> x) {
    std::sort(x.rbegin(), x.rend());
    double sum = 0, threshold = 0;
    for (std::size_t n = 0; n < x.size(); ++n) {
        sum += x[n];
        const double t = (sum - 1) / static_cast<double>(n + 1);
        if (x[n] > t) threshold = t;
    }
    return threshold;
}

inline void turn_into_weights(std::vector<double>& scores, Normalise kind) {
    if (kind == Normalise::sparsemax) {
        const double threshold = simplex_threshold(scores);
        for (auto& x : scores)
            x = std::max(x - threshold, 0.0);
        return;
    }
    const double most = *std::max_element(scores.begin(), scores.end());
    double sum = 0;
    for (auto& x : scores)
        sum += x = std::exp(x - most);
    for (auto& x : scores)
        x /= sum;
}

/// Norm and gate of one row.
inline void finish_row(std::vector<double>& x, const Problem& p) {
    const auto& c = p.config.attention;
    const std::size_t D = x.size();
    if (c.norm) {
        double square = 0;
        for (const double e : x)
            square += e * e;
        const double l = static_cast<double>(c.layer_index);
        const double factor = *c.norm == RmsNormFactor::depth   ? 0.2 + 0.6 * std::exp(-0.3 * l)
                              : *c.norm == RmsNormFactor::layer ? 1 / std::sqrt(1 + l)
                                                                : 1;
        for (std::size_t d = 0; d < D; ++d)
            x[d] *= factor * p.params.norm->weight(static_cast<Index>(d)) /
                    std::sqrt(square / static_cast<double>(D) + c.eps);
    }
    if (!c.gate) return;
    const auto ungated = x;
    for (std::size_t d = 0; d < D; ++d) {
        const Index o = *c.gate == GateKind::vector ? static_cast<Index>(d) : 0;
        double z = p.params.gate->bias(o);
        for (std::size_t e = 0; e < D; ++e)
            z += p.params.gate->weight(o, static_cast<Index>(e)) * ungated[e];
        x[d] /= 1 + std::exp(-z);
    }
}

/// Masked attention without kernels and mixes, then norm and gate where there are any. (B, H, S, D)
inline Tensor<double, 4> textbook_attention(const Problem& p) {
    const auto& c = p.config.attention;
    const Index S = p.sequence(), D = c.head_dim, per_kv = c.heads / c.key_value_heads();
    const double scale = c.scale.value_or(1 / std::sqrt(static_cast<double>(D)));
    const AttentionMask mask{c.mask, p.config.call().documents};
    auto out = zeros_like(p.q);
    for (Index b = 0; b < p.batch(); ++b)
        for (Index h = 0; h < c.heads; ++h)
            for (Index i = 0; i < S; ++i) {
                const KeyRange keys = mask.keys(b, i, S);
                std::vector<double> weights;
                for (Index j = keys.begin; j < keys.end; ++j) {
                    double score = 0;
                    for (Index d = 0; d < D; ++d)
                        score += p.q(b, h, i, d) * p.k(b, h / per_kv, j, d);
                    weights.push_back(scale * score);
                }
                turn_into_weights(weights, c.normalise);
                std::vector<double> x(static_cast<std::size_t>(D));
                for (Index j = keys.begin; j < keys.end; ++j)
                    for (Index d = 0; d < D; ++d)
                        x[static_cast<std::size_t>(d)] +=
                            weights[static_cast<std::size_t>(j - keys.begin)] * p.v(b, h / per_kv, j, d);
                finish_row(x, p);
                std::copy(x.begin(), x.end(), row(out, b, h, i).begin());
            }
    return out;
}

}  // namespace mta::oracle::detail
