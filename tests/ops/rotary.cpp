// Rotary positions: values, gradients and promises.
// SPDX-License-Identifier: MIT
#include <cmath>
#include <limits>
#include <mta/core/numeric.hpp>
#include <mta/ops/rotary.hpp>
#include <string>
#include <vector>

#include "support/checks.hpp"
#include "support/golden.hpp"
#include "support/tensors.hpp"
#include "support/threads.hpp"

namespace mta_test_rotary {
using namespace mta;
using namespace mta::test;

namespace {

constexpr double pi = 3.141592653589793;
constexpr auto split_layout = RotaryLayout::half_split;
const RotaryConfig interleaved{}, half_split{split_layout, 100};
const RotaryConfig partial{RotaryLayout::interleaved, 50, 4}, partial_half_split{split_layout, 50, 4};
const RotaryConfig scaled{split_layout, 500, {}, RotaryScaling{4, 1.5, 3, 10}};
const std::vector<RotaryConfig> all_configs{interleaved, half_split, partial, partial_half_split, scaled};

Tensor<int, 2> random_positions(std::uint64_t seed, Index B, Index S) {
    Tensor<int, 2> positions(B, S);
    Random random(seed);
    for (auto& p : elements(positions))
        p = static_cast<int>(random.below(50));
    return positions;
}

// One token of one head.
Tensor<double, 4> one_token(const std::vector<double>& values) {
    Tensor<double, 4> x(1, 1, 1, static_cast<Index>(values.size()));
    std::copy(values.begin(), values.end(), x.data());
    return x;
}

}  // namespace

TEST_CASE("rotary: hand values") {
    SUBCASE("a quarter turn") {
        // D = 2: one pair, w = theta^0 = 1. At position 1 the angle is 1 radian:
        // x = (3, 4): 3 cos 1 - 4 sin 1 = 1.6209069176 - 3.3658839392 = -1.7449770216
        //             3 sin 1 + 4 cos 1 = 2.5244129544 + 2.1612092235 =  4.6856221779
        check_agrees("1 radian", rotary_forward(one_token({3, 4}), {}, 1),
                     one_token({-1.7449770216, 4.6856221779}), 1e-10);
        // Position 0 turns nothing: cos 0 = 1 and sin 0 = 0 exactly.
        check_same_bits("position 0", rotary_forward(one_token({3, 4})), one_token({3, 4}));
    }
    SUBCASE("layouts pair different elements") {
        // D = 4, theta = 4: w = 4^0 = 1 and 4^(-2/4) = 1/2. Position 1, x = (1, 0, 0, 1).
        const double c = 0.5403023058681398, s = 0.8414709848078965;           // of 1
        const double c_half = 0.8775825618903728, s_half = 0.479425538604203;  // of 1/2
        // interleaved: (1, 0) turns by 1 into (c, s); (0, 1) turns by 1/2 into (-s_half, c_half).
        check_agrees("interleaved", rotary_forward(one_token({1, 0, 0, 1}), {.theta = 4}, 1),
                     one_token({c, s, -s_half, c_half}), 1e-15);
        // half_split: elements 0 and 2 = (1, 0) turn by 1; elements 1 and 3 = (0, 1) turn by 1/2.
        const RotaryConfig split{.layout = split_layout, .theta = 4};
        check_agrees("half_split", rotary_forward(one_token({1, 0, 0, 1}), split, 1),
                     one_token({c, -s_half, s, c_half}), 1e-15);
        // The gradient turns the other way: (1, 0) by -1 into (c, -s); (0, 1) by -1/2 into (s_half, c_half).
        const auto d = rotary_backward(one_token({1, 0, 0, 1}), one_token({9, 9, 9, 9}), {.theta = 4}, 1);
        check_agrees("d_x", d.d_x, one_token({c, -s, s_half, c_half}), 1e-15);
    }
    SUBCASE("frequencies") {
        // r = 6, theta = 64: 64^0 = 1, 64^(-1/3) = 1/4, 64^(-2/3) = 1/16; the same whatever D is.
        const auto w = rotary_frequencies(10, {.theta = 64, .rotary_dims = 6});
        REQUIRE(w.size() == 3);
        CHECK(w[0] == 1);
        CHECK(w[1] == doctest::Approx(1.0 / 4).epsilon(1e-15));
        CHECK(w[2] == doctest::Approx(1.0 / 16).epsilon(1e-15));
        CHECK(rotary_frequencies(4)[1] == doctest::Approx(0.01).epsilon(1e-15));  // 10000^(-2/4), the default
    }
    SUBCASE("scaled frequencies") {
        // Context 16 pi: turns = 16 pi w / (2 pi) = 8 w = 8, 2, 1/2 for w = 1, 1/4, 1/16.
        // Share kept = (turns - 1) / (5 - 1), within 0..1: 7/4 -> 1; 1/4; -1/8 -> 0.
        // w' = (1 - kept) w / 4 + kept w: 1;  3/4 * 1/16 + 1/4 * 1/4 = 0.109375;  1/16 / 4 = 0.015625.
        const auto w = rotary_frequencies(6, {.theta = 64, .scaling = RotaryScaling{4, 1, 5, 16 * pi}});
        CHECK(w[0] == 1);
        CHECK(w[1] == doctest::Approx(0.109375).epsilon(1e-14));
        CHECK(w[2] == doctest::Approx(0.015625).epsilon(1e-14));
    }
}

TEST_CASE("rotary: independent values") {
    const Golden golden("ops/rotary");
    const auto judge = [&](const std::string& name, const RotaryConfig& config, const auto& positions,
                           double bound) {
        CAPTURE(name);
        const auto x = golden.tensor<4>(name + ".x"), d_out = golden.tensor<4>(name + ".d_out");
        const auto want = golden.tensor<1>(name + ".frequencies");
        const auto got = rotary_frequencies(x.dimension(3), config);
        REQUIRE(got.size() == elements(want).size());
        for (std::size_t n = 0; n < got.size(); ++n)  // one by one, since they span decades
            CHECK(std::abs(got[n] / elements(want)[n] - 1) <= 2e-15);
        check_agrees("out", rotary_forward(x, config, positions), golden.tensor<4>(name + ".out"), bound);
        check_agrees("d_x", rotary_backward(d_out, x, config, positions).d_x, golden.tensor<4>(name + ".d_x"),
                     bound);
    };
    judge("interleaved", {}, 0, 1e-13);
    judge("half_split", {.layout = split_layout, .theta = 1e5}, 7, 1e-13);
    judge("partial", {.theta = 5e2, .rotary_dims = 4}, 3, 1e-13);
    judge("partial_half_split", {.layout = split_layout, .rotary_dims = 4}, 100, 1e-13);
    // Angles reach 800 radians, and the two powers differ by a few eps: 800 * 5 * 1.1e-16 = 4.4e-13.
    judge("scaled", {.theta = 5e5, .scaling = RotaryScaling{}}, 4000, 1e-12);
    judge("scaled_partial",
          {.layout = split_layout, .rotary_dims = 12, .scaling = RotaryScaling{32, 1.5, 3, 600}}, 50, 1e-13);
    judge("positions", {.layout = split_layout}, cast<std::int64_t>(golden.tensor<2>("positions.positions")),
          1e-13);
}

TEST_CASE("rotary: complex step and adjoint") {
    const auto x = random_tensor(1, 2, 2, 3, 6), d_out = random_tensor(2, 2, 2, 3, 6);
    const auto judge = [&](const RotaryConfig& config, const auto& positions) {
        const auto d_x = rotary_backward(d_out, x, config, positions).d_x;
        check_gradient("d_x", d_out, x, d_x,
                       [&](const auto& z) { return rotary_forward(z, config, positions); });
    };
    for (const RotaryConfig& config : all_configs) {
        judge(config, 5);
        judge(config, random_positions(3, 2, 3));
    }
}

TEST_CASE("rotary: edge shapes") {
    CHECK(rotary_forward(random_tensor(4, 1, 1, 2, 5), {.rotary_dims = 4}).size() == 10);  // odd D
    for (const RotaryConfig& config : all_configs) {
        const auto token = random_tensor(4, 2, 3, 1, 6);
        check_same_bits("one token at position 0", rotary_forward(token, config), token);
        const Tensor<double, 4> no_batch(0, 2, 3, 6), no_tokens(2, 2, 0, 6);
        CHECK(rotary_forward(no_batch, config).dimensions() == no_batch.dimensions());
        CHECK(rotary_backward(no_batch, no_batch, config).d_x.dimensions() == no_batch.dimensions());
        CHECK(rotary_forward(no_tokens, config, Tensor<int, 2>(2, 0)).dimensions() == no_tokens.dimensions());
    }
    // The smallest head, and a rotation of all D said explicitly.
    const auto x = random_tensor(5, 1, 1, 4, 2);
    check_same_bits("D = 2", rotary_forward(x, {.rotary_dims = 2}), rotary_forward(x));
}

TEST_CASE("rotary: properties of the rotation") {
    const auto x = random_tensor(6, 2, 3, 5, 6);
    for (const RotaryConfig& config : all_configs) {
        const auto out = rotary_forward(x, config, 11);
        // Orthogonal: backward undoes forward. Two products and a sum twice: a few eps of max|x|.
        check_agrees("inverse", rotary_backward(out, x, config, 11).d_x, x, 2e-15);
        const Tensor<double, 4> x_twice = 2.0 * x, out_twice = 2.0 * out;
        check_same_bits("linear", rotary_forward(x_twice, config, 11), out_twice);
        // A cached prefix: tokens 2.. alone, starting at 13, get the same bits.
        const Eigen::array<Index, 4> from{0, 0, 2, 0}, extents{2, 3, 3, 6};
        const Tensor<double, 4> x_tail = x.slice(from, extents), out_tail = out.slice(from, extents);
        check_same_bits("tail", rotary_forward(x_tail, config, 13), out_tail);
    }
}

TEST_CASE("rotary: only the distance of query and key matters") {
    const auto q = random_tensor(7, 1, 1, 1, 6), k = random_tensor(8, 1, 1, 1, 6);
    for (const RotaryConfig& config : all_configs) {
        const auto score = [&](Index i, Index j) {
            const auto q_at = rotary_forward(q, config, i), k_at = rotary_forward(k, config, j);
            return dot(elements(q_at), elements(k_at));
        };
        // Angles up to 40 radians carry 40 eps each, times |q||k|, about 6: 5e-14.
        CHECK(std::abs(score(7, 4) - score(40, 37)) <= 1e-13);
        CHECK(std::abs(score(7, 4) - score(4, 7)) > 1e-3);  // ... and its sign
    }
}

TEST_CASE("rotary: layouts and partial rotation") {
    // Half-split of the permuted head is the permuted interleaved result: pair n is (2n, 2n+1) or (n, n+3).
    const auto x = random_tensor(9, 2, 2, 4, 6);
    const auto permuted = [](const Tensor<double, 4>& t) {
        auto split = t;
        for (Index r = 0; r < row_count(t); ++r)
            for (std::size_t n = 0; n < 3; ++n)
                for (std::size_t side = 0; side < 2; ++side)
                    nth_row(split, r)[n + 3 * side] = nth_row(t, r)[2 * n + side];
        return split;
    };
    const RotaryConfig split{.layout = split_layout};
    check_same_bits("layouts", rotary_forward(permuted(x), split, 3), permuted(rotary_forward(x, {}, 3)));
    // Elements after the first r pass with the same bits, and every turned one changes.
    for (const RotaryConfig& config : {partial, partial_half_split}) {
        const auto out = rotary_forward(x, config, 3);
        for (Index r = 0; r < row_count(x); ++r)
            for (std::size_t d = 0; d < 6; ++d)
                CHECK((nth_row(out, r)[d] == nth_row(x, r)[d]) == (d >= 4));
    }
}

TEST_CASE("rotary: positions, batch rows and threads") {
    const auto x = random_tensor(10, 3, 2, 5, 6), d_out = random_tensor(11, 3, 2, 5, 6);
    Tensor<std::uint16_t, 2> counted(3, 5);
    for (Index n = 0; n < 15; ++n)
        counted.data()[n] = static_cast<std::uint16_t>(4 + n % 5);
    const auto positions = random_positions(12, 3, 5);
    for (const RotaryConfig& config : all_configs) {
        const auto out = rotary_forward(x, config, positions);
        const auto d_x = rotary_backward(d_out, x, config, positions).d_x;
        check_same_bits("counted positions", rotary_forward(x, config, counted),
                        rotary_forward(x, config, 4));
        for (Index b = 0; b < 3; ++b) {
            const ConstTensorView<int, 2> own(positions.data() + b * 5, Index{1}, Index{5});
            check_same_bits("row", batch_row(out, b), rotary_forward(batch_row(x, b), config, own));
            check_same_bits("d row", batch_row(d_x, b),
                            rotary_backward(batch_row(d_out, b), batch_row(x, b), config, own).d_x);
        }
        at_thread_counts([&] {
            check_same_bits("out", rotary_forward(x, config, positions), out);
            check_same_bits("d_x", rotary_backward(d_out, x, config, positions).d_x, d_x);
        });
    }
}

TEST_CASE("rotary: NaN reaches its own pair only, and no gradient") {
    auto x = random_tensor(13, 1, 2, 3, 6);
    x(0, 1, 2, 1) = not_a_number;  // in pair 0 of the interleaved layout, pair 1 of the half-split one
    const auto interleaved_out = rotary_forward(x, interleaved, 1),
               split_out = rotary_forward(x, half_split, 1);
    for (Index n = 0; n < x.size(); ++n) {
        const Index d = n - (x.size() - 6);  // element of the last row
        CHECK(std::isnan(interleaved_out.data()[n]) == (d == 0 || d == 1));
        CHECK(std::isnan(split_out.data()[n]) == (d == 1 || d == 4));
    }
    // Of x, backward reads the shape only; a zero cotangent gives a zero gradient.
    auto d_out = random_tensor(14, 1, 2, 3, 6);
    for (Index d = 0; d < 6; ++d)
        d_out(0, 1, 2, d) = 0;
    const auto d_x = rotary_backward(d_out, x, interleaved, 1).d_x;
    check_same_bits("d_x", d_x, rotary_backward(d_out, d_out, interleaved, 1).d_x);
    CHECK(all_zero(row(d_x, 0, 1, 2)));
    CHECK(!all_zero(row(d_x, 0, 1, 1)));
}

TEST_CASE("rotary: float agrees with double") {
    // cos, sin and x are each rounded once, then two products and a sum: at most 2 (4 u) max|x| with
    // u = 2^-24, whatever the position, since angles stay double.
    const auto x = random_tensor<float>(15, 2, 2, 3, 6), d_out = random_tensor<float>(16, 2, 2, 3, 6);
    for (const RotaryConfig& config : all_configs) {
        const Index far = 1000000;
        check_agrees("out", rotary_forward(x, config, far), rotary_forward(cast<double>(x), config, far),
                     8 * 0x1p-24);
        check_agrees("d_x", rotary_backward(d_out, x, config, far).d_x,
                     rotary_backward(cast<double>(d_out), cast<double>(x), config, far).d_x, 8 * 0x1p-24);
    }
}

TEST_CASE("rotary: errors of shapes and positions") {
    const auto x = random_tensor(17, 2, 1, 3, 6), odd = random_tensor(18, 2, 1, 3, 5);
    CHECK_THROWS_WITH_AS(rotary_forward(odd),
                         "rotary: head dimension of x: got 5, expected even and at least 2, or rotary_dims",
                         ShapeError);
    CHECK_THROWS_AS(rotary_forward(Tensor<double, 4>(1, 1, 1, 0)), ShapeError);
    CHECK_THROWS_WITH_AS(rotary_backward(random_tensor(19, 2, 1, 3, 4), x),
                         "rotary: d_out: got shape [2, 1, 3, 4], expected shape [2, 1, 3, 6]", ShapeError);
    CHECK_THROWS_WITH_AS(rotary_forward(x, {}, Tensor<int, 2>(3, 2)),
                         "rotary: positions: got shape [3, 2], expected shape [2, 3]", ShapeError);
    CHECK_THROWS_WITH_AS(rotary_forward(x, {}, -1),
                         "rotary: positions: got a first position of -1, expected at least 0", ValueError);
    Tensor<std::int8_t, 2> positions(2, 3);
    positions.setZero();
    positions(1, 2) = -7;
    CHECK_THROWS_WITH_AS(rotary_forward(x, {}, positions),
                         "rotary: positions[1, 2]: got -7, expected at least 0", ValueError);
}

TEST_CASE("rotary: errors of constants") {
    const auto says = [](const RotaryConfig& config, const std::string& sentence) {
        const auto x = random_tensor(20, 1, 1, 2, 6);
        CHECK_THROWS_WITH_AS(rotary_forward(x, config), ("rotary: " + sentence).c_str(), ValueError);
        CHECK_THROWS_WITH_AS(rotary_backward(x, x, config), ("rotary: " + sentence).c_str(), ValueError);
    };
    for (const Index r : {-2, 0, 3, 8})
        says({.rotary_dims = r},
             "rotary_dims: got " + std::to_string(r) + ", expected even, from 2 to the head dimension 6");
    const auto positive = [&](const RotaryConfig& config, const std::string& got) {
        says(config, got + ", expected finite and above 0");
    };
    positive({.theta = 0}, "theta: got 0");
    positive({.theta = not_a_number}, "theta: got nan");
    positive({.scaling = RotaryScaling{-8}}, "scaling.factor: got -8");
    positive({.scaling = RotaryScaling{.low_freq_factor = 0}}, "scaling.low_freq_factor: got 0");
    positive({.scaling = RotaryScaling{.original_context = not_a_number}},
             "scaling.original_context: got nan");
    positive({.scaling = RotaryScaling{.high_freq_factor = infinity}}, "scaling.high_freq_factor: got inf");
    says({.scaling = RotaryScaling{.low_freq_factor = 4, .high_freq_factor = 4}},
         "scaling.high_freq_factor: got 4, expected above low_freq_factor 4");
}
}  // namespace mta_test_rotary
