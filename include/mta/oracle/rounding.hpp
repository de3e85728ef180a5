// Where a kernel rounds: rounding profiles, and an arithmetic that follows one.
// SPDX-License-Identifier: MIT
//
// Rounding points (the keys of a profile)
//   io    inputs are exact in it; out and every gradient are rounded to it
//   mul   operands of the two matrix products (tensor cores that shorten them, tf32); default: not rounded
//   acc   every product and every partial sum of a reduction, exp, and what norm and gate compute
//   s     scores as they are kept between logits and normalisation, and their gradients; default: acc
//   p     weights as they are kept between normalisation and context, and their gradients; default: acc
//   o     context, norm and gate as they are kept between kernels, and their gradients; default: io
//   lse   the row statistic that a backward pass recomputes the weights from; default: acc
// Presets   fp64, fp32, tf32, bf16-flash, fp16-flash, bf16-eager, fp16-eager.
// Errors    ConfigError: an unknown preset, key or precision (naming the nearest known, or all).
#pragma once

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <mta/core/random.hpp>
#include <mta/io/dtype.hpp>
#include <mta/oracle/config.hpp>
#include <string>
#include <string_view>

namespace mta::oracle {

enum class Precision { fp64, fp32, tf32, bf16, fp16 };

namespace detail {

inline const Names<Precision> precision_names{{"fp64", Precision::fp64},
                                              {"fp32", Precision::fp32},
                                              {"tf32", Precision::tf32},
                                              {"bf16", Precision::bf16},
                                              {"fp16", Precision::fp16}};

// Bits of the significand, the hidden one included.
constexpr int significand_bits(Precision p) {
    constexpr std::array bits{53, 24, 11, 8, 11};
    return bits[static_cast<std::size_t>(p)];
}

}  // namespace detail

/// Largest relative error of rounding to nearest: half a unit in the last place of a number just above 1.
constexpr double unit_roundoff(Precision p) {
    return 1.0 / static_cast<double>(std::uint64_t{1} << detail::significand_bits(p));
}

/// x rounded to nearest, ties to even, with the format's subnormals and infinity.
constexpr double round_to(Precision p, double x) {
    using io::detail::FloatFormat;
    constexpr FloatFormat wide = io::detail::format_of<double>;
    if (p == Precision::fp64) return x;
    if (p == Precision::fp32) return static_cast<float>(x);
    constexpr std::array<FloatFormat, 3> formats{FloatFormat{8, 10}, io::detail::bfloat16_format,
                                                 io::detail::half_format};
    const FloatFormat narrow = formats[static_cast<std::size_t>(p) - 2];
    const std::uint64_t bits = io::detail::narrow_bits(std::bit_cast<std::uint64_t>(x), wide, narrow);
    return std::bit_cast<double>(io::detail::widen_bits(bits, narrow, wide));
}

/// The dtype that holds numbers of this precision (tf32 is kept in 32 bits).
constexpr io::DType dtype_of(Precision p) {
    constexpr std::array types{io::DType::F64, io::DType::F32, io::DType::F32, io::DType::BF16,
                               io::DType::F16};
    return types[static_cast<std::size_t>(p)];
}

/// The precision of this floating-point dtype.
constexpr Precision precision_of(io::DType dtype) {
    return dtype == io::DType::F64    ? Precision::fp64
           : dtype == io::DType::BF16 ? Precision::bf16
           : dtype == io::DType::F16  ? Precision::fp16
                                      : Precision::fp32;
}

struct RoundingProfile {
    Precision io = Precision::fp32;
    Precision multiply = Precision::fp64;
    Precision accumulate = Precision::fp32;
    Precision scores = Precision::fp32;
    Precision weights = Precision::fp32;
    Precision outputs = Precision::fp32;
    Precision lse = Precision::fp32;

    bool operator==(const RoundingProfile&) const = default;
};

namespace detail {

struct RoundingPreset {
    std::string_view name;
    RoundingProfile profile;
    std::string_view sentence;
};

inline const std::vector<RoundingPreset>& rounding_presets() {
    using enum Precision;
    static const std::vector<RoundingPreset> presets{
        {"fp64", {fp64, fp64, fp64, fp64, fp64, fp64, fp64}, "double throughout"},
        {"fp32", {fp32, fp64, fp32, fp32, fp32, fp32, fp32}, "float throughout"},
        {"tf32", {fp32, tf32, fp32, fp32, fp32, fp32, fp32}, "float, matrix products on tf32 tensor cores"},
        {"bf16-flash", {bf16, fp64, fp32, fp32, bf16, bf16, fp32}, "bf16 tensors and weights, float scores"},
        {"fp16-flash", {fp16, fp64, fp32, fp32, fp16, fp16, fp32}, "fp16 tensors and weights, float scores"},
        {"bf16-eager", {bf16, fp64, fp32, bf16, bf16, bf16, fp32}, "every stage is stored as bf16"},
        {"fp16-eager", {fp16, fp64, fp32, fp16, fp16, fp16, fp32}, "every stage is stored as fp16"}};
    return presets;
}

// The words of a text, separated by spaces or commas.
inline std::vector<std::string> words_of(std::string_view text) {
    std::vector<std::string> words;
    std::string word;
    for (const char c : text) {
        if (c != ' ' && c != ',') {
            word += c;
        } else if (!word.empty()) {
            words.push_back(std::move(word));
            word.clear();
        }
    }
    if (!word.empty()) words.push_back(std::move(word));
    return words;
}

inline Precision parse_precision(const std::string& name, const std::string& key) {
    std::vector<std::string> known;
    for (const auto& [text, precision] : precision_names) {
        if (name == text) return precision;
        known.emplace_back(text);
    }
    throw ConfigError(sentence("rounding: ", key, ": got ", io::detail::in_quotes(name), ", ",
                               io::nearest_or_all(name, known)));
}

// `name` is what is unknown in the word: a preset, or the key of a pair.
[[noreturn]] inline void refuse_rounding_word(const std::string& word, const std::string& name,
                                              const std::vector<std::string>& known) {
    const std::string expected = io::nearest_or_all(name, known);
    const bool all = name == word && expected.starts_with("expected");
    throw ConfigError(sentence("rounding: got ", io::detail::in_quotes(word), ", ", expected,
                               all ? ", or pairs io=... acc=..." : ""));
}

}  // namespace detail

/// The profile of a preset's name, or of pairs "io=bf16 acc=fp32 p=bf16 lse=fp32" (io and acc default to fp32).
inline RoundingProfile parse_rounding(std::string_view text) {
    std::vector<std::string> known;
    for (const auto& preset : detail::rounding_presets()) {
        if (text == preset.name) return preset.profile;
        known.emplace_back(preset.name);
    }
    const auto words = detail::words_of(text);
    require<ConfigError>(!words.empty(), "rounding: got an empty text, expected a preset or io=... acc=...");
    const std::vector<std::string> keys{"io", "mul", "acc", "s", "p", "o", "lse"};
    std::array<std::optional<Precision>, 7> given;
    for (const auto& word : words) {
        const auto equals = word.find('=');
        const std::string key = word.substr(0, equals);
        const auto at = std::find(keys.begin(), keys.end(), key) - keys.begin();
        const bool pair = equals != std::string::npos;
        if (!pair || at == std::ssize(keys))
            detail::refuse_rounding_word(word, pair ? key : word, pair ? keys : known);
        auto& member = given[static_cast<std::size_t>(at)];
        require<ConfigError>(!member, "rounding: ", key, ": got it twice, expected it once");
        member = detail::parse_precision(word.substr(equals + 1), key);
    }
    RoundingProfile p;
    p.io = given[0].value_or(Precision::fp32);
    p.multiply = given[1].value_or(Precision::fp64);
    p.accumulate = given[2].value_or(Precision::fp32);
    p.scores = given[3].value_or(p.accumulate);
    p.weights = given[4].value_or(p.accumulate);
    p.outputs = given[5].value_or(p.io);
    p.lse = given[6].value_or(p.accumulate);
    return p;
}

/// The preset's name, or the pairs that parse_rounding reads.
inline std::string describe(const RoundingProfile& p) {
    for (const auto& preset : detail::rounding_presets())
        if (p == preset.profile) return std::string(preset.name);
    std::string text;
    const auto say = [&](std::string_view key, Precision precision) {
        text += (text.empty() ? "" : " ") + std::string(key) + "=" +
                detail::name_of(detail::precision_names, precision);
    };
    say("io", p.io);
    say("mul", p.multiply);
    say("acc", p.accumulate);
    say("s", p.scores);
    say("p", p.weights);
    say("o", p.outputs);
    say("lse", p.lse);
    return text;
}

/// How a model computes: exactly in double, with random errors of up to half a unit in the last place at every
/// rounding point of a profile, or rounding there as the formats do.
class Arithmetic {
  public:
    static Arithmetic exact() { return {Mode::exact, {}, 0}; }
    /// Deterministic in the seed; errors of up to `size` times half a unit.
    static Arithmetic perturbed(const RoundingProfile& profile, std::uint64_t seed, double size = 1) {
        Arithmetic a{Mode::perturbed, profile, seed};
        a.size_ = size;
        return a;
    }
    static Arithmetic rounded(const RoundingProfile& profile) { return {Mode::rounded, profile, 0}; }

    const RoundingProfile& profile() const { return profile_; }
    bool is_exact() const { return mode_ == Mode::exact; }

    /// x as it is after being stored in this precision.
    double stored(Precision p, double x) {
        if (mode_ == Mode::exact) return x;
        if (mode_ == Mode::rounded) return round_to(p, x);
        return p == Precision::fp64 ? x : x + unit_roundoff(p) * noise() * x;
    }

    /// A sum of products: its value, and the squares of its terms and partial sums, which say how far rounding can
    /// move it.
    struct Sum {
        double value = 0, squares = 0;
    };
    void add(Sum& sum, double a, double b) const {
        if (mode_ == Mode::rounded) return add_rounded(sum, a * b);
        const double term = a * b;
        sum.value += term;
        sum.squares += term * term + sum.value * sum.value;
    }
    /// The sum in the accumulator: every term and every partial sum rounded once.
    double finish(const Sum& sum) {
        if (mode_ != Mode::perturbed) return sum.value;
        return sum.value + unit_roundoff(profile_.accumulate) * std::sqrt(sum.squares) * noise();
    }
    /// One more sum added to a partial one, as a later block of a reduction is.
    void merge(Sum& sum, const Sum& more) const {
        if (mode_ == Mode::rounded) return add_rounded(sum, more.value);
        sum.value += more.value;
        sum.squares += more.squares + sum.value * sum.value;
    }

  private:
    enum class Mode { exact, perturbed, rounded };

    Arithmetic(Mode mode, const RoundingProfile& profile, std::uint64_t seed)
        : mode_{mode}, profile_{profile}, state_{(seed + 1) * 0x9E3779B97F4A7C15} {}

    void add_rounded(Sum& sum, double term) const {
        if (profile_.accumulate == Precision::fp32) {
            sum.value = static_cast<float>(sum.value) + static_cast<float>(term);
        } else {
            sum.value = round_to(profile_.accumulate, sum.value + round_to(profile_.accumulate, term));
        }
    }
    // Uniform in [-size, size]: splitmix64, since quality matters little and speed does.
    double noise() {
        std::uint64_t z = state_ += 0x9E3779B97F4A7C15;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
        return static_cast<double>(static_cast<std::int64_t>(z ^ (z >> 31))) * 0x1p-63 * size_;
    }

    Mode mode_;
    RoundingProfile profile_;
    std::uint64_t state_;
    double size_ = 1;
};

}  // namespace mta::oracle
