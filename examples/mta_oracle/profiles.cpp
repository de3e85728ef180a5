// mta-oracle profiles: what can be named in a case: profiles, suites, fills.
// SPDX-License-Identifier: MIT
#include <cstdio>
#include <mta/oracle/suites.hpp>

#include "commands.hpp"
#include "support.hpp"

namespace mta::program {

namespace {

void print(std::string_view name, std::string_view sentence) {
    std::printf("  %-15.*s %.*s\n", static_cast<int>(name.size()), name.data(),
                static_cast<int>(sentence.size()), sentence.data());
}

int run_profiles() {
    std::printf("profiles: what is computed\n");
    for (const auto& p : oracle::profiles()) {
        print(p.name, p.sentence);
        const std::string descriptor = oracle::describe(oracle::default_case(p));
        print("", "default " + descriptor.substr(0, descriptor.find(" fill=")));
        print("", oracle::to_json(p.config).dump());
    }
    std::printf("suites: which cases\n");
    for (const auto& s : oracle::suites)
        print(s.name, mta::detail::sentence(oracle::suite(s.name).size(), " cases: ", s.sentence));
    std::printf("fills: which numbers\n");
    for (const auto& f : oracle::fills)
        print(f.name, f.purpose);
    return 0;
}

}  // namespace

Command profiles_command(CLI::App& app) {
    app.add_subcommand("profiles", "list the profiles, suites and fills that cases are made of");
    return {"profiles", run_profiles};
}

}  // namespace mta::program
