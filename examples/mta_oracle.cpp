// mta-oracle: evaluates multi-token attention and compares results, by files.
// SPDX-License-Identifier: MIT
//
// Exit codes: see include/mta/oracle/exit_code.hpp. Every error is one sentence on standard error.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <mta/io/file.hpp>
#include <mta/oracle/compare_files.hpp>
#include <mta/oracle/eval.hpp>
#include <new>
#include <string>
#include <vector>

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

// Names come from files and command lines: none may forge a line or command the terminal.
std::string one_line(std::string_view text) {
    std::string line;
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte < 0x20 || byte == 0x7F)
            line += "\\x" + io::detail::hex_byte(byte);
        else
            line += c;
    }
    return line;
}

int exit_with(ExitCode code, const std::string& sentence) {
    std::fprintf(stderr, "mta-oracle: %s\n", one_line(sentence).c_str());
    return static_cast<int>(code);
}

// Results never replace what they were computed from.
void refuse_overwriting(const std::string& option, const std::string& out,
                        const std::vector<std::string>& inputs) {
    for (const auto& input : inputs) {
        std::error_code missing;  // is no error here: reading says so
        require(!std::filesystem::equivalent(out, input, missing), option, ": got ", out,
                ", which is also read, expected another file");
    }
}

int run_eval(const EvalArguments& arguments) {
    if (arguments.backend != "reference")
        throw oracle::UnsupportedError("eval: --backend: got '" + arguments.backend +
                                       "', which this program was built without, expected 'reference'");
    refuse_overwriting("eval: --out", arguments.out, {arguments.config, arguments.in});
    const auto config = oracle::read_config(arguments.config);
    const auto in = io::read_safetensors(arguments.in);
    oracle::Notes notes;
    const auto dtype = arguments.dtype == "float32" ? io::DType::F32 : io::DType::F64;
    const auto out = oracle::evaluate(config, in, {dtype, arguments.trace}, notes);
    io::write_safetensors(arguments.out, out);
    for (const auto& note : notes)
        std::fprintf(stderr, "mta-oracle: note: %s\n", one_line(note).c_str());
    std::printf("wrote %zu tensors to %s\n", out.tensors.size(), one_line(arguments.out).c_str());
    return 0;
}

int run_compare(const CompareArguments& arguments) {
    refuse_overwriting("compare: --json", arguments.json, {arguments.expected, arguments.actual});
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
        std::printf("%s  %s\n", wrong ? "FAIL" : "  ok", one_line(t.comparison.sentence).c_str());
    }
    std::string extra;
    for (const auto& name : result.extra)
        extra += (extra.empty() ? "" : ", ") + name;
    if (!extra.empty()) std::printf("note  not in the expected file: %s\n", one_line(extra).c_str());
    if (result.first_wrong() != nullptr)
        std::printf("first wrong in the order of the pipeline: %s\n",
                    one_line(result.first_wrong()->name).c_str());
    std::printf("%s: %zu tensors expected\n",
                code == ExitCode::agrees     ? "agrees"
                : code == ExitCode::mismatch ? "mismatch"
                                             : "mistrusted",
                result.tensors.size());
    if (code == ExitCode::mistrusted)
        return exit_with(code, "compare: no element was compared, expected at least one");
    return static_cast<int>(code);
}

CLI::Validator one_of(std::vector<std::string> names) {
    std::string choices;
    for (const auto& name : names)
        choices += (choices.empty() ? "" : ", ") + name;
    const auto check = [names = std::move(names), choices](const std::string& text) {
        const bool known = std::find(names.begin(), names.end(), text) != names.end();
        return known ? std::string() : "got '" + text + "', expected one of " + choices;
    };
    return CLI::Validator(check, choices, "one_of");
}

// NaN and infinity would make every comparison fail, or none.
CLI::Validator tolerance() {
    const auto check = [](const std::string& text) {
        double x = -1;
        const bool usable = CLI::detail::lexical_cast(text, x) && x >= 0 && std::isfinite(x);
        return usable ? std::string() : "got '" + text + "', expected a finite number of at least 0";
    };
    return CLI::Validator(check, ">= 0", "tolerance");
}

void declare_eval(CLI::App& app, EvalArguments& e) {
    auto* eval =
        app.add_subcommand("eval", "evaluate the operator and, with d_out in the input, all gradients");
    eval->add_option("--config", e.config, "configuration, JSON")->required();
    eval->add_option("--in", e.in, "inputs and parameters, safetensors")->required();
    eval->add_option("--out", e.out, "where to write out, grad.* and stage.*")->required();
    eval->add_option("--backend", e.backend, "what computes")
        ->check(one_of({"reference", "fast", "cuda"}))
        ->capture_default_str();
    eval->add_option("--dtype", e.dtype, "arithmetic and output")
        ->check(one_of({"float64", "float32"}))
        ->capture_default_str();
    eval->add_flag("--trace", e.trace, "write every stage too");
}

void declare_compare(CLI::App& app, CompareArguments& c) {
    auto* compare = app.add_subcommand("compare", "judge one safetensors file against another");
    compare->add_option("EXPECTED", c.expected, "what should have come")->required();
    compare->add_option("ACTUAL", c.actual, "what came")->required();
    compare->add_option("--rtol", c.tolerance.relative, "bound on max|got - want| / max|want| of each tensor")
        ->check(tolerance())
        ->capture_default_str();
    compare->add_option("--atol", c.tolerance.absolute, "added to the bound on |got - want|")
        ->check(tolerance())
        ->capture_default_str();
    compare->add_option("--json", c.json, "write the comparison to this file");
}

// What is wrong with the command line. The parser names what is missing first; an unknown word explains more.
std::string usage_sentence(const CLI::App& app, const CLI::ParseError& error) {
    const std::string help = " (mta-oracle --help says what it takes)";
    const auto unknown = app.remaining(/*recurse=*/true);
    const auto commands = app.get_subcommands();  // those that were called
    if (unknown.empty() || !(commands.empty() || unknown.front().starts_with('-')))
        return error.what() + help;
    std::vector<std::string> known;
    for (const auto* option : (commands.empty() ? app : *commands.front()).get_options())
        known.push_back(option->get_name());
    if (commands.empty()) known.insert(known.end(), {"eval", "compare"});
    return "got " + io::detail::in_quotes(unknown.front()) + ", the nearest known is " +
           io::detail::in_quotes(io::nearest_name(unknown.front(), known)) + help;
}

int run(int argc, char** argv) {
    CLI::App app{"Reference values of multi-token attention (arXiv:2504.00927), and comparison with yours"};
    app.name("mta-oracle");
    app.set_version_flag("--version", "mta-oracle " MTA_VERSION_STRING);
    EvalArguments e;
    CompareArguments c;
    declare_eval(app, e);
    declare_compare(app, c);
    app.require_subcommand(1);
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        if (error.get_exit_code() == 0) return app.exit(error);  // --help, --version
        return exit_with(ExitCode::usage, usage_sentence(app, error));
    }
    return app.got_subcommand("eval") ? run_eval(e) : run_compare(c);
}

}  // namespace

int main(int argc, char** argv) {
    try {
        const int code = run(argc, argv);
        // A full disk must not pass for a silent success.
        require<io::FileError>(std::fflush(stdout) == 0 && std::ferror(stdout) == 0,
                               "cannot write all of the report to standard output");
        return code;
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
