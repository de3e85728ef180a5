// Reads the fixtures under tests/golden; every file is parsed once per test executable.
// SPDX-License-Identifier: MIT
#include "support/golden.hpp"

#include <cstdint>
#include <filesystem>
#include <map>
#include <mta/io/safetensors.hpp>
#include <string>

namespace mta::test {
namespace {

const io::SafetensorsFile& fixture(const std::string& stem) {
    static std::map<std::string, io::SafetensorsFile> read;
    const auto found = read.find(stem);
    if (found != read.end()) return found->second;
    return read
        .emplace(stem, io::read_safetensors(std::filesystem::path(MTA_TEST_DATA) / (stem + ".safetensors")))
        .first->second;
}

}  // namespace

Golden::Golden(std::string stem) : stem_(std::move(stem)) {
    fixture(stem_);
}

template <int Rank>
Tensor<double, Rank> Golden::tensor(const std::string& name) const {
    const io::StoredTensor& stored = fixture(stem_).at(name);
    // A float32 fixture would widen without a word and pass for exact.
    require<io::FileError>(stored.dtype == io::DType::F64, "Golden: ", stem_, ": tensor ", name, ": got ",
                           io::dtype_name(stored.dtype), ", expected F64");
    return io::to_tensor<double, Rank>(stored);
}

template <int Rank>
Tensor<std::int64_t, Rank> Golden::integers(const std::string& name) const {
    return io::to_integer_tensor<std::int64_t, Rank>(fixture(stem_), name);
}

bool Golden::has(const std::string& name) const {
    return fixture(stem_).find(name) != nullptr;
}

template Tensor<double, 1> Golden::tensor<1>(const std::string&) const;
template Tensor<double, 2> Golden::tensor<2>(const std::string&) const;
template Tensor<double, 3> Golden::tensor<3>(const std::string&) const;
template Tensor<double, 4> Golden::tensor<4>(const std::string&) const;
template Tensor<double, 5> Golden::tensor<5>(const std::string&) const;
template Tensor<std::int64_t, 1> Golden::integers<1>(const std::string&) const;
template Tensor<std::int64_t, 2> Golden::integers<2>(const std::string&) const;
template Tensor<std::int64_t, 3> Golden::integers<3>(const std::string&) const;

}  // namespace mta::test
