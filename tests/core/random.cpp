// Random numbers: published vectors, pinned bits, moments.
// SPDX-License-Identifier: MIT
#include <array>
#include <cmath>
#include <complex>
#include <cstdint>
#include <limits>
#include <mta/core/random.hpp>
#include <vector>

#include "support/checks.hpp"

namespace mta_test_random {
using namespace mta;

namespace {

using Counter = std::array<std::uint32_t, 4>;
using Key = std::array<std::uint32_t, 2>;

// Mean of f over n numbers of `draw`.
template <class Draw, class F>
double mean(int n, Draw&& draw, F&& f) {
    double sum = 0;
    for (int i = 0; i < n; ++i)
        sum += f(draw());
    return sum / n;
}

}  // namespace

TEST_CASE("random: FNV-1a gives its authors' test vectors") {
    CHECK(fnv1a("") == 0xcbf29ce484222325);
    CHECK(fnv1a("a") == 0xaf63dc4c8601ec8c);
    CHECK(fnv1a("foobar") == 0x85944171f73967e8);
    CHECK(fnv1a("\xff") != fnv1a("\x7f"));
}

TEST_CASE("random: Philox gives Random123's known answers") {
    CHECK(philox4x32(Counter{}, Key{}) == Counter{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
    constexpr std::uint32_t ones = 0xffffffff;
    CHECK(philox4x32({ones, ones, ones, ones}, {ones, ones}) ==
          Counter{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
    // The digits of pi.
    CHECK(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
          Counter{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("random: bits follow the counter") {
    // Words 0 to 3 of block 0, then words 0 and 1 of block 1, computed by integer arithmetic in Python.
    Random random(7, 9);
    for (const std::uint32_t word :
         {0x92c4a6f3U, 0x8b3c9304U, 0xc43b60b6U, 0x12c23ac1U, 0xbb599bf9U, 0xbddd4cf6U})
        CHECK(random.bits() == word);
    // The counter is (block, stream), the key is the seed, low words first.
    const auto block1 = philox4x32({1, 0, 9, 0}, {7, 0});
    CHECK(block1[0] == 0xbb599bf9U);
    Random wide(0x123456789abcdef0, 0xfedcba9876543210);
    CHECK(wide.bits() == philox4x32({0, 0, 0x76543210, 0xfedcba98}, {0x9abcdef0, 0x12345678})[0]);
}

TEST_CASE("random: uniform numbers are pinned to the bit") {
    // ((a >> 5) 2^26 + (b >> 6)) 2^-53 of the words above, in Python.
    const auto judge = [](std::uint64_t seed, std::uint64_t stream, const std::array<double, 3>& want) {
        Random random(seed, stream);
        for (const double x : want)
            CHECK(random.uniform() == x);
    };
    judge(0, 0, {0x1.989fa370b4e2cp-2, 0x1.78af58a6c036fp-1, 0x1.f1c999572c803p-1});
    judge(1, 0, {0x1.c7d00cf94283ap-1, 0x1.2be445ad856a8p-1, 0x1.58102837f1732p-1});
    judge(0, 1, {0x1.088a2bfc235bap-1, 0x1.e3380a0fe1d70p-5, 0x1.94f9ed3671df7p-1});
    judge(0x123456789abcdef0, 0xfedcba9876543210,
          {0x1.2155fb8b52836p-1, 0x1.3f86ed3169de0p-4, 0x1.d237aad95be80p-4});
    // A range is exact where its width is a power of two: -4 + 8 u.
    Random random(0);
    CHECK(random.uniform(-4, 4) == -4 + 8 * 0x1.989fa370b4e2cp-2);
}

TEST_CASE("random: uniform numbers fill [0, 1) evenly") {
    Random random(11);
    std::array<int, 16> bins{};
    const int n = 160000;
    for (int i = 0; i < n; ++i) {
        const double x = random.uniform();
        REQUIRE(x >= 0);
        REQUIRE(x < 1);
        ++bins[static_cast<std::size_t>(x * 16)];
    }
    // Chi-square with 15 degrees of freedom: above 44.3 with probability 1e-4.
    double chi_square = 0;
    for (const int count : bins)
        chi_square += (count - n / 16.0) * (count - n / 16.0) / (n / 16.0);
    CHECK(chi_square < 44.3);
    CHECK(chi_square > 2.0);  // as unlikely: too even
}

TEST_CASE("random: below is unbiased") {
    // 2^32 mod 3e9 = 1294967296: words below it are redrawn. Seed 3 starts with the words 3507506551,
    // 501761998 (redrawn), 2817715290, 3286640633, 1152013473 (redrawn), 2368816957, 963722761 (redrawn),
    // 2610143007.
    Random redraws(3);
    for (const std::uint32_t want :
         {507506551U, 2817715290U, 286640633U, 2368816957U, 2610143007U, 299888750U})
        CHECK(redraws.below(3000000000U) == want);
    // Without redrawing, numbers below 1294967296 would come twice as often and the mean be 1.24e9 instead of
    // 1.5e9. Standard deviation of the mean of 1e5 numbers: 3e9 / sqrt(12e5) = 2.74e6.
    Random random(12);
    const double middle = mean(
        100000, [&] { return random.below(3000000000U); },
        [](std::uint32_t x) { return static_cast<double>(x); });
    CHECK(std::abs(middle - 1.5e9) < 5 * 2.74e6);
    // A die: chi-square with 5 degrees of freedom is above 25.7 with probability 1e-4.
    std::array<int, 6> faces{};
    for (int i = 0; i < 60000; ++i)
        ++faces.at(random.below(6));
    double chi_square = 0;
    for (const int count : faces)
        chi_square += (count - 1e4) * (count - 1e4) / 1e4;
    CHECK(chi_square < 25.7);
    for (int i = 0; i < 100; ++i)
        CHECK(random.below(1) == 0);
    CHECK_THROWS_WITH_AS(random.below(0), "Random::below: bound: got 0, expected at least 1", ValueError);
}

TEST_CASE("random: normal numbers have the normal's moments") {
    // sqrt(-2 log(1 - u)) cos(2 pi v) of the first four uniforms of seed 5, in Python.
    Random pinned(5);
    CHECK(std::abs(pinned.normal() - 1.6954323565984415) <= 1e-15);
    CHECK(std::abs(pinned.normal() + 0.8244137513341165) <= 1e-15);
    // Five standard deviations of each mean: x^k has variance 1, 2, 15, 96 for k = 1 to 4.
    Random random(13);
    const int n = 200000;
    std::vector<double> x(n);
    for (double& one : x)
        one = random.normal();
    const auto moment = [&](auto&& f) {
        std::size_t i = 0;
        return mean(
            n, [&] { return x[i++]; }, f);
    };
    CHECK(std::abs(moment([](double z) { return z; })) < 5 * std::sqrt(1.0 / n));
    CHECK(std::abs(moment([](double z) { return z * z; }) - 1) < 5 * std::sqrt(2.0 / n));
    CHECK(std::abs(moment([](double z) { return z * z * z; })) < 5 * std::sqrt(15.0 / n));
    CHECK(std::abs(moment([](double z) { return z * z * z * z; }) - 3) < 5 * std::sqrt(96.0 / n));
    // The share within one standard deviation, 0.68269; and neighbours are uncorrelated.
    const double inside = moment([](double z) { return std::abs(z) < 1 ? 1.0 : 0.0; });
    CHECK(std::abs(inside - 0.6826895) < 5 * std::sqrt(0.6827 * 0.3173 / n));
    double product = 0;
    for (std::size_t i = 0; i + 1 < x.size(); ++i)
        product += x[i] * x[i + 1];
    CHECK(std::abs(product / n) < 5 * std::sqrt(1.0 / n));
}

TEST_CASE("random: truncated normal numbers stay inside") {
    Random random(14);
    // Variance 1 - 2 t phi(t) / (2 Phi(t) - 1) at t = 1: 1 - 2 * 0.2419707 / 0.6826895 = 0.2911251.
    double sum = 0, squares = 0;
    const int n = 100000;
    for (int i = 0; i < n; ++i) {
        const double x = random.truncated_normal(1);
        REQUIRE(std::abs(x) <= 1);
        sum += x;
        squares += x * x;
    }
    CHECK(std::abs(sum / n) < 5 * std::sqrt(0.2911251 / n));
    CHECK(std::abs(squares / n - 0.2911251) < 5 * std::sqrt(0.1 / n));  // E x^4 - (E x^2)^2 < 0.1
    CHECK_THROWS_WITH_AS(random.truncated_normal(-3),
                         "Random::truncated_normal: bound: got -3, expected above 0", ValueError);
    CHECK_THROWS_AS(random.truncated_normal(std::numeric_limits<double>::quiet_NaN()), ValueError);
}

TEST_CASE("random: seeds and streams are independent") {
    // Correlation of 20000 pairs: five standard deviations.
    const auto correlation = [](Random a, Random b) {
        return mean(
            20000, [&] { return a.normal() * b.normal(); }, [](double x) { return x; });
    };
    const double bound = 5 * std::sqrt(1.0 / 20000);
    CHECK(std::abs(correlation(Random(1), Random(2))) < bound);
    CHECK(std::abs(correlation(Random(1, 0), Random(1, 1))) < bound);
    CHECK(std::abs(correlation(Random(1, 2), Random(2, 1))) < bound);
    CHECK(std::abs(correlation(Random(0, 1ULL << 32), Random(0, 0))) < bound);
    CHECK(std::abs(correlation(Random(1ULL << 32), Random(0))) < bound);
    CHECK(correlation(Random(1), Random(1)) > 0.9);  // the measure itself works
}

TEST_CASE("random: fills run in memory order") {
    Random filled(15), drawn(15);
    auto t = zeros<float>(2, 3);
    fill_uniform(t, filled, -2, 6);
    for (const float x : elements(t))
        CHECK(x == static_cast<float>(drawn.uniform(-2, 6)));
    auto z = zeros<std::complex<double>>(3);
    fill_normal(z, filled, 0.3);
    for (const auto& x : elements(z))
        CHECK(x == std::complex<double>(0.3 * drawn.normal(), 0));
    // Views of foreign memory are filled in place.
    double memory[4] = {};
    TensorView<double, 2> view(memory, 2, 2);
    fill_uniform(view, filled);
    for (const double x : memory)
        CHECK(x == drawn.uniform(-1, 1));
}
}  // namespace mta_test_random
