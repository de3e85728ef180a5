// Convolution and mixing of a window of score rows, and their gradients: tiles of keys, pairs of rows.
// SPDX-License-Identifier: MIT
//
// Rows      a row holds its visible keys, zeros before them (margin) and after them (tail), so that no kernel asks
//           where a row ends: what lies outside is 0, as the convolution wants it.
// Exact     taps whose key is after the output's query are left out (Eq. 4). They can only occur where the kernel
//           reaches over the diagonal; there, plain loops ask for every tap.
#pragma once

#include <mta/fast/detail/conv_kernels.hpp>
#include <mta/fast/detail/layout.hpp>
#include <mta/fast/detail/score_params.hpp>

namespace mta::fast {

/// Rows [begin, end).
struct RowRange {
    Index begin = 0, end = 0;
    Index size() const { return std::max<Index>(end - begin, 0); }
    RowRange within(RowRange other) const { return {std::max(begin, other.begin), std::min(end, other.end)}; }
};

/// Positions and keys of one document; rows and keys are counted from its first token.
struct DocumentRows {
    Index begin = 0, length = 0;  // in the sequence
    bool causal = true;
    Index lookahead = 0;  // keys after a query whose logits are needed (MaskRule::exact)

    Index keys(Index i) const { return causal ? i + 1 : length; }
    Index logit_keys(Index i) const { return std::min(length, keys(i) + lookahead); }
};

/// Keys that stay in the cache while the rows of a block pass over them; a multiple of every register tile.
inline constexpr Index key_tile = 96;

/// Zeros after the last key of a row, in every plane.
template <class Scalar>
void clear_tail(const Layout<Scalar>& layout, Scalar* row, Index keys) {
    for (Index p = 0; p < layout.planes; ++p)
        clear(row + p * layout.plane_stride + keys * lanes<Scalar>, layout.tail);
}

/// Which way a convolution goes: outputs from inputs, or gradients of inputs from those of outputs.
enum class Direction { forward, transposed };

template <class Scalar>
class ScoreStages {
    static constexpr Index W = lanes<Scalar>;

  public:
    ScoreStages(const Layout<Scalar>& layout, const DocumentRows& document, const Scalar** row_table)
        : layout_{layout}, document_{document}, table_{row_table} {}

    /// Rows of `out` from `in`; keys(i) of them, the tail cleared.
    template <class Keys>
    void convolve(const ScoreSide<Scalar>& side, Direction direction, const ScoreRows<Scalar>& in,
                  const ScoreRows<Scalar>& out, RowRange rows, Keys&& keys) const {
        const Index most = rows.size() > 0 ? plain_keys(side, direction, rows.end - 1, keys) : 0;
        for (Index t = 0; t < most; t += key_tile)
            for (Index i = rows.begin; i < rows.end; i += 2) {
                const Index outputs = std::min<Index>(2, rows.end - i);
                const Index limit =
                    plain_keys(side, direction,
                               direction == Direction::forward && side.exact ? i : i + outputs - 1, keys);
                convolve_group(side, direction, in, out, i, outputs, {t, std::min(t + key_tile, limit)});
            }
        for (Index i = rows.begin; i < rows.end; ++i) {
            if (side.exact) {
                const Index plain = direction == Direction::forward ? i - (i - rows.begin) % 2 : i;
                convolve_band(side, direction, in, out.row(i), i,
                              {plain_keys(side, direction, plain, keys), keys(i)});
            }
            clear_tail(layout_, out.row(i), keys(i));
        }
    }

    /// gradient += sum over rows and keys of d_out times what each tap read.
    void add_kernel_gradients(const ScoreSide<Scalar>& side, const ScoreRows<Scalar>& d_out,
                              const ScoreRows<Scalar>& in, RowRange rows, Scalar* gradient) const {
        const auto keys = [&](Index i) {
            return side.exact ? std::max<Index>(0, i - right(side) + 1) : document_.keys(i);
        };
        const Index most = rows.size() > 0 ? keys(rows.end - 1) : 0;
        for (Index t = 0; t < most; t += key_tile)
            for (Index i = rows.begin; i < rows.end; i += 2) {
                const Index outputs = std::min<Index>(2, rows.end - i);
                const Index limit = keys(side.exact ? i : i + outputs - 1);
                add_group_gradient(side, d_out, in, i, outputs, {t, std::min(t + key_tile, limit)}, gradient);
            }
        if (!side.exact) return;
        for (Index i = rows.begin; i < rows.end; ++i)
            add_band_gradient(side, d_out.row(i), in, i, keys(i - (i - rows.begin) % 2), gradient);
    }

    /// out = heads of `in` mixed, or with the transposed matrix.
    void mix(const ScoreSide<Scalar>& side, Direction direction, const ScoreRows<Scalar>& in,
             const ScoreRows<Scalar>& out, RowRange rows) const {
        const Scalar* weight = direction == Direction::forward ? side.mix : side.transposed;
        for (Index i = rows.begin; i < rows.end; ++i) {
            mix_row(side.groups, in.row(i), weight, out.row(i), document_.keys(i), layout_.plane_stride);
            clear_tail(layout_, out.row(i), document_.keys(i));
        }
    }
    void add_mix_gradients(const ScoreSide<Scalar>& side, const ScoreRows<Scalar>& d_out,
                           const ScoreRows<Scalar>& in, RowRange rows, Scalar* gradient) const {
        for (Index i = rows.begin; i < rows.end; ++i)
            add_mix_gradient(side.groups, d_out.row(i), in.row(i), document_.keys(i), layout_.plane_stride,
                             gradient);
    }

    void copy(const ScoreRows<Scalar>& in, const ScoreRows<Scalar>& out, RowRange rows) const {
        for (Index i = rows.begin; i < rows.end; ++i)
            for (Index p = 0; p < layout_.planes; ++p)
                std::copy_n(in.row(i) + p * layout_.plane_stride, (document_.keys(i) + layout_.tail) * W,
                            out.row(i) + p * layout_.plane_stride);
    }

  private:
    static Index right(const ScoreSide<Scalar>& side) { return side.Ck - 1 - side.left; }

    // Keys of row i for which every tap counts, rounded down to whole tiles where others follow.
    template <class Keys>
    Index plain_keys(const ScoreSide<Scalar>& side, Direction direction, Index i, Keys&& keys) const {
        if (!side.exact) return keys(i);
        if (direction == Direction::transposed) return std::min(keys(i), document_.keys(i));
        return std::max<Index>(0, i - right(side) + 1) / conv_keys * conv_keys;
    }
    Index first_key(const ScoreSide<Scalar>& side, Direction direction) const {
        return -(direction == Direction::forward ? side.left : right(side));
    }

    // The rows that outputs i, i + 1 read; those outside the document do not exist.
    ConvRows<Scalar> conv_rows(const ScoreSide<Scalar>& side, Direction direction,
                               const ScoreRows<Scalar>& in, Index i, Index outputs) const {
        const Index first = direction == Direction::forward ? i - side.above() : i;
        const Index begin = std::max<Index>(0, -first);
        const Index end = std::min(side.Cq + outputs - 1, document_.length - first);
        for (Index u = begin; u < end; ++u)
            table_[u] = in.row(first + u);
        return {table_, begin, end, side.Cq, side.Ck, nullptr};
    }

    void convolve_group(const ScoreSide<Scalar>& side, Direction direction, const ScoreRows<Scalar>& in,
                        const ScoreRows<Scalar>& out, Index i, Index outputs, RowRange keys) const {
        if (keys.size() == 0) return;
        auto rows = conv_rows(side, direction, in, i, outputs);
        Scalar* const to[2]{out.row(i), out.row(i + outputs - 1)};
        const Scalar* kernel = direction == Direction::forward ? side.kernel : side.reversed;
        for (Index p = 0; p < layout_.planes; ++p) {
            rows.weight = kernel + p * side.kernel_packets() * W;
            for (Index j = keys.begin; j < keys.end; j += conv_keys) {
                const Index at = p * layout_.plane_stride + j * W;
                const Index first = at + first_key(side, direction) * W;
                outputs == 2 ? convolve_tile<2>(rows, first, to, at) : convolve_tile<1>(rows, first, to, at);
            }
        }
    }

    void add_group_gradient(const ScoreSide<Scalar>& side, const ScoreRows<Scalar>& d_out,
                            const ScoreRows<Scalar>& in, Index i, Index outputs, RowRange keys,
                            Scalar* gradient) const {
        if (keys.size() == 0) return;
        const auto rows = conv_rows(side, Direction::forward, in, i, outputs);
        for (Index p = 0; p < layout_.planes; ++p) {
            const Index at = p * layout_.plane_stride + keys.begin * W;
            const Scalar* const d[2]{d_out.row(i) + at, d_out.row(i + outputs - 1) + at};
            add_kernel_gradient(rows, outputs, at - side.left * W, d, keys.size(),
                                gradient + p * side.kernel_packets() * W);
        }
    }

    // Calls f(u, v, p, q) for the taps of output (i, j) whose row exists and whose key q is not after query i.
    template <class F>
    void for_each_exact_tap(const ScoreSide<Scalar>& side, Index i, Index j, F&& f) const {
        for (Index u = std::max<Index>(0, side.above() - i); u < side.Cq; ++u)
            for (Index v = 0; v < side.Ck && j - side.left + v <= i; ++v)
                f(u, v, i - side.above() + u, j - side.left + v);
    }

    // The keys of row i that plain_keys left, tap by tap.
    void convolve_band(const ScoreSide<Scalar>& side, Direction direction, const ScoreRows<Scalar>& in,
                       Scalar* out, Index i, RowRange keys) const {
        for (Index plane = 0; plane < layout_.planes; ++plane) {
            const Index at = plane * layout_.plane_stride;
            const Scalar* kernel = side.kernel + plane * side.kernel_packets() * W;
            for (Index j = keys.begin; j < keys.end; ++j) {
                auto sum = all(Scalar(0));
                const auto add = [&](Index u, Index v, Index p, Index q) {
                    sum =
                        multiply_add(load(kernel + (u * side.Ck + v) * W), load(in.row(p) + at + q * W), sum);
                };
                if (direction == Direction::forward)
                    for_each_exact_tap(side, i, j, add);
                else
                    for_each_reader(side, i, j, add);
                store(out + at + j * W, sum);
            }
        }
    }

    // Calls f(u, v, i, j) for the outputs (i, j) that read logit (p, q) through tap (u, v), q <= i.
    template <class F>
    void for_each_reader(const ScoreSide<Scalar>& side, Index p, Index q, F&& f) const {
        for (Index u = 0; u < side.Cq; ++u) {
            const Index i = p + side.above() - u;
            if (i >= document_.length || i < q) continue;
            for (Index v = 0; v < side.Ck; ++v)
                f(u, v, i, q - v + side.left);
        }
    }

    void add_band_gradient(const ScoreSide<Scalar>& side, const Scalar* d_out, const ScoreRows<Scalar>& in,
                           Index i, Index first_key, Scalar* gradient) const {
        for (Index plane = 0; plane < layout_.planes; ++plane) {
            const Index at = plane * layout_.plane_stride;
            Scalar* to = gradient + plane * side.kernel_packets() * W;
            for (Index j = first_key; j < document_.keys(i); ++j)
                for_each_exact_tap(side, i, j, [&](Index u, Index v, Index p, Index q) {
                    Scalar* tap = to + (u * side.Ck + v) * W;
                    store(tap,
                          multiply_add(load(d_out + at + j * W), load(in.row(p) + at + q * W), load(tap)));
                });
        }
    }

    const Layout<Scalar>& layout_;
    const DocumentRows& document_;
    const Scalar** table_;
};

}  // namespace mta::fast
