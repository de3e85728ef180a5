// What the tests of io/ share: sentences of errors, folders that vanish, small stored tensors.
// SPDX-License-Identifier: MIT
#pragma once

#include <doctest/doctest.h>
#include <unistd.h>

#include <cstddef>
#include <filesystem>
#include <initializer_list>
#include <mta/io/stored_tensor.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mta::test {

using Bytes = std::vector<std::byte>;

/// The files that real packages wrote.
inline const std::string io_fixtures = std::string(MTA_TEST_DATA) + "/io/";

/// What the error says; "nothing thrown" when there is none.
template <class Error = io::FileError, class F>
std::string sentence_of(F&& f) {
    try {
        f();
    } catch (const Error& error) {
        return error.what();
    }
    return "nothing thrown";
}

inline void check_contains(std::string_view sentence, std::string_view part) {
    const bool found = sentence.find(part) != sentence.npos;
    CHECK_MESSAGE(found, "got: ", std::string(sentence), "\nexpected to contain: ", std::string(part));
}

/// An empty folder, removed with everything in it at the end.
class TemporaryFolder {
  public:
    explicit TemporaryFolder(std::string_view name) {
        path_ = std::filesystem::temp_directory_path() / io::detail::sentence("mta_", name, "_", ::getpid());
        std::filesystem::remove_all(path_);
        std::filesystem::create_directories(path_);
    }
    TemporaryFolder(const TemporaryFolder&) = delete;
    TemporaryFolder& operator=(const TemporaryFolder&) = delete;
    ~TemporaryFolder() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    std::filesystem::path operator/(std::string_view name) const { return path_ / name; }
    /// Names of the files in it.
    std::vector<std::string> files() const {
        std::vector<std::string> names;
        for (const auto& entry : std::filesystem::directory_iterator(path_))
            names.push_back(entry.path().filename().native());
        return names;
    }

  private:
    std::filesystem::path path_;
};

inline Bytes to_bytes(std::string_view text) {
    const auto bytes = std::as_bytes(std::span(text));
    return {bytes.begin(), bytes.end()};
}

/// A vector of U8.
inline io::StoredTensor bytes_tensor(std::string name, std::initializer_list<int> values) {
    io::StoredTensor t{std::move(name), io::DType::U8, {static_cast<std::int64_t>(values.size())}, {}};
    for (const int v : values)
        t.bytes.push_back(static_cast<std::byte>(v));
    return t;
}

}  // namespace mta::test
