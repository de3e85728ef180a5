// Promises of the key-query convolution that hold for any numbers: identities, documents, NaN, threads, float.
// SPDX-License-Identifier: MIT
#include <mta/ops/key_query_conv.hpp>

#include "support/checks.hpp"
#include "support/tensors.hpp"
#include "support/threads.hpp"

namespace mta_test_key_query_conv_properties {
using namespace mta;
using namespace mta::test;

namespace {

using Config = KeyQueryConvConfig;
using Params = KeyQueryConvParams<double>;

// The square block of one document of batch row b.
Tensor<double, 4> block(const Tensor<double, 4>& t, Index b, Index begin, Index size) {
    return t.slice(std::array<Index, 4>{b, 0, begin, begin},
                   std::array<Index, 4>{1, t.dimension(1), size, size});
}

// Two batch rows of three heads and 7 tokens, a 3 x 5 kernel, two documents in each row.
struct Problem {
    Tensor<double, 4> scores = random_tensor(1, 2, 3, 7, 7), d_out = random_tensor(2, 2, 3, 7, 7);
    Params params{random_tensor(3, 3, 3, 5)};
    Config config{};
    std::vector<std::vector<Index>> starts{{0, 3}, {0, 5}};

    auto forward() const { return key_query_conv_forward(scores, params, config, Documents{starts}); }
    auto backward() const {
        return key_query_conv_backward(d_out, scores, params, config, Documents{starts});
    }
};

const std::vector<Config> configs{{KeyPadding::both, TapRule::all},
                                  {KeyPadding::left, TapRule::not_after_query},
                                  {KeyPadding::right, TapRule::not_after_query}};

}  // namespace

TEST_CASE("key_query_conv: properties") {
    Problem p;
    SUBCASE("the same bits at any thread count") {
        for (const Config config : configs) {
            p.config = config;
            const auto out = p.forward();
            const auto g = p.backward();
            at_thread_counts([&] {
                check_same_bits("out", p.forward(), out);
                check_same_bits("d_scores", p.backward().d_scores, g.d_scores);
                check_same_bits("d_kernel", p.backward().d_params.kernel, g.d_params.kernel);
            });
        }
    }
    SUBCASE("a batch row does not depend on the others; the kernel's gradient is the sum over rows") {
        const auto out = p.forward();
        const auto g = p.backward();
        auto d_kernel = zeros_like(p.params.kernel);
        for (std::size_t b = 0; b < 2; ++b) {
            const auto at = static_cast<Index>(b);
            const Problem one{
                batch_row(p.scores, at), batch_row(p.d_out, at), p.params, p.config, {p.starts[b]}};
            check_same_bits("out", batch_row(out, at), one.forward());
            check_same_bits("d_scores", batch_row(g.d_scores, at), one.backward().d_scores);
            d_kernel += one.backward().d_params.kernel;
        }
        check_agrees("d_kernel", g.d_params.kernel, d_kernel, 1e-14);  // the same terms in another order
    }
    SUBCASE("each document runs as if it were alone, and nothing is between documents") {
        for (const Config config : configs) {
            p.config = config;
            const auto out = p.forward();
            const auto g = p.backward();
            for (Index b = 0; b < 2; ++b) {
                const Index split = p.starts[static_cast<std::size_t>(b)][1];
                for (const auto& [begin, size] : {std::pair<Index, Index>{0, split}, {split, 7 - split}}) {
                    const Problem one{block(p.scores, b, begin, size),
                                      block(p.d_out, b, begin, size),
                                      p.params,
                                      config,
                                      {{0}}};
                    check_same_bits("out", block(out, b, begin, size), one.forward());
                    check_same_bits("d_scores", block(g.d_scores, b, begin, size), one.backward().d_scores);
                }
            }
            everywhere(out, [&](Index b, Index, Index i, Index j) {
                const Index split = p.starts[static_cast<std::size_t>(b)][1];
                if ((i < split) != (j < split)) CHECK(out(b, 0, i, j) == 0);
            });
        }
    }
}

TEST_CASE("key_query_conv: properties of kernels and of float") {
    const Problem p;
    SUBCASE("the identity kernel copies finite scores bit for bit") {
        for (const KeyPadding padding : {KeyPadding::both, KeyPadding::left, KeyPadding::right}) {
            Params identity{zeros<double>(3, 3, 5)};
            for (Index h = 0; h < 3; ++h)
                identity.kernel(h, 2, keys_to_the_left(5, padding)) = 1;
            check_same_bits("out", key_query_conv_forward(p.scores, identity, {padding, TapRule::all}),
                            p.scores);
        }
    }
    SUBCASE("the paper's theta is the kernel flipped in both directions") {
        // Eq. 5 without masks: out[i,j] = sum over i', j' of theta[i',j'] scores[i-i',j-j'], i' >= 0.
        const auto out = key_query_conv_forward(p.scores, p.params);
        auto want = zeros_like(out);
        everywhere(want, [&](Index b, Index h, Index i, Index j) {
            for (Index up = 0; up <= std::min<Index>(2, i); ++up)
                for (Index before = -2; before <= 2; ++before)
                    if (j - before >= 0 && j - before < 7)
                        want(b, h, i, j) +=
                            p.params.kernel(h, 2 - up, 2 - before) * p.scores(b, h, i - up, j - before);
        });
        check_agrees("out", out, want, 1e-14);  // the same 15 terms in another order
    }
    SUBCASE("a wider kernel of zeros around the kernel changes nothing") {
        Params wide{zeros<double>(3, 5, 9)};
        wide.kernel.slice(std::array<Index, 3>{0, 2, 2}, std::array<Index, 3>{3, 3, 5}) = p.params.kernel;
        for (const TapRule rule : {TapRule::all, TapRule::not_after_query})
            check_same_bits("out", key_query_conv_forward(p.scores, wide, {KeyPadding::both, rule}),
                            key_query_conv_forward(p.scores, p.params, {KeyPadding::both, rule}));
    }
    SUBCASE("linear in the kernel and in the scores, one head at a time") {
        Problem doubled = p;
        doubled.params.kernel.chip(1, 0) = p.params.kernel.chip(1, 0) * 2.0;
        Tensor<double, 4> want = p.forward();
        want.chip(1, 1) = want.chip(1, 1) * 2.0;
        check_same_bits("kernel", doubled.forward(), want);
        doubled = p;
        doubled.scores.chip(1, 1) = p.scores.chip(1, 1) * 2.0;
        check_same_bits("scores", doubled.forward(), want);
    }
    SUBCASE("queries appended below change nothing above them") {
        const Tensor<double, 4> shorter =
            p.scores.slice(std::array<Index, 4>{0, 0, 0, 0}, std::array<Index, 4>{2, 3, 4, 7});
        const Tensor<double, 4> upper = key_query_conv_forward(p.scores, p.params)
                                            .slice(std::array<Index, 4>{0, 0, 0, 0}, shorter.dimensions());
        check_same_bits("out", key_query_conv_forward(shorter, p.params), upper);
    }
    SUBCASE("float agrees with double at float precision") {
        const auto scores = cast<float>(p.scores), d_out = cast<float>(p.d_out);
        const auto params = cast_params<float>(p.params);
        const auto wide = cast<double>(scores), wide_d_out = cast<double>(d_out);
        const auto wide_params = cast_params<double>(params);
        // A sum of n products: n + 1 roundings of 2^-24 on each term at most. The same operation on absolute
        // values gives the sums of the terms' magnitudes.
        const auto within = [](const char* name, const auto& got, const auto& want, double n,
                               const auto& sizes) {
            const Tensor<double, 0> largest = sizes.maximum();
            const double bound = (n + 1) * 0x1p-24 * largest();
            const auto c = check::compare(name, got, want, {.relative = 0, .absolute = bound});
            CHECK_MESSAGE(c, c.sentence);
        };
        const Tensor<double, 4> size = wide.abs(), d_out_size = wide_d_out.abs();
        const Params params_size{wide_params.kernel.abs()};
        within("out", key_query_conv_forward(scores, params), key_query_conv_forward(wide, wide_params), 15,
               key_query_conv_forward(size, params_size));
        const auto got = key_query_conv_backward(d_out, scores, params);
        const auto want = key_query_conv_backward(wide_d_out, wide, wide_params);
        const auto sizes = key_query_conv_backward(d_out_size, size, params_size);
        within("d_scores", got.d_scores, want.d_scores, 15, sizes.d_scores);
        within("d_kernel", got.d_params.kernel, want.d_params.kernel, 2 * 7 * 7, sizes.d_params.kernel);
    }
}

TEST_CASE("key_query_conv: properties of NaN and of zero cotangents") {
    Problem p;
    p.starts = {{0}};
    SUBCASE("a NaN score reaches the outputs whose taps read it, and no other") {
        for (const TapRule rule : {TapRule::all, TapRule::not_after_query}) {
            p.config.taps = rule;
            const auto out = p.forward();
            Problem bad = p;
            bad.scores(1, 2, 3, 4) = not_a_number;
            const auto got = bad.forward();
            everywhere(out, [&](Index b, Index h, Index i, Index j) {
                const bool near =
                    i >= 3 && i <= 5 && j >= 2 && j <= 6;            // Cq = 3 rows down, two keys each way
                const bool counts = rule == TapRule::all || i >= 4;  // key 4 is not after the query
                const bool hit = b == 1 && h == 2 && near && counts;
                CHECK(std::isnan(got(b, h, i, j)) == hit);
                if (!hit) CHECK(got(b, h, i, j) == out(b, h, i, j));
            });
        }
    }
    SUBCASE("a query without cotangent passes no NaN on") {
        for (Index j = 0; j < 7; ++j)
            p.d_out(0, 1, 4, j) = p.d_out(0, 1, 5, j) = p.d_out(0, 1, 6, j) = 0;
        const auto clean = p.backward();
        p.scores(0, 1, 4, 2) = not_a_number;  // read by queries 4, 5 and 6 alone
        check_same_bits("d_scores", p.backward().d_scores, clean.d_scores);
        check_same_bits("d_kernel", p.backward().d_params.kernel, clean.d_params.kernel);
    }
}
}  // namespace mta_test_key_query_conv_properties
