// What the commands of mta-oracle share.
// SPDX-License-Identifier: MIT
#include "support.hpp"

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

CLI::Validator tolerance() {
    const auto check = [](const std::string& text) {
        double x = -1;
        const bool usable = CLI::detail::lexical_cast(text, x) && x >= 0 && std::isfinite(x);
        return usable ? std::string() : "got '" + text + "', expected a finite number of at least 0";
    };
    return CLI::Validator(check, ">= 0", "tolerance");
}

}  // namespace mta::program
