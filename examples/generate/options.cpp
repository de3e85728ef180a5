// The options of generate.
// SPDX-License-Identifier: MIT
#include "options.hpp"

namespace mta::program {

SamplingConfig GenerateOptions::sampling() const {
    const bool draws = temperature || top_k || top_p;
    const SamplingConfig config{.temperature = temperature.value_or(draws ? 1 : 0),
                                .top_k = top_k.value_or(0),
                                .top_p = top_p.value_or(1)};
    check_config(config);
    require<ValueError>(draws || !seed,
                        "--seed: got one for greedy answers, expected --temperature, --top-k or --top-p");
    return config;
}

void add_options(CLI::App& app, GenerateOptions& o) {
    app.add_option("--checkpoint", o.checkpoint, "checkpoint of train-block-search, or its run's folder")
        ->required();
    auto* prompt =
        app.add_option("--prompt", o.prompts, "text to continue, such as abcde.fghij#ag; several times")
            ->take_all();
    app.add_option("--samples", o.samples, "test samples of the checkpoint's task, without --prompt [8]")
        ->check(CLI::Range(1, 1000000))
        ->excludes(prompt);
    app.add_option("--first", o.first, "number of the first of them [0]")
        ->check(CLI::Range(std::int64_t{0}, (std::int64_t{1} << 40) - 1000000))
        ->excludes(prompt);
    app.add_option("--count", o.count, "tokens to write at most [the answer and its end]")
        ->check(CLI::Range(1, 65536));
    auto* greedy = app.add_flag("--greedy", o.greedy, "always the likeliest token: the default");
    app.add_option("--temperature", o.temperature, "draw tokens: below 1 surer, above 1 bolder")
        ->excludes(greedy);
    app.add_option("--top-k", o.top_k, "draw among so many of the likeliest tokens; 0: all")
        ->excludes(greedy);
    app.add_option("--top-p", o.top_p, "draw among the likeliest tokens of this share together")
        ->excludes(greedy);
    app.add_option("--seed", o.seed, "of the draws [1]");
    app.add_flag("--reference", o.reference, "the reference implementation: slow");
}

}  // namespace mta::program
