// mta-oracle power: which known bugs a suite would catch at a rounding.
// SPDX-License-Identifier: MIT
#include <cstdio>
#include <memory>
#include <mta/oracle/power.hpp>
#include <mta/oracle/suites.hpp>
#include <string>
#include <vector>

#include "commands.hpp"
#include "support.hpp"

namespace mta::program {

namespace {

struct PowerArguments {
    std::string suite = "smoke", profile, rounding = "fp32", json;
    std::vector<std::string> cases;
    std::uint64_t seed = 0;
    bool list = false, matrix = false;
};

// The catalogue as a Markdown table; docs/oracle/diagnosis.md holds it.
void print_list() {
    std::puts("| deviation | wrong pass | first wrong tensor | what to look for |\n|---|---|---|---|");
    for (const auto& d : oracle::deviations())
        std::printf("| %s | %s | %s | %s |\n", d.name.c_str(), std::string(oracle::kind_of(d)).c_str(),
                    d.stage.c_str(), d.sentence.c_str());
}

std::vector<oracle::Case> cases_of(const PowerArguments& a, const oracle::RoundingProfile& rounding) {
    std::vector<oracle::Case> cases;
    for (const auto& text : a.cases)
        cases.push_back(oracle::parse_case(text));
    if (!cases.empty()) return cases;
    oracle::SuiteOptions options;
    options.seed = a.seed;
    options.profile = a.profile;
    options.dtype = oracle::dtype_of(rounding.io);
    return oracle::suite(a.suite, options);
}

void print_table(const oracle::PowerTable& table, bool matrix) {
    for (std::size_t n = 0; n < table.cases.size(); ++n) {
        const auto [seen, acting] = table.of_case(n);
        std::printf("%4zu/%-4zu %s\n", seen, acting, table.cases[n].c_str());
    }
    if (matrix)
        std::puts("\nper case, in the order above: # seen, . too small, - no effect, blank: not there");
    for (const auto& r : table.rows) {
        std::string marks;
        for (const auto s : r.cases)
            marks += " -.#"[static_cast<std::size_t>(s)];
        if (matrix) std::printf("%s  %s\n", marks.c_str(), r.name.c_str());
    }
    for (const auto& r : table.rows)
        if (!r.seen())
            std::printf("not seen%s: %s\n", r.acts() ? "" : ", has no effect on these cases", r.name.c_str());
    std::printf("%zu of %zu known bugs that act on these cases are seen at %s; %zu are known; %.1f s\n",
                table.seen(), table.acting(), table.rounding.c_str(), table.rows.size(), table.seconds);
}

int run_power(const PowerArguments& a) {
    if (a.list) {
        print_list();
        return static_cast<int>(oracle::ExitCode::agrees);
    }
    const auto rounding = oracle::parse_rounding(a.rounding);
    require_places("power: --json", {a.json});
    const auto cases = cases_of(a, rounding);
    for (const auto& c : cases)
        oracle::detail::require_memory(
            "power", {{c.batch, c.config.attention.heads, c.sequence, c.config.attention.head_dim},
                      12 * oracle::detail::score_stages(c.config.attention)});
    const auto table = oracle::power_table(cases, rounding);
    if (!a.json.empty()) write_text(a.json, oracle::to_json(table).dump(2) + "\n");
    print_table(table, a.matrix);
    return static_cast<int>(oracle::ExitCode::agrees);
}

}  // namespace

Command power_command(CLI::App& app) {
    auto* c = app.add_subcommand("power", "which known bugs a suite would catch at a rounding");
    const auto a = std::make_shared<PowerArguments>();
    c->add_option("--suite", a->suite, "smoke, full, adversarial or exact")->capture_default_str();
    c->add_option("--case", a->cases, "a case descriptor in place of a suite; may be repeated")
        ->allow_extra_args(false);
    c->add_option("--profile", a->profile, "the suite's shapes with this profile's semantics");
    c->add_option("--rounding", a->rounding, "rounding profile of the candidate")->capture_default_str();
    c->add_option("--seed", a->seed, "of the suite")->check(whole_number())->capture_default_str();
    c->add_option("--json", a->json, "write the table to this file")->check(not_empty());
    c->add_flag("--matrix", a->matrix, "print every bug against every case");
    c->add_flag("--list", a->list, "print the known bugs as a Markdown table and stop");
    return {"power", [a] { return run_power(*a); }};
}

}  // namespace mta::program
