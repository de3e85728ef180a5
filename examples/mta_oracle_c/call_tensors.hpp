// Tensors of an mta_call as Eigen tensors and back, whatever their type and strides.
// SPDX-License-Identifier: MIT
#pragma once

#include <mta/oracle/detail/guarded_buffer.hpp>
#include <mta/oracle/problem.hpp>

#include "mta_oracle.h"

namespace mta::c_library {

using oracle::Problem;
using oracle::Results;

inline std::span<const mta_tensor> inputs_of(const mta_call& call) {
    return {call.inputs, static_cast<std::size_t>(call.n_inputs)};
}
inline std::span<const mta_tensor> outputs_of(const mta_call& call) {
    return {call.outputs, static_cast<std::size_t>(call.n_outputs)};
}

inline io::DType dtype_of(const mta_tensor& t) {
    switch (t.dtype) {
        case MTA_FLOAT64:
            return io::DType::F64;
        case MTA_FLOAT32:
            return io::DType::F32;
        case MTA_FLOAT16:
            return io::DType::F16;
        case MTA_BFLOAT16:
            return io::DType::BF16;
        default:
            throw ValueError(
                mta::detail::sentence("tensor '", t.name, "': dtype: got ", t.dtype,
                                      ", expected 1 (float64), 2 (float32), 3 (float16) or 4 (bfloat16)"));
    }
}

inline std::vector<Index> shape_of(const mta_tensor& t) {
    require(t.ndim >= 0 && t.ndim <= 8, "tensor '", t.name, "': ndim: got ", t.ndim, ", expected 0 to 8");
    std::vector<Index> shape(t.shape, t.shape + t.ndim);
    for (const Index extent : shape)
        require(extent >= 0, "tensor '", t.name, "': got shape ", shape, ", expected extents of at least 0");
    return shape;
}

/// Calls f(n, address) for every element in row-major order.
template <class F>
void for_each_element(const mta_tensor& t, F&& f) {
    const auto shape = shape_of(t);
    const auto size = io::dtype_size(dtype_of(t));
    Index count = 1;
    for (const Index extent : shape)
        count *= extent;
    require(count == 0 || t.data != nullptr, "tensor '", t.name, "': data: got null, expected ", count,
            " elements");
    for (Index n = 0; n < count; ++n) {
        Index rest = n, offset = 0;
        for (std::size_t axis = shape.size(); axis-- > 0;) {
            offset += rest % shape[axis] * static_cast<Index>(t.stride[axis]);
            rest /= shape[axis];
        }
        f(n, static_cast<std::byte*>(t.data) + offset * static_cast<Index>(size));
    }
}

template <int Rank>
Tensor<double, Rank> read(const mta_tensor& t) {
    const auto shape = shape_of(t);
    require(static_cast<int>(shape.size()) == Rank, "tensor '", t.name, "': got shape ", shape, ", expected ",
            Rank, " dimensions");
    Eigen::array<Index, static_cast<std::size_t>(Rank)> extents;
    std::copy(shape.begin(), shape.end(), extents.begin());
    Tensor<double, Rank> values(extents);
    const auto dtype = dtype_of(t);
    for_each_element(t, [&](Index n, const std::byte* at) {
        values.data()[n] = oracle::detail::decode(oracle::detail::load_bits(at, dtype), dtype);
    });
    return values;
}

inline void write(const mta_tensor& t, const oracle::NamedTensor& from) {
    require_same_shape(from.name, shape_of(t), from.shape);
    const auto dtype = dtype_of(t);
    for_each_element(t, [&](Index n, std::byte* at) {
        const double x = from.values[static_cast<std::size_t>(n)];
        oracle::detail::store_bits(at, dtype, oracle::detail::encode(x, dtype));
    });
}

inline const mta_tensor& input(const mta_call& call, std::string_view name) {
    for (const auto& t : inputs_of(call))
        if (t.name == name) return t;
    throw ArgumentError(mta::detail::sentence("input '", name, "': got none of this name, expected it"));
}

/// The problem that a call describes.
inline Problem problem_of(const mta_call& call, bool backward) {
    require<ValueError>(call.abi_version == MTA_ABI_VERSION, "mta_call: abi_version: got ", call.abi_version,
                        ", expected ", MTA_ABI_VERSION);
    require<ArgumentError>(call.config_json != nullptr,
                           "mta_call: config_json: got null, expected a configuration");
    Problem p;
    p.config = oracle::parse_config(io::parse_json(call.config_json, "config_json"), "config_json");
    p.q = read<4>(input(call, "q"));
    p.k = read<4>(input(call, "k"));
    p.v = read<4>(input(call, "v"));
    p.dtype = dtype_of(input(call, "q"));
    p.params = make_multi_token_attention_params<double>(p.config.attention);
    MultiTokenAttentionParams<double>::for_each(
        [&]<class T>(std::string_view name, T& member) { member = read<rank_of<T>>(input(call, name)); },
        p.params);
    if (backward) p.d_out = read<4>(input(call, "d_out"));
    oracle::check_problem(p);
    return p;
}

}  // namespace mta::c_library
