// The oracle's test of itself passes, and fails when something right is called wrong or a bug is missed.
// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <mta/oracle/power.hpp>
#include <mta/oracle/selftest.hpp>

namespace mta_test_selftest {
using namespace mta;
using namespace mta::oracle;

TEST_CASE("hand values: the self-test passes") {
    std::vector<std::string> told;
    SelftestOptions options;
    options.progress = [&](std::string_view what, std::size_t done, std::size_t total) {
        CHECK(done <= total);
        if (told.empty() || told.back() != what) told.emplace_back(what);
    };
    const SelftestReport r = selftest(options);
    for (const auto& failure : r.failures)
        MESSAGE(failure);
    CHECK(r.passed());
    CHECK(r.deviations == deviations().size());
    CHECK(r.detected == r.deviations);
    CHECK(r.looked_at >= r.deviations / 5);
    CHECK(r.diagnosed == r.looked_at);
    CHECK(r.located == r.looked_at);
    CHECK(r.right == 2 + equivalent_variants().size());
    CHECK(told ==
          std::vector<std::string>{"the model against the reference", "right candidates", "known bugs"});
}

TEST_CASE("properties: together the cases of the self-test show every deviation, in bf16 too") {
    const auto cases = selftest_cases(io::DType::BF16);
    for (const auto& c : cases)
        CHECK(c.dtype == io::DType::BF16);
    const PowerTable table = power_table(cases, parse_rounding("bf16-flash"));
    for (const auto& r : table.rows) {
        CAPTURE(r.name);
        CHECK(r.seen());
    }
}

TEST_CASE("properties: a profile that rounds coarsely lets bugs pass, and the self-test says which") {
    SelftestOptions options;
    options.rounding = {Precision::bf16, Precision::bf16, Precision::bf16, Precision::bf16,
                        Precision::bf16, Precision::bf16, Precision::bf16};
    options.diagnose_every = 0;
    const SelftestReport r = selftest(options);
    CHECK_FALSE(r.passed());
    CHECK(r.detected < r.deviations);
    CHECK(r.failures.front().starts_with("selftest: "));
}
}  // namespace mta_test_selftest
