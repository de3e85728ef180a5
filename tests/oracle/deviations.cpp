// The catalogue of bugs: each does what its words say, where they say, and nowhere else.
// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <filesystem>
#include <mta/io/file.hpp>
#include <mta/oracle/case.hpp>
#include <mta/oracle/deviations.hpp>
#include <mta/oracle/judge.hpp>
#include <set>

namespace mta_test_deviations {
using namespace mta;
using namespace mta::oracle;

namespace {

const std::vector<Problem>& problems() {
    static const std::vector<Problem> all = [] {
        std::vector<Problem> made;
        for (const char* text :
             {"paper-880m/B2_H4_kv2_S13_D4_cq3_ck5_g2 fill=asymmetric seed=3 gate=vector norm=rms_depth",
              "paper-880m/B2_H4_kv2_S11_D4_cq3_ck4_g2 fill=asymmetric seed=7 pre.key_padding=left "
              "post.key_padding=right norm=rms_layer layer_index=3 document_starts=0,4",
              "mta-sparsemax/B1_H4_S10_D4_cq3_ck4_g2 seed=3 pre.key_padding=right post.key_padding=left",
              "mta-exact/B2_H3_S9_D4_cq3_ck5_g3 seed=3 document_starts=0,4",
              "paper-880m/B1_H2_S67_D4_cq2_ck3_g1 fill=offset seed=4",
              "paper-880m/B1_H2_S19_D4_cq2_ck3_g2 fill=large-positive seed=4",
              "paper-880m/B1_H2_S19_D4_cq2_ck3_g2 fill=below-mask seed=4 norm=none gate=none",
              "paper-880m/B1_H2_S9_D4_cq2_ck3_g2 fill=large-negative seed=4",
              "liger-post/B1_H2_S9_D4_cq2_ck3 seed=4", "sdpa/B1_H1_S5_D4 mask=none seed=4"})
            made.push_back(make_problem(parse_case(text)));
        return made;
    }();
    return all;
}

Results run(const Problem& p, const Deviation& d = {}) {
    auto exact = Arithmetic::exact();
    return run_model(p, exact, d);
}

const std::vector<Results>& right() {
    static const std::vector<Results> all = [] {
        std::vector<Results> made;
        for (const auto& p : problems())
            made.push_back(run(p));
        return made;
    }();
    return all;
}

bool differs(const Problem& p, const NamedTensor& got, const NamedTensor& want) {
    const oracle::detail::JudgedPositions judged(p);
    return !(oracle::detail::largest_error(got, want, judged) <=
             1e-11 * oracle::detail::largest_magnitude(want, judged));
}

// The first tensor that is wrong, in the order in which they are computed; empty when none is.
std::string first_wrong(const Problem& p, const Results& got, const Results& want, bool stages = true) {
    for (const auto& name : oracle::detail::tensors_in_order(p.config.attention)) {
        if (!stages && name.starts_with("stage.")) continue;
        if (differs(p, got.at(name), want.at(name))) return name;
    }
    return "";
}

// The derivative of <d_out, out> along a random direction of every input, by central differences and by gradients.
std::pair<double, double> derivatives(const Problem& p, const Deviation& d) {
    constexpr double h = 1e-6;
    Problem ahead = p, behind = p;
    const Results at = run(p, d);
    std::uint64_t stream = 0;
    double claimed = 0;
    for_each_input(
        [&](std::string_view name, auto& x, auto& y) {
            if (name == "d_out") return;
            Random random(11, ++stream);
            const auto& gradient = at.at("grad." + std::string(name)).values;
            for (Index n = 0; n < x.size(); ++n) {
                const double v = random.uniform(-1, 1);
                x.data()[n] += h * v, y.data()[n] -= h * v;
                claimed += gradient[static_cast<std::size_t>(n)] * v;
            }
        },
        ahead, behind);
    const auto loss = [&](const Problem& moved) {
        Problem forward = moved;
        forward.d_out.reset();
        const auto out = run(forward, d).at("out").values;
        double sum = 0;
        for (std::size_t n = 0; n < out.size(); ++n)
            sum += out[n] * p.d_out->data()[n];
        return sum;
    };
    return {claimed, (loss(ahead) - loss(behind)) / (2 * h)};
}

}  // namespace

TEST_CASE("hand values: at least 100 deviations of every kind, with different names and whole sentences") {
    CHECK(deviations().size() >= 100);
    std::set<std::string> names;
    std::set<std::string_view> kinds;
    for (const auto& d : deviations()) {
        CAPTURE(d.name);
        CHECK(names.insert(d.name).second);
        CHECK(d.sentence.size() > 10);
        CHECK_FALSE(d.sentence.ends_with('.'));
        CHECK_FALSE(d.stage.empty());
        kinds.insert(kind_of(d));
        CHECK(&deviation(d.name) == &d);
    }
    CHECK(kinds == std::set<std::string_view>{"backward", "forward", "parameters"});
}

TEST_CASE("independent values: every deviation changes what it says first, somewhere") {
    for (const auto& d : deviations()) {
        CAPTURE(d.name);
        bool acts = false, as_declared = false;
        for (std::size_t n = 0; n < problems().size(); ++n) {
            const auto& p = problems()[n];
            CAPTURE(p.name);
            const Results got = run(p, d);
            if (!applies(d, p)) {
                CHECK(first_wrong(p, got, right()[n], /*stages=*/false) == "");
                continue;
            }
            const std::string first = first_wrong(p, got, right()[n]);
            acts = acts || !first.empty();
            as_declared =
                as_declared || (!first.empty() && first == first_wrong_tensor(d, p.config.attention));
        }
        CHECK(acts);
        CHECK(as_declared);
    }
}

TEST_CASE(
    "independent values: a wrong gradient leaves the forward pass alone, a wrong parameter's all else") {
    for (const auto& d : deviations()) {
        if (kind_of(d) == "forward") continue;
        CAPTURE(d.name);
        const Problem& p = problems()[0];
        const Results got = run(p, d);
        for (const auto& t : got.tensors) {
            const bool gradient = t.name.starts_with("grad.") || t.name.starts_with("stage.d_");
            const bool parameter = t.name.starts_with("grad.") && t.name.size() > 6;
            if (kind_of(d) == "backward" ? !gradient : !parameter)
                CHECK_FALSE(differs(p, t, right()[0].at(t.name)));
        }
    }
}

TEST_CASE(
    "independent values: behind a wrong gradient of an input, the stage's own parameters have right ones") {
    const Problem& p = problems()[0];
    struct Bug {
        const char *name, *parameter;
    };
    for (const Bug& bug : {Bug{"pre_conv backward: flipped on the key axis", "grad.pre.kernel"},
                           Bug{"post_mix backward: weights not transposed", "grad.post.mix"},
                           Bug{"gate backward: slope lacks 1 - s", "grad.gate.weight"},
                           Bug{"norm backward: depth factor missing", "grad.norm.weight"}}) {
        CAPTURE(bug.name);
        const Results got = run(p, deviation(bug.name));
        CHECK_FALSE(differs(p, got.at(bug.parameter), right()[0].at(bug.parameter)));
        CHECK(differs(p, got.at("grad.q"), right()[0].at("grad.q")));
    }
}

TEST_CASE("adjoint: the gradients of a wrong forward pass are its derivatives") {
    // Not finite: an infinity that was convolved or mixed. Not smooth: exp in float.
    const std::set<std::string> without{"-infinity convolved by pre.kernel",
                                        "pre.mix after the -infinity mask", "softmax without maximum",
                                        "zeros of masked keys in the row maximum"};
    for (const std::size_t at : {0U, 1U, 3U}) {
        const Problem& p = problems()[at];
        for (const auto& d : deviations()) {
            if (kind_of(d) != "forward" || without.count(d.name) > 0 || !applies(d, p)) continue;
            CAPTURE(d.name);
            const auto [claimed, measured] = derivatives(p, d);
            // Central differences of step 1e-6 of sums of order 100 lose 1e-8; their curvature costs more.
            CHECK(claimed == doctest::Approx(measured).epsilon(2e-6));
        }
    }
}

TEST_CASE("properties: equivalent variants change no output and no gradient") {
    CHECK(equivalent_variants().size() >= 4);
    for (const auto& d : equivalent_variants()) {
        CAPTURE(d.name);
        bool stages_differ = false;
        for (std::size_t n = 0; n < problems().size(); ++n) {
            const auto& p = problems()[n];
            CAPTURE(p.name);
            const Results got = run(p, d);
            // A constant beside scores of -1e5 costs digits.
            const oracle::detail::JudgedPositions judged(p);
            for (const auto& want : right()[n].tensors) {
                if (want.name.starts_with("stage.")) continue;
                CAPTURE(want.name);
                CHECK(oracle::detail::largest_error(got.at(want.name), want, judged) <=
                      1e-9 * oracle::detail::largest_magnitude(want, judged));
            }
            stages_differ = stages_differ || !first_wrong(p, got, right()[n]).empty();
        }
        if (d.name.find("scale") == 0) CHECK(stages_differ);
    }
}

TEST_CASE("applies: what cannot act is known from the configuration") {
    const auto sdpa = parse_case("sdpa/B1_H1_S5_D4").config;
    CHECK_FALSE(applies(deviation("pre.kernel flipped on the key axis"), sdpa));
    CHECK_FALSE(applies(deviation("grad.k of the last query head only"), sdpa));
    CHECK_FALSE(applies(deviation("documents ignored"), sdpa));
    CHECK(applies(deviation("no causal mask"), sdpa));
    CHECK(applies(deviation("scale missing"), sdpa));
    CHECK_FALSE(applies(deviation("scale missing"), parse_case("sdpa/B1_H1_S5_D4 scale=1").config));
    auto p = make_problem(parse_case("paper-880m/B1_H2_S17_D4_cq2_ck3_g2"));
    CHECK(applies(deviation("pre.halo lost at query tiles of 16"), p));
    CHECK_FALSE(applies(deviation("pre.halo lost at query tiles of 32"), p));
    CHECK_FALSE(applies(deviation("parameter gradients of the first batch row only"), p));
    p.d_out.reset();
    CHECK_FALSE(applies(deviation("grad.q unscaled"), p));
}

TEST_CASE("model_candidate: the model's numbers, rounded, with and without stages") {
    const Problem& p = problems()[1];
    const auto profile = parse_rounding("bf16-flash");
    const auto& d = deviation("scale missing");
    const Answer with = model_candidate(d, profile, true).answer(p);
    const Answer without = model_candidate(d, profile, false).answer(p);
    CHECK(with.outcome == Outcome::answered);
    CHECK(with.results.find("stage.logits") != nullptr);
    CHECK(without.results.find("stage.logits") == nullptr);
    CHECK(without.results.at("out").values == with.results.at("out").values);
    for (const double x : without.results.at("grad.q").values)
        CHECK(x == round_to(Precision::bf16, x));
    CHECK(model_candidate({}, profile, false).name == "model");
    CHECK(model_candidate(d, profile, false).name == "model: scale missing");
}

TEST_CASE("properties: the page lists every deviation, and no other") {
    const auto page =
        std::filesystem::path(MTA_TEST_DATA).parent_path().parent_path() / "docs/oracle/diagnosis.md";
    const auto bytes = io::read_file(page);
    const std::string text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    std::size_t rows = 0;
    for (const auto& d : deviations()) {
        const std::string row = oracle::detail::sentence("| ", d.name, " | ", kind_of(d), " | ", d.stage,
                                                         " | ", d.sentence, " |\n");
        CHECK_MESSAGE(text.find(row) != std::string::npos, row);
        rows += row.size();
    }
    const auto table = text.find("## All known bugs");
    REQUIRE(table != std::string::npos);
    CHECK(text.size() - text.find("|---", table) == rows + std::string("|---|---|---|---|\n").size());
}

TEST_CASE("errors: an unknown deviation names the nearest") {
    CHECK_THROWS_WITH_AS(deviation("scale mising"),
                         "deviation: unknown name 'scale mising', the nearest known is 'scale missing'",
                         ConfigError);
}
}  // namespace mta_test_deviations
