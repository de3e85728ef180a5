// The program of the README: multi-token attention and its gradients in ten lines.
// SPDX-License-Identifier: MIT
#include <cstdio>
#include <mta/mta.hpp>

int main() {
    mta::MultiTokenAttentionConfig config;  // standard causal attention, until stages are added
    config.heads = 4, config.head_dim = 16;
    config.pre =
        config.post = {/*query_kernel=*/6, /*key_kernel=*/11, mta::KeyPadding::both, /*mix_group=*/4};
    mta::Random random(42);
    const auto params =
        mta::initial_multi_token_attention_params<double>(config, random, mta::KernelInit::normal);
    auto q = mta::zeros<double>(1, 4, 32, 16), k = q, v = q,
         d_out = q;  // batch, heads, tokens, head dimension
    for (auto* t : {&q, &k, &v, &d_out})
        mta::fill_normal(*t, random);
    const auto trace = mta::multi_token_attention_forward(q, k, v, params, config);
    const auto grads = mta::multi_token_attention_backward(d_out, q, k, v, params, config, {}, trace);
    std::printf("out[0,0,31,0] = %.6f\n", trace.out()(0, 0, 31, 0));
    std::printf("d_q[0,0,31,0] = %.6f\n", grads.d_q(0, 0, 31, 0));
    std::printf("d_pre.kernel[0,5,5] = %.6f\n", grads.d_params.pre.conv->kernel(0, 5, 5));
}
