// Which keys a query may read: the causal rule and the boundaries of packed documents.
// SPDX-License-Identifier: MIT
//
// Source  Multi-Token Attention, arXiv:2504.00927, Eqs. 4 and 5: two causal rules for the key-query convolution.
// Every operation that must not look at a key asks the same object, so that they cannot disagree.
#pragma once

#include <algorithm>
#include <mta/core/require.hpp>
#include <mta/core/tensor.hpp>
#include <string_view>
#include <utility>
#include <vector>

namespace mta {

/// How causality is kept when scores are convolved before the softmax.
enum class MaskRule {
    twice,  ///< Eq. 5, default: zero the logits of future keys, convolve, then mask with -inf
    exact,  ///< Eq. 4: a tap counts when its key is not in the future of the output's query
    none    ///< not causal: every key of the document is visible (encoders)
};

/// Positions begin, begin + 1, ..., end - 1.
struct KeyRange {
    Index begin = 0;
    Index end = 0;
    bool contains(Index j) const { return begin <= j && j < end; }
    bool operator==(const KeyRange&) const = default;
};

/// Where the documents packed into each batch row start. Default: one document per row.
class Documents {
  public:
    Documents() = default;
    /// The same starts for every batch row; the first is 0, each is larger than the one before.
    explicit Documents(std::vector<Index> starts) : starts_{std::move(starts)} {}
    /// One list of starts per batch row.
    explicit Documents(std::vector<std::vector<Index>> starts_per_row) : starts_(std::move(starts_per_row)) {}

    /// The positions of the document that holds `position` of batch row b, in a sequence of S tokens.
    KeyRange around(Index b, Index position, Index S) const {
        if (starts_.empty()) return {0, S};
        const auto& starts = starts_[starts_.size() == 1 ? 0 : static_cast<std::size_t>(b)];
        const auto next = std::upper_bound(starts.begin(), starts.end(), position);
        return {*(next - 1), next == starts.end() ? S : *next};
    }

    /// Throws unless the lists fit B rows of S tokens: ShapeError for their number, ValueError for a start.
    void check(std::string_view function, Index B, Index S) const {
        const auto lists = static_cast<Index>(starts_.size());
        require(lists <= 1 || lists == B, function, ": document starts: got ", lists,
                " lists, expected 1 or one per batch row, ", B);
        for (const auto& starts : starts_)
            check_list(function, starts, S);
    }

    /// True when no row is split.
    bool single() const {
        return std::all_of(starts_.begin(), starts_.end(), [](const auto& list) { return list.size() == 1; });
    }

  private:
    static void check_list(std::string_view function, const std::vector<Index>& starts, Index S) {
        require<ValueError>(!starts.empty() && starts.front() == 0, function, ": document starts: got ",
                            starts, ", expected a list that begins with 0");
        const bool sorted =
            std::adjacent_find(starts.begin(), starts.end(), std::greater_equal<>()) == starts.end();
        require<ValueError>(sorted, function, ": document starts: got ", starts,
                            ", expected strictly increasing");
        require<ValueError>(starts.back() < std::max<Index>(S, 1), function, ": document starts: got ",
                            starts, ", expected all below the sequence length ", S);
    }

    std::vector<std::vector<Index>> starts_;
};

/// The causal rule together with the documents.
struct AttentionMask {
    MaskRule rule = MaskRule::twice;
    Documents documents;

    /// Keys that query i of batch row b may read among Sk. `lookahead` widens a causal range by that many
    /// keys (MaskRule::exact needs logits of keys j < i + Cq), never beyond the document.
    KeyRange keys(Index b, Index i, Index Sk, Index lookahead = 0) const {
        KeyRange range = documents.around(b, i, Sk);
        if (rule != MaskRule::none && lookahead < range.end - i - 1) range.end = i + 1 + lookahead;
        return range;
    }

    /// Throws unless the mask fits B rows of Sq queries and Sk keys. Causal masks and documents need Sq = Sk.
    void check(std::string_view function, Index B, Index Sq, Index Sk) const {
        const bool square = Sq == Sk;
        require(square || (rule == MaskRule::none && documents.single()), function, ": got ", Sq,
                " queries and ", Sk, " keys, expected equal numbers under a causal mask or packed documents");
        documents.check(function, B, Sk);
    }
};

}  // namespace mta
