// Dropout on rows of packets, with the bits of ops/dropout.hpp.
// SPDX-License-Identifier: MIT
#pragma once

#include <mta/fast/detail/layout.hpp>
#include <mta/ops/dropout.hpp>

namespace mta::fast {

/// Which weights of a call are kept.
template <class Scalar>
struct DropoutRows {
    bool active = false;
    std::array<std::uint32_t, 2> key{};
    std::uint32_t threshold = 0;
    Scalar factor{1};

    DropoutRows(const MultiTokenAttentionConfig& config, const AttentionCall& call)
        : active{call.training && config.dropout > 0} {
        if (!active) return;
        key = mta::detail::dropout_key(
            {call.seed, call.step, static_cast<std::uint64_t>(config.layer_index), true});
        threshold = static_cast<std::uint32_t>(std::floor(config.dropout * 0x1p32));
        factor = static_cast<Scalar>(1.0 / (1.0 - config.dropout));
    }

    /// Drops elements of row `i` (a position of the sequence), keys [start, start + keys), key `start` first.
    void apply(const Layout<Scalar>& layout, Index bundle, Index i, Index start, Index keys,
               Scalar* row) const {
        constexpr Index W = lanes<Scalar>;
        const auto word = [](Index n) { return static_cast<std::uint32_t>(n); };
        for (Index l = 0; l < layout.used_lanes(bundle); ++l) {
            const Lane lane = layout.lane(bundle, l);
            Scalar* x = row + l / W * layout.plane_stride + l % W;
            std::array<std::uint32_t, 4> bits{};
            for (Index j = start; j < start + keys; ++j, x += W) {
                if (j == start || j % 4 == 0)
                    bits = philox4x32({word(j / 4), word(i), word(lane.h), word(lane.b)}, key);
                *x = bits[static_cast<std::size_t>(j % 4)] >= threshold ? factor * *x : Scalar(0);
            }
        }
    }
};

}  // namespace mta::fast
