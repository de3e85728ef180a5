// What small programs share: exit codes, errors as one sentence, command lines.
// SPDX-License-Identifier: MIT
#pragma once

#include <CLI/CLI.hpp>
#include <cstdio>
#include <mta/core/require.hpp>
#include <mta/io/file.hpp>
#include <mta/io/nearest_name.hpp>
#include <mta/version.hpp>
#include <new>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace mta::program {

/// 0 done; 1 what was asked for cannot be done; 2 command line or configuration; 3 a file cannot be read or written, or
/// breaks its format; 8 out of memory.
enum Code { done = 0, failed = 1, usage = 2, file = 3, out_of_memory = 8, unexpected = 70 };

/// The text with '?' for control characters. Names come from files and command lines: none may forge a line or command
/// the terminal.
inline std::string one_line(std::string_view text) {
    std::string line;
    for (const char c : text)
        line += static_cast<unsigned char>(c) < 0x20 || c == 0x7F ? '?' : c;
    return line;
}

inline int exit_with(const std::string& program, Code code, const std::string& sentence) {
    std::fprintf(stderr, "%s: %s\n", program.c_str(), one_line(sentence).c_str());
    return code;
}

/// What is wrong with the command line. The parser names what is missing first; an unknown word explains more.
inline std::string usage_sentence(const CLI::App& app, const CLI::ParseError& error) {
    const std::string help = " (" + app.get_name() + " --help says what it takes)";
    const auto unknown = app.remaining(/*recurse=*/true);
    if (unknown.empty()) return error.what() + help;
    std::vector<std::string> known;
    auto groups = app.get_subcommands([](const CLI::App*) { return true; });
    groups.push_back(&app);
    for (const auto* group : groups)
        for (const auto* option : group->get_options())
            known.push_back(option->get_name());
    return "got " + io::detail::in_quotes(unknown.front()) + ", the nearest known is " +
           io::detail::in_quotes(io::nearest_name(unknown.front(), known)) + help;
}

/// Parses the command line, calls run() and turns whatever it throws into a sentence and an exit code. run() returns
/// nothing, or an exit code of its own.
template <class Run>
int run_program(CLI::App& app, int argc, char** argv, Run&& run) {
    const std::string name = app.get_name();
    app.set_version_flag("--version", name + " " MTA_VERSION_STRING);
    try {
        app.parse(argc, argv);
        int code = done;
        if constexpr (std::is_void_v<decltype(run())>)
            run();
        else
            code = run();
        // A full disk must not pass for a silent success.
        require<io::FileError>(std::fflush(stdout) == 0 && std::ferror(stdout) == 0,
                               "cannot write all of the answer to standard output");
        return code;
    } catch (const CLI::ParseError& error) {
        if (error.get_exit_code() == 0) return app.exit(error);  // --help, --version
        return exit_with(name, usage, usage_sentence(app, error));
    } catch (const io::FileError& error) {
        return exit_with(name, file, error.what());
    } catch (const ArgumentError& error) {
        return exit_with(name, usage, error.what());
    } catch (const std::bad_alloc&) {
        return exit_with(name, out_of_memory, "out of memory, expected a smaller model or fewer tokens");
    } catch (const std::exception& error) {
        return exit_with(name, unexpected, std::string("unexpected: ") + error.what());
    }
}

}  // namespace mta::program
