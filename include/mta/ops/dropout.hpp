// Dropout: silence random elements while training, the same ones for the same call at any thread count.
// SPDX-License-Identifier: MIT
//
// Source    Srivastava et al., JMLR 15 (2014), in its inverted form (kept values grow by 1/(1-p)), applied to
//           the final attention weights; Philox4x32-10 of Salmon et al., SC 2011.
// Forward   out[b,h,i,j] = kept(b,h,i,j) ? factor * x[b,h,i,j] : 0 while training, else x unchanged
// Backward  d_x[b,h,i,j] = kept(b,h,i,j) ? factor * d_out[b,h,i,j] : 0 while training, else d_out unchanged
// Kept      words   = philox4x32(counter {step lo, step hi, layer lo, layer hi}, key {seed lo, seed hi})
//           element = philox4x32(counter {j / 4, i, h, b}, key {words[0], words[1]})[j % 4]
//           kept(b,h,i,j) = element >= floor(p * 2^32), as an unsigned 32-bit integer
//           factor = 1 / (1 - p) in double, then rounded to the scalar of x
//           lo and hi are the low and high 32 bits; positions enter as their low 32 bits.
// Shapes    x, out: (B, H, Sq, Sk)
// Units     those of x; p: a probability.
// Traps     1. What is dropped depends on (seed, step, layer, b, h, i, j) and nothing else: not on extents,
//              threads or the order of calls. The caller must change `step` between iterations.
//           2. The chance of dropping is floor(p * 2^32) / 2^32, but the factor uses p itself: the mean is
//              off by less than 2^-32 / (1 - p), and p below 2^-32 drops nothing.
//           3. Dropping selects 0 instead of multiplying by it: a dropped NaN is gone.
// Errors    ShapeError: d_out unlike x. ValueError: p outside [0, 1), training or not.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <mta/core/parallel.hpp>
#include <mta/core/random.hpp>
#include <mta/core/require.hpp>
#include <mta/core/tensor.hpp>

namespace mta {

/// Choices fixed before training; they have no gradient.
struct DropoutConfig {
    double p = 0;  ///< chance of dropping an element, 0 <= p < 1
};

/// Which draw this is. Equal calls drop the same elements, so backward gets the call that forward got.
struct DropoutCall {
    std::uint64_t seed = 0;
    std::uint64_t step = 0;   ///< training iteration
    std::uint64_t layer = 0;  ///< so that layers of one iteration drop different elements
    bool training = false;    ///< false: nothing is dropped
};

/// One d_ member per differentiable argument of forward.
template <class Scalar>
struct DropoutGrads {
    Tensor<Scalar, 4> d_x;  // (B, H, Sq, Sk)
};

namespace detail {
inline std::array<std::uint32_t, 2> dropout_key(const DropoutCall& call) {
    const auto words =
        philox4x32({low_word(call.step), high_word(call.step), low_word(call.layer), high_word(call.layer)},
                   {low_word(call.seed), high_word(call.seed)});
    return {words[0], words[1]};
}

// Both directions are the same map: it is linear and diagonal.
template <class X>
TensorLike<X> dropout_apply(const X& x, DropoutConfig config, const DropoutCall& call) {
    require<ValueError>(config.p >= 0 && config.p < 1, "dropout: p: got ", config.p,
                        ", expected at least 0 and below 1");
    TensorLike<X> out(x.dimensions());
    const auto key = dropout_key(call);
    const auto threshold = static_cast<std::uint32_t>(std::floor(config.p * 0x1p32));
    const auto factor = static_cast<RealOf<ScalarOf<X>>>(1.0 / (1.0 - config.p));
    const auto position = [](Index n) { return low_word(static_cast<std::uint64_t>(n)); };
    const Index H = x.dimension(1), Sq = x.dimension(2), Sk = x.dimension(3);
    parallel_for(row_count(x), [&](Index r) {
        const auto x_row = nth_row(x, r);
        auto out_row = nth_row(out, r);
        const Index i = r % Sq, h = r / Sq % H, b = r / Sq / H;
        std::array<std::uint32_t, 4> words{};
        for (Index j = 0; j < Sk; ++j) {
            if (!call.training) {
                out_row[j] = x_row[j];
                continue;
            }
            if (j % 4 == 0) words = philox4x32({position(j / 4), position(i), position(h), position(b)}, key);
            const bool kept = words[static_cast<std::size_t>(j % 4)] >= threshold;
            out_row[j] = kept ? factor * x_row[j] : ScalarOf<X>(0);
        }
    });
    return out;
}
}  // namespace detail

/// Returns x with elements dropped as `call` says; x itself, bit for bit, when not training.
template <TensorOf<4> X>
auto dropout_forward(const X& x, DropoutConfig config, const DropoutCall& call) -> Tensor<ScalarOf<X>, 4> {
    return detail::dropout_apply(x, config, call);
}

/// Takes d_out, then exactly forward's arguments. Only the shape of x matters.
template <TensorOf<4> Out, TensorOf<4> X>
auto dropout_backward(const Out& d_out, const X& x, DropoutConfig config, const DropoutCall& call)
    -> DropoutGrads<ScalarOf<X>> {
    static_assert(std::is_same_v<ScalarOf<Out>, ScalarOf<X>>, "dropout: d_out and x differ");
    require_same_shape("dropout: d_out", d_out.dimensions(), x.dimensions());
    return {detail::dropout_apply(d_out, config, call)};
}

}  // namespace mta
