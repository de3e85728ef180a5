// Speed of scaled scores, forward and backward, causal, with grouped key heads.
// SPDX-License-Identifier: MIT
#include <benchmark/benchmark.h>

#include <mta/core/random.hpp>
#include <mta/ops/scaled_scores.hpp>

namespace mta_bench_scaled_scores {

using namespace mta;

// Arguments of a case: query heads, key heads, sequence length, width.
struct Case {
    Tensor<float, 4> q, k, d_out;
    AttentionMask mask{MaskRule::twice, {}};

    explicit Case(const benchmark::State& state)
        : q(1, state.range(0), state.range(2), state.range(3)),
          k(1, state.range(1), state.range(2), state.range(3)),
          d_out(1, state.range(0), state.range(2), state.range(2)) {
        Random random(1);
        fill_normal(q, random);
        fill_normal(k, random);
        fill_normal(d_out, random);
    }
};

// Visible scores per second, and multiply-adds per second (`products` of them for each score and feature).
void count(benchmark::State& state, double products) {
    const double heads = static_cast<double>(state.range(0)), S = static_cast<double>(state.range(2));
    const double scores = static_cast<double>(state.iterations()) * heads * S * (S + 1) / 2;
    const double width = static_cast<double>(state.range(3));
    state.counters["elements/s"] = benchmark::Counter(scores, benchmark::Counter::kIsRate);
    state.counters["multiply-adds/s"] =
        benchmark::Counter(products * scores * width, benchmark::Counter::kIsRate);
}

void scaled_scores_forward_float(benchmark::State& state) {
    const Case c(state);
    for (auto _ : state)
        benchmark::DoNotOptimize(scaled_scores_forward(c.q, c.k, {}, c.mask));
    count(state, 1);
}

void scaled_scores_backward_float(benchmark::State& state) {
    const Case c(state);
    for (auto _ : state)
        benchmark::DoNotOptimize(scaled_scores_backward(c.d_out, c.q, c.k, {}, c.mask));
    count(state, 2);
}

void sizes(benchmark::internal::Benchmark* bench) {
    bench->ArgNames({"H", "Hkv", "S", "D"})->UseRealTime()->Unit(benchmark::kMillisecond);
    bench->Args({16, 16, 128, 96})->Args({16, 4, 128, 96})->Args({16, 16, 512, 96});
}

BENCHMARK(scaled_scores_forward_float)->Apply(sizes);
BENCHMARK(scaled_scores_backward_float)->Apply(sizes);

}  // namespace mta_bench_scaled_scores
