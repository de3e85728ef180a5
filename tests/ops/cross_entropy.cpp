// Cross-entropy: values, gradients and promises.
// SPDX-License-Identifier: MIT
#include <cmath>
#include <cstdint>
#include <limits>
#include <mta/core/numeric.hpp>
#include <mta/ops/cross_entropy.hpp>
#include <string>
#include <vector>

#include "support/checks.hpp"
#include "support/golden.hpp"
#include "support/tensors.hpp"
#include "support/threads.hpp"

namespace mta_test_cross_entropy {
using namespace mta;
using namespace mta::test;

namespace {

constexpr double ln2 = 0.6931471805599453, ln3 = 1.0986122886681098, ln5 = 1.6094379124341003;

template <class Value = std::int64_t>
Tensor<Value, 2> table(Index B, Index S, const std::vector<double>& values) {
    Tensor<Value, 2> t(B, S);
    for (Index n = 0; n < B * S; ++n)
        t.data()[n] = static_cast<Value>(values[static_cast<std::size_t>(n)]);
    return t;
}

// The logits of one token.
Tensor<double, 3> token(const std::vector<double>& values) {
    Tensor<double, 3> t(1, 1, static_cast<Index>(values.size()));
    std::copy(values.begin(), values.end(), t.data());
    return t;
}

Tensor<int, 2> target(int y) {
    return table<int>(1, 1, {static_cast<double>(y)});
}

// The loss as a tensor of one element, for the witnesses of a gradient.
template <class Scalar>
Tensor<Scalar, 1> as_tensor(const Scalar& loss) {
    Tensor<Scalar, 1> t(1);
    t(0) = loss;
    return t;
}

// A batch of 2 x 3 tokens over 5 words; token (1, 0) is masked.
struct Batch {
    Tensor<double, 3> logits = random_tensor(1, 2, 3, 5);
    Tensor<int, 2> targets = table<int>(2, 3, {4, 0, 2, -100, 1, 4});
    Tensor<double, 2> mask = table<double>(2, 3, {1, 0.25, 3, 0, 2, 0.5});
    CrossEntropyConfig config{0.125};
};

}  // namespace

TEST_CASE("cross_entropy: hand values") {
    // Token 0: exp(z) = (1, 2, 5), sum 8, target 1: l = ln 8 - ln 2 = 2 ln 2; p = (1/8, 2/8, 5/8).
    // Token 1: exp(z) = (3, 1, 1), sum 5, target 0: l = ln 5 - ln 3;          p = (3/5, 1/5, 1/5).
    // Weights 2, 1 and 0, eps 1: loss = (2 * 2 ln 2 + ln 5 - ln 3) / (3 + 1).
    Tensor<double, 3> logits(1, 3, 3), d_logits(1, 3, 3);
    logits.setValues({{{0, ln2, ln5}, {ln3, 0, 0}, {not_a_number, 7, infinity}}});
    const auto targets = table(1, 3, {1, 0, -100});
    const auto mask = table<double>(1, 3, {2, 1, 0});
    const auto result = cross_entropy_forward(logits, targets, mask, {1});
    check_agrees("token losses", result.token_losses, table<double>(1, 3, {2 * ln2, ln5 - ln3, 0}), 1e-15);
    check_agrees("loss", as_tensor(result.loss), as_tensor((4 * ln2 + ln5 - ln3) / 4), 1e-15);
    // d_loss = 8: token 0: 8 * 2/4 = 4 times (1/8, 2/8 - 1, 5/8); token 1: 8 * 1/4 = 2 times (3/5 - 1, 1/5,
    // 1/5).
    d_logits.setValues({{{0.5, -3, 2.5}, {-0.8, 0.4, 0.4}, {0, 0, 0}}});
    check_agrees("d_logits", cross_entropy_backward(8, logits, targets, mask, {1}).d_logits, d_logits, 1e-15);

    // All logits equal: l = ln V. The default eps makes the mean of two tokens 2 / (2 + 1e-6) of it.
    const auto equal = cross_entropy_forward(zeros<double>(1, 2, 5), table(1, 2, {3, 0}));
    check_agrees("uniform", equal.token_losses, table<double>(1, 2, {ln5, ln5}), 1e-15);
    check_agrees("eps", as_tensor(equal.loss), as_tensor(2 * ln5 / 2.000001), 1e-15);
}

TEST_CASE("cross_entropy: independent values") {
    const Golden golden("ops/cross_entropy");
    for (const std::string name :
         {"plain", "masked", "weighted", "exact_mean", "large_logits", "one_token"}) {
        CAPTURE(name);
        const auto logits = golden.tensor<3>(name + ".logits");
        const auto targets = cast<std::int64_t>(golden.tensor<2>(name + ".targets"));
        const auto mask = golden.tensor<2>(name + ".mask");
        const CrossEntropyConfig config{golden.tensor<1>(name + ".eps")(0)};
        const auto result = cross_entropy_forward(logits, targets, mask, config);
        check_agrees("token losses", result.token_losses, golden.tensor<2>(name + ".token_losses"), 1e-13);
        check_agrees("loss", as_tensor(result.loss), golden.tensor<1>(name + ".loss"), 1e-13);
        const double d_loss = golden.tensor<1>(name + ".d_loss")(0);
        check_agrees("d_logits", cross_entropy_backward(d_loss, logits, targets, mask, config).d_logits,
                     golden.tensor<3>(name + ".d_logits"), 1e-13);
    }
}

TEST_CASE("cross_entropy: complex step and adjoint") {
    const Batch b;
    const auto d_loss = random_tensor(2, 1);
    check_gradient(
        "d_logits", d_loss, b.logits,
        cross_entropy_backward(d_loss(0), b.logits, b.targets, b.mask, b.config).d_logits,
        [&](const auto& z) { return as_tensor(cross_entropy_forward(z, b.targets, b.mask, b.config).loss); });
    const auto targets = table(2, 3, {4, 0, 2, 3, 1, 4});
    check_gradient("without a mask", d_loss, b.logits,
                   cross_entropy_backward(d_loss(0), b.logits, targets).d_logits,
                   [&](const auto& z) { return as_tensor(cross_entropy_forward(z, targets).loss); });
}

TEST_CASE("cross_entropy: edge shapes") {
    // No token: nothing to average, the eps alone is the denominator.
    const Tensor<double, 3> none(0, 4, 3);
    const Tensor<int, 2> no_targets(0, 4);
    const auto empty = cross_entropy_forward(none, no_targets);
    CHECK(empty.loss == 0);
    CHECK(empty.token_losses.dimensions() == no_targets.dimensions());
    CHECK(cross_entropy_backward(1, none, no_targets).d_logits.dimensions() == none.dimensions());
    // A vocabulary of one word: no surprise, no gradient.
    CHECK(cross_entropy_forward(token({-3}), target(0)).loss == 0);
    CHECK(cross_entropy_backward(1, token({-3}), target(0)).d_logits(0, 0, 0) == 0);
    // Everything masked.
    const auto masked = table<double>(1, 1, {0});
    CHECK(cross_entropy_forward(token({1, 2}), target(-100), masked).loss == 0);
    const auto d_masked = cross_entropy_backward(1, token({1, 2}), target(-100), masked).d_logits;
    CHECK(all_zero(elements(d_masked)));
}

TEST_CASE("cross_entropy: a sure model keeps its digits") {
    // z = (0, -40), target 0: l = log(1 + e^-40) = e^-40 - e^-80 / 2, where log(1 + x) of rounded 1 + x is 0.
    const double x = std::exp(-40.0);
    const auto loss = cross_entropy_forward(token({0, -40}), target(0), {0}).loss;
    CHECK(std::abs(loss / x - 1) <= 1e-15);
    // The gradient is (-q, q) with q = x / (1 + x), and p - 1 of rounded p is 0.
    const auto d = cross_entropy_backward(1, token({0, -40}), target(0), {0}).d_logits;
    CHECK(std::abs(d(0, 0, 0) / -x - 1) <= 1e-15);
    CHECK(std::abs(d(0, 0, 1) / x - 1) <= 1e-15);
    // Logits far apart neither overflow nor lose the loss: l = 1600 - (-900).
    CHECK(cross_entropy_forward(token({-900, 1600, 3}), target(0), {0}).loss == 2500);
    CHECK(cross_entropy_forward(token({-1e300, 1e300}), target(1), {0}).loss == 0);
}

TEST_CASE("cross_entropy: identities") {
    const Batch b;
    const auto result = cross_entropy_forward(b.logits, b.targets, b.mask, b.config);
    const auto d_logits = cross_entropy_backward(1.5, b.logits, b.targets, b.mask, b.config).d_logits;
    // A token's gradient sums to 0 over the vocabulary: softmax and onehot both sum to 1.
    for (Index n = 0; n < 6; ++n) {
        double sum = 0;
        for (const double d : nth_row(d_logits, n))
            sum += d;
        CHECK(std::abs(sum) <= 1e-15);
    }
    // Weights and eps count relative to each other: doubling all is exact in binary.
    const Tensor<double, 2> doubled = 2.0 * b.mask;
    CHECK(cross_entropy_forward(b.logits, b.targets, doubled, {0.25}).loss == result.loss);
    check_same_bits("weights", cross_entropy_backward(1.5, b.logits, b.targets, doubled, {0.25}).d_logits,
                    d_logits);
    // Linear in d_loss, and no cotangent means no gradient.
    const Tensor<double, 3> twice = 2.0 * d_logits;
    check_same_bits("linear", cross_entropy_backward(3, b.logits, b.targets, b.mask, b.config).d_logits,
                    twice);
    // Only differences of logits count: whole numbers are shifted exactly.
    Tensor<double, 3> whole(1, 2, 3), shifted(1, 2, 3);
    whole.setValues({{{3, -2, 5}, {0, 0, 7}}});
    shifted.setValues({{{67, 62, 69}, {-100, -100, -93}}});
    const auto y = table(1, 2, {1, 2});
    check_same_bits("shift", cross_entropy_forward(shifted, y).token_losses,
                    cross_entropy_forward(whole, y).token_losses);
    // Without a mask every token counts once.
    const auto ones = table<float>(1, 2, {1, 1});
    CHECK(cross_entropy_forward(whole, y, {0.5}).loss == cross_entropy_forward(whole, y, ones, {0.5}).loss);
    check_same_bits("no mask", cross_entropy_backward(2, whole, y, {0.5}).d_logits,
                    cross_entropy_backward(2, whole, y, ones, {0.5}).d_logits);
}

TEST_CASE("cross_entropy: threads and batch rows") {
    const Batch b;
    const auto result = cross_entropy_forward(b.logits, b.targets, b.mask, b.config);
    const auto d_logits = cross_entropy_backward(1.5, b.logits, b.targets, b.mask, b.config).d_logits;
    at_thread_counts([&] {
        const auto again = cross_entropy_forward(b.logits, b.targets, b.mask, b.config);
        check_same_bits("loss", as_tensor(again.loss), as_tensor(result.loss));
        check_same_bits("token losses", again.token_losses, result.token_losses);
        check_same_bits("d_logits",
                        cross_entropy_backward(1.5, b.logits, b.targets, b.mask, b.config).d_logits,
                        d_logits);
    });
    // Row 1 alone gives the same token losses; its gradient changes with the denominator only.
    const ConstTensorView<double, 3> logits(b.logits.data() + 15, Index{1}, Index{3}, Index{5});
    const ConstTensorView<int, 2> targets(b.targets.data() + 3, Index{1}, Index{3});
    const ConstTensorView<double, 2> mask(b.mask.data() + 3, Index{1}, Index{3});
    const ConstTensorView<double, 2> losses(result.token_losses.data() + 3, Index{1}, Index{3});
    check_same_bits("row", cross_entropy_forward(logits, targets, mask).token_losses, losses);
    // Sums of weights: 6.75 + 0.125 in the batch, 2.5 alone; eps 4.375 makes them equal.
    const ConstTensorView<double, 3> d_row(d_logits.data() + 15, Index{1}, Index{3}, Index{5});
    check_same_bits("d row", cross_entropy_backward(1.5, logits, targets, mask, {4.375}).d_logits, d_row);
}

TEST_CASE("cross_entropy: NaN, infinities and masked tokens") {
    Batch b;
    const auto clean = cross_entropy_forward(b.logits, b.targets, b.mask, b.config);
    const auto d_clean = cross_entropy_backward(1, b.logits, b.targets, b.mask, b.config).d_logits;
    for (Index v = 0; v < 5; ++v)
        b.logits(1, 0, v) = not_a_number;  // the masked token
    CHECK(cross_entropy_forward(b.logits, b.targets, b.mask, b.config).loss == clean.loss);
    check_same_bits("masked", cross_entropy_backward(1, b.logits, b.targets, b.mask, b.config).d_logits,
                    d_clean);
    // In a token that counts, wherever it stands, it reaches that token, the loss, and nothing else.
    for (Index v = 0; v < 5; ++v) {
        Batch bad;
        bad.logits(0, 1, v) = not_a_number;
        const auto result = cross_entropy_forward(bad.logits, bad.targets, bad.mask, bad.config);
        const auto d = cross_entropy_backward(1, bad.logits, bad.targets, bad.mask, bad.config).d_logits;
        CHECK(std::isnan(result.loss));
        for (Index n = 0; n < 6; ++n)
            CHECK(std::isnan(result.token_losses.data()[n]) == (n == 1));
        for (Index n = 0; n < 30; ++n)
            CHECK(std::isnan(d.data()[n]) == (n / 5 == 1));
        // No cotangent, no gradient: not 0 * NaN.
        const auto no_cotangent = cross_entropy_backward(0, bad.logits, bad.targets, bad.mask).d_logits;
        CHECK(all_zero(elements(no_cotangent)));
    }
    // A word that is ruled out is as if absent, and gets exactly no gradient.
    const auto ruled_out = token({1, -infinity, 3}), absent = token({1, 3});
    CHECK(cross_entropy_forward(ruled_out, target(0)).loss == cross_entropy_forward(absent, target(0)).loss);
    const auto d = cross_entropy_backward(1, ruled_out, target(0)).d_logits;
    CHECK(d(0, 0, 1) == 0);
    CHECK(d(0, 0, 2) == cross_entropy_backward(1, absent, target(0)).d_logits(0, 0, 1));
    CHECK(cross_entropy_forward(ruled_out, target(1)).loss == infinity);
}

TEST_CASE("cross_entropy: float agrees with double") {
    // Differences of logits up to 8, rounded: 8 u in each exponential, 1 u its own, V - 1 = 4 u of their sum,
    // all positive: 14 u; log1p, the added difference, the weight: 6 more. The gradient is a quotient of two.
    const Batch b;
    const auto logits = cast<float>(b.logits);
    const auto mask = cast<float>(b.mask);
    const auto got = cross_entropy_forward(logits, b.targets, mask, b.config);
    const auto want = cross_entropy_forward(cast<double>(logits), b.targets, b.mask, b.config);
    check_agrees("token losses", got.token_losses, want.token_losses, 20 * 0x1p-24);
    check_agrees("loss", as_tensor(got.loss), as_tensor(want.loss), 20 * 0x1p-24);
    check_agrees("d_logits", cross_entropy_backward(1.5F, logits, b.targets, mask, b.config).d_logits,
                 cross_entropy_backward(1.5, cast<double>(logits), b.targets, b.mask, b.config).d_logits,
                 32 * 0x1p-24);
    // Many tokens: the float loss is the double mean of the float token losses, rounded once.
    const auto many = random_tensor<float>(3, 20, 500, 2);
    Tensor<int, 2> targets(20, 500);
    targets.setZero();
    const auto result = cross_entropy_forward(many, targets);
    double sum = 0;
    for (const float l : elements(result.token_losses))
        sum += l;
    CHECK(result.loss == static_cast<float>(sum / (10000 + 1e-6)));
}

TEST_CASE("cross_entropy: errors") {
    const Batch b;
    const auto says = [](const auto& logits, const auto& targets, const auto& mask, CrossEntropyConfig config,
                         const char* sentence, auto failure) {
        using Failure = decltype(failure);
        CHECK_THROWS_WITH_AS(cross_entropy_forward(logits, targets, mask, config), sentence, Failure);
        CHECK_THROWS_WITH_AS(cross_entropy_backward(1, logits, targets, mask, config), sentence, Failure);
    };
    const ShapeError shape("");
    const ValueError value("");
    says(b.logits, table(3, 2, {0, 0, 0, 0, 0, 0}), b.mask, {},
         "cross_entropy: targets: got shape [3, 2], expected shape [2, 3]", shape);
    says(b.logits, b.targets, table<double>(1, 3, {1, 1, 1}), {},
         "cross_entropy: mask: got shape [1, 3], expected shape [2, 3]", shape);
    says(Tensor<double, 3>(2, 3, 0), b.targets, b.mask, {},
         "cross_entropy: vocabulary of logits: got 0, expected at least 1", shape);
    says(b.logits, table(2, 3, {4, 0, 5, 0, 0, 0}), b.mask, {},
         "cross_entropy: targets[0, 2]: got 5, expected from 0 to below the vocabulary size 5", value);
    says(b.logits, table<std::int8_t>(2, 3, {4, 0, 0, -100, -1, 0}), b.mask, {},
         "cross_entropy: targets[1, 1]: got -1, expected from 0 to below the vocabulary size 5", value);
    says(b.logits, b.targets, table<double>(2, 3, {1, 1, 1, 0, 1, -0.5}), {},
         "cross_entropy: mask[1, 2]: got -0.5, expected finite and at least 0", value);
    says(b.logits, b.targets, table<double>(2, 3, {1, not_a_number, 1, 0, 1, 1}), {},
         "cross_entropy: mask[0, 1]: got nan, expected finite and at least 0", value);
    says(b.logits, b.targets, b.mask, {-1},
         "cross_entropy: denominator_eps: got -1, expected finite and at least 0", value);
    says(b.logits, b.targets, b.mask, {not_a_number},
         "cross_entropy: denominator_eps: got nan, expected finite and at least 0", value);
    says(b.logits, b.targets, table<double>(2, 3, {0, 0, 0, 0, 0, 0}), {0},
         "cross_entropy: sum of mask plus denominator_eps: got 0, expected above 0", value);
}
}  // namespace mta_test_cross_entropy
