// Power: which bugs a list of cases sees, against candidates that have them.
// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <mta/oracle/power.hpp>

namespace mta_test_power {
using namespace mta;
using namespace mta::oracle;

namespace {

const std::vector<Case>& cases() {
    static const std::vector<Case> all{parse_case("paper-880m/B2_H2_S7_D4_cq2_ck3_g2 fill=asymmetric seed=1"),
                                       parse_case("sdpa/B1_H2_S1_D4"), parse_case("sdpa/B2_H2_kv1_S6_D4")};
    return all;
}

const PowerTable& table() {
    static const PowerTable made = power_table(cases(), parse_rounding("fp32"));
    return made;
}

Sight sight(const PowerTable& t, std::string_view name, std::size_t at) {
    for (const auto& r : t.rows)
        if (r.name == name) return r.cases[at];
    throw ArgumentError("no row");
}

}  // namespace

TEST_CASE("hand values: what is absent, silent and seen") {
    CHECK(sight(table(), "pre.kernel flipped on the key axis", 0) == Sight::seen);
    CHECK(sight(table(), "pre.kernel flipped on the key axis", 1) == Sight::absent);
    CHECK(sight(table(), "scale missing", 1) == Sight::silent);  // a row of one key has weight 1
    CHECK(sight(table(), "scale missing", 2) == Sight::seen);
    CHECK(sight(table(), "grad.k of the last query head only", 2) == Sight::seen);
    CHECK(sight(table(), "grad.k of the last query head only", 0) == Sight::absent);
    CHECK(sight(table(), "softmax without maximum", 0) == Sight::unseen);  // rounds, and overflows nowhere
}

TEST_CASE("independent values: seen is what judging a candidate without stages says") {
    const auto profile = parse_rounding("fp32");
    const Problem p = make_problem(cases()[0]);
    const Expected expected = expect(p, profile);
    const auto found = sights(p, expected);
    for (std::size_t n = 0; n < found.size(); n += 5) {
        const auto& d = deviations()[n];
        CAPTURE(d.name);
        const auto got = model_candidate(d, parse_rounding("fp64"), false).answer(p).results;
        CHECK((found[n] == Sight::seen) == !judge(p, got, expected).agrees());
    }
}

TEST_CASE("properties: counts add up, coarser rounding sees less") {
    const auto coarse = power_table(cases(), parse_rounding("bf16-eager"));
    CHECK(table().rows.size() == deviations().size());
    CHECK(table().cases.size() == cases().size());
    CHECK(table().seen() <= table().acting());
    CHECK(table().of_case(1).first < 10);  // one key: hardly anything can be wrong
    CHECK(table().of_case(0).first > 100);
    CHECK(coarse.seen() < table().seen());
    CHECK(coarse.rounding == "bf16-eager");
    std::size_t calls = 0;
    power_table({cases()[1]}, parse_rounding("fp32"), [&](std::size_t done, std::size_t total) {
        CHECK(done == ++calls);
        CHECK(total == 1);
    });
    CHECK(calls == 1);
}

TEST_CASE("properties: forward alone, bugs of gradients are absent") {
    Problem p = make_problem(cases()[0]);
    p.d_out.reset();
    const auto found = sights(p, expect(p, parse_rounding("fp32")));
    for (std::size_t n = 0; n < found.size(); ++n)
        if (kind_of(deviations()[n]) != "forward") CHECK(found[n] == Sight::absent);
}

TEST_CASE("properties: a wrong forward pass that shows in gradients alone is seen") {
    Problem p = make_problem(cases()[0]);
    p.params.gate->bias.setZero();
    const auto found = sights(p, expect(p, parse_rounding("fp32")));
    for (std::size_t n = 0; n < found.size(); ++n)
        if (deviations()[n].name == "gate.bias unused") CHECK(found[n] == Sight::seen);
    p.d_out.reset();
    const auto forward = sights(p, expect(p, parse_rounding("fp32")));
    for (std::size_t n = 0; n < forward.size(); ++n)
        if (deviations()[n].name == "gate.bias unused") CHECK(forward[n] == Sight::silent);
}

TEST_CASE("to_json: every deviation with a word for every case") {
    const Json j = to_json(table());
    CHECK(j["schema"] == 1);
    CHECK(j["rounding"] == "fp32");
    CHECK(j["cases"].size() == 3);
    CHECK(j["cases"][0]["seen"] == table().of_case(0).first);
    CHECK(j["deviations"].size() == deviations().size());
    CHECK(j["deviations"][0]["cases"].size() == 3);
    CHECK(j["seen"] == table().seen());
}
}  // namespace mta_test_power
