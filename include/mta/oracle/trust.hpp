// Trust: whether a candidate that agrees could have failed.
// SPDX-License-Identifier: MIT
//
// A case  does not count as a pass when tensors that are owed are missing, when the reference itself is not finite,
//         when the output is mostly zero, when every row has one key (the gradients of q and k are then 0).
//         A case whose tensors agree while an identity between its gradients fails does not count either.
// A run   is trusted when some case counts, no identity fails in any, and its cases, at their tolerances, would have
//         caught nearly every known bug (deviations.hpp) that matters for its configurations. Bugs that change nothing
//         there, because they are equivalent by construction or because the stage is absent, are not counted.
#pragma once

#include <algorithm>
#include <cmath>
#include <map>
#include <mta/core/parallel.hpp>
#include <mta/oracle/case.hpp>
#include <mta/oracle/deviations.hpp>
#include <mta/oracle/judge.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace mta::oracle {

/// What a candidate owes: the output, or with it every gradient of problems that have a d_out.
enum class Owed { forward, all };

/// Share of the bugs that matter which a trusted run sees.
inline constexpr double trusted_power = 0.9;

struct CaseTrust {
    std::vector<std::string> reasons;  // why this case does not count; empty when it does
    std::vector<std::string> missing;  // owed and not given, a reason too
    std::vector<std::string> broken;   // statements of identities that fail though every tensor agrees
    bool counts() const { return reasons.empty() && missing.empty() && broken.empty(); }
};

/// Which known bugs a set of cases would catch.
struct Power {
    std::vector<std::string> seen, unseen;  // names, in the order of deviations(); others do not matter here

    std::size_t applicable() const { return seen.size() + unseen.size(); }
    double share() const {
        return applicable() == 0 ? 1 : static_cast<double>(seen.size()) / static_cast<double>(applicable());
    }
};

struct RunTrust {
    std::vector<std::string> reasons;  // empty: trusted
    std::size_t counting_cases = 0, cases = 0;
    std::optional<Power> power;  // nothing: not measured
    bool trusted() const { return reasons.empty(); }
};

namespace detail {

inline bool is_owed(std::string_view name, Owed owed) {
    return name == "out" || (owed == Owed::all && name.starts_with("grad."));
}

inline std::string joined(const std::vector<std::string>& names, std::size_t most = 6) {
    std::string text;
    for (std::size_t n = 0; n < std::min(names.size(), most); ++n)
        text += (n == 0 ? "" : ", ") + names[n];
    return names.size() > most ? sentence(text, " and ", names.size() - most, " more") : text;
}

inline bool all_zero(const NamedTensor& t) {
    return std::all_of(t.values.begin(), t.values.end(), [](double x) { return x == 0; });
}

inline Index longest_document(const Problem& p) {
    const auto documents = p.config.call().documents;
    Index longest = 0;
    for (Index b = 0; b < p.batch(); ++b)
        for (Index i = 0; i < p.sequence(); ++i) {
            const KeyRange d = documents.around(b, i, p.sequence());
            longest = std::max(longest, d.end - d.begin);
        }
    return longest;
}

// Share of elements that a candidate could have left at 0 unnoticed.
inline double zero_share(const NamedTensor& want, const NamedTensor& tolerance) {
    if (want.values.empty()) return 1;
    std::size_t zeros = 0;
    for (std::size_t n = 0; n < want.values.size(); ++n)
        zeros += !(std::abs(want.values[n]) > tolerance.values[n]);
    return static_cast<double>(zeros) / static_cast<double>(want.values.size());
}

}  // namespace detail

/// Whether this case could have failed, from what came and what was expected.
inline CaseTrust trust_of_case(const Problem& p, const Results& got, const Expected& expected, Owed owed) {
    CaseTrust trust;
    std::vector<std::string> zero;
    for (const auto& want : expected.reference.tensors) {
        if (!detail::is_owed(want.name, owed)) continue;
        if (got.find(want.name) == nullptr) trust.missing.push_back(want.name);
        if (want.name != "out" && detail::all_zero(want)) zero.push_back(want.name);
        const bool finite =
            std::all_of(want.values.begin(), want.values.end(), [](double x) { return std::isfinite(x); });
        if (!finite) trust.reasons.push_back(want.name + " is not finite in the reference");
    }
    const auto& out = expected.reference.at("out");
    const double zeros = detail::zero_share(out, expected.tolerance.at("out"));
    if (zeros > 0.5)
        trust.reasons.push_back(
            detail::sentence(std::lround(100 * zeros), "% of out is 0 within its tolerance"));
    if (detail::longest_document(p) == 1)
        trust.reasons.push_back("every row has one key, so that all weights are 1" +
                                (zero.empty() ? "" : "; zero by structure: " + detail::joined(zero)));
    return trust;
}

namespace detail {

// Whether the effect of a deviation would have been noticed on this case, in the tensors that came.
inline bool sees(const Problem& p, const Expected& expected, const std::vector<std::string>& given,
                 const Deviation& deviation) {
    const JudgedPositions judged(p);
    auto arithmetic = Arithmetic::exact();
    const Results wrong = run_model(p, arithmetic, deviation);
    for (const auto& name : given) {
        const NamedTensor *got = wrong.find(name), *want = expected.reference.find(name);
        if (want == nullptr) continue;
        if (got == nullptr) return true;
        if (!worst_element(*got, *want, expected.tolerance.at(name), judged).agrees()) return true;
    }
    return false;
}

// Whether a deviation changes an owed tensor at all, by more than rounding in double.
inline bool matters(const Problem& p, const Results& right, Owed owed, const Deviation& deviation) {
    auto arithmetic = Arithmetic::exact();
    const Results wrong = run_model(p, arithmetic, deviation);
    for (const auto& want : right.tensors) {
        if (!is_owed(want.name, owed)) continue;
        const NamedTensor* got = wrong.find(want.name);
        if (got == nullptr) return true;
        double largest = 0, error = 0;
        for (std::size_t n = 0; n < want.values.size(); ++n) {
            largest = std::max(largest, std::abs(want.values[n]));
            const double difference = std::abs(got->values[n] - want.values[n]);
            error = difference <= error ? error : difference;
        }
        if (!(error <= 1e-9 * largest)) return true;
    }
    return false;
}

// A problem of this configuration on which every bug that matters shows: two batch rows, a few times the kernels
// long, numbers without structure.
inline Problem witness(const Problem& p) {
    const auto& a = p.config.attention;
    Case c{"sdpa", p.config, 2, 0, "asymmetric", 1, io::DType::F32};
    c.sequence = 4 + 2 * std::max({a.pre.query_kernel, a.pre.key_kernel, a.post.query_kernel,
                                   a.post.key_kernel, Index{6}});
    for (const auto& starts : p.config.document_starts)
        c.sequence = std::max(c.sequence, starts.back() + 6);
    if (c.config.document_starts.size() > 1) c.config.document_starts.resize(2, {0});
    return make_problem(c);
}

}  // namespace detail

/// Measures power case by case: what one case has seen, the next need not try.
class PowerMeter {
  public:
    explicit PowerMeter(Owed owed = Owed::all) : owed_{owed}, state_(deviations().size(), State::unknown) {}

    /// Tries every bug that no case has seen yet. `given`: the tensors that the candidate gave.
    void look(const Problem& p, const Expected& expected, const std::vector<std::string>& given) {
        const auto open = with(State::unknown);
        parallel_for(static_cast<Index>(open.size()), [&](Index n) {
            const std::size_t at = open[static_cast<std::size_t>(n)];
            if (!applies(deviations()[at], p)) return;
            if (detail::sees(p, expected, given, deviations()[at])) state_[at] = State::seen;
        });
        configurations_.emplace(to_json(p.config).dump(), p);
    }
    bool complete() const { return with(State::unknown).empty(); }

    /// Sorts what was not seen into what matters for some configuration and what does not.
    Power finish() const {
        std::vector<State> state = state_;
        for (const auto& [text, problem] : configurations_) {
            const Problem p = detail::witness(problem);
            auto arithmetic = Arithmetic::exact();
            const Results right = run_model(p, arithmetic);
            const auto open = with(State::unknown);
            parallel_for(static_cast<Index>(open.size()), [&](Index n) {
                const std::size_t at = open[static_cast<std::size_t>(n)];
                if (state[at] == State::unknown && applies(deviations()[at], p) &&
                    detail::matters(p, right, owed_, deviations()[at]))
                    state[at] = State::unseen;
            });
        }
        Power power;
        for (std::size_t n = 0; n < state.size(); ++n) {
            if (state[n] == State::seen) power.seen.push_back(deviations()[n].name);
            if (state[n] == State::unseen) power.unseen.push_back(deviations()[n].name);
        }
        return power;
    }

  private:
    enum class State : unsigned char { unknown, seen, unseen };
    std::vector<std::size_t> with(State wanted) const {
        std::vector<std::size_t> found;
        for (std::size_t n = 0; n < state_.size(); ++n)
            if (state_[n] == wanted) found.push_back(n);
        return found;
    }

    Owed owed_;
    std::vector<State> state_;  // bytes, not bits: threads write their own
    std::map<std::string, Problem> configurations_;
};

/// The trust of a run: `cases` are those that agreed; `power` what their tolerances would have caught.
inline RunTrust trust_of_run(const std::vector<CaseTrust>& cases, std::optional<Power> power) {
    RunTrust run;
    run.cases = cases.size();
    std::vector<std::string> missing, broken;
    std::size_t lacking = 0, breaking = 0;
    const auto collect = [](const std::vector<std::string>& from, std::vector<std::string>& into) {
        for (const auto& name : from)
            if (std::find(into.begin(), into.end(), name) == into.end()) into.push_back(name);
    };
    for (const auto& c : cases) {
        run.counting_cases += c.counts();
        lacking += !c.missing.empty();
        breaking += !c.broken.empty();
        collect(c.missing, missing);
        collect(c.broken, broken);
    }
    if (run.cases == 0) run.reasons.push_back("no case was judged");
    const bool gradients_alone = std::all_of(missing.begin(), missing.end(),
                                             [](const auto& name) { return name.starts_with("grad."); });
    if (lacking > 0)
        run.reasons.push_back(detail::sentence(
            "owed and not given in ", lacking, " of ", run.cases, " cases: ", detail::joined(missing),
            gradients_alone ? "; --expect forward owes no gradients" : ""));
    if (breaking > 0)
        run.reasons.push_back(
            detail::sentence("identities fail in ", breaking, " of ", run.cases,
                             " cases, although every tensor agrees: ", detail::joined(broken, 3)));
    // When no case counts, the first case says why.
    if (lacking == 0 && breaking == 0 && run.cases > 0 && run.counting_cases == 0)
        run.reasons = cases.front().reasons;
    if (power && power->share() < trusted_power)
        run.reasons.push_back(
            detail::sentence("these cases detect only ", power->seen.size(), "/", power->applicable(),
                             " known deviations at this tolerance: not ", detail::joined(power->unseen, 3)));
    run.power = std::move(power);
    return run;
}

}  // namespace mta::oracle
