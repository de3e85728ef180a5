// Exact cases: what is claimed to be exact in float has the bits of double, and nothing else is claimed.
// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <mta/oracle/case.hpp>
#include <mta/oracle/exact_cases.hpp>

#include "probe_support.hpp"

namespace mta_test_exact_cases {
namespace {

using namespace mta;
using namespace mta::test;
using oracle::check_exact;
using oracle::exact_tensors;
using oracle::ExactArithmetic;

MultiTokenAttentionConfig sized(MultiTokenAttentionConfig config, Index D) {
    config.head_dim = D;
    return config;
}

Problem filled(const MultiTokenAttentionConfig& config, std::string_view fill, Index S = 9,
               io::DType dtype = io::DType::BF16, std::vector<std::vector<Index>> starts = {{0}}) {
    auto p = random_problem(config, 2, S, std::move(starts), dtype);
    oracle::fill_problem(p, fill, 5);
    return p;
}

Index exact_rows(const Problem& p, std::string_view name, const ExactArithmetic& arithmetic = {}) {
    for (const auto& t : exact_tensors(p, arithmetic))
        if (t.expected.name == name) return t.exact_rows();
    return -1;
}

// The stages of the layer in float, and its output rounded to the problem's type.
Results in_float(const Problem& p) {
    const auto trace =
        multi_token_attention_forward(cast<float>(p.q), cast<float>(p.k), cast<float>(p.v),
                                      cast_params<float>(p.params), p.config.attention, p.config.call());
    Results r;
    MultiTokenAttentionTrace<float>::for_each(
        [&](std::string_view name, const auto& t) { r.put("stage." + std::string(name), t); }, trace);
    r.put("out", trace.out());
    for (auto& t : r.tensors)
        for (auto& x : t.values)
            if (t.name == "out") x = oracle::detail::rounded_to(p.dtype, x);
    return r;
}

TEST_CASE("exact: float has the bits of double in every row that is claimed") {
    auto all = varied_configs();
    for (const auto& config : linear_configs())
        all.push_back(config);
    std::map<std::string, Index> judged;
    for (const char* fill : {"exact-integers", "zero-scores", "one-hot", "normal"})
        for (const Index D : {4, 16, 64})
            for (const auto& config : all)
                for (const bool folded : {false, true}) {
                    const auto p = filled(sized(config, D), fill, 9, io::DType::BF16, {{0, 4}});
                    for (const auto& v : check_exact(p, in_float(p), {24, 24, folded})) {
                        CHECK_MESSAGE(v.holds, fill, " ", v.sentence);
                        judged[std::string(fill) + " " + v.name] += v.rows;
                    }
                }
    for (const char* fill : {"exact-integers", "zero-scores", "one-hot"})
        for (const char* stage : {"logits", "pre_conv", "pre_mix"})
            CHECK_MESSAGE(judged[fill + std::string(" stage.") + stage] > 1000, fill, stage);
    for (const char* fill : {"zero-scores", "one-hot"})
        for (const char* stage : {"weights", "post_conv", "post_mix", "context"})
            CHECK_MESSAGE(judged[fill + std::string(" stage.") + stage] > 100, fill, stage);
    CHECK(judged["zero-scores out"] > 100);
    CHECK(judged["one-hot out"] > 100);
}

TEST_CASE("exact: which rows, by hand") {
    const auto plain = sized({}, 4);
    // Rows of 1, 2, 4 and 8 keys, in two batch rows.
    const auto p = filled(plain, "zero-scores");
    CHECK(exact_rows(p, "stage.logits") == 18);
    CHECK(exact_rows(p, "stage.weights") == 8);
    CHECK(exact_rows(p, "out") == 8);
    CHECK(oracle::is_exact_case(p));
    for (const auto& t : exact_tensors(p))
        if (t.expected.name == "stage.weights") {
            CHECK(t.rows == std::vector<bool>{1, 1, 0, 1, 0, 0, 0, 1, 0, 1, 1, 0, 1, 0, 0, 0, 1, 0});
            CHECK(t.expected.values[3 * 9] == 0.25);
        }
    // A scale that is no power of two: scores of 0 need none, but nothing is claimed.
    CHECK(exact_rows(filled(sized({}, 8), "zero-scores"), "stage.logits") == 0);
    // A post convolution of two queries is exact where two neighbouring rows are.
    auto convolved = plain;
    convolved.post = {2, 3, KeyPadding::both, 0};
    CHECK(exact_rows(filled(convolved, "zero-scores"), "stage.post_conv") == 4);
    CHECK(exact_rows(filled(convolved, "zero-scores"), "stage.post_conv", {24, 53, true}) == 4);
    // A mix is exact where all of its heads are; here they are.
    auto mixed = plain;
    mixed.heads = 2;
    mixed.post.mix_group = 2;
    CHECK(exact_rows(filled(mixed, "zero-scores"), "out") == 16);
}

TEST_CASE("exact: one-hot rows count only for kernels that do not fold log2(e)") {
    const auto p = filled(sized({}, 4), "one-hot");
    CHECK(exact_rows(p, "out", {24, 24, false}) == 18);
    CHECK(exact_rows(p, "out") < 18);
    // What such a kernel computes: s c - m c, where m c is rounded and s c is not.
    const float log2e = 1.44269504f, m = 4096 * 3;
    CHECK(std::exp2(std::fma(m, log2e, -(m * log2e))) != 1.0f);
    CHECK(std::exp2(std::fma(0.0f, log2e, -0.0f)) == 1.0f);
}

TEST_CASE("exact: bf16 weights cannot hold what a kernel makes of them") {
    auto config = sized({}, 4);
    config.post = {3, 5, KeyPadding::both, 0};
    auto p = filled(config, "one-hot");
    for (auto& x : elements(p.params.post.conv->kernel))
        x = 257;
    CHECK(exact_rows(p, "stage.post_conv", {24, 24, false}) == 18);
    CHECK(exact_rows(p, "stage.post_conv", {24, 8, false}) == 0);
}

TEST_CASE("exact: sums that could round are not claimed") {
    auto p = filled(sized({}, 4), "zero-scores");
    p.v(0, 0, 0, 0) = 1;
    p.v(0, 0, 1, 0) = 0x1p-24;
    CHECK(exact_rows(p, "out") < 8);
    CHECK(exact_rows(p, "out", {53, 53, true}) == 8);
    CHECK_FALSE(oracle::is_exact_case(filled(sized({}, 4), "normal", 9, io::DType::F32)));
    auto nan = filled(sized({}, 4), "zero-scores");
    nan.v(0, 0, 0, 1) = not_a_number;
    CHECK(exact_rows(nan, "out") <= 4);
}

TEST_CASE("exact: sparsemax ties and one-hot rows") {
    auto config = sized({}, 4);
    config.normalise = Normalise::sparsemax;
    const auto p = filled(config, "zero-scores");
    CHECK(exact_rows(p, "stage.weights") == 8);
    CHECK(oracle::detail::exact_halvings(std::array{3.0, 3.0, 2.0}, Normalise::sparsemax, true) == 1);
    CHECK(oracle::detail::exact_halvings(std::array{3.0, 3.0, 2.5}, Normalise::sparsemax, true) == -1);
    CHECK(oracle::detail::exact_halvings(std::array{0x1p30, 3.0}, Normalise::sparsemax, true) == -1);
    CHECK(oracle::detail::exact_halvings(std::array{3.0, 3.0, 3.0}, Normalise::softmax, false) == -1);
    CHECK(oracle::detail::exact_halvings(std::array{3.0, -744.0}, Normalise::softmax, false) == 0);
    CHECK(oracle::detail::exact_halvings(std::array{3.0, -742.0}, Normalise::softmax, false) == -1);
    CHECK(oracle::detail::exact_halvings(std::array{3.0, -744.0}, Normalise::softmax, true) == -1);
}

TEST_CASE("exact: a last digit that is wrong is a failure that says where") {
    const auto p = filled(sized({}, 4), "zero-scores", 9, io::DType::F32);
    auto r = in_float(p);
    CHECK(check_exact(p, r).back().sentence == "out: ok, 8 rows are exact");
    for (auto& t : r.tensors)
        if (t.name == "out") {
            t.values[2 * 4] += 1;  // three keys: no claim
            t.values[3 * 4 + 1] = std::nextafter(t.values[3 * 4 + 1], 10.0);
        }
    const auto v = check_exact(p, r).back();
    CHECK_FALSE(v.holds);
    CHECK(v.where == std::vector<Index>{0, 0, 3, 1});
    CHECK(v.sentence.find("out: FAIL at [0, 0, 3, 1]: got ") == 0);
    r.put({"out", {1, 1}, {0}});
    CHECK_THROWS_AS(check_exact(p, r), ShapeError);
    CHECK(check_exact(p, {}).empty());
}

TEST_CASE("exact: units and bits") {
    using oracle::detail::last_bit;
    using oracle::detail::significant_bits;
    CHECK(last_bit(12) == 2);
    CHECK(last_bit(-0.375) == -3);
    CHECK(significant_bits(12) == 2);
    CHECK(significant_bits(257) == 9);
    CHECK(significant_bits(0) == 0);
    CHECK(oracle::detail::unit_exponent(vector_of({0, 6, 8})) == 1);
    CHECK(oracle::detail::unit_exponent(vector_of({0, 0})) == 0);
}

}  // namespace
}  // namespace mta_test_exact_cases
