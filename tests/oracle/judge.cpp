// Tests of oracle/judge.hpp: what is judged, how badly, where, in which words, and which stage went wrong first.
// SPDX-License-Identifier: MIT
#include <limits>
#include <mta/oracle/deviations.hpp>
#include <mta/oracle/judge.hpp>

#include "judge_support.hpp"

namespace mta_test_judge {
namespace {

using namespace mta;
using namespace mta::oracle;
using test::problem_of;
using test::tensor_of;

constexpr double inf = std::numeric_limits<double>::infinity();
const double nan_value = std::nan("");
const RoundingProfile fp32 = parse_rounding("fp32");

/// One problem with what is expected and a right answer, made once: expectations cost more than judgements.
struct Fixture {
    Problem p = problem_of(test::every_stage);
    Expected expected = expect(p, fp32);
    Results right = test::model_results(p, fp32);

    Judgement judged(const Results& got) const {
        const auto local = expect_locally(p, fp32, got, expected);
        return judge(p, got, expected, local ? &*local : nullptr);
    }
};
const Fixture& fixture() {
    static const Fixture f;
    return f;
}

/// The verdict on `out` after f changed it.
template <class F>
TensorVerdict verdict_on_out(F&& f) {
    Results got = test::without_stages(fixture().right);
    f(tensor_of(got, "out"));
    return *fixture().judged(got).find("out");
}

/// The pattern of a tensor of this name and shape whose elements in `wrong` are wrong, by one.
std::string pattern_of(const char* name, std::vector<Index> shape,
                       const std::function<bool(const std::vector<Index>&)>& wrong,
                       double got_minus_want = 1) {
    std::size_t size = 1;
    for (const Index n : shape)
        size *= static_cast<std::size_t>(n);
    const NamedTensor t{name, shape, std::vector<double>(size)};
    const oracle::detail::JudgedPositions judged(fixture().p);
    oracle::detail::Pattern pattern(t, judged);
    judged.for_each(t, [&](std::size_t n, Index, Index) {
        const double want = static_cast<double>(n % 7) - 3.3;
        if (wrong(check::detail::unravel(static_cast<Index>(n), shape)))
            pattern.wrong(n, want + got_minus_want, want);
    });
    return pattern.words();
}

}  // namespace

TEST_CASE("errors are multiples of the tolerance, by hand") {
    using oracle::detail::error_in_tolerances;
    CHECK(error_in_tolerances(1.5, 1, 0.25) == 2);
    CHECK(error_in_tolerances(1, 1, 0) == 0);
    CHECK(error_in_tolerances(1, 1.0000001, 0) == inf);
    CHECK(error_in_tolerances(nan_value, 1, 0.25) == inf);
    CHECK(error_in_tolerances(inf, 1, 1e300) == inf);
    CHECK(error_in_tolerances(1, 2, nan_value) == inf);
    CHECK(error_in_tolerances(1, 2, -1) == inf);
    CHECK(error_in_tolerances(inf, 7e4, inf) == 0);  // fp16 holds 65504
    CHECK(error_in_tolerances(nan_value, 7e4, inf) == inf);
    CHECK(error_in_tolerances(1, nan_value, 0.25) == inf);
    CHECK(error_in_tolerances(nan_value, nan_value, 0.25) == 0);
    CHECK(error_in_tolerances(inf, inf, 0.25) == 0);
    CHECK(error_in_tolerances(-inf, inf, 0.25) == inf);
}

TEST_CASE("a right answer agrees, in every tensor, end to end and locally") {
    const auto j = fixture().judged(fixture().right);
    CHECK(j.agrees());
    CHECK(!j.first_wrong);
    CHECK(j.missing.empty());
    CHECK(j.tensors.size() == fixture().right.tensors.size());
    for (const auto& t : j.tensors) {
        CHECK(t.local.has_value());
        CHECK(t.pattern.empty());
        CHECK(t.worst.error <= 1);
    }
    CHECK(j.tensors.front().name == "stage.logits");
}

TEST_CASE("one wrong element is found, counted and named") {
    const auto v = verdict_on_out([](NamedTensor& out) { out.values[8 * 9 * 8 - 1] += 0.5; });
    CHECK(v.state == TensorVerdict::State::wrong);
    CHECK(v.worst.where == std::vector<Index>{1, 3, 8, 7});
    CHECK(v.worst.beyond == 1);
    CHECK(v.worst.compared == 8 * 9 * 8);
    CHECK(v.worst.got == doctest::Approx(v.worst.expected + 0.5).epsilon(1e-4));
    CHECK(v.worst.bad_percent() == doctest::Approx(100.0 / 576));
    CHECK(v.pattern == "batch 1 only, head 3 only, row 8 only, column 7 only");
}

TEST_CASE("the tolerance itself is the bound") {
    const auto& e = fixture().expected;
    const double want = e.reference.at("out").values[100], tolerance = e.tolerance.at("out").values[100];
    for (const double error : {-1.01, -0.99, 0.99, 1.01}) {
        const auto v = verdict_on_out([&](auto& out) { out.values[100] = want + error * tolerance; });
        CHECK(v.agrees() == (std::abs(error) < 1));
        CHECK(v.worst.error == doctest::Approx(std::abs(error)).epsilon(1e-6));
    }
}

TEST_CASE("NaN, infinity and nothing at all are infinitely wrong") {
    for (const double bad : {nan_value, inf, -inf}) {
        const auto v = verdict_on_out([&](NamedTensor& out) { out.values[3] = bad; });
        CHECK(v.worst.error == inf);
        CHECK(v.worst.not_finite == 1);
        CHECK(!v.agrees());
    }
    CHECK(verdict_on_out([](NamedTensor& out) {
              for (double& x : out.values)
                  x = nan_value;
          }).pattern == "everywhere, all NaN");
    CHECK(verdict_on_out([](NamedTensor& out) {
              for (double& x : out.values)
                  x = 0;
          }).pattern == "everywhere, all 0");
    CHECK(verdict_on_out([](NamedTensor& out) {
              for (double& x : out.values)
                  x *= 0.25;
          }).pattern == "everywhere, 0.25 x expected");
}

TEST_CASE("shapes, missing and unknown tensors") {
    Results got = test::without_stages(fixture().right);
    tensor_of(got, "grad.k").shape = {2, 2, 8, 9};
    tensor_of(got, "grad.v").values.pop_back();
    std::erase_if(got.tensors, [](const auto& t) { return t.name == "grad.q"; });
    got.put(NamedTensor{"grad.nothing", {1}, {1}});
    const auto j = fixture().judged(got);
    CHECK(j.find("grad.k")->state == TensorVerdict::State::misshapen);
    CHECK(j.find("grad.k")->sentence == "grad.k: got shape [2, 2, 8, 9], expected shape [2, 2, 9, 8]");
    CHECK(j.find("grad.v")->state == TensorVerdict::State::misshapen);
    CHECK(j.missing == std::vector<std::string>{"grad.q"});
    CHECK(j.extra == std::vector<std::string>{"grad.nothing"});
    CHECK(!j.agrees());
    CHECK(fixture().judged({}).agrees());  // nothing wrong: trust is another question
    CHECK(fixture().judged({}).worst() == nullptr);
}

TEST_CASE("hidden positions are not judged, logits of the exact rule as far as they are read") {
    Results got = fixture().right;
    tensor_of(got, "stage.logits").values[1] = nan_value;  // row 0, key 1
    CHECK(fixture().judged(got).agrees());
    const Problem p = problem_of(test::exact_mask);  // Cq = 3: keys j < i + 3
    const Expected expected = expect(p, fp32);
    for (const std::size_t key : {2, 3}) {
        Results exact = test::model_results(p, fp32);
        tensor_of(exact, "stage.logits").values[key] += 1;
        CHECK(judge(p, exact, expected).agrees() == (key == 3));
    }
    Results mixed = test::model_results(p, fp32);
    // Row 0, key 1: only logits are read beyond the diagonal.
    tensor_of(mixed, "stage.pre_conv").values[1] += 1;
    CHECK(judge(p, mixed, expected).agrees());
    const Problem documents = problem_of(test::packed);
    Results packed_results = test::model_results(documents, fp32);
    tensor_of(packed_results, "stage.weights").values[3 * 8 + 2] = 7;  // row 3 begins a document
    CHECK(judge(documents, packed_results, expect(documents, fp32)).agrees());
}

TEST_CASE("patterns say where in words") {
    const std::vector<Index> map{2, 4, 9, 9}, rows{2, 4, 9, 8};
    const auto always = [](const auto&) { return true; };
    CHECK(pattern_of("out", rows, [](const auto&) { return false; }).empty());
    CHECK(pattern_of("out", rows, always) == "everywhere");
    CHECK(pattern_of("out", rows, [](const auto& at) { return at[2] >= 5 && at[1] >= 2; }) ==
          "heads >= 2, rows >= 5");
    CHECK(pattern_of("out", rows, [](const auto& at) { return at[1] == 1 || at[1] == 3; }) == "heads 1,3");
    CHECK(pattern_of("out", rows, [](const auto& at) { return at[0] == 1; }) == "batch 1 only");
    CHECK(pattern_of("out", rows, [](const auto& at) { return at[2] <= 3; }) == "rows <= 3");
    CHECK(pattern_of("out", rows, [](const auto& at) { return at[2] % 4 == 0; }) == "every 4th row");
    CHECK(pattern_of("out", rows, [](const auto& at) { return at[3] % 3 == 1; }) ==
          "every 3rd column from 1");
    CHECK(pattern_of("out", rows, [](const auto& at) { return (at[2] + at[3]) % 2 == 0; }) == "scattered");
    CHECK(pattern_of("stage.pre_mix", map, [](const auto& at) { return at[2] == at[3]; }) == "only diagonal");
    CHECK(pattern_of("stage.pre_mix", map, [](const auto& at) { return at[3] >= at[2] - 2; }) ==
          "only keys >= row - 2");
    CHECK(pattern_of("grad.pre.kernel", {4, 2, 3}, [](const auto& at) { return at[2] == 0; }) ==
          "key tap 0 only");
    CHECK(pattern_of("grad.pre.mix", {2, 2, 2}, [](const auto& at) { return at[0] == 1; }) == "group 1 only");
}

TEST_CASE("a wrong stage is named although all after it inherits the error") {
    const auto& f = fixture();
    for (const char* name : {"pre.kernel flipped on the key axis", "scale missing", "pre.mix transposed",
                             "post.kernel flipped on the query axis", "post.mix transposed"}) {
        const Deviation& d = deviation(name);
        const auto j = f.judged(test::model_results(f.p, fp32, d));
        INFO(name);
        REQUIRE(j.first_wrong);
        CHECK(j.first_wrong->tensor == "stage." + d.stage);
        CHECK(j.first_wrong->stage == d.stage);
        CHECK(!j.first_wrong->backward);
        CHECK(j.first_wrong->earlier.empty());
        CHECK(!j.find("out")->agrees());
        CHECK(!j.find("out")->locally_wrong());
    }
}

TEST_CASE("every known bug is charged to the tensor where it acts") {
    const auto& f = fixture();
    std::size_t charged = 0, wrong = 0;
    for (const Deviation& d : deviations()) {
        if (!applies(d, f.p)) continue;
        const auto j = f.judged(test::model_results(f.p, fp32, d));
        if (j.agrees()) continue;  // without effect on this problem
        ++wrong;
        INFO(d.name);
        REQUIRE(j.first_wrong);
        // A bug that makes both wrong shows in grad.v, which a backward pass computes first.
        const bool both = d.name.starts_with("grad.k and grad.v");
        const std::string expected = both ? "grad.v" : first_wrong_tensor(d, f.p.config.attention);
        CHECK(j.first_wrong->tensor == expected);
        charged += j.first_wrong->tensor == expected;
    }
    CHECK(wrong > 100);
    CHECK(charged == wrong);
}

TEST_CASE("without its neighbours a wrong stage is charged to all that may have made it") {
    const auto& f = fixture();
    Results got = test::model_results(f.p, fp32, deviation("pre.kernel flipped on the key axis"));
    std::erase_if(got.tensors,
                  [](const auto& t) { return t.name == "stage.pre_conv" || t.name == "stage.logits"; });
    const auto j = f.judged(got);
    REQUIRE(j.first_wrong);
    CHECK(j.first_wrong->tensor == "stage.pre_mix");
    CHECK(j.first_wrong->earlier == std::vector<std::string>{"logits", "pre_conv"});
    CHECK(j.first_wrong->upstream.empty());
    const auto blind = f.judged(test::without_stages(got));
    REQUIRE(blind.first_wrong);
    CHECK(blind.first_wrong->tensor == "out");
    CHECK(blind.first_wrong->earlier.size() == 8);
}

TEST_CASE("a wrong tensor that no step computes is charged to no stage") {
    oracle::TensorVerdict unknown;
    unknown.name = "stage.unheard_of";
    unknown.state = oracle::TensorVerdict::State::wrong;
    const oracle::detail::Steps steps(fixture().p.config.attention);
    REQUIRE(steps.of(unknown.name) < 0);
    CHECK_FALSE(oracle::detail::find_first_wrong({unknown}, steps));
    auto known = unknown;
    known.name = "out";  // wrong from end to end alone
    const auto first = oracle::detail::find_first_wrong({unknown, known}, steps);
    REQUIRE(first);
    CHECK(first->tensor == "out");
}

TEST_CASE("a perturbed run that is not finite widens the tolerance of its row, and of no other") {
    const auto& f = fixture();
    const oracle::detail::JudgedPositions judged(f.p);
    for (const double deviation : {nan_value, inf, -inf}) {
        Results exact, run;
        exact.put(NamedTensor{"out", {2, 2}, {1, 2, 3, inf}});
        run.put(NamedTensor{"out", {2, 2}, {deviation, 2, 3.5, inf}});
        oracle::detail::Spread spread(exact);
        spread.add(run);
        spread.widen(run);
        const auto t = spread.tolerances(judged, 1, 0x1p-24).at("out").values;
        CHECK(t[0] == inf);
        CHECK(std::isfinite(t[2]));
        CHECK(t[2] > 0.5);
        CHECK(oracle::detail::error_in_tolerances(1, 1, t[0]) == 0);
    }
}

TEST_CASE("what agreed before the wrong stage is named, and how well") {
    const auto& f = fixture();
    const auto j = f.judged(test::model_results(f.p, fp32, deviation("pre.mix transposed")));
    REQUIRE(j.first_wrong);
    CHECK(j.first_wrong->upstream == "stage.pre_conv");
    CHECK(j.first_wrong->upstream_error == j.find("stage.pre_conv")->local->error);
    CHECK(j.first_wrong->upstream_error <= 1);
}

TEST_CASE("the simple rule is offered beside: error over that of a low-precision reference") {
    const auto& f = fixture();
    const auto j = f.judged(f.right);  // it is that reference
    for (const auto& t : j.tensors)
        if (t.low_precision_ratio) CHECK(*t.low_precision_ratio == doctest::Approx(1));
    CHECK(j.find("out")->low_precision_ratio.has_value());
}
}  // namespace mta_test_judge
