// Training a decoder: one update after another, each a function of configuration and step alone.
// SPDX-License-Identifier: MIT
//
// Source   The training of arXiv:2504.00927, Sec. 4: next-token cross-entropy on the counted tokens, global-norm
//          clipping, AdamW.
// Step n   batch n of the task -> logits -> loss -> gradients -> clip -> AdamW at learning_rate(schedule, n), n from 0.
//          Dropout is keyed by (dropout_seed, n).
// Units    loss: nats per counted token; gradient norm: before clipping.
// Promise  with the library's backends the bits after n steps depend on configuration and thread count alone, not on
//          how often the run was saved and resumed.
// Errors   ValueError: a configuration that cannot work, a model whose vocabulary is not the task's. TrainingError: a
//          loss or gradient norm that is not finite; the step then changed nothing.
#pragma once

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <mta/models/decoder.hpp>
#include <mta/optim/adamw.hpp>
#include <mta/optim/clip_gradients.hpp>
#include <mta/optim/schedule.hpp>
#include <mta/tasks/answer_errors.hpp>
#include <mta/train/checkpoint.hpp>
#include <mta/train/decoder_json.hpp>
#include <mta/train/metrics_log.hpp>
#include <mta/train/training_config.hpp>
#include <stdexcept>
#include <utility>

namespace mta::train {

/// Training cannot go on.
struct TrainingError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

/// What can be trained on: batches {tokens, targets, mask} (B, S), each a pure function of the first sample's index.
template <class T>
concept TrainingTask = requires(const T& task) {
    { task.vocabulary() } -> std::convertible_to<Index>;
    { task.config_json() } -> std::convertible_to<Json>;
    { task.training_batch(std::int64_t{}, Index{}).tokens } -> TensorOf<2>;
    { task.training_batch(std::int64_t{}, Index{}).targets } -> TensorOf<2>;
    { task.training_batch(std::int64_t{}, Index{}).mask } -> TensorOf<2>;
    { task.test_batch(std::int64_t{}, Index{}).tokens } -> TensorOf<2>;
};

/// What one update computed.
struct StepReport {
    double loss = 0, learning_rate = 0, gradient_norm = 0;
};

namespace detail {

inline void require_finite(std::int64_t step, std::string_view what, double value) {
    require<TrainingError>(std::isfinite(value), "training: step ", step, ": got the ", what, " ", value,
                           ", expected a finite number; the step changed nothing");
}

}  // namespace detail

/// One update of the parameters and the optimizer's state, after `completed` of them, on batch {tokens, targets, mask}.
template <class Scalar, class Backend, class Batch>
StepReport train_step(const Batch& batch, DecoderParams<Scalar>& params,
                      AdamWState<DecoderParams<Scalar>>& state, const DecoderConfig& model,
                      const TrainingConfig& training, const Backend& backend, std::int64_t completed) {
    const AttentionCall call{.documents = {},
                             .seed = training.dropout_seed,
                             .step = static_cast<std::uint64_t>(completed),
                             .training = true};
    StepReport report;
    auto forward = decoder_forward(batch.tokens, params, model, backend, call);
    report.loss = static_cast<double>(
        backend.dense.cross_entropy_forward(forward.logits, batch.targets, batch.mask).loss);
    detail::require_finite(completed + 1, "loss", report.loss);
    const auto d_logits =
        backend.dense.cross_entropy_backward(Scalar(1), forward.logits, batch.targets, batch.mask).d_logits;
    auto grads = decoder_backward(d_logits, batch.tokens, params, model, backend, call, forward.saved);
    report.gradient_norm = training.clip ? clip_gradients(grads, *training.clip, training.groups)
                                         : global_norm(grads, training.groups);
    detail::require_finite(completed + 1, "gradient norm", report.gradient_norm);
    report.learning_rate = learning_rate(training.schedule, completed);
    adamw_step(params, grads, state, training.adamw, report.learning_rate, training.groups);
    return report;
}

/// The state of a run and what moves it.
template <class Scalar, class Backend, TrainingTask Task>
class Trainer {
  public:
    using Params = DecoderParams<Scalar>;

    Trainer(DecoderConfig model, TrainingConfig training, Task task, Backend backend = {})
        : model_{std::move(model)},
          training_{std::move(training)},
          task_{std::move(task)},
          backend_{std::move(backend)} {
        check_config(training_);
        check_config(model_);
        require<ValueError>(model_.vocabulary == task_.vocabulary(), "training: vocabulary: got a model of ",
                            model_.vocabulary, " tokens, expected the task's ", task_.vocabulary());
        params_ = initial_decoder_params<Scalar>(model_, training_.model_seed, training_.kernel_init);
        state_ = make_adamw_state(params_);
        check_rules(training_.groups, params_);
    }

    /// Everything that decides the numbers, as checkpoint and config.json hold it.
    Json config() const {
        return {{"task", task_.config_json()},
                {"model", to_json(model_)},
                {"training", to_json(training_)},
                {"precision", std::is_same_v<Scalar, double> ? "float64" : "float32"}};
    }
    const DecoderConfig& model() const { return model_; }
    const TrainingConfig& training() const { return training_; }
    const Params& params() const { return params_; }
    const AdamWState<Params>& state() const { return state_; }
    std::int64_t step_count() const { return progress_.step; }
    bool finished() const { return progress_.step >= training_.steps; }
    /// Tokens that go through the model in one step.
    Index tokens_per_step() const { return tokens_per_step_; }

    /// One update.
    StepReport step() {
        const auto batch = task_.training_batch(progress_.next_sample, training_.batch);
        const auto report = train_step(batch, params_, state_, model_, training_, backend_, progress_.step);
        tokens_per_step_ = batch.tokens.size();
        progress_.step += 1;
        progress_.next_sample += training_.batch;
        return report;
    }

    /// Errors on the first validation_samples of the test split, without dropout, as fractions: of the counted tokens,
    /// and of the answers, which are wrong when any of their tokens is. Every token is predicted from the right ones.
    NamedNumbers validate() const {
        AnswerErrors errors;
        for (Index first = 0; first < training_.validation_samples; first += training_.batch) {
            const Index count = std::min(training_.batch, training_.validation_samples - first);
            const auto batch = task_.test_batch(first, count);
            const auto logits = decoder_logits(batch.tokens, params_, model_, backend_);
            errors += answer_errors(logits, batch.targets, batch.mask);
        }
        return {{"token_error", errors.token_error()}, {"sequence_error", errors.sequence_error()}};
    }

    void save(const std::filesystem::path& path) const {
        save_checkpoint(path, config(), progress_, params_, state_);
    }

    /// Takes the state of a checkpoint of the same configuration. Throws FileError, and changes nothing, for another.
    void load(const Checkpoint& checkpoint) {
        require_config(checkpoint, config());
        load_checkpoint(checkpoint, params_, state_);
        progress_ = checkpoint.progress;
    }

  private:
    DecoderConfig model_;
    TrainingConfig training_;
    Task task_;
    Backend backend_;
    Params params_;
    AdamWState<Params> state_;
    TrainingProgress progress_;
    Index tokens_per_step_ = 0;
};

}  // namespace mta::train
