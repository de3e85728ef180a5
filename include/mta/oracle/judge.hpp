// Judges what a candidate computed against what should have come, and names the first stage that is wrong.
// SPDX-License-Identifier: MIT
//
// Unit        errors are multiples of the tolerance of their element: 0.31 x tolerance agrees, 2 x does not.
// Hostile     where a finite number is expected, NaN and infinity are infinitely wrong; where the reference is not
//             finite, the same kind of number is expected.
// Positions   of score stages only the keys that a query may read (detail/judged_positions.hpp).
// Locally     a stage that was exported is also judged against what it should be given the candidate's own previous
//             stage, so that an error is charged to the stage that made it.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <mta/check/compare.hpp>
#include <mta/oracle/detail/judged_positions.hpp>
#include <mta/oracle/detail/pattern.hpp>
#include <mta/oracle/tolerance.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mta::oracle {

/// The element that is furthest off, in units of its tolerance.
struct WorstElement {
    double error = 0;  // |got - expected| / tolerance; infinite where not finite, or nothing is accepted
    std::vector<Index> where;
    double got = 0, expected = 0, tolerance = 0;
    Index compared = 0, beyond = 0, not_finite = 0;

    bool agrees() const { return beyond == 0; }
    double bad_percent() const {
        return compared == 0 ? 0 : 100 * static_cast<double>(beyond) / static_cast<double>(compared);
    }
};

struct TensorVerdict {
    enum class State { agrees, wrong, misshapen };
    std::string name;
    State state = State::agrees;
    WorstElement worst;                         // end to end
    std::optional<WorstElement> local;          // given the candidate's own previous stage
    std::optional<double> low_precision_ratio;  // max error over that of a low-precision reference
    std::string pattern;                        // where the wrong elements are; empty when none is
    std::string sentence;                       // of a wrong shape

    bool agrees() const { return state == State::agrees; }
    /// Wrong given what came before it, not only because of what came before it.
    bool locally_wrong() const {
        return state == State::misshapen || !(local ? local->agrees() : worst.agrees());
    }
};

/// The stage at which a wrong result went wrong.
struct FirstWrong {
    std::string stage;   // pre_conv; of gradients the stage whose backward pass is wrong
    std::string tensor;  // the tensor that shows it
    bool backward = false;
    std::vector<std::string> earlier;  // stages before it that were not exported and may be the cause instead
    std::string upstream;              // the last tensor before it that agrees, or empty
    double upstream_error = 0;         // of that tensor, in units of its tolerance
};

struct Judgement {
    std::vector<TensorVerdict> tensors;  // those that came and were expected, in the order of the pipeline
    std::vector<std::string> missing;    // expected and not given, stages not counted
    std::vector<std::string> extra;      // given and unknown to this configuration
    std::optional<FirstWrong> first_wrong;

    bool agrees() const {
        return std::all_of(tensors.begin(), tensors.end(), [](const auto& t) { return t.agrees(); });
    }
    /// The tensor with the largest error, or nullptr when nothing came.
    const TensorVerdict* worst() const {
        const auto found = std::max_element(tensors.begin(), tensors.end(), [](const auto& a, const auto& b) {
            return a.worst.error < b.worst.error;
        });
        return found == tensors.end() ? nullptr : &*found;
    }
    const TensorVerdict* find(std::string_view name) const {
        for (const auto& t : tensors)
            if (t.name == name) return &t;
        return nullptr;
    }
};

namespace detail {

// Error in units of the tolerance. Same kinds of not finite agree; only NaN is like NaN.
inline double error_in_tolerances(double got, double want, double tolerance) {
    constexpr double infinite = std::numeric_limits<double>::infinity();
    if (!std::isfinite(want)) return got == want || (std::isnan(got) && std::isnan(want)) ? 0 : infinite;
    // Where anything is accepted (an overflow of the io type), a NaN is not.
    if (std::isinf(tolerance) && tolerance > 0) return std::isnan(got) ? infinite : 0;
    const double error = std::abs(got - want);
    if (error == 0) return 0;
    const double ratio = error / tolerance;
    return std::isfinite(ratio) && tolerance > 0 ? ratio : infinite;
}

inline WorstElement worst_element(const NamedTensor& got, const NamedTensor& want,
                                  const NamedTensor& tolerance, const JudgedPositions& judged,
                                  Pattern* pattern = nullptr) {
    WorstElement w;
    double worst = -1;
    judged.for_each(want, [&](std::size_t n, Index, Index) {
        const double error = error_in_tolerances(got.values[n], want.values[n], tolerance.values[n]);
        ++w.compared;
        w.not_finite += !std::isfinite(got.values[n]);
        if (error > 1) {
            ++w.beyond;
            if (pattern != nullptr) pattern->wrong(n, got.values[n], want.values[n]);
        }
        if (error <= worst) return;
        worst = w.error = error;
        w.where = check::detail::unravel(static_cast<Index>(n), want.shape);
        w.got = got.values[n], w.expected = want.values[n], w.tolerance = tolerance.values[n];
    });
    return w;
}

inline TensorVerdict judge_tensor(const NamedTensor& got, const Expected& expected, const Expected* local,
                                  const JudgedPositions& judged) {
    TensorVerdict v;
    v.name = got.name;
    const NamedTensor& want = expected.reference.at(got.name);
    if (got.shape != want.shape || got.values.size() != want.values.size()) {
        v.state = TensorVerdict::State::misshapen;
        v.worst.error = std::numeric_limits<double>::infinity();
        v.worst.beyond = 1;
        v.pattern = v.sentence =
            sentence(got.name, ": got shape ", got.shape, ", expected shape ", want.shape);
        return v;
    }
    Pattern pattern(want, judged), local_pattern(want, judged);
    v.worst = worst_element(got, want, expected.tolerance.at(got.name), judged, &pattern);
    if (local != nullptr)
        v.local = worst_element(got, local->reference.at(got.name), local->tolerance.at(got.name), judged,
                                &local_pattern);
    const bool agrees = v.worst.agrees() && (!v.local || v.local->agrees());
    v.state = agrees ? TensorVerdict::State::agrees : TensorVerdict::State::wrong;
    v.pattern = v.locally_wrong() && v.local ? local_pattern.words() : pattern.words();
    if (const auto low = expected.error_of_low_precision(got.name); low && *low > 0)
        v.low_precision_ratio = largest_error(got, want, judged) / *low;
    return v;
}

// The stages that this configuration has, in the order of the pipeline.
inline std::vector<std::string> present_stages(const MultiTokenAttentionConfig& c) {
    std::vector<std::string> names;
    const auto add = [&](bool present, const char* name) {
        if (present) names.emplace_back(name);
    };
    add(true, "logits");
    add(c.pre.has_conv(), "pre_conv");
    add(c.pre.has_mix(), "pre_mix");
    add(true, "weights");
    add(c.post.has_conv(), "post_conv");
    add(c.post.has_mix(), "post_mix");
    add(true, "context");
    add(c.norm.has_value(), "norm");
    add(c.gate.has_value(), "gate");
    return names;
}

// The steps of a computation: stage n forward is step n, its backward pass step 2 N - 1 - n.
class Steps {
  public:
    explicit Steps(const MultiTokenAttentionConfig& c) : stages_{present_stages(c)} {}

    Index count() const { return 2 * stage_count(); }
    bool backward(Index step) const { return step >= stage_count(); }
    const std::string& stage(Index step) const {
        return stages_[static_cast<std::size_t>(backward(step) ? count() - 1 - step : step)];
    }

    /// The step that computes this tensor; -1 for a name that no step computes. The gradient that stands first is
    /// d_out itself, which the first backward step only receives.
    Index of(std::string_view name) const {
        const Index N = stage_count();
        if (name == "out") return N - 1;
        if (name == "grad.v") return backward_of("context");
        if (name == "grad.q" || name == "grad.k") return backward_of("logits");
        if (name.starts_with("stage.d_")) {
            const Index n = position(name.substr(8));
            return n < 0 ? -1 : std::max(N, 2 * N - 2 - n);
        }
        if (name.starts_with("stage.")) return position(name.substr(6));
        if (!name.starts_with("grad.")) return -1;
        name.remove_prefix(5);
        const std::string side(name.substr(0, name.find('.')));
        return backward_of(name.ends_with(".kernel") ? side + "_conv"
                           : name.ends_with(".mix")  ? side + "_mix"
                                                     : side);
    }

  private:
    Index stage_count() const { return static_cast<Index>(stages_.size()); }
    Index position(std::string_view stage) const {
        const auto found = std::find(stages_.begin(), stages_.end(), stage);
        return found == stages_.end() ? -1 : found - stages_.begin();
    }
    Index backward_of(std::string_view stage) const {
        const Index n = position(stage);
        return n < 0 ? -1 : 2 * stage_count() - 1 - n;
    }

    std::vector<std::string> stages_;
};

// True for a tensor that everything after its step depends on, so that what comes before it is cleared when it agrees.
inline bool is_checkpoint(std::string_view name) {
    return name == "out" || name.starts_with("stage.");
}

inline std::optional<FirstWrong> find_first_wrong(const std::vector<TensorVerdict>& tensors,
                                                  const Steps& steps) {
    const TensorVerdict* wrong = nullptr;
    for (const auto& t : tensors) {
        if (!t.locally_wrong() || steps.of(t.name) < 0) continue;
        if (wrong == nullptr || steps.of(t.name) < steps.of(wrong->name)) wrong = &t;
    }
    // Wrong from end to end alone: small local errors that added up. The first one stands for them.
    for (const auto& t : tensors)
        if (wrong == nullptr && !t.agrees() && steps.of(t.name) >= 0) wrong = &t;
    if (wrong == nullptr) return std::nullopt;
    const Index step = steps.of(wrong->name);
    FirstWrong first{steps.stage(step), wrong->name, steps.backward(step), {}, "", 0};
    Index cleared = -1;
    for (const auto& t : tensors) {
        const Index at = steps.of(t.name);
        if (at >= step || at <= cleared || !is_checkpoint(t.name) || t.locally_wrong()) continue;
        cleared = at;
        first.upstream = t.name, first.upstream_error = t.local ? t.local->error : t.worst.error;
    }
    for (Index s = cleared + 1; s < step; ++s)
        if (steps.backward(s) == first.backward) first.earlier.push_back(steps.stage(s));
    return first;
}

}  // namespace detail

/// Judges every tensor of `got` that this problem has. `local` is what expect_locally returned, or nullptr.
inline Judgement judge(const Problem& p, const Results& got, const Expected& expected,
                       const Expected* local = nullptr) {
    const detail::JudgedPositions judged(p);
    Judgement j;
    for (const auto& t : got.tensors) {
        if (expected.reference.find(t.name) == nullptr) {
            j.extra.push_back(t.name);
            continue;
        }
        const bool locally = local != nullptr && local->reference.find(t.name) != nullptr;
        j.tensors.push_back(detail::judge_tensor(t, expected, locally ? local : nullptr, judged));
    }
    std::stable_sort(j.tensors.begin(), j.tensors.end(), [](const auto& a, const auto& b) {
        return pipeline_position(a.name) < pipeline_position(b.name);
    });
    for (const auto& t : expected.reference.tensors)
        if (!t.name.starts_with("stage.") && got.find(t.name) == nullptr) j.missing.push_back(t.name);
    j.first_wrong = detail::find_first_wrong(j.tensors, detail::Steps(p.config.attention));
    return j;
}

}  // namespace mta::oracle
