// mta-oracle shrink: a failing case becomes a small one that still fails.
// SPDX-License-Identifier: MIT
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <mta/io/nearest_name.hpp>
#include <mta/oracle/detail/check_case.hpp>
#include <mta/oracle/judge.hpp>
#include <mta/oracle/shrink.hpp>
#include <mta/oracle/tolerance.hpp>

#include "candidate_options.hpp"
#include "commands.hpp"
#include "support.hpp"

namespace mta::program {

namespace {

using oracle::Outcome;
using oracle::Problem;

struct ShrinkArguments {
    CandidateArguments candidate;
    ProblemArguments problem;
    std::string rounding, out, tensor;
    oracle::ShrinkOptions options;
};

// How the candidate fails on a problem: not answering in one of the ways, or a wrong tensor.
struct Failure {
    Outcome outcome = Outcome::answered;
    double error = 0;  // of the worst wrong tensor, in tolerances
    double gap = 0;    // |got - expected| there
    std::string sentence;

    bool is_one() const { return error > 0 || (outcome != Outcome::answered && outcome != Outcome::refused); }
    /// Of the same kind, and not merely at the edge of the tolerance where the first one is far beyond it.
    bool is_like(const Failure& first) const {
        return is_one() && outcome == first.outcome && error >= std::min(100.0, first.error / 2) &&
               !(gap < 1e-3 * first.gap);
    }
};

Failure failure_of(const oracle::Candidate& candidate, const ShrinkArguments& a, const Problem& p) {
    const auto answer = candidate.answer(p);
    if (answer.outcome != Outcome::answered) return {answer.outcome, 0, 0, answer.sentence};
    oracle::ToleranceOptions options;
    options.stages = options.low_precision = false;
    const auto judgement =
        oracle::judge(p, answer.results, oracle::expect(p, rounding_of(a.rounding, p), options));
    Failure worst;
    for (const auto& t : judgement.tensors) {
        const double error = t.sentence.empty() ? t.worst.error : HUGE_VAL;
        if (t.agrees() || (!a.tensor.empty() && t.name != a.tensor) || error <= worst.error) continue;
        worst.error = error;
        worst.gap = std::abs(t.worst.got - t.worst.expected);
        worst.sentence =
            !t.sentence.empty()
                ? t.sentence
                : mta::detail::sentence(t.name, " at ", t.worst.where, ": got ", t.worst.got, ", expected ",
                                        t.worst.expected, " (", check::detail::brief(error), " x tolerance)");
    }
    return worst;
}

// One problem, and a tensor of its results: a name that none has would count as right.
void require_one_problem(const std::vector<Problem>& problems, const std::string& tensor) {
    require<oracle::ConfigError>(problems.size() == 1, "shrink: --case: got ", problems.size(),
                                 " cases, expected one");
    const Problem& p = problems[0];
    std::vector<std::string> known{"out"};
    oracle::for_each_input(
        [&](std::string_view name, const auto&) {
            if (p.d_out && name != "d_out") known.push_back("grad." + std::string(name));
        },
        p);
    require<oracle::ConfigError>(
        tensor.empty() || std::find(known.begin(), known.end(), tensor) != known.end(),
        "shrink: --tensor: got ", io::detail::in_quotes(tensor), ", ", io::nearest_or_all(tensor, known));
}

void show(int calls, const std::string& step, const Problem& p) {
    if (::isatty(STDERR_FILENO) == 0) return;
    std::fprintf(stderr, "\r%5d calls  %-50.50s %-50.50s", calls, one_line(oracle::size_of(p)).c_str(),
                 one_line(step).c_str());
}

int run_shrink(const ShrinkArguments& a) {
    const auto candidate = candidate_of("shrink", a.candidate);
    const auto problems = problems_of("shrink", a.problem, "paper-880m/B2_H4_kv2_S33_D8_cq3_ck5_g2");
    require_one_problem(problems, a.tensor);
    if (!a.out.empty())
        require_places("shrink: --out",
                       {a.out + ".json", a.out + ".in.safetensors", a.out + ".problem.json"});
    oracle::detail::require_check_fits(problems[0], "shrink");
    const Failure first = failure_of(candidate, a, problems[0]);
    if (first.outcome == Outcome::refused)
        return exit_unanswered("shrink", problems[0], first.outcome, first.sentence);
    if (!first.is_one()) {
        std::printf("the candidate does not fail on %s: nothing to shrink\n",
                    one_line(problems[0].name).c_str());
        return static_cast<int>(oracle::ExitCode::agrees);
    }
    std::printf("%s\n  %s\n", one_line(oracle::size_of(problems[0])).c_str(),
                one_line(first.sentence).c_str());
    oracle::ShrinkOptions options = a.options;
    options.progress = show;
    const auto fails = [&](const Problem& p) { return failure_of(candidate, a, p).is_like(first); };
    auto r = oracle::shrink(problems[0], fails, options);
    if (::isatty(STDERR_FILENO) != 0) std::fprintf(stderr, "\r%120s\r", "");
    std::printf("%s\n  %s\n", one_line(oracle::size_of(r.problem)).c_str(),
                one_line(failure_of(candidate, a, r.problem).sentence).c_str());
    std::printf("%d calls, %s\n", r.calls, r.minimal ? "no single step makes it smaller" : "--calls ran out");
    if (a.out.empty()) {
        std::fputs(oracle::problem_text(r.problem).c_str(), stdout);
    } else {
        oracle::write_problem(a.out, r.problem);
        write_text(a.out + ".problem.json", oracle::problem_text(r.problem));
        std::printf("wrote %s.json, .in.safetensors and .problem.json\n", one_line(a.out).c_str());
        std::printf("reproduce: mta-oracle shrink --config %s.json --in %s.in.safetensors %s\n",
                    one_line(a.out).c_str(), one_line(a.out).c_str(), one_line(candidate.reproduce).c_str());
    }
    if (first.outcome == Outcome::answered) return static_cast<int>(oracle::ExitCode::mismatch);
    return exit_unanswered("shrink", problems[0], first.outcome, first.sentence);
}

}  // namespace

Command shrink_command(CLI::App& app) {
    auto* c = app.add_subcommand("shrink", "make a failing case small: few tokens, heads, taps and numbers");
    const auto a = std::make_shared<ShrinkArguments>();
    add_candidate_options(*c, a->candidate);
    add_problem_options(*c, a->problem);
    add_rounding_option(*c, a->rounding);
    c->add_option("--tensor", a->tensor, "only this tensor counts as wrong, for example grad.k")
        ->check(not_empty());
    c->add_option("--calls", a->options.max_calls, "of the candidate, at most")
        ->check(integer_between(1, 1000000))
        ->capture_default_str();
    c->add_option("--out", a->out, "write STEM.json, STEM.in.safetensors and STEM.problem.json")
        ->check(not_empty());
    return {"shrink", [a] { return run_shrink(*a); }};
}

}  // namespace mta::program
