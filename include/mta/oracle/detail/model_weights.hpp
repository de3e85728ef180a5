// The model's normalisation of scores and its product with the values, forward and backward, with switches for bugs.
// SPDX-License-Identifier: MIT
#pragma once

#include <mta/oracle/detail/model_mixing.hpp>

namespace mta::oracle::detail {

// Rounds as the accumulator does.
inline double accumulated(const ModelContext& c, double x) {
    return c.stored(c.arithmetic.profile().accumulate, x);
}

struct SoftmaxRow {
    std::vector<double> weights;
    double log_sum = 0;  // of the exponentials: maximum + log(sum)
};

// exp(score - maximum), as the switch says.
inline double exponential(const ModelContext& c, SoftmaxKnob knob, double score, double maximum) {
    switch (knob) {
        case SoftmaxKnob::no_maximum:
            return round_to(Precision::fp32, std::exp(score));
        case SoftmaxKnob::masked_maximum:
            if (c.config.mask == MaskRule::none) return accumulated(c, std::exp(score - maximum));
            return round_to(Precision::fp32, std::exp(score - std::max(maximum, 0.0)));
        case SoftmaxKnob::base_two:
            return accumulated(c, std::exp2(score - maximum));
        default:
            return accumulated(c, std::exp(score - maximum));
    }
}

inline SoftmaxRow softmax_row(const ModelContext& c, SoftmaxKnob knob, Index keys_per_tile,
                              const std::vector<double>& scores) {
    SoftmaxRow row{scores, 0};
    double maximum = -std::numeric_limits<double>::infinity(), reference = maximum;
    for (const double m : scores)
        maximum = std::max(maximum, m);
    Sum sum;
    const auto tile = static_cast<std::size_t>(keys_per_tile);
    for (std::size_t n = 0; n < scores.size(); ++n) {
        if (knob == SoftmaxKnob::not_rescaled) {
            if (n % tile == 0)
                for (std::size_t m = n; m < std::min(n + tile, scores.size()); ++m)
                    reference = std::max(reference, scores[m]);
        } else {
            reference = maximum;
        }
        row.weights[n] = exponential(c, knob, scores[n], reference);
        if (knob == SoftmaxKnob::first_tile_sum && n >= tile) continue;
        c.arithmetic.add(sum, row.weights[n], 1);
    }
    double total = c.arithmetic.finish(sum);
    row.log_sum = maximum + std::log(total);
    if (knob == SoftmaxKnob::plus_one) total += std::exp(-maximum);
    for (double& w : row.weights)
        w = accumulated(c, w / total);
    return row;
}

inline std::vector<double> sparsemax_row(const ModelContext& c, const std::vector<double>& scores) {
    std::vector<double> sorted = scores;
    std::sort(sorted.begin(), sorted.end(), std::greater<>());
    Sum sum, of_support;
    double support = 0;
    for (std::size_t n = 0; n < sorted.size(); ++n) {
        c.arithmetic.add(sum, sorted[n], 1);
        const auto k = static_cast<double>(n + 1);
        if (1 + k * sorted[n] > sum.value) of_support = sum, support = k;
    }
    const double tau = accumulated(c, (c.arithmetic.finish(of_support) - 1) / support);
    std::vector<double> weights;
    for (const double s : scores)
        weights.push_back(s > tau ? accumulated(c, accumulated(c, s) - tau) : 0);
    return weights;
}

inline bool is_softmax(const ModelContext& c, const Knobs& k) {
    return (c.config.normalise == Normalise::softmax) != (k.softmax == SoftmaxKnob::other_kind);
}

// The score of a masked key when heads are mixed after the mask: -infinity, or not a number.
inline double mixed_mask(const ModelContext& c, Index h) {
    if (!c.config.pre.has_mix()) return -std::numeric_limits<double>::infinity();
    const auto& w = c.problem.params.pre.mix->mix;
    const Index size = c.config.pre.mix_group;
    double sum = 0;
    for (Index s = 0; s < size; ++s)
        sum += w.data()[h * size + s] * -std::numeric_limits<double>::infinity();
    return sum;
}

// The scores of one row from which weights are made; keys of the future as the switch says.
inline std::vector<double> row_scores(const ModelContext& c, const Knobs& k, const Grid& mixed, Index b,
                                      Index h, Index i) {
    const KeyRange range = c.keys(k, b, i, k.future != FutureKnob::hidden);
    std::vector<double> scores;
    for (Index j = range.begin; j < range.end; ++j) {
        const double m = mixed.row(b, h, i)[j];
        const bool future = j > i && c.config.mask != MaskRule::none;
        scores.push_back(!future                                      ? m
                         : k.future == FutureKnob::zero               ? 0
                         : k.future == FutureKnob::minus_ten_thousand ? -1e4
                         : k.future == FutureKnob::mixed_infinity     ? mixed_mask(c, h)
                                                                      : m);
        if (k.late_scale) scores.back() *= c.scale(k);
        if (k.row_constant != 0) scores.back() += k.row_constant * static_cast<double>(i % 3 + h + 1);
    }
    return scores;
}

inline Grid weights_forward(const ModelContext& c, const Knobs& k, const Grid& mixed) {
    Grid weights(c.B, c.H, c.S, c.S);
    for (Index b = 0; b < c.B; ++b)
        for (Index h = 0; h < c.H; ++h)
            for (Index i = 0; i < c.S; ++i) {
                const Index begin = c.keys(k, b, i, false).begin;
                const auto scores = row_scores(c, k, mixed, b, h, i);
                auto row = is_softmax(c, k) ? softmax_row(c, k.softmax, k.tile, scores).weights
                                            : sparsemax_row(c, scores);
                if (k.softmax == SoftmaxKnob::twice && is_softmax(c, k))
                    row = softmax_row(c, SoftmaxKnob::right, k.tile, row).weights;
                for (std::size_t n = 0; n < row.size(); ++n)
                    weights.row(b, h, i)[begin + static_cast<Index>(n)] = c.stored(c.weights(), row[n]);
            }
    return weights;
}

// The term that softmax's gradient subtracts from d_weights.
inline double row_term(const ModelContext& c, const Knobs& k, const std::vector<double>& weights,
                       const std::vector<double>& d, double from_output) {
    Sum sum;
    const auto counted = k.row_term == RowTermKnob::of_first_tile
                             ? std::min(weights.size(), static_cast<std::size_t>(k.tile))
                             : weights.size();
    for (std::size_t n = 0; n < counted; ++n)
        c.arithmetic.add(
            sum, k.row_term == RowTermKnob::mean ? 1 / static_cast<double>(weights.size()) : weights[n],
            d[n]);
    if (k.row_term == RowTermKnob::missing) return 0;
    return k.row_term == RowTermKnob::from_output ? from_output : c.arithmetic.finish(sum);
}

inline std::vector<double> softmax_backward_row(const ModelContext& c, const Knobs& k,
                                                const std::vector<double>& weights,
                                                const std::vector<double>& d, double from_output) {
    const double term = row_term(c, k, weights, d, from_output);
    const double base = k.softmax == SoftmaxKnob::base_two ? std::log(2.0) : 1;
    std::vector<double> d_scores(weights.size());
    for (std::size_t n = 0; n < weights.size(); ++n)
        d_scores[n] =
            accumulated(c, (k.no_weights_factor ? 1 : weights[n]) * base * accumulated(c, d[n] - term));
    return d_scores;
}

inline std::vector<double> sparsemax_backward_row(const ModelContext& c, const std::vector<double>& weights,
                                                  const std::vector<double>& d) {
    Sum sum;
    double support = 0;
    for (std::size_t n = 0; n < d.size(); ++n)
        if (weights[n] > 0) c.arithmetic.add(sum, d[n], 1), support += 1;
    const double mean = accumulated(c, c.arithmetic.finish(sum) / support);
    std::vector<double> d_scores(d.size());
    for (std::size_t n = 0; n < d.size(); ++n)
        if (weights[n] > 0) d_scores[n] = accumulated(c, d[n] - mean);
    return d_scores;
}

// One row's gradient; the weights are recomputed from the row's statistic, which has been rounded.
inline std::vector<double> normalise_backward_row(const ModelContext& c, const Knobs& k,
                                                  const std::vector<double>& scores,
                                                  std::vector<double> weights, const std::vector<double>& d,
                                                  double from_output) {
    if (!is_softmax(c, k)) return sparsemax_backward_row(c, weights, d);
    const auto inner = softmax_row(c, SoftmaxKnob::right, k.tile, scores);
    const double shift = inner.log_sum - c.stored(c.arithmetic.profile().lse, inner.log_sum);
    if (!c.arithmetic.is_exact())
        for (double& w : weights)
            w = accumulated(c, w * std::exp(shift));
    if (k.softmax != SoftmaxKnob::twice) return softmax_backward_row(c, k, weights, d, from_output);
    return softmax_backward_row(c, k, inner.weights, softmax_backward_row(c, k, weights, d, from_output),
                                from_output);
}

/// The gradient of the scores from that of the weights; `from_output` (B, H, S, 1): d_context times context.
inline Grid weights_backward(const ModelContext& c, const Knobs& k, const Grid& mixed, const Grid& weights,
                             const Grid& d_weights, const Grid& from_output) {
    Grid d_mixed(c.B, c.H, c.S, c.S);
    const double late = k.late_scale ? c.scale(k) : 1;
    for (Index b = 0; b < c.B; ++b)
        for (Index h = 0; h < c.H; ++h)
            for (Index i = 0; i < c.S; ++i) {
                const auto scores = row_scores(c, k, mixed, b, h, i);
                const Index begin = c.keys(k, b, i, false).begin;
                const auto of_row = [&](const Grid& g) {
                    const double* first = g.row(b, h, i) + begin;
                    return std::vector<double>(first, first + scores.size());
                };
                const auto d = normalise_backward_row(c, k, scores, of_row(weights), of_row(d_weights),
                                                      from_output.row(b, h, i)[0]);
                for (std::size_t n = 0; n < d.size(); ++n) {
                    const Index j = begin + static_cast<Index>(n);
                    const bool constant = j > i && k.future != FutureKnob::leaked && !k.loose_mask &&
                                          c.config.mask != MaskRule::none;
                    d_mixed.row(b, h, i)[j] = constant ? 0 : c.stored(c.scores(), d[n] * late);
                }
            }
    return d_mixed;
}

}  // namespace mta::oracle::detail
