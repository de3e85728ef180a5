// Walking parameters: what counting, optimizing, clipping, saving and gradient checking have in common.
// SPDX-License-Identifier: MIT
//
// A parameter struct P<Scalar> has a static `for_each(f, p...)` that calls f(name, p.member...) for every
// tensor, side by side over any number of instances. Nested names are joined by a dot; absent members are
// skipped. P<ShapeOnly> holds extents without elements, so a model of any size can be counted without
// allocating it.
#pragma once

#include <array>
#include <mta/core/require.hpp>
#include <mta/core/tensor.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace mta {

/// Scalar tag: parameter structs over it hold shapes and no elements.
struct ShapeOnly {};

/// The extents of a tensor without its elements.
template <int Rank>
struct Shape {
    std::array<Index, static_cast<std::size_t>(Rank)> extents{};

    Shape() = default;
    template <class... E>
    requires(sizeof...(E) == static_cast<std::size_t>(Rank)) explicit Shape(E... e)
        : extents{static_cast<Index>(e)...} {}

    Index dimension(int axis) const { return extents[static_cast<std::size_t>(axis)]; }
    const auto& dimensions() const { return extents; }
    Index size() const {
        Index product = 1;
        for (const Index e : extents)
            product *= e;
        return product;
    }
};

namespace detail {
template <class Scalar, int Rank>
struct ParameterType {
    using type = Tensor<Scalar, Rank>;
};
template <int Rank>
struct ParameterType<ShapeOnly, Rank> {
    using type = Shape<Rank>;
};
}  // namespace detail

/// A member of a parameter struct: a tensor, or only its shape when Scalar is ShapeOnly.
template <class Scalar, int Rank>
using Parameter = typename detail::ParameterType<Scalar, Rank>::type;

/// A parameter of these extents; its elements, if it has any, are 0.
template <class Scalar, class... Extents>
auto make_parameter(Extents... extents) {
    Parameter<Scalar, static_cast<int>(sizeof...(Extents))> p(static_cast<Index>(extents)...);
    if constexpr (!std::is_same_v<Scalar, ShapeOnly>) fill(p, Scalar(0));
    return p;
}

/// Wraps f so that it sees names below `prefix`: "kernel" becomes "pre.kernel".
template <class F>
auto with_prefix(std::string_view prefix, F&& f) {
    return [prefix = std::string(prefix) + ".", &f](std::string_view name, auto&... member) {
        f(prefix + std::string(name), member...);
    };
}

/// Walks an optional member of several instances; skips it when absent. Throws ShapeError when only some have
/// it.
template <class F, class First, class... Rest>
void for_each_optional(std::string_view name, F&& f, First& first, Rest&... rest) {
    require((true && ... && (rest.has_value() == first.has_value())), "for_each: ", name,
            ": present in some of the parameter sets only, expected in all or none");
    if (first.has_value()) std::remove_cvref_t<decltype(*first)>::for_each(f, *first, *rest...);
}

/// A copy of the parameters over another scalar. Structs with optional members say which are present through
/// `with_members_of`; every other tensor is reached by for_each.
template <class To, template <class> class Params, class From>
Params<To> cast_params(const Params<From>& params) {
    Params<To> copy;
    if constexpr (requires { Params<To>::with_members_of(params); })
        copy = Params<To>::with_members_of(params);
    Params<From>::for_each([](std::string_view, const auto& from, auto& to) { to = cast<To>(from); }, params,
                           copy);
    return copy;
}

/// Number of scalars that an optimizer would visit. `Params` may be over ShapeOnly.
template <class Params>
Index parameter_count(const Params& params) {
    Index count = 0;
    Params::for_each([&](std::string_view, const auto& p) { count += p.size(); }, params);
    return count;
}

}  // namespace mta
