// mta-oracle compare: one file of tensors against another.
// SPDX-License-Identifier: MIT
#include <cstdio>
#include <memory>
#include <mta/oracle/compare_files.hpp>

#include "commands.hpp"
#include "support.hpp"

namespace mta::program {

namespace {

using oracle::ExitCode;

struct Arguments {
    std::string expected, actual, json;
    check::Tolerance tolerance;
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

int run(const Arguments& arguments) {
    refuse_overwriting("compare: --json", arguments.json, {arguments.expected, arguments.actual});
    const auto expected = io::read_safetensors(arguments.expected);
    const auto actual = io::read_safetensors(arguments.actual);
    const auto result = oracle::compare_files(expected, actual, arguments.tolerance);
    const ExitCode code = result.exit_code();
    if (!arguments.json.empty())
        write_text(arguments.json, oracle::to_json(result, arguments.tolerance).dump(2) + "\n");
    print_tensors(result);
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
    const auto c = std::make_shared<Arguments>();
    compare->add_option("EXPECTED", c->expected, "what should have come")->required();
    compare->add_option("ACTUAL", c->actual, "what came")->required();
    compare
        ->add_option("--rtol", c->tolerance.relative, "bound on max|got - want| / max|want| of each tensor")
        ->check(tolerance())
        ->capture_default_str();
    compare->add_option("--atol", c->tolerance.absolute, "added to the bound on |got - want|")
        ->check(tolerance())
        ->capture_default_str();
    compare->add_option("--json", c->json, "write the comparison to this file");
    return {"compare", [c] { return run(*c); }};
}

}  // namespace mta::program
