// Bugs of the key-query convolution, on either side of the softmax: forward, of its input's gradient, of its
// kernel's gradient.
// SPDX-License-Identifier: MIT
#pragma once

#include <mta/oracle/detail/bug.hpp>
#include <utility>

namespace mta::oracle::detail {

/// A bug of one convolution, in a table; it exists before and after the softmax.
struct ConvBug {
    std::string_view name, sentence;
    void (*set)(ConvKnobs&);
    bool (*applies)(const BugSite&, const ScoreMixingConfig&);
};

inline bool always(const BugSite&, const ScoreMixingConfig&) {
    return true;
}
inline bool many_keys(const BugSite&, const ScoreMixingConfig& c) {
    return c.key_kernel > 1;
}
inline bool many_queries(const BugSite&, const ScoreMixingConfig& c) {
    return c.query_kernel > 1;
}
inline bool many_both(const BugSite&, const ScoreMixingConfig& c) {
    return c.key_kernel > 1 && c.query_kernel > 1;
}
inline bool many_taps(const BugSite&, const ScoreMixingConfig& c) {
    return c.key_kernel > 1 || c.query_kernel > 1;
}
inline bool many_heads(const BugSite& s, const ScoreMixingConfig&) {
    return s.heads() > 1;
}
inline bool packed_documents(const BugSite& s, const ScoreMixingConfig& c) {
    return s.packed() && many_taps(s, c);
}
// Whether padding on this side puts a tap elsewhere than the configured padding does.
template <KeyPadding other>
bool padded_otherwise(const BugSite&, const ScoreMixingConfig& c) {
    const auto left = [&](KeyPadding p) {
        return p == KeyPadding::both ? (c.key_kernel - 1) / 2 : p == KeyPadding::left ? c.key_kernel - 1 : 0;
    };
    return left(other) != left(c.key_padding);
}

inline constexpr ConvBug conv_forward_bugs[]{
    {"kernel flipped on the key axis",
     "the tap index over keys runs backwards: a convolution where a cross-correlation is meant",
     [](ConvKnobs& k) { k.flip_keys = true; }, many_keys},
    {"kernel flipped on the query axis",
     "the tap index over queries runs backwards: the last row of the kernel belongs to the query itself",
     [](ConvKnobs& k) { k.flip_queries = true; }, many_queries},
    {"kernel flipped on both axes",
     "the paper's theta used as the stored kernel, or a true convolution instead of a cross-correlation",
     [](ConvKnobs& k) { k.flip_keys = k.flip_queries = true; }, many_both},
    {"kernel read as (Ck, Cq)",
     "the kernel's memory is addressed with its axes exchanged: tap * Cq + row in place of row * Ck + tap",
     [](ConvKnobs& k) { k.swap_axes = true; }, many_both},
    {"convolution shifted by one key to the right",
     "the first tap reads one key too late: an off-by-one in j - left + c",
     [](ConvKnobs& k) { k.key_shift = 1; }, always},
    {"convolution shifted by one key to the left",
     "the first tap reads one key too early: an off-by-one in j - left + c",
     [](ConvKnobs& k) { k.key_shift = -1; }, always},
    {"convolution shifted by one query into the past",
     "the window of queries ends one row above the output's row", [](ConvKnobs& k) { k.query_shift = -1; },
     always},
    {"convolution shifted by one query into the future",
     "the window of queries ends one row below the output's row: it sees the next query",
     [](ConvKnobs& k) { k.query_shift = 1; }, always},
    {"query axis padded on both sides",
     "the padding of a library convolution centres the window of queries; only past and present ones may be "
     "seen",
     [](ConvKnobs& k) { k.centred_queries = true; }, many_queries},
    {"keys padded as for both", "the key axis is padded symmetrically in place of the configured side",
     [](ConvKnobs& k) { k.padding = KeyPadding::both; }, padded_otherwise<KeyPadding::both>},
    {"keys padded on the left",
     "all padding of the key axis is on the left: no key after the output's is seen",
     [](ConvKnobs& k) { k.padding = KeyPadding::left; }, padded_otherwise<KeyPadding::left>},
    {"keys padded on the right",
     "all padding of the key axis is on the right: no key before the output's is seen",
     [](ConvKnobs& k) { k.padding = KeyPadding::right; }, padded_otherwise<KeyPadding::right>},
    {"oldest query's taps lost", "the loop over the kernel's queries starts at 1",
     [](ConvKnobs& k) { k.lost_query_tap = 0; }, many_queries},
    {"own query's taps lost", "the loop over the kernel's queries ends one too early",
     [](ConvKnobs& k) { k.lost_query_tap = last_tap; }, many_queries},
    {"first key's taps lost", "the loop over the kernel's keys starts at 1",
     [](ConvKnobs& k) { k.lost_key_tap = 0; }, many_keys},
    {"last key's taps lost", "the loop over the kernel's keys ends one too early",
     [](ConvKnobs& k) { k.lost_key_tap = last_tap; }, many_keys},
    {"kernel of head 0 for all heads", "the head's offset into the kernel is missing",
     [](ConvKnobs& k) { k.head = HeadKnob::first; }, many_heads},
    {"kernels of the heads in reverse", "heads are counted from the other end",
     [](ConvKnobs& k) { k.head = HeadKnob::reversed; }, many_heads},
    {"kernel of the next head", "the head's offset into the kernel is one kernel too large",
     [](ConvKnobs& k) { k.head = HeadKnob::next; }, many_heads},
    {"edges wrapped around",
     "taps beyond the matrix read its other end (a modulo, or an index that runs into the neighbouring row)",
     [](ConvKnobs& k) { k.edge = EdgeKnob::wrapped; }, many_taps},
    {"edges clamped", "taps beyond the matrix read its edge in place of 0",
     [](ConvKnobs& k) { k.edge = EdgeKnob::clamped; }, many_taps},
    {"documents ignored in the convolution", "taps cross the boundaries of packed documents",
     [](ConvKnobs& k) { k.ignore_documents = true; }, packed_documents},
    {"convolution skipped", "the scores pass through unchanged", [](ConvKnobs& k) { k.skip = true; }, always},
    {"convolution added to its input", "a residual connection around the convolution",
     [](ConvKnobs& k) { k.residual = true; }, always},
};

inline constexpr ConvBug conv_backward_bugs[]{
    {"correlated with the unflipped kernel",
     "the gradient of the input uses the taps in the forward order; the adjoint needs them reversed",
     [](ConvKnobs& k) { k.flip_keys = k.flip_queries = true; }, many_taps},
    {"flipped on the key axis", "the gradient of the input reverses the taps over keys once too often",
     [](ConvKnobs& k) { k.flip_keys = true; }, many_both},
    {"flipped on the query axis", "the gradient of the input reverses the taps over queries once too often",
     [](ConvKnobs& k) { k.flip_queries = true; }, many_both},
    {"forward convolution in place of its adjoint",
     "the gradient is convolved as the scores were: it reads rows above where it should read rows below",
     [](ConvKnobs& k) { k.not_transposed = true; }, many_taps},
    {"passed straight through", "the gradient skips the convolution", [](ConvKnobs& k) { k.skip = true; },
     always},
    {"shifted by one key to the right", "an off-by-one in the key index of the adjoint",
     [](ConvKnobs& k) { k.key_shift = 1; }, always},
    {"shifted by one key to the left", "an off-by-one in the key index of the adjoint",
     [](ConvKnobs& k) { k.key_shift = -1; }, always},
    {"shifted by one query into the past", "an off-by-one in the query index of the adjoint",
     [](ConvKnobs& k) { k.query_shift = -1; }, always},
    {"padded as for both", "the adjoint pads the key axis symmetrically in place of the configured side",
     [](ConvKnobs& k) { k.padding = KeyPadding::both; }, padded_otherwise<KeyPadding::both>},
    {"oldest query's taps lost", "the adjoint's loop over the kernel's queries starts at 1",
     [](ConvKnobs& k) { k.lost_query_tap = 0; }, many_queries},
    {"last key's taps lost", "the adjoint's loop over the kernel's keys ends one too early",
     [](ConvKnobs& k) { k.lost_key_tap = last_tap; }, many_keys},
    {"kernel of head 0 for all heads", "the head's offset into the kernel is missing in the backward pass",
     [](ConvKnobs& k) { k.head = HeadKnob::first; }, many_heads},
    {"documents ignored", "gradients cross the boundaries of packed documents",
     [](ConvKnobs& k) { k.ignore_documents = true; }, packed_documents},
};

inline constexpr ConvBug conv_parameter_bugs[]{
    {"flipped on both axes", "the gradient lands at the mirrored tap",
     [](ConvKnobs& k) { k.flip_keys = k.flip_queries = true; }, many_taps},
    {"flipped on the key axis", "the gradient lands at the tap mirrored over keys",
     [](ConvKnobs& k) { k.flip_keys = true; }, many_both},
    {"flipped on the query axis", "the gradient lands at the tap mirrored over queries",
     [](ConvKnobs& k) { k.flip_queries = true; }, many_both},
    {"written as (Ck, Cq)", "the gradient is stored with the kernel's axes exchanged",
     [](ConvKnobs& k) { k.swap_axes = true; }, many_both},
    {"shifted by one key", "the gradient correlates with scores one key too late",
     [](ConvKnobs& k) { k.key_shift = 1; }, always},
    {"shifted by one query", "the gradient correlates with scores one query too early",
     [](ConvKnobs& k) { k.query_shift = -1; }, always},
    {"oldest query's taps lost", "the gradient's loop over the kernel's queries starts at 1",
     [](ConvKnobs& k) { k.lost_query_tap = 0; }, many_queries},
    {"last key's taps lost", "the gradient's loop over the kernel's keys ends one too early",
     [](ConvKnobs& k) { k.lost_key_tap = last_tap; }, many_keys},
    {"summed into head 0", "the head's offset into the gradient is missing",
     [](ConvKnobs& k) { k.head = HeadKnob::first; }, many_heads},
    {"written to the next head", "the head's offset into the gradient is one kernel too large",
     [](ConvKnobs& k) { k.head = HeadKnob::next; }, many_heads},
    {"documents ignored", "products across the boundaries of packed documents are counted",
     [](ConvKnobs& k) { k.ignore_documents = true; }, packed_documents},
    {"left at zero", "the gradient is never accumulated, or is overwritten with 0",
     [](ConvKnobs& k) { k.skip = true; }, always},
};

/// Bugs of tiles come in the sizes that kernels use.
inline constexpr Index bug_tiles[]{16, 32, 64};

inline void add_conv_bugs(std::vector<Bug>& bugs, BugKind kind, const ConvBug& row, bool before,
                          const std::string& prefix, const std::string& stage) {
    bugs.push_back({prefix + std::string(row.name), std::string(row.sentence), stage, kind,
                    [set = row.set, before](Knobs& k) { set(before ? k.pre : k.post); },
                    [applies = row.applies, before](const BugSite& s) {
                        return s.side(before).has_conv() && applies(s, s.side(before));
                    }});
}

// Taps that leave a tile of queries or of keys are lost.
inline void add_halo_bugs(std::vector<Bug>& bugs, BugKind kind, bool before, const std::string& prefix,
                          const std::string& stage) {
    for (const bool queries : {true, false})
        for (const Index tile : bug_tiles)
            bugs.push_back({sentence(prefix, "halo lost at ", queries ? "query" : "key", " tiles of ", tile),
                            sentence("taps that leave a tile of ", tile, queries ? " queries" : " keys",
                                     " find zeros: the tile was loaded without its halo"),
                            stage, kind,
                            [=](Knobs& k) {
                                ConvKnobs& own = before ? k.pre : k.post;
                                (queries ? own.query_tile : own.key_tile) = tile;
                            },
                            [=](const BugSite& s) {
                                const auto& own = s.side(before);
                                return s.sequence > tile && (queries ? own.query_kernel : own.key_kernel) > 1;
                            }});
}

inline void add_conv_bugs(std::vector<Bug>& bugs) {
    for (const bool before : {true, false}) {
        const std::string side = before ? "pre" : "post", stage = side + "_conv";
        const std::string d_in = before ? "d_logits" : "d_weights";
        for (const auto& row : conv_forward_bugs)
            add_conv_bugs(bugs, BugKind::forward, row, before, side + ".", stage);
        add_halo_bugs(bugs, BugKind::forward, before, side + ".", stage);
        for (const auto& row : conv_backward_bugs)
            add_conv_bugs(bugs, BugKind::backward, row, before, stage + " backward: ", d_in);
        add_halo_bugs(bugs, BugKind::backward, before, stage + " backward: ", d_in);
        for (const auto& row : conv_parameter_bugs)
            add_conv_bugs(bugs, BugKind::parameters, row, before,
                          "grad." + side + ".kernel: ", "grad." + side + ".kernel");
    }
}

}  // namespace mta::oracle::detail
