// Wanted positions: the logits there, and the gradients, are those of the whole pass.
// SPDX-License-Identifier: MIT
#include <mta/fast/dense_backend.hpp>
#include <mta/fast/multi_token_attention.hpp>
#include <mta/models/decoder.hpp>

#include "models/decoder_cases.hpp"
#include "support/checks.hpp"

namespace mta_test_decoder_wanted_positions {
using namespace mta;
using namespace mta::test;

namespace {

// In two batch rows of eight: the first, a few in between, the last.
const std::vector<Index> some_positions{0, 3, 4, 9, 15};

// The case with cotangents at these positions only.
DecoderCase<double> masked_case(const NamedDecoder& named, const std::vector<Index>& wanted) {
    auto c = random_decoder(named.config, 2, 8, named.call);
    c.d_logits = mta::detail::scatter_tokens(mta::detail::gather_tokens(c.d_logits, wanted), wanted, 2, 8);
    return c;
}

template <class Backend>
void check_wanted(const DecoderCase<double>& c, const std::vector<Index>& wanted, const Backend& backend,
                  double bound) {
    const auto some = decoder_forward(c.tokens, c.params, c.config, backend, c.call, wanted);
    check_agrees("logits", some.logits, mta::detail::gather_tokens(c.forward(backend).logits, wanted), bound);
    check_same_bits("logits alone", decoder_logits(c.tokens, c.params, c.config, backend, c.call, wanted),
                    some.logits);
    const auto grads = decoder_backward(mta::detail::gather_tokens(c.d_logits, wanted), c.tokens, c.params,
                                        c.config, backend, c.call, some.saved, wanted);
    const auto whole = c.backward(backend);
    DecoderParams<double>::for_each([&](std::string_view name, const auto& got,
                                        const auto& want) { check_agrees(name, got, want, bound); },
                                    grads, whole);
}

}  // namespace

TEST_CASE("decoder: logits and gradients at wanted positions are those of the whole pass, to the bit") {
    for (const auto& named : golden_decoders()) {
        CAPTURE(named.name);
        for (const auto& wanted : {some_positions, {Index{7}}, {Index{8}, Index{9}}}) {
            auto c = masked_case(named, wanted);
            check_wanted(c, wanted, DecoderBackend{}, 0);
            c.config.checkpoint_activations = true;
            check_wanted(c, wanted, DecoderBackend{}, 0);
        }
    }
}

TEST_CASE("decoder: the fast backends agree at wanted positions") {
    for (const auto& named : golden_decoders()) {
        CAPTURE(named.name);
        // Rows stand elsewhere in blocks of products: sums of some dozen terms in another order.
        check_wanted(masked_case(named, some_positions), some_positions, DecoderBackend{Fast{}, FastDense{}},
                     1e-12);
    }
}

TEST_CASE("decoder: wanted positions that are not ascending positions of tokens are refused") {
    const auto c = random_decoder(plain_decoder(), 2, 8);
    const auto sentence = [&](const std::vector<Index>& wanted) {
        try {
            decoder_logits(c.tokens, c.params, c.config, DecoderBackend{}, c.call, wanted);
        } catch (const ValueError& error) {
            return std::string(error.what());
        }
        return std::string();
    };
    CHECK(sentence({16}) ==
          "decoder: wanted[0]: got 16, expected ascending positions from 0 to below the 16 tokens");
    CHECK(sentence({-1}) ==
          "decoder: wanted[0]: got -1, expected ascending positions from 0 to below the 16 tokens");
    CHECK(sentence({2, 2}) ==
          "decoder: wanted[1]: got 2, expected ascending positions from 3 to below the 16 tokens");
    const auto saved = c.forward().saved;
    CHECK_THROWS_WITH_AS(decoder_backward(zeros<double>(1, 5, 11), c.tokens, c.params, c.config,
                                          DecoderBackend{}, c.call, saved, some_positions),
                         "decoder: saved.inputs: got shape [2, 8, 8], expected shape [1, 5, 8]", ShapeError);
}

}  // namespace mta_test_decoder_wanted_positions
