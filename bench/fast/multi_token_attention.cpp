// The fast path at the paper's shape and at the toy task's, forward and backward, one thread and all of them.
// SPDX-License-Identifier: MIT
#include <benchmark/benchmark.h>

#include <mta/fast/multi_token_attention.hpp>
#include <mta/layers/initialisers.hpp>

#include "../support/paper_shape.hpp"

namespace mta_bench_fast_multi_token_attention {

namespace {

using namespace mta;

MultiTokenAttentionConfig paper_config() {
    auto config = bench::paper_shape();
    config.norm = RmsNormFactor::one;
    config.gate = GateKind::scalar;
    return config;
}

MultiTokenAttentionConfig toy_config() {
    MultiTokenAttentionConfig config;
    config.heads = 2;
    config.head_dim = 128;
    config.pre = {2, 9, KeyPadding::both, 0};
    return config;
}

// Arguments: sequence length, threads (0: all), whether backward follows.
void run(benchmark::State& state, const MultiTokenAttentionConfig& config, Index B) {
    const Index S = state.range(0);
    const Fast fast{Fast{state.range(1)}.thread_count()};
    Random random(1);
    const auto params = initial_multi_token_attention_params<float>(config, random, KernelInit::normal);
    auto q = zeros<float>(B, config.heads, S, config.head_dim), k = q, v = q, d_out = q, out = q;
    for (auto* t : {&q, &k, &v, &d_out})
        fill_normal(*t, random, 0.1);
    auto saved = Fast::make_saved<float>({B, S}, config);
    FastGrads<float> g{q, k, v, params};
    std::vector<std::byte> workspace(Fast::workspace_bytes<float>({B, S}, config, fast.threads));
    for (auto _ : state) {
        fast.forward_into(q, k, v, params, config, {}, out, saved, workspace);
        if (state.range(2) != 0) fast.backward_into(d_out, q, k, v, params, config, {}, saved, g, workspace);
        benchmark::ClobberMemory();
    }
    state.counters["tokens/s"] =
        benchmark::Counter(static_cast<double>(B * S), benchmark::Counter::kIsIterationInvariantRate);
}

void fast_paper(benchmark::State& state) {
    run(state, paper_config(), 1);
}
void fast_toy(benchmark::State& state) {
    run(state, toy_config(), 8);
}

void sizes(benchmark::internal::Benchmark* bench) {
    bench->ArgNames({"S", "threads", "backward"})->UseRealTime()->Unit(benchmark::kMillisecond);
    bench->ArgsProduct({{256, 1024}, {1, 0}, {0, 1}});
}

BENCHMARK(fast_paper)->Apply(sizes);
BENCHMARK(fast_toy)->Apply(sizes);

}  // namespace

}  // namespace mta_bench_fast_multi_token_attention
