// What a check finds: the data of a report, of which text, JSON, JUnit and pictures are made.
// SPDX-License-Identifier: MIT
#pragma once

#include <mta/oracle/effects.hpp>
#include <mta/oracle/exit_code.hpp>
#include <mta/oracle/identities.hpp>
#include <mta/oracle/judge.hpp>
#include <mta/oracle/trust.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mta::oracle {

/// The verdict on a case or a run; of several the last in this order wins.
enum class CheckVerdict { agrees, mistrusted, unsupported, nondeterministic, mismatch, contract, crashed };

/// Under its name in reports.
inline std::string_view name_of(CheckVerdict v) {
    constexpr std::array<std::string_view, 7> names{
        "agrees", "mistrusted", "unsupported", "nondeterministic", "mismatch", "contract", "crashed"};
    return names[static_cast<std::size_t>(v)];
}

inline ExitCode exit_code(CheckVerdict v) {
    constexpr std::array codes{ExitCode::agrees,           ExitCode::mistrusted, ExitCode::unsupported,
                               ExitCode::nondeterministic, ExitCode::mismatch,   ExitCode::memory,
                               ExitCode::candidate};
    return codes[static_cast<std::size_t>(v)];
}

/// A known bug that would explain what came.
struct Explanation {
    std::string name, sentence;
    std::size_t tensors = 0, of_tensors = 0;  // explained, of those compared
    std::size_t cases = 0, of_cases = 0;
    bool operator==(const Explanation&) const = default;
};

/// Something that was asked of the candidate beside its values: a probe, the memory contract, determinism.
struct Finding {
    std::string name;
    bool passed = true;
    std::string sentence;
};

struct CaseReport {
    std::string name;  // the descriptor, or the name of its files
    CheckVerdict verdict = CheckVerdict::agrees;
    std::string sentence;  // what went wrong, when it was not a value
    Judgement judgement;
    std::vector<IdentityVerdict> identities;
    std::vector<Finding> findings;
    CaseTrust trust;
    std::vector<std::string> notes;
    std::string reproduce;  // a command line
    double seconds = 0;     // that the candidate took

    bool failed() const { return verdict > CheckVerdict::unsupported; }
};

/// The picture of one wrong tensor: error in units of the tolerance, the largest over batch and heads.
struct ErrorMap {
    std::string tensor, case_name;
    Index rows = 0, columns = 0;
    std::vector<double> error;
    std::vector<std::uint8_t> masked;  // nonzero where nothing is judged
};

struct Report {
    std::string candidate, rounding, suite;
    Owed owed = Owed::all;
    CheckVerdict verdict = CheckVerdict::agrees;
    std::vector<CaseReport> cases;
    std::vector<Explanation> consistent_with;  // best first
    std::optional<Explanation> next_best;
    bool diagnosed = false;
    std::size_t asked_cases =
        0;  // that the diagnosis looked at: the shown one and the cheapest of the others
    RunTrust trust;
    std::optional<Power> shown_power;  // of the case that a failing report shows, alone
    std::vector<std::string> notes;
    std::vector<Effect> effects;  // what the shown case's wrong stage really computes, where it can be read
    std::optional<ErrorMap> map;  // of the worst tensor of the case that a report shows
    double seconds = 0;

    int exit_code() const { return static_cast<int>(oracle::exit_code(verdict)); }

    /// The case that explains most: the first that crashed or broke memory, else the first mismatch, of values rather
    /// than of a probe. nullptr: none.
    const CaseReport* shown() const {
        const auto worth = [](const CaseReport& c) {
            return std::pair(c.verdict, c.verdict == CheckVerdict::mismatch && !c.judgement.agrees());
        };
        const CaseReport* best = nullptr;
        for (const auto& c : cases)
            if (c.failed() && (best == nullptr || worth(c) > worth(*best))) best = &c;
        return best;
    }
    std::size_t count(CheckVerdict v) const {
        return static_cast<std::size_t>(
            std::count_if(cases.begin(), cases.end(), [&](const auto& c) { return c.verdict == v; }));
    }

    /// pre_conv, d_weights or grad.pre.kernel: what is wrong first in the shown case; nothing when none is, or when
    /// the candidate exported too little to say.
    std::optional<std::string> first_wrong_stage() const {
        const CaseReport* c = shown();
        if (c == nullptr || !c->judgement.first_wrong) return std::nullopt;
        const auto& first = *c->judgement.first_wrong;
        if (first.tensor.starts_with("stage.")) return first.tensor.substr(6);
        if (!first.earlier.empty()) return std::nullopt;
        return first.tensor == "out" ? first.stage : first.tensor;
    }
};

}  // namespace mta::oracle
