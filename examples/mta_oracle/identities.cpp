// mta-oracle identities: judges gradients by what must hold between them, without a reference.
// SPDX-License-Identifier: MIT
#include <cstdio>
#include <map>
#include <memory>
#include <mta/io/safetensors.hpp>
#include <mta/oracle/identities.hpp>

#include "candidate_options.hpp"
#include "commands.hpp"
#include "support.hpp"

namespace mta::program {

namespace {

struct IdentitiesArguments {
    CandidateArguments candidate;
    ProblemArguments problem;
    std::string rounding, results;
};

// The results of one problem: what lies in the file, or what the candidate answers.
oracle::Answer answer_to(const IdentitiesArguments& a, const oracle::Candidate* candidate,
                         const oracle::Problem& p) {
    if (candidate != nullptr) return candidate->answer(p);
    return {oracle::Outcome::answered, "", oracle::results_from_file(io::read_safetensors(a.results)), {}};
}

int report(int judged, int failed) {
    std::printf("%s: %d judged, %d failed\n",
                failed > 0   ? "FAIL"
                : judged > 0 ? "agrees"
                             : "mistrusted",
                judged, failed);
    if (failed > 0) return static_cast<int>(oracle::ExitCode::mismatch);
    if (judged > 0) return static_cast<int>(oracle::ExitCode::agrees);
    return exit_with(oracle::ExitCode::mistrusted,
                     "identities: got none that could be judged, expected some");
}

int run_identities(const IdentitiesArguments& a) {
    const bool named = !a.candidate.library.empty() || !a.candidate.backend.empty();
    require<oracle::ConfigError>(a.results.empty() || !named, "identities: got --results and a candidate, ",
                                 "expected one of them");
    if (!a.results.empty())
        refuse_ignored(
            "identities", "--results",
            {{"--timeout", a.candidate.timeout.has_value()}, {"--dtype", !a.candidate.dtype.empty()}});
    require<oracle::ConfigError>(
        a.results.empty() || !a.problem.in.empty() || !a.problem.problem.empty() ||
            a.problem.cases.size() == 1,
        "identities: got --results without its problem, expected --case, --problem, ",
        "or --config and --in");
    std::optional<oracle::Candidate> candidate;
    if (a.results.empty()) candidate = candidate_of("identities", a.candidate);
    int judged = 0, failed = 0;
    for (const auto& p : problems_of("identities", a.problem, "paper-880m/B2_H4_kv2_S33_D8_cq3_ck5_g2")) {
        std::printf("%s\n", one_line(p.name).c_str());
        const auto answer = answer_to(a, candidate ? &*candidate : nullptr, p);
        if (answer.outcome != oracle::Outcome::answered)
            return exit_unanswered("identities", p, answer.outcome, answer.sentence);
        const double roundoff = coarsest_roundoff(rounding_of(a.rounding, p));
        for (const auto& v : oracle::check_identities(p, answer.results, roundoff)) {
            judged += v.judged ? 1 : 0;
            failed += v.holds ? 0 : 1;
            std::printf("  %-21s %s\n", v.name.c_str(), one_line(v.sentence).c_str());
        }
    }
    return report(judged, failed);
}

}  // namespace

Command identities_command(CLI::App& app) {
    auto* c = app.add_subcommand("identities", "judge gradients by identities that need no reference");
    const auto a = std::make_shared<IdentitiesArguments>();
    add_candidate_options(*c, a->candidate);
    add_problem_options(*c, a->problem);
    add_rounding_option(*c, a->rounding);
    c->add_option("--results", a->results, "what a candidate wrote for the problem, safetensors")
        ->check(not_empty());
    return {"identities", [a] { return run_identities(*a); }};
}

}  // namespace mta::program
