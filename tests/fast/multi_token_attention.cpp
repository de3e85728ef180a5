// The fast path against hand values, an independent implementation and the reference, over every option.
// SPDX-License-Identifier: MIT
//
// Its gradients are judged against the reference's, which complex step, adjoint and differences prove; Fast itself
// takes float and double only.
#include <filesystem>
#include <fstream>
#include <mta/oracle/backend_candidate.hpp>
#include <mta/oracle/case.hpp>
#include <mta/oracle/compare_files.hpp>
#include <mta/oracle/eval.hpp>
#include <mta/oracle/judge.hpp>

#include "fast_support.hpp"

namespace mta_test_fast_multi_token_attention {
using namespace mta;
using namespace mta::test;

static_assert(AttentionBackend<Fast, double> && AttentionBackend<Fast, float>);

TEST_CASE("fast: hand values") {
    // S = 2, D = 1, scale 1: logits (0 .) and (0 ln2), values 3 and 6; as in the tests of the layer.
    MultiTokenAttentionConfig config;
    config.scale = 1.0;
    const auto second_row = [&](auto&& set) {
        AttentionCase<double> c{
            config, {}, {}, {}, {}, {}, make_multi_token_attention_params<double>(config)};
        c.q = c.k = c.v = zeros<double>(1, 1, 2, 1);
        c.q.setConstant(1);
        c.k(0, 0, 1, 0) = std::log(2.0);
        c.v(0, 0, 0, 0) = 3;
        c.v(0, 0, 1, 0) = 6;
        set(c.params);
        return Fast{1}.forward(c.q, c.k, c.v, c.params, c.config, c.call).out(0, 0, 1, 0);
    };
    // softmax(0, ln2) = (1/3, 2/3): 1/3 * 3 + 2/3 * 6 = 5
    CHECK(second_row([](auto&) {}) == doctest::Approx(5).epsilon(1e-15));
    // Kernel (1; 1): Eq. 5 zeroes L[0,1], still 5; Eq. 4 keeps it: weights (1/5, 4/5), 5.4.
    config.pre = {2, 1, KeyPadding::both, 0};
    const auto ones = [](auto& params) { params.pre.conv->kernel.setConstant(1); };
    CHECK(second_row(ones) == doctest::Approx(5).epsilon(1e-15));
    config.mask = MaskRule::exact;
    CHECK(second_row(ones) == doctest::Approx(5.4).epsilon(1e-15));
    // Post kernel (3 1), padding left: (1/3, 5/3), not renormalised: 11.
    config.pre = {};
    config.post = {1, 2, KeyPadding::left, 0};
    CHECK(second_row([](auto& params) {
              params.post.conv->kernel.setValues({{{3, 1}}});
          }) == doctest::Approx(11).epsilon(1e-15));
}

TEST_CASE("fast: independent values") {
    const std::filesystem::path folder =
        std::filesystem::path(MTA_TEST_DATA) / "layers/multi_token_attention";
    std::ifstream list(folder / "cases.txt");
    int cases = 0;
    for (std::string name; std::getline(list, name); ++cases) {
        CAPTURE(name);
        const auto config = oracle::read_config(folder / (name + ".json"));
        const auto in = io::read_safetensors(folder / (name + ".in.safetensors"));
        auto want = io::read_safetensors(folder / (name + ".out.safetensors"));
        std::erase_if(want.tensors, [](const auto& t) { return t.name.starts_with("stage."); });
        oracle::Notes notes;
        const auto got = oracle::evaluate_with("fast", Fast{2}, config, in, {io::DType::F64, false}, notes);
        const auto files = oracle::compare_files(want, got, {.relative = 1e-12});
        for (const auto& t : files.tensors)
            CHECK_MESSAGE(t.comparison.verdict != check::Verdict::mismatch, t.comparison.sentence);
        CHECK(files.exit_code() == oracle::ExitCode::agrees);
    }
    CHECK(cases >= 25);
}

TEST_CASE("fast: agrees with the reference over every option") {
    std::vector<AttentionCall> calls(3);
    calls[1].documents = Documents(std::vector<std::vector<Index>>{{0, 2}, {0, 1, 9}});
    calls[2].documents = Documents(std::vector<Index>{0, 5, 6});
    calls[2].training = true;
    calls[2].seed = 11;
    for (auto config : varied_configs())
        for (const auto& call : calls)
            for (const auto rule : {MaskRule::twice, MaskRule::exact, MaskRule::none}) {
                config.mask = rule;
                config.dropout = call.training ? 0.3 : 0;
                CAPTURE(static_cast<int>(rule));
                check_agrees_with_reference(random_case(config, 2, 21, call), 2);
            }
}

TEST_CASE("fast: agrees with the reference however heads fill the lanes") {
    for (const auto& config : lane_configs())
        for (const Index B : {1, 3}) {
            CAPTURE(config.heads);
            CAPTURE(config.pre.mix_group);
            check_agrees_with_reference(random_case(config, B, 21), 2);
        }
}

TEST_CASE("fast: agrees with the reference at the edges of blocks and tiles") {
    // Blocks of 16 rows (32 from 512 on), tiles of 96 keys, 32 keys, 12 and 8.
    MultiTokenAttentionConfig config = full_config();
    config.norm.reset();  // over one token it leaves the stages before it gradients of rounding alone
    auto exact = config;
    exact.mask = MaskRule::exact;
    for (const Index S : {1, 2, 7, 8, 9, 12, 13, 15, 16, 17, 31, 32, 33, 64, 65, 95, 96, 97, 107}) {
        CAPTURE(S);
        check_agrees_with_reference(random_case(config, 1, S), 1);
        check_agrees_with_reference(random_case(exact, 1, S), 3);
    }
    for (const Index S : {17, 33, 98})
        check_agrees_with_reference(random_case(paper_config(), 1, S), 2);
}

TEST_CASE("fast: heads of more features than a product takes at a time") {
    MultiTokenAttentionConfig config;
    config.heads = 2;
    config.pre = {2, 3, KeyPadding::both, 2};
    for (const Index D : {48, 49, 96, 97, 130, 200}) {
        CAPTURE(D);
        config.head_dim = D;
        check_agrees_with_reference(random_case(config, 1, 19), 2);
    }
}

TEST_CASE("fast: kernels longer than blocks, sequences longer than 1024") {
    MultiTokenAttentionConfig config;
    config.heads = 2;
    config.head_dim = 2;
    config.pre = {20, 3, KeyPadding::both, 0};
    config.post = {18, 33, KeyPadding::left, 2};
    for (const Index S : {19, 70})
        check_agrees_with_reference(random_case(config, 1, S), 2);
    config.pre = {2, 3, KeyPadding::both, 2};
    config.post = {3, 2, KeyPadding::left, 0};
    check_agrees_with_reference(random_case(config, 1, 1060), 3);
}

TEST_CASE("fast: float is within the oracle's tolerance") {
    const auto candidate = oracle::backend_candidate<float>("fast", Fast{2});
    const auto fp32 = oracle::parse_rounding("fp32");
    for (const char* descriptor : {"paper-880m/B1_H16_S40_D8_cq6_ck11_g16 fill=normal seed=1 io=fp32",
                                   "paper-880m/B1_H16_S33_D8_cq6_ck11_g16 fill=large-negative seed=2 io=fp32",
                                   "paper-880m/B1_H16_S40_D8_cq6_ck11_g8 fill=normal seed=6 io=fp32",
                                   "paper-880m/B1_H12_S33_D8_cq6_ck11_g6 fill=normal seed=7 io=fp32",
                                   "paper-880m/B1_H12_S33_D8_cq6_ck11_g12 fill=normal seed=8 io=fp32",
                                   "mta-exact/B2_H6_S20_D8_cq3_ck5_g3 fill=asymmetric seed=3 io=fp32",
                                   "mta-sparsemax/B1_H2_S17_D4_cq2_ck3_g2 fill=normal seed=5 io=fp32"}) {
        CAPTURE(descriptor);
        const auto problem = oracle::make_problem(oracle::parse_case(descriptor));
        const auto answer = candidate.answer(problem);
        const auto verdict = oracle::judge(problem, answer.results, oracle::expect(problem, fp32));
        CHECK(verdict.agrees());
    }
}

TEST_CASE("fast: an empty batch") {
    for (const auto& config : varied_configs()) {
        const auto c = random_case(config, 0, 3);
        const auto got = run_fast(c);
        CHECK(got.out.size() == 0);
        MultiTokenAttentionParams<double>::for_each(
            [](std::string_view, const auto& d) {
                for (const double x : elements(d))
                    CHECK(x == 0);
            },
            got.grads.d_params);
    }
}

TEST_CASE("fast: errors") {
    const auto c = random_case(full_config(), 2, 5);
    const auto says = [](auto&& f, const char* sentence) { CHECK_THROWS_WITH_AS(f(), sentence, ShapeError); };
    const Fast fast{1};
    says([&] { fast.forward(c.q, c.q, c.v, c.params, c.config, c.call); },
         "multi_token_attention: k: got shape [2, 4, 5, 3], expected shape [2, 2, 5, 3]");
    auto result = fast.forward(c.q, c.k, c.v, c.params, c.config, c.call);
    says([&] { fast.backward(c.k, c.q, c.k, c.v, c.params, c.config, c.call, result.saved); },
         "Fast: d_out: got shape [2, 2, 5, 3], expected shape [2, 4, 5, 3]");
    auto saved = result.saved;
    saved.context.reset();
    says([&] { fast.backward(c.d_out, c.q, c.k, c.v, c.params, c.config, c.call, saved); },
         "Fast: saved.context: got none, expected one, as forward returns for this configuration");
    saved = Fast::make_saved<double>({2, 4}, c.config);
    says([&] { fast.backward(c.d_out, c.q, c.k, c.v, c.params, c.config, c.call, saved); },
         "Fast: saved.maximum: got shape [2, 4, 4], expected shape [2, 4, 5]");
    std::vector<std::byte> small(10);
    CHECK_THROWS_AS(
        fast.forward_into(c.q, c.k, c.v, c.params, c.config, c.call, result.out, result.saved, small),
        ShapeError);
}
}  // namespace mta_test_fast_multi_token_attention
