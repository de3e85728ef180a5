// What an implementation computed for a case: named tensors in double, under the names of the file contract.
// SPDX-License-Identifier: MIT
//
// Names    out (B, H, S, D); grad.q, grad.k, grad.v, grad.<parameter>; stage.<name>, stage.d_<name>.
// Order    pipeline_position sorts tensors as they are computed: stages, out, the gradients of the stages from
//          the output back, then the gradients of inputs and parameters.
#pragma once

#include <array>
#include <mta/core/require.hpp>
#include <mta/core/tensor.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mta::oracle {

/// Every stage of the pipeline, in its order. The contract has no dropout; traces of training may.
inline constexpr std::array<std::string_view, 10> stage_names{"logits",    "pre_conv", "pre_mix", "weights",
                                                              "post_conv", "post_mix", "dropout", "context",
                                                              "norm",      "gate"};

/// When a tensor is computed: a position that sorts names in the order of the pipeline, unknown names last.
inline std::size_t pipeline_position(std::string_view name) {
    constexpr std::size_t n = stage_names.size();
    for (std::size_t i = 0; i < n; ++i) {
        if (name == "stage." + std::string(stage_names[i])) return i;
        if (name == "stage.d_" + std::string(stage_names[i])) return 2 * n - i;
    }
    return name == "out" ? n : name.starts_with("grad.") ? 2 * n + 1 : 2 * n + 2;
}

/// Elements in row-major order.
struct NamedTensor {
    std::string name;
    std::vector<Index> shape;
    std::vector<double> values;

    /// Elements along the last axis; 1 for a tensor without axes.
    Index row_length() const { return shape.empty() ? 1 : shape.back(); }
};

/// Tensors with different names, in the order in which they were put.
struct Results {
    std::vector<NamedTensor> tensors;

    const NamedTensor* find(std::string_view name) const {
        for (const auto& t : tensors)
            if (t.name == name) return &t;
        return nullptr;
    }

    /// The tensor of this name. Throws ArgumentError when there is none.
    const NamedTensor& at(std::string_view name) const& {
        const NamedTensor* found = find(name);
        require<ArgumentError>(found != nullptr, "Results::at: name: got '", name, "', expected one of the ",
                               tensors.size(), " tensors that are there");
        return *found;
    }
    /// Of results that end with the expression, the tensor itself: nothing is left dangling in a range-based for.
    NamedTensor at(std::string_view name) && { return std::as_const(*this).at(name); }

    /// Adds a copy of `t`, or replaces the tensor of this name.
    template <AnyTensor T>
    void put(std::string_view name, const T& t) {
        NamedTensor made{std::string(name), {}, {}};
        for (int axis = 0; axis < rank_of<T>; ++axis)
            made.shape.push_back(t.dimension(axis));
        made.values.reserve(static_cast<std::size_t>(t.size()));
        for (const auto& x : elements(t))
            made.values.push_back(static_cast<double>(x));
        put(std::move(made));
    }
    void put(NamedTensor t) {
        for (auto& known : tensors)
            if (known.name == t.name) return void(known = std::move(t));
        tensors.push_back(std::move(t));
    }
};

}  // namespace mta::oracle
