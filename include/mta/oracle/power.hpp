// Power: which known bugs a list of cases would catch at a given rounding.
// SPDX-License-Identifier: MIT
//
// Every bug of deviations.hpp is run, in double, on every case; it is seen where an output or a gradient leaves its
// tolerance, as it would in a candidate that gives no stages.
// Equal   variants that are right (equivalent_variants) must be seen nowhere; selftest.hpp asks that.
#pragma once

#include <chrono>
#include <functional>
#include <mta/core/parallel.hpp>
#include <mta/oracle/case.hpp>
#include <mta/oracle/deviations.hpp>
#include <mta/oracle/judge.hpp>
#include <mta/oracle/tolerance.hpp>
#include <string>
#include <vector>

namespace mta::oracle {

/// What a case makes of a bug.
enum class Sight : unsigned char {
    absent,  ///< its stage is not there, or the case is too small for it
    silent,  ///< it changes nothing here beyond the rounding of double
    unseen,  ///< it changes something, by less than the tolerance
    seen
};

struct PowerRow {
    std::string name, kind, stage;  // of the deviation; kind: forward, backward, parameters
    std::vector<Sight> cases;
    std::size_t count(Sight s) const {
        return static_cast<std::size_t>(std::count(cases.begin(), cases.end(), s));
    }
    bool seen() const { return count(Sight::seen) > 0; }
    /// It changes something on some case.
    bool acts() const { return seen() || count(Sight::unseen) > 0; }
};

struct PowerTable {
    std::string rounding;
    std::vector<std::string> cases;
    std::vector<PowerRow> rows;  // in the order of deviations()
    double seconds = 0;

    std::size_t seen() const {
        return static_cast<std::size_t>(
            std::count_if(rows.begin(), rows.end(), [](const auto& r) { return r.seen(); }));
    }
    std::size_t acting() const {
        return static_cast<std::size_t>(
            std::count_if(rows.begin(), rows.end(), [](const auto& r) { return r.acts(); }));
    }
    /// Bugs that this case sees, and those that act on it.
    std::pair<std::size_t, std::size_t> of_case(std::size_t at) const {
        std::pair<std::size_t, std::size_t> counts{0, 0};
        for (const auto& r : rows) {
            counts.first += r.cases[at] == Sight::seen;
            counts.second += r.cases[at] == Sight::seen || r.cases[at] == Sight::unseen;
        }
        return counts;
    }
};

namespace detail {

// Tries bugs on one problem; the right forward pass is run once and shared.
class SightOf {
  public:
    SightOf(const Problem& problem, const Expected& expected)
        : problem_{problem},
          expected_{expected},
          judged_{problem},
          base_{problem, exact_, Deviation{}, nullptr} {
        base_.forward();
    }

    Sight operator()(const Bug& bug) const {
        if (!bug.applies({problem_.config, problem_.batch(), problem_.sequence()})) return Sight::absent;
        const Deviation d = deviation_of(bug);
        Arithmetic exact = Arithmetic::exact();
        if (bug.kind != BugKind::forward) {
            if (!problem_.d_out) return Sight::absent;
            Model model = base_;
            model.follow(d);
            model.backward();
            return worst(model.results());
        }
        Model model(problem_, exact, d, nullptr);
        model.forward();
        const Sight forward = worst(model.results());
        if (forward == Sight::seen || !problem_.d_out) return forward;
        model.backward();
        return worst(model.results());
    }

  private:
    Sight worst(const Results& wrong) const {
        Sight found = Sight::silent;
        for (const auto& got : wrong.tensors) {
            if (got.name.starts_with("stage.")) continue;
            const NamedTensor& want = expected_.reference.at(got.name);
            if (!worst_element(got, want, expected_.tolerance.at(got.name), judged_).agrees())
                return Sight::seen;
            if (!(largest_error(got, want, judged_) <= 1e-9 * largest_magnitude(want, judged_)))
                found = Sight::unseen;
        }
        return found;
    }

    const Problem& problem_;
    const Expected& expected_;
    JudgedPositions judged_;
    Arithmetic exact_ = Arithmetic::exact();
    Model base_;
};

}  // namespace detail

/// What this problem makes of every deviation, in the order of deviations().
inline std::vector<Sight> sights(const Problem& p, const Expected& expected) {
    const detail::SightOf sight(p, expected);
    std::vector<Sight> found(detail::bugs().size());
    // Kinds of bugs cost differently and stand together: threads take every second one.
    const auto count = static_cast<Index>(found.size()), half = (count + 1) / 2;
    parallel_for(count, [&](Index n) {
        const auto at = static_cast<std::size_t>(n < half ? 2 * n : 2 * (n - half) + 1);
        found[at] = sight(detail::bugs()[at]);
    });
    return found;
}

/// Which deviations each case sees at this rounding. `progress(done, total)` is called after every case.
inline PowerTable power_table(const std::vector<Case>& cases, const RoundingProfile& profile,
                              const std::function<void(std::size_t, std::size_t)>& progress = {}) {
    const auto start = std::chrono::steady_clock::now();
    PowerTable table;
    table.rounding = describe(profile);
    for (const auto& d : deviations())
        table.rows.push_back({d.name, std::string(kind_of(d)), d.stage, {}});
    for (const auto& c : cases) {
        const Problem p = make_problem(c);
        ToleranceOptions options;
        options.stages = options.low_precision = false;
        const auto found = sights(p, expect(p, profile, options));
        for (std::size_t n = 0; n < found.size(); ++n)
            table.rows[n].cases.push_back(found[n]);
        table.cases.push_back(p.name);
        if (progress) progress(table.cases.size(), cases.size());
    }
    table.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return table;
}

/// The table as JSON: schema, rounding, cases, deviations with their sights as a word per case.
inline Json to_json(const PowerTable& table) {
    constexpr std::array<const char*, 4> words{"absent", "silent", "unseen", "seen"};
    Json j{{"schema", 1}, {"rounding", table.rounding}, {"seen", table.seen()}, {"acting", table.acting()}};
    j["cases"] = Json::array();
    for (std::size_t n = 0; n < table.cases.size(); ++n)
        j["cases"].push_back({{"case", table.cases[n]},
                              {"seen", table.of_case(n).first},
                              {"acting", table.of_case(n).second}});
    j["deviations"] = Json::array();
    for (const auto& r : table.rows) {
        Json sights = Json::array();
        for (const Sight s : r.cases)
            sights.push_back(words[static_cast<std::size_t>(s)]);
        j["deviations"].push_back(
            {{"name", r.name}, {"kind", r.kind}, {"stage", r.stage}, {"seen", r.seen()}, {"cases", sights}});
    }
    return j;
}

}  // namespace mta::oracle
