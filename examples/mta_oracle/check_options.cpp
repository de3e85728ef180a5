// Options of check and diagnose, and what is made of them.
// SPDX-License-Identifier: MIT
#include "check_options.hpp"

#include <unistd.h>

#include <cstdio>
#include <mta/oracle/memory_contract.hpp>
#include <mta/oracle/probes.hpp>
#include <mta/oracle/report.hpp>
#include <mta/oracle/report_heat_map.hpp>
#include <mta/oracle/suites.hpp>

#include "check_subject.hpp"
#include "support.hpp"

namespace mta::program {

namespace {

using oracle::CheckVerdict;
using oracle::Finding;
using oracle::Problem;

// The memory contract and the probes ask the candidate dozens of times: on the first case alone.
oracle::CheckOptions::Question memory_question(const Subject& subject, const CheckArguments& a) {
    if (!subject.library || a.no_memory) return nullptr;
    return [&subject, &a](const Problem& p, std::size_t at) -> std::vector<std::pair<Finding, CheckVerdict>> {
        if (at != 0) return {};
        oracle::MemoryOptions options;
        options.misaligned = a.misaligned, options.strided = a.strided;
        const auto memory = oracle::check_memory_contract(*subject.library, p, options);
        return {{{"memory contract", memory.kept(), memory.sentence},
                 memory.outcome == oracle::Outcome::broke_memory ? CheckVerdict::contract
                                                                 : CheckVerdict::crashed}};
    };
}

oracle::CheckOptions::Question probe_question(const Subject& subject, const CheckArguments& a) {
    if (!a.results.empty() || a.no_probes) return nullptr;
    return [&subject](const Problem& p, std::size_t at) {
        std::vector<std::pair<Finding, CheckVerdict>> findings;
        if (at != 0) return findings;
        for (const auto& probe : oracle::run_probes(subject.candidate, p))
            findings.push_back(
                {{"probe " + probe.name, probe.state != oracle::ProbeState::fails, probe.sentence},
                 CheckVerdict::mismatch});
        return findings;
    };
}

// A line that replaces itself on a terminal; of long runs ten notes elsewhere.
void show_progress(const oracle::CaseReport& c, std::size_t done, std::size_t total) {
    if (::isatty(STDERR_FILENO) != 0) {
        std::fprintf(stderr, "\r[%zu/%zu] %-64.64s", done, total, one_line(c.name).c_str());
        if (done == total) std::fprintf(stderr, "\r%76s\r", "");
    } else if (total >= 50 && done % (total / 10) == 0) {
        print_note(mta::detail::sentence(done, " of ", total, " cases"));
    }
    std::fflush(stderr);
}

// The options that a reproduction needs beside the case and the candidate.
std::string reproducing(const CheckArguments& a, const oracle::RoundingProfile& rounding) {
    std::string text = "--rounding " + oracle::detail::shell_word(oracle::describe(rounding));
    if (a.expect == "forward") text += " --expect forward";
    if (a.declared_deterministic) text += " --declared-deterministic";
    if (a.repeats > 1 && a.repeats != CheckArguments{}.repeats)
        text += mta::detail::sentence(" --repeats ", a.repeats);
    if (a.timeout) text += mta::detail::sentence(" --timeout ", *a.timeout);
    if (a.misaligned) text += " --misaligned";
    if (a.strided) text += " --strided";
    return text;
}

void add_subject_options(CLI::App& c, CheckArguments& a) {
    c.add_option("--results", a.results, "a folder of cases with NAME.out.safetensors of a candidate")
        ->check(not_empty());
    c.add_option("--lib", a.library, "a shared library with the C interface")->check(not_empty());
    c.add_option("--symbol", a.symbol, "its forward function")->check(not_empty());
    c.add_option("--backward-symbol", a.backward_symbol, "its backward function")->check(not_empty());
    c.add_option("--backend", a.backend, "a backend of this program")
        ->check(one_of({"reference", "fast", "cuda"}));
    c.add_option("--dtype", a.dtype, "arithmetic of the backend [float64 for fp64 inputs, else float32]")
        ->check(one_of({"float32", "float64"}));
    c.add_option("--timeout", a.timeout, "seconds for one case of a library [60]")->check(seconds());
}

void add_case_options(CLI::App& c, CheckArguments& a) {
    std::vector<std::string> suites;
    for (const auto& s : oracle::suites)
        suites.emplace_back(s.name);
    c.add_option("--suite", a.suite, "which cases (smoke)")->check(one_of(suites));
    c.add_option("--profile", a.profile, "the suite's sizes and fills with this profile's semantics");
    c.add_option("--io", a.io, "type of the inputs (that of --rounding)")
        ->check(one_of({"fp32", "bf16", "fp16"}));
    c.add_option("--seed", a.seed, "other numbers in the same cases of a suite [0]")->check(whole_number());
    c.add_option("--case", a.cases, "a case descriptor in place of a suite; may be repeated")
        ->allow_extra_args(false);
}

}  // namespace

void add_check_options(CLI::App& c, CheckArguments& a) {
    add_subject_options(c, a);
    add_case_options(c, a);
    c.add_option("--rounding", a.rounding,
                 "where the candidate rounds: fp32, tf32, bf16-flash, \"io=bf16 acc=fp32\"")
        ->check(not_empty());
    c.add_option("--expect", a.expect, "what the candidate owes")
        ->check(one_of({"forward", "all"}))
        ->capture_default_str();
    c.add_flag("--declared-deterministic", a.declared_deterministic,
               "different bits in repeated runs are a failure");
    c.add_option("--repeats", a.repeats, "runs whose bits are compared, on the first case")
        ->check(integer_between(1, 1000))
        ->capture_default_str();
    c.add_flag("--no-probes", a.no_probes, "leave out the metamorphic probes");
    c.add_flag("--no-memory", a.no_memory, "leave out the memory contract's variations");
    c.add_flag("--misaligned", a.misaligned, "the memory contract also tries data aligned to elements only");
    c.add_flag("--strided", a.strided,
               "the memory contract also tries rows further apart than they are long");
    c.add_flag("--stop", a.stop, "stop at the first failing case");
    c.add_option("--json", a.json, "write the report to this file")->check(not_empty());
    c.add_option("--junit", a.junit, "write JUnit XML to this file")->check(not_empty());
    c.add_option("--heat-map", a.heat_map, "write a picture of the worst tensor's error to this PNG file")
        ->check(not_empty());
}

oracle::Report run_check(const std::string& who, const CheckArguments& a, bool diagnose) {
    const Subject subject = subject_of(who, a);
    require_places(who, {a.json, a.junit, a.heat_map});
    for (const auto& report : {a.json, a.junit, a.heat_map})
        refuse_overwriting(who, report, subject.files);
    oracle::CheckOptions options;
    options.rounding =
        a.rounding.empty() ? oracle::default_rounding(subject.dtype) : oracle::parse_rounding(a.rounding);
    options.owed = a.expect == "forward" ? oracle::Owed::forward : oracle::Owed::all;
    options.suite = subject.suite;
    options.arguments = reproducing(a, options.rounding);
    options.diagnose = diagnose;
    options.effects = a.results.empty();  // a folder answers no other problems than its own
    options.declared_deterministic = a.declared_deterministic;
    options.repeats = a.results.empty() ? a.repeats : 0;
    options.stop_at_first_failure = a.stop;
    options.memory = memory_question(subject, a);
    options.probe = probe_question(subject, a);
    options.progress = show_progress;
    oracle::Report report = oracle::check(subject.candidate, subject.cases, options);
    if (subject.dtype != oracle::dtype_of(options.rounding.io))
        report.notes.push_back("inputs are " + std::string(io::dtype_name(subject.dtype)) +
                               ", the rounding assumes " +
                               std::string(io::dtype_name(oracle::dtype_of(options.rounding.io))));
    return report;
}

int finish_check(const std::string& who, const CheckArguments& a, const oracle::Report& report) {
    std::fputs(oracle::to_text(report).c_str(), stdout);
    if (!a.json.empty()) write_text(a.json, oracle::to_json_text(report));
    if (!a.junit.empty()) write_text(a.junit, oracle::to_junit(report));
    if (!a.heat_map.empty() && !oracle::write_error_map(a.heat_map, report))
        print_note(
            who +
            ": --heat-map: nothing is drawn, since no tensor is wrong or it is larger than 2048 each way");
    if (report.verdict == CheckVerdict::agrees || report.verdict == CheckVerdict::mismatch)
        return report.exit_code();
    return exit_with(oracle::exit_code(report.verdict), who + ": " + oracle::to_sentence(report));
}

}  // namespace mta::program
