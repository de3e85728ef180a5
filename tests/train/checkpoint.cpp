// Tests of train/checkpoint.hpp: everything comes back bit for bit, and nothing that is wrong does.
// SPDX-License-Identifier: MIT
#include <mta/train/checkpoint.hpp>

#include <doctest/doctest.h>

#include <bit>
#include <functional>

#include "train_support.hpp"

namespace mta_test_checkpoint {
using namespace mta;
using namespace mta::test;
using namespace mta::train;
using io::read_file;

namespace {
const Json config =
    Json::parse(R"({"task":{"letters":5},"model":{"width":8,"heads":[2,2]},"precision":"float32"})");

struct Saved {
    TemporaryFolder folder{"checkpoint"};
    std::filesystem::path path = folder / "c.safetensors";
    TwoTensors<float> params = random_parameters(1);
    AdamWState<TwoTensors<float>> state = random_state(3);

    Saved() { save_checkpoint(path, config, {12, 768}, params, state); }
    std::string refused(const std::function<void()>& f) const {
        std::string got = sentence_of<std::exception>(f);
        const std::string name = path.native();
        return got.starts_with(name) ? "FILE" + got.substr(name.size()) : got;
    }
    // What reading says when the file is rewritten with changes.
    std::string changed(const std::function<void(io::SafetensorsFile&)>& change) const {
        auto file = io::read_safetensors(path);
        std::erase_if(*file.metadata, [](const auto& entry) { return entry.first == "crc32"; });
        change(file);
        io::write_safetensors(path, file);
        return refused([&] {
            auto p = params;
            auto s = state;
            const auto c = read_checkpoint(path);
            require_config(c, config);
            load_checkpoint(c, p, s);
        });
    }
};

std::string& metadata(io::SafetensorsFile& file, std::string_view key) {
    for (auto& [name, value] : *file.metadata)
        if (name == key) return value;
    throw std::runtime_error("no such key");
}
}  // namespace

TEST_CASE("hand values: CRC-32 of the check text, at every length around eight bytes") {
    CHECK(train::detail::crc32_text(train::detail::crc32(to_bytes("123456789"))) == "cbf43926");
    CHECK(train::detail::crc32_text(train::detail::crc32({})) == "00000000");
    CHECK(train::detail::crc32_text(train::detail::crc32(to_bytes("a"))) == "e8b7be43");
    // zlib.crc32(b"The quick brown fox jumps over the lazy dog")
    CHECK(train::detail::crc32(to_bytes("The quick brown fox jumps over the lazy dog")) == 0x414fa339u);
}

TEST_CASE("errors: an empty checksum is a wrong one") {
    const TemporaryFolder folder{"checkpoint_crc"};
    const auto path = folder / "c.safetensors";
    for (const std::string header :
         {R"({"__metadata__": {"crc32": ""}}  )", R"({"__metadata__":{"crc32":""}}    )"}) {
        auto bytes = to_bytes(std::string(8, '\0') + header);
        bytes[0] = static_cast<std::byte>(header.size());
        io::write_file_atomically(path, bytes);
        const auto got = sentence_of<io::FileError>([&] { read_checkpoint(path); });
        CAPTURE(got);
        CHECK(got.find(": got bytes with the checksum ") != got.npos);
        CHECK(got.ends_with(", expected '' as it says (the file is damaged)"));
    }
}

TEST_CASE("hand values: the names, types and metadata of the file") {
    const Saved saved;
    const auto file = io::read_safetensors(saved.path);
    CHECK(file.tensor_names() ==
          std::vector<std::string>{"layer.matrix", "vector", "optimizer.first.layer.matrix",
                                   "optimizer.first.vector", "optimizer.second.layer.matrix",
                                   "optimizer.second.vector", "optimizer.steps"});
    CHECK(file.at("layer.matrix").dtype == io::DType::F32);
    CHECK(file.at("layer.matrix").shape == std::vector<std::int64_t>{3, 2});
    CHECK(file.at("optimizer.steps").dtype == io::DType::I64);
    CHECK(io::to_integer_tensor<std::int64_t, 1>(file, "optimizer.steps")(1) == 7);
    CHECK(file.metadata_value("format") == "mta-checkpoint");
    CHECK(file.metadata_value("format_version") == "1");
    CHECK(file.metadata_value("progress") == R"({"step":12,"next_sample":768})");
    CHECK(file.metadata_value("model") == R"({"width":8,"heads":[2,2]})");
    CHECK(file.metadata_value("precision") == "\"float32\"");
}

TEST_CASE("properties: parameters, moments, counts, progress and configuration come back bit for bit") {
    const auto round_trip = [](auto scalar) {
        using Scalar = decltype(scalar);
        const TemporaryFolder folder("checkpoint_there_and_back");
        auto params = random_parameters<Scalar>(1);
        auto state = random_state<Scalar>(3);
        params.vector(0) = std::numeric_limits<Scalar>::denorm_min(), params.vector(1) = -Scalar(0);
        save_checkpoint(folder / "c", config, {12, 768}, params, state);
        const auto first = read_file(folder / "c");
        const auto loaded = read_checkpoint(folder / "c");
        CHECK(loaded.progress == TrainingProgress{12, 768});
        CHECK(loaded.config.dump() == config.dump());
        auto p = random_parameters<Scalar>(50);
        auto s = random_state<Scalar>(60);
        s.steps = {0, 0};
        load_checkpoint(loaded, p, s);
        CHECK(same_bits(p, params));
        CHECK(same_bits(s.first, state.first));
        CHECK(same_bits(s.second, state.second));
        CHECK(s.steps == state.steps);
        save_checkpoint(folder / "c", loaded.config, loaded.progress, p, s);
        CHECK(read_file(folder / "c") == first);
    };
    round_trip(float{});
    round_trip(double{});
}

TEST_CASE("properties: parameters alone load in another precision") {
    const Saved saved;
    auto wide = cast_params<double>(random_parameters(9));
    load_parameters(read_checkpoint(saved.path), wide);
    CHECK(same_bits(cast_params<float>(wide), saved.params));
}

TEST_CASE("errors: every cut and every flipped bit is noticed") {
    const Saved saved;
    const auto good = read_file(saved.path);
    const auto passes = [&](const Bytes& bytes) {
        io::write_file_atomically(saved.path, bytes);
        const auto load = [&] {
            auto p = saved.params;
            auto s = saved.state;
            const auto c = read_checkpoint(saved.path);
            require_config(c, config);
            load_checkpoint(c, p, s);
        };
        return sentence_of<FileError>(load) == "nothing thrown";
    };
    REQUIRE(passes(good));
    for (std::size_t size = 0; size < good.size(); size += 13)
        CHECK_MESSAGE(!passes({good.begin(), good.begin() + static_cast<std::ptrdiff_t>(size)}), "cut at ",
                      size);
    for (std::size_t n = 0; n < good.size(); ++n) {
        Bytes bytes = good;
        bytes[n] ^= std::byte{1} << (n * 5 % 8);
        CHECK_MESSAGE(!passes(bytes), "byte ", n);
    }
}

TEST_CASE("errors: a damaged number is a sentence with both checksums") {
    const Saved saved;
    auto bytes = read_file(saved.path);
    bytes.back() ^= std::byte{1};
    io::write_file_atomically(saved.path, bytes);
    const auto got = saved.refused([&] { read_checkpoint(saved.path); });
    CHECK(got.starts_with("FILE: got bytes with the checksum "));
    CHECK(got.ends_with("as it says (the file is damaged)"));
}

TEST_CASE("errors: missing, of another format, another version, with another progress") {
    const Saved saved;
    CHECK(saved.refused([&] { read_checkpoint(saved.folder / "none"); })
              .ends_with("none: No such file or directory"));
    CHECK(saved.changed([](auto&) {}) == "nothing thrown");
    CHECK(saved.changed([](auto& f) { metadata(f, "progress") = R"({"step":-1,"next_sample":0})"; }) ==
          "FILE: progress: got step -1 and next_sample 0, expected at least 0");
    CHECK(saved.changed([](auto& f) { metadata(f, "progress") = R"({"step":1})"; }) ==
          "FILE: progress.next_sample: got none, expected a value");
    CHECK(saved.changed([](auto& f) { metadata(f, "format_version") = "2"; }) ==
          "FILE: got format_version '2', expected '1'");
    CHECK(saved.changed([](auto& f) { f.metadata.reset(); }) ==
          "FILE: got the format 'none', expected 'mta-checkpoint', as a training run writes it");
}

TEST_CASE("errors: of another configuration, naming the first field that differs") {
    const Saved saved;
    Json other = config;
    other["model"]["heads"][1] = 4;
    const auto c = read_checkpoint(saved.path);
    CHECK(saved.refused([&] { require_config(c, other); }) == "FILE: model.heads[1]: got 2, expected 4");
    CHECK(saved.refused([&] { require_config(c, config); }) == "nothing thrown");
}

TEST_CASE("errors: tensors that are missing, of another shape or kind, or too many; nothing changes then") {
    CHECK(Saved().changed([](auto& f) { f.tensors.erase(f.tensors.begin() + 1); }) ==
          "FILE: tensor 'vector': got none, expected one of shape [4]");
    CHECK(Saved().changed([](auto& f) {
        f.tensors[4].shape = {2, 3};
    }) == "FILE: tensor 'optimizer.second.layer.matrix': got shape [2, 3], expected shape [3, 2]");
    CHECK(Saved().changed([](auto& f) { f.tensors[0].dtype = io::DType::I32; }) ==
          "FILE: tensor 'layer.matrix': got dtype I32, expected a floating-point type");
    CHECK(Saved().changed([](auto& f) { f.tensors.push_back(bytes_tensor("more", {1})); }) ==
          "FILE: got 8 tensors, expected 7, three per parameter and the step counts");
    const Saved saved;
    auto state = saved.state;
    auto params = random_parameters(40);
    const auto before = params;
    auto c = read_checkpoint(saved.path);
    c.file.tensors.pop_back();
    CHECK_THROWS_AS(load_checkpoint(c, params, state), FileError);
    CHECK(same_bits(params, before));
}

TEST_CASE("errors: where nothing can be written, the old file stays and no other comes") {
    const Saved saved;
    const auto good = read_file(saved.path);
    const std::string got = sentence_of([&] {
        save_checkpoint(saved.folder / "no/c", config, {13, 832}, saved.params, saved.state);
    });
    CHECK(got.ends_with("no/c: No such file or directory"));
    CHECK(read_file(saved.path) == good);
    CHECK(saved.folder.files() == std::vector<std::string>{"c.safetensors"});
}

}  // namespace mta_test_checkpoint
