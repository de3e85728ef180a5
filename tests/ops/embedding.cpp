// Embedding: values, gradients and promises.
// SPDX-License-Identifier: MIT
#include <cmath>
#include <cstdint>
#include <limits>
#include <mta/core/numeric.hpp>
#include <mta/ops/embedding.hpp>
#include <string>
#include <vector>

#include "support/checks.hpp"
#include "support/golden.hpp"
#include "support/threads.hpp"

namespace mta_test_embedding {
using namespace mta;
using namespace mta::test;

namespace {

using Params = EmbeddingParams<double>;

template <class Token = std::int64_t>
Tensor<Token, 2> tokens_of(Index B, Index S, const std::vector<int>& ids) {
    Tensor<Token, 2> tokens(B, S);
    for (Index n = 0; n < B * S; ++n)
        tokens.data()[n] = static_cast<Token>(ids[static_cast<std::size_t>(n)]);
    return tokens;
}

Tensor<std::int64_t, 2> random_tokens(std::uint64_t seed, Index B, Index S, std::uint32_t V) {
    Tensor<std::int64_t, 2> tokens(B, S);
    Random random(seed);
    for (auto& token : elements(tokens))
        token = random.below(V);
    return tokens;
}

}  // namespace

TEST_CASE("embedding: hand values") {
    // Table of 3 rows: (10 11), (20 21), (30 31); tokens ((2, 0, 2), (1, 2, 2)).
    Params params{zeros<double>(3, 2)};
    params.weight.setValues({{10, 11}, {20, 21}, {30, 31}});
    const auto tokens = tokens_of(2, 3, {2, 0, 2, 1, 2, 2});
    Tensor<double, 3> want(2, 3, 2);
    want.setValues({{{30, 31}, {10, 11}, {30, 31}}, {{20, 21}, {30, 31}, {30, 31}}});
    check_same_bits("out", embedding_forward(tokens, params), want);

    // Row 0 is read once, row 1 once, row 2 four times: 1 + 100 + 10000 + 100000 = 110101, and its negative.
    Tensor<double, 3> d_out(2, 3, 2);
    d_out.setValues({{{1, -1}, {10, -10}, {100, -100}}, {{1000, -1000}, {1e4, -1e4}, {1e5, -1e5}}});
    Tensor<double, 2> d_weight(3, 2);
    d_weight.setValues({{10, -10}, {1000, -1000}, {110101, -110101}});
    check_same_bits("d_weight", embedding_backward(d_out, tokens, params).d_params.weight, d_weight);
}

TEST_CASE("embedding: independent values") {
    const Golden golden("ops/embedding");
    for (const std::string name : {"small", "wide", "repeated", "one_token"}) {
        CAPTURE(name);
        const auto tokens = cast<std::int64_t>(golden.tensor<2>(name + ".tokens"));
        const Params params{golden.tensor<2>(name + ".weight")};
        check_same_bits("out", embedding_forward(tokens, params), golden.tensor<3>(name + ".out"));
        const auto g = embedding_backward(golden.tensor<3>(name + ".d_out"), tokens, params);
        check_agrees("d_weight", g.d_params.weight, golden.tensor<2>(name + ".d_weight"), 1e-13);
    }
}

TEST_CASE("embedding: complex step and adjoint") {
    // Row 3 of the table is read by no token, row 1 by three of them.
    const auto tokens = tokens_of(2, 3, {1, 0, 1, 4, 2, 1});
    const Params params{random_tensor(1, 5, 4)};
    const auto d_out = random_tensor(2, 2, 3, 4);
    const auto g = embedding_backward(d_out, tokens, params);
    check_parameter_gradients(d_out, params, g.d_params, [&]<class Scalar>(const EmbeddingParams<Scalar>& p) {
        return embedding_forward(tokens, p);
    });
    check_adjoint("d_weight", d_out, params.weight, g.d_params.weight, [&](const auto& weight) {
        return embedding_forward(tokens, EmbeddingParams<check::Complex>{weight});
    });
}

TEST_CASE("embedding: edge shapes") {
    const Params params{random_tensor(3, 4, 3)};
    for (const auto& [B, S] : {std::pair<Index, Index>{0, 3}, {2, 0}}) {
        const Tensor<int, 2> none(B, S);
        const auto out = embedding_forward(none, params);
        CHECK(out.dimensions() == Tensor<double, 3>(B, S, 3).dimensions());
        check_same_bits("no token", embedding_backward(out, none, params).d_params.weight,
                        zeros<double>(4, 3));
    }
    // One token, one row, one column; and a table of columns that end in the middle of a slice.
    const Params one{random_tensor(4, 1, 1)};
    CHECK(embedding_forward(tokens_of(1, 1, {0}), one)(0, 0, 0) == one.weight(0, 0));
    for (const Index D : {31, 32, 33, 65}) {
        const Params wide{random_tensor(5, 2, D)};
        const auto d_out = random_tensor(6, 1, 1, D);
        const auto d_weight = embedding_backward(d_out, tokens_of(1, 1, {1}), wide).d_params.weight;
        CHECK(all_zero(row(d_weight, 0)));
        for (Index d = 0; d < D; ++d)
            CHECK(d_weight(1, d) == d_out(0, 0, d));
    }
}

TEST_CASE("embedding: any integer type") {
    const Params params{random_tensor(7, 6, 3)};
    const auto d_out = random_tensor(8, 2, 2, 3);
    const std::vector<int> ids{5, 0, 3, 5};
    const auto wide = tokens_of(2, 2, ids);
    const auto judge = [&](const auto& tokens) {
        check_same_bits("out", embedding_forward(tokens, params), embedding_forward(wide, params));
        check_same_bits("d_weight", embedding_backward(d_out, tokens, params).d_params.weight,
                        embedding_backward(d_out, wide, params).d_params.weight);
    };
    judge(tokens_of<std::uint8_t>(2, 2, ids));
    judge(tokens_of<std::int32_t>(2, 2, ids));
    judge(tokens_of<std::uint64_t>(2, 2, ids));
    const ConstTensorView<std::int64_t, 2> view(wide.data(), 2, 2);
    judge(view);
}

TEST_CASE("embedding: properties") {
    const Params params{random_tensor(9, 7, 70)};
    const auto tokens = random_tokens(10, 3, 5, 7);
    const auto d_out = random_tensor(11, 3, 5, 70);
    const auto out = embedding_forward(tokens, params);
    const auto d_weight = embedding_backward(d_out, tokens, params).d_params.weight;
    SUBCASE("thread counts") {
        at_thread_counts([&] {
            check_same_bits("out", embedding_forward(tokens, params), out);
            check_same_bits("d_weight", embedding_backward(d_out, tokens, params).d_params.weight, d_weight);
        });
    }
    SUBCASE("batch rows stand alone, and their gradients add up") {
        auto sum = zeros<double>(7, 70);
        for (Index b = 0; b < 3; ++b) {
            const ConstTensorView<std::int64_t, 2> own(tokens.data() + b * 5, Index{1}, Index{5});
            const ConstTensorView<double, 3> own_out(out.data() + b * 350, Index{1}, Index{5}, Index{70});
            const ConstTensorView<double, 3> own_d_out(d_out.data() + b * 350, Index{1}, Index{5}, Index{70});
            check_same_bits("row", embedding_forward(own, params), own_out);
            const Tensor<double, 2> so_far = sum + embedding_backward(own_d_out, own, params).d_params.weight;
            sum = so_far;
        }
        // 15 terms in another order: 15 eps of the sum of magnitudes, itself a few times the largest sum.
        check_agrees("sum of rows", sum, d_weight, 1e-14);
    }
    SUBCASE("renaming the tokens permutes the rows") {
        Params renamed{zeros_like(params.weight)};
        auto new_names = tokens;
        for (Index v = 0; v < 7; ++v)
            for (Index d = 0; d < 70; ++d)
                renamed.weight((v * 3 + 1) % 7, d) = params.weight(v, d);
        for (auto& token : elements(new_names))
            token = (token * 3 + 1) % 7;
        check_same_bits("out", embedding_forward(new_names, renamed), out);
        const auto moved = embedding_backward(d_out, new_names, renamed).d_params.weight;
        for (Index v = 0; v < 7; ++v)
            for (Index d = 0; d < 70; ++d)
                CHECK(moved((v * 3 + 1) % 7, d) == d_weight(v, d));
    }
}

TEST_CASE("embedding: NaN and zero cotangents") {
    Params params{random_tensor(12, 4, 3)};
    params.weight(2, 1) = std::numeric_limits<double>::quiet_NaN();
    const auto tokens = tokens_of(1, 4, {0, 2, 1, 2});
    const auto out = embedding_forward(tokens, params);
    for (Index n = 0; n < out.size(); ++n)  // element 1 of tokens 1 and 3, and nothing else
        CHECK(std::isnan(out.data()[n]) == (n == 4 || n == 10));
    auto d_out = random_tensor(13, 1, 4, 3);
    for (const Index s : {1, 3})
        for (Index d = 0; d < 3; ++d)
            d_out(0, s, d) = 0;
    const auto d_weight = embedding_backward(d_out, tokens, params).d_params.weight;
    for (Index v = 0; v < 4; ++v)
        CHECK(all_zero(row(d_weight, v)) == (v >= 2));
    // A NaN in the cotangent of token 1 reaches row 2 of the gradient only.
    d_out(0, 1, 0) = std::numeric_limits<double>::quiet_NaN();
    const auto polluted = embedding_backward(d_out, tokens, params).d_params.weight;
    for (Index n = 0; n < polluted.size(); ++n)
        CHECK(std::isnan(polluted.data()[n]) == (n == 6));
}

TEST_CASE("embedding: float agrees with double") {
    // Forward copies. Backward adds 12 terms in order: 12 u of their magnitudes, at most 12 times the largest
    // sum here, u = 2^-24.
    const EmbeddingParams<float> params{random_tensor<float>(14, 3, 5)};
    const auto tokens = random_tokens(15, 3, 4, 3);
    const auto d_out = random_tensor<float>(16, 3, 4, 5);
    const EmbeddingParams<double> wide = cast_params<double>(params);
    check_same_bits("out", cast<double>(embedding_forward(tokens, params)), embedding_forward(tokens, wide));
    check_agrees("d_weight", embedding_backward(d_out, tokens, params).d_params.weight,
                 embedding_backward(cast<double>(d_out), tokens, wide).d_params.weight, 144 * 0x1p-24);
}

TEST_CASE("embedding: errors") {
    const Params params{random_tensor(17, 4, 3)};
    const auto d_out = random_tensor(18, 2, 2, 3);
    const auto says = [&](const auto& tokens, const char* sentence) {
        CHECK_THROWS_WITH_AS(embedding_forward(tokens, params), sentence, ValueError);
        CHECK_THROWS_WITH_AS(embedding_backward(d_out, tokens, params), sentence, ValueError);
    };
    says(tokens_of(2, 2, {0, 3, 4, 0}),
         "embedding: tokens[1, 0]: got 4, expected from 0 to below the 4 rows of weight");
    says(tokens_of(2, 2, {0, -1, 9, 0}),
         "embedding: tokens[0, 1]: got -1, expected from 0 to below the 4 rows of weight");
    says(tokens_of<std::uint8_t>(2, 2, {0, 1, 2, 255}),
         "embedding: tokens[1, 1]: got 255, expected from 0 to below the 4 rows of weight");
    says(tokens_of<std::uint64_t>(2, 2, {-1, 0, 0, 0}),  // wraps to 2^64 - 1
         "embedding: tokens[0, 0]: got 18446744073709551615, expected from 0 to below the 4 rows of weight");
    CHECK_THROWS_WITH_AS(embedding_backward(d_out, tokens_of(2, 3, {0, 0, 0, 0, 0, 0}), params),
                         "embedding: d_out: got shape [2, 2, 3], expected shape [2, 3, 3]", ShapeError);
    CHECK_THROWS_WITH_AS(
        embedding_backward(random_tensor(19, 2, 2, 4), tokens_of(2, 2, {0, 0, 0, 0}), params),
        "embedding: d_out: got shape [2, 2, 4], expected shape [2, 2, 3]", ShapeError);
}
}  // namespace mta_test_embedding
