// Cross-entropy: how surprised a language model is by the next tokens, averaged with weights.
// SPDX-License-Identifier: MIT
//
// Source    The training loss of the models in arXiv:2504.00927, Sec. 4; the eps in its denominator is that
//           of the authors' public training code.
// Forward   l[b,s] = log(sum_v exp(z[v])) - z[y]        z = logits[b,s,:], y = targets[b,s]
//           loss = sum_{b,s} mask[b,s] l[b,s] / (sum_{b,s} mask[b,s] + eps)
// Backward  with p = softmax(z), onehot[v] = 1 where v = y:
//           d_logits[b,s,v] = d_loss mask[b,s] / (sum mask + eps) (p[v] - onehot[v])
// Shapes    logits: (B, S, V)    targets: (B, S), any integer type    mask: (B, S), real weights
// Units     loss: nats per weight, so exp(loss) is the perplexity; logits: dimensionless.
// Traps     1. Targets are the tokens one step later; this function does not shift them.
//           2. A position of mask 0 is not read: its target may be -100, its logits NaN. Its token loss is 0.
//           3. p[y] - 1 cancels when the model is sure: the sum over the other tokens is used instead, and
//              log1p in the loss, so that both stay accurate relative to themselves.
//           4. The eps makes the loss of n plain tokens n / (n + eps) times their mean.
// Errors    ShapeError: shapes of targets or mask, V = 0. ValueError: a target outside 0..V-1 where the mask
//           is not 0, a mask weight that is negative or not finite, a bad eps, a denominator of 0.
#pragma once

#include <cmath>
#include <mta/core/numeric.hpp>
#include <mta/core/parallel.hpp>
#include <mta/core/require.hpp>
#include <mta/core/tensor.hpp>
#include <utility>

namespace mta {

/// Choices fixed before training; they have no gradient.
struct CrossEntropyConfig {
    double denominator_eps = 1e-6;
};

/// The loss, and the loss of each token before weighting.
template <class Scalar>
struct CrossEntropyResult {
    Scalar loss{};
    Tensor<Scalar, 2> token_losses;  // (B, S); 0 where the mask is 0
};

/// One d_ member per differentiable argument of forward; targets and mask have none.
template <class Scalar>
struct CrossEntropyGrads {
    Tensor<Scalar, 3> d_logits;  // (B, S, V)
};

namespace detail {

// Checks everything and returns sum mask + eps, in double at any scalar type.
template <TensorOf<3> Logits, TensorOf<2> Targets, TensorOf<2> Mask>
double cross_entropy_denominator(const Logits& logits, const Targets& targets, const Mask& mask,
                                 CrossEntropyConfig config) {
    static_assert(std::is_integral_v<ScalarOf<Targets>>, "cross_entropy: targets must be integers");
    const Index B = logits.dimension(0), S = logits.dimension(1), V = logits.dimension(2);
    require_same_shape("cross_entropy: targets", targets.dimensions(), std::array<Index, 2>{B, S});
    require_same_shape("cross_entropy: mask", mask.dimensions(), std::array<Index, 2>{B, S});
    require(V > 0, "cross_entropy: vocabulary of logits: got 0, expected at least 1");
    const double eps = config.denominator_eps;
    require<ValueError>(eps >= 0 && std::isfinite(eps), "cross_entropy: denominator_eps: got ", eps,
                        ", expected finite and at least 0");
    double sum = 0;
    for (Index n = 0; n < B * S; ++n) {
        const double weight = static_cast<double>(mask.data()[n]);
        require<ValueError>(weight >= 0 && std::isfinite(weight), "cross_entropy: mask[", n / S, ", ", n % S,
                            "]: got ", weight, ", expected finite and at least 0");
        sum += weight;
        if (weight == 0) continue;
        const auto target = +targets.data()[n];  // promoted, so that small types print as numbers
        require<ValueError>(std::cmp_greater_equal(target, 0) && std::cmp_less(target, V),
                            "cross_entropy: targets[", n / S, ", ", n % S, "]: got ", target,
                            ", expected from 0 to below the vocabulary size ", V);
    }
    require<ValueError>(sum + eps > 0, "cross_entropy: sum of mask plus denominator_eps: got ", sum + eps,
                        ", expected above 0");
    return sum + eps;
}

// The largest logit's place; real parts decide. It is subtracted so that no exponential overflows.
template <class Z>
std::size_t largest(Z z) {
    std::size_t top = 0;
    for (std::size_t v = 1; v < z.size(); ++v)
        if (real_part(z[v]) > real_part(z[top])) top = v;
    return top;
}

template <class Scalar>
Scalar log_one_plus(const Scalar& x) {
    if constexpr (std::is_same_v<Scalar, RealOf<Scalar>>)
        return std::log1p(x);
    else
        return std::log(Scalar(1) + x);  // std has no complex log1p; the derivative is as accurate
}

template <class Scalar, class Z>
Scalar token_loss(Z z, std::size_t target) {
    using std::exp;
    const std::size_t top = largest(z);
    Scalar rest{0};
    for (std::size_t v = 0; v < z.size(); ++v)
        if (v != top) rest += exp(z[v] - z[top]);
    return (z[top] - z[target]) + log_one_plus(rest);
}

template <class Scalar, class Z, class DZ>
void d_token_loss(const Scalar& d_loss, Z z, std::size_t target, DZ d_z) {
    using std::exp;
    const std::size_t top = largest(z);
    Scalar others{0};
    for (std::size_t v = 0; v < z.size(); ++v) {
        d_z[v] = exp(z[v] - z[top]);
        if (v != target) others += d_z[v];
    }
    const Scalar scale = d_loss / (others + d_z[target]);
    for (std::size_t v = 0; v < z.size(); ++v)
        d_z[v] *= scale;
    d_z[target] = -others * scale;
}

template <TensorOf<2> Targets>
Tensor<double, 2> ones_like(const Targets& targets) {
    Tensor<double, 2> ones(targets.dimensions());
    fill(ones, 1.0);
    return ones;
}

}  // namespace detail

/// Returns the weighted mean loss and each token's own.
template <TensorOf<3> Logits, TensorOf<2> Targets, TensorOf<2> Mask>
auto cross_entropy_forward(const Logits& logits, const Targets& targets, const Mask& mask,
                           CrossEntropyConfig config = {}) -> CrossEntropyResult<ScalarOf<Logits>> {
    using Scalar = ScalarOf<Logits>;
    const double denominator = detail::cross_entropy_denominator(logits, targets, mask, config);
    CrossEntropyResult<Scalar> result{Scalar{0}, zeros<Scalar>(logits.dimension(0), logits.dimension(1))};
    parallel_for(targets.size(), [&](Index n) {
        if (mask.data()[n] == 0) return;
        const auto target = static_cast<std::size_t>(targets.data()[n]);
        result.token_losses.data()[n] = detail::token_loss<Scalar>(nth_row(logits, n), target);
    });
    // A float loss is summed in double: a batch has 10^5 terms.
    std::conditional_t<std::is_same_v<Scalar, float>, double, Scalar> sum{0};
    for (Index n = 0; n < targets.size(); ++n)
        sum +=
            static_cast<double>(mask.data()[n]) * static_cast<decltype(sum)>(result.token_losses.data()[n]);
    result.loss = static_cast<Scalar>(sum / denominator);
    return result;
}

/// The same with every token counted once.
template <TensorOf<3> Logits, TensorOf<2> Targets>
auto cross_entropy_forward(const Logits& logits, const Targets& targets, CrossEntropyConfig config = {})
    -> CrossEntropyResult<ScalarOf<Logits>> {
    return cross_entropy_forward(logits, targets, detail::ones_like(targets), config);
}

/// Takes d_loss, then exactly forward's arguments. Positions of mask 0 get gradient 0, whatever they hold.
template <TensorOf<3> Logits, TensorOf<2> Targets, TensorOf<2> Mask>
auto cross_entropy_backward(const ScalarOf<Logits>& d_loss, const Logits& logits, const Targets& targets,
                            const Mask& mask, CrossEntropyConfig config = {})
    -> CrossEntropyGrads<ScalarOf<Logits>> {
    using Scalar = ScalarOf<Logits>;
    const double denominator = detail::cross_entropy_denominator(logits, targets, mask, config);
    CrossEntropyGrads<Scalar> g{zeros_like(logits)};
    if (d_loss == Scalar(0)) return g;
    parallel_for(targets.size(), [&](Index n) {
        if (mask.data()[n] == 0) return;
        const auto weight = static_cast<RealOf<Scalar>>(static_cast<double>(mask.data()[n]) / denominator);
        if (weight == 0) return;  // a positive double can be 0 as a float
        const auto target = static_cast<std::size_t>(targets.data()[n]);
        detail::d_token_loss<Scalar>(d_loss * weight, nth_row(logits, n), target, nth_row(g.d_logits, n));
    });
    return g;
}

/// The same with every token counted once.
template <TensorOf<3> Logits, TensorOf<2> Targets>
auto cross_entropy_backward(const ScalarOf<Logits>& d_loss, const Logits& logits, const Targets& targets,
                            CrossEntropyConfig config = {}) -> CrossEntropyGrads<ScalarOf<Logits>> {
    return cross_entropy_backward(d_loss, logits, targets, detail::ones_like(targets), config);
}

}  // namespace mta
