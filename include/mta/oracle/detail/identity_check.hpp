// What identities between gradients are made of: verdicts, judging one, the sums that several share.
// SPDX-License-Identifier: MIT
#pragma once

#include <mta/check/compare.hpp>
#include <mta/oracle/detail/identity_sums.hpp>

namespace mta::oracle {

/// One head, channel or document for which an identity fails.
struct IdentityFailure {
    std::vector<Index> where;  // what the verdict's axis names
    double left = 0, right = 0;
    double error = 0;  // |left - right| / sum of the magnitudes of all terms
};

struct IdentityVerdict {
    std::string name;       // "qk"
    std::string statement;  // "<dQ,Q> = <dK,K>"
    std::string axis;     // what is counted by `where`: "head", "kv head", "channel", "batch, token, kv head"
    bool judged = false;  // there are terms to compare
    bool holds = true;
    double error = 0;  // the largest
    double tolerance = 0;
    std::vector<IdentityFailure> failures;  // worst first
    std::string sentence;
};

namespace detail {

inline std::string places_of(const std::vector<IdentityFailure>& failures, const std::string& axis) {
    std::string list;
    for (std::size_t n = 0; n < failures.size() && n < 8; ++n) {
        const auto& where = failures[n].where;
        list += (n == 0 ? " " : ", ") + (where.size() == 1 ? sentence(where[0]) : sentence(where));
    }
    return axis + list + (failures.size() > 8 ? ", ..." : "");
}

inline std::string described(const IdentityVerdict& v) {
    using check::detail::brief;
    if (!v.judged) return sentence(v.statement, ": not judged, every term is 0 or overflowed");
    if (v.holds)
        return sentence(v.statement, ": ok (error ", brief(v.error), ", bound ", brief(v.tolerance), ")");
    const auto& worst = v.failures.front();
    return sentence(v.statement, ": FAIL at ", places_of(v.failures, v.axis), ": got ", worst.left, " and ",
                    worst.right, ", expected them equal (error ", brief(worst.error), ", bound ",
                    brief(v.tolerance), ")");
}

/// Compares the two sides key by key; `names` says where a key stands (none: the key itself). Half precision
/// overflows early: there what is not finite is not judged.
inline void judge(IdentityVerdict& v, io::DType dtype, const Sums& left, const Sums& right,
                  const std::vector<std::vector<Index>>& names) {
    const auto rank = [](double error) { return std::isnan(error) ? HUGE_VAL : error; };
    for (std::size_t n = 0; n < left.sum.size(); ++n) {
        const long double size = left.size[n] + right.size[n], lost = left.lost[n] + right.lost[n];
        if (size == 0) continue;  // nothing could have failed
        const long double apart = std::abs(left.sum[n] - right.sum[n]);
        if (dtype == io::DType::F16 && !std::isfinite(apart)) continue;
        v.judged = true;
        const double error = static_cast<double>((apart <= lost ? 0 : apart - lost) / size);
        if (rank(error) > rank(v.error)) v.error = error;
        if (error <= v.tolerance) continue;
        v.failures.push_back({names.empty() ? std::vector<Index>{static_cast<Index>(n)} : names[n],
                              static_cast<double>(left.sum[n]), static_cast<double>(right.sum[n]), error});
    }
    std::stable_sort(v.failures.begin(), v.failures.end(),
                     [&](const auto& a, const auto& b) { return rank(a.error) > rank(b.error); });
    v.holds = v.failures.empty();
    v.sentence = described(v);
}

/// The problem, what the candidate answered, and the verdicts so far.
class IdentityCheck {
  public:
    const Problem& p;
    const Results& r;
    const MultiTokenAttentionConfig& c;
    const Places places;
    const Directions along;
    std::vector<IdentityVerdict> verdicts;

    IdentityCheck(const Problem& problem, const Results& results, double tolerance)
        : p{problem},
          r{results},
          c{p.config.attention},
          places{p},
          along{c.head_dim},
          tolerance_{tolerance} {}

    /// The verdict to be filled; nothing where `why_not` says why, or a gradient is missing or misshaped.
    IdentityVerdict* begin(const char* name, const char* statement, const char* axis,
                           const std::vector<const char*>& needed, std::string why_not = {}) {
        for (const char* tensor : needed) {
            if (!why_not.empty()) break;
            const auto* t = r.find(tensor);
            if (t == nullptr)
                why_not = sentence("there is no ", tensor);
            else if (std::ssize(t->values) != size_of(tensor))
                why_not = sentence(tensor, " has another shape");
        }
        verdicts.push_back({name, statement, axis, false, true, 0, tolerance_, {}, {}});
        if (why_not.empty()) return &verdicts.back();
        verdicts.back().sentence = sentence(statement, ": not judged, ", why_not);
        return nullptr;
    }

    void judge(IdentityVerdict& v, const Sums& left, const Sums& right,
               const std::vector<std::vector<Index>>& names = {}) const {
        detail::judge(v, p.dtype, left, right, names);
    }

    /// <d x, x> by head of a tensor (B, heads, S, D).
    template <class T>
    Sums by_head(const char* gradient, const T& x) const {
        const Index inner = x.dimension(2) * x.dimension(3), heads = x.dimension(1);
        return of(gradient, x, heads, [=](Index n) { return n / inner % heads; });
    }
    /// <d kernel, kernel> by head.
    Sums by_kernel_head(const char* gradient, const Tensor<double, 3>& kernel) const {
        const Index taps = kernel.dimension(1) * kernel.dimension(2);
        return of(gradient, kernel, c.heads, [=](Index n) { return n / taps; });
    }
    /// The sum over output heads of d mix[o,h] mix[o,h], by input head h.
    Sums by_mix_input(const char* gradient, const Tensor<double, 3>& mix) const {
        const Index Ch = mix.dimension(1);
        return of(gradient, mix, c.heads, [=](Index n) { return n / (Ch * Ch) * Ch + n % Ch; });
    }
    /// The sum over input heads of d mix[o,h] mix[o,h], by output head o.
    Sums by_mix_output(const char* gradient, const Tensor<double, 3>& mix) const {
        const Index Ch = mix.dimension(1);
        return of(gradient, mix, c.heads, [=](Index n) { return n / Ch; });
    }
    /// <d x, x> by channel, the last axis.
    template <class T>
    Sums by_channel(const char* gradient, const T& x) const {
        const Index D = c.head_dim;
        return of(gradient, x, D, [=](Index n) { return n % D; });
    }
    Sums to_kv_heads(const Sums& by_query_head) const {
        const Index group = c.heads / c.key_value_heads();
        Sums s(c.key_value_heads());
        s.add(by_query_head, [=](Index h) { return h / group; });
        return s;
    }

  private:
    template <class T, class Key>
    Sums of(const char* gradient, const T& x, Index keys, Key&& key) const {
        return products(r.at(gradient), x, keys, p.dtype, key);
    }

    // Elements that a gradient should have; of what is no gradient, as many as the output.
    Index size_of(std::string_view tensor) const {
        Index size = p.q.size();
        for_each_input(
            [&](std::string_view name, const auto& t) {
                if (tensor == "grad." + std::string(name)) size = t.size();
            },
            p);
        return size;
    }

    double tolerance_;
};

}  // namespace detail
}  // namespace mta::oracle
