// AdamW: Adam with weight decay that does not pass through the moments.
// SPDX-License-Identifier: MIT
//
// Source   Kingma, Ba, "Adam", arXiv:1412.6980, Algorithm 1; Loshchilov, Hutter, "Decoupled Weight Decay
//          Regularization", arXiv:1711.05101, Algorithm 2, with the decay multiplied by the learning rate as in PyTorch.
// Formula  m <- b1 m + (1 - b1) g                 v <- b2 v + (1 - b2) g^2        t: this tensor's own updates, from 1
//          x <- x - lr wd x - lr m^ / (sqrt(v^) + eps)     m^ = m / (1 - b1^t)    v^ = v / (1 - b2^t)
// Groups   Decay, a factor on the learning rate and freezing by name (parameter_groups.hpp). Without rules every
//          tensor decays, norms, embeddings and convolution kernels too.
// Frozen   No bit of the tensor, its moments or its step count changes, and its gradient is not read. When it is
//          unfrozen it goes on where it stood: its bias correction counts its own updates.
// Bits     Every element by itself, in the scalar of the parameters: the same at any number of threads.
// Traps    1. A NaN or infinite gradient makes its own element of moments and parameter NaN for good: look at
//             clip_gradients' norm before the step. Other elements are not touched by it.
//          2. A learning rate of 0 moves no parameter, but moments and step count go on.
//          3. Decay pulls identity kernels towards 0; a rule with weight_decay 0 keeps them out.
// Errors   ValueError: lr, beta, eps or decay out of range, a bad rule, a state of other tensors. ShapeError: shapes of
//          gradients or moments. Everything is checked before anything changes.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <mta/core/require.hpp>
#include <mta/core/tensor.hpp>
#include <mta/optim/detail/chunks.hpp>
#include <mta/optim/parameter_groups.hpp>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace mta {

/// Choices fixed before training.
struct AdamWConfig {
    double beta1 = 0.9;
    double beta2 = 0.95;
    double eps = 1e-8;
    double weight_decay = 0.1;  // for tensors that no rule gives another
};

/// What the optimizer remembers between steps; a checkpoint holds all of it.
template <class Params>
struct AdamWState {
    Params first, second;             // m and v, shaped like the parameters
    std::vector<std::int64_t> steps;  // updates of each tensor, in the order of for_each
};

/// Moments of 0 and no updates yet.
template <class Params>
AdamWState<Params> make_adamw_state(const Params& params) {
    AdamWState<Params> state{params, params, {}};
    Params::for_each(
        [&](std::string_view, auto& m, auto& v) {
            std::fill_n(m.data(), m.size(), 0);
            std::fill_n(v.data(), v.size(), 0);
            state.steps.push_back(0);
        },
        state.first, state.second);
    return state;
}

/// Throws ValueError with one sentence unless the configuration can work.
inline void check_config(const AdamWConfig& c) {
    const auto beta = [](std::string_view name, double value) {
        require<ValueError>(value >= 0 && value < 1, "adamw: ", name, ": got ", value,
                            ", expected at least 0 and below 1");
    };
    beta("beta1", c.beta1);
    beta("beta2", c.beta2);
    require<ValueError>(c.eps > 0 && std::isfinite(c.eps), "adamw: eps: got ", c.eps,
                        ", expected finite and above 0");
    require<ValueError>(c.weight_decay >= 0 && std::isfinite(c.weight_decay), "adamw: weight_decay: got ",
                        c.weight_decay, ", expected finite and at least 0");
}

namespace detail {

// x[n] <- sqrt(x[n]), correctly rounded. std::sqrt may set errno, so compilers leave a loop of it scalar: four at a
// time, named, make the whole step two to five times as fast.
template <class Scalar>
void square_roots(Scalar* x, Index count) {
    Index n = 0;
#if defined(__SSE2__)
    if constexpr (std::is_same_v<Scalar, float>)
        for (; n + 4 <= count; n += 4)
            _mm_storeu_ps(x + n, _mm_sqrt_ps(_mm_loadu_ps(x + n)));
#endif
    for (; n < count; ++n)
        x[n] = std::sqrt(x[n]);
}

// The numbers of one tensor's update.
template <class Scalar>
struct AdamWFactors {
    Scalar keep_first, add_first, keep_second, add_second;  // b1, 1 - b1, b2, 1 - b2
    Scalar rate;                                            // lr / (1 - b1^t)
    Scalar decay;                                           // lr wd
    Scalar root_scale;                                      // 1 / sqrt(1 - b2^t)
    Scalar eps;                                             // never 0: an element without gradients stays
    AdamWFactors(const AdamWConfig& c, const ParameterSettings& settings, double lr, std::int64_t t)
        : keep_first(static_cast<Scalar>(c.beta1)),
          add_first(static_cast<Scalar>(1 - c.beta1)),
          keep_second(static_cast<Scalar>(c.beta2)),
          add_second(static_cast<Scalar>(1 - c.beta2)),
          rate(static_cast<Scalar>(lr * settings.lr_scale / (1 - std::pow(c.beta1, static_cast<double>(t))))),
          decay(static_cast<Scalar>(lr * settings.lr_scale * settings.weight_decay)),
          root_scale(static_cast<Scalar>(1 / std::sqrt(1 - std::pow(c.beta2, static_cast<double>(t))))),
          eps(std::max(static_cast<Scalar>(c.eps), std::numeric_limits<Scalar>::min())) {}
};

template <class Scalar>
void adamw_update(const AdamWFactors<Scalar>& c, const Scalar* g, Scalar* x, Scalar* m, Scalar* v,
                  Index count) {
    constexpr Index strip = 256;  // roots are taken strip by strip, so that they stay in the first cache
    std::array<Scalar, strip> root;
    for (Index first = 0; first < count; first += strip) {
        const Index end = std::min(strip, count - first);
        for (Index n = 0; n < end; ++n) {
            const Index at = first + n;
            m[at] = c.keep_first * m[at] + c.add_first * g[at];
            v[at] = c.keep_second * v[at] + c.add_second * g[at] * g[at];
            root[static_cast<std::size_t>(n)] = v[at];
        }
        square_roots(root.data(), end);
        // One subtraction, so that a small decay is not rounded away as it would be in 1 - lr wd.
        for (Index n = 0; n < end; ++n) {
            const Index at = first + n;
            x[at] -=
                c.decay * x[at] + c.rate * m[at] / (root[static_cast<std::size_t>(n)] * c.root_scale + c.eps);
        }
    }
}

template <class Params>
void check_adamw(const Params& params, const Params& grads, const AdamWState<Params>& state,
                 const AdamWConfig& config, double lr, const ParameterGroups& groups) {
    check_config(config);
    require<ValueError>(lr >= 0 && std::isfinite(lr), "adamw: lr: got ", lr,
                        ", expected finite and at least 0");
    check_rules(groups, params);
    std::size_t tensors = 0;
    Params::for_each(
        [&](std::string_view name, const auto& x, const auto& g, const auto& m, const auto& v) {
            ++tensors;
            const auto check = [&](std::string_view what, const auto& t) {
                if (t.dimensions() != x.dimensions())
                    require_same_shape("adamw: " + std::string(what) + " of " + std::string(name),
                                       t.dimensions(), x.dimensions());
            };
            check("gradient", g);
            check("first moment", m);
            check("second moment", v);
        },
        params, grads, state.first, state.second);
    require<ValueError>(state.steps.size() == tensors, "adamw: state.steps: got ", state.steps.size(),
                        " counts, expected one for each of the ", tensors, " tensors");
    for (const std::int64_t steps : state.steps)
        require<ValueError>(steps >= 0, "adamw: state.steps: got ", steps, ", expected at least 0");
}

}  // namespace detail

/// One update of every tensor that is not frozen, in place. `lr` is the learning rate of this step.
template <class Params>
void adamw_step(Params& params, const Params& grads, AdamWState<Params>& state, const AdamWConfig& config,
                double lr, const ParameterGroups& groups = {}) {
    detail::check_adamw(params, grads, state, config, lr, groups);
    std::size_t tensor = 0;
    Params::for_each(
        [&](std::string_view name, auto& x, const auto& g, auto& m, auto& v) {
            std::int64_t& steps = state.steps[tensor++];
            const auto settings = groups.settings_for(name, {config.weight_decay, 1, false});
            if (settings.frozen) return;
            using Scalar = std::remove_cvref_t<decltype(*x.data())>;
            const detail::AdamWFactors<Scalar> factors(config, settings, lr, ++steps);
            detail::for_each_chunk(x.size(), [&](Index first, Index count) {
                detail::adamw_update(factors, g.data() + first, x.data() + first, m.data() + first,
                                     v.data() + first, count);
            });
        },
        params, grads, state.first, state.second);
}

}  // namespace mta
