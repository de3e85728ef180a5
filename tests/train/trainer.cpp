// Tests of train/trainer.hpp: one update, overfitting, freezing, what stops a run. PyTorch's run: trainer_golden.cpp.
// SPDX-License-Identifier: MIT
#include <mta/train/trainer.hpp>

#include <doctest/doctest.h>

#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "support/checks.hpp"
#include "support/threads.hpp"
#include "tiny_trainer.hpp"
#include "train_support.hpp"

namespace mta_test_trainer {
using namespace mta;
using namespace mta::test;
using namespace mta::train;

namespace {
using Backend = DecoderBackend<Reference, ReferenceDense>;
using Params = DecoderParams<double>;

struct State {
    DecoderConfig model = tiny_model();
    TrainingConfig training = tiny_training(100);
    Params params;
    AdamWState<Params> state;
    BlockSearchBatch batch = BlockSearchTask(tiny_task()).training_batch(3, 2);

    State() {
        model.attention[0].dropout = 0;
        params = initial_decoder_params<double>(model, 5);
        state = make_adamw_state(params);
    }
    StepReport step(std::int64_t completed) {
        return train_step(batch, params, state, model, training, Backend{}, completed);
    }
};

// Notes which test samples are asked for.
struct RecordingTask : BlockSearchTask {
    std::shared_ptr<std::vector<std::pair<std::int64_t, Index>>> asked =
        std::make_shared<std::vector<std::pair<std::int64_t, Index>>>();

    RecordingTask() : BlockSearchTask(tiny_task()) {}
    BlockSearchBatch test_batch(std::int64_t first, Index count) const {
        asked->emplace_back(first, count);
        return BlockSearchTask::test_batch(first, count);
    }
};
}  // namespace

TEST_CASE("independent values: a step is forward, loss, backward, clip and AdamW, one after another") {
    State s;
    s.model.attention[0].dropout = 0.5;
    auto params = s.params;
    auto state = s.state;
    const auto report = s.step(4);
    const AttentionCall call{.documents = {}, .seed = 42, .step = 4, .training = true};
    const auto forward = decoder_forward(s.batch.tokens, params, s.model, Backend{}, call);
    CHECK(report.loss == cross_entropy_forward(forward.logits, s.batch.targets, s.batch.mask).loss);
    const auto d_logits = cross_entropy_backward(1.0, forward.logits, s.batch.targets, s.batch.mask).d_logits;
    auto grads = decoder_backward(d_logits, s.batch.tokens, params, s.model, Backend{}, call, forward.saved);
    CHECK(report.gradient_norm == global_norm(grads));
    CHECK(report.gradient_norm > 1);  // so that clipping acts
    clip_gradients(grads, 1);
    CHECK(report.learning_rate == doctest::Approx(0.01 * (1 - 2.0 / 98)));
    adamw_step(params, grads, state, s.training.adamw, report.learning_rate);
    CHECK(same_bits(s.params, params));
    CHECK(same_bits(s.state.second, state.second));
    CHECK(s.state.steps == state.steps);
}

TEST_CASE("properties: one batch is learnt by heart") {
    State s;
    s.training.schedule = {.kind = ScheduleKind::constant, .peak = 0.02};
    s.training.adamw.weight_decay = 0;
    double loss = 0;
    for (std::int64_t n = 0; n < 150; ++n)
        loss = s.step(n).loss;
    CHECK(loss < 0.01);
    const auto logits = decoder_logits(s.batch.tokens, s.params, s.model, Backend{});
    CHECK(answer_errors(logits, s.batch.targets, s.batch.mask).token_errors == 0);
}

TEST_CASE("properties: frozen tensors keep their bits, moments and counts, and are left out of the norm") {
    State s, free;
    s.training.groups.rules = {{"layers.0.feed_forward.*", std::nullopt, std::nullopt, true}};
    const auto before = s.params;
    CHECK(s.step(0).gradient_norm < free.step(0).gradient_norm);
    s.step(1), s.step(2);
    int frozen = 0, moved = 0;
    std::size_t at = 0;
    Params::for_each(
        [&](std::string_view name, const auto& now, const auto& then, const auto& first) {
            const bool rule = name.find("feed_forward") != name.npos;
            const auto holds = [](const check::Comparison& c) { return static_cast<bool>(c); };
            CHECK_MESSAGE(holds(check::compare_bits(name, now, then)) == rule, name);
            CHECK_MESSAGE(holds(check::compare_bits(name, first, zeros_like(first))) == rule, name);
            CHECK((s.state.steps[at++] == 0) == rule);
            (rule ? frozen : moved) += 1;
        },
        s.params, before, s.state.first);
    CHECK(frozen == 3);
    CHECK(moved > 5);
}

TEST_CASE("properties: batch n follows batch n - 1, and dropout is keyed by seed and step") {
    auto trainer = tiny_trainer(6);
    const auto task = BlockSearchTask(tiny_task());
    auto params = initial_decoder_params<float>(tiny_model(), 42);
    auto state = make_adamw_state(params);
    const DecoderBackend<Fast, FastDense> backend;
    for (std::int64_t n = 0; n < 4; ++n) {
        const auto got = trainer.step();
        const auto want = train_step(task.training_batch(2 * n, 2), params, state, tiny_model(),
                                     tiny_training(6), backend, n);
        CHECK(got.loss == want.loss);
    }
    CHECK(trainer.step_count() == 4);
    CHECK(trainer.tokens_per_step() == 2 * (sequence_length(tiny_task()) - 1));
    CHECK(same_bits(trainer.params(), params));
    auto training = tiny_training(6);
    training.dropout_seed = 43;
    FastTrainer other(tiny_model(), training, task);
    CHECK(other.step().loss != tiny_trainer(6).step().loss);
}

TEST_CASE("properties: validation draws no dropout, counts its samples, and the last batch is what is left") {
    auto trainer = tiny_trainer(6);
    trainer.step(), trainer.step();
    AnswerErrors errors;
    const auto batch = BlockSearchTask(tiny_task()).test_batch(0, 5);
    const auto logits =
        decoder_logits(batch.tokens, trainer.params(), tiny_model(), DecoderBackend<Fast, FastDense>{});
    errors += answer_errors(logits, batch.targets, batch.mask);
    const auto got = trainer.validate();
    CHECK(errors.sequences == 5);
    CHECK(got ==
          NamedNumbers{{"token_error", errors.token_error()}, {"sequence_error", errors.sequence_error()}});
    CHECK(trainer.validate() == got);
    RecordingTask task;
    const auto asked = task.asked;
    Trainer<float, DecoderBackend<Fast, FastDense>, RecordingTask>(tiny_model(), tiny_training(6), task)
        .validate();
    CHECK(*asked == std::vector<std::pair<std::int64_t, Index>>{{0, 2}, {2, 2}, {4, 1}});
}

TEST_CASE("properties: the bits of the reference do not depend on the number of threads") {
    State once;
    once.step(3);
    at_thread_counts([&] {
        State again;
        again.step(3);
        CHECK(same_bits(again.params, once.params));
    });
}

TEST_CASE("errors: a loss or gradient norm that is not finite stops the step before it changes anything") {
    State s;
    s.params.norm.weight(0) = std::numeric_limits<double>::quiet_NaN();
    const auto before = s.params;
    CHECK(sentence_of<TrainingError>([&] { s.step(11); }) ==
          "training: step 12: got the loss nan, expected a finite number; the step changed nothing");
    CHECK(same_bits(s.params, before));
    State steep;
    // Every loss is finite; squares of the gradients are not.
    for (auto& x : elements(steep.params.layers[0].feed_forward.w2.weight))
        x *= 1e-200;
    for (auto& x : elements(steep.params.layers[0].feed_forward.w3.weight))
        x *= 1e200;
    const auto steep_before = steep.params;
    CHECK(sentence_of<TrainingError>([&] { steep.step(0); }) ==
          "training: step 1: got the gradient norm inf, expected a finite number; the step changed nothing");
    CHECK(same_bits(steep.params, steep_before));
    CHECK(steep.state.steps == std::vector<std::int64_t>(steep.state.steps.size(), 0));
}

TEST_CASE("errors: a vocabulary that is not the task's, rules without a parameter, a bad model") {
    const auto refused = [](auto&& change) {
        auto model = tiny_model();
        auto training = tiny_training(6);
        change(model, training);
        return sentence_of<ArgumentError>(
            [&] { FastTrainer(model, training, BlockSearchTask(tiny_task())); });
    };
    CHECK(refused([](auto& m, auto&) { m.vocabulary = 40; }) ==
          "training: vocabulary: got a model of 40 tokens, expected the task's 32");
    check_contains(refused([](auto&, auto& t) {
                       t.groups.rules = {{"*.kernels", 0.0, std::nullopt, std::nullopt}};
                   }),
                   "*.kernels");
    CHECK(refused([](auto& m, auto&) { m.width = 0; }).starts_with("decoder: width: got 0"));
    CHECK(refused([](auto&, auto& t) { t.batch = 0; }) == "training: batch: got 0, expected at least 1");
}

}  // namespace mta_test_trainer
