// Counts every allocation of the executable that includes it, in one file only: operator new is replaced. Under clang's
// thread sanitizer, which brings its own, nothing is counted.
// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <cstdlib>
#include <new>

namespace mta::test {

inline std::atomic<long> allocations{0};

}  // namespace mta::test

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define MTA_OWN_OPERATOR_NEW
#endif
#endif

#ifndef MTA_OWN_OPERATOR_NEW
// Not inlined: g++ 12 would see malloc and free, and warn.
__attribute__((noinline)) void* operator new(std::size_t bytes) {
    ++mta::test::allocations;
    if (void* p = std::malloc(bytes == 0 ? 1 : bytes)) return p;
    throw std::bad_alloc();
}
__attribute__((noinline)) void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
    ++mta::test::allocations;
    return std::malloc(bytes == 0 ? 1 : bytes);
}
__attribute__((noinline)) void operator delete(void* p) noexcept {
    std::free(p);
}
__attribute__((noinline)) void operator delete(void* p, std::size_t) noexcept {
    std::free(p);
}
#endif
