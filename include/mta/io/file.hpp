// Whole files: reading them, and replacing them so that nobody ever sees half of one.
// SPDX-License-Identifier: MIT
//
// Promise  after write_file_atomically the target holds either all the new bytes or exactly what it held
// before.
//          The bytes go to a fresh file beside the target, are flushed to the disk and renamed over the
//          target.
// Traps    1. Renaming over a device (/dev/null) would replace the device: only regular files are replaced.
//          2. A symbolic link stays a link: the file it names is replaced.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <mta/core/require.hpp>
#include <new>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace mta::io {

/// A file that cannot be read or written, or whose contents break its format.
struct FileError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

/// 16 GiB: read_file's default for the largest file it takes into memory.
inline constexpr std::uint64_t default_file_size_limit = std::uint64_t{1} << 34;

namespace detail {

using mta::detail::number_text;
using mta::detail::sentence;

/// What the operating system calls this errno: "No such file or directory".
inline std::string errno_text(int error) {
    return std::generic_category().message(error);
}

/// Owns a file descriptor.
class Descriptor {
  public:
    explicit Descriptor(int fd) : fd_{fd} {}
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    ~Descriptor() {
        if (fd_ >= 0) ::close(fd_);
    }
    int get() const { return fd_; }
    /// Closes now and says whether that worked: some file systems report a failed write only here.
    bool close() { return ::close(std::exchange(fd_, -1)) == 0; }

  private:
    int fd_;
};

/// Reads until `into` is full or the file ends; returns the number of bytes, or -1 with errno set.
inline std::int64_t read_up_to(int fd, std::span<std::byte> into) {
    std::size_t filled = 0;
    while (filled < into.size()) {
        const auto got = ::read(fd, into.data() + filled, into.size() - filled);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return -1;
        if (got == 0) break;
        filled += static_cast<std::size_t>(got);
    }
    return static_cast<std::int64_t>(filled);
}

/// Writes every byte; false with errno set when that fails.
inline bool write_fully(int fd, std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
        const auto put = ::write(fd, bytes.data(), bytes.size());
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return false;
        bytes = bytes.subspan(static_cast<std::size_t>(put));
    }
    return true;
}

/// A new, empty file beside a target; removed again unless it was renamed over it.
class FreshFile {
  public:
    /// `mode`: permission bits; the process's umask still applies.
    FreshFile(const std::filesystem::path& target, ::mode_t mode) {
        static std::atomic<unsigned> counter{0};
        do {
            path_ = target;
            path_ += sentence(".tmp-", ::getpid(), "-", counter++);
            fd_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
        } while (fd_ < 0 && errno == EEXIST);
    }
    FreshFile(const FreshFile&) = delete;
    FreshFile& operator=(const FreshFile&) = delete;
    ~FreshFile() {
        if (fd_ >= 0 && !renamed_) ::unlink(path_.c_str());
    }
    int descriptor() const { return fd_; }
    bool rename_over(const std::filesystem::path& target) {
        renamed_ = ::rename(path_.c_str(), target.c_str()) == 0;
        return renamed_;
    }

  private:
    std::filesystem::path path_;
    int fd_ = -1;
    bool renamed_ = false;
};

/// The file that `path` names once links are followed, and the permission bits its replacement gets.
inline std::pair<std::filesystem::path, ::mode_t> replaceable_target(const std::filesystem::path& path) {
    struct ::stat status {};
    if (::stat(path.c_str(), &status) != 0) return {path, 0666};
    require<FileError>(!S_ISDIR(status.st_mode), "cannot write ", path.native(),
                       ": it is a directory, expected a file name");
    require<FileError>(S_ISREG(status.st_mode), "cannot write ", path.native(),
                       ": it is a device, pipe or socket, expected a regular file");
    std::error_code error;
    const auto target = std::filesystem::canonical(path, error);
    require<FileError>(!error, "cannot write ", path.native(), ": ", error.message());
    return {target, status.st_mode & 0777};
}

/// Makes a rename in this folder survive a power cut. The data are safe either way, so a failure is no error.
inline void flush_folder(const std::filesystem::path& folder) {
    const Descriptor fd(::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (fd.get() >= 0) ::fsync(fd.get());
}

}  // namespace detail

/// The bytes of a regular file. Throws FileError when it is missing, no regular file, unreadable, or larger
/// than `size_limit` bytes.
inline std::vector<std::byte> read_file(const std::filesystem::path& path,
                                        std::uint64_t size_limit = default_file_size_limit) {
    // Without O_NONBLOCK, opening a pipe that nobody writes to would wait for ever.
    const detail::Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    require<FileError>(file.get() >= 0, "cannot read ", path.native(), ": ", detail::errno_text(errno));
    struct ::stat status {};
    require<FileError>(::fstat(file.get(), &status) == 0, "cannot read ", path.native(), ": ",
                       detail::errno_text(errno));
    require<FileError>(!S_ISDIR(status.st_mode), "cannot read ", path.native(),
                       ": it is a directory, expected a file");
    require<FileError>(S_ISREG(status.st_mode), "cannot read ", path.native(),
                       ": it is a device, pipe or socket, expected a regular file");
    const auto size = static_cast<std::uint64_t>(status.st_size);
    require<FileError>(size <= size_limit, "cannot read ", path.native(), ": it holds ", size,
                       " bytes, expected at most ", size_limit);
    std::vector<std::byte> bytes;
    try {
        bytes.resize(static_cast<std::size_t>(size));
    } catch (const std::exception&) {
        throw FileError(
            detail::sentence("cannot read ", path.native(), ": its ", size, " bytes do not fit in memory"));
    }
    const std::int64_t got = detail::read_up_to(file.get(), bytes);
    require<FileError>(got >= 0, "cannot read ", path.native(), ": ", detail::errno_text(errno));
    require<FileError>(static_cast<std::uint64_t>(got) == size, "cannot read ", path.native(), ": got ", got,
                       " bytes, expected ", size, " (it shrank while being read)");
    return bytes;
}

/// Replaces the file at `path`, or creates it, with these bytes. Throws FileError, and leaves what was there
/// before and no other file, when the folder is missing, the target is no regular file, or the bytes cannot
/// all be written.
inline void write_file_atomically(const std::filesystem::path& path, std::span<const std::byte> bytes) {
    const auto [target, mode] = detail::replaceable_target(path);
    const auto check = [&](bool ok) {
        require<FileError>(ok, "cannot write ", path.native(), ": ", ok ? "" : detail::errno_text(errno));
    };
    detail::FreshFile fresh(target, mode);
    check(fresh.descriptor() >= 0);
    detail::Descriptor file(fresh.descriptor());
    check(detail::write_fully(file.get(), bytes));
    check(::fsync(file.get()) == 0);
    check(file.close());
    check(fresh.rename_over(target));
    detail::flush_folder(target.parent_path());
}

}  // namespace mta::io
