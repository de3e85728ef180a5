// Dropout against hand values, an independent Philox, three witnesses of its gradient, and its promises.
// SPDX-License-Identifier: MIT
#include <mta/ops/dropout.hpp>

#include "support/checks.hpp"
#include "support/golden.hpp"
#include "support/tensors.hpp"
#include "support/threads.hpp"

namespace mta_test_dropout {
using namespace mta;
using namespace mta::test;

namespace {

DropoutCall training_call(std::uint64_t seed, std::uint64_t step = 0, std::uint64_t layer = 0) {
    return {seed, step, layer, true};
}

Tensor<double, 4> ones(Index B, Index H, Index Sq, Index Sk) {
    Tensor<double, 4> t(B, H, Sq, Sk);
    t.setConstant(1);
    return t;
}

// 1 where the call keeps an element, else 0.
Tensor<double, 4> kept(const DropoutCall& call, double p = 0.5) {
    Tensor<double, 4> out = dropout_forward(ones(2, 3, 16, 16), {p}, call);
    for (auto& x : elements(out))
        x = x != 0 ? 1 : 0;
    return out;
}

// How many of all elements two draws treat alike.
double agreement(const Tensor<double, 4>& a, const Tensor<double, 4>& b) {
    Index same = 0;
    for (Index n = 0; n < a.size(); ++n)
        same += a.data()[n] == b.data()[n] ? 1 : 0;
    return static_cast<double>(same) / static_cast<double>(a.size());
}

struct Case {
    std::string name;
    double p;
    DropoutCall call;
};
const std::vector<Case> golden_cases{
    {"plain", 0.3, training_call(1234, 7, 2)},
    {"high_words", 0.5, training_call((5ull << 32) + 6, (3ull << 32) + 1, (9ull << 32) + 4)},
    {"nearly_all", 0.9, training_call(~0ull)},
};

}  // namespace

TEST_CASE("dropout: hand values") {
    const auto x = random_tensor(1, 2, 3, 5, 7), d_out = random_tensor(2, 2, 3, 5, 7);
    SUBCASE("not training: the same bits, at any p") {
        check_same_bits("out", dropout_forward(x, {0.9}, {}), x);
        check_same_bits("d_x", dropout_backward(d_out, x, {0.9}, {}).d_x, d_out);
    }
    SUBCASE("training with p = 0: nothing is dropped, and the factor is 1") {
        check_same_bits("out", dropout_forward(x, {0.0}, training_call(3)), x);
        check_same_bits("d_x", dropout_backward(d_out, x, {0.0}, training_call(3)).d_x, d_out);
    }
    SUBCASE("p = 3/4: an element is 0 or 1 / (1 - 3/4) = 4 times itself") {
        const auto out = dropout_forward(x, {0.75}, training_call(3));
        Index dropped = 0;
        for (Index n = 0; n < x.size(); ++n) {
            if (out.data()[n] == 0)
                ++dropped;
            else
                CHECK(out.data()[n] == 4 * x.data()[n]);
        }
        CHECK(dropped > 0);
        CHECK(dropped < x.size());
    }
    SUBCASE("seed, step and layer 0: the definition, word by word") {
        // Random123's published answer for counter 0 and key 0 begins 6627e8d5 e169c58d: that is the call's
        // key. An element is dropped when its word is below floor(p * 2^32), so p = word / 2^32 keeps it and
        // the next p drops it; both quotients are exact in double.
        const std::array<std::uint32_t, 2> key{0x6627e8d5, 0xe169c58d};
        for (const auto& [b, h, i, j] :
             std::vector<std::array<std::uint32_t, 4>>{{0, 0, 0, 0}, {1, 2, 3, 6}}) {
            const double word = philox4x32({j / 4, i, h, b}, key)[j % 4];
            REQUIRE(word > 0);
            REQUIRE(word < 0x1p32 - 1);
            const auto keeps = dropout_forward(ones(2, 3, 4, 7), {word * 0x1p-32}, training_call(0));
            const auto drops = dropout_forward(ones(2, 3, 4, 7), {(word + 1) * 0x1p-32}, training_call(0));
            CHECK(keeps(b, h, i, j) == 1 / (1 - word * 0x1p-32));
            CHECK(drops(b, h, i, j) == 0);
        }
    }
}

TEST_CASE("dropout: independent values") {
    const Golden golden("ops/dropout");
    for (const Case& test : golden_cases) {
        INFO("case ", test.name);
        const auto value = [&](const char* what) { return golden.tensor<4>(test.name + "." + what); };
        const DropoutConfig config{test.p};
        const auto x = value("x"), d_out = value("d_out"), words = value("words");
        const auto out = dropout_forward(x, config, test.call);
        check_agrees("out", out, value("out"), 1e-15);  // one rounding of the product
        check_agrees("d_x", dropout_backward(d_out, x, config, test.call).d_x, value("d_x"), 1e-15);
        for (Index n = 0; n < x.size(); ++n)
            CHECK((out.data()[n] == 0) == (words.data()[n] < std::floor(test.p * 0x1p32)));
    }
}

TEST_CASE("dropout: complex step and adjoint") {
    const auto x = random_tensor(3, 2, 3, 4, 6), d_out = random_tensor(4, 2, 3, 4, 6);
    for (const auto& call : {training_call(5, 6, 7), DropoutCall{5, 6, 7, false}}) {
        const auto d_x = dropout_backward(d_out, x, {0.4}, call).d_x;
        check_gradient("d_x", d_out, x, d_x, [&](const auto& z) { return dropout_forward(z, {0.4}, call); });
    }
}

TEST_CASE("dropout: edge shapes") {
    SUBCASE("one element") {
        const auto x = random_tensor(5, 1, 1, 1, 1);
        Index dropped = 0;
        for (std::uint64_t step = 0; step < 64; ++step) {
            const auto out = dropout_forward(x, {0.5}, training_call(1, step));
            CHECK((out(0, 0, 0, 0) == 0 || out(0, 0, 0, 0) == 2 * x(0, 0, 0, 0)));
            dropped += out(0, 0, 0, 0) == 0 ? 1 : 0;
        }
        CHECK(dropped > 12);  // 32 expected, standard deviation 4
        CHECK(dropped < 52);
    }
    SUBCASE("no batch, no key") {
        for (const auto& x : {zeros<double>(0, 2, 3, 4), zeros<double>(2, 2, 3, 0)}) {
            CHECK(dropout_forward(x, {0.5}, training_call(1)).dimensions() == x.dimensions());
            CHECK(dropout_backward(x, x, {0.5}, training_call(1)).d_x.dimensions() == x.dimensions());
        }
    }
    SUBCASE("the largest p below 1 drops all but one word in 2^32") {
        const auto out = dropout_forward(ones(2, 3, 16, 16), {1 - 0x1p-53}, training_call(1));
        CHECK(std::all_of(out.data(), out.data() + out.size(), [](double x) { return x == 0; }));
    }
    SUBCASE("a p below 2^-32 drops nothing") {
        const auto out = dropout_forward(ones(2, 3, 16, 16), {0x1p-33}, training_call(1));
        CHECK(std::all_of(out.data(), out.data() + out.size(), [](double x) { return x > 1; }));
    }
}

TEST_CASE("dropout: properties") {
    const auto x = random_tensor(6, 2, 3, 9, 11);
    const auto call = training_call(11, 12, 13);
    const auto out = dropout_forward(x, {0.4}, call);
    SUBCASE("the same bits at any thread count") {
        const auto d_x = dropout_backward(x, out, {0.4}, call).d_x;
        at_thread_counts([&] {
            check_same_bits("out", dropout_forward(x, {0.4}, call), out);
            check_same_bits("d_x", dropout_backward(x, out, {0.4}, call).d_x, d_x);
        });
    }
    SUBCASE("extents do not matter: a corner of a tensor is dropped as it is inside the whole") {
        const std::array<Index, 4> origin{0, 0, 0, 0}, corner{1, 2, 5, 7};
        const Tensor<double, 4> part = x.slice(origin, corner), want = out.slice(origin, corner);
        check_same_bits("corner", dropout_forward(part, {0.4}, call), want);
    }
    SUBCASE("backward is the same map as forward") {
        check_same_bits("d_x", dropout_backward(x, random_tensor(7, 2, 3, 9, 11), {0.4}, call).d_x, out);
    }
    SUBCASE("a larger p drops a superset") {
        const auto few = kept(call, 0.3), many = kept(call, 0.6);
        for (Index n = 0; n < few.size(); ++n)
            CHECK(many.data()[n] <= few.data()[n]);
    }
    SUBCASE("the share of dropped elements is p, within five standard deviations") {
        const auto big = dropout_forward(ones(2, 4, 64, 128), {0.3}, call);  // 65536 elements
        const auto zeros_of = std::count(big.data(), big.data() + big.size(), 0.0);
        const double share = static_cast<double>(zeros_of) / static_cast<double>(big.size());
        CHECK(std::abs(share - 0.3) < 5 * std::sqrt(0.3 * 0.7 / 65536));
    }
    SUBCASE("every word of seed, step and layer draws anew") {
        // 1536 fair coins agree in 0.5 of the cases, standard deviation 0.013; 0.06 is more than four of
        // them.
        const auto base = kept(training_call(1, 1, 1));
        const std::uint64_t high = std::uint64_t{1} << 32;
        for (const auto& other :
             {training_call(2, 1, 1), training_call(1, 2, 1), training_call(1, 1, 2),
              training_call(1 + high, 1, 1), training_call(1, 1 + high, 1), training_call(1, 1, 1 + high)})
            CHECK(std::abs(agreement(base, kept(other)) - 0.5) < 0.06);
    }
    SUBCASE("batch rows, heads, queries and keys draw independently") {
        const auto base = kept(call);
        for (const std::array<Index, 4>& shift :
             {std::array<Index, 4>{1, 0, 0, 0}, std::array<Index, 4>{0, 1, 0, 0},
              std::array<Index, 4>{0, 0, 1, 0}, std::array<Index, 4>{0, 0, 0, 1},
              std::array<Index, 4>{0, 0, 0, 4}}) {
            std::array<Index, 4> extents = base.dimensions();
            for (std::size_t axis = 0; axis < 4; ++axis)
                extents[axis] -= shift[axis];
            const std::array<Index, 4> origin{0, 0, 0, 0};
            const Tensor<double, 4> here = base.slice(origin, extents), there = base.slice(shift, extents);
            CHECK(std::abs(agreement(here, there) - 0.5) < 0.09);  // at least 768 coins: five deviations
        }
    }
    SUBCASE("a dropped NaN is gone, a kept one stays") {
        const auto keep = kept(call, 0.4);
        const Tensor<double, 4> all_nan = ones(2, 3, 16, 16) * not_a_number;
        const auto bad = dropout_forward(all_nan, {0.4}, call);
        for (Index n = 0; n < keep.size(); ++n)
            CHECK(std::isnan(bad.data()[n]) == (keep.data()[n] == 1));
    }
    SUBCASE("float drops what double drops, and rounds the factor and the product") {
        const auto in_float = cast<float>(x);
        const auto got = dropout_forward(in_float, {0.4}, call);
        const auto want = dropout_forward(cast<double>(in_float), {0.4}, call);
        check_agrees("out", got, want, 2.5 * 0x1p-24);
        for (Index n = 0; n < x.size(); ++n)
            CHECK((got.data()[n] == 0) == (want.data()[n] == 0));
    }
}

TEST_CASE("dropout: errors") {
    const auto x = zeros<double>(1, 2, 3, 4);
    for (const bool training : {true, false})
        for (const auto& [p, got] : std::vector<std::pair<double, std::string>>{
                 {1.0, "1"}, {-0.25, "-0.25"}, {not_a_number, "nan"}, {infinity, "inf"}}) {
            const std::string sentence = "dropout: p: got " + got + ", expected at least 0 and below 1";
            const DropoutConfig config{p};
            const DropoutCall call{1, 2, 3, training};
            CHECK_THROWS_WITH_AS(dropout_forward(x, config, call), sentence.c_str(), ValueError);
            CHECK_THROWS_WITH_AS(dropout_backward(x, x, config, call), sentence.c_str(), ValueError);
        }
    CHECK_THROWS_WITH_AS(dropout_backward(zeros<double>(1, 2, 4, 3), x, {0.5}, training_call(1)),
                         "dropout: d_out: got shape [1, 2, 4, 3], expected shape [1, 2, 3, 4]", ShapeError);
}
}  // namespace mta_test_dropout
