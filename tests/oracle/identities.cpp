// Identities between gradients: they hold for the layer on every option, and wrong gradients break them.
// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <map>
#include <mta/oracle/identities.hpp>
#include <set>

#include "probe_support.hpp"

namespace mta_test_identities {
namespace {

using namespace mta;
using namespace mta::test;
using oracle::check_identities;
using oracle::IdentityVerdict;

const IdentityVerdict& named(const std::vector<IdentityVerdict>& verdicts, std::string_view name) {
    for (const auto& v : verdicts)
        if (v.name == name) return v;
    throw ArgumentError("no identity " + std::string(name));
}

std::set<std::string> broken(const std::vector<IdentityVerdict>& verdicts) {
    std::set<std::string> names;
    for (const auto& v : verdicts)
        if (!v.holds) names.insert(v.name);
    return names;
}

std::vector<MultiTokenAttentionConfig> every_config() {
    auto all = varied_configs();
    const auto linear = linear_configs();
    all.insert(all.end(), linear.begin(), linear.end());
    return all;
}

// Every identity, and how many of its problems judged it.
std::map<std::string, int> count_judged(io::DType dtype, double unit_roundoff, double bound,
                                        Results (*answer)(const Problem&)) {
    std::map<std::string, int> judged;
    double worst = 0;
    for (const auto& config : every_config())
        for (std::uint64_t seed = 1; seed <= 3; ++seed) {
            const auto starts = seed == 2 ? std::vector<std::vector<Index>>{{0, 1, 5}, {0, 7}}
                                          : std::vector<std::vector<Index>>{{0}};
            const auto p = random_problem(config, 2, 9, starts, dtype, seed);
            for (const auto& v : check_identities(p, answer(p), unit_roundoff)) {
                CHECK_MESSAGE(v.holds, v.sentence);
                worst = std::max(worst, v.error);
                judged[v.name] += v.judged ? 1 : 0;
            }
        }
    CHECK_MESSAGE(worst <= bound, "largest error ", worst);
    MESSAGE("largest error in roundoffs: ", worst / unit_roundoff);
    return judged;
}

Problem full_problem() {
    return random_problem(full_config(), 2, 7);
}

Results scaled(Results r, std::string_view name, double factor, std::size_t begin = 0,
               std::size_t end = std::size_t(-1)) {
    for (auto& t : r.tensors)
        if (t.name == name)
            for (std::size_t n = begin; n < std::min(end, t.values.size()); ++n)
                t.values[n] *= factor;
    return r;
}

TEST_CASE("identities: hold in double to 1e-13 on every option, and each is judged somewhere") {
    const auto with_stages = [](const Problem& p) { return oracle::reference_results(p); };
    const auto judged = count_judged(io::DType::F64, 0x1p-53, 1e-13, with_stages);
    for (const char* name :
         {"qk", "qk_channels", "q_pre_kernel", "q_pre_mix", "pre_kernel_pre_mix", "keys_sum", "v_post_mix",
          "v_post_kernel", "post_kernel_post_mix", "v_out", "v_norm", "norm_weight", "values_sum"})
        CHECK_MESSAGE(judged.at(name) >= 3, name);
    CHECK(judged.size() == 13);
}

TEST_CASE("identities: hold in float arithmetic within the tolerance") {
    count_judged(io::DType::F32, 0x1p-24, oracle::identity_tolerance(0x1p-24) / 4, layer_results<float>);
}

TEST_CASE("identities: hold when gradients are rounded to bf16") {
    count_judged(
        io::DType::BF16, 0x1p-8, 0x1p-8, +[](const Problem& p) {
            auto r = layer_results<float>(p);
            for (auto& t : r.tensors)
                for (auto& x : t.values)
                    x = oracle::detail::rounded_to(io::DType::BF16, x);
            return r;
        });
}

TEST_CASE("identities: which ones see which gradient") {
    const auto p = full_problem();
    const auto right = oracle::reference_results(p);
    const std::vector<std::pair<const char*, std::set<std::string>>> expected{
        {"grad.q", {"qk", "qk_channels", "q_pre_kernel", "q_pre_mix"}},
        {"grad.k", {"qk", "qk_channels"}},
        {"grad.pre.kernel", {"q_pre_kernel", "pre_kernel_pre_mix"}},
        {"grad.pre.mix", {"q_pre_mix", "pre_kernel_pre_mix"}},
        {"grad.v", {"v_post_mix", "v_norm"}},
        {"grad.post.mix", {"v_post_mix", "post_kernel_post_mix"}},
        {"grad.post.kernel", {"post_kernel_post_mix"}},
        {"grad.norm.weight", {"norm_weight"}},
        {"grad.gate.weight", {"norm_weight"}}};
    for (const auto& e : expected)
        CHECK_MESSAGE(broken(check_identities(p, scaled(right, e.first, 1.001), 0x1p-53)) == e.second,
                      e.first);
}

TEST_CASE("identities: a failure names the head, both sides and the error") {
    const auto p = full_problem();
    auto r = oracle::reference_results(p);
    const std::size_t taps = 9;  // of head 2
    r = scaled(r, "grad.pre.kernel", 0.5, 2 * taps, 3 * taps);
    const auto verdicts = check_identities(p, r, 0x1p-53);
    const auto& v = named(verdicts, "q_pre_kernel");
    REQUIRE(v.failures.size() == 1);
    CHECK(v.failures[0].where == std::vector<Index>{2});
    CHECK(v.failures[0].right == doctest::Approx(0.5 * v.failures[0].left));
    CHECK(v.sentence.find("<dQ,Q> = <dKpre,Kpre>: FAIL at head 2: got ") == 0);
    CHECK(named(verdicts, "qk").sentence.find("<dQ,Q> = <dK,K>: ok (error ") == 0);
}

TEST_CASE("identities: rows and columns of a mix are told apart") {
    const auto p = full_problem();
    auto r = oracle::reference_results(p);
    for (auto& t : r.tensors) {
        if (t.name != "grad.pre.mix" && t.name != "grad.post.mix") continue;
        const auto n = static_cast<std::size_t>(t.shape[1]);
        for (std::size_t g = 0; g < static_cast<std::size_t>(t.shape[0]); ++g)
            for (std::size_t o = 0; o < n; ++o)
                for (std::size_t c = o + 1; c < n; ++c)
                    std::swap(t.values[(g * n + o) * n + c], t.values[(g * n + c) * n + o]);
    }
    CHECK(broken(check_identities(p, r, 0x1p-53)) ==
          std::set<std::string>{"q_pre_mix", "pre_kernel_pre_mix", "v_post_mix", "post_kernel_post_mix"});
}

TEST_CASE("identities: channels and documents that are exchanged keep <dQ,Q> and break the channels") {
    auto p = random_problem(linear_configs()[0], 1, 8, {{0, 3}});
    auto r = oracle::reference_results(p);
    // A term that is orthogonal to q: invisible to <dQ,Q>.
    for (auto& t : r.tensors)
        if (t.name == "grad.q")
            for (std::size_t n = 0; n + 1 < t.values.size(); n += 3) {
                t.values[n] += p.q.data()[n + 1];
                t.values[n + 1] -= p.q.data()[n];
            }
    const auto verdicts = check_identities(p, r, 0x1p-53);
    CHECK(broken(verdicts) == std::set<std::string>{"qk_channels"});
    CHECK(named(verdicts, "qk_channels").failures[0].where.size() == 3);
    // Only the second document is touched, in kv head 1.
    r = scaled(oracle::reference_results(p), "grad.k", 1.01, (8 + 3) * 3);
    const auto second = check_identities(p, r, 0x1p-53);
    REQUIRE(named(second, "qk_channels").failures.size() == 1);
    CHECK(named(second, "qk_channels").failures[0].where == std::vector<Index>{0, 3, 1});
}

TEST_CASE("identities: sums over keys and values see a shift") {
    const auto p = random_problem(linear_configs()[1], 2, 6);
    const auto right = oracle::reference_results(p);
    CHECK(broken(check_identities(p, scaled(right, "grad.k", 1.01, 0, 3), 0x1p-53)) ==
          std::set<std::string>{"qk", "qk_channels", "keys_sum"});
    CHECK(broken(check_identities(p, scaled(right, "grad.v", 1.01), 0x1p-53)) ==
          std::set<std::string>{"v_post_mix", "v_out", "values_sum"});
    CHECK(broken(check_identities(p, scaled(right, "out", 1.01), 0x1p-53)) == std::set<std::string>{"v_out"});
}

TEST_CASE("identities: the norm's backward without its projection breaks v_norm") {
    auto config = full_config();
    config.gate.reset();
    const auto p = random_problem(config, 1, 6);
    auto r = oracle::reference_results(p);
    const auto trace =
        multi_token_attention_forward(p.q, p.k, p.v, p.params, p.config.attention, p.config.call());
    // d_v for a d_context that is r g, with no second term: one more product of the same weights.
    Problem plain = p;
    plain.config.attention.norm.reset();
    plain.params.norm.reset();
    const double factor = rms_norm_factor({config.eps, *config.norm, config.layer_index});
    for (Index row = 0; row < row_count(*plain.d_out); ++row) {
        auto d = nth_row(*plain.d_out, row);
        const auto x = nth_row(*trace.context, row);
        for (std::size_t n = 0; n < d.size(); ++n)
            d[n] *=
                factor * p.params.norm->weight(static_cast<Index>(n)) / std::sqrt(dot(x, x) / 3 + config.eps);
    }
    r.put(oracle::reference_results(plain, false).at("grad.v"));
    CHECK(broken(check_identities(p, r, 0x1p-53)) == std::set<std::string>{"v_post_mix", "v_norm"});
}

TEST_CASE("identities: tiny gradients of half precision are not blamed for what they lost") {
    auto p = random_problem(linear_configs()[2], 1, 6, {{0}}, io::DType::F16);
    for (auto& x : elements(*p.d_out))
        x *= 0x1p-20;
    auto r = layer_results<double>(p);
    for (auto& t : r.tensors)
        for (auto& x : t.values)
            x = oracle::detail::rounded_to(io::DType::F16, x);
    CHECK(broken(check_identities(p, r, 0x1p-11)).empty());
    auto overflowed = scaled(r, "grad.q", HUGE_VAL);
    CHECK(broken(check_identities(p, overflowed, 0x1p-11)).empty());
    p.dtype = io::DType::F64;  // the same numbers without that excuse
    CHECK_FALSE(broken(check_identities(p, r, 0x1p-24)).empty());
}

TEST_CASE("identities: logits with a large common offset cancel, and are not blamed for it") {
    auto config = full_config();
    config.norm.reset();
    config.gate.reset();
    for (const auto dtype : {io::DType::F64, io::DType::F32}) {
        auto p = random_problem(config, 2, 9, {{0, 4}}, dtype);
        for (auto& x : elements(p.k))
            x += 1000;
        for (auto& x : elements(p.q))
            x = x / 8 + 1;
        // Kernel and mix near the identity, so that zeros at the edges do not decide every row.
        const auto given = p.params;
        oracle::detail::set_identity(p);
        for (Index n = 0; n < given.pre.conv->kernel.size(); ++n)
            p.params.pre.conv->kernel.data()[n] += 1e-4 * given.pre.conv->kernel.data()[n];
        for (Index n = 0; n < given.pre.mix->mix.size(); ++n)
            p.params.pre.mix->mix.data()[n] += 1e-4 * given.pre.mix->mix.data()[n];
        oracle::detail::round_inputs(p);
        const bool f64 = dtype == io::DType::F64;
        const auto r = f64 ? layer_results<double>(p) : layer_results<float>(p);
        for (const auto& v : check_identities(p, r, f64 ? 0x1p-53 : 0x1p-24))
            CHECK_MESSAGE(v.holds, v.sentence);
        CHECK(broken(check_identities(p, scaled(r, "grad.pre.kernel", 3), 0x1p-24)).size() == 2);
    }
}

TEST_CASE("identities: what cannot be judged says why") {
    auto p = full_problem();
    auto r = oracle::reference_results(p, false);
    auto verdicts = check_identities(p, r, 0x1p-53);
    CHECK(named(verdicts, "v_norm").sentence.find("not judged, a gate hides the norm") != std::string::npos);
    CHECK(named(verdicts, "keys_sum").sentence.find("not judged, the convolution") != std::string::npos);
    std::erase_if(r.tensors, [](const auto& t) { return t.name == "grad.k"; });
    for (auto& t : r.tensors)
        if (t.name == "grad.v") t.values.pop_back();
    verdicts = check_identities(p, r, 0x1p-53);
    CHECK(named(verdicts, "qk").sentence == "<dQ,Q> = <dK,K>: not judged, there is no grad.k");
    CHECK(named(verdicts, "v_post_mix").sentence.find("not judged, grad.v has another shape") !=
          std::string::npos);
    p.params.norm->weight(1) = 0;
    CHECK(named(check_identities(p, oracle::reference_results(p), 0x1p-53), "v_norm").judged == false);
    p.d_out.reset();
    CHECK(named(check_identities(p, r, 0x1p-53), "norm_weight").sentence.find("no d_out") !=
          std::string::npos);
    // One token: every gradient of the scores is 0.
    const auto one = random_problem(linear_configs()[2], 1, 1);
    verdicts = check_identities(one, oracle::reference_results(one), 0x1p-53);
    CHECK(named(verdicts, "qk").sentence == "<dQ,Q> = <dK,K>: not judged, every term is 0 or overflowed");
    CHECK(named(verdicts, "v_out").judged);
}

TEST_CASE("identities: NaN is a failure") {
    const auto p = full_problem();
    auto r = scaled(oracle::reference_results(p), "grad.q", std::nan(""), 3, 4);
    const auto verdicts = check_identities(p, r, 0x1p-53);
    CHECK_FALSE(named(verdicts, "qk").holds);
    CHECK(std::isnan(named(verdicts, "qk").failures[0].error));
}

}  // namespace
}  // namespace mta_test_identities
