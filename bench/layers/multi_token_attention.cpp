// The reference layer against standard attention on the same shapes: what the extra stages cost.
// SPDX-License-Identifier: MIT
//
// Shapes: the paper's 880M layer (16 heads of 96, 6x11 kernels, all heads mixed) and its toy task (2 heads of
// 128, 2x9).
#include <benchmark/benchmark.h>

#include <mta/layers/initialisers.hpp>
#include <mta/layers/multi_token_attention.hpp>

namespace mta_bench_multi_token_attention {

using namespace mta;

MultiTokenAttentionConfig paper_config(bool with_stages) {
    MultiTokenAttentionConfig config;
    config.heads = 16;
    config.head_dim = 96;
    if (!with_stages) return config;
    config.pre = config.post = {6, 11, KeyPadding::both, 16};
    config.norm = RmsNormFactor::one;
    config.gate = GateKind::scalar;
    return config;
}

MultiTokenAttentionConfig toy_config(bool with_stages) {
    MultiTokenAttentionConfig config;
    config.heads = 2;
    config.head_dim = 128;
    if (with_stages) config.pre = {2, 9, KeyPadding::both, 0};
    return config;
}

void run(benchmark::State& state, const MultiTokenAttentionConfig& config, bool backward) {
    const Index S = state.range(0);
    Random random(1);
    const auto params = initial_multi_token_attention_params<float>(config, random, KernelInit::normal);
    auto q = zeros<float>(1, config.heads, S, config.head_dim), k = q, v = q, d_out = q;
    for (auto* t : {&q, &k, &v, &d_out})
        fill_normal(*t, random, 0.1);
    for (auto _ : state) {
        const auto trace = multi_token_attention_forward(q, k, v, params, config);
        benchmark::DoNotOptimize(trace.out().data());
        if (!backward) continue;
        const auto grads = multi_token_attention_backward(d_out, q, k, v, params, config, {}, trace);
        benchmark::DoNotOptimize(grads.d_q.data());
    }
    state.counters["tokens/s"] =
        benchmark::Counter(static_cast<double>(S), benchmark::Counter::kIsIterationInvariantRate);
}

void paper_mta_forward(benchmark::State& state) {
    run(state, paper_config(true), false);
}
void paper_standard_forward(benchmark::State& state) {
    run(state, paper_config(false), false);
}
void paper_mta_both(benchmark::State& state) {
    run(state, paper_config(true), true);
}
void paper_standard_both(benchmark::State& state) {
    run(state, paper_config(false), true);
}
void toy_mta_both(benchmark::State& state) {
    run(state, toy_config(true), true);
}
void toy_standard_both(benchmark::State& state) {
    run(state, toy_config(false), true);
}

BENCHMARK(paper_mta_forward)
    ->Name("layer/paper/mta/forward")
    ->Arg(256)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();
BENCHMARK(paper_standard_forward)
    ->Name("layer/paper/standard/forward")
    ->Arg(256)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();
BENCHMARK(paper_mta_both)
    ->Name("layer/paper/mta/both")
    ->Arg(256)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();
BENCHMARK(paper_standard_both)
    ->Name("layer/paper/standard/both")
    ->Arg(256)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();
BENCHMARK(toy_mta_both)->Name("layer/toy/mta/both")->Arg(321)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK(toy_standard_both)
    ->Name("layer/toy/standard/both")
    ->Arg(321)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();

}  // namespace mta_bench_multi_token_attention
