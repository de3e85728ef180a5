// What the commands of mta-oracle share: safe printing, and checks of options.
// SPDX-License-Identifier: MIT
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <mta/oracle/exit_code.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace mta::program {

/// The text with its control characters spelled out. Names come from files and command lines: none may forge
/// a line or command the terminal.
std::string one_line(std::string_view text);

/// Prints the sentence on standard error and returns the code as a number.
int exit_with(oracle::ExitCode code, const std::string& sentence);

/// Prints "mta-oracle: note: <note>" on standard error.
void print_note(const std::string& note);

/// Throws ShapeError when `out` names the same file as one of `inputs`: results never replace what they were
/// computed from. Empty names are nobody's.
void refuse_overwriting(const std::string& option, const std::string& out,
                        const std::vector<std::string>& inputs);

/// Throws FileError when no file can appear under one of these names, since its folder is not there or it is one
/// itself: before a long computation, not after it. Throws ShapeError when two of them are the same. Empty names are
/// nobody's.
void require_places(const std::string& who, const std::vector<std::string>& names);

/// Writes the text, all of it or nothing.
void write_text(const std::string& path, std::string_view text);

/// Accepts these words.
CLI::Validator one_of(std::vector<std::string> names);

/// Accepts integers from 0 to 2^64 - 1.
CLI::Validator whole_number();

/// Accepts integers from `least` to `most`.
CLI::Validator integer_between(std::int64_t least, std::int64_t most);

/// Accepts what a clock can wait for: more than 0 seconds, at most a day.
CLI::Validator seconds();

/// Accepts texts that are not empty, which would otherwise stand for an option that is not there.
CLI::Validator not_empty();

/// Accepts finite numbers of at least 0: NaN and infinity would make every comparison fail, or none.
CLI::Validator tolerance();

}  // namespace mta::program
