// Tests of oracle/fills.hpp: the recipe to the bit, and whether each fill does what it is for.
// SPDX-License-Identifier: MIT
#include <mta/oracle/case.hpp>
#include <set>

#include "support/checks.hpp"

namespace mta_test_fills {
using namespace mta;
using namespace mta::oracle;

namespace {

Problem problem(const std::string& fill, const std::string& io = "fp32",
                const std::string& shape = "paper-880m/B2_H4_kv2_S17_D16_cq3_ck5_g2") {
    return make_problem(parse_case(shape + " fill=" + fill + " seed=30064771077 io=" + io));  // 7 * 2^32 + 5
}

std::vector<double> values(const Problem& p, std::string_view name) {
    std::vector<double> found;
    for_each_input(
        [&](std::string_view tensor, const auto& t) {
            if (tensor == name) found.assign(elements(t).begin(), elements(t).end());
        },
        p);
    return found;
}

// Scores of visible keys, after mixing.
std::vector<double> visible_scores(const Problem& p) {
    const auto r = reference_results(p);
    const auto& scores = r.at("stage.pre_mix");
    const Index S = p.sequence();
    std::vector<double> visible;
    for (Index n = 0; n < static_cast<Index>(scores.values.size()); ++n)
        if (n % S <= n / S % S) visible.push_back(scores.values[static_cast<std::size_t>(n)]);
    return visible;
}

double largest(const std::vector<double>& x) {
    double most = 0;
    for (const double v : x)
        most = std::max(most, std::abs(v));
    return most;
}

struct Known {
    const char *fill, *tensor;
    std::size_t element;
    const char* io;
    double value;
};

bool exact_in_float(const std::vector<double>& x) {
    return std::all_of(x.begin(), x.end(),
                       [](double v) { return static_cast<double>(static_cast<float>(v)) == v; });
}

}  // namespace

TEST_CASE("fills: independent values, by the recipe in Python (examples/vectors/recipe.py)") {
    const Known known[] = {
        {"normal", "q", 0, "fp32", -0x1.1fb98p-5},
        {"normal", "pre.kernel", 7, "bf16", -0x1.9p-4},
        {"normal", "post.mix", 3, "fp16", 0x1.4ep-3},
        {"normal", "norm.weight", 5, "fp32", 0x1.71155p-1},
        {"normal", "gate.weight", 5, "fp16", -0x1.98p-6},
        {"normal", "gate.bias", 0, "bf16", 0x1.cp-1},
        {"normal", "d_out", 2175, "fp32", 0x1.2a4c6p1},
        {"uniform", "k", 100, "bf16", 0x1.6cp-1},
        {"offset", "v", 33, "fp16", 0x1.098p0},
        {"tiny-values", "v", 33, "bf16", 0x1.2p-9},
        {"denormal", "q", 8, "fp16", -0x1.1ep-16},
        {"ties", "k", 147, "fp32", -0x1.72511p-1},
        {"below-mask", "q", 48, "bf16", -0x1.bcp7},
        {"below-mask", "pre.kernel", 12, "bf16", 1},
        {"below-mask", "pre.kernel", 13, "fp16", 0x1.8p-19},
        {"large-positive", "pre.mix", 1, "fp32", 0x1.da152p-10},
        {"asymmetric", "post.kernel", 22, "bf16", 0x1.1cp-2},
        {"asymmetric", "gate.weight", 9, "fp16", 0x1.9ap-2},
        {"exact-integers", "pre.kernel", 22, "bf16", 0.5},
        {"zero-scores", "q", 22, "bf16", 0},
        {"one-hot", "q", 80, "fp16", -4096},
        {"one-hot", "k", 80, "bf16", 0x1.7p11},
        {"one-hot", "pre.kernel", 3, "bf16", -0.125},
        {"one-hot", "v", 3, "bf16", -1},
    };
    for (const auto& k : known) {
        INFO(k.fill, " ", k.tensor, " ", k.io);
        CHECK(values(problem(k.fill, k.io), k.tensor).at(k.element) == k.value);
    }
}

TEST_CASE("fills: properties, every number is exact in its type and no tensor is all alike") {
    for (const auto& f : fills)
        for (const auto& [name, dtype] : mta::oracle::detail::io_names) {
            const std::string io_name(name);
            const Problem p = problem(std::string(f.name), io_name);
            for_each_input(
                [&](std::string_view tensor, const auto& t) {
                    INFO(f.name, " ", io_name, " ", tensor);
                    const auto stored = io::from_tensor(std::string(tensor), t, p.dtype);
                    const auto back =
                        io::to_tensor<double, rank_of<decltype(t)>>(stored, io::Narrowing::round);
                    CHECK(check::compare_bits(tensor, back, t));
                    const std::set<double> distinct(elements(t).begin(), elements(t).end());
                    const bool zero = f.name == "zero-scores" && tensor == "q";
                    CHECK((zero || t.size() == 1 || distinct.size() > 1));
                },
                p);
        }
}

TEST_CASE("fills: properties, ordinary numbers have mean 0 and keep scores and outputs of order 1") {
    const Problem p = problem("normal");
    const auto q = values(p, "q");
    double sum = 0, squares = 0;
    for (const double x : q)
        sum += x, squares += x * x;
    const auto n = static_cast<double>(q.size());
    CHECK(std::abs(sum / n) < 5 * 1.155 / std::sqrt(n));  // five standard errors
    CHECK(squares / n == doctest::Approx(4.0 / 3).epsilon(0.15));
    for (const char* fill : {"normal", "uniform", "offset", "asymmetric", "ties", "denormal"}) {
        INFO(fill);
        const auto r = reference_results(problem(fill));
        CHECK(largest(r.at("stage.pre_mix").values) < 20);
        CHECK(largest(r.at("out").values) < 20);
        CHECK(largest(r.at("out").values) > 0.5);
    }
}

TEST_CASE(
    "fills: properties, far scores lie where they are said to, and no row is decided by one key alone") {
    struct Range {
        const char* fill;
        double low, high;
    };
    for (const auto& range : {Range{"large-positive", 88, 200}, Range{"large-negative", -200, -88},
                              Range{"below-mask", -15000, -10000}})
        for (const char* io : {"fp32", "bf16", "fp16"})
            for (const char* shape :
                 {"paper-880m/B2_H4_kv2_S17_D16_cq3_ck5_g2", "paper-880m/B1_H4_S12_D5_cq6_ck11_g4",
                  "paper-880m/B1_H2_S9_D96_cq2_ck1_g1"}) {
                INFO(range.fill, " ", io, " ", shape);
                const Problem p = problem(range.fill, io, shape);
                const auto scores = visible_scores(p);
                CHECK(*std::min_element(scores.begin(), scores.end()) > range.low);
                CHECK(*std::max_element(scores.begin(), scores.end()) < range.high);
                std::size_t shared = 0;
                for (const double w : reference_results(p).at("stage.weights").values)
                    shared += w > 0.05 && w < 0.95;
                CHECK(shared > 20);
            }
}

TEST_CASE("fills: properties, ties are equal, tiny values meet eps, subnormals are there") {
    const Problem ties = problem("ties", "fp32", "sdpa/B2_H4_kv2_S17_D8");
    const auto logits = reference_results(ties).at("stage.logits").values;
    for (std::size_t row = 8; row < 17; ++row) {  // of head 0
        const std::set<double> scores(logits.begin() + static_cast<std::ptrdiff_t>(17 * row),
                                      logits.begin() + static_cast<std::ptrdiff_t>(17 * row + row + 1));
        CHECK(scores.size() == 2);
    }
    const auto context = reference_results(problem("tiny-values")).at("stage.context").values;
    double squares = 0;
    for (const double x : context)
        squares += x * x;
    const double ratio = squares / static_cast<double>(context.size()) / 1e-5;
    CHECK((ratio > 0.01 && ratio < 100));
    for (const auto& [io, smallest_normal] :
         {std::pair{"fp32", 0x1p-126}, {"bf16", 0x1p-126}, {"fp16", 0x1p-14}})
        for (const char* tensor : {"q", "k", "v", "d_out"}) {
            const auto x = values(problem("denormal", io), tensor);
            const auto subnormal =
                static_cast<double>(std::count_if(x.begin(), x.end(), [least = smallest_normal](double v) {
                    return v != 0 && std::abs(v) < least;
                }));
            CHECK(subnormal / static_cast<double>(x.size()) == doctest::Approx(0.25).epsilon(0.2));
        }
}

TEST_CASE("fills: properties, asymmetric parameters are distinct and none is small") {
    for (const char* io : {"fp32", "bf16", "fp16"}) {
        const Problem p = problem("asymmetric", io);
        const auto kernel = values(p, "pre.kernel");
        for (std::size_t h = 0; h < 4; ++h) {
            std::set<double> magnitudes;
            for (std::size_t tap = 0; tap < 15; ++tap) {
                magnitudes.insert(std::abs(kernel[h * 15 + tap]));
                if (h > 0) CHECK(std::abs(kernel[h * 15 + tap]) != std::abs(kernel[(h - 1) * 15 + tap]));
            }
            CHECK(magnitudes.size() == 15);
            CHECK(*magnitudes.begin() >= 0.5 * *magnitudes.rbegin());
        }
        const auto mix = values(p, "post.mix");
        CHECK(std::abs(mix[1]) != std::abs(mix[2]));
    }
}

TEST_CASE("fills: properties, exact fills are exact in float") {
    for (const char* shape : {"paper-880m/B1_H4_S12_D16_cq3_ck5_g2", "mta-exact/B1_H2_S12_D64_cq6_ck11_g2"}) {
        const auto r = reference_results(problem("exact-integers", "bf16", shape));
        for (const char* stage : {"stage.logits", "stage.pre_conv", "stage.pre_mix"})
            CHECK(exact_in_float(r.at(stage).values));
    }
    const auto zero = reference_results(problem("zero-scores", "bf16")).at("stage.pre_mix").values;
    CHECK(largest(zero) == 0);
    for (const char* shape :
         {"paper-880m/B1_H4_S12_D16_cq3_ck5_g2", "sdpa/B2_H2_S17_D96", "sdpa/B1_H1_S1_D1"}) {
        const Problem p = problem("one-hot", "fp16", shape);
        const auto r = reference_results(p);
        CHECK(exact_in_float(r.at("stage.logits").values) == (p.q.dimension(3) != 96));
        for (const double w : r.at("stage.weights").values)
            CHECK((w == 0 || w == 1));
    }
}

TEST_CASE("fills: errors") {
    Problem p = problem("normal");
    CHECK_THROWS_WITH_AS(fill_problem(p, "nrmal", 1),
                         "fill_problem: unknown fill 'nrmal', the nearest known is 'normal'", ConfigError);
    CHECK_THROWS_AS(problem("one-hot", "fp16", "sdpa/B1_H1_S3_D4096"), ValueError);
    CHECK_NOTHROW(problem("one-hot", "bf16", "sdpa/B1_H1_S3_D4096"));
    for (const auto& f : fills)
        CHECK(f.purpose.size() > 20);
}
}  // namespace mta_test_fills
