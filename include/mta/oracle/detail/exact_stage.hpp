// Sums that cannot round: units, magnitudes and rows of one stage.
// SPDX-License-Identifier: MIT
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <mta/check/compare.hpp>
#include <mta/oracle/detail/problem_edit.hpp>

namespace mta::oracle::detail {

/// A stage of shape (B, H, S, .): every value is a multiple of 2^exponent; the sums of magnitudes behind each.
struct ExactStage {
    Tensor<double, 4> size;
    int exponent = 0;
    std::vector<bool> rows;  // (b, h, i): the claim so far
};

/// The exponent of the last set bit of x: 12 = 3 * 2^2 has 2. Of 0, of which anything is a divisor, the largest.
inline int last_bit(double x) {
    if (x == 0) return 1 << 20;
    int exponent = 0;
    const double significand = std::frexp(std::abs(x), &exponent);
    const auto bits = static_cast<std::uint64_t>(std::ldexp(significand, 53));
    return exponent - 53 + std::countr_zero(bits);
}

/// Bits from the first to the last set one.
inline int significant_bits(double x) {
    if (x == 0) return 0;
    int exponent = 0;
    (void)std::frexp(std::abs(x), &exponent);
    return exponent - last_bit(x);
}

/// The largest e such that every element is a multiple of 2^e; 0 for a tensor of zeros.
template <AnyTensor T>
int unit_exponent(const T& t) {
    int e = 1 << 20;
    for (const double x : elements(t))
        e = std::min(e, last_bit(x));
    return e == 1 << 20 ? 0 : e;
}

template <AnyTensor T>
TensorLike<T> magnitudes(T t) {
    for (auto& x : elements(t))
        x = std::abs(x);
    return t;
}

/// A row of a convolution is exact where every row that it reads is.
inline std::vector<bool> rows_after_conv(const std::vector<bool>& before, const Problem& p, Index Cq) {
    const Index H = p.config.attention.heads, S = p.sequence();
    const auto documents = p.config.call().documents;
    auto after = before;
    for (Index r = 0; r < static_cast<Index>(before.size()); ++r) {
        const Index b = r / S / H, i = r % S, begin = documents.around(b, i, S).begin;
        for (Index up = 0; up < Cq && i - up >= begin; ++up)
            if (!before[static_cast<std::size_t>(r - up)]) after[static_cast<std::size_t>(r)] = false;
    }
    return after;
}

/// A row of a mix is exact where it is in every head of the group.
inline std::vector<bool> rows_after_mix(const std::vector<bool>& before, const Problem& p, Index Ch) {
    const Index S = p.sequence();
    auto after = before;
    for (Index r = 0; r < static_cast<Index>(before.size()); ++r) {
        const Index head = r / S, first = head / Ch * Ch;
        for (Index h = first; h < first + Ch; ++h)
            if (!before[static_cast<std::size_t>(h * S + r % S)]) after[static_cast<std::size_t>(r)] = false;
    }
    return after;
}

/// k where the weights of these scores are 2^-k at the maxima and 0 elsewhere, in every arithmetic; -1 where not.
inline int exact_halvings(std::span<const double> scores, Normalise kind, bool maximum_must_be_0) {
    // exp(-746) is 0 even as a subnormal double.
    const double gap = kind == Normalise::softmax ? 746 : 1,
                 top = *std::max_element(scores.begin(), scores.end());
    std::uint64_t maxima = 0;
    for (const double s : scores) {
        if (s == top)
            ++maxima;
        else if (!(s <= top - gap))
            return -1;
    }
    if (!std::has_single_bit(maxima) || (maximum_must_be_0 && kind == Normalise::softmax && top != 0))
        return -1;
    // Sparsemax adds up the maxima and 1: no bit of that may get lost.
    const double sum = static_cast<double>(maxima) * std::abs(top) + 1;
    if (kind == Normalise::sparsemax && (sum > 0x1p23 || last_bit(top) < 0)) return -1;
    return std::countr_zero(maxima);
}

}  // namespace mta::oracle::detail
