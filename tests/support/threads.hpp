// Runs something at several thread counts.
// SPDX-License-Identifier: MIT
#pragma once

#if defined(_OPENMP)
#include <omp.h>
#endif

namespace mta::test {

/// Calls f() with 1, 2, 3, 4 and 8 threads (once where the compiler has no OpenMP) and restores the count.
template <class F>
void at_thread_counts(F&& f) {
#if defined(_OPENMP)
    const int before = omp_get_max_threads();
    for (const int threads : {1, 2, 3, 4, 8}) {
        omp_set_num_threads(threads);
        f();
    }
    omp_set_num_threads(before);
#else
    f();
#endif
}

}  // namespace mta::test
