// mta-oracle gen: writes the cases of a suite into a folder, for a candidate of any language.
// SPDX-License-Identifier: MIT
#include <cstdio>
#include <memory>
#include <mta/oracle/case_files.hpp>
#include <mta/oracle/suites.hpp>

#include "commands.hpp"
#include "support.hpp"

namespace mta::program {

namespace {

struct GenArguments {
    std::string suite, profile, io = "fp32", out;
    std::vector<std::string> cases;
    std::uint64_t seed = 0;
};

std::vector<oracle::Case> chosen_cases(const GenArguments& a) {
    if (a.cases.empty())
        return oracle::suite(a.suite, {a.seed, oracle::detail::read_io(a.io, "gen"), a.profile});
    std::vector<oracle::Case> cases;
    for (const auto& descriptor : a.cases)
        cases.push_back(oracle::parse_case(descriptor));
    return cases;
}

int run_gen(const GenArguments& a) {
    require<oracle::ConfigError>(a.suite.empty() != a.cases.empty(), "gen: got ",
                                 a.cases.empty() ? "neither --suite nor --case" : "both --suite and --case",
                                 ", expected one of them");
    const auto cases = chosen_cases(a);
    oracle::write_case_folder(a.out, cases);
    std::printf("wrote %zu cases to %s\n", cases.size(), one_line(a.out).c_str());
    std::printf("now write NAME.out.safetensors beside each NAME.in.safetensors, then\n");
    std::printf("mta-oracle check --results %s\n", one_line(a.out).c_str());
    return 0;
}

}  // namespace

Command gen_command(CLI::App& app) {
    auto* gen = app.add_subcommand("gen", "write the inputs of a suite's cases into a folder");
    const auto a = std::make_shared<GenArguments>();
    std::vector<std::string> suites;
    for (const auto& s : oracle::suites)
        suites.emplace_back(s.name);
    gen->add_option("--suite", a->suite, "which cases")->check(one_of(suites));
    gen->add_option("--case", a->cases, "a case descriptor in place of a suite; may be repeated");
    gen->add_option("--profile", a->profile, "the suite's sizes and fills with this profile's semantics");
    gen->add_option("--io", a->io, "type of the inputs")
        ->check(one_of({"fp32", "bf16", "fp16"}))
        ->capture_default_str();
    gen->add_option("--seed", a->seed, "other numbers in the same cases")
        ->check(whole_number())
        ->capture_default_str();
    gen->add_option("--out", a->out, "a new or empty folder")->required();
    return {"gen", [a] { return run_gen(*a); }};
}

}  // namespace mta::program
