// Rows of q, k, v and of gradients between their tensors (heads apart) and lanes (heads side by side).
// SPDX-License-Identifier: MIT
//
// Packed row i: planes x head_stride scalars; feature d of lane l at plane(l) + d W + l % W, 0 where there is none.
#pragma once

#include <mta/fast/detail/layout.hpp>

namespace mta::fast {

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

/// Packs positions [begin, end) of a tensor (B, heads, S, D), of which query head h reads head h / (H / heads).
template <class Scalar>
void pack_rows(const Layout<Scalar>& layout, Index bundle, const Scalar* tensor, Index heads, Index begin,
               Index end, Scalar factor, Scalar* packed) {
    const Index D = layout.D, shared_by = layout.H / heads;
    clear(packed, (end - begin) * layout.row_stride / lanes<Scalar>);
    for_each_head(layout, bundle, [&](Lane lane, Index at) {
        const Scalar* rows = tensor + (lane.b * heads + lane.h / shared_by) * layout.S * D;
        for (Index i = begin; i < end; ++i)
            pack_head(rows + i * D, D, factor, packed + (i - begin) * layout.row_stride + at);
    });
}

/// Adds packed positions [begin, end) to a tensor (B, heads, S, D); heads that share a row add up in order.
template <class Scalar>
void add_packed_rows(const Layout<Scalar>& layout, Index bundle, const Scalar* packed, Index heads,
                     Index begin, Index end, Scalar* tensor) {
    const Index D = layout.D, shared_by = layout.H / heads;
    for_each_head(layout, bundle, [&](Lane lane, Index at) {
        Scalar* rows = tensor + (lane.b * heads + lane.h / shared_by) * layout.S * D;
        for (Index i = begin; i < end; ++i)
            for (Index d = 0; d < D; ++d)
                rows[i * D + d] += packed[(i - begin) * layout.row_stride + at + d * lanes<Scalar>];
    });
}

}  // namespace mta::fast
