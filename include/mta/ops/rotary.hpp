// Rotary positions: turn pairs of a head's elements by an angle that grows with the token's position.
// SPDX-License-Identifier: MIT
//
// Source    Su et al., "RoFormer", arXiv:2104.09864, Sec. 3.2 (Eq. 34). Scaled frequencies: Llama 3.1's
//           published reference code.
// Forward   r elements turn; angle a = position * w_n, w_n = theta^(-2n/r), for pair (x, y) number n < r/2:
//           x' = x cos a - y sin a        y' = x sin a + y cos a        elements r..D-1 pass unchanged
// Backward  the transpose of a rotation is the rotation by -a:
//           d_x = d_x' cos a + d_y' sin a        d_y = -d_x' sin a + d_y' cos a
// Shapes    x, out: (B, H, S, D)    positions: the first token's, or one per token (B, S); integers
// Units     positions: tokens, from 0; frequencies: radians per token; x: any.
// Traps     1. Pair n is (2n, 2n+1) when interleaved (RoFormer, Llama in GGUF files) and (n, n + r/2) when
//              half_split (GPT-NeoX, Hugging Face Llama). The wrong one gives plausible, wrong scores.
//           2. For queries and keys, never for values. Packed documents restart at 0: pass positions.
//           3. The frequencies of a partial rotation divide by r, not by D.
// Errors    ShapeError: D odd without rotary_dims; shape of d_out or positions. ValueError: theta,
//           rotary_dims, a scaling constant or a position out of range.
#pragma once

#include <algorithm>
#include <cmath>
#include <concepts>
#include <limits>
#include <mta/core/parallel.hpp>
#include <mta/core/require.hpp>
#include <mta/core/tensor.hpp>
#include <optional>
#include <utility>
#include <vector>

namespace mta {

/// Which two elements of a head form pair n of r/2: (2n, 2n+1), or (n, n + r/2).
enum class RotaryLayout { interleaved, half_split };

/// Llama 3.x: slow pairs turn `factor` times slower, fast pairs as before, those between are interpolated.
struct RotaryScaling {
    double factor = 8;
    double low_freq_factor = 1;      // turns within original_context up to which a pair counts as slow
    double high_freq_factor = 4;     // turns within original_context from which it counts as fast
    double original_context = 8192;  // tokens
};

/// Choices fixed before training; they have no gradient.
struct RotaryConfig {
    RotaryLayout layout = RotaryLayout::interleaved;
    double theta = 1e4;
    std::optional<Index> rotary_dims = std::nullopt;  // r: only the first r elements turn; all D when absent
    std::optional<RotaryScaling> scaling = std::nullopt;
};

/// One d_ member per differentiable argument of forward.
template <class Scalar>
struct RotaryGrads {
    Tensor<Scalar, 4> d_x;  // (B, H, S, D)
};

namespace detail {

inline void check_rotary(Index D, const RotaryConfig& config) {
    require(config.rotary_dims || (D >= 2 && D % 2 == 0), "rotary: head dimension of x: got ", D,
            ", expected even and at least 2, or rotary_dims");
    const Index r = config.rotary_dims.value_or(D);
    require<ValueError>(r >= 2 && r <= D && r % 2 == 0, "rotary: rotary_dims: got ", r,
                        ", expected even, from 2 to the head dimension ", D);
    const auto require_positive = [](std::string_view name, double value) {
        require<ValueError>(value > 0 && std::isfinite(value), "rotary: ", name, ": got ", value,
                            ", expected finite and above 0");
    };
    require_positive("theta", config.theta);
    if (!config.scaling) return;
    const RotaryScaling& s = *config.scaling;
    require_positive("scaling.factor", s.factor);
    require_positive("scaling.low_freq_factor", s.low_freq_factor);
    require_positive("scaling.original_context", s.original_context);
    require_positive("scaling.high_freq_factor", s.high_freq_factor);
    require<ValueError>(s.high_freq_factor > s.low_freq_factor, "rotary: scaling.high_freq_factor: got ",
                        s.high_freq_factor, ", expected above low_freq_factor ", s.low_freq_factor);
}

inline double scaled_frequency(double frequency, const RotaryScaling& s) {
    const double turns = s.original_context * frequency / 6.283185307179586;
    const double fast = (turns - s.low_freq_factor) / (s.high_freq_factor - s.low_freq_factor);
    const double keep = std::clamp(fast, 0.0, 1.0);
    return (1 - keep) * frequency / s.factor + keep * frequency;
}

// cos and direction * sin of every angle, (1 or B, S, r/2): computed in double, applied in Real.
template <class Real>
struct RotaryTable {
    Tensor<Real, 3> cosine, sine;

    RotaryTable(const std::vector<double>& frequencies, const Tensor<double, 2>& positions, double direction)
        : cosine(positions.dimension(0), positions.dimension(1), static_cast<Index>(frequencies.size())),
          sine(cosine.dimensions()) {
        parallel_for(positions.size(), [&](Index p) {
            for (std::size_t n = 0; n < frequencies.size(); ++n) {
                const double angle = positions.data()[p] * frequencies[n];
                nth_row(cosine, p)[n] = static_cast<Real>(std::cos(angle));
                nth_row(sine, p)[n] = static_cast<Real>(direction * std::sin(angle));
            }
        });
    }
};

template <TensorOf<4> X, class Real = RealOf<ScalarOf<X>>>
Tensor<ScalarOf<X>, 4> rotate(const X& x, RotaryLayout layout, const RotaryTable<Real>& table) {
    const Index H = x.dimension(1), S = x.dimension(2);
    const std::size_t pairs = static_cast<std::size_t>(table.cosine.dimension(2));
    const std::size_t stride = layout == RotaryLayout::interleaved ? 2 : 1;
    const std::size_t partner = layout == RotaryLayout::interleaved ? 1 : pairs;
    Tensor<ScalarOf<X>, 4> out(x.dimensions());
    parallel_for(x.dimension(0) * H, [&](Index bh) {
        const Index b = table.cosine.dimension(0) == 1 ? 0 : bh / H;
        for (Index s = 0; s < S; ++s) {
            const auto from = nth_row(x, bh * S + s);
            const auto to = nth_row(out, bh * S + s);
            const auto cosine = row(table.cosine, b, s), sine = row(table.sine, b, s);
            for (std::size_t n = 0; n < pairs; ++n) {
                const std::size_t first = n * stride, second = first + partner;
                to[first] = from[first] * cosine[n] - from[second] * sine[n];
                to[second] = from[first] * sine[n] + from[second] * cosine[n];
            }
            std::copy(from.begin() + 2 * static_cast<Index>(pairs), from.end(),
                      to.begin() + 2 * static_cast<Index>(pairs));
        }
    });
    return out;
}

template <std::integral First>
Tensor<double, 2> rotary_positions(First first, Index, Index S) {
    require<ValueError>(std::cmp_greater_equal(first, 0), "rotary: positions: got a first position of ",
                        +first, ", expected at least 0");
    const Index last = std::numeric_limits<Index>::max() - S;
    require<ValueError>(std::cmp_less_equal(first, last), "rotary: positions: got a first position of ",
                        +first, ", expected at most ", last);
    Tensor<double, 2> positions(Index{1}, S);
    for (Index s = 0; s < S; ++s)
        positions(0, s) = static_cast<double>(static_cast<Index>(first) + s);
    return positions;
}

template <TensorOf<2> Positions>
Tensor<double, 2> rotary_positions(const Positions& given, Index B, Index S) {
    static_assert(std::is_integral_v<ScalarOf<Positions>>, "rotary: positions must be integers");
    require_same_shape("rotary: positions", given.dimensions(), std::array<Index, 2>{B, S});
    for (Index n = 0; n < given.size(); ++n) {
        const auto position = +given.data()[n];  // promoted, so that small types print as numbers
        require<ValueError>(std::cmp_greater_equal(position, 0), "rotary: positions[", n / S, ", ", n % S,
                            "]: got ", position, ", expected at least 0");
    }
    return cast<double>(given);
}

}  // namespace detail

/// Radians per token of each pair, r/2 numbers from fast to slow. Errors as above.
inline std::vector<double> rotary_frequencies(Index D, const RotaryConfig& config = {}) {
    detail::check_rotary(D, config);
    const Index r = config.rotary_dims.value_or(D);
    std::vector<double> frequencies;
    for (Index n = 0; n < r / 2; ++n) {
        const double w = std::pow(config.theta, -2.0 * static_cast<double>(n) / static_cast<double>(r));
        frequencies.push_back(config.scaling ? detail::scaled_frequency(w, *config.scaling) : w);
    }
    return frequencies;
}

/// Returns out, shaped like x. `positions`: an integer, the position of token 0 (token s stands s further),
/// or an integer tensor (B, S) with the position of every token (packed documents, gathered tokens).
template <TensorOf<4> X, class Positions = Index>
auto rotary_forward(const X& x, const RotaryConfig& config = {}, const Positions& positions = 0)
    -> Tensor<ScalarOf<X>, 4> {
    const auto frequencies = rotary_frequencies(x.dimension(3), config);
    const auto at = detail::rotary_positions(positions, x.dimension(0), x.dimension(2));
    return detail::rotate(x, config.layout, detail::RotaryTable<RealOf<ScalarOf<X>>>(frequencies, at, 1));
}

/// Takes d_out, then exactly forward's arguments; of x it reads the shape only.
template <TensorOf<4> Out, TensorOf<4> X, class Positions = Index>
auto rotary_backward(const Out& d_out, const X& x, const RotaryConfig& config = {},
                     const Positions& positions = 0) -> RotaryGrads<ScalarOf<X>> {
    require_same_shape("rotary: d_out", d_out.dimensions(), x.dimensions());
    const auto frequencies = rotary_frequencies(x.dimension(3), config);
    const auto at = detail::rotary_positions(positions, x.dimension(0), x.dimension(2));
    return {detail::rotate(d_out, config.layout,
                           detail::RotaryTable<RealOf<ScalarOf<Out>>>(frequencies, at, -1))};
}

}  // namespace mta
