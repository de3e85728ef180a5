// mta-oracle gradcheck: a candidate's gradients against differences of its own forward.
// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cstdio>
#include <memory>
#include <mta/io/nearest_name.hpp>
#include <mta/oracle/gradcheck.hpp>

#include "candidate_options.hpp"
#include "commands.hpp"
#include "support.hpp"

namespace mta::program {

namespace {

struct GradcheckArguments {
    CandidateArguments candidate;
    ProblemArguments problem;
    std::string rounding;
    oracle::GradcheckOptions options;
};

// A name that no gradient has would be judged by nothing.
void require_gradients(const oracle::Problem& p, const std::vector<std::string>& names) {
    std::vector<std::string> known;
    oracle::for_each_input(
        [&](std::string_view name, const auto&) {
            if (name != "d_out") known.push_back("grad." + std::string(name));
        },
        p);
    for (const auto& name : names)
        require<oracle::ConfigError>(std::find(known.begin(), known.end(), name) != known.end(),
                                     "gradcheck: --only: got ", io::detail::in_quotes(name), ", ",
                                     io::nearest_or_all(name, known));
}

int run_gradcheck(const GradcheckArguments& a) {
    const auto candidate = candidate_of("gradcheck", a.candidate);
    int judged = 0, failed = 0;
    for (const auto& p : problems_of("gradcheck", a.problem, "paper-880m/B1_H2_S9_D8_cq3_ck5_g2")) {
        require_gradients(p, a.options.only);
        oracle::GradcheckOptions options = a.options;
        options.unit_roundoff = coarsest_roundoff(rounding_of(a.rounding, p));
        std::printf("%s\n", one_line(p.name).c_str());
        const auto answer = candidate.answer(p);
        if (answer.outcome != oracle::Outcome::answered)
            return exit_unanswered("gradcheck", p, answer.outcome, answer.sentence);
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
    if (judged > 0) return static_cast<int>(oracle::ExitCode::agrees);
    return exit_with(oracle::ExitCode::mistrusted,
                     "gradcheck: got no gradient that could be judged, expected some");
}

}  // namespace

Command gradcheck_command(CLI::App& app) {
    auto* c = app.add_subcommand("gradcheck",
                                 "compare a candidate's gradients with differences of its own forward");
    const auto a = std::make_shared<GradcheckArguments>();
    add_candidate_options(*c, a->candidate);
    add_problem_options(*c, a->problem);
    add_rounding_option(*c, a->rounding);
    c->add_option("--directions", a->options.directions, "random directions for each tensor")
        ->check(integer_between(1, 100))
        ->capture_default_str();
    c->add_option("--seed", a->options.seed, "of the directions")
        ->check(whole_number())
        ->capture_default_str();
    c->add_option("--only", a->options.only, "gradients to check, for example grad.q; may be repeated")
        ->allow_extra_args(false);
    return {"gradcheck", [a] { return run_gradcheck(*a); }};
}

}  // namespace mta::program
