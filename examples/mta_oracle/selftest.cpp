// mta-oracle selftest: the oracle's own mutation test.
// SPDX-License-Identifier: MIT
#include <cstdio>
#include <memory>
#include <mta/oracle/selftest.hpp>
#include <string>

#include "commands.hpp"
#include "support.hpp"

#if defined(__unix__)
#include <unistd.h>
#endif

namespace mta::program {

namespace {

struct SelftestArguments {
    std::string rounding = "fp32";
    bool all = false;
};

// A bar on a terminal, nothing in a log.
class ProgressBar {
  public:
    void operator()(std::string_view what, std::size_t done, std::size_t total) {
        if (!terminal()) return;
        constexpr std::size_t width = 32;
        const std::size_t filled = total == 0 ? width : done * width / total;
        const std::string bar = std::string(filled, '#') + std::string(width - filled, '.');
        std::fprintf(stderr, "\r[%s] %4zu/%zu  %-40.*s", bar.c_str(), done, total,
                     static_cast<int>(what.size()), what.data());
        shown_ = true;
    }
    ~ProgressBar() {
        if (shown_) std::fprintf(stderr, "\r%-90s\r", "");
    }

  private:
    static bool terminal() {
#if defined(__unix__)
        return isatty(STDERR_FILENO) != 0;
#else
        return false;
#endif
    }
    bool shown_ = false;
};

oracle::SelftestReport report_of(const SelftestArguments& a) {
    ProgressBar bar;
    oracle::SelftestOptions options;
    options.rounding = oracle::parse_rounding(a.rounding);
    options.diagnose_every = a.all ? 1 : 5;
    options.progress = [&](std::string_view what, std::size_t done, std::size_t total) {
        bar(what, done, total);
    };
    return oracle::selftest(options);
}

int run_selftest(const SelftestArguments& a) {
    const auto r = report_of(a);
    std::printf("right candidates that pass     : %zu\n", r.right);
    std::printf("known bugs that are noticed    : %zu/%zu\n", r.detected, r.deviations);
    std::printf("of a sample, bugs named        : %zu/%zu\n", r.diagnosed, r.looked_at);
    std::printf("of a sample, first wrong tensor: %zu/%zu\n", r.located, r.looked_at);
    std::printf("%s in %.1f s at %s\n", r.passed() ? "passed" : "FAILED", r.seconds, a.rounding.c_str());
    if (r.passed()) return static_cast<int>(oracle::ExitCode::agrees);
    for (std::size_t n = 1; n < r.failures.size(); ++n)
        std::printf("  %s\n", one_line(r.failures[n]).c_str());
    return exit_with(oracle::ExitCode::self_check, r.failures.front());
}

}  // namespace

Command selftest_command(CLI::App& app) {
    auto* c = app.add_subcommand(
        "selftest",
        "the oracle's own mutation test: every known bug must be noticed, everything right must pass");
    const auto a = std::make_shared<SelftestArguments>();
    c->add_option("--rounding", a->rounding, "rounding profile of the candidates")->capture_default_str();
    c->add_flag("--all", a->all, "diagnose every bug, not every fifth");
    return {"selftest", [a] { return run_selftest(*a); }};
}

}  // namespace mta::program
