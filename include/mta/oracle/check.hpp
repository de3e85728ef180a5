// Checks a candidate on cases: asks, judges, diagnoses, and says how far an agreement can be trusted.
// SPDX-License-Identifier: MIT
//
// Order     expectations of a few cases are computed in parallel; the candidate is asked about one case at a time,
//           in the order of the cases and from the thread that called, with nothing else running.
// Verdict   of a run the worst of its cases: crashed, contract, mismatch, nondeterministic, unsupported, mistrusted,
//           agrees. Cases that a candidate refuses are no failures, unless it refuses all.
// Errors    UnsupportedError: a case whose reference does not fit into memory.
#pragma once

#include <chrono>
#include <functional>
#include <mta/core/parallel.hpp>
#include <mta/oracle/candidate.hpp>
#include <mta/oracle/case.hpp>
#include <mta/oracle/detail/report_data.hpp>
#include <mta/oracle/diagnosis.hpp>
#include <mta/oracle/memory_contract.hpp>
#include <string>
#include <utility>
#include <vector>

#if defined(_OPENMP)
#include <omp.h>
#endif

namespace mta::oracle {

/// One problem of a check; made when it is its turn, since a suite may not fit into memory at once.
struct CheckCase {
    std::string name;  // what `--case` takes
    std::function<Problem()> problem;
    bool exact = false;  // stages before the context that rounding cannot touch must be right to the last bit
};

/// The cases of a suite as problems of a check.
inline std::vector<CheckCase> check_cases(const std::vector<Case>& cases) {
    std::vector<CheckCase> made;
    for (const auto& c : cases) {
        const bool exact = c.fill == "exact-integers" || c.fill == "zero-scores" || c.fill == "one-hot";
        made.push_back({describe(c), [c] { return make_problem(c); }, exact});
    }
    return made;
}

/// What is assumed of a candidate that was given tensors of this type and said nothing else.
inline RoundingProfile default_rounding(io::DType dtype) {
    return parse_rounding(dtype == io::DType::F64    ? "fp64"
                          : dtype == io::DType::BF16 ? "bf16-flash"
                          : dtype == io::DType::F16  ? "fp16-flash"
                                                     : "fp32");
}

struct CheckOptions {
    RoundingProfile rounding;
    ToleranceOptions tolerance;
    Owed owed = Owed::all;
    std::string suite;      // for the report
    std::string arguments;  // of the command line, for the reproduce line: "--rounding bf16-flash"
    bool diagnose = true, identities = true, power = true;
    bool declared_deterministic = false;
    int repeats = 3;  // runs whose bits are compared, on the first case; below 2: none
    bool stop_at_first_failure = false;
    /// More that is asked about a case that agrees: probes, the memory contract. A finding's verdict is the second.
    std::function<std::vector<std::pair<Finding, CheckVerdict>>(const Problem&, std::size_t)> probe;
    /// Called after each case.
    std::function<void(const CaseReport&, std::size_t done, std::size_t total)> progress;
};

namespace detail {

// A problem of a run and what is expected of it.
struct Prepared {
    Problem problem;
    Expected expected;
};

// Model runs keep the exact and a perturbed result, squares, tolerance and reference: five of everything.
inline void require_check_fits(const Problem& p) {
    const int maps = score_stages(p.config.attention) * (p.d_out ? 2 : 1) * 6 + 4;
    const auto q = p.q.dimensions();
    require_memory("check", {{q.begin(), q.end()}, maps, 64, sizeof(double)});
}

inline Prepared prepare(const CheckCase& c, const CheckOptions& options) {
    Prepared made{c.problem(), {}};
    if (options.owed == Owed::forward) made.problem.d_out.reset();
    require_check_fits(made.problem);
    made.expected = expect(made.problem, options.rounding, options.tolerance);
    if (c.exact) expect_exactly(made.problem, options.rounding, made.expected);
    return made;
}

inline double coarsest_roundoff(const RoundingProfile& p) {
    double coarsest = unit_roundoff(p.accumulate);
    for (const Precision stored : {p.io, p.multiply, p.scores, p.weights, p.lse})
        coarsest = std::max(coarsest, unit_roundoff(stored));
    return coarsest;
}

// Where the sums of an identity cancel, a right kernel of this rounding misses its bound too: not judged then.
inline std::vector<IdentityVerdict> identities_of(const Problem& p, const Results& got, const Results& right,
                                                  const RoundingProfile& rounding) {
    auto verdicts = check_identities(p, got, coarsest_roundoff(rounding));
    if (std::all_of(verdicts.begin(), verdicts.end(), [](const auto& v) { return v.holds; })) return verdicts;
    const auto reachable = check_identities(p, right, coarsest_roundoff(rounding));
    for (std::size_t n = 0; n < verdicts.size(); ++n) {
        if (verdicts[n].holds || verdicts[n].error > 16 * reachable[n].error) continue;
        verdicts[n].holds = true, verdicts[n].judged = false;
        verdicts[n].sentence = verdicts[n].statement + ": not judged, ill-conditioned in this arithmetic";
    }
    return verdicts;
}

// Threads cost more than they save on small problems, above all on a busy machine. In-process candidates alone see this.
class FewThreads {
  public:
    explicit FewThreads(const Problem& p) {
#if defined(_OPENMP)
        before_ = omp_get_max_threads();
        if (p.q.size() * p.sequence() < Index{1} << 22) omp_set_num_threads(1);
#else
        static_cast<void>(p);
#endif
    }
    FewThreads(const FewThreads&) = delete;
    FewThreads& operator=(const FewThreads&) = delete;
    ~FewThreads() {
#if defined(_OPENMP)
        omp_set_num_threads(before_);
#endif
    }

  private:
    [[maybe_unused]] int before_ = 1;
};

inline double seconds_since(std::chrono::steady_clock::time_point start) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

inline CheckVerdict verdict_of(Outcome outcome) {
    return outcome == Outcome::answered       ? CheckVerdict::agrees
           : outcome == Outcome::refused      ? CheckVerdict::unsupported
           : outcome == Outcome::broke_memory ? CheckVerdict::contract
                                              : CheckVerdict::crashed;
}

inline ErrorMap error_map(const Problem& p, const Results& got, const Expected& expected,
                          const TensorVerdict& t) {
    const NamedTensor &mine = got.at(t.name), &want = expected.reference.at(t.name);
    const NamedTensor& tolerance = expected.tolerance.at(t.name);
    ErrorMap map{t.name, p.name, 1, want.row_length(), {}, {}};
    if (want.shape.size() >= 2) map.rows = want.shape[want.shape.size() - 2];
    const auto cells = static_cast<std::size_t>(map.rows * map.columns);
    map.error.assign(cells, 0);
    map.masked.assign(cells, 1);
    JudgedPositions(p).for_each(want, [&](std::size_t n, Index, Index) {
        const double error = error_in_tolerances(mine.values[n], want.values[n], tolerance.values[n]);
        map.masked[n % cells] = 0;
        map.error[n % cells] = std::max(map.error[n % cells], error);
    });
    return map;
}

// One run of check.
class Checker {
  public:
    Checker(const Candidate& candidate, const std::vector<CheckCase>& cases, const CheckOptions& options)
        : candidate_{candidate}, cases_{cases}, options_{options}, power_{options.owed} {
        report_.candidate = candidate.name;
        report_.rounding = describe(options.rounding);
        report_.suite = options.suite;
        report_.owed = options.owed;
    }

    Report run() {
        const auto start = std::chrono::steady_clock::now();
        constexpr std::size_t at_once = 8;
        for (std::size_t n = 0; n < cases_.size() && !stopped_; n += at_once) {
            auto prepared = prepare_some(n, std::min(cases_.size(), n + at_once));
            for (std::size_t m = 0; m < prepared.size() && !stopped_; ++m)
                take(n + m, prepared[m]);
        }
        finish();
        report_.seconds = seconds_since(start);
        return std::move(report_);
    }

  private:
    std::vector<Prepared> prepare_some(std::size_t begin, std::size_t end) const {
        std::vector<Prepared> prepared(end - begin);
        parallel_for(static_cast<Index>(end - begin), [&](Index n) {
            const auto at = static_cast<std::size_t>(n);
            prepared[at] = prepare(cases_[begin + at], options_);
        });
        return prepared;
    }

    void take(std::size_t at, Prepared& prepared) {
        CaseReport c;
        c.name = prepared.problem.name = cases_[at].name;
        c.reproduce = "mta-oracle check --case '" + c.name + "'" +
                      (options_.arguments.empty() ? "" : " " + options_.arguments) +
                      (candidate_.reproduce.empty() ? "" : " " + candidate_.reproduce);
        const FewThreads few(prepared.problem);
        const auto start = std::chrono::steady_clock::now();
        const Answer answer = candidate_.answer(prepared.problem);
        c.seconds = seconds_since(start);
        c.sentence = answer.sentence;
        c.notes = answer.notes;
        c.verdict = verdict_of(answer.outcome);
        if (answer.outcome == Outcome::answered) judge_answer(c, prepared, answer.results);
        if (c.verdict == CheckVerdict::agrees) ask_more(c, at, prepared);
        if (c.failed()) remember_failure(c, prepared, answer);
        if (options_.stop_at_first_failure && c.failed()) stopped_ = true;
        report_.cases.push_back(std::move(c));
        if (options_.progress) options_.progress(report_.cases.back(), report_.cases.size(), cases_.size());
    }

    void judge_answer(CaseReport& c, const Prepared& prepared, const Results& got) {
        const auto& p = prepared.problem;
        const auto local = expect_locally(p, options_.rounding, got, prepared.expected, options_.tolerance);
        c.judgement = judge(p, got, prepared.expected, local ? &*local : nullptr);
        if (!c.judgement.agrees()) c.verdict = CheckVerdict::mismatch;
        if (options_.identities && p.d_out && options_.owed == Owed::all)
            c.identities = identities_of(p, got, prepared.expected.low_precision, options_.rounding);
        c.trust = trust_of_case(got, prepared.expected, options_.owed);
        if (c.verdict != CheckVerdict::agrees) return;
        std::vector<std::string> given;
        for (const auto& t : c.judgement.tensors)
            given.push_back(t.name);
        keep_for_power(prepared, std::move(given));
    }

    // The cheapest few cases are enough to see most bugs; more of them cost more than they say.
    void keep_for_power(const Prepared& prepared, std::vector<std::string> given) {
        if (!options_.power) return;
        const auto size = [](const Problem& p) { return p.q.size() * p.sequence(); };
        const auto place = std::find_if(kept_.begin(), kept_.end(), [&](const auto& k) {
            return size(k.prepared.problem) > size(prepared.problem);
        });
        if (kept_.size() >= most_kept && place == kept_.end()) return;
        kept_.insert(place, {prepared, std::move(given)});
        if (kept_.size() > most_kept) kept_.pop_back();
    }

    void ask_more(CaseReport& c, std::size_t at, const Prepared& prepared) {
        const auto found = [&](Finding f, CheckVerdict verdict) {
            if (!f.passed && verdict > c.verdict) c.verdict = verdict, c.sentence = f.sentence;
            c.findings.push_back(std::move(f));
        };
        if (at == 0 && options_.repeats >= 2) {
            const auto d = check_determinism(candidate_, prepared.problem, options_.repeats);
            const auto verdict =
                options_.declared_deterministic ? CheckVerdict::nondeterministic : CheckVerdict::agrees;
            found({"same bits when repeated", d.deterministic, d.sentence}, verdict);
        }
        if (!options_.probe) return;
        for (auto& [finding, verdict] : options_.probe(prepared.problem, at))
            found(std::move(finding), verdict);
    }

    void remember_failure(const CaseReport& c, Prepared& prepared, const Answer& answer) {
        if (c.verdict != CheckVerdict::mismatch) return;
        if (const auto* worst = c.judgement.worst();
            !report_.map && worst != nullptr && worst->state != TensorVerdict::State::misshapen)
            report_.map = error_map(prepared.problem, answer.results, prepared.expected, *worst);
        if (options_.diagnose && failures_.size() < most_failures)
            failures_.push_back({std::move(prepared), answer.results});
    }

    void finish();

    struct Kept {
        Prepared prepared;
        std::vector<std::string> given;
    };
    struct Failure {
        Prepared prepared;
        Results got;
    };
    static constexpr std::size_t most_kept = 8, most_failures = 6;

    const Candidate& candidate_;
    const std::vector<CheckCase>& cases_;
    const CheckOptions& options_;
    PowerMeter power_;
    std::vector<Kept> kept_;  // the cheapest first
    std::vector<Failure> failures_;
    Report report_;
    bool stopped_ = false;
};

inline void Checker::finish() {
    std::vector<CaseTrust> agreed;
    for (const auto& c : report_.cases) {
        report_.verdict = std::max(report_.verdict,
                                   c.verdict == CheckVerdict::unsupported ? CheckVerdict::agrees : c.verdict);
        if (c.verdict == CheckVerdict::agrees) agreed.push_back(c.trust);
    }
    const std::size_t refused = report_.count(CheckVerdict::unsupported);
    if (refused > 0)
        report_.notes.push_back(
            sentence("the candidate refused ", refused, " of ", report_.cases.size(), " cases"));
    if (refused > 0 && refused == report_.cases.size()) report_.verdict = CheckVerdict::unsupported;
    if (stopped_)
        report_.notes.push_back(sentence("stopped after ", report_.cases.size(), " of ", cases_.size(),
                                         " cases, at the first failure"));
    if (report_.verdict == CheckVerdict::agrees) {
        for (std::size_t n = 0; n < kept_.size() && !power_.complete(); ++n)
            power_.look(kept_[n].prepared.problem, kept_[n].prepared.expected, kept_[n].given);
        report_.trust = trust_of_run(agreed, kept_.empty() ? std::nullopt : std::optional(power_.finish()));
        if (!report_.trust.trusted()) report_.verdict = CheckVerdict::mistrusted;
    }
}

}  // namespace detail

/// Asks the candidate about every case and judges what it answers.
inline Report check(const Candidate& candidate, const std::vector<CheckCase>& cases,
                    const CheckOptions& options) {
    return detail::Checker(candidate, cases, options).run();
}

}  // namespace mta::oracle
