// The backend concept: the reference fulfils it, a wrapped foreign implementation does, other things do not.
// SPDX-License-Identifier: MIT
#include <mta/layers/attention_backend.hpp>

#include "support/attention_case.hpp"
#include "support/checks.hpp"

namespace mta_test_attention_backend {
using namespace mta;
using namespace mta::test;

namespace {

// Somebody's implementation, wrapped: it saves nothing and recomputes.
struct Recomputing {
    template <class Scalar>
    auto forward(const Tensor<Scalar, 4>& q, const Tensor<Scalar, 4>& k, const Tensor<Scalar, 4>& v,
                 const MultiTokenAttentionParams<Scalar>& params, const MultiTokenAttentionConfig& config,
                 const AttentionCall& call) const -> AttentionResult<Scalar, int> {
        return {multi_token_attention_forward(q, k, v, params, config, call).out(), 0};
    }
    template <class Scalar>
    auto backward(const Tensor<Scalar, 4>& d_out, const Tensor<Scalar, 4>& q, const Tensor<Scalar, 4>& k,
                  const Tensor<Scalar, 4>& v, const MultiTokenAttentionParams<Scalar>& params,
                  const MultiTokenAttentionConfig& config, const AttentionCall& call, int) const {
        const auto trace = multi_token_attention_forward(q, k, v, params, config, call);
        return multi_token_attention_backward(d_out, q, k, v, params, config, call, trace);
    }
};

struct ForwardOnly {
    template <class Scalar>
    auto forward(const Tensor<Scalar, 4>& q, const Tensor<Scalar, 4>&, const Tensor<Scalar, 4>&,
                 const MultiTokenAttentionParams<Scalar>&, const MultiTokenAttentionConfig&,
                 const AttentionCall&) const -> AttentionResult<Scalar, int> {
        return {q, 0};
    }
};

static_assert(AttentionBackend<Reference, double> && AttentionBackend<Reference, float>);
static_assert(AttentionBackend<Recomputing, double> && AttentionBackend<Recomputing, float>);
// Its backward returns parameter gradients alone.
struct ParametersOnly : Recomputing {
    struct Grads {
        MultiTokenAttentionParams<double> d_params;
    };
    Grads backward(const Tensor<double, 4>&, const Tensor<double, 4>&, const Tensor<double, 4>&,
                   const Tensor<double, 4>&, const MultiTokenAttentionParams<double>&,
                   const MultiTokenAttentionConfig&, const AttentionCall&, int) const;
};

static_assert(!AttentionBackend<ParametersOnly, double>);
static_assert(!AttentionBackend<ForwardOnly, double> && !AttentionBackend<int, double>);

// What a model does with any backend.
template <class Scalar, AttentionBackend<Scalar> Backend>
auto round_trip(const Backend& backend, const AttentionCase<Scalar>& c) {
    auto result = backend.forward(c.q, c.k, c.v, c.params, c.config, c.call);
    auto grads = backend.backward(c.d_out, c.q, c.k, c.v, c.params, c.config, c.call, result.saved);
    return std::pair{std::move(result.out), std::move(grads)};
}

}  // namespace

TEST_CASE("attention_backend: backends are interchangeable") {
    const auto c = random_case(full_config(), 2, 6);
    const auto [out, grads] = round_trip<double>(Reference{}, c);
    const auto [foreign_out, foreign] = round_trip<double>(Recomputing{}, c);
    check_same_bits("out", out, c.forward().out());
    check_same_bits("out", foreign_out, out);
    check_same_bits("d_q", foreign.d_q, grads.d_q);
    check_same_bits("d_k", foreign.d_k, grads.d_k);
    check_same_bits("d_v", foreign.d_v, grads.d_v);
    MultiTokenAttentionParams<double>::for_each(
        [](std::string_view name, const auto& a, const auto& b) { check_same_bits(name, a, b); },
        foreign.d_params, grads.d_params);
}
}  // namespace mta_test_attention_backend
