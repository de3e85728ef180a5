// .npy files, NumPy's format for one array.
// SPDX-License-Identifier: MIT
//
// Source   NumPy's format description (numpy.lib.format), versions 1.0, 2.0 and 3.0.
// Promise  reads both byte orders and both element orders into a little-endian, row-major StoredTensor;
// writes
//          version 1.0 with the very bytes that numpy.save writes for a contiguous array.
// Errors   FileError, one sentence: the file or `source`, what was found, what was expected.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <mta/core/require.hpp>
#include <mta/io/detail/little_endian.hpp>
#include <mta/io/detail/npy_header.hpp>
#include <mta/io/detail/text.hpp>
#include <mta/io/dtype.hpp>
#include <mta/io/file.hpp>
#include <mta/io/stored_tensor.hpp>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mta::io {

/// The largest .npy header accepted, in bytes. NumPy's own default limit is 10000.
inline constexpr std::uint64_t largest_npy_header = 65535;

namespace detail {

inline constexpr std::string_view npy_magic = "\x93NUMPY";

/// Elements from column-major to row-major order.
inline std::vector<std::byte> to_row_major(std::span<const std::byte> column_major, std::size_t element_size,
                                           std::span<const std::int64_t> shape) {
    std::vector<std::byte> row_major(column_major.size());
    std::vector<std::int64_t> index(shape.size(), 0);
    for (std::size_t to = 0; to < row_major.size(); to += element_size) {
        std::size_t from = 0;
        for (std::size_t axis = shape.size(); axis-- > 0;)
            from = from * static_cast<std::size_t>(shape[axis]) + static_cast<std::size_t>(index[axis]);
        const auto element = column_major.subspan(from * element_size, element_size);
        std::copy(element.begin(), element.end(), row_major.begin() + static_cast<std::ptrdiff_t>(to));
        for (std::size_t axis = shape.size(); axis-- > 0;) {
            if (++index[axis] < shape[axis]) break;
            index[axis] = 0;
        }
    }
    return row_major;
}

inline void reverse_each(std::span<std::byte> bytes, std::size_t element_size) {
    for (std::size_t n = 0; n + element_size <= bytes.size(); n += element_size) {
        const auto element = bytes.subspan(n, element_size);
        std::reverse(element.begin(), element.end());
    }
}

/// Splits the file into its header text and its data.
inline std::pair<std::string_view, std::span<const std::byte>> split_npy(std::span<const std::byte> bytes,
                                                                         std::string_view source) {
    const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    require<FileError>(text.starts_with(npy_magic), source, ": got ",
                       in_quotes(text.substr(0, npy_magic.size())),
                       " as the first bytes, expected '\\x93NUMPY'");
    const std::size_t fixed = npy_magic.size() + 2;
    require<FileError>(bytes.size() >= fixed, source, ": got ", bytes.size(),
                       " bytes, expected a format version");
    const int major = std::to_integer<int>(bytes[fixed - 2]);
    const int minor = std::to_integer<int>(bytes[fixed - 1]);
    require<FileError>(major >= 1 && major <= 3 && minor == 0, source, ": got format version ", major, ".",
                       minor, ", expected 1.0, 2.0 or 3.0");
    const std::size_t length_size = major == 1 ? 2 : 4;
    const std::size_t begin = fixed + length_size;
    require<FileError>(bytes.size() >= begin, source, ": got ", bytes.size(),
                       " bytes, expected a header length");
    const std::uint64_t length = major == 1 ? load_little_endian<std::uint16_t>(bytes.subspan(fixed))
                                            : load_little_endian<std::uint32_t>(bytes.subspan(fixed));
    require<FileError>(length <= largest_npy_header, source, ": got a header length of ", length,
                       ", expected at most ", largest_npy_header);
    require<FileError>(length <= bytes.size() - begin, source, ": got a header length of ", length,
                       ", expected at most the ", bytes.size() - begin, " bytes that follow it");
    return {text.substr(begin, static_cast<std::size_t>(length)),
            bytes.subspan(begin + static_cast<std::size_t>(length))};
}

/// NumPy's type code with its byte order: "<f8", "|u1". Throws FileError for BF16, which NumPy does not have.
inline std::string npy_type(const StoredTensor& stored) {
    const auto known = std::find_if(npy_types.begin(), npy_types.end(),
                                    [&](const auto& type) { return type.second == stored.dtype; });
    require<FileError>(known != npy_types.end(), "serialise_npy: tensor ", in_quotes(stored.name),
                       ": got dtype ", dtype_name(stored.dtype), ", expected a type that NumPy has");
    return (dtype_size(stored.dtype) == 1 ? "|" : "<") + std::string(known->first);
}

}  // namespace detail

/// Reads a whole file's bytes; `source` begins every error sentence and becomes the tensor's name. Throws
/// FileError on a malformed header, a type other than F64, F32, F16, I64, I32, U8 and BOOL, and data of
/// another size than the shape's.
inline StoredTensor parse_npy(std::span<const std::byte> bytes, std::string_view source = "npy") {
    const auto [text, data] = detail::split_npy(bytes, source);
    detail::NpyHeader header = detail::NpyHeaderParser(source, text).parse();
    const auto size = byte_count(header.dtype, header.shape);
    require<FileError>(size.has_value(), source, ": got shape ", header.shape,
                       ", expected a product that fits in 63 bits");
    require<FileError>(data.size() == *size, source, ": got ", data.size(), " bytes of data, expected ",
                       *size, " for ", dtype_name(header.dtype), " of shape ", header.shape);
    const std::size_t element_size = dtype_size(header.dtype);
    StoredTensor stored{std::string(source), header.dtype, std::move(header.shape), {}};
    stored.bytes = header.fortran_order ? detail::to_row_major(data, element_size, stored.shape)
                                        : std::vector<std::byte>(data.begin(), data.end());
    if (header.big_endian) detail::reverse_each(stored.bytes, element_size);
    return stored;
}

/// The array at `path`, named after the path. Throws FileError when it cannot be read or breaks the format.
inline StoredTensor read_npy(const std::filesystem::path& path,
                             std::uint64_t size_limit = default_file_size_limit) {
    return parse_npy(read_file(path, size_limit), path.native());
}

/// The bytes of the file, version 1.0; the name is not stored. Throws FileError for BF16 and for bytes that
/// do not fit the shape.
inline std::vector<std::byte> serialise_npy(const StoredTensor& stored) {
    check_stored("serialise_npy", stored);
    require<FileError>(stored.shape.size() <= detail::most_npy_dimensions, "serialise_npy: tensor ",
                       detail::in_quotes(stored.name), ": got ", stored.shape.size(),
                       " dimensions, expected at most ", detail::most_npy_dimensions);
    constexpr std::size_t alignment = 64;
    std::string text = detail::npy_dictionary(detail::npy_type(stored), stored.shape);
    const std::size_t before = detail::npy_magic.size() + 2 + 2;
    // Always at least one space, 64 where none were needed: what numpy.save does.
    text.append(alignment - (before + text.size() + 1) % alignment, ' ');
    text += '\n';
    std::string start = std::string(detail::npy_magic) + '\x01' + '\0';
    start += {static_cast<char>(text.size() & 0xFF), static_cast<char>(text.size() >> 8)};
    start += text;
    const auto header = std::as_bytes(std::span(start));
    std::vector<std::byte> bytes(header.begin(), header.end());
    bytes.insert(bytes.end(), stored.bytes.begin(), stored.bytes.end());
    return bytes;
}

/// Writes the file at once: on any failure, FileError, and whatever was at `path` is untouched.
inline void write_npy(const std::filesystem::path& path, const StoredTensor& stored) {
    write_file_atomically(path, serialise_npy(stored));
}

}  // namespace mta::io
