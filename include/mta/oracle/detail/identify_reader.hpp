// Reads weights and scores off a candidate through chosen inputs.
// SPDX-License-Identifier: MIT
//
// Values are one-hot codes, so that the output is the final weights, D keys at a time. A norm is made transparent
// by an eps of 2^24, beside which the mean square vanishes, and a gate by weights of 0, which halve.
#pragma once

#include <mta/oracle/candidate.hpp>
#include <mta/oracle/detail/identify_classify.hpp>
#include <mta/oracle/detail/problem_edit.hpp>

namespace mta::oracle::detail {

/// Ends identification: the candidate did not answer.
struct NoReading {
    std::string why;
};

class Reader {
  public:
    static constexpr Index margin = 2;  // taps beyond the kernel that are looked at

    Reader(const Candidate& candidate, const CaseConfig& config, io::DType dtype)
        : candidate_{candidate}, given_{config}, dtype_{dtype} {
        const auto& c = config.attention;
        const Index Ck = std::max({c.pre.key_kernel, c.post.key_kernel, Index{1}});
        const Index Cq = std::max({c.pre.query_kernel, c.post.query_kernel, Index{1}});
        first_key = Ck + margin;
        second_key = first_key + Ck + 2 * margin + 1;
        row = second_key + Ck + margin + 1;
        sequence = row + Cq + margin + 1;
        score = c.normalise == Normalise::softmax ? 1.0 : 0.125 / static_cast<double>(sequence);
    }

    Index first_key = 0, second_key = 0, row = 0, sequence = 0;
    double score = 1;     // of the one logit that is not 0 where scores are read
    Transform pre, post;  // how the candidate moves taps: identity kernels are placed where they act as such
    double measured_scale = 1;  // the candidate's over the given one, once it is known
    double measured_gain = 1;   // what the candidate makes of a context of 1
    int calls = 0;

    const MultiTokenAttentionConfig& config() const { return given_.attention; }
    io::DType dtype() const { return dtype_; }
    double scale() const {
        return config().scale.value_or(1 / std::sqrt(static_cast<double>(config().head_dim)));
    }

    /// Zero inputs, one document, identity stages, a transparent norm and gate.
    Problem blank(Index B, Index S) const {
        CaseConfig config = given_;
        config.document_starts = {{0}};
        if (config.attention.norm) config.attention.eps = 0x1p24;
        Problem p = blank_problem(config, B, S, dtype_);
        p.name = "identify";
        set_identity(p);
        place_identity(p.params.pre, config.attention.pre, pre);
        place_identity(p.params.post, config.attention.post, post);
        if (p.params.norm) fill(p.params.norm->weight, rounded_to(dtype_, 0x1p12 / norm_factor()));
        return p;
    }

    double norm_factor() const {
        return config().norm ? rms_norm_factor({0, *config().norm, config().layer_index}) : 1;
    }

    Tensor<double, 4> out(Problem p) {
        round_inputs(p);
        ++calls;
        const Answer a = candidate_.answer(p);
        if (a.outcome != Outcome::answered) throw NoReading{"the candidate gave no answer: " + a.sentence};
        const auto* found = a.results.find("out");
        if (found == nullptr || std::ssize(found->values) != p.q.size())
            throw NoReading{"the candidate gave no out of the shape of q"};
        auto t = zeros_like(p.q);
        std::copy(found->values.begin(), found->values.end(), t.data());
        return t;
    }

    /// The context behind a transparent norm and gate.
    Tensor<double, 4> context(const Problem& p) {
        auto t = out(p);
        double factor = (p.params.gate ? 2 : 1) / measured_gain;
        if (p.params.norm) factor *= 0x1p12 / (norm_factor() * p.params.norm->weight(0));
        for (auto& x : elements(t))
            x *= factor;
        return t;
    }

    /// The final weights (B, H, S, S) of a problem whose values are not set yet.
    Tensor<double, 4> weights(Problem p) {
        const Index S = p.sequence(), D = config().head_dim;
        auto all = zeros<double>(p.batch(), config().heads, S, S);
        for (Index first = 0; first < S; first += D) {
            fill(p.v, 0.0);
            for (Index r = 0; r < row_count(p.v); ++r)
                if (r % S >= first && r % S < first + D)
                    nth_row(p.v, r)[static_cast<std::size_t>(r % S - first)] = 1;
            const auto seen = context(p);
            for (Index r = 0; r < row_count(all); ++r)
                for (Index j = first; j < std::min(first + D, S); ++j)
                    nth_row(all, r)[static_cast<std::size_t>(j)] =
                        nth_row(seen, r)[static_cast<std::size_t>(j - first)];
        }
        return all;
    }

    /// Sets q of a token in one head (or all), and k of a token, so that their score is `product` and others are 0.
    void set_query(Problem& p, Index b, std::optional<Index> head, Index i, double product) const {
        const double D = static_cast<double>(config().head_dim);
        for (Index h = 0; h < config().heads; ++h)
            if (!head || *head == h)
                for (auto& x : mta::row(p.q, b, h, i))
                    x = rounded_to(dtype_, product / (scale() * D));
    }
    void set_key(Problem& p, Index j, double x) const {
        for (Index b = 0; b < p.batch(); ++b)
            for (Index n = 0; n < config().key_value_heads(); ++n)
                std::ranges::fill(mta::row(p.k, b, n, j), x);
    }
    /// The score that these inputs really have, after rounding and with the candidate's own scale.
    double score_of(const Problem& p, Index b, Index h, Index i, double key) const {
        return measured_scale * scale() * static_cast<double>(config().head_dim) * p.q(b, h, i, 0) * key;
    }

    /// By how much the score of key j exceeds that of key 0, from the weights of one row.
    double excess(const Tensor<double, 4>& w, Index b, Index h, Index i, Index j) const {
        const double here = w(b, h, i, j), there = w(b, h, i, 0);
        if (config().normalise == Normalise::sparsemax) return here - there;
        return std::log(here / there);
    }

  private:
    static void place_identity(ScoreMixingParams<double>& params, const ScoreMixingConfig& c,
                               const Transform& t) {
        if (!params.conv) return;
        auto& kernel = params.conv->kernel;
        auto identity = kernel;
        for (Index h = 0; h < kernel.dimension(0); ++h)
            for (Index a = 0; a < c.query_kernel; ++a)
                for (Index k = 0; k < c.key_kernel; ++k)
                    kernel(h, a, k) = moved_tap(identity, h, a, k, t);  // mirrors are their own inverses
    }

    const Candidate& candidate_;
    CaseConfig given_;
    io::DType dtype_;
};

}  // namespace mta::oracle::detail
