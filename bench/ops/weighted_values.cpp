// Speed of weighted values, forward and backward, causal, with grouped value heads.
// SPDX-License-Identifier: MIT
#include <benchmark/benchmark.h>

#include <mta/core/random.hpp>
#include <mta/ops/weighted_values.hpp>

namespace mta_bench_weighted_values {

using namespace mta;

// Arguments of a case: query heads, value heads, sequence length, width.
struct Case {
    Tensor<float, 4> weights, v, d_out;
    AttentionMask mask{MaskRule::twice, {}};

    explicit Case(const benchmark::State& state)
        : weights(1, state.range(0), state.range(2), state.range(2)),
          v(1, state.range(1), state.range(2), state.range(3)),
          d_out(1, state.range(0), state.range(2), state.range(3)) {
        Random random(1);
        fill_normal(weights, random);
        fill_normal(v, random);
        fill_normal(d_out, random);
    }
};

// Elements of the context per second, and multiply-adds per second (`products` of them for each visible key
// and feature).
void count(benchmark::State& state, double products) {
    const double heads = static_cast<double>(state.range(0)), S = static_cast<double>(state.range(2));
    const double elements =
        static_cast<double>(state.iterations()) * heads * S * static_cast<double>(state.range(3));
    state.counters["elements/s"] = benchmark::Counter(elements, benchmark::Counter::kIsRate);
    state.counters["multiply-adds/s"] =
        benchmark::Counter(products * elements * (S + 1) / 2, benchmark::Counter::kIsRate);
}

void weighted_values_forward_float(benchmark::State& state) {
    const Case c(state);
    for (auto _ : state)
        benchmark::DoNotOptimize(weighted_values_forward(c.weights, c.v, c.mask));
    count(state, 1);
}

void weighted_values_backward_float(benchmark::State& state) {
    const Case c(state);
    for (auto _ : state)
        benchmark::DoNotOptimize(weighted_values_backward(c.d_out, c.weights, c.v, c.mask));
    count(state, 2);
}

void sizes(benchmark::internal::Benchmark* bench) {
    bench->ArgNames({"H", "Hkv", "S", "Dv"})->UseRealTime()->Unit(benchmark::kMillisecond);
    bench->Args({16, 16, 128, 96})->Args({16, 4, 128, 96})->Args({16, 16, 512, 96});
}

BENCHMARK(weighted_values_forward_float)->Apply(sizes);
BENCHMARK(weighted_values_backward_float)->Apply(sizes);

}  // namespace mta_bench_weighted_values
