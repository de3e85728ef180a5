// The comparator: judges one tensor against another, hostile to NaN; verdict as a sentence and as data.
// SPDX-License-Identifier: MIT
//
// Relative error is per tensor, max|got - want| / max|want|: elementwise relative error is meaningless where
// terms cancel. Where want is all zero, got must be exactly zero (unless an absolute tolerance is given).
// Anything not finite on either side is a mismatch, wherever it stands. Comparing no element at all is not
// agreement. A tolerance that is negative, NaN or infinite is never met.
#pragma once

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>
#include <mta/core/require.hpp>
#include <mta/core/tensor.hpp>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace mta::check {

/// Largest accepted |got - want|: absolute + relative * max|want|.
struct Tolerance {
    double relative = 1e-12;
    double absolute = 0;
};

enum class Verdict {
    agrees,
    mismatch,  ///< shapes differ, something is not finite, or an element is beyond the tolerance
    nothing    ///< the shapes agree and hold no element: nothing was compared
};

/// What comparing two tensors found.
struct Comparison {
    Verdict verdict = Verdict::nothing;
    Index compared = 0;    // elements looked at
    Index beyond = 0;      // elements beyond the bound, not finite ones included
    Index not_finite = 0;  // elements where got or want is NaN or infinite
    double error = 0;  // max|got - want| / max|want|; infinite where not finite, or want is 0 and got is not
    double bound = 0;  // accepted |got - want|; NaN where the tolerance is negative, NaN or infinite
    std::vector<Index> where;  // index of the worst element
    double got = 0, want = 0;  // its two values
    std::string sentence;

    explicit operator bool() const { return verdict == Verdict::agrees; }
};

namespace detail {

template <class Extents>
std::vector<Index> unravel(Index n, const Extents& extents) {
    std::vector<Index> index(static_cast<std::size_t>(extents.size()));
    for (std::size_t axis = index.size(); axis-- > 0;) {
        index[axis] = n % extents[axis];
        n /= extents[axis];
    }
    return index;
}

template <class Extents>
std::size_t element_count(const Extents& extents) {
    std::size_t count = 1;
    for (const auto& extent : extents)
        count *= static_cast<std::size_t>(extent);
    return count;
}

// Three significant digits: errors and bounds are read for their size.
inline std::string brief(double x) {
    char text[32];
    return {text, std::to_chars(text, text + sizeof text, x, std::chars_format::general, 3).ptr};
}

inline std::string describe(std::string_view name, const Comparison& c) {
    const auto say = [](const auto&... parts) { return mta::detail::sentence(parts...); };
    if (c.verdict == Verdict::nothing) return say(name, ": nothing compared, the tensors hold no element");
    const std::string counts =
        say(c.compared, " elements, relative error ", brief(c.error), ", bound ", brief(c.bound));
    if (c.verdict == Verdict::agrees) return say(name, ": agrees (", counts, ")");
    return say(name, ": mismatch at ", c.where, ": got ", c.got, ", expected ", c.want, " (", c.beyond,
               " of ", counts, c.not_finite > 0 ? say(", ", c.not_finite, " not finite") : "", ")");
}

template <class Extents>
Comparison shapes_differ(std::string_view name, const Extents& got, const Extents& want) {
    Comparison c;
    c.verdict = Verdict::mismatch;
    c.error = std::numeric_limits<double>::infinity();
    c.sentence = mta::detail::sentence(name, ": got shape ", got, ", expected shape ", want);
    return c;
}

// How bad an element is; NaN and infinities are worse than any number.
inline double badness(double got, double want) {
    const double difference = std::abs(got - want);
    return std::isfinite(got) && std::isfinite(want) ? difference : std::numeric_limits<double>::infinity();
}

// NaN, which no difference satisfies, unless the tolerance is one that could be broken.
inline double accepted(Tolerance tolerance, double scale) {
    const double bound = tolerance.absolute + tolerance.relative * scale;
    const bool usable = tolerance.absolute >= 0 && tolerance.relative >= 0 && std::isfinite(bound);
    return usable ? bound : std::numeric_limits<double>::quiet_NaN();
}

inline double relative_error(double worst, double scale) {
    if (worst == 0) return 0;
    return scale > 0 ? worst / scale : std::numeric_limits<double>::infinity();
}

}  // namespace detail

/// Judges elements in memory order against what they should be; `shape` is that of both, for the index of the
/// worst element and for nothing else. Elements are judged as double: float is widened, and whole numbers,
/// which double could round into agreement, are for compare_bits. Throws ShapeError when the numbers of
/// elements of got, want and shape differ.
template <class Got, class Want, class Extents>
Comparison compare_elements(std::string_view name, std::span<const Got> got, std::span<const Want> want,
                            const Extents& shape, Tolerance tolerance = {}) {
    static_assert(std::is_floating_point_v<Got> && std::is_floating_point_v<Want>,
                  "compare: real numbers only");
    require_same("compare_elements: number of elements of got", got.size(), want.size());
    require_same("compare_elements: number of elements of shape", detail::element_count(shape), want.size());
    Comparison c;
    c.compared = static_cast<Index>(want.size());
    double scale = 0;
    for (const auto& x : want)
        if (std::isfinite(x)) scale = std::max(scale, std::abs(static_cast<double>(x)));
    c.bound = detail::accepted(tolerance, scale);
    double worst = -1;
    std::size_t worst_at = 0;
    for (std::size_t n = 0; n < want.size(); ++n) {
        const double g = static_cast<double>(got[n]), w = static_cast<double>(want[n]);
        const double bad = detail::badness(g, w);
        if (!std::isfinite(g) || !std::isfinite(w)) ++c.not_finite;
        if (!(bad <= c.bound)) ++c.beyond;
        if (bad > worst) worst = bad, worst_at = n;
    }
    if (c.compared > 0) {
        c.verdict = c.beyond == 0 && c.not_finite == 0 ? Verdict::agrees : Verdict::mismatch;
        c.error = detail::relative_error(worst, scale);
        c.where = detail::unravel(static_cast<Index>(worst_at), shape);
        c.got = static_cast<double>(got[worst_at]);
        c.want = static_cast<double>(want[worst_at]);
    }
    c.sentence = detail::describe(name, c);
    return c;
}

/// Judges `got` against `want`, real tensors; `name` begins the sentence. Never throws.
template <AnyTensor Got, AnyTensor Want>
Comparison compare(std::string_view name, const Got& got, const Want& want, Tolerance tolerance = {}) {
    static_assert(rank_of<Got> == rank_of<Want>, "compare: the ranks differ");
    if (got.dimensions() != want.dimensions())
        return detail::shapes_differ(name, got.dimensions(), want.dimensions());
    return compare_elements(name, std::span<const ScalarOf<Got>>(elements(got)),
                            std::span<const ScalarOf<Want>>(elements(want)), want.dimensions(), tolerance);
}

/// Judges whether the two hold the same bits: -0 differs from 0, and a NaN equals the same NaN.
template <AnyTensor Got, AnyTensor Want>
Comparison compare_bits(std::string_view name, const Got& got, const Want& want) {
    static_assert(std::is_same_v<TensorLike<Got>, TensorLike<Want>>, "compare_bits: the types differ");
    static_assert(!std::is_same_v<ScalarOf<Got>, long double>, "compare_bits: long double has padding");
    if (got.dimensions() != want.dimensions())
        return detail::shapes_differ(name, got.dimensions(), want.dimensions());
    Comparison c;
    c.compared = static_cast<Index>(want.size());
    for (Index n = 0; n < c.compared; ++n) {
        if (std::memcmp(got.data() + n, want.data() + n, sizeof(*want.data())) == 0) continue;
        if (c.beyond++ > 0) continue;
        c.error = std::numeric_limits<double>::infinity();
        c.where = detail::unravel(n, want.dimensions());
        c.got = static_cast<double>(got.data()[n]);
        c.want = static_cast<double>(want.data()[n]);
    }
    if (c.compared > 0) c.verdict = c.beyond == 0 ? Verdict::agrees : Verdict::mismatch;
    c.sentence = detail::describe(name, c);
    return c;
}

}  // namespace mta::check
