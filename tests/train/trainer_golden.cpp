// Fifty updates of a decoder against the same fifty by PyTorch in float64: losses, norms, rates, final weights.
// SPDX-License-Identifier: MIT
#include <mta/train/trainer.hpp>

#include <doctest/doctest.h>

#include <mta/fast/dense_backend.hpp>
#include <mta/fast/multi_token_attention.hpp>

#include "support/checks.hpp"
#include "support/golden.hpp"

namespace mta_test_trainer_golden {
using namespace mta;
using namespace mta::test;
using namespace mta::train;

namespace {
struct Batch {
    Tensor<std::int32_t, 2> tokens, targets;
    Tensor<double, 2> mask;
};

// Slice n of a (updates, B, S) tensor.
Tensor<double, 2> slice(const Tensor<double, 3>& all, Index n) {
    Tensor<double, 2> one(all.dimension(1), all.dimension(2));
    std::copy_n(all.data() + n * one.size(), one.size(), one.data());
    return one;
}

// The configuration that the fixture's script states.
DecoderConfig model() {
    MultiTokenAttentionConfig stages;
    stages.pre = {.query_kernel = 2, .key_kernel = 3, .key_padding = KeyPadding::both, .mix_group = 2};
    stages.post = {.query_kernel = 3, .key_kernel = 5, .key_padding = KeyPadding::both, .mix_group = 2};
    stages.norm = RmsNormFactor::one;
    stages.gate = GateKind::scalar;
    return with_multi_token_attention({.vocabulary = 32, .width = 16, .layers = 2, .heads = 2, .hidden = 24},
                                      stages, std::vector<Index>{1});
}

TrainingConfig training() {
    TrainingConfig t;
    t.schedule = {.kind = ScheduleKind::linear, .peak = 0.01, .warmup = 5, .total = 50};
    t.adamw = {.beta1 = 0.9, .beta2 = 0.98, .eps = 1e-8, .weight_decay = 0.05};
    t.clip = 1;
    return t;
}

// The script refuses a run in which rounding every initial weight once moves a loss by more than 1e-11; 1e-9 leaves
// room for the roundings of every step. Weights: the same bound, relative to the largest of a tensor.
template <class Backend>
void check_run(const Backend& backend) {
    const Golden golden("train/decoder_training");
    auto params = make_decoder_params<double>(model());
    DecoderParams<double>::for_each(
        [&](std::string_view name, auto& p) {
            p = golden.tensor<rank_of<decltype(p)>>("initial." + std::string(name));
        },
        params);
    auto state = make_adamw_state(params);
    const auto tokens = golden.tensor<3>("tokens"), targets = golden.tensor<3>("targets");
    const auto mask = golden.tensor<3>("mask");
    const auto losses = golden.tensor<1>("losses"), norms = golden.tensor<1>("norms");
    const auto rates = golden.tensor<1>("learning_rates");
    REQUIRE(losses.size() == 50);
    for (Index n = 0; n < losses.size(); ++n) {
        const Batch batch{cast<std::int32_t>(slice(tokens, n)), cast<std::int32_t>(slice(targets, n)),
                          slice(mask, n)};
        const auto report = train_step(batch, params, state, model(), training(), backend, n);
        CHECK_MESSAGE(std::abs(report.loss - losses(n)) <= 1e-9 * losses(n), "loss of update ", n);
        CHECK_MESSAGE(std::abs(report.gradient_norm - norms(n)) <= 1e-9 * norms(n), "norm of update ", n);
        CHECK(std::abs(report.learning_rate - rates(n)) <= 1e-15);
    }
    DecoderParams<double>::for_each(
        [&](std::string_view name, const auto& p) {
            check_agrees(name, p, golden.tensor<rank_of<decltype(p)>>("final." + std::string(name)), 1e-9);
        },
        params);
}
}  // namespace

TEST_CASE("independent values: fifty updates by the reference") {
    check_run(DecoderBackend<Reference, ReferenceDense>{});
}

TEST_CASE("independent values: fifty updates by the fast twins") {
    check_run(DecoderBackend<Fast, FastDense>{});
}

}  // namespace mta_test_trainer_golden
