// Speed of the key-query convolution, forward and backward, at the paper's kernel and at small ones.
// SPDX-License-Identifier: MIT
#include <benchmark/benchmark.h>

#include <mta/core/random.hpp>
#include <mta/ops/key_query_conv.hpp>

namespace mta_bench_key_query_conv {

using namespace mta;

// Arguments of a case: heads, sequence length, kernel extents over queries and keys, taps rule.
struct Case {
    Tensor<float, 4> scores, d_out;
    KeyQueryConvParams<float> params;
    KeyQueryConvConfig config;

    explicit Case(const benchmark::State& state)
        : scores(1, state.range(0), state.range(1), state.range(1)),
          d_out(scores.dimensions()),
          params{make_parameter<float>(state.range(0), state.range(2), state.range(3))},
          config{KeyPadding::both, state.range(4) == 0 ? TapRule::all : TapRule::not_after_query} {
        Random random(1);
        fill_normal(scores, random);
        fill_normal(d_out, random);
        fill_normal(params.kernel, random);
    }
};

// Scores per second, and multiply-adds per second (`products` of them for each score and tap of the kernel;
// taps beyond the border or after the query, which are skipped, are counted too).
void count(benchmark::State& state, const Case& c, double products) {
    const double elements = static_cast<double>(state.iterations()) * static_cast<double>(c.scores.size());
    const double taps = static_cast<double>(state.range(2) * state.range(3));
    state.counters["elements/s"] = benchmark::Counter(elements, benchmark::Counter::kIsRate);
    state.counters["multiply-adds/s"] =
        benchmark::Counter(products * elements * taps, benchmark::Counter::kIsRate);
}

void key_query_conv_forward_float(benchmark::State& state) {
    const Case c(state);
    for (auto _ : state)
        benchmark::DoNotOptimize(key_query_conv_forward(c.scores, c.params, c.config));
    count(state, c, 1);
}

void key_query_conv_backward_float(benchmark::State& state) {
    const Case c(state);
    for (auto _ : state)
        benchmark::DoNotOptimize(key_query_conv_backward(c.d_out, c.scores, c.params, c.config));
    count(state, c, 2);
}

void sizes(benchmark::internal::Benchmark* bench) {
    bench->ArgNames({"H", "S", "Cq", "Ck", "exact"})->UseRealTime()->Unit(benchmark::kMillisecond);
    bench->Args({16, 128, 2, 3, 0})->Args({16, 128, 6, 11, 0})->Args({16, 128, 6, 11, 1});
    bench->Args({4, 512, 6, 11, 0});
}

BENCHMARK(key_query_conv_forward_float)->Apply(sizes);
BENCHMARK(key_query_conv_backward_float)->Apply(sizes);

}  // namespace mta_bench_key_query_conv
