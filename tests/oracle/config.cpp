// Tests of oracle/config.hpp: every key, every default, every way of getting them wrong.
// SPDX-License-Identifier: MIT
#include <cmath>
#include <filesystem>
#include <mta/oracle/config.hpp>
#include <string>
#include <vector>

#include "support/checks.hpp"

namespace mta_test_config {
using namespace mta;
using namespace mta::oracle;

namespace {

CaseConfig parsed(const std::string& text) {
    return parse_config(io::parse_json(text, "c.json"), "c.json");
}

/// {"heads": 4, "head_dim": 6, <more>}
CaseConfig with(const std::string& more) {
    return parsed(R"({"heads": 4, "head_dim": 6, )" + more + "}");
}

/// What the refusal of {"heads": 4, "head_dim": 6, <more>} says; "accepted" when there is none.
template <class Error = ConfigError>
std::string refusal(const std::string& more) {
    try {
        with(more);
    } catch (const Error& error) {
        return error.what();
    }
    return "accepted";
}

}  // namespace

TEST_CASE("config: hand values, the contract's example") {
    const auto config = parsed(R"(
{"heads": 8, "kv_heads": 4, "head_dim": 96, "scale": 0.25, "normalise": "sparsemax", "mask": "exact",
 "pre":  {"query_kernel": 6, "key_kernel": 10, "key_padding": "left", "mix_group": 8},
 "post": {"query_kernel": 3, "key_kernel": 4, "key_padding": "right", "mix_group": 2},
 "norm": "rms_depth", "gate": "vector", "eps": 1e-6, "layer_index": 17, "document_starts": [[0, 3], [0]]})");
    const auto& c = config.attention;
    CHECK(c.heads == 8);
    CHECK(c.kv_heads == Index{4});
    CHECK(c.head_dim == 96);
    CHECK(c.scale == 0.25);
    CHECK(c.normalise == Normalise::sparsemax);
    CHECK(c.mask == MaskRule::exact);
    CHECK(c.pre.query_kernel == 6);
    CHECK(c.pre.key_kernel == 10);
    CHECK(c.pre.key_padding == KeyPadding::left);
    CHECK(c.pre.mix_group == 8);
    CHECK(c.post.query_kernel == 3);
    CHECK(c.post.key_kernel == 4);
    CHECK(c.post.key_padding == KeyPadding::right);
    CHECK(c.post.mix_group == 2);
    CHECK(c.norm == RmsNormFactor::depth);
    CHECK(c.gate == GateKind::vector);
    CHECK(c.eps == 1e-6);
    CHECK(c.layer_index == 17);
    CHECK(config.document_starts == std::vector<std::vector<Index>>{{0, 3}, {0}});
    const AttentionCall call = config.call();
    CHECK(call.documents.around(0, 2, 5) == KeyRange{0, 3});
    CHECK(call.documents.around(1, 2, 5) == KeyRange{0, 5});
    CHECK_FALSE(call.training);
}

TEST_CASE("config: hand values, the defaults") {
    const auto config = parsed(R"({"heads": 4, "head_dim": 6})");
    const auto& c = config.attention;
    CHECK(c.key_value_heads() == 4);
    CHECK_FALSE(c.scale.has_value());
    CHECK(c.normalise == Normalise::softmax);
    CHECK(c.mask == MaskRule::twice);
    for (const auto& side : {c.pre, c.post}) {
        CHECK_FALSE(side.has_conv());
        CHECK_FALSE(side.has_mix());
        CHECK(side.key_padding == KeyPadding::both);
    }
    CHECK_FALSE(c.norm.has_value());
    CHECK_FALSE(c.gate.has_value());
    CHECK(c.eps == 1e-5);
    CHECK(c.layer_index == 0);
    CHECK(c.dropout == 0);
    CHECK(config.document_starts == std::vector<std::vector<Index>>{{0}});
    CHECK(with(R"("pre": {"query_kernel": 1, "key_kernel": 3})").attention.pre.key_padding ==
          KeyPadding::both);
}

TEST_CASE("config: hand values, every name of every choice") {
    CHECK(with(R"("normalise": "softmax")").attention.normalise == Normalise::softmax);
    CHECK(with(R"("normalise": "sparsemax")").attention.normalise == Normalise::sparsemax);
    CHECK(with(R"("mask": "twice")").attention.mask == MaskRule::twice);
    CHECK(with(R"("mask": "exact")").attention.mask == MaskRule::exact);
    CHECK(with(R"("mask": "none")").attention.mask == MaskRule::none);
    CHECK_FALSE(with(R"("norm": "none")").attention.norm.has_value());
    CHECK(with(R"("norm": "rms")").attention.norm == RmsNormFactor::one);
    CHECK(with(R"("norm": "rms_depth")").attention.norm == RmsNormFactor::depth);
    CHECK(with(R"("norm": "rms_layer")").attention.norm == RmsNormFactor::layer);
    CHECK_FALSE(with(R"("gate": "none")").attention.gate.has_value());
    CHECK(with(R"("gate": "scalar")").attention.gate == GateKind::scalar);
    CHECK(with(R"("gate": "vector")").attention.gate == GateKind::vector);
    const auto padding = [](const std::string& name) {
        return with(R"("post": {"query_kernel": 2, "key_kernel": 3, "key_padding": ")" + name + "\"}")
            .attention.post.key_padding;
    };
    CHECK(padding("both") == KeyPadding::both);
    CHECK(padding("left") == KeyPadding::left);
    CHECK(padding("right") == KeyPadding::right);
}

TEST_CASE("config: hand values, documents in both forms") {
    using Starts = std::vector<std::vector<Index>>;
    CHECK(with(R"("document_starts": [0])").document_starts == Starts{{0}});
    CHECK(with(R"("document_starts": [0, 2, 9])").document_starts == Starts{{0, 2, 9}});
    CHECK(with(R"("document_starts": [[0, 2], [0, 1, 7]])").document_starts == Starts{{0, 2}, {0, 1, 7}});
    CHECK(with(R"("document_starts": [[0, 2]])").document_starts == Starts{{0, 2}});
}

TEST_CASE("config: edge values") {
    CHECK(with(R"("scale": -2)").attention.scale == -2.0);  // an integer is a number
    CHECK(with(R"("scale": 0)").attention.scale == 0.0);
    CHECK(with(R"("eps": 0)").attention.eps == 0);
    CHECK(with(R"("layer_index": 1099511627776)").attention.layer_index == Index{1} << 40);
    CHECK_FALSE(with(R"("pre": {})").attention.pre.has_conv());
    CHECK(with(R"("pre": {"mix_group": 1})").attention.pre.has_mix());
    CHECK(with(R"("pre": {"query_kernel": 6, "key_kernel": 2, "key_padding": "right"})")
              .attention.pre.key_kernel == 2);
}

TEST_CASE("config: properties, to_json says it all and nothing else") {
    const std::string full = R"({"heads":8,"kv_heads":4,"head_dim":96,"scale":0.1,"normalise":"sparsemax",)"
                             R"("mask":"none","pre":{"query_kernel":6,"key_kernel":10,"key_padding":"left",)"
                             R"("mix_group":8},"post":{"mix_group":2},"norm":"rms_layer","gate":"scalar",)"
                             R"("eps":1e-06,"layer_index":17,"document_starts":[[0,3],[0]]})";
    CHECK(to_json(parsed(full)).dump() == full);
    const std::string least =
        R"({"heads":4,"kv_heads":4,"head_dim":6,"normalise":"softmax","mask":"twice",)"
        R"("norm":"none","gate":"none","eps":1e-05,"layer_index":0,"document_starts":[0]})";
    CHECK(to_json(parsed(R"({"heads": 4, "head_dim": 6})")).dump() == least);
    CHECK(to_json(parsed(least)).dump() == least);
    // 1/3 and the smallest double come back with the same bits.
    for (const double scale : {1.0 / 3, 5e-324, 1.7976931348623157e308}) {
        auto config = parsed(least);
        config.attention.scale = scale;
        CHECK(parse_config(to_json(config), "again").attention.scale == scale);
    }
}

TEST_CASE("config: properties, the committed cases come back unchanged") {
    int cases = 0;
    const auto folder = std::filesystem::path(MTA_TEST_DATA) / "layers/multi_token_attention";
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
        if (entry.path().extension() != ".json") continue;
        CAPTURE(entry.path().native());
        const auto once = to_json(read_config(entry.path()));
        CHECK(to_json(parse_config(once, "again")) == once);
        // Every key of the file means what it meant.
        const auto file = io::read_json(entry.path());
        for (const auto& [key, value] : file.items())
            if (!value.is_object()) CHECK(once.at(key) == value);
        ++cases;
    }
    CHECK(cases >= 25);
}

TEST_CASE("config: errors, keys") {
    const auto says = [](const std::string& text, const char* sentence) {
        CHECK_THROWS_WITH_AS(parsed(text), sentence, ConfigError);
    };
    says("[]", "c.json: got [], expected an object");
    says("\"heads\"", "c.json: got \"heads\", expected an object");
    says("{}", "c.json: heads: got none, expected an integer");
    says(R"({"heads": 4})", "c.json: head_dim: got none, expected an integer");
    says(R"({"head_dim": 4})", "c.json: heads: got none, expected an integer");
    says(R"({"head": 4, "head_dim": 4})", "c.json: unknown key 'head', the nearest known is 'heads'");
    CHECK(refusal(R"("maks": "twice")") == "c.json: unknown key 'maks', the nearest known is 'mask'");
    CHECK(refusal(R"("gates": "scalar")") == "c.json: unknown key 'gates', the nearest known is 'gate'");
    CHECK(refusal(R"("document_start": [0])") ==
          "c.json: unknown key 'document_start', the nearest known is 'document_starts'");
    CHECK(refusal(R"("Heads": 4)") == "c.json: unknown key 'Heads', the nearest known is 'heads'");
    CHECK(refusal(R"("dropout": 0.1)").starts_with("c.json: unknown key 'dropout', "));
    CHECK(refusal(R"("pre": {"query_kernels": 3})") ==
          "c.json: pre: unknown key 'query_kernels', the nearest known is 'query_kernel'");
    CHECK(refusal(R"("post": {"heads": 3})").starts_with("c.json: post: unknown key 'heads', "));
    for (const std::string key : {"pre", "post"}) {
        const std::string half = "c.json: " + key + ": got query_kernel ";
        CHECK(refusal("\"" + key + R"(": {"query_kernel": 3})") ==
              half + "3 and key_kernel 0, expected both or neither");
        CHECK(refusal("\"" + key + R"(": {"key_kernel": 5, "mix_group": 2})") ==
              half + "0 and key_kernel 5, expected both or neither");
    }
}

TEST_CASE("config: errors, kinds of values") {
    const char* not_integers[] = {"8.0", "1e0", "true", "\"8\"", "null", "[8]", "{}"};
    for (const std::string value : not_integers) {
        const std::string expected =
            ": got " + io::parse_json(value, "value").dump() + ", expected an integer";
        for (const std::string key : {"heads", "head_dim"})
            CHECK_THROWS_WITH_AS(parsed("{\"" + key + "\": " + value + "}"),
                                 ("c.json: " + key + expected).c_str(), ConfigError);
        for (const std::string key : {"kv_heads", "layer_index"})
            CHECK(refusal("\"" + key + "\": " + value) == "c.json: " + key + expected);
        for (const std::string key : {"query_kernel", "key_kernel", "mix_group"})
            CHECK(refusal("\"pre\": {\"" + key + "\": " + value + "}") == "c.json: pre: " + key + expected);
    }
    for (const std::string value : {"\"1\"", "null", "false", "[1]", "{}"})
        for (const std::string key : {"scale", "eps"})
            CHECK(refusal("\"" + key + "\": " + value) ==
                  "c.json: " + key + ": got " + value + ", expected a number");
    for (const std::string key : {"pre", "post"})
        CHECK(refusal("\"" + key + "\": 3") == "c.json: " + key + ": got 3, expected an object");
}

TEST_CASE("config: errors, integers beyond every use") {
    for (const std::string value : {"1099511627777", "-1099511627777", "9223372036854775807",
                                    "-9223372036854775808", "9223372036854775808", "18446744073709551615"})
        CHECK(refusal("\"layer_index\": " + value) ==
              "c.json: layer_index: got " + value + ", expected an integer from -2^40 to 2^40");
    CHECK(refusal("\"layer_index\": 18446744073709551616") ==
          "c.json: layer_index: got 1.8446744073709552e+19, expected an integer");
    for (const std::string key : {"query_kernel", "key_kernel", "mix_group"})
        for (const std::string value : {"0", "-1"})
            CHECK(refusal("\"post\": {\"" + key + "\": " + value + "}") ==
                  "c.json: post: " + key + ": got " + value + ", expected at least 1");
}

TEST_CASE("config: errors, choices") {
    CHECK(refusal(R"("normalise": "Softmax")") ==
          "c.json: normalise: got \"Softmax\", expected one of softmax, sparsemax");
    CHECK(refusal(R"("mask": "twise")") == "c.json: mask: got \"twise\", expected one of twice, exact, none");
    CHECK(refusal(R"("mask": null)") == "c.json: mask: got null, expected one of twice, exact, none");
    CHECK(refusal(R"("norm": 1)") == "c.json: norm: got 1, expected one of none, rms, rms_depth, rms_layer");
    CHECK(refusal(R"("gate": true)") == "c.json: gate: got true, expected one of none, scalar, vector");
    CHECK(refusal(R"("pre": {"key_padding": "centre"})") ==
          "c.json: pre: key_padding: got \"centre\", expected one of both, left, right");
    // A hostile value is cut, and shown in ASCII.
    const std::string sentence = refusal("\"mask\": \"\xc3\xa9\x7f" + std::string(500, 'x') + "\"");
    CHECK(sentence.starts_with("c.json: mask: got \"\\u00e9\\u007fxxx"));
    CHECK(sentence.size() < 130);
}

TEST_CASE("config: errors, documents") {
    const std::string list = "c.json: document_starts: got ";
    CHECK(refusal(R"("document_starts": [])") == list + "[], expected a list that begins with 0");
    CHECK(refusal(R"("document_starts": 0)") == list + "0, expected a list that begins with 0");
    CHECK(refusal(R"("document_starts": {"0": 0})") ==
          list + "{\"0\":0}, expected a list that begins with 0");
    CHECK(refusal(R"("document_starts": [0, "4"])") == list + "\"4\", expected an integer");
    CHECK(refusal(R"("document_starts": [0, 2.5])") == list + "2.5, expected an integer");
    CHECK(refusal(R"("document_starts": [0, [4]])") == list + "[4], expected an integer");
    CHECK(refusal(R"("document_starts": [[0], 4])") == list + "4, expected a list of starts");
    CHECK(refusal(R"("document_starts": [[0, null]])") == list + "null, expected an integer");
}

TEST_CASE("config: errors, values that cannot work") {
    CHECK_THROWS_WITH_AS(parsed(R"({"heads": 0, "head_dim": 4})"),
                         "multi_token_attention: heads: got 0, expected at least 1", ShapeError);
    CHECK_THROWS_WITH_AS(parsed(R"({"heads": 4, "head_dim": -4})"),
                         "multi_token_attention: head_dim: got -4, expected at least 1", ShapeError);
    CHECK(refusal<ShapeError>(R"("kv_heads": 3)") ==
          "multi_token_attention: kv_heads: got 3, expected a divisor of the 4 heads");
    CHECK(refusal<ShapeError>(R"("kv_heads": 0)") ==
          "multi_token_attention: kv_heads: got 0, expected a divisor of the 4 heads");
    CHECK(refusal<ShapeError>(R"("pre": {"mix_group": 3})") ==
          "multi_token_attention: pre.mix_group: got 3, expected a divisor of the 4 heads");
    CHECK(refusal<ShapeError>(R"("post": {"query_kernel": 2, "key_kernel": 4})") ==
          "multi_token_attention: post.key_kernel: got 4, expected an odd extent with key padding `both`");
    CHECK(refusal<ValueError>(R"("eps": -1e-5)") ==
          "multi_token_attention: eps: got -1e-05, expected a number >= 0");
    CHECK(refusal<ValueError>(R"("layer_index": -1)") ==
          "multi_token_attention: layer_index: got -1, expected at least 0");
    // Not reachable by text, since JSON has no NaN; a document built in memory may hold one.
    const Json not_a_number{{"heads", 1}, {"head_dim", 1}, {"scale", std::nan("")}};
    CHECK_THROWS_WITH_AS(parse_config(not_a_number, "memory"),
                         "multi_token_attention: scale: got nan, expected a finite number", ValueError);
    CHECK_THROWS_AS(read_config("no such file.json"), io::FileError);
}
}  // namespace mta_test_config
