// mta-oracle: evaluates multi-token attention and compares results, by files.
// SPDX-License-Identifier: MIT
//
// Exit codes: see include/mta/oracle/exit_code.hpp. Every error is one sentence on standard error.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <mta/io/file.hpp>
#include <mta/oracle/compare_files.hpp>
#include <mta/oracle/eval.hpp>
#include <new>
#include <string>

namespace {

using namespace mta;
using oracle::ExitCode;

struct EvalArguments {
    std::string config, in, out, backend = "reference", dtype = "float64";
    bool trace = false;
};

struct CompareArguments {
    std::string expected, actual, json;
    check::Tolerance tolerance;
};

int exit_with(ExitCode code, const std::string& sentence) {
    std::fprintf(stderr, "mta-oracle: %s\n", sentence.c_str());
    return static_cast<int>(code);
}

int run_eval(const EvalArguments& arguments) {
    if (arguments.backend != "reference")
        throw oracle::UnsupportedError("eval: --backend: got `" + arguments.backend +
                                       "`, which this program was built without, expected `reference`");
    const auto config = oracle::read_config(arguments.config);
    const auto in = io::read_safetensors(arguments.in);
    oracle::Notes notes;
    const auto dtype = arguments.dtype == "float32" ? io::DType::F32 : io::DType::F64;
    const auto out = oracle::evaluate(config, in, {dtype, arguments.trace}, notes);
    io::write_safetensors(arguments.out, out);
    for (const auto& note : notes)
        std::fprintf(stderr, "mta-oracle: note: %s\n", note.c_str());
    std::printf("wrote %zu tensors to %s\n", out.tensors.size(), arguments.out.c_str());
    return 0;
}

int run_compare(const CompareArguments& arguments) {
    const auto expected = io::read_safetensors(arguments.expected);
    const auto actual = io::read_safetensors(arguments.actual);
    const auto result = oracle::compare_files(expected, actual, arguments.tolerance);
    const ExitCode code = result.exit_code();
    if (!arguments.json.empty()) {
        const std::string text = oracle::to_json(result, arguments.tolerance).dump(2) + "\n";
        io::write_file_atomically(arguments.json, std::as_bytes(std::span(text)));
    }
    for (const auto& t : result.tensors) {
        const bool wrong = t.comparison.verdict == check::Verdict::mismatch;
        std::printf("%s  %s\n", wrong ? "FAIL" : "  ok", t.comparison.sentence.c_str());
    }
    for (const auto& name : result.extra)
        std::printf("note  %s: not in the expected file\n", name.c_str());
    std::printf("%s: %zu tensors expected\n",
                code == ExitCode::agrees     ? "agrees"
                : code == ExitCode::mismatch ? "mismatch"
                                             : "mistrusted",
                result.tensors.size());
    if (code == ExitCode::mistrusted)
        return exit_with(code, "compare: no element was compared, expected at least one");
    return static_cast<int>(code);
}

// Adds the two commands; `run` says which was asked for.
void declare(CLI::App& app, EvalArguments& e, CompareArguments& c) {
    auto* eval =
        app.add_subcommand("eval", "evaluate the operator and, with d_out in the input, all gradients");
    eval->add_option("--config", e.config, "configuration, JSON")->required();
    eval->add_option("--in", e.in, "inputs and parameters, safetensors")->required();
    eval->add_option("--out", e.out, "where to write out, grad.* and stage.*")->required();
    eval->add_option("--backend", e.backend, "reference, fast or cuda")
        ->check(CLI::IsMember({"reference", "fast", "cuda"}))
        ->capture_default_str();
    eval->add_option("--dtype", e.dtype, "arithmetic and output: float64 or float32")
        ->check(CLI::IsMember({"float64", "float32"}))
        ->capture_default_str();
    eval->add_flag("--trace", e.trace, "write every stage too");
    auto* compare = app.add_subcommand("compare", "judge one safetensors file against another");
    compare->add_option("EXPECTED", c.expected, "what should have come")->required();
    compare->add_option("ACTUAL", c.actual, "what came")->required();
    compare->add_option("--rtol", c.tolerance.relative, "bound on max|got - want| / max|want| of each tensor")
        ->check(CLI::NonNegativeNumber)
        ->capture_default_str();
    compare->add_option("--atol", c.tolerance.absolute, "added to the bound on |got - want|")
        ->check(CLI::NonNegativeNumber)
        ->capture_default_str();
    compare->add_option("--json", c.json, "write the comparison to this file");
    app.require_subcommand(1);
}

int run(int argc, char** argv) {
    CLI::App app{"Reference values of multi-token attention (arXiv:2504.00927), and comparison with yours"};
    app.name("mta-oracle");
    app.set_version_flag("--version", "mta-oracle " MTA_VERSION_STRING);
    EvalArguments e;
    CompareArguments c;
    declare(app, e, c);
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        if (error.get_exit_code() == 0) return app.exit(error);  // --help, --version
        return exit_with(ExitCode::usage,
                         std::string(error.what()) + " (mta-oracle --help says what it takes)");
    }
    return app.got_subcommand("eval") ? run_eval(e) : run_compare(c);
}

}  // namespace

int main(int argc, char** argv) {
    try {
        return run(argc, argv);
    } catch (const io::FileError& error) {
        return exit_with(ExitCode::file, error.what());
    } catch (const oracle::UnsupportedError& error) {
        return exit_with(ExitCode::unsupported, error.what());
    } catch (const ArgumentError& error) {
        return exit_with(ExitCode::usage, error.what());
    } catch (const std::bad_alloc&) {
        return exit_with(ExitCode::unsupported, "out of memory, expected a smaller case");
    } catch (const std::exception& error) {
        return exit_with(ExitCode::self_check, std::string("unexpected: ") + error.what());
    }
}
