// Tests of oracle/report_heat_map.hpp: the picture of the worst tensor's error, or none.
// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <limits>
#include <mta/oracle/report_heat_map.hpp>
#include <vector>

namespace mta_test_report_heat_map {
namespace {

using namespace mta;
using namespace mta::oracle;
using oracle::detail::decade_of;

constexpr double inf = std::numeric_limits<double>::infinity();

Report report_of(Index rows, Index columns) {
    Report r;
    r.map = ErrorMap{"stage.pre_conv", "case", rows, columns, {}, {}};
    r.map->error.assign(static_cast<std::size_t>(rows * columns), 0.5);
    r.map->masked.assign(static_cast<std::size_t>(rows * columns), 0);
    return r;
}

/// A path of its own in the temporary folder, which is free before and after.
class Picture {
  public:
    Picture() { std::filesystem::remove(path); }
    Picture(const Picture&) = delete;
    Picture& operator=(const Picture&) = delete;
    ~Picture() { std::filesystem::remove(path); }
    const std::filesystem::path path =
        std::filesystem::temp_directory_path() / "mta_report_heat_map_test.png";
    std::vector<char> bytes() const {
        std::ifstream file(path, std::ios::binary);
        return {std::istreambuf_iterator<char>(file), {}};
    }
};

}  // namespace

TEST_CASE("hand values: decades of the tolerance, NaN and infinity at the upper end") {
    CHECK(decade_of(1, -2, 6) == 0);
    CHECK(decade_of(1000, -2, 6) == doctest::Approx(3));
    CHECK(decade_of(0.001, -2, 6) == -2);
    CHECK(decade_of(0, -2, 6) == -2);
    CHECK(decade_of(1e9, -2, 6) == 6);
    CHECK(decade_of(inf, -2, 6) == 6);
    CHECK(decade_of(std::nan(""), -2, 6) == 6);
}

TEST_CASE("the picture is a PNG file that shows error, scale and what is not judged") {
    const Picture picture;
    Report r = report_of(7, 4);
    REQUIRE(write_error_map(picture.path, r));
    const auto small = picture.bytes();
    REQUIRE(small.size() > 4);
    CHECK(std::string(small.data(), 4) == "\x89PNG");
    const auto drawn = [&] {
        REQUIRE(write_error_map(picture.path, r));
        return picture.bytes();
    };
    r.map->error[5] = 1e4;
    const auto large = drawn();
    CHECK(large != small);
    r.map->error[5] = 1e3;
    CHECK(drawn() != large);
    r.map->error[5] = 0.5;
    CHECK(drawn() == small);
    r.map->masked[5] = 1;
    CHECK(drawn() != small);
    // An error of a millionth looks like one of a hundredth: both are below the scale.
    r = report_of(7, 4);
    r.map->error.assign(28, 1e-6);
    const auto tiny = drawn();
    r.map->error.assign(28, 0.01);
    CHECK(drawn() == tiny);
    CHECK(tiny != small);
}

TEST_CASE("independent values: the ends of the colours are those of every picture, -2 and 6 decades") {
    const Picture picture;  // one file, drawn twice
    Report r = report_of(1, 3);
    r.map->error = {1, 10, 1000};
    REQUIRE(write_error_map(picture.path, r));
    const auto drawn = picture.bytes();
    io::HeatMapOptions options;
    options.title = "stage.pre_conv: log10 of error / tolerance";
    options.low = -2;
    options.high = 6;
    options.masked = r.map->masked;
    io::write_heat_map(picture.path, 1, 3, std::vector<double>{0, 1, 3}, options);
    CHECK(drawn == picture.bytes());
}

TEST_CASE("edge shapes: one cell, the largest each way, nothing") {
    const Picture picture;
    CHECK(write_error_map(picture.path, report_of(1, 1)));
    for (const auto& [rows, columns] :
         {std::pair<Index, Index>{0, 4}, {4, 0}, {2049, 1}, {1, 2049}, {4096, 4096}}) {
        const Picture none;
        CHECK(!write_error_map(none.path, report_of(rows, columns)));
        CHECK(!std::filesystem::exists(none.path));
    }
    CHECK(write_error_map(picture.path, report_of(2048, 1)));
}

TEST_CASE("errors: no mismatch is no picture, and a folder that is not there a FileError") {
    const Picture picture;
    CHECK(!write_error_map(picture.path, Report{}));
    CHECK(!std::filesystem::exists(picture.path));
    CHECK_THROWS_AS(write_error_map(picture.path / "x.png", report_of(2, 2)), io::FileError);
}
}  // namespace mta_test_report_heat_map
