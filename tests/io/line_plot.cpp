// Tests of io/line_plot.hpp: axes and their numbers by hand, where curves, gaps and legends are, what cannot be drawn.
// SPDX-License-Identifier: MIT
#include <mta/io/line_plot.hpp>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "io_support.hpp"

namespace mta_test_line_plot {
using namespace mta::io;
using namespace mta::test;
using mta::Index;
using mta::ValueError;

namespace {

constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();
constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr Colour blue{0, 114, 178}, orange{213, 94, 0};

using Ticks = std::vector<double>;

// A picture and where its values are.
struct Drawing {
    std::vector<Curve> curves;
    LinePlotOptions options;
    detail::LinePlotLayout at = detail::line_plot_layout(curves, options);
    Image image = render_line_plot(curves, options);

    Colour at_point(double x, double y) const {
        return image.at(static_cast<std::size_t>(at.pixel_x(at.x_axis.part(x))),
                        static_cast<std::size_t>(at.pixel_y(at.y_axis.part(y))));
    }
    // Pixels of a colour, in the frame or right of it.
    Index count(Colour colour, bool in_legend = false) const {
        Index n = 0;
        for (std::size_t y = 0; y < image.height; ++y)
            for (std::size_t x = 0; x < image.width; ++x)
                n += image.at(x, y) == colour && (static_cast<Index>(x) >= at.legend_x) == in_legend;
        return n;
    }
};

Drawing drawing(std::vector<double> x, std::vector<double> y, LinePlotOptions options = {}) {
    return {{{.x = std::move(x), .y = std::move(y)}}, std::move(options)};
}

std::string sentence(const std::vector<Curve>& curves, const LinePlotOptions& options = {}) {
    return sentence_of<ValueError>([&] { render_line_plot(curves, options); });
}

// Ticks as they are written; their values carry roundings.
std::vector<std::string> labels(const detail::Axis& axis, double most) {
    return detail::tick_labels(detail::axis_ticks(axis, most));
}

}  // namespace

TEST_CASE("hand values: steps of 1, 2 and 5 times a power of ten") {
    CHECK(detail::nice_step(10, 10) == 1);
    CHECK(detail::nice_step(10, 9) == 2);
    CHECK(detail::nice_step(10, 4) == 5);
    CHECK(detail::nice_step(10, 1.5) == 10);
    CHECK(detail::nice_step(0.3, 3) == doctest::Approx(0.1).epsilon(1e-15));
    CHECK(detail::nice_step(4000, 6) == 1000);
}

TEST_CASE("hand values: numbers of an axis") {
    using Labels = std::vector<std::string>;
    CHECK(labels({0, 1}, 5) == Labels{"0", "0.2", "0.4", "0.6", "0.8", "1"});
    CHECK(labels({0, 0.3}, 3) == Labels{"0", "0.1", "0.2", "0.3"});
    CHECK(labels({-5, 4}, 4) == Labels{"-5", "0"});
    CHECK(labels({250, 4000}, 6) == Labels{"1000", "2000", "3000", "4000"});
    CHECK(labels({0, 300000}, 3) == Labels{"0", "100000", "200000", "300000"});
    CHECK(labels({123456780, 123456800}, 2) == Labels{"123456780", "123456790", "123456800"});
    CHECK(labels({1e-3, 1, true}, 8) == Labels{"0.001", "0.01", "0.1", "1"});
    CHECK(labels({0.02, 1, true}, 8) == Labels{"0.02", "0.05", "0.1", "0.2", "0.5", "1"});
    CHECK(labels({1e-9, 1, true}, 4) == Labels{"1e-09", "1e-06", "0.001", "1"});
    CHECK_FALSE(std::signbit(detail::axis_ticks({-0.2, 1}, 5).at(1) - 0.0));
    CHECK(labels({-0.2, 1}, 6).at(1) == "0");
}

TEST_CASE("hand values: places on an axis") {
    const detail::Axis linear{2, 6}, log{0.01, 1, true};
    CHECK(linear.part(3) == 0.25);
    CHECK(linear.part(8) == 1.5);
    CHECK(log.part(0.1) == doctest::Approx(0.5).epsilon(1e-15));
    CHECK(log.part(0) == 0);
    CHECK(log.part(-3) == 0);
    for (const auto& axis : {linear, log})
        for (const double value : {not_a_number, infinity, -infinity})
            CHECK(std::isnan(axis.part(value)));
}

TEST_CASE("hand values: the y axis is moved out to round numbers, the x axis ends at the values") {
    const auto d = drawing({3, 97}, {0.13, 0.88});
    CHECK(d.at.x_axis.low == 3);
    CHECK(d.at.x_axis.high == 97);
    CHECK(d.at.y_axis.low == doctest::Approx(0.1).epsilon(1e-14));
    CHECK(d.at.y_axis.high == doctest::Approx(0.9).epsilon(1e-14));
    const auto log = drawing({0, 1, 2}, {0.02, 0.9, 0}, {.log_y = true});
    CHECK(log.at.y_axis.low == doctest::Approx(0.02).epsilon(1e-14));
    CHECK(log.at.y_axis.high == 1);
    const auto loss = drawing({0, 1}, {6.1, 0.9}, {.log_y = true});
    CHECK(loss.at.y_axis.low == doctest::Approx(0.5).epsilon(1e-14));
    CHECK(loss.at.y_axis.high == 10);
    const auto asked = drawing({0, 1}, {0.02, 0.9}, {.y_low = 0.0, .y_high = 5.0});
    CHECK(asked.at.y_axis.low == 0);
    CHECK(asked.at.y_axis.high == 5);
}

TEST_CASE("hand values: where a curve is") {
    const auto d = drawing({0, 10}, {0, 1});
    for (const double t : {0.0, 0.13, 0.5, 0.77, 1.0})
        CHECK(d.at_point(10 * t, t) == blue);
    CHECK(d.at_point(2.1, 0.85) == detail::paper);
    CHECK(d.at_point(8, 0.2) == detail::grid_colour);
    // Row 0 is on top: the larger value is the higher one.
    CHECK(d.at.pixel_y(1) < d.at.pixel_y(0));
    CHECK(d.at.pixel_y(1) == d.at.y);
    CHECK(d.at.pixel_x(0) == d.at.x);
    CHECK(d.at.pixel_x(1) == d.at.x + d.options.width - 1);
}

TEST_CASE("hand values: on a logarithmic axis equal factors are equal distances, and 0 is at the edge") {
    const auto d = drawing({0, 2, 3, 4}, {1, 0.01, 0, 0.01}, {.log_y = true});
    CHECK(d.at_point(1, 0.1) == blue);
    CHECK(d.at_point(3, 0.01) == blue);
}

TEST_CASE("hand values: the part of a segment within the unit square") {
    using detail::inside_share;
    CHECK(inside_share({0, 0}, {1, 1}) == std::pair{0.0, 1.0});
    CHECK(inside_share({-1, 0.5}, {3, 0.5}) == std::pair{0.25, 0.5});
    CHECK(inside_share({3, 0.5}, {-1, 0.5}) == std::pair{0.5, 0.75});
    CHECK(inside_share({0.5, 0.5}, {0.5, 2.5}) == std::pair{0.0, 0.25});
    for (const auto& [p, q] : {std::pair{std::array{-1.0, 0.5}, std::array{0.5, 2.0}}, {{2, 0}, {2, 1}}}) {
        const auto [from, to] = inside_share(p, q);
        CHECK(from > to);
    }
}

TEST_CASE("edge shapes: one point, one value, no finite value, hardly any range") {
    const auto dot = drawing({5}, {0.25});
    CHECK(dot.at_point(5, 0.25) == blue);
    CHECK(dot.count(blue) == 36);
    CHECK(drawing({1, 2}, {3, 3}).at_point(1.5, 3) == blue);
    CHECK(drawing({1, 2}, {0, 0}).at_point(1.5, 0) == blue);
    CHECK(drawing({1, 2}, {0, 0}, {.log_y = true}).count(blue) > 0);
    CHECK(drawing({0, 1}, {not_a_number, not_a_number}).count(blue) == 0);
    CHECK(drawing({}, {}).count(blue) == 0);
    CHECK(drawing({1, 2}, {1e17, 1e17 + 32}).count(blue) > 700);
    CHECK(drawing({1, 2}, {5e-324, 1e-320}).count(blue) > 700);
    CHECK(drawing({1, 2}, {1e-300, 1e300}, {.log_y = true}).count(blue) > 700);
    CHECK(drawing({1, 2}, {5e-324, 1e308}, {.log_y = true}).count(blue) > 700);
}

TEST_CASE("properties: NaN and infinity break a line") {
    const auto whole = drawing({0, 1, 2, 3, 4}, {1, 1, 1, 1, 1}, {.y_low = 0.0, .y_high = 2.0});
    CHECK(whole.at_point(2.2, 1) == blue);
    for (const double gap : {not_a_number, infinity, -infinity}) {
        const auto d = drawing({0, 1, 2, 3, 4}, {1, 1, gap, 1, 1}, {.y_low = 0.0, .y_high = 2.0});
        CHECK(d.at_point(0.5, 1) == blue);
        CHECK(d.at_point(1.5, 1) != blue);
        CHECK(d.at_point(2.5, 1) != blue);
        CHECK(d.at_point(3.5, 1) == blue);
        const auto x = drawing({0, 1, gap, 3, 4}, {1, 1, 1, 1, 1}, {.y_low = 0.0, .y_high = 2.0});
        CHECK(x.at_point(1.5, 1) != blue);
        CHECK(x.at_point(3.5, 1) == blue);
    }
}

TEST_CASE("properties: lines end at the frame, however far they go") {
    for (const double far : {3.0, 1e9, 1e300}) {
        const auto d = drawing({0, 1, 2}, {0.5, far, 0.5}, {.y_low = 0.0, .y_high = 1.0});
        CHECK(d.count(blue) > 0);
        for (std::size_t x = 0; x < d.image.width; ++x) {
            const bool over = d.image.at(x, static_cast<std::size_t>(d.at.y - 2)) == blue;
            CHECK_FALSE(over);
        }
    }
    // Half way up it leaves the frame at a quarter of the first segment.
    const auto d = drawing({0, 1}, {0.5, 2.5}, {.y_low = 0.0, .y_high = 1.0});
    CHECK(d.at_point(0.125, 0.75) == blue);
    CHECK(d.count(blue) < 2 * 2 * 400);
}

TEST_CASE("properties: every curve has its colour or its dashes, and its name in the legend") {
    const std::vector<Curve> two{{.name = "one", .x = {0, 1}, .y = {0, 0.5}},
                                 {.name = "another", .x = {0, 1}, .y = {1, 0.5}}};
    const Drawing d{two, {}};
    CHECK(d.at_point(0.5, 0.25) == blue);
    CHECK(d.at_point(0.5, 0.75) == orange);
    for (const auto colour : {blue, orange})
        CHECK(d.count(colour, /*in_legend=*/true) > 50);
    const auto unnamed = drawing({0, 1}, {0, 1});
    CHECK(unnamed.image.width < d.image.width);
    CHECK(unnamed.count(blue, /*in_legend=*/true) == 0);
    auto same = two;
    same[1].style = 0;
    CHECK(Drawing{same, {}}.at_point(0.5, 0.75) == blue);
    same[1].style = 7;
    same[1].y = {0.8, 0.8};
    const Drawing dashed{same, {}};
    const auto solid = drawing({0, 1}, {0.8, 0.8}, {.y_low = 0.0, .y_high = 1.0});
    CHECK(dashed.count(blue) > solid.count(blue));  // the first curve, and about half of the second
    Index gaps = 0;
    for (Index x = 0; x < 200; ++x)
        gaps += dashed.at_point(static_cast<double>(x) / 719, 0.8) != blue;
    CHECK(gaps > 60);
    CHECK(gaps < 140);
}

TEST_CASE("properties: title and labels take room and ink") {
    const auto plain = drawing({0, 1}, {0, 1});
    const auto full = drawing({0, 1}, {0, 1}, {.title = "loss", .x_label = "step", .y_label = "nats"});
    CHECK(full.image.height == plain.image.height + 3 * (static_cast<std::size_t>(detail::text_height) + 6));
    CHECK(full.count(detail::ink) > plain.count(detail::ink));
    const auto wide = drawing({0, 1}, {0, 1}, {.title = std::string(100, 'x')});
    CHECK(static_cast<Index>(wide.image.width) >=
          detail::text_width(std::string(100, 'x')) + 2 * detail::margin);
}

TEST_CASE("properties: the file is the PNG of the picture") {
    const TemporaryFolder folder("line_plot");
    const std::vector<Curve> curves{{.name = "a", .x = {0, 1}, .y = {0, 1}}};
    write_line_plot(folder / "plot.png", curves, {.title = "t"});
    CHECK(read_file(folder / "plot.png") == detail::png_bytes(render_line_plot(curves, {.title = "t"})));
    CHECK(folder.files() == std::vector<std::string>{"plot.png"});
}

TEST_CASE("errors: curves, sizes, ranges") {
    CHECK(sentence({}) == "write_line_plot: curves: got none, expected at least 1");
    CHECK(sentence({{.name = "a", .x = {1, 2}, .y = {1}}}) ==
          "write_line_plot: curve 'a': got 2 x and 1 y, expected as many of both");
    CHECK(sentence({{.name = "a", .style = -1}}) ==
          "write_line_plot: curve 'a': style: got -1, expected at least 0");
    const std::vector<Curve> good{{.x = {0, 1}, .y = {0, 1}}};
    check_contains(sentence(good, {.width = 15}), "size: got 15 x 400 pixels, expected 16 to 8192 each way");
    check_contains(sentence(good, {.height = 9000}), "size: got 720 x 9000 pixels");
    check_contains(sentence(good, {.width = 8190}), "pixels, expected at most 8192 each way");
    check_contains(sentence(good, {.title = std::string(1000, 'x')}), "pixels, expected at most 8192");
    check_contains(sentence(good, {.y_low = 2.0}), "range of y: got 2 to 1, expected low below high");
    check_contains(sentence(good, {.y_low = not_a_number}), "range of y: got nan to 1");
    check_contains(sentence(good, {.y_high = infinity}), "range of y: got 0 to inf");
    check_contains(sentence(good, {.log_y = true, .y_low = 0.0}), "low above 0 for a logarithmic axis");
    check_contains(sentence({{.x = {-1e308, 1e308}, .y = {0, 1}}}), "range of x: got -1e+308 to 1e+308");
    check_contains(sentence({{.x = {0, 1}, .y = {-1e308, 1e308}}}), "range of y: got");
}

TEST_CASE("errors: a picture that cannot be drawn or written leaves no file") {
    const TemporaryFolder folder("line_plot");
    CHECK_THROWS_AS(write_line_plot(folder / "plot.png", {}), ValueError);
    CHECK(folder.files().empty());
    const std::vector<Curve> good{{.x = {0, 1}, .y = {0, 1}}};
    check_contains(sentence_of([&] { write_line_plot(folder / "absent/plot.png", good); }),
                   "absent/plot.png: No such file or directory");
}
}  // namespace mta_test_line_plot
