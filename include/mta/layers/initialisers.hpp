// Initial values of kernels, head mixes, norm and gate.
// SPDX-License-Identifier: MIT
//
// Source  Multi-Token Attention, arXiv:2504.00927, Sec. 4 (identity is the default) and its ablation of
//         kernel initialisation: zero, constant 0.3, uniform [-1, 1), normal (standard deviation 0.3, cut at
//         3), diagonal.
#pragma once

#include <cmath>
#include <mta/core/random.hpp>
#include <mta/layers/multi_token_attention_config.hpp>

namespace mta {

enum class KernelInit {
    identity,  ///< out = in
    zero,
    constant,  ///< 0.3 everywhere
    uniform,   ///< [-1, 1)
    normal,    ///< standard deviation 0.3, redrawn beyond 3 standard deviations
    diagonal   ///< ones along the direction in which query and key advance together
};

namespace detail {
// Fills with what does not depend on the position; says whether it did.
template <class T>
bool initialise_evenly(T& t, KernelInit init, Random& random) {
    using Scalar = ScalarOf<T>;
    if (init == KernelInit::uniform) fill_uniform(t, random, -1.0, 1.0);
    if (init == KernelInit::normal)
        for (auto& x : elements(t))
            x = static_cast<Scalar>(0.3 * random.truncated_normal(3));
    if (init == KernelInit::constant) fill(t, static_cast<Scalar>(0.3));
    if (init == KernelInit::uniform || init == KernelInit::normal || init == KernelInit::constant)
        return true;
    fill(t, Scalar(0));
    return init == KernelInit::zero;
}
}  // namespace detail

/// Fills a convolution kernel (H, Cq, Ck). Throws ShapeError for an empty one and for an even Ck with padding `both`.
template <TensorOf<3> Kernel>
void initialise_kernel(Kernel& kernel, KernelInit init, KeyPadding padding, Random& random) {
    const Index Cq = kernel.dimension(1), Ck = kernel.dimension(2), left = keys_to_the_left(Ck, padding);
    require(Cq >= 1 && Ck >= 1, "initialise_kernel: kernel: got extents ", Cq, " x ", Ck,
            ", expected at least 1");
    require(padding != KeyPadding::both || Ck % 2 == 1, "initialise_kernel: kernel: got a key extent of ", Ck,
            ", expected an odd one with key padding `both`");
    if (detail::initialise_evenly(kernel, init, random)) return;
    const Index ones = init == KernelInit::diagonal ? Cq : 1;
    for (Index h = 0; h < kernel.dimension(0); ++h)
        for (Index back = 0; back < ones; ++back)  // queries before the last
            if (left - back >= 0) kernel(h, Cq - 1 - back, left - back) = ScalarOf<Kernel>(1);
}

/// Fills head mixes (G, Ch, Ch); `diagonal` is the identity here.
template <TensorOf<3> Mix>
void initialise_mix(Mix& mix, KernelInit init, Random& random) {
    require_same("initialise_mix: columns of mix", mix.dimension(2), mix.dimension(1));
    if (detail::initialise_evenly(mix, init, random)) return;
    for (Index g = 0; g < mix.dimension(0); ++g)
        for (Index c = 0; c < mix.dimension(1); ++c)
            mix(g, c, c) = ScalarOf<Mix>(1);
}

/// Parameters to start training from: kernels and mixes by `init`, norm weight 1, gate weight normal with
/// standard deviation 1/sqrt(D) cut at 3 standard deviations, gate bias 0.
template <class Scalar>
MultiTokenAttentionParams<Scalar> initial_multi_token_attention_params(
    const MultiTokenAttentionConfig& config, Random& random, KernelInit init = KernelInit::identity) {
    auto params = make_multi_token_attention_params<Scalar>(config);
    const auto side = [&](ScoreMixingParams<Scalar>& p, const ScoreMixingConfig& c) {
        if (p.conv) initialise_kernel(p.conv->kernel, init, c.key_padding, random);
        if (p.mix) initialise_mix(p.mix->mix, init, random);
    };
    side(params.pre, config.pre);
    side(params.post, config.post);
    if (params.norm) fill(params.norm->weight, Scalar(1));
    if (params.gate)
        for (auto& x : elements(params.gate->weight))
            x = static_cast<Scalar>(random.truncated_normal(3) /
                                    std::sqrt(static_cast<double>(config.head_dim)));
    return params;
}

}  // namespace mta
