// Options that name a candidate and a problem, and what is made of them.
// SPDX-License-Identifier: MIT
#include "candidate_options.hpp"

#include <mta/fast/multi_token_attention.hpp>
#include <mta/oracle/backend_candidate.hpp>
#include <mta/oracle/case.hpp>
#include <mta/oracle/detail/check_case.hpp>
#include <mta/oracle/library_candidate.hpp>
#include <mta/oracle/shrink.hpp>

#include "support.hpp"

namespace mta::program {

using oracle::Candidate;
using oracle::Problem;

void add_candidate_options(CLI::App& c, CandidateArguments& a) {
    c.add_option("--lib", a.library, "a shared library with the C interface")->check(not_empty());
    c.add_option("--symbol", a.symbol, "its forward function")->check(not_empty());
    c.add_option("--backward-symbol", a.backward_symbol, "its backward function")->check(not_empty());
    c.add_option("--timeout", a.timeout, "seconds for one problem of a library [60]")->check(seconds());
    c.add_flag("--misaligned", a.misaligned, "give a library data that are aligned to their elements only");
    c.add_flag("--strided", a.strided, "give a library rows that are further apart than they are long");
    c.add_option("--backend", a.backend, "a backend of this program")
        ->check(one_of({"reference", "fast", "cuda"}));
    c.add_option("--dtype", a.dtype, "arithmetic of the backend [float64 for fp64 inputs, else float32]")
        ->check(one_of({"float32", "float64"}));
}

void add_problem_options(CLI::App& c, ProblemArguments& a) {
    c.add_option("--case", a.cases, "a case descriptor; may be repeated")->allow_extra_args(false);
    c.add_option("--config", a.config, "a configuration, JSON, that goes with --in")->check(not_empty());
    c.add_option("--in", a.in, "inputs and parameters, safetensors")->check(not_empty());
    c.add_option("--problem", a.problem, "a problem in hexadecimal floats, as shrink prints it")
        ->check(not_empty());
}

void add_rounding_option(CLI::App& c, std::string& rounding) {
    c.add_option("--rounding", rounding,
                 "where the candidate rounds: fp32, tf32, bf16-flash, \"io=bf16 acc=fp32\"")
        ->check(not_empty());
}

Candidate candidate_of(const std::string& who, const CandidateArguments& a) {
    const bool library = !a.library.empty(), backend = !a.backend.empty();
    require<oracle::ConfigError>(library != backend, who, ": got ", library ? "both" : "neither",
                                 " of --lib and --backend, expected one");
    if (library) {
        refuse_ignored(who, "--lib", {{"--dtype", !a.dtype.empty()}});
        require<oracle::ConfigError>(
            !a.symbol.empty(), who,
            ": got --lib without --symbol, expected the name of its forward function");
        oracle::LibraryOptions options;
        options.path = a.library, options.symbol = a.symbol, options.backward_symbol = a.backward_symbol;
        options.timeout_seconds = a.timeout.value_or(options.timeout_seconds);
        options.stages = false;
        options.misaligned = a.misaligned, options.strided = a.strided;
        oracle::require_library(options);
        return oracle::library_candidate(options);
    }
    require<oracle::ConfigError>(a.symbol.empty() && a.backward_symbol.empty() && !a.misaligned && !a.strided,
                                 who,
                                 ": got --symbol, --backward-symbol, --misaligned or --strided with "
                                 "--backend, expected them with --lib");
    refuse_ignored(who, "--backend", {{"--timeout", a.timeout.has_value()}});
    return named_backend(who, a.backend, a.dtype);
}

void refuse_ignored(const std::string& who, const std::string& beside,
                    std::initializer_list<std::pair<const char*, bool>> options) {
    for (const auto& [name, given] : options)
        require<oracle::ConfigError>(!given, who, ": got ", name, " with ", beside,
                                     ", which ignores it, expected one of them");
}

Candidate named_backend(const std::string& who, const std::string& backend, const std::string& dtype) {
    const auto candidate = [&](const auto& implementation) {
        Candidate narrow = oracle::backend_candidate<float>(backend + " float32", implementation);
        Candidate wide = oracle::backend_candidate<double>(backend + " float64", implementation);
        if (!dtype.empty()) return dtype == "float64" ? wide : narrow;
        narrow.name = backend;
        narrow.answer = [narrow = narrow.answer, wide = wide.answer](const Problem& p) {
            return p.dtype == io::DType::F64 ? wide(p) : narrow(p);
        };
        return narrow;
    };
    if (backend == "cuda")
        throw oracle::UnsupportedError(
            who +
            ": --backend: got 'cuda', which this program was built without, expected 'reference' or 'fast'");
    Candidate c = backend == "fast" ? candidate(Fast{}) : candidate(Reference{});
    c.reproduce = "--backend " + backend + (dtype.empty() ? "" : " --dtype " + dtype);
    // A backend refuses what this machine cannot hold, as any candidate may.
    c.answer = [answer = std::move(c.answer), backend](const Problem& p) {
        try {
            oracle::detail::require_check_fits(p, backend);
        } catch (const oracle::UnsupportedError& error) {
            return oracle::detail::answer_that(oracle::Outcome::refused, error.what());
        }
        return answer(p);
    };
    return c;
}

std::vector<Problem> problems_of(const std::string& who, const ProblemArguments& a,
                                 const std::string& usual) {
    const bool files = !a.config.empty() || !a.in.empty();
    const int ways = !a.cases.empty() + files + !a.problem.empty();
    require<oracle::ConfigError>(ways <= 1, who, ": got ", ways,
                                 " of --case, --config with --in, and --problem, expected at most one");
    require<oracle::ConfigError>(a.config.empty() == a.in.empty(), who, ": got ",
                                 a.config.empty() ? "--in without --config" : "--config without --in",
                                 ", expected both");
    if (!a.problem.empty()) return {oracle::problem_from_json(io::read_json(a.problem), a.problem)};
    if (files) {
        oracle::Notes notes;
        auto p =
            oracle::problem_from_file(a.in, oracle::read_config(a.config), io::read_safetensors(a.in), notes);
        for (const auto& note : notes)
            print_note(note);
        return {std::move(p)};
    }
    std::vector<Problem> problems;
    for (const auto& descriptor : a.cases.empty() ? std::vector<std::string>{usual} : a.cases)
        problems.push_back(oracle::make_problem(oracle::parse_case(descriptor)));
    return problems;
}

oracle::RoundingProfile rounding_of(const std::string& rounding, const Problem& p) {
    if (!rounding.empty()) return oracle::parse_rounding(rounding);
    return oracle::parse_rounding(p.dtype == io::DType::F64    ? "fp64"
                                  : p.dtype == io::DType::BF16 ? "bf16-flash"
                                  : p.dtype == io::DType::F16  ? "fp16-flash"
                                                               : "fp32");
}

double coarsest_roundoff(const oracle::RoundingProfile& r) {
    double coarsest = 0;
    for (const auto precision : {r.io, r.multiply, r.accumulate, r.scores, r.weights, r.outputs, r.lse})
        coarsest = std::max(coarsest, oracle::unit_roundoff(precision));
    return coarsest;
}

int exit_unanswered(const std::string& who, const Problem& p, oracle::Outcome outcome,
                    const std::string& sentence) {
    return exit_with(oracle::exit_code(outcome),
                     who + ": " + p.name + ": got no answer, expected one: " + sentence);
}

}  // namespace mta::program
