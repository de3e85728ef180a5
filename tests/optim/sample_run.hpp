// The sample model under AdamW, and comparison of all that it holds.
// SPDX-License-Identifier: MIT
#pragma once

#include <mta/optim/adamw.hpp>

#include "optim/sample_params.hpp"
#include "support/checks.hpp"

namespace mta::test {

/// All tensors hold the same bits.
template <class Params>
void check_same_params(const Params& got, const Params& want) {
    Params::for_each([](std::string_view name, const auto& g, const auto& w) { check_same_bits(name, g, w); },
                     got, want);
}

template <class Params>
void check_same_state(const AdamWState<Params>& got, const AdamWState<Params>& want) {
    check_same_params(got.first, want.first);
    check_same_params(got.second, want.second);
    CHECK(got.steps == want.steps);
}

/// Gradient number `step`, random at every element.
template <class Scalar>
SampleParams<Scalar> sample_grads(std::uint64_t step) {
    return sample_params<Scalar>(1000 + step);
}

/// A model and an optimizer that trains it.
struct Run {
    SampleParams<double> params = sample_params<double>(1);
    AdamWState<SampleParams<double>> state = make_adamw_state(params);
    AdamWConfig config;

    void step(std::uint64_t n, double lr, const ParameterGroups& groups = {}) {
        adamw_step(params, sample_grads<double>(n), state, config, lr, groups);
    }
};

}  // namespace mta::test
