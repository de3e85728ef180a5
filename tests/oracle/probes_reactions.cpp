// Probes that demand a reaction: right kernels whose arithmetic hides it hold, and kernels that are blind do not.
// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <mta/oracle/case.hpp>
#include <mta/oracle/probes.hpp>

#include "probe_support.hpp"

namespace mta_test_probes_reactions {
namespace {

using namespace mta;
using namespace mta::test;
using oracle::ProbeState;
using oracle::ProbeVerdict;

const oracle::ProbeOptions all_parameters{
    .relative = {}, .bitwise = false, .seed = 1, .parameter_calls = 1000};

// The layer in float, its results rounded to the inputs' type as those of a kernel are.
Candidate rounded_candidate() {
    return candidate_of([](const Problem& p) {
        auto r = layer_results<float>(p);
        for (auto& t : r.tensors)
            for (auto& x : t.values)
                x = oracle::detail::rounded_to(p.dtype, x);
        return r;
    });
}

template <class F>
Candidate with_bug(F f) {
    return candidate_of([f](Problem p) {
        f(p);
        return layer_results<double>(p);
    });
}

// Reads 0.5 in place of one element of the parameter.
Candidate blind_to(std::string parameter, Index element = 1) {
    return with_bug([parameter, element](Problem& p) {
        MultiTokenAttentionParams<double>::for_each(
            [&](std::string_view name, auto& t) {
                if (name == parameter) t.data()[element] = 0.5;
            },
            p.params);
    });
}

ProbeVerdict probed(const Candidate& candidate, const Problem& p, const char* name) {
    return oracle::run_probes(candidate, p, all_parameters, {name}).at(0);
}

TEST_CASE("hidden reactions: sparsemax, a scale of 0, norms and narrow types") {
    for (const char* descriptor :
         {"mta-sparsemax/B1_H2_S8_D4_g2", "sdpa/B1_H2_S8_D4 scale=0",
          "mta-sparsemax/B2_H2_kv1_S9_D3_cq3_ck1_g1 gate=none layer_index=7",
          "mta-exact/B3_H8_kv2_S17_D2_cq3_ck1_g4 fill=uniform seed=539427 io=bf16 mask=twice "
          "document_starts=0,11 eps=0",
          "mta-sparsemax/B3_H1_kv1_S9_D8_cq1_ck11_g1 fill=offset seed=700204 io=fp16 mask=none eps=1e-8"})
        for (const auto& v :
             oracle::run_probes(rounded_candidate(), oracle::make_problem(oracle::parse_case(descriptor)))) {
            const bool fine = v.state == ProbeState::holds || v.state == ProbeState::not_applicable;
            CHECK_MESSAGE(fine, descriptor, ": ", v.sentence);
        }
}

TEST_CASE("hidden reactions: under sparsemax blindness to what the reference sees is still noticed") {
    auto p = oracle::make_problem(oracle::parse_case("mta-sparsemax/B1_H2_S8_D4_g2"));
    CHECK(probed(rounded_candidate(), p, "parameters").state == ProbeState::holds);
    for (const char* name : {"pre.mix", "post.mix"})
        CHECK(probed(blind_to(name), p, "parameters").state == ProbeState::fails);
    const auto deaf = with_bug([](Problem& q) {
        for (auto& x : elements(q.q))
            x = 1;
    });
    const auto v = probed(deaf, p, "query_reach");
    CHECK(v.state == ProbeState::fails);
    CHECK_MESSAGE(v.sentence.find("got a change of 0, expected one") != std::string::npos, v.sentence);
}

TEST_CASE("hidden reactions: a norm hides the size of its one tap, not the sign") {
    auto one_tap = full_config();
    one_tap.post = {1, 1, KeyPadding::both, 0};
    one_tap.eps = 1e-30;
    const auto p = random_problem(one_tap, 2, 7);
    CHECK(probed(layer_candidate<double>(), p, "parameters").state == ProbeState::holds);
    CHECK(probed(blind_to("post.kernel"), p, "parameters").state == ProbeState::fails);
}

TEST_CASE("parameters: elements that cannot matter are not tried") {
    // Besides 2 calls without a change: the mixes 8 and 16, norm 3, gate 9 and 3, and the taps inside.
    const auto calls = [](Index S) {
        return probed(layer_candidate<double>(), random_problem(full_config(), 2, S), "parameters").calls;
    };
    CHECK(calls(7) == 41 + 36 + 32);
    CHECK(calls(2) == 41 + 4 * (3 + 2) + 4 * (2 + 2));
    CHECK(calls(1) == 33 + 4);
}

TEST_CASE("query reach: the first query sees one key and may change nothing") {
    const auto adds_query = candidate_of([](const Problem& p) {
        auto r = layer_results<double>(p);
        const auto D = static_cast<std::size_t>(p.config.attention.head_dim);
        for (std::size_t d = 0; d < D; ++d)
            r.tensors[0].values[d] += p.q.data()[d];  // out at [0, 0, 0]
        return r;
    });
    const auto v = probed(adds_query, random_problem(full_config(), 2, 7), "query_reach");
    CHECK(v.state == ProbeState::fails);
    CHECK_MESSAGE(v.sentence.find("expected none") != std::string::npos, v.sentence);
}

TEST_CASE("gradients_linear: what cancels may be off by the type's smallest numbers, not by more") {
    const auto p = oracle::make_problem(oracle::parse_case("paper-880m/B1_H2_S5_D4_cq2_ck3_g2 io=fp16"));
    const auto tiny = [](double size) {
        return candidate_of([size](const Problem& q) {
            auto r = layer_results<double>(q);
            for (auto& t : r.tensors)
                if (t.name == "grad.post.mix")
                    for (auto& x : t.values)
                        x = q.d_out->data()[0] > 0 ? size : -size;  // -2 times it would be right
            return r;
        });
    };
    CHECK(probed(tiny(0x1p-23), p, "gradients_linear").state == ProbeState::holds);
    CHECK(probed(tiny(0x1p-20), p, "gradients_linear").state == ProbeState::fails);
}

}  // namespace
}  // namespace mta_test_probes_reactions
