// The parallel loop: every index once, the first failure, the same bits at any thread count.
// SPDX-License-Identifier: MIT
#include <atomic>
#include <cmath>
#include <mta/core/parallel.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/checks.hpp"
#include "support/threads.hpp"

namespace mta_test_parallel {
using namespace mta;
using namespace mta::test;

namespace {

// What parallel_for throws when f throws at every index in `bad`; "" when it does not.
std::string first_failure(Index count, const std::vector<Index>& bad) {
    try {
        parallel_for(count, [&](Index n) {
            for (const Index b : bad)
                if (n == b) throw std::runtime_error("at " + std::to_string(n));
        });
    } catch (const std::runtime_error& error) {
        return error.what();
    }
    return "";
}

}  // namespace

TEST_CASE("parallel: every index runs once") {
    at_thread_counts([] {
        for (const Index count : {1, 2, 3, 7, 8, 9, 1000}) {
            std::vector<int> calls(static_cast<std::size_t>(count), 0);
            std::atomic<int> outside{0};
            parallel_for(count, [&](Index n) {
                if (n < 0 || n >= count)
                    ++outside;
                else
                    ++calls[static_cast<std::size_t>(n)];
            });
            CHECK(outside == 0);
            CHECK(calls == std::vector<int>(static_cast<std::size_t>(count), 1));
        }
    });
}

TEST_CASE("parallel: nothing to do") {
    at_thread_counts([] {
        std::atomic<int> calls{0};
        parallel_for(0, [&](Index) { ++calls; });
        parallel_for(-3, [&](Index) { ++calls; });
        CHECK(calls == 0);
    });
}

TEST_CASE("parallel: the failure of the smallest index is rethrown") {
    at_thread_counts([] {
        // Repeated, since threads reach their failures in any order.
        for (int repeat = 0; repeat < 50; ++repeat) {
            CHECK(first_failure(100, {}).empty());
            CHECK(first_failure(100, {99}) == "at 99");
            CHECK(first_failure(100, {0, 99}) == "at 0");
            CHECK(first_failure(100, {97, 60, 31, 62}) == "at 31");
            CHECK(first_failure(1, {0}) == "at 0");
        }
    });
}

TEST_CASE("parallel: the other calls still run, and the loop works again") {
    at_thread_counts([] {
        std::vector<int> calls(40, 0);
        const auto body = [&](Index n) {
            ++calls[static_cast<std::size_t>(n)];
            if (n % 3 == 0) throw static_cast<int>(n);  // not even a std::exception
        };
        CHECK_THROWS_AS(parallel_for(40, body), int);
        CHECK(calls == std::vector<int>(40, 1));
        CHECK(first_failure(40, {}).empty());
    });
}

TEST_CASE("parallel: results keep their bits at any thread count") {
    // Sums whose value depends on the order of addition.
    const auto sums = [] {
        auto t = zeros<double>(37);
        parallel_for(37, [&](Index n) {
            for (int k = 1; k < 200; ++k)
                t(n) += std::sin(static_cast<double>(n * k)) / k;
        });
        return t;
    };
    const auto want = sums();
    at_thread_counts([&] { check_same_bits("sums", sums(), want); });
}

TEST_CASE("parallel: loops may be nested") {
    at_thread_counts([] {
        std::vector<int> calls(60, 0);
        parallel_for(6, [&](Index outer) {
            parallel_for(10, [&](Index inner) { ++calls[static_cast<std::size_t>(outer * 10 + inner)]; });
        });
        CHECK(calls == std::vector<int>(60, 1));
        const auto failing = [](Index outer) {
            parallel_for(10, [&](Index inner) {
                if (outer >= 2 && inner >= 5) throw std::to_string(10 * outer + inner);
            });
        };
        std::string caught;
        try {
            parallel_for(6, failing);
        } catch (const std::string& which) {
            caught = which;
        }
        CHECK(caught == "25");
    });
}
}  // namespace mta_test_parallel
