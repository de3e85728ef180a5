// Speed of head mixing, forward and backward.
// SPDX-License-Identifier: MIT
#include <benchmark/benchmark.h>

#include <mta/core/random.hpp>
#include <mta/ops/head_mix.hpp>

namespace mta_bench_head_mix {

using namespace mta;

// Arguments of a case: heads, heads per group, sequence length.
struct Case {
    Tensor<float, 4> scores, d_out;
    HeadMixParams<float> params;

    explicit Case(const benchmark::State& state)
        : scores(1, state.range(0), state.range(2), state.range(2)),
          d_out(scores.dimensions()),
          params{make_parameter<float>(state.range(0) / state.range(1), state.range(1), state.range(1))} {
        Random random(1);
        fill_normal(scores, random);
        fill_normal(d_out, random);
        fill_normal(params.mix, random);
    }
};

// Scores per second, and multiply-adds per second (`products` of them for each score and input head).
void count(benchmark::State& state, const Case& c, double products) {
    const double elements = static_cast<double>(state.iterations()) * static_cast<double>(c.scores.size());
    const double heads = static_cast<double>(state.range(1));
    state.counters["elements/s"] = benchmark::Counter(elements, benchmark::Counter::kIsRate);
    state.counters["multiply-adds/s"] =
        benchmark::Counter(products * elements * heads, benchmark::Counter::kIsRate);
}

void head_mix_forward_float(benchmark::State& state) {
    const Case c(state);
    for (auto _ : state)
        benchmark::DoNotOptimize(head_mix_forward(c.scores, c.params));
    count(state, c, 1);
}

void head_mix_backward_float(benchmark::State& state) {
    const Case c(state);
    for (auto _ : state)
        benchmark::DoNotOptimize(head_mix_backward(c.d_out, c.scores, c.params));
    count(state, c, 2);
}

void sizes(benchmark::internal::Benchmark* bench) {
    bench->ArgNames({"H", "Ch", "S"})->UseRealTime()->Unit(benchmark::kMillisecond);
    bench->Args({16, 2, 128})->Args({16, 16, 128})->Args({16, 16, 512});
}

BENCHMARK(head_mix_forward_float)->Apply(sizes);
BENCHMARK(head_mix_backward_float)->Apply(sizes);

}  // namespace mta_bench_head_mix
