// Standard attention against the loop of a textbook, bit for bit; identity kernels change no bit of it.
// SPDX-License-Identifier: MIT
#include <cmath>
#include <mta/layers/initialisers.hpp>
#include <mta/layers/standard_attention.hpp>

#include "support/attention_case.hpp"
#include "support/checks.hpp"

namespace mta_test_standard_attention {
using namespace mta;
using namespace mta::test;

namespace {

// softmax(q k^T / sqrt(D)) v, one query at a time, as a textbook writes it.
Tensor<double, 4> textbook(const Tensor<double, 4>& q, const Tensor<double, 4>& k,
                           const Tensor<double, 4>& v) {
    auto out = zeros_like(q);
    const Index H = q.dimension(1), S = q.dimension(2), D = q.dimension(3), share = H / k.dimension(1);
    for (Index b = 0; b < q.dimension(0); ++b)
        for (Index h = 0; h < H; ++h)
            for (Index i = 0; i < S; ++i) {
                std::vector<double> weight(static_cast<std::size_t>(i + 1));
                double largest = -HUGE_VAL, sum = 0;
                for (Index j = 0; j <= i; ++j) {
                    double product = 0;
                    for (Index d = 0; d < D; ++d)
                        product += q(b, h, i, d) * k(b, h / share, j, d);
                    weight[static_cast<std::size_t>(j)] = 1 / std::sqrt(static_cast<double>(D)) * product;
                    largest = std::max(largest, weight[static_cast<std::size_t>(j)]);
                }
                for (double& w : weight)
                    sum += w = std::exp(w - largest);
                for (Index j = 0; j <= i; ++j)
                    for (Index d = 0; d < D; ++d)
                        out(b, h, i, d) += weight[static_cast<std::size_t>(j)] / sum * v(b, h / share, j, d);
            }
    return out;
}

}  // namespace

TEST_CASE("standard_attention: the bits of a textbook loop") {
    for (const Index kv_heads : {4, 2, 1}) {
        const auto c = random_case(standard_attention_config(4, 5, kv_heads), 2, 9);
        check_same_bits("out", standard_attention_forward(c.q, c.k, c.v).out(), textbook(c.q, c.k, c.v));
    }
}

TEST_CASE("standard_attention: identity kernels and mixes change no bit") {
    for (const MaskRule mask : {MaskRule::twice, MaskRule::exact})
        for (const KeyPadding padding : {KeyPadding::both, KeyPadding::left, KeyPadding::right}) {
            auto config = standard_attention_config(4, 5, 2);
            config.mask = mask;
            config.pre = {3, 5, padding, 2};
            config.post = {2, 3, padding, 4};
            auto c = random_case(config, 2, 9);
            Random random(1);
            c.params = initial_multi_token_attention_params<double>(config, random, KernelInit::identity);
            check_same_bits("out", c.forward().out(), textbook(c.q, c.k, c.v));
            const auto plain = standard_attention_forward(c.q, c.k, c.v);
            const auto want = standard_attention_backward(c.d_out, c.q, c.k, c.v, {}, plain);
            const auto got = c.backward();
            // A gradient of +-0 may differ in its sign, since 0 * x is added around it: compare values,
            // tolerance 0.
            check_agrees("d_q", got.d_q, want.d_q, 0);
            check_agrees("d_k", got.d_k, want.d_k, 0);
            check_agrees("d_v", got.d_v, want.d_v, 0);
        }
}

TEST_CASE("standard_attention: the call's documents are kept apart") {
    AttentionCall call;
    call.documents = Documents(std::vector<Index>{0, 4});
    auto c = random_case(standard_attention_config(2, 3), 1, 7);
    const auto before = standard_attention_forward(c.q, c.k, c.v, call);
    const auto grads = standard_attention_backward(c.d_out, c.q, c.k, c.v, call, before);
    for (Index d = 0; d < 3; ++d)
        c.v(0, 0, 3, d) += 1;  // the last token of the first document
    const auto after = standard_attention_forward(c.q, c.k, c.v, call);
    for (Index i = 4; i < 7; ++i)
        CHECK(after.out()(0, 0, i, 1) == before.out()(0, 0, i, 1));
    CHECK(after.out()(0, 0, 3, 1) != before.out()(0, 0, 3, 1));
    CHECK(grads.d_trace.weights->operator()(0, 0, 4, 3) == 0);
}

TEST_CASE("standard_attention: gradients") {
    const auto c = random_case(standard_attention_config(2, 3), 2, 5);
    const auto trace = standard_attention_forward(c.q, c.k, c.v);
    CHECK_FALSE(trace.pre_conv.has_value());
    CHECK_FALSE(trace.post_mix.has_value());
    const auto g = standard_attention_backward(c.d_out, c.q, c.k, c.v, {}, trace);
    check_gradient("d_q", c.d_out, c.q, g.d_q, [&]<class X>(const X& q) {
        using S = ScalarOf<X>;
        return standard_attention_forward(q, cast<S>(c.k), cast<S>(c.v)).out();
    });
    check_gradient("d_k", c.d_out, c.k, g.d_k, [&]<class X>(const X& k) {
        using S = ScalarOf<X>;
        return standard_attention_forward(cast<S>(c.q), k, cast<S>(c.v)).out();
    });
    CHECK(parameter_count(g.d_params) == 0);
}

TEST_CASE("standard_attention: errors") {
    CHECK_THROWS_WITH_AS(standard_attention_config(4, 8, 3),
                         "multi_token_attention: kv_heads: got 3, expected a divisor of the 4 heads",
                         ShapeError);
    CHECK_THROWS_WITH_AS(standard_attention_config(0, 8),
                         "multi_token_attention: heads: got 0, expected at least 1", ShapeError);
}
}  // namespace mta_test_standard_attention
