// A tensor in shared memory between canaries and forbidden pages: whoever leaves its bounds is found.
// SPDX-License-Identifier: MIT
//
// Layout   [forbidden][canaries | elements | canaries][forbidden]; the elements touch one of the forbidden
//          regions as closely as their alignment lets them, `edge` says which. Padding between rows holds
//          canaries too.
// Shared   with child processes, so that the parent sees what a candidate wrote even if it died of it.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <mta/core/tensor.hpp>
#include <mta/io/dtype.hpp>
#include <mta/io/file.hpp>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace mta::oracle::detail {

using mta::detail::sentence;

/// Name, type and shape of a tensor that passes the C interface.
struct TensorPlan {
    std::string name;
    io::DType dtype = io::DType::F32;
    std::vector<std::int64_t> shape;
};

/// Which end of the elements touches a forbidden region.
enum class Edge { end, start };

/// Where the elements lie.
struct BufferLayout {
    Edge edge = Edge::end;
    bool misaligned = false;   // aligned to the element only; else to 64 bytes
    bool padded_rows = false;  // rows of three elements more than the last axis has
};

/// What outputs hold before the call: a NaN with a payload that no arithmetic makes, or a number.
enum class Poison { nan, number };

inline std::uint64_t poison_bits(io::DType dtype, Poison poison) {
    const bool nan = poison == Poison::nan;
    switch (dtype) {
        case io::DType::F64:
            return nan ? 0x7FF8'DEAD'BEEF'1234 : 0x40C8'1C80'0000'0000;
        case io::DType::F32:
            return nan ? 0x7FC5'DEAD : 0x4640'E400;
        case io::DType::F16:
            return nan ? 0x7E5D : 0x7207;
        default:
            return nan ? 0x7FD5 : 0x4641;  // BF16
    }
}

inline std::uint64_t load_bits(const std::byte* at, io::DType dtype) {
    std::uint64_t bits = 0;
    std::memcpy(&bits, at, io::dtype_size(dtype));  // little-endian, as all of io
    return bits;
}
inline void store_bits(std::byte* at, io::DType dtype, std::uint64_t bits) {
    std::memcpy(at, &bits, io::dtype_size(dtype));
}

inline double decode(std::uint64_t bits, io::DType dtype) {
    switch (dtype) {
        case io::DType::F64:
            return std::bit_cast<double>(bits);
        case io::DType::F32:
            return static_cast<double>(std::bit_cast<float>(static_cast<std::uint32_t>(bits)));
        case io::DType::F16:
            return io::from_half<double>(static_cast<std::uint16_t>(bits));
        default:
            return io::from_bfloat16<double>(static_cast<std::uint16_t>(bits));
    }
}
inline std::uint64_t encode(double x, io::DType dtype) {
    switch (dtype) {
        case io::DType::F64:
            return std::bit_cast<std::uint64_t>(x);
        case io::DType::F32:
            return std::bit_cast<std::uint32_t>(static_cast<float>(x));
        case io::DType::F16:
            return io::to_half(x);
        default:
            return io::to_bfloat16(x);
    }
}

class GuardedBuffer {
  public:
    static constexpr std::size_t alignment = 64;
    static constexpr std::size_t forbidden = std::size_t{1} << 18;  // bytes on each side

    /// Elements are poisoned, everything else holds canaries. Throws std::system_error without memory.
    GuardedBuffer(TensorPlan plan, BufferLayout layout) : plan_{std::move(plan)} {
        set_strides(layout.padded_rows);
        const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
        const std::size_t bytes = span_ * element_size();
        body_size_ = (bytes + alignment + element_size() + page - 1) / page * page;
        map();
        place(layout, bytes);
        write_canaries();
        poison(Poison::nan);
    }
    GuardedBuffer(GuardedBuffer&& other) noexcept
        : plan_{std::move(other.plan_)},
          stride_{std::move(other.stride_)},
          span_{other.span_},
          map_{std::exchange(other.map_, nullptr)},
          body_size_{other.body_size_},
          begin_{other.begin_} {}
    GuardedBuffer& operator=(GuardedBuffer&&) = delete;
    ~GuardedBuffer() {
        if (map_ != nullptr) ::munmap(map_, map_size());
    }

    const TensorPlan& plan() const { return plan_; }
    const std::vector<std::int64_t>& stride() const { return stride_; }
    std::byte* data() const { return body() + begin_; }
    std::byte* data_end() const { return data() + span_ * element_size(); }
    std::byte* map_begin() const { return map_; }
    std::byte* map_end() const { return map_ + map_size(); }

    /// Number of elements.
    std::size_t size() const {
        std::size_t n = 1;
        for (const auto extent : plan_.shape)
            n *= static_cast<std::size_t>(extent);
        return n;
    }

    /// Calls f(n, pointer) for every element in row-major order.
    template <class F>
    void for_each_element(F&& f) const {
        const std::size_t width = plan_.shape.empty() ? 1 : static_cast<std::size_t>(plan_.shape.back());
        if (size() == 0) return;
        for (std::size_t r = 0; r < size() / width; ++r)
            for (std::size_t x = 0; x < width; ++x)
                f(r * width + x, data() + (r * row_stride_of(width) + x) * element_size());
    }

    void poison(Poison poison) {
        const auto bits = poison_bits(plan_.dtype, poison);
        for_each_element([&](std::size_t, std::byte* at) { store_bits(at, plan_.dtype, bits); });
    }
    void fill(std::span<const double> values) {
        for_each_element([&](std::size_t n, std::byte* at) {
            store_bits(at, plan_.dtype, encode(values[n], plan_.dtype));
        });
    }
    std::vector<std::uint64_t> bits() const {
        std::vector<std::uint64_t> all(size());
        for_each_element([&](std::size_t n, const std::byte* at) { all[n] = load_bits(at, plan_.dtype); });
        return all;
    }

    /// Lets the calling process read this buffer and not write it. Returns whether that worked.
    bool protect() const { return ::mprotect(body(), body_size_, PROT_READ) == 0; }

    /// Where canaries were overwritten, as "up to 4 bytes past its end"; nothing when all are alive.
    std::optional<std::string> damage() const {
        const std::size_t end = begin_ + span_ * element_size();
        for (std::size_t n = body_size_; n-- > end;)
            if (body()[n] != canary(n)) return sentence("up to ", n - end + 1, " bytes past its end");
        for (std::size_t n = 0; n < begin_; ++n)
            if (body()[n] != canary(n)) return sentence("up to ", begin_ - n, " bytes before its start");
        return padding_damage();
    }

  private:
    std::size_t element_size() const { return io::dtype_size(plan_.dtype); }
    std::size_t map_size() const { return body_size_ + 2 * forbidden; }
    std::byte* body() const { return map_ + forbidden; }
    std::size_t row_stride_of(std::size_t width) const {
        return stride_.size() < 2 ? width : static_cast<std::size_t>(stride_[stride_.size() - 2]);
    }
    static std::byte canary(std::size_t n) { return static_cast<std::byte>(0xA7 ^ ((n * 29) & 0xFF)); }

    void set_strides(bool padded_rows) {
        stride_.assign(plan_.shape.size(), 1);
        for (std::size_t axis = stride_.size(); axis-- > 1;) {
            const bool rows = axis + 1 == stride_.size();
            stride_[axis - 1] = stride_[axis] * plan_.shape[axis] + (rows && padded_rows ? 3 : 0);
        }
        const std::size_t width = plan_.shape.empty() ? 1 : static_cast<std::size_t>(plan_.shape.back());
        span_ = size() == 0 ? 0 : (size() / width - 1) * row_stride_of(width) + width;
    }
    void map() {
        void* map = ::mmap(nullptr, map_size(), PROT_NONE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (map == MAP_FAILED) throw std::bad_alloc();
        map_ = static_cast<std::byte*>(map);
        if (::mprotect(body(), body_size_, PROT_READ | PROT_WRITE) == 0) return;
        ::munmap(std::exchange(map_, nullptr), map_size());
        throw std::bad_alloc();
    }
    void place(BufferLayout layout, std::size_t bytes) {
        if (layout.edge == Edge::start) {
            begin_ = layout.misaligned ? element_size() : 0;
            return;
        }
        begin_ = body_size_ - bytes;
        if (!layout.misaligned)
            begin_ -= begin_ % alignment;
        else if (begin_ % 16 == 0)
            begin_ -= element_size();
    }
    void write_canaries() {
        for (std::size_t n = 0; n < body_size_; ++n)
            body()[n] = canary(n);
    }
    std::optional<std::string> padding_damage() const {
        const std::size_t width = plan_.shape.empty() ? 1 : static_cast<std::size_t>(plan_.shape.back());
        const std::size_t row = row_stride_of(width) * element_size(), used = width * element_size();
        for (std::size_t r = 0; row > used && begin_ + r * row + used < begin_ + span_ * element_size(); ++r)
            for (std::size_t n = begin_ + r * row + used; n < begin_ + (r + 1) * row; ++n)
                if (body()[n] != canary(n))
                    return sentence("in the padding after its row ", r, ": it was given strides");
        return std::nullopt;
    }

    TensorPlan plan_;
    std::vector<std::int64_t> stride_;
    std::size_t span_ = 0;  // elements from the first to the last, padding included
    std::byte* map_ = nullptr;
    std::size_t body_size_ = 0, begin_ = 0;
};

}  // namespace mta::oracle::detail
