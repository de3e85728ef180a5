// Shrinking: what is left fails, is small, and comes back from its text with every bit.
// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <mta/oracle/shrink.hpp>

#include "../io/io_support.hpp"
#include "../support/checks.hpp"
#include "probe_support.hpp"

namespace mta_test_shrink {
namespace {

using namespace mta;
using namespace mta::test;
using oracle::shrink;

// Whether the layer's output changes by more than 1e-6 of its size when f changes the problem.
template <class F>
auto differs_after(F f) {
    return [f](const Problem& p) {
        Problem changed = p;
        f(changed);
        const auto got = layer_results<double>(changed).at("out"), want = layer_results<double>(p).at("out");
        double worst = 0, size = 0;
        for (std::size_t n = 0; n < want.values.size(); ++n) {
            worst = std::max(worst, std::abs(got.values[n] - want.values[n]));
            size = std::max(size, std::abs(want.values[n]));
        }
        return worst > 1e-6 * size;
    };
}

void flip_keys(Problem& p) {
    if (!p.params.pre.conv) return;
    auto& kernel = p.params.pre.conv->kernel;
    const auto old = kernel;
    const Index Ck = kernel.dimension(2);
    for (Index n = 0; n < kernel.size(); ++n)
        kernel.data()[n] = old.data()[n / Ck * Ck + Ck - 1 - n % Ck];
}

Problem large_problem() {
    return random_problem(full_config(), 2, 17, {{0, 6}});
}

TEST_CASE("shrink: a flipped kernel is left with a handful of tokens and nothing else") {
    const auto fails = differs_after(flip_keys);
    int successes = 0;
    const auto r =
        shrink(large_problem(), fails, {3000, [&](int, const std::string&, const Problem&) { ++successes; }});
    CHECK(fails(r.problem));
    CHECK(r.minimal);
    CHECK(successes == static_cast<int>(r.steps.size()));
    const auto& c = r.problem.config.attention;
    CHECK(r.problem.batch() == 1);
    CHECK(r.problem.sequence() == 2);
    CHECK(c.heads == 1);
    CHECK(c.head_dim == 1);
    CHECK(c.pre.query_kernel == 1);
    CHECK(c.pre.key_kernel == 3);
    CHECK_FALSE(c.pre.has_mix());
    CHECK_FALSE(c.post.has_conv());
    CHECK_FALSE(c.norm);
    CHECK_FALSE(c.gate);
    CHECK_FALSE(r.problem.d_out);
    CHECK(r.problem.config.document_starts == std::vector<std::vector<Index>>{{0}});
    for (const double x : elements(r.problem.q))
        CHECK(x == std::round(x));
    CHECK_MESSAGE(oracle::size_of(r.problem).starts_with("B1 H1 kv1 S2 D1 pre.kernel 1x3, "),
                  oracle::size_of(r.problem));
}

TEST_CASE("shrink: what the failure needs stays") {
    // Documents ignored: two documents remain.
    auto r = shrink(large_problem(), differs_after([](Problem& p) { p.config.document_starts = {{0}}; }));
    CHECK(r.problem.sequence() == 2);
    CHECK(r.problem.config.document_starts == std::vector<std::vector<Index>>{{0, 1}});
    // A transposed mix: two heads in one group.
    r = shrink(large_problem(), differs_after([](Problem& p) {
                   if (!p.params.post.mix) return;
                   auto& mix = p.params.post.mix->mix;
                   const auto old = mix;
                   for (Index g = 0; g < mix.dimension(0); ++g)
                       for (Index o = 0; o < mix.dimension(1); ++o)
                           for (Index c = 0; c < mix.dimension(1); ++c)
                               mix(g, o, c) = old(g, c, o);
               }));
    CHECK(r.problem.config.attention.post.mix_group == 2);
    CHECK(r.problem.config.attention.heads == 2);
    CHECK(r.problem.sequence() == 1);
    // Batch row 1 alone is wrong.
    r = shrink(large_problem(), [](const Problem& p) { return p.batch() == 2 && p.sequence() >= 5; });
    CHECK(r.problem.batch() == 2);
    CHECK(r.problem.sequence() == 5);
    // Gradients only.
    r = shrink(large_problem(), [](const Problem& p) { return p.d_out.has_value(); });
    CHECK(r.problem.d_out);
    // Sparsemax, mask, padding and factors are options that can matter.
    auto config = varied_configs()[1];
    r = shrink(random_problem(config, 1, 5), [](const Problem& p) {
        return p.config.attention.normalise == Normalise::sparsemax &&
               p.config.attention.norm == RmsNormFactor::depth;
    });
    CHECK(r.problem.config.attention.mask == MaskRule::twice);
    CHECK(r.problem.config.attention.layer_index == 0);
    CHECK(r.problem.config.attention.norm == RmsNormFactor::depth);
}

TEST_CASE("shrink: kernels of every padding lose the taps that do not matter") {
    for (const auto& [padding, Ck] :
         {std::pair{KeyPadding::both, 5}, {KeyPadding::left, 4}, {KeyPadding::right, 4}}) {
        auto config = linear_configs()[2];
        config.pre = {4, Ck, padding, 0};
        const auto p = random_problem(config, 1, 7);
        const auto& kernel = p.params.pre.conv->kernel;
        const Index left = keys_to_the_left(Ck, padding);
        const double own = kernel(0, 3, left), before = kernel(0, 2, left);  // of head 0
        const auto r = shrink(p, [&](const Problem& q) {
            if (!q.params.pre.conv) return false;
            const auto values = elements(q.params.pre.conv->kernel);
            return std::count(values.begin(), values.end(), own) == 1 &&
                   std::count(values.begin(), values.end(), before) == 1;
        });
        CHECK(r.problem.config.attention.pre.query_kernel == 2);
        CHECK(r.problem.config.attention.pre.key_kernel == 1);
        CHECK(r.problem.params.pre.conv->kernel(0, 1, 0) == own);
    }
}

TEST_CASE("shrink: kernels keep the own key and lose the far ones") {
    for (const auto& [padding, Ck, neighbour, left] : {std::tuple{KeyPadding::both, 7, -1, 3},
                                                       {KeyPadding::left, 4, -1, 2},
                                                       {KeyPadding::right, 4, 1, 2}}) {
        auto config = linear_configs()[2];
        config.pre = {1, Ck, padding, 0};
        const auto p = random_problem(config, 1, 7);
        const Index own = keys_to_the_left(Ck, padding);
        const double a = p.params.pre.conv->kernel(0, 0, own),
                     b = p.params.pre.conv->kernel(0, 0, own + neighbour);
        const auto r = shrink(p, [&](const Problem& q) {
            if (!q.params.pre.conv) return false;
            const auto values = elements(q.params.pre.conv->kernel);
            return std::count(values.begin(), values.end(), a) == 1 &&
                   std::count(values.begin(), values.end(), b) == 1;
        });
        CHECK(r.problem.config.attention.pre.key_kernel == left);
    }
}

TEST_CASE("shrink: problems with fewer tokens, heads or channels say the same about the rest") {
    const auto p = random_problem(full_config(), 2, 8, {{0, 2, 5}, {0, 7}});
    const auto out = [](const Problem& q) {
        Tensor<double, 4> t(q.q.dimensions());
        const auto r = layer_results<double>(q);
        std::copy(r.tensors[0].values.begin(), r.tensors[0].values.end(), t.data());
        return t;
    };
    using oracle::detail::gather;
    const std::vector<Index> heads{3, 2, 1, 0};
    check_agrees("heads", out(*oracle::detail::with_heads(p, heads)), gather(out(p), 1, heads), 1e-14);
    CHECK_FALSE(oracle::detail::with_heads(p, {0, 2, 1, 3}));
    CHECK_FALSE(oracle::detail::with_heads(p, {0, 1, 2}));
    const auto one = oracle::detail::with_batch_rows(p, {0});
    const auto fewer = oracle::detail::with_tokens(one, {2, 3, 4, 6, 7});
    CHECK(fewer.config.document_starts == std::vector<std::vector<Index>>{{0, 3}});
    check_agrees("a document", gather(out(fewer), 2, {0, 1, 2}), gather(out(one), 2, {2, 3, 4}), 1e-14);
    const auto channels = oracle::detail::with_channels(p, {2, 0});
    CHECK(channels.params.gate->weight(0, 1) == p.params.gate->weight(2, 0));
    CHECK(channels.q(1, 2, 3, 1) == p.q(1, 2, 3, 0));
}

TEST_CASE("shrink: calls are bounded, and running out is said") {
    int calls = 0;
    const auto r = shrink(large_problem(), [&](const Problem&) { return ++calls > 0; }, {10, {}});
    CHECK(calls == 10);
    CHECK(r.calls == 10);
    CHECK_FALSE(r.minimal);
}

TEST_CASE("shrink: a problem that does not fail, and a predicate that throws") {
    CHECK_THROWS_WITH_AS(shrink(large_problem(), [](const Problem&) { return false; }),
                         "shrink: random: got a problem that does not fail, expected one that does",
                         ValueError);
    const auto r = shrink(large_problem(), [](const Problem& p) {
        require(p.sequence() == 17, "only 17");
        return true;
    });
    CHECK(r.problem.sequence() == 17);
}

TEST_CASE("shrink: the text of a problem brings back every bit") {
    for (const auto dtype : {io::DType::F64, io::DType::F32, io::DType::F16, io::DType::BF16}) {
        const auto p = random_problem(full_config(), 2, 4, {{0, 2}, {0}}, dtype);
        const auto text = oracle::problem_text(p);
        const auto back = oracle::problem_from_json(io::Json::parse(text), "text");
        CHECK(oracle::problem_text(back) == text);
        CHECK(back.dtype == dtype);
        oracle::for_each_input(
            [](std::string_view name, const auto& a, const auto& b) { check_same_bits(name, a, b); }, p,
            back);
    }
    CHECK(oracle::problem_text(large_problem()).find("\"0x1.") != std::string::npos);
}

TEST_CASE("shrink: text that is no problem") {
    const auto refusal = [](const std::string& find, const std::string& replace) {
        auto text = oracle::problem_text(random_problem(linear_configs()[2], 1, 2));
        REQUIRE(text.find(find) != std::string::npos);
        text.replace(text.find(find), find.size(), replace);
        try {
            oracle::problem_from_json(io::Json::parse(text), "text");
        } catch (const std::exception& error) {
            return std::string(error.what());
        }
        return std::string("accepted");
    };
    CHECK(refusal("mta.problem/1", "mta.problem/2").find("text: got no object with the schema") == 0);
    CHECK(refusal("\"F64\"", "\"I64\"") == "text: dtype: got \"I64\", expected F64, F32, F16 or BF16");
    CHECK(refusal("\"name\"", "\"names\"") == "text: name: got no text, expected one");
    CHECK(refusal("\"config\"", "\"conf\"") == "text: config: got none, expected an object");
    CHECK(refusal("\"q\"", "\"w\"").find("unknown tensor 'w'") != std::string::npos);
    CHECK(refusal("\"0x", "\"x").find("expected a hexadecimal float") != std::string::npos);
}

TEST_CASE("shrink: the files of a problem are read again") {
    const TemporaryFolder folder("shrink");
    const auto p = random_problem(full_config(), 1, 3, {{0}}, io::DType::BF16);
    oracle::write_problem(folder / "small", p);
    oracle::Notes notes;
    const auto back = oracle::problem_from_file("small", oracle::read_config(folder / "small.json"),
                                                io::read_safetensors(folder / "small.in.safetensors"), notes);
    check_same_bits("q", back.q, p.q);
    check_same_bits("d_out", *back.d_out, *p.d_out);
    CHECK(notes.empty());
}

}  // namespace
}  // namespace mta_test_shrink
