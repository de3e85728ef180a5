// The fast path as a process that is told what to do, for bench/compare_pytorch.py: one shape, timings on request.
// SPDX-License-Identifier: MIT
//
// Usage      mta_fast_worker B H HKV S D CQ CK MIX_GROUP THREADS     (CQ CK 0 0: no convolutions; MIX_GROUP 0: no mixes)
// Requests   a line each on standard input, a number each on standard output: `forward`, `both` (forward and backward):
//            seconds; `peak`: multiply-adds of all threads, in GFLOP/s; `copy`: bandwidth, bytes read and written, in
//            GB/s; `memory`: the most resident memory so far, in MiB; `workspace`: bytes of workspace, in MiB.
#include <cstdio>
#include <cstring>
#include <memory>
#include <mta/fast/multi_token_attention.hpp>
#include <mta/layers/initialisers.hpp>
#include <vector>

#include "../support/multiply_adds.hpp"
#include "worker.hpp"

namespace {

using namespace mta;
using bench::seconds;

double peak_gflops(Index threads) {
    constexpr Index repeats = 4'000'000, W = fast::lanes<float>, chains = bench::chains;
    std::vector<std::byte> memory(static_cast<std::size_t>(threads) * 16 * 64 * 4 + 64);
    fast::Arena arena(memory);
    float* numbers = arena.take<float>(threads * 16 * W);
    std::fill_n(numbers, threads * 16 * W, 1.0F);
    const double time = seconds([&] {
        parallel_for(threads, [&](Index t) { bench::multiply_adds(numbers + t * 16 * W, repeats); });
    });
    return 2e-9 * static_cast<double>(repeats * chains * W * threads) / time;
}

double copy_gigabytes(Index threads) {
    const std::size_t part = std::size_t{64} << 20;
    std::vector<char> from(part * static_cast<std::size_t>(threads), 1), to(from.size(), 2);
    const double time = seconds([&] {
        parallel_for(threads, [&](Index t) {
            std::memcpy(to.data() + static_cast<std::size_t>(t) * part,
                        from.data() + static_cast<std::size_t>(t) * part, part);
        });
    });
    return 2e-9 * static_cast<double>(from.size()) / time;
}

struct Work {
    MultiTokenAttentionConfig config;
    Fast fast;
    Tensor<float, 4> q, k, v, d_out, out;
    MultiTokenAttentionParams<float> params;
    FastSaved<float> saved;
    FastGrads<float> grads;
    std::size_t bytes = 0;
    std::unique_ptr<std::byte[]> workspace;  // not cleared: what is never used is never resident

    // n: the numbers of the command line
    explicit Work(const std::vector<Index>& n) : fast{n[8]} {
        const Index B = n[0], S = n[3];
        config.heads = n[1], config.kv_heads = n[2], config.head_dim = n[4];
        config.pre = config.post = {n[5], n[6], KeyPadding::both, n[7]};
        Random random(1);
        params = initial_multi_token_attention_params<float>(config, random, KernelInit::normal);
        q = d_out = out = zeros<float>(B, n[1], S, n[4]);
        k = v = zeros<float>(B, n[2], S, n[4]);
        for (auto* t : {&q, &k, &v, &d_out})
            fill_normal(*t, random);
        saved = Fast::make_saved<float>({B, S}, config);
        grads = {q, k, v, params};
        bytes = Fast::workspace_bytes<float>({B, S}, config, fast.threads);
        workspace = std::make_unique_for_overwrite<std::byte[]>(bytes);
    }

    double run(bool backward) {
        const std::span memory(workspace.get(), bytes);
        return seconds([&] {
            fast.forward_into(q, k, v, params, config, {}, out, saved, memory);
            if (backward) fast.backward_into(d_out, q, k, v, params, config, {}, saved, grads, memory);
        });
    }
};

double answer(Work& work, std::string_view request) {
    if (request == "forward" || request == "both") return work.run(request == "both");
    if (request == "peak") return peak_gflops(work.fast.threads);
    if (request == "copy") return copy_gigabytes(work.fast.threads);
    if (request == "workspace") return static_cast<double>(work.bytes) / 0x1p20;
    if (request == "memory") return bench::peak_mebibytes();
    throw ValueError("fast_worker: request: got '" + std::string(request) +
                     "', expected forward, both, peak, copy, "
                     "workspace or memory");
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 10) {
        std::fputs("usage: mta_fast_worker B H HKV S D CQ CK MIX_GROUP THREADS\n", stderr);
        return 2;
    }
    const auto numbers = bench::numbers_of(argc, argv, 1);
    return bench::serve(
        "mta_fast_worker", [&] { return Work(numbers); }, answer);
}
