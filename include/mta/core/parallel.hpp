// A parallel loop whose results do not depend on the number of threads.
// SPDX-License-Identifier: MIT
#pragma once

#include <exception>
#include <mta/core/tensor.hpp>

namespace mta {

/// Calls f(n) once for each n in [0, count), on OpenMP threads where the compiler has them.
///
/// f(n) must write only to places that no other f(m) touches; each call then does the same arithmetic in the
/// same order at any thread count, so the bits are the same. An exception thrown by f is rethrown after the
/// loop (the one with the smallest n); the other calls still run.
template <class F>
void parallel_for(Index count, F&& f) {
    std::exception_ptr failure;
    Index failed = count;
#if defined(_OPENMP)
#pragma omp parallel for schedule(static) if (count > 1)
#endif
    for (Index n = 0; n < count; ++n) {
        try {
            f(n);
        } catch (...) {
#if defined(_OPENMP)
#pragma omp critical(mta_parallel_for)
#endif
            if (n < failed) {
                failed = n;
                failure = std::current_exception();
            }
        }
    }
    if (failure) std::rethrow_exception(failure);
}

}  // namespace mta
