// The decoder: which bits depend on what, checkpoints, backends, packed documents, dropout, float.
// SPDX-License-Identifier: MIT
#include <algorithm>
#include <mta/fast/multi_token_attention.hpp>
#include <mta/models/decoder.hpp>

#include "models/decoder_cases.hpp"
#include "support/checks.hpp"
#include "support/tensors.hpp"
#include "support/threads.hpp"

namespace mta_test_decoder_properties {
using namespace mta;
using namespace mta::test;

namespace {

void check_same_params(const DecoderParams<double>& got, const DecoderParams<double>& want) {
    DecoderParams<double>::for_each(
        [](std::string_view name, const auto& g, const auto& w) { check_same_bits(name, g, w); }, got, want);
}

AttentionCall training_call(std::uint64_t step) {
    AttentionCall call;
    call.seed = 5;
    call.step = step;
    call.training = true;
    return call;
}

DecoderConfig with_dropout(DecoderConfig config, double p) {
    for (auto& attention : config.attention)
        attention.dropout = p;
    return config;
}

// Tokens begin ... end - 1 of every row.
Tensor<std::int64_t, 2> columns(const Tensor<std::int64_t, 2>& tokens, Index begin, Index end) {
    Tensor<std::int64_t, 2> some(tokens.dimension(0), end - begin);
    for (Index b = 0; b < tokens.dimension(0); ++b)
        std::copy_n(&tokens(b, begin), end - begin, &some(b, 0));
    return some;
}

// Rows begin ... end - 1 along the sequence.
Tensor<double, 3> positions(const Tensor<double, 3>& logits, Index begin, Index end) {
    Tensor<double, 3> some(logits.dimension(0), end - begin, logits.dimension(2));
    for (Index b = 0; b < logits.dimension(0); ++b)
        std::copy_n(&logits(b, begin, 0), (end - begin) * logits.dimension(2), &some(b, 0, 0));
    return some;
}

}  // namespace

TEST_CASE("decoder: logits before a changed token keep their bits") {
    for (const auto& named : golden_decoders()) {
        CAPTURE(named.name);
        const auto c = random_decoder(named.config, 2, 8, named.call);
        const auto logits = c.forward().logits;
        for (const Index t : {1, 4, 7}) {
            auto tokens = c.tokens;
            tokens(1, t) = (tokens(1, t) + 1) % c.config.vocabulary;
            const auto changed = decoder_logits(tokens, c.params, c.config, DecoderBackend{}, c.call);
            check_same_bits("before", positions(changed, 0, t), positions(logits, 0, t));
            check_same_bits("the other row", batch_row(changed, 0), batch_row(logits, 0));
            CHECK_FALSE(check::compare_bits("at", positions(changed, t, t + 1), positions(logits, t, t + 1)));
        }
    }
}

TEST_CASE("decoder: a prefix, a batch row and any number of threads give the same bits") {
    for (const auto& named : golden_decoders()) {
        CAPTURE(named.name);
        const auto c = random_decoder(named.config, 3, 8, named.call);
        const auto logits = c.forward().logits;
        const auto prefix =
            decoder_logits(columns(c.tokens, 0, 5), c.params, c.config, DecoderBackend{}, c.call);
        check_same_bits("prefix", prefix, positions(logits, 0, 5));
        for (Index b = 0; b < 3; ++b)
            check_same_bits(
                "row", decoder_logits(batch_row(c.tokens, b), c.params, c.config, DecoderBackend{}, c.call),
                batch_row(logits, b));
        const auto g = c.backward();
        at_thread_counts([&] {
            check_same_bits("logits", c.forward().logits, logits);
            check_same_params(c.backward(), g);
        });
    }
}

TEST_CASE("decoder: logits alone are those of forward") {
    const auto c = random_decoder(with_dropout(mta_decoder(), 0.3), 2, 6, training_call(2));
    check_same_bits("logits", decoder_logits(c.tokens, c.params, c.config, DecoderBackend{}, c.call),
                    c.forward().logits);
    Tensor<std::uint8_t, 2> bytes(c.tokens.dimensions());
    for (Index n = 0; n < bytes.size(); ++n)
        bytes.data()[n] = static_cast<std::uint8_t>(c.tokens.data()[n]);
    check_same_bits("tokens as bytes", decoder_logits(bytes, c.params, c.config, DecoderBackend{}, c.call),
                    c.forward().logits);
}

TEST_CASE("decoder: checkpointing keeps inputs only and gives the same bits") {
    for (const auto& named : golden_decoders()) {
        CAPTURE(named.name);
        auto call = training_call(9);
        call.documents = named.call.documents;
        const auto c = random_decoder(with_dropout(named.config, 0.25), 2, 7, call);
        auto lean = c;
        lean.config.checkpoint_activations = true;
        const auto kept = c.forward(), few = lean.forward();
        check_same_bits("logits", few.logits, kept.logits);
        CHECK(kept.saved.layers.size() == c.params.layers.size());
        CHECK(few.saved.layers.empty());
        CHECK(few.saved.inputs.size() == c.params.layers.size() + 1);
        check_same_params(lean.backward(), c.backward());
        check_same_params(lean.backward(DecoderBackend{Fast{}}), c.backward(DecoderBackend{Fast{}}));
    }
}

TEST_CASE("decoder: dropout follows step, seed and layer, and acts in training only") {
    const auto without = tiny_decoders()[1].config;
    const auto config = with_dropout(without, 0.5);
    const auto c = random_decoder(config, 1, 8, training_call(1));
    const auto logits = [&](const AttentionCall& call) {
        return decoder_logits(c.tokens, c.params, config, DecoderBackend{}, call);
    };
    check_same_bits("same step", logits(training_call(1)), logits(training_call(1)));
    CHECK_FALSE(check::compare_bits("steps", logits(training_call(1)), logits(training_call(2))));
    auto other_seed = training_call(1);
    other_seed.seed = 6;
    CHECK_FALSE(check::compare_bits("seeds", logits(training_call(1)), logits(other_seed)));
    AttentionCall quiet = training_call(1);
    quiet.training = false;
    check_same_bits("not training", logits(quiet), decoder_logits(c.tokens, c.params, without));

    const auto saved = c.forward().saved;
    const auto dropped = [&](std::size_t layer) {  // where a visible weight became 0
        std::vector<bool> zero;
        everywhere(*saved.layers[layer].attention.dropout, [&](Index b, Index h, Index i, Index j) {
            if (j <= i) zero.push_back((*saved.layers[layer].attention.dropout)(b, h, i, j) == 0);
        });
        return zero;
    };
    CHECK(dropped(0) != dropped(1));
    const auto exact = check::complex_step_gradients(c.d_logits, c.params, [&](const auto& params) {
        return decoder_logits(c.tokens, params, config, DecoderBackend{}, c.call);
    });
    const auto g = c.backward();
    DecoderParams<double>::for_each(
        [](std::string_view name, const auto& d, const auto& e) { check_agrees(name, d, e, 1e-12); }, g,
        exact);
}

TEST_CASE("decoder: Fast and Reference agree") {
    for (const auto& named : golden_decoders()) {
        CAPTURE(named.name);
        auto call = training_call(4);
        call.documents = named.call.documents;
        const auto c = random_decoder(with_dropout(named.config, 0.2), 2, 19, call);
        // Attention agrees to 1e-13 of a tensor's maximum; three layers of products may carry it tenfold.
        const DecoderBackend fast{Fast{}};
        check_agrees("logits", c.forward(fast).logits, c.forward().logits, 1e-12);
        const auto got = c.backward(fast), want = c.backward();
        DecoderParams<double>::for_each(
            [](std::string_view name, const auto& g, const auto& w) { check_agrees(name, g, w, 1e-12); }, got,
            want);
    }
}

TEST_CASE("decoder: packed documents see nothing of each other") {
    // Positions run on through a row, and rotary scores depend on differences only: equal to rounding.
    const auto c = random_decoder(mta_decoder(), 2, 9);
    AttentionCall packed;
    packed.documents = Documents(std::vector<Index>{0, 4});
    const auto logits = decoder_logits(c.tokens, c.params, c.config, DecoderBackend{}, packed);
    check_same_bits("first", positions(logits, 0, 4),
                    decoder_logits(columns(c.tokens, 0, 4), c.params, c.config));
    check_agrees("second", positions(logits, 4, 9),
                 decoder_logits(columns(c.tokens, 4, 9), c.params, c.config), 1e-13);
}

TEST_CASE("decoder: float agrees with double") {
    for (const auto& named : golden_decoders()) {
        CAPTURE(named.name);
        const auto narrow = random_decoder<float>(named.config, 2, 7, named.call);
        auto wide = random_decoder<double>(named.config, 2, 7, named.call);
        wide.params = cast_params<double>(narrow.params);
        wide.d_logits = cast<double>(narrow.d_logits);
        // A few hundred roundings of 6e-8 in a chain of three layers, each softmax and norm at most doubling them.
        check_agrees("logits", narrow.forward().logits, wide.forward().logits, 1e-5);
        check_agrees("logits of Fast", narrow.forward(DecoderBackend{Fast{}}).logits, wide.forward().logits,
                     1e-5);
        const auto got = cast_params<double>(narrow.backward());
        const auto want = wide.backward();
        DecoderParams<double>::for_each(
            [](std::string_view name, const auto& g, const auto& w) { check_agrees(name, g, w, 1e-4); }, got,
            want);
    }
}

TEST_CASE("decoder: identity kernels and mixes are the standard decoder, bit for bit") {
    const auto plain =
        standard_decoder({.vocabulary = 9, .width = 16, .layers = 2, .heads = 4, .hidden = 14});
    auto stages = every_stage();
    stages.norm.reset();
    stages.gate.reset();
    const auto mta = with_multi_token_attention(plain, stages);
    const auto tokens = random_tokens(2, 7, 9, 3);
    check_same_bits("logits", decoder_logits(tokens, initial_decoder_params<double>(mta, 4), mta),
                    decoder_logits(tokens, initial_decoder_params<double>(plain, 4), plain));
}
}  // namespace mta_test_decoder_properties
