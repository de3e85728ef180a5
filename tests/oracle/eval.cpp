// Tests of oracle/eval.hpp: what comes out under which name, and what goes in in which type.
// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "eval_support.hpp"

namespace mta_test_eval {
using namespace mta;
using namespace mta::oracle;
using namespace mta::test;

namespace {

using Names = std::vector<std::string>;

std::set<std::string> name_set(const SafetensorsFile& file) {
    const auto names = file.tensor_names();
    return {names.begin(), names.end()};
}

const std::set<std::string> outputs{"out"};
const std::set<std::string> gradients{"grad.q",           "grad.k",           "grad.v",
                                      "grad.pre.kernel",  "grad.pre.mix",     "grad.post.kernel",
                                      "grad.norm.weight", "grad.gate.weight", "grad.gate.bias"};
const std::set<std::string> stages{"stage.logits",    "stage.pre_conv", "stage.pre_mix", "stage.weights",
                                   "stage.post_conv", "stage.context",  "stage.norm",    "stage.gate"};

std::set<std::string> operator+(std::set<std::string> a, const std::set<std::string>& b) {
    a.insert(b.begin(), b.end());
    return a;
}

std::set<std::string> derivatives(const std::set<std::string>& of) {
    std::set<std::string> names;
    for (const auto& name : of)
        names.insert("stage.d_" + name.substr(6));
    return names;
}

}  // namespace

TEST_CASE("eval: hand values") {
    // scores 0 and ln 2 (q k = 1 * ln 2, D = 1): weights 1/3 and 2/3 of the values 3 and 6
    SafetensorsFile in;
    auto q = zeros<double>(1, 1, 2, 1);
    q.setConstant(1);
    auto k = zeros<double>(1, 1, 2, 1), v = zeros<double>(1, 1, 2, 1);
    k(0, 0, 1, 0) = std::log(2.0);
    v.setValues({{{{3}, {6}}}});
    in.tensors = {io::from_tensor("q", q, DType::F64), io::from_tensor("k", k, DType::F64),
                  io::from_tensor("v", v, DType::F64)};
    const auto out = evaluated(in, {}, R"({"heads": 1, "head_dim": 1})");
    CHECK(out.tensor_names() == Names{"out"});
    const auto got = io::to_tensor<double, 4>(out, "out");
    CHECK(got(0, 0, 0, 0) == 3);
    CHECK(got(0, 0, 1, 0) == doctest::Approx(5).epsilon(1e-15));
}

TEST_CASE("eval: independent values") {
    const auto stem = std::filesystem::path(MTA_TEST_DATA) / "layers/multi_token_attention/paper_batch_gqa";
    const auto in = io::read_safetensors(stem.native() + ".in.safetensors");
    const auto want = io::read_safetensors(stem.native() + ".out.safetensors");
    Notes notes;
    const auto got = evaluate(read_config(stem.native() + ".json"), in, {DType::F64, true}, notes);
    CHECK(name_set(got) == name_set(want));
    for (const auto& w : want.tensors) {
        CAPTURE(w.name);
        CHECK(got.at(w.name).shape == w.shape);
        auto flat_want = w, flat_got = got.at(w.name);
        flat_want.shape = flat_got.shape = {static_cast<std::int64_t>(w.bytes.size() / sizeof(double))};
        check_agrees(w.name, io::to_tensor<double, 1>(flat_got), io::to_tensor<double, 1>(flat_want), 1e-12);
    }
}

TEST_CASE("eval: what comes out under which name") {
    auto in = full_input();
    CHECK(name_set(evaluated(in)) == outputs + gradients);
    CHECK(name_set(evaluated(in, {DType::F64, true})) == outputs + gradients + stages + derivatives(stages));
    erase(in, "d_out");
    CHECK(name_set(evaluated(in)) == outputs);
    CHECK(name_set(evaluated(in, {DType::F64, true})) == outputs + stages);

    const auto traced = evaluated(full_input(), {DType::F64, true});
    for (const auto& name : gradients)
        if (name != "grad.q")
            CHECK_MESSAGE(traced.at(name).shape == full_input().at(name.substr(5)).shape, name);
    for (const auto& name : stages + derivatives(stages)) {
        const bool per_feature =
            name.ends_with("context") || name.ends_with("norm") || name.ends_with("gate");
        CHECK_MESSAGE(traced.at(name).shape == std::vector<std::int64_t>({2, 4, 7, per_feature ? 3 : 7}),
                      name);
    }
    CHECK(traced.at("stage.gate").bytes == traced.at("out").bytes);
    CHECK(traced.at("stage.d_gate").bytes == full_input().at("d_out").bytes);
}

TEST_CASE("eval: metadata") {
    for (const DType dtype : {DType::F64, DType::F32}) {
        const auto written = evaluated(full_input(), {dtype, true});
        const auto out = io::parse_safetensors(io::serialise_safetensors(written), "out");
        REQUIRE(out.metadata.has_value());
        CHECK(out.metadata->size() == 2 + out.tensors.size());
        CHECK(out.metadata_value("mta.config") == to_json(config_of(full_config_text)).dump());
        CHECK(out.metadata_value("mta.generator") ==
              std::string("mta ") + MTA_VERSION_STRING + " reference " + std::string(io::dtype_name(dtype)));
        for (const auto& t : out.tensors) {
            CHECK(t.dtype == dtype);
            CHECK_MESSAGE(out.metadata_value("sha256." + t.name) == sha256(t.bytes), t.name);
        }
    }
}

TEST_CASE("eval: the seed of the input is passed on") {
    auto in = full_input();
    CHECK_FALSE(evaluated(in, {DType::F64, false}).metadata_value("mta.seed").has_value());
    in.metadata = io::Metadata{{"mta.seed", "17"}};
    CHECK(evaluated(in, {DType::F64, false}).metadata_value("mta.seed") == "17");
}

TEST_CASE("eval: properties, the same bits again and with the inputs in another order") {
    auto in = full_input();
    const auto once = io::serialise_safetensors(evaluated(in, {DType::F64, true}));
    std::reverse(in.tensors.begin(), in.tensors.end());
    in.metadata = io::Metadata{{"somebody else's", "business"}, {"sha256.none", "such"}};
    CHECK(io::serialise_safetensors(evaluated(in, {DType::F64, true})) == once);
}

TEST_CASE("eval: properties, narrow inputs are widened exactly") {
    for (const DType dtype : {DType::F32, DType::F16, DType::BF16}) {
        const auto narrow = full_input(dtype);
        SafetensorsFile wide;
        for (const auto& t : narrow.tensors) {
            auto flat = t;
            flat.shape = {static_cast<std::int64_t>(t.bytes.size() / io::dtype_size(dtype))};
            wide.tensors.push_back(io::from_tensor(t.name, io::to_tensor<double, 1>(flat), DType::F64));
            wide.tensors.back().shape = t.shape;
        }
        const auto a = evaluated(narrow, {DType::F64, true}), b = evaluated(wide, {DType::F64, true});
        CHECK(a.tensors == b.tensors);
        CHECK_FALSE(a.at("out").bytes == evaluated(full_input()).at("out").bytes);
    }
    // Types may differ from tensor to tensor.
    auto mixed = full_input();
    tensor_of(mixed, "d_out") = full_input(DType::BF16).at("d_out");
    CHECK(evaluated(mixed).at("out").bytes == evaluated(full_input()).at("out").bytes);
    CHECK_FALSE(evaluated(mixed).at("grad.q").bytes == evaluated(full_input()).at("grad.q").bytes);
}

TEST_CASE("eval: properties, float32 computes in float32") {
    const auto wide = evaluated(full_input(DType::F32), {DType::F64, true});
    const auto narrow = evaluated(full_input(DType::F32), {DType::F32, true});
    CHECK(name_set(narrow) == name_set(wide));
    // About 30 roundings of 6e-8 on the longest path, amplified at most tenfold: 2e-5, and 2e-4 backward.
    const auto out = io::to_tensor<float, 4>(narrow, "out");
    check_agrees("out", out, io::to_tensor<double, 4>(wide, "out"), 2e-5);
    check_agrees("grad.k", io::to_tensor<float, 4>(narrow, "grad.k"),
                 io::to_tensor<double, 4>(wide, "grad.k"), 2e-4);
    // Were it computed in double and rounded at the end, every element would be the nearest float.
    const auto rounded = io::to_tensor<float, 4>(wide, "out", io::Narrowing::round);
    CHECK_FALSE(check::compare_bits("out", out, rounded));
    // F64 inputs are rounded to float first.
    const auto from_double = evaluated(full_input(), {DType::F32, true});
    CHECK(from_double.tensors == narrow.tensors);
}

TEST_CASE("eval: properties, documents equal separate runs") {
    auto in = full_input();
    std::string text = full_config_text;
    text.insert(1, "\"document_starts\": [[0, 3], [0]], ");
    const auto packed = io::to_tensor<double, 4>(evaluated(in, {}, text.c_str()), "out");
    const auto whole = io::to_tensor<double, 4>(evaluated(in), "out");
    const auto row = [](const Tensor<double, 4>& t, Index b, Index i) { return t(b, 3, i, 1); };
    for (Index i = 0; i < 7; ++i) {
        CHECK(row(packed, 1, i) == row(whole, 1, i));
        CHECK((row(packed, 0, i) == row(whole, 0, i)) == (i < 3));
    }
}

TEST_CASE("eval: edge shapes") {
    auto nothing = full_input();
    for (const char* name : {"q", "k", "v", "d_out"}) {
        tensor_of(nothing, name).shape[0] = 0;
        tensor_of(nothing, name).bytes.clear();
    }
    const auto out = evaluated(nothing, {DType::F64, true});
    CHECK(name_set(out) == outputs + gradients + stages + derivatives(stages));
    CHECK(out.at("out").shape == std::vector<std::int64_t>{0, 4, 7, 3});
    CHECK(io::to_tensor<double, 1>(out, "grad.norm.weight")(2) == 0);

    SafetensorsFile one;
    for (const auto& t : full_input().tensors)
        one.tensors.push_back(t.shape.size() == 4 ? random_stored(t.name, 9, {1, t.shape[1], 1, 3}) : t);
    CHECK(evaluated(one).at("out").shape == std::vector<std::int64_t>{1, 4, 1, 3});

    auto no_tokens = full_input();
    for (const char* name : {"q", "k", "v", "d_out"}) {
        tensor_of(no_tokens, name).shape[2] = 0;
        tensor_of(no_tokens, name).bytes.clear();
    }
    CHECK(refusal<ShapeError>(no_tokens) ==
          "multi_token_attention: q: got a sequence length of 0, expected at least 1");
}

TEST_CASE("eval: notes") {
    auto in = full_input();
    Notes notes;
    evaluate(config_of(R"({"heads": 4, "kv_heads": 2, "head_dim": 3, "norm": "rms",
                           "pre": {"query_kernel": 2, "key_kernel": 5}})"),
             in, {}, notes);
    REQUIRE(notes.size() == 4);
    CHECK(notes[0] == "input: tensor 'pre.mix' is not read: the configuration has no such stage");
    CHECK(notes[1] == "input: tensor 'post.kernel' is not read: the configuration has no such stage");
    CHECK(notes[2] == "input: tensor 'gate.weight' is not read: the configuration has no such stage");
    CHECK(notes[3] == "input: tensor 'gate.bias' is not read: the configuration has no such stage");
    // What is not read may have any shape and type.
    in.tensors.push_back({"post.mix", DType::I64, {1}, std::vector<std::byte>(8)});
    notes.clear();
    evaluate(config_of(full_config_text), in, {}, notes);
    CHECK(notes == Notes{"input: tensor 'post.mix' is not read: the configuration has no such stage"});
}
}  // namespace mta_test_eval
