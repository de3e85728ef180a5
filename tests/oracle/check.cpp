// Tests of oracle/check.hpp: every verdict a run can have, and what stands beside it.
// SPDX-License-Identifier: MIT
#include "check_support.hpp"

namespace mta_test_check {
namespace {

using namespace mta;
using namespace mta::oracle;
using namespace mta::test;

Candidate answering(Outcome outcome) {
    return changed([outcome](std::size_t n, Answer& a) {
        if (n != 1) return;
        a.outcome = outcome;
        a.sentence = "why";
        a.results = {};
    });
}

void spoil(Answer& a) {
    for (double& x : test::tensor_of(a.results, "out").values)
        x += 0.25;
}

const std::vector<const char*> three{test::every_stage, test::exact_mask, test::packed};

}  // namespace

TEST_CASE("a right candidate agrees and could have failed") {
    auto options = plain_options();
    options.power = options.diagnose = true;
    options.repeats = 2;
    const Report r = oracle::check(right(), cases_of(three), options);
    CHECK(r.verdict == CheckVerdict::agrees);
    CHECK(r.exit_code() == 0);
    CHECK(r.cases.size() == 3);
    CHECK(r.trust.counting_cases == 3);
    REQUIRE(r.trust.power);
    CHECK(r.trust.power->share() > trusted_power);
    CHECK(r.shown() == nullptr);
    CHECK(!r.first_wrong_stage());
    CHECK(!r.diagnosed);
    CHECK(r.cases.front().findings.size() == 1);  // determinism
    CHECK(r.cases.front().findings.front().passed);
    CHECK(r.cases.front().identities.size() > 3);
}

TEST_CASE("the worst case decides, in the order of the contract's exit codes") {
    struct Row {
        Outcome outcome;
        CheckVerdict verdict;
        int code;
    };
    for (const auto& row :
         {Row{Outcome::failed, CheckVerdict::crashed, 4}, Row{Outcome::crashed, CheckVerdict::crashed, 4},
          Row{Outcome::timed_out, CheckVerdict::crashed, 4},
          Row{Outcome::broke_memory, CheckVerdict::contract, 6},
          Row{Outcome::refused, CheckVerdict::agrees, 0}}) {
        const Report r = oracle::check(answering(row.outcome), cases_of(three), plain_options());
        CHECK(r.verdict == row.verdict);
        CHECK(r.exit_code() == row.code);
        CHECK(r.cases[1].sentence == "why");
        if (row.code != 0) CHECK(r.shown() == &r.cases[1]);
    }
    const auto both = changed([](std::size_t n, Answer& a) {
        if (n == 0) spoil(a);
        if (n == 2) a.outcome = Outcome::crashed;
    });
    const Report r = oracle::check(both, cases_of(three), plain_options());
    CHECK(r.verdict == CheckVerdict::crashed);
    CHECK(r.cases[0].verdict == CheckVerdict::mismatch);
}

TEST_CASE("a candidate that refuses every case is unsupported") {
    const auto refusing = changed([](std::size_t, Answer& a) { a.outcome = Outcome::refused; });
    const Report r = oracle::check(refusing, cases_of(three), plain_options());
    CHECK(r.verdict == CheckVerdict::unsupported);
    CHECK(r.exit_code() == 8);
    CHECK(r.notes.front() == "the candidate refused 3 of 3 cases");
}

TEST_CASE("a wrong value is a mismatch with a stage, a picture and a line that reproduces it") {
    auto options = plain_options();
    options.arguments = "--rounding fp32";
    const Report r = oracle::check(changed([](std::size_t n, Answer& a) {
                                       if (n == 1) spoil(a);
                                   }),
                                   cases_of(three), options);
    CHECK(r.verdict == CheckVerdict::mismatch);
    CHECK(r.exit_code() == 1);
    CHECK(r.count(CheckVerdict::agrees) == 2);
    REQUIRE(r.shown() == &r.cases[1]);
    CHECK(r.shown()->reproduce ==
          std::string("mta-oracle check --case '") + test::exact_mask + "' --rounding fp32 --lib ./x.so");
    REQUIRE(r.map);
    CHECK(r.map->tensor == "out");
    CHECK(r.map->rows == 7);
    CHECK(r.map->columns == 4);
    CHECK(*std::min_element(r.map->error.begin(), r.map->error.end()) > 1);
}

TEST_CASE("a known bug is named with its stage") {
    auto options = plain_options();
    options.diagnose = options.power = true;
    const auto candidate = model_candidate(deviation("pre.mix transposed"), fp32, /*stages=*/true);
    const Report r = oracle::check(candidate, cases_of({test::every_stage, test::packed}), options);
    CHECK(r.first_wrong_stage() == "pre_mix");
    CHECK(r.diagnosed);
    REQUIRE(!r.consistent_with.empty());
    CHECK(r.consistent_with.front().name == "pre.mix transposed");
    CHECK(r.consistent_with.front().cases == 2);
    REQUIRE(r.shown_power);
    CHECK(r.shown_power->share() > 0.5);
}

TEST_CASE("a wrong stage is read off the candidate, with the configuration of the case that is shown") {
    auto options = plain_options();
    const auto bug = deviation("pre.mix transposed");
    int calls = 0;
    const auto counted = [&](const Candidate& candidate) {
        Candidate c = candidate;
        c.answer = [&calls, answer = candidate.answer](const Problem& p) {
            ++calls;
            return answer(p);
        };
        return c;
    };
    const auto wrong = counted(model_candidate(bug, fp32, /*stages=*/true));
    const Report r = oracle::check(wrong, cases_of({"sdpa/B1_H2_S5_D4 seed=1", test::every_stage}), options);
    CHECK(r.cases[0].verdict == CheckVerdict::agrees);
    REQUIRE(r.effects.size() == 1);
    CHECK(r.effects.front().reading == "pre.mix");
    CHECK(r.effects.front().relation == "transposed");
    CHECK(r.effects.front().found.size() == 4);  // heads of the case
    CHECK(calls > 1);
    options.effects = false;
    calls = 0;
    CHECK(oracle::check(wrong, cases_of({test::every_stage}), options).effects.empty());
    CHECK(calls == 1);
    // Nothing is asked of one that agrees, or that was never wrong in a forward stage.
    options.effects = true;
    calls = 0;
    CHECK(oracle::check(counted(right()), cases_of({test::every_stage}), options).effects.empty());
    const auto backward =
        counted(model_candidate(deviation("softmax backward: row term missing"), fp32, true));
    CHECK(oracle::check(backward, cases_of({test::every_stage}), options).effects.empty());
    CHECK(calls == 2);
}

TEST_CASE("without stages the stage is left open") {
    auto options = plain_options();
    const auto candidate = model_candidate(deviation("pre.mix transposed"), fp32, /*stages=*/false);
    const Report r = oracle::check(candidate, cases_of({test::every_stage}), options);
    CHECK(r.verdict == CheckVerdict::mismatch);
    CHECK(!r.first_wrong_stage());
}

TEST_CASE("different bits fail a candidate that declared otherwise") {
    const auto unsteady = changed([](std::size_t n, Answer& a) {
        auto& x = test::tensor_of(a.results, "out").values.front();
        x += 1e-9 * static_cast<double>(n);
    });
    auto options = plain_options();
    options.repeats = 3;
    CHECK(oracle::check(unsteady, cases_of({test::every_stage}), options).exit_code() == 0);
    options.declared_deterministic = true;
    const Report r = oracle::check(unsteady, cases_of({test::every_stage}), options);
    CHECK(r.verdict == CheckVerdict::nondeterministic);
    CHECK(r.exit_code() == 7);
}

TEST_CASE("further questions decide with the verdict they bring") {
    auto options = plain_options();
    options.probe = [](const Problem&, std::size_t at) {
        std::vector<std::pair<Finding, CheckVerdict>> findings;
        if (at == 1)
            findings.push_back({{"memory contract", false, "wrote past the end"}, CheckVerdict::contract});
        return findings;
    };
    const Report r = oracle::check(right(), cases_of(three), options);
    CHECK(r.exit_code() == 6);
    CHECK(r.cases[1].sentence == "wrote past the end");
}

TEST_CASE("memory and bits are asked of a wrong candidate too, probes only of one that agrees") {
    auto options = plain_options();
    options.repeats = 2;
    int memory = 0, probes = 0;
    options.memory = [&](const Problem&, std::size_t) -> std::vector<std::pair<Finding, CheckVerdict>> {
        return {{{"memory contract", ++memory < 3, "borrowed q"}, CheckVerdict::contract}};
    };
    options.probe = [&](const Problem&, std::size_t) {
        ++probes;
        return std::vector<std::pair<Finding, CheckVerdict>>{};
    };
    const auto unsteady = changed([](std::size_t n, Answer& a) {
        spoil(a);
        test::tensor_of(a.results, "out").values.front() += static_cast<double>(n);
    });
    const Report wrong = oracle::check(unsteady, cases_of({test::every_stage}), options);
    CHECK(wrong.verdict == CheckVerdict::mismatch);
    REQUIRE(wrong.cases[0].findings.size() == 2);
    CHECK(!wrong.cases[0].findings[0].passed);
    CHECK(wrong.cases[0].findings[1].passed);
    CHECK(oracle::check(right(), cases_of({test::every_stage}), options).exit_code() == 0);
    CHECK(memory == 2);
    CHECK(probes == 1);
    // What was found there explains more than the wrong value.
    const Report broken = oracle::check(unsteady, cases_of({test::every_stage}), options);
    CHECK(broken.exit_code() == 6);
    CHECK(broken.cases[0].sentence == "borrowed q");
}

TEST_CASE("what is asked of the first case is asked of the first that the candidate answers") {
    auto options = plain_options();
    options.repeats = 2;
    std::vector<std::size_t> asked;
    options.memory = [&](const Problem&, std::size_t at) {
        asked.push_back(at);
        return std::vector<std::pair<Finding, CheckVerdict>>{};
    };
    const auto refusing = changed([](std::size_t n, Answer& a) {
        if (n == 0) a.outcome = Outcome::refused;
    });
    const Report r = oracle::check(refusing, cases_of(three), options);
    CHECK(r.cases[0].findings.empty());
    CHECK(r.cases[1].findings.size() == 1);  // determinism
    CHECK(asked == std::vector<std::size_t>{0, 1});
}

TEST_CASE("progress after each case, and stopping at the first failure") {
    std::vector<std::size_t> seen;
    auto options = plain_options();
    options.stop_at_first_failure = true;
    options.progress = [&](const CaseReport&, std::size_t done, std::size_t total) {
        seen.push_back(done);
        CHECK(total == 3);
    };
    const Report r = oracle::check(answering(Outcome::crashed), cases_of(three), options);
    CHECK(seen == std::vector<std::size_t>{1, 2});
    CHECK(r.cases.size() == 2);
    CHECK(r.notes.back() == "stopped after 2 of 3 cases, at the first failure");
}

TEST_CASE("a case whose reference does not fit is refused before anything is computed") {
    const std::vector<CheckCase> huge{{"huge",
                                       [] {
                                           Problem p;
                                           p.config = parse_case("sdpa/B1_H1_S1_D1").config;
                                           p.q = Tensor<double, 4>(1, 1, 2'000'000, 1);
                                           return p;
                                       },
                                       false}};
    CHECK_THROWS_AS(oracle::check(right(), huge, plain_options()), UnsupportedError);
}
}  // namespace mta_test_check
