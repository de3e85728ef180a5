// What the commands of mta-oracle share.
// SPDX-License-Identifier: MIT
#include "support.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <mta/io/detail/text.hpp>
#include <mta/io/file.hpp>

namespace mta::program {

std::string one_line(std::string_view text) {
    std::string line;
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte < 0x20 || byte == 0x7F)
            line += "\\x" + io::detail::hex_byte(byte);
        else
            line += c;
    }
    return line;
}

int exit_with(oracle::ExitCode code, const std::string& sentence) {
    std::fprintf(stderr, "mta-oracle: %s\n", one_line(sentence).c_str());
    return static_cast<int>(code);
}

void print_note(const std::string& note) {
    std::fprintf(stderr, "mta-oracle: note: %s\n", one_line(note).c_str());
}

void refuse_overwriting(const std::string& option, const std::string& out,
                        const std::vector<std::string>& inputs) {
    for (const auto& input : inputs) {
        std::error_code missing;  // is no error here: reading says so
        require(!std::filesystem::equivalent(out, input, missing), option, ": got ", out,
                ", which is also read, expected another file");
    }
}

void require_places(const std::string& who, const std::vector<std::string>& names) {
    std::error_code none;
    for (std::size_t n = 0; n < names.size(); ++n) {
        if (names[n].empty()) continue;
        require(std::count(names.begin(), names.end(), names[n]) == 1, who, ": got ", names[n],
                " for two files, expected different ones");
        auto folder = std::filesystem::path(names[n]).parent_path();
        if (folder.empty()) folder = ".";
        require<io::FileError>(
            std::filesystem::is_directory(folder, none), "cannot write ", names[n], ": ",
            std::filesystem::exists(folder, none) ? "Not a directory" : "No such file or directory");
        require<io::FileError>(!std::filesystem::is_directory(names[n], none), "cannot write ", names[n],
                               ": Is a directory");
    }
}

void write_text(const std::string& path, std::string_view text) {
    io::write_file_atomically(path, std::as_bytes(std::span(text)));
}

CLI::Validator one_of(std::vector<std::string> names) {
    std::string choices;
    for (const auto& name : names)
        choices += (choices.empty() ? "" : ", ") + name;
    const auto check = [names = std::move(names), choices](const std::string& text) {
        const bool known = std::find(names.begin(), names.end(), text) != names.end();
        return known ? std::string() : "got '" + text + "', expected one of " + choices;
    };
    return CLI::Validator(check, choices, "one_of");
}

CLI::Validator whole_number() {
    const auto check = [](const std::string& text) {
        std::uint64_t n = 0;
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
        const bool whole = error == std::errc() && end == text.data() + text.size();
        return whole ? std::string() : "got '" + text + "', expected an integer from 0 to 2^64 - 1";
    };
    return CLI::Validator(check, ">= 0", "whole_number");
}

CLI::Validator integer_between(std::int64_t least, std::int64_t most) {
    const std::string range = mta::detail::sentence("an integer from ", least, " to ", most);
    const auto check = [least, most, range](const std::string& text) {
        std::int64_t n = 0;
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
        const bool whole = error == std::errc() && end == text.data() + text.size();
        return whole && least <= n && n <= most ? std::string() : "got '" + text + "', expected " + range;
    };
    return CLI::Validator(check, mta::detail::sentence(least, " to ", most), "integer_between");
}

CLI::Validator seconds() {
    const auto check = [](const std::string& text) {
        double x = 0;
        const bool usable = CLI::detail::lexical_cast(text, x) && x > 0 && x <= 86400;
        return usable ? std::string() : "got '" + text + "', expected more than 0 seconds, at most 86400";
    };
    return CLI::Validator(check, "SECONDS", "seconds");
}

CLI::Validator not_empty() {
    const auto check = [](const std::string& text) {
        return text.empty() ? std::string("got '', expected something") : std::string();
    };
    return CLI::Validator(check, "", "not_empty");
}

CLI::Validator tolerance() {
    const auto check = [](const std::string& text) {
        double x = -1;
        const bool usable = CLI::detail::lexical_cast(text, x) && x >= 0 && std::isfinite(x);
        return usable ? std::string() : "got '" + text + "', expected a finite number of at least 0";
    };
    return CLI::Validator(check, ">= 0", "tolerance");
}

}  // namespace mta::program
