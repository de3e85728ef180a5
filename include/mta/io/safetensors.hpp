// safetensors files: read from untrusted bytes, changed in memory, written back.
// SPDX-License-Identifier: MIT
//
// Source   the safetensors format: a 64-bit little-endian header length, a JSON object {name: {dtype, shape,
//          data_offsets: [begin, end]}} with an optional "__metadata__" of texts, then the tensors' bytes.
// Promise  a file that passes has every byte of data owned by exactly one tensor. Reading and writing again
// gives the
//          same bytes for files whose header is compact JSON with the fields in that order, as the Python
//          package writes it: the order of the header, of the data and of the metadata is kept, and so is the
//          padding.
// Errors   FileError, one sentence: the file or `source`, the tensor or byte, what was found, what was
// expected.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <mta/core/require.hpp>
#include <mta/io/detail/little_endian.hpp>
#include <mta/io/detail/safetensors_header.hpp>
#include <mta/io/detail/safetensors_json.hpp>
#include <mta/io/detail/text.hpp>
#include <mta/io/dtype.hpp>
#include <mta/io/file.hpp>
#include <mta/io/nearest_name.hpp>
#include <mta/io/stored_tensor.hpp>
#include <numeric>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mta::io {

/// A safetensors file in memory.
struct SafetensorsFile {
    std::vector<StoredTensor> tensors;  // in header order; names are unique
    std::optional<Metadata> metadata;   // in file order; nothing: no "__metadata__" at all

    // How the file was laid out, so that writing it again gives the same bytes. A new file needs none of it.
    std::vector<std::string> data_order;     // names in the order of their bytes; empty: as in `tensors`
    std::size_t metadata_position = 0;       // how many tensors the header names before "__metadata__"
    std::optional<std::size_t> header_size;  // padded to this while it fits; nothing: to a multiple of 8

    bool operator==(const SafetensorsFile&) const = default;

    /// The tensor of this name, or nullptr.
    const StoredTensor* find(std::string_view name) const {
        const auto found =
            std::find_if(tensors.begin(), tensors.end(), [&](const auto& t) { return t.name == name; });
        return found == tensors.end() ? nullptr : &*found;
    }

    /// The tensor of this name. Throws FileError, naming the most similar name that exists.
    const StoredTensor& at(std::string_view name) const {
        const StoredTensor* found = find(name);
        if (found != nullptr) return *found;
        const auto names = tensor_names();
        throw FileError(detail::sentence("tensor ", detail::in_quotes(name), ": got none of this name, ",
                                         names.empty() ? "the file holds no tensors" : "the nearest is ",
                                         names.empty() ? "" : detail::in_quotes(nearest_name(name, names))));
    }

    /// The metadata value of this key, or nothing.
    std::optional<std::string> metadata_value(std::string_view key) const {
        if (metadata.has_value())
            for (const auto& [name, value] : *metadata)
                if (name == key) return value;
        return std::nullopt;
    }

    std::vector<std::string> tensor_names() const {
        std::vector<std::string> names;
        for (const auto& t : tensors)
            names.push_back(t.name);
        return names;
    }
};

/// The largest header accepted and written, in bytes; the same as the Python package's.
inline constexpr std::uint64_t largest_safetensors_header = 100'000'000;

namespace detail {

/// Positions of the entries in the order of their data. Zero-size tensors come before the bytes at their
/// offset.
inline std::vector<std::size_t> order_of_data(const std::vector<HeaderEntry>& entries) {
    std::vector<std::size_t> order(entries.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
        return std::pair(entries[a].begin, entries[a].end) < std::pair(entries[b].begin, entries[b].end);
    });
    return order;
}

/// Throws unless an entry's offsets fit its shape and the data.
inline void check_extent(std::string_view source, const HeaderEntry& entry, std::uint64_t data_size) {
    const auto check = [&](bool ok, const auto&... parts) {
        if (!ok) throw FileError(sentence(source, ": tensor ", in_quotes(entry.name), ": ", parts...));
    };
    const auto needed = byte_count(entry.dtype, entry.shape);
    check(entry.begin <= entry.end, "got data_offsets [", entry.begin, ", ", entry.end,
          "], expected begin <= end");
    check(entry.end <= data_size, "got data up to byte ", entry.end, ", expected at most the ", data_size,
          " bytes of data that the file holds");
    check(needed.has_value(), "got shape ", entry.shape, ", expected a product that fits in 63 bits");
    check(entry.end - entry.begin == *needed, "got ", entry.end - entry.begin, " bytes of data, expected ",
          *needed, " for ", dtype_name(entry.dtype), " of shape ", entry.shape);
}

/// Throws unless the entries, in this order, cover the data without overlap or hole.
inline void check_coverage(std::string_view source, const std::vector<HeaderEntry>& entries,
                           const std::vector<std::size_t>& order, std::uint64_t data_size) {
    std::uint64_t covered = 0;
    for (const std::size_t n : order) {
        const HeaderEntry& entry = entries[n];
        if (entry.begin != covered)
            throw FileError(sentence(source, ": tensor ", in_quotes(entry.name), ": got data from byte ",
                                     entry.begin, ", expected from byte ", covered,
                                     entry.begin < covered ? " (it overlaps the tensor before it)"
                                                           : " (no tensor owns the bytes between)"));
        covered = entry.end;
    }
    require<FileError>(covered == data_size, source, ": got ", data_size, " bytes of data, expected ",
                       covered, " (no tensor owns the rest)");
}

/// Throws unless every name and text can be written and read again, and every tensor has the bytes it says.
inline void check_writable(const SafetensorsFile& file) {
    constexpr std::string_view function = "serialise_safetensors";
    const auto check_text = [&](std::string_view what, std::string_view text) {
        require<FileError>(first_invalid_utf8(text) == text.size(), function, ": ", what, ": got ",
                           in_quotes(text), ", expected UTF-8");
    };
    std::set<std::string_view> names;
    for (const auto& t : file.tensors) {
        check_text("tensor name", t.name);
        require<FileError>(t.name != metadata_key, function,
                           ": got a tensor named __metadata__, expected another name");
        require<FileError>(names.insert(t.name).second, function, ": tensor ", in_quotes(t.name),
                           ": got it twice, expected it once");
        require<FileError>(t.shape.size() <= most_dimensions, function, ": tensor ", in_quotes(t.name),
                           ": got ", t.shape.size(), " dimensions, expected at most ", most_dimensions);
        check_stored(function, t);
    }
    names.clear();
    if (!file.metadata.has_value()) return;
    for (const auto& [key, value] : *file.metadata) {
        check_text("metadata key", key);
        check_text("metadata value", value);
        require<FileError>(names.insert(key).second, function, ": metadata key ", in_quotes(key),
                           ": got it twice, expected it once");
    }
}

/// The tensors in the order of their data: those that data_order names, then the others in header order.
inline std::vector<std::size_t> writing_order(const SafetensorsFile& file) {
    std::map<std::string_view, std::size_t> left;
    for (std::size_t n = 0; n < file.tensors.size(); ++n)
        left.emplace(file.tensors[n].name, n);
    std::vector<std::size_t> order;
    for (const auto& name : file.data_order)
        if (const auto node = left.extract(name)) order.push_back(node.mapped());
    for (std::size_t n = 0; n < file.tensors.size(); ++n)
        if (left.contains(file.tensors[n].name)) order.push_back(n);
    return order;
}

/// The header's JSON, padded with spaces.
inline std::string header_text(const SafetensorsFile& file, const std::vector<std::uint64_t>& begins) {
    std::string json = "{";
    const std::size_t metadata_at = std::min(file.metadata_position, file.tensors.size());
    for (std::size_t n = 0; n <= file.tensors.size(); ++n) {
        if (n == metadata_at && file.metadata.has_value()) append_metadata(json, *file.metadata);
        if (n < file.tensors.size()) append_entry(json, file.tensors[n], begins[n]);
    }
    json += '}';
    const std::size_t aligned = (json.size() + 7) / 8 * 8;
    json.resize(
        file.header_size.has_value() && *file.header_size >= json.size() ? *file.header_size : aligned, ' ');
    require<FileError>(json.size() <= largest_safetensors_header, "serialise_safetensors: got a header of ",
                       json.size(), " bytes, expected at most ", largest_safetensors_header);
    return json;
}

}  // namespace detail

/// Reads a whole file's bytes; `source` begins every error sentence. Throws FileError on anything the format
/// forbids, before any tensor is copied.
inline SafetensorsFile parse_safetensors(std::span<const std::byte> bytes,
                                         std::string_view source = "safetensors") {
    constexpr std::uint64_t length_size = 8;
    require<FileError>(bytes.size() >= length_size, source, ": got ", bytes.size(),
                       " bytes, expected at least ", length_size, ", which hold the length of the header");
    const auto header_size = detail::load_little_endian<std::uint64_t>(bytes);
    require<FileError>(header_size <= largest_safetensors_header, source, ": got a header length of ",
                       header_size, ", expected at most ", largest_safetensors_header);
    require<FileError>(header_size <= bytes.size() - length_size, source, ": got a header length of ",
                       header_size, ", expected at most the ", bytes.size() - length_size,
                       " bytes that follow it");
    const auto text = bytes.subspan(length_size, static_cast<std::size_t>(header_size));
    const auto data = bytes.subspan(length_size + static_cast<std::size_t>(header_size));
    const std::string_view header_text(reinterpret_cast<const char*>(text.data()), text.size());
    auto header = detail::parse_safetensors_header(source, header_text);

    for (const auto& entry : header.entries)
        detail::check_extent(source, entry, data.size());
    const auto order = detail::order_of_data(header.entries);
    detail::check_coverage(source, header.entries, order, data.size());

    SafetensorsFile file{{}, std::move(header.metadata), {}, header.metadata_position, text.size()};
    if (!std::is_sorted(order.begin(), order.end()))
        for (const std::size_t n : order)
            file.data_order.push_back(header.entries[n].name);
    for (auto& entry : header.entries) {
        const auto own = data.subspan(static_cast<std::size_t>(entry.begin),
                                      static_cast<std::size_t>(entry.end - entry.begin));
        file.tensors.push_back(
            {std::move(entry.name), entry.dtype, std::move(entry.shape), {own.begin(), own.end()}});
    }
    return file;
}

/// The file at `path`. Throws FileError when it cannot be read or breaks the format.
inline SafetensorsFile read_safetensors(const std::filesystem::path& path,
                                        std::uint64_t size_limit = default_file_size_limit) {
    return parse_safetensors(read_file(path, size_limit), path.native());
}

/// The bytes of the file. Throws FileError for names that repeat, are reserved or are no UTF-8, and for
/// tensors whose bytes do not fit their shape.
inline std::vector<std::byte> serialise_safetensors(const SafetensorsFile& file) {
    detail::check_writable(file);
    const auto order = detail::writing_order(file);
    std::vector<std::uint64_t> begins(file.tensors.size());
    std::uint64_t end = 0;
    for (const std::size_t n : order) {
        begins[n] = end;
        end += file.tensors[n].bytes.size();
    }
    const std::string header = detail::header_text(file, begins);
    std::vector<std::byte> bytes(8);
    bytes.reserve(8 + header.size() + static_cast<std::size_t>(end));
    detail::store_little_endian(static_cast<std::uint64_t>(header.size()), std::span(bytes));
    const auto text = std::as_bytes(std::span(header));
    bytes.insert(bytes.end(), text.begin(), text.end());
    for (const std::size_t n : order)
        bytes.insert(bytes.end(), file.tensors[n].bytes.begin(), file.tensors[n].bytes.end());
    return bytes;
}

/// Writes the file at once: on any failure, FileError, and whatever was at `path` is untouched.
inline void write_safetensors(const std::filesystem::path& path, const SafetensorsFile& file) {
    write_file_atomically(path, serialise_safetensors(file));
}

/// Puts the tensors in the order that the Python package writes: wide elements first, so that all are
/// aligned, then by name. A file with at most one metadata entry then has the very bytes that the package
/// writes.
inline void sort_as_python(SafetensorsFile& file) {
    // Among types of the same size the package puts I64 before F64, F32 before I32, BF16 before F16, U8
    // before BOOL.
    const auto rank = [](DType dtype) {
        constexpr std::array order{DType::I64,  DType::F64, DType::F32, DType::I32,
                                   DType::BF16, DType::F16, DType::U8,  DType::BOOL};
        return std::find(order.begin(), order.end(), dtype) - order.begin();
    };
    std::sort(file.tensors.begin(), file.tensors.end(), [&](const StoredTensor& a, const StoredTensor& b) {
        return std::pair<std::ptrdiff_t, const std::string&>(rank(a.dtype), a.name) <
               std::pair<std::ptrdiff_t, const std::string&>(rank(b.dtype), b.name);
    });
    file.data_order.clear();
    file.metadata_position = 0;
    file.header_size.reset();
}

/// file.at(name) as a floating-point tensor; see to_tensor(StoredTensor).
template <class Scalar, int Rank>
Tensor<Scalar, Rank> to_tensor(const SafetensorsFile& file, std::string_view name,
                               Narrowing narrowing = Narrowing::refuse) {
    return to_tensor<Scalar, Rank>(file.at(name), narrowing);
}

/// file.at(name) as an integer tensor; see to_integer_tensor(StoredTensor).
template <std::integral Int, int Rank>
Tensor<Int, Rank> to_integer_tensor(const SafetensorsFile& file, std::string_view name) {
    return to_integer_tensor<Int, Rank>(file.at(name));
}

}  // namespace mta::io
