// Libraries that cannot be used, and functions that are in this process already.
// SPDX-License-Identifier: MIT
#include <mta/oracle/library_candidate.hpp>

#include <fstream>

#include "library_support.hpp"

namespace mta_test_library_candidate_files {
using namespace mta;
using namespace mta::test;

namespace {

std::string refusal_of(LibraryOptions options) {
    options.timeout_seconds = 10;
    try {
        require_library(options);
    } catch (const std::exception& error) {
        return error.what();
    }
    return "accepted";
}

// Functions of the C interface that need no library.
int doubles_q(const mta_call* call) {
    const auto& q = call->inputs[0];
    const auto& out = call->outputs[0];
    for (std::int64_t n = 0; n < q.shape[0] * q.stride[0]; ++n)
        static_cast<float*>(out.data)[n] = 2 * static_cast<const float*>(q.data)[n];
    return MTA_OK;
}
int throws(const mta_call*) {
    throw std::runtime_error("here");
}
int does_nothing(const mta_call*) {
    return MTA_OK;
}
int has_no_gradient(const mta_call*) {
    return MTA_UNSUPPORTED;
}
int touches_k(const mta_call* call) {
    static_cast<float*>(call->inputs[1].data)[0] = 7;
    return doubles_q(call);
}
int saw_d_out = 0;
int looks_for_d_out(const mta_call* call) {
    saw_d_out = std::string_view(call->inputs[call->n_inputs - 1].name) == "d_out";
    return MTA_UNSUPPORTED;
}

}  // namespace

TEST_CASE("a library that cannot be used is refused in one sentence") {
    CHECK(refusal_of(right_options()) == "accepted");
    auto options = right_options();
    options.backward_symbol = "my_backwards";
    CHECK_THROWS_AS(require_library(options), ArgumentError);
    CHECK(refusal_of(options).find("got no symbol 'my_backwards', expected an exported function") !=
          std::string::npos);
    options.path = "/nowhere/libnone.so";
    CHECK_THROWS_AS(require_library(options), io::FileError);
    CHECK(refusal_of(options) == "library '/nowhere/libnone.so': no such file, expected a shared library");
    options.path = "libmta-there-is-none.so";
    CHECK(refusal_of(options).find("cannot open shared object file") != std::string::npos);
    options.path = "/tmp";
    CHECK(refusal_of(options) == "library '/tmp': no regular file, expected a shared library");
    options.path = std::string(MTA_TEST_DATA) + "/README.md";
    CHECK(refusal_of(options).find("no ELF header, expected a shared library") != std::string::npos);
    options.path = candidate_path("hostile-load");
    CHECK(refusal_of(options).find("crashed with SIGABRT (Aborted) while it was loaded") !=
          std::string::npos);
    const Answer answer = library_candidate(options).answer(full_problem());
    CHECK(answer.outcome == Outcome::crashed);
    CHECK(answer.sentence.find("loading ") == 0);
}

TEST_CASE("a library for another processor, and one that is cut short") {
    std::ifstream from(candidate_path("right"), std::ios::binary);
    std::string bytes((std::istreambuf_iterator<char>(from)), std::istreambuf_iterator<char>());
    const std::string path = "/tmp/mta-foreign-" + std::to_string(::getpid()) + ".so";
    const auto refused = [&](const std::string& contents) {
        std::ofstream(path, std::ios::binary) << contents;
        LibraryOptions options = right_options();
        options.path = path;
        const std::string sentence = refusal_of(options);
        const Answer answer = library_candidate(options).answer(full_problem());
        CHECK((answer.outcome == Outcome::failed || answer.outcome == Outcome::crashed));
        ::unlink(path.c_str());
        return sentence;
    };
    std::string foreign = bytes;
    foreign[18] = 21;  // PowerPC
    CHECK(refused(foreign).find("for another processor (ELF machine 21, class 2), expected ") !=
          std::string::npos);
    foreign[18] = bytes[18], foreign[4] = 1;
    CHECK(refused(foreign).find("class 1), expected ") != std::string::npos);
    CHECK(refused(bytes.substr(0, 100)) != "accepted");
    CHECK(refused(bytes.substr(0, 3)).find("no ELF header") != std::string::npos);
    CHECK(refused("").find("no ELF header") != std::string::npos);
}

TEST_CASE("functions of this process are called the same way, and judged for what they write") {
    const Problem p = full_problem();
    const auto candidate = function_candidate("doubler", doubles_q, nullptr);
    CHECK(candidate.name == "doubler");
    CHECK(candidate.reproduce == "");
    const Answer answer = candidate.answer(p);
    REQUIRE(answer.outcome == Outcome::answered);
    CHECK(answer.results.tensors.size() == 1);
    for (std::size_t n = 0; n < static_cast<std::size_t>(p.q.size()); ++n)
        CHECK(answer.results.at("out").values[n] == 2 * p.q.data()[n]);
    CHECK(function_candidate("", throws, nullptr).answer(p).sentence == "forward threw: here");
    CHECK(function_candidate("", does_nothing, nullptr).answer(p).outcome == Outcome::broke_memory);
    CHECK(function_candidate("", touches_k, nullptr)
              .answer(p)
              .sentence.find("forward changed its input 'k' at [0, 0, 0, 0]: it holds 7") == 0);
    const Answer half = function_candidate("", doubles_q, has_no_gradient).answer(p);
    CHECK(half.outcome == Outcome::answered);
    REQUIRE(half.notes.size() == 1);
    CHECK(half.notes[0] == "backward refused this configuration");
    CHECK(function_candidate("", doubles_q, throws).answer(p).sentence == "backward threw: here");
}

TEST_CASE("the backward function alone sees the cotangent") {
    function_candidate("", looks_for_d_out, nullptr).answer(full_problem());
    CHECK(saw_d_out == 0);
    function_candidate("", doubles_q, looks_for_d_out).answer(full_problem());
    CHECK(saw_d_out == 1);
}

TEST_CASE("the reproduce line can be pasted") {
    LibraryOptions options;
    options.path = "./my kernels/it's.so";
    options.symbol = "f";
    CHECK(library_candidate(options).reproduce == R"(--lib './my kernels/it'\''s.so' --symbol f)");
    CHECK(oracle::detail::shell_word("") == "''");
}
}  // namespace mta_test_library_candidate_files
