// Sums of products of a gradient with what it belongs to, by head, channel or document.
// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <mta/core/random.hpp>
#include <mta/oracle/problem.hpp>
#include <span>
#include <string>
#include <vector>

namespace mta::oracle::detail {

/// One side of an identity: for every key the sum, the sum of the magnitudes of its terms, and what gradients
/// that are too small for their type may have lost.
struct Sums {
    std::vector<long double> sum, size, lost;

    explicit Sums(Index keys) : sum(static_cast<std::size_t>(keys)), size(sum), lost(sum) {}
    void add(Index key, long double term, long double magnitude, long double loss = 0) {
        sum[static_cast<std::size_t>(key)] += term;
        size[static_cast<std::size_t>(key)] += magnitude;
        lost[static_cast<std::size_t>(key)] += loss;
    }
    /// Adds every sum of `other` to the key that `key` says.
    template <class Key>
    void add(const Sums& other, Key&& key) {
        for (std::size_t n = 0; n < other.sum.size(); ++n)
            add(key(static_cast<Index>(n)), other.sum[n], other.size[n], other.lost[n]);
    }
    void add(const Sums& other) {
        add(other, [](Index n) { return n; });
    }
};

/// Gradients below this may be 0: subnormal numbers are often flushed, and half precision has few others.
inline double smallest_gradient(io::DType dtype) {
    return dtype == io::DType::F16 ? 0x1p-24 : dtype == io::DType::F64 ? 0x1p-1022 : 0x1p-126;
}

/// sum over n of d[n] x[n], each under key(n).
template <AnyTensor T, class Key>
Sums products(const NamedTensor& d, const T& x, Index keys, io::DType dtype, Key&& key) {
    Sums s(keys);
    const long double tiny = smallest_gradient(dtype);
    for (Index n = 0; n < x.size(); ++n) {
        const long double at = x.data()[n], term = d.values[static_cast<std::size_t>(n)] * at;
        s.add(key(n), term, std::abs(term), tiny * std::abs(at));
    }
    return s;
}

/// Where a row (b, h, i) of a tensor (B, heads, S, D) stands: batch row, document, key-value head.
struct Places {
    Index Hkv = 1, S = 1, count = 0;
    std::vector<std::vector<Index>> place;  // (b, i) -> number of the document, over all batch rows
    std::vector<std::vector<Index>> names;  // of a key: batch row, first token of the document, kv head

    explicit Places(const Problem& p) : Hkv{p.config.attention.key_value_heads()}, S{p.sequence()} {
        const auto documents = p.config.call().documents;
        for (Index b = 0; b < p.batch(); ++b) {
            place.emplace_back();
            for (Index i = 0; i < S; ++i) {
                if (documents.around(b, i, S).begin == i) {
                    for (Index n = 0; n < Hkv; ++n)
                        names.push_back({b, i, n});
                    ++count;
                }
                place.back().push_back(count - 1);
            }
        }
    }
    Index keys() const { return count * Hkv; }
    Index key(Index b, Index kv, Index i) const {
        return place[static_cast<std::size_t>(b)][static_cast<std::size_t>(i)] * Hkv + kv;
    }
};

/// a . x and the sum of the magnitudes of its terms.
struct Projection {
    long double value = 0, size = 0;
    explicit Projection(long double x) : value{x}, size{std::abs(x)} {}
    Projection(std::span<const double> a, const double* x) {
        for (std::size_t d = 0; d < a.size(); ++d) {
            const long double term = static_cast<long double>(a[d]) * x[d];
            value += term;
            size += std::abs(term);
        }
    }
};

/// Calls f(key, values, row, h) for every row of a tensor (B, heads, S, D).
template <class F>
void for_each_row(const Problem& p, const Places& places, Index heads, F&& f) {
    const Index per_kv = heads / places.Hkv;
    for (Index b = 0; b < p.batch(); ++b)
        for (Index h = 0; h < heads; ++h)
            for (Index i = 0; i < places.S; ++i)
                f(places.key(b, h / per_kv, i), (b * heads + h) * places.S + i, h);
}

/// Random directions in the space of channels; the same for every call.
struct Directions {
    std::vector<double> a, b;
    explicit Directions(Index D) {
        Random random(0x1de27171);
        for (Index d = 0; d < D; ++d) {
            a.push_back(random.normal());
            b.push_back(random.normal());
        }
    }
};

/// sum over rows of (d . a)(x . b) by document and key-value head.
template <AnyTensor T>
Sums projected(const Problem& p, const Places& places, const NamedTensor& d, const T& x,
               std::span<const double> a, std::span<const double> b) {
    Sums s(places.keys());
    const Index D = x.dimension(3);
    const long double tiny = smallest_gradient(p.dtype) * static_cast<long double>(D);
    for_each_row(p, places, x.dimension(1), [&](Index key, Index row, Index) {
        const Projection left(a, d.values.data() + row * D), right(b, x.data() + row * D);
        s.add(key, left.value * right.value, left.size * right.size, tiny * right.size);
    });
    return s;
}

/// sum over rows of d . a by document and key-value head, times factor(h).
template <class Factor>
Sums summed(const Problem& p, const Places& places, const double* d, Index heads, std::span<const double> a,
            Factor&& factor) {
    Sums s(places.keys());
    const Index D = p.config.attention.head_dim;
    for_each_row(p, places, heads, [&](Index key, Index row, Index h) {
        const Projection x(a, d + row * D);
        const Projection times = factor(h);
        s.add(key, x.value * times.value, x.size * times.size, smallest_gradient(p.dtype) * times.size);
    });
    return s;
}

/// By query head: the size of what cancels in sums of logits times their gradients where the logits of a row have a
/// common offset, since the gradients of a row sum to about 0. An estimate: the gradients' size is inferred from dq,
/// which sees the keys' deviations from their mean.
inline std::vector<long double> offset_sizes(const Problem& p, const Places& places, const NamedTensor& d_q) {
    const Index D = p.config.attention.head_dim, Hkv = places.Hkv;
    const auto keys = static_cast<std::size_t>(places.keys());
    std::vector<std::vector<long double>> mean(keys, std::vector<long double>(static_cast<std::size_t>(D)));
    std::vector<long double> count(keys), square(keys),
        sizes(static_cast<std::size_t>(p.config.attention.heads));
    const auto each_key = [&](auto&& f) {
        for_each_row(p, places, Hkv, [&](Index key, Index row, Index) {
            for (Index d = 0; d < D; ++d)
                f(static_cast<std::size_t>(key), static_cast<std::size_t>(d), p.k.data()[row * D + d]);
        });
    };
    for_each_row(p, places, Hkv, [&](Index key, Index, Index) { count[static_cast<std::size_t>(key)] += 1; });
    each_key([&](std::size_t key, std::size_t d, double x) { mean[key][d] += x / count[key]; });
    each_key([&](std::size_t key, std::size_t d, double x) {
        square[key] += (x - mean[key][d]) * (x - mean[key][d]) / count[key];
    });
    for_each_row(p, places, p.config.attention.heads, [&](Index k, Index row, Index h) {
        const auto key = static_cast<std::size_t>(k);
        long double offset = 0, gradient = 0;
        for (Index d = 0; d < D; ++d) {
            const auto n = static_cast<std::size_t>(row * D + d);
            offset += p.q.data()[n] * mean[key][static_cast<std::size_t>(d)];
            gradient += d_q.values[n] * d_q.values[n];
        }
        if (square[key] > 0)
            sizes[static_cast<std::size_t>(h)] +=
                std::abs(offset) * std::sqrt(gradient * count[key] / square[key]);
    });
    return sizes;
}

}  // namespace mta::oracle::detail
