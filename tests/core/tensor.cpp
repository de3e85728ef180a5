// Tensors and views: layout, foreign memory, rows.
// SPDX-License-Identifier: MIT
#include <algorithm>
#include <array>
#include <complex>
#include <mta/core/tensor.hpp>
#include <numeric>
#include <type_traits>
#include <vector>

#include "support/checks.hpp"

namespace mta_test_tensor {
using namespace mta;

namespace {
// 0, 1, 2, ... in memory order.
template <class... Extents>
auto counted(Extents... extents) {
    auto t = zeros<double>(extents...);
    std::iota(t.data(), t.data() + t.size(), 0.0);
    return t;
}
}  // namespace

TEST_CASE("tensor: the last index is contiguous") {
    const auto t = counted(2, 3, 4);
    CHECK(t(0, 0, 1) == 1);
    CHECK(t(0, 1, 0) == 4);
    CHECK(t(1, 0, 0) == 12);
    CHECK(t(1, 2, 3) == 23);
}

TEST_CASE("tensor: kinds and scalars") {
    using View = TensorView<float, 3>;
    using ConstView = ConstTensorView<float, 3>;
    static_assert(AnyTensor<Tensor<float, 3>> && AnyTensor<View> && AnyTensor<const ConstView&>);
    static_assert(TensorOf<ConstView, 3> && !TensorOf<ConstView, 2>);
    static_assert(!AnyTensor<double> && !AnyTensor<std::vector<double>>);
    static_assert(!AnyTensor<Eigen::Tensor<double, 2, Eigen::ColMajor, Index>>);  // transposed memory
    static_assert(std::is_same_v<ScalarOf<ConstView>, float> && rank_of<ConstView> == 3);
    static_assert(std::is_same_v<TensorLike<ConstView>, Tensor<float, 3>>);
    static_assert(std::is_same_v<RealOf<float>, float> && std::is_same_v<RealOf<double>, double>);
    static_assert(std::is_same_v<RealOf<std::complex<double>>, double>);
    CHECK(rank_of<Tensor<double, 0>> == 0);
}

TEST_CASE("tensor: views wrap foreign memory without a copy") {
    std::vector<double> memory{0, 1, 2, 3, 4, 5};
    TensorView<double, 2> view(memory.data(), 2, 3);
    CHECK(view.data() == memory.data());
    CHECK(view(1, 0) == 3);
    view(1, 2) = 50;  // writes through
    CHECK(memory[5] == 50);
    memory[0] = -7;  // and sees what others write
    CHECK(view(0, 0) == -7);
    row(view, 1)[0] = 30;
    CHECK(memory[3] == 30);

    const std::vector<double>& fixed = memory;
    const ConstTensorView<double, 2> reader(fixed.data(), 3, 2);  // the same elements in another shape
    CHECK(reader.data() == memory.data());
    CHECK(reader(1, 1) == 30);
    CHECK(row(reader, 2).data() == memory.data() + 4);
    static_assert(std::is_same_v<decltype(row(reader, 0)), std::span<const double>>);
    static_assert(std::is_same_v<decltype(row(view, 0)), std::span<double>>);
    // A tensor made from a view owns a copy.
    Tensor<double, 2> copy = view;
    CHECK(copy.data() != memory.data());
    copy(0, 0) = 99;
    CHECK(memory[0] == -7);
}

TEST_CASE("tensor: zeros") {
    const auto z = zeros<float>(2, 5);
    static_assert(std::is_same_v<decltype(z), const Tensor<float, 2>>);
    CHECK(z.dimension(0) == 2);
    CHECK(z.dimension(1) == 5);
    CHECK(std::all_of(z.data(), z.data() + 10, [](float x) { return x == 0; }));
    std::vector<double> memory{1, 2, 3, 4};
    const TensorView<double, 2> view(memory.data(), 1, 4);
    const auto like = zeros_like(view);
    static_assert(std::is_same_v<decltype(like), const Tensor<double, 2>>);
    CHECK(like.dimensions() == Tensor<double, 2>(1, 4).dimensions());
    CHECK(std::all_of(like.data(), like.data() + 4, [](double x) { return x == 0; }));
    CHECK(memory == std::vector<double>{1, 2, 3, 4});
    CHECK(zeros<double>(3, 0, 2).size() == 0);
    CHECK(zeros_like(zeros<double>(3, 0, 2)).dimension(2) == 2);
}

TEST_CASE("tensor: cast") {
    Tensor<double, 2> t(1, 3);
    t.setValues({{0.1, -2, 1e300}});
    const auto narrow = cast<float>(t);
    CHECK(narrow(0, 0) == 0.1F);
    CHECK(narrow(0, 1) == -2.0F);
    const auto complex = cast<std::complex<double>>(t);
    CHECK(complex(0, 2) == std::complex<double>(1e300, 0));
    CHECK(cast<std::complex<double>>(narrow)(0, 0) == std::complex<double>(0.1F, 0));
    CHECK(cast<double>(narrow)(0, 0) == static_cast<double>(0.1F));
    CHECK(cast<double>(Tensor<int, 1>(0)).size() == 0);
}

TEST_CASE("tensor: rows") {
    auto t = counted(2, 3, 4);
    CHECK(row_count(t) == 6);
    for (Index b = 0; b < 2; ++b)
        for (Index i = 0; i < 3; ++i) {
            const auto r = row(t, b, i);
            CHECK(r.size() == 4);
            CHECK(r.data() == &t(b, i, 0));
            CHECK(nth_row(t, b * 3 + i).data() == r.data());
        }
    row(t, 1, 1)[3] = -1;
    CHECK(t(1, 1, 3) == -1);
    const auto four = counted(2, 3, 4, 5);
    CHECK(row(four, 1, 2, 3)[4] == four(1, 2, 3, 4));
    // Rank 1 is one row, whatever its length; rank 2 has rows even when they are empty.
    auto line = counted(5);
    CHECK(row_count(line) == 1);
    CHECK(nth_row(line, 0).size() == 5);
    CHECK(row(line).data() == line.data());
    CHECK(row_count(zeros<double>(3, 0)) == 3);
    CHECK(row_count(zeros<double>(0, 3)) == 0);
}

TEST_CASE("tensor: elements run in memory order") {
    auto t = counted(2, 2);
    const auto span = elements(t);
    CHECK(span.size() == 4);
    CHECK(std::is_sorted(span.begin(), span.end()));
    span[3] = 8;
    CHECK(t(1, 1) == 8);
    const auto& fixed = t;
    static_assert(std::is_same_v<decltype(elements(fixed)), std::span<const double>>);
    Tensor<double, 0> scalar;
    scalar() = 4;
    CHECK(elements(scalar).size() == 1);
}
}  // namespace mta_test_tensor
