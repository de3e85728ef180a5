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

/// Calls f(begin, size) for blocks of [0, count), on threads. At least two blocks where that is possible: then all run in
/// a parallel region, where Eigen starts no threads of its own. The blocks depend on `count` and `largest` alone.
template <class F>
void for_blocks(Index count, Index largest, F&& f) {
    const Index size = std::clamp<Index>((count + 1) / 2, 1, largest);
    parallel_for((count + size - 1) / size, [&](Index n) { f(n * size, std::min(size, count - n * size)); });
}

}  // namespace mta::fast
