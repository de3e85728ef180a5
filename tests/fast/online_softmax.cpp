// The single-pass form against the reference, and as a cross-check of the fast path.
// SPDX-License-Identifier: MIT
#include <mta/fast/online_softmax.hpp>

#include "fast_support.hpp"

namespace mta_test_fast_online_softmax {
using namespace mta;
using namespace mta::test;

namespace {

std::vector<MultiTokenAttentionConfig> single_pass_configs() {
    std::vector<MultiTokenAttentionConfig> all;
    for (auto config : varied_configs()) {
        config.mask = MaskRule::twice;
        config.normalise = Normalise::softmax;
        config.norm.reset();
        config.gate.reset();
        all.push_back(config);
    }
    for (const auto& config : lane_configs())
        if (config.heads <= 6) all.push_back(config);
    return all;
}

}  // namespace

TEST_CASE("online_softmax: agrees with the reference and with Fast at any tile") {
    for (const auto& config : single_pass_configs())
        for (const Index S : {1, 2, 19}) {
            const auto c = random_case(config, 2, S);
            const auto want = c.forward().out(), fast = run_fast(c).out;
            for (const Index tile : {1, 4, 64}) {
                const auto got = online_softmax_attention_forward(c.q, c.k, c.v, c.params, config, tile);
                check_agrees("context", got, want, double_bound);
                check_agrees("context of Fast", fast, got, double_bound);
            }
        }
}

TEST_CASE("online_softmax: scores that grow along the row rescale what was summed") {
    auto config = paper_config(2);
    config.heads = 2;
    config.pre.mix_group = config.post.mix_group = 2;
    auto c = random_case(config, 1, 17);
    for (Index j = 0; j < 17; ++j)
        for (Index h = 0; h < 2; ++h)
            for (Index d = 0; d < 2; ++d) {
                c.q(0, h, j, d) = 1;
                c.k(0, h, j, d) = 0.5 * static_cast<double>(j);
            }
    const auto got = online_softmax_attention_forward(c.q, c.k, c.v, c.params, config, 3);
    check_agrees("context", got, c.forward().out(), double_bound);
}

TEST_CASE("online_softmax: errors") {
    auto config = full_config();
    const auto c = random_case(config, 1, 3);
    CHECK_THROWS_WITH_AS(online_softmax_attention_forward(c.q, c.k, c.v, c.params, config, 0),
                         "online_softmax_attention: tile: got 0, expected at least 1", ValueError);
    config.mask = MaskRule::exact;
    CHECK_THROWS_AS(online_softmax_attention_forward(c.q, c.k, c.v, c.params, config, 1), ValueError);
}
}  // namespace mta_test_fast_online_softmax
