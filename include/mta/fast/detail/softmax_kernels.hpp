// Softmax and sparsemax along the keys of one row of packets: every lane is a head of its own.
// SPDX-License-Identifier: MIT
//
// Statistics  two numbers per row and head from which a backward pass makes the weights again:
//             softmax: the maximum and 1 / sum of exp(score - maximum); sparsemax: the maximum and tau.
// Order       sums run over four interleaved partial sums, key j into number j % 4: the bits depend on the row alone.
// Traps       1. Only visible keys are visited, so nothing is masked with -inf; a score of -inf gives exactly 0.
//             2. Eigen's exp of -inf is not 0 and minima may drop NaN: both are selected here.
#pragma once

#include <limits>
#include <mta/fast/detail/lanes.hpp>
#include <mta/layers/multi_token_attention_config.hpp>

namespace mta::fast {

namespace detail {

template <class P>
MTA_FAST_INLINE P select(const P& mask, const P& yes, const P& no) {
    return Eigen::internal::pselect(mask, yes, no);
}
template <class P>
MTA_FAST_INLINE P less(const P& a, const P& b) {
    return Eigen::internal::pcmp_lt(a, b);
}
template <class P>
MTA_FAST_INLINE P equal(const P& a, const P& b) {
    return Eigen::internal::pcmp_eq(a, b);
}

// exp(x) for x <= 0; 0 where the result would be no normal number, NaN where x is.
template <class Scalar>
MTA_FAST_INLINE Packet<Scalar> exp_of(const Packet<Scalar>& x) {
    using namespace Eigen::internal;
    const auto smallest = all(std::is_same_v<Scalar, float> ? Scalar(-87) : Scalar(-708));
    const auto e = select(less(x, smallest), all(Scalar(0)), pexp(x));
    return select(equal(x, x), e, x);
}

// The sum of f(j) over the keys.
template <class Scalar, class F>
MTA_FAST_INLINE Packet<Scalar> sum_over_keys(Index keys, F&& f) {
    using Eigen::internal::padd;
    Packet<Scalar> sum[4];
    unroll<4>([&](auto n) MTA_FAST_LAMBDA { sum[n] = all(Scalar(0)); });
    Index j = 0;
    for (; j + 4 <= keys; j += 4)
        unroll<4>([&](auto n) MTA_FAST_LAMBDA { sum[n] = padd(sum[n], f(j + n)); });
    unroll<3>([&](auto n) MTA_FAST_LAMBDA {
        if (j + n < keys) sum[n] = padd(sum[n], f(j + n));
    });
    return padd(padd(sum[0], sum[1]), padd(sum[2], sum[3]));
}

// The largest score of each lane; a NaN may be missed.
template <class Scalar>
Packet<Scalar> row_maximum(const Scalar* row, Index keys) {
    using Eigen::internal::pmax;
    constexpr Index W = lanes<Scalar>;
    Packet<Scalar> most[4];
    unroll<4>([&](auto n) MTA_FAST_LAMBDA { most[n] = load(row); });
    Index j = 0;
    for (; j + 4 <= keys; j += 4)
        unroll<4>([&](auto n) MTA_FAST_LAMBDA { most[n] = pmax(most[n], load(row + (j + n) * W)); });
    for (; j < keys; ++j)
        most[0] = pmax(most[0], load(row + j * W));
    return pmax(pmax(most[0], most[1]), pmax(most[2], most[3]));
}

// tau of the scores minus their maximum (Michelot's projection): drop what lies below the threshold of those that are
// left, until nothing drops. NaN in lanes that hold NaN or +inf.
template <class Scalar>
Packet<Scalar> sparsemax_tau(const Scalar* row, Index keys, const Packet<Scalar>& maximum) {
    using namespace Eigen::internal;
    using P = Packet<Scalar>;
    constexpr Index W = lanes<Scalar>;
    const P zero = all(Scalar(0)), one = all(Scalar(1));
    const P lowest = all(-std::numeric_limits<Scalar>::infinity());
    P tau = all(Scalar(-1)), size = zero;
    const P spoilt = sum_over_keys<Scalar>(keys, [&](Index j) MTA_FAST_LAMBDA {
        const P x = load(row + j * W);
        return select(equal(x, lowest), zero, psub(x, x));
    });
    for (bool dropped = true; dropped;) {
        const auto inside = [&](Index j) { return less(tau, psub(load(row + j * W), maximum)); };
        const P count = sum_over_keys<Scalar>(keys, [&](Index j) { return select(inside(j), one, zero); });
        const P sum = sum_over_keys<Scalar>(
            keys, [&](Index j) { return select(inside(j), psub(load(row + j * W), maximum), zero); });
        dropped = predux(pabs(psub(count, size))) > 0;
        if (dropped) tau = select(less(zero, count), pdiv(psub(sum, one), count), tau);
        size = count;
    }
    return padd(tau, padd(spoilt, psub(maximum, maximum)));
}

}  // namespace detail

/// What the weights of a row follow from: two packets.
template <class Scalar>
struct RowStatistics {
    Packet<Scalar> maximum, second;
};

/// Scores become weights, in place, with statistics that are known: those of the forward pass give its bits.
template <class Scalar>
void normalise_row(Scalar* row, Index keys, const RowStatistics<Scalar>& s, Normalise kind) {
    using namespace Eigen::internal;
    constexpr Index W = lanes<Scalar>;
    if (kind == Normalise::softmax) {
        for (Index j = 0; j < keys; ++j)
            store(row + j * W, pmul(detail::exp_of<Scalar>(psub(load(row + j * W), s.maximum)), s.second));
        return;
    }
    const auto zero = all(Scalar(0)), outside = pmul(s.second, zero);  // 0, or NaN in a row without an answer
    for (Index j = 0; j < keys; ++j) {
        const auto weight = psub(psub(load(row + j * W), s.maximum), s.second);
        store(row + j * W, detail::select(detail::less(zero, weight), weight, outside));
    }
}

/// Scores become weights, in place; returns their statistics.
template <class Scalar>
RowStatistics<Scalar> normalise_row(Scalar* row, Index keys, Normalise kind) {
    using namespace Eigen::internal;
    constexpr Index W = lanes<Scalar>;
    const auto maximum = detail::row_maximum(row, keys);
    if (kind == Normalise::sparsemax) {
        const RowStatistics<Scalar> s{maximum, detail::sparsemax_tau(row, keys, maximum)};
        normalise_row(row, keys, s, kind);
        return s;
    }
    const auto sum = detail::sum_over_keys<Scalar>(keys, [&](Index j) MTA_FAST_LAMBDA {
        const auto e = detail::exp_of<Scalar>(psub(load(row + j * W), maximum));
        store(row + j * W, e);
        return e;
    });
    const auto inverse = pdiv(all(Scalar(1)), sum);
    for (Index j = 0; j < keys; ++j)
        store(row + j * W, pmul(load(row + j * W), inverse));
    return {maximum, inverse};
}

/// d_scores from the gradient of the weights; may overwrite `d`.
template <class Scalar>
void normalise_row_backward(const Scalar* d, const Scalar* weights, Scalar* d_scores, Index keys,
                            Normalise kind) {
    using namespace Eigen::internal;
    using P = Packet<Scalar>;
    constexpr Index W = lanes<Scalar>;
    const auto weight = [&](Index j) MTA_FAST_LAMBDA { return load(weights + j * W); };
    const auto given = [&](Index j) MTA_FAST_LAMBDA { return load(d + j * W); };
    if (kind == Normalise::softmax) {
        const P mean = detail::sum_over_keys<Scalar>(
            keys, [&](Index j) MTA_FAST_LAMBDA { return pmul(weight(j), given(j)); });
        for (Index j = 0; j < keys; ++j)
            store(d_scores + j * W, pmul(weight(j), psub(given(j), mean)));
        return;
    }
    const P zero = all(Scalar(0)), one = all(Scalar(1));
    const auto inside = [&](Index j) MTA_FAST_LAMBDA { return detail::less(zero, weight(j)); };
    const P size = detail::sum_over_keys<Scalar>(
        keys, [&](Index j) MTA_FAST_LAMBDA { return detail::select(inside(j), one, zero); });
    const P sum = detail::sum_over_keys<Scalar>(
        keys, [&](Index j) MTA_FAST_LAMBDA { return detail::select(inside(j), given(j), zero); });
    const P mean = pdiv(sum, pmax(size, one));
    for (Index j = 0; j < keys; ++j) {
        const P x = detail::select(inside(j), psub(given(j), mean), zero);
        store(d_scores + j * W, detail::select(detail::equal(weight(j), weight(j)), x, weight(j)));
    }
}

}  // namespace mta::fast
