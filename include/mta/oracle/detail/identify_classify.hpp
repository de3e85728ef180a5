// What a kernel or matrix that was read off a candidate is, in terms of the one that it was given.
// SPDX-License-Identifier: MIT
#pragma once

#include <mta/check/compare.hpp>
#include <mta/core/tensor.hpp>
#include <optional>
#include <string>
#include <vector>

namespace mta::oracle::detail {

/// How the taps of a kernel are moved: mirrored and transposed, then shifted, then multiplied.
struct Transform {
    bool queries = false, keys = false, transposed = false;
    Index down = 0, right = 0;
    double factor = 1;
    double error = HUGE_VAL;  // what it leaves unexplained, relative to what was read

    bool in_place() const { return down == 0 && right == 0; }
    bool same_moves(const Transform& other) const {
        return queries == other.queries && keys == other.keys && transposed == other.transposed &&
               in_place() && other.in_place();
    }
};

/// Tap (a, c) of head h under the mirrors and the transposition; 0 outside.
inline double moved_tap(const Tensor<double, 3>& kernel, Index h, Index a, Index c, const Transform& t) {
    if (t.transposed) std::swap(a, c);
    if (t.queries) a = kernel.dimension(1) - 1 - a;
    if (t.keys) c = kernel.dimension(2) - 1 - c;
    const bool inside = a >= 0 && a < kernel.dimension(1) && c >= 0 && c < kernel.dimension(2);
    return inside ? kernel(h, a, c) : 0;
}

/// The kernel under t in a window with `margin` more taps on every side. (H, Cq + 2 margin, Ck + 2 margin)
inline Tensor<double, 3> in_window(const Tensor<double, 3>& kernel, const Transform& t, Index margin) {
    auto window = zeros<double>(kernel.dimension(0), kernel.dimension(1) + 2 * margin,
                                kernel.dimension(2) + 2 * margin);
    for (Index h = 0; h < window.dimension(0); ++h)
        for (Index a = 0; a < window.dimension(1); ++a)
            for (Index c = 0; c < window.dimension(2); ++c)
                window(h, a, c) =
                    t.factor * moved_tap(kernel, h, a - margin - t.down, c - margin - t.right, t);
    return window;
}

/// The factor that brings `from` closest to `to` in least squares, and what is left, relative to `to`.
template <AnyTensor T>
std::pair<double, double> closest_factor(const T& from, const T& to) {
    double square = 0, inner = 0, size = 0, left = 0;
    for (Index n = 0; n < to.size(); ++n) {
        square += from.data()[n] * from.data()[n];
        inner += from.data()[n] * to.data()[n];
        size += to.data()[n] * to.data()[n];
    }
    const double factor = square > 0 ? inner / square : 0;
    for (Index n = 0; n < to.size(); ++n) {
        const double gap = to.data()[n] - factor * from.data()[n];
        left += gap * gap;
    }
    return {factor, size > 0 ? std::sqrt(left / size) : HUGE_VAL};
}

/// The transform that explains the window best; simple ones first, so that they win ties.
inline Transform best_transform(const Tensor<double, 3>& given, const Tensor<double, 3>& window,
                                Index margin) {
    Transform best;
    const bool square = given.dimension(1) == given.dimension(2);
    for (const bool transposed : {false, true})
        for (const bool queries : {false, true})
            for (const bool keys : {false, true})
                for (Index n = 0; n < (2 * margin + 1) * (2 * margin + 1); ++n) {
                    const auto zigzag = [](Index k) {
                        return k % 2 == 0 ? -(k / 2) : k / 2 + 1;
                    };  // 0 1 -1 2 -2
                    Transform t{
                        queries, keys, transposed, zigzag(n / (2 * margin + 1)), zigzag(n % (2 * margin + 1)),
                        1,       0};
                    if (transposed && !square) continue;
                    std::tie(t.factor, t.error) = closest_factor(in_window(given, t, margin), window);
                    if (t.error < 0.999 * best.error) best = t;
                }
    return best;
}

inline std::string factor_text(double factor) {
    return "scaled by " + check::detail::brief(factor);
}

/// "as given", "mirrored on keys, shifted by (0, 1), scaled by 0.5", "other".
inline std::string described(const Transform& t, double tolerance) {
    if (!(t.error <= tolerance)) return "other";
    std::vector<std::string> parts;
    if (t.transposed) parts.push_back("transposed");
    if (t.queries || t.keys)
        parts.push_back(std::string("mirrored on ") + (t.queries && t.keys ? "queries and keys"
                                                       : t.keys            ? "keys"
                                                                           : "queries"));
    if (!t.in_place()) parts.push_back(mta::detail::sentence("shifted by (", t.down, ", ", t.right, ")"));
    if (!(std::abs(t.factor - 1) <= tolerance)) parts.push_back(factor_text(t.factor));
    std::string text;
    for (const auto& part : parts)
        text += (text.empty() ? "" : ", ") + part;
    return text.empty() ? "as given" : text;
}

template <AnyTensor T>
bool all_small(const T& t, double bound) {
    for (Index n = 0; n < t.size(); ++n)
        if (!(std::abs(t.data()[n]) <= bound)) return false;
    return true;
}

/// The class of a kernel that was read in a window: a transform, or the two ways of not reading it.
inline std::string kernel_class(const Tensor<double, 3>& given, const Tensor<double, 3>& window, Index margin,
                                Index left, const Transform& t, double tolerance) {
    if (all_small(window, tolerance)) return "zero: nothing is read here";
    auto identity = given;
    fill(identity, 0.0);
    for (Index h = 0; h < given.dimension(0); ++h)
        identity(h, given.dimension(1) - 1, left) = 1;
    auto rest = in_window(identity, {}, margin);
    for (Index n = 0; n < rest.size(); ++n)
        rest.data()[n] -= window.data()[n];
    if (all_small(rest, tolerance)) return "identity: the kernel is not read";
    return described(t, tolerance);
}

/// The class of a matrix (H, H), row = output head, against the given one.
inline std::string matrix_class(const Tensor<double, 2>& given, const Tensor<double, 2>& found,
                                double tolerance) {
    const Index H = given.dimension(0);
    auto transposed = given, identity = given;
    for (Index g = 0; g < H; ++g)
        for (Index h = 0; h < H; ++h) {
            transposed(g, h) = given(h, g);
            identity(g, h) = g == h ? 1 : 0;
        }
    for (const auto& [matrix, name] : {std::pair{&given, "as given"},
                                       {&transposed, "transposed"},
                                       {&identity, "identity: the mix is not read"}}) {
        const auto [factor, error] = closest_factor(*matrix, found);
        if (!(error <= tolerance)) continue;
        if (std::abs(factor - 1) <= tolerance) return name;
        return (matrix == &given ? "" : std::string(name) + ", ") + factor_text(factor);
    }
    return "other";
}

}  // namespace mta::oracle::detail
