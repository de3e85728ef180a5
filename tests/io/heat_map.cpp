// Tests of io/heat_map.hpp: colours, layout and the PNG file, read back by an independent decoder.
// SPDX-License-Identifier: MIT
#include <stb/stb_image_write.h>  // a program's own use of stb must not disturb ours, nor ours the program's

#include <mta/io/heat_map.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_ONLY_PNG
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#include <stb/stb_image.h>
#pragma GCC diagnostic pop

#include "io_support.hpp"

namespace mta_test_heat_map {
using namespace mta::io;
using namespace mta::test;
using mta::Index;

static_assert(
    std::is_same_v<decltype(&stbi_write_png), int (*)(char const*, int, int, int, const void*, int)>);

namespace {

constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();
constexpr double infinity = std::numeric_limits<double>::infinity();

/// The colour in the middle of cell (i, j).
Colour cell(Index rows, Index columns, const std::vector<double>& values, Index i, Index j,
            const HeatMapOptions& options = {}) {
    const auto image = render_heat_map(rows, columns, values, options);
    const auto at = detail::layout(rows, columns, detail::colour_scale(values, options), options);
    return image.at(static_cast<std::size_t>(at.x + j * at.cell + at.cell / 2),
                    static_cast<std::size_t>(at.y + i * at.cell + at.cell / 2));
}

/// Perceived lightness, CIE L*.
double lightness(Colour colour) {
    const double weights[] = {0.2126, 0.7152, 0.0722};
    double luminance = 0;
    for (std::size_t c = 0; c < 3; ++c) {
        const double x = colour[c] / 255.0;
        luminance += weights[c] * (x <= 0.04045 ? x / 12.92 : std::pow((x + 0.055) / 1.055, 2.4));
    }
    return 116 * std::cbrt(luminance) - 16;
}

std::size_t count(const Image& image, Colour colour) {
    return static_cast<std::size_t>(std::count(image.pixels.begin(), image.pixels.end(), colour));
}

constexpr Colour white{255, 255, 255};

}  // namespace

TEST_CASE("hand values: signed values are white at 0 and strongest at max|value| on either side") {
    const std::vector<double> values{-2, 0, 1, 2, not_a_number, -0.0};
    CHECK(cell(2, 3, values, 0, 0) == detail::diverging_colour(-1));
    CHECK(cell(2, 3, values, 0, 1) == white);
    CHECK(cell(2, 3, values, 0, 2) == detail::diverging_colour(0.5));
    CHECK(cell(2, 3, values, 1, 0) == detail::diverging_colour(1));
    CHECK(cell(2, 3, values, 1, 1) == detail::nan_colour);
    CHECK(cell(2, 3, values, 1, 2) == white);
}

TEST_CASE("hand values: below 0 is blue, above 0 is red, small is violet and large is yellow") {
    const auto [low_red, low_green, low_blue] = detail::diverging_colour(-0.5);
    CHECK(low_blue > 2 * low_red);
    const auto [high_red, high_green, high_blue] = detail::diverging_colour(0.5);
    CHECK(high_red > 2 * high_blue);
    CHECK(detail::sequential_colour(0) == Colour{36, 16, 66});
    CHECK(detail::sequential_colour(1) == Colour{252, 236, 120});
}

TEST_CASE("hand values: values of at least 0 run from the smallest to the largest") {
    const std::vector<double> values{1, 2, 3, 5};
    CHECK(cell(2, 2, values, 0, 0) == detail::sequential_colour(0));
    CHECK(cell(2, 2, values, 0, 1) == detail::sequential_colour(0.25));
    CHECK(cell(2, 2, values, 1, 1) == detail::sequential_colour(1));
    CHECK(cell(2, 2, values, 0, 0, {.low = 0.0, .high = 4.0}) == detail::sequential_colour(0.25));
    CHECK(cell(2, 2, values, 1, 1, {.low = 0.0, .high = 4.0}) == detail::sequential_colour(1));
    CHECK(cell(2, 2, values, 0, 0, {.colours = ColourMap::diverging}) == detail::diverging_colour(0.2));
    // Each side of 0 uses its whole half of the colours.
    CHECK(cell(2, 2, {-1, 2, 0, 4}, 0, 0, {.low = -2.0, .high = 8.0}) == detail::diverging_colour(-0.5));
    CHECK(cell(2, 2, {-1, 2, 0, 4}, 1, 1, {.low = -2.0, .high = 8.0}) == detail::diverging_colour(0.5));
}

TEST_CASE("hand values: masked cells are grey and do not set the range") {
    const std::vector<double> values{1, -900, not_a_number, 3};
    const std::vector<std::uint8_t> masked{0, 1, 1, 0};
    const HeatMapOptions options{.masked = masked};
    CHECK(cell(2, 2, values, 0, 0, options) == detail::sequential_colour(0));
    CHECK(cell(2, 2, values, 0, 1, options) == detail::masked_colour);
    CHECK(cell(2, 2, values, 1, 0, options) == detail::masked_colour);
    CHECK(cell(2, 2, values, 1, 1, options) == detail::sequential_colour(1));
}

TEST_CASE("hand values: infinities take the end's colour and do not widen the range") {
    const std::vector<double> values{-infinity, -1, 1, infinity};
    CHECK(cell(1, 4, values, 0, 0) == detail::diverging_colour(-1));
    CHECK(cell(1, 4, values, 0, 1) == detail::diverging_colour(-1));
    CHECK(cell(1, 4, values, 0, 3) == detail::diverging_colour(1));
}

TEST_CASE("hand values: numbers on the colour bar") {
    CHECK(detail::short_number(0.123456) == "0.1235");
    CHECK(detail::short_number(-3) == "-3");
    CHECK(detail::short_number(1e-9) == "1e-09");
    CHECK(detail::tick_step(40, 20) == 1);
    CHECK(detail::tick_step(8, 20) == 5);
    CHECK(detail::tick_step(1, 48) == 50);
}

TEST_CASE("independent values: the PNG file decodes to the picture") {
    const TemporaryFolder folder("heat_map");
    const std::vector<double> values{-1, 0.5, not_a_number, 2, 0, -2};
    write_heat_map(folder / "map.png", 2, 3, values, {.title = "pre.kernel"});
    const auto image = render_heat_map(2, 3, values, {.title = "pre.kernel"});
    int width = 0, height = 0, channels = 0;
    auto* pixels = stbi_load((folder / "map.png").c_str(), &width, &height, &channels, 3);
    REQUIRE(pixels != nullptr);
    REQUIRE(static_cast<std::size_t>(width) == image.width);
    REQUIRE(static_cast<std::size_t>(height) == image.height);
    CHECK(channels == 3);
    int wrong = 0;
    for (std::size_t n = 0; n < image.pixels.size(); ++n)
        for (std::size_t c = 0; c < 3; ++c)
            wrong += pixels[3 * n + c] != image.pixels[n][c];
    CHECK(wrong == 0);
    stbi_image_free(pixels);
    CHECK(folder.files() == std::vector<std::string>{"map.png"});
}

TEST_CASE("edge shapes: one cell, one row, nothing to scale by") {
    CHECK(cell(1, 1, {1.5}, 0, 0) == detail::sequential_colour(0));
    CHECK(cell(1, 1, {0.0}, 0, 0, {.colours = ColourMap::diverging}) == white);
    CHECK(cell(1, 1, {-1.5}, 0, 0) == detail::diverging_colour(-1));
    CHECK(cell(1, 1, {not_a_number}, 0, 0) == detail::nan_colour);
    CHECK(cell(1, 1, {-infinity}, 0, 0) != detail::nan_colour);
    CHECK(cell(1, 1, {1e308}, 0, 0) == detail::sequential_colour(0));
    CHECK(render_heat_map(1, 8000, std::vector<double>(8000, 1.0)).width > 8000);
    CHECK(render_heat_map(8000, 1, std::vector<double>(8000, 1.0)).height > 8000);
}

TEST_CASE("properties: lightness rises evenly in one map and falls from white on both sides in the other") {
    for (int n = 0; n < 100; ++n) {
        const double step = lightness(detail::sequential_colour((n + 1) / 100.0)) -
                            lightness(detail::sequential_colour(n / 100.0));
        CHECK(step > 0.2);
        CHECK(step < 1.5);
        for (const double side : {-1.0, 1.0})
            CHECK(lightness(detail::diverging_colour(side * (n + 1) / 100)) <
                  lightness(detail::diverging_colour(side * n / 100)));
    }
    CHECK(detail::diverging_colour(0) == white);
    CHECK(detail::sequential_colour(-5) == detail::sequential_colour(0));
    CHECK(detail::sequential_colour(7) == detail::sequential_colour(1));
}

TEST_CASE("properties: every printable character has its own glyph") {
    for (std::size_t a = 1; a < detail::glyphs.size(); ++a) {
        CHECK(detail::glyphs[a].find('#') != std::string_view::npos);
        CHECK(detail::glyphs[a].find_first_not_of("#. ") == std::string_view::npos);
        CHECK(detail::glyphs[a].size() % 6 == 5);
        CHECK(detail::glyphs[a].size() <= 9 * 6 - 1);
        for (std::size_t row = 5; row < detail::glyphs[a].size(); row += 6)
            CHECK(detail::glyphs[a][row] == ' ');
        for (std::size_t b = 0; b < a; ++b)
            CHECK(detail::glyphs[a] != detail::glyphs[b]);
    }
    CHECK(detail::glyph_pixel('L', 6, 4));
    CHECK_FALSE(detail::glyph_pixel('L', 0, 4));
    CHECK(detail::glyph_pixel('\xfc', 0, 1) == detail::glyph_pixel('?', 0, 1));
}

TEST_CASE("properties: cells, title, grid and bar are where they should be") {
    const std::vector<double> values{0, 1, 2, 3, 4, 5};
    const auto plain = render_heat_map(2, 3, values, {.cell_size = 20, .grid = false});
    const auto gridded = render_heat_map(2, 3, values, {.cell_size = 20});
    CHECK(count(plain, detail::sequential_colour(0.4)) >= 20 * 20);
    // Two lines between columns, one between rows, crossing twice.
    CHECK(count(gridded, detail::frame_colour) == count(plain, detail::frame_colour) + 2 * 40 + 60 - 2);
    const auto titled =
        render_heat_map(2, 3, values, {.title = "a title that is wider than the picture", .cell_size = 20});
    CHECK(titled.width > gridded.width);
    CHECK(titled.height > gridded.height);
    CHECK(count(titled, detail::ink) > count(gridded, detail::ink));
    const auto at = detail::layout(2, 3, {0, 5, false}, {.cell_size = 20});
    const auto bar = [&](Index y) {
        return plain.at(static_cast<std::size_t>(at.bar_x + 3), static_cast<std::size_t>(at.y + y));
    };
    CHECK(bar(0) == detail::sequential_colour(1));
    CHECK(bar(at.bar_height - 1) == detail::sequential_colour(0));
    CHECK(plain.at(0, 0) == white);
}

TEST_CASE("errors: sizes, masks and ranges") {
    const std::vector<double> six(6, 1.0);
    const auto sentence = [](Index rows, Index columns, const std::vector<double>& values,
                             const HeatMapOptions& options = {}) {
        return sentence_of<mta::ValueError>([&] { render_heat_map(rows, columns, values, options); });
    };
    CHECK(sentence(2, 4, six) == "write_heat_map: values: got 6, expected 8");
    check_contains(sentence(0, 6, {}), "got 0 x 6 cells, expected 1 to 8192 each way");
    check_contains(sentence(-2, -3, six), "got -2 x -3 cells");
    check_contains(sentence(Index{1} << 62, 4, six), "cells, expected 1 to 8192 each way");
    const std::vector<std::uint8_t> masked(5);
    check_contains(sentence(2, 3, six, {.masked = masked}), "masked: got 5 cells, expected 6 or none");
    check_contains(sentence(2, 3, six, {.cell_size = -1}), "cell_size: got -1");
    check_contains(sentence(2, 3, six, {.cell_size = 5000}), "pixels, expected at most 8192 each way");
    check_contains(sentence(2, 3, six, {.low = 2.0, .high = 2.0}),
                   "range: got 2 to 2, expected low below high");
    check_contains(sentence(2, 3, six, {.low = 3.0}), "range: got 3 to 1");
    check_contains(sentence(2, 3, six, {.low = not_a_number}), "expected low below high and both finite");
    check_contains(sentence(2, 3, six, {.high = infinity}), "expected low below high and both finite");
    check_contains(sentence(2, 3, six, {.colours = ColourMap::diverging, .low = 0.0}),
                   "expected one with 0 inside");
    check_contains(sentence(1, 1, {1}, {.title = std::string(1000, 'x')}),
                   "pixels, expected at most 8192 each way");
}

TEST_CASE("errors: a picture that cannot be drawn or written leaves no file") {
    const TemporaryFolder folder("heat_map");
    CHECK_THROWS_AS(write_heat_map(folder / "map.png", 2, 2, std::vector<double>(3)), mta::ValueError);
    CHECK(folder.files().empty());
    check_contains(
        sentence_of([&] { write_heat_map(folder / "absent/map.png", 1, 1, std::vector<double>{1}); }),
        "absent/map.png: No such file or directory");
}
}  // namespace mta_test_heat_map
