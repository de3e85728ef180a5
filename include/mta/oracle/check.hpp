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
#include <mta/core/parallel.hpp>
#include <mta/oracle/detail/check_case.hpp>
#include <mta/oracle/diagnosis.hpp>
#include <mta/oracle/memory_contract.hpp>
#include <string>
#include <utility>
#include <vector>

namespace mta::oracle {

namespace detail {

inline std::vector<std::string> names_of(const Results& r) {
    std::vector<std::string> names;
    for (const auto& t : r.tensors)
        names.push_back(t.name);
    return names;
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
    struct Kept {
        Prepared prepared;
        Results got;
    };
    static constexpr std::size_t most_agreed = 2, most_failed = 6;

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
        c.reproduce = "mta-oracle check --case " + shell_word(c.name) +
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
        if (answer.outcome == Outcome::answered) ask_more(c, answered_++, prepared);
        remember(c, prepared, answer);
        if (options_.stop_at_first_failure && c.failed()) stopped_ = true;
        report_.cases.push_back(std::move(c));
        if (options_.progress) options_.progress(report_.cases.back(), report_.cases.size(), cases_.size());
    }

    void judge_answer(CaseReport& c, const Prepared& prepared, const Results& got) {
        const auto& p = prepared.problem;
        if (auto reason = beyond_range(prepared.expected, options_.rounding); !reason.empty()) {
            c.trust.reasons.push_back(std::move(reason));
            c.verdict = CheckVerdict::mistrusted;
            return;
        }
        const auto local = expect_locally(p, options_.rounding, got, prepared.expected, options_.tolerance);
        c.judgement = judge(p, got, prepared.expected, local ? &*local : nullptr);
        if (!c.judgement.agrees()) c.verdict = CheckVerdict::mismatch;
        if (options_.identities && p.d_out && options_.owed == Owed::all)
            c.identities = identities_of(p, got, prepared.expected.low_precision, options_.rounding);
        c.trust = trust_of_case(p, got, prepared.expected, options_.owed);
        for (const auto& i : c.identities)
            if (!i.holds) c.trust.broken.push_back(i.statement);
        if (c.verdict == CheckVerdict::agrees && !c.trust.counts()) c.verdict = CheckVerdict::mistrusted;
    }

    // The cheapest few cases tell most bugs apart; more of them cost more than they say. The one that came first stays:
    // the report shows it.
    static void keep(std::vector<Kept>& kept, std::size_t most, Prepared& prepared, const Results& got,
                     const std::string& first) {
        const auto size = [](const Problem& p) { return p.q.size() * p.sequence(); };
        const auto place = std::find_if(kept.begin(), kept.end(), [&](const Kept& k) {
            return size(k.prepared.problem) > size(prepared.problem);
        });
        if (kept.size() >= most && place == kept.end()) return;
        kept.insert(place, {std::move(prepared), got});
        if (kept.size() <= most) return;
        kept.erase(kept.end() - (kept.back().prepared.problem.name == first ? 2 : 1));
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
        for (const auto* question : {&options_.memory, &options_.probe}) {
            if (!*question || (question == &options_.probe && !c.judgement.agrees())) continue;
            for (auto& [finding, verdict] : (*question)(prepared.problem, at))
                found(std::move(finding), verdict);
        }
    }

    void remember(const CaseReport& c, Prepared& prepared, const Answer& answer) {
        if (c.verdict == CheckVerdict::agrees) {
            if (options_.power && failed_.empty() && !power_.complete())
                power_.look(prepared.problem, prepared.expected, names_of(answer.results));
            return keep(agreed_, most_agreed, prepared, answer.results, "");
        }
        if (c.judgement.agrees()) return;
        if (failed_.empty()) first_failed_ = prepared.problem.name;
        if (const auto* worst = c.judgement.worst();
            !report_.map && worst->state != TensorVerdict::State::misshapen)
            report_.map = error_map(prepared.problem, answer.results, prepared.expected, *worst);
        Results shaped = answer.results;  // what has another shape, no bug of the catalogue explains
        std::erase_if(shaped.tensors, [&](const auto& t) {
            const auto* v = c.judgement.find(t.name);
            return v == nullptr || v->state == TensorVerdict::State::misshapen;
        });
        keep(failed_, most_failed, prepared, shaped, first_failed_);
    }

    void finish();
    void measure_trust(const std::vector<CaseTrust>& agreed);
    void explain();
    void read_effects();

    const Candidate& candidate_;
    const std::vector<CheckCase>& cases_;
    const CheckOptions& options_;
    PowerMeter power_;
    std::vector<Kept> agreed_, failed_;  // the cheapest first
    std::string first_failed_;
    Report report_;
    std::size_t answered_ = 0;  // cases so far
    bool stopped_ = false;
};

inline void Checker::finish() {
    std::vector<CaseTrust> agreed;
    for (const auto& c : report_.cases) {
        // Neither a refusal nor a case that could not have failed decides about the others.
        if (c.verdict > CheckVerdict::unsupported) report_.verdict = std::max(report_.verdict, c.verdict);
        if (c.verdict <= CheckVerdict::mistrusted) agreed.push_back(c.trust);
    }
    const std::size_t refused = report_.count(CheckVerdict::unsupported);
    if (refused > 0)
        report_.notes.push_back(
            sentence("the candidate refused ", refused, " of ", report_.cases.size(), " cases"));
    if (refused > 0 && refused == report_.cases.size()) report_.verdict = CheckVerdict::unsupported;
    if (stopped_)
        report_.notes.push_back(sentence("stopped after ", report_.cases.size(), " of ", cases_.size(),
                                         " cases, at the first failure"));
    if (options_.diagnose && !failed_.empty()) explain();
    if (options_.effects && report_.verdict == CheckVerdict::mismatch) read_effects();
    if (report_.verdict == CheckVerdict::agrees) measure_trust(agreed);
}

inline void Checker::measure_trust(const std::vector<CaseTrust>& agreed) {
    std::optional<Power> power;
    if (options_.power && !agreed_.empty()) power = power_.finish();
    report_.trust = trust_of_run(agreed, std::move(power));
    if (!report_.trust.trusted()) report_.verdict = CheckVerdict::mistrusted;
}

// Cases that agree rule bugs out.
inline void Checker::explain() {
    std::vector<Evidence> evidence;
    for (const auto* kept : {&failed_, &agreed_})
        for (const auto& k : *kept)
            if (evidence.size() < failed_.size() + 2)
                evidence.push_back({&k.prepared.problem, &k.got, &k.prepared.expected});
    const Diagnosis d = diagnose(evidence, options_.rounding);
    report_.diagnosed = true;
    report_.asked_cases = evidence.size();
    report_.consistent_with = d.consistent_with;
    report_.next_best = d.next_best;
    if (!options_.power || report_.shown() == nullptr) return;
    for (const auto& k : failed_) {
        if (k.prepared.problem.name != report_.shown()->name) continue;
        PowerMeter meter(options_.owed);
        meter.look(k.prepared.problem, k.prepared.expected, names_of(k.got));
        report_.shown_power = meter.finish();
    }
}

// With the configuration of the case that the report shows.
inline void Checker::read_effects() {
    const CaseReport* shown = report_.shown();
    if (shown == nullptr || !shown->judgement.first_wrong) return;
    const Problem p = cases_[static_cast<std::size_t>(shown - report_.cases.data())].problem();
    const FewThreads few(p);
    report_.effects = effects_of(candidate_, p.config, p.dtype, *shown->judgement.first_wrong);
}

}  // namespace detail

/// Asks the candidate about every case and judges what it answers.
inline Report check(const Candidate& candidate, const std::vector<CheckCase>& cases,
                    const CheckOptions& options) {
    return detail::Checker(candidate, cases, options).run();
}

}  // namespace mta::oracle
