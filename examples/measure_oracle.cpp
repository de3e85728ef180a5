// Measures the oracle: what it detects, names and locates, against other rules. docs/oracle-results.md has the numbers.
// SPDX-License-Identifier: MIT
//
//     measure-oracle [--rounding fp32] [--suite smoke] [--skip-shrink] [--skip-rules]
//
// Candidates are the model with one known bug and the rounding of the profile. Right candidates for false alarms are
// measured by calibrate-tolerance.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <mta/oracle/backend_candidate.hpp>
#include <mta/oracle/check.hpp>
#include <mta/oracle/power.hpp>
#include <mta/oracle/selftest.hpp>
#include <mta/oracle/shrink.hpp>
#include <mta/oracle/suites.hpp>
#include <mta/oracle/vectors.hpp>
#include <string>

#include "measure_oracle/rules.hpp"

namespace {

using namespace mta;
using namespace mta::oracle;

double now() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

struct Prepared {
    std::vector<Problem> problems;
    std::vector<Expected> expected;

    Prepared(const std::vector<Case>& cases, const RoundingProfile& rounding) : expected(cases.size()) {
        for (const auto& c : cases)
            problems.push_back(make_problem(c));
        parallel_for(static_cast<Index>(cases.size()), [&](Index n) {
            const auto at = static_cast<std::size_t>(n);
            expected[at] = expect(problems[at], rounding);
        });
    }
};

// What the oracle says of one bug.
struct Finding {
    bool acts = false, detected = false, named = false, first = false, located = false;
    double seconds = 0;  // of the diagnosis
};

bool located_right(const Problem& p, const Deviation& d, const RoundingProfile& rounding, const Expected& e) {
    const Results all = model_candidate(d, rounding, /*stages=*/true).answer(p).results;
    const auto local = expect_locally(p, rounding, all, e);
    const auto first = judge(p, all, e, local ? &*local : nullptr).first_wrong;
    const oracle::detail::Steps steps(p.config.attention);
    return first && steps.of(first->tensor) == steps.of(first_wrong_tensor(d, p.config.attention));
}

Finding measure(const Deviation& d, const Prepared& set, const RoundingProfile& rounding) {
    Finding f;
    const Candidate candidate = model_candidate(d, rounding, /*stages=*/false);
    std::vector<Results> got(set.problems.size());
    std::vector<Evidence> wrong, right;
    for (std::size_t n = 0; n < set.problems.size(); ++n) {
        f.acts = f.acts || applies(d, set.problems[n]);
        got[n] = candidate.answer(set.problems[n]).results;
        const bool agrees = judge(set.problems[n], got[n], set.expected[n]).agrees();
        (agrees ? right : wrong).push_back({&set.problems[n], &got[n], &set.expected[n]});
    }
    f.detected = !wrong.empty();
    if (!f.detected) return f;
    const auto first_wrong = wrong.front();
    // As check() gives them: six that fail, and what agrees.
    wrong.resize(std::min<std::size_t>(wrong.size(), 6));
    wrong.insert(wrong.end(), right.begin(), right.end());
    const double start = now();
    const auto found = diagnose(wrong, rounding).consistent_with;
    f.seconds = now() - start;
    const auto is_it = [&](const Explanation& e) { return e.name == d.name; };
    f.named = std::any_of(found.begin(), found.end(), is_it);
    f.first = !found.empty() && is_it(found.front());
    f.located = located_right(*first_wrong.problem, d, rounding, *first_wrong.expected);
    return f;
}

void print_detection(const Prepared& set, const RoundingProfile& rounding) {
    std::size_t acting = 0, detected = 0, named = 0, first = 0, located = 0;
    double seconds = 0, slowest = 0;
    for (const auto& d : deviations()) {
        const Finding f = measure(d, set, rounding);
        acting += f.acts, detected += f.detected, named += f.named, first += f.first, located += f.located;
        seconds += f.seconds, slowest = std::max(slowest, f.seconds);
        if (f.acts && !f.detected) std::printf("  not detected: %s\n", d.name.c_str());
        if (f.detected && !f.first)
            std::printf("  not named %s: %s\n", f.named ? "first" : "at all", d.name.c_str());
        if (f.detected && !f.located) std::printf("  not located on its first case: %s\n", d.name.c_str());
    }
    std::printf(
        "deviations %zu, that can act here %zu, detected %zu, named first %zu, named %zu, first wrong tensor "
        "%zu\n",
        deviations().size(), acting, detected, first, named, located);
    std::printf("seconds per diagnosis: mean %.2f, largest %.2f\n",
                seconds / std::max<double>(1, double(detected)), slowest);
}

// Where the largest errors are looked for: cases on which the bug is wrong, shrunk.
void print_shrinking(const Prepared& set, const RoundingProfile& rounding) {
    std::vector<Index> lengths;
    std::size_t unfinished = 0;
    for (std::size_t at = 0; at < deviations().size(); at += 7) {
        const auto& d = deviations()[at];
        const Candidate candidate = model_candidate(d, rounding, /*stages=*/false);
        const auto fails = [&](const Problem& p) {
            ToleranceOptions options;
            options.stages = options.low_precision = false;
            return !judge(p, candidate.answer(p).results, expect(p, rounding, options)).agrees();
        };
        const auto found = std::find_if(set.problems.begin(), set.problems.end(), fails);
        if (found == set.problems.end()) continue;
        ShrinkOptions options;
        options.max_calls = 600;
        const auto result = shrink(*found, fails, options);
        lengths.push_back(result.problem.sequence());
        unfinished += !result.minimal;
    }
    if (lengths.empty()) return;
    std::sort(lengths.begin(), lengths.end());
    std::printf("shrinking %zu failures: S median %td, largest %td; %zu stopped at 600 calls\n",
                lengths.size(), lengths[lengths.size() / 2], lengths.back(), unfinished);
}

struct Objections {
    std::size_t oracle = 0, flash = 0, liger = 0, gradcheck = 0, of = 0;
};

void print_rules(const Prepared& set, const RoundingProfile& rounding) {
    const auto objections = [&](const Deviation& d, Objections& total, bool wrong) {
        bool oracle = false, flash = false, liger = false, slope = false, acts = !wrong;
        const Candidate candidate = model_candidate(d, rounding, /*stages=*/false);
        for (std::size_t n = 0; n < set.problems.size(); ++n) {
            const auto& p = set.problems[n];
            if (wrong && !applies(d, p)) continue;
            acts = true;
            const Results got = candidate.answer(p).results;
            oracle = oracle || !judge(p, got, set.expected[n]).agrees();
            flash = flash || program::flash_objects(p, got, set.expected[n]);
            liger = liger || program::liger_objects(p, got, set.expected[n]);
            slope = slope || program::gradcheck_objects(p, d);
        }
        total.of += acts, total.oracle += oracle, total.flash += flash;
        total.liger += liger, total.gradcheck += slope;
    };
    std::printf("%-12s %8s %10s %10s %10s %6s\n", "", "oracle", "flash 2x", "liger", "gradcheck", "of");
    const auto print = [](const char* what, const Objections& o) {
        std::printf("%-12s %8zu %10zu %10zu %10zu %6zu\n", what, o.oracle, o.flash, o.liger, o.gradcheck,
                    o.of);
    };
    for (const char* kind : {"forward", "backward", "parameters"}) {
        Objections total;
        for (const auto& d : deviations())
            if (kind_of(d) == kind) objections(d, total, /*wrong=*/true);
        print(kind, total);
    }
    Objections right;
    for (const auto& d : equivalent_variants())
        objections(d, right, /*wrong=*/false);
    print("right ones", right);
}

void print_smoke_time() {
    CheckOptions options;
    options.rounding = parse_rounding("fp32");
    const auto cases = check_cases(suite("smoke"));
    const double start = now();
    const auto report =
        oracle::check(backend_candidate<float>("Reference<float>", Reference{}), cases, options);
    std::printf("smoke suite, %zu cases, Reference<float>: %s in %.2f s\n", report.cases.size(),
                std::string(name_of(report.verdict)).c_str(), now() - start);
}

double largest_score(const Results& stages) {
    double largest = 0;
    for (const char* name : {"stage.logits", "stage.pre_conv", "stage.pre_mix"})
        if (const auto* scores = stages.find(name))
            for (const double x : scores->values)
                largest = std::max(largest, std::abs(x));
    return largest;
}

// max|difference| / max|value| of the worst output or gradient, in double against long double.
double reference_error(const Results& got, const Results& wide) {
    double worst = 0;
    for (const auto& t : got.tensors) {
        if (t.name.starts_with("stage.")) continue;
        const auto &high = wide.at(t.name).values, &low = wide.at(t.name + ".low").values;
        double error = 0, size = 0;
        for (std::size_t n = 0; n < high.size(); ++n) {
            const double difference = std::abs((t.values[n] - high[n]) - low[n]);
            if (!(difference <= error)) error = difference;  // NaN stays
            size = std::max(size, std::abs(high[n]));
        }
        if (size > 0 && !(error / size <= worst)) worst = error / size;
    }
    return worst;
}

// A score of 1e4 has an error of 1e-12 in double, which is the relative error of its weight.
void print_reference(const Prepared& set) {
    double mild = 0, steep = 0;
    for (const auto& p : set.problems) {
        const Results got = reference_results(p);
        double& worst = largest_score(got) < 1000 ? mild : steep;
        const double error = reference_error(got, expected_results(p));
        if (!(error <= worst)) worst = error;
    }
    std::printf("reference in double against long double: at most %.1e; %.1e where scores exceed 1000\n",
                mild, steep);
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app{"Measures detection, diagnosis and location of known bugs"};
    std::string rounding_name = "fp32", suite_name = "selftest";
    bool no_shrink = false, no_rules = false;
    app.add_option("--rounding", rounding_name)->capture_default_str();
    app.add_option("--suite", suite_name, "selftest, or a suite")->capture_default_str();
    app.add_flag("--skip-shrink", no_shrink);
    app.add_flag("--skip-rules", no_rules);
    CLI11_PARSE(app, argc, argv);
    const auto rounding = parse_rounding(rounding_name);
    SuiteOptions options;
    options.dtype = dtype_of(rounding.io);
    const Prepared set(suite_name == "selftest" ? selftest_cases(options.dtype) : suite(suite_name, options),
                       rounding);
    std::printf("%s at %s\n", suite_name.c_str(), rounding_name.c_str());
    print_detection(set, rounding);
    if (!no_rules) print_rules(set, rounding);
    if (!no_shrink) print_shrinking(set, rounding);
    print_reference(set);
    print_smoke_time();
}
