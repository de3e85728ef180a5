// The model's product of final weights and values, forward and backward, with switches for bugs.
// SPDX-License-Identifier: MIT
#pragma once

#include <mta/oracle/detail/model_weights.hpp>

namespace mta::oracle::detail {

// The final weights as they meet the values: clipped or renormalised by a bug.
inline Grid final_weights(const ModelContext& c, const Knobs& k, const Grid& final) {
    if (!k.clipped && !k.renormalised) return final;
    Grid changed = final;
    for (Index b = 0; b < c.B; ++b)
        for (Index h = 0; h < c.H; ++h)
            for (Index i = 0; i < c.S; ++i) {
                double* row = changed.row(b, h, i);
                double sum = 0;
                for (Index j = 0; j < c.S; ++j) {
                    if (k.clipped) row[j] = std::max(row[j], 0.0);
                    sum += row[j];
                }
                for (Index j = 0; j < c.S && k.renormalised; ++j)
                    row[j] /= sum;
            }
    return changed;
}

/// context = weights times values. (B, H, S, D)
inline Grid context_forward(const ModelContext& c, const Knobs& k, const Grid& final, bool wide) {
    const Grid used = final_weights(c, k, final);
    const Precision m = c.arithmetic.profile().multiply;
    Grid context(c.B, c.H, c.S, c.D);
    for (Index b = 0; b < c.B; ++b)
        for (Index h = 0; h < c.H; ++h)
            for (Index i = 0; i < c.S; ++i) {
                const KeyRange range = c.keys(k, b, i, wide);
                const Index kv = c.key_value_head(k, h, k.values_interleaved);
                for (Index d = 0; d < c.D; ++d) {
                    Sum sum;
                    for (Index j = range.begin; j < range.end; ++j)
                        c.arithmetic.add(sum, c.stored(m, used.row(b, h, i)[j]),
                                         c.stored(m, c.problem.v(b, kv, j, d)));
                    context.row(b, h, i)[d] = c.arithmetic.finish(sum);
                }
            }
    return context;
}

// Backwards through final_weights.
inline void final_weights_backward(const ModelContext& c, const Knobs& k, const Grid& final, Grid& d_final) {
    const Grid used = final_weights(c, k, final);
    for (Index b = 0; b < c.B; ++b)
        for (Index h = 0; h < c.H; ++h)
            for (Index i = 0; i < c.S; ++i) {
                const double *x = final.row(b, h, i), *y = used.row(b, h, i);
                double* d = d_final.row(b, h, i);
                double sum = 0, along = 0;
                for (Index j = 0; j < c.S; ++j) {
                    sum += k.clipped ? std::max(x[j], 0.0) : x[j];
                    along += d[j] * y[j];
                }
                for (Index j = 0; j < c.S; ++j) {
                    if (k.renormalised) d[j] = (d[j] - along) / sum;
                    if (k.clipped && x[j] < 0) d[j] = 0;
                }
            }
}

/// The gradient of the final weights.
inline Grid context_backward_weights(const ModelContext& c, const Knobs& k, const Grid& d_context,
                                     const Grid& final, bool wide) {
    Grid d_final(c.B, c.H, c.S, c.S);
    for (Index b = 0; b < c.B; ++b)
        for (Index h = 0; h < c.H; ++h)
            for (Index i = 0; i < c.S; ++i) {
                const KeyRange range = c.keys(k, b, i, wide);
                for (Index j = range.begin; j < range.end; ++j) {
                    const auto v = mta::row(c.problem.v, b, c.key_value_head(k, h, k.values_interleaved), j);
                    Sum sum;
                    for (std::size_t d = 0; d < v.size(); ++d)
                        c.arithmetic.add(sum, d_context.row(b, h, i)[d], v[d]);
                    d_final.row(b, h, i)[j] = c.stored(c.weights(), c.arithmetic.finish(sum));
                }
            }
    if (k.clipped || k.renormalised) final_weights_backward(c, k, final, d_final);
    return d_final;
}

/// The gradient of the values; `weights` are those before convolution and mixing.
inline void context_backward_values(const ModelContext& c, const Knobs& k, const Grid& d_context,
                                    const Grid& final, const Grid& weights, bool wide, Grid& d_v) {
    const Grid used = final_weights(c, k, k.context_from_weights || k.values_from_weights ? weights : final);
    SumGrid sums(c.B, c.Hkv, c.S, c.D);
    const Index group = c.H / c.Hkv;
    for (Index b = 0; b < c.B; ++b)
        for (Index h = 0; h < c.H; ++h) {
            if (head_is_lost(k.value_group, h, group)) continue;
            const Index kv = c.key_value_head(k, h, k.values_interleaved);
            for (Index i = 0; i < c.S; ++i) {
                const KeyRange range = c.keys(k, b, i, wide);
                for (Index j = range.begin; j < range.end; ++j)
                    for (Index d = 0; d < c.D; ++d)
                        c.arithmetic.add(sums.row(b, kv, j)[d], used.row(b, h, i)[j],
                                         d_context.row(b, h, i)[d]);
            }
        }
    const double share = k.value_group == GroupKnob::mean ? 1 / static_cast<double>(group) : 1;
    for (std::size_t n = 0; n < sums.x.size(); ++n)
        d_v.x[n] = c.stored(c.arithmetic.profile().io, c.arithmetic.finish(sums.x[n]) * share);
}

}  // namespace mta::oracle::detail
