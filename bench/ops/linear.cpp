// Speed of the linear map, forward and backward, at the sizes of attention projections.
// SPDX-License-Identifier: MIT
#include <benchmark/benchmark.h>

#include <mta/core/random.hpp>
#include <mta/ops/linear.hpp>

namespace mta_bench_linear {

using namespace mta;

// Arguments of a case: tokens, inputs, outputs.
struct Case {
    Tensor<float, 2> x, d_out;
    LinearParams<float> params;

    explicit Case(const benchmark::State& state)
        : x(state.range(0), state.range(1)),
          d_out(state.range(0), state.range(2)),
          params{make_parameter<float>(state.range(2), state.range(1)),
                 make_parameter<float>(state.range(2))} {
        Random random(1);
        fill_normal(x, random);
        fill_normal(d_out, random);
        fill_normal(params.weight, random);
        fill_normal(*params.bias, random);
    }
};

// Output elements per second, and multiply-adds per second (`products` of them for each weight and token).
void count(benchmark::State& state, double products) {
    const double runs = static_cast<double>(state.iterations());
    const double tokens = static_cast<double>(state.range(0)), inputs = static_cast<double>(state.range(1));
    const double outputs = static_cast<double>(state.range(2));
    state.counters["elements/s"] = benchmark::Counter(runs * tokens * outputs, benchmark::Counter::kIsRate);
    state.counters["multiply-adds/s"] =
        benchmark::Counter(products * runs * tokens * inputs * outputs, benchmark::Counter::kIsRate);
}

void linear_forward_float(benchmark::State& state) {
    const Case c(state);
    for (auto _ : state)
        benchmark::DoNotOptimize(linear_forward(c.x, c.params));
    count(state, 1);
}

void linear_backward_float(benchmark::State& state) {
    const Case c(state);
    for (auto _ : state)
        benchmark::DoNotOptimize(linear_backward(c.d_out, c.x, c.params));
    count(state, 2);
}

void sizes(benchmark::internal::Benchmark* bench) {
    bench->ArgNames({"tokens", "in", "out"})->UseRealTime()->Unit(benchmark::kMillisecond);
    bench->Args({1, 576, 576})->Args({64, 576, 192})->Args({64, 576, 1536})->Args({256, 576, 576});
}

BENCHMARK(linear_forward_float)->Apply(sizes);
BENCHMARK(linear_backward_float)->Apply(sizes);

}  // namespace mta_bench_linear
