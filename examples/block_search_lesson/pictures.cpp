// The lesson's pictures: rows of scores above the text that they belong to.
// SPDX-License-Identifier: MIT
#include "pictures.hpp"

#include <cstdio>
#include <mta/io/heat_map.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "../support/program.hpp"

namespace mta::lesson {

namespace {

// Rows of equal length, each with a short name.
struct Strip {
    std::vector<std::string> names;
    std::vector<double> values;

    void add(std::string name, std::span<const double> scores) {
        names.push_back(std::move(name));
        values.insert(values.end(), scores.begin(), scores.end());
    }
};

// The tokens with one character each: '^' for BOS, which the vocabulary writes in five.
std::string short_text(const Prompts& prompts) {
    const auto& sample = prompts.samples.front();
    return "^" + sample.blocks + "#" + sample.query;
}

// A heat map whose columns are named by the text and whose rows are named by the strip.
void draw_strip(const std::filesystem::path& path, std::string_view text, const Strip& strip,
                io::HeatMapOptions options) {
    namespace draw = io::detail;
    options.cell_size = 17;  // a character is 10 x 18 pixels with its descender
    const auto rows = static_cast<Index>(strip.names.size()), columns = static_cast<Index>(text.size());
    const auto map = io::render_heat_map(rows, columns, strip.values, options);
    const auto at = draw::layout(rows, columns, draw::colour_scale(strip.values, options), options);
    Index widest = 0;
    for (const auto& name : strip.names)
        widest = std::max(widest, draw::text_width(name));
    // The map moves to the right to make room for the names; its numbers are painted over.
    const Index left = widest + 12;
    io::Image image(map.width + static_cast<std::size_t>(left), map.height, draw::paper);
    for (std::size_t y = 0; y < map.height; ++y)
        for (std::size_t x = 0; x < map.width; ++x)
            image.at(x + static_cast<std::size_t>(left), y) = map.at(x, y);
    const Index x = at.x + left, below = at.y + at.height + 2;
    draw::fill(image, 0, at.y - 4, x - 2, at.height + 8, draw::paper);
    draw::fill(image, 0, below, at.bar_x + left - 4, static_cast<Index>(image.height) - below, draw::paper);
    const auto middle = options.cell_size / 2;
    for (Index r = 0; r < rows; ++r)
        draw::draw_text(image, draw::margin, at.y + r * options.cell_size + middle - 7,
                        strip.names[static_cast<std::size_t>(r)]);
    for (Index c = 0; c < columns; ++c) {
        const auto character = text.substr(static_cast<std::size_t>(c), 1);
        draw::draw_text(image, x + c * options.cell_size + middle - draw::text_width(character) / 2,
                        below + 5, character);
    }
    io::write_file_atomically(path, draw::png_bytes(image));
    std::printf("%s\n", program::one_line(path.native()).c_str());
}

}  // namespace

void draw_stages(const std::filesystem::path& folder, const Prompts& prompts,
                 const MultiTokenAttentionTrace<double>& mta,
                 const MultiTokenAttentionTrace<double>& standard) {
    std::error_code error;
    std::filesystem::create_directories(folder, error);
    require<io::FileError>(!error, "cannot make the folder ", folder.native(), ": ", error.message());
    const Index i = prompts.query_row();
    const auto text = short_text(prompts);
    const auto& query = prompts.samples.front().query;
    Strip logits, convolved, weights;
    for (Index n = 0; n < static_cast<Index>(query.size()); ++n)
        logits.add(std::string("query ") + query[static_cast<std::size_t>(n)],
                   row(*mta.logits, 0, 0, i - static_cast<Index>(query.size()) + 1 + n));
    convolved.add("both", row(*mta.pre_conv, 0, 0, i));
    weights.add("MTA", row(*mta.weights, 0, 0, i));
    weights.add("standard", row(*standard.weights, 0, 0, i));
    const auto titled = [](const char* title) {
        io::HeatMapOptions options;
        options.title = title;
        return options;
    };
    draw_strip(folder / "logits.png", text, logits, titled("logits: each query letter finds itself"));
    draw_strip(folder / "after_convolution.png", text, convolved,
               titled("after the convolution: windows of one block, both letters"));
    auto options = titled("attention weights of the last query letter");
    options.low = 0;
    options.high = 1;
    draw_strip(folder / "weights.png", text, weights, options);
}

}  // namespace mta::lesson
