// Whether a candidate keeps to its memory, and whether it gives the same bits twice.
// SPDX-License-Identifier: MIT
//
// Every call of a library already has canaries, forbidden pages, inputs compared afterwards and poisoned outputs
// (library_candidate.hpp). check_memory_contract varies what a single call cannot:
//   which end of each tensor touches a forbidden page; two different values in the outputs before the call;
//   inputs that cannot be written even for a moment; many calls in one process on the same memory; and, if asked,
//   tensors aligned to their elements only and rows further apart than they are long.
// Results of these must have the same bits, but for the last two, whose vector instructions may sum in another
// order. A candidate that refuses a layout is told so in a note.
#pragma once

#include <mta/oracle/library_candidate.hpp>

namespace mta::oracle {

/// What is varied beyond the default.
struct MemoryOptions {
    int timing_calls = 10;    // calls in one process before the results are looked at again
    bool misaligned = false;  // also with tensors aligned to their elements only
    bool strided = false;     // also with padded rows
};

struct MemoryVerdict {
    Outcome outcome = Outcome::answered;  // broke_memory, or how the candidate failed to answer at all
    std::string sentence;                 // what was broken; empty when nothing was
    std::vector<std::string> notes;
    int runs = 0;  // processes started

    bool kept() const { return outcome == Outcome::answered || outcome == Outcome::refused; }
};

struct DeterminismVerdict {
    bool deterministic = true;
    std::string sentence;      // the first difference
    std::string tensor;        // where it is
    std::vector<Index> where;  // its first element that differs
    int runs = 0;
};

namespace detail {

/// The first element in which two results differ.
struct Difference {
    std::string tensor;
    std::vector<Index> where;
    std::string sentence;  // "out at [0, 1]: 3 and 4"
};

inline std::vector<Index> place_in(const std::vector<Index>& shape, std::size_t n) {
    std::vector<Index> index(shape.size());
    for (std::size_t axis = index.size(); axis-- > 0;) {
        index[axis] = static_cast<Index>(n % static_cast<std::size_t>(shape[axis]));
        n /= static_cast<std::size_t>(shape[axis]);
    }
    return index;
}

// Largest |a - b| that still counts as the same, as a part of the tensor's maximum; 0 means equal bits, but any
// NaN equals any other.
inline std::optional<Difference> tensor_difference(const NamedTensor& a, const NamedTensor& b, double loose) {
    double scale = 0;
    for (const double x : a.values)
        if (std::isfinite(x)) scale = std::max(scale, std::abs(x));
    for (std::size_t n = 0; n < a.values.size(); ++n) {
        const double x = a.values[n], y = b.values[n];
        const bool same_bits = std::bit_cast<std::uint64_t>(x) == std::bit_cast<std::uint64_t>(y);
        if (same_bits || (std::isnan(x) && std::isnan(y)) || (loose > 0 && std::abs(x - y) <= loose * scale))
            continue;
        const auto where = place_in(a.shape, n);
        return Difference{a.name, where, sentence(a.name, " at ", where, ": ", x, " and ", y)};
    }
    return std::nullopt;
}

inline std::optional<Difference> first_difference(const Results& a, const Results& b, double loose = 0) {
    for (const auto& t : a.tensors) {
        const auto* other = b.find(t.name);
        if (other == nullptr || other->shape != t.shape)
            return Difference{t.name, {}, t.name + ": there once, and not there or of another shape again"};
        if (const auto difference = tensor_difference(t, *other, loose)) return difference;
    }
    for (const auto& t : b.tensors)
        if (a.find(t.name) == nullptr)
            return Difference{t.name, {}, t.name + ": not there at first, and there again"};
    return std::nullopt;
}

/// How far results may be apart when only the order of sums differs: far above rounding, far below garbage.
inline double loose_bound(io::DType dtype) {
    return dtype == io::DType::F64 ? 1e-9 : dtype == io::DType::F32 ? 1e-3 : 0.05;
}

class MemoryContract {
  public:
    MemoryContract(const LibraryOptions& library, const Problem& problem, const MemoryOptions& options)
        : library_{library}, problem_{problem}, options_{options} {}

    MemoryVerdict judge() {
        first_ = run("", base());
        verdict_.notes = first_.notes;
        if (first_.outcome != Outcome::answered) return end(first_.outcome, first_.sentence);
        // One line each: a phase that finds something ends the judgement.
        if (!other_poison() || !read_only() || !timing_loop()) return verdict_;
        if (options_.misaligned && !other_layout("given tensors aligned to their elements only, ", true))
            return verdict_;
        if (options_.strided) other_layout("given rows further apart than they are long, ", false);
        return verdict_;
    }

  private:
    LibraryRunPlan base() const { return run_plan(library_); }
    Answer run(const std::string& circumstances, const LibraryRunPlan& plan) {
        ++verdict_.runs;
        Answer answer = run_library(library_, problem_, plan).answer;
        if (!answer.sentence.empty()) answer.sentence = circumstances + answer.sentence;
        return answer;
    }
    const MemoryVerdict& end(Outcome outcome, std::string sentence) {
        verdict_.outcome = outcome;
        verdict_.sentence = std::move(sentence);
        return verdict_;
    }
    // False ends the judgement: this run did not answer as the first one did.
    bool answered(const Answer& again) {
        if (again.outcome != Outcome::answered) end(again.outcome, again.sentence);
        return again.outcome == Outcome::answered;
    }
    // Whether a repetition of the first run has its bits: if not, no difference proves anything.
    bool repeatable() {
        if (!repeatable_) repeatable_ = !first_difference(first_.results, run("", base()).results);
        if (!*repeatable_)
            verdict_.notes.push_back("not deterministic: outputs that depend on memory cannot be told");
        return *repeatable_;
    }

    bool other_poison() {
        auto plan = base();
        plan.layout.parity = 1;
        plan.layout.poison = Poison::number;
        const Answer again = run("", plan);
        if (!answered(again)) return false;
        const auto difference = first_difference(first_.results, again.results);
        if (!difference || !repeatable()) return true;
        end(Outcome::broke_memory,
            "the result depends on what the outputs held before the call, or on where tensors lie: " +
                difference->sentence);
        return false;
    }
    bool read_only() {
        auto plan = base();
        plan.read_only_inputs = true;
        return answered(run("", plan));
    }
    bool timing_loop() {
        auto plan = base();
        plan.repeats = std::max(2, options_.timing_calls);
        const Answer again = run(sentence("in ", plan.repeats, " calls in one process, "), plan);
        if (!answered(again)) return false;
        const auto difference = first_difference(first_.results, again.results);
        if (!difference || !repeatable()) return true;
        end(Outcome::broke_memory,
            sentence("after ", plan.repeats,
                     " calls in one process the result is another one than after the first: ",
                     difference->sentence));
        return false;
    }
    bool other_layout(const std::string& circumstances, bool misaligned) {
        auto plan = base();
        (misaligned ? plan.layout.misaligned : plan.layout.padded_rows) = true;
        const Answer again = run(circumstances, plan);
        if (again.outcome == Outcome::refused) {
            verdict_.notes.push_back(again.sentence);
            return true;
        }
        if (again.outcome != Outcome::answered) return end(Outcome::broke_memory, again.sentence).kept();
        const auto difference = first_difference(first_.results, again.results, loose_bound(problem_.dtype));
        if (!difference) return true;
        return end(Outcome::broke_memory,
                   circumstances + "the result is another one: " + difference->sentence)
            .kept();
    }

    const LibraryOptions& library_;
    const Problem& problem_;
    const MemoryOptions& options_;
    MemoryVerdict verdict_;
    Answer first_;
    std::optional<bool> repeatable_;
};

}  // namespace detail

/// Judges a library on one problem. Never throws.
inline MemoryVerdict check_memory_contract(const LibraryOptions& library, const Problem& problem,
                                           const MemoryOptions& options = {}) {
    return detail::MemoryContract(library, problem, options).judge();
}

/// Asks `repeats` times (at least twice) and compares bits. A candidate that does not answer is not judged here:
/// deterministic, with its sentence; unless it answers at one time and does not at another.
inline DeterminismVerdict check_determinism(const Candidate& candidate, const Problem& problem,
                                            int repeats = 3) {
    const Answer first = candidate.answer(problem);
    DeterminismVerdict verdict{true, first.sentence, {}, {}, 1};
    for (int n = 1; n < std::max(2, repeats); ++n) {
        const Answer again = candidate.answer(problem);
        ++verdict.runs;
        std::optional<detail::Difference> difference;
        if (again.outcome != first.outcome)
            difference = {"", {}, "one run answered and another did not: " + first.sentence + again.sentence};
        else
            difference = detail::first_difference(first.results, again.results);
        if (!difference) continue;
        verdict.deterministic = false;
        verdict.tensor = difference->tensor;
        verdict.where = difference->where;
        verdict.sentence = detail::sentence("run ", n + 1, " differs from the first: ", difference->sentence);
        return verdict;
    }
    return verdict;
}

}  // namespace mta::oracle
