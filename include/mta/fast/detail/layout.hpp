// The extents that one call fixes: which head is in which lane, strides of packed rows, and how much memory that is.
// SPDX-License-Identifier: MIT
//
// Unit    the heads that some mix joins, directly or through the other mix: lcm of both group sizes of them.
// Bundle  as many units as fit into `planes` packets; all their scores are computed together. Batch rows share bundles
//         when their documents start at the same places, so that few heads still fill the lanes.
// Memory  a packed row of q, k, v or a gradient: planes x width packets; a row of scores: planes x key_packets.
#pragma once

#include <mta/fast/detail/mix_kernels.hpp>
#include <mta/fast/detail/product_kernels.hpp>
#include <mta/layers/multi_token_attention_config.hpp>
#include <numeric>

namespace mta::fast {

/// What the configuration does not say about q, k and v.
struct AttentionShape {
    Index batch = 1, length = 1;
};

/// The head in a lane.
struct Lane {
    Index b = 0, h = 0;
    bool used = false;
};

template <class Scalar>
struct Layout {
    static constexpr Index W = lanes<Scalar>;

    Index B, H, Hkv, S, D;
    Index unit, units_per_row;             // heads in a unit; units of a batch row
    Index planes, units_per_bundle;        // of a bundle
    Index rows_per_bundle_range, bundles;  // batch rows whose units may share a bundle; number of bundles
    Index width, head_stride,
        row_stride;  // packed rows: packets of a head, scalars from plane to plane and row to row
    Index margin, key_packets, plane_stride,
        score_stride;  // rows of scores: packets before key 0; then the same
    Index
        tail;  // packets after a row's last key that are 0: later outputs and whole register tiles read them
    Index block;  // query rows that are worked on at a time

    Layout(const AttentionShape& shape, const MultiTokenAttentionConfig& config, bool shared_documents)
        : B{shape.batch},
          H{config.heads},
          Hkv{config.key_value_heads()},
          S{shape.length},
          D{config.head_dim} {
        const auto group = [](const ScoreMixingConfig& c) { return std::max<Index>(c.mix_group, 1); };
        unit = std::lcm(group(config.pre), group(config.post));
        units_per_row = H / unit;
        planes = (unit + W - 1) / W;
        units_per_bundle = planes * W / unit;
        rows_per_bundle_range = shared_documents ? std::max<Index>(B, 1) : 1;
        bundles = B / rows_per_bundle_range * bundles_per_range();
        width = round_up(D, tile_columns);
        head_stride = odd(width) * W;
        row_stride = planes * head_stride;
        const Index Ck = std::max({config.pre.key_kernel, config.post.key_kernel, Index{1}});
        const Index Cq = std::max({config.pre.query_kernel, config.post.query_kernel, Index{1}});
        margin = Ck - 1;
        tail = Cq + Ck + 16;
        key_packets = odd(margin + S + tail);
        plane_stride = key_packets * W;
        score_stride = planes * plane_stride;
        block = S > 8192 || S < 512 ? 16 : 32;
    }

    Index bundles_per_range() const {
        const Index units = rows_per_bundle_range * units_per_row;
        return (units + units_per_bundle - 1) / units_per_bundle;
    }
    /// The head in lane l (counted over all planes) of a bundle.
    Lane lane(Index bundle, Index l) const {
        const Index range = bundle / bundles_per_range(), n = bundle % bundles_per_range();
        const Index place = l / unit, in_range = n * units_per_bundle + place;
        if (place >= units_per_bundle || in_range >= rows_per_bundle_range * units_per_row) return {};
        return {range * rows_per_bundle_range + in_range / units_per_row,
                in_range % units_per_row * unit + l % unit, true};
    }
    /// Lanes of a bundle that hold heads; the first ones.
    Index used_lanes(Index bundle) const {
        const Index first = bundle % bundles_per_range() * units_per_bundle;
        return std::min(units_per_bundle, rows_per_bundle_range * units_per_row - first) * unit;
    }
    /// A batch row of the bundle: all of them have the same documents.
    Index batch_row(Index bundle) const { return lane(bundle, 0).b; }
};

/// Rows of scores of a window over the queries: row i is in slot (i - first) mod slots.
template <class Scalar>
struct ScoreRows {
    Scalar* key0 = nullptr;  // key 0 of slot 0
    Index stride = 0, slots = 1, first = 0;

    explicit operator bool() const { return key0 != nullptr; }
    Scalar* row(Index i) const { return key0 + (i - first) % slots * stride; }
};

}  // namespace mta::fast
