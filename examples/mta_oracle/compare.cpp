// mta-oracle compare: one file of tensors against another.
// SPDX-License-Identifier: MIT
#include <cstdio>
#include <memory>
#include <mta/oracle/compare_files.hpp>
#include <mta/oracle/report.hpp>

#include "commands.hpp"
#include "support.hpp"

namespace mta::program {

namespace {

using oracle::ExitCode;

struct CompareArguments {
    std::string expected, actual, json;
    check::Tolerance tolerance;
    std::string rounding, config, in;
};

void print_tensors(const oracle::FileComparison& result) {
    for (const auto& t : result.tensors) {
        const bool wrong = t.comparison.verdict == check::Verdict::mismatch;
        std::printf("%s  %s\n", wrong ? "FAIL" : "  ok", one_line(t.comparison.sentence).c_str());
    }
    std::string extra;
    for (const auto& name : result.extra)
        extra += (extra.empty() ? "" : ", ") + name;
    if (!extra.empty()) std::printf("note  not in the expected file: %s\n", one_line(extra).c_str());
    if (result.first_wrong() != nullptr)
        std::printf("first wrong in the order of the pipeline: %s\n",
                    one_line(result.first_wrong()->name).c_str());
}

// Test vectors carry the second word of every number as <name>.low, which no candidate computes.
bool drop_low_words(io::SafetensorsFile& expected) {
    const auto names = expected.tensor_names();
    return std::erase_if(expected.tensors, [&](const io::StoredTensor& t) {
               const bool low = t.name.ends_with(".low");
               return low && std::find(names.begin(), names.end(), t.name.substr(0, t.name.size() - 4)) !=
                                 names.end();
           }) > 0;
}

std::string_view name_of(ExitCode code) {
    return code == ExitCode::agrees ? "agrees" : code == ExitCode::mismatch ? "mismatch" : "mistrusted";
}

oracle::Problem problem_of(const CompareArguments& a) {
    require<oracle::ConfigError>(!a.config.empty() && !a.in.empty(), "compare: got --rounding without ",
                                 a.config.empty() ? "--config" : "--in",
                                 ", expected both: the reference is run again");
    oracle::Notes notes;
    auto problem = oracle::problem_from_file("compare", oracle::read_config(a.config),
                                             io::read_safetensors(a.in), notes);
    for (const auto& note : notes)
        print_note(note);
    oracle::detail::require_check_fits(problem);
    return problem;
}

// The expected file's values, and what the declared rounding allows each of their elements.
oracle::Expected expected_of(const CompareArguments& a, const oracle::Problem& problem) {
    oracle::Expected expected = oracle::expect(problem, oracle::parse_rounding(a.rounding));
    const auto file = oracle::results_from_file(io::read_safetensors(a.expected));
    for (const auto& t : file.tensors) {
        const auto* known = expected.tolerance.find(t.name);
        require<io::FileError>(known != nullptr, "compare: ", a.expected, ": got tensor ",
                               io::detail::in_quotes(t.name), ", expected one that this configuration has");
        require_same_shape("compare: " + a.expected + ": " + t.name, t.shape, known->shape);
    }
    expected.reference = file;
    return expected;
}

void print_judgement(const oracle::CaseReport& c) {
    for (const auto& t : c.judgement.tensors)
        std::printf("%s  %s: %s x tolerance%s\n", t.agrees() ? "  ok" : "FAIL", one_line(t.name).c_str(),
                    oracle::detail::multiple(t.worst.error).c_str(),
                    t.agrees() ? "" : (", " + one_line(t.pattern)).c_str());
    for (const auto& name : c.trust.missing)
        std::printf("FAIL  %s: missing, expected it in the actual file\n", one_line(name).c_str());
    for (const auto& name : c.judgement.extra)
        std::printf("note  not in the expected file: %s\n", one_line(name).c_str());
}

// In place of one bound for a tensor: what a rounding profile allows each element, for which the reference runs again.
int run_with_rounding(const CompareArguments& a) {
    const auto problem = problem_of(a);
    const auto expected = expected_of(a, problem);
    const auto actual = oracle::results_from_file(io::read_safetensors(a.actual));
    oracle::CaseReport c;
    c.judgement = oracle::judge(problem, actual, expected);
    for (const auto& t : expected.reference.tensors)
        if (actual.find(t.name) == nullptr) c.trust.missing.push_back(t.name);
    const bool wrong = !c.judgement.agrees() || !c.trust.missing.empty();
    const ExitCode code = wrong                         ? ExitCode::mismatch
                          : c.judgement.tensors.empty() ? ExitCode::mistrusted
                                                        : ExitCode::agrees;
    if (!a.json.empty()) {
        auto j = oracle::detail::json_of(c);
        j["schema"] = "mta.compare-rounding/1";
        j["verdict"] = name_of(code);
        j["rounding"] = a.rounding;
        write_text(a.json, j.dump(2) + "\n");
    }
    print_judgement(c);
    std::printf("%s: %zu tensors expected, rounding %s\n", std::string(name_of(code)).c_str(),
                expected.reference.tensors.size(), one_line(a.rounding).c_str());
    return static_cast<int>(code);
}

int run_compare(const CompareArguments& arguments) {
    refuse_overwriting("compare: --json", arguments.json, {arguments.expected, arguments.actual});
    if (!arguments.rounding.empty()) return run_with_rounding(arguments);
    require<oracle::ConfigError>(
        arguments.config.empty() && arguments.in.empty(),
        "compare: got --config or --in without --rounding, expected all three or none");
    auto expected = io::read_safetensors(arguments.expected);
    const bool low_words = drop_low_words(expected);
    const auto actual = io::read_safetensors(arguments.actual);
    const auto result = oracle::compare_files(expected, actual, arguments.tolerance);
    const ExitCode code = result.exit_code();
    if (!arguments.json.empty())
        write_text(arguments.json, oracle::to_json(result, arguments.tolerance).dump(2) + "\n");
    print_tensors(result);
    if (low_words) std::printf("note  low words of the expected file are not compared\n");
    std::printf("%s: %zu tensors expected\n",
                code == ExitCode::agrees     ? "agrees"
                : code == ExitCode::mismatch ? "mismatch"
                                             : "mistrusted",
                result.tensors.size());
    if (code == ExitCode::mistrusted)
        return exit_with(code, "compare: no element was compared, expected at least one");
    return static_cast<int>(code);
}

}  // namespace

Command compare_command(CLI::App& app) {
    auto* compare = app.add_subcommand("compare", "judge one safetensors file against another");
    const auto c = std::make_shared<CompareArguments>();
    compare->add_option("EXPECTED", c->expected, "what should have come")->required();
    compare->add_option("ACTUAL", c->actual, "what came")->required();
    compare
        ->add_option("--rtol", c->tolerance.relative, "bound on max|got - want| / max|want| of each tensor")
        ->check(tolerance())
        ->capture_default_str();
    compare->add_option("--atol", c->tolerance.absolute, "added to the bound on |got - want|")
        ->check(tolerance())
        ->capture_default_str();
    compare->add_option(
        "--rounding", c->rounding,
        "tolerances from a rounding profile in place of --rtol and --atol; needs --config and --in");
    compare->add_option("--config", c->config, "configuration of the case, JSON");
    compare->add_option("--in", c->in, "inputs of the case, safetensors");
    compare->add_option("--json", c->json, "write the comparison to this file");
    return {"compare", [c] { return run_compare(*c); }};
}

}  // namespace mta::program
