// The model's backward convolution, and head mixing forward and backward, with switches for bugs.
// SPDX-License-Identifier: MIT
#pragma once

#include <mta/oracle/detail/model_scores.hpp>

namespace mta::oracle::detail {

/// The gradient of a parameter, summed per batch row so that a bug can lose some of them.
class ParameterSums {
  public:
    ParameterSums(const ModelContext& c, std::size_t size)
        : c_{c}, size_{size}, x_(size * std::size_t(c.B)) {}
    void add(Index b, std::size_t n, double x, double y) {
        c_.arithmetic.add(x_[static_cast<std::size_t>(b) * size_ + n], x, y);
    }
    std::vector<double> finish(BatchKnob knob) const {
        std::vector<double> result(size_);
        const Index rows = knob == BatchKnob::first ? std::min<Index>(1, c_.B) : c_.B;
        const double share = knob == BatchKnob::mean    ? 1 / static_cast<double>(c_.B)
                             : knob == BatchKnob::twice ? 2
                                                        : 1;
        for (std::size_t n = 0; n < size_; ++n) {
            Sum sum;
            for (Index b = 0; b < rows; ++b)
                c_.arithmetic.merge(sum, x_[static_cast<std::size_t>(b) * size_ + n]);
            result[n] = c_.stored(c_.arithmetic.profile().io, c_.arithmetic.finish(sum) * share);
        }
        return result;
    }

  private:
    const ModelContext& c_;
    std::size_t size_;
    std::vector<Sum> x_;
};

/// Rows of the scores whose contributions to parameters a bug forgets: those that do not fill a tile.
inline bool row_is_lost(const ModelContext& c, const Knobs& k, Index i) {
    return k.last_query_tile_lost && i >= c.S / k.tile * k.tile;
}

/// The gradient of the convolution's input, everywhere that the convolution read.
inline Grid conv_backward_scores(const ModelContext& c, const Knobs& k, bool before, const Grid& d_out,
                                 bool wide) {
    const ConvKnobs& own = before ? k.pre : k.post;
    if (own.not_transposed) return conv_forward(c, k, before, d_out, wide);
    const Convolution conv(c, k, before);
    SumGrid sums(c.B, c.H, c.S, c.S);
    for (Index b = 0; b < c.B; ++b)
        for (Index h = 0; h < c.H; ++h)
            for (Index i = 0; i < c.S; ++i) {
                const KeyRange range = c.keys(k, b, i, wide);
                for (Index j = range.begin; j < range.end; ++j) {
                    const double d = d_out.row(b, h, i)[j];
                    conv.walk(b, i, j, [&](Index a, Index t, Index p, Index q) {
                        c.arithmetic.add(sums.row(b, h, p)[q], conv.tap(h, a, t), d);
                    });
                    if (conv.residual()) c.arithmetic.add(sums.row(b, h, i)[j], 1, d);
                }
            }
    Grid d_in(c.B, c.H, c.S, c.S);
    for (std::size_t n = 0; n < sums.x.size(); ++n)
        d_in.x[n] = c.stored(before ? c.scores() : c.weights(), c.arithmetic.finish(sums.x[n]));
    return d_in;
}

/// The gradient of the kernel.
inline std::vector<double> conv_backward_kernel(const ModelContext& c, const Knobs& k, bool before,
                                                const Grid& d_out, const Grid& in, bool wide) {
    const Convolution conv(c, k, before);
    ParameterSums sums(c, conv.size());
    for (Index b = 0; b < c.B; ++b)
        for (Index h = 0; h < c.H; ++h)
            for (Index i = 0; i < c.S; ++i) {
                if (row_is_lost(c, k, i)) continue;
                const KeyRange range = c.keys(k, b, i, wide);
                for (Index j = range.begin; j < range.end; ++j) {
                    const double d = d_out.row(b, h, i)[j];
                    conv.walk(b, i, j, [&](Index a, Index t, Index p, Index q) {
                        sums.add(b, conv.place(h, a, t), conv.input(in, b, h, i, p, q), d);
                    });
                }
            }
    return sums.finish(k.batch);
}

/// One mix of a problem: its weights and which heads they join, right or wrong.
struct Mixing {
    const ModelContext& c;
    MixKnobs k;
    Index size, groups = c.H / size;
    const Tensor<double, 3>& w;

    Mixing(const ModelContext& context, const Knobs& knobs, bool before)
        : c{context},
          k{before ? knobs.pre_mix : knobs.post_mix},
          size{before ? c.config.pre.mix_group : c.config.post.mix_group},
          w{(before ? c.problem.params.pre : c.problem.params.post).mix->mix} {}

    Index head(Index g, Index member) const {
        return k.strided_groups ? g + member * groups : g * size + member;
    }
    /// Where the weight of output member r and input member s stands in memory.
    std::size_t place(Index g, Index r, Index s) const {
        if (k.first_group) g = 0;
        return static_cast<std::size_t>((g * size + (k.transposed ? s : r)) * size + (k.transposed ? r : s));
    }
    double at(Index g, Index r, Index s) const {
        const double own = k.no_diagonal && r == s ? 0 : w.data()[place(g, r, s)];
        return own + (k.residual && r == s ? 1 : 0);
    }

    /// Calls f(b, g, i, range) for every group of every row.
    template <class F>
    void rows(const Knobs& knobs, bool wide, F&& f) const {
        for (Index b = 0; b < c.B; ++b)
            for (Index g = 0; g < groups; ++g)
                for (Index i = 0; i < c.S; ++i)
                    f(b, g, i, c.keys(knobs, b, i, wide));
    }
};

/// Mixes heads (`adjoint`: their gradients, backwards).
inline Grid mix_scores(const ModelContext& c, const Knobs& k, bool before, const Grid& in, bool wide,
                       bool adjoint) {
    const Mixing mix(c, k, before);
    Grid out(c.B, c.H, c.S, c.S);
    mix.rows(k, wide, [&](Index b, Index g, Index i, KeyRange range) {
        for (Index r = 0; r < mix.size; ++r)
            for (Index j = range.begin; j < range.end; ++j) {
                Sum sum;
                for (Index s = 0; s < mix.size; ++s)
                    c.arithmetic.add(sum, adjoint ? mix.at(g, s, r) : mix.at(g, r, s),
                                     in.row(b, mix.head(g, s), i)[j]);
                out.row(b, mix.head(g, r), i)[j] =
                    c.stored(before ? c.scores() : c.weights(), c.arithmetic.finish(sum));
            }
    });
    return out;
}

/// The gradient of the mixing weights.
inline std::vector<double> mix_backward_weights(const ModelContext& c, const Knobs& k, bool before,
                                                const Grid& d_out, const Grid& in, bool wide) {
    const Mixing mix(c, k, before);
    ParameterSums sums(c, static_cast<std::size_t>(mix.w.size()));
    mix.rows(k, wide, [&](Index b, Index g, Index i, KeyRange range) {
        if (row_is_lost(c, k, i)) return;
        for (Index r = 0; r < mix.size; ++r)
            for (Index s = 0; s < mix.size; ++s) {
                if (k.pre_mix.no_diagonal && r == s && before) continue;
                if (k.post_mix.no_diagonal && r == s && !before) continue;
                const double* d = d_out.row(b, mix.head(g, r), i);
                const double* x = in.row(b, mix.head(g, s), i);
                for (Index j = range.begin; j < range.end; ++j)
                    sums.add(b, mix.place(g, r, s), d[j], x[j]);
            }
    });
    return sums.finish(k.batch);
}

}  // namespace mta::oracle::detail
