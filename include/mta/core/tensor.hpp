// Tensors and views: row-major Eigen tensors, so the last index is contiguous and NumPy or torch memory fits.
// SPDX-License-Identifier: MIT
//
// Dimension names, the same everywhere:
//   B   batch            S    sequence length (Sq queries, Sk keys)    V   vocabulary size
//   H   query heads      Hkv  key/value heads, H divisible by Hkv      D   head dimension, or feature width
//   Cq  query extent of a kernel    Ck  its key extent    G  head groups of Ch heads each, H = G Ch
//   h, g  a head (input, output)    i, p  a query (output, input)    j, q  a key (output, input)
// Scalars: double is the oracle, float trains, std::complex<double> carries a derivative (complex_step.hpp).
#pragma once

#if defined(__FAST_MATH__) || (defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__)
#error \
    "mta: -ffast-math and -ffinite-math-only let the compiler drop NaN and reorder sums; the library's promises need it off."
#endif

#include <array>
#include <complex>
#include <cstddef>
#include <span>
#include <type_traits>
#include <unsupported/Eigen/CXX11/Tensor>

namespace mta {

using Index = Eigen::Index;

/// Owns its elements.
template <class Scalar, int Rank>
using Tensor = Eigen::Tensor<Scalar, Rank, Eigen::RowMajor, Index>;
/// Somebody else's elements, writable: TensorView<double, 2>(pointer, rows, columns).
template <class Scalar, int Rank>
using TensorView = Eigen::TensorMap<Tensor<Scalar, Rank>>;
/// Somebody else's elements, read only.
template <class Scalar, int Rank>
using ConstTensorView = Eigen::TensorMap<const Tensor<Scalar, Rank>>;

namespace detail {

template <class T>
struct TensorTraits {
    static constexpr int rank = -1;
};
template <class S, int Rank>
struct TensorTraits<Tensor<S, Rank>> {
    using Scalar = S;
    static constexpr int rank = Rank;
};
template <class T, int Options, template <class> class Pointer>
struct TensorTraits<Eigen::TensorMap<T, Options, Pointer>> : TensorTraits<std::remove_const_t<T>> {};

template <class T>
struct RealTraits {
    using type = T;
};
template <class T>
struct RealTraits<std::complex<T>> {
    using type = T;
};

}  // namespace detail

/// A row-major tensor or view of any rank.
template <class T>
concept AnyTensor = detail::TensorTraits<std::remove_cvref_t<T>>::rank >= 0;
/// A row-major tensor or view of this rank.
template <class T, int Rank>
concept TensorOf = AnyTensor<T> && detail::TensorTraits<std::remove_cvref_t<T>>::rank == Rank;

template <AnyTensor T>
inline constexpr int rank_of = detail::TensorTraits<std::remove_cvref_t<T>>::rank;
template <AnyTensor T>
using ScalarOf = typename detail::TensorTraits<std::remove_cvref_t<T>>::Scalar;
/// The owning tensor with T's scalar and rank.
template <AnyTensor T>
using TensorLike = Tensor<ScalarOf<T>, rank_of<T>>;
/// double for double and std::complex<double>, float for float.
template <class Scalar>
using RealOf = typename detail::RealTraits<Scalar>::type;

/// All elements, in memory order.
template <AnyTensor T>
auto elements(T& t) {
    return std::span(t.data(), static_cast<std::size_t>(t.size()));
}

/// Sets every element. Not Eigen's setConstant: for complex scalars its vector instructions warn under -march=native.
template <AnyTensor T>
void fill(T& t, const ScalarOf<T>& value) {
    for (auto& x : elements(t))
        x = value;
}

/// A tensor of these extents, all elements 0.
template <class Scalar, class... Extents>
Tensor<Scalar, static_cast<int>(sizeof...(Extents))> zeros(Extents... extents) {
    Tensor<Scalar, static_cast<int>(sizeof...(Extents))> t(static_cast<Index>(extents)...);
    fill(t, Scalar(0));
    return t;
}

/// A tensor shaped like `t`, all elements 0.
template <AnyTensor T>
TensorLike<T> zeros_like(const T& t) {
    TensorLike<T> z(t.dimensions());
    fill(z, ScalarOf<T>(0));
    return z;
}

/// A copy of `t` with elements converted to `To`: float, double or std::complex<double>.
template <class To, AnyTensor T>
Tensor<To, rank_of<T>> cast(const T& t) {
    Tensor<To, rank_of<T>> copy(t.dimensions());
    for (Index n = 0; n < t.size(); ++n) {
        if constexpr (std::is_same_v<To, RealOf<To>>)
            copy.data()[n] = static_cast<To>(t.data()[n]);
        else
            copy.data()[n] = To(static_cast<RealOf<To>>(t.data()[n]));
    }
    return copy;
}

/// Number of rows: the product of all extents but the last.
template <AnyTensor T>
Index row_count(const T& t) {
    Index rows = 1;
    for (int axis = 0; axis + 1 < rank_of<T>; ++axis)
        rows *= t.dimension(axis);
    return rows;
}

/// Row number `r` of the tensor seen as a matrix of row_count(t) rows: contiguous elements along the last
/// axis.
template <AnyTensor T>
auto nth_row(T& t, Index r) {
    const Index width = t.dimension(rank_of<T> - 1);
    return std::span(t.data() + r * width, static_cast<std::size_t>(width));
}

/// The contiguous row t(index..., :) along the last axis.
template <AnyTensor T, class... I>
requires(static_cast<int>(sizeof...(I)) + 1 == rank_of<T>) auto row(T& t, I... index) {
    const std::array<Index, sizeof...(I)> at{static_cast<Index>(index)...};
    Index r = 0;
    for (std::size_t axis = 0; axis < at.size(); ++axis)
        r = r * t.dimension(static_cast<int>(axis)) + at[axis];
    return nth_row(t, r);
}

}  // namespace mta
