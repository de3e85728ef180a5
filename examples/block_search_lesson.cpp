// block-search-lesson: with hand-set weights, one multi-token attention layer finds the block that holds both letters.
// SPDX-License-Identifier: MIT
//
//     block-search-lesson
//     block-search-lesson --blocks 50 --show 1 --png pictures
//
// Prints how much attention each block gets, from multi-token attention and from standard attention on the same
// queries, keys and values, and again with another first query letter; then how often the block with most of it is the
// right one. docs/block-search-lesson.md explains what is seen. Exit codes: 0 done; 2 usage; 3 a file; 8 out of memory; 70 unexpected.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include "block_search_lesson/lesson.hpp"
#include "block_search_lesson/one_letter.hpp"
#include "block_search_lesson/pictures.hpp"
#include "support/program.hpp"

namespace {

using namespace mta;
using namespace mta::lesson;

struct Options {
    Index letters = 5, blocks = 8, samples = 1000, show = 1;
    std::uint64_t seed = 0;
    std::filesystem::path png;

    BlockSearchConfig task(BlockSearchVariant variant = BlockSearchVariant::last) const {
        BlockSearchConfig c;
        c.variant = variant;
        c.letters = letters;
        c.blocks = blocks;
        c.seed = seed;
        return c;
    }
};

void add_options(CLI::App& app, Options& o) {
    app.add_option("--letters", o.letters, "of a block [5]")->check(CLI::Range(Index{3}, Index{13}));
    app.add_option("--blocks", o.blocks, "of a text [8]")->check(CLI::Range(Index{1}, Index{60}));
    app.add_option("--samples", o.samples, "to count over [1000]")
        ->check(CLI::Range(Index{1}, Index{1000000}));
    app.add_option("--show", o.show, "how many samples to print as tables, each with a twin [1]")
        ->check(CLI::Range(Index{0}, Index{100}));
    app.add_option("--seed", o.seed, "of the samples [0]");
    app.add_option("--png", o.png, "folder for pictures of the first sample; made when missing");
}

// Attention per block in sample b.
void print_table(const Prompts& prompts, Index b, const Tensor<double, 4>& mta,
                 const Tensor<double, 4>& standard) {
    const auto& sample = prompts.samples[static_cast<std::size_t>(b)];
    const auto blocks = blocks_of(sample.blocks);
    const int width = std::max(5, static_cast<int>(blocks.front().size()));
    std::printf("%s#%s\n  %-*s  letters of the query      MTA  standard\n", sample.blocks.c_str(),
                sample.query.c_str(), width, "block");
    const auto by_mta = block_attention(mta, b, prompts.query_row(), prompts.layout);
    const auto by_standard = block_attention(standard, b, prompts.query_row(), prompts.layout);
    for (std::size_t n = 0; n < blocks.size(); ++n) {
        const auto held = std::count_if(sample.query.begin(), sample.query.end(),
                                        [&](char c) { return blocks[n].find(c) != std::string::npos; });
        std::printf("  %-*s  %20d  %7.4f  %8.4f%s\n", width, blocks[n].c_str(), static_cast<int>(held),
                    by_mta[n], by_standard[n],
                    static_cast<Index>(n) == sample.target_block ? "  <- target" : "");
    }
    std::printf("\n");
}

// Samples, each followed by one with the same blocks and another first query letter, which another block holds.
std::vector<BlockSearchSample> with_twins(const Options& o) {
    std::vector<BlockSearchSample> samples;
    for (Index n = 0; n < o.show; ++n) {
        const auto sample = block_search_sample(o.task(), BlockSearchSplit::test, n);
        samples.push_back(sample);
        const auto others = same_last_letter(sample);
        const auto twin = std::find_if(others.begin(), others.end(), [&](const BlockSearchSample& other) {
            return other.target_block != sample.target_block;
        });
        if (twin != others.end()) samples.push_back(*twin);
    }
    return samples;
}

void print_tables(const Options& o) {
    const auto prompts = prompts_of(o.task(), with_twins(o));
    const auto mta = attend(mta_layer(o.task()), prompts.tokens);
    const auto standard = attend(standard_layer(), prompts.tokens);
    for (Index b = 0; b < prompts.tokens.dimension(0); ++b)
        print_table(prompts, b, *mta.weights, *standard.weights);
}

// Sums over samples; shares once divided by their number.
struct Shares {
    double mta = 0, border_blind = 0, standard = 0, ceiling = 0, letter_heads = 0, first = 0, last = 0;
};

// Counts the samples from first to first + count - 1.
void count_samples(const Options& o, Index first, Index count, Shares& shares) {
    const auto prompts = test_prompts(o.task(), first, count);
    const Index i = prompts.query_row();
    const auto right = [&](const Tensor<double, 4>& weights) {
        double sum = 0;
        for (Index b = 0; b < count; ++b)
            sum += credit(block_attention(weights, b, i, prompts.layout),
                          prompts.samples[static_cast<std::size_t>(b)].target_block);
        return sum;
    };
    shares.mta += right(*attend(mta_layer(o.task()), prompts.tokens).weights);
    shares.border_blind += right(*attend(border_blind_layer(o.task()), prompts.tokens).weights);
    shares.standard += right(*attend(standard_layer(), prompts.tokens).weights);
    shares.letter_heads += right(letter_heads(prompts));
    for (const auto& sample : prompts.samples)
        shares.ceiling += one_letter_ceiling(sample);
    for (const auto variant : {BlockSearchVariant::first, BlockSearchVariant::last}) {
        const bool is_first = variant == BlockSearchVariant::first;
        const auto trace = attend(answering_layer(o.task(variant)), prompts.tokens);
        for (Index b = 0; b < count; ++b) {
            const auto& sample = prompts.samples[static_cast<std::size_t>(b)];
            const auto block = blocks_of(sample.blocks)[static_cast<std::size_t>(sample.target_block)];
            (is_first ? shares.first : shares.last) +=
                answer_letter(trace, b) == (is_first ? block.front() : block.back());
        }
    }
}

void print_shares(const Options& o) {
    // The scores of 26 heads take much memory: few samples at once where the text is long, some 30 MB per stage.
    const Index S = block_search_layout(o.task()).answer_begin;
    const Index at_once = std::clamp<Index>(4000000 / (letter_count * S * S), 1, 50);
    Shares shares;
    for (Index first = 0; first < o.samples; first += at_once)
        count_samples(o, first, std::min(at_once, o.samples - first), shares);
    std::printf(
        "Over %d samples, the block with most of the attention is the target (a tie of n counts 1/n):\n",
        static_cast<int>(o.samples));
    const auto line = [&](const char* what, double sum) {
        std::printf("  %-58s %7.2f %%\n", what, 100 * sum / static_cast<double>(o.samples));
    };
    line("multi-token attention, 1 head", shares.mta);
    line("the same, kernel all ones, marks not shunned", shares.border_blind);
    line("standard attention, 1 head, same queries and keys", shares.standard);
    line("most that any 1-head standard layer can expect", shares.ceiling);
    line("standard attention, 26 heads and positions", shares.letter_heads);
    std::printf("The letter that the multi-token layer gives out is right:\n");
    line("variant last", shares.last);
    line("variant first, with a convolution after the softmax too", shares.first);
}

void draw_pictures(const Options& o) {
    const auto prompts = test_prompts(o.task(), 0, 1);
    draw_stages(o.png, prompts, attend(mta_layer(o.task()), prompts.tokens),
                attend(standard_layer(), prompts.tokens));
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app{"One multi-token attention layer with hand-set weights solves block search",
                 "block-search-lesson"};
    Options options;
    add_options(app, options);
    return program::run_program(app, argc, argv, [&] {
        check_config(options.task());
        if (options.show > 0) print_tables(options);
        print_shares(options);
        if (!options.png.empty()) draw_pictures(options);
    });
}
