// Candidates from C++: backends in float and double, callables, and what they throw.
// SPDX-License-Identifier: MIT
#include <mta/oracle/backend_candidate.hpp>

#include "support/attention_case.hpp"
#include "support/checks.hpp"

namespace mta_test_backend_candidate {
using namespace mta;
using namespace mta::test;
using namespace mta::oracle;

namespace {

Problem problem_of(const MultiTokenAttentionConfig& config) {
    const auto c = random_case<double>(config, 2, 5);
    Problem p;
    p.config.attention = config;
    p.q = cast<double>(cast<float>(c.q)), p.k = cast<double>(cast<float>(c.k)),
    p.v = cast<double>(cast<float>(c.v));
    p.params = cast_params<double>(cast_params<float>(c.params));
    p.d_out = cast<double>(cast<float>(c.d_out));
    return p;
}

// A backend that saves nothing a checker knows and whose gradients have no trace.
struct Opaque {
    struct Grads {
        Tensor<float, 4> d_q, d_k, d_v;
        MultiTokenAttentionParams<float> d_params;
    };
    AttentionResult<float, int> forward(const Tensor<float, 4>& q, const Tensor<float, 4>& k,
                                        const Tensor<float, 4>& v,
                                        const MultiTokenAttentionParams<float>& params,
                                        const MultiTokenAttentionConfig& config,
                                        const AttentionCall& call) const {
        return {multi_token_attention_forward(q, k, v, params, config, call).out(), 0};
    }
    Grads backward(const Tensor<float, 4>& d_out, const Tensor<float, 4>& q, const Tensor<float, 4>& k,
                   const Tensor<float, 4>& v, const MultiTokenAttentionParams<float>& params,
                   const MultiTokenAttentionConfig& config, const AttentionCall& call, int) const {
        const auto trace = multi_token_attention_forward(q, k, v, params, config, call);
        auto g = multi_token_attention_backward(d_out, q, k, v, params, config, call, trace);
        return {g.d_q, g.d_k, g.d_v, g.d_params};
    }
};

// Throws what its template argument says, or gives a tensor of a wrong shape.
enum class Fault { unsupported, error, number, memory, shape };
template <Fault fault>
struct Faulty : Reference {
    template <class... Arguments>
    auto forward(const Arguments&... arguments) const {
        if constexpr (fault == Fault::unsupported) throw UnsupportedError("only 8 heads");
        if constexpr (fault == Fault::error) throw std::runtime_error("the device is gone");
        if constexpr (fault == Fault::number) throw 42;
        if constexpr (fault == Fault::memory) throw std::bad_alloc();
        auto result = Reference::forward(arguments...);
        if constexpr (fault == Fault::shape) result.out = zeros<double>(1, 1, 1, 1);
        return result;
    }
};

template <Fault fault>
Answer answer_of_faulty() {
    return backend_candidate<double>("faulty", Faulty<fault>{}).answer(problem_of(full_config()));
}

double worst_error(const Results& got, const Results& want) {
    double worst = 0;
    for (const auto& t : want.tensors) {
        const auto& g = got.at(t.name);
        REQUIRE(g.shape == t.shape);
        double scale = 0, error = 0;
        for (std::size_t n = 0; n < t.values.size(); ++n) {
            scale = std::max(scale, std::abs(t.values[n]));
            error = std::max(error, std::abs(g.values[n] - t.values[n]));
        }
        worst = std::max(worst, scale > 0 ? error / scale : error);
    }
    return worst;
}

}  // namespace

TEST_CASE("the reference in double gives its own bits, under every name") {
    for (const auto& config : varied_configs()) {
        const Problem p = problem_of(config);
        const auto candidate = backend_candidate<double>("reference", Reference{});
        CHECK(candidate.name == "reference");
        const Answer answer = candidate.answer(p);
        CHECK(answer.outcome == Outcome::answered);
        CHECK(answer.sentence == "");
        const auto want = reference_results(p);
        CHECK(answer.results.tensors.size() == want.tensors.size());
        CHECK(worst_error(answer.results, want) == 0);
    }
}

TEST_CASE("in float it computes in float") {
    const Problem p = problem_of(full_config());
    const auto results = backend_candidate<float>("reference float", Reference{}).answer(p).results;
    const double error = worst_error(results, reference_results(p));
    CHECK(error > 1e-9);
    CHECK(error < 1e-4);
}

TEST_CASE("forward alone where there is no cotangent; documents reach the backend") {
    Problem p = problem_of(full_config());
    p.config.document_starts = {{0, 2}, {0, 3}};
    p.d_out.reset();
    const auto results = backend_candidate<double>("reference", Reference{}).answer(p).results;
    CHECK(results.find("grad.q") == nullptr);
    CHECK(results.find("stage.d_logits") == nullptr);
    CHECK(results.find("stage.logits") != nullptr);
    CHECK(worst_error(results, reference_results(p)) == 0);
}

TEST_CASE("a backend without a trace is judged by its output and gradients") {
    const Problem p = problem_of(full_config());
    const Answer answer = backend_candidate<float>("opaque", Opaque{}).answer(p);
    CHECK(answer.outcome == Outcome::answered);
    CHECK(answer.results.find("stage.logits") == nullptr);
    CHECK(answer.results.find("stage.d_logits") == nullptr);
    CHECK(answer.results.tensors.size() == 1 + 3 + 7);
    CHECK(worst_error(answer.results, reference_results(p, /*stages=*/false)) < 1e-4);
}

TEST_CASE("what a backend throws becomes an outcome and its sentence") {
    const Answer refused = answer_of_faulty<Fault::unsupported>();
    CHECK(refused.outcome == Outcome::refused);
    CHECK(refused.sentence == "only 8 heads");
    const Answer failed = answer_of_faulty<Fault::error>();
    CHECK(failed.outcome == Outcome::failed);
    CHECK(failed.sentence == "the device is gone");
    CHECK(answer_of_faulty<Fault::number>().sentence == "threw something that is no std::exception");
    CHECK(answer_of_faulty<Fault::memory>().sentence == "ran out of memory");
    const Answer shape = answer_of_faulty<Fault::shape>();
    CHECK(shape.outcome == Outcome::failed);
    CHECK(shape.sentence == "out: got shape [1, 1, 1, 1], expected shape [2, 4, 5, 3]");
    CHECK(shape.results.tensors.empty());
}

TEST_CASE("a callable answers with what it returns, and its shapes are looked at") {
    const Problem p = problem_of(full_config());
    const auto good =
        callable_candidate("mine", [](const Problem& given) { return reference_results(given, false); });
    CHECK(good.name == "mine");
    CHECK(good.answer(p).results.tensors.size() == 11);
    const auto with_shape = [&](const char* name, std::vector<Index> shape) {
        return callable_candidate("mine",
                                  [=](const Problem&) {
                                      Results r;
                                      r.put(NamedTensor{name, shape, std::vector<double>(6)});
                                      return r;
                                  })
            .answer(p);
    };
    CHECK(with_shape("grad.pre.kernel", {1, 2, 3}).sentence ==
          "grad.pre.kernel: got shape [1, 2, 3], expected shape [4, 3, 3]");
    CHECK(with_shape("stage.d_weights", {6}).sentence ==
          "stage.d_weights: got shape [6], expected shape [2, 4, 5, 5]");
    CHECK(with_shape("extra", {6}).outcome == Outcome::answered);
}

TEST_CASE("shapes of stages that the configuration lacks are not asked for") {
    MultiTokenAttentionConfig plain;
    plain.heads = 2;
    plain.head_dim = 3;
    const auto stages = oracle::detail::configured_stages(plain);
    CHECK(stages == std::vector<std::string>{"logits", "weights", "context"});
    CHECK(oracle::detail::planned_outputs(problem_of(plain), true, true).size() == 3 + 3);
}
}  // namespace mta_test_backend_candidate
