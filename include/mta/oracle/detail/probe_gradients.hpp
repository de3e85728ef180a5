// Probes of a candidate's gradients that need no other gradients.
// SPDX-License-Identifier: MIT
#pragma once

#include <mta/oracle/detail/probe_relations.hpp>

namespace mta::oracle::detail {

inline void require_gradients(const ProbeRun& run) {
    if (!run.lively.d_out) not_applicable("the problem has no d_out");
}

/// The candidate's gradients with this d_out; not applicable when it gives none.
inline Results gradients(ProbeRun& run, const Tensor<double, 4>& d_out) {
    Problem p = run.lively;
    p.d_out = d_out;
    auto r = run.results(p);
    std::erase_if(r.tensors, [](const auto& t) { return !t.name.starts_with("grad."); });
    if (r.tensors.empty()) not_applicable("the candidate gives no gradients");
    return r;
}

inline double largest(const NamedTensor& t) {
    double most = 0;
    for (const double x : t.values)
        if (std::isfinite(x)) most = std::max(most, std::abs(x));
    return most;
}

inline void probe_linear_gradients(ProbeRun& run) {
    require_gradients(run);
    auto d_out = *run.lively.d_out;
    const auto once = gradients(run, d_out);
    for (auto& x : elements(d_out))
        x *= -2;
    const auto twice = gradients(run, d_out);
    for (const auto& want : once.tensors) {
        const auto* got = twice.find(want.name);
        if (got == nullptr || got->values.size() != want.values.size())
            fail(sentence(want.name, ": got none, or another shape, with another d_out"));
        for (std::size_t n = 0; n < want.values.size(); ++n)
            if (!(apart(got->values[n], -2 * want.values[n]) <= run.tolerance(2 * largest(want))))
                fail(sentence("d_out times -2: ", want.name, " at ",
                              check::detail::unravel(static_cast<Index>(n), want.shape), ": got ",
                              got->values[n], ", expected ", -2 * want.values[n]));
    }
}

// The gradients of q, k and v where `where(b, i)`, of a d_out that is 0 in all rows that read them.
template <class Where>
void require_no_gradient(ProbeRun& run, const std::string& what, const Tensor<double, 4>& d_out,
                         Where&& where) {
    const auto r = gradients(run, d_out);
    const std::array like{std::pair{"grad.q", &run.lively.q}, std::pair{"grad.k", &run.lively.k},
                          std::pair{"grad.v", &run.lively.v}};
    for (const auto& [name, x] : like) {
        if (r.find(name) == nullptr) continue;
        const auto got = run.tensor(r, name, *x);
        run.same(what + ": " + name, got, zeros_like(got), run.unchanged(largest(got)),
                 [&](Index b, Index, Index i) { return where(b, i); });
    }
}

inline void probe_gradients_of_later_tokens(ProbeRun& run) {
    require_gradients(run);
    require_causal(run);
    for (const Index t : cuts(run.S())) {
        auto d_out = *run.lively.d_out;
        for (Index r = 0; r < row_count(d_out); ++r)
            if (r % run.S() > t)
                for (auto& x : nth_row(d_out, r))
                    x = 0;
        require_no_gradient(run, sentence("d_out is 0 after token ", t), d_out,
                            [=](Index, Index i) { return i > t; });
    }
}

inline void probe_gradients_of_other_rows(ProbeRun& run) {
    require_gradients(run);
    if (run.B() < 2) not_applicable("the batch has one row");
    auto d_out = *run.lively.d_out;
    std::fill_n(d_out.data(), d_out.size() / run.B(), 0.0);
    require_no_gradient(run, "d_out is 0 in batch row 0", d_out, [](Index b, Index) { return b == 0; });
}

}  // namespace mta::oracle::detail
