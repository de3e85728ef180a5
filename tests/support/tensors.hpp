// Small tensors that tests write down, cut up and walk.
// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <initializer_list>
#include <limits>
#include <mta/core/require.hpp>
#include <mta/core/tensor.hpp>

namespace mta::test {

inline constexpr double infinity = std::numeric_limits<double>::infinity();
inline constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();

/// These values in memory order; throws unless there are as many as the extents say.
template <class... Extents>
auto tensor_of(std::initializer_list<double> values, Extents... extents) {
    auto t = zeros<double>(extents...);
    require_same("tensor_of: number of values", static_cast<Index>(values.size()), t.size());
    std::copy(values.begin(), values.end(), t.data());
    return t;
}

inline Tensor<double, 1> vector_of(std::initializer_list<double> values) {
    return tensor_of(values, values.size());
}

inline Tensor<double, 2> matrix_of(Index rows, std::initializer_list<double> values) {
    return tensor_of(values, rows, static_cast<Index>(values.size()) / rows);
}

/// Row b of a batch, as a batch of one.
template <AnyTensor T>
TensorLike<T> batch_row(const T& t, Index b) {
    auto extents = t.dimensions();
    extents[0] = 1;
    TensorLike<T> alone(extents);
    std::copy_n(t.data() + b * alone.size(), alone.size(), alone.data());
    return alone;
}

/// Calls f(b, h, i, j) for every element, in memory order.
template <class F>
void everywhere(const Tensor<double, 4>& t, F&& f) {
    for (Index b = 0; b < t.dimension(0); ++b)
        for (Index h = 0; h < t.dimension(1); ++h)
            for (Index i = 0; i < t.dimension(2); ++i)
                for (Index j = 0; j < t.dimension(3); ++j)
                    f(b, h, i, j);
}

}  // namespace mta::test
