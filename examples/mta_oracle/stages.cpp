// mta-oracle stages: the stages of the operator, under the names that files and reports use.
// SPDX-License-Identifier: MIT
#include <array>
#include <cstdio>
#include <string_view>

#include "commands.hpp"
#include "support.hpp"

namespace mta::program {

namespace {

struct Stage {
    const char *name, *shape, *definition, *source;
};

constexpr std::array<Stage, 9> stages{{
    {"logits", "B,H,S,S", "scale * q k^T, 0 where the key is not visible", "Eq. 1"},
    {"pre_conv", "B,H,S,S", "key-query convolution of logits, per head", "Eqs. 4, 5"},
    {"pre_mix", "B,H,S,S", "sum over the heads of a group, weighted by pre.mix", "Sec. 3.2"},
    {"weights", "B,H,S,S", "softmax or sparsemax over the visible keys", "Eq. 5"},
    {"post_conv", "B,H,S,S", "key-query convolution of weights, 0 where not visible", "Eq. 6"},
    {"post_mix", "B,H,S,S", "sum over the heads of a group, weighted by post.mix", "Eq. 7"},
    {"context", "B,H,S,D", "the weights so far times v", "Sec. 3.1"},
    {"norm", "B,H,S,D", "RMS norm over D per head, times norm.weight and a depth factor", "Sec. 3.3"},
    {"gate", "B,H,S,D", "times sigmoid(gate.weight n + gate.bias), n the stage before", "Sec. 3.3"},
}};

int run_stages() {
    std::printf(
        "stages, in order (arXiv:2504.00927); every one but logits, weights and context is optional\n");
    for (const auto& s : stages)
        std::printf("  %-10s (%s)  %-9s %s\n", s.name, s.shape, s.source, s.definition);
    std::printf("in files: stage.<name> for a stage, stage.d_<name> for its gradient\n");
    std::printf(
        "only visible positions are judged: j <= i in the same document; logits under mask exact also "
        "j < i + cq\n");
    return 0;
}

}  // namespace

Command stages_command(CLI::App& app) {
    app.add_subcommand("stages", "list the stages that a candidate may export");
    return {"stages", run_stages};
}

}  // namespace mta::program
