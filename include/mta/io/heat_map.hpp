// Heat maps: a matrix as a PNG picture, to look at kernels and attention maps.
// SPDX-License-Identifier: MIT
//
// Colours  signed values: blue below 0, white at exactly 0, red above, both ends at max|value|;
//          values of at least 0: dark violet at the smallest to light yellow at the largest;
//          NaN: magenta; masked cells: grey. Infinities take the colour of their end and do not widen the
//          range.
// Layout   title, matrix with row and column numbers (row 0 on top), colour bar with the ends of its range.
// Errors   ValueError: a size, range or mask that cannot work, before anything is written. FileError: the
// file.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <mta/core/require.hpp>
#include <mta/core/tensor.hpp>
#include <mta/io/detail/bitmap_font.hpp>
#include <mta/io/detail/colour_map.hpp>
#include <mta/io/detail/png.hpp>
#include <mta/io/file.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace mta::io {

/// `automatic`: diverging when a value or the asked range is below 0, else sequential.
enum class ColourMap { automatic, diverging, sequential };

struct HeatMapOptions {
    std::string title{};  // one line above the picture
    ColourMap colours = ColourMap::automatic;
    std::optional<double> low{};  // ends of the colour range; nothing: from the values
    std::optional<double> high{};
    std::span<const std::uint8_t> masked{};  // rows * columns, nonzero where a cell is grey; empty: none
    Index cell_size = 0;                     // pixels per cell in each direction; 0: chosen
    bool grid = true;                        // thin lines between cells of at least 8 pixels
};

/// The largest picture drawn, in pixels each way.
inline constexpr Index largest_heat_map = 8192;

namespace detail {

inline constexpr Colour paper{255, 255, 255};
inline constexpr Colour ink{40, 40, 48};
inline constexpr Colour frame_colour{110, 110, 120};
inline constexpr Index font_scale = 2;
inline constexpr Index letter_step = (static_cast<Index>(glyph_width) + 1) * font_scale;
inline constexpr Index text_height = static_cast<Index>(glyph_height) * font_scale;
inline constexpr Index margin = 14;
inline constexpr Index bar_width = 22;

inline Index text_width(std::string_view text) {
    return static_cast<Index>(text.size()) * letter_step - font_scale;
}

/// Fills a rectangle; the part outside the image is left out.
inline void fill(Image& image, Index x, Index y, Index width, Index height, Colour colour) {
    const Index right = std::min(x + width, static_cast<Index>(image.width));
    const Index bottom = std::min(y + height, static_cast<Index>(image.height));
    for (Index py = std::max<Index>(0, y); py < bottom; ++py)
        for (Index px = std::max<Index>(0, x); px < right; ++px)
            image.at(static_cast<std::size_t>(px), static_cast<std::size_t>(py)) = colour;
}

/// Writes one line whose top left corner is (x, y).
inline void draw_text(Image& image, Index x, Index y, std::string_view text) {
    for (const char c : text) {
        for (std::size_t row = 0; row < glyph_height; ++row)
            for (std::size_t column = 0; column < glyph_width; ++column)
                if (glyph_pixel(c, row, column))
                    fill(image, x + static_cast<Index>(column) * font_scale,
                         y + static_cast<Index>(row) * font_scale, font_scale, font_scale, ink);
        x += letter_step;
    }
}

/// A frame of one pixel around the rectangle.
inline void draw_frame(Image& image, Index x, Index y, Index width, Index height) {
    fill(image, x - 1, y - 1, width + 2, 1, frame_colour);
    fill(image, x - 1, y + height, width + 2, 1, frame_colour);
    fill(image, x - 1, y - 1, 1, height + 2, frame_colour);
    fill(image, x + width, y - 1, 1, height + 2, frame_colour);
}

/// Four significant digits.
inline std::string short_number(double value) {
    std::array<char, 32> text{};
    std::snprintf(text.data(), text.size(), "%.4g", value);
    return text.data();
}

/// What the colours mean: the range and the map.
struct ColourScale {
    double low = 0;
    double high = 1;
    bool diverging = false;

    Colour colour(double value) const {
        if (std::isnan(value)) return nan_colour;
        if (diverging) return diverging_colour(value < 0 ? -(value / low) : value / high);
        return sequential_colour((std::clamp(value, low, high) - low) / (high - low));
    }
};

inline bool is_masked(const HeatMapOptions& options, std::size_t n) {
    return !options.masked.empty() && options.masked[n] != 0;
}

/// The range of the finite cells that are not masked, widened to what the options ask, and never empty.
inline ColourScale colour_scale(std::span<const double> values, const HeatMapOptions& options) {
    std::optional<double> smallest, largest;
    for (std::size_t n = 0; n < values.size(); ++n) {
        if (is_masked(options, n) || !std::isfinite(values[n])) continue;
        smallest = std::min(smallest.value_or(values[n]), values[n]);
        largest = std::max(largest.value_or(values[n]), values[n]);
    }
    ColourScale scale{options.low.value_or(smallest.value_or(0)), options.high.value_or(largest.value_or(0)),
                      false};
    scale.diverging =
        options.colours == ColourMap::diverging ||
        (options.colours == ColourMap::automatic && std::min(scale.low, smallest.value_or(0)) < 0);
    if (scale.diverging) {
        const double reach = std::max(std::abs(scale.low), std::abs(scale.high));
        scale.low = options.low.value_or(reach > 0 ? -reach : -1);
        scale.high = options.high.value_or(reach > 0 ? reach : 1);
        require<ValueError>(scale.low < 0 && scale.high > 0, "write_heat_map: range: got ", scale.low, " to ",
                            scale.high, ", expected one with 0 inside for diverging colours");
    }
    const bool asked = options.low.has_value() || options.high.has_value();
    if (!asked && scale.low == scale.high) scale.high = scale.low + std::max(1.0, std::abs(scale.low) / 2);
    require<ValueError>(scale.low < scale.high && std::isfinite(scale.high - scale.low),
                        "write_heat_map: range: got ", scale.low, " to ", scale.high,
                        ", expected low below high and both finite");
    return scale;
}

/// Pixels per cell: small matrices are magnified to about 480 pixels, at most 40 per cell.
inline Index cell_size(Index rows, Index columns, const HeatMapOptions& options) {
    if (options.cell_size > 0) return options.cell_size;
    return std::clamp<Index>(480 / std::max<Index>(1, std::max(rows, columns)), 1, 40);
}

/// Distance of numbered rows or columns: 1, 2, 5, 10, 20, 50, ... at least `room` pixels apart.
inline Index tick_step(Index cell, Index room) {
    for (Index decade = 1;; decade *= 10)
        for (const Index digit : {1, 2, 5})
            if (decade * digit * cell >= room) return decade * digit;
}

/// Where the parts of the picture are, in pixels.
struct HeatMapLayout {
    Index cell, x, y, width, height;  // the matrix
    Index bar_x, bar_height;
    Index image_width, image_height;
};

inline HeatMapLayout layout(Index rows, Index columns, const ColourScale& scale,
                            const HeatMapOptions& options) {
    HeatMapLayout at{};
    at.cell = cell_size(rows, columns, options);
    at.width = columns * at.cell;
    at.height = rows * at.cell;
    at.x = margin + text_width(number_text(std::max<Index>(rows - 1, 0))) + 6;
    at.y = margin + (options.title.empty() ? 0 : text_height + 8) + 4;
    at.bar_x = at.x + at.width + 24;
    at.bar_height = std::max<Index>(at.height, 4 * text_height);
    Index label_width = 0;
    for (const double value : {scale.low, scale.high, 0.0})
        label_width = std::max(label_width, text_width(short_number(value)));
    const Index right_of_bar = at.bar_x + bar_width + 8 + label_width;
    const Index right_of_title = margin + text_width(options.title);
    at.image_width = std::max(right_of_bar, right_of_title) + margin;
    at.image_height = at.y + std::max(at.bar_height, at.height) + 6 + text_height + margin;
    return at;
}

inline void draw_cells(Image& image, const HeatMapLayout& at, Index rows, Index columns,
                       std::span<const double> values, const ColourScale& scale,
                       const HeatMapOptions& options) {
    const Index gap = options.grid && at.cell >= 8 ? 1 : 0;
    fill(image, at.x, at.y, at.width, at.height, frame_colour);
    for (Index i = 0; i < rows; ++i)
        for (Index j = 0; j < columns; ++j) {
            const auto n = static_cast<std::size_t>(i * columns + j);
            const Colour colour = is_masked(options, n) ? masked_colour : scale.colour(values[n]);
            // The frame stands in for the line after the last row and column.
            const Index width = at.cell - (j + 1 < columns ? gap : 0),
                        height = at.cell - (i + 1 < rows ? gap : 0);
            fill(image, at.x + j * at.cell, at.y + i * at.cell, width, height, colour);
        }
    draw_frame(image, at.x, at.y, at.width, at.height);
}

inline void draw_numbers(Image& image, const HeatMapLayout& at, Index rows, Index columns) {
    const Index row_step = tick_step(at.cell, text_height + 2);
    for (Index i = 0; i < rows; i += row_step) {
        const std::string text = number_text(i);
        // The seven rows above the baseline are centred on the cell.
        const Index middle = at.y + i * at.cell + at.cell / 2;
        draw_text(image, at.x - 6 - text_width(text), middle - 7 * font_scale / 2, text);
    }
    const Index column_step =
        tick_step(at.cell, text_width(number_text(std::max<Index>(columns - 1, 0))) + letter_step);
    for (Index j = 0; j < columns; j += column_step) {
        const std::string text = number_text(j);
        draw_text(image, at.x + j * at.cell + at.cell / 2 - text_width(text) / 2, at.y + at.height + 7, text);
    }
}

inline void draw_bar(Image& image, const HeatMapLayout& at, const ColourScale& scale) {
    const double top = static_cast<double>(at.bar_height - 1);
    for (Index y = 0; y < at.bar_height; ++y) {
        const double value = scale.high + (scale.low - scale.high) * (static_cast<double>(y) / top);
        fill(image, at.bar_x, at.y + y, bar_width, 1, scale.colour(value));
    }
    draw_frame(image, at.bar_x, at.y, bar_width, at.bar_height);
    const Index text_x = at.bar_x + bar_width + 8;
    draw_text(image, text_x, at.y, short_number(scale.high));
    draw_text(image, text_x, at.y + at.bar_height - 7 * font_scale, short_number(scale.low));
    if (!scale.diverging) return;
    const double part = scale.high / (scale.high - scale.low);
    const auto zero_y = static_cast<Index>(std::lround(part * top));
    const Index text_top = zero_y - 7 * font_scale / 2;
    const bool fits = text_top > 8 * font_scale && text_top < at.bar_height - 15 * font_scale;
    if (fits) draw_text(image, text_x, at.y + text_top, "0");
}

}  // namespace detail

/// The picture of a matrix of rows * columns values, row-major. Throws ValueError when a number is negative,
/// the values or the mask have another size, the colour range is empty or the picture would be wider or
/// higher than 8192 pixels.
inline Image render_heat_map(Index rows, Index columns, std::span<const double> values,
                             const HeatMapOptions& options = {}) {
    constexpr std::string_view function = "write_heat_map";
    require<ValueError>(rows >= 1 && columns >= 1 && rows <= largest_heat_map && columns <= largest_heat_map,
                        function, ": got ", rows, " x ", columns, " cells, expected 1 to ", largest_heat_map,
                        " each way");
    const auto cells = static_cast<std::size_t>(rows * columns);
    require<ValueError>(values.size() == cells, function, ": values: got ", values.size(), ", expected ",
                        cells);
    require<ValueError>(options.masked.empty() || options.masked.size() == cells, function, ": masked: got ",
                        options.masked.size(), " cells, expected ", cells, " or none");
    require<ValueError>(options.cell_size >= 0 && options.cell_size <= largest_heat_map, function,
                        ": cell_size: got ", options.cell_size, ", expected 0 to ", largest_heat_map);
    const auto scale = detail::colour_scale(values, options);
    const auto at = detail::layout(rows, columns, scale, options);
    require<ValueError>(at.image_width <= largest_heat_map && at.image_height <= largest_heat_map, function,
                        ": got ", at.image_width, " x ", at.image_height, " pixels, expected at most ",
                        largest_heat_map, " each way");
    Image image(static_cast<std::size_t>(at.image_width), static_cast<std::size_t>(at.image_height),
                detail::paper);
    detail::draw_text(image, detail::margin, detail::margin, options.title);
    detail::draw_cells(image, at, rows, columns, values, scale, options);
    detail::draw_numbers(image, at, rows, columns);
    detail::draw_bar(image, at, scale);
    return image;
}

/// Writes the picture as a PNG file, at once or not at all. Throws what render_heat_map throws, and
/// FileError.
inline void write_heat_map(const std::filesystem::path& path, Index rows, Index columns,
                           std::span<const double> values, const HeatMapOptions& options = {}) {
    write_file_atomically(path, detail::png_bytes(render_heat_map(rows, columns, values, options)));
}

}  // namespace mta::io
