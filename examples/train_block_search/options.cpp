// The options of train-block-search, and the configurations that are made of them.
// SPDX-License-Identifier: MIT
#include "options.hpp"

#include "../support/enum_options.hpp"
#include "../support/precision.hpp"

#include <algorithm>
#include <mta/train/block_search_task.hpp>
#include <mta/train/decoder_json.hpp>

#include "presets.hpp"

namespace mta::program {

namespace {

const Preset& preset_of(const Options& o) {
    for (const auto& preset : presets)
        if (preset.name == o.preset) return preset;
    throw ValueError("--preset: got " + o.preset + ", expected laptop or paper");
}

void add_task_options(CLI::App& app, Options& o) {
    auto* group = app.add_option_group("task", "what is searched for");
    const auto add = [&](auto&&... arguments) {
        o.configuration.push_back(group->add_option(std::forward<decltype(arguments)>(arguments)...));
        return group->get_options().back();
    };
    add("--variant", o.variant, "answer with all letters of the block, its first, or its last [all]")
        ->check(CLI::IsMember(names_of<BlockSearchVariant>()));
    add("--letters", o.letters, "letters of a block, N");
    add("--query-letters", o.query_letters, "letters of the query, L < N");
    auto* blocks = add("--blocks", o.blocks, "blocks of a text");
    add("--length", o.length, "characters of a text, its answer included, in place of --blocks")
        ->excludes(blocks);
}

void add_model_options(CLI::App& app, Options& o) {
    auto* group = app.add_option_group("model");
    const auto add = [&](auto&&... arguments) {
        o.configuration.push_back(group->add_option(std::forward<decltype(arguments)>(arguments)...));
        return group->get_options().back();
    };
    add("--attention", o.attention, "mta: multi-token attention; standard: the same model without it [mta]")
        ->check(CLI::IsMember(std::vector<std::string>{"mta", "standard"}));
    add("--layers", o.layers, "blocks of the decoder");
    add("--heads", o.heads, "heads of each");
    add("--width", o.width, "of the residual stream");
    add("--hidden", o.hidden, "of the feed-forward blocks");
    add("--query-kernel", o.query_kernel, "queries that a score sees");
    add("--key-kernel", o.key_kernel, "keys that a score sees [2 N - 1]");
    add("--mix-group", o.mix_group, "heads that are mixed with each other; 0: none [0]");
    o.configuration.push_back(group->add_flag(
        "--post", o.post, "convolve and mix after the softmax too, with a kernel of its own"));
    add("--norm", o.norm, "of each head's output [none]")
        ->check(CLI::IsMember(names_of<RmsNormFactor>({"none"})));
    add("--gate", o.gate, "on each head's output [none]")->check(CLI::IsMember(names_of<GateKind>({"none"})));
    add("--kernel-init", o.kernel_init, "what kernels and mixes start from [identity]")
        ->check(CLI::IsMember(names_of<KernelInit>()));
    add("--dropout", o.dropout, "probability, on attention weights");
    o.configuration.push_back(group->add_flag("--double", o.double_precision,
                                              "double precision and the reference implementation: slow"));
}

void add_training_options(CLI::App& app, Options& o) {
    auto* group = app.add_option_group("training");
    const auto add = [&](auto&&... arguments) {
        o.configuration.push_back(group->add_option(std::forward<decltype(arguments)>(arguments)...));
        return group->get_options().back();
    };
    add("--preset", o.preset, "where all other numbers come from [laptop]")
        ->check(CLI::IsMember(std::vector<std::string>{"laptop", "paper"}));
    add("--batch", o.batch, "texts per step");
    add("--steps", o.steps, "updates of the whole run");
    add("--lr", o.lr, "largest learning rate");
    add("--schedule", o.schedule, "of the learning rate")->check(CLI::IsMember(names_of<ScheduleKind>()));
    add("--warmup", o.warmup, "steps until the learning rate is reached");
    add("--decay-fraction", o.decay_fraction, "part of the steps in which hold_then_linear falls");
    add("--min-ratio", o.min_ratio, "learning rate at the end, as a part of --lr");
    add("--beta2", o.beta2, "AdamW's decay of the second moment");
    add("--weight-decay", o.weight_decay, "AdamW's");
    add("--clip", o.clip, "largest gradient norm; 0: any");
    add("--seed", o.seed, "of everything that has no seed of its own [42]");
    add("--model-seed", o.model_seed, "of the initial weights");
    add("--data-seed", o.data_seed, "of the texts");
    add("--dropout-seed", o.dropout_seed, "of dropout");
    add("--validate-every", o.validate_every, "steps between validations; 0: only at the end");
    add("--validation-samples", o.validation_samples, "texts of a validation [1024]");
}

MultiTokenAttentionConfig stages_of(const Options& o, const Preset& preset) {
    MultiTokenAttentionConfig stages;
    stages.dropout = o.dropout.value_or(preset.dropout);
    const bool typed = o.query_kernel || o.key_kernel || o.mix_group != 0 || o.post || o.norm != "none" ||
                       o.gate != "none" || o.kernel_init != "identity";
    require<ValueError>(
        o.attention == "mta" || !typed,
        "--attention standard: got options of kernels, mixes, norm or gate beside it, expected "
        "--attention mta");
    if (o.attention == "standard") return stages;
    stages.pre.query_kernel = o.query_kernel.value_or(preset.query_kernel);
    stages.pre.key_kernel = o.key_kernel.value_or(2 * o.letters.value_or(preset.letters) - 1);
    stages.pre.mix_group = o.mix_group;
    if (o.post) stages.post = stages.pre;
    if (o.norm != "none") stages.norm = named<RmsNormFactor>("--norm", o.norm);
    if (o.gate != "none") stages.gate = named<GateKind>("--gate", o.gate);
    return stages;
}

BlockSearchConfig task_of(const Options& o, const Preset& preset) {
    BlockSearchConfig task;
    task.variant = named<BlockSearchVariant>("--variant", o.variant);
    task.letters = o.letters.value_or(preset.letters);
    task.query_letters = o.query_letters.value_or(preset.query_letters);
    task.blocks = o.blocks.value_or(preset.blocks);
    if (!o.blocks) task.total_length = o.length ? o.length : preset.length;
    task.seed = o.data_seed.value_or(o.seed);
    check_config(task);
    return task;
}

// An option that does nothing would be believed to do something.
void require_effect(const Options& o, ScheduleKind kind) {
    const auto refuse = [&](bool typed, std::string_view name, std::string_view expected) {
        require<ValueError>(!typed, name, ": got it beside a schedule that it has no effect on, expected ",
                            expected);
    };
    if (kind == ScheduleKind::constant)
        refuse(
            o.warmup.has_value(), "--warmup",
            "another schedule; --schedule hold_then_linear --decay-fraction 0 is constant after a warm-up");
    if (kind == ScheduleKind::constant)
        refuse(o.min_ratio.has_value(), "--min-ratio", "a schedule that falls");
    if (kind != ScheduleKind::hold_then_linear)
        refuse(o.decay_fraction.has_value(), "--decay-fraction", "--schedule hold_then_linear");
}

train::TrainingConfig training_of(const Options& o, const Preset& preset) {
    train::TrainingConfig t;
    t.steps = o.steps.value_or(preset.steps);
    t.batch = o.batch.value_or(preset.batch);
    const auto kind = o.schedule ? named<ScheduleKind>("--schedule", *o.schedule) : preset.schedule;
    // A short run has a short warm-up, unless one is typed.
    const auto warmup = kind == ScheduleKind::constant ? 0 : std::min(preset.warmup, t.steps / 10);
    t.schedule = {.kind = kind,
                  .peak = o.lr.value_or(preset.lr),
                  .warmup = o.warmup.value_or(warmup),
                  .total = t.steps,
                  .min_ratio = o.min_ratio.value_or(preset.min_ratio),
                  .decay_fraction = o.decay_fraction.value_or(preset.decay_fraction)};
    require_effect(o, kind);
    t.adamw.beta2 = o.beta2.value_or(preset.beta2);
    t.adamw.weight_decay = o.weight_decay.value_or(preset.weight_decay);
    const double clip = o.clip.value_or(preset.clip);
    if (clip != 0) t.clip = clip;
    t.kernel_init = named<KernelInit>("--kernel-init", o.kernel_init);
    t.model_seed = o.model_seed.value_or(o.seed);
    t.dropout_seed = o.dropout_seed.value_or(o.seed);
    t.validate_every = o.validate_every.value_or(preset.validate_every);
    t.validation_samples = o.validation_samples;
    check_config(t);
    return t;
}

}  // namespace

void add_options(CLI::App& app, Options& o) {
    // A script's options may be followed by others: the last one counts.
    app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
    app.add_option("--run", o.run, "folder of the run; made when missing")->required();
    app.add_flag(
        "--resume", o.resume,
        "go on with the folder's own configuration. Without it the options must be those of the run");
    app.add_option("--seconds", o.seconds,
                   "save and stop after so many seconds of training, all sessions counted");
    app.add_option("--checkpoint-every", o.checkpoint_every, "steps between checkpoints");
    app.add_option("--threads", o.threads, "threads; bits repeat at the same number [all cores]")
        ->check(CLI::Range(1, 1024));
    app.add_flag("--quiet", o.quiet, "print nothing but errors");
    add_training_options(app, o);
    add_task_options(app, o);
    add_model_options(app, o);
}

RunConfig run_config_of(const Options& o) {
    const Preset& preset = preset_of(o);
    const DecoderConfig sizes{.vocabulary = block_search_token::vocabulary,
                              .width = o.width.value_or(preset.width),
                              .layers = o.layers.value_or(preset.layers),
                              .heads = o.heads.value_or(preset.heads),
                              .hidden = o.hidden.value_or(preset.hidden)};
    return {task_of(o, preset), with_multi_token_attention(sizes, stages_of(o, preset)),
            training_of(o, preset), o.double_precision};
}

RunConfig stored_run_config(const Options& o, const train::Json& stored, const std::string& where) {
    for (const auto* option : o.configuration)
        require<ValueError>(option->count() == 0, "--resume: got ", option->get_name(),
                            " beside it, expected none: the run's own configuration is taken");
    const auto member = [&](const std::string& key) {
        const auto found = stored.find(key);
        require<io::FileError>(found != stored.end(), where, ": got no ", key,
                               ", expected the configuration of a run");
        return *found;
    };
    try {
        RunConfig config{train::from_json<BlockSearchConfig>(member("task"), where + ": task"),
                         train::decoder_config_of(member("model"), where + ": model"),
                         train::from_json<train::TrainingConfig>(member("training"), where + ": training"),
                         is_double_precision(member("precision"), where + ": precision")};
        check_config(config.task);
        check_config(config.model);
        check_config(config.training);
        return config;
    } catch (const ArgumentError& impossible) {  // the file's fault, not the command line's
        throw io::FileError(where + ": " + impossible.what());
    }
}

train::SessionOptions session_of(const Options& o) {
    train::SessionOptions session;
    session.checkpoint_every = o.checkpoint_every.value_or(preset_of(o).checkpoint_every);
    if (o.seconds) session.seconds = *o.seconds;
    train::check_options(session);
    return session;
}

}  // namespace mta::program
