// Folders of cases: what a candidate of any language reads, and where it leaves its answers.
// SPDX-License-Identifier: MIT
//
// Written  NAME.json (configuration), NAME.in.safetensors (inputs and d_out in the input type) for each case, and
//          suite.json: {"schema": "mta.suite/1", "generator", "cases": [{"name", "case" (the descriptor), "config",
//          "config_sha256", "in", "in_sha256", "out" (where the answer is expected)}]}.
// Read     such a folder, or any NAME.json + NAME.in.safetensors [+ NAME.out.safetensors]: suite.json is optional
//          and cases that it does not list are read too.
// Promise  a folder appears whole or not at all: it is written beside and renamed. Cases that are listed are the
//          ones that were written, byte for byte.
// Errors   FileError: the folder or a file is missing, damaged or not what suite.json says. ConfigError: a
//          descriptor or configuration. ShapeError: a tensor against its configuration.
#pragma once

#include <mta/oracle/case.hpp>
#include <mta/oracle/detail/folder.hpp>

namespace mta::oracle {

inline constexpr std::string_view suite_schema = "mta.suite/1";

/// One case of a folder, not yet read.
struct CaseEntry {
    std::string name;        // NAME of its files
    std::string descriptor;  // empty where suite.json does not say
    std::filesystem::path config, in, out;
    std::string config_sha256, in_sha256;  // empty: not known
};

/// A case that was read, with the answer if there is one.
struct FolderCase {
    Problem problem;
    std::optional<Results> results;
    Notes notes;
};

/// The inputs of a case as a file, with its descriptor and seed in the metadata.
inline io::SafetensorsFile input_file(const Case& c) {
    io::SafetensorsFile file = to_safetensors(make_problem(c));
    file.metadata->emplace_back("mta.case", describe(c));
    file.metadata->emplace_back("mta.seed", detail::sentence(c.seed));
    return file;
}

/// The stem of a case's files: its number in the list and what it is, in letters that every file system takes.
inline std::string file_stem(std::size_t number, const Case& c) {
    const std::string text = describe(c);
    std::string stem = detail::sentence(number < 10 ? "00" : number < 100 ? "0" : "", number, "-");
    for (const char letter : text.substr(0, text.find(" fill=")))
        stem += letter == '/' ? '-' : letter;
    return stem + "-" + c.fill;
}

namespace detail {

// Writes one case into an open folder and returns its entry of suite.json.
inline Json write_case(const NewFolder& folder, const std::string& stem, const Case& c) {
    const std::string config = to_json(c.config).dump(2) + "\n";
    const auto in = io::serialise_safetensors(input_file(c));
    const auto config_bytes = std::as_bytes(std::span(config));
    folder.write(stem + ".json", config_bytes);
    folder.write(stem + ".in.safetensors", in);
    return {{"name", stem},
            {"case", describe(c)},
            {"config", stem + ".json"},
            {"config_sha256", sha256(config_bytes)},
            {"in", stem + ".in.safetensors"},
            {"in_sha256", sha256(in)},
            {"out", stem + ".out.safetensors"}};
}

inline Json suite_document() {
    return {{"schema", suite_schema},
            {"generator", sentence("mta ", MTA_VERSION_STRING)},
            {"cases", Json::array()}};
}

// One entry of suite.json.
inline CaseEntry read_entry(const std::filesystem::path& folder, const Json& entry,
                            const std::string& where) {
    require<io::FileError>(entry.is_object(), where, ": got ", entry.type_name(), ", expected an object");
    const TextMembers member(entry, where);
    CaseEntry made;
    made.name = member.file_name("name");
    made.descriptor = member.text("case", "");
    made.config = folder / member.file_name("config");
    made.in = folder / member.file_name("in");
    made.out = folder / member.file_name("out");
    made.config_sha256 = member.text("config_sha256", "");
    made.in_sha256 = member.text("in_sha256", "");
    return made;
}

inline std::vector<CaseEntry> read_list(const std::filesystem::path& folder) {
    std::vector<CaseEntry> entries;
    const auto path = folder / "suite.json";
    if (!file_exists(path)) return entries;
    const Json document = io::read_json(path);
    require<io::FileError>(document.is_object(), path.native(), ": got ", document.type_name(),
                           ", expected an object");
    const std::string schema = TextMembers(document, path.native()).text("schema");
    require<io::FileError>(schema == suite_schema, path.native(), ": schema: got ",
                           io::detail::in_quotes(schema), ", expected '", suite_schema, "'");
    const auto cases = document.find("cases");
    require<io::FileError>(cases != document.end() && cases->is_array(), path.native(), ": cases: got ",
                           cases == document.end() ? "none" : cases->type_name(), ", expected a list");
    std::set<std::string> names;
    for (const auto& entry : *cases) {
        entries.push_back(read_entry(folder, entry, sentence(path.native(), ": case ", entries.size())));
        require<io::FileError>(names.insert(entries.back().name).second, path.native(), ": got the case ",
                               io::detail::in_quotes(entries.back().name), " twice, expected it once");
    }
    return entries;
}

// Cases that are there without being listed.
inline void add_unlisted(const std::filesystem::path& folder, std::vector<CaseEntry>& entries) {
    std::set<std::filesystem::path> listed;
    for (const auto& e : entries)
        listed.insert(e.in);
    for (const auto& name : sorted_names(folder)) {
        constexpr std::string_view suffix = ".in.safetensors";
        if (!name.ends_with(suffix) || listed.contains(folder / name)) continue;
        const std::string stem = name.substr(0, name.size() - suffix.size());
        require<io::FileError>(file_exists(folder / (stem + ".json")), (folder / name).native(), ": got no ",
                               stem, ".json beside it, expected its configuration");
        entries.push_back({stem, "", folder / (stem + ".json"), folder / name,
                           folder / (stem + ".out.safetensors"), "", ""});
    }
}

inline void check_file_digest(const std::filesystem::path& path, const std::string& expected) {
    if (expected.empty()) return;
    const std::string got = sha256(io::read_file(path));
    require<io::FileError>(got == expected, path.native(), ": got SHA-256 ", got, ", expected ",
                           io::detail::in_quotes(expected), " as suite.json says");
}

}  // namespace detail

/// Writes the cases into a folder that is new or empty, at once.
inline void write_case_folder(const std::filesystem::path& folder, const std::vector<Case>& cases) {
    detail::NewFolder fresh(folder);
    Json document = detail::suite_document();
    for (const auto& c : cases)
        document["cases"].push_back(detail::write_case(fresh, file_stem(document["cases"].size(), c), c));
    fresh.write("suite.json", document.dump(2) + "\n");
    fresh.publish();
}

/// The cases of a folder: first those that suite.json lists, then the others by name. At least one.
inline std::vector<CaseEntry> list_case_folder(const std::filesystem::path& folder) {
    auto entries = detail::read_list(folder);
    detail::add_unlisted(folder, entries);
    require<io::FileError>(!entries.empty(), folder.native(),
                           ": got no case, expected NAME.json and NAME.in.safetensors of at least one");
    return entries;
}

/// Reads one case, and the answer beside it if there is one.
inline FolderCase read_case(const CaseEntry& entry) {
    detail::check_file_digest(entry.config, entry.config_sha256);
    detail::check_file_digest(entry.in, entry.in_sha256);
    FolderCase made;
    const auto config = read_config(entry.config);
    const auto in = io::read_safetensors(entry.in);
    made.problem =
        problem_from_file(entry.descriptor.empty() ? entry.name : entry.descriptor, config, in, made.notes);
    if (detail::file_exists(entry.out)) made.results = results_from_file(io::read_safetensors(entry.out));
    return made;
}

}  // namespace mta::oracle
