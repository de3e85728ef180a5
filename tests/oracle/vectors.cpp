// Tests of oracle/vectors.hpp: the vectors in the repository are still made, and wrong ones are noticed.
// SPDX-License-Identifier: MIT
#include <unistd.h>

#include <mta/oracle/vectors.hpp>

#include "support/checks.hpp"

namespace mta_test_vectors {
using namespace mta;
using namespace mta::oracle;
namespace fs = std::filesystem;

namespace {

const fs::path vectors = fs::path(MTA_TEST_DATA).parent_path() / "vectors";

struct Place {
    fs::path path = fs::temp_directory_path() / ("mta-vectors-" + std::to_string(::getpid()));

    Place() { fs::create_directory(path); }
    ~Place() { fs::remove_all(path); }
    fs::path operator/(const std::string& name) const { return path / name; }
};

void write(const fs::path& path, const std::string& text) {
    io::write_file_atomically(path, std::as_bytes(std::span(text)));
}

// The first sentence about the pocket document, or what reading it says.
std::string complaint(const Place& place, const Json& document) {
    write(place / "pocket.json", document.dump());
    try {
        const auto report = verify_pocket(place / "pocket.json");
        return report.wrong.empty() ? "agrees" : report.wrong.front();
    } catch (const io::FileError& error) {
        return error.what();
    }
}

}  // namespace

TEST_CASE("vectors: hand values, the low word is what a double is short of") {
    // Scores are 0, so row i is the mean of i + 1 integers; row 2 a third of their sum.
    const Problem p = make_problem(parse_case("sdpa/B1_H1_S3_D16 fill=zero-scores"));
    const auto r = expected_results(p);
    const auto &out = r.at("out"), &low = r.at("out.low");
    const bool wide = std::numeric_limits<long double>::digits > 53;
    bool some = false;
    for (std::size_t d = 0; d < 16; ++d) {
        const double sum = p.v.data()[d] + p.v.data()[16 + d] + p.v.data()[32 + d];
        CHECK(out.values[32 + d] == doctest::Approx(sum / 3).epsilon(1e-15));
        if (!wide) continue;
        const long double third = static_cast<long double>(out.values[32 + d]) + low.values[32 + d];
        CHECK(std::abs(3 * third - sum) <= 1e-18L);  // a double alone is short by 1e-16
        CHECK(std::abs(low.values[32 + d]) <= 0x1p-53 * std::abs(out.values[32 + d]));
        some = some || low.values[32 + d] != 0;
        CHECK(low.values[d] == 0);
    }
    CHECK(some == wide);
}

TEST_CASE("vectors: independent values, high words are what the reference in double computes") {
    for (const auto& c : vector_cases(VectorSet::pocket)) {
        const Problem p = make_problem(c);
        const auto wide = expected_results(p), plain = reference_results(p, /*stages=*/false);
        CHECK(wide.tensors.size() == 2 * plain.tensors.size());
        for (const auto& want : plain.tensors) {
            const auto& got = wide.at(want.name);
            const auto comparison =
                check::compare_elements(want.name, std::span<const double>(got.values),
                                        std::span<const double>(want.values), want.shape, check::Tolerance{});
            CHECK_MESSAGE(comparison, comparison.sentence);
        }
    }
}

TEST_CASE("vectors: independent values, hexadecimal floats as C99 writes them") {
    using mta::oracle::detail::hex_text;
    using mta::oracle::detail::read_hex;
    double back = 0;
    CHECK(hex_text(1) == "0x1p+0");
    CHECK(hex_text(-3) == "-0x1.8p+1");
    CHECK(hex_text(0.1) == "0x1.999999999999ap-4");
    CHECK(hex_text(-0.0) == "-0x0p+0");
    for (const double x : {0.0, -0.0, 1.0, -0.1, 1e300, 5e-324, -0x1.23p-1030}) {
        CHECK(read_hex(hex_text(x), back));
        CHECK(std::bit_cast<std::uint64_t>(back) == std::bit_cast<std::uint64_t>(x));
    }
    for (const char* text : {"", "1", "0x", "-", "0x-1p0", "--0x1p0", "0x1p0 ", "0x1p99999", "0xg", " 0x1p0"})
        CHECK_FALSE(read_hex(text, back));
}

TEST_CASE("vectors: properties, those in the repository are still made") {
    const auto pocket = verify_pocket(vectors / "pocket.json");
    CHECK(pocket.cases == 3);
    CHECK(pocket.inputs == 20);
    CHECK(pocket.outputs == 20);
    const auto smoke = verify_vector_folder(VectorSet::smoke, vectors / "smoke");
    CHECK(smoke.cases == suite("smoke").size());
    CHECK(smoke.inputs > 150);
    CHECK(smoke.outputs == smoke.inputs);
    const auto full = verify_checksums(vectors / "full.sha256", vector_cases(VectorSet::full));
    CHECK(full.cases > 500);
    for (const auto* report : {&pocket, &smoke, &full}) {
        CHECK(report->wrong.empty());
        for (const auto& sentence : report->wrong)
            MESSAGE(sentence);
        CHECK(report->worst <= vector_bound);
    }
}

TEST_CASE("vectors: properties, sets are what they are called") {
    for (const auto& c : vector_cases(VectorSet::pocket))
        CHECK(c.sequence * c.config.attention.head_dim <= 16);
    const auto full = vector_cases(VectorSet::full);
    for (const auto dtype : {io::DType::F32, io::DType::BF16, io::DType::F16})
        CHECK(std::count_if(full.begin(), full.end(), [&](auto& c) { return c.dtype == dtype; }) * 3 ==
              static_cast<std::ptrdiff_t>(full.size()));
    CHECK(input_checksum(full[0]) != input_checksum(full[1]));
}

TEST_CASE("vectors: errors, a pocket file with one thing changed") {
    const Place place;
    write_vectors(VectorSet::pocket, place / "pocket.json");
    const Json good = io::read_json(place / "pocket.json");
    CHECK(complaint(place, good) == "agrees");
    const auto says = [&](auto&& change, std::string_view part) {
        Json changed = good;
        change(changed["cases"][2]);
        const std::string sentence = complaint(place, changed);
        CHECK_MESSAGE(sentence.find(part) != std::string::npos, part, ": ", sentence);
    };
    says([](Json& c) { c["inputs"]["k"]["values"][3] = "0x1p+0"; }, "input k: got other bits");
    says(
        [](Json& c) {
            c["inputs"]["k"]["shape"] = {16, 2, 1, 1};
        },
        "input k: got other bits or another shape");
    says([](Json& c) { c["inputs"].erase("post.mix"); }, "input post.mix: got none");
    says([](Json& c) { c["outputs"]["grad.v"]["values"][0] = "0x1p+0"; },
         "output grad.v: got a relative error of");
    says([](Json& c) { c["outputs"].erase("out.low"); }, "output out: got none or another shape");
    says([](Json& c) { c["outputs"].erase("grad.q"); }, "output grad.q: got none");
    if (std::numeric_limits<long double>::digits > 53)
        says([](Json& c) { c["outputs"]["out.low"]["values"][0] = "0x1p-54"; },
             "output out: got a relative error of");
    says([](Json& c) { c["inputs"]["k"]["values"][3] = 1.5; },
         "values: got 1.5, expected a hexadecimal float");
    says([](Json& c) { c["inputs"]["k"]["values"][3] = "nan"; }, "expected a hexadecimal float");
    says([](Json& c) { c["inputs"]["k"]["values"].erase(3); }, "values, expected 32 for shape [2, 1, 4, 4]");
    says([](Json& c) { c["inputs"]["k"]["shape"] = {-1}; }, "shape: got -1, expected a small integer");
    says([](Json& c) { c["inputs"]["k"] = 3; }, "got no shape and values");
    says([](Json& c) { c.erase("inputs"); }, "inputs: got no object");
    says([](Json& c) { c = 3; }, "case 2: got number, expected an object");
    says([](Json& c) { c.erase("case"); }, "case: got none, expected text");
    Json fewer = good;
    fewer["cases"].erase(2);
    CHECK(complaint(place, fewer).find("got no such case, expected it") != std::string::npos);
    fewer["cases"] = Json::array();
    CHECK(complaint(place, fewer).find("cases: got none, expected a list") != std::string::npos);
    fewer["schema"] = "mta.suite/1";
    CHECK(complaint(place, fewer).find("schema: got 'mta.suite/1'") != std::string::npos);
}

TEST_CASE("vectors: errors, a list of checksums with one line changed, gone or more") {
    const Place place;
    const auto cases = vector_cases(VectorSet::pocket);
    const std::string good = checksum_text(cases);
    const auto first_wrong = [&](const std::string& text) {
        write(place / "sums", text);
        const auto report = verify_checksums(place / "sums", cases);
        return std::pair(report.wrong.size(), report.wrong.empty() ? "" : report.wrong.front());
    };
    CHECK(first_wrong(good).first == 0);
    std::string changed = good;
    changed[70] = changed[70] == 'x' ? 'y' : 'x';
    CHECK(first_wrong(changed).first == 1);
    CHECK(first_wrong(changed).second.find("line 1: got") != std::string::npos);
    const auto last = good.rfind('\n', good.size() - 2) + 1;
    CHECK(first_wrong(good.substr(0, last)).first == 1);
    CHECK(first_wrong(good + "more\n").second.find("got 'more', expected nothing") != std::string::npos);
    CHECK_THROWS_AS(verify_checksums(place / "none", cases), io::FileError);
}
}  // namespace mta_test_vectors
