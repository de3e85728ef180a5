// The memory that a candidate is given: where tensors lie, what surrounds them, what a call says.
// SPDX-License-Identifier: MIT
#include <mta/oracle/memory_contract.hpp>
#include <set>

#include "library_support.hpp"

namespace mta_test_memory_contract_buffers {
using namespace mta;
using namespace mta::test;
using oracle::detail::CallConfig;
using oracle::detail::CallLayout;
using oracle::detail::CallMemory;
using oracle::detail::Edge;
using oracle::detail::GuardedBuffer;
using oracle::detail::Poison;

namespace {

std::uintptr_t address(const void* at) {
    return reinterpret_cast<std::uintptr_t>(at);
}

}  // namespace

TEST_CASE("a guarded buffer touches a forbidden region with the end that was asked for") {
    for (const auto dtype : {io::DType::F64, io::DType::F32, io::DType::BF16}) {
        const auto size = io::dtype_size(dtype);
        const GuardedBuffer end({"t", dtype, {3, 5, 7}}, {Edge::end, false, false});
        CHECK(address(end.data()) % 64 == 0);
        CHECK(address(end.map_end()) - GuardedBuffer::forbidden - address(end.data_end()) < 64);
        const GuardedBuffer start({"t", dtype, {3, 5, 7}}, {Edge::start, false, false});
        CHECK(address(start.data()) == address(start.map_begin()) + GuardedBuffer::forbidden);
        CHECK(address(start.data()) % 64 == 0);
        for (const auto edge : {Edge::end, Edge::start}) {
            const GuardedBuffer odd({"t", dtype, {3, 5, 7}}, {edge, true, false});
            CHECK(address(odd.data()) % 16 != 0);
            CHECK(address(odd.data()) % size == 0);
            CHECK(odd.data_end() - odd.data() == static_cast<std::ptrdiff_t>(3 * 5 * 7 * size));
            // Where the size alone would align it, too.
            const GuardedBuffer even({"t", dtype, {4, 8}}, {edge, true, false});
            CHECK(address(even.data()) % 16 != 0);
            CHECK(address(even.data()) % size == 0);
        }
    }
}

TEST_CASE("strides: contiguous, or rows of three elements more") {
    const GuardedBuffer plain({"t", io::DType::F32, {2, 3, 5}}, {});
    CHECK(plain.stride() == std::vector<std::int64_t>{15, 5, 1});
    GuardedBuffer padded({"t", io::DType::F32, {2, 3, 5}}, {Edge::end, false, true});
    CHECK(padded.stride() == std::vector<std::int64_t>{24, 8, 1});
    CHECK(padded.data_end() - padded.data() == (5 * 8 + 5) * 4);
    const GuardedBuffer vector({"t", io::DType::F32, {5}}, {Edge::end, false, true});
    CHECK(vector.stride() == std::vector<std::int64_t>{1});
    const GuardedBuffer empty({"t", io::DType::F32, {0, 3, 5}}, {});
    CHECK(empty.size() == 0);
    CHECK(empty.bits().empty());
    CHECK(!empty.damage());

    std::vector<double> values(30);
    for (std::size_t n = 0; n < values.size(); ++n)
        values[n] = static_cast<double>(n) - 0.5;
    padded.fill(values);
    const auto* data = reinterpret_cast<const float*>(padded.data());
    CHECK(data[1 * 24 + 2 * 8 + 4] == 28.5f);
    CHECK(data[0 * 24 + 1 * 8 + 3] == 7.5f);
    CHECK(!padded.damage());
}

TEST_CASE("every byte around the elements is watched") {
    for (const bool padded : {false, true})
        for (const auto edge : {Edge::end, Edge::start})
            for (const bool misaligned : {false, true}) {
                GuardedBuffer b({"t", io::DType::F32, {2, 5}}, {edge, misaligned, padded});
                const auto begin = b.map_begin() + GuardedBuffer::forbidden,
                           end = b.map_end() - GuardedBuffer::forbidden;
                std::set<std::byte*> inside;
                b.for_each_element([&](std::size_t, std::byte* at) {
                    for (int n = 0; n < 4; ++n)
                        inside.insert(at + n);
                });
                CHECK(inside.size() == 40);
                long missed = 0;
                for (auto* at = begin; at != end; ++at) {
                    *at ^= std::byte{1};
                    missed += b.damage().has_value() == inside.contains(at);
                    *at ^= std::byte{1};
                }
                CHECK(missed == 0);
            }
}

TEST_CASE("damage is said with its side and its extent") {
    GuardedBuffer b({"t", io::DType::F32, {2, 5}}, {Edge::start, true, true});
    b.data_end()[7] ^= std::byte{1};
    CHECK(*b.damage() == "up to 8 bytes past its end");
    b.data_end()[7] ^= std::byte{1};
    b.data()[-3] ^= std::byte{1};
    CHECK(*b.damage() == "up to 3 bytes before its start");
    b.data()[-3] ^= std::byte{1};
    b.data()[5 * 4] ^= std::byte{1};
    CHECK(*b.damage() == "in the padding after its row 0: it was given strides");
}

TEST_CASE("poison is a NaN or a number, in every type, and numbers are stored rounded once") {
    for (const auto dtype : {io::DType::F64, io::DType::F32, io::DType::F16, io::DType::BF16}) {
        CHECK(std::isnan(oracle::detail::decode(oracle::detail::poison_bits(dtype, Poison::nan), dtype)));
        const double number =
            oracle::detail::decode(oracle::detail::poison_bits(dtype, Poison::number), dtype);
        CHECK(std::abs(number - 12345) < 10);
        for (const double x : {1.0, -0.375, 3.0e-5, 65504.0, -0.0}) {
            const double stored = oracle::detail::decode(oracle::detail::encode(x, dtype), dtype);
            CHECK(std::abs(stored - x) <= std::abs(x) * (dtype == io::DType::BF16 ? 0x1p-8 : 0x1p-10));
            CHECK(std::signbit(stored) == std::signbit(x));
        }
        GuardedBuffer b({"t", dtype, {3}}, {});
        CHECK(b.bits() == std::vector<std::uint64_t>(3, oracle::detail::poison_bits(dtype, Poison::nan)));
        b.poison(Poison::number);
        CHECK(b.bits() == std::vector<std::uint64_t>(3, oracle::detail::poison_bits(dtype, Poison::number)));
    }
    CHECK(oracle::detail::encode(1.0, io::DType::F32) == 0x3F800000);
    CHECK(oracle::detail::encode(1.0, io::DType::F64) == 0x3FF0000000000000);
    CHECK(oracle::detail::encode(1.0, io::DType::F16) == 0x3C00);
    CHECK(oracle::detail::encode(1.0, io::DType::BF16) == 0x3F80);
}

TEST_CASE(
    "a call holds the inputs, the outputs in the order of the pipeline, and the configuration in numbers") {
    Problem p = full_problem(io::DType::BF16);
    p.config.attention.mask = MaskRule::exact;
    p.config.document_starts = {{0, 3}, {0, 1, 4}};
    const CallMemory memory(p, true, true, {});
    CHECK(memory.inputs().front().plan().name == "q");
    CHECK(memory.inputs().back().plan().name == "d_out");
    std::vector<std::string> names;
    for (const auto& b : memory.outputs(false))
        names.push_back(b.plan().name);
    CHECK(names == std::vector<std::string>{"out", "stage.logits", "stage.pre_conv", "stage.pre_mix",
                                            "stage.weights", "stage.post_conv", "stage.post_mix",
                                            "stage.context", "stage.norm", "stage.gate"});
    CHECK(memory.outputs(false)[0].plan().dtype == io::DType::BF16);
    CHECK(memory.outputs(false)[1].plan().dtype == io::DType::F32);
    CHECK(memory.outputs(false)[4].plan().shape == std::vector<std::int64_t>{2, 4, 7, 7});
    CHECK(memory.outputs(false)[7].plan().shape == std::vector<std::int64_t>{2, 4, 7, 3});
    CHECK(memory.outputs(true)[3].plan().name == "grad.pre.kernel");
    CHECK(memory.outputs(true)[3].plan().shape == std::vector<std::int64_t>{4, 3, 3});
    CHECK(memory.outputs(true).back().plan().name == "stage.d_gate");
    const CallConfig config(p);
    const mta_config& c = *config.numbers();
    CHECK(c.size == sizeof(mta_config));
    CHECK(std::vector<std::int64_t>{c.batch, c.heads, c.kv_heads, c.sequence, c.head_dim} ==
          std::vector<std::int64_t>{2, 4, 2, 7, 3});
    CHECK(c.pre.left == 1);
    CHECK(c.post.left == 3);
    CHECK(c.post.key_padding == MTA_PADDING_LEFT);
    CHECK(c.scale == doctest::Approx(1 / std::sqrt(3.0)));
    CHECK(c.norm_factor == doctest::Approx(1 - (0.8 - 0.6 * std::exp(-0.9))));
    CHECK(c.mask == MTA_MASK_EXACT);
    CHECK(c.norm == MTA_NORM_RMS_DEPTH);
    CHECK(c.gate == MTA_GATE_VECTOR);
    CHECK(c.packed == 1);
    CHECK(c.document_begin[0 * 7 + 2] == 0);
    CHECK(c.document_end[0 * 7 + 2] == 3);
    CHECK(c.document_begin[1 * 7 + 6] == 4);
    CHECK(c.document_end[1 * 7 + 3] == 4);
    CHECK(parse_config(io::parse_json(config.json(), "call"), "call").document_starts ==
          p.config.document_starts);
}

TEST_CASE("neighbouring tensors touch different ends, and the other parity swaps them") {
    const Problem p = full_problem();
    const auto touches_end = [](const GuardedBuffer& b) {
        return address(b.map_end()) - GuardedBuffer::forbidden - address(b.data_end()) < 64;
    };
    const CallMemory even(p, false, false, CallLayout{0, Poison::nan, false, false});
    const CallMemory odd(p, false, false, CallLayout{1, Poison::nan, false, false});
    CHECK(touches_end(even.inputs()[0]));
    CHECK(!touches_end(even.inputs()[1]));
    CHECK(!touches_end(odd.inputs()[0]));
    CHECK(touches_end(odd.inputs()[1]));
}
}  // namespace mta_test_memory_contract_buffers
