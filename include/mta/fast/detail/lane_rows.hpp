// Rows of q, k, v and of gradients between their tensors (heads apart) and lanes (heads side by side).
// SPDX-License-Identifier: MIT
//
// Packed row i: planes x head_stride scalars; feature d of lane l at plane(l) + d W + l % W, 0 where there is none.
#pragma once

#include <mta/fast/detail/layout.hpp>

namespace mta::fast {

/// Tokens of a tensor (B, heads, rows, D), row 0 being position `first` of the sequence.
template <class Scalar>
struct TokenRows {
    Scalar* data = nullptr;
    Index heads = 0, rows = 0, first = 0;

    /// The row of this position; of query head h where heads are shared by several.
    template <class L>
    Scalar* row(const L& layout, Lane lane, Index position) const {
        const Index head = lane.b * heads + lane.h / (layout.H / heads);
        return data + (head * rows + position - first) * layout.D;
    }
};

/// Calls f(lane, offset of its first feature in a packed row) for the heads of a bundle.
template <class Scalar, class F>
void for_each_head(const Layout<Scalar>& layout, Index bundle, F&& f) {
    constexpr Index W = lanes<Scalar>;
    const Index used = layout.used_lanes(bundle);
    for (Index l = 0; l < used; ++l)
        f(layout.lane(bundle, l), l / W * layout.head_stride + l % W);
}

/// One head of a packed row = factor * row, D numbers.
template <class Scalar>
void pack_head(const Scalar* row, Index D, Scalar factor, Scalar* packed) {
    for (Index d = 0; d < D; ++d)
        packed[d * lanes<Scalar>] = factor * row[d];
}

/// Row = factor * one head of a packed row.
template <class Scalar>
void unpack_head(const Scalar* packed, Index D, Scalar factor, Scalar* row) {
    for (Index d = 0; d < D; ++d)
        row[d] = factor * packed[d * lanes<Scalar>];
}

/// Packs positions [begin, end) of a tensor.
template <class Scalar>
void pack_rows(const Layout<Scalar>& layout, Index bundle, const TokenRows<const Scalar>& tokens, Index begin,
               Index end, Scalar factor, Scalar* packed) {
    const Index D = layout.D;
    clear(packed, (end - begin) * layout.row_stride / lanes<Scalar>);
    for_each_head(layout, bundle, [&](Lane lane, Index at) {
        const Scalar* rows = tokens.row(layout, lane, begin);
        for (Index i = 0; i < end - begin; ++i)
            pack_head(rows + i * D, D, factor, packed + i * layout.row_stride + at);
    });
}

/// Positions [begin, end) of a tensor = factor * packed rows.
template <class Scalar>
void unpack_rows(const Layout<Scalar>& layout, Index bundle, const Scalar* packed, Index begin, Index end,
                 Scalar factor, const TokenRows<Scalar>& tokens) {
    for_each_head(layout, bundle, [&](Lane lane, Index at) {
        Scalar* rows = tokens.row(layout, lane, begin);
        for (Index i = 0; i < end - begin; ++i)
            unpack_head(packed + i * layout.row_stride + at, layout.D, factor, rows + i * layout.D);
    });
}

/// Adds packed rows to positions [begin, end) of a tensor; heads that share a row add up in order.
template <class Scalar>
void add_packed_rows(const Layout<Scalar>& layout, Index bundle, const Scalar* packed, Index begin, Index end,
                     const TokenRows<Scalar>& tokens) {
    const Index D = layout.D;
    for_each_head(layout, bundle, [&](Lane lane, Index at) {
        Scalar* rows = tokens.row(layout, lane, begin);
        for (Index i = 0; i < end - begin; ++i)
            for (Index d = 0; d < D; ++d)
                rows[i * D + d] += packed[i * layout.row_stride + at + d * lanes<Scalar>];
    });
}

}  // namespace mta::fast
