// One block: hand values, an independent implementation, complex step, its two halves, backends.
// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>
#include <mta/fast/multi_token_attention.hpp>
#include <mta/models/decoder_layer.hpp>

#include "models/decoder_cases.hpp"
#include "support/checks.hpp"
#include "support/tensors.hpp"

namespace mta_test_decoder_layer {
using namespace mta;
using namespace mta::test;

namespace {

using Params = DecoderLayerParams<double>;

void check_layer_params(const Params& got, const Params& want, double relative) {
    Params::for_each(
        [&](std::string_view name, const auto& g, const auto& w) { check_agrees(name, g, w, relative); }, got,
        want);
}

template <class Scalar>
Tensor<Scalar, 3> out_of(const Tensor<Scalar, 3>& x, const DecoderLayerParams<Scalar>& params,
                         const DecoderConfig& config, Index layer, const AttentionCall& call = {}) {
    return decoder_layer_forward(x, params, config, layer, DecoderBackend{}, call).out;
}

// Tokens begin ... end - 1 of one row.
template <AnyTensor T>
TensorLike<T> tokens_of(const T& x, Index begin, Index end) {
    constexpr int axis = rank_of<T> - 2;
    auto offsets = x.dimensions(), extents = x.dimensions();
    offsets.fill(0);
    offsets[axis] = begin;
    extents[axis] = end - begin;
    return x.slice(offsets, extents);
}

// Width 2, one head, one hidden unit, eps 0, norm weights 1.
struct HandBlock {
    DecoderConfig config =
        standard_decoder({.vocabulary = 1, .width = 2, .layers = 1, .heads = 1, .hidden = 1, .norm_eps = 0});
    Params params = make_decoder_params<double>(config).layers[0];

    HandBlock() {
        params.attention_norm.weight = vector_of({1, 1});
        params.ffn_norm.weight = vector_of({1, 1});
    }
    Tensor<double, 3> operator()(const Tensor<double, 3>& x) const { return out_of(x, params, config, 0); }
};

}  // namespace

TEST_CASE("decoder_layer: hand values of one token") {
    // x = (2, 2): n = (1, 1), v = (3, 7), and one key has weight 1. wo v = (6, -1 + 7) = (6, 6): h = (8, 8), u = (1, 1).
    // gate = ln 3: silu = 3/4 ln 3; up = 2: t = 3/2 ln 3; w2 = (2, -4): out = (8 + 3 ln 3, 8 - 6 ln 3).
    HandBlock block;
    block.params.attention.wv.weight = matrix_of(2, {1, 2, 3, 4});
    block.params.attention.wo.weight = matrix_of(2, {2, 0, -1.0 / 3, 1});
    block.params.feed_forward.w1.weight = matrix_of(1, {std::log(3.0), 0});
    block.params.feed_forward.w3.weight = matrix_of(1, {0, 2});
    block.params.feed_forward.w2.weight = matrix_of(2, {2, -4});
    const double ln3 = std::log(3.0);
    check_agrees("out", block(tensor_of({2, 2}, 1, 1, 2)), tensor_of({8 + 3 * ln3, 8 - 6 * ln3}, 1, 1, 2),
                 1e-15);
}

TEST_CASE("decoder_layer: hand values of positions") {
    // n = (1, 1) and (1, -1). q = (a, 0) and k = (0, a) for both; from query 1, key 0 stands one token behind, and the
    // first pair turns one radian per token: q.k = a^2 sin 1 there, 0 on the diagonal. With a^2 = ln 2 sqrt 2 / sin 1
    // the scores are (ln 2, 0) and the weights (2/3, 1/3). Values are not turned: (2, 0) and (0, 2).
    HandBlock block;
    const double a = std::sqrt(std::log(2.0) * std::sqrt(2.0) / std::sin(1.0));
    block.params.attention.wq.weight = matrix_of(2, {a, 0, 0, 0});
    block.params.attention.wk.weight = matrix_of(2, {0, 0, a, 0});
    block.params.attention.wv.weight = matrix_of(2, {1, 1, 1, -1});
    block.params.attention.wo.weight = matrix_of(2, {1, 0, 0, 1});
    const auto out = block(tensor_of({1, 1, 1, -1}, 1, 2, 2));
    check_agrees("out", out, tensor_of({3, 1, 1 + 4.0 / 3, -1 + 2.0 / 3}, 1, 2, 2), 1e-15);
}

TEST_CASE("decoder_layer: without wo and w2 the input passes, bit for bit") {
    auto c = random_decoder(mta_decoder(), 1, 1);
    auto& params = c.params.layers[1];
    fill(params.attention.wo.weight, 0);
    fill(params.feed_forward.w2.weight, 0);
    const auto x = random_tensor(3, 2, 6, 16);
    check_same_bits("out", out_of(x, params, c.config, 1), x);
}

TEST_CASE("decoder_layer: independent values") {
    const Golden golden("models/decoder");
    for (const auto& named : golden_decoders()) {
        const auto c = golden_decoder(golden, named);
        const auto grads = golden_params(golden, named, "grads");
        for (Index l = 0; l < c.config.layers; ++l) {
            CAPTURE(named.name);
            CAPTURE(l);
            const auto stored = [&](const char* kind, Index at) {
                return golden.tensor<3>(named.name + kind + std::to_string(at));
            };
            const auto at = static_cast<std::size_t>(l);
            const auto check = [&](const auto& backend) {
                const auto x = stored(".x.", l);
                const auto r = decoder_layer_forward(x, c.params.layers[at], c.config, l, backend, c.call);
                check_agrees("out", r.out, stored(".x.", l + 1), 1e-12);
                const auto g = decoder_layer_backward(stored(".d_x.", l + 1), x, c.params.layers[at],
                                                      c.config, l, backend, c.call, r.saved);
                check_agrees("d_x", g.d_x, stored(".d_x.", l), 1e-12);
                check_layer_params(g.d_params, grads.layers[at], 1e-12);
            };
            check(DecoderBackend{});
            check(DecoderBackend{Fast{}});
        }
    }
}

TEST_CASE("decoder_layer: complex step, adjoint and differences") {
    for (const auto& named : tiny_decoders()) {
        CAPTURE(named.name);
        const auto c = random_decoder(named.config, 1, 1);
        const Index layer = 1;
        const auto& params = c.params.layers[layer];
        const auto x = random_tensor(21, 2, 5, c.config.width),
                   d_out = random_tensor(22, 2, 5, c.config.width);
        const auto r = decoder_layer_forward(x, params, c.config, layer, DecoderBackend{}, named.call);
        const auto g =
            decoder_layer_backward(d_out, x, params, c.config, layer, DecoderBackend{}, named.call, r.saved);
        check_gradient("d_x", d_out, x, g.d_x, [&]<class X>(const X& moved) {
            auto all = cast_params<ScalarOf<X>>(c.params);
            return out_of(moved, all.layers[layer], c.config, layer, named.call);
        });
        // Every parameter of the block, inside a decoder whose other parameters stay.
        auto z = cast_params<check::Complex>(c.params);
        const auto zx = cast<check::Complex>(x);
        Params::for_each(
            [&](std::string_view name, const auto& d, auto& member) {
                const auto keep = cast<double>(Tensor<double, rank_of<decltype(d)>>(member.real()));
                const auto exact = check::complex_step_gradient(d_out, keep, [&](const auto& p) {
                    member = p;
                    return out_of(zx, z.layers[layer], c.config, layer, named.call);
                });
                member = cast<check::Complex>(keep);
                check_agrees(name, d, exact, 1e-12);
            },
            g.d_params, z.layers[layer]);
    }
}

TEST_CASE("decoder_layer: edge shapes") {
    const auto c = random_decoder(tiny_decoders()[0].config, 1, 1);
    const auto& params = c.params.layers[1];
    for (const auto& [B, S] : {std::pair<Index, Index>{0, 3}, {2, 1}, {1, 2}}) {
        const auto x = random_tensor(5, B, S, 4), d_out = random_tensor(6, B, S, 4);
        const auto r = decoder_layer_forward(x, params, c.config, 1, DecoderBackend{}, {});
        const auto g = decoder_layer_backward(d_out, x, params, c.config, 1, DecoderBackend{}, {}, r.saved);
        CHECK(r.out.dimensions() == x.dimensions());
        CHECK(g.d_x.dimensions() == x.dimensions());
        if (B == 0) continue;
        check_agrees("d_x", g.d_x,
                     check::complex_step_gradient(
                         d_out, x,
                         [&](const auto& z) {
                             return out_of(z, cast_params<check::Complex>(c.params).layers[1], c.config, 1);
                         }),
                     1e-12);
    }
}

TEST_CASE("decoder_layer: halves work on later tokens alone, at their positions") {
    for (const auto& config : {mta_decoder(), grouped_decoder()}) {
        const auto c = random_decoder(config, 1, 1);
        const auto& params = c.params.layers[1];
        const auto x = random_tensor(8, 2, 7, config.width);
        const auto heads = decoder_heads(x, params, config);
        const auto late = decoder_heads(tokens_of(x, 4, 7), params, config, 4);
        check_same_bits("q", late.q, tokens_of(heads.q, 4, 7));
        check_same_bits("k", late.k, tokens_of(heads.k, 4, 7));
        check_same_bits("v", late.v, tokens_of(heads.v, 4, 7));
        Tensor<Index, 2> positions(2, 3);
        positions.setValues({{4, 5, 6}, {4, 5, 6}});
        check_same_bits("k", decoder_heads(tokens_of(x, 4, 7), params, config, positions).k, late.k);

        const auto attended = random_tensor(9, 2, config.heads, 7, config.head_width());
        const auto all = decoder_after_attention(x, attended, params, config);
        const auto part =
            decoder_after_attention(tokens_of(x, 4, 7), tokens_of(attended, 4, 7), params, config);
        check_same_bits("out", part.out, tokens_of(all.out, 4, 7));
    }
}

namespace {
// Counts calls and passes them on; the linear products are minus what they should be.
struct NegatedDense : ReferenceDense {
    static inline int linears = 0, norms = 0, swiglus = 0, rotaries = 0;
    template <AnyTensor X>
    static auto linear_forward(const X& x, const LinearParams<ScalarOf<X>>& params) {
        ++linears;
        auto out = ReferenceDense::linear_forward(x, params);
        for (auto& y : elements(out))
            y = -y;
        return out;
    }
    template <class... A>
    static auto rms_norm_forward(const A&... a) {
        ++norms;
        return ReferenceDense::rms_norm_forward(a...);
    }
    template <class... A>
    static auto swiglu_forward(const A&... a) {
        ++swiglus;
        return ReferenceDense::swiglu_forward(a...);
    }
    template <class... A>
    static auto rotary_forward(const A&... a) {
        ++rotaries;
        return ReferenceDense::rotary_forward(a...);
    }
};
}  // namespace

TEST_CASE("decoder_layer: everything but attention goes through the dense backend") {
    const auto c = random_decoder(mta_decoder(), 1, 1);
    const auto x = random_tensor(11, 1, 4, 16);
    const DecoderBackend<Reference, NegatedDense> negated;
    const auto got = decoder_layer_forward(x, c.params.layers[1], c.config, 1, negated, {}).out;
    CHECK(NegatedDense::linears == 7);
    CHECK(NegatedDense::norms == 2);
    CHECK(NegatedDense::swiglus == 1);
    CHECK(NegatedDense::rotaries == 2);
    // The same with every matrix negated.
    auto params = c.params.layers[1];
    for (auto* w : {&params.attention.wq, &params.attention.wk, &params.attention.wv, &params.attention.wo,
                    &params.feed_forward.w1, &params.feed_forward.w2, &params.feed_forward.w3})
        for (auto& y : elements(w->weight))
            y = -y;
    check_agrees("out", got, out_of(x, params, c.config, 1), 1e-14);
}

TEST_CASE("decoder_layer: errors are those of the operations") {
    const auto c = random_decoder(plain_decoder(), 1, 1);
    CHECK_THROWS_WITH_AS(out_of(random_tensor(1, 1, 3, 7), c.params.layers[0], c.config, 0),
                         "rms_norm: width of weight: got 8, expected 7", ShapeError);
    AttentionCall call;
    call.documents = Documents(std::vector<Index>{0, 3});
    CHECK_THROWS_WITH_AS(
        out_of(random_tensor(1, 1, 3, 8), c.params.layers[0], c.config, 0, call),
        "multi_token_attention: document starts: got [0, 3], expected all below the sequence length 3",
        ValueError);
}
}  // namespace mta_test_decoder_layer
