// Tests of oracle/trust.hpp: what cannot fail does not count, and what a set of cases would have seen.
// SPDX-License-Identifier: MIT
#include <algorithm>
#include <mta/oracle/trust.hpp>

#include "judge_support.hpp"

namespace mta_test_trust {
namespace {

using namespace mta;
using namespace mta::oracle;
using test::problem_of;

const RoundingProfile fp32 = parse_rounding("fp32");

CaseTrust trust_of(const char* descriptor, Owed owed = Owed::all) {
    const Problem p = problem_of(descriptor);
    return trust_of_case(p, test::model_results(p, fp32), expect(p, fp32), owed);
}

bool mentions(const std::vector<std::string>& reasons, std::string_view part) {
    return std::any_of(reasons.begin(), reasons.end(),
                       [&](const auto& r) { return r.find(part) != std::string::npos; });
}

bool contains(const std::vector<std::string>& names, std::string_view name) {
    return std::find(names.begin(), names.end(), name) != names.end();
}

std::vector<std::string> names_of(const Results& r) {
    std::vector<std::string> names;
    for (const auto& t : r.tensors)
        names.push_back(t.name);
    return names;
}

Power power_of(const char* descriptor, const RoundingProfile& rounding, bool outputs_only = false,
               double looser = 1) {
    const Problem p = problem_of(descriptor);
    Expected expected = expect(p, rounding);
    for (auto& t : expected.tolerance.tensors)
        for (double& x : t.values)
            x *= looser;
    PowerMeter meter;
    auto given = names_of(test::without_stages(expected.reference));
    if (outputs_only) given = {"out"};
    meter.look(p, expected, given);
    return meter.finish();
}

}  // namespace

TEST_CASE("an ordinary case counts") {
    CHECK(trust_of(test::every_stage).counts());
    CHECK(trust_of(test::packed).counts());
}

TEST_CASE("rows of one key do not count, whether the sequence or every document is that short") {
    const auto one = trust_of("paper-880m/B2_H2_S1_D4_cq2_ck3_g2 seed=1");
    CHECK(!one.counts());
    CHECK(mentions(one.reasons, "every row has one key"));
    CHECK(mentions(one.reasons, "grad.q, grad.k"));
    CHECK(!trust_of("sdpa/B1_H1_S3_D4 document_starts=0,1,2").counts());
    CHECK(trust_of("sdpa/B1_H1_S3_D4 document_starts=0,1").counts());
    CHECK(trust_of("sdpa/B2_H1_S2_D4 document_starts=0;0,1").counts());
}

TEST_CASE("a mostly zero output does not count, nor does a reference that is not finite") {
    Problem p = problem_of(test::every_stage);
    fill(p.v, 0.0);
    auto trust = trust_of_case(p, test::model_results(p, fp32), expect(p, fp32), Owed::all);
    CHECK(mentions(trust.reasons, "100% of out is 0 within its tolerance"));
    p = problem_of(test::every_stage);
    p.v(0, 0, 0, 0) = std::nan("");
    trust = trust_of_case(p, test::model_results(p, fp32), expect(p, fp32), Owed::all);
    CHECK(mentions(trust.reasons, "out is not finite in the reference"));
}

TEST_CASE("what is owed depends on what is expected") {
    const Problem p = problem_of(test::every_stage);
    const Expected expected = expect(p, fp32);
    Results got = test::without_stages(expected.reference);
    CHECK(trust_of_case(p, got, expected, Owed::all).counts());
    std::erase_if(got.tensors, [](const auto& t) { return t.name != "out"; });
    CHECK(trust_of_case(p, got, expected, Owed::forward).counts());
    CHECK(contains(trust_of_case(p, got, expected, Owed::all).missing, "grad.pre.kernel"));
    CHECK(trust_of_case(p, {}, expected, Owed::forward).missing == std::vector<std::string>{"out"});
}

TEST_CASE("a run is trusted for its cases, and says why it is not") {
    const CaseTrust good, weak{{"every row has one key"}, {}, {}}, lacking{{}, {"grad.q"}, {}},
        broken{{}, {}, {"<dQ,Q> = <dK,K>"}};
    const Power strong{std::vector<std::string>(19, "seen"), {"unseen"}};
    CHECK(trust_of_run({good, weak}, strong).trusted());
    CHECK(trust_of_run({good, weak}, strong).counting_cases == 1);
    CHECK(!trust_of_run({weak}, strong).trusted());
    CHECK(mentions(trust_of_run({weak}, strong).reasons, "every row has one key"));
    CHECK(mentions(trust_of_run({good, lacking}, strong).reasons,
                   "owed and not given in 1 of 2 cases: grad.q"));
    // One identity that fails is enough, whatever the other cases say.
    CHECK(!broken.counts());
    CHECK(trust_of_run({good, broken, good, broken}, strong).reasons ==
          std::vector<std::string>{
              "identities fail in 2 of 4 cases, although every tensor agrees: <dQ,Q> = <dK,K>"});
    CHECK(mentions(trust_of_run({}, std::nullopt).reasons, "no case was judged"));
    const Power feeble{std::vector<std::string>(17, "seen"), {"a", "b", "c"}};
    CHECK(mentions(trust_of_run({good}, feeble).reasons, "detect only 17/20 known deviations"));
}

TEST_CASE(
    "power: an ordinary case sees nearly all bugs that matter, outputs alone fewer, a loose tolerance next "
    "to none") {
    const Power all = power_of(test::every_stage, fp32);
    CHECK(all.seen.size() > 150);
    CHECK(all.share() > 0.9);
    CHECK(contains(all.seen, "pre.kernel flipped on the key axis"));
    const Power outputs = power_of(test::every_stage, fp32, /*outputs_only=*/true);
    CHECK(outputs.applicable() <= all.applicable());
    CHECK(outputs.unseen.size() > all.unseen.size());
    CHECK(outputs.seen.size() < all.seen.size());
    // Bugs that divide by nothing show at any tolerance.
    CHECK(power_of(test::every_stage, fp32, false, 1e12).seen.size() < 10);
}

TEST_CASE("power: bugs of absent stages and equivalent ones are not counted") {
    const Power plain = power_of("sdpa/B2_H2_S9_D4 seed=2", fp32);
    for (const auto* names : {&plain.seen, &plain.unseen})
        for (const auto& name : *names)
            CHECK(name.find("pre.kernel") == std::string::npos);
    CHECK(plain.applicable() > 20);
    // With one head, no order of heads can be wrong.
    const Power one = power_of("sdpa/B2_H1_S9_D4 seed=2", fp32);
    CHECK(one.applicable() < plain.applicable());
}

TEST_CASE("power: what one case has seen, another need not") {
    PowerMeter meter;
    const Problem weak = problem_of("sdpa/B2_H2_S1_D4 seed=2"),
                  strong = problem_of("sdpa/B2_H2_S9_D4 seed=2");
    const Expected expected = expect(weak, fp32);
    meter.look(weak, expected, names_of(expected.reference));
    const auto alone = meter.finish();
    CHECK(alone.share() < trusted_power);
    const Expected more = expect(strong, fp32);
    meter.look(strong, more, names_of(more.reference));
    CHECK(meter.finish().seen.size() > alone.seen.size());
    CHECK(meter.finish().share() > trusted_power);
}
}  // namespace mta_test_trust
