// Hands out parts of one block of memory; the same code, without a block, says how many bytes that takes.
// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <mta/core/tensor.hpp>

namespace mta::fast {

/// Every part begins on a cache line.
class Arena {
  public:
    static constexpr std::size_t alignment = 64;

    /// Counts only: take returns null pointers.
    Arena() = default;
    explicit Arena(std::span<std::byte> memory) {
        const auto past = reinterpret_cast<std::uintptr_t>(memory.data()) % alignment;
        begin_ = memory.data() + (past == 0 ? 0 : alignment - past);
    }

    template <class T>
    T* take(Index count) {
        const std::size_t at = used_;
        const std::size_t lines = (static_cast<std::size_t>(count) * sizeof(T) + alignment - 1) / alignment;
        used_ += lines * alignment;
        return begin_ == nullptr ? nullptr : reinterpret_cast<T*>(begin_ + at);
    }
    /// Bytes that hold everything taken so far, wherever the memory begins.
    std::size_t bytes() const { return used_ + alignment; }

  private:
    std::byte* begin_ = nullptr;
    std::size_t used_ = 0;
};

}  // namespace mta::fast
