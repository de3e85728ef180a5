// Decoding with a cache gives the bits of the whole pass, however the tokens come.
// SPDX-License-Identifier: MIT
#include <mta/fast/attention_cache.hpp>

#include "fast_support.hpp"

namespace mta_test_fast_attention_cache {
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

// The outputs of all tokens, given to the cache in chunks of these lengths and then one by one.
template <class Scalar>
void check_decoding(const AttentionCase<Scalar>& c, AttentionCache<Scalar>& cache,
                    const std::vector<Index>& chunks) {
    const Index S = c.q.dimension(2);
    const auto want = run_fast(c).out;
    auto next = chunks.begin();
    for (Index begin = 0, n = 0; begin < S; begin += n) {
        n = next == chunks.end() ? 1 : *next++;
        const auto out =
            cache.extend(chunk(c.q, begin, n), chunk(c.k, begin, n), chunk(c.v, begin, n), c.params);
        check_same_bits("out", out, chunk(want, begin, n));
        CHECK(cache.length() == begin + n);
    }
}

std::vector<MultiTokenAttentionConfig> causal_configs() {
    auto all = varied_configs();
    all.push_back(paper_config());
    for (auto& config : all)
        if (config.mask == MaskRule::none) config.mask = MaskRule::twice;
    return all;
}

}  // namespace

TEST_CASE("attention_cache: the last token of a prompt agrees with the reference") {
    for (const auto& config : causal_configs())
        for (const Index S : {1, 2, 7, 20}) {  // shorter and longer than the kernels
            const auto c = random_case(config, 2, S);
            AttentionCache<double> cache(config, 2, S);
            if (S > 1)
                cache.extend(chunk(c.q, 0, S - 1), chunk(c.k, 0, S - 1), chunk(c.v, 0, S - 1), c.params);
            const auto out =
                cache.extend(chunk(c.q, S - 1, 1), chunk(c.k, S - 1, 1), chunk(c.v, S - 1, 1), c.params);
            check_agrees("out", out, chunk(c.forward().out(), S - 1, 1), double_bound);
        }
}

TEST_CASE("attention_cache: tokens one by one, in chunks and at once have the same bits") {
    for (const auto& config : causal_configs()) {
        const auto c = random_case<float>(config, 3, 39);
        AttentionCache<float> cache(config, 3, 45);
        for (const auto& chunks : {std::vector<Index>{}, {39}, {3, 1, 1, 20}, {17, 2, 16}}) {
            cache.clear();
            check_decoding(c, cache, chunks);
        }
    }
}

TEST_CASE("attention_cache: errors") {
    auto config = full_config();
    const auto c = random_case(config, 2, 4);
    AttentionCache<double> cache(config, 2, 5);
    cache.extend(c.q, c.k, c.v, c.params);
    CHECK_THROWS_WITH_AS(cache.extend(c.q, c.k, c.v, c.params),
                         "AttentionCache: tokens: got 8, expected at most the capacity, 5", ShapeError);
    CHECK(cache.length() == 4);
    const auto other = random_case(config, 1, 1);
    CHECK_THROWS_WITH_AS(cache.extend(other.q, other.k, other.v, other.params),
                         "AttentionCache: batch of q: got 1, expected 2", ShapeError);
    CHECK_THROWS_AS(AttentionCache<double>(config, 1, 0), ShapeError);
    config.mask = MaskRule::none;
    CHECK_THROWS_AS(AttentionCache<double>(config, 1, 4), ShapeError);
}
}  // namespace mta_test_fast_attention_cache
