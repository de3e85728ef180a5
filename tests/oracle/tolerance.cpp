// Tests of oracle/tolerance.hpp: right implementations stay within it, wrong ones do not, and every part of it acts.
// SPDX-License-Identifier: MIT
#include <mta/oracle/backend_candidate.hpp>
#include <mta/oracle/case.hpp>
#include <mta/oracle/judge.hpp>
#include <mta/oracle/tolerance.hpp>

#include "judge_support.hpp"

namespace mta_test_tolerance {
namespace {

using namespace mta;
using namespace mta::oracle;
using test::problem_of;

const RoundingProfile fp32 = parse_rounding("fp32");
const RoundingProfile bf16 = parse_rounding("bf16-flash");

double largest(const NamedTensor& t) {
    double most = 0;
    for (const double x : t.values)
        most = std::max(most, std::abs(x));
    return most;
}

}  // namespace

TEST_CASE("an rms of few numbers is raised to its upper bound") {
    // n over the 0.1 percent quantile of chi-squared with n degrees of freedom, from tables: 0.381, 2.96 (n = 12: 2.214),
    // 61.918 (n = 100).
    CHECK(oracle::detail::rms_confidence(12) == doctest::Approx(std::sqrt(12 / 2.214)).epsilon(0.02));
    CHECK(oracle::detail::rms_confidence(100) == doctest::Approx(std::sqrt(100 / 61.918)).epsilon(0.005));
    CHECK(oracle::detail::rms_confidence(6) > 3.5);
    CHECK(oracle::detail::rms_confidence(1e6) == doctest::Approx(1).epsilon(0.005));
}

TEST_CASE("values are the reference's, tolerances have their names and shapes") {
    const Problem p = problem_of(test::every_stage);
    const Expected e = expect(p, fp32);
    const Results reference = reference_results(p);
    REQUIRE(e.reference.tensors.size() == reference.tensors.size());
    for (const auto& t : reference.tensors) {
        CHECK(e.reference.at(t.name).values == t.values);
        CHECK(e.tolerance.at(t.name).shape == t.shape);
        CHECK(e.error_of_low_precision(t.name).has_value());
    }
    CHECK(!e.error_of_low_precision("stage.nothing"));
    const Expected plain = expect(p, fp32, {.stages = false, .low_precision = false});
    CHECK(plain.reference.find("stage.logits") == nullptr);
    CHECK(plain.tolerance.find("stage.logits") == nullptr);
    CHECK(plain.low_precision_error.empty());
    CHECK(plain.tolerance.at("grad.k").values == e.tolerance.at("grad.k").values);
}

TEST_CASE(
    "the reference in float is within a float tolerance of a size that float explains, and beyond one of "
    "double") {
    for (const char* text : {test::every_stage, test::exact_mask, test::sparse, test::packed}) {
        const Problem p = problem_of(text);
        const auto got = backend_candidate<float>("float", Reference{}).answer(p).results;
        const Expected e = expect(p, fp32);
        CHECK(judge(p, got, e).agrees());
        for (const auto& t : e.tolerance.tensors) {
            INFO(text, " ", t.name);
            CHECK(largest(t) <= 2e-4 * (largest(e.reference.at(t.name)) + 1e-6));
        }
        CHECK(!judge(p, got, expect(p, parse_rounding("fp64"))).agrees());
    }
}

TEST_CASE("a bf16 profile accepts what rounds as it says, and a float profile does not") {
    const Problem p = problem_of(test::every_stage_bf16);
    const auto got = test::model_results(p, bf16);
    CHECK(judge(p, got, expect(p, bf16)).agrees());
    CHECK(!judge(p, got, expect(p, fp32)).agrees());
}

TEST_CASE("tolerances grow with the factors and with the perturbations' precision") {
    const Problem p = problem_of(test::every_stage);
    const Expected once = expect(p, fp32, {.factors = {8, 16}});
    const Expected twice = expect(p, fp32, {.factors = {8, 32}});
    const Expected coarse = expect(p, bf16, {.factors = {8, 16}});
    const double out = largest(once.tolerance.at("out"));
    CHECK(largest(twice.tolerance.at("out")) > 1.7 * out);
    CHECK(largest(coarse.tolerance.at("out")) > 1e3 * out);
    // Seeds move it a little, more runs hardly.
    const Expected other = expect(p, fp32, {.seed = 99});
    CHECK(other.tolerance.at("out").values != once.tolerance.at("out").values);
    CHECK(largest(other.tolerance.at("out")) == doctest::Approx(out).epsilon(0.6));
}

TEST_CASE("every element is given at least the spread of its row and a part of its type's roundoff") {
    const Problem p = problem_of(test::every_stage_bf16);
    const Expected e = expect(p, bf16);
    const auto &out = e.reference.at("out"), &tolerance = e.tolerance.at("out");
    const double floor = 0.05 * unit_roundoff(Precision::bf16) * largest(out);
    for (const double x : tolerance.values)
        CHECK(x >= floor);
    // An element that happens to be near 0 is as uncertain as its neighbours.
    for (std::size_t r = 0; r < out.values.size() / 8; ++r) {
        double most = 0, least = 1e300;
        for (std::size_t n = 8 * r; n < 8 * r + 8; ++n)
            most = std::max(most, tolerance.values[n]), least = std::min(least, tolerance.values[n]);
        CHECK(least > 0.1 * most);
    }
}

TEST_CASE("elements that no perturbed run moves are given the floor") {
    const oracle::detail::JudgedPositions judged(problem_of(test::every_stage));
    Results exact;
    exact.put({"out", {1, 1, 2, 2}, {3, -4, 0, 1}});
    oracle::detail::Spread spread(exact);
    spread.add(exact);
    const Results tolerance = spread.tolerances(judged, 8, 0x1p-9);
    for (const double x : tolerance.at("out").values)
        CHECK(x == doctest::Approx(0.05 * 0x1p-9 * 4 + 8 * 0x1p-52 * 4).epsilon(1e-12));
}

TEST_CASE("where fp16 ends any number is accepted, of no other type") {
    Expected e;
    e.reference.put({"out", {4}, {7e4, 1, -65000, 65000}});
    e.tolerance.put({"out", {4}, {1, 2, 600, 3}});
    const auto given = e.tolerance.at("out").values;
    oracle::detail::allow_overflow(e, Precision::bf16);
    CHECK(e.tolerance.at("out").values == given);
    oracle::detail::allow_overflow(e, Precision::fp16);
    const double any = std::numeric_limits<double>::infinity();
    CHECK(e.tolerance.at("out").values == std::vector<double>{any, 2, any, 3});
}

TEST_CASE("hidden positions of score stages are given nothing") {
    const Problem p = problem_of(test::every_stage);
    const Expected e = expect(p, fp32);
    const auto& t = e.tolerance.at("stage.pre_mix");
    const Index S = p.sequence();
    for (std::size_t n = 0; n < t.values.size(); ++n) {
        const Index i = static_cast<Index>(n) / S % S, j = static_cast<Index>(n) % S;
        CHECK((j > i) == (t.values[n] == 0));
    }
}

TEST_CASE("local expectations follow the candidate: an inherited error is none, a new one is") {
    const Problem p = problem_of(test::every_stage);
    const Expected global = expect(p, fp32);
    Results got = test::model_results(p, fp32);
    CHECK(!expect_locally(p, fp32, Results{}, global));
    for (auto& t : got.tensors)
        if (t.name == "stage.pre_conv")
            for (double& x : t.values)
                x *= 1.5;  // wrong, and nothing after it follows
    const auto local = expect_locally(p, fp32, got, global);
    REQUIRE(local);
    const auto wrong = [&](const char* name) {
        const oracle::detail::JudgedPositions judged(p);
        return !oracle::detail::worst_element(got.at(name), local->reference.at(name),
                                              local->tolerance.at(name), judged)
                    .agrees();
    };
    CHECK(!wrong("stage.logits"));
    CHECK(wrong("stage.pre_conv"));
    CHECK(wrong("stage.pre_mix"));  // not what it should be, given that pre_conv
    CHECK(!wrong("stage.weights"));
    CHECK(!wrong("out"));
}

TEST_CASE("stages that cannot be gone on from are left aside: not finite, misshapen, unknown") {
    const Problem p = problem_of(test::every_stage);
    const Expected global = expect(p, fp32);
    const oracle::detail::JudgedPositions judged(p);
    Results got = test::model_results(p, fp32);
    for (auto& t : got.tensors) {
        if (t.name == "stage.logits") t.values.front() = std::nan("");
        if (t.name == "stage.pre_mix") t.shape = {1, static_cast<Index>(t.values.size())};
        if (t.name == "stage.weights")
            t.values[1] = std::nan("");  // the future of row 0, which nobody judges
    }
    got.put(NamedTensor{"stage.other", {1}, {1}});
    const Results usable = oracle::detail::usable_stages(got, global.reference, judged);
    CHECK(usable.find("stage.logits") == nullptr);
    CHECK(usable.find("stage.pre_mix") == nullptr);
    CHECK(usable.find("stage.other") == nullptr);
    CHECK(usable.find("out") == nullptr);
    REQUIRE(usable.find("stage.weights") != nullptr);
    CHECK(usable.at("stage.weights").values[1] == 0);
}

TEST_CASE("stages that were exported in the io type carry its roundoff, others none") {
    const Problem p = problem_of(test::every_stage_bf16);
    Results stages;
    stages.put(NamedTensor{"stage.logits", {2}, {1.5, -0.25}});
    stages.put(NamedTensor{"stage.weights", {2}, {1.5, 0.1}});
    const auto moved = oracle::detail::jittered(stages, Precision::bf16, 3);
    CHECK(moved.at("stage.weights").values == stages.at("stage.weights").values);
    const auto& x = moved.at("stage.logits").values;
    CHECK(x[0] != 1.5);
    CHECK(std::abs(x[0] - 1.5) <= 1.5 * unit_roundoff(Precision::bf16));
    CHECK(std::abs(x[1] + 0.25) <= 0.25 * unit_roundoff(Precision::bf16));
}

TEST_CASE("scores that fp16 cannot hold are beyond the range of a profile that stores them so, of no other") {
    const char* text = "sdpa/B2_H4_kv2_S33_D16 fill=one-hot seed=49 io=fp16";
    const Expected e = expect(make_problem(parse_case(text)), parse_rounding("fp16-flash"));
    CHECK(largest(e.reference.at("stage.logits")) > 65504);
    for (const char* wide : {"fp16-flash", "bf16-eager", "fp32"})
        CHECK(beyond_range(e, parse_rounding(wide)).empty());
    const std::string reason = beyond_range(e, parse_rounding("fp16-eager"));
    CHECK(reason.starts_with("stage.logits holds "));
    CHECK(reason.ends_with(", which fp16 cannot"));
    const Expected mild = expect(problem_of(test::every_stage), fp32);
    CHECK(beyond_range(mild, parse_rounding("fp16-eager")).empty());
}

TEST_CASE("sparsemax's gradient carries the rounding of the mean that it subtracts") {
    const Problem p = make_problem(parse_case("sdpa/B1_H2_S8_D4 fill=normal seed=2 normalise=sparsemax"));
    const auto run = [&](Arithmetic a, const Results* from = nullptr) { return run_model(p, a, {}, from); };
    NamedTensor d = run(Arithmetic::exact()).at("stage.d_weights");
    for (double& x : d.values)
        x = 1000 + 0.1 * x;
    Results from;
    from.put(std::move(d));
    const auto exact = run(Arithmetic::exact(), &from).at("stage.d_logits");
    const auto moved = run(Arithmetic::perturbed(fp32, 1), &from).at("stage.d_logits");
    double deviation = 0;
    for (std::size_t n = 0; n < exact.values.size(); ++n)
        deviation = std::max(deviation, std::abs(moved.values[n] - exact.values[n]));
    CHECK(deviation > 50 * unit_roundoff(Precision::fp32) * largest(exact));
    CHECK(deviation < 4 * unit_roundoff(Precision::fp32) * 1000);
}

TEST_CASE("a profile in double has tolerances of double for every tensor, gradients too") {
    const auto fp64 = parse_rounding("fp64");
    CHECK(oracle::detail::accumulator_only(fp64) == fp64);
    const Expected e = expect(problem_of(test::every_stage), fp64);
    for (const auto& t : e.tolerance.tensors) {
        CAPTURE(t.name);
        CHECK(largest(t) < 1e-11 * (largest(e.reference.at(t.name)) + 1e-6));
    }
}

TEST_CASE("where rounding moves a score far, more runs are made") {
    const auto runs_of = [](const char* text) {
        const Problem p = make_problem(parse_case(text));
        int runs = 0;
        const auto run = [&](Arithmetic arithmetic, std::uint64_t = 0) {
            ++runs;
            return run_model(p, arithmetic);
        };
        const Results exact = run(Arithmetic::exact());
        const oracle::detail::JudgedPositions judged(p);
        oracle::detail::tolerances(run, exact, parse_rounding("bf16-eager"), judged, {});
        return runs;
    };
    CHECK(runs_of("sdpa/B1_H1_S5_D4 seed=1 io=bf16") == 1 + 6 + 6);
    CHECK(runs_of("sdpa/B1_H1_S5_D4 fill=below-mask seed=1 io=bf16") == 1 + 6 + 32);
}

TEST_CASE("a float error that moves a key out of sparsemax's support is no false alarm") {
    // Scores near -1e4, where a float's last place is 1e-3: the support of some rows is uncertain.
    const Problem p = make_problem(parse_case(
        "mta-sparsemax/B1_H2_S13_D8_cq2_ck3_g2 fill=below-mask seed=7019 io=fp32 norm=none gate=none"));
    const auto got = backend_candidate<float>("float", Reference{}).answer(p).results;
    CHECK(judge(p, got, expect(p, fp32)).agrees());
    // A key so near the threshold that 32 runs with errors of the right size leave it where it is.
    const auto eager = parse_rounding("bf16-eager");
    const Problem near = make_problem(parse_case(
        "mta-sparsemax/B1_H2_S13_D8_cq2_ck3_g2 fill=denormal seed=9035 io=bf16 norm=none gate=none"));
    CHECK(judge(near, test::model_results(near, eager), expect(near, eager)).agrees());
}
}  // namespace mta_test_tolerance
