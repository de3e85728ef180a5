// What the tests of tolerances, judgement, trust and reports share: small problems, and models as candidates.
// SPDX-License-Identifier: MIT
#pragma once

#include <mta/oracle/case.hpp>
#include <mta/oracle/model.hpp>

#include "support/checks.hpp"

namespace mta::test {

inline const char* const every_stage = "paper-880m/B2_H4_kv2_S9_D8_cq2_ck3_g2 fill=asymmetric seed=3 io=fp32";
inline const char* const every_stage_bf16 =
    "paper-880m/B2_H4_kv2_S9_D8_cq2_ck3_g2 fill=asymmetric seed=3 io=bf16";
inline const char* const exact_mask = "mta-exact/B1_H2_S7_D4_cq3_ck3_g2 fill=normal seed=4 io=fp32";
inline const char* const sparse = "mta-sparsemax/B1_H2_S7_D4_cq2_ck3_g2 fill=normal seed=5 io=fp32";
inline const char* const packed =
    "paper-880m/B2_H2_S8_D4_cq2_ck3_g2 fill=normal seed=6 io=fp32 document_starts=0,3;0,1,5";

inline oracle::Problem problem_of(const char* descriptor) {
    return oracle::make_problem(oracle::parse_case(descriptor));
}

/// What the model computes when it rounds as the profile says, right or with a bug.
inline oracle::Results model_results(const oracle::Problem& p, const oracle::RoundingProfile& profile,
                                     const oracle::Deviation& deviation = {}) {
    auto arithmetic = oracle::Arithmetic::rounded(profile);
    return oracle::run_model(p, arithmetic, deviation);
}

inline oracle::Results without_stages(oracle::Results r) {
    std::erase_if(r.tensors, [](const auto& t) { return t.name.starts_with("stage."); });
    return r;
}

inline oracle::NamedTensor& tensor_of(oracle::Results& r, std::string_view name) {
    for (auto& t : r.tensors)
        if (t.name == name) return t;
    throw ArgumentError("no tensor " + std::string(name));
}

}  // namespace mta::test
