// Heat maps of one head: its kernels, and its attention map before and after multi-token attention.
// SPDX-License-Identifier: MIT
//
// draw-attention CONFIG.json IN.safetensors HEAD FOLDER
// Writes FOLDER/*.png and prints their paths. "Before" is standard attention on the same queries and keys;
// "after" is the map that multiplies the values (post_mix), which may be negative and whose rows need not sum
// to 1.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <mta/io/heat_map.hpp>
#include <mta/layers/multi_token_attention.hpp>
#include <mta/layers/standard_attention.hpp>
#include <mta/oracle/config.hpp>
#include <mta/oracle/eval.hpp>
#include <string>
#include <vector>

namespace {

using namespace mta;

class Gallery {
  public:
    Gallery(std::filesystem::path folder, Index head) : folder_{std::move(folder)}, head_{head} {
        std::filesystem::create_directories(folder_);
    }

    void kernel(const std::string& name, const Tensor<double, 3>& kernel) const {
        const Index rows = kernel.dimension(1), columns = kernel.dimension(2);
        const std::span values(kernel.data() + head_ * rows * columns,
                               static_cast<std::size_t>(rows * columns));
        io::HeatMapOptions options;
        options.title = name + ", head " + std::to_string(head_) + ": queries down, keys across";
        draw(name, rows, columns, values, options);
    }

    // Keys after the query are grey. The colours end at `high`, since the first token attracts most of the
    // weight.
    void map(const std::string& name, const Tensor<double, 4>& weights, bool may_be_negative) const {
        const Index S = weights.dimension(2);
        const std::span values(weights.data() + head_ * S * S, static_cast<std::size_t>(S * S));
        std::vector<std::uint8_t> future(values.size());
        for (Index i = 0; i < S; ++i)
            for (Index j = i + 1; j < S; ++j)
                future[static_cast<std::size_t>(i * S + j)] = 1;
        io::HeatMapOptions options;
        options.title = name + ", head " + std::to_string(head_) + ": queries down, keys across";
        options.masked = future;
        options.high = 0.5;
        if (!may_be_negative) options.low = 0;
        draw(name, S, S, values, options);
    }

  private:
    void draw(const std::string& name, Index rows, Index columns, std::span<const double> values,
              const io::HeatMapOptions& options) const {
        const auto path = folder_ / (name + "_head" + std::to_string(head_) + ".png");
        io::write_heat_map(path, rows, columns, values, options);
        std::printf("%s\n", path.c_str());
    }

    std::filesystem::path folder_;
    Index head_;
};

void run(const char* config_path, const char* in_path, Index head, const char* folder) {
    const auto config = oracle::read_config(config_path);
    const auto& c = config.attention;
    require<ValueError>(head >= 0 && head < c.heads, "head: got ", head, ", expected 0 to ", c.heads - 1);
    const auto in = io::read_safetensors(in_path);
    oracle::Notes notes;
    const auto out = oracle::evaluate(config, in, {io::DType::F64, /*trace=*/true}, notes);
    const auto stage = [&](const std::string& name) {
        return io::to_tensor<double, 4>(out, "stage." + name);
    };
    const auto input = [&](const char* name) { return io::to_tensor<double, 4>(in, name); };
    const auto standard = standard_attention_forward(input("q"), input("k"), input("v"), config.call());

    const Gallery gallery(folder, head);
    if (c.pre.has_conv()) gallery.kernel("pre_kernel", io::to_tensor<double, 3>(in, "pre.kernel"));
    if (c.post.has_conv()) gallery.kernel("post_kernel", io::to_tensor<double, 3>(in, "post.kernel"));
    gallery.map("attention_before", *standard.weights, /*may_be_negative=*/false);
    gallery.map("attention_weights", stage("weights"), /*may_be_negative=*/false);
    const bool mixed = c.post.has_mix();
    if (mixed || c.post.has_conv())
        gallery.map("attention_after", stage(mixed ? "post_mix" : "post_conv"), /*may_be_negative=*/true);
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 5) {
        std::fprintf(stderr, "usage: draw-attention CONFIG.json IN.safetensors HEAD FOLDER\n");
        return 2;
    }
    try {
        run(argv[1], argv[2], std::strtol(argv[3], nullptr, 10), argv[4]);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "draw-attention: %s\n", error.what());
        return 3;
    }
    return 0;
}
