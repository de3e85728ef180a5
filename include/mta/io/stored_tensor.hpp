// A tensor as files hold it, and its conversions to and from Tensor<float | double | integer>.
// SPDX-License-Identifier: MIT
//
// Promise  F16, BF16 and F32 widen exactly; F64 becomes float only when asked; integers never become floats
// silently. Errors   FileError: the element type does not fit the request. ShapeError: the number of
// dimensions does not.
#pragma once

#include <array>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <mta/core/require.hpp>
#include <mta/core/tensor.hpp>
#include <mta/io/detail/little_endian.hpp>
#include <mta/io/detail/text.hpp>
#include <mta/io/dtype.hpp>
#include <mta/io/file.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mta::io {

/// Elements are little-endian and row-major: the last dimension is contiguous. A scalar has no dimensions.
struct StoredTensor {
    std::string name;
    DType dtype = DType::F64;
    std::vector<std::int64_t> shape;
    std::vector<std::byte> bytes;

    bool operator==(const StoredTensor&) const = default;
};

/// Whether a double may be rounded to float.
enum class Narrowing { refuse, round };

/// Bytes of a tensor, or nothing when an extent is negative or the product of the extents that are not 0,
/// times the element size, exceeds 2^63 - 1. (A 0 does not excuse the others: their product is computed again
/// by every reader.)
inline std::optional<std::uint64_t> byte_count(DType dtype, std::span<const std::int64_t> shape) {
    constexpr std::uint64_t largest = std::numeric_limits<std::int64_t>::max();
    std::uint64_t product = dtype_size(dtype);
    bool empty = false;
    for (const std::int64_t extent : shape) {
        if (extent < 0) return std::nullopt;
        const auto factor = static_cast<std::uint64_t>(extent);
        if (factor == 0)
            empty = true;
        else if (product > largest / factor)
            return std::nullopt;
        else
            product *= factor;
    }
    return empty ? 0 : product;
}

/// Throws FileError unless `stored.bytes` has the size that its type and shape say.
inline void check_stored(std::string_view function, const StoredTensor& stored) {
    const auto expected = byte_count(stored.dtype, stored.shape);
    require<FileError>(expected.has_value(), function, ": tensor ", detail::in_quotes(stored.name),
                       ": got shape ", stored.shape,
                       ", expected extents of at least 0 whose product fits in 63 bits");
    require<FileError>(stored.bytes.size() == *expected, function, ": tensor ",
                       detail::in_quotes(stored.name), ": got ", stored.bytes.size(), " bytes, expected ",
                       *expected, " for ", dtype_name(stored.dtype), " of shape ", stored.shape);
}

namespace detail {

/// Reads element n, stored as Bits.
template <class Bits>
Bits element_bits(const StoredTensor& stored, std::size_t n) {
    return load_little_endian<Bits>(std::span(stored.bytes).subspan(n * sizeof(Bits), sizeof(Bits)));
}

template <class Bits>
void set_element_bits(StoredTensor& stored, std::size_t n, Bits bits) {
    store_little_endian(bits, std::span(stored.bytes).subspan(n * sizeof(Bits), sizeof(Bits)));
}

/// Element n of a floating-point tensor.
template <class Scalar>
Scalar floating_element(const StoredTensor& stored, std::size_t n) {
    switch (stored.dtype) {
        case DType::F64:
            return static_cast<Scalar>(std::bit_cast<double>(element_bits<std::uint64_t>(stored, n)));
        case DType::F32:
            return static_cast<Scalar>(std::bit_cast<float>(element_bits<std::uint32_t>(stored, n)));
        case DType::F16:
            return from_half<Scalar>(element_bits<std::uint16_t>(stored, n));
        default:
            return from_bfloat16<Scalar>(element_bits<std::uint16_t>(stored, n));
    }
}

/// Element n of an integer tensor; a BOOL is its byte.
inline std::int64_t integer_element(const StoredTensor& stored, std::size_t n) {
    switch (stored.dtype) {
        case DType::I64:
            return std::bit_cast<std::int64_t>(element_bits<std::uint64_t>(stored, n));
        case DType::I32:
            return std::bit_cast<std::int32_t>(element_bits<std::uint32_t>(stored, n));
        default:
            return element_bits<std::uint8_t>(stored, n);
    }
}

template <class Scalar>
void set_floating_element(StoredTensor& stored, std::size_t n, Scalar x) {
    switch (stored.dtype) {
        case DType::F64:
            return set_element_bits(stored, n, std::bit_cast<std::uint64_t>(static_cast<double>(x)));
        case DType::F32:
            return set_element_bits(stored, n, std::bit_cast<std::uint32_t>(static_cast<float>(x)));
        case DType::F16:
            return set_element_bits(stored, n, to_half(x));
        default:
            return set_element_bits(stored, n, to_bfloat16(x));
    }
}

inline void set_integer_element(StoredTensor& stored, std::size_t n, std::int64_t x) {
    switch (stored.dtype) {
        case DType::I64:
            return set_element_bits(stored, n, std::bit_cast<std::uint64_t>(x));
        case DType::I32:
            return set_element_bits(stored, n, static_cast<std::uint32_t>(x));
        default:
            return set_element_bits(stored, n, static_cast<std::uint8_t>(x));
    }
}

/// Smallest and largest integer that a dtype holds.
constexpr std::pair<std::int64_t, std::int64_t> integer_range(DType dtype) {
    switch (dtype) {
        case DType::I64:
            return {std::numeric_limits<std::int64_t>::min(), std::numeric_limits<std::int64_t>::max()};
        case DType::I32:
            return {std::numeric_limits<std::int32_t>::min(), std::numeric_limits<std::int32_t>::max()};
        case DType::U8:
            return {0, 255};
        default:
            return {0, 1};
    }
}

/// Whether an Int can hold x; a bool holds 0 and 1.
template <std::integral Int>
constexpr bool holds(std::int64_t x) {
    using Limits = std::numeric_limits<Int>;
    if (x < 0) return std::signed_integral<Int> && x >= static_cast<std::int64_t>(Limits::min());
    return static_cast<std::uint64_t>(x) <= static_cast<std::uint64_t>(Limits::max());
}

/// A tensor with the extents of `stored`, elements not set. Checks size and rank.
template <class Scalar, int Rank>
Tensor<Scalar, Rank> tensor_shaped_like(std::string_view function, const StoredTensor& stored) {
    check_stored(function, stored);
    require(stored.shape.size() == static_cast<std::size_t>(Rank), function, ": tensor ",
            in_quotes(stored.name), ": got shape ", stored.shape, ", expected ", Rank,
            Rank == 1 ? " dimension" : " dimensions");
    std::array<Index, static_cast<std::size_t>(Rank)> extents{};
    for (std::size_t axis = 0; axis < extents.size(); ++axis)
        extents[axis] = static_cast<Index>(stored.shape[axis]);
    return Tensor<Scalar, Rank>(extents);
}

/// An all-zero stored tensor with the extents of t.
template <AnyTensor T>
StoredTensor stored_like(std::string name, const T& t, DType dtype) {
    StoredTensor stored{std::move(name), dtype, {}, {}};
    for (const Index extent : t.dimensions())
        stored.shape.push_back(extent);
    stored.bytes.resize(static_cast<std::size_t>(t.size()) * dtype_size(dtype));
    return stored;
}

}  // namespace detail

/// The floating-point tensor as Tensor<float, Rank> or Tensor<double, Rank>; F16, BF16 and F32 are widened
/// exactly. Throws FileError for integer types, and for F64 into float unless narrowing is `round`;
/// ShapeError for another rank.
template <class Scalar, int Rank>
requires std::same_as<Scalar, float> || std::same_as<Scalar, double> Tensor<Scalar, Rank> to_tensor(
    const StoredTensor& stored, Narrowing narrowing = Narrowing::refuse) {
    require<FileError>(is_floating(stored.dtype), "to_tensor: tensor ", detail::in_quotes(stored.name),
                       ": got dtype ", dtype_name(stored.dtype), ", expected F64, F32, F16 or BF16");
    const bool narrows = sizeof(Scalar) < sizeof(double) && stored.dtype == DType::F64;
    require<FileError>(!narrows || narrowing == Narrowing::round, "to_tensor: tensor ",
                       detail::in_quotes(stored.name),
                       ": got dtype F64, expected F32, F16 or BF16, because float cannot hold every double");
    auto t = detail::tensor_shaped_like<Scalar, Rank>("to_tensor", stored);
    for (Index n = 0; n < t.size(); ++n)
        t.data()[n] = detail::floating_element<Scalar>(stored, static_cast<std::size_t>(n));
    return t;
}

/// The integer tensor as Tensor<Int, Rank>; Int is any integer type, or bool. Throws FileError for
/// floating-point types, for an element that Int cannot hold and for a BOOL byte other than 0 and 1;
/// ShapeError for another rank.
template <std::integral Int, int Rank>
Tensor<Int, Rank> to_integer_tensor(const StoredTensor& stored) {
    require<FileError>(!is_floating(stored.dtype), "to_integer_tensor: tensor ",
                       detail::in_quotes(stored.name), ": got dtype ", dtype_name(stored.dtype),
                       ", expected I64, I32, U8 or BOOL");
    auto t = detail::tensor_shaped_like<Int, Rank>("to_integer_tensor", stored);
    const auto [low, high] = detail::integer_range(stored.dtype);
    for (Index n = 0; n < t.size(); ++n) {
        const std::int64_t x = detail::integer_element(stored, static_cast<std::size_t>(n));
        const bool valid = low <= x && x <= high;
        if (!valid || !detail::holds<Int>(x))
            throw FileError(detail::sentence("to_integer_tensor: tensor ", detail::in_quotes(stored.name),
                                             ": got ", x, " at element ", n, ", expected a value that ",
                                             valid ? "the requested integer type" : dtype_name(stored.dtype),
                                             " can hold"));
        t.data()[n] = static_cast<Int>(x);
    }
    return t;
}

/// A float or double tensor as F64, F32, F16 or BF16, each element rounded once to nearest, ties to even.
/// Throws FileError for integer dtypes.
template <AnyTensor T>
requires std::floating_point<ScalarOf<T>> StoredTensor from_tensor(std::string name, const T& t,
                                                                   DType dtype) {
    require<FileError>(is_floating(dtype), "from_tensor: tensor ", detail::in_quotes(name), ": got dtype ",
                       dtype_name(dtype), ", expected F64, F32, F16 or BF16");
    StoredTensor stored = detail::stored_like(std::move(name), t, dtype);
    for (Index n = 0; n < t.size(); ++n)
        detail::set_floating_element(stored, static_cast<std::size_t>(n), t.data()[n]);
    return stored;
}

/// An integer or bool tensor as I64, I32, U8 or BOOL. Throws FileError for floating-point dtypes and for an
/// element that the dtype cannot hold.
template <AnyTensor T>
requires std::integral<ScalarOf<T>> StoredTensor from_integer_tensor(std::string name, const T& t,
                                                                     DType dtype) {
    require<FileError>(!is_floating(dtype), "from_integer_tensor: tensor ", detail::in_quotes(name),
                       ": got dtype ", dtype_name(dtype), ", expected I64, I32, U8 or BOOL");
    StoredTensor stored = detail::stored_like(std::move(name), t, dtype);
    const auto [low, high] = detail::integer_range(dtype);
    for (Index n = 0; n < t.size(); ++n) {
        const auto x = static_cast<std::int64_t>(t.data()[n]);
        const bool wrapped = std::unsigned_integral<ScalarOf<T>> && x < 0;
        if (wrapped || x < low || x > high)
            throw FileError(detail::sentence("from_integer_tensor: tensor ", detail::in_quotes(stored.name),
                                             ": got ", t.data()[n], " at element ", n,
                                             ", expected a value that ", dtype_name(dtype), " can hold"));
        detail::set_integer_element(stored, static_cast<std::size_t>(n), x);
    }
    return stored;
}

}  // namespace mta::io
