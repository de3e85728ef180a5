// Reports of a check: one screen of text, JSON, JUnit XML.
// SPDX-License-Identifier: MIT
//
// Schema   "mta.check/1" (docs/oracle/reports.md): members are added under the same number, none changes its meaning.
// Picture  of where a tensor is wrong: report_heat_map.hpp, which needs stb.
#pragma once

#include <mta/oracle/check.hpp>
#include <mta/oracle/detail/report_json.hpp>
#include <string>

namespace mta::oracle {

inline constexpr std::string_view check_schema = "mta.check/1";

/// At most a screen: the case that explains most, the others in a line each, and the verdict in the last line.
inline std::string to_text(const Report& r) {
    using mta::detail::sentence;
    std::string text;
    const CaseReport* shown = r.shown();
    if (shown != nullptr) text += detail::case_text(r, *shown) + detail::other_failures(r, *shown);
    text += detail::plain(r.candidate) + ", rounding " + r.rounding +
            (r.suite.empty() ? "" : ", " + detail::plain(r.suite)) + "\n";
    if (shown == nullptr) text += detail::agreement_text(r) + detail::trust_text(r);
    for (const auto& note : r.notes)
        text += detail::labelled("note", detail::shortened(note, 140));
    std::size_t weak =
        0;  // agree without having been able to fail; cases that lack tensors are another matter
    for (const auto& c : r.cases)
        weak += c.verdict == CheckVerdict::mistrusted && !c.trust.reasons.empty();
    const std::size_t agreeing = r.count(CheckVerdict::agrees) + r.count(CheckVerdict::mistrusted);
    char seconds[32];
    std::snprintf(seconds, sizeof seconds, "%.1f", r.seconds);
    text += sentence(name_of(r.verdict), ": ", agreeing, "/", r.cases.size(), " cases agree, ",
                     weak > 0 ? sentence(weak, " of them could not have failed, ") : "", seconds,
                     " s, exit code ", r.exit_code(), "\n");
    std::string ascii;
    for (const char c : text)
        ascii += c == '\n' || (c >= 0x20 && c < 0x7F) ? c : '?';
    return ascii;
}

inline Json to_json(const Report& r) {
    const auto first = r.first_wrong_stage();
    const CaseReport* shown = r.shown();
    Json j{{"schema", check_schema},
           {"generator", detail::sentence("mta ", MTA_VERSION_STRING)},
           {"candidate", r.candidate},
           {"rounding", r.rounding},
           {"suite", r.suite},
           {"expect", r.owed == Owed::all ? "all" : "forward"},
           {"verdict", name_of(r.verdict)},
           {"exit_code", r.exit_code()},
           {"first_wrong_stage", first ? Json(*first) : Json(nullptr)},
           {"first_wrong", shown == nullptr ? Json(nullptr) : detail::json_of(shown->judgement.first_wrong)},
           {"diagnosed", r.diagnosed},
           {"consistent_with", Json::array()},
           {"next_best", r.next_best ? detail::json_of(*r.next_best) : Json(nullptr)},
           {"effects", Json::array()},
           {"reproduce", shown == nullptr ? Json(nullptr) : Json(shown->reproduce)},
           {"cases", Json::array()},
           {"trust", detail::json_of(r.trust)},
           {"notes", r.notes},
           {"seconds", detail::number_json(r.seconds)}};
    for (const auto& e : r.consistent_with)
        j["consistent_with"].push_back(detail::json_of(e));
    for (const auto& e : r.effects)
        j["effects"].push_back(detail::json_of(e));
    for (const auto& c : r.cases)
        j["cases"].push_back(detail::json_of(c));
    return j;
}

/// The JSON document as text. Bytes that are not UTF-8, which a candidate may have printed, are replaced.
inline std::string to_json_text(const Report& r) {
    return to_json(r).dump(2, ' ', /*ensure_ascii=*/false, Json::error_handler_t::replace) + "\n";
}

/// The verdict and what decided it, in one sentence: for standard error, where nobody reads a screen.
inline std::string to_sentence(const Report& r) {
    std::string why;
    if (const CaseReport* shown = r.shown()) {
        const auto* worst = shown->judgement.worst();
        why = shown->name + ": " +
              (!shown->sentence.empty() || worst == nullptr
                   ? shown->sentence
                   : worst->name + " " + detail::multiple(worst->worst.error) + "x tolerance");
    } else if (r.verdict == CheckVerdict::mistrusted) {
        why = detail::joined(r.trust.reasons);
    } else if (r.verdict == CheckVerdict::unsupported && !r.cases.empty()) {
        why = r.cases.front().name + ": " + r.cases.front().sentence;
    } else {
        why = detail::sentence(r.count(CheckVerdict::agrees), " of ", r.cases.size(), " cases agree");
    }
    return std::string(name_of(r.verdict)) + ": " + why;
}

/// One testcase per case; crashes and broken memory are errors, wrong values failures, refusals skipped.
inline std::string to_junit(const Report& r) {
    const std::size_t failures = r.count(CheckVerdict::mismatch) + r.count(CheckVerdict::nondeterministic);
    const std::size_t errors = r.count(CheckVerdict::crashed) + r.count(CheckVerdict::contract);
    // An agreement that cannot be trusted must not be green.
    const bool mistrusted = r.verdict == CheckVerdict::mistrusted;
    char seconds[32];
    std::snprintf(seconds, sizeof seconds, "%.6f", r.seconds);
    std::string text =
        detail::sentence("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"mta-oracle check ",
                         detail::xml_text(r.suite), "\" tests=\"", r.cases.size() + mistrusted,
                         "\" failures=\"", failures + mistrusted, "\" errors=\"", errors, "\" skipped=\"",
                         r.count(CheckVerdict::unsupported), "\" time=\"", seconds, "\">\n");
    for (const auto& c : r.cases)
        text += detail::xml_case(r, c);
    if (mistrusted)
        text += "  <testcase classname=\"" + detail::xml_text(r.candidate) +
                "\" name=\"trust\">\n    <failure message=\"mistrusted: " +
                detail::xml_text(detail::joined(r.trust.reasons)) + "\"/>\n  </testcase>\n";
    return text + "</testsuite>\n";
}

}  // namespace mta::oracle
