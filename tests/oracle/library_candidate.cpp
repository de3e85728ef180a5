// Candidates from shared libraries: right and wrong ones are called as the interface says, hostile ones contained.
// SPDX-License-Identifier: MIT
#include <mta/oracle/library_candidate.hpp>

#include <dirent.h>

#include <cstddef>
#include <fstream>

#include "library_support.hpp"
#include "support/threads.hpp"

namespace mta_test_library_candidate {
using namespace mta;
using namespace mta::test;

namespace {

constexpr double float_error = 1e-4;  // the deepest of these sums has 100 terms of float32

std::vector<Problem> small_problems(io::DType dtype) {
    std::vector<Problem> all;
    for (const auto& config : varied_configs()) {
        all.push_back(problem_of(config, 2, 7, dtype));
        all.push_back(problem_of(config, 2, 7, dtype));
        all.back().config.document_starts = {{0, 3}, {0, 1, 5}};
    }
    return all;
}

std::string first_wrong(const Problem& p, const Results& got) {
    for (const auto& want : reference_results(p).tensors)
        if (!(judged_error(p, got, want) <= float_error)) return want.name;
    return "none";
}

// Gone, or dead and not yet buried.
bool is_dead(const std::string& pid) {
    for (int tries = 0; tries < 200; ++tries, ::usleep(10000)) {
        std::ifstream stat("/proc/" + pid + "/stat");
        std::string line;
        if (!std::getline(stat, line)) return true;
        const char state = line[line.rfind(')') + 2];
        if (state == 'Z' || state == 'X') return true;
    }
    return false;
}

std::size_t open_files() {
    std::size_t count = 0;
    DIR* folder = ::opendir("/proc/self/fd");
    while (::readdir(folder) != nullptr)
        ++count;
    ::closedir(folder);
    return count;
}

}  // namespace

TEST_CASE("the C interface has the layout that compiled candidates rely on") {
    CHECK(sizeof(mta_tensor) == 40);
    CHECK(offsetof(mta_tensor, dtype) == 16);
    CHECK(offsetof(mta_tensor, shape) == 24);
    CHECK(sizeof(mta_call) == 72);
    CHECK(offsetof(mta_call, size) == 16);
    CHECK(offsetof(mta_call, inputs) == 24);
    CHECK(offsetof(mta_call, config_json) == 40);
    CHECK(offsetof(mta_call, message_size) == 64);
    CHECK(offsetof(mta_config, pre) == 48);
    CHECK(sizeof(mta_score_mixing) == 40);
    CHECK(offsetof(mta_config, document_begin) == 176);
    CHECK(MTA_ABI_VERSION == 1);
}

TEST_CASE("the right candidate gives every tensor, on every configuration") {
    const auto candidate = library_candidate(right_options());
    for (bool LibraryOptions::*flag : {&LibraryOptions::misaligned, &LibraryOptions::strided}) {
        auto layout = hostile_options("well_behaved");
        layout.*flag = true;
        CHECK(library_candidate(layout).reproduce.ends_with(
            flag == &LibraryOptions::strided ? " --strided" : " --misaligned"));
    }
    CHECK(candidate.reproduce == "--lib " + oracle::detail::shell_word(candidate_path("right")) +
                                     " --symbol my_mta_forward --backward-symbol my_mta_backward");
    for (const auto& p : small_problems(io::DType::F32)) {
        const Answer answer = candidate.answer(p);
        CHECK(answer.sentence == "");
        REQUIRE(answer.outcome == Outcome::answered);
        const auto want = reference_results(p);
        CHECK(answer.results.tensors.size() == want.tensors.size());
        for (const auto& t : want.tensors) {
            INFO(t.name);
            CHECK(judged_error(p, answer.results, t) <= float_error);
        }
    }
}

TEST_CASE("inputs and outputs of 16 bits, stages of 32") {
    for (const auto dtype : {io::DType::BF16, io::DType::F16}) {
        const double half_ulp = dtype == io::DType::BF16 ? 0x1p-8 : 0x1p-11;
        const Problem p = full_problem(dtype);
        const Answer answer = library_candidate(right_options()).answer(p);
        REQUIRE(answer.outcome == Outcome::answered);
        for (const auto& t : reference_results(p).tensors) {
            INFO(t.name);
            CHECK(judged_error(p, answer.results, t) <=
                  float_error + (t.name.starts_with("stage.") ? 0 : half_ulp));
        }
    }
    const Answer wide = library_candidate(right_options()).answer(full_problem(io::DType::F64));
    CHECK(wide.outcome == Outcome::refused);
    CHECK(wide.sentence ==
          "my_mta_forward refused this configuration: this type of elements; float32, float16 and bfloat16 "
          "are");
}

TEST_CASE("each wrong candidate is wrong first where its bug is") {
    const Problem p = full_problem();
    const std::pair<const char*, const char*> bugs[] = {{"flipped-keys", "stage.pre_conv"},
                                                        {"no-zero-mask", "stage.pre_conv"},
                                                        {"mix-transposed", "stage.pre_mix"},
                                                        {"softmax-row-term", "stage.d_logits"},
                                                        {"dk-of-one-head", "grad.k"}};
    for (const auto& bug : bugs) {
        const auto *name = bug.first, *stage = bug.second;
        INFO(name);
        const Answer answer = library_candidate(right_options(name)).answer(p);
        REQUIRE(answer.outcome == Outcome::answered);
        Results got = answer.results;
        if (std::string_view(name) == "softmax-row-term") {
            CHECK(judged_error(p, got, reference_results(p).at("stage.d_weights")) <= float_error);
            CHECK(judged_error(p, got, reference_results(p).at("stage.d_pre_mix")) > 0.01);
            continue;
        }
        CHECK(first_wrong(p, got) == stage);
    }
    CHECK(first_wrong(p, library_candidate(right_options()).answer(p).results) == "none");
}

TEST_CASE("what a library owes depends on the problem and on its symbols") {
    Problem p = full_problem();
    auto options = right_options();
    options.stages = false;
    CHECK(library_candidate(options).answer(p).results.find("stage.logits") == nullptr);
    CHECK(library_candidate(options).answer(p).results.find("grad.pre.kernel") != nullptr);
    options.backward_symbol.clear();
    CHECK(library_candidate(options).answer(p).results.tensors.size() == 1);
    p.d_out.reset();
    CHECK(library_candidate(right_options()).answer(p).results.find("grad.q") == nullptr);
    CHECK(library_candidate(right_options()).answer(p).outcome == Outcome::answered);

    const Answer half =
        library_candidate(hostile_options("well_behaved", "refuses_backward")).answer(full_problem());
    CHECK(half.outcome == Outcome::answered);
    CHECK(half.results.tensors.size() == 1);
    REQUIRE(half.notes.size() == 1);
    CHECK(half.notes[0] == "refuses_backward refused this configuration: no gradients yet");
}

TEST_CASE("a hostile candidate becomes an outcome and a sentence") {
    struct Expected {
        const char* symbol;
        Outcome outcome;
        const char* sentence;
    };
    const Expected all[] = {
        {"segfaults", Outcome::crashed, "segfaults crashed with SIGSEGV (Segmentation fault)"},
        {"aborts", Outcome::crashed, "aborts crashed with SIGABRT (Aborted)"},
        {"divides_by_zero", Outcome::crashed,
         "divides_by_zero crashed with SIGFPE (Floating point exception)"},
        {"overflows_stack", Outcome::crashed, "overflows_stack crashed with SIGSEGV (Segmentation fault)"},
        {"exits", Outcome::crashed, "exits ended its process with exit status 0, expected it to return"},
        {"leaves_at_once", Outcome::crashed,
         "leaves_at_once ended its process with exit status 7, expected it to return"},
        {"throws_error", Outcome::failed, "throws_error threw: no such head"},
        {"throws_number", Outcome::failed, "throws_number threw: something that is no std::exception"},
        {"returns_error", Outcome::failed,
         "returns_error returned code 17: the device is gone, expected 0 (done) or 1 (unsupported)"},
        {"returns_silently", Outcome::failed,
         "returns_silently returned code 2, expected 0 (done) or 1 (unsupported)"},
        {"refuses", Outcome::refused, "refuses refused this configuration: only 8 heads"},
        {"writes_nothing", Outcome::broke_memory,
         "writes_nothing left 168 of the 168 elements of 'out' unwritten or added to what was there, the "
         "first at [0, 0, 0, 0]"},
        {"absent", Outcome::failed, "expected an exported function int absent(const mta_call*)"}};
    for (const auto& expected : all) {
        INFO(expected.symbol);
        const Answer answer = library_candidate(hostile_options(expected.symbol)).answer(full_problem());
        CHECK(answer.outcome == expected.outcome);
        CHECK(answer.sentence.find(expected.sentence) != std::string::npos);
        CHECK(answer.sentence.find('\n') == std::string::npos);
    }
    const Answer flood = library_candidate(hostile_options("floods_message")).answer(full_problem());
    CHECK(flood.outcome == Outcome::failed);
    CHECK(flood.sentence.size() < 700);
}

TEST_CASE("the backward function is blamed for what it does") {
    const Answer answer =
        library_candidate(hostile_options("well_behaved", "segfaults")).answer(full_problem());
    CHECK(answer.outcome == Outcome::crashed);
    CHECK(answer.sentence == "segfaults crashed with SIGSEGV (Segmentation fault)");
    const Answer silent =
        library_candidate(hostile_options("well_behaved", "writes_nothing")).answer(full_problem());
    CHECK(silent.sentence.find("writes_nothing left 168 of the 168 elements of 'grad.q' unwritten") == 0);
}

TEST_CASE("a candidate that hangs is stopped, with all it started") {
    for (const char* symbol : {"hangs", "hangs_deaf", "prints_forever"}) {
        INFO(symbol);
        auto options = hostile_options(symbol);
        options.timeout_seconds = 0.3;
        const auto start = std::chrono::steady_clock::now();
        const Answer answer = library_candidate(options).answer(full_problem());
        CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(20));
        CHECK(answer.outcome == Outcome::timed_out);
        CHECK(answer.sentence == std::string(symbol) + " did not return within 0.3 s and was stopped");
    }
    CHECK(::waitpid(-1, nullptr, WNOHANG) == -1);  // no child is left
}

TEST_CASE("nothing is left behind: no child, no open file, no output") {
    CHECK(library_candidate(hostile_options("well_behaved")).answer(full_problem()).outcome ==
          Outcome::answered);
    const std::size_t before = open_files();
    for (const char* symbol : {"exits", "segfaults"})
        library_candidate(hostile_options(symbol)).answer(full_problem());
    const Answer answer = library_candidate(hostile_options("leaves_a_process")).answer(full_problem());
    REQUIRE(answer.notes.size() == 1);
    CHECK(is_dead(answer.notes[0].substr(std::string("it printed: ").size())));
    CHECK(open_files() == before);
    CHECK(::waitpid(-1, nullptr, WNOHANG) == -1);
}

TEST_CASE("what a candidate prints is a note and never this program's output") {
    std::fflush(stdout);
    const std::string path = "/tmp/mta-output-" + std::to_string(::getpid());
    const int saved = ::dup(1), file = ::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC, 0600);
    ::dup2(file, 1);
    std::printf("before ");
    const Answer answer = library_candidate(hostile_options("exits")).answer(full_problem());
    std::printf("after");
    std::fflush(stdout);
    ::dup2(saved, 1);
    char text[64] = {};
    CHECK(::pread(file, text, sizeof text - 1, 0) == 12);
    ::close(saved), ::close(file), ::unlink(path.c_str());
    CHECK(std::string(text) == "before after");
    REQUIRE(answer.notes.size() == 1);
    CHECK(answer.notes[0] == "it printed: first line goodbye");
}

TEST_CASE("a candidate may use OpenMP although this process has used it") {
    const Problem p = full_problem();
    at_thread_counts([&] { reference_results(p); });  // pools of this process, which no child has
    auto options = hostile_options("uses_openmp");
    options.timeout_seconds = 20;
    for (int n = 0; n < 3; ++n) {
        const Answer answer = library_candidate(options).answer(p);
        CHECK(answer.sentence == "");
        CHECK(answer.outcome == Outcome::answered);
    }
}
}  // namespace mta_test_library_candidate
