// A candidate with one classic bug, for the oracle to catch: its kernel is flipped on the key axis.
// SPDX-License-Identifier: MIT
//
// flipped-kernel CONFIG.json IN.safetensors OUT.safetensors
// Everything else is right: the kernel is read mirrored along its keys, and its gradient is written mirrored
// back, as code that indexes kernel[h, u, Ck-1-v] throughout would do.
#include <cstdio>
#include <mta/oracle/eval.hpp>

namespace {

using namespace mta;

// The tensor (H, Cq, Ck) of this name, mirrored along the last axis.
void mirror(io::SafetensorsFile& file, const std::string& name) {
    for (auto& stored : file.tensors) {
        if (stored.name != name) continue;
        auto kernel = io::to_tensor<double, 3>(stored);
        const Tensor<double, 3> original = kernel;
        for (Index h = 0; h < kernel.dimension(0); ++h)
            for (Index u = 0; u < kernel.dimension(1); ++u)
                for (Index v = 0; v < kernel.dimension(2); ++v)
                    kernel(h, u, v) = original(h, u, kernel.dimension(2) - 1 - v);
        stored = io::from_tensor(name, kernel, stored.dtype);
    }
}

void run(const char* config_path, const char* in_path, const char* out_path) {
    const auto config = oracle::read_config(config_path);
    auto in = io::read_safetensors(in_path);
    mirror(in, "pre.kernel");
    in.metadata.reset();  // its digests describe the kernel as it should be read
    oracle::Notes notes;
    auto out = oracle::evaluate(config, in, {io::DType::F64, /*trace=*/true}, notes);
    mirror(out, "grad.pre.kernel");
    out.metadata.reset();
    io::write_safetensors(out_path, out);
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 4) {
        std::fprintf(stderr, "usage: flipped-kernel CONFIG.json IN.safetensors OUT.safetensors\n");
        return 2;
    }
    try {
        run(argv[1], argv[2], argv[3]);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "flipped-kernel: %s\n", error.what());
        return 3;
    }
    return 0;
}
