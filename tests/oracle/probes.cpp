// Metamorphic probes: they hold for the layer on every option, and each notices the bug it is there for.
// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <mta/oracle/probes.hpp>

#include "probe_support.hpp"

namespace mta_test_probes {
namespace {

using namespace mta;
using namespace mta::test;
using oracle::Outcome;
using oracle::ProbeState;
using oracle::ProbeVerdict;
using oracle::run_probes;

// The layer, after f changed the problem.
template <class F>
Candidate with_bug(F f) {
    return candidate_of([f](Problem p) {
        f(p);
        return layer_results<double>(p);
    });
}

// The layer, after f changed its results.
template <class F>
Candidate with_wrong_results(F f) {
    return candidate_of([f](const Problem& p) {
        auto r = layer_results<double>(p);
        for (auto& t : r.tensors)
            f(p, t);
        return r;
    });
}

ProbeVerdict probed(const Candidate& candidate, const Problem& p, const char* name,
                    const oracle::ProbeOptions& options = {}) {
    const auto verdicts = run_probes(candidate, p, options, {name});
    REQUIRE(verdicts.size() == 1);
    return verdicts[0];
}

bool fails(const Candidate& candidate, const Problem& p, const char* name) {
    const auto v = probed(candidate, p, name);
    if (v.state == ProbeState::fails)
        CHECK_MESSAGE(v.sentence.find("FAIL, ") != std::string::npos, v.sentence);
    return v.state == ProbeState::fails;
}

Problem full_problem(Index S = 7) {
    return random_problem(full_config(), 2, S);
}

TEST_CASE("probes: hold for the layer on every option, in double with bits") {
    std::map<std::string, int> held;
    auto all = varied_configs();
    for (const auto& config : linear_configs())
        all.push_back(config);
    for (const auto& config : all)
        for (const auto& starts : {std::vector<std::vector<Index>>{{0}}, {{0, 2}, {0, 1, 5}}})
            for (const auto& v :
                 run_probes(layer_candidate<double>(), random_problem(config, 2, 7, starts),
                            {.relative = {}, .bitwise = true, .seed = 3, .parameter_calls = 12})) {
                const bool fine = v.state == ProbeState::holds || v.state == ProbeState::not_applicable;
                CHECK_MESSAGE(fine, v.sentence);
                CHECK(v.calls <= 30);
                held[v.name] += v.state == ProbeState::holds ? 1 : 0;
            }
    for (const auto& probe : oracle::detail::probes)
        CHECK_MESSAGE(held[probe.name] >= 5, probe.name);
}

TEST_CASE("probes: hold in float with float, half and bf16 inputs") {
    for (const auto dtype : {io::DType::F32, io::DType::F16, io::DType::BF16})
        for (const auto& v :
             run_probes(layer_candidate<float>(), random_problem(full_config(), 2, 9, {{0, 4}}, dtype)))
            CHECK_MESSAGE(v.state == ProbeState::holds, v.sentence);
}

TEST_CASE("probes: tiny shapes and the edges of kernels") {
    for (const Index S : {1, 2, 3}) {
        auto p = random_problem(full_config(), 1, S);
        for (const auto& v : run_probes(layer_candidate<double>(), p))
            CHECK_MESSAGE(v.state != ProbeState::fails, v.sentence);
        auto config = full_config();
        config.head_dim = 1;
        for (const auto& v : run_probes(layer_candidate<double>(), random_problem(config, 1, S)))
            CHECK_MESSAGE(v.state != ProbeState::fails, v.sentence);
    }
}

TEST_CASE("probes: identity kernels notice a kernel read at the wrong tap, and a wrong norm") {
    CHECK(fails(with_bug([](Problem& p) {
                    auto& k = p.params.pre.conv->kernel;
                    const auto old = k;
                    for (Index n = 0; n < k.size(); ++n)
                        k.data()[n] = old.data()[n / 9 * 9 + 8 - n % 9];
                }),
                full_problem(), "identity_kernels"));
    CHECK(fails(with_bug([](Problem& p) { p.config.attention.eps = 0.1; }), full_problem(),
                "identity_kernels"));
    CHECK(fails(with_bug([](Problem& p) { p.config.attention.layer_index = 0; }), full_problem(),
                "identity_kernels"));
    auto sparse = full_config();
    sparse.normalise = Normalise::sparsemax;
    CHECK(fails(with_bug([](Problem& p) { p.config.attention.normalise = Normalise::softmax; }),
                random_problem(sparse, 1, 6), "identity_kernels"));
}

TEST_CASE("probes: later tokens, prefixes and their gradients notice a mask that is not there") {
    const auto leak = with_bug([](Problem& p) { p.config.attention.mask = MaskRule::none; });
    const auto p = full_problem();
    CHECK(fails(leak, p, "later_tokens"));
    CHECK(fails(leak, p, "prefix"));
    CHECK(fails(leak, p, "gradients_later"));
    const auto v = probed(leak, p, "later_tokens");
    CHECK(v.sentence.find("later_tokens: FAIL, tokens after 0 changed, and so did out at [") == 0);
    CHECK(v.sentence.find("expected ") != std::string::npos);
    // NaN that leaks is said and is no failure.
    const auto note = probed(leak, p, "later_nan");
    CHECK(note.state == ProbeState::informative);
    CHECK(note.sentence.find("later_nan: note, NaN in tokens after 3 reaches out at [") == 0);
}

TEST_CASE("probes: bits count where they are declared") {
    const auto shaky = candidate_of([](const Problem& p) {
        auto r = layer_results<double>(p);
        const double last = p.q.data()[p.q.size() - 1];  // of the last token
        for (auto& t : r.tensors)
            for (auto& x : t.values)
                x *= 1 + last * 0x1p-50;
        return r;
    });
    CHECK(probed(shaky, full_problem(), "later_tokens").state == ProbeState::holds);
    oracle::ProbeOptions bits;
    bits.bitwise = true;
    CHECK(probed(shaky, full_problem(), "later_tokens", bits).state == ProbeState::fails);
}

TEST_CASE("probes: query reach notices convolutions that are shorter, longer or reach across") {
    const auto p = full_problem();
    const auto cut = [](auto member) {
        return with_bug([member](Problem& q) {
            auto& kernel = ((q.params.*member).conv)->kernel;
            for (Index h = 0; h < kernel.dimension(0); ++h)
                for (Index v = 0; v < kernel.dimension(2); ++v)
                    kernel(h, 0, v) = 0;
        });
    };
    CHECK(fails(cut(&MultiTokenAttentionParams<double>::pre), p, "query_reach"));
    CHECK(fails(cut(&MultiTokenAttentionParams<double>::post), p, "query_reach"));
    CHECK(fails(with_bug([](Problem& q) { q.config.document_starts = {{0}}; }),
                random_problem(full_config(), 1, 8, {{0, 5}}), "query_reach"));
    // A row too far: the output of the row before is added.
    CHECK(fails(with_wrong_results([](const Problem& q, oracle::NamedTensor& t) {
                    if (t.name != "out") return;
                    const auto D = static_cast<std::size_t>(q.config.attention.head_dim);
                    for (std::size_t n = t.values.size(); n-- > D;)
                        t.values[n] += 0.1 * t.values[n - D];
                }),
                full_problem(9), "query_reach"));
    // One head of the group left out of the mix.
    CHECK(fails(with_bug([](Problem& q) { q.params.pre.mix->mix(1, 0, 1) = 0; }),
                random_problem(
                    [] {
                        auto c = full_config();
                        c.post.mix_group = 0;
                        return c;
                    }(),
                    1, 6),
                "query_reach"));
}

TEST_CASE("probes: batch rows, heads and channels that are mixed up") {
    const auto first_row = with_bug([](Problem& p) {
        for (Index b = 1; b < p.batch(); ++b)
            std::copy_n(p.k.data(), p.k.size() / p.batch(), p.k.data() + b * p.k.size() / p.batch());
    });
    CHECK(fails(first_row, full_problem(), "batch"));
    CHECK(fails(with_wrong_results([](const Problem&, oracle::NamedTensor& t) {
                    const std::size_t half = t.values.size() / 2;
                    if (t.name == "grad.k")
                        for (std::size_t n = 0; n < half; ++n)
                            t.values[n] += 0.01 * t.values[n + half];
                }),
                full_problem(), "gradients_batch"));
    // Heads that read key head h % Hkv.
    CHECK(fails(with_bug([](Problem& p) {
                    p.q = oracle::detail::gather(p.q, 1, {0, 2, 1, 3});
                }),
                full_problem(), "head_permutation"));
    // A rotary embedding inside.
    CHECK(fails(with_bug([](Problem& p) {
                    for (auto* x : {&p.q, &p.k})
                        for (Index r = 0; r < row_count(*x); ++r) {
                            auto e = nth_row(*x, r);
                            const double angle = static_cast<double>(r % p.sequence()), c = std::cos(angle),
                                         s = std::sin(angle), a = e[0], b = e[1];
                            e[0] = c * a - s * b, e[1] = s * a + c * b;
                        }
                }),
                full_problem(), "rotation"));
}

TEST_CASE("probes: head groups of a larger model are turned as well") {
    auto config = linear_configs()[1];
    config.heads = 6;
    config.kv_heads = 3;
    config.post.mix_group = 2;
    const auto p = random_problem(config, 1, 5);
    CHECK(probed(layer_candidate<double>(), p, "head_permutation").calls == 4);
    // Only the middle group differs: reversal leaves it where it is.
    CHECK(fails(with_bug([](Problem& q) {
                    for (Index i = 0; i < q.sequence(); ++i)
                        for (auto& x : row(q.v, 0, 1, i))
                            x *= 1.01;
                }),
                p, "head_permutation"));
}

TEST_CASE("probes: parameters that are not read") {
    const auto p = full_problem();
    const oracle::ProbeOptions all{.relative = {}, .bitwise = false, .seed = 1, .parameter_calls = 1000};
    CHECK(probed(layer_candidate<double>(), p, "parameters", all).calls == 2 + 36 + 8 + 32 + 16 + 3 + 9 + 3);
    for (const char* name : {"pre.kernel", "post.mix", "norm.weight", "gate.bias"}) {
        const auto blind = with_bug([name](Problem& q) {
            MultiTokenAttentionParams<double>::for_each(
                [&](std::string_view n, auto& t) {
                    if (n == name) t.data()[1] = 0.5;
                },
                q.params);
        });
        const auto v = probed(blind, p, "parameters", all);
        CHECK(v.state == ProbeState::fails);
        CHECK_MESSAGE(v.sentence.find(std::string("FAIL, ") + name + " changed at [") != std::string::npos,
                      v.sentence);
    }
    // A norm hides by how much one tap is scaled.
    auto one_tap = full_config();
    one_tap.post = {1, 1, KeyPadding::both, 0};
    one_tap.eps = 1e-30;
    CHECK(probed(layer_candidate<double>(), random_problem(one_tap, 2, 7), "parameters", all).state ==
          ProbeState::holds);
    // The first tap row needs three tokens; with two it cannot matter.
    CHECK(probed(layer_candidate<double>(), full_problem(2), "parameters", all).state == ProbeState::holds);
}

TEST_CASE("probes: packed documents that leak through the convolution") {
    const auto leak = candidate_of([](const Problem& p) {
        auto r = layer_results<double>(p);
        Problem whole = p;
        whole.config.document_starts = {{0}};
        r.put(layer_results<double>(whole).at("out"));
        return r;
    });
    CHECK(fails(leak, random_problem(full_config(), 2, 7, {{0, 3}, {0, 6}}), "documents"));
    CHECK(probed(leak, full_problem(), "documents").sentence ==
          "documents: not applicable, every row holds one document");
}

TEST_CASE("probes: gradients that are not linear in d_out") {
    CHECK(fails(with_wrong_results([](const Problem&, oracle::NamedTensor& t) {
                    if (t.name == "grad.norm.weight") t.values[1] = std::abs(t.values[1]);
                }),
                full_problem(), "gradients_linear"));
}

TEST_CASE("probes: candidates that refuse, fail, or answer something else") {
    Candidate refuses{"r", "", [](const Problem&) {
                          return Answer{Outcome::refused, "no sparsemax here", {}, {}};
                      }};
    Candidate crashes{"c", "", [](const Problem&) { return Answer{Outcome::crashed, "signal 11", {}, {}}; }};
    const auto p = full_problem();
    CHECK(probed(refuses, p, "batch").sentence ==
          "batch: not applicable, the candidate refuses: no sparsemax here");
    CHECK(probed(crashes, p, "batch").sentence == "batch: FAIL, the candidate gave no answer: signal 11");
    CHECK(probed(candidate_of([](const Problem&) { return Results{}; }), p, "batch").sentence ==
          "batch: FAIL, got no tensor 'out', expected one");
    const auto short_out = candidate_of([](const Problem&) { return Results{{{"out", {2}, {1, 2}}}}; });
    CHECK(fails(short_out, p, "batch"));
    const auto nan = candidate_of([](const Problem& q) {
        auto r = layer_results<double>(q);
        if (q.batch() == 1) r.tensors[0].values[0] = not_a_number;
        return r;
    });
    CHECK(fails(nan, p, "batch"));
    auto forward = p;
    forward.d_out.reset();
    CHECK(probed(layer_candidate<double>(), forward, "gradients_linear").sentence ==
          "gradients_linear: not applicable, the problem has no d_out");
    CHECK_THROWS_WITH_AS(run_probes(nan, p, {}, {"batches"}),
                         "run_probes: got 'batches', expected the name of a probe", ValueError);
}

}  // namespace
}  // namespace mta_test_probes
