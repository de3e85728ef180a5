// mta-oracle vectors: writes test vectors, and checks that this program still makes them.
// SPDX-License-Identifier: MIT
#include <cstdio>
#include <filesystem>
#include <memory>
#include <mta/oracle/vectors.hpp>

#include "commands.hpp"
#include "support.hpp"

namespace mta::program {

namespace {

using oracle::ExitCode;
using oracle::VectorSet;

struct VectorsArguments {
    bool pocket = false, smoke = false, full = false;
    std::string out, verify;
};

VectorSet chosen_set(const VectorsArguments& a) {
    require<oracle::ConfigError>(a.pocket + a.smoke + a.full == 1, "vectors: got ",
                                 a.pocket + a.smoke + a.full,
                                 " sets, expected one of --pocket, --smoke, --full");
    return a.pocket ? VectorSet::pocket : a.smoke ? VectorSet::smoke : VectorSet::full;
}

int verify(VectorSet set, const std::string& path) {
    const bool folder =
        set == VectorSet::smoke || (set == VectorSet::full && std::filesystem::is_directory(path));
    const auto report = set == VectorSet::pocket ? oracle::verify_pocket(path)
                        : folder                 ? oracle::verify_vector_folder(set, path)
                                                 : oracle::verify_checksums(path, oracle::vector_cases(set));
    for (const auto& sentence : report.wrong)
        std::printf("FAIL  %s\n", one_line(sentence).c_str());
    std::printf("%s: %zu cases", report.wrong.empty() ? "agrees" : "mismatch", report.cases);
    if (report.inputs == 0)
        std::printf(", the inputs of each to the same checksum\n");
    else
        std::printf(", %zu inputs to the same bits, %zu outputs to %.0e (worst %.1e)\n", report.inputs,
                    report.outputs, oracle::vector_bound, report.worst);
    return static_cast<int>(report.wrong.empty() ? ExitCode::agrees : ExitCode::mismatch);
}

int run_vectors(const VectorsArguments& a) {
    const VectorSet set = chosen_set(a);
    require<oracle::ConfigError>(a.out.empty() != a.verify.empty(), "vectors: got ",
                                 a.out.empty() ? "neither --out nor --verify" : "both --out and --verify",
                                 ", expected one of them");
    if (!a.verify.empty()) return verify(set, a.verify);
    oracle::write_vectors(set, a.out);
    std::printf("wrote %zu cases to %s\n", oracle::vector_cases(set).size(), one_line(a.out).c_str());
    return 0;
}

}  // namespace

Command vectors_command(CLI::App& app) {
    auto* vectors = app.add_subcommand("vectors", "write test vectors, or check those that were written");
    const auto a = std::make_shared<VectorsArguments>();
    vectors->add_flag("--pocket", a->pocket, "three tiny cases in one JSON file");
    vectors->add_flag("--smoke", a->smoke, "the suite smoke, a folder");
    vectors->add_flag("--full", a->full,
                      "the suites full, adversarial and exact in every input type, a folder");
    vectors->add_option("--out", a->out, "where to write: a file for --pocket, else a new or empty folder");
    vectors->add_option("--verify", a->verify, "what to check; with --full a folder or a file of checksums");
    return {"vectors", [a] { return run_vectors(*a); }};
}

}  // namespace mta::program
