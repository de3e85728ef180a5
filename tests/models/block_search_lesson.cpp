// The lesson with hand-set weights: exact for every sample, and what a standard layer cannot see.
// SPDX-License-Identifier: MIT
#include <cmath>
#include <mta/layers/standard_attention.hpp>
#include <string>
#include <vector>

#include "../../examples/block_search_lesson/lesson.hpp"
#include "../../examples/block_search_lesson/one_letter.hpp"
#include "support/checks.hpp"
#include "support/random_tensor.hpp"
#include "tasks/block_search_configs.hpp"

namespace mta_test_block_search_lesson {
using namespace mta;
using namespace mta::lesson;
using namespace mta::test;

namespace {

// A prompt written down; the blocks are those of three letters each.
Prompts written(const std::vector<std::string>& queries, const std::vector<Index>& targets) {
    const std::string blocks = "abc.dbe.caf";
    std::vector<BlockSearchSample> samples;
    for (std::size_t n = 0; n < queries.size(); ++n)
        samples.push_back({blocks, queries[n],
                           blocks_of(blocks)[static_cast<std::size_t>(targets[n])].substr(2), targets[n]});
    return prompts_of(task(Variant::last, 3, 2, 3), samples);
}

// The least attention that the derivation in lesson.hpp promises the target; less 1e-12 for rounding.
double promised(const Prompts& prompts, Index query_letters) {
    const auto blocks = static_cast<double>(prompts.layout.whole_blocks);
    const auto keys = static_cast<double>(prompts.tokens.dimension(1));
    const auto L = static_cast<double>(query_letters);
    return 1 / (1 + (blocks - 1) * std::exp(-strength) + keys * std::exp(-L * strength)) - 1e-12;
}

// The layers find the target and give out the answer of the variant, in each of `count` samples.
void check_exact(const BlockSearchConfig& config, Index count) {
    const Prompts prompts = test_prompts(config, 0, count);
    CAPTURE(config.letters);
    CAPTURE(prompts.tokens.dimension(1));
    const auto found = attend(mta_layer(config), prompts.tokens);
    const auto answered = attend(answering_layer(config), prompts.tokens);
    const double least = promised(prompts, config.query_letters), N = static_cast<double>(config.letters);
    const Index i = prompts.query_row();
    for (Index b = 0; b < count; ++b) {
        const auto& sample = prompts.samples[static_cast<std::size_t>(b)];
        CAPTURE(sample.text());
        const Index last = prompts.layout.block_begin(sample.target_block) + config.letters - 1;
        CHECK((*found.weights)(b, 0, i, last) >= least);
        const auto target = static_cast<std::size_t>(sample.target_block);
        CHECK(block_attention(final_weights(answered), b, i, prompts.layout)[target] >= least);
        if (config.variant != Variant::all) {
            CHECK(answer_letter(answered, b) == sample.answer[0]);
            continue;
        }
        for (const char c : sample.answer)  // each letter of the block has its share
            CHECK(answered.out()(b, 0, i, c - 'a') >= least / N);
    }
}

// Queries, keys and values of a random standard layer: any function of token and position could stand here.
struct RandomLayer {
    Index heads, dim, head_dim;
    Tensor<double, 2> tokens, positions;  // embeddings
    LinearParams<double> wq, wk, wv;

    RandomLayer(std::uint64_t seed, Index S)
        : heads{3},
          dim{12},
          head_dim{4},
          tokens{random_tensor(seed, Index{32}, dim)},
          positions{random_tensor(seed + 1, S, dim)},
          wq{random_tensor(seed + 2, heads * head_dim, dim), {}},
          wk{random_tensor(seed + 3, heads * head_dim, dim), {}},
          wv{random_tensor(seed + 4, heads * head_dim, dim), {}} {
        for (Index n = 0; n < wq.weight.size(); ++n)
            wq.weight.data()[n] *= 0.1;  // logits of about 2: no weight is 1 or 0
    }

    Tensor<double, 4> project(const Prompts& p, const LinearParams<double>& w) const {
        const Index B = p.tokens.dimension(0), S = p.tokens.dimension(1);
        auto x = zeros<double>(B, S, dim);
        for (Index b = 0; b < B; ++b)
            for (Index s = 0; s < S; ++s)
                for (Index d = 0; d < dim; ++d)
                    x(b, s, d) = tokens(p.tokens(b, s), d) + positions(s, d);
        const auto flat = linear_forward(x, w);
        auto split = zeros<double>(B, heads, S, head_dim);
        for (Index b = 0; b < B; ++b)
            for (Index h = 0; h < heads; ++h)
                for (Index s = 0; s < S; ++s)
                    for (Index d = 0; d < head_dim; ++d)
                        split(b, h, s, d) = flat(b, s, h * head_dim + d);
        return split;
    }
};

}  // namespace

TEST_CASE("block_search_lesson: logits and their convolution by hand") {
    // Keys: BOS abc . dbe . caf # b a; window of three keys, in units of the strength: +1 for each query letter in the
    // row that looks for it, -4 for each mark (two rows, twice the strength).
    const auto prompts = written({"ba"}, {0});
    const auto trace = attend(mta_layer(task(Variant::last, 3, 2, 3)), prompts.tokens);
    const std::vector<double> row_of_b{-2, 0, 1, 0, -2, 0, 1, 0, -2, 0, 0, 0, -2, 1, 0};  // ends at itself
    const std::vector<double> row_of_a{-2, 1, 0, 0, -2, 0, 0, 0, -2, 0, 1, 0, -2, 0, 1};
    const std::vector<double> both{-4, -3, -2, 2, -3, -4, -3, 1, -3, -4, -3, 1, -3, -3, -2};
    for (Index j = 0; j < 15; ++j) {
        CAPTURE(j);
        const auto n = static_cast<std::size_t>(j);
        CHECK((*trace.logits)(0, 0, 13, j) == strength * row_of_b[n]);  // small integers: exact
        CHECK((*trace.logits)(0, 0, 14, j) == strength * row_of_a[n]);
        CHECK((*trace.pre_conv)(0, 0, 14, j) == strength * both[n]);
    }
    CHECK((*trace.weights)(0, 0, 14, 3) > 0.999);
    CHECK(answer_letter(trace, 0) == 'c');
}

TEST_CASE(
    "block_search_lesson: the multi-token layer is exact, with any block length, query length and cut") {
    const std::vector<std::pair<Index, Index>> sizes{{3, 20}, {4, 3}, {5, 8}, {8, 12}, {13, 5}};
    for (const auto& [letters, blocks] : sizes)
        for (const auto variant : {Variant::all, Variant::first, Variant::last})
            check_exact(task(variant, letters, 2, blocks, 7), 250);
    check_exact(task(Variant::last, 5, 1, 1), 50);    // one letter, one block
    check_exact(task(Variant::first, 5, 3, 8), 200);  // three query rows
    check_exact(task(Variant::all, 6, 5, 8), 200);
    for (Index total = 60; total < 70; ++total)  // the last block is cut anywhere
        check_exact(of_length(Variant::last, 8, total), 50);
    check_exact(paper_block_search(Variant::last), 8);
}

TEST_CASE("block_search_lesson: shunning the marks is what makes it exact") {
    const auto config = task(Variant::last, 5, 2, 8);
    const auto prompts = test_prompts(config, 0, 300);
    double sum = 0;
    const auto weights = *attend(border_blind_layer(config), prompts.tokens).weights;
    for (Index b = 0; b < 300; ++b)
        sum += credit(block_attention(weights, b, prompts.query_row(), prompts.layout),
                      prompts.samples[static_cast<std::size_t>(b)].target_block);
    CHECK(sum < 0.9 * 300);  // 73 %
    CHECK(sum > 0.5 * 300);
}

TEST_CASE("block_search_lesson: standard logits do not know the first query letter, but for its own key") {
    // Same blocks, same last letter b; the answers are abc, dbe, dbe, abc.
    const auto prompts = written({"ab", "db", "eb", "cb"}, {0, 1, 1, 0});
    const Index i = prompts.query_row(), S = i + 1;
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
        const RandomLayer layer(100 * seed, S);
        const auto v = layer.project(prompts, layer.wv);
        const auto trace =
            standard_attention_forward(layer.project(prompts, layer.wq), layer.project(prompts, layer.wk), v);
        const auto& weights = *trace.weights;
        for (Index h = 0; h < layer.heads; ++h)
            for (Index b = 1; b < 4; ++b) {
                const double factor = weights(b, h, i, 0) / weights(0, h, i, 0);
                for (Index j = 0; j < S; ++j) {
                    if (j == i - 1) continue;
                    CHECK((*trace.logits)(b, h, i, j) == (*trace.logits)(0, h, i, j));
                    // Four roundings, and those of exp where the row's maximum moved: |score| < 1000.
                    const double want = factor * weights(0, h, i, j);
                    CHECK(std::abs(weights(b, h, i, j) - want) <= 1e-12 * want);
                }
                // out = w v + (1 - w) u with the w of key i-1 and the same u: sums of 15 products with |v| < 100.
                for (Index d = 0; d < layer.head_dim; ++d) {
                    const auto others = [&](Index n) {
                        return (*trace.context)(n, h, i, d) - weights(n, h, i, i - 1) * v(n, h, i - 1, d);
                    };
                    const double got = others(b) * (1 - weights(0, h, i, i - 1));
                    CHECK(std::abs(got - others(0) * (1 - weights(b, h, i, i - 1))) <= 1e-12);
                }
                CHECK(weights(b, h, i, i - 1) != weights(0, h, i, i - 1));  // the letters do differ
            }
    }
}

TEST_CASE("block_search_lesson: a standard head ranks the blocks alike for every first query letter") {
    const auto config = task(Variant::last, 4, 2, 20, 3);
    double ceiling = 0, random_share = 0, lesson_share = 0;
    constexpr Index texts = 100;
    for (Index n = 0; n < texts; ++n) {
        const auto sample = block_search_sample(config, Split::test, n);
        const auto prompts = prompts_of(config, same_last_letter(sample));
        const Index i = prompts.query_row(), count = prompts.tokens.dimension(0);
        const RandomLayer layer(static_cast<std::uint64_t>(n), i + 1);
        const auto random =
            *standard_attention_forward(layer.project(prompts, layer.wq), layer.project(prompts, layer.wk),
                                        layer.project(prompts, layer.wv))
                 .weights;
        const auto lesson = *attend(standard_layer(), prompts.tokens).weights;
        const auto mta = *attend(mta_layer(config), prompts.tokens).weights;
        const auto share = [&](const Tensor<double, 4>& weights) {
            double sum = 0;
            for (Index b = 0; b < count; ++b)
                sum += credit(block_attention(weights, b, i, prompts.layout),
                              prompts.samples[static_cast<std::size_t>(b)].target_block);
            return sum / static_cast<double>(count);
        };
        const double most = one_letter_ceiling(sample);
        const Tensor<double, 4> one_head =
            random.slice(std::array<Index, 4>{0, 0, 0, 0}, std::array<Index, 4>{count, 1, i + 1, i + 1});
        CHECK(share(one_head) <= most + 1e-12);
        CHECK(share(lesson) <= most + 1e-12);
        CHECK(share(mta) == 1);
        ceiling += most / texts, random_share += share(one_head) / texts;
        lesson_share += share(lesson) / texts;
    }
    CHECK(ceiling < 0.6);
    CHECK(random_share < lesson_share);
    CHECK(lesson_share > 0.2);  // chance among the blocks that hold the last letter
}

TEST_CASE("block_search_lesson: the ceiling by hand") {
    // Blocks abc, dbe, caf and last letter b: a and c ask for the first, d and e for the second.
    const std::string blocks = "abc.dbe.caf";
    CHECK(answers_per_block({blocks, "ab", "c", 0}) == std::vector<double>{2, 2, 0});
    // Last letter a: b asks for the first and f for the third; c, which both hold, for none.
    CHECK(answers_per_block({blocks, "fa", "f", 2}) == std::vector<double>{1, 0, 1});
    CHECK(one_letter_ceiling({blocks, "ab", "c", 0}) == 0.5);
    CHECK(one_letter_ceiling({blocks, "be", "e", 1}) == 1);  // b and d share the block with e
    const auto same = same_last_letter({blocks, "ab", "c", 0});
    REQUIRE(same.size() == 4);
    CHECK(same[1].query == "cb");
    CHECK(same[2].query == "db");
    CHECK(same[2].target_block == 1);
    CHECK(same[2].answer == "e");
}

TEST_CASE("block_search_lesson: the ceiling is what the best guess reaches") {
    // The guess that the ceiling is made of, counted: both sides are means of 4000 numbers from 0 to 1, their
    // difference has a standard deviation below 0.008.
    const auto config = task(Variant::last, 5, 2, 8, 11);
    constexpr Index samples = 4000;
    double reached = 0, ceiling = 0;
    for (Index n = 0; n < samples; ++n) {
        const auto sample = block_search_sample(config, Split::train, n);
        reached += credit(answers_per_block(sample), sample.target_block) / samples;
        ceiling += one_letter_ceiling(sample) / samples;
    }
    CHECK(std::abs(reached - ceiling) < 0.032);
}

TEST_CASE("block_search_lesson: credit shares ties") {
    CHECK(credit({0.1, 0.5, 0.4}, 1) == 1);
    CHECK(credit({0.1, 0.5, 0.4}, 2) == 0);
    CHECK(credit({0.4, 0.2, 0.4}, 0) == 0.5);
}

TEST_CASE("block_search_lesson: a standard head per letter does find the block") {
    const std::vector<std::pair<Index, Index>> sizes{{3, 10}, {5, 8}, {8, 4}};
    for (const auto& [letters, blocks] : sizes) {
        const auto prompts = test_prompts(task(Variant::last, letters, 2, blocks), 0, 100);
        const auto weights = letter_heads(prompts);
        for (Index b = 0; b < 100; ++b) {
            const auto& sample = prompts.samples[static_cast<std::size_t>(b)];
            CAPTURE(sample.text());
            CHECK(credit(block_attention(weights, b, prompts.query_row(), prompts.layout),
                         sample.target_block) == 1);
        }
    }
}

}  // namespace mta_test_block_search_lesson
