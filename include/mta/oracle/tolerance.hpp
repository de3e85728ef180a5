// How far a correct implementation may be off, element by element, given where it rounds.
// SPDX-License-Identifier: MIT
//
// Derivation  docs/oracle/tolerances.md. A model of the operator is run exactly and N times with a random error of
//             up to half a unit in the last place at every rounding point of the profile, forward and backward:
//                 spread_e = rms over the runs of (perturbed_e - exact_e)
//                 tol_e    = factor * c(n) * max(spread_e, rms of spread over e's row) + 0.05 u_io max|tensor|
//                            + 8 ulp of double of max|tensor|
//             and at least 1.5 times the largest deviation of a run: where results jump (the support of sparsemax),
//             a spread says too little.
// Steep       where rounding alone moves a score by more than 0.1, weights follow no linear law: from there on the
//             whole tensor is pooled in place of the row. Where it moves one by more than 1, weights may be anything:
//             from there on any number is accepted end to end (stages that are exported are still judged locally), and
//             trust says that such a case does not count.
// Factors     chosen from measured errors of correct implementations, see docs/oracle/tolerances.md.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <mta/oracle/detail/spread.hpp>
#include <mta/oracle/model.hpp>
#include <mta/oracle/problem.hpp>
#include <mta/oracle/rounding.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mta::oracle {

/// Calibrated factors between the spread of perturbed runs and the tolerance (docs/oracle/tolerances.md).
struct ToleranceFactors {
    // Of runs that follow the profile: roundings that every kernel makes at the same places.
    double profile = 8;
    // Of runs in the accumulator's precision alone: the order of sums, exp, cancellation.
    double accumulator = 16;
};

struct ToleranceOptions {
    int runs = 6;            // N, perturbed runs of the model
    int jumping_runs = 32;   // N at least where results jump: sparsemax, steep scores
    int wide_runs = 0;       // more, with twice the errors, that say only how far results jump
    std::uint64_t seed = 0;  // of the perturbations
    ToleranceFactors factors{};
    bool stages = true;         // tolerances of stages too
    bool low_precision = true;  // the errors of a low-precision run, for the rule of FlashAttention's tests
};

/// What should come, and how far each element may be off.
struct Expected {
    Results reference;      // values, in double
    Results tolerance;      // the accepted |got - expected| of each element, same names and shapes
    Results low_precision;  // what the model gives when it rounds as the profile says, without stages
    std::vector<std::pair<std::string, double>> low_precision_error;  // max error of that run, stages too

    /// max|low precision - reference| of this tensor; nothing where it was not measured.
    std::optional<double> error_of_low_precision(std::string_view name) const {
        for (const auto& [tensor, error] : low_precision_error)
            if (tensor == name) return error;
        return std::nullopt;
    }
};

namespace detail {

inline double largest_error(const NamedTensor& got, const NamedTensor& want, const JudgedPositions& judged) {
    double largest = 0;
    judged.for_each(want, [&](std::size_t n, Index, Index) {
        const double error = std::abs(got.values[n] - want.values[n]);
        largest = error <= largest ? largest : error;  // NaN stays
    });
    return largest;
}

inline void drop_stages(Results& r) {
    std::erase_if(r.tensors, [](const auto& t) { return t.name.starts_with("stage."); });
}

}  // namespace detail

namespace detail {

/// Everything in the accumulator's precision, or finer where the profile is.
inline RoundingProfile accumulator_only(const RoundingProfile& p) {
    const auto finer = [&](Precision stored) {
        return unit_roundoff(stored) < unit_roundoff(p.accumulate) ? stored : p.accumulate;
    };
    return {finer(p.io),      finer(p.multiply), p.accumulate, finer(p.scores),
            finer(p.weights), finer(p.outputs),  finer(p.lse)};
}

constexpr double largest_half = 65504;

// Beyond the largest number of the io type a right candidate can only answer with infinity.
inline void allow_overflow(Expected& e, Precision io) {
    if (io != Precision::fp16) return;
    for (auto& t : e.tolerance.tensors) {
        const auto& want = e.reference.at(t.name).values;
        for (std::size_t n = 0; n < want.size(); ++n)
            if (std::abs(want[n]) + t.values[n] >= largest_half)
                t.values[n] = std::numeric_limits<double>::infinity();
    }
}

// Element by element the larger one.
inline void raise_to(Results& tolerance, const Results& other) {
    for (auto& t : tolerance.tensors) {
        const auto& more = other.at(t.name).values;
        for (std::size_t n = 0; n < t.values.size(); ++n)
            t.values[n] = std::max(t.values[n], more[n]);
    }
}

inline ToleranceOptions with_runs_for(const Problem& p, ToleranceOptions options) {
    const bool jumps = p.config.attention.normalise == Normalise::sparsemax;
    if (jumps) options.runs = options.wide_runs = std::max(options.runs, options.jumping_runs);
    return options;
}

/// Tolerances of `run(arithmetic, seed)`, a function that gives the results of one run of the model.
template <class Run>
Results tolerances(const Run& run, const Results& exact, const RoundingProfile& profile,
                   const JudgedPositions& judged, const ToleranceOptions& options) {
    const auto measured = [&](const RoundingProfile& rounding, double factor) {
        Spread spread(exact);
        int runs = options.runs;
        for (int n = 0; n < runs; ++n) {
            const auto seed = options.seed + static_cast<std::uint64_t>(n);
            spread.add(run(Arithmetic::perturbed(rounding, seed), seed));
            if (n + 1 == options.runs && spread.score_error(judged) > Spread::steep)
                runs = std::max(runs, options.jumping_runs);
        }
        for (int n = 0; n < options.wide_runs; ++n) {
            const auto seed = options.seed + static_cast<std::uint64_t>(runs + n);
            spread.widen(run(Arithmetic::perturbed(rounding, seed, 2), seed));
        }
        return spread.tolerances(judged, factor, unit_roundoff(profile.io));
    };
    const RoundingProfile fine = accumulator_only(profile);
    Results tolerance = measured(fine, options.factors.accumulator);
    if (!(fine == profile)) raise_to(tolerance, measured(profile, options.factors.profile));
    return tolerance;
}

}  // namespace detail

/// Why this profile cannot compute `e` at all: its scores are beyond what fp16 holds. Empty when it can.
inline std::string beyond_range(const Expected& e, const RoundingProfile& profile) {
    if (profile.scores != Precision::fp16) return {};
    for (const char* name : {"stage.logits", "stage.pre_conv", "stage.pre_mix"}) {
        const NamedTensor* scores = e.reference.find(name);
        if (scores == nullptr) continue;
        for (const double x : scores->values)
            if (std::abs(x) >= detail::largest_half)
                return detail::sentence(name, " holds ", x, ", which fp16 cannot");
    }
    return {};
}

/// What `p` should give under this profile. Values are the library's reference in double.
inline Expected expect(const Problem& p, const RoundingProfile& profile,
                       const ToleranceOptions& options = {}) {
    const detail::JudgedPositions judged(p);
    const auto run = [&](Arithmetic arithmetic, std::uint64_t = 0) { return run_model(p, arithmetic); };
    Expected e;
    e.reference = reference_results(p, options.stages);
    e.tolerance =
        detail::tolerances(run, run(Arithmetic::exact()), profile, judged, detail::with_runs_for(p, options));
    if (!options.stages) detail::drop_stages(e.tolerance);
    detail::allow_overflow(e, profile.io);
    if (!options.low_precision) return e;
    Results low = run(Arithmetic::rounded(profile));
    for (const auto& want : e.reference.tensors)
        e.low_precision_error.emplace_back(want.name, detail::largest_error(low.at(want.name), want, judged));
    detail::drop_stages(low);
    e.low_precision = std::move(low);
    return e;
}

namespace detail {

// The stages of a candidate that a model can go on from: of the right shape and finite where they are judged. What
// is not judged becomes 0, which no later stage may notice.
inline Results usable_stages(const Results& got, const Results& reference, const JudgedPositions& judged) {
    Results usable;
    for (const auto& t : got.tensors) {
        const NamedTensor* want = reference.find(t.name);
        if (!t.name.starts_with("stage.") || want == nullptr || want->shape != t.shape) continue;
        NamedTensor copy = zeros_of(t);
        bool finite = true;
        judged.for_each(t, [&](std::size_t n, Index, Index) {
            copy.values[n] = t.values[n];
            finite = finite && std::isfinite(t.values[n]);
        });
        if (finite) usable.put(std::move(copy));
    }
    return usable;
}

// What a candidate exports may be rounded to the io type although it went on with more bits. Where it is not, its
// values carry no such error.
inline Results jittered(const Results& stages, Precision io, std::uint64_t seed) {
    Results copy = stages;
    std::uint64_t stream = 0;
    for (auto& t : copy.tensors) {
        Random random(seed, ++stream);
        const bool rounded =
            std::all_of(t.values.begin(), t.values.end(), [&](double x) { return round_to(io, x) == x; });
        if (!rounded) continue;
        for (double& x : t.values)
            x += unit_roundoff(io) * x * (static_cast<double>(random.bits()) * 0x1p-31 - 1);
    }
    return copy;
}

}  // namespace detail

/// What each tensor should be, given the stages that the candidate exported: every stage computed from the candidate's
/// own previous stage. `global` is what expect(p, profile) returned. Nothing when `got` holds no usable stage.
inline std::optional<Expected> expect_locally(const Problem& p, const RoundingProfile& profile,
                                              const Results& got, const Expected& global,
                                              const ToleranceOptions& options = {}) {
    const detail::JudgedPositions judged(p);
    const Results stages = detail::usable_stages(got, global.reference, judged);
    if (stages.tensors.empty()) return std::nullopt;
    const auto run = [&](Arithmetic arithmetic, std::uint64_t seed) {
        const Results from = arithmetic.is_exact() ? stages : detail::jittered(stages, profile.io, seed);
        return run_model(p, arithmetic, {}, &from);
    };
    Expected e;
    e.reference = run(Arithmetic::exact(), 0);
    e.tolerance = detail::tolerances(run, e.reference, profile, judged, detail::with_runs_for(p, options));
    detail::allow_overflow(e, profile.io);
    return e;
}

}  // namespace mta::oracle
