// Hypotheses: what a known bug predicts for one case, and how well that fits what a candidate gave.
// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <mta/oracle/deviations.hpp>
#include <mta/oracle/judge.hpp>
#include <mta/oracle/tolerance.hpp>
#include <optional>
#include <string>
#include <vector>

namespace mta::oracle::detail {

/// How a prediction meets a tensor. `near`: beyond the reference's tolerance, but so close that the tolerance of the
/// prediction itself, which is another operator, has to decide. `marginal`: wrong by little more than noise, which the
/// prediction need not improve if it improves others.
enum class Fit : unsigned char { explained, near, marginal, refuted };

/// One bug, or two at once.
struct Hypothesis {
    std::string name, sentence;
    Deviation deviation;
    bool forward = false;  // the forward pass is wrong
};

inline Hypothesis hypothesis_of(const Bug& bug) {
    return {bug.name, bug.sentence, deviation_of(bug), bug.kind == BugKind::forward};
}
inline Hypothesis both(const Bug& a, const Bug& b) {
    Hypothesis h = hypothesis_of(a);
    switch_on(h.deviation, b);
    h.name += " + " + b.name;
    h.sentence += "; " + b.sentence;
    h.forward = h.forward || b.kind == BugKind::forward;
    return h;
}

/// The distance of a prediction from what came, in two measures.
struct Distance {
    double in_tolerances = 0;  // the largest
    double largest = 0;        // absolute
    double square = 0;         // summed
};

inline Distance distance(const NamedTensor& got, const NamedTensor& predicted, const NamedTensor& tolerance,
                         const JudgedPositions& judged, double floor) {
    Distance d;
    judged.for_each(predicted, [&](std::size_t n, Index, Index) {
        const double own = tolerance.values[n], accepted = (std::isnan(own) ? 0 : own) + floor;
        d.in_tolerances =
            std::max(d.in_tolerances, error_in_tolerances(got.values[n], predicted.values[n], accepted));
        const double error =
            std::isfinite(predicted.values[n]) ? std::abs(got.values[n] - predicted.values[n]) : 0;
        d.largest = std::max(d.largest, error);
        d.square += error * error;
    });
    return d;
}

/// What one case says: the candidate's tensors, in the order of the pipeline, and what the reference makes of them.
class CaseEvidence {
  public:
    CaseEvidence(const Problem& problem, const Results& got, const Expected& expected)
        : problem_{problem}, expected_{expected}, judged_{problem} {
        for (const auto& t : got.tensors) {
            const NamedTensor* want = expected.reference.find(t.name);
            if (want == nullptr || want->shape != t.shape || want->values.size() != t.values.size()) continue;
            given_.push_back(&t);
        }
        std::stable_sort(given_.begin(), given_.end(), [](const auto* a, const auto* b) {
            return pipeline_position(a->name) < pipeline_position(b->name);
        });
        for (const auto* t : given_) {
            const auto& want = expected.reference.at(t->name);
            const auto& tolerance = expected.tolerance.at(t->name);
            const Distance d = distance(*t, want, tolerance, judged_, floor_of(want));
            wrong_.push_back(!(d.in_tolerances <= 1));
            from_reference_.push_back(d);
            forward_ += is_forward(*t);
        }
        base_ = std::make_unique<Model>(problem_, exact_, Deviation{}, nullptr);
        if (has_gradients()) base_->forward();
    }
    CaseEvidence(const CaseEvidence&) = delete;
    CaseEvidence& operator=(const CaseEvidence&) = delete;

    const std::vector<const NamedTensor*>& given() const { return given_; }
    bool forward_wrong() const { return any_wrong(0, forward_); }
    bool wrong() const { return any_wrong(0, given_.size()); }
    bool is_wrong(std::size_t n) const { return wrong_[n]; }
    std::size_t forward_count() const { return forward_; }
    bool has_gradients() const { return problem_.d_out.has_value() && forward_ < given_.size(); }
    Index cost() const { return problem_.q.size() * problem_.sequence(); }

    /// How each given tensor is met; after a wrong forward pass was refuted the rest counts as refuted, unless all
    /// is asked for.
    std::vector<Fit> fit(const Hypothesis& h, bool all) const {
        std::vector<Fit> fits(given_.size(), Fit::refuted);
        if (h.forward) {
            Arithmetic exact = Arithmetic::exact();
            Model model(problem_, exact, h.deviation, nullptr);
            model.forward();
            const bool refuted = meet(model.results(), 0, forward_, fits);
            if (!has_gradients() || (refuted && !all)) return settled(std::move(fits));
            model.backward();
            meet(model.results(), forward_, given_.size(), fits);
            return settled(std::move(fits));
        }
        for (std::size_t n = 0; n < forward_; ++n)
            fits[n] = wrong_[n] ? Fit::refuted : Fit::explained;
        if (!has_gradients() || (forward_wrong() && !all)) return fits;
        Model model = *base_;
        model.follow(h.deviation);
        model.backward();
        meet(model.results(), forward_, given_.size(), fits);
        return settled(std::move(fits));
    }

    /// Decides what was near, by the tolerance of the wrong operator itself.
    void decide(const Hypothesis& h, const RoundingProfile& profile, int runs, std::vector<Fit>& fits) const {
        const auto run = [&](Arithmetic arithmetic, std::uint64_t = 0) {
            Model model(problem_, arithmetic, h.deviation, nullptr);
            model.forward();
            if (has_gradients()) model.backward();
            return model.take_results();
        };
        const Results exact = run(Arithmetic::exact());
        ToleranceOptions options;
        options.runs = runs;
        const Results tolerance = tolerances(run, exact, profile, judged_, options);
        for (std::size_t n = 0; n < fits.size(); ++n) {
            if (fits[n] != Fit::near) continue;
            const NamedTensor& predicted = exact.at(given_[n]->name);
            const auto d =
                distance(*given_[n], predicted, tolerance.at(predicted.name), judged_, floor_of(predicted));
            fits[n] = d.in_tolerances <= slack ? Fit::explained : Fit::refuted;
        }
    }

    /// How far the exact prediction is from what came: the relative rms error, summed over the tensors.
    double misfit(const Hypothesis& h) const {
        Arithmetic exact = Arithmetic::exact();
        Model model(problem_, exact, h.deviation, nullptr);
        model.forward();
        if (has_gradients()) model.backward();
        double sum = 0;
        for (const auto* t : given_) {
            const NamedTensor& predicted = model.results().at(t->name);
            NamedTensor zero = zeros_of(predicted);
            const double size = distance(zero, predicted, zero, judged_, 0).square;
            const double error = distance(*t, predicted, zero, judged_, 0).square;
            if (size > 0 && std::isfinite(error)) sum += std::sqrt(error / size);
        }
        return sum;
    }

  private:
    static bool is_forward(const NamedTensor& t) {
        return t.name == "out" || (t.name.starts_with("stage.") && !t.name.starts_with("stage.d_"));
    }
    // A few units in the last place of double: the model and the reference sum in different orders.
    double floor_of(const NamedTensor& t) const { return 32 * 0x1p-52 * largest_magnitude(t, judged_); }
    bool any_wrong(std::size_t begin, std::size_t end) const {
        return std::any_of(wrong_.begin() + static_cast<std::ptrdiff_t>(begin),
                           wrong_.begin() + static_cast<std::ptrdiff_t>(end), [](bool w) { return w; });
    }

    // Compares tensors [begin, end) with the prediction; true when one is refuted.
    bool meet(const Results& predicted, std::size_t begin, std::size_t end, std::vector<Fit>& fits) const {
        bool refuted = false;
        for (std::size_t n = begin; n < end; ++n) {
            const NamedTensor* p = predicted.find(given_[n]->name);
            fits[n] = p == nullptr ? Fit::refuted : meet(n, *p);
            refuted = refuted || fits[n] == Fit::refuted;
        }
        return refuted;
    }
    Fit meet(std::size_t n, const NamedTensor& predicted) const {
        const auto& tolerance = expected_.tolerance.at(predicted.name);
        const Distance d = distance(*given_[n], predicted, tolerance, judged_, floor_of(predicted));
        if (d.in_tolerances <= 1) return Fit::explained;
        if (!improves(n, d))
            return std::max(d.in_tolerances, from_reference_[n].in_tolerances) <= slack ? Fit::marginal
                                                                                        : Fit::refuted;
        if (d.in_tolerances <= 30) return Fit::near;
        const bool small = d.largest <= 0.02 * largest_magnitude(predicted, judged_);
        const bool much_better = d.square <= 0.06 * from_reference_[n].square;
        return std::isfinite(d.square) && (small || much_better) ? Fit::near : Fit::refuted;
    }
    // Marginal ones count where some other wrong tensor is explained better.
    std::vector<Fit> settled(std::vector<Fit> fits) const {
        bool improved = false;
        for (std::size_t n = 0; n < fits.size(); ++n)
            improved = improved || (wrong_[n] && (fits[n] == Fit::explained || fits[n] == Fit::near));
        for (Fit& f : fits)
            if (f == Fit::marginal) f = improved ? Fit::near : Fit::refuted;
        return fits;
    }
    // An explanation of what is wrong removes a part of the error; bugs that do nothing here explain nothing.
    bool improves(std::size_t n, const Distance& d) const {
        const Distance& old = from_reference_[n];
        return !wrong_[n] || d.in_tolerances <= 0.7 * old.in_tolerances || d.square <= 0.25 * old.square;
    }

    // Tolerances are calibrated for right operators and more perturbed runs. Wrong ones are worse conditioned, and bugs
    // that are accepted too easily stand behind those that come closer.
    static constexpr double slack = 3;

    const Problem& problem_;
    const Expected& expected_;
    JudgedPositions judged_;
    std::vector<const NamedTensor*> given_;
    std::vector<bool> wrong_;
    std::vector<Distance> from_reference_;
    std::size_t forward_ = 0;  // given tensors of the forward pass, which stand first
    Arithmetic exact_ = Arithmetic::exact();
    std::unique_ptr<Model> base_;
};

}  // namespace mta::oracle::detail
