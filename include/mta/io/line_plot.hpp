// Line plots: curves over common axes as a PNG picture, to look at how training went.
// SPDX-License-Identifier: MIT
//
// Axes     x from the smallest to the largest value; y moved out to round numbers, or as asked.
// Points   one that is not finite breaks the line; a point without neighbours is a dot. With log_y, values of 0 and
//          below lie on the lower edge. Lines end at the frame.
// Layout   title, y label above the frame, x label below it, legend on the right: it never hides a curve.
// Errors   ValueError: curves, sizes or a range that cannot be drawn, before anything is written. FileError: the
//          file.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <mta/io/detail/plot_axis.hpp>
#include <mta/io/heat_map.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mta::io {

/// One line through the points (x[n], y[n]), in their order.
struct Curve {
    std::string name{};  // in the legend; empty: not there
    std::vector<double> x{}, y{};
    std::optional<Index> style{};  // colour and dashes; nothing: its place among the curves
};

struct LinePlotOptions {
    std::string title{}, x_label{}, y_label{};
    bool log_y = false;
    std::optional<double> y_low{}, y_high{};  // ends of the y axis; nothing: from the values
    Index width = 720, height = 400;          // of the frame, in pixels
};

namespace detail {

// Told apart by readers who see fewer colours: Okabe and Ito's set, without its yellow.
inline constexpr std::array<Colour, 7> curve_colours{
    {{0, 114, 178}, {213, 94, 0}, {0, 158, 115}, {204, 121, 167}, {230, 159, 0}, {86, 180, 233}, {0, 0, 0}}};
inline constexpr Colour grid_colour{225, 225, 230};
inline constexpr Index line_width = 2, dash_length = 7, tick_length = 5, sample_width = 28;

inline Colour curve_colour(Index style) {
    return curve_colours[static_cast<std::size_t>(style) % curve_colours.size()];
}
/// Every other round through the colours is dashed.
inline bool is_dashed(Index style) {
    return style / static_cast<Index>(curve_colours.size()) % 2 == 1;
}
inline Index style_of(std::span<const Curve> curves, std::size_t n) {
    return curves[n].style.value_or(static_cast<Index>(n));
}

inline void check_line_plot(std::span<const Curve> curves, const LinePlotOptions& options) {
    constexpr std::string_view f = "write_line_plot: ";
    require<ValueError>(!curves.empty(), f, "curves: got none, expected at least 1");
    for (const auto& c : curves) {
        require<ValueError>(c.x.size() == c.y.size(), f, "curve '", c.name, "': got ", c.x.size(), " x and ",
                            c.y.size(), " y, expected as many of both");
        require<ValueError>(c.style.value_or(0) >= 0, f, "curve '", c.name, "': style: got ",
                            c.style.value_or(0), ", expected at least 0");
    }
    for (const Index size : {options.width, options.height})
        require<ValueError>(size >= 16 && size <= largest_heat_map, f, "size: got ", options.width, " x ",
                            options.height, " pixels, expected 16 to ", largest_heat_map, " each way");
}

inline Axis x_axis(std::span<const Curve> curves) {
    Range range;
    for (const auto& curve : curves)
        for (const double x : curve.x)
            widen(range, x);
    const Axis axis = linear_axis(range);
    require<ValueError>(std::isfinite(axis.high - axis.low), "write_line_plot: range of x: got ", axis.low,
                        " to ", axis.high, ", expected a finite size");
    return axis;
}

inline Axis y_axis(std::span<const Curve> curves, const LinePlotOptions& options, double most_steps) {
    Range range;
    for (const auto& curve : curves)
        for (const double y : curve.y)
            if (!options.log_y || y > 0) widen(range, y);
    Axis axis = options.log_y ? log_axis(range) : whole_steps(linear_axis(range), most_steps);
    axis.low = options.y_low.value_or(axis.low);
    axis.high = options.y_high.value_or(axis.high);
    const bool possible = axis.low < axis.high && std::isfinite(axis.high - axis.low);
    require<ValueError>(possible && (!axis.log || axis.low > 0), "write_line_plot: range of y: got ",
                        axis.low, " to ", axis.high, ", expected low below high, a finite size",
                        axis.log ? " and low above 0 for a logarithmic axis" : "");
    return axis;
}

/// The axes and where the frame is, in pixels.
struct LinePlotLayout {
    Axis x_axis, y_axis;
    std::vector<double> x_ticks, y_ticks;
    Index x, y, width, height;
    Index legend_x, image_width, image_height;

    Index pixel_x(double part) const { return x + std::lround(part * static_cast<double>(width - 1)); }
    Index pixel_y(double part) const { return y + std::lround((1 - part) * static_cast<double>(height - 1)); }
};

inline Index widest(const std::vector<std::string>& texts) {
    Index width = 0;
    for (const auto& text : texts)
        width = std::max(width, text_width(text));
    return width;
}

inline LinePlotLayout line_plot_layout(std::span<const Curve> curves, const LinePlotOptions& options) {
    const double most_x = std::max(1.0, static_cast<double>(options.width) / 110);
    const double most_y = std::max(1.0, static_cast<double>(options.height) / 45);
    LinePlotLayout at{};
    at.x_axis = x_axis(curves);
    at.y_axis = y_axis(curves, options, most_y);
    at.x_ticks = axis_ticks(at.x_axis, most_x);
    at.y_ticks = axis_ticks(at.y_axis, most_y);
    std::vector<std::string> names;
    for (const auto& curve : curves)
        if (!curve.name.empty()) names.push_back(curve.name);
    const auto line = [](const std::string& text) { return text.empty() ? 0 : text_height + 6; };
    at.width = options.width, at.height = options.height;
    at.x = margin + widest(tick_labels(at.y_ticks)) + 5 + tick_length;
    at.y = margin + line(options.title) + line(options.y_label) + text_height / 2;
    at.legend_x = at.x + at.width + 3 * letter_step;
    const Index legend = names.empty() ? 0 : sample_width + 8 + widest(names);
    const Index labels = at.x + std::max(text_width(options.x_label), text_width(options.y_label));
    at.image_width = std::max({at.legend_x + legend, margin + text_width(options.title), labels}) + margin;
    const Index below = at.height + tick_length + 5 + text_height + line(options.x_label);
    const Index legend_height = static_cast<Index>(names.size()) * (text_height + 4);
    at.image_height = at.y + std::max(below, legend_height) + margin;
    require<ValueError>(at.image_width <= largest_heat_map && at.image_height <= largest_heat_map,
                        "write_line_plot: got ", at.image_width, " x ", at.image_height,
                        " pixels, expected at most ", largest_heat_map, " each way");
    return at;
}

inline void draw_axes(Image& image, const LinePlotLayout& at, const LinePlotOptions& options) {
    const auto x_labels = tick_labels(at.x_ticks), y_labels = tick_labels(at.y_ticks);
    const Index below = at.y + at.height;
    for (std::size_t n = 0; n < at.x_ticks.size(); ++n) {
        const Index x = at.pixel_x(at.x_axis.part(at.x_ticks[n]));
        fill(image, x, at.y, 1, at.height, grid_colour);
        fill(image, x, below, 1, tick_length, frame_colour);
        draw_text(image, x - text_width(x_labels[n]) / 2, below + tick_length + 5, x_labels[n]);
    }
    for (std::size_t n = 0; n < at.y_ticks.size(); ++n) {
        const Index y = at.pixel_y(at.y_axis.part(at.y_ticks[n]));
        fill(image, at.x, y, at.width, 1, grid_colour);
        fill(image, at.x - tick_length, y, tick_length, 1, frame_colour);
        // The seven rows above the baseline are centred on the tick.
        draw_text(image, at.x - tick_length - 5 - text_width(y_labels[n]), y - 7 * font_scale / 2,
                  y_labels[n]);
    }
    draw_frame(image, at.x, at.y, at.width, at.height);
    draw_text(image, margin, margin, options.title);
    draw_text(image, at.x, at.y - text_height / 2 - text_height - 6, options.y_label);
    const Index centred = at.x + std::max<Index>(0, (at.width - text_width(options.x_label)) / 2);
    draw_text(image, centred, below + tick_length + 5 + text_height + 6, options.x_label);
}

/// A straight line of whole pixels; `drawn` counts them along a curve, for its dashes.
inline void draw_line(Image& image, std::array<Index, 2> from, std::array<Index, 2> to, Index style,
                      Index& drawn) {
    const Index dx = to[0] - from[0], dy = to[1] - from[1];
    const Index steps = std::max<Index>({1, std::abs(dx), std::abs(dy)});
    for (Index n = 0; n <= steps; ++n) {
        const double share = static_cast<double>(n) / static_cast<double>(steps);
        const bool gap = is_dashed(style) && (drawn + n) / dash_length % 2 == 1;
        if (!gap)
            fill(image, from[0] + std::lround(share * static_cast<double>(dx)),
                 from[1] + std::lround(share * static_cast<double>(dy)), line_width, line_width,
                 curve_colour(style));
    }
    drawn += steps;
}

inline void draw_curve(Image& image, const LinePlotLayout& at, const Curve& curve, Index style) {
    using Point = std::array<double, 2>;
    const auto point = [&](std::size_t n) {
        return Point{at.x_axis.part(curve.x[n]), at.y_axis.part(curve.y[n])};
    };
    const auto finite = [](Point p) { return std::isfinite(p[0]) && std::isfinite(p[1]); };
    const auto pixel = [&](Point p, Point q, double share) {
        const auto between = [&](std::size_t axis) {
            return std::clamp(p[axis] + share * (q[axis] - p[axis]), 0.0, 1.0);
        };
        return std::array{at.pixel_x(between(0)), at.pixel_y(between(1))};
    };
    Index drawn = 0;
    for (std::size_t n = 0; n < curve.x.size(); ++n) {
        const Point p = point(n);
        if (!finite(p)) continue;
        const bool before = n > 0 && finite(point(n - 1)),
                   after = n + 1 < curve.x.size() && finite(point(n + 1));
        const Point q = after ? point(n + 1) : p;
        const auto [from, to] = inside_share(p, q);
        if (!(from <= to)) continue;
        const auto first = pixel(p, q, from);
        if (after)
            draw_line(image, first, pixel(p, q, to), style, drawn);
        else if (!before)
            fill(image, first[0] - 2, first[1] - 2, 6, 6, curve_colour(style));
    }
}

inline void draw_legend(Image& image, const LinePlotLayout& at, std::span<const Curve> curves) {
    Index y = at.y;
    for (std::size_t n = 0; n < curves.size(); ++n) {
        if (curves[n].name.empty()) continue;
        const Index middle = y + 7 * font_scale / 2;
        Index drawn = 0;
        draw_line(image, {at.legend_x, middle}, {at.legend_x + sample_width, middle}, style_of(curves, n),
                  drawn);
        draw_text(image, at.legend_x + sample_width + 8, y, curves[n].name);
        y += text_height + 4;
    }
}

}  // namespace detail

/// The picture of the curves; later ones are drawn over earlier ones. Errors as above; at most 8192 pixels each way.
inline Image render_line_plot(std::span<const Curve> curves, const LinePlotOptions& options = {}) {
    detail::check_line_plot(curves, options);
    const auto at = detail::line_plot_layout(curves, options);
    Image image(static_cast<std::size_t>(at.image_width), static_cast<std::size_t>(at.image_height),
                detail::paper);
    detail::draw_axes(image, at, options);
    for (std::size_t n = 0; n < curves.size(); ++n)
        detail::draw_curve(image, at, curves[n], detail::style_of(curves, n));
    detail::draw_legend(image, at, curves);
    return image;
}

/// Writes the picture as a PNG file, at once or not at all. Throws what render_line_plot throws, and FileError.
inline void write_line_plot(const std::filesystem::path& path, std::span<const Curve> curves,
                            const LinePlotOptions& options = {}) {
    write_file_atomically(path, detail::png_bytes(render_line_plot(curves, options)));
}

}  // namespace mta::io
