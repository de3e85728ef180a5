// Tests of oracle/suites.hpp: what the suites promise to cover.
// SPDX-License-Identifier: MIT
#include <mta/oracle/suites.hpp>
#include <set>

#include "support/checks.hpp"

namespace mta_test_suites {
using namespace mta;
using namespace mta::oracle;

namespace {

std::vector<std::string> descriptors(std::string_view name, const SuiteOptions& options = {}) {
    std::vector<std::string> all;
    for (const auto& c : suite(name, options))
        all.push_back(describe(c));
    return all;
}

// How many cases of the suite are as `is` says.
template <class F>
std::ptrdiff_t count(const std::vector<Case>& cases, F&& is) {
    return std::count_if(cases.begin(), cases.end(),
                         [&](const Case& c) { return is(c, c.config.attention); });
}

std::string refusal(std::string_view name, const std::string& profile = "") {
    try {
        suite(name, {.seed = 0, .dtype = io::DType::F32, .profile = profile});
    } catch (const ConfigError& error) {
        return error.what();
    }
    return "accepted";
}

bool exact_in_float(const std::vector<double>& x) {
    return std::all_of(x.begin(), x.end(),
                       [](double v) { return static_cast<double>(static_cast<float>(v)) == v; });
}

}  // namespace

TEST_CASE("suites: properties, cases differ, parse back and carry seed and type") {
    for (const auto& s : suites) {
        std::set<std::string> seen;
        const auto cases = suite(s.name, {.seed = 7, .dtype = io::DType::BF16});
        for (std::size_t n = 0; n < cases.size(); ++n) {
            INFO(describe(cases[n]));
            CHECK(parse_case(describe(cases[n])) == cases[n]);
            CHECK(cases[n].seed == 7000 + n);
            CHECK(cases[n].dtype == io::DType::BF16);
            Case same = cases[n];
            same.seed = 0;
            CHECK(seen.insert(describe(same)).second);
        }
        CHECK(descriptors(s.name) == descriptors(s.name));
        CHECK(s.sentence.size() > 20);
    }
}

TEST_CASE("suites: properties, smoke is small and has every option") {
    const auto cases = suite("smoke");
    CHECK(cases.size() >= 18);
    CHECK(cases.size() <= 25);
    CHECK(count(cases, [](auto& c, auto& a) { return c.sequence > 33 || a.heads > 4 || a.head_dim > 16; }) ==
          0);
    const auto some = [&](auto&& is) { return count(cases, is) > 0; };
    for (const auto& p : profiles())
        CHECK(some([&](auto& c, auto&) { return c.profile == p.name; }));
    for (const auto rule : {MaskRule::twice, MaskRule::exact, MaskRule::none})
        CHECK(some([&](auto&, auto& a) { return a.mask == rule; }));
    for (const auto norm : {RmsNormFactor::one, RmsNormFactor::depth, RmsNormFactor::layer})
        CHECK(some([&](auto&, auto& a) { return a.norm == norm; }));
    for (const auto gate : {GateKind::scalar, GateKind::vector})
        CHECK(some([&](auto&, auto& a) { return a.gate == gate; }));
    CHECK(some([](auto&, auto& a) { return a.pre.has_conv() && !a.norm && !a.gate; }));
    for (const auto padding : {KeyPadding::left, KeyPadding::right}) {
        CHECK(some([&](auto&, auto& a) {
            return a.pre.key_padding == padding && a.pre.key_kernel % 2 == 0 && a.pre.has_conv();
        }));
        CHECK(some([&](auto&, auto& a) {
            return a.post.key_padding == padding && a.post.key_kernel % 2 == 0 && a.post.has_conv();
        }));
    }
    CHECK(some([](auto&, auto& a) { return a.normalise == Normalise::sparsemax; }));
    CHECK(some([](auto&, auto& a) { return a.scale.has_value(); }));
    CHECK(some([](auto&, auto& a) { return a.eps != 1e-5; }));
    CHECK(some([](auto&, auto& a) { return a.layer_index > 0; }));
    CHECK(some([](auto& c, auto& a) { return c.batch >= 2 && a.heads == 2 * a.key_value_heads(); }));
    CHECK(some([](auto& c, auto&) { return c.config.document_starts.size() == 2; }));
    CHECK(some([](auto& c, auto& a) {
        return a.mask == MaskRule::exact && c.config.document_starts[0].size() > 1;
    }));
    CHECK(some([](auto& c, auto&) { return c.sequence == 1; }));
    CHECK(some([](auto& c, auto& a) { return c.sequence > 1 && c.sequence < a.pre.query_kernel; }));
    CHECK(some([](auto& c, auto& a) { return c.sequence > 1 && c.sequence < a.post.key_kernel; }));
}

TEST_CASE("suites: properties, full has the tile edges and adversarial every fill") {
    const auto cases = suite("full");
    for (const Index S : {31, 32, 33, 63, 64, 65, 127, 128, 129}) {
        CHECK(count(cases, [&](auto& c, auto& a) {
                  return c.sequence == S && a.pre.has_conv() && a.post.has_mix();
              }) > 0);
        CHECK(count(cases, [&](auto& c, auto& a) {
                  return c.sequence == S && a.heads == 2 * a.key_value_heads();
              }) > 0);
    }
    for (const Index D : {2, 64, 96, 128})
        CHECK(count(cases, [&](auto&, auto& a) { return a.head_dim == D; }) > 0);
    const auto smoke = descriptors("smoke"), full = descriptors("full");
    CHECK(std::equal(smoke.begin(), smoke.end(), full.begin()));
    for (const auto& f : fills)
        CHECK(count(suite("adversarial"), [&](auto& c, auto&) { return c.fill == f.name; }) >= 4);
}

TEST_CASE(
    "suites: properties, the reference computes every case of smoke and adversarial to finite numbers") {
    for (const auto* name : {"smoke", "adversarial"})
        for (const auto& c : suite(name, {.seed = 3, .dtype = io::DType::F16}))
            for (const auto& t : reference_results(make_problem(c)).tensors) {
                const bool finite =
                    std::all_of(t.values.begin(), t.values.end(), [](double x) { return std::isfinite(x); });
                CHECK_MESSAGE(finite, describe(c), ": ", t.name);
            }
}

TEST_CASE("suites: properties, exact cases are exact in float as far as they say") {
    for (const auto dtype : {io::DType::F32, io::DType::BF16, io::DType::F16})
        for (const auto& c : suite("exact", {.seed = 2, .dtype = dtype})) {
            INFO(describe(c));
            const auto r = reference_results(make_problem(c));
            for (const char* stage : {"stage.logits", "stage.pre_conv", "stage.pre_mix"})
                if (const auto* t = r.find(stage)) CHECK(exact_in_float(t->values));
            if (c.fill == "exact-integers") continue;
            for (const char* tensor : {"stage.weights", "stage.post_conv", "stage.post_mix", "out", "grad.v"})
                if (const auto* t = r.find(tensor)) CHECK(exact_in_float(t->values));
        }
}

TEST_CASE("suites: properties, a profile keeps shapes and fills and gives its own semantics") {
    for (const auto& p : profiles())
        for (const auto& s : suites) {
            const auto cases = suite(s.name, {.seed = 0, .dtype = io::DType::F32, .profile = p.name});
            CHECK(cases.size() > 15);
            std::set<std::string> seen;
            for (const auto& c : cases) {
                INFO(describe(c));
                const std::string text = describe(c);
                CHECK(
                    seen.insert(text.substr(0, text.find(" seed=")) + text.substr(text.find(" io="))).second);
                const auto &a = c.config.attention, &own = p.config.attention;
                CHECK(c.profile == p.name);
                CHECK(parse_case(describe(c)) == c);
                CHECK(a.pre.has_conv() == own.pre.has_conv());
                CHECK(a.pre.has_mix() == own.pre.has_mix());
                CHECK(a.post.has_conv() == own.post.has_conv());
                CHECK(a.post.has_mix() == own.post.has_mix());
                CHECK((a.norm == own.norm && a.gate == own.gate && a.mask == own.mask &&
                       a.normalise == own.normalise));
                CHECK_FALSE(a.scale.has_value());
            }
            CHECK(count(cases, [](auto& c, auto&) { return c.fill == "offset" || c.fill == "one-hot"; }) > 0);
        }
    const auto toy = suite("smoke", {.seed = 0, .dtype = io::DType::F32, .profile = "paper-toy"});
    CHECK(count(toy, [](auto&, auto& a) { return a.pre.query_kernel == 6 && a.pre.key_kernel == 11; }) > 0);
    CHECK(count(toy, [](auto& c, auto&) { return c.config.document_starts[0].size() > 1; }) > 0);
    CHECK(count(toy, [](auto&, auto& a) { return a.heads == 2 * a.key_value_heads(); }) > 0);
}

TEST_CASE("suites: errors") {
    CHECK(refusal("smok") == "suite: unknown suite 'smok', the nearest known is 'smoke'");
    CHECK(refusal("smoke", "sdpq") == "suite: unknown profile 'sdpq', the nearest known is 'sdpa'");
}
}  // namespace mta_test_suites
