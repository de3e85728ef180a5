// Decoding with a session: the logits of the whole pass, however the tokens come, and generated rows that stand alone.
// SPDX-License-Identifier: MIT
#include <cmath>
#include <mta/fast/attention_cache.hpp>
#include <mta/fast/dense_backend.hpp>
#include <mta/models/generation.hpp>

#include "support/checks.hpp"
#include "support/random_tensor.hpp"
#include "support/threads.hpp"

namespace mta_test_generation {
using namespace mta;
using namespace mta::test;

namespace {

using Rows = std::vector<std::vector<std::int32_t>>;

template <class Scalar>
using FastSession = DecoderSession<Scalar, AttentionCache<Scalar>, FastDense>;

DecoderConfig sizes() {
    return {.vocabulary = 11, .width = 8, .layers = 3, .heads = 4, .kv_heads = 2, .hidden = 10};
}

// Standard; everything, convolutions in two layers; untied with other heads, exact mask and sparsemax.
std::vector<DecoderConfig> configs() {
    MultiTokenAttentionConfig stages;
    stages.pre = {3, 3, KeyPadding::both, 2};
    stages.post = {2, 4, KeyPadding::left, 4};
    stages.norm = RmsNormFactor::depth;
    stages.gate = GateKind::vector;
    auto other = sizes();
    other.tied_embeddings = false;
    other.kv_heads.reset();
    other.head_dim = 4;
    auto exact = stages;
    exact.mask = MaskRule::exact;
    exact.normalise = Normalise::sparsemax;
    exact.gate = GateKind::scalar;
    return {standard_decoder(sizes()), with_multi_token_attention(sizes(), stages, std::vector<Index>{0, 2}),
            with_multi_token_attention(other, exact)};
}

// Far from initial values everywhere.
template <class Scalar = double>
DecoderParams<Scalar> random_params(const DecoderConfig& config, std::uint64_t seed = 1) {
    auto params = make_decoder_params<double>(config);
    Random random(seed, 0xdec0de);
    DecoderParams<double>::for_each([&](std::string_view, auto& p) { fill_normal(p, random, 0.4); }, params);
    return cast_params<Scalar>(params);
}

Tensor<std::int32_t, 2> random_tokens(Index B, Index S, std::uint64_t seed = 3) {
    Tensor<std::int32_t, 2> tokens(B, S);
    Random random(seed);
    for (auto& t : elements(tokens))
        t = static_cast<std::int32_t>(random.below(11));
    return tokens;
}

// Elements [begin, begin + n) of the second axis.
template <AnyTensor T>
TensorLike<T> positions(const T& t, Index begin, Index n) {
    auto extents = t.dimensions();
    const Index S = extents[1];
    extents[1] = n;
    TensorLike<T> part(extents);
    const Index width = rank_of<T> == 3 ? extents[rank_of<T> - 1] : 1;
    for (Index b = 0; b < extents[0]; ++b)
        std::copy_n(t.data() + (b * S + begin) * width, n * width, part.data() + b * n * width);
    return part;
}

// Calls check(logits, want) for the chunks of these lengths and then token by token.
template <class Session, class Scalar, class Check>
void decode(Session& session, const Tensor<std::int32_t, 2>& tokens, const Tensor<Scalar, 3>& want,
            const std::vector<Index>& chunks, Check&& check) {
    const Index S = tokens.dimension(1);
    auto next = chunks.begin();
    for (Index begin = 0, n = 0; begin < S; begin += n) {
        n = next == chunks.end() ? 1 : *next++;
        CHECK(session.length() == begin);
        check(session.extend(positions(tokens, begin, n)), positions(want, begin, n));
    }
}

const std::vector<std::vector<Index>> ways{{}, {13}, {4, 1, 3, 2}, {11}};

template <class Scalar>
void check_reference_bits() {
    for (const auto& config : configs()) {
        const auto params = random_params<Scalar>(config);
        const auto tokens = random_tokens(2, 13);
        const auto want = decoder_logits(tokens, params, config);
        DecoderSession<Scalar> session(params, config, 2, 13);
        for (const auto& chunks : ways) {
            session.clear();
            decode(session, tokens, want, chunks,
                   [](const auto& got, const auto& w) { check_same_bits("logits", got, w); });
            CHECK(session.length() == 13);
        }
    }
}

// A model of one layer without attention or feed-forward: the logits are those of the token itself.
struct CountingModel {
    DecoderConfig config = standard_decoder(
        {.vocabulary = 5, .width = 6, .layers = 1, .heads = 1, .hidden = 1, .tied_embeddings = false});
    DecoderParams<double> params = make_decoder_params<double>(config);

    // Token t is followed by t + 1, and 4 by 0.
    CountingModel() {
        for (Index t = 0; t < 5; ++t) {
            params.tok_embeddings.weight(t, t) = 1;
            params.output->weight((t + 1) % 5, t) = 9;
        }
        fill(params.norm.weight, 1.0);
    }
};

Tensor<std::int32_t, 2> prompt_of(const Rows& rows) {
    Tensor<std::int32_t, 2> prompt(static_cast<Index>(rows.size()), static_cast<Index>(rows[0].size()));
    for (std::size_t b = 0; b < rows.size(); ++b)
        std::copy(rows[b].begin(), rows[b].end(), nth_row(prompt, static_cast<Index>(b)).begin());
    return prompt;
}

constexpr SamplingConfig greedy{.temperature = 0};

}  // namespace

TEST_CASE("hand values: a model that counts is continued by counting, until the stop token") {
    const CountingModel m;
    DecoderSession<double> session(m.params, m.config, 2, 8);
    CHECK(generate(session, prompt_of({{0, 1}, {3, 3}}), 4, greedy, 0) == Rows{{2, 3, 4, 0}, {4, 0, 1, 2}});
    CHECK(session.length() == 5);
    session.clear();
    CHECK(generate(session, prompt_of({{0, 1}, {3, 3}}), 4, greedy, 0, 4) == Rows{{2, 3, 4}, {4}});
    // Two rows read, then the two tokens after which the first row was still going on.
    CHECK(session.length() == 4);
    // What was generated last goes before what follows.
    CHECK(generate(session, prompt_of({{4}, {2}}), 2, greedy, 0) == Rows{{0, 1}, {3, 4}});
}

TEST_CASE("independent values: greedy tokens are the argmax of whole passes") {
    for (const auto& config : configs()) {
        const auto params = random_params(config);
        auto tokens = random_tokens(2, 3);
        DecoderSession<double> session(params, config, 2, 9);
        const auto made = generate(session, tokens, 7, greedy, 0);
        for (std::size_t n = 0; n < 7; ++n) {
            const Index S = tokens.dimension(1);
            const auto logits = decoder_logits(tokens, params, config);
            Tensor<std::int32_t, 2> longer(2, S + 1);
            for (Index b = 0; b < 2; ++b) {
                const auto z = row(logits, b, S - 1);
                const auto best = static_cast<std::int32_t>(std::max_element(z.begin(), z.end()) - z.begin());
                CHECK(made[static_cast<std::size_t>(b)][n] == best);
                std::copy_n(&tokens(b, 0), S, &longer(b, 0));
                longer(b, S) = best;
            }
            tokens = longer;
        }
    }
}

TEST_CASE("independent values: the fast cache and products agree with the whole pass") {
    // 4e-13 per attention layer as in the tests of Fast, three layers, and products of at most 10 terms between them,
    // each amplified some tenfold by a norm.
    for (const auto& config : configs()) {
        const auto params = random_params(config);
        const auto tokens = random_tokens(2, 13);
        const auto want = decoder_logits(tokens, params, config);
        FastSession<double> session(params, config, 2, 13);
        for (const auto& chunks : ways) {
            session.clear();
            decode(session, tokens, want, chunks,
                   [](const auto& got, const auto& w) { check_agrees("logits", got, w, 4e-12); });
        }
    }
}

TEST_CASE("edge shapes: a batch of one, a capacity of one, tokens of another integer type") {
    const auto config = configs()[1];
    const auto params = random_params(config);
    DecoderSession<double> session(params, config, 1, 1);
    const auto tokens = random_tokens(1, 1);
    check_same_bits("logits", session.extend(cast<std::int64_t>(tokens)),
                    decoder_logits(tokens, params, config));
    session.clear();
    CHECK(generate(session, tokens, 1, {}, 7).at(0).size() == 1);
    CHECK(session.length() == 1);
}

TEST_CASE("properties: the reference session has the bits of the whole pass, however tokens come") {
    check_reference_bits<double>();
    check_reference_bits<float>();
}

TEST_CASE("properties: the last token's logits alone are those of all") {
    for (const auto& config : configs()) {
        const auto params = random_params(config);
        const auto tokens = random_tokens(3, 6);
        DecoderSession<double> one(params, config, 3, 6), all(params, config, 3, 6);
        const auto logits = positions(all.extend(tokens), 5, 1);
        const auto last = one.extend_last(tokens);
        check_same_bits("logits", last, Tensor<double, 2>(ConstTensorView<double, 2>(logits.data(), 3, 11)));
    }
}

TEST_CASE("properties: a row's tokens depend on its number and prompt, not on the rows beside it") {
    const auto config = configs()[1];
    const auto params = random_params(config);
    const auto prompt = random_tokens(4, 5);
    const SamplingConfig sampling{.temperature = 1.5, .top_p = 0.95};
    DecoderSession<double> together(params, config, 4, 30), alone(params, config, 1, 30);
    const auto rows = generate(together, prompt, 24, sampling, 42, 6, 10);
    CHECK(rows[0] != rows[1]);
    for (std::size_t b = 0; b < 4; ++b) {
        const auto at = static_cast<Index>(b);
        Tensor<std::int32_t, 2> own(1, 5);
        std::copy_n(&prompt(at, 0), 5, own.data());
        alone.clear();
        CHECK(generate(alone, own, 24, sampling, 42, 6, 10 + b).at(0) == rows[b]);
    }
    together.clear();
    CHECK(generate(together, prompt, 24, sampling, 43, 6, 10) != rows);
}

TEST_CASE("properties: every row of one seed has its own numbers, of every seed too") {
    const auto config = configs()[0];
    const auto params = random_params(config);
    DecoderSession<double> session(params, config, 3, 40);
    // Equal prompts: only the streams differ.
    const auto rows = generate(session, prompt_of({{1, 2}, {1, 2}, {1, 2}}), 30, {}, 1);
    CHECK(rows[0] != rows[1]);
    CHECK(rows[1] != rows[2]);
    CHECK(sampling_stream(0) != sampling_stream(1));
}

TEST_CASE("properties: bits do not depend on the number of threads") {
    const auto config = configs()[2];
    const auto params = random_params(config);
    const auto tokens = random_tokens(2, 9);
    const auto run = [&] {
        DecoderSession<double> session(params, config, 2, 9);
        return session.extend(tokens);
    };
    const auto want = run();
    at_thread_counts([&] { check_same_bits("logits", run(), want); });
}

TEST_CASE("errors: the session stays as it was") {
    const auto config = configs()[1];
    const auto params = random_params(config);
    const auto tokens = random_tokens(2, 6);
    DecoderSession<double> session(params, config, 2, 6);
    session.extend(positions(tokens, 0, 4));
    CHECK_THROWS_WITH_AS(session.extend(random_tokens(2, 3)),
                         "DecoderSession: tokens: got 3 after 4, expected at most the capacity, 6, together",
                         ShapeError);
    CHECK_THROWS_WITH_AS(session.extend(random_tokens(1, 1)),
                         "DecoderSession: batch of tokens: got 1, expected 2", ShapeError);
    CHECK_THROWS_WITH_AS(session.extend(random_tokens(2, 0)),
                         "DecoderSession: tokens: got none, expected at least 1 per row", ShapeError);
    CHECK_THROWS_AS(session.extend(prompt_of({{11}, {0}})), ValueError);
    CHECK_THROWS_AS(session.extend(prompt_of({{0}, {-1}})), ValueError);
    CHECK_THROWS_WITH_AS(generate(session, random_tokens(2, 1), 3, greedy, 0),
                         "generate: count: got 3 tokens after a prompt of 1 and 4 before it, expected all "
                         "but the last within the capacity, 6",
                         ShapeError);
    CHECK_THROWS_WITH_AS(generate(session, random_tokens(2, 1), 0, greedy, 0),
                         "generate: count: got 0 tokens, expected at least 1", ValueError);
    CHECK_THROWS_AS(generate(session, random_tokens(2, 1), 1, {.top_p = 2}, 0), ValueError);
    CHECK(session.length() == 4);
    check_same_bits("logits", session.extend(positions(tokens, 4, 2)),
                    positions(decoder_logits(tokens, params, config), 4, 2));
}

TEST_CASE("errors: a session that cannot work, logits that are no numbers") {
    auto config = configs()[1];
    auto params = random_params(config);
    using Session = DecoderSession<double>;
    CHECK_THROWS_WITH_AS(Session(params, config, 0, 4), "DecoderSession: batch: got 0, expected at least 1",
                         ShapeError);
    CHECK_THROWS_WITH_AS(Session(params, config, 1, 0),
                         "DecoderSession: capacity: got 0, expected at least 1", ShapeError);
    CHECK_THROWS_AS(Session(params, configs()[0], 1, 4), ShapeError);
    static_assert(!std::is_constructible_v<Session, DecoderParams<double>, DecoderConfig, Index, Index>);
    params.tok_embeddings.weight(7, 3) = std::nan("");
    Session session(params, config, 1, 4);
    CHECK_THROWS_AS(generate(session, prompt_of({{7}}), 1, greedy, 0), ValueError);
}
}  // namespace mta_test_generation
