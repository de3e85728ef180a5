// The comparator against deliberately wrong inputs: it must never agree with one.
// SPDX-License-Identifier: MIT
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <mta/check/compare.hpp>
#include <span>
#include <string>
#include <vector>

#include "support/checks.hpp"

namespace mta_test_compare {
using namespace mta;
using namespace mta::check;
using namespace mta::test;

namespace {

constexpr double nan_value = std::numeric_limits<double>::quiet_NaN();
constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double denormal = 5e-324;  // the smallest number above 0
constexpr double largest_double = std::numeric_limits<double>::max();

Tensor<double, 1> list(std::vector<double> values) {
    Tensor<double, 1> t(static_cast<Index>(values.size()));
    std::copy(values.begin(), values.end(), t.data());
    return t;
}

// `want` with one element replaced.
template <class T>
T with(T want, Index n, double value) {
    want.data()[n] = static_cast<ScalarOf<T>>(value);
    return want;
}

Verdict verdict(const std::vector<double>& got, const std::vector<double>& want, Tolerance tolerance = {}) {
    return compare("x", list(got), list(want), tolerance).verdict;
}

}  // namespace

TEST_CASE("compare: equal tensors agree") {
    const auto want = random_tensor(1, 2, 3, 4);
    const Comparison c = compare("out", want, want, {.relative = 0});
    CHECK(c.verdict == Verdict::agrees);
    CHECK(static_cast<bool>(c));
    CHECK((c.compared == 24 && c.beyond == 0 && c.not_finite == 0 && c.error == 0 && c.bound == 0));
    CHECK(c.sentence == "out: agrees (24 elements, relative error 0, bound 0)");
    CHECK(verdict({0, 0}, {0, 0}, {.relative = 0}) == Verdict::agrees);
    CHECK(verdict({0}, {-0.0}, {.relative = 0}) == Verdict::agrees);  // equal numbers, though not equal bits
}

TEST_CASE("compare: the bound is relative to the largest expected magnitude") {
    // max|want| = 8, relative 1/64: the bound is 1/8, for every element; the numbers are exact.
    const auto want = list({-8, 1, 0});
    for (Index n = 0; n < 3; ++n)
        for (const double sign : {1.0, -1.0}) {
            const double w = want(n);
            CHECK(compare("x", with(want, n, w + sign * 0.125), want, {.relative = 0x1p-6}));
            const auto off = compare("x", with(want, n, w + sign * 0.25), want, {.relative = 0x1p-6});
            CHECK(off.verdict == Verdict::mismatch);
            CHECK((off.error == 0.25 / 8 && off.bound == 0.125 && off.beyond == 1));
            CHECK(off.where == std::vector<Index>{n});
            CHECK((off.got == w + sign * 0.25 && off.want == w));
        }
    // Barely beyond: the next number after the bound.
    CHECK(!compare("x", with(want, 2, std::nextafter(0.125, 1.0)), want, {.relative = 0x1p-6}));
    // The scale is want's. A huge got must not widen the bound.
    CHECK(verdict({1, 1e6}, {1, 1}, {.relative = 1e-3}) == Verdict::mismatch);
    CHECK(verdict({1, 1}, {1, 1e6}, {.relative = 1e-3}) == Verdict::mismatch);
    // Absolute and relative add.
    const auto both = compare("x", list({8.5}), list({8}), {.relative = 0x1p-5, .absolute = 0.25});
    CHECK(both.bound == 0.5);
    CHECK(both.verdict == Verdict::agrees);
    CHECK(!compare("x", list({8.5}), list({8}), {.relative = 0x1p-5}));
    CHECK(!compare("x", list({8.5}), list({8}), {.relative = 0, .absolute = 0.25}));
}

TEST_CASE("compare: one wrong element anywhere is found") {
    const auto want = random_tensor(2, 3, 4, 5);
    const double bound = compare("x", want, want, {.relative = 1e-6}).bound;
    for (Index n = 0; n < want.size(); ++n)
        for (const double off : {2 * bound, -2 * bound}) {
            const auto c = compare("x", with(want, n, want.data()[n] + off), want, {.relative = 1e-6});
            CHECK(c.verdict == Verdict::mismatch);
            CHECK(c.beyond == 1);
            CHECK(c.where == std::vector<Index>{n / 20, n / 5 % 4, n % 5});
            CHECK(c.error > 1.9e-6);
        }
    // ... and several are counted, the worst is named.
    auto got = with(with(want, 0, want.data()[0] + 1), 59, want.data()[59] - 3);
    got.data()[17] += 2;
    const auto c = compare("x", got, want, {.relative = 1e-6});
    CHECK(c.beyond == 3);
    CHECK(c.where == std::vector<Index>{2, 3, 4});
    CHECK((c.got == got.data()[59] && c.want == want.data()[59]));
}

TEST_CASE("compare: wrong in a plausible way") {
    const auto want = random_tensor(3, 4, 4);
    const Tensor<double, 2> negated = -want, doubled = 2.0 * want;
    const Tensor<double, 2> transposed = want.shuffle(Eigen::array<Index, 2>{1, 0});
    auto shifted = want;
    std::rotate(shifted.data(), shifted.data() + 1, shifted.data() + 16);
    for (const auto& got : {negated, transposed, shifted, doubled, zeros_like(want)})
        CHECK(compare("x", got, want, {.relative = 1e-3}).verdict == Verdict::mismatch);
    CHECK(compare("x", negated, want).error == 2);
    CHECK(compare("x", zeros_like(want), want).error == 1);
    CHECK(verdict({-1e-9, 5}, {1e-9, 5}, {.relative = 1e-10}) == Verdict::mismatch);  // sign of a small one
}

TEST_CASE("compare: nothing that is not finite agrees") {
    const auto want = random_tensor(4, 2, 5);
    for (const double bad : {nan_value, -nan_value, infinity, -infinity})
        for (Index n = 0; n < want.size(); ++n)
            for (const double relative : {0.0, 1e-12, 1.0, 1e300}) {
                const auto spoiled = with(want, n, bad);
                const auto in_got = compare("x", spoiled, want, {.relative = relative});
                const auto in_want = compare("x", want, spoiled, {.relative = relative});
                const auto in_both = compare("x", spoiled, spoiled, {.relative = relative});
                for (const Comparison& c : {in_got, in_want, in_both}) {
                    CHECK(c.verdict == Verdict::mismatch);
                    CHECK(!c);
                    CHECK((c.not_finite == 1 && c.beyond == 1));
                    CHECK(c.error == infinity);
                    CHECK(c.where == std::vector<Index>{n / 5, n % 5});
                }
            }
    CHECK(verdict({infinity}, {-infinity}) == Verdict::mismatch);
    // An infinity in want must not make the bound infinite for the rest.
    const auto c = compare("x", list({infinity, 7}), list({infinity, 1}), {.relative = 1e-6});
    CHECK(c.bound == 1e-6);
    CHECK(c.beyond == 2);
    // A NaN is worse than the largest number, and is the one that is named.
    const auto worst = compare("x", list({1e300, nan_value, -1e300}), list({0, 1, 0}));
    CHECK(worst.where == std::vector<Index>{1});
    CHECK(std::isnan(worst.got));
    CHECK(worst.beyond == 3);
}

TEST_CASE("compare: a useless tolerance never agrees") {
    const auto want = list({1, 2});
    for (const double useless : {nan_value, infinity, -1.0, -infinity, -denormal}) {
        for (const auto& c : {compare("x", want, want, {.relative = useless}),
                              compare("x", want, want, {.relative = 1, .absolute = useless}),
                              compare("x", list({7, 8}), want, {.relative = useless, .absolute = 1e9}),
                              compare("x", zeros_like(want), zeros_like(want), {.relative = useless})}) {
            CHECK(c.verdict == Verdict::mismatch);
            CHECK(c.beyond == 2);
            CHECK(std::isnan(c.bound));
        }
    }
    CHECK(compare("x", list({1e300}), list({1e300}), {.relative = 1e300}).verdict == Verdict::mismatch);
    CHECK(compare("x", want, want, {.relative = -0.0}).verdict == Verdict::agrees);  // it is 0
}

TEST_CASE("compare: where zero is expected, only zero agrees") {
    const auto c = compare("x", list({0, denormal, 0}), list({0, 0, 0}), {.relative = 1});
    CHECK(c.verdict == Verdict::mismatch);
    CHECK(c.error == infinity);
    CHECK(c.where == std::vector<Index>{1});
    CHECK(verdict({0, -denormal}, {0, 0}, {.relative = 1e300}) == Verdict::mismatch);
    CHECK(verdict({-0.0, 0}, {0, 0}, {.relative = 0}) == Verdict::agrees);
    // ... unless an absolute tolerance says otherwise.
    CHECK(verdict({denormal}, {0}, {.relative = 0, .absolute = denormal}) == Verdict::agrees);
    CHECK(verdict({2 * denormal}, {0}, {.relative = 0, .absolute = denormal}) == Verdict::mismatch);
    // Denormal values are judged like any other: half of one is no tolerance.
    CHECK(verdict({2 * denormal}, {denormal}, {.relative = 0.5}) == Verdict::mismatch);
    CHECK(verdict({3e-310}, {1e-310}, {.relative = 1}) == Verdict::mismatch);
}

TEST_CASE("compare: shapes must be the same") {
    const auto want = random_tensor(5, 2, 3);
    const Tensor<double, 2> transposed = want.reshape(Eigen::array<Index, 2>{3, 2});
    const auto c = compare("d_q", transposed, want, {.relative = 1e9});
    CHECK(c.sentence == "d_q: got shape [3, 2], expected shape [2, 3]");
    CHECK((c.verdict == Verdict::mismatch && c.error == infinity && c.compared == 0));
    for (const auto& other : {zeros<double>(2, 2), zeros<double>(2, 4), zeros<double>(0, 3)}) {
        CHECK(compare("x", other, want).verdict == Verdict::mismatch);
        CHECK(compare("x", want, other).verdict == Verdict::mismatch);
    }
    CHECK(compare("x", zeros<double>(0, 3), zeros<double>(3, 0)).verdict == Verdict::mismatch);
}

TEST_CASE("compare: comparing nothing is not agreement") {
    for (const auto& c : {compare("x", zeros<double>(2, 0), zeros<double>(2, 0)),
                          compare_bits("x", zeros<double>(2, 0), zeros<double>(2, 0))}) {
        CHECK((c.verdict == Verdict::nothing && !c && c.compared == 0));
        CHECK(c.sentence == "x: nothing compared, the tensors hold no element");
    }
    CHECK(!Comparison{});  // nor is a comparison that never took place
    Tensor<double, 0> one, other;
    one() = 1, other() = 2;
    CHECK(compare("scalar", one, one));
    CHECK(!compare("scalar", one, other));
}

TEST_CASE("compare: float is widened, not double narrowed") {
    const auto want = list({0.1, 1});
    Tensor<float, 1> got = cast<float>(want);
    // 0.1F differs from 0.1 by 1.5e-9.
    CHECK(compare("x", got, want, {.relative = 1e-8}).verdict == Verdict::agrees);
    CHECK(compare("x", got, want, {.relative = 1e-9}).verdict == Verdict::mismatch);
    CHECK(compare("x", want, got, {.relative = 1e-9}).verdict == Verdict::mismatch);
    // 1 + 1e-12 would be 1 in float.
    CHECK(compare("x", list({0, 1 + 1e-12}), cast<float>(list({0, 1})), {.relative = 1e-13}).error > 9e-13);
    CHECK(compare("x", list({1e300}), cast<float>(list({1})), {.relative = 1}).verdict == Verdict::mismatch);
    got(0) = std::numeric_limits<float>::quiet_NaN();
    CHECK(compare("x", got, want, {.relative = 1}).verdict == Verdict::mismatch);
    const ConstTensorView<float, 1> view(got.data(), 2);
    CHECK(compare("x", view, got, {.relative = 1}).verdict == Verdict::mismatch);
}

TEST_CASE("compare: elements of foreign memory") {
    const std::vector<float> got{1, 2, 3, 4, 5, 6.5F};
    const std::vector<double> want{1, 2, 3, 4, 5, 6};
    const auto judge = [&](std::size_t count, const std::vector<Index>& shape) {
        return check::compare_elements("x", std::span(got).first(count), std::span(want), shape);
    };
    CHECK(judge(6, {3, 2}).where == std::vector<Index>{2, 1});
    CHECK_THROWS_WITH_AS(judge(5, {3, 2}), "compare_elements: number of elements of got: got 5, expected 6",
                         ShapeError);
    CHECK_THROWS_WITH_AS(judge(6, {3, 0}), "compare_elements: number of elements of shape: got 0, expected 6",
                         ShapeError);
}

TEST_CASE("compare: extreme magnitudes") {
    // The difference of finite numbers may overflow; that is no agreement.
    CHECK(verdict({largest_double}, {-largest_double}, {.relative = 1}) == Verdict::mismatch);
    CHECK(verdict({largest_double}, {largest_double}, {.relative = 1e-12}) == Verdict::agrees);
    // A huge element hides errors of small ones: the bound that the sentence states gives it away.
    const auto hidden = compare("x", list({1e12, 1.5}), list({1e12, 1}), {.relative = 1e-12});
    CHECK(hidden.verdict == Verdict::agrees);
    CHECK(hidden.bound == 1);
    CHECK(hidden.sentence == "x: agrees (2 elements, relative error 5e-13, bound 1)");
}

TEST_CASE("compare: the sentence says where, what and how much") {
    auto got = zeros<double>(2, 3), want = zeros<double>(2, 3);
    want(0, 0) = 4;
    got(0, 0) = 4;
    got(1, 2) = -0.5;
    CHECK(compare("pre_conv", got, want, {.relative = 0.0625}).sentence ==
          "pre_conv: mismatch at [1, 2]: got -0.5, expected 0 (1 of 6 elements, relative error 0.125, bound "
          "0.25)");
    got(0, 1) = nan_value;
    CHECK(
        compare("x", got, want, {.relative = 0.0625}).sentence ==
        "x: mismatch at [0, 1]: got nan, expected 0 (2 of 6 elements, relative error inf, bound 0.25, 1 not "
        "finite)");
}

TEST_CASE("compare: bits") {
    const auto want = random_tensor(6, 2, 3);
    CHECK(compare_bits("x", want, want).sentence == "x: agrees (6 elements, relative error 0, bound 0)");
    for (Index n = 0; n < 6; ++n)
        for (const double direction : {infinity, -infinity}) {
            const auto c = compare_bits("x", with(want, n, std::nextafter(want.data()[n], direction)), want);
            CHECK(c.verdict == Verdict::mismatch);
            CHECK((c.beyond == 1 && c.error == infinity));
            CHECK(c.where == std::vector<Index>{n / 3, n % 3});
        }
    // The first of several is named.
    const auto c = compare_bits("x", with(with(want, 1, 9), 4, 8), want);
    CHECK((c.beyond == 2 && c.where == std::vector<Index>{0, 1} && c.got == 9 && c.want == want(0, 1)));
}

TEST_CASE("compare: bits of zeros, NaNs and shapes") {
    const auto bits = [](double got, double want) {
        return compare_bits("x", list({1, got}), list({1, want}));
    };
    CHECK(bits(0.0, -0.0).verdict == Verdict::mismatch);
    CHECK(bits(-0.0, 0.0).sentence ==
          "x: mismatch at [1]: got -0, expected 0 (1 of 2 elements, relative error inf, bound 0)");
    CHECK(bits(-0.0, -0.0).verdict == Verdict::agrees);
    CHECK(bits(infinity, infinity).verdict == Verdict::agrees);
    // A NaN equals the same NaN; sign and payload count.
    CHECK(bits(nan_value, nan_value).verdict == Verdict::agrees);
    CHECK(bits(nan_value, 1).verdict == Verdict::mismatch);
    CHECK(bits(nan_value, std::copysign(nan_value, -1.0)).verdict == Verdict::mismatch);
    const double payload = std::bit_cast<double>(std::uint64_t{0x7ff8000000000123});
    CHECK(bits(payload, payload).verdict == Verdict::agrees);
    CHECK(bits(payload, nan_value).verdict == Verdict::mismatch);
    CHECK(bits(denormal, 0).verdict == Verdict::mismatch);
    CHECK(compare_bits("x", zeros<float>(2, 3), zeros<float>(3, 2)).sentence ==
          "x: got shape [2, 3], expected shape [3, 2]");
    CHECK(compare_bits("x", zeros<float>(2, 3), zeros<float>(2, 0)).verdict == Verdict::mismatch);
    // Whole numbers too large for double are told apart, which compare could not.
    Tensor<std::int64_t, 1> a(1), b(1);
    a(0) = (std::int64_t{1} << 53) + 1, b(0) = std::int64_t{1} << 53;
    CHECK(compare_bits("x", a, b).verdict == Verdict::mismatch);
}
}  // namespace mta_test_compare
