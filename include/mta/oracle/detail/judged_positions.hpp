// Which elements of a result are judged: everything, but of score stages only the keys that a query may read.
// SPDX-License-Identifier: MIT
//
// Streaming kernels never compute the rest and must not be blamed for it. Logits under MaskRule::exact are judged
// as far as the convolution reads them, j < i + Cq.
#pragma once

#include <mta/oracle/problem.hpp>
#include <mta/oracle/results.hpp>
#include <string>
#include <string_view>

namespace mta::oracle::detail {

/// True for stages of shape (B, H, S, S) and their gradients: all before the context.
inline bool is_score_stage(std::string_view name) {
    if (!name.starts_with("stage.")) return false;
    name.remove_prefix(6);
    if (name.starts_with("d_")) name.remove_prefix(2);
    for (std::size_t n = 0; n < 7; ++n)
        if (name == stage_names[n]) return true;
    return false;
}

/// The judged part of every row (last axis) of the tensors of one problem.
class JudgedPositions {
  public:
    explicit JudgedPositions(const Problem& p)
        : mask_{p.config.attention.mask, p.config.call().documents}, heads_{p.config.attention.heads} {
        const auto& c = p.config.attention;
        if (c.mask == MaskRule::exact && c.pre.has_conv()) lookahead_ = c.pre.query_kernel - 1;
    }

    /// Positions of the last axis in row number r of tensor `t`.
    KeyRange in_row(const NamedTensor& t, Index r) const {
        if (t.shape.size() != 4 || !is_score_stage(t.name)) return {0, t.row_length()};
        const Index S = t.shape[2];
        const bool logits = t.name == "stage.logits" || t.name == "stage.d_logits";
        return mask_.keys(r / (heads_ * S), r % S, t.shape[3], logits ? lookahead_ : 0);
    }

    /// Calls f(n, r, j) for every judged element: its offset, its row, its place in the row.
    template <class F>
    void for_each(const NamedTensor& t, F&& f) const {
        const Index width = t.row_length();
        const Index rows = width == 0 ? 0 : static_cast<Index>(t.values.size()) / width;
        for (Index r = 0; r < rows; ++r) {
            const KeyRange judged = in_row(t, r);
            for (Index j = judged.begin; j < judged.end; ++j)
                f(static_cast<std::size_t>(r * width + j), r, j);
        }
    }

  private:
    AttentionMask mask_;
    Index heads_, lookahead_ = 0;
};

}  // namespace mta::oracle::detail
