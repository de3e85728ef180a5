// Initial values: where the ones stand, what the random ones look like, what training starts from.
// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>
#include <mta/layers/initialisers.hpp>
#include <mta/layers/multi_token_attention.hpp>

#include "support/attention_case.hpp"
#include "support/checks.hpp"

namespace mta_test_initialisers {
using namespace mta;
using namespace mta::test;

namespace {

Tensor<double, 3> kernel(KernelInit init, KeyPadding padding, Index Cq, Index Ck, std::uint64_t seed = 1) {
    Random random(seed);
    auto k = zeros<double>(2, Cq, Ck);
    k.setConstant(9);  // so that leaving an element alone shows
    initialise_kernel(k, init, padding, random);
    return k;
}

}  // namespace

TEST_CASE("initialisers: hand values of identity and diagonal kernels") {
    Tensor<double, 3> want(2, 2, 5);
    want.setValues({{{0, 0, 0, 0, 0}, {0, 0, 1, 0, 0}}, {{0, 0, 0, 0, 0}, {0, 0, 1, 0, 0}}});
    check_same_bits("identity", kernel(KernelInit::identity, KeyPadding::both, 2, 5), want);
    want.setValues({{{0, 1, 0, 0, 0}, {0, 0, 1, 0, 0}}, {{0, 1, 0, 0, 0}, {0, 0, 1, 0, 0}}});
    check_same_bits("diagonal", kernel(KernelInit::diagonal, KeyPadding::both, 2, 5), want);

    Tensor<double, 3> narrow(2, 3, 2);
    narrow.setValues(
        {{{0, 0}, {1, 0}, {0, 1}}, {{0, 0}, {1, 0}, {0, 1}}});  // the third diagonal falls off the kernel
    check_same_bits("diagonal left", kernel(KernelInit::diagonal, KeyPadding::left, 3, 2), narrow);
    narrow.setValues({{{0, 0}, {0, 0}, {1, 0}}, {{0, 0}, {0, 0}, {1, 0}}});
    check_same_bits("diagonal right", kernel(KernelInit::diagonal, KeyPadding::right, 3, 2), narrow);
    check_same_bits("identity right", kernel(KernelInit::identity, KeyPadding::right, 3, 2), narrow);
}

TEST_CASE("initialisers: the diagonal is the paper's for odd kernels") {
    // Sec. 4: theta is set where c - a = (Ck + 1) / 2 - Cq, both counted from 1 or from 0.
    const auto k = kernel(KernelInit::diagonal, KeyPadding::both, 6, 11);
    for (Index a = 0; a < 6; ++a)
        for (Index c = 0; c < 11; ++c)
            CHECK(k(0, a, c) == (c - a == (11 + 1) / 2 - 6 ? 1 : 0));
}

TEST_CASE("initialisers: even and random kernels") {
    const auto zero = kernel(KernelInit::zero, KeyPadding::both, 2, 3);
    const auto constant = kernel(KernelInit::constant, KeyPadding::both, 2, 3);
    for (const double x : elements(zero))
        CHECK(x == 0);
    for (const double x : elements(constant))
        CHECK(x == 0.3);
    auto uniform = kernel(KernelInit::uniform, KeyPadding::both, 50, 101);
    auto normal = kernel(KernelInit::normal, KeyPadding::both, 50, 101);
    const auto moments = [](auto& t) {
        double mean = 0, square = 0, largest = 0;
        for (const double x : elements(t)) {
            mean += x / static_cast<double>(t.size());
            square += x * x / static_cast<double>(t.size());
            largest = std::max(largest, std::abs(x));
        }
        return std::array{mean, square, largest};
    };
    // 10,100 draws: a mean is off by at most 4 standard errors. Variances: uniform 1/3; normal cut at 3 sigma
    // 0.9733 of 0.09.
    const auto [u_mean, u_square, u_largest] = moments(uniform);
    CHECK(std::abs(u_mean) < 4 * std::sqrt(1.0 / 3 / 10100));
    CHECK(std::abs(u_square - 1.0 / 3) < 4 * std::sqrt(4.0 / 45 / 10100));
    CHECK((u_largest <= 1 && u_largest > 0.99));
    const auto [n_mean, n_square, n_largest] = moments(normal);
    CHECK(std::abs(n_mean) < 4 * 0.3 / std::sqrt(10100));
    CHECK(std::abs(n_square - 0.09 * 0.9733) < 4 * 0.09 * std::sqrt(2.0 / 10100));
    CHECK((n_largest <= 0.9 && n_largest > 0.8));
    check_same_bits("seeded", uniform, kernel(KernelInit::uniform, KeyPadding::both, 50, 101));
    CHECK_FALSE(check::compare_bits("other seed", uniform,
                                    kernel(KernelInit::uniform, KeyPadding::both, 50, 101, 2)));
}

TEST_CASE("initialisers: parameters to start from") {
    auto config = full_config();
    config.head_dim = 64;
    Random random(3);
    const auto p = initial_multi_token_attention_params<double>(config, random);
    for (Index g = 0; g < 2; ++g)
        for (Index o = 0; o < 2; ++o)
            for (Index c = 0; c < 2; ++c)
                CHECK(p.pre.mix->mix(g, o, c) == (o == c ? 1 : 0));
    for (const double x : elements(p.norm->weight))
        CHECK(x == 1);
    for (const double x : elements(p.gate->bias))
        CHECK(x == 0);
    double square = 0;
    for (const double x : elements(p.gate->weight)) {
        CHECK(std::abs(x) <= 3.0 / 8);
        square += x * x / 4096;
    }
    CHECK(std::abs(square * 64 - 0.9733) < 4 * std::sqrt(2.0 / 4096));
    CHECK(p.post.conv->kernel(3, 1, 3) == 1);  // padding left: the last tap reads the key itself
    CHECK(p.post.conv->kernel(3, 1, 2) == 0);
}

TEST_CASE("initialisers: errors") {
    Random random(1);
    Tensor<double, 3> mix(1, 2, 3);
    CHECK_THROWS_WITH_AS(initialise_mix(mix, KernelInit::identity, random),
                         "initialise_mix: columns of mix: got 3, expected 2", ShapeError);
    Tensor<double, 3> empty(2, 0, 3);
    CHECK_THROWS_WITH_AS(initialise_kernel(empty, KernelInit::identity, KeyPadding::both, random),
                         "initialise_kernel: kernel: got extents 0 x 3, expected at least 1", ShapeError);
    Tensor<double, 3> even(2, 2, 4);
    CHECK_THROWS_WITH_AS(
        initialise_kernel(even, KernelInit::zero, KeyPadding::both, random),
        "initialise_kernel: kernel: got a key extent of 4, expected an odd one with key padding `both`",
        ShapeError);
}

TEST_CASE("initialisers: views") {
    Random random(1);
    std::vector<double> memory(2 * 2 * 3, 9.0);
    TensorView<double, 3> view(memory.data(), 2, 2, 3);
    initialise_kernel(view, KernelInit::identity, KeyPadding::both, random);
    CHECK(memory == std::vector<double>{0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0});
}
}  // namespace mta_test_initialisers
