// Pictures of a model: its kernels and mixes, and its attention to a prompt.
// SPDX-License-Identifier: MIT
#include "model_pictures.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <mta/io/heat_map.hpp>
#include <mta/models/decoder.hpp>
#include <mta/train/training_config.hpp>
#include <numeric>
#include <utility>
#include <vector>

#include "../support/enum_options.hpp"
#include "../support/trained_model.hpp"
#include "../train_block_search/presets.hpp"
#include "token_map.hpp"

namespace mta::program {

namespace {

// Matrix number n of a stack of matrices.
template <AnyTensor T>
std::vector<double> matrix(const T& stack, Index n) {
    const Index size = stack.dimension(rank_of<T> - 2) * stack.dimension(rank_of<T> - 1);
    return {stack.data() + n * size, stack.data() + (n + 1) * size};
}

double largest_magnitude(const Tensor<double, 3>& t) {
    double largest = 0;
    for (const double x : elements(t))
        largest = std::max(largest, std::abs(x));  // a NaN is passed over
    return largest > 0 && std::isfinite(largest) ? largest : 1;
}

// Ends of the range of all rows but the first quarter, 0 included: the first rows share their weight among few keys and
// would darken everything else.
std::pair<double, double> later_rows(const std::vector<double>& values, std::size_t S) {
    std::pair<double, double> range{0, 0};
    for (std::size_t n = S / 4 * S; n < S * S; ++n) {
        if (!std::isfinite(values[n])) continue;
        range.first = std::min(range.first, values[n]);
        range.second = std::max(range.second, values[n]);
    }
    return range;
}

// Draws the pictures of one layer.
class LayerPictures {
  public:
    LayerPictures(const PlottedModel& model, const Folder& folder, Index layer)
        : model_{model}, folder_{folder}, layer_{layer} {}

    // Kernels of a layer share their colours, so that heads can be compared.
    void stack(const std::string& what, const std::string& member, const Tensor<double, 3>& t,
               const std::vector<Index>& which, const std::string& axes) const {
        const double reach = largest_magnitude(t);
        for (const Index n : which) {
            const auto path = folder_.picture(name(what, member, n));
            io::write_heat_map(path, t.dimension(1), t.dimension(2), matrix(t, n),
                               {.title = title(what, member, n) + ": " + axes,
                                .colours = io::ColourMap::diverging,
                                .low = -reach,
                                .high = reach});
            print_path(path);
        }
    }
    void side(const std::string& what, const ScoreMixingParams<double>& params,
              const std::vector<Index>& heads) const {
        if (params.conv)
            stack(what + "_kernel", "head", params.conv->kernel, heads,
                  "queries down, newest last; keys across");
        if (!params.mix) return;
        const auto& w = params.mix->mix;
        std::vector<Index> groups;  // those that hold a chosen head
        for (const Index head : heads)
            if (groups.empty() || groups.back() != head / w.dimension(1))
                groups.push_back(head / w.dimension(1));
        stack(what + "_mix", "group", w, groups, "output heads down, input heads across");
    }

    // Keys after the query are grey.
    void map(const std::string& what, const Tensor<double, 4>& weights,
             const std::vector<Index>& heads) const {
        const std::string tokens = "^" + model_.prompt;  // BOS
        const std::size_t S = tokens.size();
        std::vector<std::uint8_t> future(S * S);
        for (std::size_t i = 0; i < S; ++i)
            std::fill_n(&future[i * S] + i + 1, S - i - 1, std::uint8_t{1});
        for (const Index head : heads) {
            const auto values = matrix(weights, head);
            io::HeatMapOptions options{.title = title(what, "head", head), .masked = future};
            const auto [low, high] = later_rows(values, S);
            if (low == 0 && high > 0) options.low = low, options.high = high;
            const auto path = folder_.picture(name(what, "head", head));
            write_token_map(path, tokens, values, options);
            print_path(path);
        }
    }

    void attention(const DecoderHeads<double>& qkv, const MultiTokenAttentionTrace<double>& trace,
                   const std::vector<Index>& heads) const {
        const auto& config = model_.config.attention[static_cast<std::size_t>(layer_)];
        if (config.pre.has_conv() || config.pre.has_mix()) {
            MultiTokenAttentionConfig plain = config;
            plain.pre = plain.post = {};
            plain.norm.reset();
            plain.gate.reset();
            map("weights_before_mixing",
                *multi_token_attention_forward(qkv.q, qkv.k, qkv.v, {}, plain).weights, heads);
        }
        map("weights", *trace.weights, heads);
        if (trace.post_mix || trace.post_conv)
            map("weights_after_mixing", trace.post_mix ? *trace.post_mix : *trace.post_conv, heads);
    }

  private:
    std::string name(const std::string& what, const std::string& member, Index n) const {
        return mta::detail::sentence("layer", layer_, "_", member, n, "_", what);
    }
    std::string title(std::string what, const std::string& member, Index n) const {
        std::replace(what.begin(), what.end(), '_', ' ');
        return mta::detail::sentence("layer ", layer_, ", ", member, " ", n, ", ", what);
    }

    const PlottedModel& model_;
    const Folder& folder_;
    Index layer_;
};

// What was typed, sorted and each once; everything when nothing was.
std::vector<Index> chosen(const std::string& option, std::vector<Index> typed, Index count) {
    for (const Index n : typed)
        require<ValueError>(n < count, option, ": got ", n, ", expected from 0 to ", count - 1);
    if (typed.empty()) {
        typed.resize(static_cast<std::size_t>(count));
        std::iota(typed.begin(), typed.end(), Index{0});
    }
    std::sort(typed.begin(), typed.end());
    typed.erase(std::unique(typed.begin(), typed.end()), typed.end());
    return typed;
}

DecoderConfig untrained_config(const BlockSearchConfig& task) {
    constexpr auto& laptop = presets.front();
    static_assert(laptop.name == "laptop");
    MultiTokenAttentionConfig stages;
    stages.pre = {.query_kernel = laptop.query_kernel, .key_kernel = 2 * task.letters - 1};
    return with_multi_token_attention({.vocabulary = block_search_token::vocabulary,
                                       .width = laptop.width,
                                       .layers = laptop.layers,
                                       .heads = laptop.heads,
                                       .hidden = laptop.hidden},
                                      stages);
}

}  // namespace

PlottedModel model_of(const PlotOptions& o) {
    constexpr std::size_t longest = 1024;
    PlottedModel m;
    BlockSearchConfig task;
    if (o.untrained) {
        m.config = untrained_config(task);
        m.params = initial_decoder_params<double>(m.config, o.seed,
                                                  named<KernelInit>("--kernel-init", o.kernel_init));
    } else {
        const auto trained = read_trained_model(o.checkpoint);
        task = trained.task;
        m.config = trained.model;
        m.params = trained.params<double>();
    }
    m.prompt =
        o.prompt.empty() ? block_search_sample(task, BlockSearchSplit::test, o.sample).text() : o.prompt;
    prompt_tokens(m.prompt);
    require<ValueError>(m.prompt.size() <= longest, o.prompt.empty() ? "--sample: got " : "--prompt: got ",
                        m.prompt.size(), " characters, expected at most ", longest, " for a map of them all");
    chosen("--layers", o.layers, m.config.layers);
    chosen("--heads", o.heads, m.config.heads);
    return m;
}

void draw_model(const PlotOptions& o, const PlottedModel& m, const Folder& folder) {
    const auto ids = prompt_tokens(m.prompt);
    const Tensor<std::int32_t, 2> tokens =
        ConstTensorView<std::int32_t, 2>(ids.data(), Index{1}, static_cast<Index>(ids.size()));
    auto config = m.config;
    config.checkpoint_activations = false;  // the traces are what is drawn
    const auto pass = decoder_forward(tokens, m.params, config);
    const auto heads = chosen("--heads", o.heads, config.heads);
    for (const Index layer : chosen("--layers", o.layers, config.layers)) {
        const auto at = static_cast<std::size_t>(layer);
        const LayerPictures pictures(m, folder, layer);
        const auto& params = m.params.layers[at].attention.mta;
        pictures.side("pre", params.pre, heads);
        pictures.side("post", params.post, heads);
        const auto& saved = pass.saved.layers[at];
        pictures.attention(saved.heads, saved.attention, heads);
    }
}

}  // namespace mta::program
