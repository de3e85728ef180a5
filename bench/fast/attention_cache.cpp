// Decoding one token after S others with the cache, beside the forward pass over all S + 1 tokens that it saves.
// SPDX-License-Identifier: MIT
#include <benchmark/benchmark.h>

#include <mta/fast/attention_cache.hpp>
#include <mta/layers/initialisers.hpp>

#include "../support/paper_shape.hpp"

namespace mta_bench_fast_attention_cache {

namespace {

using namespace mta;

Tensor<float, 4> random_tokens(Random& random, const MultiTokenAttentionConfig& config, Index n) {
    auto x = zeros<float>(1, config.heads, n, config.head_dim);
    fill_normal(x, random, 0.1);
    return x;
}

// Tokens that are decoded before the cache is filled anew: the length stays within 64 of S.
constexpr Index decoded = 64;

void fast_decode(benchmark::State& state) {
    const auto config = bench::paper_shape();
    const Index S = state.range(0);
    Random random(1);
    const auto params = initial_multi_token_attention_params<float>(config, random, KernelInit::normal);
    const auto old = random_tokens(random, config, S), one = random_tokens(random, config, 1);
    AttentionCache<float> cache(config, 1, S + decoded);
    cache.extend(old, old, old, params);
    for (auto _ : state) {
        if (cache.length() == cache.capacity()) {
            state.PauseTiming();
            cache.clear();
            cache.extend(old, old, old, params);
            state.ResumeTiming();
        }
        benchmark::DoNotOptimize(cache.extend(one, one, one, params).data());
    }
    state.SetItemsProcessed(state.iterations());
}

void fast_decode_without_cache(benchmark::State& state) {
    const auto config = bench::paper_shape();
    const Index S = state.range(0) + 1;
    Random random(1);
    const auto params = initial_multi_token_attention_params<float>(config, random, KernelInit::normal);
    const auto x = random_tokens(random, config, S);
    const Fast fast{1};
    for (auto _ : state)
        benchmark::DoNotOptimize(fast.forward(x, x, x, params, config, {}).out.data());
    state.SetItemsProcessed(state.iterations());
}

BENCHMARK(fast_decode)->Arg(256)->Arg(1024)->Arg(4096)->Unit(benchmark::kMillisecond);
BENCHMARK(fast_decode_without_cache)->Arg(256)->Arg(1024)->Arg(4096)->Unit(benchmark::kMillisecond);

}  // namespace

}  // namespace mta_bench_fast_attention_cache
