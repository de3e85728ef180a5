// Prompts, their continuations, and whether they are right.
// SPDX-License-Identifier: MIT
#include "answers.hpp"

#include <cstdio>
#include <mta/fast/attention_cache.hpp>
#include <mta/fast/dense_backend.hpp>
#include <mta/models/generation.hpp>

#include "../support/trained_model.hpp"

namespace mta::program {

namespace {

// Prompts of one length; row n of them is row first_row + n of all.
struct PromptBatch {
    std::vector<std::string> prompts;
    std::uint64_t first_row = 0;
};

using Rows = std::vector<std::vector<std::int32_t>>;

struct Tally {
    Index prompts = 0, judged = 0, right = 0;
};

std::vector<PromptBatch> batches_of(const GenerateOptions& o, const BlockSearchConfig& task) {
    constexpr Index most_rows = 64;
    std::vector<PromptBatch> batches;
    for (std::size_t n = 0; n < o.prompts.size(); ++n)
        batches.push_back({{o.prompts[n]}, n});
    for (Index n = 0; o.prompts.empty() && n < o.samples; ++n) {
        if (n % most_rows == 0) batches.push_back({{}, static_cast<std::uint64_t>(n)});
        batches.back().prompts.push_back(
            prompt_of(block_search_sample(task, BlockSearchSplit::test, o.first + n)));
    }
    return batches;
}

// The tokens of the prompts, all checked before the first is continued.
std::vector<Tensor<std::int32_t, 2>> tokens_of(const std::vector<PromptBatch>& batches) {
    std::vector<Tensor<std::int32_t, 2>> all;
    for (const auto& batch : batches) {
        const auto B = static_cast<Index>(batch.prompts.size());
        const auto S = static_cast<Index>(batch.prompts.front().size()) + 1;
        Tensor<std::int32_t, 2> tokens(B, S);
        for (Index b = 0; b < B; ++b) {
            const auto row_tokens = prompt_tokens(batch.prompts[static_cast<std::size_t>(b)]);
            std::copy(row_tokens.begin(), row_tokens.end(), nth_row(tokens, b).begin());
        }
        all.push_back(std::move(tokens));
    }
    return all;
}

void print_answer(const std::string& prompt, const std::vector<std::int32_t>& made,
                  const BlockSearchConfig& task, Index count, Tally& tally) {
    std::printf("prompt        %s\ncontinuation  %s\n", prompt.c_str(), block_search_text(made).c_str());
    tally.prompts += 1;
    const auto answer = expected_answer(task, prompt);
    if (!answer) {
        std::printf("expected      nothing: not exactly one block holds a query after #\n\n");
        return;
    }
    auto expected = block_search_tokens(*answer);
    expected.push_back(block_search_token::eos);
    expected.resize(std::min(expected.size(), static_cast<std::size_t>(count)));
    const bool right = made == expected;
    tally.judged += 1;
    tally.right += right;
    std::printf("expected      %s  %s\n\n", block_search_text(expected).c_str(), right ? "right" : "WRONG");
}

template <class Session, class Scalar>
Tally answer_all(const GenerateOptions& o, const TrainedModel& trained, const DecoderParams<Scalar>& params) {
    const Index count = o.count.value_or(trained.task.answer_letters() + 1);
    const auto sampling = o.sampling();
    const auto batches = batches_of(o, trained.task);
    const auto tokens = tokens_of(batches);
    Tally tally;
    for (std::size_t n = 0; n < batches.size(); ++n) {
        const auto& prompts = batches[n].prompts;
        Session session(params, trained.model, static_cast<Index>(prompts.size()),
                        tokens[n].dimension(1) + count);
        const Rows rows = generate(session, tokens[n], count, sampling, o.seed.value_or(1),
                                   block_search_token::eos, batches[n].first_row);
        for (std::size_t b = 0; b < prompts.size(); ++b)
            print_answer(prompts[b], rows[b], trained.task, count, tally);
    }
    return tally;
}

template <class Scalar>
Tally answer_all(const GenerateOptions& o, const TrainedModel& trained) {
    const auto params = trained.params<Scalar>();
    if (o.reference) return answer_all<DecoderSession<Scalar>>(o, trained, params);
    return answer_all<DecoderSession<Scalar, AttentionCache<Scalar>, FastDense>>(o, trained, params);
}

std::string how(const SamplingConfig& s) {
    if (s.temperature == 0) return "greedy";
    return mta::detail::sentence("temperature ", s.temperature, ", top-k ", s.top_k, ", top-p ", s.top_p);
}

}  // namespace

void print_answers(const GenerateOptions& o) {
    const auto sampling = o.sampling();  // before the model is read: what was typed wrongly is said at once
    const auto trained = read_trained_model(o.checkpoint);
    const Tally tally =
        trained.double_precision ? answer_all<double>(o, trained) : answer_all<float>(o, trained);
    std::printf("%td prompts, %td of %td right; %s; %s, step %lld\n", tally.prompts, tally.right,
                tally.judged, how(sampling).c_str(), trained.checkpoint.source.c_str(),
                static_cast<long long>(trained.checkpoint.progress.step));
}

}  // namespace mta::program
