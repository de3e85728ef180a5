// Matrix products between packed rows and score rows: logits, context, and what flows back through them.
// SPDX-License-Identifier: MIT
//
// A product never touches a key that is not visible: where rows of a tile end at different keys, the common keys go
// through the tile and the others row by row, so that no 0 * NaN of a later token reaches an earlier row.
#pragma once

#include <mta/fast/detail/product_kernels.hpp>
#include <mta/fast/detail/score_stages.hpp>

namespace mta::fast {

/// Keys of a tile whose values stay in the second-level cache while the rows of a block read them.
inline constexpr Index product_keys = 32;

template <class Scalar>
class RowProducts {
    static constexpr Index W = lanes<Scalar>;

  public:
    explicit RowProducts(const Layout<Scalar>& layout) : layout_{layout} {}

    /// out(i,j) = sum_d x(i,d) y(j,d) for j < keys(i), the tail cleared. x: packed rows from rows.begin on; y: of the
    /// document. The features go in parts that stay in the first-level cache.
    template <class Keys>
    void dot_features(const Scalar* x, const Scalar* y, const ScoreRows<Scalar>& out, RowRange rows,
                      Keys&& keys) const {
        if (rows.size() == 0) return;
        const Index parts = (layout_.width + 31) / 32, part = (layout_.width + parts - 1) / parts;
        const Index step = 2 * tile_columns;
        for (Index p = 0; p < layout_.planes; ++p)
            for (Index t = 0; t < keys(rows.end - 1); t += step)
                for (Index d = 0; d < layout_.width; d += part)
                    for (Index i = rows.begin; i < rows.end; i += tile_rows) {
                        const Index count = std::min<Index>(tile_rows, rows.end - i);
                        const Index columns = std::min(step, keys(i + count - 1) - t);
                        if (columns <= 0) continue;
                        auto product = make_product(
                            count, [&](Index m) { return x + packed(i + m - rows.begin, p) + d * W; },
                            [&](Index m) { return out.row(i + m) + p * layout_.plane_stride + t * W; });
                        product.y = y + packed(t, p) + d * W;
                        product.x_step = product.y_step = W;
                        product.y_column = layout_.row_stride;
                        product.length = std::min(part, layout_.width - d);
                        d == 0 ? multiply<false>(product, count, columns)
                               : multiply<true>(product, count, columns);
                    }
        for (Index i = rows.begin; i < rows.end; ++i)
            clear_tail(layout_, out.row(i), keys(i));
    }

    /// out(i,d) += sum_{j < keys(i)} scores(i,j) y(j,d), keys ascending. out: packed rows from rows.begin on.
    template <class Keys>
    void sum_keys(const ScoreRows<Scalar>& scores, const Scalar* y, Scalar* out, RowRange rows,
                  Keys&& keys) const {
        for (Index p = 0; p < layout_.planes && rows.size() > 0; ++p) {
            const Index most = keys(rows.end - 1);
            for (Index t = 0; t < most; t += product_keys)
                for (Index d = 0; d < layout_.width; d += tile_columns) {
                    for (Index j = t + product_keys; j < std::min(t + 2 * product_keys, most); ++j)
                        prefetch(y + packed(j, p) + d * W, tile_columns);
                    for (Index i = rows.begin; i < rows.end; i += tile_rows)
                        add_keys(scores, y, out, rows.begin, p, i, std::min<Index>(tile_rows, rows.end - i),
                                 {t, std::min(t + product_keys, keys(i))}, d, tile_columns);
                }
            for (Index i = rows.begin; i < rows.end; ++i)  // keys that the first row of a tile does not see
                add_keys(scores, y, out, rows.begin, p, i, 1,
                         {keys(i - (i - rows.begin) % tile_rows), keys(i)}, 0, layout_.width);
        }
    }

    /// out(j,d) += sum over rows i that see key j of scores(i,j) x(i,d), rows ascending. x: packed rows from rows.begin
    /// on; out: of the document. `ahead`: keys that a row sees after its own position.
    template <class Keys>
    void sum_rows(const ScoreRows<Scalar>& scores, const Scalar* x, Scalar* out, RowRange rows, Keys&& keys,
                  bool causal, Index ahead) const {
        if (rows.size() == 0) return;
        const auto first_row = [&](Index j) {
            return causal ? std::clamp(j - ahead, rows.begin, rows.end) : rows.begin;
        };
        const Index most = keys(rows.end - 1);
        for (Index p = 0; p < layout_.planes; ++p)
            for (Index j = 0; j < most; j += tile_rows) {
                const Index count = std::min<Index>(tile_rows, most - j);
                const Index common = first_row(j + count - 1);
                for (Index n = j + tile_rows; n < std::min(j + 2 * tile_rows, most); ++n)
                    prefetch(out + packed(n, p), layout_.width);
                for (Index m = 0; m + 1 < count; ++m)
                    add_rows(scores, x, out, rows.begin, p, j + m, 1, {first_row(j + m), common});
                add_rows(scores, x, out, rows.begin, p, j, count, {common, rows.end});
            }
    }

  private:
    Index packed(Index row, Index plane) const {
        return row * layout_.row_stride + plane * layout_.head_stride;
    }

    template <class X, class Out>
    static Product<Scalar> make_product(Index count, X&& x, Out&& out) {
        Product<Scalar> product{};
        for (Index m = 0; m < count; ++m) {
            product.x[m] = x(m);
            product.out[m] = out(m);
        }
        return product;
    }

    void add_keys(const ScoreRows<Scalar>& scores, const Scalar* y, Scalar* out, Index first, Index p,
                  Index i, Index count, RowRange keys, Index d, Index columns) const {
        if (keys.size() == 0) return;
        auto product = make_product(
            count, [&](Index m) { return scores.row(i + m) + p * layout_.plane_stride + keys.begin * W; },
            [&](Index m) { return out + packed(i + m - first, p) + d * W; });
        product.y = y + packed(keys.begin, p) + d * W;
        product.x_step = product.y_column = W;
        product.y_step = layout_.row_stride;
        product.length = keys.size();
        multiply<true>(product, count, columns);
    }

    void add_rows(const ScoreRows<Scalar>& scores, const Scalar* x, Scalar* out, Index first, Index p,
                  Index j, Index count, RowRange rows) const {
        if (rows.size() == 0) return;
        auto product = make_product(
            count, [&](Index m) { return scores.row(rows.begin) + p * layout_.plane_stride + (j + m) * W; },
            [&](Index m) { return out + packed(j + m, p); });
        product.y = x + packed(rows.begin - first, p);
        product.x_step = scores.stride;
        product.y_column = W;
        product.y_step = layout_.row_stride;
        product.length = rows.size();
        multiply<true>(product, count, layout_.width);
    }

    const Layout<Scalar>& layout_;
};

}  // namespace mta::fast
