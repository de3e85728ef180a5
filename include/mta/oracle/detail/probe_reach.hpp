// Probes of reach: what a query must change and must not, and that every parameter changes something.
// SPDX-License-Identifier: MIT
#pragma once

#include <mta/core/key_query_taps.hpp>
#include <mta/layers/multi_token_attention.hpp>
#include <mta/oracle/detail/probe_run.hpp>
#include <set>

namespace mta::oracle::detail {

// max |a - b| of every row (b, h, i), in memory order.
inline std::vector<double> row_changes(const Tensor<double, 4>& a, const Tensor<double, 4>& b) {
    std::vector<double> changes(static_cast<std::size_t>(row_count(a)));
    for (std::size_t r = 0; r < changes.size(); ++r)
        for (Index d = 0; d < a.dimension(3); ++d)
            changes[r] = std::max(changes[r], apart(nth_row(a, static_cast<Index>(r))[d],
                                                    nth_row(b, static_cast<Index>(r))[d]));
    return changes;
}

inline void require_visible(const ProbeRun& run) {
    if (run.config().norm && run.config().head_dim == 1)
        not_applicable("the norm of one channel hides everything but a sign");
}

// out of the reference, in double.
inline Tensor<double, 4> reference_out(const Problem& p) {
    return multi_token_attention_forward(p.q, p.k, p.v, p.params, p.config.attention, p.config.call()).out();
}

/// A row that should react, and one that should not, as this candidate shows them. A reaction is demanded only where
/// the reference shows one too, since sparsemax, a scale of 0 or a norm may hide any change; it is asked only where
/// the candidate shows none.
class Reactions {
  public:
    explicit Reactions(ProbeRun& run) : run_{run}, base_{run.out(run.lively)}, size_{largest(base_)} {
        for (const double change : row_changes(run.out(run.lively), base_))
            noise_ = std::max(noise_, change);
    }

    /// Runs several changed problems; remembers the largest change of each row.
    void add(const Problem& changed) {
        raise(seen_, row_changes(run_.out(changed), base_));
        asked_.push_back(changed);
    }
    void forget() {
        seen_.clear();
        asked_.clear();
        due_.clear();
    }

    bool reacted(std::size_t r) const { return seen_[r] > std::max(noise_, run_.visible(size_)); }
    /// Some row reacted, or none has to.
    bool some() {
        for (std::size_t r = 0; r < seen_.size(); ++r)
            if (reacted(r)) return true;
        for (std::size_t r = 0; r < seen_.size(); ++r)
            if (must_react(r)) return false;
        return true;
    }

    /// must(b, h, i) says whether the row has to react or has to stay.
    template <class Must>
    void judge(const std::string& what, Must&& must) {
        const Index H = base_.dimension(1), S = base_.dimension(2);
        for (std::size_t r = 0; r < seen_.size(); ++r) {
            const Index n = static_cast<Index>(r), b = n / S / H, h = n / S % H, i = n % S;
            const bool expected = must(b, h, i);
            const bool wrong =
                expected ? !reacted(r) && must_react(r) : seen_[r] > std::max(noise_, run_.unchanged(size_));
            if (wrong)
                fail(sentence(what, ": out at ", std::array{b, h, i}, ": got a change of ",
                              check::detail::brief(seen_[r]), ", expected ", expected ? "one" : "none"));
        }
    }

  private:
    static void raise(std::vector<double>& to, const std::vector<double>& changes) {
        to.resize(changes.size());
        for (std::size_t r = 0; r < changes.size(); ++r)
            to[r] = std::max(to[r], changes[r]);
    }
    // The reference reacts by more than the rounding of any kernel of this type could hide.
    bool must_react(std::size_t r) {
        if (due_.empty()) {
            if (!reference_) reference_ = reference_out(run_.lively);
            for (const auto& changed : asked_)
                raise(due_, row_changes(reference_out(changed), *reference_));
        }
        return due_[r] > run_.tolerance_to_double(largest(*reference_));
    }

    ProbeRun& run_;
    Tensor<double, 4> base_;
    std::optional<Tensor<double, 4>> reference_;
    double size_, noise_ = 0;
    std::vector<Problem> asked_;      // since forget()
    std::vector<double> seen_, due_;  // the largest change of each row: the candidate's, the reference's
};

// Heads whose output depends on q of head `h`: its mixing group before, then the groups after the softmax.
inline std::vector<bool> heads_reached(const MultiTokenAttentionConfig& c, Index h) {
    std::vector<bool> reached(static_cast<std::size_t>(c.heads));
    reached[static_cast<std::size_t>(h)] = true;
    for (const auto* side : {&c.pre, &c.post}) {
        if (!side->has_mix()) continue;
        for (Index first = 0; first < c.heads; first += side->mix_group) {
            const auto begin = reached.begin() + first, end = begin + side->mix_group;
            if (std::find(begin, end, true) != end) std::fill(begin, end, true);
        }
    }
    return reached;
}

inline Index reach_of(const MultiTokenAttentionConfig& c) {
    return std::max<Index>(c.pre.query_kernel, 1) - 1 + std::max<Index>(c.post.query_kernel, 1) - 1;
}

// Replaces q of token i: in every head, or in one.
inline Problem with_other_query(const ProbeRun& run, Index i, std::optional<Index> head,
                                std::uint64_t stream) {
    Problem p = run.lively;
    Random random = run.random(stream);
    const double size = largest(p.q);
    for (Index b = 0; b < run.B(); ++b)
        for (Index h = 0; h < run.config().heads; ++h)
            for (auto& x : row(p.q, b, h, i))
                if (!head || *head == h) x = rounded_to(p.dtype, size * random.uniform(-1, 1));
    return p;
}

// Whether q of token i has to change output row `at` of batch row b.
inline bool query_reaches(const ProbeRun& run, Index b, Index i, Index at) {
    const auto& c = run.config();
    const KeyRange document = run.lively.config.call().documents.around(b, i, run.S());
    if (!document.contains(at) || at < i || at > i + reach_of(c)) return false;
    const bool causal = c.mask != MaskRule::none;
    if (causal ? i > document.begin : document.end > document.begin + 1) return true;
    // This query sees one key, whose weight is 1 whatever it is: only later rows convolved with its score react.
    return causal && c.pre.query_kernel > 1 && at > i;
}

inline void probe_query_reach(ProbeRun& run) {
    require_visible(run);
    if (run.S() < 2) not_applicable("the first query sees one key, whatever it is");
    Reactions reactions(run);
    const Index H = run.config().heads;
    for (const Index i : std::set<Index>{0, 1, run.S() / 2, run.S() - 1}) {
        reactions.forget();
        for (std::uint64_t trial = 0; trial < 3; ++trial)
            reactions.add(with_other_query(run, i, {}, 100 + trial));
        reactions.judge(sentence("q of token ", i, " changed"),
                        [&](Index b, Index, Index at) { return query_reaches(run, b, i, at); });
    }
    for (const Index head : std::set<Index>{0, H - 1}) {
        if (H == 1) break;
        const auto heads = heads_reached(run.config(), head);
        reactions.forget();
        for (std::uint64_t trial = 0; trial < 3; ++trial)
            reactions.add(with_other_query(run, run.S() / 2, head, 200 + trial));
        reactions.judge(
            sentence("q of token ", run.S() / 2, " changed in head ", head), [&](Index b, Index h, Index at) {
                return heads[static_cast<std::size_t>(h)] && query_reaches(run, b, run.S() / 2, at);
            });
    }
}

// Whether tap (a, c) of a kernel ever meets a score that matters.
class TapsInside {
  public:
    TapsInside(const ProbeRun& run, const ScoreMixingConfig& side, bool before_softmax)
        : run_{run}, side_{side}, before_{before_softmax}, rule_{run.config().mask} {}

    bool operator()(Index a, Index c) const {
        const Index up = side_.query_kernel - 1 - a,
                    shift = c - keys_to_the_left(side_.key_kernel, side_.key_padding);
        for (Index b = 0; b < run_.B(); ++b)
            for (Index i = 0; i < run_.S(); ++i)
                if (meets(b, i, i - up, shift)) return true;
        return false;
    }

  private:
    // Whether output row i reads a visible score of row p at some visible key j.
    bool meets(Index b, Index i, Index p, Index shift) const {
        const auto documents = run_.lively.config.call().documents;
        const KeyRange document = documents.around(b, i, run_.S());
        if (p < document.begin) return false;
        const AttentionMask mask{rule_, documents};
        const KeyRange out = mask.keys(b, i, run_.S());
        // One visible key has the weight 1 whatever its score is.
        if (before_ && out.end - out.begin < 2) return false;
        const KeyRange in = before_ && rule_ == MaskRule::exact ? out : mask.keys(b, p, run_.S());
        return std::max(out.begin, in.begin - shift) < std::min(out.end, in.end - shift);
    }

    const ProbeRun& run_;
    const ScoreMixingConfig& side_;
    bool before_;
    MaskRule rule_;
};

/// One element of a parameter: which tensor, which index into it.
struct ParameterElement {
    std::string name;
    Index n = 0;
    std::vector<Index> where;
};

inline std::vector<ParameterElement> live_elements(const ProbeRun& run) {
    std::vector<ParameterElement> all;
    const auto& c = run.config();
    const bool hidden = c.norm && c.head_dim == 1;  // by the norm of one channel
    const bool compares = TapsInside(run, {1, 1, KeyPadding::both, 0}, true)(0, 0);
    MultiTokenAttentionParams<double>::for_each(
        [&](std::string_view name, const auto& t) {
            const bool pre = name.starts_with("pre."), post = name.starts_with("post.");
            if ((pre && !compares) || ((pre || post) && hidden)) return;
            const TapsInside inside(run, pre ? c.pre : c.post, pre);
            for (Index n = 0; n < t.size(); ++n) {
                const auto where = check::detail::unravel(n, t.dimensions());
                if (name.ends_with(".kernel") && !inside(where[1], where[2])) continue;
                all.push_back({std::string(name), n, where});
            }
        },
        run.lively.params);
    return all;
}

inline void probe_parameters(ProbeRun& run) {
    auto elements = live_elements(run);
    if (elements.empty()) not_applicable("no parameter can change the output");
    Random random = run.random(3);
    for (std::size_t n = elements.size() - 1; n > 0; --n)
        std::swap(elements[n], elements[random.below(static_cast<std::uint32_t>(n + 1))]);
    if (elements.size() > static_cast<std::size_t>(run.options.parameter_calls))
        elements.resize(static_cast<std::size_t>(run.options.parameter_calls));
    Reactions reactions(run);
    for (const auto& element : elements) {
        Problem p = run.lively;
        MultiTokenAttentionParams<double>::for_each(
            [&](std::string_view name, auto& t) {
                // Not by a factor alone: a norm hides a positive one, and a bias may be 0.
                if (name == element.name)
                    t.data()[element.n] = rounded_to(p.dtype, -2 * t.data()[element.n] - 0.25);
            },
            p.params);
        reactions.forget();
        reactions.add(p);
        if (!reactions.some())
            fail(sentence(element.name, " changed at ", element.where,
                          ": got the same out, expected a change"));
    }
}

}  // namespace mta::oracle::detail
