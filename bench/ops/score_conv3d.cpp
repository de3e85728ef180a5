// Speed of the one-kernel form of convolution and mixing, forward and backward, with the paper's 6 x 11 taps.
// SPDX-License-Identifier: MIT
#include <benchmark/benchmark.h>

#include <mta/core/random.hpp>
#include <mta/ops/score_conv3d.hpp>

namespace mta_bench_score_conv3d {

using namespace mta;

constexpr Index Cq = 6, Ck = 11;

// Arguments of a case: heads, heads per group, sequence length.
struct Case {
    Tensor<float, 4> scores, d_out;
    ScoreConv3dParams<float> params;

    explicit Case(const benchmark::State& state)
        : scores(1, state.range(0), state.range(2), state.range(2)),
          d_out(scores.dimensions()),
          params{make_parameter<float>(state.range(0), state.range(1), Cq, Ck)} {
        Random random(1);
        fill_normal(scores, random);
        fill_normal(d_out, random);
        fill_normal(params.kernel, random);
    }
};

// Scores per second, and multiply-adds per second (`products` of them for each score and tap).
void count(benchmark::State& state, const Case& c, double products) {
    const double elements = static_cast<double>(state.iterations()) * static_cast<double>(c.scores.size());
    const double taps = static_cast<double>(state.range(1) * Cq * Ck);
    state.counters["elements/s"] = benchmark::Counter(elements, benchmark::Counter::kIsRate);
    state.counters["multiply-adds/s"] =
        benchmark::Counter(products * elements * taps, benchmark::Counter::kIsRate);
}

void score_conv3d_forward_float(benchmark::State& state) {
    const Case c(state);
    for (auto _ : state)
        benchmark::DoNotOptimize(score_conv3d_forward(c.scores, c.params));
    count(state, c, 1);
}

void score_conv3d_backward_float(benchmark::State& state) {
    const Case c(state);
    for (auto _ : state)
        benchmark::DoNotOptimize(score_conv3d_backward(c.d_out, c.scores, c.params));
    count(state, c, 2);
}

void sizes(benchmark::internal::Benchmark* bench) {
    bench->ArgNames({"H", "Ch", "S"})->UseRealTime()->Unit(benchmark::kMillisecond);
    bench->Args({4, 1, 128})->Args({4, 4, 128})->Args({8, 2, 256});
}

BENCHMARK(score_conv3d_forward_float)->Apply(sizes);
BENCHMARK(score_conv3d_backward_float)->Apply(sizes);

}  // namespace mta_bench_score_conv3d
