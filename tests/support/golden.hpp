// Values that an independent implementation computed: the fixtures under tests/golden.
// SPDX-License-Identifier: MIT
//
// Declared here and defined once in golden.cpp, so that test files need not compile the JSON parser.
#pragma once

#include <mta/core/tensor.hpp>
#include <string>

namespace mta::test {

/// One fixture file, for example Golden("ops/softmax").tensor<4>("case1.out").
class Golden {
  public:
    /// `stem`: path below tests/golden without ".safetensors". Throws when the file is missing or malformed.
    explicit Golden(std::string stem);

    /// The float64 tensor of this name. Throws when it is missing or of another rank or type.
    template <int Rank>
    Tensor<double, Rank> tensor(const std::string& name) const;

    /// The int64 tensor of this name.
    template <int Rank>
    Tensor<std::int64_t, Rank> integers(const std::string& name) const;

    bool has(const std::string& name) const;

  private:
    std::string stem_;
};

}  // namespace mta::test
