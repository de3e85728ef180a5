// Root-mean-square norm on CPUs, fast: vector sums along rows, one pass for all gradients.
// SPDX-License-Identifier: MIT
//
// Source    ops/rms_norm.hpp states the map, its gradients and its errors.
// Bits      a row by itself forward; the weight's gradient is summed within blocks of rows that depend on the number of
//           rows alone, then block by block: the same bits at any thread count.
// Agrees    with the reference to rounding: sums have another order.
// Traps     1. A cotangent row of zeros does not hide a NaN of its row of x: 0 * NaN reaches d_x and d_weight.
#pragma once

#include <concepts>
#include <mta/fast/detail/matrix_rows.hpp>
#include <mta/ops/rms_norm.hpp>

namespace mta::fast {

/// Returns out, shaped like x.
template <AnyTensor X>
requires std::floating_point<ScalarOf<X>>
auto rms_norm_forward(const X& x, const RmsNormParams<ScalarOf<X>>& params, const RmsNormConfig& config = {})
    -> TensorLike<X> {
    using Scalar = ScalarOf<X>;
    mta::detail::check_rms_norm(x, params.weight, config);
    const auto factor = static_cast<Scalar>(rms_norm_factor(config)), eps = static_cast<Scalar>(config.eps);
    TensorLike<X> out(x.dimensions());
    const auto rows = matrix_of_rows(x);
    const Eigen::Map<const Eigen::RowVectorX<Scalar>> weight(params.weight.data(), params.weight.size());
    auto to = matrix_of_rows(out);
    for_blocks(rows.rows(), rows_per_block, [&](Index begin, Index size) {
        for (Index r = begin; r < begin + size; ++r) {
            const Scalar mean = rows.row(r).squaredNorm() / static_cast<Scalar>(rows.cols());
            to.row(r) = (factor / std::sqrt(mean + eps)) * rows.row(r).cwiseProduct(weight);
        }
    });
    return out;
}

/// Takes d_out, then exactly forward's arguments. Returns fresh gradients; the caller sums them.
template <AnyTensor X, TensorOf<rank_of<X>> Out>
requires std::floating_point<ScalarOf<X>>
auto rms_norm_backward(const Out& d_out, const X& x, const RmsNormParams<ScalarOf<X>>& params,
                       const RmsNormConfig& config = {}) -> RmsNormGrads<ScalarOf<X>, rank_of<X>> {
    using Scalar = ScalarOf<X>;
    require_same_shape("rms_norm: d_out", d_out.dimensions(), x.dimensions());
    mta::detail::check_rms_norm(x, params.weight, config);
    const auto factor = static_cast<Scalar>(rms_norm_factor(config)), eps = static_cast<Scalar>(config.eps);
    RmsNormGrads<Scalar, rank_of<X>> g{TensorLike<X>(x.dimensions()), {zeros_like(params.weight)}};
    const auto rows = matrix_of_rows(x), d_rows = matrix_of_rows(d_out);
    const Eigen::Map<const Eigen::RowVectorX<Scalar>> weight(params.weight.data(), params.weight.size());
    auto d_x = matrix_of_rows(g.d_x);
    const auto D = static_cast<Scalar>(rows.cols());
    const Index blocks = (rows.rows() + rows_per_block - 1) / rows_per_block;
    RowMajorMatrix<Scalar> partial = RowMajorMatrix<Scalar>::Zero(blocks, rows.cols());
    mta::parallel_for(blocks, [&](Index block) {
        const Index end = std::min((block + 1) * rows_per_block, rows.rows());
        for (Index r = block * rows_per_block; r < end; ++r) {
            const Scalar inverse = Scalar(1) / std::sqrt(rows.row(r).squaredNorm() / D + eps);
            const auto weighted = d_rows.row(r).cwiseProduct(weight);
            const Scalar along = inverse * inverse * weighted.dot(rows.row(r)) / D;
            d_x.row(r) = (factor * inverse) * (weighted - along * rows.row(r));
            partial.row(block) += (factor * inverse) * d_rows.row(r).cwiseProduct(rows.row(r));
        }
    });
    Eigen::Map<Eigen::RowVectorX<Scalar>> d_weight(g.d_params.weight.data(), g.d_params.weight.size());
    for (Index block = 0; block < blocks; ++block)
        d_weight += partial.row(block);
    return g;
}

}  // namespace mta::fast
