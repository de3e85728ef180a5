// Diagnosis by hypothesis: known bugs are found, unknown ones are not mistaken for known ones.
// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <mta/oracle/diagnosis.hpp>

namespace mta_test_diagnosis {
using namespace mta;
using namespace mta::oracle;

namespace {

// Small cases that together hold every stage, documents and shared heads.
const std::vector<Problem>& problems() {
    static const std::vector<Problem> all = [] {
        std::vector<Problem> made;
        for (const char* text :
             {"paper-880m/B2_H4_kv2_S9_D4_cq3_ck5_g2 fill=asymmetric seed=3 gate=vector norm=rms_depth",
              "paper-880m/B1_H2_S7_D4_cq2_ck4_g2 seed=5 pre.key_padding=left norm=none "
              "post.key_padding=right document_starts=0,3",
              "sdpa/B1_H2_S6_D4 seed=6"})
            made.push_back(make_problem(parse_case(text)));
        return made;
    }();
    return all;
}

const RoundingProfile float32 = parse_rounding("fp32");

std::vector<Results> answers(const Deviation& d, bool stages = false, bool forward_only = false) {
    std::vector<Results> made;
    for (const auto& p : problems()) {
        made.push_back(model_candidate(d, float32, stages).answer(p).results);
        if (forward_only) std::erase_if(made.back().tensors, [](const auto& t) { return t.name != "out"; });
    }
    return made;
}

bool names(const std::vector<Explanation>& list, std::string_view name) {
    return std::any_of(list.begin(), list.end(), [&](const auto& e) { return e.name == name; });
}

void add_to(Results& r, std::string_view name, double x) {
    for (auto& t : r.tensors)
        if (t.name == name) t.values[t.values.size() / 2] += x;
}

}  // namespace

TEST_CASE("hand values: nothing wrong, nothing to explain") {
    const auto d = diagnose(problems(), answers({}), float32);
    CHECK(d.consistent_with.empty());
    CHECK_FALSE(d.next_best);
    CHECK(d.sentence == "nothing is wrong, so nothing is to be explained");
    CHECK(diagnose({}, {}, float32).consistent_with.empty());
}

TEST_CASE("independent values: bugs of every kind stand first, with all tensors and cases explained") {
    for (const char* name :
         {"pre.kernel flipped on the key axis", "post.mix transposed", "zero mask missing before pre.kernel",
          "scale missing", "norm over all heads", "gate.bias unused", "documents ignored",
          "softmax backward: row term rowsum(dO * O)",
          "pre_conv backward: correlated with the unflipped kernel", "grad.k unscaled",
          "grad.v of the last query head only", "post_conv backward: zero mask missing",
          "grad.pre.kernel: flipped on both axes", "grad.post.mix: transposed",
          "parameter gradients of the first batch row only"})
        for (const bool stages : {false, true}) {
            CAPTURE(name);
            CAPTURE(stages);
            const auto d = diagnose(problems(), answers(deviation(name), stages), float32);
            REQUIRE_FALSE(d.consistent_with.empty());
            const Explanation& first = d.consistent_with.front();
            CHECK(first.name == name);
            CHECK(first.sentence == deviation(name).sentence);
            CHECK(first.tensors == first.of_tensors);
            CHECK(first.of_tensors >= 11);
            CHECK(first.cases == 3);
            CHECK(first.of_cases == 3);
        }
}

TEST_CASE("independent values: a sample of the catalogue is found, by itself or with bugs that act alike") {
    for (std::size_t n = 0; n < deviations().size(); n += 9) {
        const auto& d = deviations()[n];
        CAPTURE(d.name);
        const auto found = diagnose(problems(), answers(d), float32);
        if (found.sentence.starts_with("nothing is wrong")) continue;  // does not act on these cases
        CHECK(names(found.consistent_with, d.name));
    }
}

TEST_CASE("properties: from the output alone no bug of gradients is blamed") {
    for (const char* name :
         {"pre.kernel flipped on the key axis", "value heads interleaved", "gate skipped"}) {
        CAPTURE(name);
        const auto d = diagnose(problems(), answers(deviation(name), false, true), float32);
        REQUIRE_FALSE(d.consistent_with.empty());
        CHECK(d.consistent_with.front().name == name);
        CHECK(d.consistent_with.front().of_tensors == 1);
        for (const auto& e : d.consistent_with)
            CHECK(kind_of(deviation(e.name)) == "forward");
    }
}

TEST_CASE("properties: cases that agree rule bugs out") {
    // On softmax attention of one document a skipped document boundary looks right.
    auto got = answers(deviation("documents ignored"));
    const auto alone = diagnose(std::span(problems()).subspan(1, 1), std::span(got).subspan(1, 1), float32);
    CHECK(names(alone.consistent_with, "documents ignored"));
    got[0] = answers(deviation("scale missing"))[0];
    const auto both = diagnose(problems(), got, float32);
    CHECK(both.consistent_with.empty());
    CHECK(both.next_best);
}

TEST_CASE("properties: what no known bug explains is said to be unknown, with the best part") {
    auto got = answers(deviation("pre.mix transposed"));
    add_to(got[0], "grad.v", 0.3);
    DiagnosisOptions options;
    options.pairs = false;
    const auto d = diagnose(problems(), got, float32, options);
    CHECK(d.consistent_with.empty());
    REQUIRE(d.next_best);
    CHECK(d.next_best->name == "pre.mix transposed");
    CHECK(d.next_best->cases == 2);
    CHECK(d.next_best->tensors + 1 == d.next_best->of_tensors);
    CHECK(d.sentence.starts_with("nothing known fits: "));

    auto noise = answers({});
    add_to(noise[0], "out", 0.5);
    const auto unknown = diagnose(problems(), noise, float32);
    CHECK(unknown.consistent_with.empty());
    for (auto& r : noise)
        for (auto& t : r.tensors)
            for (double& x : t.values)
                x = std::numeric_limits<double>::quiet_NaN();
    CHECK(diagnose(problems(), noise, float32).consistent_with.empty());
}

TEST_CASE("properties: two bugs at once are found as a pair") {
    const auto pair = oracle::detail::both(oracle::detail::bug_named("pre.kernel flipped on the key axis"),
                                           oracle::detail::bug_named("grad.k unscaled"));
    const auto d = diagnose(problems(), answers(pair.deviation), float32);
    REQUIRE_FALSE(d.consistent_with.empty());
    CHECK(d.consistent_with.front().name == "pre.kernel flipped on the key axis + grad.k unscaled");
}

TEST_CASE("properties: equivalent variants in float are never explained as bugs") {
    for (const auto& variant : equivalent_variants()) {
        CAPTURE(variant.name);
        CHECK(diagnose(problems(), answers(variant), float32).consistent_with.empty());
    }
}

TEST_CASE("edge shapes: tensors of the wrong shape and unknown names are left out") {
    auto got = answers(deviation("scale missing"));
    for (auto& r : got) {
        r.put(NamedTensor{"something", {1}, {0.0}});
        r.put(NamedTensor{"grad.q", {1}, {0.0}});
    }
    const auto d = diagnose(problems(), got, float32);
    REQUIRE_FALSE(d.consistent_with.empty());
    CHECK(d.consistent_with.front().name == "scale missing");
}

TEST_CASE("errors: one answer per problem") {
    CHECK_THROWS_WITH_AS(diagnose(problems(), {}, float32),
                         "diagnose: answers: got 0, expected one for each of the 3 problems", ArgumentError);
}
}  // namespace mta_test_diagnosis
