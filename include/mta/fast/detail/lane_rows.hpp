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

/// One head of a packed row = row, D numbers.
template <class Scalar>
void pack_head(const Scalar* row, Index D, Scalar* packed) {
    for (Index d = 0; d < D; ++d)
        packed[d * lanes<Scalar>] = row[d];
}

namespace detail {

// The rows of position `begin` of the heads in one plane; null for lanes that hold none.
template <class Scalar>
struct PlaneRows {
    Scalar* head[lanes<Scalar>] = {};
    bool full = true;

    PlaneRows(const Layout<std::remove_const_t<Scalar>>& layout, Index bundle, Index plane,
              const TokenRows<Scalar>& tokens, Index begin) {
        for (Index l = 0; l < lanes<Scalar>; ++l) {
            const Lane lane = layout.lane(bundle, plane * lanes<Scalar> + l);
            if (lane.used) head[l] = tokens.row(layout, lane, begin);
            full = full && lane.used;
        }
    }
};

// g++ says of every vector type that is a template argument that its alignment is not part of the argument's type.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wignored-attributes"
template <class Scalar>
using Square = Eigen::internal::PacketBlock<Packet<Scalar>, static_cast<int>(lanes<Scalar>)>;
#pragma GCC diagnostic pop

// Calls f(d) for the first feature of every square block of features and lanes; returns the first feature left over.
template <class Scalar, class F>
Index for_each_square(bool full, Index D, F&& f) {
    Index d = 0;
    if constexpr (lanes < Scalar >> 1)
        for (; full && d + lanes<Scalar> <= D; d += lanes<Scalar>)
            f(d);
    return d;
}

template <class Scalar>
void pack_row(const PlaneRows<const Scalar>& from, Index at, Index D, Scalar factor, Scalar* packed) {
    using namespace Eigen::internal;
    constexpr Index W = lanes<Scalar>;
    const Index rest = for_each_square<Scalar>(from.full, D, [&](Index d) {
        Square<Scalar> square;
        unroll<W>([&](auto l)
                      MTA_FAST_LAMBDA { square.packet[l] = ploadu<Packet<Scalar>>(from.head[l] + at + d); });
        ptranspose(square);
        unroll<W>([&](auto n)
                      MTA_FAST_LAMBDA { store(packed + (d + n) * W, pmul(square.packet[n], all(factor))); });
    });
    for (Index l = 0; l < W; ++l)
        for (Index d = rest; from.head[l] != nullptr && d < D; ++d)
            packed[d * W + l] = factor * from.head[l][at + d];
}

// to = combine(to, packed), for numbers and for packets of them.
template <class Scalar, class Combine>
void unpack_row(const Scalar* packed, Index D, const PlaneRows<Scalar>& to, Index at, Combine&& combine) {
    using namespace Eigen::internal;
    constexpr Index W = lanes<Scalar>;
    const Index rest = for_each_square<Scalar>(to.full, D, [&](Index d) {
        Square<Scalar> square;
        unroll<W>([&](auto n) MTA_FAST_LAMBDA { square.packet[n] = load(packed + (d + n) * W); });
        ptranspose(square);
        unroll<W>([&](auto l) MTA_FAST_LAMBDA {
            Scalar* p = to.head[l] + at + d;
            pstoreu(p, combine(ploadu<Packet<Scalar>>(p), square.packet[l]));
        });
    });
    for (Index l = 0; l < W; ++l)
        for (Index d = rest; to.head[l] != nullptr && d < D; ++d)
            to.head[l][at + d] = combine(to.head[l][at + d], packed[d * W + l]);
}

template <class Scalar, class Combine>
void unpack_rows_with(const Layout<Scalar>& layout, Index bundle, const Scalar* packed, Index begin,
                      Index end, const TokenRows<Scalar>& tokens, Combine&& combine) {
    for (Index p = 0; p < layout.planes; ++p) {
        const PlaneRows<Scalar> to(layout, bundle, p, tokens, begin);
        for (Index i = 0; i < end - begin; ++i)
            unpack_row(packed + i * layout.row_stride + p * layout.head_stride, layout.D, to, i * layout.D,
                       combine);
    }
}

}  // namespace detail

/// Packs positions [begin, end) of a tensor.
template <class Scalar>
void pack_rows(const Layout<Scalar>& layout, Index bundle, const TokenRows<const Scalar>& tokens, Index begin,
               Index end, Scalar factor, Scalar* packed) {
    clear(packed, (end - begin) * layout.row_stride / lanes<Scalar>);
    for (Index p = 0; p < layout.planes; ++p) {
        const detail::PlaneRows<const Scalar> from(layout, bundle, p, tokens, begin);
        for (Index i = 0; i < end - begin; ++i)
            detail::pack_row(from, i * layout.D, layout.D, factor,
                             packed + i * layout.row_stride + p * layout.head_stride);
    }
}

/// Positions [begin, end) of a tensor = factor * packed rows.
template <class Scalar>
void unpack_rows(const Layout<Scalar>& layout, Index bundle, const Scalar* packed, Index begin, Index end,
                 Scalar factor, const TokenRows<Scalar>& tokens) {
    detail::unpack_rows_with(layout, bundle, packed, begin, end, tokens, [&](const auto&, const auto& x) {
        if constexpr (std::is_same_v<std::remove_cvref_t<decltype(x)>, Scalar>)
            return factor * x;
        else
            return Eigen::internal::pmul(x, all(factor));
    });
}

/// Adds packed rows to positions [begin, end) of a tensor in which every query head has rows of its own or, with heads
/// that share rows, one after the other.
template <class Scalar>
void add_packed_rows(const Layout<Scalar>& layout, Index bundle, const Scalar* packed, Index begin, Index end,
                     const TokenRows<Scalar>& tokens) {
    const Index D = layout.D;
    if (tokens.heads == layout.H)
        return detail::unpack_rows_with(
            layout, bundle, packed, begin, end, tokens,
            [](const auto& old, const auto& x) { return Eigen::internal::padd(old, x); });
    for_each_head(layout, bundle, [&](Lane lane, Index at) {
        Scalar* rows = tokens.row(layout, lane, begin);
        for (Index i = 0; i < end - begin; ++i)
            for (Index d = 0; d < D; ++d)
                rows[i * D + d] += packed[i * layout.row_stride + at + d * lanes<Scalar>];
    });
}

}  // namespace mta::fast
