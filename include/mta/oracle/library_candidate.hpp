// A candidate from a shared library that speaks the C interface (c_api.h); it runs in a child process.
// SPDX-License-Identifier: MIT
//
// Contained  crash, abort, exit, hang, C++ exception, error code, output on the terminal, writes out of bounds
//            and into inputs, outputs left unwritten: each becomes an Outcome and one sentence. The library is
//            never loaded into this process. What is not contained: files that it removes, processes that it
//            moves out of its process group.
// Process    a fresh one for every answer, forked from this one (detail/child_process.hpp says what that means
//            for OpenMP); both functions run in it, forward first. A library that needs seconds to load (one
//            that starts a GPU) needs them for every answer.
// Errors     require_library: FileError for a file that is no library for this machine, ArgumentError for a
//            name that it does not export.
#pragma once

#include <elf.h>

#include <mta/oracle/detail/library_run.hpp>

namespace mta::oracle {

/// Which library, and how its functions are called.
struct LibraryOptions {
    std::string path;               // a file, or a name that the loader searches for
    std::string symbol;             // the forward function
    std::string backward_symbol;    // empty: none
    double timeout_seconds = 60;    // for one problem, forward and backward
    bool stages = true;             // offer stage.* and stage.d_*, which cost B H S S elements each
    bool misaligned = false;        // tensors aligned to their elements only, not to 64 bytes
    bool strided = false;           // rows lie further apart than they are long
    bool read_only_inputs = false;  // inputs cannot be written even for a moment
};

namespace detail {

inline LibraryNames names_of(const LibraryOptions& o) {
    return {o.path, o.symbol, o.backward_symbol};
}

inline LibraryRunPlan run_plan(const LibraryOptions& o) {
    LibraryRunPlan plan;
    plan.layout.misaligned = o.misaligned;
    plan.layout.padded_rows = o.strided;
    plan.timeout_seconds = o.timeout_seconds;
    plan.stages = o.stages;
    plan.read_only_inputs = o.read_only_inputs;
    return plan;
}

/// Never throws: what goes wrong here is this side's want of memory.
inline LibraryRun run_library(const LibraryOptions& options, const Problem& p, const LibraryRunPlan& plan) {
    try {
        const auto names = names_of(options);
        return LibraryRunner(names, p, plan).run();
    } catch (const std::exception& error) {
        LibraryRun run;
        run.answer.outcome = Outcome::failed;
        run.answer.sentence = std::string("it could not be called: ") + error.what();
        return run;
    }
}

struct ElfHeader {
    unsigned char ident[EI_NIDENT] = {};
    std::uint16_t type = 0, machine = 0;
};

inline std::optional<ElfHeader> elf_header(const std::string& path) {
    ElfHeader header;
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return std::nullopt;
    const auto got = ::read(fd, &header, sizeof header);
    ::close(fd);
    if (got != sizeof header || std::memcmp(header.ident, ELFMAG, SELFMAG) != 0) return std::nullopt;
    return header;
}

// What can be said about the file without loading it; nothing when it may be a library.
inline std::string file_problem(const std::string& path) {
    std::error_code none;
    const auto status = std::filesystem::status(path, none);
    if (!std::filesystem::exists(status))
        return path.find('/') == std::string::npos ? "" : "no such file, expected a shared library";
    if (!std::filesystem::is_regular_file(status)) return "no regular file, expected a shared library";
    if (::access(path.c_str(), R_OK) != 0)
        return io::detail::errno_text(errno) + ", expected a shared library";
    const auto got = elf_header(path), own = elf_header("/proc/self/exe");
    if (!got) return "no ELF header, expected a shared library";
    if (own && (got->machine != own->machine || got->ident[EI_CLASS] != own->ident[EI_CLASS]))
        return sentence("for another processor (ELF machine ", got->machine, ", class ",
                        int{got->ident[EI_CLASS]}, "), expected ", own->machine, ", class ",
                        int{own->ident[EI_CLASS]});
    if (got->type != ET_DYN) return "no shared object, expected one made with -shared";
    return {};
}

inline std::string loading_death(const ChildEnd& end, double seconds) {
    using How = ChildEnd::How;
    if (end.how == How::timed_out) return sentence("it did not load within ", seconds, " s");
    if (end.how == How::signalled) return "crashed with " + signal_text(end.number) + " while it was loaded";
    if (end.how == How::exited)
        return sentence("ended its process with exit status ", end.number, " while it was loaded");
    if (end.how == How::not_started)
        return "cannot start a process for it: " + io::detail::errno_text(end.number);
    return {};
}

}  // namespace detail

/// Throws unless the library can be loaded and exports the functions; in a child process, as everything.
inline void require_library(const LibraryOptions& options) {
    const std::string where = "library " + io::detail::in_quotes(options.path) + ": ";
    const std::string problem = detail::file_problem(options.path);
    require<io::FileError>(problem.empty(), where, problem);
    const auto names = detail::names_of(options);
    detail::Shared<detail::CallRecord> record;
    const auto end = detail::run_in_child(
        [&] {
            detail::LoadedFunctions functions;
            if (detail::load_without_throwing(names, *record, functions))
                record->step = detail::CallRecord::done;
        },
        options.timeout_seconds);
    const std::string death = detail::loading_death(end, options.timeout_seconds);
    require<io::FileError>(death.empty(), where, death);
    const std::string text = detail::bounded_text(record->text, sizeof record->text);
    require<io::FileError>(record->step != detail::CallRecord::loading, where, text);
    require<ArgumentError>(record->step == detail::CallRecord::done, where, "got no symbol ",
                           io::detail::in_quotes(text), ", expected an exported function int ", text,
                           "(const mta_call*)");
}

namespace detail {

// As a word of a command line that a shell reads.
inline std::string shell_word(const std::string& text) {
    constexpr std::string_view plain =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-+:=,@%";
    if (!text.empty() && text.find_first_not_of(plain) == std::string::npos) return text;
    std::string word = "'";
    for (const char c : text)
        word += c == '\'' ? "'\\''" : std::string(1, c);
    return word + "'";
}

}  // namespace detail

/// The candidate. Constructing it touches nothing; a library that cannot be loaded answers `failed`.
inline Candidate library_candidate(LibraryOptions options) {
    Candidate candidate;
    candidate.name = options.path + ":" + options.symbol;
    candidate.reproduce =
        "--lib " + detail::shell_word(options.path) + " --symbol " + detail::shell_word(options.symbol);
    if (!options.backward_symbol.empty())
        candidate.reproduce += " --backward-symbol " + detail::shell_word(options.backward_symbol);
    if (options.misaligned) candidate.reproduce += " --misaligned";
    if (options.strided) candidate.reproduce += " --strided";
    candidate.answer = [options = std::move(options)](const Problem& p) {
        return detail::run_library(options, p, detail::run_plan(options)).answer;
    };
    return candidate;
}

/// A candidate from functions of the C interface that are in this process already; `backward` may be null. Error
/// codes, exceptions, changed inputs, unwritten outputs and writes near a tensor become outcomes; a crash, a hang and
/// an access far from any tensor are not contained.
inline Candidate function_candidate(std::string name, mta_function forward, mta_function backward) {
    return {std::move(name), "", [=](const Problem& p) {
                try {
                    const detail::LibraryNames names{"this process", "forward",
                                                     backward == nullptr ? "" : "backward"};
                    return detail::LibraryRunner(names, p, {}).run_here({forward, backward}).answer;
                } catch (const std::exception& error) {
                    Answer answer;
                    answer.outcome = Outcome::failed;
                    answer.sentence = std::string("it could not be called: ") + error.what();
                    return answer;
                }
            }};
}

}  // namespace mta::oracle
