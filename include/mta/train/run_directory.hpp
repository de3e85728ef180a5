// The folder of one training run: its file names, a lock against a second trainer, leftovers cleaned away.
// SPDX-License-Identifier: MIT
//
// Holds    checkpoint.safetensors   the last good state (checkpoint.hpp)
//          metrics.jsonl            one line per step and per validation (metrics_log.hpp)
//          config.json              what is trained, for readers; the checkpoint holds the same
// Promise  a folder that is no run is only added to. Leftovers are files that write_file_atomically began for one of
//          these three names and that a killed process left; they are removed under the lock, so never while
//          somebody still writes them.
// Errors   io::FileError: no parent folder, no folder, somebody else trains here.
#pragma once

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <filesystem>
#include <mta/core/require.hpp>
#include <mta/io/file.hpp>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace mta::train {

namespace detail {

inline constexpr std::array<std::string_view, 3> run_files{"checkpoint.safetensors", "metrics.jsonl",
                                                           "config.json"};

/// Whether `name` is "<target>.tmp-<digits>-<digits>", as io::write_file_atomically names its fresh files.
inline bool is_leftover_of(std::string_view name, std::string_view target) {
    constexpr std::string_view mark = ".tmp-", digits = "0123456789";
    if (!name.starts_with(target)) return false;
    name.remove_prefix(target.size());
    if (!name.starts_with(mark)) return false;
    name.remove_prefix(mark.size());
    const std::size_t dash = name.find_first_not_of(digits);
    if (dash == 0 || dash == name.npos || name[dash] != '-') return false;
    name.remove_prefix(dash + 1);
    return !name.empty() && name.find_first_not_of(digits) == name.npos;
}

}  // namespace detail

/// Holds the folder's lock while it lives; the system lets go of it when the process ends, however it ends.
class RunDirectory {
  public:
    /// Makes the folder where it is missing (its parent must be there), locks it and removes leftovers.
    explicit RunDirectory(std::filesystem::path path) : path_{made(std::move(path))}, lock_{locked(path_)} {
        for (const auto& leftover : leftovers()) {
            std::error_code ignored;  // a leftover that stays harms nobody
            std::filesystem::remove(leftover, ignored);
        }
    }

    const std::filesystem::path& path() const { return path_; }
    std::filesystem::path checkpoint() const { return path_ / detail::run_files[0]; }
    std::filesystem::path metrics() const { return path_ / detail::run_files[1]; }
    std::filesystem::path config() const { return path_ / detail::run_files[2]; }

  private:
    static std::filesystem::path made(std::filesystem::path path) {
        require<io::FileError>(!path.empty(), "run directory: got an empty name, expected a folder");
        std::error_code error;
        if (std::filesystem::is_directory(path, error)) return path;
        std::filesystem::create_directory(path, error);
        require<io::FileError>(!error, "cannot make the folder ", path.native(), ": ", error.message());
        return path;
    }

    static int locked(const std::filesystem::path& path) {
        const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        require<io::FileError>(fd >= 0, "cannot open ", path.native(), ": ", io::detail::errno_text(errno));
        if (::flock(fd, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK)
            return fd;  // some file systems have no locks
        ::close(fd);
        throw io::FileError(path.native() +
                            ": another program is training here, expected a run of one's own");
    }

    std::vector<std::filesystem::path> leftovers() const {
        std::vector<std::filesystem::path> found;
        std::error_code ignored;
        for (const auto& entry : std::filesystem::directory_iterator(path_, ignored))
            for (const auto target : detail::run_files)
                if (entry.is_regular_file(ignored) &&
                    detail::is_leftover_of(entry.path().filename().native(), target))
                    found.push_back(entry.path());
        return found;
    }

    std::filesystem::path path_;
    io::detail::Descriptor lock_;
};

}  // namespace mta::train
