// The kernels and mixes of a candidate, read through chosen inputs; and the list of what was read.
// SPDX-License-Identifier: MIT
#pragma once

#include <mta/oracle/detail/identify_reader.hpp>

namespace mta::oracle {

/// One thing that was read off a candidate.
struct Reading {
    std::string name;             // "pre.kernel", "mask", "scale", ...
    NamedTensor expected, found;  // kernels: with 2 more taps on every side
    std::string classification;   // "as given", "mirrored on keys", ...
    bool as_expected = false;
    std::string sentence;
};

struct IdentifyOptions {
    std::optional<double> tolerance;  // relative; default from the type: 1e-6, 2e-3, 2e-2, 8e-2
    std::uint64_t seed = 1;
};

namespace detail {

inline double identify_tolerance(io::DType dtype) {
    return dtype == io::DType::F64   ? 1e-6
           : dtype == io::DType::F32 ? 2e-3
           : dtype == io::DType::F16 ? 2e-2
                                     : 8e-2;
}

/// What readings share: the reader, the configuration, and the list that grows.
class Readings {
  public:
    Readings(const Candidate& candidate, const CaseConfig& config, io::DType dtype,
             const IdentifyOptions& options)
        : reader(candidate, config, dtype),
          given{config},
          c{given.attention},
          tolerance{options.tolerance.value_or(identify_tolerance(dtype))},
          random_(options.seed, 0x1de9) {}
    Readings(const Readings&) = delete;
    Readings& operator=(const Readings&) = delete;

    Reader reader;
    const CaseConfig given;
    const MultiTokenAttentionConfig& c;
    const double tolerance;
    std::vector<Reading> list;
    std::string caveat;  // ends the sentence of what is not as given

    /// Distinct, without symmetry, none small.
    template <class... Extents>
    auto random_tensor(Extents... extents) {
        auto t = zeros<double>(extents...);
        for (auto& x : elements(t))
            x = rounded_to(reader.dtype(), random_.uniform(0.5, 1.5) * (random_.below(2) == 0 ? -1 : 1));
        return t;
    }

    template <AnyTensor T>
    void add(const char* name, const T& expected, const T& found, const std::string& classification) {
        Results r;
        r.put("expected", expected);
        r.put("found", found);
        add(name, r.at("expected"), r.at("found"), classification, classification);
    }
    void add(const char* name, double expected, double found, const std::string& classification,
             const std::string& text) {
        add(name, NamedTensor{"expected", {}, {expected}}, NamedTensor{"found", {}, {found}}, classification,
            text);
    }
    void add_number(const char* name, double expected, double found, double accepted) {
        const bool same = std::abs(found - expected) <= accepted * std::abs(expected);
        const std::string text = same                                    ? "as given"
                                 : std::isfinite(found) && expected != 0 ? factor_text(found / expected)
                                                                         : "other";
        add(name, expected, found, text,
            mta::detail::sentence(text, ", got ", found, ", expected ", expected));
    }
    void add_number(const char* name, double expected, double found) {
        add_number(name, expected, found, tolerance);
    }

  private:
    void add(const char* name, const NamedTensor& expected, const NamedTensor& found,
             const std::string& classification, const std::string& text) {
        const bool same = classification == "as given";
        list.push_back({name, expected, found, classification, same,
                        mta::detail::sentence(name, ": ", text, same ? "" : caveat)});
    }

    Random random_;
};

class StageReadings {
  public:
    explicit StageReadings(Readings& readings)
        : readings_{readings}, reader_{readings.reader}, c_{readings.c}, tolerance_{readings.tolerance} {}

    // Calls f(h, a, c, i, j) for every tap of the window: the output (i, j) that reads (row, key) through it.
    template <class F>
    void for_each_tap(const ScoreMixingConfig& side, Index key, F&& f) const {
        constexpr Index m = Reader::margin;
        const Index left = keys_to_the_left(side.key_kernel, side.key_padding);
        for (Index h = 0; h < c_.heads; ++h)
            for (Index a = 0; a < side.query_kernel + 2 * m; ++a)
                for (Index c = 0; c < side.key_kernel + 2 * m; ++c)
                    f(h, a, c, reader_.row + side.query_kernel - 1 - (a - m), key + left - (c - m));
    }

    Tensor<double, 3> read_pre_kernel(const Tensor<double, 3>& kernel) {
        Problem p = reader_.blank(1, reader_.sequence);
        p.params.pre.conv->kernel = kernel;
        reader_.set_query(p, 0, {}, reader_.row, reader_.score);
        reader_.set_key(p, reader_.first_key, 1);
        const auto w = reader_.weights(p);
        auto window = in_window(kernel, {}, Reader::margin);
        for_each_tap(c_.pre, reader_.first_key, [&](Index h, Index a, Index c, Index i, Index j) {
            window(h, a, c) = reader_.excess(w, 0, h, i, j) / reader_.score_of(p, 0, h, reader_.row, 1);
        });
        return window;
    }

    Tensor<double, 3> read_post_kernel(const Tensor<double, 3>& kernel) {
        Problem p = reader_.blank(2, reader_.sequence);
        p.params.post.conv->kernel = kernel;
        // Row `row` looks at one key in batch row 0, and at a far one in batch row 1; all others at every key alike.
        reader_.set_query(p, 0, {}, reader_.row, 40);
        reader_.set_query(p, 1, {}, reader_.row, -40);
        reader_.set_key(p, reader_.first_key, 1);
        reader_.set_key(p, reader_.second_key, -1);
        const auto w = reader_.weights(p);
        auto window = in_window(kernel, {}, Reader::margin);
        for_each_tap(c_.post, reader_.first_key, [&](Index h, Index a, Index c, Index i, Index j) {
            window(h, a, c) = w(0, h, i, j) - w(1, h, i, j);
        });
        return window;
    }

    // Reads both sides under each guess of how the pre side moves taps, until the two readings agree with it.
    void kernels() {
        const bool pre = c_.pre.has_conv(), post = c_.post.has_conv();
        if (!pre && !post) return;
        const auto random = [&](const ScoreMixingConfig& side) {
            return readings_.random_tensor(c_.heads, side.query_kernel, side.key_kernel);
        };
        const auto pre_kernel = random(c_.pre), post_kernel = random(c_.post);
        std::optional<Tensor<double, 3>> first_pre, first_post, pre_window, post_window;
        Transform pre_moves, post_moves;
        bool consistent = false;
        for (int guess = 0; guess < 4 && !consistent; ++guess) {
            reader_.pre = pre ? Transform{guess >= 2, guess % 2 == 1} : Transform{};
            reader_.post = post_moves = {};
            if (post) {
                post_window = read_post_kernel(post_kernel);
                post_moves = best_transform(post_kernel, *post_window, Reader::margin);
                if (post_moves.error <= tolerance_ && post_moves.in_place()) reader_.post = post_moves;
            }
            if (pre) {
                pre_window = read_pre_kernel(pre_kernel);
                pre_moves = best_transform(pre_kernel, *pre_window, Reader::margin);
            }
            consistent = (!pre || (pre_moves.error <= tolerance_ && pre_moves.same_moves(reader_.pre))) &&
                         (!post || (post_moves.error <= tolerance_ && post_moves.in_place()));
            if (guess == 0) first_pre = pre_window, first_post = post_window;
            if (!pre) break;
        }
        if (!consistent) {
            reader_.pre = reader_.post = {};
            pre_window = first_pre, post_window = first_post;
            readings_.caveat = " (read through kernels that are not understood)";
        }
        if (pre) kernel("pre.kernel", c_.pre, pre_kernel, *pre_window);
        if (post) kernel("post.kernel", c_.post, post_kernel, *post_window);
    }

    void kernel(const char* name, const ScoreMixingConfig& side, const Tensor<double, 3>& given,
                const Tensor<double, 3>& window) {
        const auto moves = best_transform(given, window, Reader::margin);
        const Index left = keys_to_the_left(side.key_kernel, side.key_padding);
        readings_.add(name, in_window(given, {}, Reader::margin), window,
                      kernel_class(given, window, Reader::margin, left, moves, tolerance_));
    }

    void mixes() {
        if (c_.pre.has_mix()) mix("pre.mix", c_.pre, &StageReadings::read_pre_mix);
        if (c_.post.has_mix()) mix("post.mix", c_.post, &StageReadings::read_post_mix);
    }

  private:
    using Matrix = Tensor<double, 2>;

    void mix(const char* name, const ScoreMixingConfig& side,
             Matrix (StageReadings::*read)(const Tensor<double, 3>&)) {
        const Index Ch = side.mix_group;
        const auto given = readings_.random_tensor(c_.heads / Ch, Ch, Ch);
        auto expected = zeros<double>(c_.heads, c_.heads);
        for (Index g = 0; g < c_.heads; ++g)
            for (Index h = g / Ch * Ch; h < (g / Ch + 1) * Ch; ++h)
                expected(g, h) = given(g / Ch, g % Ch, h % Ch);
        const auto found = (this->*read)(given);
        readings_.add(name, expected, found, matrix_class(expected, found, tolerance_));
    }

    // Batch row h: head h alone has a score.
    Matrix read_pre_mix(const Tensor<double, 3>& given) {
        Problem p = reader_.blank(c_.heads, reader_.sequence);
        p.params.pre.mix->mix = given;
        for (Index h = 0; h < c_.heads; ++h)
            reader_.set_query(p, h, h, reader_.row, reader_.score);
        reader_.set_key(p, reader_.first_key, 1);
        const auto w = reader_.weights(p);
        Matrix found(c_.heads, c_.heads);
        for (Index g = 0; g < c_.heads; ++g)
            for (Index h = 0; h < c_.heads; ++h)
                found(g, h) = reader_.excess(w, h, g, reader_.row, reader_.first_key) /
                              reader_.score_of(p, h, h, reader_.row, 1);
        return found;
    }

    // Batch row h: head h alone looks at one key.
    Matrix read_post_mix(const Tensor<double, 3>& given) {
        Problem p = reader_.blank(c_.heads, reader_.sequence);
        p.params.post.mix->mix = given;
        for (Index h = 0; h < c_.heads; ++h)
            reader_.set_query(p, h, h, reader_.row, 40);
        reader_.set_key(p, reader_.first_key, 1);
        const auto w = reader_.weights(p);
        Matrix found(c_.heads, c_.heads);
        for (Index g = 0; g < c_.heads; ++g)
            for (Index h = 0; h < c_.heads; ++h)
                found(g, h) = w(h, g, reader_.row, reader_.first_key) - w(h, g, reader_.row, 1);
        return found;
    }

    Readings& readings_;
    Reader& reader_;
    const MultiTokenAttentionConfig& c_;
    double tolerance_;
};

}  // namespace detail
}  // namespace mta::oracle
