// Which rows each thread owns: contiguous ranges of about equal work, a function of shapes and thread count alone.
// SPDX-License-Identifier: MIT
#pragma once

#include <mta/core/attention_mask.hpp>
#include <mta/fast/detail/score_stages.hpp>

namespace mta::fast {

/// Rows of all documents of one batch row, split over `parts` threads.
struct WorkSplit {
    const Documents& documents;
    Index b, S;
    bool causal;
    Index lookahead;
    Index parts;

    DocumentRows document_at(Index position) const {
        const KeyRange range = documents.around(b, position, S);
        return {range.begin, range.end - range.begin, causal, lookahead};
    }

    /// First row of part t; part t ends where part t + 1 begins.
    Index begin(Index t) const {
        if (t <= 0 || t >= parts) return t <= 0 ? 0 : S;
        double total = 0, before = 0;
        for_each_row([&](Index, double work) {
            total += work;
            return true;
        });
        Index first = S;
        for_each_row([&](Index i, double work) {
            first = i;
            before += work;
            return before * static_cast<double>(parts) < total * static_cast<double>(t);
        });
        return first;
    }

    /// Calls f(document, rows of it) for the documents that rows [begin, end) of the sequence touch.
    template <class F>
    void for_each_piece(RowRange rows, F&& f) const {
        for (Index i = rows.begin; i < rows.end;) {
            const DocumentRows document = document_at(i);
            const Index end = std::min(rows.end, document.begin + document.length);
            f(document, RowRange{i - document.begin, end - document.begin});
            i = end;
        }
    }

    /// Keys of the sequence that the rows of part t add gradients to.
    RowRange keys_of(Index t) const {
        const RowRange rows{begin(t), begin(t + 1)};
        if (rows.size() == 0) return {0, 0};
        const DocumentRows last = document_at(rows.end - 1);
        return {document_at(rows.begin).begin, last.begin + last.logit_keys(rows.end - 1 - last.begin)};
    }

  private:
    // Calls f(row, its work) until f says stop. 16: what a row costs whatever its keys.
    template <class F>
    void for_each_row(F&& f) const {
        for (Index i = 0; i < S;) {
            const DocumentRows document = document_at(i);
            for (Index n = 0; n < document.length; ++n, ++i)
                if (!f(i, static_cast<double>(document.keys(n) + 16))) return;
        }
    }
};

/// Whether all batch rows have their documents at the same places.
inline bool same_documents(const Documents& documents, Index B, Index S) {
    for (Index b = 1; b < B; ++b)
        for (Index i = 0; i < S;) {
            const KeyRange first = documents.around(0, i, S);
            if (!(documents.around(b, i, S) == first)) return false;
            i = first.end;
        }
    return true;
}

}  // namespace mta::fast
