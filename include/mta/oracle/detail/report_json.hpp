// A report as JSON (schema mta.check/1) and as JUnit XML.
// SPDX-License-Identifier: MIT
//
// Numbers that are not finite are written as the texts "nan", "inf", "-inf", since JSON has none.
#pragma once

#include <cmath>
#include <mta/oracle/detail/report_text.hpp>
#include <string>
#include <string_view>

namespace mta::oracle::detail {

inline Json number_json(double x) {
    if (std::isfinite(x)) return x;
    return std::isnan(x) ? "nan" : x > 0 ? "inf" : "-inf";
}

inline Json json_of(const WorstElement& w) {
    return {{"error", number_json(w.error)},
            {"where", w.where},
            {"got", number_json(w.got)},
            {"expected", number_json(w.expected)},
            {"tolerance", number_json(w.tolerance)},
            {"compared", w.compared},
            {"beyond", w.beyond},
            {"not_finite", w.not_finite}};
}

inline Json json_of(const TensorVerdict& t) {
    Json j{{"name", t.name}, {"agrees", t.agrees()}};
    j.update(json_of(t.worst));
    j["bad_percent"] = t.worst.bad_percent();
    j["local"] = t.local ? json_of(*t.local) : Json(nullptr);
    j["low_precision_ratio"] = t.low_precision_ratio ? number_json(*t.low_precision_ratio) : Json(nullptr);
    j["pattern"] = t.pattern;
    j["sentence"] = t.sentence;
    return j;
}

inline Json json_of(const std::optional<FirstWrong>& first) {
    if (!first) return nullptr;
    return {{"stage", first->stage},       {"direction", first->backward ? "backward" : "forward"},
            {"tensor", first->tensor},     {"not_exported_before", first->earlier},
            {"upstream", first->upstream}, {"upstream_error", number_json(first->upstream_error)}};
}

inline Json json_of(const Explanation& e) {
    return {{"name", e.name},       {"sentence", e.sentence},
            {"tensors", e.tensors}, {"of_tensors", e.of_tensors},
            {"cases", e.cases},     {"of_cases", e.of_cases}};
}

inline Json json_of(const Effect& e) {
    Json j{{"reading", e.reading}, {"relation", e.relation}, {"place", e.place}, {"text", e.text()}};
    for (const auto& [key, numbers] : {std::pair{"found", &e.found}, {"expected", &e.expected}}) {
        j[key] = Json::array();
        for (const double x : *numbers)
            j[key].push_back(number_json(x));
    }
    return j;
}

inline Json json_of(const CaseReport& c) {
    Json j{{"name", c.name},
           {"verdict", name_of(c.verdict)},
           {"sentence", c.sentence},
           {"first_wrong", json_of(c.judgement.first_wrong)},
           {"tensors", Json::array()},
           {"missing", c.trust.missing},
           {"extra", c.judgement.extra},
           {"identities", Json::array()},
           {"findings", Json::array()},
           {"trust", {{"counts", c.trust.counts()}, {"reasons", c.trust.reasons}}},
           {"notes", c.notes},
           {"reproduce", c.reproduce},
           {"seconds", number_json(c.seconds)}};
    for (const auto& t : c.judgement.tensors)
        j["tensors"].push_back(json_of(t));
    for (const auto& i : c.identities)
        j["identities"].push_back({{"name", i.name},
                                   {"statement", i.statement},
                                   {"judged", i.judged},
                                   {"holds", i.holds},
                                   {"error", number_json(i.error)},
                                   {"bound", number_json(i.tolerance)}});
    for (const auto& f : c.findings)
        j["findings"].push_back({{"name", f.name}, {"passed", f.passed}, {"sentence", f.sentence}});
    return j;
}

inline Json json_of(const RunTrust& trust) {
    // Nobody asks whether a mismatch can be trusted.
    const bool measured = trust.cases > 0 || !trust.reasons.empty();
    Json j{{"trusted", measured ? Json(trust.trusted()) : Json(nullptr)},
           {"reasons", trust.reasons},
           {"cases", trust.cases},
           {"counting_cases", trust.counting_cases},
           {"detects", nullptr},
           {"known", nullptr},
           {"unseen", Json::array()}};
    if (!trust.power) return j;
    j["detects"] = trust.power->seen.size();
    j["known"] = trust.power->applicable();
    j["unseen"] = trust.power->unseen;
    return j;
}

// Text for an XML attribute or element: what XML 1.0 cannot hold becomes a question mark.
inline std::string xml_text(std::string_view text) {
    std::string escaped;
    for (const char c : text) {
        if (c == '&')
            escaped += "&amp;";
        else if (c == '<')
            escaped += "&lt;";
        else if (c == '>')
            escaped += "&gt;";
        else if (c == '"')
            escaped += "&quot;";
        else if (c == '\'')
            escaped += "&apos;";
        else if (c == '\n')
            escaped += "&#10;";
        else
            escaped += c >= 0x20 && c < 0x7F ? c : '?';
    }
    return escaped;
}

// What a test runner shows of a case.
inline std::string xml_case(const Report& r, const CaseReport& c) {
    char seconds[32];
    std::snprintf(seconds, sizeof seconds, "%.6f", c.seconds);
    std::string text = "  <testcase classname=\"" + xml_text(r.candidate) + "\" name=\"" + xml_text(c.name) +
                       "\" time=\"" + seconds + "\"";
    const bool refused = c.verdict == CheckVerdict::unsupported;
    if (!c.failed() && !refused) return text + "/>\n";
    const bool wrong = c.verdict == CheckVerdict::mismatch || c.verdict == CheckVerdict::nondeterministic;
    const std::string element = refused ? "skipped" : wrong ? "failure" : "error";
    std::string message = std::string(name_of(c.verdict));
    if (const auto* worst = c.judgement.worst(); c.verdict == CheckVerdict::mismatch && worst != nullptr)
        message += ": " + worst->name + " " + multiple(worst->worst.error) + "x tolerance";
    if (!c.sentence.empty()) message += ": " + c.sentence;
    text += ">\n    <" + element + " message=\"" + xml_text(message) + "\"";
    if (refused) return text + "/>\n  </testcase>\n";
    return text + ">" + xml_text(case_text(r, c)) + "</" + element + ">\n  </testcase>\n";
}

}  // namespace mta::oracle::detail
