// What the tests of candidates share: a problem with almost every stage, and the compiled candidates.
// SPDX-License-Identifier: MIT
//
// MTA_CANDIDATES is the folder where CMake puts the candidates of examples/candidates. Without it (a test that is
// compiled by hand, a mutation) they are compiled here, once per run.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <map>
#include <mta/oracle/library_candidate.hpp>
#include <string>

#include "support/attention_case.hpp"
#include "support/checks.hpp"

namespace mta::test {

using namespace mta::oracle;

/// A random problem whose numbers are exact in `dtype`.
inline Problem problem_of(const MultiTokenAttentionConfig& config, Index B, Index S,
                          io::DType dtype = io::DType::F32) {
    const auto c = random_case<double>(config, B, S);
    Problem p;
    p.name = "test";
    p.config.attention = config;
    p.dtype = dtype;
    p.q = c.q, p.k = c.k, p.v = c.v, p.params = c.params, p.d_out = c.d_out;
    for_each_input(
        [&](std::string_view, auto& t) {
            for (auto& x : elements(t))
                x = oracle::detail::decode(oracle::detail::encode(x, dtype), dtype);
        },
        p);
    return p;
}
inline Problem full_problem(io::DType dtype = io::DType::F32) {
    return problem_of(full_config(), 2, 7, dtype);
}

/// Compiled candidates that are removed at the end of the run.
class CandidateFolder {
  public:
    CandidateFolder() {
        std::string pattern = (std::filesystem::temp_directory_path() / "mta-candidates-XXXXXX").native();
        folder_ = ::mkdtemp(pattern.data());
    }
    CandidateFolder(const CandidateFolder&) = delete;
    CandidateFolder& operator=(const CandidateFolder&) = delete;
    ~CandidateFolder() {
        std::error_code none;
        std::filesystem::remove_all(folder_, none);
    }
    const std::string& path() const { return folder_; }

    std::string compiled(const std::string& name) {
        const std::string library = folder_ + "/candidate-" + name + ".so";
        if (std::filesystem::exists(library)) return library;
        const std::string root = std::string(MTA_TEST_DATA) + "/../..";
        std::string define = name;  // softmax-row-term plants WRONG_SOFTMAX_ROW_TERM
        for (char& c : define)
            c = c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
        std::string command = "c++ -std=c++20 -O1 -fopenmp '" + root + "/examples/candidates/hostile.cpp'";
        if (name == "hostile-load")
            command = "c++ -std=c++20 '" + root + "/examples/candidates/hostile_load.cpp'";
        if (!name.starts_with("hostile"))
            command = "cc -std=c11 -O1 -DWRONG_" + define + " '" + root + "/examples/candidates/right.c' -lm";
        command += " -shared -fPIC -ffp-contract=off -w -I '" + root + "/include' -o '" + library + "'";
        REQUIRE(std::system(command.c_str()) == 0);
        return library;
    }

  private:
    std::string folder_;
};

/// Where the candidate of this name is: "right", "hostile", "flipped-keys".
inline std::string candidate_path(const std::string& name) {
#ifdef MTA_CANDIDATES
    return std::string(MTA_CANDIDATES) + "/candidate-" + name + ".so";
#else
    static CandidateFolder folder;
    return folder.compiled(name);
#endif
}

inline LibraryOptions right_options(const std::string& name = "right") {
    LibraryOptions options;
    options.path = candidate_path(name);
    options.symbol = "my_mta_forward";
    options.backward_symbol = "my_mta_backward";
    return options;
}
inline LibraryOptions hostile_options(const std::string& symbol, const std::string& backward = "") {
    LibraryOptions options;
    options.path = candidate_path("hostile");
    options.symbol = symbol;
    options.backward_symbol = backward;
    return options;
}

/// max|got - want| / max|want| over the judged elements; infinite when `got` lacks the tensor.
inline double judged_error(const Problem& p, const Results& got, const NamedTensor& want) {
    const auto* found = got.find(want.name);
    if (found == nullptr || found->shape != want.shape) return HUGE_VAL;
    double error = 0, scale = 0;
    oracle::detail::JudgedPositions(p).for_each(want, [&](std::size_t n, Index, Index) {
        const double difference = std::abs(found->values[n] - want.values[n]);
        if (!(difference <= error)) error = difference;
        scale = std::max(scale, std::abs(want.values[n]));
    });
    return scale > 0 ? error / scale : error;
}

}  // namespace mta::test
