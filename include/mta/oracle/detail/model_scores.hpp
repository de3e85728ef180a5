// The model's score stages: logits, convolution and mixing, forward and backward, with switches for bugs.
// SPDX-License-Identifier: MIT
//
// Written apart from the library's operations on purpose: taps are walked one by one, sums are kept with the
// squares of their terms, and logits of the future exist, so that a bug can read them.
#pragma once

#include <mta/oracle/detail/knobs.hpp>
#include <mta/oracle/problem.hpp>
#include <mta/oracle/rounding.hpp>
#include <vector>

namespace mta::oracle::detail {

using Sum = Arithmetic::Sum;

/// Scores of every head, (B, H, S, S), or vectors of every token, (B, H, S, D); all 0 at first.
struct Grid {
    Index heads = 0, rows = 0, columns = 0;
    std::vector<double> x;

    Grid() = default;
    Grid(Index b, Index h, Index r, Index c)
        : heads{h}, rows{r}, columns{c}, x(static_cast<std::size_t>(b * h * r * c)) {}

    double* row(Index b, Index h, Index i) { return x.data() + ((b * heads + h) * rows + i) * columns; }
    const double* row(Index b, Index h, Index i) const {
        return x.data() + ((b * heads + h) * rows + i) * columns;
    }
};

/// Sums that are still being added to, shaped like a Grid.
struct SumGrid {
    Index heads, rows, columns;
    std::vector<Sum> x;

    SumGrid(Index b, Index h, Index r, Index c)
        : heads{h}, rows{r}, columns{c}, x(static_cast<std::size_t>(b * h * r * c)) {}
    Sum* row(Index b, Index h, Index i) { return x.data() + ((b * heads + h) * rows + i) * columns; }
};

/// The problem, its extents and its mask, as every stage needs them.
struct ModelContext {
    const Problem& problem;
    Arithmetic& arithmetic;
    MultiTokenAttentionConfig config = problem.config.attention;
    Documents documents = problem.config.call().documents;
    Index B = problem.batch(), H = config.heads, Hkv = config.key_value_heads(), S = problem.sequence(),
          D = config.head_dim;

    Precision scores() const { return arithmetic.profile().scores; }
    Precision weights() const { return arithmetic.profile().weights; }
    double stored(Precision p, double x) const { return arithmetic.stored(p, x); }

    KeyRange document(Index b, Index i, bool ignored) const {
        return ignored ? KeyRange{0, S} : documents.around(b, i, S);
    }
    MaskRule rule(const Knobs& k) const {
        if (!k.other_mask || config.mask == MaskRule::none) return config.mask;
        return config.mask == MaskRule::twice ? MaskRule::exact : MaskRule::twice;
    }
    /// Keys that get weight; `wide`: those of the future that a bug may read, too.
    KeyRange keys(const Knobs& k, Index b, Index i, bool wide = false) const {
        KeyRange range = document(b, i, k.ignore_documents);
        if (config.mask != MaskRule::none && !wide)
            range.end = std::min(range.end, i + (k.strict_mask && i > range.begin ? 0
                                                 : k.loose_mask                   ? 2
                                                                                  : 1));
        return range;
    }
    double scale(const Knobs& k) const {
        const double right = config.scale.value_or(1 / std::sqrt(static_cast<double>(D)));
        switch (k.scale) {
            case ScaleKnob::one:
                return 1;
            case ScaleKnob::over_head_dim:
                return 1 / static_cast<double>(D);
            case ScaleKnob::twice:
                return right * right;
            case ScaleKnob::over_heads:
                return 1 / std::sqrt(static_cast<double>(D * H));
            case ScaleKnob::inverse:
                return 1 / right;
            case ScaleKnob::log2e:
                return right / std::log(2.0);
            default:
                return right;
        }
    }
    /// What the logits are multiplied with when they are computed; the rest comes with the weights.
    double early_scale(const Knobs& k) const { return k.late_scale ? 1 : scale(k); }
    Index key_value_head(const Knobs& k, Index h, bool interleaved) const {
        return k.first_kv_head ? 0 : interleaved ? h % Hkv : h / (H / Hkv);
    }
};

/// Whether weights, or what follows them, are computed for keys of the future too.
inline bool reaches_future(const ModelContext& c, const Knobs& k) {
    return c.config.mask != MaskRule::none && (k.future != FutureKnob::hidden || !k.post.output_masked);
}

/// Whether the values of the future are read. After a finite mask value, or infinities that were mixed, a
/// convolution of the weights still masks its output.
inline bool reads_future_values(const ModelContext& c, const Knobs& k) {
    const bool masked_late =
        k.future == FutureKnob::minus_ten_thousand || k.future == FutureKnob::mixed_infinity;
    if (masked_late && c.config.post.has_conv() && k.post.output_masked) return false;
    return reaches_future(c, k) && !k.causal_values;
}

/// Logits of every key of the document, the future's included. (B, H, S, S)
inline Grid logits_forward(const ModelContext& c, const Knobs& k) {
    Grid logits(c.B, c.H, c.S, c.S);
    const double scale = c.early_scale(k);
    const Precision m = c.arithmetic.profile().multiply;
    for (Index b = 0; b < c.B; ++b)
        for (Index h = 0; h < c.H; ++h)
            for (Index i = 0; i < c.S; ++i) {
                const KeyRange range = c.document(b, i, k.ignore_documents || k.pre.ignore_documents);
                const auto q = mta::row(c.problem.q, b, h, i);
                for (Index j = range.begin; j < range.end; ++j) {
                    const auto key = mta::row(c.problem.k, b, c.key_value_head(k, h, k.keys_interleaved), j);
                    Sum sum;
                    for (std::size_t d = 0; d < q.size(); ++d)
                        c.arithmetic.add(sum, c.stored(m, q[d]), c.stored(m, key[d]));
                    logits.row(b, h, i)[j] = c.stored(c.scores(), c.arithmetic.finish(sum) * scale);
                }
            }
    return logits;
}

// Whether a bug forgets what this query head of a group adds to the gradient of the key or value head they share.
inline bool head_is_lost(GroupKnob knob, Index h, Index group) {
    return (knob == GroupKnob::last_head && h % group != group - 1) ||
           (knob == GroupKnob::first_head && h % group != 0);
}

/// Gradients of q and k from that of the logits.
inline void logits_backward(const ModelContext& c, const Knobs& k, const Grid& d_logits, Grid& d_q,
                            Grid& d_k) {
    SumGrid q_sums(c.B, c.H, c.S, c.D), k_sums(c.B, c.Hkv, c.S, c.D);
    const double scale = c.early_scale(k), q_scale = k.query_unscaled ? 1 : scale,
                 k_scale = k.key_unscaled ? 1 : scale;
    const Index group = c.H / c.Hkv;
    for (Index b = 0; b < c.B; ++b)
        for (Index h = 0; h < c.H; ++h)
            for (Index i = 0; i < c.S; ++i) {
                const Index kv = c.key_value_head(k, h, k.keys_interleaved);
                const bool lost = head_is_lost(k.key_group, h, group);
                for (Index j = 0; j < c.S; ++j) {
                    const double d = c.stored(c.weights(), d_logits.row(b, h, i)[j]);
                    if (d == 0) continue;
                    const auto q = mta::row(c.problem.q, b, h, i), key = mta::row(c.problem.k, b, kv, j);
                    for (Index n = 0; n < c.D; ++n) {
                        c.arithmetic.add(q_sums.row(b, h, i)[n], d, key[static_cast<std::size_t>(n)]);
                        if (!lost)
                            c.arithmetic.add(k_sums.row(b, kv, j)[n], d, q[static_cast<std::size_t>(n)]);
                    }
                }
            }
    const double share = k.key_group == GroupKnob::mean ? 1 / static_cast<double>(group) : 1;
    for (std::size_t n = 0; n < q_sums.x.size(); ++n)
        d_q.x[n] = c.stored(c.arithmetic.profile().io, c.arithmetic.finish(q_sums.x[n]) * q_scale);
    for (std::size_t n = 0; n < k_sums.x.size(); ++n)
        d_k.x[n] = c.stored(c.arithmetic.profile().io, c.arithmetic.finish(k_sums.x[n]) * k_scale * share);
}

/// One convolution of a problem: its kernel and the walk over its taps, right or wrong.
class Convolution {
  public:
    Convolution(const ModelContext& c, const Knobs& k, bool before)
        : c_{c},
          k_{before ? k.pre : k.post},
          config_{before ? c.config.pre : c.config.post},
          kernel_{(before ? c.problem.params.pre : c.problem.params.post).conv->kernel},
          rule_{before ? c.rule(k) : MaskRule::none},
          no_documents_{k_.ignore_documents || k.ignore_documents},
          left_{keys_before(k_.padding.value_or(config_.key_padding))},
          above_{config_.query_kernel - 1 - k_.query_shift -
                 (k_.centred_queries ? config_.query_kernel / 2 : 0)},
          lost_query_{k_.lost_query_tap == last_tap ? config_.query_kernel - 1 : k_.lost_query_tap},
          lost_key_{k_.lost_key_tap == last_tap ? config_.key_kernel - 1 : k_.lost_key_tap} {}

    /// Calls f(a, c, p, q) for every tap of output (i, j) that counts.
    template <class F>
    void walk(Index b, Index i, Index j, F&& f) const {
        const KeyRange document = c_.document(b, i, no_documents_);
        for (Index a = 0; a < config_.query_kernel; ++a) {
            Index p = i - above_ + a;
            if (a == lost_query_ || !inside(p, document)) continue;
            if (k_.query_tile > 0 && p / k_.query_tile != i / k_.query_tile) continue;
            for (Index t = 0; t < config_.key_kernel; ++t) {
                Index q = j - left_ + t + k_.key_shift;
                if (t == lost_key_ || !inside(q, document)) continue;
                if (k_.key_tile > 0 && q / k_.key_tile != j / k_.key_tile) continue;
                if (k_.input_infinite || reads(i, p, q)) f(a, t, p, q);
            }
        }
    }

    /// Where tap (a, t) of head h stands in the kernel's memory.
    std::size_t place(Index h, Index a, Index t) const {
        const Index A = config_.query_kernel, T = config_.key_kernel;
        if (k_.flip_queries) a = A - 1 - a;
        if (k_.flip_keys) t = T - 1 - t;
        h = k_.head == HeadKnob::first      ? 0
            : k_.head == HeadKnob::reversed ? c_.H - 1 - h
            : k_.head == HeadKnob::next     ? (h + 1) % c_.H
                                            : h;
        return static_cast<std::size_t>(h * A * T + (k_.swap_axes ? t * A + a : a * T + t));
    }
    double tap(Index h, Index a, Index t) const { return kernel_.data()[place(h, a, t)]; }
    std::size_t size() const { return static_cast<std::size_t>(kernel_.size()); }
    bool residual() const { return k_.residual; }
    /// What the convolution finds at (p, q) for row i.
    double input(const Grid& in, Index b, Index h, Index i, Index p, Index q) const {
        if (k_.input_infinite && !reads(i, p, q)) return -std::numeric_limits<double>::infinity();
        return in.row(b, h, p)[q];
    }

  private:
    Index keys_before(KeyPadding padding) const {
        return padding == KeyPadding::both   ? (config_.key_kernel - 1) / 2
               : padding == KeyPadding::left ? config_.key_kernel - 1
                                             : 0;
    }
    bool inside(Index& position, KeyRange document) const {
        if (document.contains(position)) return true;
        if (k_.edge == EdgeKnob::zero) return false;
        const Index length = document.end - document.begin;
        position = k_.edge == EdgeKnob::clamped
                       ? std::clamp(position, document.begin, document.end - 1)
                       : document.begin + ((position - document.begin) % length + length) % length;
        return true;
    }
    bool reads(Index i, Index p, Index q) const {
        if (rule_ == MaskRule::none || !k_.input_masked) return true;
        return rule_ == MaskRule::exact ? q <= i : q <= p;
    }

    const ModelContext& c_;
    ConvKnobs k_;
    ScoreMixingConfig config_;
    const Tensor<double, 3>& kernel_;
    MaskRule rule_;
    bool no_documents_;
    Index left_, above_, lost_query_, lost_key_;
};

/// Convolution of the scores at every key that gets weight (`wide`: or that a bug may read).
inline Grid conv_forward(const ModelContext& c, const Knobs& k, bool before, const Grid& in, bool wide) {
    const Convolution conv(c, k, before);
    Grid out(c.B, c.H, c.S, c.S);
    for (Index b = 0; b < c.B; ++b)
        for (Index h = 0; h < c.H; ++h)
            for (Index i = 0; i < c.S; ++i) {
                const KeyRange range = c.keys(k, b, i, wide);
                for (Index j = range.begin; j < range.end; ++j) {
                    Sum sum;
                    conv.walk(b, i, j, [&](Index a, Index t, Index p, Index q) {
                        c.arithmetic.add(sum, conv.tap(h, a, t), conv.input(in, b, h, i, p, q));
                    });
                    const double old = conv.residual() ? in.row(b, h, i)[j] : 0;
                    out.row(b, h, i)[j] =
                        c.stored(before ? c.scores() : c.weights(), c.arithmetic.finish(sum) + old);
                }
            }
    return out;
}

}  // namespace mta::oracle::detail
