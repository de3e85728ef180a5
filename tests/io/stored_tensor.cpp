// Tests of io/stored_tensor.hpp: conversions between stored bytes and tensors.
// SPDX-License-Identifier: MIT
#include <mta/io/stored_tensor.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <mta/core/random.hpp>

#include "io_support.hpp"

namespace mta_test_stored_tensor {
using namespace mta::io;
using namespace mta::test;

namespace {

template <class Scalar>
mta::Tensor<Scalar, 2> random_matrix(std::uint64_t seed) {
    mta::Tensor<Scalar, 2> t(3, 5);
    mta::Random random(seed);
    mta::fill_normal(t, random, 100.0);
    return t;
}

StoredTensor one_element(DType dtype, std::initializer_list<int> bytes) {
    auto t = bytes_tensor("x", bytes);
    t.dtype = dtype;
    t.shape = {1};
    return t;
}

}  // namespace

TEST_CASE("hand values: bytes are little-endian, elements row-major") {
    mta::Tensor<double, 2> t(1, 2);
    t.setValues({{1.0, -2.5}});
    const auto f32 = from_tensor("t", t, DType::F32);
    CHECK(f32.shape == std::vector<std::int64_t>{1, 2});
    CHECK(f32.bytes == to_bytes(std::string_view("\x00\x00\x80\x3f\x00\x00\x20\xc0", 8)));
    CHECK(from_tensor("t", t, DType::F16).bytes == to_bytes(std::string_view("\x00\x3c\x00\xc1", 4)));
    CHECK(from_tensor("t", t, DType::BF16).bytes == to_bytes(std::string_view("\x80\x3f\x20\xc0", 4)));
    mta::Tensor<int, 1> n(2);
    n.setValues({-2, 258});
    CHECK(from_integer_tensor("n", n, DType::I32).bytes ==
          to_bytes(std::string_view("\xfe\xff\xff\xff\x02\x01\x00\x00", 8)));
    CHECK(to_integer_tensor<int, 1>(one_element(DType::I32, {0xfe, 0xff, 0xff, 0xff}))(0) == -2);
    CHECK(to_tensor<double, 1>(one_element(DType::F16, {0x00, 0xc1}))(0) == -2.5);
}

TEST_CASE("hand values: byte counts") {
    CHECK(byte_count(DType::F64, std::vector<std::int64_t>{}) == 8u);
    CHECK(byte_count(DType::BF16, std::vector<std::int64_t>{3, 5}) == 30u);
    CHECK(byte_count(DType::U8, std::vector<std::int64_t>{9223372036854775807}) == 9223372036854775807u);
    CHECK_FALSE(byte_count(DType::F16, std::vector<std::int64_t>{4611686018427387904}).has_value());
    CHECK(byte_count(DType::F16, std::vector<std::int64_t>{4611686018427387903, 0}) == 0u);
    CHECK_FALSE(byte_count(DType::F16, std::vector<std::int64_t>{0, 4611686018427387904}).has_value());
    CHECK_FALSE(byte_count(DType::U8, std::vector<std::int64_t>{0, -1}).has_value());
}

TEST_CASE("edge shapes: a scalar has no dimensions, and a tensor may have no elements") {
    mta::Tensor<float, 0> scalar;
    scalar() = 1.5f;
    const auto stored = from_tensor("s", scalar, DType::F64);
    CHECK(stored.shape.empty());
    CHECK(to_tensor<double, 0>(stored)() == 1.5);
    const auto empty = from_tensor("e", mta::Tensor<double, 3>(2, 0, 4), DType::F32);
    CHECK(empty.bytes.empty());
    const auto back = to_tensor<float, 3>(empty);
    CHECK(back.dimension(0) == 2);
    CHECK(back.dimension(1) == 0);
    CHECK(back.dimension(2) == 4);
}

TEST_CASE("properties: what a type can hold comes back with the same bits") {
    const auto t = random_matrix<double>(1);
    const auto f = random_matrix<float>(2);
    const auto t_back = to_tensor<double, 2>(from_tensor("t", t, DType::F64));
    const auto f_back = to_tensor<float, 2>(from_tensor("f", f, DType::F32));
    const auto f_wide = to_tensor<double, 2>(from_tensor("f", f, DType::F64));
    const auto f_half = to_tensor<float, 2>(from_tensor("f", f, DType::F16));
    const auto t_brain = to_tensor<double, 2>(from_tensor("t", t, DType::BF16));
    for (mta::Index n = 0; n < t.size(); ++n) {
        CHECK(t_back.data()[n] == t.data()[n]);
        CHECK(f_back.data()[n] == f.data()[n]);
        CHECK(f_wide.data()[n] == static_cast<double>(f.data()[n]));
        CHECK(f_half.data()[n] == from_half<float>(to_half(f.data()[n])));
        CHECK(t_brain.data()[n] == from_bfloat16<double>(to_bfloat16(t.data()[n])));
    }
    mta::Tensor<std::int64_t, 1> limits(3);
    limits.setValues({std::numeric_limits<std::int64_t>::min(), 0, std::numeric_limits<std::int64_t>::max()});
    const auto back = to_integer_tensor<std::int64_t, 1>(from_integer_tensor("n", limits, DType::I64));
    for (mta::Index n = 0; n < 3; ++n)
        CHECK(back(n) == limits(n));
}

TEST_CASE("properties: NaN and infinities survive") {
    mta::Tensor<double, 1> t(3);
    t.setValues({std::nan(""), HUGE_VAL, -HUGE_VAL});
    for (const DType dtype : {DType::F64, DType::F32, DType::F16, DType::BF16}) {
        const auto back = to_tensor<double, 1>(from_tensor("t", t, dtype));
        CHECK(std::isnan(back(0)));
        CHECK(back(1) == HUGE_VAL);
        CHECK(back(2) == -HUGE_VAL);
    }
}

TEST_CASE("errors: a wrong type") {
    const auto f64 = from_tensor("w", random_matrix<double>(3), DType::F64);
    CHECK(sentence_of([&] { to_tensor<float, 2>(f64); }) ==
          "to_tensor: tensor 'w': got dtype F64, expected F32, F16 or BF16, because float cannot hold every "
          "double");
    CHECK(to_tensor<float, 2>(f64, Narrowing::round)(0, 0) ==
          static_cast<float>(random_matrix<double>(3)(0, 0)));
    for (const DType dtype : {DType::I64, DType::I32, DType::U8, DType::BOOL}) {
        const StoredTensor stored{"n", dtype, {0}, {}};
        check_contains(sentence_of([&] { to_tensor<double, 1>(stored); }), "expected F64, F32, F16 or BF16");
        check_contains(sentence_of([&] { from_tensor("n", random_matrix<float>(1), dtype); }),
                       "expected F64, F32, F16 or BF16");
    }
    for (const DType dtype : {DType::F64, DType::F32, DType::F16, DType::BF16}) {
        const StoredTensor stored{"x", dtype, {0}, {}};
        check_contains(sentence_of([&] { to_integer_tensor<int, 1>(stored); }),
                       "expected I64, I32, U8 or BOOL");
        check_contains(sentence_of([&] { from_integer_tensor("x", mta::Tensor<int, 1>(1), dtype); }),
                       "expected I64, I32, U8 or BOOL");
    }
}

TEST_CASE("errors: a wrong number of dimensions, or bytes that do not fit the shape") {
    auto t = from_tensor("t", random_matrix<double>(4), DType::F64);
    CHECK(sentence_of<mta::ShapeError>([&] { to_tensor<double, 1>(t); }) ==
          "to_tensor: tensor 't': got shape [3, 5], expected 1 dimension");
    t.bytes.pop_back();
    check_contains(sentence_of([&] { to_tensor<double, 2>(t); }),
                   "got 119 bytes, expected 120 for F64 of shape [3, 5]");
    t.shape = {-3, -5};
    check_contains(sentence_of([&] { to_tensor<double, 2>(t); }),
                   "got shape [-3, -5], expected extents of at least 0");
}

TEST_CASE("errors: integers that do not fit") {
    const auto minus_one = one_element(DType::I32, {0xff, 0xff, 0xff, 0xff});
    CHECK(sentence_of([&] { to_integer_tensor<std::uint64_t, 1>(minus_one); }) ==
          "to_integer_tensor: tensor 'x': got -1 at element 0, expected a value that the requested integer "
          "type can hold");
    const auto large = one_element(DType::U8, {200});
    CHECK(to_integer_tensor<std::uint8_t, 1>(large)(0) == 200);
    check_contains(sentence_of([&] { to_integer_tensor<std::int8_t, 1>(large); }), "got 200 at element 0");
    check_contains(sentence_of([&] { to_integer_tensor<bool, 1>(large); }), "got 200 at element 0");
    check_contains(sentence_of([&] { to_integer_tensor<int, 1>(one_element(DType::BOOL, {2})); }),
                   "got 2 at element 0, expected a value that BOOL can hold");
    mta::Tensor<std::int64_t, 1> n(1);
    n.setValues({256});
    check_contains(sentence_of([&] { from_integer_tensor("n", n, DType::U8); }), "got 256 at element 0");
    n.setValues({-2147483649LL});
    check_contains(sentence_of([&] { from_integer_tensor("n", n, DType::I32); }),
                   "got -2147483649 at element 0");
    mta::Tensor<std::uint64_t, 1> huge(1);
    huge.setValues({std::uint64_t{1} << 63});
    check_contains(sentence_of([&] { from_integer_tensor("n", huge, DType::I64); }),
                   "got 9223372036854775808 at");
}
}  // namespace mta_test_stored_tensor
