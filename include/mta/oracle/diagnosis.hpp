// Diagnosis by hypothesis: which known bug explains everything that a candidate gave.
// SPDX-License-Identifier: MIT
//
// Rule      a bug is consistent when the model that runs with it gives every tensor of every case, right ones
//           included, within tolerance. The tolerance is the reference's; where the prediction comes near without
//           meeting it, that of the wrong operator itself (a wrong scale makes other rounding errors).
// Groups    bugs that these cases cannot tell apart are all consistent; the closest prediction stands first.
// Pairs     when no single bug fits: a wrong forward pass with a wrong gradient, two wrong gradients, or the same
//           bug on both sides of the softmax.
// Limits    docs/oracle/diagnosis.md: only bugs of deviations.hpp are known.
#pragma once

#include <mta/core/parallel.hpp>
#include <mta/oracle/detail/hypothesis.hpp>
#include <mta/oracle/detail/report_data.hpp>
#include <span>

namespace mta::oracle {

/// A case of which a candidate's results are to be explained. Everything must outlive the diagnosis.
struct Evidence {
    const Problem* problem = nullptr;
    const Results* got = nullptr;
    const Expected* expected = nullptr;  // of the problem, at the rounding of the candidate
};

struct DiagnosisOptions {
    int runs = 3;             // perturbed runs of a wrong operator, where its own tolerance decides
    bool pairs = true;        // two bugs at once when none alone fits
    std::size_t partial = 4;  // how many of the best partial explanations are looked at closely
};

struct Diagnosis {
    std::vector<Explanation> consistent_with;  // best first
    std::optional<Explanation> next_best;      // of those that explain a part
    std::string sentence;
};

namespace detail {

// A hypothesis and how it met the cases so far.
struct Tried {
    Hypothesis hypothesis;
    std::vector<std::vector<Fit>> fits;  // of the cases that were looked at, in their order
    bool refuted = false;
    std::size_t wrong_explained = 0, explained = 0;
    double misfit = 0;
};

/// Works through one set of cases.
class Diagnostician {
  public:
    Diagnostician(std::span<const Evidence> evidence, const RoundingProfile& profile,
                  const DiagnosisOptions& options)
        : profile_{profile}, options_{options}, cases_(evidence.size()) {
        parallel_for(static_cast<Index>(evidence.size()), [&](Index n) {
            const Evidence& e = evidence[static_cast<std::size_t>(n)];
            cases_[static_cast<std::size_t>(n)] =
                std::make_unique<CaseEvidence>(*e.problem, *e.got, *e.expected);
        });
        std::stable_sort(cases_.begin(), cases_.end(), [](const auto& a, const auto& b) {
            return a->wrong() != b->wrong() ? a->wrong() : a->cost() < b->cost();
        });
    }

    Diagnosis run() {
        Diagnosis d;
        if (cases_.empty() || !cases_.front()->wrong()) {
            d.sentence = "nothing is wrong, so nothing is to be explained";
            return d;
        }
        std::vector<Hypothesis> singles;
        for (const auto& bug : bugs())
            singles.push_back(hypothesis_of(bug));
        std::vector<Tried> tried = try_all(std::move(singles));
        d.consistent_with = consistent(tried);
        if (d.consistent_with.empty()) survey(tried);
        d.next_best = next_best(tried);
        if (d.consistent_with.empty() && options_.pairs) d.consistent_with = consistent_pairs(tried);
        d.sentence = sentence_of(d);
        return d;
    }

  private:
    // Case by case until one refutes it; with `all`, every case to the end.
    void look(Tried& t, bool all) const {
        t.fits.clear();
        t.refuted = false, t.wrong_explained = t.explained = 0;
        for (const auto& c : cases_) {
            auto fits = c->fit(t.hypothesis, all);
            const auto has = [&](Fit f) { return std::find(fits.begin(), fits.end(), f) != fits.end(); };
            if (has(Fit::near) && (all || !has(Fit::refuted)))
                c->decide(t.hypothesis, profile_, options_.runs, fits);
            for (std::size_t n = 0; n < fits.size(); ++n) {
                t.explained += fits[n] == Fit::explained;
                t.wrong_explained += fits[n] == Fit::explained && c->is_wrong(n);
            }
            t.refuted = t.refuted || has(Fit::refuted);
            t.fits.push_back(std::move(fits));
            if (t.refuted && !all) return;
        }
        if (!t.refuted)
            for (const auto& c : cases_)
                t.misfit += c->misfit(t.hypothesis);
    }

    std::vector<Tried> try_all(std::vector<Hypothesis> hypotheses) const {
        std::vector<Tried> tried(hypotheses.size());
        // Wrong forward passes stand first and cost more: every thread gets some of all kinds.
        std::vector<std::size_t> order;
        for (const std::size_t odd : {0U, 1U})
            for (std::size_t n = odd; n < hypotheses.size(); n += 2)
                order.push_back(n);
        parallel_for(static_cast<Index>(order.size()), [&](Index n) {
            const std::size_t at = order[static_cast<std::size_t>(n)];
            tried[at].hypothesis = std::move(hypotheses[at]);
            look(tried[at], /*all=*/false);
        });
        return tried;
    }

    // When nothing fits: how much of the first cases each explains, without a look at its own tolerance.
    void survey(std::vector<Tried>& tried) const {
        const std::size_t most = std::min<std::size_t>(3, cases_.size());
        parallel_for(static_cast<Index>(tried.size()), [&](Index i) {
            Tried& t = tried[static_cast<std::size_t>(i)];
            t.wrong_explained = t.explained = 0;
            for (std::size_t c = 0; c < most; ++c) {
                const auto fits = cases_[c]->fit(t.hypothesis, /*all=*/true);
                for (std::size_t n = 0; n < fits.size(); ++n) {
                    t.explained += fits[n] != Fit::refuted;
                    t.wrong_explained += fits[n] != Fit::refuted && cases_[c]->is_wrong(n);
                }
            }
        });
    }

    std::vector<Explanation> consistent(const std::vector<Tried>& tried) const {
        std::vector<const Tried*> fitting;
        for (const auto& t : tried)
            if (!t.refuted) fitting.push_back(&t);
        // Equal up to rounding of the model counts as equal: the order of the catalogue stays.
        std::stable_sort(fitting.begin(), fitting.end(),
                         [](const auto* a, const auto* b) { return a->misfit < 0.99 * b->misfit - 1e-12; });
        std::vector<Explanation> explanations;
        for (const auto* t : fitting)
            explanations.push_back(explanation(*t));
        return explanations;
    }

    // The best of those that explain something that is wrong, looked at to the end.
    std::optional<Explanation> next_best(const std::vector<Tried>& tried) const {
        std::vector<Tried> best = best_partial(tried, options_.partial);
        parallel_for(static_cast<Index>(best.size()),
                     [&](Index n) { look(best[static_cast<std::size_t>(n)], /*all=*/true); });
        const auto found = std::max_element(best.begin(), best.end(), less_explained);
        if (found == best.end() || found->wrong_explained == 0) return std::nullopt;
        return explanation(*found);
    }
    static bool less_explained(const Tried& a, const Tried& b) {
        return a.wrong_explained != b.wrong_explained ? a.wrong_explained < b.wrong_explained
                                                      : a.explained < b.explained;
    }
    std::vector<Tried> best_partial(const std::vector<Tried>& tried, std::size_t most) const {
        std::vector<Tried> best;
        for (const auto& t : tried)
            if (t.refuted && t.wrong_explained > 0) best.push_back(t);
        std::stable_sort(best.begin(), best.end(),
                         [](const Tried& a, const Tried& b) { return less_explained(b, a); });
        best.resize(std::min(best.size(), most));
        return best;
    }

    // The bug of the same name on the other side of the softmax, or nullptr.
    static const Bug* twin_after_softmax(const Bug& bug) {
        const auto at = bug.name.find("pre");
        if (at == std::string::npos) return nullptr;
        const std::string twin = bug.name.substr(0, at) + "post" + bug.name.substr(at + 3);
        const auto found =
            std::find_if(bugs().begin(), bugs().end(), [&](const Bug& b) { return b.name == twin; });
        return found == bugs().end() ? nullptr : &*found;
    }

    // Two bugs: one that explains a part, with every bug of gradients beside it; or the same one twice.
    std::vector<Explanation> consistent_pairs(const std::vector<Tried>& tried) const {
        std::vector<Hypothesis> pairs;
        for (const auto& first : best_partial(tried, options_.partial))
            for (const auto& second : bugs())
                if (second.kind != BugKind::forward && second.name != first.hypothesis.name)
                    pairs.push_back(both(bug_named(first.hypothesis.name), second));
        // One routine often serves both sides of the softmax, and so does its bug.
        for (const auto& bug : bugs())
            if (const Bug* twin = twin_after_softmax(bug)) pairs.push_back(both(bug, *twin));
        return consistent(try_all(std::move(pairs)));
    }

    Explanation explanation(const Tried& t) const {
        Explanation e{t.hypothesis.name, t.hypothesis.sentence, 0, 0, 0, cases_.size()};
        std::vector<std::pair<std::string, bool>> names;  // and whether every case is explained
        for (std::size_t c = 0; c < cases_.size(); ++c) {
            bool whole = true;
            for (std::size_t n = 0; n < cases_[c]->given().size(); ++n) {
                const std::string& name = cases_[c]->given()[n]->name;
                const bool fits = t.fits[c][n] == Fit::explained;
                whole = whole && fits;
                const auto known =
                    std::find_if(names.begin(), names.end(), [&](const auto& x) { return x.first == name; });
                if (known == names.end())
                    names.emplace_back(name, fits);
                else
                    known->second = known->second && fits;
            }
            e.cases += whole;
        }
        e.of_tensors = names.size();
        for (const auto& [name, fits] : names)
            e.tensors += fits;
        return e;
    }

    std::string sentence_of(const Diagnosis& d) const {
        if (d.consistent_with.size() == 1) return "one known bug explains everything";
        if (!d.consistent_with.empty())
            return sentence(d.consistent_with.size(),
                            " known bugs explain everything and cannot be told apart here");
        return sentence("nothing known fits: ", bugs().size(), " bugs were tried",
                        d.next_best ? ", the best explains a part" : "");
    }

    const RoundingProfile& profile_;
    const DiagnosisOptions& options_;
    std::vector<std::unique_ptr<CaseEvidence>> cases_;
};

}  // namespace detail

/// Which known bugs explain the evidence. Give cases that agree, too: they rule bugs out.
inline Diagnosis diagnose(std::span<const Evidence> evidence, const RoundingProfile& profile,
                          const DiagnosisOptions& options = {}) {
    return detail::Diagnostician(evidence, profile, options).run();
}

/// The same, with expectations computed here.
inline Diagnosis diagnose(std::span<const Problem> problems, std::span<const Results> answers,
                          const RoundingProfile& profile, const DiagnosisOptions& options = {}) {
    require<ArgumentError>(problems.size() == answers.size(), "diagnose: answers: got ", answers.size(),
                           ", expected one for each of the ", problems.size(), " problems");
    std::vector<Expected> expected(problems.size());
    parallel_for(static_cast<Index>(problems.size()), [&](Index n) {
        const auto at = static_cast<std::size_t>(n);
        expected[at] = expect(problems[at], profile);
    });
    std::vector<Evidence> evidence;
    for (std::size_t n = 0; n < problems.size(); ++n)
        evidence.push_back({&problems[n], &answers[n], &expected[n]});
    return diagnose(evidence, profile, options);
}

}  // namespace mta::oracle
