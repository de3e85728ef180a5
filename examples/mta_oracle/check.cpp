// mta-oracle check: judges a candidate on cases, names the first wrong stage and the likely bug.
// SPDX-License-Identifier: MIT
#include <memory>

#include "check_options.hpp"
#include "commands.hpp"
#include "support.hpp"

namespace mta::program {

namespace {

int run_check_command(const CheckArguments& arguments) {
    const auto report = run_check("check", arguments, /*diagnose=*/true);
    return finish_check("check", arguments, report);
}

}  // namespace

Command check_command(CLI::App& app) {
    auto* check = app.add_subcommand(
        "check", "judge a candidate: its results in a folder, a library with the C interface, or a backend");
    const auto arguments = std::make_shared<CheckArguments>();
    add_check_options(*check, *arguments);
    return {"check", [arguments] { return run_check_command(*arguments); }};
}

}  // namespace mta::program
