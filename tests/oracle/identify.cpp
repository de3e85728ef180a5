// Identification: the layer reads as given on every option, and a wrong part is named for what it is.
// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <mta/oracle/identify.hpp>

#include "probe_support.hpp"

namespace mta_test_identify {
namespace {

using namespace mta;
using namespace mta::test;
using oracle::identify;
using oracle::Outcome;
using oracle::Reading;

template <class F>
Candidate with_bug(F f) {
    return candidate_of([f](Problem p) {
        f(p);
        return layer_results<double>(p);
    });
}

oracle::CaseConfig full() {
    return {full_config(), {{0}}};
}

Reading reading(const Candidate& candidate, const oracle::CaseConfig& config, std::string_view name) {
    for (const auto& r : identify(candidate, config, io::DType::F64))
        if (r.name == name) return r;
    throw ArgumentError("no reading " + std::string(name));
}

std::string class_of(const Candidate& candidate, const oracle::CaseConfig& config, std::string_view name) {
    return reading(candidate, config, name).classification;
}

enum Axis { queries = 1, keys = 2 };
void mirror(std::optional<KeyQueryConvParams<double>>& conv, int axes) {
    const auto old = conv->kernel;
    const Index Cq = old.dimension(1), Ck = old.dimension(2);
    for (Index h = 0; h < old.dimension(0); ++h)
        for (Index a = 0; a < Cq; ++a)
            for (Index c = 0; c < Ck; ++c)
                conv->kernel(h, a, c) = old(h, axes & queries ? Cq - 1 - a : a, axes & keys ? Ck - 1 - c : c);
}

TEST_CASE("identify: the layer is as given on every option and in every type") {
    auto all = varied_configs();
    for (const auto& config : linear_configs())
        all.push_back(config);
    for (const auto& config : all)
        for (const auto dtype : {io::DType::F64, io::DType::F32, io::DType::F16, io::DType::BF16}) {
            const auto candidate = candidate_of([dtype](const Problem& p) {
                auto r = dtype == io::DType::F64 ? layer_results<double>(p) : layer_results<float>(p);
                for (auto& x : r.tensors[0].values)
                    x = oracle::detail::rounded_to(dtype, x);
                return r;
            });
            std::size_t expected = 3;  // gain, scale and mask
            for (const auto& r : identify(candidate, {config, {{0, 2, 5}, {0}}}, dtype))
                CHECK_MESSAGE(r.as_expected, io::dtype_name(dtype), " ", r.sentence);
            expected +=
                config.pre.has_conv() + config.post.has_conv() + config.pre.has_mix() + config.post.has_mix();
            CHECK(identify(candidate, {config, {{0}}}, dtype).size() >= expected);
        }
}

TEST_CASE("identify: kernels that are mirrored, on either side or on both") {
    for (const int axes : {1, 2, 3}) {
        const std::string name = axes == 1   ? "mirrored on queries"
                                 : axes == 2 ? "mirrored on keys"
                                             : "mirrored on queries and keys";
        CHECK(class_of(with_bug([=](Problem& p) { mirror(p.params.pre.conv, axes); }), full(),
                       "pre.kernel") == name);
        CHECK(class_of(with_bug([=](Problem& p) { mirror(p.params.pre.conv, axes); }), full(),
                       "post.kernel") == "as given");
        CHECK(class_of(with_bug([=](Problem& p) { mirror(p.params.post.conv, axes); }), full(),
                       "post.kernel") == name);
        CHECK(class_of(with_bug([=](Problem& p) { mirror(p.params.post.conv, axes); }), full(),
                       "pre.kernel") == "as given");
        const auto both = with_bug([=](Problem& p) {
            mirror(p.params.pre.conv, axes);
            mirror(p.params.post.conv, 4 - axes);
        });
        CHECK(class_of(both, full(), "pre.kernel") == name);
    }
}

TEST_CASE("identify: kernels that are transposed, shifted, scaled, not read, zero, or something else") {
    CHECK(class_of(with_bug([](Problem& p) {
                       const auto old = p.params.pre.conv->kernel;
                       for (Index h = 0; h < 4; ++h)
                           for (Index a = 0; a < 3; ++a)
                               for (Index c = 0; c < 3; ++c)
                                   p.params.pre.conv->kernel(h, a, c) = old(h, c, a);
                   }),
                   {[] {
                        auto c = full_config();
                        c.post = {};
                        return c;
                    }(),
                    {{0}}},
                   "pre.kernel") == "transposed");
    auto right = full();
    right.attention.post.key_padding = KeyPadding::right;
    const auto padded = with_bug([](Problem& p) { p.config.attention.post.key_padding = KeyPadding::right; });
    CHECK(class_of(padded, right, "post.kernel") == "as given");
    auto two = full();
    two.attention.post = {2, 2, KeyPadding::left, 0};
    CHECK(class_of(padded, two, "post.kernel") == "shifted by (0, 1)");
    CHECK(class_of(with_bug([](Problem& p) {
                       for (auto& x : elements(p.params.post.conv->kernel))
                           x *= 0.5;
                   }),
                   full(), "gain") == "scaled by 0.5");
    CHECK(class_of(with_bug([](Problem& p) {
                       fill(p.params.post.conv->kernel, 0.0);
                       for (Index h = 0; h < 4; ++h)
                           p.params.post.conv->kernel(h, 1, 3) = 1;
                   }),
                   full(), "post.kernel") == "identity: the kernel is not read");
    CHECK(class_of(with_bug([](Problem& p) { fill(p.params.pre.conv->kernel, 0.0); }), full(),
                   "pre.kernel") == "zero: nothing is read here");
    CHECK(class_of(with_bug([](Problem& p) { p.params.pre.conv->kernel(1, 1, 0) = 0; }), full(),
                   "pre.kernel") == "other");
    const auto scrambled = with_bug([](Problem& p) {
        fill(p.params.pre.conv->kernel, 0.3);
        p.config.attention.scale = 5;
    });
    CHECK(reading(scrambled, full(), "scale")
              .sentence.ends_with("(read through kernels that are not understood)"));
}

TEST_CASE("identify: what was read is what the candidate computes with") {
    Tensor<double, 3> given;
    const auto r = reading(candidate_of([&](const Problem& p) {
                               if (std::abs(p.params.post.conv->kernel(0, 0, 0)) > 0.1)
                                   given = p.params.post.conv->kernel;
                               return layer_results<double>(p);
                           }),
                           full(), "post.kernel");
    CHECK(r.found.shape == std::vector<Index>{4, 6, 8});
    for (Index h = 0; h < 4; ++h)
        for (Index a = 0; a < 2; ++a)
            for (Index c = 0; c < 4; ++c)
                CHECK(r.found.values[static_cast<std::size_t>((h * 6 + a + 2) * 8 + c + 2)] ==
                      doctest::Approx(given(h, a, c)).epsilon(1e-7));
}

TEST_CASE("identify: mixes that are transposed, scaled, not read") {
    const auto transpose = [](auto side) {
        return with_bug([side](Problem& p) {
            auto& mix = (p.params.*side).mix->mix;
            const auto old = mix;
            for (Index n = 0; n < mix.dimension(0); ++n)
                for (Index o = 0; o < mix.dimension(1); ++o)
                    for (Index c = 0; c < mix.dimension(1); ++c)
                        mix(n, o, c) = old(n, c, o);
        });
    };
    CHECK(class_of(transpose(&MultiTokenAttentionParams<double>::pre), full(), "pre.mix") == "transposed");
    CHECK(class_of(transpose(&MultiTokenAttentionParams<double>::post), full(), "post.mix") == "transposed");
    CHECK(class_of(transpose(&MultiTokenAttentionParams<double>::post), full(), "pre.mix") == "as given");
    CHECK(class_of(with_bug([](Problem& p) { oracle::detail::set_identity(p); }), full(), "pre.mix") !=
          "as given");
    CHECK(class_of(with_bug([](Problem& p) {
                       for (auto& x : elements(p.params.pre.mix->mix))
                           x *= 2;
                   }),
                   full(), "scale") == "scaled by 2");
}

TEST_CASE("identify: scale, mask and documents") {
    const auto wrong_scale = with_bug([](Problem& p) { p.config.attention.scale = 1.0 / 3; });
    const auto r = reading(wrong_scale, full(), "scale");
    CHECK(r.classification == "scaled by 0.577");
    CHECK(r.found.values[0] == doctest::Approx(1.0 / 3));
    // What the scale explains is not held against what is read through it.
    for (const auto& other : identify(wrong_scale, full(), io::DType::F64))
        CHECK_MESSAGE(other.as_expected == (other.name != "scale"), other.sentence);
    const auto loud = candidate_of([](const Problem& p) {
        auto out = layer_results<double>(p);
        for (auto& x : out.tensors[0].values)
            x *= 2;
        return out;
    });
    CHECK(class_of(loud, full(), "gain") == "scaled by 2");
    CHECK(class_of(loud, full(), "post.kernel") == "as given");
    oracle::CaseConfig packed{full_config(), {{0, 3}}};
    CHECK(class_of(with_bug([](Problem& p) { p.config.document_starts = {{0}}; }), packed, "mask") ==
          "as given, but documents are not separated");
    CHECK(class_of(with_bug([](Problem& p) { p.config.attention.mask = MaskRule::none; }), full(), "mask") ==
          "none: every query sees every key");
    CHECK(class_of(with_bug([](Problem& p) { p.config.attention.mask = MaskRule::none; }), packed, "mask") ==
          "none within documents");
    auto none = full();
    none.attention.mask = MaskRule::none;
    CHECK(class_of(with_bug([](Problem& p) { p.config.attention.mask = MaskRule::twice; }), none, "mask") ==
          "causal");
    CHECK(oracle::detail::mask_class(oracle::detail::mask_picture({MaskRule::twice, {}}, 1, 1, 5, 1),
                                     {MaskRule::twice, {}}) == "causal, but with the next key");
    CHECK(oracle::detail::mask_class(oracle::detail::mask_picture({MaskRule::twice, {}}, 1, 1, 5, -1),
                                     {MaskRule::twice, {}}) == "causal without the query's own key");
}

TEST_CASE("identify: logits of future keys") {
    auto exact = full();
    exact.attention.mask = MaskRule::exact;
    const auto always = [](MaskRule rule) {
        return with_bug([=](Problem& p) { p.config.attention.mask = rule; });
    };
    CHECK(class_of(always(MaskRule::exact), full(), "future_logits") ==
          "kept up to the output's query, as with `exact`");
    CHECK(class_of(always(MaskRule::twice), exact, "future_logits") == "dropped, as with the mask `twice`");
    CHECK(class_of(always(MaskRule::exact), exact, "future_logits") == "as given");
    CHECK(class_of(always(MaskRule::none), full(), "future_logits") ==
          "kept everywhere: no mask before the convolution");
}

TEST_CASE("identify: head maps, norm, eps and gate") {
    auto plain = oracle::CaseConfig{linear_configs()[2], {{0}}};
    const auto modulo = candidate_of([](Problem p) {  // head h reads h % 2
        p.k = oracle::detail::gather(p.k, 1, {0, 1, 0, 1});
        p.v = oracle::detail::gather(p.v, 1, {0, 1, 0, 1});
        p.config.attention.kv_heads = 4;
        return layer_results<double>(p);
    });
    CHECK(class_of(modulo, plain, "key_heads") == "h mod kv_heads");
    CHECK(class_of(modulo, plain, "value_heads") == "h mod kv_heads");
    const auto eps = reading(with_bug([](Problem& p) {
                                 if (p.config.attention.eps < 1) p.config.attention.eps = 1e-6;
                             }),
                             full(), "eps");
    CHECK(eps.found.values[0] == doctest::Approx(1e-6));
    CHECK(eps.classification == "scaled by 0.1");
    CHECK(class_of(with_bug([](Problem& p) { p.config.attention.norm = RmsNormFactor::one; }), full(),
                   "norm.weight") == "scaled by 2.25");
    CHECK(class_of(with_bug([](Problem& p) {
                       for (auto& x : elements(p.params.gate->bias))
                           x = 0;
                   }),
                   full(), "gate.bias") != "as given");
    const auto early = candidate_of([](const Problem& p) {  // the gate reads the context
        const auto t =
            multi_token_attention_forward(p.q, p.k, p.v, p.params, p.config.attention, p.config.call());
        const auto gated = gate_forward(*t.context, *p.params.gate, {*p.config.attention.gate});
        auto out = *t.norm;
        for (Index n = 0; n < out.size(); ++n)
            out.data()[n] *= gated.data()[n] / t.context->data()[n];
        Results r;
        r.put("out", out);
        return r;
    });
    CHECK(class_of(early, full(), "gate_input") == "the context before the norm");
}

TEST_CASE("identify: a candidate that does not answer") {
    Candidate crashes{"c", "", [](const Problem&) { return Answer{Outcome::crashed, "signal 11", {}, {}}; }};
    auto list = identify(crashes, full());
    REQUIRE(list.size() == 1);
    CHECK(list[0].sentence == "answer: the candidate gave no answer: signal 11");
    CHECK_FALSE(list[0].as_expected);
    list = identify(candidate_of([](const Problem&) { return Results{}; }), full());
    CHECK(list[0].sentence == "answer: the candidate gave no out of the shape of q");
    const auto nan = candidate_of([](const Problem& p) {
        auto r = layer_results<double>(p);
        for (auto& x : r.tensors[0].values)
            x = not_a_number;
        return r;
    });
    for (const auto& r : identify(nan, full(), io::DType::F64))
        CHECK_MESSAGE(!r.as_expected, r.sentence);
}

}  // namespace
}  // namespace mta_test_identify
