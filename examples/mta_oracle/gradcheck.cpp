// mta-oracle gradcheck: a candidate's gradients against differences of its own forward.
// SPDX-License-Identifier: MIT
#include <cstdio>
#include <memory>
#include <mta/oracle/gradcheck.hpp>

#include "candidate_options.hpp"
#include "commands.hpp"
#include "support.hpp"

namespace mta::program {

namespace {

struct Arguments {
    CandidateArguments candidate;
    ProblemArguments problem;
    std::string rounding;
    oracle::GradcheckOptions options;
};

int run(const Arguments& a) {
    const auto candidate = candidate_of("gradcheck", a.candidate);
    int judged = 0, failed = 0;
    for (const auto& p : problems_of("gradcheck", a.problem, "paper-880m/B1_H2_S9_D8_cq3_ck5_g2")) {
        oracle::GradcheckOptions options = a.options;
        options.unit_roundoff = coarsest_roundoff(rounding_of(a.rounding, p));
        std::printf("%s\n", one_line(p.name).c_str());
        const auto answer = candidate.answer(p);
        if (const auto wrong = what_went_wrong(answer); !wrong.empty())
            return exit_with(oracle::ExitCode::candidate,
                             "gradcheck: the candidate gave no answer: " + wrong);
        for (const auto& v : oracle::check_gradients(candidate, p, options)) {
            judged += v.judged ? 1 : 0;
            failed += v.holds ? 0 : 1;
            std::printf("  %s\n", one_line(v.sentence).c_str());
        }
    }
    std::printf("%s: %d judged, %d failed\n",
                failed > 0   ? "FAIL"
                : judged > 0 ? "agrees"
                             : "mistrusted",
                judged, failed);
    if (failed > 0) return static_cast<int>(oracle::ExitCode::mismatch);
    return static_cast<int>(judged > 0 ? oracle::ExitCode::agrees : oracle::ExitCode::mistrusted);
}

}  // namespace

Command gradcheck_command(CLI::App& app) {
    auto* c = app.add_subcommand("gradcheck",
                                 "compare a candidate's gradients with differences of its own forward");
    const auto a = std::make_shared<Arguments>();
    add_candidate_options(*c, a->candidate);
    add_problem_options(*c, a->problem);
    add_rounding_option(*c, a->rounding);
    c->add_option("--directions", a->options.directions, "random directions for each tensor")
        ->check(CLI::Range(1, 100))
        ->capture_default_str();
    c->add_option("--seed", a->options.seed, "of the directions")
        ->check(whole_number())
        ->capture_default_str();
    c->add_option("--only", a->options.only, "gradients to check, for example grad.q; may be repeated");
    return {"gradcheck", [a] { return run(*a); }};
}

}  // namespace mta::program
