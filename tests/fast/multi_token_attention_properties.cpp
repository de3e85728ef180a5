// What the fast path promises beyond agreement: bits, memory, and where NaN may go.
// SPDX-License-Identifier: MIT
#include <cstring>
#include <limits>

#include "allocation_counter.hpp"
#include "fast_support.hpp"
#include "support/tensors.hpp"
#include "support/threads.hpp"

namespace mta_test_fast_multi_token_attention_properties {
using namespace mta;
using namespace mta::test;

namespace {

// Tokens [begin, begin + length) of batch row b, as a batch of one.
template <class T>
auto tokens(const T& t, Index b, Index begin, Index length) {
    auto part = zeros<ScalarOf<T>>(1, t.dimension(1), length, t.dimension(3));
    for (Index h = 0; h < t.dimension(1); ++h)
        for (Index i = 0; i < length; ++i)
            for (Index d = 0; d < t.dimension(3); ++d)
                part(0, h, i, d) = t(b, h, begin + i, d);
    return part;
}

template <class Scalar>
AttentionCase<Scalar> cut(const AttentionCase<Scalar>& c, Index b, Index begin, Index length) {
    AttentionCase<Scalar> part = c;
    part.call = {};
    part.q = tokens(c.q, b, begin, length);
    part.k = tokens(c.k, b, begin, length);
    part.v = tokens(c.v, b, begin, length);
    part.d_out = tokens(c.d_out, b, begin, length);
    return part;
}

// Tokens from `first` on get this value, in every row and head.
template <class T>
void fill_from(T& x, Index first, ScalarOf<T> value) {
    for (Index r = 0; r < row_count(x); ++r)
        for (auto& element : nth_row(x, r))
            if (r % x.dimension(2) >= first) element = value;
}

// A call with memory of its own: the workspace in the middle of guards, filled with `poison` beforehand.
template <class Scalar>
FastAnswer<Scalar> run_in_workspace(const AttentionCase<Scalar>& c, Index threads, unsigned char poison,
                                    std::size_t shift) {
    const Fast fast{threads};
    const fast::AttentionShape shape{c.q.dimension(0), c.q.dimension(2)};
    constexpr std::size_t guard = 256;
    constexpr unsigned char fence = 0xa5;
    const std::size_t bytes = Fast::workspace_bytes<Scalar>(shape, c.config, threads);
    std::vector<std::byte> memory(bytes + 2 * guard + shift, std::byte{fence});
    const auto workspace = std::span(memory).subspan(guard + shift, bytes);
    const auto fill_with_poison = [&] { std::memset(workspace.data(), poison, bytes); };
    auto saved = Fast::make_saved<Scalar>(shape, c.config);
    FastAnswer<Scalar> answer{c.q, {c.q, c.k, c.v, c.params}};  // results hold old numbers
    fill_with_poison();
    fast.forward_into(c.q, c.k, c.v, c.params, c.config, c.call, answer.out, saved, workspace);
    fill_with_poison();
    fast.backward_into(c.d_out, c.q, c.k, c.v, c.params, c.config, c.call, saved, answer.grads, workspace);
    for (std::size_t n = 0; n < memory.size(); ++n)
        if (n < guard + shift || n >= guard + shift + bytes) CHECK(memory[n] == std::byte{fence});
    return answer;
}

}  // namespace

TEST_CASE("fast: the same bits from run to run, whatever the workspace held") {
    for (auto config : varied_configs()) {
        AttentionCall call;
        call.documents = Documents(std::vector<Index>{0, 4, 20});
        const auto c = random_case<float>(config, 2, 29, call);
        for (const Index threads : {1, 3}) {
            const auto want = run_fast(c, threads);
            // 0xff: NaN everywhere; 0x7f: about 3e38.
            check_same_answers(run_in_workspace(c, threads, 0xff, 0), want);
            check_same_answers(run_in_workspace(c, threads, 0x7f, 8), want);
        }
    }
}

TEST_CASE("fast: forward bits depend on neither threads, batch nor later tokens") {
    for (const auto& config : varied_configs()) {
        const auto c = random_case<float>(config, 3, 41);
        const auto out = run_fast(c).out;
        for (const Index threads : {2, 3, 7})
            check_same_bits("out", run_fast(c, threads).out, out);
        for (Index b = 0; b < 3; ++b)
            check_same_bits("out of a row", run_fast(cut(c, b, 0, 41)).out, tokens(out, b, 0, 41));
        if (config.mask == MaskRule::none) continue;
        const Index known = 23;
        check_same_bits("out of the first tokens", run_fast(cut(c, 1, 0, known)).out,
                        tokens(out, 1, 0, known));
    }
}

TEST_CASE("fast: bits depend on the threads asked for, not on the team that OpenMP gives") {
    for (const auto& config : {paper_config(), full_config()}) {
        const auto c = random_case<float>(config, 1, 50);
        const auto want = run_fast(c, 3);
        at_thread_counts([&] { check_same_answers(run_fast(c, 3), want); });
    }
}

TEST_CASE("fast: threads agree with each other to rounding") {
    const auto c = random_case(paper_config(), 2, 60);
    const auto want = run_fast(c, 1);
    for (const Index threads : {2, 5, 64})
        side_by_side(run_fast(c, threads), want.out, want.grads,
                     [](std::string_view name, const auto& got, const auto& of_one) {
                         check_agrees(name, got, of_one, double_bound);
                     });
}

TEST_CASE("fast: packed documents are the documents one by one") {
    for (const auto& config : varied_configs()) {
        AttentionCall call;
        call.documents = Documents(std::vector<Index>{0, 1, 18, 25});
        const auto c = random_case<float>(config, 1, 44, call);
        const auto out = run_fast(c, 2).out;
        for (const auto& [begin, length] : {std::pair{0, 1}, {1, 17}, {18, 7}, {25, 19}})
            check_same_bits("document", run_fast(cut(c, 0, begin, length)).out,
                            tokens(out, 0, begin, length));
    }
}

TEST_CASE("fast: NaN and infinity of later tokens stay out of earlier rows") {
    for (auto config : varied_configs()) {
        if (config.mask == MaskRule::none) config.mask = MaskRule::twice;
        const auto c = random_case<float>(config, 1, 40);
        const auto out = run_fast(c).out;
        for (const Index first : {1, 13, 16, 17, 39})
            for (const float value :
                 {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
                auto spoilt = c;
                fill_from(spoilt.q, first, value);
                fill_from(spoilt.k, first, value);
                fill_from(spoilt.v, first, value);
                const auto got = run_fast(spoilt, 2);
                check_same_bits("out", tokens(got.out, 0, 0, first), tokens(out, 0, 0, first));
                CHECK(std::isnan(got.out(0, 0, first, 0)));
            }
    }
}

TEST_CASE("fast: NaN of one head group stays in it") {
    // Groups that fill packets, share them, and cross from one into the next (where both sides differ).
    using Groups = std::pair<Index, Index>;
    for (const auto& groups : {Groups{1, 1}, Groups{2, 2}, Groups{3, 3}, Groups{4, 4}, Groups{6, 6},
                               Groups{8, 8}, Groups{12, 12}, Groups{4, 6}, Groups{3, 4}, Groups{12, 8}}) {
        const Index pre = groups.first, post = groups.second;
        CAPTURE(pre);
        CAPTURE(post);
        auto config = paper_config(3);
        config.heads = 48;
        config.pre.mix_group = pre;
        config.post.mix_group = post;
        const auto c = random_case<float>(config, 1, 20);
        const auto out = run_fast(c).out;
        auto spoilt = c;
        const Index bad = 6;
        spoilt.k(0, bad, 0, 0) = std::numeric_limits<float>::quiet_NaN();
        const auto got = run_fast(spoilt).out;
        for (Index h = 0; h < config.heads; ++h) {
            CAPTURE(h);
            // Some head that is mixed into h after the softmax was mixed with `bad` before it.
            bool reached = false;
            for (Index g = h / post * post; g < h / post * post + post; ++g)
                reached = reached || g / pre == bad / pre;
            for (Index i = 0; i < 20; ++i)
                for (Index d = 0; d < 3; ++d)
                    CHECK((reached ? std::isnan(got(0, h, i, d)) : got(0, h, i, d) == out(0, h, i, d)));
        }
    }
}

TEST_CASE("fast: logits of minus infinity are weights of 0, whatever lanes are idle") {
    for (const Index heads : {2, 3, 5, 6, 7, 12, 16, 20}) {
        CAPTURE(heads);
        MultiTokenAttentionConfig config;
        config.heads = heads;
        config.head_dim = 1;
        config.pre.mix_group = config.post.mix_group = heads;
        auto c = random_case<double>(config, 1, 9);
        for (auto* mix : {&c.params.pre.mix->mix, &c.params.post.mix->mix})
            for (auto& weight : elements(*mix))
                weight = std::abs(weight) + 0.1;  // infinities of one sign never meet
        c.q.setConstant(1e200);
        c.k.setConstant(1e-200);
        for (Index h = 0; h < heads; ++h)
            c.k(0, h, 3, 0) = -1e200;
        check_agrees("out", run_fast(c).out, c.forward().out(), double_bound);
        CHECK(std::isfinite(run_fast(c).out(0, 0, 8, 0)));
    }
}

TEST_CASE("fast: no allocation in the steady state") {
    for (auto config : varied_configs()) {
        config.dropout = 0.2;
        AttentionCall call;
        call.training = true;
        const auto c = random_case<float>(config, 2, 20, call);
        const Fast fast{2};
        const fast::AttentionShape shape{2, 20};
        std::vector<std::byte> workspace(Fast::workspace_bytes<float>(shape, config, 2));
        auto saved = Fast::make_saved<float>(shape, config);
        auto out = c.q;
        FastGrads<float> g{c.q, c.k, c.v, c.params};
        const auto step = [&] {
            fast.forward_into(c.q, c.k, c.v, c.params, config, c.call, out, saved, workspace);
            fast.backward_into(c.d_out, c.q, c.k, c.v, c.params, config, c.call, saved, g, workspace);
        };
        step();
        const long before = allocations;
        step();
        CHECK(allocations == before);
    }
}

TEST_CASE("fast: memory grows with S, not with S x S") {
    const auto config = paper_config(96);
    const auto bytes = [&](Index S) {
        return static_cast<double>(Fast::workspace_bytes<float>({1, S}, config, 2));
    };
    CHECK(bytes(16384) < 2.05 * bytes(8192) + 1e6);
    // All eight tensors of 16,384 tokens take 0.75 GiB; together with the workspace less than 1.75 GiB.
    CHECK(bytes(16384) < 1.0 * 0x1p30);
}
}  // namespace mta_test_fast_multi_token_attention_properties
