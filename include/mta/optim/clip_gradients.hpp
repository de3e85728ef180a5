// Global-norm clipping: all gradients are one vector, and it is shortened when it is too long.
// SPDX-License-Identifier: MIT
//
// Source   Pascanu, Mikolov, Bengio, "On the difficulty of training recurrent neural networks", ICML 2013; the
//          1e-6 is that of torch.nn.utils.clip_grad_norm_.
// Formula  norm = sqrt(sum over all tensors of g^2)    g <- g min(1, max_norm / (norm + 1e-6))
// Bits     Squares are summed in double, in 8 interleaved sums per chunk of 4096 elements and chunk by chunk: the same
//          at any number of threads. A factor of 1 touches nothing.
// Traps    1. A norm that is not finite (NaN, inf) is returned and nothing is scaled: the caller decides.
//          2. Clip once per update, after accumulation; per micro-batch it is another algorithm.
//          3. Tensors that the groups freeze count for nothing and are left alone.
// Errors   ValueError: max_norm that is not above 0 (infinity is allowed: it measures only), or a bad rule.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <mta/core/require.hpp>
#include <mta/core/tensor.hpp>
#include <mta/optim/detail/chunks.hpp>
#include <mta/optim/parameter_groups.hpp>
#include <type_traits>

namespace mta {

namespace detail {

// Interleaved sums: independent additions that fill vector registers, in an order that no compiler chooses.
template <class Scalar>
double chunk_squares(const Scalar* x, Index count) {
    constexpr Index lanes = 8;
    std::array<double, lanes> sums{};
    Index n = 0;
    for (; n + lanes <= count; n += lanes)
        for (Index lane = 0; lane < lanes; ++lane) {
            const double value = static_cast<double>(x[n + lane]);
            sums[static_cast<std::size_t>(lane)] += value * value;
        }
    for (; n < count; ++n)
        sums[static_cast<std::size_t>(n % lanes)] += static_cast<double>(x[n]) * static_cast<double>(x[n]);
    double total = 0;
    for (const double sum : sums)
        total += sum;
    return total;
}

template <class Scalar>
double squares(const Scalar* x, Index size) {
    constexpr Index round = 256;  // chunks whose sums are kept on the stack
    std::array<double, round> sums{};
    double total = 0;
    for (Index first = 0; first < size; first += round * optimizer_chunk) {
        const Index count = std::min(round * optimizer_chunk, size - first);
        for_each_chunk(count, [&](Index begin, Index length) {
            sums[static_cast<std::size_t>(begin / optimizer_chunk)] =
                chunk_squares(x + first + begin, length);
        });
        for (Index n = 0; n * optimizer_chunk < count; ++n)
            total += sums[static_cast<std::size_t>(n)];
    }
    return total;
}

}  // namespace detail

/// L2 norm over every gradient, without those of tensors that the groups freeze.
template <class Params>
double global_norm(const Params& grads, const ParameterGroups& groups = {}) {
    check_rules(groups, grads);
    double total = 0;
    Params::for_each(
        [&](std::string_view name, const auto& g) {
            if (!groups.settings_for(name).frozen) total += detail::squares(g.data(), g.size());
        },
        grads);
    return std::sqrt(total);
}

/// Scales the gradients so that their global norm is at most max_norm; returns the norm before.
template <class Params>
double clip_gradients(Params& grads, double max_norm, const ParameterGroups& groups = {}) {
    require<ValueError>(max_norm > 0, "clip_gradients: max_norm: got ", max_norm, ", expected above 0");
    const double norm = global_norm(grads, groups);
    const double factor = max_norm / (norm + 1e-6);
    if (!std::isfinite(norm) || factor >= 1) return norm;
    Params::for_each(
        [&](std::string_view name, auto& g) {
            if (groups.settings_for(name).frozen) return;
            const auto scale = static_cast<std::remove_cvref_t<decltype(*g.data())>>(factor);
            detail::for_each_chunk(g.size(), [&](Index first, Index count) {
                for (auto *x = g.data() + first, *end = x + count; x != end; ++x)
                    *x *= scale;
            });
        },
        grads);
    return norm;
}

}  // namespace mta
