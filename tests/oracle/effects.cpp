// Tests of oracle/effects.hpp: which readings tell of a wrong stage, the row that is shown, time and containment.
// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <mta/oracle/effects.hpp>

#include "probe_support.hpp"

namespace mta_test_effects {
namespace {

using namespace mta;
using namespace mta::test;
using oracle::CaseConfig;
using oracle::Effect;
using oracle::EffectOptions;
using oracle::effects_of;
using oracle::FirstWrong;
using oracle::Outcome;

template <class F>
Candidate with_bug(F f) {
    return candidate_of([f](Problem p) {
        f(p);
        return layer_results<double>(p);
    });
}

FirstWrong wrong(const char* stage, std::vector<std::string> earlier = {}) {
    FirstWrong first;
    first.stage = stage;
    first.tensor = std::string("stage.") + stage;
    first.earlier = std::move(earlier);
    return first;
}

const CaseConfig full{full_config(), {{0}}};
const EffectOptions patient{300, {}};  // tests run on busy machines

std::vector<Effect> effects(const Candidate& candidate, const FirstWrong& first,
                            const EffectOptions& options = patient) {
    return effects_of(candidate, full, io::DType::F64, first, options);
}

std::vector<std::string> names(const std::vector<Effect>& list) {
    std::vector<std::string> all;
    for (const auto& e : list)
        all.push_back(e.reading);
    return all;
}
using Names = std::vector<std::string>;

/// Mirrors the kernel before the softmax along the keys.
void flip_keys(Problem& p) {
    auto& kernel = p.params.pre.conv->kernel;
    const auto old = kernel;
    for (Index h = 0; h < old.dimension(0); ++h)
        for (Index a = 0; a < old.dimension(1); ++a)
            for (Index c = 0; c < old.dimension(2); ++c)
                kernel(h, a, c) = old(h, a, old.dimension(2) - 1 - c);
}
void transpose_mix(Problem& p) {
    auto& mix = p.params.post.mix->mix;
    const auto old = mix;
    for (Index g = 0; g < old.dimension(0); ++g)
        for (Index o = 0; o < old.dimension(1); ++o)
            for (Index h = 0; h < old.dimension(2); ++h)
                mix(g, o, h) = old(g, h, o);
}
void double_kernel(Problem& p) {
    for (auto& x : elements(p.params.post.conv->kernel))
        x *= 2;
}

}  // namespace

TEST_CASE("hand values: the line about taps, a matrix, a number and a picture") {
    Effect e{"pre.kernel", "mirrored on keys", "head 1, row 2", {0.12, -0.4, 1.07}, {1.07, -0.4, 0.12}};
    CHECK(e.label() == "effective taps");
    CHECK(e.text() ==
          "pre.kernel, head 1, row 2 (mirrored on keys) = 0.12 -0.40 1.07   expected 1.07 -0.40 0.12");
    e.relation = "other";
    CHECK(e.text() == "pre.kernel, head 1, row 2 = 0.12 -0.40 1.07   expected 1.07 -0.40 0.12");
    e = {"post.mix", "transposed", "head 0", {1, 2}, {1, 3}};
    CHECK(e.label() == "effective mix");
    CHECK(e.text() == "post.mix, head 0 (transposed) = 1.00 2.00   expected 1.00 3.00");
    e = {"scale", "scaled by 2", "", {0.5}, {0.25}};
    CHECK(e.label() == "effective scale");
    CHECK(e.text() == "scale (scaled by 2) = 0.5   expected 0.25");
    e = {"mask", "causal, but with the next key", "", {}, {}};
    CHECK(e.text() == "mask: causal, but with the next key");
    CHECK(e.label() == "effective mask");
    CHECK(Effect{"future_logits", "", "", {}, {}}.label() == "effective mask");
    CHECK(Effect{"value_heads", "", "", {}, {}}.label() == "effective heads");
}

TEST_CASE("hand values: of a long row the part that differs most is shown") {
    const std::vector<double> zeros(12, 0.0);
    Effect e{"pre.kernel", "other", "head 0, row 0", zeros, zeros};
    CHECK(e.text() ==
          "pre.kernel, head 0, row 0 = 0.00 0.00 0.00 0.00 0.00 0.00 0.00 ..."
          "   expected 0.00 0.00 0.00 0.00 0.00 0.00 0.00 ...");
    e.found[11] = 5;
    CHECK(e.text() ==
          "pre.kernel, head 0, row 0 = ... 0.00 0.00 0.00 0.00 0.00 0.00 5.00"
          "   expected ... 0.00 0.00 0.00 0.00 0.00 0.00 0.00");
    e.found[6] = std::nan("");
    CHECK(e.text() ==
          "pre.kernel, head 0, row 0 = ... 0.00 0.00 0.00 nan 0.00 0.00 0.00 ..."
          "   expected ... 0.00 0.00 0.00 0.00 0.00 0.00 0.00 ...");
}

TEST_CASE("a mirrored kernel shows its most different row, without the margin that is 0 on both sides") {
    const auto list = effects(with_bug(flip_keys), wrong("pre_conv"));
    REQUIRE(names(list) == Names{"pre.kernel"});
    const Effect& e = list.front();
    CHECK(e.relation == "mirrored on keys");
    REQUIRE(e.found.size() == 3);
    REQUIRE(e.expected.size() == 3);
    for (std::size_t c = 0; c < 3; ++c)
        CHECK(e.found[c] == doctest::Approx(e.expected[2 - c]));
    // No other row is further from what it should be.
    const auto far = [](double x, double y, double z) { return std::abs(x - z) + std::abs(z - x) + 0 * y; };
    const double shown = far(e.found[0], e.found[1], e.found[2]);
    for (const auto& r : oracle::identify(with_bug(flip_keys), full, io::DType::F64)) {
        if (r.name != "pre.kernel") continue;
        for (std::size_t n = 0; n < r.found.values.size(); n += 7)
            CHECK(far(r.found.values[n + 2], 0, r.found.values[n + 4]) <= shown * (1 + 1e-9));
    }
}

TEST_CASE("a kernel that is shifted keeps the columns of the margin in which it is read") {
    CaseConfig config = full;
    config.attention.post = {2, 2, KeyPadding::left, 0};
    const auto list =
        effects_of(with_bug([](Problem& p) { p.config.attention.post.key_padding = KeyPadding::right; }),
                   config, io::DType::F64, wrong("post_conv"), patient);
    REQUIRE(names(list) == Names{"post.kernel"});
    CHECK(list.front().relation == "shifted by (0, 1)");
    REQUIRE(list.front().found.size() == 3);
    CHECK(list.front().found[0] == doctest::Approx(0));
    CHECK(list.front().expected[2] == 0);
    CHECK(list.front().found[2] == doctest::Approx(list.front().expected[1]));
}

TEST_CASE("hand values: a row with NaN is the most different one, the first of equal ones is shown") {
    oracle::Reading reading;
    reading.name = "pre.mix";
    reading.classification = "other";
    reading.expected = {"expected", {3, 2}, {1, 2, 3, 4, 5, 6}};
    reading.found = {"found", {3, 2}, {1, 9, std::nan(""), 4, 5, 13}};
    CHECK(oracle::detail::effect_of(reading).place == "head 1");
    reading.found.values[2] = 3;
    const Effect e = oracle::detail::effect_of(reading);
    CHECK(e.place == "head 0");
    CHECK(e.found == std::vector<double>{1, 9});
    CHECK(e.expected == std::vector<double>{1, 2});
}

TEST_CASE("only stages that may be wrong are told of: the named one and those that were not exported") {
    const auto both = with_bug([](Problem& p) {
        flip_keys(p);
        transpose_mix(p);
    });
    CHECK(names(effects(both, wrong("pre_conv"))) == Names{"pre.kernel"});
    CHECK(names(effects(both, wrong("post_mix"))) == Names{"post.mix"});
    CHECK(names(effects(both, wrong("out", {"logits", "pre_conv", "post_mix"}))) ==
          Names{"pre.kernel", "post.mix"});
    CHECK(effects(both, wrong("gate")).empty());
    CHECK(effects(candidate_of([](const Problem& p) { return layer_results<double>(p); }),
                  wrong("out", {"logits", "pre_conv", "pre_mix", "weights", "post_conv", "post_mix"}))
              .empty());
}

TEST_CASE("what follows no rule is not told of") {
    const auto averaged = with_bug([](Problem& p) {
        for (Index n = 0; n < p.k.size() / 2; ++n) {
            const Index other = n + p.k.size() / 2;  // one batch row: the upper half of the heads
            p.k.data()[n] = p.k.data()[other] = 0.5 * p.k.data()[n] + 0.5 * p.k.data()[other];
        }
    });
    CHECK(effects(averaged, wrong("logits")).empty());
}

TEST_CASE("a factor alone is a scale before the softmax and a gain after it") {
    const auto scaled = with_bug([](Problem& p) { p.config.attention.scale = 0.7; });
    const auto list = effects(scaled, wrong("logits"));
    REQUIRE(names(list) == Names{"scale"});
    CHECK(list.front().found.front() == doctest::Approx(0.7));
    CHECK(list.front().relation.starts_with("scaled by "));
    CHECK(names(effects(scaled, wrong("pre_conv"))) == Names{"scale"});
    const auto gained = effects(with_bug(double_kernel), wrong("post_conv"));
    REQUIRE(names(gained) == Names{"gain"});
    CHECK(gained.front().found.front() == doctest::Approx(2));
}

TEST_CASE("masks are told of by name") {
    const auto unmasked = with_bug([](Problem& p) { p.config.attention.mask = MaskRule::exact; });
    const auto list = effects(unmasked, wrong("pre_conv"));
    REQUIRE(names(list) == Names{"future_logits"});
    CHECK(list.front().text() == "future_logits: kept up to the output's query, as with `exact`");
}

TEST_CASE("the backward pass has no effects to read") {
    int calls = 0;
    const auto counting = candidate_of([&](const Problem& p) {
        ++calls;
        return layer_results<double>(p);
    });
    auto first = wrong("pre_conv");
    first.backward = true;
    CHECK(effects(counting, first).empty());
    CHECK(calls == 0);
}

TEST_CASE("a candidate that stops answering is not asked again, and nothing is said of it") {
    int calls = 0;
    Candidate failing = with_bug(flip_keys);
    failing.answer = [&, right = failing.answer](const Problem& p) {
        auto answer = right(p);
        if (++calls == 3) answer.outcome = Outcome::timed_out;
        return answer;
    };
    CHECK(effects(failing, wrong("pre_conv")).empty());
    CHECK(calls == 3);
}

TEST_CASE("no call begins when the time is up, and forward calls alone are made") {
    int calls = 0;
    Candidate counting = with_bug(flip_keys);
    counting.answer = [&, right = counting.answer](const Problem& p) {
        ++calls;
        CHECK(!p.d_out);
        return right(p);
    };
    CHECK(effects(counting, wrong("pre_conv"), {0, {}}).empty());
    CHECK(calls == 0);
    CHECK(effects(counting, wrong("pre_conv")).size() == 1);
    CHECK(calls < 100);
}

TEST_CASE("edge shapes: kernels and documents that would need huge maps are not read") {
    int calls = 0;
    const auto counting = candidate_of([&](const Problem& p) {
        ++calls;
        return layer_results<double>(p);
    });
    CaseConfig huge = full;
    huge.attention.pre.key_kernel = 2001;
    CHECK(effects_of(counting, huge, io::DType::F64, wrong("pre_conv"), patient).empty());
    CHECK(calls == 0);
    CaseConfig late = full;
    late.document_starts = {{0, 100000}};
    CHECK(effects_of(with_bug(flip_keys), late, io::DType::F64, wrong("pre_conv"), patient).size() == 1);
}
}  // namespace mta_test_effects
