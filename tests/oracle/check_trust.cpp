// Tests of oracle/check.hpp, continued: what is trusted, what identities decide, exact cases.
// SPDX-License-Identifier: MIT
#include <mta/oracle/report.hpp>

#include "check_support.hpp"

namespace mta_test_check_trust {
namespace {

using namespace mta;
using namespace mta::oracle;
using namespace mta::test;

const char* const weak = "sdpa/B1_H1_S1_D4 fill=normal seed=1 io=fp32";
const std::vector<const char*> three{test::every_stage, test::exact_mask, test::packed};

}  // namespace

TEST_CASE("what could not fail is not trusted: short sequences, missing gradients, nothing at all") {
    auto options = plain_options();
    CHECK(oracle::check(right(), cases_of({weak}), options).exit_code() == 5);
    CHECK(oracle::check(right(), cases_of({weak, test::every_stage}), options).exit_code() == 0);
    const auto forward = changed([](std::size_t, Answer& a) {
        std::erase_if(a.results.tensors, [](const auto& t) { return t.name.find("grad.") == 0; });
    });
    CHECK(oracle::check(forward, cases_of(three), options).exit_code() == 5);
    options.owed = Owed::forward;
    CHECK(oracle::check(forward, cases_of(three), options).exit_code() == 0);
    const auto nothing = changed([](std::size_t, Answer& a) { a.results = {}; });
    const Report r = oracle::check(nothing, cases_of(three), options);
    CHECK(r.exit_code() == 5);
    CHECK(r.count(CheckVerdict::mistrusted) == 3);
    CHECK(oracle::check(right(), {}, options).exit_code() == 5);
}

TEST_CASE("where every tensor agrees and an identity fails, the agreement is not trusted") {
    // Gradients of q and k that are a little too large: far inside a loose tolerance, far outside the identity.
    const auto nudged = [] {  // anew for each run, since it counts calls
        return changed([](std::size_t n, Answer& a) {
            if (n != 1) return;
            for (double& x : test::tensor_of(a.results, "grad.q").values)
                x *= 1.0002;
        });
    };
    auto options = plain_options();
    options.tolerance.factors = {1e4, 1e4};
    const Report r = oracle::check(nudged(), cases_of(three), options);
    CHECK(r.verdict == CheckVerdict::mistrusted);
    CHECK(r.exit_code() == 5);
    CHECK(r.cases[0].verdict == CheckVerdict::agrees);
    CHECK(r.cases[1].verdict == CheckVerdict::mistrusted);
    CHECK(r.cases[1].judgement.agrees());
    CHECK(std::find(r.cases[1].trust.broken.begin(), r.cases[1].trust.broken.end(), "<dQ,Q> = <dK,K>") !=
          r.cases[1].trust.broken.end());
    REQUIRE(r.trust.reasons.size() == 1);
    CHECK(r.trust.reasons.front().starts_with(
        "identities fail in 1 of 3 cases, although every tensor agrees: <dQ,Q> = <dK,K>"));
    options.identities = false;
    CHECK(oracle::check(nudged(), cases_of(three), options).exit_code() == 0);
    // A mismatch stays one, whatever the identities say.
    options = plain_options();
    CHECK(oracle::check(nudged(), cases_of(three), options).exit_code() == 1);
}

TEST_CASE("a tolerance too loose to see known bugs is not trusted") {
    auto options = plain_options();
    options.power = true;
    options.tolerance.factors = {1e9, 1e9};
    const Report r = oracle::check(right(), cases_of({test::every_stage}), options);
    CHECK(r.verdict == CheckVerdict::mistrusted);
    REQUIRE(!r.trust.reasons.empty());
    const std::string all = oracle::detail::joined(r.trust.reasons);
    CHECK(all.find("0 within its tolerance") != std::string::npos);
}

TEST_CASE("rounding assumed for each type, and identities where arithmetic leaves them nothing") {
    CHECK(describe(default_rounding(io::DType::F32)) == "fp32");
    CHECK(describe(default_rounding(io::DType::BF16)) == "bf16-flash");
    CHECK(describe(default_rounding(io::DType::F16)) == "fp16-flash");
    CHECK(describe(default_rounding(io::DType::F64)) == "fp64");
    // Scores of -1e4: the sums of the identities cancel to a millionth.
    const auto steep =
        cases_of({"paper-880m/B1_H2_S16_D8_cq3_ck5_g2 fill=below-mask seed=18 io=fp32 norm=none gate=none"});
    const Report r = oracle::check(right(), steep, plain_options());
    for (const auto& i : r.cases.front().identities)
        CHECK(i.holds);
}

TEST_CASE("exact rows that the io type cannot hold keep their tolerance") {
    // The mean of 255 and 2 is 128.5: nine bits, of which bf16 holds eight.
    const auto made = [] {
        Problem p = make_problem(parse_case("sdpa/B1_H1_S8_D4 fill=zero-scores seed=1 io=bf16"));
        fill(p.v, 2.0);
        for (Index d = 0; d < 4; ++d)
            p.v(0, 0, 1, d) = 255;
        return p;
    };
    const std::vector<CheckCase> cases{{"made", made, true}};
    const auto rounding = [](double nudge) {
        return changed([nudge](std::size_t, Answer& a) {
            for (auto& t : a.results.tensors)
                for (double& x : t.values)
                    x = oracle::detail::decode(oracle::detail::encode(x, io::DType::BF16), io::DType::BF16);
            test::tensor_of(a.results, "out").values.front() += nudge;
        });
    };
    auto options = plain_options();
    options.rounding = parse_rounding("bf16-flash");
    CHECK(oracle::check(rounding(0), cases, options).verdict == CheckVerdict::agrees);
    CHECK(oracle::check(rounding(0.0078125), cases, options).exit_code() == 1);  // row 0: 2, exactly
}

TEST_CASE("power is that of every case that agrees, also of the largest among many small ones") {
    const std::vector<const char*> small{"sdpa/B1_H1_S3_D4 seed=1", "sdpa/B1_H1_S3_D4 seed=2",
                                         "sdpa/B1_H1_S3_D4 seed=3"};
    auto options = plain_options();
    options.power = true;
    const auto alone = oracle::check(right(), cases_of({test::every_stage}), options);
    auto first = small, last = small;
    first.insert(first.begin(), test::every_stage);
    last.push_back(test::every_stage);
    for (const auto& all : {first, last}) {
        const auto r = oracle::check(right(), cases_of(all), options);
        CHECK(r.exit_code() == 0);
        CHECK(r.trust.power->seen.size() >= alone.trust.power->seen.size());
    }
}

TEST_CASE("the line that reproduces a case is quoted for a shell") {
    const Problem p = make_problem(parse_case(weak));
    const auto r = oracle::check(right(), {{"it's", [p] { return p; }, false}}, plain_options());
    CHECK(r.cases.front().reproduce.starts_with("mta-oracle check --case 'it'\\''s'"));
}

TEST_CASE("gradients that are missing alone say how to owe none") {
    const auto forward = changed([](std::size_t, Answer& a) {
        std::erase_if(a.results.tensors, [](const auto& t) { return t.name.find("grad.") == 0; });
    });
    const auto r = oracle::check(forward, cases_of({test::every_stage}), plain_options());
    CHECK(r.trust.reasons.front().ends_with("; --expect forward owes no gradients"));
    CHECK(to_text(r).find("mistrusted: 1/1 cases agree, ") != std::string::npos);
    const auto empty = changed([](std::size_t, Answer& a) { a.results.tensors.clear(); });
    const auto none = oracle::check(empty, cases_of({test::every_stage}), plain_options());
    CHECK(none.trust.reasons.front().find("--expect") == std::string::npos);
}

TEST_CASE("exact cases accept no error in exact rows") {
    const char* exact = "paper-toy/B1_H2_S8_D16_cq2_ck5 fill=exact-integers seed=2 io=fp32";
    const auto nudged = changed([](std::size_t, Answer& a) {
        double& x = test::tensor_of(a.results, "stage.logits").values.front();  // of smaller problems too
        x += 1e-7 * (std::abs(x) + 1);
    });
    CHECK(oracle::check(right(), cases_of({exact}), plain_options()).exit_code() == 0);
    CHECK(oracle::check(nudged, cases_of({exact}), plain_options()).exit_code() == 1);
}
}  // namespace mta_test_check_trust
