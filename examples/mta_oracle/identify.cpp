// mta-oracle identify: reads a candidate's kernels, mixes, mask, scale, eps and head maps off its outputs.
// SPDX-License-Identifier: MIT
#include <cstdio>
#include <memory>
#include <mta/oracle/identify.hpp>
#include <span>

#include "candidate_options.hpp"
#include "commands.hpp"
#include "support.hpp"

namespace mta::program {

namespace {

struct IdentifyArguments {
    CandidateArguments candidate;
    ProblemArguments problem;
    oracle::IdentifyOptions options;
    bool all = false;
};

// One row of numbers, or of a mask's picture.
std::string row_text(std::span<const double> row, bool mask) {
    std::string text;
    for (const double x : row) {
        char number[32];
        std::snprintf(number, sizeof number, "%7.3f", x);
        text += mask ? std::string(x > 0 ? "#" : ".") : std::string(number);
    }
    return text;
}

// The first two axes but the last two: heads, or batch rows and heads, with both tensors side by side.
void print_tensors(const oracle::Reading& r) {
    const auto& shape = r.found.shape;
    if (shape.empty()) return;
    const auto width = static_cast<std::size_t>(shape.back());
    const std::size_t rows = r.found.values.size() / width;
    const std::size_t block = shape.size() < 2 ? 1 : static_cast<std::size_t>(shape[shape.size() - 2]);
    const bool mask = r.name == "mask";
    const std::size_t shown =
        mask ? block : std::min<std::size_t>(rows, 64);  // a mask is the same for every head
    std::printf("    found, then expected\n");
    for (std::size_t n = 0; n < shown; ++n) {
        if (n % block == 0 && rows > block && !mask) std::printf("    head %zu\n", n / block);
        const auto part = [&](const oracle::NamedTensor& t) {
            return row_text(std::span(t.values).subspan(n * width, width), mask);
        };
        std::printf("    %s   |   %s\n", part(r.found).c_str(), part(r.expected).c_str());
    }
    if (shown < rows && !mask) std::printf("    ... %zu rows more\n", rows - shown);
}

int run_identify(const IdentifyArguments& a) {
    const auto candidate = candidate_of("identify", a.candidate);
    // Readings tell why there is no answer, not which exit code that is.
    auto outcome = oracle::Outcome::answered;
    std::string why = "out has another shape than q";
    auto watched = candidate;
    watched.answer = [&](const oracle::Problem& p) {
        auto answer = candidate.answer(p);
        if (answer.outcome != oracle::Outcome::answered) outcome = answer.outcome, why = answer.sentence;
        return answer;
    };
    int wrong = 0;
    for (const auto& p : problems_of("identify", a.problem, "paper-880m/B1_H4_kv2_S9_D8_cq3_ck5_g2")) {
        std::printf("%s\n", one_line(p.name).c_str());
        for (const auto& r : oracle::identify(watched, p.config, p.dtype, a.options)) {
            std::printf("  %s  %s\n", r.as_expected ? "  ok" : "FAIL", one_line(r.sentence).c_str());
            if (!r.as_expected || a.all) print_tensors(r);
            wrong += r.as_expected ? 0 : 1;
            if (r.name != "answer") continue;
            const bool failed = outcome == oracle::Outcome::answered;  // with an output of another shape
            return exit_unanswered("identify", p, failed ? oracle::Outcome::failed : outcome, why);
        }
    }
    std::printf("%s: %d readings are not as given\n", wrong == 0 ? "agrees" : "FAIL", wrong);
    return static_cast<int>(wrong == 0 ? oracle::ExitCode::agrees : oracle::ExitCode::mismatch);
}

}  // namespace

Command identify_command(CLI::App& app) {
    auto* c = app.add_subcommand(
        "identify", "read a candidate's kernels, mixes, mask, scale, eps and head maps off its outputs");
    const auto a = std::make_shared<IdentifyArguments>();
    add_candidate_options(*c, a->candidate);
    add_problem_options(*c, a->problem);
    c->add_option("--tolerance", a->options.tolerance, "relative, of what counts as given")
        ->check(tolerance());
    c->add_option("--seed", a->options.seed, "of the kernels and mixes that are given")
        ->check(whole_number())
        ->capture_default_str();
    c->add_flag("--all", a->all, "print what is as given too");
    return {"identify", [a] { return run_identify(*a); }};
}

}  // namespace mta::program
