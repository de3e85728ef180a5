// Tests of oracle/eval.hpp, continued: every input that is refused, and the sentence that says so.
// SPDX-License-Identifier: MIT
#include <string>
#include <vector>

#include "eval_support.hpp"

namespace mta_test_eval_errors {
using namespace mta;
using namespace mta::oracle;
using namespace mta::test;
using mta::detail::sentence;

TEST_CASE("eval: errors, names") {
    for (const auto& t : full_input().tensors) {
        CAPTURE(t.name);
        auto in = full_input();
        erase(in, t.name);
        if (t.name == "d_out") continue;  // optional
        const std::string said = refusal<io::FileError>(in);
        CHECK(said.starts_with("input: tensor '" + t.name +
                               "': got none of this name, expected one of shape ["));
        auto misnamed = full_input();
        tensor_of(misnamed, t.name).name = t.name + "s";
        CHECK(refusal<io::FileError>(misnamed) ==
              "input: unknown tensor '" + t.name + "s', the nearest known is '" + t.name + "'");
    }
    auto in = full_input();
    erase(in, "pre.kernel");
    CHECK(refusal<io::FileError>(in) ==
          "input: tensor 'pre.kernel': got none of this name, expected one of "
          "shape [4, 2, 5]; the nearest name there is 'post.kernel'");
    in = full_input();
    tensor_of(in, "d_out").name = "grad.out";
    CHECK(refusal<io::FileError>(in).starts_with("input: unknown tensor 'grad.out', the nearest known is "));
    CHECK(refusal<io::FileError>({}) ==
          "input: tensor 'q': got none of this name, expected one of shape [B, H, S, D]");
}

TEST_CASE("eval: errors, shapes") {
    for (const auto& t : full_input().tensors)
        for (std::size_t axis = 0; axis < t.shape.size(); ++axis) {
            CAPTURE(t.name);
            CAPTURE(axis);
            const bool free = t.name == "q" && axis != 1 && axis != 3;  // q says what B and S are
            auto in = full_input();
            auto shape = t.shape;
            ++shape[axis];
            tensor_of(in, t.name) = random_stored(t.name, 1, shape);
            if (free)
                CHECK(refusal<ShapeError>(in).starts_with("input: tensor 'k': got shape "));
            else
                CHECK(refusal<ShapeError>(in) == sentence("input: tensor '", t.name, "': got shape ", shape,
                                                          ", expected shape ", t.shape));
        }
    for (const auto& t : full_input().tensors) {
        auto in = full_input();
        auto shape = t.shape;
        shape.insert(shape.begin(), 1);
        tensor_of(in, t.name).shape = shape;
        const std::string expected =
            t.name == "q" ? "4 dimensions [B, H, S, D]" : sentence("shape ", t.shape);
        CHECK(refusal<ShapeError>(in) ==
              sentence("input: tensor '", t.name, "': got shape ", shape, ", expected ", expected));
    }
    // A kernel of 2^80 elements is a wrong shape, not an allocation.
    const char* huge = R"({"heads": 4, "kv_heads": 2, "head_dim": 3, "norm": "rms", "gate": "scalar",
        "pre": {"query_kernel": 1099511627776, "key_kernel": 1099511627775, "mix_group": 2},
        "post": {"query_kernel": 3, "key_kernel": 1}})";
    CHECK(
        refusal<ShapeError>(full_input(), huge) ==
        "input: tensor 'pre.kernel': got shape [4, 2, 5], expected shape [4, 1099511627776, 1099511627775]");
}

TEST_CASE("eval: errors, types") {
    for (const auto& t : full_input().tensors)
        for (const DType dtype : {DType::I64, DType::I32, DType::U8, DType::BOOL}) {
            auto in = full_input();
            auto& changed = tensor_of(in, t.name);
            changed.dtype = dtype;
            changed.bytes.resize(t.bytes.size() / 8 * io::dtype_size(dtype));
            CHECK(refusal<io::FileError>(in) == sentence("input: tensor '", t.name, "': got dtype ",
                                                         io::dtype_name(dtype),
                                                         ", expected F64, F32, F16 or BF16"));
        }
    Notes notes;
    CHECK_THROWS_WITH_AS(evaluate(config_of(full_config_text), full_input(), {DType::F16}, notes),
                         "evaluate: dtype: got F16, expected F64 or F32", ValueError);
}

TEST_CASE("eval: errors, documents") {
    std::string text = full_config_text;
    text.insert(1, "\"document_starts\": [[0, 3], [0], [0]], ");
    CHECK(refusal<ShapeError>(full_input(), text.c_str()) ==
          "multi_token_attention: document starts: got 3 lists, expected 1 or one per batch row, 2");
    text = full_config_text;
    text.insert(1, "\"document_starts\": [0, 5, 3], ");
    CHECK(refusal<ValueError>(full_input(), text.c_str()) ==
          "multi_token_attention: document starts: got [0, 5, 3], expected strictly increasing");
    text = full_config_text;
    text.insert(1, "\"document_starts\": [0, 7], ");
    CHECK(refusal<ValueError>(full_input(), text.c_str()) ==
          "multi_token_attention: document starts: got [0, 7], expected all below the sequence length 7");
}

TEST_CASE("eval: errors, damaged tensors") {
    auto in = full_input();
    in.metadata.emplace();
    for (const auto& t : in.tensors)
        in.metadata->emplace_back("sha256." + t.name, sha256(t.bytes));
    CHECK(evaluated(in).tensors == evaluated(full_input()).tensors);
    for (std::size_t n = 0; n < in.tensors.size(); ++n) {
        auto damaged = in;
        damaged.tensors[n].bytes.back() ^= std::byte{1};
        const auto& t = damaged.tensors[n];
        CHECK(refusal<io::FileError>(damaged) ==
              sentence("input: tensor '", t.name, "': got SHA-256 ", sha256(t.bytes), ", expected '",
                       sha256(in.tensors[n].bytes), "' as its metadata says"));
    }
    for (const char* wrong : {"", "0", "not a digest"}) {
        auto damaged = in;
        damaged.metadata->at(0).second = wrong;
        CHECK(refusal<io::FileError>(damaged).ends_with(
            sentence("expected '", wrong, "' as its metadata says")));
    }
}

TEST_CASE("eval: errors, a case that does not fit into memory") {
    // Shapes without elements: the estimate comes before the first element is read.
    const auto claimed = [](std::int64_t S, bool d_out) {
        SafetensorsFile in;
        for (const char* name : {"q", "k", "v", "d_out"})
            if (d_out || std::string(name) != "d_out")
                in.tensors.push_back({name, DType::F64, {1, 1, S, 1}, {}});
        return in;
    };
    const char* plain = R"({"heads": 1, "head_dim": 1})";
    // 2^22 tokens: 2^44 scores of 8 bytes are 131072 GiB; logits, weights and 3 temporaries are 5 of them,
    // with gradients 7. The terms in q's own size are 16 * 2^22 * 8 bytes = half a GiB, rounded up.
    const std::string too_large = refusal<UnsupportedError>(claimed(1 << 22, false), plain);
    CHECK(too_large.starts_with(
        "eval: the reference needs about 655361 GiB for q of shape [1, 1, 4194304, 1] and 5 "
        "score matrices, expected at most the "));
    CHECK(too_large.ends_with(" GiB of this machine"));
    CHECK(refusal<UnsupportedError>(claimed(1 << 22, true), plain)
              .starts_with("eval: the reference needs about 917505 GiB "));
    // full_config_text has 5 stages of that size: 5 * 2 * 2 + 3 = 23 with their gradients and --trace.
    Notes notes;
    auto in = full_input();
    for (const char* name : {"q", "k", "v", "d_out"}) {
        tensor_of(in, name).shape[2] = 1 << 22;
        tensor_of(in, name).bytes.clear();
    }
    CHECK_THROWS_WITH_AS(evaluate(config_of(full_config_text), in, {DType::F32, true}, notes),
                         doctest::Contains(" and 23 score matrices, "), UnsupportedError);
    CHECK_THROWS_WITH_AS(evaluate(config_of(plain), claimed(1 << 22, false), {DType::F32}, notes),
                         doctest::Contains("about 327681 GiB"), UnsupportedError);
    in = claimed(1, false);
    for (auto& t : in.tensors)
        t.shape = {1, 1, 1, std::int64_t{1} << 40};
    CHECK(refusal<UnsupportedError>(in, R"({"heads": 1, "head_dim": 1099511627776})")
              .starts_with("eval: the reference"));
}
}  // namespace mta_test_eval_errors
