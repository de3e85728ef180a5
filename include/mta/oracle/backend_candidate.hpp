// A candidate from C++: any attention backend, or any function that answers a problem.
// SPDX-License-Identifier: MIT
//
// It runs in this process: an exception becomes an outcome, a crash does not (library_candidate.hpp contains
// those). UnsupportedError means that the candidate refuses the configuration.
#pragma once

#include <mta/layers/attention_backend.hpp>
#include <mta/oracle/candidate.hpp>
#include <mta/oracle/detail/call_memory.hpp>
#include <new>
#include <utility>

namespace mta::oracle {

namespace detail {

inline Answer answer_that(Outcome outcome, std::string sentence) {
    Answer answer;
    answer.outcome = outcome;
    answer.sentence = std::move(sentence);
    return answer;
}

/// Throws ShapeError unless every tensor under a name of the contract has the shape that the problem asks for.
inline void check_result_shapes(const Problem& p, const Results& results) {
    for (const bool backward : {false, true})
        for (const auto& plan : planned_outputs(p, backward, /*stages=*/true))
            if (const auto* got = results.find(plan.name))
                require_same_shape(plan.name, got->shape, plan.shape);
}

/// What `compute` returns as an answer; what it throws as an outcome.
template <class Compute>
Answer answer_of(const Problem& p, const Compute& compute) {
    try {
        Answer answer;
        answer.results = compute(p);
        check_result_shapes(p, answer.results);
        return answer;
    } catch (const UnsupportedError& error) {
        return answer_that(Outcome::refused, error.what());
    } catch (const std::bad_alloc&) {
        return answer_that(Outcome::failed, "ran out of memory");
    } catch (const std::exception& error) {
        return answer_that(Outcome::failed, error.what());
    } catch (...) {
        return answer_that(Outcome::failed, "threw something that is no std::exception");
    }
}

template <class Scalar>
void put_trace(Results& results, const std::string& prefix, const MultiTokenAttentionTrace<Scalar>& trace) {
    MultiTokenAttentionTrace<Scalar>::for_each(
        [&](std::string_view name, const auto& stage) { results.put(prefix + std::string(name), stage); },
        trace);
}
// What another backend saves is its own business.
template <class Saved>
void put_trace(Results&, const std::string&, const Saved&) {}

template <class Scalar, class Grads>
void put_gradients(Results& results, const Grads& g) {
    if constexpr (requires { g.d_trace; }) put_trace(results, "stage.d_", g.d_trace);
    results.put("grad.q", Tensor<Scalar, 4>(g.d_q));
    results.put("grad.k", Tensor<Scalar, 4>(g.d_k));
    results.put("grad.v", Tensor<Scalar, 4>(g.d_v));
    const MultiTokenAttentionParams<Scalar>& d_params = g.d_params;
    MultiTokenAttentionParams<Scalar>::for_each(
        [&](std::string_view name, const auto& d) { results.put("grad." + std::string(name), d); }, d_params);
}

/// Everything that a backend computes for a problem, in its scalar.
template <class Scalar, class Backend>
Results backend_results(const Problem& p, const Backend& backend) {
    const auto& config = p.config.attention;
    const AttentionCall call = p.config.call();
    const auto q = cast<Scalar>(p.q), k = cast<Scalar>(p.k), v = cast<Scalar>(p.v);
    const auto params = cast_params<Scalar>(p.params);
    const auto result = backend.forward(q, k, v, params, config, call);
    Results results;
    put_trace(results, "stage.", result.saved);
    results.put("out", Tensor<Scalar, 4>(result.out));
    if (!p.d_out) return results;
    const auto d_out = cast<Scalar>(*p.d_out);
    put_gradients<Scalar>(results, backend.backward(d_out, q, k, v, params, config, call, result.saved));
    return results;
}

}  // namespace detail

/// A backend (layers/attention_backend.hpp) that computes in Scalar, float or double. Its stages are judged where
/// what it saves is a MultiTokenAttentionTrace, and those of the backward pass where its gradients have a d_trace.
template <class Scalar, AttentionBackend<Scalar> Backend>
Candidate backend_candidate(std::string name, Backend backend) {
    static_assert(std::is_same_v<Scalar, float> || std::is_same_v<Scalar, double>,
                  "backend_candidate: Scalar is float or double");
    return {std::move(name), "", [backend = std::move(backend)](const Problem& p) {
                return detail::answer_of(
                    p, [&](const Problem& given) { return detail::backend_results<Scalar>(given, backend); });
            }};
}

/// A function from a Problem to Results: tensors under the names of the file contract (results.hpp), of which
/// `out` is owed.
template <class Compute>
requires std::is_invocable_r_v<Results, const Compute&, const Problem&> Candidate
callable_candidate(std::string name, Compute compute) {
    return {std::move(name), "",
            [compute = std::move(compute)](const Problem& p) { return detail::answer_of(p, compute); }};
}

}  // namespace mta::oracle
