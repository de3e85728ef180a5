// Tensors seen as matrices of rows along their last axis, and rows shared out in blocks.
// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <mta/core/parallel.hpp>
#include <mta/core/tensor.hpp>

namespace mta::fast {

template <class Scalar>
using RowMajorMatrix = Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

template <AnyTensor T>
auto matrix_of_rows(T& t) {
    using Element = std::remove_pointer_t<decltype(t.data())>;
    using Matrix = RowMajorMatrix<std::remove_const_t<Element>>;
    using Seen = std::conditional_t<std::is_const_v<Element>, const Matrix, Matrix>;
    return Eigen::Map<Seen>(t.data(), row_count(t), t.dimension(rank_of<T> - 1));
}

/// Rows that one thread takes at a time. A matrix product packs its other operand once for them.
inline constexpr Index rows_per_block = 256;

/// Blocks for `count` rows, `largest` or fewer in each: a power of two up to eight, then a multiple of eight, so that few or
/// many threads have equal shares. Two at least: then all run in a parallel region, where Eigen starts no threads.
inline Index block_count(Index count, Index largest) {
    const Index needed = (count + largest - 1) / largest;
    for (const Index blocks : {2, 4, 8})
        if (needed <= blocks) return blocks;
    return (needed + 7) / 8 * 8;
}

/// Calls f(begin, size) for blocks of [0, count), on threads. The blocks depend on `count` and `largest` alone.
template <class F>
void for_blocks(Index count, Index largest, F&& f) {
    const Index blocks = block_count(count, largest);
    const Index size = (count + blocks - 1) / blocks;
    parallel_for(size == 0 ? 0 : (count + size - 1) / size,
                 [&](Index n) { f(n * size, std::min(size, count - n * size)); });
}

}  // namespace mta::fast
