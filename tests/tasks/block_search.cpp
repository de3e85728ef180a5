// Block search: samples solved from their text alone, a second implementation, splits, cut blocks, batches.
// SPDX-License-Identifier: MIT
#include <algorithm>
#include <array>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <mta/tasks/block_search.hpp>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "support/checks.hpp"
#include "tasks/block_search_configs.hpp"

namespace mta_test_block_search {
using namespace mta;
using namespace mta::test;

namespace {

std::vector<std::string> split_at_dots(const std::string& text) {
    std::vector<std::string> parts{""};
    for (const char c : text)
        if (c == '.')
            parts.emplace_back();
        else
            parts.back() += c;
    return parts;
}

bool holds(const std::string& block, const std::string& query) {
    return std::all_of(query.begin(), query.end(),
                       [&](char c) { return std::count(block.begin(), block.end(), c); });
}

// Knows the rules of the task and sees the text up to the answer only: every block that answers the query.
std::vector<std::string> solutions(const std::string& prompt, Index query_letters) {
    const std::size_t mark = prompt.find('#');
    const std::string query = prompt.substr(mark + 1);
    CHECK(static_cast<Index>(query.size()) == query_letters);
    std::vector<std::string> found;
    for (const std::string& block : split_at_dots(prompt.substr(0, mark)))
        if (holds(block, query)) found.push_back(block);
    return found;
}

// A sample is what the task says, judged from its text.
void check_sample(const BlockSearchConfig& c, const BlockSearchSample& sample) {
    const std::string text = sample.text();
    const auto answer_at = text.size() - static_cast<std::size_t>(c.answer_letters());
    CAPTURE(text);
    const auto found = solutions(text.substr(0, answer_at), c.query_letters);
    REQUIRE(found.size() == 1);
    const std::string& target = found[0];
    const std::string want = c.variant == Variant::all     ? target
                             : c.variant == Variant::first ? target.substr(0, 1)
                                                           : target.substr(target.size() - 1);
    CHECK(text.substr(answer_at) == want);
    const auto blocks = split_at_dots(sample.blocks);
    CHECK(blocks.at(static_cast<std::size_t>(sample.target_block)) == target);
    CHECK(static_cast<Index>(target.size()) == c.letters);  // never the block that is cut
    for (std::size_t n = 0; n < blocks.size(); ++n) {
        const bool whole = static_cast<Index>(blocks[n].size()) == c.letters;
        CHECK((whole || n + 1 == blocks.size()));
        CHECK(std::set<char>(blocks[n].begin(), blocks[n].end()).size() == blocks[n].size());
    }
    CHECK(std::set<std::string>(blocks.begin(), blocks.end()).size() == blocks.size());
    CHECK(std::set<char>(sample.query.begin(), sample.query.end()).size() == sample.query.size());
    const BlockSearchLayout layout = block_search_layout(c);
    CHECK(static_cast<Index>(text.size()) + 2 == layout.sequence_length);
    CHECK(sample.tokens().size() == static_cast<std::size_t>(sequence_length(c)));
    // The layout finds the pieces in the tokens.
    const auto tokens = sample.tokens();
    const auto piece = [&](Index begin, Index count) {
        return block_search_text(
            std::span(tokens).subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(count)));
    };
    CHECK(piece(layout.block_begin(sample.target_block), c.letters) == target);
    CHECK(piece(layout.query_mark, 1 + c.query_letters) == "#" + sample.query);
    CHECK(piece(layout.answer_begin, layout.answer_letters) == want);
    CHECK(piece(layout.sequence_length - 1, 1) == "<eos>");
}

}  // namespace

TEST_CASE("block_search: hand values") {
    // 8 blocks of 5: 8 * 6 - 1 = 47 characters, '#', 2, the answer; BOS and EOS.
    CHECK(sequence_length({}) == 47 + 1 + 2 + 5 + 2);
    CHECK(sequence_length({}) == 57);
    CHECK(sequence_length(task(Variant::first, 5, 2, 8)) == 53);
    CHECK(sequence_length(task(Variant::last, 3, 1, 1)) == 3 + 1 + 1 + 1 + 2);
    const auto layout = block_search_layout({});
    CHECK(layout.whole_blocks == 8);
    CHECK(layout.cut_characters == 0);
    CHECK(layout.block_begin(0) == 1);
    CHECK(layout.block_begin(7) == 43);
    CHECK(layout.query_mark == 48);
    CHECK(layout.answer_begin == 51);
    CHECK(layout.answer_letters == 5);
    // The paper's: 319 characters, 52 blocks of 5 letters (311 characters) without a cut.
    const auto paper = block_search_layout(paper_block_search());
    CHECK(paper.sequence_length == 321);
    CHECK(paper.whole_blocks == 52);
    CHECK(paper.cut_characters == 0);
    CHECK(paper.query_mark - 1 == 311);
    // N = 8: 308 characters hold 34 blocks (305), a '.' and 2 letters of the 35th.
    const auto eight = block_search_layout(paper_block_search(Variant::all, 8));
    CHECK(eight.sequence_length == 321);
    CHECK(eight.whole_blocks == 34);
    CHECK(eight.cut_characters == 3);
    // An answer of one letter leaves 4 characters more: 315 are 52 blocks, '.', 3 letters.
    const auto first = block_search_layout(paper_block_search(Variant::first));
    CHECK(first.sequence_length == 321);
    CHECK(first.whole_blocks == 52);
    CHECK(first.cut_characters == 4);
    // A length that leaves room for a '.' only.
    CHECK(block_search_layout(of_length(Variant::all, 5, 56)).cut_characters == 1);
    CHECK(block_search_layout(of_length(Variant::all, 5, 56)).whole_blocks == 8);
    CHECK(block_search_layout(of_length(Variant::all, 5, 13)).whole_blocks == 1);

    CHECK(block_search_tokens("az.#_") == std::vector<std::int32_t>{0, 25, 26, 27, 28});
    const std::vector<std::int32_t> all{29, 0, 25, 26, 27, 28, 30, 31};
    CHECK(block_search_text(all) == "<bos>az.#_<eos><pad>");
    CHECK(block_search_tokens("").empty());
}

TEST_CASE("block_search: independent values") {
    // A second implementation in Python, Philox included, wrote these samples.
    std::ifstream file(std::filesystem::path(MTA_TEST_DATA) / "tasks/block_search.txt");
    int lines = 0;
    for (std::string line; std::getline(file, line); ++lines) {
        std::istringstream words(line);
        std::string variant, split, text;
        BlockSearchConfig c;
        Index total = 0;
        std::int64_t index = 0;
        words >> variant >> c.letters >> c.query_letters >> c.blocks >> total >> c.seed >> split >> index >>
            text;
        REQUIRE(words);
        if (total > 0) c.total_length = total;
        c.variant = variant == "all" ? Variant::all : variant == "first" ? Variant::first : Variant::last;
        const auto sample = block_search_sample(c, split == "test" ? Split::test : Split::train, index);
        CHECK(sample.text() == text);
        check_sample(c, sample);
    }
    CHECK(lines == 21);
}

TEST_CASE("block_search: every sample is solved from its text alone") {
    std::int64_t solved = 0;
    for (const Variant variant : {Variant::all, Variant::first, Variant::last})
        for (Index letters = 3; letters <= 8; ++letters)
            for (Index query = 1; query <= std::min(letters - 1, Index{3}); ++query)
                for (const Index blocks : {1, 2, 8, 13})
                    for (std::int64_t n = 0; n < 25; ++n, ++solved) {
                        const auto c =
                            task(variant, letters, query, blocks, static_cast<std::uint64_t>(n % 3));
                        check_sample(c, block_search_sample(c, n % 5 ? Split::train : Split::test, n));
                    }
    CHECK(solved == 3 * (2 + 5 * 3) * 4 * 25);
    // Lengths that cut the last block anywhere.
    for (const Variant variant : {Variant::all, Variant::first, Variant::last})
        for (Index total = 40; total < 60; ++total)
            for (std::int64_t n = 0; n < 20; ++n) {
                const auto c = of_length(variant, 6, total, 1);
                const auto sample = block_search_sample(c, Split::train, n);
                check_sample(c, sample);
                CHECK(static_cast<Index>(sample.text().size()) == total);
            }
    // The paper's lengths, and the largest blocks.
    for (std::int64_t n = 0; n < 10; ++n) {
        for (const Variant variant : {Variant::all, Variant::first, Variant::last})
            for (const Index letters : {5, 8}) {
                const auto c = paper_block_search(variant, letters);
                check_sample(c, block_search_sample(c, Split::train, n));
            }
        check_sample(task(Variant::all, 26, 25, 1),
                     block_search_sample(task(Variant::all, 26, 25, 1), Split::train, n));
        check_sample(task(Variant::last, 25, 2, 4),
                     block_search_sample(task(Variant::last, 25, 2, 4), Split::test, n));
    }
}

TEST_CASE("block_search: everything that is drawn is uniform") {
    // 20,000 samples; expected counts are at least 700, five standard deviations of a count c are 5 sqrt(c). The
    // samples are fixed, so this passes always or never.
    const auto near = [](double got, double expected) {
        return std::abs(got - expected) <= 5 * std::sqrt(expected);
    };
    const auto c = of_length(Variant::all, 5, 59);  // 8 whole blocks, '.', 3 letters
    std::map<Index, int> places;
    std::map<std::pair<std::size_t, std::size_t>, int> query_places;
    std::array<std::array<int, 26>, 5> letters{};
    std::array<int, 26> distractors{};
    const int samples = 20000;
    for (int n = 0; n < samples; ++n) {
        const auto sample = block_search_sample(c, Split::train, n);
        places[sample.target_block]++;
        query_places[{sample.answer.find(sample.query[0]), sample.answer.find(sample.query[1])}]++;
        for (std::size_t i = 0; i < 5; ++i)
            letters[i][static_cast<std::size_t>(sample.answer[i] - 'a')]++;
        distractors[static_cast<std::size_t>(sample.blocks[sample.target_block == 0 ? 6 : 0] - 'a')]++;
    }
    CHECK(places.size() == 8);
    CHECK(query_places.size() == 20);
    for (const auto& place : places)
        CHECK_MESSAGE(near(place.second, samples / 8.), "target block ", place.first);
    for (const auto& place : query_places)
        CHECK_MESSAGE(near(place.second, samples / 20.), "query letters ", place.first.first, " and ",
                      place.first.second);
    for (const auto& counts : letters)
        for (const int count : counts)
            CHECK(near(count, samples / 26.));
    for (const int count : distractors)
        CHECK(near(count, samples / 26.));
}

TEST_CASE("block_search: no text is in both splits, whatever the seeds") {
    // One block of two letters: 650 texts, so everything is seen. Each split draws all of its texts.
    std::set<std::string> train, test;
    for (std::uint64_t seed : {1, 2}) {
        const auto c = task(Variant::all, 2, 1, 1, seed);
        for (std::int64_t n = 0; n < 6000; ++n)
            train.insert(block_search_sample(c, Split::train, n).blocks);
        for (std::int64_t n = 0; n < 1000; ++n)
            test.insert(block_search_sample(c, Split::test, n).blocks);
    }
    for (const std::string& text : test)
        CHECK(train.count(text) == 0);
    CHECK(train.size() + test.size() == 650);
    // 1 in 16, within five standard deviations of a count of 41.
    CHECK(std::abs(static_cast<double>(test.size()) - 650 / 16.) <= 32);
    int held_out = 0;
    for (int n = 0; n < 16000; ++n)
        held_out += detail::is_held_out("abcde.fghij." + std::to_string(n));
    CHECK(std::abs(held_out - 1000) <= 160);
}

}  // namespace mta_test_block_search
