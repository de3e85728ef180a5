// Tests of io/file.hpp: whole files in, whole files out, and nothing in between.
// SPDX-License-Identifier: MIT
#include <mta/io/file.hpp>

#include <doctest/doctest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <thread>
#include <vector>

#include "io_support.hpp"

namespace mta_test_file {
using namespace mta::io;
using namespace mta::test;
namespace fs = std::filesystem;

namespace {

/// While it lives, no file of this process can grow beyond `bytes`: what a full disk looks like to write().
class FileSizeLimit {
  public:
    explicit FileSizeLimit(rlim_t bytes) : handler_{std::signal(SIGXFSZ, SIG_IGN)} {
        ::getrlimit(RLIMIT_FSIZE, &before_);
        const rlimit limited{bytes, before_.rlim_max};
        ::setrlimit(RLIMIT_FSIZE, &limited);
    }
    FileSizeLimit(const FileSizeLimit&) = delete;
    FileSizeLimit& operator=(const FileSizeLimit&) = delete;
    ~FileSizeLimit() {
        ::setrlimit(RLIMIT_FSIZE, &before_);
        std::signal(SIGXFSZ, handler_);
    }

  private:
    rlimit before_{};
    void (*handler_)(int);
};

}  // namespace

TEST_CASE("hand values: what is written is read, and replaces what was there") {
    const TemporaryFolder folder("file");
    const auto path = folder / "data";
    const Bytes small = to_bytes(std::string_view("a\0b", 3)), large(3'000'000, std::byte{0x5a});
    write_file_atomically(path, small);
    CHECK(read_file(path) == small);
    write_file_atomically(path, large);
    CHECK(read_file(path) == large);
    CHECK(folder.files() == std::vector<std::string>{"data"});
}

TEST_CASE("edge shapes: an empty file, and a limit that is just met") {
    const TemporaryFolder folder("file");
    write_file_atomically(folder / "empty", {});
    CHECK(read_file(folder / "empty").empty());
    write_file_atomically(folder / "ten", Bytes(10));
    CHECK(read_file(folder / "ten", 10).size() == 10);
}

TEST_CASE("properties: permissions and symbolic links are kept") {
    const TemporaryFolder folder("file");
    write_file_atomically(folder / "target", Bytes(1));
    fs::permissions(folder / "target", fs::perms::owner_read | fs::perms::owner_write);
    fs::create_symlink("target", folder / "link");
    write_file_atomically(folder / "link", Bytes(2));
    CHECK(fs::is_symlink(folder / "link"));
    CHECK(read_file(folder / "target").size() == 2);
    CHECK(fs::status(folder / "target").permissions() == (fs::perms::owner_read | fs::perms::owner_write));
}

TEST_CASE("properties: a write that fails half-way leaves the old file and nothing else") {
    const TemporaryFolder folder("file");
    const auto path = folder / "data";
    const Bytes old_bytes = to_bytes("before");
    write_file_atomically(path, old_bytes);
    std::string sentence;
    {
        const FileSizeLimit full(1000);
        sentence = sentence_of([&] { write_file_atomically(path, Bytes(100'000)); });
    }
    CHECK(sentence == "cannot write " + path.native() + ": File too large");
    CHECK(read_file(path) == old_bytes);
    CHECK(folder.files() == std::vector<std::string>{"data"});
}

TEST_CASE("properties: a reader never sees a mixture of two writers") {
    const TemporaryFolder folder("file");
    const auto path = folder / "data";
    write_file_atomically(path, Bytes(50'000, std::byte{0}));
    std::vector<std::thread> writers;
    for (int w = 0; w < 3; ++w)
        writers.emplace_back([&, w] {
            for (int n = 0; n < 20; ++n)
                write_file_atomically(path, Bytes(50'000, static_cast<std::byte>(w)));
        });
    int mixed = 0;
    for (int n = 0; n < 200; ++n) {
        const auto bytes = read_file(path);
        mixed += bytes.size() != 50'000 || bytes != Bytes(50'000, bytes.front());
    }
    for (auto& writer : writers)
        writer.join();
    CHECK(mixed == 0);
    CHECK(folder.files().size() == 1);
}

TEST_CASE("errors: what cannot be read") {
    const TemporaryFolder folder("file");
    const auto sentence = [&](const fs::path& path) { return sentence_of([&] { read_file(path); }); };
    const auto absent = folder / "absent";
    CHECK(sentence(absent) == "cannot read " + absent.native() + ": No such file or directory");
    check_contains(sentence(folder / "."), "it is a directory, expected a file");
    check_contains(sentence("/dev/null"), "it is a device, pipe or socket, expected a regular file");
    const auto pipe = folder / "pipe";
    REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
    check_contains(sentence(pipe), "it is a device, pipe or socket");
    write_file_atomically(folder / "ten", Bytes(10));
    check_contains(sentence_of([&] { read_file(folder / "ten", 9); }),
                   "it holds 10 bytes, expected at most 9");
    check_contains(sentence(folder / "ten/inside"), "Not a directory");
    fs::create_symlink("loop", folder / "loop");
    check_contains(sentence(folder / "loop"), "Too many levels of symbolic links");
    fs::permissions(folder / "ten", fs::perms::none);
    // The superuser may read everything.
    if (::geteuid() != 0) check_contains(sentence(folder / "ten"), "Permission denied");
}

TEST_CASE("errors: what cannot be replaced is left alone") {
    const TemporaryFolder folder("file");
    const auto sentence = [&](const fs::path& path) {
        return sentence_of([&] { write_file_atomically(path, Bytes(1)); });
    };
    check_contains(sentence(folder / "absent/data"), "absent/data: No such file or directory");
    check_contains(sentence(folder / "."), "it is a directory, expected a file name");
    check_contains(sentence("/dev/null"), "it is a device, pipe or socket, expected a regular file");
    CHECK(fs::is_character_file("/dev/null"));
    check_contains(sentence(""), "No such file or directory");
    CHECK(folder.files().empty());
}
}  // namespace mta_test_file
