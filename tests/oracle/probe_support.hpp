// The layer in double or float as a candidate, and configurations that leave something linear.
// SPDX-License-Identifier: MIT
#pragma once

#include <mta/oracle/candidate.hpp>

#include "../support/problem.hpp"
#include "../support/tensors.hpp"

namespace mta::test {

using oracle::Answer;
using oracle::Candidate;
using oracle::CaseConfig;
using oracle::Problem;
using oracle::Results;

/// What the layer makes of the problem in this arithmetic, without stages.
template <class Scalar>
Results layer_results(const Problem& p) {
    Results r;
    const auto& config = p.config.attention;
    const auto call = p.config.call();
    const auto q = cast<Scalar>(p.q), k = cast<Scalar>(p.k), v = cast<Scalar>(p.v);
    const auto params = cast_params<Scalar>(p.params);
    const auto trace = multi_token_attention_forward(q, k, v, params, config, call);
    r.put("out", trace.out());
    if (!p.d_out) return r;
    const auto g =
        multi_token_attention_backward(cast<Scalar>(*p.d_out), q, k, v, params, config, call, trace);
    r.put("grad.q", g.d_q);
    r.put("grad.k", g.d_k);
    r.put("grad.v", g.d_v);
    MultiTokenAttentionParams<Scalar>::for_each(
        [&](std::string_view name, const auto& d) { r.put("grad." + std::string(name), d); }, g.d_params);
    return r;
}

/// A candidate that answers with f(problem).
template <class F>
Candidate candidate_of(F f) {
    return {"test", "", [f](const Problem& p) { return Answer{{}, "", f(p), {}}; }};
}

template <class Scalar>
Candidate layer_candidate() {
    return candidate_of([](const Problem& p) { return layer_results<Scalar>(p); });
}

/// full_config without norm and gate, and other choices that leave something linear.
inline std::vector<MultiTokenAttentionConfig> linear_configs() {
    auto plain = full_config();
    plain.norm.reset();
    plain.gate.reset();
    std::vector<MultiTokenAttentionConfig> all(6, plain);
    all[1].pre = {0, 0, KeyPadding::both, 2};
    all[1].post = {0, 0, KeyPadding::both, 4};
    all[1].normalise = Normalise::sparsemax;
    all[2].pre = all[2].post = {};
    all[3].post = {3, 5, KeyPadding::both, 0};
    all[3].gate = GateKind::scalar;
    all[4].pre = {4, 3, KeyPadding::both, 0};
    all[4].mask = MaskRule::exact;
    all[4].post.mix_group = 1;
    all[4].gate = GateKind::vector;
    all[5].mask = MaskRule::none;
    all[5].pre = {};
    return all;
}

}  // namespace mta::test
