// How each fill makes element n of a tensor: integers and powers of two only.
// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <mta/oracle/config.hpp>
#include <mta/oracle/detail/portable_draw.hpp>
#include <string_view>
#include <vector>

namespace mta::oracle::detail {

/// The number of a tensor in draws. Never reordered: inputs of old cases must come out the same.
inline std::uint32_t stream_of(std::string_view tensor) {
    constexpr std::array<std::string_view, 11> order{"q",           "k",           "v",        "pre.kernel",
                                                     "pre.mix",     "post.kernel", "post.mix", "norm.weight",
                                                     "gate.weight", "gate.bias",   "d_out"};
    const auto found = std::find(order.begin(), order.end(), tensor);
    return static_cast<std::uint32_t>(found - order.begin());
}
/// Draws that belong to a token or a head, not to an element.
inline constexpr std::uint32_t choices_stream = 16;

/// The number as a double. Throws ValueError unless the type holds it exactly.
inline double stored_exactly(Portable number, io::DType dtype, std::string_view tensor) {
    const double x = number.value();
    const double stored = dtype == io::DType::F16    ? io::from_half<double>(io::to_half(x))
                          : dtype == io::DType::BF16 ? io::from_bfloat16<double>(io::to_bfloat16(x))
                          : dtype == io::DType::F32  ? static_cast<double>(static_cast<float>(x))
                                                     : x;
    require<ValueError>(stored == x, "fill: tensor ", tensor, ": got ", x, ", expected a number that ",
                        io::dtype_name(dtype), " holds exactly");
    return x;
}

/// The smallest number c of at most 8 significant bits with c^2 / sqrt(D) >= target: two vectors that are c along
/// one axis have a score of at least `target` at the default scale.
inline Portable root_of_score(std::int64_t target, std::int64_t head_dim) {
    std::int64_t c = 1;
    while (c * c < (target * target * head_dim + c * c - 1) / (c * c))
        ++c;
    int exponent = 0;
    for (; c > 255; ++exponent)
        c = (c + 1) / 2;
    return {c, exponent};
}

/// Makes the elements of one tensor of a case.
class FillRecipe {
  public:
    template <class Extents>
    FillRecipe(std::string_view fill, std::string_view tensor, const Extents& extents,
               const MultiTokenAttentionConfig& config, std::uint64_t seed, io::DType dtype)
        : fill_{fill},
          tensor_{tensor},
          extents_(extents.begin(), extents.end()),
          config_{config},
          seed_{seed},
          dtype_{dtype},
          stream_{stream_of(tensor)} {}

    Portable element(Index n) const {
        if (tensor_.ends_with(".kernel")) return kernel(n);
        if (tensor_.ends_with(".mix")) return mix(n);
        if (tensor_.starts_with("norm") || tensor_.starts_with("gate")) return affine(n);
        return activation(n);
    }

  private:
    Draw draw(std::uint32_t stream, Index n) const {
        return {seed_, stream, static_cast<std::uint64_t>(n), significand_width(dtype_)};
    }
    Draw draw(Index n) const { return draw(stream_, n); }
    bool is(std::string_view fill) const { return fill_ == fill; }
    bool exact() const { return is("exact-integers") || is("zero-scores"); }
    bool far_from_zero() const { return is("large-positive") || is("large-negative") || is("below-mask"); }
    bool before_softmax() const { return tensor_.starts_with("pre."); }

    // q, k, v, d_out
    Portable activation(Index n) const {
        const Index channel = n % extents_.back();
        const bool q = tensor_ == "q", k = tensor_ == "k", v = tensor_ == "v";
        if (is("uniform")) return draw(n).flat();
        if (is("offset") && (q || k || v)) return draw(n).around_one();
        if (is("tiny-values") && v) return draw(n).bell().times_two_to(-8);
        if (is("denormal") && draw(choices_stream + stream_, n).words[0] % 4 == 0)
            return {draw(n).flat().integer / 2, smallest_exponent(dtype_)};
        if (is("ties") && k) return draw(tied_row(n / extents_.back()) * extents_.back() + channel).bell();
        if (far_from_zero() && channel == 0 && (q || k)) return far(q);
        if (is("zero-scores") && q) return {};
        if (is("one-hot")) return q || k ? one_hot(n / extents_.back(), channel, q) : draw(n).small(3);
        if (exact()) return draw(n).small(2);
        return draw(n).bell();
    }

    // Channel 0 of q and k: their product is the score's size, and all other channels a little noise on it.
    Portable far(bool q) const {
        Portable c = root_of_score(target(), extents_.back());
        if (q && !is("large-positive")) c.integer = -c.integer;
        return c;
    }
    std::int64_t target() const { return is("below-mask") ? 12288 : 128; }
    // Taps and weights beside the identity move a score by about 1.
    int noise_exponent() const { return is("below-mask") ? -13 : -7; }

    // One of the first two tokens of the same head: `row` counts (batch, head, token).
    Index tied_row(Index row) const {
        const Index token = row % extents_[2];
        if (token < 2) return row;
        return row - token + static_cast<Index>(draw(choices_stream, row).words[0] % 2);
    }

    // Channel 0: queries of +-1 or +-2, keys that are distinct within any 2^p tokens in a row, times powers of two
    // such that one unit of their product is a score of 65536 at least. Other channels of keys are not read.
    Portable one_hot(Index row, Index channel, bool q) const {
        if (channel != 0) return q ? Portable{} : draw(row * extents_.back() + channel).small(2);
        const int root =
            (static_cast<int>(std::bit_width(static_cast<std::uint64_t>(extents_.back() - 1))) + 1) / 2;
        if (q) return draw(row).small_not_zero().times_two_to(9 + root);
        const Index token = row % extents_[2], head = row / extents_[2];
        const auto bits =
            std::min(8, static_cast<int>(std::bit_width(static_cast<std::uint64_t>(extents_[2] - 1))));
        const auto& words = draw(choices_stream, head).words;
        const std::uint32_t key = (words[0] | 1) * static_cast<std::uint32_t>(token) + words[1];
        return {key & ((std::uint32_t{1} << bits) - 1), 7};
    }

    Portable kernel(Index n) const {
        const Index taps = extents_[1] * extents_[2], tap = n % taps;
        const auto& side = before_softmax() ? config_.pre : config_.post;
        const bool identity = tap / extents_[2] == extents_[1] - 1 &&
                              tap % extents_[2] == keys_to_the_left(extents_[2], side.key_padding);
        return weight(n, taps, identity);
    }
    Portable mix(Index n) const {
        const Index heads = extents_[1], within = n % (heads * heads);
        return weight(n, heads, within / heads == within % heads);
    }
    // An element of a linear map that sums `terms` of them.
    Portable weight(Index n, Index terms, bool identity) const {
        const int size = -half_logarithm(static_cast<std::uint64_t>(terms));
        if (before_softmax() && far_from_zero())
            return identity ? Portable{1, 0} : draw(n).bell().times_two_to(noise_exponent());
        if (before_softmax() && is("one-hot"))
            return identity ? Portable{1, 0} : draw(n).small(1).times_two_to(-3);
        if (exact() || is("one-hot")) return draw(n).small_not_zero().times_two_to(size);
        if (is("asymmetric")) return distinct(n).times_two_to(size);
        return draw(n).bell().times_two_to(size);
    }

    // 1 <= |x| < 2. The first 128 elements of a head are all different, and different from the next head's.
    Portable distinct(Index n) const {
        const Index rows = extents_.size() == 3 ? extents_[0] : 1;
        const Index each = std::max<Index>(count() / rows, 1);
        const int width = significand_width(dtype_);
        const std::int64_t one = std::int64_t{1} << (width - 1);
        const std::int64_t magnitude = one + (n % each * 37 + n / each * 11) * (one / 128) % one;
        return {draw(n).sign() * magnitude, 1 - width};
    }
    Index count() const {
        Index product = 1;
        for (const Index extent : extents_)
            product *= extent;
        return product;
    }

    // norm.weight, gate.weight, gate.bias
    Portable affine(Index n) const {
        const int size =
            tensor_ == "gate.weight" ? -half_logarithm(static_cast<std::uint64_t>(extents_.back())) : 0;
        if (exact() || is("one-hot")) return draw(n).small_not_zero().times_two_to(size);
        if (is("asymmetric")) return distinct(n).times_two_to(size);
        if (tensor_ == "norm.weight") return draw(n).around_one();
        return tensor_ == "gate.weight" ? draw(n).bell().times_two_to(size) : draw(n).flat();
    }

    std::string_view fill_, tensor_;
    std::vector<Index> extents_;
    const MultiTokenAttentionConfig& config_;
    std::uint64_t seed_;
    io::DType dtype_;
    std::uint32_t stream_;
};

}  // namespace mta::oracle::detail
