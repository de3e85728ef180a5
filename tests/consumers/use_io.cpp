// A user's program with files: a tensor written to safetensors bytes and read back.
// SPDX-License-Identifier: MIT
#include <mta/io/safetensors.hpp>

int main() {
    auto q = mta::zeros<double>(2, 3);
    q.setConstant(0.5);
    mta::io::SafetensorsFile file;
    file.tensors.push_back(mta::io::from_tensor("q", q, mta::io::DType::F64));
    const auto again = mta::io::parse_safetensors(mta::io::serialise_safetensors(file));
    return mta::io::to_tensor<double, 2>(again, "q")(1, 2) == 0.5 ? 0 : 1;
}
