// Tests of oracle/case.hpp: descriptors, both ways, and the problems that they make.
// SPDX-License-Identifier: MIT
#include <mta/oracle/case.hpp>

#include "support/checks.hpp"

namespace mta_test_case {
using namespace mta;
using namespace mta::oracle;

namespace {

std::string rewritten(std::string_view descriptor) {
    return describe(parse_case(descriptor));
}

template <class Error = ConfigError>
std::string refusal(std::string_view descriptor) {
    try {
        parse_case(descriptor);
    } catch (const Error& error) {
        return error.what();
    }
    return "accepted";
}

// One of `from` by chance.
template <class T>
T one_of(Random& random, std::initializer_list<T> from) {
    return *(from.begin() + random.below(static_cast<std::uint32_t>(from.size())));
}

ScoreMixingConfig random_side(Random& random, Index heads) {
    ScoreMixingConfig side;
    if (random.below(3) != 0) {
        side.query_kernel = 1 + random.below(4);
        side.key_padding = one_of(random, {KeyPadding::both, KeyPadding::left, KeyPadding::right});
        side.key_kernel =
            1 + 2 * random.below(3) + (side.key_padding == KeyPadding::both ? 0 : random.below(2));
    }
    if (random.below(3) != 0) side.mix_group = one_of<Index>(random, {1, 2, heads});
    return side;
}

Case random_case(Random& random) {
    Case c = default_case(profiles()[random.below(static_cast<std::uint32_t>(profiles().size()))]);
    auto& a = c.config.attention;
    a.heads = one_of<Index>(random, {2, 4, 6});
    a.kv_heads.reset();
    if (random.below(2) != 0) a.kv_heads = one_of<Index>(random, {1, 2});
    a.head_dim = 1 + random.below(9);
    a.scale.reset();
    if (random.below(4) == 0) a.scale = random.normal();
    a.normalise = one_of(random, {Normalise::softmax, Normalise::sparsemax});
    a.mask = one_of(random, {MaskRule::twice, MaskRule::exact, MaskRule::none});
    a.pre = random_side(random, a.heads);
    a.post = random_side(random, a.heads);
    a.norm = one_of<std::optional<RmsNormFactor>>(random,
                                                  {std::nullopt, RmsNormFactor::one, RmsNormFactor::depth});
    a.gate = one_of<std::optional<GateKind>>(random, {std::nullopt, GateKind::scalar, GateKind::vector});
    a.eps = one_of(random, {1e-5, 0.0, random.uniform()});
    a.layer_index = random.below(3);
    c.batch = 1 + random.below(3);
    c.sequence = 6 + random.below(9);
    if (random.below(3) == 0) c.config.document_starts = {{0, 3, 5}};
    if (random.below(4) == 0) c.config.document_starts.assign(static_cast<std::size_t>(c.batch), {0, 2});
    c.fill = fills[random.below(fills.size())].name;
    c.seed = one_of<std::uint64_t>(random, {0, 5, ~std::uint64_t{0}});
    c.dtype = one_of(random, {io::DType::F64, io::DType::F32, io::DType::BF16, io::DType::F16});
    return c;
}

}  // namespace

TEST_CASE("case: hand values, the example of the design") {
    const auto c = parse_case(
        "paper-880m/B2_H4_kv2_S33_D8_cq6_ck11_g2 fill=offset seed=5 io=bf16 norm=rms_depth "
        "pre.key_padding=left "
        "document_starts=0,5,9");
    const auto& a = c.config.attention;
    CHECK(c.profile == "paper-880m");
    CHECK(c.batch == 2);
    CHECK(c.sequence == 33);
    CHECK(a.heads == 4);
    CHECK(a.key_value_heads() == 2);
    CHECK(a.head_dim == 8);
    CHECK(a.pre.query_kernel == 6);
    CHECK(a.post.key_kernel == 11);
    CHECK(a.pre.mix_group == 2);
    CHECK(a.post.mix_group == 2);
    CHECK(a.pre.key_padding == KeyPadding::left);
    CHECK(a.post.key_padding == KeyPadding::both);
    CHECK(a.norm == RmsNormFactor::depth);
    CHECK(a.gate == GateKind::scalar);  // the profile's
    CHECK(c.fill == "offset");
    CHECK(c.seed == 5);
    CHECK(c.dtype == io::DType::BF16);
    CHECK(c.config.document_starts == std::vector<std::vector<Index>>{{0, 5, 9}});
    CHECK(describe(c) ==
          "paper-880m/B2_H4_kv2_S33_D8_cq6_ck11_g2 fill=offset seed=5 io=bf16 pre.key_padding=left "
          "norm=rms_depth "
          "document_starts=0,5,9");
}

TEST_CASE("case: hand values, what is left out and what is taken away") {
    CHECK(rewritten("sdpa") == "sdpa/B1_H8_S64_D64 fill=normal seed=0 io=fp32");
    CHECK(rewritten("paper-880m") == "paper-880m/B1_H16_S64_D96_cq6_ck11_g16 fill=normal seed=0 io=fp32");
    CHECK(rewritten("sdpa/S7_B2  norm=rms   eps=1e-6") ==
          "sdpa/B2_H8_S7_D64 fill=normal seed=0 io=fp32 norm=rms eps=1e-06");
    CHECK(
        rewritten("paper-880m norm=rms gate=scalar post.key_padding=both document_starts=0 layer_index=0") ==
        rewritten("paper-880m"));
    const std::string bare =
        "paper-880m/B1_H4_S9_D8_cq3_ck4_g2 fill=normal seed=0 io=fp32 pre.key_padding=left "
        "pre.mix_group=none "
        "post.query_kernel=none post.key_kernel=none norm=none gate=none";
    CHECK(rewritten(bare) == bare);
    const auto& a = parse_case(bare).config.attention;
    CHECK_FALSE(a.post.has_conv());
    CHECK_FALSE(a.pre.has_mix());
    CHECK((a.pre.has_conv() && a.post.has_mix() && a.pre.key_kernel == 4));
    const std::string sides =
        "paper-880m/B1_H4_S9_D8_cq3_ck3_g2 fill=ties seed=1 io=fp16 post.query_kernel=2";
    CHECK(rewritten(sides) == sides);
    CHECK(parse_case(sides).config.attention.pre.query_kernel == 3);
    const std::string added =
        "sdpa/B2_H2_S9_D8 fill=normal seed=0 io=fp64 scale=0.25 mask=exact pre.query_kernel=2 "
        "pre.key_kernel=2 pre.key_padding=left document_starts=0,3;0";
    CHECK(rewritten(added) == added);
    CHECK(rewritten("sdpa seed=18446744073709551615").find("seed=18446744073709551615") != std::string::npos);
}

TEST_CASE("case: properties, every case has one descriptor and the descriptor has that case") {
    Random random(0xca5e);
    for (int n = 0; n < 300; ++n) {
        const Case c = random_case(random);
        const std::string text = describe(c);
        INFO(text);
        const Case back = parse_case(text);
        CHECK(back == c);
        CHECK(describe(back) == text);
        Case other = c;
        ++other.seed;
        CHECK_FALSE(other == c);
        other = c;
        other.config.attention.eps += 0.25;
        CHECK_FALSE(parse_case(describe(other)) == c);
    }
}

TEST_CASE("case: properties, a problem has the shapes, type and name of its case") {
    const auto c = parse_case("paper-880m/B2_H4_kv2_S5_D3_cq2_ck3_g2 seed=5 io=bf16 gate=vector");
    const Problem p = make_problem(c);
    CHECK(p.name == describe(c));
    CHECK(p.dtype == io::DType::BF16);
    CHECK((p.batch() == 2 && p.sequence() == 5 && p.k.dimension(1) == 2 && p.q.dimension(3) == 3));
    std::vector<std::string> names;
    for_each_input(
        [&](std::string_view name, const auto& t) {
            names.emplace_back(name);
            for (const double x : elements(t))
                CHECK(io::from_bfloat16<double>(io::to_bfloat16(x)) == x);
        },
        p);
    CHECK(names == std::vector<std::string>{"q", "k", "v", "pre.kernel", "pre.mix", "post.kernel", "post.mix",
                                            "norm.weight", "gate.weight", "gate.bias", "d_out"});
    Case other = c;
    other.seed = 6;
    const Problem same = make_problem(c), different = make_problem(other);
    test::check_same_bits("q", same.q, p.q);
    CHECK_FALSE(check::compare_bits("q", different.q, p.q));
    CHECK_FALSE(check::compare_bits("mix", different.params.pre.mix->mix, p.params.pre.mix->mix));
}

TEST_CASE("case: edge shapes, one token of one channel") {
    const Problem p = make_problem(parse_case("paper-880m/B1_H1_S1_D1_cq6_ck11_g1"));
    const auto r = reference_results(p);
    CHECK(r.at("out").values.size() == 1);
    CHECK(std::isfinite(r.at("out").values[0]));
}

TEST_CASE("case: errors, sizes") {
    const auto says = [](std::string_view text, std::string_view part) {
        const std::string sentence = refusal<ArgumentError>(text);
        CHECK_MESSAGE(sentence.find(part) != std::string::npos, text, ": ", sentence);
    };
    says("", "case '': unknown profile '', expected one of ");
    says("sdpb/B1", "unknown profile 'sdpb', the nearest known is 'sdpa'");
    says("sdpa/", "got the size '', expected B, H, kv, S, D, cq, ck or g and a number");
    says("sdpa/B1_X3", "got the size 'X3'");
    says("sdpa/B1_H", "got the size 'H'");
    says("sdpa/b1", "got the size 'b1'");
    says("sdpa/B1_B2", "got the size B twice, expected it once");
    says("sdpa/H0", "H: got 0, expected 1 to 1073741824");
    says("sdpa/S1073741825", "S: got 1073741825, expected 1 to");
    says("sdpa/S99999999999999999999", "S: got '99999999999999999999', expected an integer");
    says("sdpa/S3x", "S: got '3x', expected an integer");
    says("sdpa/cq3", "cq: the profile has no such stage, expected pre.query_kernel=3 or post.query_kernel=3");
    says("talking-heads/ck3", "ck: the profile has no such stage");
    says("sdpa/H4_kv3", "kv_heads: got 3, expected a divisor of the 4 heads");
    says("paper-880m/H4", "mix_group: got 16, expected a divisor of the 4 heads");
    says("paper-880m/ck4", "key_kernel: got 4, expected an odd extent");
}

TEST_CASE("case: errors, keys and values") {
    const auto says = [](std::string_view text, std::string_view part) {
        const std::string sentence = refusal<ArgumentError>(text);
        CHECK_MESSAGE(sentence.find(part) != std::string::npos, text, ": ", sentence);
    };
    says("sdpa fil=normal", "unknown key 'fil', the nearest known is 'fill'");
    says("sdpa pre.key_pading=left", "the nearest known is 'pre.key_padding'");
    says("sdpa heads=4", "unknown key 'heads'");
    says("sdpa S=4", "unknown key 'S', expected one of fill, seed, io, ");
    says("sdpa fill=foo", "unknown fill 'foo', expected one of ");
    says("sdpa normal", "got 'normal', expected key=value");
    says("sdpa seed=1 seed=2", "got the key 'seed' twice");
    says("sdpa fill=nrmal", "unknown fill 'nrmal', the nearest known is 'normal'");
    says("sdpa seed=-1", "seed: got '-1', expected an integer from 0 on");
    says("sdpa seed=18446744073709551616", "seed: got");
    says("sdpa seed=", "seed: got ''");
    says("sdpa io=float", "io: got 'float', expected one of fp32, bf16, fp16, fp64");
    for (const char* value : {"1e400", "nan", "inf", "1e-5x", ""})
        says(std::string("sdpa eps=") + value, "eps: got");
    says("sdpa eps=-1", "eps: got -1, expected a number >= 0");
    says("sdpa mask=both", "mask: got \"both\", expected one of twice, exact, none");
    says("sdpa norm=layer", "norm: got \"layer\"");
    says("sdpa pre.query_kernel=2", "pre: got query_kernel 2 and key_kernel 0, expected both or neither");
    says("sdpa pre.mix_group=two", "mix_group: got 'two', expected an integer");
    says("sdpa layer_index=-1", "layer_index: got -1, expected at least 0");
    says("sdpa/S8 document_starts=0,8", "expected all below the sequence length 8");
    says("sdpa/S8 document_starts=1,2", "expected a list that begins with 0");
    says("sdpa/S8 document_starts=0,,2", "document_starts: got ''");
    says("sdpa/B3_S8 document_starts=0,2;0", "got 2 lists, expected 1 or one per batch row, 3");
    says("sdpa fill=\x1b[2J", "unknown fill '\\x1b[2J'");
}

TEST_CASE("case: errors, more than fits into memory") {
    const auto huge = parse_case("sdpa/B1000000_S1000000000");
    CHECK_THROWS_AS(make_problem(huge), UnsupportedError);
}
}  // namespace mta_test_case
