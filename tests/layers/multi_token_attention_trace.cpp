// The layer's trace: hidden entries are 0 whatever happens, and a trace of another call is refused.
// SPDX-License-Identifier: MIT
#include <cmath>
#include <limits>
#include <mta/layers/multi_token_attention.hpp>

#include "support/attention_case.hpp"
#include "support/checks.hpp"

namespace mta_test_multi_token_attention_trace {
using namespace mta;
using namespace mta::test;

TEST_CASE("multi_token_attention: invisible entries of the trace are exactly 0") {
    for (const auto& config : varied_configs()) {
        AttentionCall call;
        call.documents = Documents(std::vector<Index>{0, 4});
        const auto c = random_case(config, 1, 7, call);
        const auto trace = c.forward();
        const auto g = c.backward(trace);
        const AttentionMask mask{config.mask, call.documents};
        const Index lookahead = config.mask == MaskRule::exact ? config.pre.query_kernel - 1 : 0;
        const auto zero_outside = [&](std::string_view name, const auto& stage) {
            if (name == "context" || name == "norm" || name == "gate") return;
            for (Index h = 0; h < config.heads; ++h)
                for (Index i = 0; i < 7; ++i)
                    for (Index j = 0; j < 7; ++j)
                        if (!mask.keys(0, i, 7, name == "logits" ? lookahead : 0).contains(j))
                            CHECK_MESSAGE(stage(0, h, i, j) == 0, name, " ", h, " ", i, " ", j);
        };
        MultiTokenAttentionTrace<double>::for_each(zero_outside, trace);
        MultiTokenAttentionTrace<double>::for_each(zero_outside, g.d_trace);
    }
}

TEST_CASE("multi_token_attention: a trace that does not belong to the call is refused") {
    auto config = full_config();
    config.dropout = 0.5;
    AttentionCall call;
    call.training = true;
    const auto trained = random_case(config, 1, 5, call);
    const auto trace = trained.forward();
    const auto refused = [&](const AttentionCase<double>& c, const MultiTokenAttentionTrace<double>& t,
                             const char* sentence) {
        CHECK_THROWS_WITH_AS(c.backward(t), sentence, ShapeError);
    };
    const auto quiet = random_case(config, 1, 5);
    refused(quiet, trace,
            "multi_token_attention: trace: dropout: got one, expected none, since there is no such stage");
    refused(trained, quiet.forward(),
            "multi_token_attention: trace: dropout: got none, expected one, since the configuration has this "
            "stage");
    auto broken = trace;
    broken.norm.reset();
    refused(
        trained, broken,
        "multi_token_attention: trace: norm: got none, expected one, since the configuration has this stage");
    broken = trace;
    broken.pre_conv.reset();
    refused(trained, broken,
            "multi_token_attention: trace: pre_conv: got none, expected one, since the configuration has "
            "this stage");
    broken = random_case(config, 1, 4, call).forward();
    refused(trained, broken,
            "multi_token_attention: trace: logits: got shape [1, 4, 4, 4], expected shape [1, 4, 5, 5]");
    auto plain = trained;
    plain.config.pre = {};
    plain.params.pre = {};
    refused(plain, trace,
            "multi_token_attention: trace: pre_conv: got one, expected none, since there is no such stage");
}

TEST_CASE("multi_token_attention: a row without a finite score is NaN where it can be seen and 0 elsewhere") {
    for (auto config : varied_configs()) {
        if (config.mask == MaskRule::none) continue;
        AttentionCall call;
        call.documents = Documents(std::vector<Index>{0, 3});
        auto c = random_case(config, 1, 6, call);
        const double inf = std::numeric_limits<double>::infinity();
        for (Index h = 0; h < c.k.dimension(1); ++h)
            for (Index d = 0; d < config.head_dim; ++d)
                c.k(0, h, 0, d) = d == 0 ? inf : 0;
        for (Index h = 0; h < config.heads; ++h)
            c.q(0, h, 0, 0) = -1;
        const auto trace = c.forward();
        const AttentionMask mask{config.mask, call.documents};
        bool seen = false;
        for (Index h = 0; h < config.heads; ++h)
            for (Index i = 0; i < 6; ++i)
                for (Index j = 0; j < 6; ++j) {
                    const double weight = (*trace.weights)(0, h, i, j);
                    if (mask.keys(0, i, 6).contains(j))
                        seen = seen || std::isnan(weight);
                    else
                        CHECK(weight == 0);
                }
        CHECK(seen);
        for (Index h = 0; h < config.heads; ++h)
            for (Index i = 3; i < 6; ++i)
                CHECK(std::isfinite(trace.out()(0, h, i, 0)));  // the other document
    }
}
}  // namespace mta_test_multi_token_attention_trace
