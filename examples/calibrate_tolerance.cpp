// Measures how far correct implementations are off, in units of the tolerance: the data that its factors rest on.
// SPDX-License-Identifier: MIT
//
//     calibrate-tolerance --suite smoke --seeds 50 --rounding fp32 [--lib ./libright.so --symbol my_mta_forward
//         --backward-symbol my_mta_backward] [--fast | --model]
//
// Prints quantiles over all tensors of all cases of the largest error / tolerance, end to end and locally, and how
// many runs (one case with one seed) had an element beyond 1: false alarms.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <mta/fast/multi_token_attention.hpp>
#include <mta/oracle/backend_candidate.hpp>
#include <mta/oracle/check.hpp>
#include <mta/oracle/suites.hpp>
#include <string>
#include <vector>

namespace {

using namespace mta;

struct Arguments {
    std::string suite = "smoke", rounding = "fp32", library, symbol, backward_symbol;
    std::uint64_t seeds = 10, first = 1;
    bool fast = false, model = false, verbose = false;
};

struct Tally {
    std::vector<double> global, local;
    std::size_t runs = 0, alarms = 0;
    std::string worst;
    double largest = 0;

    void add(const oracle::CaseReport& c) {
        ++runs;
        alarms += c.verdict == oracle::CheckVerdict::mismatch;
        for (const auto& t : c.judgement.tensors) {
            global.push_back(t.worst.error);
            if (t.local) local.push_back(t.local->error);
            const double larger = std::max(t.worst.error, t.local ? t.local->error : 0);
            if (larger > largest) largest = larger, worst = t.name + " of " + c.name;
        }
    }
};

void print_quantiles(const char* name, std::vector<double>& errors) {
    if (errors.empty()) return;
    std::sort(errors.begin(), errors.end());
    std::printf("%-12s %9zu tensors", name, errors.size());
    for (const double q : {0.5, 0.9, 0.99, 0.999, 1.0}) {
        const auto at = static_cast<std::size_t>(q * static_cast<double>(errors.size() - 1));
        std::printf("  %g%%: %.3f", 100 * q, errors[at]);
    }
    std::printf("\n");
}

oracle::Candidate candidate_of(const Arguments& a, const oracle::RoundingProfile& rounding) {
    if (a.model) return oracle::model_candidate({}, rounding, /*stages=*/true);
    if (a.fast) return oracle::backend_candidate<float>("fast float32", Fast{});
    if (a.library.empty()) return oracle::backend_candidate<float>("reference float32", Reference{});
    oracle::LibraryOptions library;
    library.path = a.library, library.symbol = a.symbol, library.backward_symbol = a.backward_symbol;
    oracle::require_library(library);
    return oracle::library_candidate(library);
}

int run(const Arguments& a) {
    oracle::CheckOptions options;
    options.rounding = oracle::parse_rounding(a.rounding);
    options.diagnose = options.power = options.identities = false;
    options.repeats = 0;
    const auto candidate = candidate_of(a, options.rounding);
    Tally tally;
    for (std::uint64_t seed = a.first; seed < a.first + a.seeds; ++seed) {
        const auto cases = oracle::suite(a.suite, {seed, oracle::dtype_of(options.rounding.io), ""});
        for (const auto& c : oracle::check(candidate, oracle::check_cases(cases), options).cases) {
            tally.add(c);
            if (a.verbose && c.failed()) std::printf("beyond: %s %s\n", c.name.c_str(), c.sentence.c_str());
        }
    }
    std::printf("%s, rounding %s, suite %s, seeds %llu to %llu\n", candidate.name.c_str(), a.rounding.c_str(),
                a.suite.c_str(), static_cast<unsigned long long>(a.first),
                static_cast<unsigned long long>(a.first + a.seeds - 1));
    print_quantiles("end to end", tally.global);
    print_quantiles("local", tally.local);
    std::printf("largest: %s\nfalse alarms: %zu of %zu runs\n", tally.worst.c_str(), tally.alarms,
                tally.runs);
    return tally.alarms == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app{"Errors of correct implementations in units of the tolerance"};
    Arguments a;
    app.add_option("--suite", a.suite, "smoke, full, adversarial or exact")->capture_default_str();
    app.add_option("--rounding", a.rounding, "rounding profile")->capture_default_str();
    app.add_option("--seeds", a.seeds, "how many seeds")->capture_default_str();
    app.add_option("--first", a.first, "the first of them")->capture_default_str();
    app.add_option("--lib", a.library, "a library with the C interface; default: the reference in float32");
    app.add_option("--symbol", a.symbol, "its forward function");
    app.add_option("--backward-symbol", a.backward_symbol, "its backward function");
    app.add_flag("--fast", a.fast, "the fast path in float32");
    app.add_flag("--model", a.model, "the model, rounding as the profile says");
    app.add_flag("--verbose", a.verbose, "name every run that is beyond the tolerance");
    CLI11_PARSE(app, argc, argv);
    try {
        return run(a);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "calibrate-tolerance: %s\n", error.what());
        return 2;
    }
}
