// The index map of convolutions over the (query, key) plane: which score each tap of a kernel reads.
// SPDX-License-Identifier: MIT
//
// Source  Multi-Token Attention, arXiv:2504.00927, Sec. 3.1, Eqs. 4 to 6.
// Map     out[i,j] reads (p, q) = (i + u - (Cq-1), j + v - left) through tap (u, v) of a Cq x Ck kernel: past
//         and present queries only, keys on the sides that the padding says. Forward and backward passes walk
//         the same map, so they cannot disagree about it.
// Rules   TapRule::not_after_query drops taps whose key q is after the output's query i (Eq. 4).
//         Packed documents: taps that leave the document of query i are dropped, and so are outputs outside
//         it; each document's square block is convolved as a matrix of its own, with zeros around it.
#pragma once

#include <algorithm>
#include <mta/core/attention_mask.hpp>
#include <mta/core/require.hpp>
#include <mta/core/tensor.hpp>

namespace mta {

/// Where the zeros go, hence which keys out[..,j] reads: around j (paper), up to j, or from j on.
enum class KeyPadding { both, left, right };

/// Which taps count: all of them, or (MaskRule::exact) those whose key q is not after the output's query i.
enum class TapRule { all, not_after_query };

/// `left`: how many keys before j the first tap reads.
inline Index keys_to_the_left(Index Ck, KeyPadding padding) {
    return padding == KeyPadding::both ? (Ck - 1) / 2 : padding == KeyPadding::left ? Ck - 1 : 0;
}

/// A kernel's extents and the rules its taps obey.
struct KeyQueryTaps {
    Index Cq = 1, Ck = 1;
    KeyPadding key_padding = KeyPadding::both;
    TapRule rule = TapRule::all;

    /// Throws ShapeError unless the kernel can work on Sq queries and Sk keys of B rows.
    void check(std::string_view function, const Documents& documents, Index B, Index Sq, Index Sk) const {
        require(Cq >= 1 && Ck >= 1, function, ": kernel extents must be at least 1, got ", Cq, " x ", Ck);
        require(key_padding != KeyPadding::both || Ck % 2 == 1, function,
                ": key padding `both` needs an odd key extent, got ", Ck);
        require(Sq == Sk || (rule == TapRule::all && documents.single()), function, ": got ", Sq,
                " queries and ", Sk,
                " keys, expected equal numbers with packed documents or taps `not_after_query`");
        documents.check(function, B, Sk);
    }

    /// Calls run(u, v, p, begin, end, shift) for the runs of taps (i, j, u, v) -> (p, j + shift), begin <= j
    /// < end, of query i in batch row b among Sk keys; u, then v ascend.
    template <class Run>
    void of_query(const Documents& documents, Index b, Index i, Index Sk, Run&& run) const {
        const Index left = keys_to_the_left(Ck, key_padding);
        const KeyRange keys = documents.around(b, i, Sk);
        const Index last_key = rule == TapRule::all ? keys.end - 1 : std::min(keys.end - 1, i);
        for (Index u = std::max<Index>(0, Cq - 1 - (i - keys.begin)); u < Cq; ++u)  // so that p >= keys.begin
            for (Index v = 0; v < Ck; ++v) {
                const Index shift = v - left;
                const Index begin = std::max(keys.begin, keys.begin - shift);  // so that q >= keys.begin
                const Index end = std::min(keys.end, last_key + 1 - shift);    // so that q <= last_key
                if (begin < end) run(u, v, /*p=*/i + u - (Cq - 1), begin, end, shift);
            }
    }
};

}  // namespace mta
