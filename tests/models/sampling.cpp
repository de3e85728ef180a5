// Sampling: which tokens can be drawn, how often, and that draws are the same everywhere.
// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <cmath>
#include <map>
#include <mta/models/sampling.hpp>

namespace mta_test_sampling {
using namespace mta;

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

std::vector<TokenProbability> probabilities(const std::vector<double>& logits,
                                            const SamplingConfig& config = {}) {
    return token_probabilities(std::span(logits), config);
}

std::vector<std::int32_t> kept(const std::vector<double>& logits, const SamplingConfig& config = {}) {
    std::vector<std::int32_t> tokens;
    for (const auto& t : probabilities(logits, config))
        tokens.push_back(t.token);
    return tokens;
}

std::int32_t greedy(const std::vector<double>& logits) {
    return greedy_token(std::span(logits));
}

using Tokens = std::vector<std::int32_t>;

// Probabilities 0.1, 0.4, 0.2, 0.3 of tokens 0 to 3.
const std::vector<double> tenths{std::log(1.0), std::log(4.0), std::log(2.0), std::log(3.0)};

// Shares of every token in `draws` draws.
std::map<std::int32_t, double> shares(const std::vector<double>& logits, const SamplingConfig& config,
                                      int draws) {
    Random random(5, 17);
    std::map<std::int32_t, double> share;
    for (int n = 0; n < draws; ++n)
        share[sample_token(std::span(logits), config, random)] += 1.0 / draws;
    return share;
}

}  // namespace

TEST_CASE("hand values: probabilities, the likely tokens first") {
    const auto p = probabilities(tenths);
    REQUIRE(p.size() == 4);
    const double want[] = {0.4, 0.3, 0.2, 0.1};
    for (std::size_t n = 0; n < 4; ++n)  // log, exp and a division: a few roundings
        CHECK(std::abs(p[n].probability - want[n]) <= 1e-15);
    CHECK(kept(tenths) == Tokens{1, 3, 2, 0});
}

TEST_CASE("hand values: the temperature divides the logits") {
    // 1/2 squares the odds: 1, 16, 4, 9 of 30.
    const auto cold = probabilities(tenths, {.temperature = 0.5});
    CHECK(std::abs(cold[0].probability - 16.0 / 30) <= 1e-15);
    CHECK(std::abs(cold[3].probability - 1.0 / 30) <= 1e-15);
    const auto hot = probabilities({std::log(1.0), std::log(16.0)}, {.temperature = 2});
    CHECK(std::abs(hot[0].probability - 0.8) <= 1e-15);
}

TEST_CASE("hand values: top-k keeps the largest, top-p the smallest set that reaches it") {
    CHECK(kept(tenths, {.top_k = 2}) == Tokens{1, 3});
    const auto two = probabilities(tenths, {.top_k = 2});
    CHECK(std::abs(two[0].probability - 4.0 / 7) <= 1e-15);
    CHECK(kept(tenths, {.top_p = 0.35}) == Tokens{1});
    CHECK(kept(tenths, {.top_p = 0.65}) == Tokens{1, 3});
    CHECK(kept(tenths, {.top_p = 0.75}) == Tokens{1, 3, 2});
    CHECK(kept(tenths, {.top_p = 1e-300}) == Tokens{1});
    const auto nucleus = probabilities(tenths, {.top_p = 0.65});
    CHECK(std::abs(nucleus[1].probability - 3.0 / 7) <= 1e-15);
    // Exact halves: reaching top_p is enough.
    CHECK(kept({0, 0}, {.top_p = 0.5}) == Tokens{0});
    CHECK(kept({0, 0, 0, 0}, {.top_p = 0.5}) == Tokens{0, 1});
}

TEST_CASE("hand values: top-p counts what top-k left, after the temperature") {
    // 4/7 alone reaches 0.55; without top-k, 0.4 does not.
    CHECK(kept(tenths, {.top_k = 2, .top_p = 0.55}) == Tokens{1});
    CHECK(kept(tenths, {.top_p = 0.55}) == Tokens{1, 3});
    // 16/30 alone reaches 0.5 at half the temperature.
    CHECK(kept(tenths, {.temperature = 0.5, .top_p = 0.5}) == Tokens{1});
    CHECK(kept(tenths, {.top_p = 0.5}) == Tokens{1, 3});
}

TEST_CASE("hand values: the largest logit, ties to the lowest token") {
    CHECK(greedy({1, 3, 3, 2}) == 1);
    CHECK(greedy({-5}) == 0);
    CHECK(greedy({-infinity, -7}) == 1);
    CHECK(kept({1, 3, 3, 2}, {.temperature = 0, .top_k = 3}) == Tokens{1});
    CHECK(kept({2, 3, 3, 3}, {.top_k = 2}) == Tokens{1, 2});
    const std::vector<float> single{0.5F, 2.5F};
    CHECK(greedy_token(std::span(single)) == 1);
}

TEST_CASE("independent values: a draw inverts the summed probabilities") {
    // The same uniform numbers, looked up by hand in 0.4, 0.7, 0.9, 1 for tokens 1, 3, 2, 0.
    Random draws(9, 2), numbers(9, 2);
    for (int n = 0; n < 200; ++n) {
        const double u = numbers.uniform();
        const std::int32_t want = u < 0.4 ? 1 : u < 0.7 ? 3 : u < 0.9 ? 2 : 0;
        CHECK(sample_token(std::span(tenths), {}, draws) == want);
    }
}

TEST_CASE("independent values: tokens come as often as they should") {
    // 40,000 draws: the standard deviation of a share is at most 0.0025; 5 of them are never missed by chance.
    for (const auto& [config, want] :
         {std::pair{SamplingConfig{}, std::vector<double>{0.1, 0.4, 0.2, 0.3}},
          {SamplingConfig{.top_k = 3}, {0, 4.0 / 9, 2.0 / 9, 3.0 / 9}},
          {SamplingConfig{.temperature = 0.5, .top_p = 0.6}, {0, 16.0 / 25, 0, 9.0 / 25}}}) {
        auto share = shares(tenths, config, 40000);
        for (std::size_t v = 0; v < want.size(); ++v)
            CHECK(std::abs(share[static_cast<std::int32_t>(v)] - want[v]) <= 0.0125);
        for (std::size_t v = 0; v < want.size(); ++v)
            if (want[v] == 0) CHECK(share[static_cast<std::int32_t>(v)] == 0);
    }
}

TEST_CASE("edge shapes: one token, far apart logits, forbidden tokens, a top-k beyond the vocabulary") {
    CHECK(kept({3}) == Tokens{0});
    CHECK(kept(tenths, {.top_k = 9}).size() == 4);
    const auto far = probabilities({-1e308, 1e308, 1e308}, {.temperature = 1e-300});
    CHECK(far[0].probability == 0.5);
    CHECK(far[2].probability == 0);
    const std::vector<double> forbidden{-infinity, 0, -infinity, 1};
    CHECK(kept(forbidden) == Tokens{3, 1});
    for (const auto& [token, share] : shares(forbidden, {.temperature = 100}, 200))
        CHECK(token % 2 == 1);
    // A token whose probability is 0 in double is never drawn.
    for (const auto& [token, share] : shares({0, -2000}, {}, 200))
        CHECK(token == 0);
}

TEST_CASE("properties: temperature 0 takes no random number") {
    Random used(3), fresh(3);
    CHECK(sample_token(std::span(tenths), {.temperature = 0}, used) == 1);
    CHECK(used.uniform() == fresh.uniform());
    sample_token(std::span(tenths), {.top_k = 1}, used);
    fresh.uniform();
    CHECK(used.uniform() == fresh.uniform());
}

TEST_CASE("properties: probabilities sum to 1 and fall; a common shift changes nothing") {
    Random random(8);
    for (int n = 0; n < 50; ++n) {
        std::vector<double> logits(1 + static_cast<std::size_t>(n)), shifted;
        for (auto& z : logits)
            z = std::ldexp(random.below(64), -3);  // exact under the shift
        for (const auto& z : logits)
            shifted.push_back(z + 1024);
        const SamplingConfig config{.temperature = 0.7, .top_k = 1 + n / 2, .top_p = 0.9};
        const auto p = probabilities(logits, config), q = probabilities(shifted, config);
        REQUIRE(p.size() == q.size());
        CHECK(std::abs(detail::total_probability(p) - 1) <= 1e-14);
        for (std::size_t t = 0; t < p.size(); ++t) {
            CHECK(p[t].token == q[t].token);
            CHECK(p[t].probability == q[t].probability);
            if (t > 0) CHECK(p[t].probability <= p[t - 1].probability);
        }
    }
}

TEST_CASE("errors: settings") {
    const auto check = [](const SamplingConfig& config, const char* sentence) {
        CHECK_THROWS_WITH_AS(check_config(config), sentence, ValueError);
        CHECK_THROWS_AS(probabilities(tenths, config), ValueError);
    };
    check({.temperature = -0.5}, "sampling: temperature: got -0.5, expected finite and at least 0");
    check({.temperature = infinity}, "sampling: temperature: got inf, expected finite and at least 0");
    check({.temperature = std::nan("")}, "sampling: temperature: got nan, expected finite and at least 0");
    check({.top_k = -1}, "sampling: top_k: got -1, expected at least 1, or 0 for all tokens");
    check({.top_p = 0}, "sampling: top_p: got 0, expected above 0 and at most 1");
    check({.top_p = 1.5}, "sampling: top_p: got 1.5, expected above 0 and at most 1");
    check({.top_p = std::nan("")}, "sampling: top_p: got nan, expected above 0 and at most 1");
}

TEST_CASE("errors: logits") {
    for (const double temperature : {0.0, 1.0}) {
        const auto check = [&](const std::vector<double>& logits, const char* sentence) {
            Random random(1);
            CHECK_THROWS_WITH_AS(
                sample_token(std::span(logits), SamplingConfig{.temperature = temperature}, random), sentence,
                ValueError);
        };
        check({1, std::nan(""), 2},
              "sampling: logits: got nan for token 1, expected a finite number, or -inf to forbid the token");
        check({1, infinity},
              "sampling: logits: got inf for token 1, expected a finite number, or -inf to forbid the token");
        check({-infinity, -infinity},
              "sampling: logits: got -inf for every token, expected at least one finite");
        check({}, "sampling: logits: got none, expected at least one finite");
    }
}
}  // namespace mta_test_sampling
