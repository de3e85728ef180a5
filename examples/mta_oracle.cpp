// mta-oracle: evaluates multi-token attention and judges implementations of it.
// SPDX-License-Identifier: MIT
//
// Exit codes: see include/mta/oracle/exit_code.hpp. Every error is one sentence on standard error.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <mta/io/file.hpp>
#include <mta/io/nearest_name.hpp>
#include <mta/oracle/eval.hpp>
#include <new>
#include <string>
#include <vector>

#include "mta_oracle/commands.hpp"
#include "mta_oracle/support.hpp"

namespace {

using namespace mta;
using oracle::ExitCode;
using program::Command;
using program::exit_with;

std::vector<Command> declare_commands(CLI::App& app) {
    std::vector<Command> commands;
    commands.push_back(program::eval_command(app));
    commands.push_back(program::compare_command(app));
    commands.push_back(program::gen_command(app));
    commands.push_back(program::profiles_command(app));
    commands.push_back(program::stages_command(app));
    commands.push_back(program::vectors_command(app));
    commands.push_back(program::diagnose_command(app));
    commands.push_back(program::check_command(app));
    commands.push_back(program::identities_command(app));
    commands.push_back(program::identify_command(app));
    commands.push_back(program::shrink_command(app));
    commands.push_back(program::gradcheck_command(app));
    commands.push_back(program::power_command(app));
    commands.push_back(program::selftest_command(app));
    return commands;
}

// What is wrong with the command line. The parser names what is missing first; an unknown word explains more.
std::string usage_sentence(const CLI::App& app, const CLI::ParseError& error) {
    const std::string help = " (mta-oracle --help says what it takes)";
    const auto unknown = app.remaining(/*recurse=*/true);
    const auto called = app.get_subcommands();
    if (unknown.empty() || !(called.empty() || unknown.front().starts_with('-'))) return error.what() + help;
    std::vector<std::string> known;
    for (const auto* option : (called.empty() ? app : *called.front()).get_options())
        known.push_back(option->get_name());
    if (called.empty())
        for (const auto* command : app.get_subcommands([](const CLI::App*) { return true; }))
            known.push_back(command->get_name());
    return "got " + io::detail::in_quotes(unknown.front()) + ", the nearest known is " +
           io::detail::in_quotes(io::nearest_name(unknown.front(), known)) + help;
}

int run(int argc, char** argv) {
    CLI::App app{"Reference values of multi-token attention (arXiv:2504.00927), and comparison with yours"};
    app.name("mta-oracle");
    app.set_version_flag("--version", "mta-oracle " MTA_VERSION_STRING);
    const std::vector<Command> commands = declare_commands(app);
    app.require_subcommand(1);
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        if (error.get_exit_code() == 0) return app.exit(error);  // --help, --version
        return exit_with(ExitCode::usage, usage_sentence(app, error));
    }
    for (const auto& command : commands)
        if (app.got_subcommand(command.name)) return command.run();
    return exit_with(ExitCode::self_check, "no command ran, expected the one that was parsed");
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
