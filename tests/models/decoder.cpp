// The decoder: hand values, an independent implementation, complex step, edges, errors.
// SPDX-License-Identifier: MIT
#include <cmath>
#include <mta/fast/multi_token_attention.hpp>
#include <mta/models/decoder.hpp>
#include <mta/ops/cross_entropy.hpp>

#include "models/decoder_cases.hpp"
#include "support/checks.hpp"
#include "support/tensors.hpp"

namespace mta_test_decoder {
using namespace mta;
using namespace mta::test;

namespace {

void check_params(const DecoderParams<double>& got, const DecoderParams<double>& want, double relative) {
    DecoderParams<double>::for_each(
        [&](std::string_view name, const auto& g, const auto& w) { check_agrees(name, g, w, relative); }, got,
        want);
}

// One layer that adds nothing: wo and w2 are 0.
DecoderCase<double> idle_decoder(bool tied) {
    auto config = standard_decoder({.vocabulary = 3,
                                    .width = 2,
                                    .layers = 1,
                                    .heads = 1,
                                    .hidden = 4,
                                    .norm_eps = 0,
                                    .tied_embeddings = tied});
    auto c = random_decoder(config, 1, 2);
    fill(c.params.layers[0].attention.wo.weight, 0);
    fill(c.params.layers[0].feed_forward.w2.weight, 0);
    // Rows of root mean square 5, 13 and 5, over sqrt(2).
    c.params.tok_embeddings.weight = matrix_of(3, {3, 4, 5, 12, -4, 3});
    c.params.norm.weight = vector_of({2, 1});
    c.tokens.setValues({{1, 0}});
    return c;
}

}  // namespace

TEST_CASE("decoder: hand values") {
    // x = E[t]; its norm is x sqrt(2) / |x| times (2, 1): token 1: sqrt2 (10, 12)/13, token 0: sqrt2 (6, 4)/5.
    const double root = std::sqrt(2.0);
    const auto tied = idle_decoder(true);
    auto want = tensor_of({30 + 48., 50 + 144., -40 + 36., 0, 0, 0}, 1, 2, 3);
    for (Index v = 0; v < 3; ++v)
        want(0, 0, v) *= root / 13;
    want(0, 1, 0) = root / 5 * (18 + 16);
    want(0, 1, 1) = root / 5 * (30 + 48);
    want(0, 1, 2) = root / 5 * (-24 + 12);
    check_agrees("tied", tied.forward().logits, want, 1e-15);

    auto own = idle_decoder(false);
    own.params.output->weight = matrix_of(3, {1, 0, 0, 1, 1, 1});
    const auto logits = own.forward().logits;
    check_agrees(
        "untied", logits,
        tensor_of({root * 10 / 13, root * 12 / 13, root * 22 / 13, root * 6 / 5, root * 4 / 5, root * 10 / 5},
                  1, 2, 3),
        1e-15);
}

TEST_CASE("decoder: hand values of the gradients") {
    // The untied output: d_output[v] = sum over tokens of d_logits[v] RMS(x).
    auto own = idle_decoder(false);
    own.d_logits = tensor_of({1, 0, 0, 0, 0, 2}, 1, 2, 3);
    const double root = std::sqrt(2.0);
    const auto g = own.backward();
    check_agrees("d_output", g.output->weight,
                 matrix_of(3, {root * 10 / 13, root * 12 / 13, 0, 0, 2 * root * 6 / 5, 2 * root * 4 / 5}),
                 1e-15);
    // Token 2 does not occur: its row gets nothing but the projection's share, which an untied table has not.
    CHECK(g.tok_embeddings.weight(2, 0) == 0);
    CHECK(g.tok_embeddings.weight(1, 0) != 0);
    const auto tied = idle_decoder(true).backward();
    CHECK_FALSE(tied.output.has_value());
    CHECK(tied.tok_embeddings.weight(2, 0) != 0);
}

TEST_CASE("decoder: a tied table gets the sum of the gradients of both uses") {
    const auto tied = random_decoder(mta_decoder(), 2, 5);
    auto untied = tied;
    untied.config.tied_embeddings = false;
    untied.params.output = LinearParams<double>{tied.params.tok_embeddings.weight, std::nullopt};
    check_same_bits("logits", tied.forward().logits, untied.forward().logits);
    const auto one = tied.backward(), two = untied.backward();
    const Tensor<double, 2> sum = two.tok_embeddings.weight + two.output->weight;
    check_same_bits("d_tok_embeddings", one.tok_embeddings.weight, sum);
    check_same_bits("d_wq", one.layers[0].attention.wq.weight, two.layers[0].attention.wq.weight);
}

TEST_CASE("decoder: independent values") {
    const Golden golden("models/decoder");
    for (const auto& named : golden_decoders()) {
        CAPTURE(named.name);
        const auto c = golden_decoder(golden, named);
        const auto want = golden_params(golden, named, "grads");
        const auto want_logits = golden.tensor<3>(named.name + ".logits");
        // Two float64 implementations; the script refuses cases that one rounding moves by more than 1e-13.
        check_agrees("logits", c.forward().logits, want_logits, 1e-12);
        check_params(c.backward(), want, 1e-12);
        check_agrees("logits of Fast", c.forward(DecoderBackend{Fast{}}).logits, want_logits, 1e-12);
        check_params(c.backward(DecoderBackend{Fast{}}), want, 1e-12);
    }
}

TEST_CASE("decoder: independent values of the loss in training") {
    // The first batch of a run by PyTorch's own optimizer: loss and gradient norm before any update.
    const Golden golden("train/decoder_training");
    MultiTokenAttentionConfig stages;
    stages.pre = {2, 3, KeyPadding::both, 2};
    stages.post = {3, 5, KeyPadding::both, 2};
    stages.norm = RmsNormFactor::one;
    stages.gate = GateKind::scalar;
    const auto config = with_multi_token_attention(
        standard_decoder({.vocabulary = 32, .width = 16, .layers = 2, .heads = 2, .hidden = 24}), stages,
        std::vector<Index>{1});
    auto params = make_decoder_params<double>(config);
    DecoderParams<double>::for_each(
        [&](std::string_view name, auto& p) {
            p = golden.tensor<rank_of<decltype(p)>>("initial." + std::string(name));
        },
        params);
    const auto first = [&](const char* name) -> Tensor<double, 2> {
        return golden.tensor<3>(name).chip(0, 0);
    };
    const auto tokens = cast<std::int64_t>(first("tokens")), targets = cast<std::int64_t>(first("targets"));
    const auto mask = first("mask");
    const auto result = decoder_forward(tokens, params, config);
    const auto losses = golden.tensor<1>("losses"), norms = golden.tensor<1>("norms");
    const double loss = cross_entropy_forward(result.logits, targets, mask).loss;
    CHECK(std::abs(loss - losses(0)) <= 1e-13 * losses(0));
    const auto d_logits = cross_entropy_backward(1.0, result.logits, targets, mask).d_logits;
    const auto g = decoder_backward(d_logits, tokens, params, config, DecoderBackend{}, {}, result.saved);
    double square = 0;
    DecoderParams<double>::for_each(
        [&](std::string_view, const auto& d) {
            for (const double x : elements(d))
                square += x * x;
        },
        g);
    CHECK(std::abs(std::sqrt(square) - norms(0)) <= 1e-12 * norms(0));
}

TEST_CASE("decoder: complex step") {
    for (const auto& named : tiny_decoders()) {
        CAPTURE(named.name);
        const auto c = random_decoder(named.config, 2, 5, named.call, 3);
        const auto exact = check::complex_step_gradients(c.d_logits, c.params, [&](const auto& params) {
            return decoder_forward(c.tokens, params, c.config, DecoderBackend{}, c.call).logits;
        });
        // Both sides are right to some eps of the largest intermediate; through three layers terms cancel.
        check_params(c.backward(), exact, 1e-12);
    }
}

TEST_CASE("decoder: adjoint") {
    const auto c = random_decoder(mta_decoder(), 2, 6);
    const auto g = c.backward();
    // <d_logits, J u> = <d_E, u> along one direction of the tied table.
    check_adjoint("d_tok_embeddings", c.d_logits, c.params.tok_embeddings.weight, g.tok_embeddings.weight,
                  [&](const auto& table) {
                      auto params = cast_params<ScalarOf<decltype(table)>>(c.params);
                      params.tok_embeddings.weight = table;
                      return decoder_logits(c.tokens, params, c.config);
                  });
}

TEST_CASE("decoder: edge shapes") {
    for (const auto& named : tiny_decoders()) {
        CAPTURE(named.name);
        const auto nothing = random_decoder(named.config, 0, 4, named.call);
        CHECK(nothing.forward().logits.size() == 0);
        const auto g = nothing.backward();
        DecoderParams<double>::for_each(
            [](std::string_view name, const auto& d, const auto& p) {
                CHECK_MESSAGE(d.dimensions() == p.dimensions(), name);
                for (const double x : elements(d))
                    CHECK(x == 0);
            },
            g, nothing.params);
        for (const Index S : {1, 2}) {  // shorter than every kernel
            const auto c = random_decoder(named.config, 1, S);
            const auto exact = check::complex_step_gradient(
                c.d_logits, c.params.tok_embeddings.weight, [&](const auto& table) {
                    auto params = cast_params<check::Complex>(c.params);
                    params.tok_embeddings.weight = table;
                    return decoder_logits(c.tokens, params, c.config);
                });
            check_agrees("d_tok_embeddings", c.backward().tok_embeddings.weight, exact, 1e-12);
        }
    }
}

TEST_CASE("decoder: errors") {
    const auto c = random_decoder(plain_decoder(), 2, 3);
    auto tokens = c.tokens;
    tokens(1, 2) = 11;
    CHECK_THROWS_WITH_AS(decoder_logits(tokens, c.params, c.config),
                         "embedding: tokens[1, 2]: got 11, expected from 0 to below the 11 rows of weight",
                         ValueError);
    CHECK_THROWS_WITH_AS(decoder_forward(Tensor<std::int64_t, 2>(2, 0), c.params, c.config),
                         "decoder: tokens: got a sequence length of 0, expected at least 1", ShapeError);
    CHECK_THROWS_WITH_AS(decoder_forward(c.tokens, c.params, mta_decoder()),
                         "decoder: parameters: got 2 layers, expected 3", ShapeError);

    const auto result = c.forward();
    const auto backward = [&](const auto& d_logits, const DecoderConfig& config, const auto& saved) {
        return decoder_backward(d_logits, c.tokens, c.params, config, DecoderBackend{}, {}, saved);
    };
    CHECK_THROWS_WITH_AS(backward(zeros<double>(2, 3, 10), c.config, result.saved),
                         "decoder: d_logits: got shape [2, 3, 10], expected shape [2, 3, 11]", ShapeError);
    auto saved = result.saved;
    saved.inputs.pop_back();
    CHECK_THROWS_WITH_AS(backward(c.d_logits, c.config, saved),
                         "decoder: saved.inputs: got 2, expected 3 as decoder_forward saves", ShapeError);
    auto lean = c.config;
    lean.checkpoint_activations = true;
    CHECK_THROWS_WITH_AS(
        backward(c.d_logits, lean, result.saved),
        "decoder: saved.layers: got 2, expected 0 as decoder_forward saves for this configuration",
        ShapeError);
    CHECK_THROWS_WITH_AS(
        backward(c.d_logits, c.config, decoder_forward(c.tokens, c.params, lean).saved),
        "decoder: saved.layers: got 0, expected 2 as decoder_forward saves for this configuration",
        ShapeError);
    const auto shorter = random_decoder(plain_decoder(), 2, 2).forward();
    CHECK_THROWS_WITH_AS(backward(c.d_logits, c.config, shorter.saved),
                         "decoder: saved.inputs: got shape [2, 2, 8], expected shape [2, 3, 8]", ShapeError);
}
}  // namespace mta_test_decoder
