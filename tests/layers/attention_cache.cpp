// Decoding by recomputation gives the bits of the whole pass, however the tokens come, and agrees with the fast cache.
// SPDX-License-Identifier: MIT
#include <mta/fast/attention_cache.hpp>
#include <mta/layers/attention_cache.hpp>

#include "support/attention_case.hpp"
#include "support/checks.hpp"

namespace mta_test_attention_cache {
using namespace mta;
using namespace mta::test;

namespace {

// Tokens [begin, begin + length) of all batch rows.
template <class Scalar>
Tensor<Scalar, 4> chunk(const Tensor<Scalar, 4>& t, Index begin, Index length) {
    Tensor<Scalar, 4> part(t.dimension(0), t.dimension(1), length, t.dimension(3));
    for (Index r = 0; r < row_count(part); ++r) {
        const auto from = nth_row(t, r / length * t.dimension(2) + begin + r % length);
        std::copy(from.begin(), from.end(), nth_row(part, r).begin());
    }
    return part;
}

template <class Scalar, class Cache>
Tensor<Scalar, 4> extend(Cache& cache, const AttentionCase<Scalar>& c, Index begin, Index n) {
    return cache.extend(chunk(c.q, begin, n), chunk(c.k, begin, n), chunk(c.v, begin, n), c.params);
}

// The outputs of all tokens, given to the cache in chunks of these lengths and then one by one.
template <class Scalar>
void check_decoding(const AttentionCase<Scalar>& c, ReferenceAttentionCache<Scalar>& cache,
                    const std::vector<Index>& chunks) {
    const Index S = c.q.dimension(2);
    const auto want = c.forward().out();
    auto next = chunks.begin();
    for (Index begin = 0, n = 0; begin < S; begin += n) {
        n = next == chunks.end() ? 1 : *next++;
        check_same_bits("out", extend(cache, c, begin, n), chunk(want, begin, n));
        CHECK(cache.length() == begin + n);
    }
}

std::vector<MultiTokenAttentionConfig> causal_configs() {
    auto all = varied_configs();
    for (auto& config : all)
        if (config.mask == MaskRule::none) config.mask = MaskRule::twice;
    return all;
}

}  // namespace

TEST_CASE("hand values: the second token's output is the mean of two values") {
    MultiTokenAttentionConfig config;
    ReferenceAttentionCache<double> cache(config, 1, 2);
    const auto token = [](double x) {
        auto t = zeros<double>(1, 1, 1, 1);
        t(0, 0, 0, 0) = x;
        return t;
    };
    CHECK(cache.extend(token(0), token(1), token(5), {})(0, 0, 0, 0) == 5);
    CHECK(cache.extend(token(0), token(-3), token(2), {})(0, 0, 0, 0) == 3.5);
    CHECK(cache.length() == 2);
}

TEST_CASE("independent values: the fast cache keeps less and agrees") {
    // Sums of at most 20 * 4 terms in another order, amplified by softmax and norm: some hundred roundings.
    for (const auto& config : causal_configs()) {
        const auto c = random_case(config, 2, 20);
        ReferenceAttentionCache<double> reference(config, 2, 20);
        AttentionCache<double> fast(config, 2, 20);
        for (Index begin = 0, n = 7; begin < 20; begin += n, n = begin == 7 ? 2 : 1)
            check_agrees("out", extend(reference, c, begin, n), extend(fast, c, begin, n), 4e-13);
    }
}

TEST_CASE("edge shapes: a prompt of one token, and no batch rows") {
    const auto one = random_case(full_config(), 2, 1);
    ReferenceAttentionCache<double> cache(one.config, 2, 1);
    check_same_bits("out", extend(cache, one, 0, 1), one.forward().out());
    const auto none = random_case(full_config(), 0, 3);
    ReferenceAttentionCache<double> empty(none.config, 0, 3);
    CHECK(extend(empty, none, 0, 3).size() == 0);
    CHECK(empty.length() == 3);
}

TEST_CASE("properties: tokens one by one, in chunks and at once have the same bits") {
    for (const auto& config : causal_configs()) {
        const auto c = random_case<float>(config, 3, 17);
        ReferenceAttentionCache<float> cache(config, 3, 20);
        CHECK(cache.capacity() == 20);
        for (const auto& chunks : {std::vector<Index>{}, {17}, {3, 1, 1, 9}, {12, 2, 3}}) {
            cache.clear();
            CHECK(cache.length() == 0);
            check_decoding(c, cache, chunks);
        }
    }
}

TEST_CASE("errors: the cache stays as it was") {
    auto config = full_config();
    const auto c = random_case(config, 2, 5);
    ReferenceAttentionCache<double> cache(config, 2, 5);
    extend(cache, c, 0, 4);
    CHECK_THROWS_WITH_AS(extend(cache, c, 0, 2),
                         "ReferenceAttentionCache: tokens: got 6, expected at most the capacity, 5",
                         ShapeError);
    const auto other = random_case(config, 1, 1);
    CHECK_THROWS_WITH_AS(extend(cache, other, 0, 1), "ReferenceAttentionCache: batch of q: got 1, expected 2",
                         ShapeError);
    CHECK_THROWS_AS(cache.extend(chunk(c.q, 4, 1), chunk(c.k, 4, 1), chunk(c.v, 3, 2), c.params), ShapeError);
    CHECK_THROWS_AS(cache.extend(chunk(c.q, 4, 1), chunk(c.k, 4, 1), chunk(c.v, 4, 1), {}), ShapeError);
    CHECK(cache.length() == 4);
    check_same_bits("out", extend(cache, c, 4, 1), chunk(c.forward().out(), 4, 1));
}

TEST_CASE("errors: a cache that cannot work") {
    auto config = full_config();
    using Cache = ReferenceAttentionCache<double>;
    CHECK_THROWS_WITH_AS(Cache(config, 1, 0), "ReferenceAttentionCache: capacity: got 0, expected at least 1",
                         ShapeError);
    CHECK_THROWS_WITH_AS(Cache(config, -1, 3), "ReferenceAttentionCache: batch: got -1, expected at least 0",
                         ShapeError);
    config.mask = MaskRule::none;
    CHECK_THROWS_AS(Cache(config, 1, 4), ShapeError);
    config.mask = MaskRule::twice;
    config.heads = 0;
    CHECK_THROWS_AS(Cache(config, 1, 4), ShapeError);
}
}  // namespace mta_test_attention_cache
