// The layer of the paper's 880M model, as the benchmarks of the fast path take it.
// SPDX-License-Identifier: MIT
#pragma once

#include <mta/layers/multi_token_attention_config.hpp>

namespace mta::bench {

/// 16 heads of 96 features, 6 x 11 kernels before and after the softmax, all heads mixed twice (arXiv:2504.00927).
inline MultiTokenAttentionConfig paper_shape() {
    MultiTokenAttentionConfig config;
    config.heads = 16;
    config.head_dim = 96;
    config.pre = config.post = {6, 11, KeyPadding::both, 16};
    return config;
}

}  // namespace mta::bench
