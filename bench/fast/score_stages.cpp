// The stages of the fast path alone, one thread: 16 rows of 770 keys of the paper's 880M shape, beside the core's peak.
// SPDX-License-Identifier: MIT
#include <benchmark/benchmark.h>

#include <mta/fast/multi_token_attention.hpp>
#include <mta/layers/initialisers.hpp>

#include "../support/multiply_adds.hpp"
#include "../support/paper_shape.hpp"

namespace mta_bench_fast_score_stages {

namespace {

using namespace mta;

constexpr Index keys_of_row = 770, row_count = 16;
const fast::RowRange rows{64, 64 + row_count};
const auto keys = [](Index) { return keys_of_row; };

// The memory of one thread of a backward pass, its windows filled with small numbers.
struct Stages {
    MultiTokenAttentionConfig config = bench::paper_shape();
    fast::Layout<float> layout{{1, keys_of_row}, config, true};
    fast::DocumentRows document{0, keys_of_row, /*causal=*/false, 0};
    std::vector<std::byte> bytes = std::vector<std::byte>(needed());
    fast::Arena arena{bytes};
    fast::SharedMemory<float> shared{layout, config, arena};
    fast::ThreadMemory<float> memory{layout, shared, 0, fast::Pass::backward, arena};
    fast::ScoreStages<float> stages{layout, document, memory.row_table};
    fast::RowProducts<float> products{layout};

    Stages() {
        float* numbers = fast::Arena(bytes).take<float>(0);
        std::fill_n(numbers, (bytes.size() - fast::Arena::alignment) / sizeof(float), 0.01F);
        Random random(1);
        const auto params = initial_multi_token_attention_params<float>(config, random, KernelInit::normal);
        shared.pre.pack(layout, 0, params.pre);
        for (auto* window : {&memory.logits, &memory.conv, &memory.weights, &memory.final_weights,
                             &memory.d_final, &memory.d_conv, &memory.d_logits})
            window->first = rows.begin - shared.pre.above();
    }
    std::size_t needed() const {
        fast::Arena counter;
        const fast::SharedMemory<float> all(layout, config, counter);
        fast::ThreadMemory<float>(layout, all, 0, fast::Pass::backward, counter);
        return counter.bytes();
    }
};

// Multiply-adds for each query, key and head; 0 for stages of another kind.
template <class F>
void run(benchmark::State& state, Index multiply_adds, F&& stage) {
    Stages s;
    for (auto _ : state) {
        stage(s);
        benchmark::ClobberMemory();
    }
    const auto done = static_cast<double>(multiply_adds * s.layout.H * row_count * keys_of_row);
    if (multiply_adds > 0)
        state.counters["FLOP/s"] =
            benchmark::Counter(2 * done, benchmark::Counter::kIsIterationInvariantRate);
}

constexpr Index taps = 6 * 11, features = 96, group = 16;

void fast_stage_convolution(benchmark::State& state) {
    run(state, taps, [](Stages& s) {
        s.stages.convolve(s.shared.pre, fast::Direction::forward, s.memory.logits, s.memory.conv, rows, keys);
    });
}
void fast_stage_transposed_convolution(benchmark::State& state) {
    run(state, taps, [](Stages& s) {
        s.stages.convolve(s.shared.pre, fast::Direction::transposed, s.memory.d_conv, s.memory.d_logits, rows,
                          keys);
    });
}
void fast_stage_kernel_gradient(benchmark::State& state) {
    run(state, taps, [](Stages& s) {
        s.stages.add_kernel_gradients(s.shared.pre, s.memory.d_conv, s.memory.logits, rows,
                                      s.memory.sums.pre_kernel);
    });
}
void fast_stage_mix(benchmark::State& state) {
    run(state, group, [](Stages& s) {
        s.stages.mix(s.shared.pre, fast::Direction::forward, s.memory.conv, s.memory.weights, rows);
    });
}
void fast_stage_mix_gradient(benchmark::State& state) {
    run(state, group, [](Stages& s) {
        s.stages.add_mix_gradients(s.shared.pre, s.memory.d_final, s.memory.conv, rows,
                                   s.memory.sums.pre_mix);
    });
}
void fast_stage_softmax(benchmark::State& state) {
    run(state, 0, [](Stages& s) {
        for (Index i = rows.begin; i < rows.end; ++i)
            fast::normalise_row(s.memory.weights.row(i), keys_of_row, s.config.normalise);
    });
}
// Logits, and the gradients of the final weights.
void fast_stage_dot_features(benchmark::State& state) {
    run(state, features,
        [](Stages& s) { s.products.dot_features(s.memory.q, s.shared.k, s.memory.logits, rows, keys); });
}
// The context, and d_q.
void fast_stage_sum_keys(benchmark::State& state) {
    run(state, features,
        [](Stages& s) { s.products.sum_keys(s.memory.final_weights, s.shared.v, s.memory.out, rows, keys); });
}
// d_k and d_v.
void fast_stage_sum_rows(benchmark::State& state) {
    run(state, features, [](Stages& s) {
        s.products.sum_rows(s.memory.final_weights, s.memory.q, s.memory.d_v, rows, keys, /*causal=*/false,
                            0);
    });
}
void fast_stage_peak(benchmark::State& state) {
    constexpr Index repeats = 100'000, W = fast::lanes<float>;
    alignas(64) float numbers[bench::chains * W];
    std::fill_n(numbers, bench::chains * W, 1.0F);
    for (auto _ : state) {
        bench::multiply_adds(numbers, repeats);
        benchmark::ClobberMemory();
    }
    state.counters["FLOP/s"] = benchmark::Counter(2.0 * static_cast<double>(repeats * bench::chains * W),
                                                  benchmark::Counter::kIsIterationInvariantRate);
}

BENCHMARK(fast_stage_peak);
BENCHMARK(fast_stage_dot_features)->Unit(benchmark::kMicrosecond);
BENCHMARK(fast_stage_convolution)->Unit(benchmark::kMicrosecond);
BENCHMARK(fast_stage_mix)->Unit(benchmark::kMicrosecond);
BENCHMARK(fast_stage_softmax)->Unit(benchmark::kMicrosecond);
BENCHMARK(fast_stage_sum_keys)->Unit(benchmark::kMicrosecond);
BENCHMARK(fast_stage_transposed_convolution)->Unit(benchmark::kMicrosecond);
BENCHMARK(fast_stage_kernel_gradient)->Unit(benchmark::kMicrosecond);
BENCHMARK(fast_stage_mix_gradient)->Unit(benchmark::kMicrosecond);
BENCHMARK(fast_stage_sum_rows)->Unit(benchmark::kMicrosecond);

}  // namespace

}  // namespace mta_bench_fast_score_stages
