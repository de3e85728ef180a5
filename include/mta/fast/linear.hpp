// Linear map on CPUs, fast: Eigen's matrix products on blocks of rows.
// SPDX-License-Identifier: MIT
//
// Source    ops/linear.hpp states the map, its shapes and its errors.
// Forward   out = x W^T + b        blocks of rows of x go to threads
// Backward  d_x = d_out W, blocks of rows; d_W = d_out^T x, slices of outputs; d_b = column sums of d_out
// Bits      blocks and slices depend on shapes alone: the same bits at any thread count. The batch may change them.
// Agrees    with the reference to rounding: sums have another order, multiply-adds are fused where the machine can.
// Traps     1. A cotangent row of zeros does not hide a NaN of its row of x: 0 * NaN reaches d_W.
//           2. With EIGEN_USE_BLAS defined before every include, the products are those of the BLAS that is linked;
//              give it one thread (OPENBLAS_NUM_THREADS=1), the rows are shared out here.
#pragma once

#include <concepts>
#include <mta/fast/detail/matrix_rows.hpp>
#include <mta/ops/linear.hpp>

namespace mta::fast {

inline constexpr Index linear_outputs = 64;  // rows of the weight's gradient that one thread makes at a time

/// Returns out, shaped like x but for its last extent.
template <AnyTensor X>
requires std::floating_point<ScalarOf<X>>
auto linear_forward(const X& x, const LinearParams<ScalarOf<X>>& params) -> TensorLike<X> {
    TensorLike<X> out(mta::detail::check_linear(x, params));
    const auto from = matrix_of_rows(x), weight = matrix_of_rows(params.weight);
    auto to = matrix_of_rows(out);
    for_blocks(from.rows(), rows_per_block, [&](Index begin, Index size) {
        auto block = to.middleRows(begin, size);
        block.noalias() = from.middleRows(begin, size) * weight.transpose();
        if (params.bias)
            block.rowwise() +=
                Eigen::Map<const Eigen::RowVectorX<ScalarOf<X>>>(params.bias->data(), params.bias->size());
    });
    return out;
}

/// Takes d_out, then exactly forward's arguments. Returns fresh gradients; the caller sums them.
template <AnyTensor X, TensorOf<rank_of<X>> Out>
requires std::floating_point<ScalarOf<X>>
auto linear_backward(const Out& d_out, const X& x, const LinearParams<ScalarOf<X>>& params)
    -> LinearGrads<ScalarOf<X>, rank_of<X>> {
    using Scalar = ScalarOf<X>;
    require_same_shape("linear: d_out", d_out.dimensions(), mta::detail::check_linear(x, params));
    LinearGrads<Scalar, rank_of<X>> g{TensorLike<X>(x.dimensions()),
                                      {Tensor<Scalar, 2>(params.weight.dimensions()), std::nullopt}};
    const auto from = matrix_of_rows(d_out), rows = matrix_of_rows(x), weight = matrix_of_rows(params.weight);
    auto d_x = matrix_of_rows(g.d_x), d_weight = matrix_of_rows(g.d_params.weight);
    for_blocks(from.rows(), rows_per_block, [&](Index begin, Index size) {
        d_x.middleRows(begin, size).noalias() = from.middleRows(begin, size) * weight;
    });
    for_blocks(d_weight.rows(), linear_outputs, [&](Index begin, Index size) {
        d_weight.middleRows(begin, size).noalias() = from.middleCols(begin, size).transpose() * rows;
    });
    if (params.bias) {
        auto& d_bias = g.d_params.bias.emplace(params.bias->dimensions());
        Eigen::Map<Eigen::RowVectorX<Scalar>>(d_bias.data(), d_bias.size()) = from.colwise().sum();
    }
    return g;
}

}  // namespace mta::fast
