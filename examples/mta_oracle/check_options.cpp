// Options of check and diagnose, and what is made of them.
// SPDX-License-Identifier: MIT
#include "check_options.hpp"

#include <unistd.h>

#include <cstdio>
#include <map>
#include <memory>
#include <mta/oracle/case_files.hpp>
#include <mta/oracle/probes.hpp>
#include <mta/oracle/suites.hpp>
#include <set>

#include "candidate_options.hpp"
#include "commands.hpp"
#include "support.hpp"

namespace mta::program {

namespace {

using oracle::Candidate;
using oracle::CheckCase;
using oracle::CheckVerdict;
using oracle::Finding;
using oracle::Problem;

// Answers with what lies in a folder; a file that is not there is an answer without tensors.
Candidate folder_candidate(const std::string& folder,
                           std::shared_ptr<std::map<std::string, oracle::CaseEntry>> entries) {
    Candidate candidate{folder, "--results " + folder, {}};
    candidate.answer = [entries](const Problem& p) {
        oracle::Answer answer;
        const auto& entry = entries->at(p.name);
        if (!oracle::detail::file_exists(entry.out)) {
            answer.notes.push_back("there is no " + entry.out.filename().native());
            return answer;
        }
        try {
            answer.results = oracle::results_from_file(io::read_safetensors(entry.out));
        } catch (const std::exception& error) {
            answer.outcome = oracle::Outcome::failed;
            answer.sentence = error.what();
        }
        return answer;
    };
    return candidate;
}

struct Subject {
    Candidate candidate;
    std::vector<CheckCase> cases;
    std::optional<oracle::LibraryOptions> library;
    io::DType dtype = io::DType::F32;
    std::string suite;
};

// Every answer file is read once before anything is judged: a damaged one is an error of its own.
Subject folder_subject(const CheckArguments& a) {
    auto entries = std::make_shared<std::map<std::string, oracle::CaseEntry>>();
    Subject subject;
    const std::set<std::string> wanted(a.cases.begin(), a.cases.end());
    for (const auto& entry : oracle::list_case_folder(a.results)) {
        const std::string name = entry.descriptor.empty() ? entry.name : entry.descriptor;
        if (!wanted.empty() && !wanted.contains(name) && !wanted.contains(entry.name)) continue;
        if (oracle::detail::file_exists(entry.out)) io::read_safetensors(entry.out);
        const auto problem = oracle::read_case(entry).problem;
        if (subject.cases.empty()) subject.dtype = problem.dtype;
        bool exact = false;
        if (!entry.descriptor.empty()) {
            const auto made = oracle::check_cases({oracle::parse_case(entry.descriptor)});
            exact = made.front().exact;
        }
        entries->emplace(name, entry);
        subject.cases.push_back({name, [entry] { return oracle::read_case(entry).problem; }, exact});
    }
    require<oracle::ConfigError>(!subject.cases.empty(), "check: --case: got ",
                                 io::detail::in_quotes(a.cases.empty() ? "" : a.cases.front()),
                                 ", which is no case of ", a.results);
    subject.candidate = folder_candidate(a.results, entries);
    subject.suite = "results " + a.results;
    return subject;
}

io::DType input_type(const std::string& who, const CheckArguments& a) {
    if (!a.io.empty()) return oracle::detail::read_io(a.io, who);
    return a.rounding.empty() ? io::DType::F32 : oracle::dtype_of(oracle::parse_rounding(a.rounding).io);
}

void choose_cases(const std::string& who, const CheckArguments& a, Subject& subject) {
    std::vector<oracle::Case> cases;
    subject.dtype = input_type(who, a);
    for (const auto& descriptor : a.cases)
        cases.push_back(oracle::parse_case(descriptor));
    if (!cases.empty()) {
        subject.dtype = cases.front().dtype;
    } else {
        subject.suite = "suite " + (a.suite.empty() ? "smoke" : a.suite);
        cases = oracle::suite(a.suite.empty() ? "smoke" : a.suite, {a.seed, subject.dtype, a.profile});
    }
    subject.cases = oracle::check_cases(cases);
}

Subject subject_of(const std::string& who, const CheckArguments& a) {
    const int ways = !a.results.empty() + !a.library.empty() + !a.backend.empty();
    require<oracle::ConfigError>(ways == 1, who, ": got ", ways,
                                 " of --results, --lib and --backend, expected one");
    if (!a.results.empty()) {
        require<oracle::ConfigError>(
            a.suite.empty() && a.profile.empty() && a.io.empty(), who,
            ": got --suite, --profile or --io with --results, expected the folder alone");
        return folder_subject(a);
    }
    Subject subject;
    if (!a.library.empty()) {
        require<oracle::ConfigError>(
            !a.symbol.empty(), who,
            ": got --lib without --symbol, expected the name of its forward function");
        oracle::LibraryOptions options;
        options.path = a.library, options.symbol = a.symbol, options.backward_symbol = a.backward_symbol;
        options.timeout_seconds = a.timeout;
        oracle::require_library(options);
        subject.candidate = oracle::library_candidate(options);
        subject.library = std::move(options);
    } else {
        subject.candidate = backend_named(who, a.backend, a.dtype);
    }
    choose_cases(who, a, subject);
    return subject;
}

// Probes and the memory contract, on the first case alone: they ask the candidate dozens of times.
auto further_questions(const Subject& subject, const CheckArguments& a) {
    return [&subject, &a](const Problem& p, std::size_t at) {
        std::vector<std::pair<Finding, CheckVerdict>> findings;
        if (at != 0) return findings;
        if (subject.library && !a.no_memory) {
            const auto memory = oracle::check_memory_contract(*subject.library, p);
            findings.push_back({{"memory contract", memory.kept(), memory.sentence},
                                memory.outcome == oracle::Outcome::broke_memory ? CheckVerdict::contract
                                                                                : CheckVerdict::crashed});
        }
        if (a.results.empty() && !a.no_probes)
            for (const auto& probe : oracle::run_probes(subject.candidate, p))
                findings.push_back(
                    {{"probe " + probe.name, probe.state != oracle::ProbeState::fails, probe.sentence},
                     CheckVerdict::mismatch});
        return findings;
    };
}

// A line that replaces itself on a terminal; every tenth case a line elsewhere.
void show_progress(const oracle::CaseReport& c, std::size_t done, std::size_t total) {
    if (::isatty(STDERR_FILENO) != 0) {
        std::fprintf(stderr, "\r[%zu/%zu] %-64.64s", done, total, one_line(c.name).c_str());
        if (done == total) std::fprintf(stderr, "\r%76s\r", "");
    } else if (total >= 50 && done % (total / 10) == 0) {
        std::fprintf(stderr, "mta-oracle: %zu of %zu cases\n", done, total);
    }
    std::fflush(stderr);
}

std::string shell_word(const std::string& text) {
    return text.find(' ') == std::string::npos ? text : "'" + text + "'";
}

}  // namespace

void add_check_options(CLI::App& c, CheckArguments& a) {
    c.add_option("--results", a.results, "a folder of cases with NAME.out.safetensors of a candidate");
    c.add_option("--lib", a.library, "a shared library with the C interface");
    c.add_option("--symbol", a.symbol, "its forward function");
    c.add_option("--backward-symbol", a.backward_symbol, "its backward function");
    c.add_option("--backend", a.backend, "a backend of this program")
        ->check(one_of({"reference", "fast", "cuda"}));
    c.add_option("--dtype", a.dtype, "arithmetic of the backend")
        ->check(one_of({"float32", "float64"}))
        ->capture_default_str();
    c.add_option("--timeout", a.timeout, "seconds for one case of a library")->capture_default_str();
    std::vector<std::string> suites;
    for (const auto& s : oracle::suites)
        suites.emplace_back(s.name);
    c.add_option("--suite", a.suite, "which cases (smoke)")->check(one_of(suites));
    c.add_option("--profile", a.profile, "the suite's sizes and fills with this profile's semantics");
    c.add_option("--io", a.io, "type of the inputs (that of --rounding)")
        ->check(one_of({"fp32", "bf16", "fp16"}));
    c.add_option("--seed", a.seed, "other numbers in the same cases")
        ->check(whole_number())
        ->capture_default_str();
    c.add_option("--case", a.cases, "a case descriptor in place of a suite; may be repeated");
    c.add_option("--rounding", a.rounding,
                 "where the candidate rounds: fp32, tf32, bf16-flash, \"io=bf16 acc=fp32\"");
    c.add_option("--expect", a.expect, "what the candidate owes")
        ->check(one_of({"forward", "all"}))
        ->capture_default_str();
    c.add_flag("--declared-deterministic", a.declared_deterministic,
               "different bits in repeated runs are a failure");
    c.add_option("--repeats", a.repeats, "runs whose bits are compared, on the first case")
        ->check(CLI::Range(1, 1000))
        ->capture_default_str();
    c.add_flag("--no-probes", a.no_probes, "leave out the metamorphic probes");
    c.add_flag("--no-memory", a.no_memory, "leave out the memory contract's variations");
    c.add_flag("--stop", a.stop, "stop at the first failing case");
    c.add_option("--json", a.json, "write the report to this file");
    c.add_option("--junit", a.junit, "write JUnit XML to this file");
    c.add_option("--heat-map", a.heat_map, "write a picture of the worst tensor's error to this PNG file");
}

oracle::Report run_check(const std::string& who, const CheckArguments& a, bool diagnose) {
    const Subject subject = subject_of(who, a);
    oracle::CheckOptions options;
    options.rounding =
        a.rounding.empty() ? oracle::default_rounding(subject.dtype) : oracle::parse_rounding(a.rounding);
    options.owed = a.expect == "forward" ? oracle::Owed::forward : oracle::Owed::all;
    options.suite = subject.suite;
    options.arguments = "--rounding " + shell_word(oracle::describe(options.rounding));
    if (a.expect == "forward") options.arguments += " --expect forward";
    options.diagnose = diagnose;
    options.declared_deterministic = a.declared_deterministic;
    options.repeats = a.results.empty() ? a.repeats : 0;
    options.stop_at_first_failure = a.stop;
    options.probe = further_questions(subject, a);
    options.progress = show_progress;
    oracle::Report report = oracle::check(subject.candidate, subject.cases, options);
    if (subject.dtype != oracle::dtype_of(options.rounding.io))
        report.notes.push_back("inputs are " + std::string(io::dtype_name(subject.dtype)) +
                               ", the rounding assumes " +
                               std::string(io::dtype_name(oracle::dtype_of(options.rounding.io))));
    return report;
}

void write_report_files(const std::string& who, const CheckArguments& a, const oracle::Report& report) {
    if (!a.json.empty()) write_text(a.json, oracle::to_json_text(report));
    if (!a.junit.empty()) write_text(a.junit, oracle::to_junit(report));
    if (!a.heat_map.empty() && !oracle::write_error_map(a.heat_map, report))
        print_note(
            who +
            ": --heat-map: nothing is drawn, since no tensor is wrong or it is larger than 2048 each way");
}

}  // namespace mta::program
