// Exact cases: rows of stages that every right implementation computes to the last bit, whatever its order of sums.
// SPDX-License-Identifier: MIT
//
// Proof     all terms of a sum are multiples of one power of two, and the sum of their magnitudes is below 2^bits of
//           that power: then no partial sum rounds. Magnitudes are carried through the stages, so that convolving
//           keys instead of scores, or mixing first, stays exact too.
// Weights   a row of the softmax is exact where n = 2^k scores are equal to its maximum and all others lie so far
//           below that their exp is 0: 1/n each. Sparsemax: the same, with a gap of 1.
// Trap      kernels on exp2 with log2(e) folded into the scale compute s c - m c with one rounding: at a maximum
//           m = 0 that is 0, elsewhere it is not. `folded_exp2` counts only rows whose maximum is 0.
// Not       norm, gate and gradients: they are not exact, and not judged here.
// Source    Multi-Token Attention, arXiv:2504.00927, Secs. 3.1 to 3.3, for the stages.
#pragma once

#include <mta/oracle/detail/exact_stage.hpp>
#include <mta/oracle/detail/judged_positions.hpp>

namespace mta::oracle {

/// The arithmetic for which exactness is claimed.
struct ExactArithmetic {
    int accumulate_bits = 24;  // of the significand in which sums are held: float
    int weight_bits = 24;      // in which weights are handed to the product with v: 8 for bf16, 11 for half
    bool folded_exp2 = true;   // the kernel may use exp2 with log2(e) folded into the scale
};

/// One tensor of the results, and which of its rows (all axes but the last) are exact.
struct ExactTensor {
    NamedTensor expected;  // in rows that are not exact, merely the reference
    std::vector<bool> rows;

    Index exact_rows() const { return std::count(rows.begin(), rows.end(), true); }
};

/// What the judgement of one tensor found.
struct ExactVerdict {
    std::string name;
    Index rows = 0;  // that were judged
    bool holds = true;
    std::vector<Index> where;  // of the first wrong element
    double got = 0, expected = 0;
    std::string sentence;
};

namespace detail {

// Follows exactness through the stages of one problem.
class ExactPipeline {
  public:
    ExactPipeline(const Problem& p, const ExactArithmetic& arithmetic)
        : p_{p}, c_{p.config.attention}, arithmetic_{arithmetic}, plan_{c_, p.config.call()} {}

    std::vector<ExactTensor> run() {
        auto plain = p_;
        plain.d_out.reset();
        reference_ = reference_results(plain);
        ExactStage s = side(logits(), p_.params.pre, plan_.pre_conv, "pre_conv", "pre_mix");
        s = side(weights(s), p_.params.post, plan_.post_conv, "post_conv", "post_mix");
        s = context(s);
        if (!c_.norm && !c_.gate) keep("out", s);
        return std::move(found_);
    }

  private:
    ExactStage logits() {
        ExactStage s;
        const double scale = c_.scale.value_or(1 / std::sqrt(static_cast<double>(c_.head_dim)));
        int exponent = 0;
        const bool power_of_two = scale > 0 && std::frexp(scale, &exponent) == 0.5;
        s.size = scaled_scores_forward(magnitudes(p_.q), magnitudes(p_.k), plan_.scores, plan_.mask);
        s.exponent = unit_exponent(p_.q) + unit_exponent(p_.k) + exponent - 1;
        s.rows.assign(static_cast<std::size_t>(row_count(s.size)), power_of_two);
        return settled(s, "stage.logits", arithmetic_.accumulate_bits);
    }

    ExactStage side(ExactStage s, const ScoreMixingParams<double>& params, const KeyQueryConvConfig& config,
                    const std::string& conv, const std::string& mix) {
        const int stored = conv == "post_conv" ? arithmetic_.weight_bits : 53;
        if (params.conv) {
            s.rows = rows_after_conv(s.rows, p_, params.conv->kernel.dimension(1));
            const KeyQueryConvParams<double> kernel{magnitudes(params.conv->kernel)};
            s.size = key_query_conv_forward(s.size, kernel, config, plan_.mask.documents);
            s.exponent += unit_exponent(params.conv->kernel);
            s = settled(s, "stage." + conv, arithmetic_.accumulate_bits, stored);
        }
        if (params.mix) {
            s.rows = rows_after_mix(s.rows, p_, params.mix->mix.dimension(1));
            s.size = head_mix_forward(s.size, HeadMixParams<double>{magnitudes(params.mix->mix)});
            s.exponent += unit_exponent(params.mix->mix);
            s = settled(s, "stage." + mix, arithmetic_.accumulate_bits, stored);
        }
        return s;
    }

    ExactStage weights(ExactStage s) {
        const bool mixed = c_.pre.has_mix(), convolved = c_.pre.has_conv();
        const auto& scores = reference_.at(mixed       ? "stage.pre_mix"
                                           : convolved ? "stage.pre_conv"
                                                       : "stage.logits");
        const Index H = c_.heads, S = p_.sequence();
        int deepest = 0;
        for (std::size_t r = 0; r < s.rows.size(); ++r) {
            const Index n = static_cast<Index>(r);
            const KeyRange keys = plan_.mask.keys(n / S / H, n % S, S);
            const std::span all(scores.values);
            const auto row = all.subspan(r * static_cast<std::size_t>(S), static_cast<std::size_t>(S))
                                 .subspan(static_cast<std::size_t>(keys.begin),
                                          static_cast<std::size_t>(keys.end - keys.begin));
            const int halvings = exact_halvings(row, c_.normalise, arithmetic_.folded_exp2);
            s.rows[r] = s.rows[r] && halvings >= 0;
            if (s.rows[r]) deepest = std::max(deepest, halvings);
        }
        s.exponent = -deepest;
        s.size = as_tensor(reference_.at("stage.weights"));
        return settled(s, "stage.weights", arithmetic_.accumulate_bits, arithmetic_.weight_bits);
    }

    ExactStage context(ExactStage s) {
        s.size = weighted_values_forward(s.size, magnitudes(p_.v), plan_.mask);
        s.exponent += unit_exponent(p_.v);
        return settled(s, "stage.context", arithmetic_.accumulate_bits);
    }

    // Takes back the claim for rows in which a sum could round, and remembers the stage.
    ExactStage settled(ExactStage s, const std::string& name, int bits, int stored = 53) {
        const auto& expected = reference_.at(name);
        const JudgedPositions judged(p_);
        judged.for_each(expected, [&](std::size_t n, Index r, Index) {
            const bool fits = s.size.data()[n] <= std::ldexp(1.0, bits + s.exponent) &&
                              significant_bits(expected.values[n]) <= stored;
            if (!fits) s.rows[static_cast<std::size_t>(r)] = false;
        });
        keep(name, s);
        return s;
    }
    void keep(const std::string& name, const ExactStage& s) {
        found_.push_back({reference_.at(name), s.rows});
    }
    Tensor<double, 4> as_tensor(const NamedTensor& t) const {
        auto made = zeros<double>(t.shape[0], t.shape[1], t.shape[2], t.shape[3]);
        std::copy(t.values.begin(), t.values.end(), made.data());
        return made;
    }

    const Problem& p_;
    const MultiTokenAttentionConfig& c_;
    ExactArithmetic arithmetic_;
    mta::detail::AttentionPlan plan_;
    Results reference_;
    std::vector<ExactTensor> found_;
};

}  // namespace detail

/// The stages before the norm, and `out` where nothing follows them, with their exact rows. `out` is rounded to the
/// problem's type, in which it is given.
inline std::vector<ExactTensor> exact_tensors(const Problem& p, const ExactArithmetic& arithmetic = {}) {
    auto tensors = detail::ExactPipeline(p, arithmetic).run();
    for (auto& t : tensors)
        if (t.expected.name == "out")
            for (auto& x : t.expected.values)
                x = detail::rounded_to(p.dtype, x);
    return tensors;
}

/// Whether `out` or, under a norm or gate, the context has an exact row: tolerance 0 there.
inline bool is_exact_case(const Problem& p, const ExactArithmetic& arithmetic = {}) {
    return exact_tensors(p, arithmetic).back().exact_rows() > 0;
}

/// Judges the exact rows of what the candidate returned; tensors that it did not return are left out. 0 and -0 are
/// the same number.
inline std::vector<ExactVerdict> check_exact(const Problem& p, const Results& results,
                                             const ExactArithmetic& arithmetic = {}) {
    std::vector<ExactVerdict> verdicts;
    const detail::JudgedPositions judged(p);
    for (const auto& t : exact_tensors(p, arithmetic)) {
        const auto* got = results.find(t.expected.name);
        if (got == nullptr || t.exact_rows() == 0) continue;
        require_same_shape("check_exact: " + t.expected.name, got->shape, t.expected.shape);
        ExactVerdict v{t.expected.name, t.exact_rows(), true, {}, 0, 0, {}};
        judged.for_each(t.expected, [&](std::size_t n, Index r, Index) {
            if (!v.holds || !t.rows[static_cast<std::size_t>(r)] || got->values[n] == t.expected.values[n])
                return;
            v.holds = false;
            v.where = check::detail::unravel(static_cast<Index>(n), t.expected.shape);
            v.got = got->values[n];
            v.expected = t.expected.values[n];
        });
        v.sentence = v.holds ? detail::sentence(v.name, ": ok, ", v.rows, " rows are exact")
                             : detail::sentence(v.name, ": FAIL at ", v.where, ": got ", v.got, ", expected ",
                                                v.expected, ", exactly");
        verdicts.push_back(std::move(v));
    }
    return verdicts;
}

}  // namespace mta::oracle
