// Tests of oracle/case_files.hpp: folders of cases, written whole and read with suspicion.
// SPDX-License-Identifier: MIT
#include <unistd.h>

#include <fstream>
#include <mta/oracle/case_files.hpp>

#include "support/checks.hpp"

namespace mta_test_case_files {
using namespace mta;
using namespace mta::oracle;
namespace fs = std::filesystem;

namespace {

// An empty folder that is gone after the test.
struct Place {
    fs::path path = fs::temp_directory_path() / ("mta-case-files-" + std::to_string(::getpid()));

    Place() { fs::create_directory(path); }
    ~Place() { fs::remove_all(path); }
    fs::path operator/(const std::string& name) const { return path / name; }
};

void write(const fs::path& path, std::string_view text) {
    std::ofstream(path, std::ios::binary) << text;
}

std::string text_of(const fs::path& path) {
    const auto bytes = io::read_file(path);
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::vector<Case> two_cases() {
    return {
        parse_case("paper-880m/B2_H2_kv1_S3_D4_cq2_ck3_g2 fill=offset seed=5 io=bf16 document_starts=0,2;0"),
        parse_case("sdpa/B1_H1_S2_D4 seed=6 io=fp16")};
}

// What reading the folder says; "read" when every case was read.
template <class Error = io::FileError>
std::string refusal(const fs::path& folder) {
    try {
        for (const auto& entry : list_case_folder(folder))
            read_case(entry);
    } catch (const Error& error) {
        return error.what();
    }
    return "read";
}

std::size_t count_files(const fs::path& folder) {
    return static_cast<std::size_t>(std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

}  // namespace

TEST_CASE("case_files: hand values, what is in a folder") {
    const Place place;
    write_case_folder(place / "g", two_cases());
    CHECK(count_files(place / "g") == 5);
    const std::string stem = "000-paper-880m-B2_H2_kv1_S3_D4_cq2_ck3_g2-offset";
    const auto in = io::read_safetensors(place / "g" / (stem + ".in.safetensors"));
    CHECK(in.metadata_value("mta.seed") == "5");
    CHECK(in.metadata_value("mta.case") == describe(two_cases()[0]));
    CHECK(in.metadata_value("sha256.q") == sha256(in.at("q").bytes));
    CHECK(in.at("q").dtype == io::DType::BF16);
    CHECK(in.find("d_out") != nullptr);
    CHECK(io::read_json(place / "g" / (stem + ".json")) == to_json(two_cases()[0].config));
    const Json suite = io::read_json(place / "g" / "suite.json");
    CHECK(suite["schema"] == "mta.suite/1");
    CHECK(suite["cases"].size() == 2);
    CHECK(suite["cases"][0]["name"] == stem);
    CHECK(suite["cases"][0]["out"] == stem + ".out.safetensors");
    CHECK(suite["cases"][1]["case"] == "sdpa/B1_H1_S2_D4 fill=normal seed=6 io=fp16");
    CHECK(suite["cases"][1]["in_sha256"] ==
          sha256(io::read_file(place / "g" / "001-sdpa-B1_H1_S2_D4-normal.in.safetensors")));
}

TEST_CASE("case_files: properties, what was written is read to the bit, with the answer beside it") {
    const Place place;
    const auto cases = two_cases();
    write_case_folder(place / "g", cases);
    auto entries = list_case_folder(place / "g");
    REQUIRE(entries.size() == 2);
    for (std::size_t n = 0; n < 2; ++n) {
        const auto read = read_case(entries[n]);
        const Problem made = make_problem(cases[n]);
        CHECK(read.problem.name == describe(cases[n]));
        CHECK(read.problem.dtype == made.dtype);
        CHECK(to_json(read.problem.config) == to_json(made.config));
        for_each_input(
            [](std::string_view name, const auto& a, const auto& b) { test::check_same_bits(name, a, b); },
            read.problem, made);
        CHECK_FALSE(read.results.has_value());
        CHECK(read.notes.empty());
    }
    io::SafetensorsFile out;
    out.tensors.push_back(io::from_tensor("out", make_problem(cases[1]).v, io::DType::F16));
    io::write_safetensors(entries[1].out, out);
    const auto read = read_case(entries[1]);
    REQUIRE(read.results.has_value());
    CHECK(read.results->at("out").values[0] == make_problem(cases[1]).v.data()[0]);
}

TEST_CASE("case_files: properties, cases that nobody listed are read too, with or without suite.json") {
    const Place place;
    write_case_folder(place / "g", two_cases());
    const auto entry = list_case_folder(place / "g")[1];
    fs::create_directory(place / "h");
    fs::copy_file(entry.config, place / "h" / "theirs.json");
    fs::copy_file(entry.in, place / "h" / "theirs.in.safetensors");
    write(place / "h" / "report.json", "{}");  // no case
    auto entries = list_case_folder(place / "h");
    REQUIRE(entries.size() == 1);
    CHECK(entries[0].name == "theirs");
    CHECK(entries[0].out == place / "h" / "theirs.out.safetensors");
    CHECK(read_case(entries[0]).problem.name == "theirs");
    fs::copy_file(entry.config, place / "g" / "theirs.json");
    fs::copy_file(entry.in, place / "g" / "theirs.in.safetensors");
    entries = list_case_folder(place / "g");
    REQUIRE(entries.size() == 3);
    CHECK(entries[2].name == "theirs");
    CHECK(refusal(place / "g") == "read");
}

TEST_CASE("case_files: properties, a folder appears whole or not at all") {
    const Place place;
    fs::create_directory(place / "empty");
    CHECK_NOTHROW(write_case_folder(place / "empty", two_cases()));
    CHECK_NOTHROW(write_case_folder(place / "slash/", two_cases()));
    CHECK(count_files(place / "slash") == 5);
    fs::create_directory(place / "link-target");
    fs::create_directory_symlink(place / "link-target", place / "link");
    write_case_folder(place / "link", two_cases());
    CHECK(fs::is_symlink(place / "link"));
    CHECK(count_files(place / "link-target") == 5);

    const std::size_t before = count_files(place.path);
    const std::string full =
        "cannot write " + (place / "empty").native() + ": it holds files, expected a new or empty folder";
    CHECK_THROWS_WITH_AS(write_case_folder(place / "empty", two_cases()), full.c_str(), io::FileError);
    write(place / "file", "here before");
    CHECK_THROWS_AS(write_case_folder(place / "file", two_cases()), io::FileError);
    CHECK_THROWS_AS(write_case_folder(place / "none/none", two_cases()), io::FileError);
    CHECK_THROWS_AS(write_case_folder("", two_cases()), io::FileError);
    CHECK_THROWS_AS(write_case_folder("/proc/none", two_cases()), io::FileError);
    auto bad = two_cases();
    bad.push_back(parse_case("sdpa/B1_H1_S3_D4096 fill=one-hot io=fp16"));
    CHECK_THROWS_AS(write_case_folder(place / "bad", bad), ValueError);
    CHECK(count_files(place.path) == before + 1);
    CHECK(text_of(place / "file") == "here before");
}

TEST_CASE("case_files: errors, folders and files") {
    const Place place;
    CHECK(refusal(place / "none").find("No such file or directory") != std::string::npos);
    CHECK(refusal(place.path).find("got no case, expected NAME.json") != std::string::npos);
    write(place / "a.in.safetensors", "");
    CHECK(refusal(place.path).find("got no a.json beside it") != std::string::npos);
    write(place / "a.json", R"({"heads": 1, "head_dim": 4})");
    CHECK(refusal(place.path) != "read");
    write_case_folder(place / "g", two_cases());
    const auto entry = list_case_folder(place / "g")[0];
    write(entry.out, "12345678");
    CHECK(refusal(place / "g").find("out.safetensors") != std::string::npos);
    fs::remove(entry.out);
    CHECK(refusal(place / "g") == "read");
    const std::string config = text_of(entry.config);
    write(entry.config, config + " ");
    CHECK(refusal(place / "g").find("as suite.json says") != std::string::npos);
    write(entry.config, config);
    std::string in = text_of(entry.in);
    in.back() = static_cast<char>(in.back() ^ 1);
    write(entry.in, in);
    CHECK(refusal(place / "g").find("got SHA-256") != std::string::npos);
    fs::remove(entry.in);
    CHECK(refusal(place / "g").find("cannot read") != std::string::npos);
}

TEST_CASE("case_files: errors, every member of suite.json") {
    const Place place;
    write_case_folder(place / "g", two_cases());
    const auto path = place / "g" / "suite.json";
    const Json good = io::read_json(path);
    const auto says = [&](const std::string& text, std::string_view part) {
        write(path, text);
        const std::string sentence = refusal(place / "g");
        CHECK_MESSAGE(sentence.find(part) != std::string::npos, text.substr(0, 80), ": ", sentence);
    };
    const auto with = [&](const char* key, const Json& value) {
        Json changed = good;
        changed["cases"][0][key] = value;
        return changed.dump();
    };
    const auto without = [&](const char* key) {
        Json changed = good;
        changed["cases"][0].erase(key);
        return changed.dump();
    };
    says("", "expected one JSON document");
    says("[]", "got array, expected an object");
    says("{}", "schema: got none, expected text");
    says(R"({"schema": 1})", "schema: got number, expected text");
    says(R"({"schema": "mta.suite/2"})", "schema: got 'mta.suite/2', expected 'mta.suite/1'");
    says(R"({"schema": "mta.suite/1"})", "cases: got none, expected a list");
    says(R"({"schema": "mta.suite/1", "cases": {}})", "cases: got object, expected a list");
    says(R"({"schema": "mta.suite/1", "cases": [1]})", "case 0: got number, expected an object");
    for (const char* key : {"name", "config", "in", "out"}) {
        says(without(key), std::string("case 0: ") + key + ": got none, expected text");
        says(with(key, 3), std::string(key) + ": got number, expected text");
        for (const char* name : {"", "..", "../a", "/etc/passwd", ".hidden", "a/b"})
            says(with(key, name), std::string("expected the name of a file in the same folder"));
    }
    for (const char* key : {"case", "config_sha256", "in_sha256"}) {
        says(with(key, 3), std::string(key) + ": got number, expected text");
        says(without(key), "read");  // optional
    }
    says(with("in_sha256", "00"), "expected '00' as suite.json says");
    Json twice = good;
    twice["cases"][1]["name"] = twice["cases"][0]["name"];
    says(twice.dump(), "twice, expected it once");
}
}  // namespace mta_test_case_files
