// Effects: what a wrong stage of a candidate really computes, read off it and told in a line beside what it should.
// SPDX-License-Identifier: MIT
//
// Which     the readings (identify.hpp) of the stage that is wrong first, and of those that may be the cause because
//           they were not exported: taps for a convolution, a matrix for a mix, the scale for logits, the mask.
//           What explains a factor alone is read as a scale before the softmax, as a gain after it.
// Row       of taps or a matrix the row that differs most, cut to the columns where something is read or expected.
// Cost      forward calls on small problems, of which none is begun after `seconds`; the first one that is not
//           answered is the last. They go the way of all calls of the candidate: with its containment.
// Source    Multi-Token Attention, arXiv:2504.00927, Secs. 3.1 to 3.3, for the stages.
#pragma once

#include <chrono>
#include <mta/oracle/identify.hpp>
#include <mta/oracle/judge.hpp>
#include <string>
#include <utility>
#include <vector>

namespace mta::oracle {

/// One thing that a candidate does otherwise than its configuration says.
struct Effect {
    std::string reading;  // "pre.kernel", "post.mix", "scale", "mask", "future_logits"
    std::string
        relation;  // "mirrored on keys", "transposed", "shifted by (0, 1)", "scaled by 2", "zero: ..."; or "other"
    std::string place;  // of taps and matrices: "head 1, row 2"; a row of taps below 0 lies before the kernel
    std::vector<double> found, expected;  // that row, or a number; empty for what the relation alone tells
    std::string label() const {
        const auto is = [&](const char* name) { return reading == name; };
        return reading.ends_with(".kernel")           ? "effective taps"
               : reading.ends_with(".mix")            ? "effective mix"
               : is("mask") || is("future_logits")    ? "effective mask"
               : is("key_heads") || is("value_heads") ? "effective heads"
                                                      : "effective scale";  // scale, gain
    }
    std::string text() const;
};

struct EffectOptions {
    double seconds = 10;  // after which no further call is begun
    IdentifyOptions identify;
};

namespace detail {

// Up to seven numbers, with dots where some are left out.
inline std::string row_text(const std::vector<double>& row, std::size_t first) {
    constexpr std::size_t most = 7;
    std::string text = first > 0 ? "... " : "";
    for (std::size_t n = first; n < std::min(row.size(), first + most); ++n) {
        char number[32];
        std::snprintf(number, sizeof number, "%s%.2f", n == first ? "" : " ", row[n]);
        text += number;
    }
    return text + (first + most < row.size() ? " ..." : "");
}

// Where seven numbers begin that hold the largest difference.
inline std::size_t first_shown(const std::vector<double>& found, const std::vector<double>& expected) {
    std::size_t worst = 0;
    const auto gap = [&](std::size_t n) {
        const double difference = std::abs(found[n] - expected[n]);
        return std::isnan(difference) ? HUGE_VAL : difference;
    };
    for (std::size_t n = 1; n < found.size(); ++n)
        if (gap(n) > gap(worst)) worst = n;
    return found.size() <= 7 || worst < 4 ? 0 : std::min(worst - 3, found.size() - 7);
}

}  // namespace detail

/// "pre.kernel, head 1, row 0 (mirrored on keys) = 0.12 -0.40 1.07   expected 1.07 -0.40 0.12"
inline std::string Effect::text() const {
    const std::string what = relation == "other" ? "" : " (" + relation + ")";
    if (found.empty()) return reading + ": " + relation;
    if (place.empty())
        return detail::sentence(reading, what, " = ", check::detail::brief(found.front()), "   expected ",
                                check::detail::brief(expected.front()));
    const std::size_t first = detail::first_shown(found, expected);
    return reading + ", " + place + what + " = " + detail::row_text(found, first) + "   expected " +
           detail::row_text(expected, first);
}

namespace detail {

/// The candidate, but refusing calls that begin after `seconds`.
inline Candidate hurried(const Candidate& candidate, double seconds) {
    using Clock = std::chrono::steady_clock;
    const auto start = Clock::now();
    Candidate timed = candidate;
    timed.answer = [&candidate, seconds, start](const Problem& p) {
        if (std::chrono::duration<double>(Clock::now() - start).count() < seconds) return candidate.answer(p);
        Answer late;
        late.outcome = Outcome::refused;
        late.sentence = "the time for identification is up";
        return late;
    };
    return timed;
}

inline bool names_stage(const FirstWrong& first, std::string_view stage) {
    return first.stage == stage ||
           std::find(first.earlier.begin(), first.earlier.end(), stage) != first.earlier.end();
}

// Maps of the size that reading needs must not be what makes a report slow.
inline bool small_enough(const CaseConfig& config, Index batch, Index S) {
    constexpr Index most = Index{1} << 24;
    return S < 4096 && batch * config.attention.heads * S * S <= most;
}

// Scale, mask and heads are read through the kernels: one that is moved makes them say what it does. A mix is read
// through kernels as they are found.
inline bool follows(const Reading& reading, const std::vector<Reading>& all) {
    if (reading.name.ends_with(".kernel") || reading.name.ends_with(".mix")) return false;
    return std::any_of(all.begin(), all.end(), [](const auto& other) {
        return other.name.ends_with(".kernel") && !other.as_expected;
    });
}

// Nothing is better than a word that may be wrong: readings through kernels that are not understood, that are not finite,
// or heads that follow no rule.
inline bool doubtful(const Reading& reading) {
    const bool heads = reading.name.ends_with("_heads") && reading.classification == "other";
    return heads || reading.classification.find("not understood") != std::string::npos ||
           !std::all_of(reading.found.values.begin(), reading.found.values.end(),
                        [](double x) { return std::isfinite(x); });
}

/// The readings of the stages that may be wrong, in the order of the pipeline.
inline std::vector<Reading> readings_of(const Candidate& candidate, const CaseConfig& config, io::DType dtype,
                                        const FirstWrong& first, const IdentifyOptions& options) {
    Readings r(candidate, config, dtype, options);
    if (!small_enough(config, config.attention.heads, r.reader.sequence)) return {};
    const auto may_be = [&](const char* stage) { return names_stage(first, stage); };
    try {
        StageReadings stages(r);
        read_kernels_and_units(r, stages);
        if (may_be("pre_mix") || may_be("post_mix")) stages.mixes();
        const auto& starts = config.document_starts;
        Index S = 8;
        for (const auto& list : starts)
            S = std::max(S, list.back() + 3);
        const bool masked = may_be("logits") || may_be("weights") || may_be("pre_conv");
        if (masked && small_enough(config, static_cast<Index>(starts.size()), S)) read_mask(r);
        if (may_be("pre_conv")) read_future_logits(r);
        if (may_be("logits") || may_be("context")) read_head_maps(r);
    } catch (const NoReading&) {
        return {};  // what was read before it may be of a candidate that was already failing
    }
    const std::pair<const char*, const char*> stage_of[] = {
        {"pre.kernel", "pre_conv"},   {"future_logits", "pre_conv"},
        {"pre.mix", "pre_mix"},       {"scale", "logits"},
        {"scale", "pre_conv"},        {"scale", "pre_mix"},
        {"key_heads", "logits"},      {"mask", "logits"},
        {"mask", "pre_conv"},         {"mask", "weights"},
        {"post.kernel", "post_conv"}, {"post.mix", "post_mix"},
        {"gain", "post_conv"},        {"gain", "post_mix"},
        {"gain", "context"},          {"value_heads", "context"}};
    std::vector<Reading> wrong;
    for (const auto& reading : r.list)
        if (!reading.as_expected && !follows(reading, r.list) && !doubtful(reading) &&
            std::any_of(std::begin(stage_of), std::end(stage_of),
                        [&](const auto& pair) { return reading.name == pair.first && may_be(pair.second); }))
            wrong.push_back(reading);
    return wrong;
}

// The row of a reading (.., rows, columns) that differs most, without the columns at its ends that are 0 in both.
inline void put_worst_row(Effect& effect, const Reading& reading, Index margin) {
    const auto& shape = reading.found.shape;
    const Index columns = shape.back(), rows = shape[shape.size() - 2];
    const auto at = [&](const NamedTensor& t, Index row, Index column) {
        return t.values[static_cast<std::size_t>(row * columns + column)];
    };
    Index worst = 0;
    double largest = -1;
    for (Index r = 0; r < std::ssize(reading.found.values) / columns; ++r) {
        double difference = 0;
        for (Index c = 0; c < columns; ++c)
            difference += std::abs(at(reading.found, r, c) - at(reading.expected, r, c));
        if (std::isnan(difference)) difference = HUGE_VAL;
        if (difference > largest) largest = difference, worst = r;
    }
    const auto empty = [&](Index c) {
        return std::abs(at(reading.found, worst, c)) < 5e-3 && at(reading.expected, worst, c) == 0;
    };
    Index begin = 0, end = columns;
    while (margin > 0 && begin + 1 < end && begin < margin && empty(begin))
        ++begin;
    while (margin > 0 && end - 1 > begin && columns - end < margin && empty(end - 1))
        --end;
    effect.place = shape.size() == 3 ? sentence("head ", worst / rows, ", row ", worst % rows - margin)
                                     : sentence("head ", worst);
    for (Index c = begin; c < end; ++c) {
        effect.found.push_back(at(reading.found, worst, c));
        effect.expected.push_back(at(reading.expected, worst, c));
    }
}

inline Effect effect_of(const Reading& reading) {
    Effect effect{reading.name, reading.classification, "", {}, {}};
    const bool kernel = reading.name.ends_with(".kernel");
    if (kernel || reading.name.ends_with(".mix"))
        put_worst_row(effect, reading, kernel ? Reader::margin : 0);
    else if (reading.name == "scale" || reading.name == "gain")
        effect.found = reading.found.values, effect.expected = reading.expected.values;
    return effect;
}

}  // namespace detail

/// What can be read off the candidate where a forward stage is wrong; nothing where it reads as given, where the
/// backward pass is wrong, or where the candidate does not answer. Never throws what the candidate does.
inline std::vector<Effect> effects_of(const Candidate& candidate, const CaseConfig& config, io::DType dtype,
                                      const FirstWrong& first, const EffectOptions& options = {}) {
    if (first.backward) return {};
    std::vector<Effect> effects;
    const Candidate timed = detail::hurried(candidate, options.seconds);
    for (const auto& reading : detail::readings_of(timed, config, dtype, first, options.identify))
        effects.push_back(detail::effect_of(reading));
    return effects;
}

}  // namespace mta::oracle
