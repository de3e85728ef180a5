// What the tests of train/ share: a small set of parameters, files as bytes and texts.
// SPDX-License-Identifier: MIT
#pragma once

#include <doctest/doctest.h>

#include <cstring>
#include <mta/optim/adamw.hpp>
#include <string>
#include <vector>

#include "../io/io_support.hpp"
#include "support/random_tensor.hpp"

namespace mta::test {

/// Parameters of two ranks.
template <class Scalar>
struct TwoTensors {
    Parameter<Scalar, 2> matrix;
    Parameter<Scalar, 1> vector;

    template <class F, class... P>
    static void for_each(F&& f, P&... p) {
        f("layer.matrix", p.matrix...);
        f("vector", p.vector...);
    }
};

template <class Scalar = float>
TwoTensors<Scalar> random_parameters(std::uint64_t seed) {
    return {random_tensor<Scalar>(seed, 3, 2), random_tensor<Scalar>(seed + 1, 4)};
}

/// A state after a few steps: every tensor has other numbers and counts.
template <class Scalar = float>
AdamWState<TwoTensors<Scalar>> random_state(std::uint64_t seed) {
    return {random_parameters<Scalar>(seed), random_parameters<Scalar>(seed + 2), {5, 7}};
}

/// Whether all tensors hold the same bits.
template <class Params>
bool same_bits(const Params& a, const Params& b) {
    bool same = true;
    Params::for_each(
        [&](std::string_view, const auto& x, const auto& y) {
            same =
                same && x.size() == y.size() &&
                std::memcmp(x.data(), y.data(), static_cast<std::size_t>(x.size()) * sizeof(*x.data())) == 0;
        },
        a, b);
    return same;
}

inline std::string text_of(const std::filesystem::path& path) {
    const auto bytes = io::read_file(path);
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

inline void write_text(const std::filesystem::path& path, std::string_view text) {
    io::write_file_atomically(path, to_bytes(text));
}

}  // namespace mta::test
