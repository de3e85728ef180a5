// The picture of a check: where the worst tensor of the first mismatch is wrong, as a PNG file.
// SPDX-License-Identifier: MIT
//
// Apart from report.hpp, since drawing needs stb_image_write.h (io/heat_map.hpp). The file appears whole or not at all.
// Errors   FileError: the file cannot be written.
#pragma once

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <mta/io/heat_map.hpp>
#include <mta/oracle/detail/report_text.hpp>
#include <vector>

namespace mta::oracle {

namespace detail {

/// log10 of an error in units of its tolerance, within the ends of the colours; what is not finite is at the upper end.
inline double decade_of(double error, double lowest, double highest) {
    if (!std::isfinite(error)) return highest;
    return std::clamp(std::log10(error), lowest, highest);
}

}  // namespace detail

/// Draws the error of the worst tensor of the first mismatch, in units of its tolerance and on a logarithmic scale
/// from a hundredth of it. Returns false, and writes nothing, when there is no mismatch or it is too large to draw.
inline bool write_error_map(const std::filesystem::path& path, const Report& r) {
    constexpr double lowest = -2, highest = 6;
    if (!r.map || r.map->rows < 1 || r.map->columns < 1 || r.map->rows > 2048 || r.map->columns > 2048)
        return false;
    std::vector<double> decades;
    for (const double error : r.map->error)
        decades.push_back(detail::decade_of(error, lowest, highest));
    io::HeatMapOptions options;
    options.title = detail::plain(r.map->tensor) + ": log10 of error / tolerance";
    options.low = lowest;
    options.high = highest;
    options.masked = r.map->masked;
    io::write_heat_map(path, r.map->rows, r.map->columns, decades, options);
    return true;
}

}  // namespace mta::oracle
