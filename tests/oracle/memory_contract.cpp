// The memory contract and determinism: candidates that keep every rule, and candidates that break one each.
// SPDX-License-Identifier: MIT
#include <mta/oracle/backend_candidate.hpp>
#include <mta/oracle/memory_contract.hpp>

#include "library_support.hpp"

namespace mta_test_memory_contract {
using namespace mta;
using namespace mta::test;

namespace {

MemoryVerdict verdict_on(const char* symbol, MemoryOptions options = {}, const char* backward = "") {
    auto library = hostile_options(symbol, backward);
    library.timeout_seconds = 20;
    return check_memory_contract(library, full_problem(), options);
}

// A callable whose n-th answer is made by `change`.
template <class Change>
Candidate changing(Change change) {
    auto calls = std::make_shared<int>(0);
    return callable_candidate("changing", [=](const Problem& p) {
        Results r = reference_results(p, false);
        change(++*calls, r);
        return r;
    });
}

}  // namespace

TEST_CASE("candidates that keep the contract") {
    const MemoryOptions everything{.timing_calls = 3, .misaligned = true, .strided = true};
    const auto right = check_memory_contract(right_options(), full_problem(), everything);
    CHECK(right.sentence == "");
    CHECK(right.outcome == Outcome::answered);
    CHECK(right.notes.empty());
    CHECK(right.runs == 6);
    CHECK(check_memory_contract(right_options(), full_problem(io::DType::BF16), everything).sentence == "");
    const auto refuses = verdict_on("refuses_strides", everything);
    CHECK(refuses.kept());
    REQUIRE(refuses.notes.size() == 1);
    CHECK(refuses.notes[0] ==
          "given rows further apart than they are long, refuses_strides refused this configuration: rows "
          "must be contiguous");
    CHECK(verdict_on("returns_nan").kept());
    CHECK(verdict_on("refuses").outcome == Outcome::refused);
    CHECK(verdict_on("refuses").kept());
    // What alignment and strides they need is asked only if the caller wants it.
    CHECK(verdict_on("needs_alignment").kept());
    CHECK(verdict_on("ignores_strides").kept());
}

TEST_CASE("candidates that break it, each in one sentence") {
    const std::pair<const char*, const char*> all[] = {
        {"writes_past_end", "writes_past_end wrote outside 'out', up to 4 bytes past its end"},
        {"writes_before_start", "writes_before_start wrote outside 'out', 4 bytes before its start"},
        {"writes_far_past_end", "writes_far_past_end wrote outside 'out', 20000 bytes after its end"},
        {"reads_past_end", "reads_past_end read outside 'k', "},
        {"changes_input", "changes_input changed its input 'k' at [0, 0, 0, 2]: it holds "},
        {"borrows_input", "borrows_input wrote to its input 'q'"},
        {"writes_nothing", "writes_nothing left 168 of the 168 elements of 'out' unwritten"},
        {"forgets_last_row",
         "forgets_last_row left 3 of the 168 elements of 'out' unwritten or added to what was there, the "
         "first at [1, 3, 6, 0]"},
        {"adds_to_output",
         "adds_to_output left 168 of the 168 elements of 'out' unwritten or added to what was there"},
        {"keeps_larger",
         "the result depends on what the outputs held before the call, or on where tensors lie: out at [0, "
         "0, 0, 0]: 1 and 12345"},
        {"writes_half_a_stage",
         "writes_half_a_stage left 223 of the 392 elements of 'stage.logits' unwritten"},
        {"counts_its_calls",
         "after 10 calls in one process the result is another one than after the first: out at [0, 0, 0, 0]: "
         "1 and 10"}};
    for (const auto& rule : all) {
        const auto *symbol = rule.first, *sentence = rule.second;
        INFO(symbol);
        const auto verdict = verdict_on(symbol);
        CHECK(verdict.outcome == Outcome::broke_memory);
        CHECK(!verdict.kept());
        CHECK(exit_code(verdict.outcome) == ExitCode::memory);
        CHECK_MESSAGE(verdict.sentence.find(sentence) != std::string::npos, verdict.sentence);
    }
    const auto strided = verdict_on("ignores_strides", {.strided = true});
    CHECK(strided.outcome == Outcome::broke_memory);
    CHECK(strided.sentence ==
          "given rows further apart than they are long, ignores_strides wrote outside 'out', in the "
          "padding after its row 0: it was given strides");
    const auto aligned = verdict_on("needs_alignment", {.misaligned = true});
    CHECK(aligned.outcome == Outcome::broke_memory);
    CHECK(aligned.sentence ==
          "given tensors aligned to their elements only, needs_alignment crashed with SIGSEGV (Segmentation "
          "fault)");
    CHECK(verdict_on("well_behaved", {}, "writes_past_end").sentence.find("wrote outside 'grad.q'") !=
          std::string::npos);
}

TEST_CASE("a candidate that does not answer is no memory error, and a nondeterministic one no proof of any") {
    CHECK(verdict_on("segfaults").outcome == Outcome::crashed);
    CHECK(exit_code(verdict_on("segfaults").outcome) == ExitCode::candidate);
    CHECK(verdict_on("returns_error").outcome == Outcome::failed);
    const auto random = verdict_on("nondeterministic");
    CHECK(random.kept());
    REQUIRE(random.notes.size() >= 1);
    CHECK(random.notes[0] == "not deterministic: outputs that depend on memory cannot be told");
}

TEST_CASE("determinism: equal bits, the first difference with its place") {
    CHECK(check_determinism(library_candidate(right_options()), full_problem()).deterministic);
    CHECK(check_determinism(library_candidate(right_options()), full_problem(), 1).runs == 2);
    const auto random =
        check_determinism(library_candidate(hostile_options("nondeterministic")), full_problem(), 4);
    CHECK(!random.deterministic);
    CHECK(random.tensor == "out");
    CHECK(random.where == std::vector<Index>{0, 0, 0, 1});
    CHECK(random.sentence.find("run 2 differs from the first: out at [0, 0, 0, 1]: ") == 0);

    const Problem p = full_problem();
    CHECK(check_determinism(changing([](int, Results&) {}), p, 5).runs == 5);
    const auto late = changing([](int call, Results& r) {
        if (call == 3) r.tensors[1].values[4] = std::nextafter(r.tensors[1].values[4], 1e9);
    });
    const auto verdict = check_determinism(late, p, 3);
    CHECK(!verdict.deterministic);
    CHECK(verdict.runs == 3);
    CHECK(verdict.tensor == "grad.q");
    CHECK(check_determinism(
              changing([](int call, Results& r) { r.tensors[0].values[0] = call == 2 ? -0.0 : 0.0; }), p)
              .deterministic == false);
    // One NaN is like another.
    const auto payloads = changing([](int call, Results& r) {
        r.tensors[0].values[0] = std::bit_cast<double>(0x7FF8000000000000 + static_cast<std::uint64_t>(call));
    });
    CHECK(check_determinism(payloads, p).deterministic);
}

TEST_CASE("determinism: tensors that come and go, answers that come and go") {
    const Problem p = full_problem();
    CHECK(!check_determinism(changing([](int call, Results& r) {
                                 if (call == 2) r.tensors.pop_back();
                             }),
                             p)
               .deterministic);
    CHECK(!check_determinism(changing([](int call, Results& r) {
                                 if (call == 1) r.tensors.pop_back();
                             }),
                             p)
               .deterministic);
    const auto sometimes = check_determinism(changing([](int call, Results&) {
                                                 if (call == 2) throw std::runtime_error("sometimes");
                                             }),
                                             p);
    CHECK(!sometimes.deterministic);
    CHECK(sometimes.sentence.find("one run answered and another did not: sometimes") != std::string::npos);
    const auto never =
        check_determinism(changing([](int, Results&) { throw std::runtime_error("never"); }), p);
    CHECK(never.deterministic);
    CHECK(never.sentence == "never");
}
}  // namespace mta_test_memory_contract
