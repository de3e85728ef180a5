// The oracle's test of itself: every known bug must be noticed and named, everything right must pass.
// SPDX-License-Identifier: MIT
//
// 1 The model and the reference, which were written apart, agree in double.
// 2 Right candidates pass check(): the reference, the model with the profile's rounding, the equivalent variants.
// 3 Every deviation, run as a candidate with that rounding and without stages, is a mismatch on some case.
// 4 Of those, the diagnosis names the deviation (every fifth one, or each), and with stages exported the first wrong
//   tensor is the declared one.
#pragma once

#include <mta/oracle/check.hpp>
#include <mta/oracle/diagnosis.hpp>
#include <mta/oracle/suites.hpp>

namespace mta::oracle {

struct SelftestOptions {
    RoundingProfile rounding = parse_rounding("fp32");
    std::size_t diagnose_every = 5;  // deviations; 1: each, 0: none
    /// What is being done, and how far: may be called from the thread that called selftest only.
    std::function<void(std::string_view, std::size_t done, std::size_t total)> progress;
};

struct SelftestReport {
    std::vector<std::string> failures;  // sentences
    std::size_t right = 0;              // candidates that passed
    std::size_t deviations = 0, detected = 0, diagnosed = 0, located = 0, looked_at = 0;
    double seconds = 0;
    bool passed() const { return failures.empty(); }
};

/// The cases of the self-test: small, and together every deviation acts on one of them.
inline std::vector<Case> selftest_cases(io::DType dtype = io::DType::F32) {
    std::vector<Case> cases;
    for (const char* text :
         {"paper-880m/B2_H4_kv2_S9_D4_cq3_ck5_g2 fill=asymmetric seed=3 gate=vector norm=rms_depth",
          "paper-880m/B2_H4_kv2_S10_D4_cq3_ck4_g2 fill=asymmetric seed=7 pre.key_padding=left "
          "post.key_padding=right norm=rms_layer layer_index=3 document_starts=0,4",
          "mta-exact/B1_H3_S9_D4_cq3_ck5_g3 seed=3 document_starts=0,4 norm=none gate=none",
          "mta-sparsemax/B1_H4_S10_D4_cq3_ck4_g2 seed=3 pre.key_padding=right post.key_padding=left",
          "paper-880m/B1_H2_S6_D4_cq2_ck3_g2 fill=large-positive seed=4",
          "paper-880m/B1_H2_S6_D4_cq2_ck3_g2 fill=large-negative seed=4",
          "paper-880m/B1_H2_S6_D4_cq2_ck3_g2 fill=below-mask seed=4 norm=none gate=none",
          "paper-880m/B1_H2_S6_D4_cq2_ck3_g2 fill=tiny-values seed=4",
          "paper-880m/B1_H1_S70_D2_cq2_ck3_g1 fill=asymmetric seed=3 norm=none gate=none"}) {
        cases.push_back(parse_case(text));
        cases.back().dtype = dtype;
    }
    return cases;
}

namespace detail {

/// One run of the self-test.
class Selftest {
  public:
    explicit Selftest(const SelftestOptions& options) : options_{options} {
        cases_ = selftest_cases(dtype_of(options.rounding.io));
        for (const auto& c : cases_)
            problems_.push_back(make_problem(c));
        expected_.resize(problems_.size());
        parallel_for(static_cast<Index>(problems_.size()), [&](Index n) {
            const auto at = static_cast<std::size_t>(n);
            expected_[at] = expect(problems_[at], options.rounding);
        });
    }

    SelftestReport run() {
        const auto start = std::chrono::steady_clock::now();
        compare_model();
        pass_right_ones();
        catch_wrong_ones();
        report_.seconds = seconds_since(start);
        return std::move(report_);
    }

  private:
    void fail(std::string text) { report_.failures.push_back("selftest: " + std::move(text)); }
    void tell(std::string_view what, std::size_t done, std::size_t total) const {
        if (options_.progress) options_.progress(what, done, total);
    }

    // Scores below -1e4 lose digits in double, too.
    void compare_model() {
        for (std::size_t n = 0; n < problems_.size(); ++n) {
            auto exact = Arithmetic::exact();
            const Results model = run_model(problems_[n], exact);
            const double bound = cases_[n].fill == "normal" || cases_[n].fill == "asymmetric" ? 1e-12 : 1e-8;
            for (const auto& want : expected_[n].reference.tensors) {
                const JudgedPositions judged(problems_[n]);
                const double error = largest_error(model.at(want.name), want, judged);
                if (!(error <= bound * largest_magnitude(want, judged)))
                    fail(sentence("the model's ", want.name, " is ", error, " from the reference on ",
                                  problems_[n].name, ", expected at most ", bound, " of its size"));
            }
            tell("the model against the reference", n + 1, problems_.size());
        }
    }

    void pass_right_ones() {
        std::vector<Candidate> candidates{model_candidate({}, options_.rounding, /*stages=*/true)};
        for (const auto& d : equivalent_variants())
            candidates.push_back(model_candidate(d, options_.rounding, /*stages=*/false));
        Candidate reference;
        reference.name = "reference";
        reference.answer = [](const Problem& p) {
            return Answer{Outcome::answered, "", reference_results(p), {}};
        };
        candidates.push_back(std::move(reference));
        CheckOptions check_options;
        check_options.rounding = options_.rounding;
        for (const auto& candidate : candidates) {
            check_options.power = candidate.name == "reference";  // once is enough
            const Report r = check(candidate, check_cases(cases_), check_options);
            if (r.verdict == CheckVerdict::agrees)
                ++report_.right;
            else
                fail(sentence(candidate.name, ": got ", name_of(r.verdict), ", expected agrees"));
            tell("right candidates", report_.right, candidates.size());
        }
    }

    // What the judge says of a deviation on every case that it can act on.
    struct Caught {
        std::vector<Results> got;
        std::vector<bool> wrong;
        bool detected() const { return std::find(wrong.begin(), wrong.end(), true) != wrong.end(); }
    };
    Caught judge_all(const Deviation& d) const {
        Caught caught;
        const Candidate candidate = model_candidate(d, options_.rounding, /*stages=*/false);
        for (std::size_t n = 0; n < problems_.size(); ++n) {
            caught.got.push_back(candidate.answer(problems_[n]).results);
            caught.wrong.push_back(!judge(problems_[n], caught.got[n], expected_[n]).agrees());
        }
        return caught;
    }

    void catch_wrong_ones() {
        const auto& all = deviations();
        report_.deviations = all.size();
        std::vector<Caught> caught(all.size());
        parallel_for(static_cast<Index>(all.size()), [&](Index n) {
            caught[static_cast<std::size_t>(n)] = judge_all(all[static_cast<std::size_t>(n)]);
        });
        for (std::size_t n = 0; n < all.size(); ++n) {
            if (!caught[n].detected()) {
                fail("not noticed on any case: " + all[n].name);
                continue;
            }
            ++report_.detected;
            if (options_.diagnose_every > 0 && n % options_.diagnose_every == 0) name(all[n], caught[n]);
            tell("known bugs", n + 1, all.size());
        }
    }

    void name(const Deviation& d, const Caught& caught) {
        ++report_.looked_at;
        std::vector<Evidence> evidence;
        for (std::size_t n = 0; n < problems_.size(); ++n)
            evidence.push_back({&problems_[n], &caught.got[n], &expected_[n]});
        const Diagnosis diagnosis = diagnose(evidence, options_.rounding);
        const auto& found = diagnosis.consistent_with;
        if (std::any_of(found.begin(), found.end(), [&](const auto& e) { return e.name == d.name; }))
            ++report_.diagnosed;
        else
            fail(sentence("the diagnosis of '", d.name, "' says ",
                          found.empty() ? diagnosis.sentence : "'" + found.front().name + "'"));
        locate(d, caught);
    }

    // On the first case where it is declared to be visible, the judge must name the declared tensor first.
    void locate(const Deviation& d, const Caught& caught) {
        const Candidate candidate = model_candidate(d, options_.rounding, /*stages=*/true);
        std::string got = "nothing";
        for (std::size_t n = 0; n < problems_.size(); ++n) {
            if (!caught.wrong[n]) continue;
            const auto& p = problems_[n];
            const Results all = candidate.answer(p).results;
            const auto local = expect_locally(p, options_.rounding, all, expected_[n]);
            const auto first = judge(p, all, expected_[n], local ? &*local : nullptr).first_wrong;
            const std::string wanted = first_wrong_tensor(d, p.config.attention);
            if (first && same_step(first->tensor, wanted, p.config.attention)) return void(++report_.located);
            if (first) got = first->tensor;
        }
        fail(sentence("the first wrong tensor of '", d.name, "' is ", got, ", expected ", d.stage));
    }
    // The output is the last stage under another name, and gradients of one step may be wrong together.
    static bool same_step(std::string_view a, std::string_view b, const MultiTokenAttentionConfig& c) {
        const Steps steps(c);
        return a == b || steps.of(a) == steps.of(b);
    }

    const SelftestOptions& options_;
    std::vector<Case> cases_;
    std::vector<Problem> problems_;
    std::vector<Expected> expected_;
    SelftestReport report_;
};

}  // namespace detail

/// Runs the whole self-test.
inline SelftestReport selftest(const SelftestOptions& options = {}) {
    return detail::Selftest(options).run();
}

}  // namespace mta::oracle
