// Speed of the softmax, forward and backward, over free and over causally masked rows.
// SPDX-License-Identifier: MIT
#include <benchmark/benchmark.h>

#include <limits>
#include <mta/core/random.hpp>
#include <mta/ops/softmax.hpp>

namespace mta_bench_softmax {

using namespace mta;

// Arguments of a case: heads, sequence length, whether later keys are masked.
struct Case {
    Tensor<float, 3> scores, d_out, weights;

    explicit Case(const benchmark::State& state)
        : scores(state.range(0), state.range(1), state.range(1)), d_out(scores.dimensions()) {
        Random random(1);
        fill_normal(scores, random);
        fill_normal(d_out, random);
        const Index S = state.range(1);
        for (Index n = 0; state.range(2) != 0 && n < scores.size(); ++n)
            if (n % S > n / S % S) scores.data()[n] = -std::numeric_limits<float>::infinity();
        weights = softmax_forward(scores);
    }
};

// Scores per second, masked ones included.
void count(benchmark::State& state, const Case& c) {
    const double elements = static_cast<double>(state.iterations()) * static_cast<double>(c.scores.size());
    state.counters["elements/s"] = benchmark::Counter(elements, benchmark::Counter::kIsRate);
}

void softmax_forward_float(benchmark::State& state) {
    const Case c(state);
    for (auto _ : state)
        benchmark::DoNotOptimize(softmax_forward(c.scores));
    count(state, c);
}

void softmax_backward_float(benchmark::State& state) {
    const Case c(state);
    for (auto _ : state)
        benchmark::DoNotOptimize(softmax_backward(c.d_out, c.scores, c.weights));
    count(state, c);
}

void sizes(benchmark::internal::Benchmark* bench) {
    bench->ArgNames({"H", "S", "causal"})->UseRealTime()->Unit(benchmark::kMillisecond);
    bench->Args({8, 128, 0})->Args({8, 128, 1})->Args({8, 512, 0})->Args({8, 512, 1});
}

BENCHMARK(softmax_forward_float)->Apply(sizes);
BENCHMARK(softmax_backward_float)->Apply(sizes);

}  // namespace mta_bench_softmax
