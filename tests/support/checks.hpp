// What every test file says: agreement with a sentence on failure, and the three witnesses of a gradient.
// SPDX-License-Identifier: MIT
#pragma once

#include <doctest/doctest.h>

#include <mta/check/adjoint.hpp>
#include <mta/check/central_difference.hpp>
#include <mta/check/compare.hpp>
#include <mta/check/complex_step.hpp>

#include "random_tensor.hpp"

namespace mta::test {

/// got agrees with want within max|got - want| <= relative * max|want|; the sentence is printed on failure.
template <AnyTensor Got, AnyTensor Want>
void check_agrees(std::string_view name, const Got& got, const Want& want, double relative) {
    const auto c = check::compare(name, got, want, {.relative = relative});
    CHECK_MESSAGE(c, c.sentence);
}

/// got and want hold the same bits.
template <AnyTensor Got, AnyTensor Want>
void check_same_bits(std::string_view name, const Got& got, const Want& want) {
    const auto c = check::compare_bits(name, got, want);
    CHECK_MESSAGE(c, c.sentence);
}

/// Random direction, hence the seed of the adjoint check.
inline constexpr std::uint64_t direction_seed = 0xd12ec7;

/// <d_out, J u> = <d_x, u> for a random u, with J u by complex step. 1e-13: each side is a sum of products
/// that are themselves right to a few eps, and the error is relative to the sum of their magnitudes.
template <AnyTensor DOut, AnyTensor X, AnyTensor DX, class F>
void check_adjoint(std::string_view name, const DOut& d_out, const X& x, const DX& d_x, F&& f) {
    auto u = zeros_like(x);
    Random random(direction_seed);
    fill_normal(u, random);
    const auto identity = check::adjoint_identity(d_out, check::complex_step_jvp(x, u, f), d_x, u);
    CHECK_MESSAGE(identity.error <= 1e-13, name, ": <d_out, J u> = ", identity.output_side,
                  " but <d_x, u> = ", identity.input_side, ", error ", identity.error);
}

/// Central differences run in long double (64 bits of mantissa on x86-64): truncation step^4 f^(5) / 30 =
/// 3e-22 f^(5) and rounding eps |f| / step = 1e-14 |f| stay below 1e-10 of the gradient even where a norm of
/// small numbers makes derivatives steep.
inline constexpr double difference_step = 1e-5;
inline constexpr double difference_bound = 1e-10;

template <AnyTensor DOut, AnyTensor X, class F>
auto difference_gradient(const DOut& d_out, const X& x, F&& f) {
    return cast<double>(check::central_difference_gradient(d_out, cast<long double>(x), f, difference_step));
}

/// Judges the gradient d_x of <d_out, f(x)> by complex step (1e-13), the adjoint identity (1e-13) and
/// fourth-order central differences (1e-10). f must
/// accept a tensor of any scalar: [&](const auto& x) { return op_forward(x,
/// cast<ScalarOf<decltype(x)>>(other), config); }
template <AnyTensor DOut, AnyTensor X, AnyTensor DX, class F>
void check_gradient(std::string_view name, const DOut& d_out, const X& x, const DX& d_x, F&& f) {
    check_agrees(name, d_x, check::complex_step_gradient(d_out, x, f), 1e-13);
    check_adjoint(name, d_out, x, d_x, f);
    check_agrees(name, d_x, difference_gradient(d_out, x, f), difference_bound);
}

/// The same for every tensor of a parameter struct; f takes the parameters over any scalar.
template <AnyTensor DOut, template <class> class Params, class F>
void check_parameter_gradients(const DOut& d_out, const Params<double>& params,
                               const Params<double>& d_params, F&& f) {
    const auto exact = check::complex_step_gradients(d_out, params, f);
    Params<double>::for_each(
        [&](std::string_view name, const auto& d_member, const auto& exact_member) {
            check_agrees(name, d_member, exact_member, 1e-13);
        },
        d_params, exact);
    auto moved = cast_params<long double>(params);
    Params<double>::for_each(
        [&](std::string_view name, auto& member, const auto& d_member) {
            const auto keep = member;
            const auto f_of_member = [&](const auto& m) {
                member = m;
                return f(std::as_const(moved));
            };
            const auto numeric = difference_gradient(d_out, keep, f_of_member);
            member = keep;
            check_agrees(name, d_member, numeric, difference_bound);
        },
        moved, d_params);
}

}  // namespace mta::test
