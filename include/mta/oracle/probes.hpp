// Metamorphic probes: what must hold between runs of one candidate, whatever its values are.
// SPDX-License-Identifier: MIT
//
// Source    Multi-Token Attention, arXiv:2504.00927, Secs. 3.1 to 3.3; each probe is derived in
//           docs/oracle/probes.md.
// Inputs    the probes' own, seeded: the problem gives the shape, the configuration, the documents and the type.
// Errors    none: a candidate that fails to answer fails the probe, one that refuses makes it not applicable.
#pragma once

#include <mta/oracle/detail/probe_gradients.hpp>
#include <mta/oracle/detail/probe_reach.hpp>

namespace mta::oracle {

namespace detail {

struct Probe {
    const char *name, *purpose;
    void (*run)(ProbeRun&);
};

inline constexpr std::array<Probe, 13> probes{{
    {"identity_kernels", "identity kernels and mixes leave textbook attention", probe_identity_kernels},
    {"later_tokens", "no row reads a later token", probe_later_tokens},
    {"later_nan", "NaN in later tokens stays there (informative)", probe_later_nan},
    {"prefix", "a prefix alone gives the rows that it has in the whole", probe_prefix},
    {"query_reach", "a query changes the rows and heads that its kernels span, and no others",
     probe_query_reach},
    {"batch", "batch rows do not see each other", probe_batch},
    {"head_permutation", "heads in another order give the outputs in that order", probe_head_permutation},
    {"rotation", "scores depend on q and k through their inner product alone", probe_rotation},
    {"parameters", "every parameter with a tap inside matters", probe_parameters},
    {"documents", "packed documents equal separate runs", probe_documents},
    {"gradients_linear", "gradients are linear in d_out", probe_linear_gradients},
    {"gradients_later", "no gradient reaches tokens after the last row that has one",
     probe_gradients_of_later_tokens},
    {"gradients_batch", "gradients of batch rows do not see each other", probe_gradients_of_other_rows},
}};

inline ProbeVerdict run_probe(const Probe& probe, ProbeRun run) {
    ProbeVerdict v{probe.name, probe.purpose, ProbeState::holds, "", 0};
    try {
        probe.run(run);
        v.sentence = sentence(probe.name, ": ok, ", probe.purpose);
    } catch (const ProbeEnd& end) {
        v.state = end.state;
        const char* word = end.state == ProbeState::fails            ? ": FAIL, "
                           : end.state == ProbeState::not_applicable ? ": not applicable, "
                                                                     : ": note, ";
        v.sentence = sentence(probe.name, word, end.sentence);
    }
    v.calls = run.calls;
    return v;
}

}  // namespace detail

/// Runs every probe, or those in `only`. Throws ValueError for a name that is no probe's.
inline std::vector<ProbeVerdict> run_probes(const Candidate& candidate, const Problem& problem,
                                            const ProbeOptions& options = {},
                                            const std::vector<std::string>& only = {}) {
    for (const auto& name : only)
        require<ValueError>(std::any_of(detail::probes.begin(), detail::probes.end(),
                                        [&](const auto& probe) { return name == probe.name; }),
                            "run_probes: got '", name, "', expected the name of a probe");
    const detail::ProbeRun run(candidate, problem, options);
    std::vector<ProbeVerdict> verdicts;
    for (const auto& probe : detail::probes)
        if (only.empty() || std::find(only.begin(), only.end(), probe.name) != only.end())
            verdicts.push_back(detail::run_probe(probe, run));
    return verdicts;
}

}  // namespace mta::oracle
