// One case of a check: what it is made of, what is expected of it, and what is found beside its values.
// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <functional>
#include <mta/oracle/candidate.hpp>
#include <mta/oracle/case.hpp>
#include <mta/oracle/detail/report_data.hpp>
#include <mta/oracle/exact_cases.hpp>
#include <string>
#include <utility>
#include <vector>

#if defined(_OPENMP)
#include <omp.h>
#endif

namespace mta::oracle {

/// One problem of a check; made when it is its turn, since a suite may not fit into memory at once.
struct CheckCase {
    std::string name;  // what `--case` takes
    std::function<Problem()> problem;
    bool exact =
        false;  // rows that no order of sums can round must be right to the last bit (exact_cases.hpp)
};

/// The cases of a suite as problems of a check.
inline std::vector<CheckCase> check_cases(const std::vector<Case>& cases) {
    std::vector<CheckCase> made;
    for (const auto& c : cases) {
        const bool exact = c.fill == "exact-integers" || c.fill == "zero-scores" || c.fill == "one-hot";
        made.push_back({describe(c), [c] { return make_problem(c); }, exact});
    }
    return made;
}

/// What is assumed of a candidate that was given tensors of this type and said nothing else.
inline RoundingProfile default_rounding(io::DType dtype) {
    return parse_rounding(dtype == io::DType::F64    ? "fp64"
                          : dtype == io::DType::BF16 ? "bf16-flash"
                          : dtype == io::DType::F16  ? "fp16-flash"
                                                     : "fp32");
}

struct CheckOptions {
    RoundingProfile rounding;
    ToleranceOptions tolerance;
    Owed owed = Owed::all;
    std::string suite;      // for the report
    std::string arguments;  // of the command line, for the reproduce line: "--rounding bf16-flash"
    bool diagnose = true, identities = true, power = true;
    bool effects = true;  // a wrong stage is read off the candidate; not for one that answers its cases alone
    bool declared_deterministic = false;
    int repeats = 3;  // runs whose bits are compared, on the first case; below 2: none
    bool stop_at_first_failure = false;
    /// More that is asked about the n-th case that is answered, from 0. A finding's verdict, where it fails, is the second.
    using Question =
        std::function<std::vector<std::pair<Finding, CheckVerdict>>(const Problem&, std::size_t)>;
    Question memory;  // of every candidate that answered: a wrong value may come from there
    Question probe;   // of one that agrees
    /// Called after each case.
    std::function<void(const CaseReport&, std::size_t done, std::size_t total)> progress;
};

namespace detail {

// A problem of a run and what is expected of it.
struct Prepared {
    Problem problem;
    Expected expected;
};

// Model runs keep the exact and a perturbed result, squares, tolerance and reference: five of everything.
inline void require_check_fits(const Problem& p, std::string_view who = "check") {
    const int maps = score_stages(p.config.attention) * (p.d_out ? 2 : 1) * 6 + 4;
    const auto q = p.q.dimensions();
    require_memory(who, {{q.begin(), q.end()}, maps, 64, sizeof(double)});
}

// Whether the io type, in which out and perhaps a stage is handed over, holds the numbers of a row.
inline bool held_by(Precision io, std::span<const double> row) {
    return std::all_of(row.begin(), row.end(), [&](double x) { return round_to(io, x) == x; });
}

// Accepts no error in rows that are exact whatever the order of their sums.
inline void expect_exactly(const Problem& p, const RoundingProfile& profile, Expected& expected) {
    const auto bits = [](Precision a, Precision b) {
        return std::min(significand_bits(a), significand_bits(b));
    };
    const ExactArithmetic arithmetic{bits(profile.accumulate, profile.scores),
                                     bits(profile.weights, profile.multiply),
                                     /*folded_exp2=*/true};
    for (const auto& exact : exact_tensors(p, arithmetic))
        for (auto& t : expected.tolerance.tensors) {
            if (t.name != exact.expected.name) continue;
            const auto width = static_cast<std::size_t>(t.row_length());
            const auto& right = expected.reference.at(t.name).values;
            for (std::size_t r = 0; r < exact.rows.size(); ++r)
                if (exact.rows[r] && held_by(profile.io, std::span(right).subspan(r * width, width)))
                    std::fill_n(t.values.begin() + static_cast<Index>(r * width), width, 0.0);
        }
}

inline Prepared prepare(const CheckCase& c, const CheckOptions& options) {
    Prepared made{c.problem(), {}};
    if (options.owed == Owed::forward) made.problem.d_out.reset();
    require_check_fits(made.problem);
    made.expected = expect(made.problem, options.rounding, options.tolerance);
    if (c.exact) expect_exactly(made.problem, options.rounding, made.expected);
    return made;
}

inline double coarsest_roundoff(const RoundingProfile& p) {
    double coarsest = unit_roundoff(p.accumulate);
    for (const Precision stored : {p.io, p.multiply, p.scores, p.weights, p.lse})
        coarsest = std::max(coarsest, unit_roundoff(stored));
    return coarsest;
}

// Where the sums of an identity cancel, a right kernel of this rounding misses its bound too: not judged then.
inline std::vector<IdentityVerdict> identities_of(const Problem& p, const Results& got, const Results& right,
                                                  const RoundingProfile& rounding) {
    auto verdicts = check_identities(p, got, coarsest_roundoff(rounding));
    if (std::all_of(verdicts.begin(), verdicts.end(), [](const auto& v) { return v.holds; })) return verdicts;
    const auto reachable = check_identities(p, right, coarsest_roundoff(rounding));
    for (std::size_t n = 0; n < verdicts.size(); ++n) {
        if (verdicts[n].holds || verdicts[n].error > 16 * reachable[n].error) continue;
        verdicts[n].holds = true, verdicts[n].judged = false;
        verdicts[n].sentence = verdicts[n].statement + ": not judged, ill-conditioned in this arithmetic";
    }
    return verdicts;
}

// Threads cost more than they save on small problems, above all on a busy machine. In-process candidates alone see this.
class FewThreads {
  public:
    explicit FewThreads(const Problem& p) {
#if defined(_OPENMP)
        before_ = omp_get_max_threads();
        if (p.q.size() * p.sequence() < Index{1} << 22) omp_set_num_threads(1);
#else
        static_cast<void>(p);
#endif
    }
    FewThreads(const FewThreads&) = delete;
    FewThreads& operator=(const FewThreads&) = delete;
    ~FewThreads() {
#if defined(_OPENMP)
        omp_set_num_threads(before_);
#endif
    }

  private:
    [[maybe_unused]] int before_ = 1;
};

inline double seconds_since(std::chrono::steady_clock::time_point start) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

inline CheckVerdict verdict_of(Outcome outcome) {
    return outcome == Outcome::answered       ? CheckVerdict::agrees
           : outcome == Outcome::refused      ? CheckVerdict::unsupported
           : outcome == Outcome::broke_memory ? CheckVerdict::contract
                                              : CheckVerdict::crashed;
}

inline ErrorMap error_map(const Problem& p, const Results& got, const Expected& expected,
                          const TensorVerdict& t) {
    const NamedTensor &mine = got.at(t.name), &want = expected.reference.at(t.name);
    const NamedTensor& tolerance = expected.tolerance.at(t.name);
    ErrorMap map{t.name, p.name, 1, want.row_length(), {}, {}};
    if (want.shape.size() >= 2) map.rows = want.shape[want.shape.size() - 2];
    const auto cells = static_cast<std::size_t>(map.rows * map.columns);
    map.error.assign(cells, 0);
    map.masked.assign(cells, 1);
    JudgedPositions(p).for_each(want, [&](std::size_t n, Index, Index) {
        const double error = error_in_tolerances(mine.values[n], want.values[n], tolerance.values[n]);
        map.masked[n % cells] = 0;
        map.error[n % cells] = std::max(map.error[n % cells], error);
    });
    return map;
}

}  // namespace detail

}  // namespace mta::oracle
