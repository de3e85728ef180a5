// A heat map whose rows and columns are named by characters.
// SPDX-License-Identifier: MIT
#include "token_map.hpp"

namespace mta::program {

void write_token_map(const std::filesystem::path& path, std::string_view tokens,
                     std::span<const double> values, io::HeatMapOptions options) {
    namespace draw = io::detail;
    constexpr Index cell = 17, most_tokens = 160;  // a character is 10 x 18 pixels with its descender
    const auto S = static_cast<Index>(tokens.size());
    if (S > most_tokens) return io::write_heat_map(path, S, S, values, options);
    options.cell_size = cell;
    auto image = io::render_heat_map(S, S, values, options);
    const auto at = draw::layout(S, S, draw::colour_scale(values, options), options);
    const Index below = at.y + at.height + 2;
    draw::fill(image, 0, at.y - 4, at.x - 2, at.height + 8, draw::paper);
    draw::fill(image, 0, below, at.bar_x - 4, static_cast<Index>(image.height) - below, draw::paper);
    for (Index n = 0; n < S; ++n) {
        const auto token = tokens.substr(static_cast<std::size_t>(n), 1);
        const Index width = draw::text_width(token);
        draw::draw_text(image, at.x - 6 - width, at.y + n * cell + cell / 2 - 7 * draw::font_scale / 2,
                        token);
        draw::draw_text(image, at.x + n * cell + cell / 2 - width / 2, at.y + at.height + 7, token);
    }
    io::write_file_atomically(path, draw::png_bytes(image));
}

}  // namespace mta::program
