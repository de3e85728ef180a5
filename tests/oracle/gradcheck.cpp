// Gradients against the candidate's own forward: right ones hold at every precision, wrong ones fail.
// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <mta/oracle/gradcheck.hpp>

#include "probe_support.hpp"

namespace mta_test_gradcheck {
namespace {

using namespace mta;
using namespace mta::test;
using oracle::check_gradients;
using oracle::GradientVerdict;
using oracle::Outcome;

const GradientVerdict& named(const std::vector<GradientVerdict>& verdicts, std::string_view name) {
    for (const auto& v : verdicts)
        if (v.name == name) return v;
    throw ArgumentError("no verdict for " + std::string(name));
}

std::vector<MultiTokenAttentionConfig> every_config() {
    auto all = varied_configs();
    for (const auto& config : linear_configs())
        all.push_back(config);
    return all;
}

template <class Scalar>
Candidate rounding_to(io::DType dtype) {
    return candidate_of([dtype](const Problem& p) {
        auto r = layer_results<Scalar>(p);
        for (auto& t : r.tensors)
            for (auto& x : t.values)
                x = oracle::detail::rounded_to(dtype, x);
        return r;
    });
}

// One gradient multiplied.
template <class Scalar>
Candidate scaling(std::string name, double factor) {
    return candidate_of([=](const Problem& p) {
        auto r = layer_results<Scalar>(p);
        for (auto& t : r.tensors)
            if (t.name == name)
                for (auto& x : t.values)
                    x *= factor;
        return r;
    });
}

TEST_CASE("gradcheck: double gradients of every option hold, closely") {
    int judged = 0, all = 0;
    for (const auto& config : every_config())
        for (const auto& v :
             check_gradients(layer_candidate<double>(), random_problem(config, 2, 6, {{0, 4}}))) {
            CHECK_MESSAGE(v.holds, v.sentence);
            ++all;
            judged += v.judged ? 1 : 0;
            CHECK(v.slopes.size() == 3);
            for (const auto& s : v.slopes)
                if (config.normalise == Normalise::softmax && !config.norm) {
                    CHECK_MESSAGE(s.at[0].gap() <= s.at[0].bound(), v.sentence);
                    CHECK_MESSAGE(s.at[0].bound() <= 1e-7 * (std::abs(s.at[0].numeric) + 1), v.sentence);
                }
        }
    CHECK(all >= 90);
    CHECK(judged >= all - 4);
}

TEST_CASE("gradcheck: right gradients hold in float and with bf16 in and out") {
    for (const auto& config : every_config())
        for (std::uint64_t seed = 1; seed <= 3; ++seed) {
            for (const auto& v : check_gradients(layer_candidate<float>(),
                                                 random_problem(config, 1, 6, {{0}}, io::DType::F32, seed)))
                CHECK_MESSAGE(v.holds, v.sentence);
            for (const auto& v : check_gradients(rounding_to<float>(io::DType::BF16),
                                                 random_problem(config, 1, 6, {{0}}, io::DType::BF16, seed)))
                CHECK_MESSAGE(v.holds, v.sentence);
        }
}

TEST_CASE("gradcheck: every gradient that is wrong by little in double or float, a sign in bf16") {
    const auto right = layer_results<double>(random_problem(full_config(), 1, 3));
    for (const auto& t : right.tensors) {
        if (t.name == "out") continue;
        const auto p = random_problem(full_config(), 2, 6);
        for (const auto& v : check_gradients(scaling<double>(t.name, 1.0001), p)) {
            CHECK_MESSAGE(v.holds == (v.name != t.name), v.sentence);
            CHECK(v.sentence.starts_with(v.name + (v.holds ? ": ok, got " : ": FAIL along ")));
        }
        const auto f32 = random_problem(full_config(), 2, 6, {{0}}, io::DType::F32);
        CHECK_FALSE(named(check_gradients(scaling<float>(t.name, 1.01), f32), t.name).holds);
    }
    auto plain = full_config();
    plain.norm.reset();
    plain.gate.reset();
    const auto bf16 = random_problem(plain, 2, 6, {{0}}, io::DType::BF16);
    CHECK_FALSE(named(check_gradients(scaling<float>("grad.v", -1), bf16), "grad.v").holds);
}

TEST_CASE("gradcheck: what counts is the inputs that were really used") {
    // A candidate in double on bf16 inputs, asked for slopes to nine digits: v is linear, so that nothing but the
    // rounding of its steps could stand between the two.
    const auto p = random_problem(linear_configs()[2], 1, 5, {{0}}, io::DType::BF16);
    const auto candidate = candidate_of([](const Problem& q) {
        for (const double x : elements(q.v))
            CHECK(x == oracle::detail::rounded_to(io::DType::BF16, x));
        return layer_results<double>(q);
    });
    oracle::GradcheckOptions options;
    options.unit_roundoff = 0x1p-30;
    options.only = {"grad.v"};
    const auto verdicts = check_gradients(candidate, p, options);
    REQUIRE(verdicts.size() == 1);
    for (const auto& slope : verdicts[0].slopes) {
        CHECK(slope.at[0].gap() <= 1e-9 * std::abs(slope.at[0].numeric));
        CHECK(slope.at[0].numeric != 0);
    }
}

TEST_CASE("gradcheck: a slope that moves with the step is no proof") {
    const auto slope = [](double h, double quarter, double sixteenth) {
        return oracle::GradientSlope{
            {{{10, h, 0.1, 0, 1}, {10, quarter, 0.1, 0, 1}, {10, sixteenth, 0.1, 0, 1}}}};
    };
    CHECK_FALSE(slope(1, 1, 1).holds());
    CHECK(slope(1, 1, 1).sees());
    CHECK(slope(1, 4, 9).holds());
    CHECK_FALSE(slope(1, 6, 6).sees());
    CHECK(slope(1, 1, 9).holds());
    CHECK(slope(10, 10, 10).holds());
    CHECK(slope(1, 10, 10).holds());
}

TEST_CASE("gradcheck: an element alone is enough, and only what is asked for is checked") {
    const auto wrong = candidate_of([](const Problem& p) {
        auto r = layer_results<double>(p);
        for (auto& t : r.tensors)
            if (t.name == "grad.pre.mix") t.values[1] = -t.values[1];
        return r;
    });
    oracle::GradcheckOptions options;
    options.only = {"grad.pre.mix"};
    const auto verdicts = check_gradients(wrong, random_problem(full_config(), 1, 6), options);
    REQUIRE(verdicts.size() == 1);
    CHECK_FALSE(verdicts[0].holds);
    CHECK(verdicts[0].judged);
}

TEST_CASE("gradcheck: curved functions are not judged, and not blamed") {
    auto p = random_problem(full_config(), 1, 6, {{0}}, io::DType::F32);
    for (auto& x : elements(p.q))
        x *= 300;
    for (const auto& v : check_gradients(layer_candidate<float>(), p))
        CHECK_MESSAGE(v.holds, v.sentence);
    // Structurally zero: one token has one weight.
    const auto one = random_problem(linear_configs()[2], 1, 1);
    const auto v = named(check_gradients(layer_candidate<double>(), one), "grad.q");
    CHECK(v.holds);
    CHECK_FALSE(v.judged);
    CHECK(v.sentence.find("grad.q: not judged, the bound is as large as the slope") == 0);
}

TEST_CASE("gradcheck: candidates that do not answer, or not fully") {
    auto p = random_problem(full_config(), 1, 4);
    Candidate crashes{"c", "", [](const Problem&) { return Answer{Outcome::crashed, "signal 11", {}, {}}; }};
    const auto crashed = named(check_gradients(crashes, p), "grad.q");
    CHECK_FALSE(crashed.holds);
    CHECK(crashed.sentence == "grad.q: FAIL, the candidate gave no answer: signal 11");
    const auto partial = candidate_of([](const Problem& q) {
        auto r = layer_results<double>(q);
        std::erase_if(r.tensors, [](const auto& t) { return t.name == "grad.k"; });
        for (auto& t : r.tensors)
            if (t.name == "grad.v") t.values.pop_back();
        return r;
    });
    const auto verdicts = check_gradients(partial, p);
    CHECK(named(verdicts, "grad.k").sentence == "grad.k: not judged, there is none");
    CHECK(named(verdicts, "grad.k").holds);
    CHECK_FALSE(named(verdicts, "grad.v").holds);
    CHECK(named(verdicts, "grad.q").judged);
    const auto nan = candidate_of([](const Problem& q) {
        auto r = layer_results<double>(q);
        if (!q.d_out) r.tensors[0].values[0] = not_a_number;
        return r;
    });
    CHECK_FALSE(named(check_gradients(nan, p), "grad.q").holds);
    const auto no_out = candidate_of([](const Problem&) { return Results{}; });
    CHECK(named(check_gradients(no_out, p), "grad.q").sentence ==
          "grad.q: FAIL, the candidate gave no out of the shape of q");
    p.d_out.reset();
    const auto v = named(check_gradients(layer_candidate<double>(), p), "grad.q");
    CHECK(v.holds);
    CHECK(v.sentence == "grad.q: not judged, the problem has no d_out");
}

}  // namespace
}  // namespace mta_test_gradcheck
