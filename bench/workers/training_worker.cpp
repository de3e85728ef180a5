// Training steps of a decoder as a process that is told what to do, for bench/compare_training.py.
// SPDX-License-Identifier: MIT
//
// Usage      mta_training_worker WHERE BATCH LENGTH ANSWER WIDTH LAYERS HEADS HIDDEN CQ CK THREADS     (CQ CK 0 0: standard
//            attention; WHERE `counted`: logits where the loss counts, the last ANSWER tokens; `all`: everywhere)
// Requests   a line each on standard input, a number each on standard output: `step`: seconds of one update; `loss`: of
//            the last step; `memory`: the most resident memory so far, in MiB.
#include <cstdio>
#include <mta/fast/dense_backend.hpp>
#include <mta/fast/multi_token_attention.hpp>
#include <mta/models/decoder.hpp>
#include <mta/optim/adamw.hpp>
#include <mta/optim/clip_gradients.hpp>
#include <string>
#include <vector>
#if defined(__GLIBC__)
#include <malloc.h>
#endif

#include "worker.hpp"

namespace {

using namespace mta;

struct Work {
    DecoderConfig config;
    DecoderBackend<Fast, FastDense> backend;
    DecoderParams<float> params;
    AdamWState<DecoderParams<float>> state;
    Tensor<int, 2> tokens, targets;
    Tensor<float, 2> mask;
    WantedPositions wanted;
    double loss = 0;

    // n: the numbers of the command line
    Work(bool counted, const std::vector<Index>& n) : backend{Fast{n[9]}, FastDense{}} {
        const Index B = n[0], S = n[1], answer = n[2];
        config = standard_decoder(
            {.vocabulary = 32, .width = n[3], .layers = n[4], .heads = n[5], .hidden = n[6]});
        if (n[7] > 0) {
            MultiTokenAttentionConfig stages;
            stages.pre = {n[7], n[8], KeyPadding::both, 0};
            config = with_multi_token_attention(config, stages);
        }
        params = initial_decoder_params<float>(config, 1);
        state = make_adamw_state(params);
        tokens = Tensor<int, 2>(B, S);
        Random random(2);
        for (auto& t : elements(tokens))
            t = static_cast<int>(random.below(32));
        std::vector<Index> last;
        for (Index b = 0; b < B; ++b)
            for (Index s = S - answer; s < S; ++s)
                last.push_back(b * S + s);
        targets = tokens;  // any will do
        mask = zeros<float>(B, S);
        for (const Index p : last)
            mask.data()[p] = 1;
        if (!counted) return;
        Tensor<int, 2> some(Index{1}, static_cast<Index>(last.size()));
        for (std::size_t r = 0; r < last.size(); ++r)
            some.data()[r] = targets.data()[last[r]];
        targets = some;
        mask = zeros<float>(1, targets.size());
        fill(mask, 1.0F);
        wanted = std::move(last);
    }

    void step() {
        auto forward = decoder_forward(tokens, params, config, backend, {}, wanted);
        loss = static_cast<double>(cross_entropy_forward(forward.logits, targets, mask).loss);
        const auto d_logits = cross_entropy_backward(1.0F, forward.logits, targets, mask).d_logits;
        auto grads = decoder_backward(d_logits, tokens, params, config, backend, {}, forward.saved, wanted);
        clip_gradients(grads, 1.0);
        adamw_step(params, grads, state, {.beta2 = .98, .weight_decay = 0}, 1e-3);
    }
};

double answer(Work& work, const std::string& request) {
    if (request == "loss") return work.loss;
    if (request == "memory") return bench::peak_mebibytes();
    require<ValueError>(request == "step", "training_worker: request: got '", request,
                        "', expected step, loss or memory");
    return bench::seconds([&] { work.step(); });
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 12) {
        std::fputs(
            "usage: mta_training_worker all|counted BATCH LENGTH ANSWER WIDTH LAYERS HEADS HIDDEN CQ CK "
            "THREADS\n",
            stderr);
        return 2;
    }
#if defined(__GLIBC__)
    mallopt(M_MMAP_MAX, 0);  // as train-block-search does: memory of a step is used by the next
    mallopt(M_TRIM_THRESHOLD, -1);
#endif
    const auto numbers = bench::numbers_of(argc, argv, 2);
#if defined(_OPENMP)
    omp_set_num_threads(static_cast<int>(numbers[9]));
#endif
    const bool counted = std::string(argv[1]) == "counted";
    return bench::serve(
        "mta_training_worker", [&] { return Work(counted, numbers); }, answer);
}
