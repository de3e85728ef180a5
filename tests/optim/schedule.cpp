// Learning-rate schedules: values at every corner, and sentences for what cannot work.
// SPDX-License-Identifier: MIT
#include <cmath>
#include <mta/optim/schedule.hpp>
#include <string>

#include "support/checks.hpp"
#include "support/golden.hpp"
#include "support/tensors.hpp"

namespace mta_test_schedule {
using namespace mta;
using namespace mta::test;

namespace {

ScheduleConfig schedule(ScheduleKind kind, double peak, std::int64_t warmup, std::int64_t total,
                        double min_ratio, double decay_fraction = 0.3) {
    return {kind, peak, warmup, total, min_ratio, decay_fraction};
}

// |got - want| within `relative` of want; NaN fails.
void check_near(double got, double want, double relative) {
    CHECK_MESSAGE(std::abs(got - want) <= relative * std::abs(want), "got ", got, ", expected ", want);
}

}  // namespace

TEST_CASE("schedule: hand values") {
    // The paper's language models: 375 updates of warm-up of 400,000, down to 0. Update 200,000 has done
    // 199,625 of the 399,625 of the decay.
    const auto lm = schedule(ScheduleKind::linear, 1.5e-4, 375, 400000, 0);
    CHECK(learning_rate(lm, 0) == 0);
    check_near(learning_rate(lm, 1), 4e-7, 1e-15);
    CHECK(learning_rate(lm, 375) == 1.5e-4);
    check_near(learning_rate(lm, 200000), 1.5e-4 * 200000 / 399625, 1e-14);
    check_near(learning_rate(lm, 200000), 7.507e-5, 1e-4);  // as printed, four digits
    CHECK(learning_rate(lm, 400000) == 0);
    // XATL's cosine, from 3e-4 to 3e-5.
    const auto xatl = schedule(ScheduleKind::cosine, 3e-4, 2000, 143000, 0.1);
    check_near(learning_rate(xatl, 50000), 2.2988e-4, 3e-5);
    check_near(learning_rate(xatl, 75000), 1.5748e-4, 3e-5);
    // Quarter points of a cosine from 1 to 0.2: 1, 0.6 +- 0.4 / sqrt(2), 0.6, 0.2.
    const auto cosine = schedule(ScheduleKind::cosine, 1, 4, 12, 0.2);
    CHECK(schedule_factor(cosine, 4) == 1);
    check_near(schedule_factor(cosine, 6), 0.6 + 0.4 * std::sqrt(0.5), 1e-15);
    check_near(schedule_factor(cosine, 8), 0.6, 1e-15);
    check_near(schedule_factor(cosine, 10), 0.6 - 0.4 * std::sqrt(0.5), 1e-15);
    CHECK(schedule_factor(cosine, 12) == 0.2);
}

TEST_CASE("schedule: the last 30 % linear to 5 %") {
    // 4000 updates: the plateau ends at 2800, half of the way down is 3400: (1 + 0.05) / 2.
    const auto trial = schedule(ScheduleKind::hold_then_linear, 1e-3, 0, 4000, 0.05);
    CHECK(trial.decay_begin() == 2800);
    for (const std::int64_t k : {0, 1, 1000, 2799, 2800})
        CHECK(learning_rate(trial, k) == 1e-3);
    check_near(schedule_factor(trial, 2801), 1 - 0.95 / 1200, 1e-15);
    check_near(schedule_factor(trial, 3400), 0.525, 1e-15);
    check_near(schedule_factor(trial, 3999), 0.05 + 0.95 / 1200, 1e-14);
    for (const std::int64_t k : {4000, 4001, 1000000})
        CHECK(schedule_factor(trial, k) == 0.05);
    // With a warm-up of 100; the decay's length is rounded: 0.3 of 7 is 2.1, of 5 is 1.5.
    const auto warm = schedule(ScheduleKind::hold_then_linear, 2, 100, 4000, 0.05);
    CHECK(learning_rate(warm, 0) == 0);
    CHECK(learning_rate(warm, 25) == 0.5);
    CHECK(learning_rate(warm, 100) == 2);
    CHECK(learning_rate(warm, 2800) == 2);
    CHECK(schedule(ScheduleKind::hold_then_linear, 1, 0, 7, 0).decay_begin() == 5);
    CHECK(schedule(ScheduleKind::hold_then_linear, 1, 0, 5, 0).decay_begin() == 3);
    // Nothing of the plateau: linear. All of it: the end comes at once.
    const auto all = schedule(ScheduleKind::hold_then_linear, 1, 0, 10, 0.5, 1);
    const auto linear = schedule(ScheduleKind::linear, 1, 0, 10, 0.5);
    for (std::int64_t k = 0; k < 12; ++k)
        CHECK(schedule_factor(all, k) == schedule_factor(linear, k));
    const auto none = schedule(ScheduleKind::hold_then_linear, 1, 0, 10, 0.5, 0);
    CHECK(schedule_factor(none, 9) == 1);
    CHECK(schedule_factor(none, 10) == 0.5);
}

TEST_CASE("schedule: independent values") {
    // PyTorch's CosineAnnealingLR and LinearLR step by step: their recursions add up some 100 roundings.
    const Golden golden("optim/schedule");
    for (const std::string name : {"cosine", "cosine_to_zero", "linear", "linear_to_zero"}) {
        CAPTURE(name);
        const auto c = golden.tensor<1>(name + ".config");  // peak, warm-up, total, ratio
        const auto rates = golden.tensor<1>(name + ".rates");
        const auto kind = name.starts_with("cosine") ? ScheduleKind::cosine : ScheduleKind::linear;
        const auto config = schedule(kind, c(0), std::llround(c(1)), std::llround(c(2)), c(3));
        for (Index k = 0; k < rates.size(); ++k)
            CHECK_MESSAGE(std::abs(learning_rate(config, k) - rates(k)) <= 1e-12 * c(0), "update ", k);
    }
}

TEST_CASE("schedule: edges") {
    // Constant: warm-up, total and ratio are ignored, even senseless ones.
    const auto constant = schedule(ScheduleKind::constant, 1e-4, 1000, 0, not_a_number);
    for (const std::int64_t k : {std::int64_t{0}, std::int64_t{999}, std::int64_t{1} << 62})
        CHECK(learning_rate(constant, k) == 1e-4);
    // A run of one update without warm-up has the full rate.
    for (const auto kind : {ScheduleKind::linear, ScheduleKind::cosine, ScheduleKind::hold_then_linear}) {
        const auto one = schedule(kind, 3, 0, 1, 0.25, 1);
        CHECK(learning_rate(one, 0) == 3);
        CHECK(learning_rate(one, 1) == 0.75);
        CHECK(learning_rate(one, std::int64_t{1} << 62) == 0.75);
        CHECK(learning_rate(schedule(kind, 0, 5, 10, 1, 0.5), 7) == 0);
    }
}

TEST_CASE("schedule: properties") {
    for (const auto kind : {ScheduleKind::linear, ScheduleKind::cosine, ScheduleKind::hold_then_linear}) {
        const auto c = schedule(kind, 1, 17, 211, 0.125, 0.4);
        for (std::int64_t k = 0; k < 230; ++k) {
            const double f = schedule_factor(c, k), next = schedule_factor(c, k + 1);
            CHECK(f >= (k < 17 ? 0 : 0.125));
            CHECK(f <= 1);
            CHECK((k < 17 ? next > f : next <= f));
            CHECK(std::abs(next - f) <= 1 / 17. + 1e-15);  // no jump: the steepest slope is the warm-up's
            // A schedule is linear in its peak; by 4 exactly.
            auto four = c;
            four.peak = 4;
            CHECK(learning_rate(four, k) == 4 * f);
        }
        // min_ratio 1: warm-up, then constant.
        const auto flat = schedule(kind, 1, 3, 20, 1, 0.5);
        for (std::int64_t k = 3; k < 25; ++k)
            check_near(schedule_factor(flat, k), 1, 1e-15);
    }
}

TEST_CASE("schedule: errors") {
    const auto says = [](const ScheduleConfig& c, const char* sentence) {
        CHECK_THROWS_WITH_AS(check_config(c), sentence, ValueError);
        CHECK_THROWS_WITH_AS(learning_rate(c, 1), sentence, ValueError);
    };
    const auto linear = ScheduleKind::linear, hold = ScheduleKind::hold_then_linear;
    says(schedule(ScheduleKind::constant, -1, 0, 0, 0),
         "schedule: peak: got -1, expected finite and at least 0");
    says(schedule(linear, not_a_number, 0, 1, 0), "schedule: peak: got nan, expected finite and at least 0");
    says(schedule(linear, infinity, 0, 1, 0), "schedule: peak: got inf, expected finite and at least 0");
    says(schedule(linear, 1, -1, 1, 0), "schedule: warmup: got -1 updates, expected at least 0");
    says(schedule(linear, 1, 0, 0, 0),
         "schedule: total: got 0 updates, expected more than the 0 of the warm-up");
    says(schedule(ScheduleKind::cosine, 1, 10, 10, 0),
         "schedule: total: got 10 updates, expected more than the 10 of the warm-up");
    says(schedule(linear, 1, 0, 10, 1.5), "schedule: min_ratio: got 1.5, expected from 0 to 1");
    says(schedule(linear, 1, 0, 10, not_a_number), "schedule: min_ratio: got nan, expected from 0 to 1");
    says(schedule(hold, 1, 0, 10, 0, -0.5), "schedule: decay_fraction: got -0.5, expected from 0 to 1");
    says(schedule(hold, 1, 0, 10, 0, not_a_number),
         "schedule: decay_fraction: got nan, expected from 0 to 1");
    says(schedule(hold, 1, 4, 10, 0, 0.75),
         "schedule: decay_fraction: got 0.75, expected a decay that begins after the warm-up of 4 of the 10 "
         "updates");
    CHECK_THROWS_WITH_AS(learning_rate(schedule(linear, 1, 0, 10, 0), -1),
                         "schedule: completed_updates: got -1, expected at least 0", ValueError);
}
}  // namespace mta_test_schedule
