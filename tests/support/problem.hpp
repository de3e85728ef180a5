// Problems for the oracle's tests: random cases as the oracle holds them.
// SPDX-License-Identifier: MIT
#pragma once

#include <mta/oracle/detail/problem_edit.hpp>
#include <mta/oracle/problem.hpp>

#include "attention_case.hpp"

namespace mta::test {

/// A problem of this configuration with normal inputs, parameters and d_out, rounded to the type.
inline oracle::Problem random_problem(const MultiTokenAttentionConfig& config, Index B, Index S,
                                      std::vector<std::vector<Index>> document_starts = {{0}},
                                      io::DType dtype = io::DType::F64, std::uint64_t seed = 1) {
    const auto c = random_case(config, B, S, {}, seed);
    oracle::Problem p{"random", {config, std::move(document_starts)}, dtype, c.q, c.k, c.v, c.params,
                      c.d_out};
    oracle::detail::round_inputs(p);
    return p;
}

inline oracle::Problem random_problem(const MultiTokenAttentionConfig& config, Index B, Index S,
                                      std::vector<std::vector<Index>> document_starts, std::uint64_t seed) {
    return random_problem(config, B, S, std::move(document_starts), io::DType::F64, seed);
}

/// The tensors of these names.
inline oracle::Results only(const oracle::Results& all, const std::vector<std::string>& names) {
    oracle::Results some;
    for (const auto& name : names)
        some.put(all.at(name));
    return some;
}

/// Largest |got - want| / max|want| over all tensors of `want`; infinite where one is missing or of another shape.
inline double worst_difference(const oracle::Results& got, const oracle::Results& want) {
    double worst = want.tensors.empty() ? INFINITY : 0;
    for (const auto& w : want.tensors) {
        const auto* g = got.find(w.name);
        if (g == nullptr || g->shape != w.shape) return INFINITY;
        double difference = 0, scale = 0;
        for (std::size_t n = 0; n < w.values.size(); ++n) {
            if (!std::isfinite(g->values[n]) || !std::isfinite(w.values[n])) return INFINITY;
            difference = std::max(difference, std::abs(g->values[n] - w.values[n]));
            scale = std::max(scale, std::abs(w.values[n]));
        }
        if (difference > 0) worst = std::max(worst, scale > 0 ? difference / scale : INFINITY);
    }
    return worst;
}

}  // namespace mta::test
