// Numbers to colours: a diverging map that is white at 0, and a sequential one that grows lighter evenly.
// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <mta/io/detail/png.hpp>
#include <span>

namespace mta::io::detail {

inline constexpr Colour nan_colour{255, 0, 200};
inline constexpr Colour masked_colour{200, 200, 200};

/// The colour at `position` in [0, 1] along evenly spaced stops, linear between them.
inline Colour between_stops(std::span<const Colour> stops, double position) {
    const double scaled = std::clamp(position, 0.0, 1.0) * static_cast<double>(stops.size() - 1);
    const auto below = std::min(static_cast<std::size_t>(scaled), stops.size() - 2);
    const double part = scaled - static_cast<double>(below);
    Colour colour{};
    for (std::size_t c = 0; c < 3; ++c) {
        const double mixed = (1 - part) * stops[below][c] + part * stops[below + 1][c];
        colour[c] = static_cast<std::uint8_t>(std::lround(mixed));
    }
    return colour;
}

/// Dark violet at 0 to light yellow at 1; lightness rises evenly, so it also reads in greyscale.
inline Colour sequential_colour(double position) {
    static constexpr std::array<Colour, 8> stops{{{36, 16, 66},
                                                  {58, 42, 122},
                                                  {48, 84, 150},
                                                  {30, 122, 152},
                                                  {32, 158, 136},
                                                  {94, 192, 104},
                                                  {178, 216, 74},
                                                  {252, 236, 120}}};
    return between_stops(stops, position);
}

/// Blue at -1, white at 0, red at 1.
inline Colour diverging_colour(double position) {
    static constexpr std::array<Colour, 9> stops{{{12, 44, 104},
                                                  {34, 94, 168},
                                                  {92, 152, 206},
                                                  {172, 206, 232},
                                                  {255, 255, 255},
                                                  {246, 190, 160},
                                                  {224, 122, 90},
                                                  {182, 40, 48},
                                                  {100, 6, 30}}};
    return between_stops(stops, (position + 1) / 2);
}

}  // namespace mta::io::detail
