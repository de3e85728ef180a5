// Matrix products of all lanes at once: out(m,n) += sum_k x(m,k) y(n,k), each element one packet.
// SPDX-License-Identifier: MIT
//
// Logits, context and their gradients are this product with other strides. A tile of 4 x 6 sums stays in registers
// while k runs; every sum has the order of k.
#pragma once

#include <mta/fast/detail/lanes.hpp>

namespace mta::fast {

/// Rows and columns of a register tile.
inline constexpr int tile_rows = 4;
inline constexpr int tile_columns = many_registers ? 6 : 2;

/// Where x(m,k), y(n,k) and out(m,n) are; strides count scalars.
template <class Scalar>
struct Product {
    const Scalar* x[tile_rows];
    Scalar* out[tile_rows];
    const Scalar* y;
    Index x_step, y_column, y_step;  // from k to k+1; from n to n+1; from k to k+1
    Index length;                    // of k
};

/// One tile. Columns of `out` are neighbours.
template <int M, bool Accumulate, class Scalar>
MTA_FAST_INLINE void multiply_tile(const Product<Scalar>& p, Index out_offset, const Scalar* y) {
    constexpr Index W = lanes<Scalar>;
    constexpr int N = tile_columns;
    Packet<Scalar> sum[M][N];
    unroll<M>([&](auto m) MTA_FAST_LAMBDA {
        unroll<N>([&](auto n) MTA_FAST_LAMBDA {
            if constexpr (Accumulate)
                sum[m][n] = load(p.out[m] + out_offset + n * W);
            else
                sum[m][n] = all(Scalar(0));
        });
    });
    const Scalar* x[M];
    unroll<M>([&](auto m) MTA_FAST_LAMBDA { x[m] = p.x[m]; });
    for (Index k = 0, at = 0; k < p.length; ++k, at += p.x_step, y += p.y_step) {
        Packet<Scalar> left[M];
        unroll<M>([&](auto m) MTA_FAST_LAMBDA { left[m] = load(x[m] + at); });
        unroll<N>([&](auto n) MTA_FAST_LAMBDA {
            Packet<Scalar> right = load(y + n * p.y_column);
            keep_in_register(right);
            unroll<M>([&](auto m) MTA_FAST_LAMBDA { sum[m][n] = multiply_add(left[m], right, sum[m][n]); });
        });
    }
    unroll<M>([&](auto m) MTA_FAST_LAMBDA {
        unroll<N>([&](auto n) MTA_FAST_LAMBDA { store(p.out[m] + out_offset + n * W, sum[m][n]); });
    });
}

/// `rows` <= tile_rows rows and `columns` columns, rounded up to whole tiles: x, y and out must have room for that.
template <bool Accumulate, class Scalar>
void multiply(const Product<Scalar>& p, Index rows, Index columns) {
    with_constant<tile_rows>(rows, [&](auto m) {
        for (Index n = 0; n < columns; n += tile_columns)
            multiply_tile<m, Accumulate>(p, n * lanes<Scalar>, p.y + n * p.y_column);
    });
}

}  // namespace mta::fast
