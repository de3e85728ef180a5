// What probes share: asking the candidate, their own inputs, and saying where two outputs differ.
// SPDX-License-Identifier: MIT
#pragma once

#include <mta/check/compare.hpp>
#include <mta/oracle/candidate.hpp>
#include <mta/oracle/detail/problem_edit.hpp>

namespace mta::oracle {

struct ProbeOptions {
    std::optional<double> relative;  // accepted change, of max|out|; default from the problem's type
    bool bitwise = false;            // the candidate declares that what must not change keeps its bits
    std::uint64_t seed = 1;
    int parameter_calls = 48;  // elements of parameters that are tried one by one
};

enum class ProbeState {
    holds,
    fails,
    not_applicable,  ///< the sentence says why
    informative      ///< something worth saying that is no mismatch
};

struct ProbeVerdict {
    std::string name, purpose;
    ProbeState state = ProbeState::holds;
    std::string sentence;  // on failure: where, got, expected
    int calls = 0;         // of the candidate
};

namespace detail {

/// Ends a probe early, with what it found.
struct ProbeEnd {
    ProbeState state;
    std::string sentence;
};

[[noreturn]] inline void fail(const std::string& sentence) {
    throw ProbeEnd{ProbeState::fails, sentence};
}
[[noreturn]] inline void not_applicable(const std::string& why) {
    throw ProbeEnd{ProbeState::not_applicable, why};
}

/// max over the finite elements of |t|.
inline double largest(const Tensor<double, 4>& t) {
    double most = 0;
    for (const double x : elements(t))
        if (std::isfinite(x)) most = std::max(most, std::abs(x));
    return most;
}

/// How far apart two numbers are: 0 for two NaN, infinite when only one is finite.
inline double apart(double a, double b) {
    if (a == b || (std::isnan(a) && std::isnan(b))) return 0;
    return std::isfinite(a) && std::isfinite(b) ? std::abs(a - b) : HUGE_VAL;
}

/// Inputs under which every part of the operator shows: logits of size 1 (0.2 under sparsemax, whose rows would
/// otherwise have one weight), no parameter element near 0, sums over taps and heads of size 1.
inline Problem lively_problem(const Problem& like, std::uint64_t seed) {
    Problem p = like;
    const auto& c = p.config.attention;
    Random random(seed, 0x9b0be);
    const double scale = std::abs(c.scale.value_or(1 / std::sqrt(static_cast<double>(c.head_dim))));
    const double size = c.normalise == Normalise::softmax ? 1.0 : 0.2;
    for_each_input([&](std::string_view, auto& t) { fill_normal(t, random); }, p);
    for (auto& x : elements(p.q))
        x *= scale > 0 ? size / (scale * std::sqrt(static_cast<double>(c.head_dim))) : 1.0;
    const auto fill_signed = [&](auto& t, double terms) {
        for (auto& x : elements(t))
            x = random.uniform(0.6, 1.4) / std::sqrt(terms) * (random.below(2) == 0 ? -1 : 1);
    };
    for (auto [params, config] : {std::pair{&p.params.pre, &c.pre}, std::pair{&p.params.post, &c.post}}) {
        if (params->conv)
            fill_signed(params->conv->kernel, static_cast<double>(config->query_kernel * config->key_kernel));
        if (params->mix) fill_signed(params->mix->mix, static_cast<double>(config->mix_group));
    }
    if (p.params.norm) fill_signed(p.params.norm->weight, 1);
    if (p.params.gate) fill_signed(p.params.gate->weight, static_cast<double>(c.head_dim));
    round_inputs(p);
    return p;
}

/// One candidate under probing, on the shape, configuration and type of one problem.
class ProbeRun {
  public:
    const Candidate& candidate;
    const ProbeOptions& options;
    const Problem lively;  // the probes' own inputs
    int calls = 0;

    ProbeRun(const Candidate& asked, const Problem& like, const ProbeOptions& chosen)
        : candidate{asked}, options{chosen}, lively{lively_problem(like, chosen.seed)} {}

    Index B() const { return lively.batch(); }
    Index S() const { return lively.sequence(); }
    const MultiTokenAttentionConfig& config() const { return lively.config.attention; }
    Random random(std::uint64_t stream) const { return Random(options.seed, 0x9b0bf + stream); }

    Results results(const Problem& p) {
        ++calls;
        Answer a = candidate.answer(p);
        if (a.outcome == Outcome::refused) not_applicable("the candidate refuses: " + a.sentence);
        if (a.outcome != Outcome::answered) fail("the candidate gave no answer: " + a.sentence);
        return std::move(a.results);
    }

    /// The tensor of this name, which should look like `like`.
    Tensor<double, 4> tensor(const Results& r, std::string_view name, const Tensor<double, 4>& like) const {
        const auto* found = r.find(name);
        if (found == nullptr) fail(sentence("got no tensor '", name, "', expected one"));
        if (std::ssize(found->values) != like.size())
            fail(sentence(name, ": got shape ", found->shape, ", expected shape ", like.dimensions()));
        Tensor<double, 4> t(like.dimensions());
        std::copy(found->values.begin(), found->values.end(), t.data());
        return t;
    }

    Tensor<double, 4> out(const Problem& p) {
        Problem forward_only = p;
        forward_only.d_out.reset();
        return tensor(results(forward_only), "out", p.q);
    }

    /// The smallest subnormal of the inputs' type: what cancels is rounded to multiples of it.
    double spacing_near_zero() const {
        return lively.dtype == io::DType::F64   ? 0x1p-1074
               : lively.dtype == io::DType::F32 ? 0x1p-149
               : lively.dtype == io::DType::F16 ? 0x1p-24
                                                : 0x1p-133;
    }
    /// Accepted |difference| between outputs of this size that should be equal.
    double tolerance(double size) const {
        const auto dtype = lively.dtype;
        const double usual = dtype == io::DType::F64   ? 1e-10
                             : dtype == io::DType::F32 ? 2e-4
                             : dtype == io::DType::F16 ? 1e-2
                                                       : 4e-2;
        return std::max(options.relative.value_or(usual) * size, 4 * spacing_near_zero());
    }
    /// Against what was computed here in double: float may mean tf32, whose roundings two runs have in common.
    double tolerance_to_double(double size) const {
        return std::max(tolerance(size),
                        !options.relative && lively.dtype == io::DType::F32 ? 4e-3 * size : 0);
    }
    /// The tolerance for elements whose inputs did not change at all.
    double unchanged(double size) const { return options.bitwise ? 0 : tolerance(size); }
    /// What counts as a change, whatever its size: more than the last digits of the arithmetic.
    double visible(double size) const { return (lively.dtype == io::DType::F64 ? 1e-12 : 1e-6) * size; }

    /// Fails at the worst element among those that `where(b, h, i)` selects, unless got = want within `bound`.
    template <class Where>
    void same(const std::string& what, const Tensor<double, 4>& got, const Tensor<double, 4>& want,
              double bound, Where&& where) const {
        double worst = bound;
        std::string found;
        for (Index r = 0; r < row_count(want); ++r) {
            const Index H = want.dimension(1), S = want.dimension(2), b = r / S / H, h = r / S % H, i = r % S;
            if (!where(b, h, i)) continue;
            for (Index d = 0; d < want.dimension(3); ++d) {
                const double g = nth_row(got, r)[d], w = nth_row(want, r)[d];
                if (!(apart(g, w) > worst)) continue;
                worst = apart(g, w);
                found = sentence(" at ", std::array{b, h, i, d}, ": got ", g, ", expected ", w);
            }
        }
        if (!found.empty()) fail(what + found + " (bound " + check::detail::brief(bound) + ")");
    }
    void same(const std::string& what, const Tensor<double, 4>& got, const Tensor<double, 4>& want) const {
        same(what, got, want, tolerance(largest(want)), [](Index, Index, Index) { return true; });
    }
};

}  // namespace detail
}  // namespace mta::oracle
