// The layer: hand values, an independent implementation, three witnesses of every gradient, edges, errors.
// SPDX-License-Identifier: MIT
#include <cmath>
#include <filesystem>
#include <fstream>
#include <mta/layers/multi_token_attention.hpp>
#include <mta/oracle/compare_files.hpp>
#include <mta/oracle/eval.hpp>

#include "support/attention_case.hpp"
#include "support/checks.hpp"

namespace mta_test_multi_token_attention {
using namespace mta;
using namespace mta::test;

namespace {

// S = 2, D = 1, scale 1: logits (0 .) and (0 ln2), values 3 and 6.
AttentionCase<double> two_tokens(MultiTokenAttentionConfig config) {
    config.scale = 1.0;
    AttentionCase<double> c{config, {}, {}, {}, {}, {}, make_multi_token_attention_params<double>(config)};
    c.q = zeros<double>(1, config.heads, 2, 1);
    c.q.setConstant(1);
    c.k = zeros<double>(1, config.heads, 2, 1);
    c.v = zeros<double>(1, config.heads, 2, 1);
    for (Index h = 0; h < config.heads; ++h) {
        c.k(0, h, 1, 0) = std::log(2.0);
        c.v(0, h, 0, 0) = 3;
        c.v(0, h, 1, 0) = 6;
    }
    return c;
}

double second_row(const AttentionCase<double>& c, Index head = 0) {
    return c.forward().out()(0, head, 1, 0);
}

}  // namespace

TEST_CASE("multi_token_attention: hand values") {
    MultiTokenAttentionConfig config;
    // softmax(0, ln2) = (1/3, 2/3): 1/3 * 3 + 2/3 * 6 = 5
    CHECK(second_row(two_tokens(config)) == doctest::Approx(5).epsilon(1e-15));

    // Kernel (1; 1) over queries: the row above is added. Eq. 5 zeroes L[0,1], so C[1] = (0, ln2): still 5.
    config.pre = {2, 1, KeyPadding::both, 0};
    auto c = two_tokens(config);
    c.params.pre.conv->kernel.setConstant(1);
    CHECK(second_row(c) == doctest::Approx(5).epsilon(1e-15));
    // Eq. 4 keeps L[0,1] = ln2 for the output of query 1: C[1] = (0, 2 ln2), weights (1/5, 4/5), 3/5 + 24/5
    // = 5.4
    c.config.mask = MaskRule::exact;
    CHECK(second_row(c) == doctest::Approx(5.4).epsilon(1e-15));

    // Post kernel (3 1), padding left: E[1] = (1 * 1/3, 3 * 1/3 + 1 * 2/3) = (1/3, 5/3): 1 + 10 = 11, not
    // renormalised
    config.pre = {};
    config.post = {1, 2, KeyPadding::left, 0};
    c = two_tokens(config);
    c.params.post.conv->kernel.setValues({{{3, 1}}});
    CHECK(second_row(c) == doctest::Approx(11).epsilon(1e-15));

    // Norm with eps 0 on D = 1: O / |O| = 1, times weight 5, times 1 - lambda_init(0) = 0.8, gate sigmoid(0)
    // = 1/2: 2
    config.post = {};
    config.norm = RmsNormFactor::depth;
    config.gate = GateKind::scalar;
    config.eps = 0;
    c = two_tokens(config);
    c.params.norm->weight.setConstant(5);
    CHECK(second_row(c) == doctest::Approx(2).epsilon(1e-15));
}

TEST_CASE("multi_token_attention: hand values of head mixing") {
    // Heads 0 and 1 have logits (0, ln2). Row = output head: M_0 = L_0 + 2 L_1 = (0, 3 ln2), M_1 = L_1.
    MultiTokenAttentionConfig config;
    config.heads = 2;
    config.pre.mix_group = 2;
    auto c = two_tokens(config);
    c.params.pre.mix->mix.setValues({{{1, 2}, {0, 1}}});
    CHECK(second_row(c, 0) == doctest::Approx((3 + 8 * 6) / 9.0).epsilon(1e-15));  // weights (1/9, 8/9)
    CHECK(second_row(c, 1) == doctest::Approx(5).epsilon(1e-15));
}

TEST_CASE("multi_token_attention: independent values") {
    const std::filesystem::path folder =
        std::filesystem::path(MTA_TEST_DATA) / "layers/multi_token_attention";
    std::ifstream list(folder / "cases.txt");
    int cases = 0;
    for (std::string name; std::getline(list, name); ++cases) {
        CAPTURE(name);
        const auto config = oracle::read_config(folder / (name + ".json"));
        const auto in = io::read_safetensors(folder / (name + ".in.safetensors"));
        const auto want = io::read_safetensors(folder / (name + ".out.safetensors"));
        oracle::Notes notes;
        const auto got = oracle::evaluate(config, in, {io::DType::F64, /*trace=*/true}, notes);
        // Two float64 implementations with sums in different orders, |score| <= 30: 1e-12 of each tensor's
        // maximum.
        const auto files = oracle::compare_files(want, got, {.relative = 1e-12});
        for (const auto& t : files.tensors)
            CHECK_MESSAGE(t.comparison.verdict != check::Verdict::mismatch, t.comparison.sentence);
        CHECK(files.exit_code() == oracle::ExitCode::agrees);
        CHECK(files.extra.empty());
    }
    CHECK(cases >= 25);
}

TEST_CASE("multi_token_attention: complex step and adjoint") {
    const std::vector<AttentionCall> calls{
        {}, {.documents = Documents(std::vector<std::vector<Index>>{{0, 2}, {0, 3}}), .seed = 0, .step = 0}};
    for (const auto& config : varied_configs())
        for (const auto& call : calls) {
            CAPTURE(static_cast<int>(config.mask));
            const auto c = random_case(config, 2, 5, call);
            const auto g = c.backward();
            const auto out = [&](const auto& q, const auto& k, const auto& v, const auto& params) {
                return multi_token_attention_forward(q, k, v, params, config, call).out();
            };
            check_gradient("d_q", c.d_out, c.q, g.d_q, [&]<class X>(const X& q) {
                using S = ScalarOf<X>;
                return out(q, cast<S>(c.k), cast<S>(c.v), cast_params<S>(c.params));
            });
            check_gradient("d_k", c.d_out, c.k, g.d_k, [&]<class X>(const X& k) {
                using S = ScalarOf<X>;
                return out(cast<S>(c.q), k, cast<S>(c.v), cast_params<S>(c.params));
            });
            check_gradient("d_v", c.d_out, c.v, g.d_v, [&]<class X>(const X& v) {
                using S = ScalarOf<X>;
                return out(cast<S>(c.q), cast<S>(c.k), v, cast_params<S>(c.params));
            });
            check_parameter_gradients(c.d_out, c.params, g.d_params,
                                      [&]<class S>(const MultiTokenAttentionParams<S>& params) {
                                          return out(cast<S>(c.q), cast<S>(c.k), cast<S>(c.v), params);
                                      });
        }
}

TEST_CASE("multi_token_attention: complex step through dropout") {
    auto config = full_config();
    config.dropout = 0.4;
    AttentionCall call;
    call.seed = 7;
    call.training = true;
    const auto c = random_case(config, 1, 4, call);
    const auto trace = c.forward();
    CHECK(trace.dropout.has_value());
    const auto g = c.backward(trace);
    check_gradient("d_k", c.d_out, c.k, g.d_k, [&]<class X>(const X& k) {
        using S = ScalarOf<X>;
        return multi_token_attention_forward(cast<S>(c.q), k, cast<S>(c.v), cast_params<S>(c.params), config,
                                             call)
            .out();
    });
    auto quiet = c;
    quiet.call.training = false;
    CHECK_FALSE(quiet.forward().dropout.has_value());
}

TEST_CASE("multi_token_attention: float agrees with double") {
    for (const auto& config : varied_configs()) {
        if (config.normalise == Normalise::sparsemax)
            continue;  // its support may differ by an element near a tie
        const auto narrow = random_case<float>(config, 2, 6);
        auto wide = random_case<double>(config, 2, 6);
        wide.q = cast<double>(narrow.q);
        wide.k = cast<double>(narrow.k);
        wide.v = cast<double>(narrow.v);
        wide.d_out = cast<double>(narrow.d_out);
        wide.params = cast_params<double>(narrow.params);
        // About 30 roundings of 6e-8 on the longest path, amplified at most tenfold by norm and softmax:
        // 2e-5.
        check_agrees("out", narrow.forward().out(), wide.forward().out(), 2e-5);
        const auto g = narrow.backward();
        const auto exact = wide.backward();
        check_agrees("d_q", g.d_q, exact.d_q, 2e-4);
        check_agrees("d_k", g.d_k, exact.d_k, 2e-4);
        check_agrees("d_v", g.d_v, exact.d_v, 2e-4);
    }
}

TEST_CASE("multi_token_attention: edge shapes") {
    for (const auto& config : varied_configs()) {
        const auto nothing = random_case(config, 0, 3);
        CHECK(nothing.forward().out().size() == 0);
        const auto g = nothing.backward();
        MultiTokenAttentionParams<double>::for_each(
            [](std::string_view name, const auto& d, const auto& p) {
                CHECK_MESSAGE(d.dimensions() == p.dimensions(), name);
                for (const double x : elements(d))
                    CHECK(x == 0);
            },
            g.d_params, nothing.params);
        for (const Index S : {1, 2}) {  // shorter than every kernel
            const auto c = random_case(config, 1, S);
            const auto d = c.backward();
            check_agrees("d_v", d.d_v,
                         check::complex_step_gradient(c.d_out, c.v,
                                                      [&](const auto& v) {
                                                          using X = check::Complex;
                                                          return multi_token_attention_forward(
                                                                     cast<X>(c.q), cast<X>(c.k), v,
                                                                     cast_params<X>(c.params), config)
                                                              .out();
                                                      }),
                         1e-13);
        }
    }
}

TEST_CASE("multi_token_attention: errors") {
    const auto c = random_case(full_config(), 2, 5);
    const auto says = [](auto&& f, const char* sentence) { CHECK_THROWS_WITH_AS(f(), sentence, ShapeError); };
    says([&] { multi_token_attention_forward(c.q, c.q, c.v, c.params, c.config); },
         "multi_token_attention: k: got shape [2, 4, 5, 3], expected shape [2, 2, 5, 3]");
    says([&] { multi_token_attention_forward(c.q, c.k, c.q, c.params, c.config); },
         "multi_token_attention: v: got shape [2, 4, 5, 3], expected shape [2, 2, 5, 3]");
    says([&] { multi_token_attention_forward(c.k, c.k, c.v, c.params, c.config); },
         "multi_token_attention: q: got shape [2, 2, 5, 3], expected shape [2, 4, 5, 3]");
    auto params = c.params;
    params.pre.conv->kernel = random_tensor(1, 4, 3, 5);
    says([&] { multi_token_attention_forward(c.q, c.k, c.v, params, c.config); },
         "multi_token_attention: pre.kernel: got shape [4, 3, 5], expected shape [4, 3, 3]");
    params = c.params;
    params.gate.reset();
    says([&] { multi_token_attention_forward(c.q, c.k, c.v, params, c.config); },
         "multi_token_attention: gate.weight, gate.bias: got none, expected one, since the configuration has "
         "this stage");
    says([&] { multi_token_attention_backward(c.k, c.q, c.k, c.v, c.params, c.config, {}, c.forward()); },
         "multi_token_attention: d_out: got shape [2, 2, 5, 3], expected shape [2, 4, 5, 3]");
    says([&] { multi_token_attention_backward(c.d_out, c.q, c.k, c.v, c.params, c.config, {}, {}); },
         "multi_token_attention: trace: logits: got none, expected one, since the configuration has this "
         "stage");
    const auto none = zeros<double>(2, 4, 0, 3), no_keys = zeros<double>(2, 2, 0, 3);
    says([&] { multi_token_attention_forward(none, no_keys, no_keys, c.params, c.config); },
         "multi_token_attention: q: got a sequence length of 0, expected at least 1");
    AttentionCall call;
    call.documents = Documents(std::vector<Index>{0, 3, 2});
    CHECK_THROWS_WITH_AS(
        multi_token_attention_forward(c.q, c.k, c.v, c.params, c.config, call),
        "multi_token_attention: document starts: got [0, 3, 2], expected strictly increasing", ValueError);
}
}  // namespace mta_test_multi_token_attention
