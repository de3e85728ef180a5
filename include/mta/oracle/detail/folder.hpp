// Folders that appear whole or not at all, and the names of the files in one.
// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <filesystem>
#include <mta/io/file.hpp>
#include <mta/io/json.hpp>
#include <set>
#include <string>
#include <vector>

namespace mta::oracle::detail {

inline bool file_exists(const std::filesystem::path& path) {
    std::error_code error;
    return std::filesystem::exists(path, error);
}

/// The file names in a folder, sorted. Throws FileError when it cannot be read.
inline std::vector<std::string> sorted_names(const std::filesystem::path& folder) {
    std::error_code error;
    std::vector<std::string> names;
    std::filesystem::directory_iterator at(folder, error);
    for (; !error && at != std::filesystem::directory_iterator(); at.increment(error))
        names.push_back(at->path().filename().native());
    require<io::FileError>(!error, "cannot read ", folder.native(), ": ", error.message());
    std::sort(names.begin(), names.end());
    return names;
}

/// A folder that is filled beside its place and then renamed to it; removed again unless it was.
class NewFolder {
  public:
    /// The place must not exist or be an empty folder.
    explicit NewFolder(const std::filesystem::path& place) : place_{final_place(place)} {
        static std::atomic<unsigned> counter{0};
        std::error_code error;
        do {
            path_ = place_;
            path_ += mta::detail::sentence(".tmp-", ::getpid(), "-", counter++);
        } while (!std::filesystem::create_directory(path_, error) && !error);
        require<io::FileError>(!error, "cannot write ", place.native(), ": ", error.message());
    }
    NewFolder(const NewFolder&) = delete;
    NewFolder& operator=(const NewFolder&) = delete;
    ~NewFolder() {
        std::error_code ignored;
        if (!published_) std::filesystem::remove_all(path_, ignored);
    }

    void write(const std::string& name, std::span<const std::byte> bytes) const {
        io::write_file_atomically(path_ / name, bytes);
    }
    void write(const std::string& name, std::string_view text) const {
        write(name, std::as_bytes(std::span(text)));
    }

    /// Puts the folder where it belongs.
    void publish() {
        std::error_code error;
        std::filesystem::rename(path_, place_, error);
        require<io::FileError>(!error, "cannot write ", place_.native(), ": ", error.message());
        published_ = true;
    }

  private:
    // Without a slash at its end, links followed.
    static std::filesystem::path final_place(const std::filesystem::path& place) {
        std::error_code error;
        auto found = std::filesystem::weakly_canonical(place, error);
        require<io::FileError>(!error && !place.empty(), "cannot write ", place.native(), ": ",
                               error ? error.message() : "got no name, expected a folder");
        if (!found.has_filename()) found = found.parent_path();
        const auto status = std::filesystem::status(found, error);
        if (!std::filesystem::exists(status)) return found;
        require<io::FileError>(std::filesystem::is_directory(status), "cannot write ", place.native(),
                               ": it is a file, expected a folder");
        const bool empty = std::filesystem::is_empty(found, error);
        require<io::FileError>(!error && empty, "cannot write ", place.native(),
                               ": it holds files, expected a new or empty folder");
        return found;
    }

    std::filesystem::path place_, path_;
    bool published_ = false;
};

/// The text members of a JSON object; errors name where it stands.
class TextMembers {
  public:
    TextMembers(const io::Json& object, std::string where) : object_{object}, where_{std::move(where)} {}

    /// The member, or `otherwise` where there is none.
    std::string text(std::string_view key, const char* otherwise = nullptr) const {
        const auto found = object_.find(key);
        if (found == object_.end() && otherwise != nullptr) return otherwise;
        require<io::FileError>(found != object_.end(), where_, ": ", key, ": got none, expected text");
        require<io::FileError>(found->is_string(), where_, ": ", key, ": got ", found->type_name(),
                               ", expected text");
        return found->template get<std::string>();
    }

    /// A member that names a file of the same folder: nothing may lead out of it.
    std::string file_name(std::string_view key) const {
        const std::string name = text(key);
        const bool plain =
            !name.empty() && name.front() != '.' && name.find('/') == std::string::npos && name.size() <= 255;
        require<io::FileError>(plain, where_, ": ", key, ": got ", io::detail::in_quotes(name),
                               ", expected the name of a file in the same folder");
        return name;
    }

  private:
    const io::Json& object_;
    std::string where_;
};

}  // namespace mta::oracle::detail
