// Who is judged, and on which cases.
// SPDX-License-Identifier: MIT
#include "check_subject.hpp"

#include <map>
#include <memory>
#include <mta/oracle/case_files.hpp>
#include <mta/oracle/suites.hpp>

#include "candidate_options.hpp"
#include "support.hpp"

namespace mta::program {

namespace {

using oracle::Candidate;
using oracle::Problem;

// Answers with what lies in a folder; a file that is not there is an answer without tensors.
Candidate folder_candidate(const std::string& folder,
                           std::shared_ptr<std::map<std::string, oracle::CaseEntry>> entries) {
    Candidate candidate{folder, "--results " + oracle::detail::shell_word(folder), {}};
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

// The cases of the folder that were named, or all of them.
std::vector<oracle::CaseEntry> wanted_entries(const std::string& who, const CheckArguments& a) {
    const auto all = oracle::list_case_folder(a.results);
    if (a.cases.empty()) return all;
    std::vector<oracle::CaseEntry> wanted;
    for (const auto& name : a.cases) {
        const std::size_t before = wanted.size();
        for (const auto& entry : all)
            if (name == entry.name || name == entry.descriptor) wanted.push_back(entry);
        require<oracle::ConfigError>(wanted.size() > before, who, ": --case: got ",
                                     io::detail::in_quotes(name), ", which is no case of ", a.results);
    }
    return wanted;
}

bool is_exact(const std::string& descriptor) {
    return !descriptor.empty() && oracle::check_cases({oracle::parse_case(descriptor)}).front().exact;
}

// Every file is read once before anything is judged: a damaged one is an error of its own.
Subject folder_subject(const std::string& who, const CheckArguments& a) {
    auto entries = std::make_shared<std::map<std::string, oracle::CaseEntry>>();
    Subject subject;
    for (const auto& entry : wanted_entries(who, a)) {
        const auto problem = oracle::read_case(entry).problem;
        if (subject.cases.empty()) subject.dtype = problem.dtype;
        std::string name = entry.descriptor.empty() ? entry.name : entry.descriptor;
        if (entries->contains(name)) name = entry.name;  // the same case twice, with two answers
        if (!entries->emplace(name, entry).second) continue;
        subject.cases.push_back(
            {name, [entry] { return oracle::read_case(entry).problem; }, is_exact(entry.descriptor)});
        for (const auto& file : {entry.config, entry.in, entry.out})
            subject.files.push_back(file.native());
    }
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
        cases = oracle::suite(a.suite.empty() ? "smoke" : a.suite,
                              {a.seed.value_or(0), subject.dtype, a.profile});
    }
    subject.cases = oracle::check_cases(cases);
}

Subject library_subject(const std::string& who, const CheckArguments& a) {
    require<oracle::ConfigError>(!a.symbol.empty(), who,
                                 ": got --lib without --symbol, expected the name of its forward function");
    oracle::LibraryOptions options;
    options.path = a.library, options.symbol = a.symbol, options.backward_symbol = a.backward_symbol;
    options.timeout_seconds = a.timeout.value_or(options.timeout_seconds);
    oracle::require_library(options);
    Subject subject;
    subject.candidate = oracle::library_candidate(options);
    subject.files = {options.path};
    subject.library = std::move(options);
    return subject;
}

// Options that would be ignored are mistakes.
void refuse_contradictions(const std::string& who, const CheckArguments& a) {
    const bool library = !a.library.empty(), folder = !a.results.empty();
    const int ways = folder + library + !a.backend.empty();
    require<oracle::ConfigError>(ways == 1, who, ": got ", ways,
                                 " of --results, --lib and --backend, expected one");
    require<oracle::ConfigError>(library || (a.symbol.empty() && a.backward_symbol.empty()), who,
                                 ": got --symbol or --backward-symbol without --lib, expected it");
    require<oracle::ConfigError>(
        !(a.misaligned || a.strided) || (library && !a.no_memory), who,
        ": got --misaligned or --strided, expected them with --lib and its memory contract");
    require<oracle::ConfigError>(
        !folder || (a.suite.empty() && a.profile.empty() && a.io.empty()), who,
        ": got --suite, --profile or --io with --results, expected the folder alone");
    require<oracle::ConfigError>(
        a.cases.empty() || (a.suite.empty() && a.profile.empty() && a.io.empty()), who,
        ": got --suite, --profile or --io with --case, expected the descriptors, which say all that");
    const bool seed = a.seed.has_value(), timeout = a.timeout.has_value(), dtype = !a.dtype.empty();
    if (folder)
        refuse_ignored(who, "--results", {{"--seed", seed}, {"--timeout", timeout}, {"--dtype", dtype}});
    if (library) refuse_ignored(who, "--lib", {{"--dtype", dtype}});
    if (!a.backend.empty()) refuse_ignored(who, "--backend", {{"--timeout", timeout}});
    if (!a.cases.empty()) refuse_ignored(who, "--case", {{"--seed", seed}});
}

}  // namespace

Subject subject_of(const std::string& who, const CheckArguments& a) {
    refuse_contradictions(who, a);
    if (!a.results.empty()) return folder_subject(who, a);
    Subject subject;
    if (!a.library.empty()) subject = library_subject(who, a);
    choose_cases(who, a, subject);
    const std::string dtype = subject.dtype == io::DType::F64 ? "float64" : "float32";
    if (a.library.empty())
        subject.candidate = named_backend(who, a.backend, a.dtype.empty() ? dtype : a.dtype);
    return subject;
}

}  // namespace mta::program
