// A random case of multi-token attention: inputs, parameters far from their initial values, and a cotangent.
// SPDX-License-Identifier: MIT
#pragma once

#include <mta/layers/multi_token_attention.hpp>
#include <vector>

#include "random_tensor.hpp"

namespace mta::test {

template <class Scalar>
struct AttentionCase {
    MultiTokenAttentionConfig config;
    AttentionCall call;
    Tensor<Scalar, 4> q, k, v, d_out;
    MultiTokenAttentionParams<Scalar> params;

    auto forward() const { return multi_token_attention_forward(q, k, v, params, config, call); }
    auto backward() const { return backward(forward()); }
    auto backward(const MultiTokenAttentionTrace<Scalar>& trace) const {
        return multi_token_attention_backward(d_out, q, k, v, params, config, call, trace);
    }
};

template <class Scalar = double>
AttentionCase<Scalar> random_case(const MultiTokenAttentionConfig& config, Index B, Index S,
                                  AttentionCall call = {}, std::uint64_t seed = 1) {
    const Index H = config.heads, Hkv = config.key_value_heads(), D = config.head_dim;
    AttentionCase<Scalar> c{
        config, std::move(call), {}, {}, {}, {}, make_multi_token_attention_params<Scalar>(config)};
    c.q = cast<Scalar>(random_tensor(10 * seed, B, H, S, D));
    c.k = cast<Scalar>(random_tensor(10 * seed + 1, B, Hkv, S, D));
    c.v = cast<Scalar>(random_tensor(10 * seed + 2, B, Hkv, S, D));
    c.d_out = cast<Scalar>(random_tensor(10 * seed + 3, B, H, S, D));
    Random random(10 * seed + 4);
    MultiTokenAttentionParams<Scalar>::for_each(
        [&](std::string_view, auto& member) { fill_normal(member, random, 0.5); }, c.params);
    return c;
}

/// Every stage present, no two extents equal: 4 heads on 2, kernels 3x3 and 2x4, groups of 2 and 4.
inline MultiTokenAttentionConfig full_config() {
    MultiTokenAttentionConfig config;
    config.heads = 4;
    config.kv_heads = 2;
    config.head_dim = 3;
    config.pre = {3, 3, KeyPadding::both, 2};
    config.post = {2, 4, KeyPadding::left, 4};
    config.norm = RmsNormFactor::depth;
    config.gate = GateKind::vector;
    config.layer_index = 3;
    return config;
}

/// full_config with other choices, so that together every option appears: masks, padding, sparsemax, factors,
/// gates.
inline std::vector<MultiTokenAttentionConfig> varied_configs() {
    std::vector<MultiTokenAttentionConfig> all(7, full_config());
    all[1].mask = MaskRule::exact;
    all[1].normalise = Normalise::sparsemax;
    all[2].mask = MaskRule::none;
    all[2].gate = GateKind::scalar;
    all[3].pre = {2, 2, KeyPadding::right, 0};
    all[3].norm = RmsNormFactor::layer;
    all[3].post.key_padding = KeyPadding::right;
    all[4].pre = {};
    all[4].gate.reset();
    all[4].norm = RmsNormFactor::one;
    all[5].post = {0, 0, KeyPadding::both, 2};
    all[5].mask = MaskRule::exact;
    all[5].norm.reset();
    all[5].scale = 0.7;
    all[6].pre.mix_group = 1;
    all[6].post = {5, 5, KeyPadding::both, 0};
    all[6].kv_heads = 1;
    return all;
}

}  // namespace mta::test
