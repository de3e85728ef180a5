// Problems: to a file and back, what the reference makes of them, and what is refused.
// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include "support/problem.hpp"

namespace mta_test_problem {
using namespace mta;
using namespace mta::oracle;

TEST_CASE("a problem written as float64 and read again is the same") {
    for (const auto& config : test::varied_configs()) {
        const Problem p = test::random_problem(config, 2, 7, {{0, 3}, {0}});
        Notes notes;
        const auto file = to_safetensors(p);
        const Problem again = problem_from_file("again", p.config, file, notes);
        CHECK(again.name == "again");
        CHECK(again.dtype == io::DType::F64);
        CHECK(notes.empty());
        std::size_t tensors = 0;
        for_each_input(
            [&](std::string_view, const auto& got, const auto& want) {
                CHECK(got.dimensions() == want.dimensions());
                CHECK(std::equal(got.data(), got.data() + got.size(), want.data()));
                ++tensors;
            },
            again, p);
        CHECK(tensors == file.tensors.size());
        CHECK(test::worst_difference(reference_results(again), reference_results(p)) == 0);
    }
}

TEST_CASE("a problem keeps the dtype in which a candidate receives it") {
    Problem p = test::random_problem(test::full_config(), 1, 4);
    p.dtype = io::DType::BF16;
    Notes notes;
    const auto file = to_safetensors(p);
    CHECK(file.find("pre.kernel")->dtype == io::DType::BF16);
    CHECK(problem_from_file("x", p.config, file, notes).dtype == io::DType::BF16);
}

TEST_CASE("reference_results: the layer's own trace and gradients under the contract's names") {
    const Problem p = test::random_problem(test::full_config(), 2, 5);
    const Results r = reference_results(p);
    const auto& config = p.config.attention;
    const auto trace = multi_token_attention_forward(p.q, p.k, p.v, p.params, config);
    const auto grads = multi_token_attention_backward(*p.d_out, p.q, p.k, p.v, p.params, config, {}, trace);
    const auto same = [&](std::string_view name, const auto& want) {
        CAPTURE(name);
        const auto& got = r.at(name);
        CHECK(got.values == std::vector<double>(want.data(), want.data() + want.size()));
    };
    same("out", trace.out());
    same("stage.post_conv", *trace.post_conv);
    same("stage.d_pre_mix", *grads.d_trace.pre_mix);
    same("grad.q", grads.d_q);
    same("grad.k", grads.d_k);
    same("grad.v", grads.d_v);
    same("grad.post.kernel", grads.d_params.post.conv->kernel);
    same("grad.gate.bias", grads.d_params.gate->bias);
    CHECK(r.tensors.size() == 9 + 1 + 9 + 3 + 7);

    Problem forward_only = p;
    forward_only.d_out.reset();
    CHECK(reference_results(forward_only).tensors.size() == 10);
    CHECK(reference_results(p, /*stages=*/false).tensors.size() == 1 + 3 + 7);
}

TEST_CASE("problems that cannot be are refused with a sentence") {
    const Problem p = test::random_problem(test::full_config(), 1, 4);
    Notes notes;
    auto file = to_safetensors(p);
    std::erase_if(file.tensors, [](const auto& t) { return t.name == "q"; });
    CHECK_THROWS_AS(problem_from_file("x", p.config, file, notes), io::FileError);
    CaseConfig other = p.config;
    other.attention.head_dim += 1;
    CHECK_THROWS_AS(problem_from_file("x", other, to_safetensors(p), notes), ShapeError);
    Problem wrong = p;
    wrong.d_out = zeros<double>(1, 4, 4, 4);
    CHECK_THROWS_WITH_AS(check_problem(wrong), "d_out: got shape [1, 4, 4, 4], expected shape [1, 4, 4, 3]",
                         ShapeError);
}

TEST_CASE("results_from_file: widened exactly; integers refused") {
    Results want;
    auto t = zeros<double>(2, 2);
    t(0, 1) = 0.5, t(1, 0) = -3;
    io::SafetensorsFile file;
    for (const auto dtype : {io::DType::F64, io::DType::F32, io::DType::BF16, io::DType::F16})
        file.tensors.push_back(io::from_tensor("t" + std::to_string(static_cast<int>(dtype)), t, dtype));
    const Results got = results_from_file(file);
    REQUIRE(got.tensors.size() == 4);
    for (const auto& tensor : got.tensors) {
        CHECK(tensor.shape == std::vector<Index>{2, 2});
        CHECK(tensor.values == std::vector<double>{0, 0.5, -3, 0});
    }
    file.tensors.front().dtype = io::DType::I64;
    CHECK_THROWS_WITH_AS(results_from_file(file),
                         "result: tensor 't0': got dtype I64, expected F64, F32, F16 or BF16", io::FileError);
}
}  // namespace mta_test_problem
