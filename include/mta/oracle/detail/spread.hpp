// How far perturbed runs of the model stray from an exact one, and the tolerances that follow from it.
// SPDX-License-Identifier: MIT
//
// Not finite  where a perturbed run is NaN or infinite and the exact one is not, any finite value is as good as
//             another: the deviation is infinite, and so is the tolerance of that row. The same kind of not finite
//             in both is no deviation.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <mta/oracle/detail/judged_positions.hpp>
#include <mta/oracle/results.hpp>
#include <utility>
#include <vector>

namespace mta::oracle::detail {

// Upper 99.9 percent bound of an rms that was estimated from n independent numbers, over the estimate: the square
// root of n over the 0.1 percent quantile of chi-squared (Wilson and Hilferty).
inline double rms_confidence(double n) {
    const double a = 2.0 / (9.0 * n);
    const double quantile = std::pow(std::max(0.25, 1 - a - 3.0902 * std::sqrt(a)), 3);
    return 1.0 / std::sqrt(quantile);
}

// A copy with the name and shape of t and zeros for values.
inline NamedTensor zeros_of(const NamedTensor& t) {
    return {t.name, t.shape, std::vector<double>(t.values.size())};
}

inline double largest_magnitude(const NamedTensor& t, const JudgedPositions& judged) {
    double largest = 0;
    judged.for_each(t, [&](std::size_t n, Index, Index) {
        if (std::isfinite(t.values[n])) largest = std::max(largest, std::abs(t.values[n]));
    });
    return largest;
}

// Sums of squared deviations of perturbed runs from an exact one.
class Spread {
  public:
    static constexpr double steep = 0.1;  // error of a score above which weights follow no linear law

    explicit Spread(const Results& exact) : exact_{exact} {
        for (const auto& t : exact_.tensors) {
            squares_.push_back(zeros_of(t));
            largest_.push_back(squares_.back().values);
        }
    }

    void add(const Results& perturbed) {
        ++runs_;
        for_each_deviation(perturbed, [&](std::size_t at, std::size_t n, double deviation) {
            squares_[at].values[n] += deviation * deviation;
            largest_[at][n] = std::max(largest_[at][n], deviation);
        });
    }
    /// A run with larger errors: how far results jump, not how far they spread.
    void widen(const Results& perturbed) {
        for_each_deviation(perturbed, [&](std::size_t at, std::size_t n, double deviation) {
            largest_[at][n] = std::max(largest_[at][n], deviation);
        });
    }

    /// The tolerance of every tensor, for values of about the size of the exact run's.
    Results tolerances(const JudgedPositions& judged, double factor, double io_roundoff) const {
        Results r;
        const double steepness = score_error(judged);
        for (std::size_t at = 0; at < squares_.size(); ++at) {
            const double largest = largest_magnitude(exact_.tensors[at], judged);
            NamedTensor t = squares_[at];
            const bool after_scores = pipeline_position(t.name) >= pipeline_position("stage.weights");
            const bool pooled = after_scores && steepness > steep,
                       lawless = after_scores && steepness > 10 * steep;
            raise_to_rows(t, judged, factor, pooled ? mean_square(t, judged) : 0);
            const double floor = 0.05 * io_roundoff * largest + 8 * 0x1p-52 * largest;
            judged.for_each(exact_.tensors[at], [&](std::size_t n, Index, Index) {
                t.values[n] = lawless ? std::numeric_limits<double>::infinity()
                                      : std::max(t.values[n], 1.5 * largest_[at][n]) + floor;
            });
            r.put(std::move(t));
        }
        return r;
    }

    /// How far rounding alone moves a score that is normalised: the largest rms.
    double score_error(const JudgedPositions& judged) const {
        const NamedTensor* scores = nullptr;
        for (const auto& t : squares_)
            if (pipeline_position(t.name) < pipeline_position("stage.weights") &&
                (scores == nullptr || pipeline_position(t.name) > pipeline_position(scores->name)))
                scores = &t;
        return scores == nullptr ? 0 : std::sqrt(largest_magnitude(*scores, judged) / runs_);
    }

  private:
    template <class F>
    void for_each_deviation(const Results& perturbed, const F& f) const {
        for (std::size_t at = 0; at < squares_.size(); ++at) {
            const auto& got = perturbed.at(squares_[at].name).values;
            const auto& want = exact_.tensors[at].values;
            for (std::size_t n = 0; n < want.size(); ++n)
                f(at, n, deviation_of(got[n], want[n]));
        }
    }
    static double deviation_of(double got, double want) {
        if (got == want || (std::isnan(got) && std::isnan(want))) return 0;
        const double deviation = std::abs(got - want);
        return std::isnan(deviation) ? std::numeric_limits<double>::infinity() : deviation;
    }
    static double mean_square(const NamedTensor& squares, const JudgedPositions& judged) {
        double sum = 0, numbers = 0;
        judged.for_each(squares, [&](std::size_t n, Index, Index) { sum += squares.values[n], ++numbers; });
        return sum / std::max(1.0, numbers);
    }

    // Squares become factor * c(n) * max(own rms, rms of the row).
    void raise_to_rows(NamedTensor& t, const JudgedPositions& judged, double factor, double at_least) const {
        const Index width = t.row_length();
        const Index rows = width == 0 ? 0 : static_cast<Index>(t.values.size()) / width;
        for (Index r = 0; r < rows; ++r) {
            const KeyRange part = judged.in_row(t, r);
            double sum = 0;
            for (Index j = part.begin; j < part.end; ++j)
                sum += t.values[static_cast<std::size_t>(r * width + j)];
            const double numbers = static_cast<double>(part.end - part.begin);
            // Elements of a row share causes (one rounded query): as good as 4 independent numbers, not more.
            const double row = std::max(at_least, sum / std::max(1.0, numbers));
            const double scale = factor * rms_confidence(std::min(numbers, 4.0) * runs_);
            for (Index j = 0; j < width; ++j) {
                double& x = t.values[static_cast<std::size_t>(r * width + j)];
                x = part.contains(j) ? scale * std::sqrt(std::max(x, row) / runs_) : 0;
            }
        }
    }

    const Results& exact_;
    std::vector<NamedTensor> squares_;
    std::vector<std::vector<double>> largest_;
    int runs_ = 0;
};

}  // namespace mta::oracle::detail
