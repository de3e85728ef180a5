// Black-box identification: what a candidate's kernels, mixes, masks, scale, eps and head maps really are.
// SPDX-License-Identifier: MIT
//
// Needs     forward calls alone, with inputs and parameters that are chosen here; the caller's values play no part.
// Pre side  one logit that is not 0: the excess of each weight's logarithm (sparsemax: of each weight) over a far key
//           is what kernel and mix made of it. Post side: linear in the weights, so the difference of two runs whose
//           weights differ in one row.
// Order     a wrong kernel on one side moves what is read on the other: the pair of moves is accepted under which
//           both sides read consistently.
// Source    Multi-Token Attention, arXiv:2504.00927, Secs. 3.1 to 3.3, for the stages.
#pragma once

#include <mta/oracle/detail/identify_stages.hpp>

namespace mta::oracle {

namespace detail {

// What becomes of a context of 1 in all channels, behind a transparent norm and gate.
inline double measured_gain(Readings& r) {
    Problem p = r.reader.blank(1, r.reader.sequence);
    fill(p.v, 1.0);
    return r.reader.context(p)(0, 0, r.reader.row, 0);
}

// All channels of q and k carry the score, so that a scale of another width shows.
inline double measured_scale(Readings& r) {
    auto& reader = r.reader;
    Problem p = reader.blank(1, reader.sequence);
    reader.set_query(p, 0, {}, reader.row, reader.score);
    reader.set_key(p, reader.first_key, 1);
    const double seen = reader.excess(reader.weights(p), 0, 0, reader.row, reader.first_key);
    return seen / reader.score_of(p, 0, 0, reader.row, 1);
}

// Kernels are read as if scale and gain were right: where they are placed is needed to read those. Where one factor
// then explains everything on its side, it is not held against the kernels as well.
inline void read_kernels_and_units(Readings& r, StageReadings& stages) {
    stages.kernels();
    const double scale = measured_scale(r), gain = measured_gain(r);
    const auto explains = [&](double factor, const char* kernel) {
        const double size = std::abs(factor);
        if (!(std::abs(factor - 1) > r.tolerance && size > 1e-3 && size < 1e3)) return false;
        for (const auto& reading : r.list)
            if (reading.name == kernel) return reading.classification.ends_with(factor_text(factor));
        return true;
    };
    const bool scaled = explains(scale, "pre.kernel"), amplified = explains(gain, "post.kernel");
    if (scaled) r.reader.measured_scale = scale;
    if (amplified) r.reader.measured_gain = gain;
    if (scaled || amplified) {
        r.list.clear();
        stages.kernels();
    }
    r.add_number("scale", r.reader.scale(), r.reader.scale() * scale);
    r.add_number("gain", 1, gain);
}

// 1 where the mask lets query i see key j. (B, H, S, S)
inline Tensor<double, 4> mask_picture(const AttentionMask& mask, Index B, Index H, Index S, Index later = 0) {
    auto picture = zeros<double>(B, H, S, S);
    for (Index r = 0; r < row_count(picture); ++r) {
        KeyRange keys = mask.keys(r / S / H, r % S, S, std::max<Index>(later, 0));
        if (later < 0) keys.end = std::max(keys.begin, keys.end + later);
        std::fill_n(nth_row(picture, r).begin() + keys.begin, keys.end - keys.begin, 1.0);
    }
    return picture;
}

// A row that should be empty may hold anything.
inline bool same_rows(const Tensor<double, 4>& a, const Tensor<double, 4>& expected) {
    for (Index r = 0; r < row_count(a); ++r) {
        const auto row = nth_row(expected, r);
        const bool empty = std::find(row.begin(), row.end(), 1.0) == row.end();
        if (!empty && !std::equal(row.begin(), row.end(), nth_row(a, r).begin())) return false;
    }
    return true;
}

inline std::string mask_class(const Tensor<double, 4>& found, const AttentionMask& given) {
    const Index B = found.dimension(0), H = found.dimension(1), S = found.dimension(2);
    const auto is = [&](MaskRule rule, const Documents& documents, Index later = 0) {
        return same_rows(found, mask_picture({rule, documents}, B, H, S, later));
    };
    const Documents none;
    if (is(given.rule, given.documents)) return "as given";
    if (is(given.rule, none)) return "as given, but documents are not separated";
    if (is(MaskRule::none, none)) return "none: every query sees every key";
    if (is(MaskRule::none, given.documents)) return "none within documents";
    if (is(MaskRule::twice, given.documents)) return "causal";
    if (is(MaskRule::twice, given.documents, 1)) return "causal, but with the next key";
    if (is(MaskRule::twice, given.documents, -1)) return "causal without the query's own key";
    return "other";
}

// Scores of 0 give every visible key the same weight.
inline void read_mask(Readings& r) {
    const auto& starts = r.given.document_starts;
    Index S = 8;
    for (const auto& list : starts)
        S = std::max(S, list.back() + 3);
    Problem p = r.reader.blank(static_cast<Index>(starts.size()), S);
    p.config.document_starts = starts;
    auto found = r.reader.weights(p);
    for (auto& w : elements(found))
        w = w > 0.25 / static_cast<double>(S) ? 1 : 0;
    const AttentionMask mask{r.c.mask, r.given.call().documents};
    r.add("mask", mask_picture(mask, p.batch(), r.c.heads, S), found, mask_class(found, mask));
}

// The logit of a key in the future of its query, convolved with ones: in which rows does it turn up?
inline void read_future_logits(Readings& r) {
    if (!r.c.pre.has_conv() || r.c.pre.query_kernel < 2 || r.c.mask == MaskRule::none) return;
    auto& reader = r.reader;
    Problem p = reader.blank(1, reader.sequence);
    fill(p.params.pre.conv->kernel, 1.0);
    reader.set_query(p, 0, {}, reader.row, reader.score);
    reader.set_key(p, reader.row + 1, 1);
    const auto w = reader.weights(p);
    const auto reacts = [&](Index i) {
        for (Index j = 0; j <= i; ++j)
            if (!(std::abs(reader.excess(w, 0, 0, i, j)) <= 0.5 * reader.score)) return true;
        return false;
    };
    const double found = reacts(reader.row) ? 2 : reacts(reader.row + 1) ? 1 : 0;
    const double expected = r.c.mask == MaskRule::exact ? 1 : 0;
    constexpr std::array words{"dropped, as with the mask `twice`",
                               "kept up to the output's query, as with `exact`",
                               "kept everywhere: no mask before the convolution"};
    const std::string text = words[static_cast<std::size_t>(found)];
    r.add("future_logits", expected, found, found == expected ? "as given" : text, text);
}

inline std::string map_class(const std::vector<double>& found, const MultiTokenAttentionConfig& c) {
    const Index group = c.heads / c.key_value_heads();
    bool as_given = true, modulo = true;
    for (Index h = 0; h < c.heads; ++h) {
        const double n = found[static_cast<std::size_t>(h)];
        as_given = as_given && std::abs(n - static_cast<double>(h / group)) < 0.25;
        modulo = modulo && std::abs(n - static_cast<double>(h % c.key_value_heads())) < 0.25;
    }
    return as_given ? "as given" : modulo ? "h mod kv_heads" : "other";
}

// Key-value head n carries n + 1: in the score of one key, then in the values.
inline void read_head_maps(Readings& r) {
    auto& reader = r.reader;
    const Index Hkv = r.c.key_value_heads(), H = r.c.heads;
    if (Hkv == 1) return;
    const double step = 1 / static_cast<double>(Hkv);
    Problem p = reader.blank(1, reader.sequence);
    reader.set_query(p, 0, {}, reader.row, reader.score);
    for (Index n = 0; n < Hkv; ++n)
        std::ranges::fill(row(p.k, 0, n, reader.first_key),
                          rounded_to(p.dtype, step * static_cast<double>(n + 1)));
    const Problem scored = p;
    const auto w = reader.weights(p);
    p = reader.blank(1, 2);
    for (Index n = 0; n < Hkv; ++n)
        std::fill_n(&p.v(0, n, 0, 0), 2 * r.c.head_dim, static_cast<double>(n + 1));
    const auto values = reader.context(p);
    Tensor<double, 1> expected(H), keys(H), value_heads(H);
    const double unit = reader.score_of(scored, 0, 0, reader.row, 1);
    for (Index h = 0; h < H; ++h) {
        expected(h) = static_cast<double>(h / (H / Hkv));
        keys(h) = reader.excess(w, 0, h, reader.row, reader.first_key) / (unit * step) - 1;
        value_heads(h) = values(0, h, 1, 0) - 1;
    }
    const auto list = [](const auto& t) { return std::vector<double>(t.data(), t.data() + t.size()); };
    r.add("key_heads", expected, keys, map_class(list(keys), r.c));
    r.add("value_heads", expected, value_heads, map_class(list(value_heads), r.c));
}

// Every context is x in all channels: its norm is factor weight x / sqrt(x^2 + eps).
inline Tensor<double, 4> normed(Readings& r, Problem p, double x) {
    p.config.attention.eps = r.c.eps;
    fill(p.v, x);
    auto t = r.reader.out(p);
    if (p.params.gate)
        for (auto& y : elements(t))
            y *= 2;
    return t;
}

inline void read_norm(Readings& r) {
    if (!r.c.norm) return;
    const double factor = r.reader.norm_factor(), large = 64;
    Problem p = r.reader.blank(1, 2);
    p.params.norm->weight = r.random_tensor(r.c.head_dim);
    const auto& weight = p.params.norm->weight;
    const auto far = normed(r, p, large);
    auto found = weight;
    for (Index d = 0; d < weight.size(); ++d)
        found(d) = far(0, 0, 1, d) * std::sqrt(1 + r.c.eps / (large * large)) / factor;
    const auto [scaled, error] = closest_factor(weight, found);
    const bool known = error <= r.tolerance;
    r.add("norm.weight", weight, found,
          !known                                ? "other"
          : std::abs(scaled - 1) <= r.tolerance ? "as given"
                                                : factor_text(scaled));
    if (!known || r.c.eps == 0) return;
    const double small = rounded_to(p.dtype, std::sqrt(r.c.eps));
    const double ratio = scaled * factor * weight(0) / normed(r, p, small)(0, 0, 1, 0);
    r.add_number("eps", r.c.eps, small * small * (ratio * ratio - 1));
}

inline void read_gate(Readings& r) {
    if (!r.c.gate) return;
    Problem p = r.reader.blank(1, 2);
    fill(p.v, 1.0);
    fill(p.params.gate->bias, 1.0);
    r.add_number("gate.bias", 1 / (1 + std::exp(-1.0)), r.reader.context(p)(0, 0, 1, 0) / 2);
    if (!r.c.norm) return;
    // What the gate reads: the norm of 3 everywhere is the factor, the context before it is 3.
    p = r.reader.blank(1, 2);
    p.config.attention.eps = r.c.eps;
    fill(p.v, 3.0);
    fill(p.params.norm->weight, 1.0);
    for (Index o = 0; o < p.params.gate->weight.dimension(0); ++o)
        p.params.gate->weight(o, 0) = 1;
    const double n = r.reader.norm_factor() * 3 / std::sqrt(9 + r.c.eps),
                 gate = r.reader.out(p)(0, 0, 1, 0) / n;
    const double found = std::log(gate / (1 - gate));
    const auto is = [&](double x) { return std::abs(found - x) <= 4 * r.tolerance * std::abs(x); };
    const std::string text = is(n) ? "as given" : is(3) ? "the context before the norm" : "other";
    r.add("gate_input", n, found, text, mta::detail::sentence(text, ", got ", found, ", expected ", n));
}

}  // namespace detail

/// Everything that can be read off a candidate of this configuration, with inputs of this type. A candidate that
/// does not answer ends the list with a reading `answer`.
inline std::vector<Reading> identify(const Candidate& candidate, const CaseConfig& config,
                                     io::DType dtype = io::DType::F32, const IdentifyOptions& options = {}) {
    detail::Readings r(candidate, config, dtype, options);
    try {
        detail::StageReadings stages(r);
        detail::read_kernels_and_units(r, stages);
        stages.mixes();
        detail::read_mask(r);
        detail::read_future_logits(r);
        detail::read_head_maps(r);
        detail::read_norm(r);
        detail::read_gate(r);
    } catch (const detail::NoReading& end) {
        r.add("answer", 1, 0, "none", end.why);
    }
    return std::move(r.list);
}

}  // namespace mta::oracle
