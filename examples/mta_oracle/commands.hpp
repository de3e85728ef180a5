// The commands of mta-oracle: each is one file of this folder, which registers itself and runs.
// SPDX-License-Identifier: MIT
//
// To add a command: its file <name>.cpp, one line here, one line in main (mta_oracle.cpp). A command prints its
// report on standard output and returns an exit code (exit_code.hpp); its errors are exceptions, which main
// turns into one sentence on standard error and an exit code.
#pragma once

#include <functional>
#include <string>

namespace CLI {
class App;
}

namespace mta::program {

/// What main calls when the command was named; what was parsed lives in the function.
struct Command {
    std::string name;
    std::function<int()> run;
};

/// Each registers its subcommand and options with `app`.
Command eval_command(CLI::App& app);
Command compare_command(CLI::App& app);
Command gen_command(CLI::App& app);
Command profiles_command(CLI::App& app);
Command stages_command(CLI::App& app);
Command vectors_command(CLI::App& app);
Command diagnose_command(CLI::App& app);
Command check_command(CLI::App& app);
Command identities_command(CLI::App& app);
Command identify_command(CLI::App& app);
Command shrink_command(CLI::App& app);
Command gradcheck_command(CLI::App& app);
Command power_command(CLI::App& app);
Command selftest_command(CLI::App& app);

}  // namespace mta::program
