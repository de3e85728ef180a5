// A report as one screen of text: plain ASCII, aligned, the case that explains most first.
// SPDX-License-Identifier: MIT
#pragma once

#include <cstdio>
#include <mta/oracle/detail/report_data.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace mta::oracle::detail {

/// One line of printable ASCII: names and sentences come from files and candidates.
inline std::string plain(std::string_view text) {
    std::string line;
    for (const char c : text)
        line += c >= 0x20 && c < 0x7F ? c : '?';
    return line;
}

inline std::string shortened(std::string text, std::size_t most) {
    return text.size() <= most ? text : text.substr(0, most - 3) + "...";
}

/// A multiple of a tolerance: 0.31, 12, 8.1e+03, inf.
inline std::string multiple(double x) {
    char text[32];
    std::snprintf(text, sizeof text, "%.2g", x);
    return text;
}

inline std::string value_text(double x) {
    char text[32];
    std::snprintf(text, sizeof text, "%.5g", x);
    return text;
}

inline std::string index_text(const std::vector<Index>& index) {
    std::string text;
    for (const Index i : index)
        text += sentence(text.empty() ? "" : ",", i);
    return text.empty() ? "-" : "(" + text + ")";
}

/// Lines of aligned columns, two spaces apart; the last column is not padded.
class Columns {
  public:
    void row(std::vector<std::string> cells) {
        if (widths_.size() < cells.size()) widths_.resize(cells.size());
        for (std::size_t n = 0; n < cells.size(); ++n)
            widths_[n] = std::max(widths_[n], cells[n].size());
        rows_.push_back(std::move(cells));
    }
    std::string text(const std::string& indent) const {
        std::string all;
        for (const auto& cells : rows_) {
            std::string line = indent;
            for (std::size_t n = 0; n < cells.size(); ++n) {
                line += cells[n];
                if (n + 1 < cells.size()) line.append(widths_[n] - cells[n].size() + 2, ' ');
            }
            while (line.ends_with(' '))
                line.pop_back();
            all += line + "\n";
        }
        return all;
    }

  private:
    std::vector<std::vector<std::string>> rows_;
    std::vector<std::size_t> widths_;
};

inline std::string labelled(const std::string& label, const std::string& text) {
    return "  " + label + std::string(label.size() < 18 ? 18 - label.size() : 0, ' ') + ": " + text + "\n";
}

inline std::string first_wrong_text(const FirstWrong& first, const Judgement& judgement) {
    const TensorVerdict* tensor = judgement.find(first.tensor);
    const bool local = tensor != nullptr && tensor->local && tensor->locally_wrong();
    std::string text = first.stage + (first.backward ? ", backward" : "") + (local ? " (local)" : "");
    if (!first.earlier.empty()) text += ", or before it: " + joined(first.earlier) + " not exported";
    if (first.upstream.empty()) return text;
    std::string name = first.upstream;
    if (name.starts_with("stage.")) name = name.substr(6);
    return text + "      upstream " + name + " ok, " + multiple(first.upstream_error) + "x tolerance";
}

// "where (b,h,i,j)", after the first wrong tensor.
inline std::string where_heading(const Judgement& judgement) {
    for (const auto& t : judgement.tensors)
        if (!t.agrees()) return "where (" + axis_letters(t.name, t.worst.where.size()) + ")";
    return "where";
}

inline std::string tensor_table(const Judgement& judgement) {
    constexpr std::size_t most = 8;
    Columns table;
    table.row({"tensor", "worst err/tol", where_heading(judgement), "got", "expected", "bad%", "pattern"});
    std::size_t wrong = 0, right = 0;
    double worst_right = 0;
    for (const auto& t : judgement.tensors) {
        if (t.agrees()) {
            ++right, worst_right = std::max(worst_right, t.worst.error);
            continue;
        }
        if (++wrong > most) continue;
        const bool inherited = t.local && t.local->agrees();
        const WorstElement& w = t.local && t.worst.agrees() ? *t.local : t.worst;
        char percent[16];
        std::snprintf(percent, sizeof percent, "%.1f", w.bad_percent());
        table.row({t.name, multiple(w.error), index_text(w.where), value_text(w.got), value_text(w.expected),
                   percent, shortened((inherited ? "inherited; " : "") + t.pattern, 60)});
    }
    if (wrong == 0) return "";
    std::string text = table.text("  ");
    if (wrong > most) text += sentence("  and ", wrong - most, " more wrong tensors\n");
    if (right > 0)
        text += sentence("  ", right, right == 1 ? " tensor agrees" : " tensors agree", ", at most ",
                         multiple(worst_right), "x tolerance\n");
    return text;
}

inline std::string explanation_text(const Explanation& e) {
    return sentence(e.name, " (", e.tensors, "/", e.of_tensors, " tensors, ", e.cases, "/", e.of_cases,
                    " cases)");
}

inline std::string consistent_text(const Report& r) {
    if (!r.diagnosed) return "";
    const bool some = r.next_best && r.next_best->cases > 0;  // one that explains no case explains nothing
    const std::string next = (some ? explanation_text(*r.next_best) : "none") +
                             (r.asked_cases < r.cases.size()
                                  ? sentence("   (", r.asked_cases, " of ", r.cases.size(), " cases asked)")
                                  : "");
    if (r.consistent_with.empty())
        return labelled("consistent with", "no known deviation   next best: " + next);
    std::string text;
    for (std::size_t n = 0; n < std::min<std::size_t>(3, r.consistent_with.size()); ++n)
        text += labelled(n == 0 ? "consistent with" : "or with",
                         explanation_text(r.consistent_with[n]) + (n == 0 ? "   next best: " + next : ""));
    text += labelled("look for", shortened(r.consistent_with.front().sentence, 100));
    return text;
}

inline std::string identities_text(const std::vector<IdentityVerdict>& identities) {
    std::string failing;
    std::size_t holding = 0;
    for (const auto& i : identities) {
        if (!i.judged) continue;
        if (i.holds) {
            ++holding;
            continue;
        }
        failing += (failing.empty() ? "" : ", ") + i.statement + " FAIL";
        const auto& where = i.failures;
        if (!where.empty() && i.axis == "head") {
            failing += " heads ";
            for (std::size_t n = 0; n < std::min<std::size_t>(4, where.size()); ++n)
                failing += sentence(n == 0 ? "" : ",", where[n].where.front());
        }
    }
    if (failing.empty() && holding == 0) return "";
    const std::string hold = sentence(holding, failing.empty() ? " hold" : " ok, ");
    return labelled("identities", failing.empty() ? hold : hold + shortened(failing, 90));
}

inline std::string power_text(const std::string& who, const Power& p) {
    return sentence(who, " ", p.seen.size(), "/", p.applicable(), " known deviations at this tolerance",
                    p.unseen.empty() ? "" : ", not " + joined(p.unseen, 3));
}

/// The case that explains most, in full.
inline std::string case_text(const Report& r, const CaseReport& c) {
    std::string text = "FAIL  " + c.name + "\n";
    if (!c.sentence.empty()) text += labelled(std::string(name_of(c.verdict)), shortened(c.sentence, 200));
    if (c.judgement.first_wrong)
        text += labelled("first wrong stage", first_wrong_text(*c.judgement.first_wrong, c.judgement));
    text += tensor_table(c.judgement);
    if (!c.judgement.agrees()) text += consistent_text(r);
    for (std::size_t n = 0; n < std::min<std::size_t>(3, r.effects.size()); ++n)
        text += labelled(r.effects[n].label(), shortened(r.effects[n].text(), 160));
    text += identities_text(c.identities);
    if (r.shown_power) text += labelled("trust", power_text("this case detects", *r.shown_power));
    for (const auto& f : c.findings)
        if (!f.passed) text += labelled("finding", f.name + ": " + shortened(f.sentence, 100));
    for (std::size_t n = 0; n < std::min<std::size_t>(2, c.notes.size()); ++n)
        text += labelled("note", shortened(c.notes[n], 110));
    return text + labelled("reproduce", c.reproduce);
}

// The other failing cases, a line each.
inline std::string other_failures(const Report& r, const CaseReport& shown) {
    constexpr std::size_t most = 6;
    std::string text;
    std::size_t others = 0;
    for (const auto& c : r.cases) {
        if (!c.failed() || &c == &shown || ++others > most) continue;
        const auto* worst = c.judgement.worst();
        const std::string what = c.verdict == CheckVerdict::mismatch && worst != nullptr
                                     ? worst->name + " " + multiple(worst->worst.error) + "x tolerance"
                                     : std::string(name_of(c.verdict));
        text += "FAIL  " + shortened(c.name, 70) + "   " + what + "\n";
    }
    if (others > most) text += sentence("      and ", others - most, " more failing cases\n");
    return text;
}

inline std::string trust_text(const Report& r) {
    std::string text;
    for (const auto& reason : r.trust.reasons)
        text += labelled("not trusted", shortened(reason, 160));
    if (r.trust.power && r.trust.trusted())
        text += labelled("trust", power_text("these cases detect", *r.trust.power));
    return text;
}

// What agreement looks like: the worst of every tensor over all cases, the worst three of them.
inline std::string agreement_text(const Report& r) {
    const TensorVerdict* worst = nullptr;
    const CaseReport* where = nullptr;
    double low = 0;
    for (const auto& c : r.cases)
        for (const auto& t : c.judgement.tensors) {
            if (t.low_precision_ratio && std::isfinite(*t.low_precision_ratio) && t.name == "out")
                low = std::max(low, *t.low_precision_ratio);
            if (worst != nullptr && !(t.worst.error > worst->worst.error)) continue;
            worst = &t, where = &c;
        }
    if (worst == nullptr) return "";
    return labelled("worst", worst->name + " " + multiple(worst->worst.error) + "x tolerance, " +
                                 shortened(where->name, 70)) +
           labelled(
               "out",
               "error at most " + multiple(low) +
                   "x that of a low-precision reference (decides nothing; FlashAttention's tests accept 2)");
}

}  // namespace mta::oracle::detail
