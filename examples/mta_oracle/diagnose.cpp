// mta-oracle diagnose: what a wrong candidate looks like, without the rest of a check.
// SPDX-License-Identifier: MIT
#include <cstdio>
#include <memory>

#include "check_options.hpp"
#include "commands.hpp"
#include "support.hpp"

namespace mta::program {

namespace {

int run_diagnose(CheckArguments arguments) {
    arguments.no_probes = arguments.no_memory = true;
    arguments.repeats = 1;
    const auto report = run_check("diagnose", arguments, /*diagnose=*/true);
    for (const auto& e : report.consistent_with)
        std::printf("%s: %s\n", e.name.c_str(), one_line(e.sentence).c_str());
    return finish_check("diagnose", arguments, report);
}

}  // namespace

Command diagnose_command(CLI::App& app) {
    auto* diagnose = app.add_subcommand("diagnose", "say which known bug explains a wrong candidate");
    const auto arguments = std::make_shared<CheckArguments>();
    add_check_options(*diagnose, *arguments);
    return {"diagnose", [arguments] { return run_diagnose(*arguments); }};
}

}  // namespace mta::program
