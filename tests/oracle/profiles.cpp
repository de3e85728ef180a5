// Tests of oracle/profiles.hpp: what each name means, by the paper's own numbers.
// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <mta/oracle/profiles.hpp>
#include <set>

namespace mta_test_profiles {
using namespace mta;
using namespace mta::oracle;

namespace {

const MultiTokenAttentionConfig& config_of(std::string_view name) {
    return profile(name).config.attention;
}

std::string refusal(std::string_view name) {
    try {
        profile(name, "here");
    } catch (const ConfigError& error) {
        return error.what();
    }
    return "accepted";
}

}  // namespace

TEST_CASE("profiles: hand values, the paper's language model (Secs. 3 and 4, table 8)") {
    const auto& c = config_of("paper-880m");
    CHECK(c.heads == 16);
    CHECK(c.key_value_heads() == 16);
    CHECK(c.head_dim == 96);
    for (const auto* side : {&c.pre, &c.post}) {
        CHECK(side->query_kernel == 6);
        CHECK(side->key_kernel == 11);
        CHECK(side->key_padding == KeyPadding::both);
        CHECK(side->mix_group == 16);
    }
    CHECK(c.norm == RmsNormFactor::one);
    CHECK(c.gate == GateKind::scalar);
    CHECK(c.mask == MaskRule::twice);
    CHECK(c.normalise == Normalise::softmax);
    CHECK_FALSE(c.scale.has_value());
}

TEST_CASE("profiles: hand values, the toy task: one convolution before the softmax, c_q = 2, c_k = 2N - 1") {
    const auto& c = config_of("paper-toy");
    constexpr Index N = 5;
    CHECK(c.heads == 2);
    CHECK(c.pre.query_kernel == 2);
    CHECK(c.pre.key_kernel == 2 * N - 1);
    CHECK_FALSE(c.pre.has_mix());
    CHECK_FALSE((c.post.has_conv() || c.post.has_mix()));
    CHECK_FALSE((c.norm.has_value() || c.gate.has_value()));
}

TEST_CASE("profiles: hand values, the others") {
    const auto& liger = config_of("liger-post");
    CHECK(liger.post.has_conv());
    CHECK_FALSE((liger.pre.has_conv() || liger.pre.has_mix() || liger.post.has_mix()));
    CHECK_FALSE((liger.norm.has_value() || liger.gate.has_value()));
    CHECK(liger.post.query_kernel == 2);  // rows of a symmetric 3 x 3 kernel that are not in the future
    CHECK(liger.post.key_kernel == 3);
    const auto& talking = config_of("talking-heads");
    CHECK(talking.pre.mix_group == talking.heads);
    CHECK(talking.post.mix_group == talking.heads);
    CHECK_FALSE((talking.pre.has_conv() || talking.post.has_conv()));
    const auto& plain = config_of("sdpa");
    CHECK_FALSE(
        (plain.pre.has_conv() || plain.pre.has_mix() || plain.post.has_conv() || plain.post.has_mix()));
    CHECK(plain.mask == MaskRule::twice);
    CHECK(config_of("mta-exact").mask == MaskRule::exact);
    CHECK(config_of("mta-exact").normalise == Normalise::softmax);
    CHECK(config_of("mta-sparsemax").normalise == Normalise::sparsemax);
    CHECK(config_of("mta-sparsemax").mask == MaskRule::twice);
    for (const auto* name : {"mta-exact", "mta-sparsemax"}) {
        CHECK((config_of(name).pre.has_conv() && config_of(name).pre.has_mix()));
        CHECK((config_of(name).post.has_conv() && config_of(name).post.has_mix()));
    }
}

TEST_CASE("profiles: properties, each is valid, named once and says something") {
    std::set<std::string> names, configs;
    for (const auto& p : profiles()) {
        INFO(p.name);
        CHECK_NOTHROW(check_config(p.config.attention));
        CHECK(names.insert(p.name).second);
        CHECK(configs.insert(to_json(p.config).dump()).second);  // no two names for one thing
        CHECK(p.sentence.size() > 20);
        CHECK(&profile(p.name) == &p);
        CHECK(p.batch >= 1);
        CHECK(p.sequence > p.config.attention.pre.query_kernel);
        CHECK(p.config.attention.key_value_heads() == p.config.attention.heads);
    }
    CHECK(names.size() == 7);
}

TEST_CASE("profiles: errors name the nearest") {
    CHECK(refusal("paper-800m") == "here: unknown profile 'paper-800m', the nearest known is 'paper-880m'");
    CHECK(refusal("SDPA").find("unknown profile 'SDPA'") != std::string::npos);
    CHECK(refusal("a\nb").find("'a\\x0ab'") != std::string::npos);
    CHECK(refusal("") != "accepted");
}
}  // namespace mta_test_profiles
