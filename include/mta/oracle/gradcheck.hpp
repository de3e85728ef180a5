// Gradients against the candidate's own forward: central differences along random directions.
// SPDX-License-Identifier: MIT
//
// Formula   f(x) = <d_out, out(x)>. With x_k = x + k h u rounded to the input type, g the gradient in question:
//               numeric  = (8 (f(x_1) - f(x_-1)) - (f(x_2) - f(x_-2))) / 12
//               analytic = (8 <g, x_1 - x_-1> - <g, x_2 - x_-2>) / 12
//           The inputs that were really used stand on both sides, so that their rounding cancels to first order.
// Bound     for the truncation the difference between this formula and the same one with twice the step, which is
//           15 times its first term; plus 8 u root(sum (d_out out)^2) for independent roundings of out, plus 16 u root(sum (g dx)^2) for
//           those of g. u is the unit roundoff of the candidate's arithmetic.
// Step      0.3 u^(1/5) of the tensor's size, near where truncation and rounding of a fourth-order formula balance,
//           and a quarter and a sixteenth of it: blame needs all three to agree. Sparsemax has kinks: an eighth of it, and the
//           second differences are added to the bound.
// Errors    none: a candidate that does not answer fails with its sentence.
#pragma once

#include <mta/check/compare.hpp>
#include <mta/oracle/candidate.hpp>
#include <mta/oracle/detail/problem_edit.hpp>

namespace mta::oracle {

struct GradcheckOptions {
    int directions = 3;                   // per tensor; a tensor fails when more than a third of them do
    std::optional<double> unit_roundoff;  // of the candidate's arithmetic; default: of the problem's type
    std::uint64_t seed = 1;
    std::vector<std::string> only;  // gradients to check, "grad.q"; empty: all
};

/// One gradient along one direction, as one step shows it.
struct Slope {
    double analytic = 0, numeric = 0, rounding = 0, truncation = 0, step = 0;
    double bound() const { return rounding + truncation; }
    double gap() const { return std::abs(analytic - numeric); }
};

/// One gradient along one direction.
struct GradientSlope {
    std::array<Slope, 3> at;  // steps h, h/4, h/16

    /// Blame needs two steps that say no, and a slope that does not move when the step is quartered: near a norm of
    /// almost nothing, a function can be steep over less than a step.
    bool holds() const {
        const double gap = at[0].gap();
        const bool no = gap > at[0].bound() && at[1].gap() > at[1].bound();
        return !(no && moved(0) <= 0.25 * gap && moved(1) <= 0.25 * gap + at[2].rounding);
    }
    /// Whether a gradient that is wrong by its own size would have been blamed.
    bool sees() const {
        const double size = 0.5 * std::max(std::abs(at[0].analytic), std::abs(at[0].numeric));
        return at[0].bound() < size && at[1].bound() < size && moved(0) <= 0.5 * size &&
               moved(1) <= 0.5 * size + at[2].rounding;
    }

  private:
    double moved(std::size_t n) const { return std::abs(at[n].numeric - at[n + 1].numeric); }
};

struct GradientVerdict {
    std::string name;     // "grad.pre.kernel"
    bool judged = false;  // some direction could have failed
    bool holds = true;
    std::vector<GradientSlope> slopes;
    std::string sentence;
};

namespace detail {

// Why no slope could be taken.
struct NoSlope {
    std::string why;
};

class Gradcheck {
  public:
    Gradcheck(const Candidate& candidate, const Problem& p, const GradcheckOptions& options)
        : candidate_{candidate},
          p_{p},
          options_{options},
          u_{options.unit_roundoff.value_or(unit_roundoff_of(p.dtype))} {}

    std::vector<GradientVerdict> run() {
        std::vector<GradientVerdict> verdicts;
        std::optional<Results> given;
        std::string why;
        try {
            if (p_.d_out)
                given = asked(p_);
            else
                why = "not judged, the problem has no d_out";
        } catch (const NoSlope& end) {
            why = "FAIL, " + end.why;
        }
        for_each_input(
            [&](std::string_view input, const auto& x) {
                GradientVerdict v{"grad." + std::string(input), false, true, {}, why};
                const auto& only = options_.only;
                if (input == "d_out" ||
                    (!only.empty() && std::find(only.begin(), only.end(), v.name) == only.end()))
                    return;
                if (given)
                    judge(v, input, x, *given);
                else
                    v.holds = !p_.d_out;
                v.sentence = v.name + ": " + v.sentence;
                verdicts.push_back(std::move(v));
            },
            p_);
        return verdicts;
    }

  private:
    Results asked(const Problem& p) const {
        Answer a = candidate_.answer(p);
        if (a.outcome != Outcome::answered) throw NoSlope{"the candidate gave no answer: " + a.sentence};
        const auto* out = a.results.find("out");
        if (out == nullptr || std::ssize(out->values) != p.q.size())
            throw NoSlope{"the candidate gave no out of the shape of q"};
        return std::move(a.results);
    }

    template <class T>
    void judge(GradientVerdict& v, std::string_view input, const T& x, const Results& given) {
        const auto* g = given.find(v.name);
        if (g == nullptr || std::ssize(g->values) != x.size()) {
            v.sentence =
                g == nullptr ? "not judged, there is none" : "FAIL, it has another shape than its tensor";
            v.holds = g == nullptr;
            return;
        }
        std::vector<GradientSlope> wrong;
        try {
            for (int n = 0; n < options_.directions; ++n) {
                v.slopes.push_back(slope(input, x, *g, given.at("out"), n));
                v.judged |= v.slopes.back().sees();
                if (!v.slopes.back().holds()) wrong.push_back(v.slopes.back());
            }
        } catch (const NoSlope& end) {
            v.holds = false;
            v.sentence = "FAIL, " + end.why;
            return;
        }
        v.judged |= !wrong.empty();
        v.holds = 3 * wrong.size() <= static_cast<std::size_t>(options_.directions);
        v.sentence = described(v, wrong);
    }

    static std::string described(const GradientVerdict& v, const std::vector<GradientSlope>& wrong) {
        const auto say = [](const GradientSlope& slope) {
            const Slope& s = slope.at[0];
            return sentence("got ", s.analytic, ", expected ", s.numeric, " +- ",
                            check::detail::brief(s.bound()), " from the candidate's forward");
        };
        if (!v.holds)
            return sentence("FAIL along ", wrong.size(), " of ", v.slopes.size(),
                            " directions: ", say(wrong[0]));
        if (v.judged) return "ok, " + say(v.slopes[0]);
        return "not judged, the bound is as large as the slope: " + say(v.slopes[0]);
    }

    template <class T>
    GradientSlope slope(std::string_view input, const T& x, const NamedTensor& g, const NamedTensor& out,
                        int n) {
        Random random(options_.seed, 0x96adc + static_cast<std::uint64_t>(n));
        std::vector<double> u(static_cast<std::size_t>(x.size()));
        for (auto& element : u)
            element = random.normal();
        double square = 0;
        for (const double element : elements(x))
            square += element * element / static_cast<double>(x.size());
        double step = 0.3 * std::pow(u_, 0.2) * (square > 0 ? std::sqrt(square) : 1.0);
        // Sparsemax has kinks: shorter steps meet fewer.
        if (p_.config.attention.normalise == Normalise::sparsemax) step /= 8;
        GradientSlope found;
        for (auto& at : found.at) {
            at = difference(input, g, out, u, step);
            step /= 4;
        }
        return found;
    }

    long double f_of(const NamedTensor& out) const {
        long double f = 0;
        for (std::size_t n = 0; n < out.values.size(); ++n)
            f += static_cast<long double>(out.values[n]) * p_.d_out->data()[n];
        return f;
    }

    // f and <g, x_k - x> at k steps from x.
    struct Point {
        long double f = 0, along = 0, square = 0;
    };
    Point point(std::string_view input, const NamedTensor& g, std::span<const double> u, double step) const {
        Problem moved = p_;
        Point at;
        for_each_input(
            [&](std::string_view name, auto& t) {
                if (name != input) return;
                for (std::size_t n = 0; n < u.size(); ++n) {
                    double& x = t.data()[n];
                    const double to = rounded_to(p_.dtype, x + step * u[n]);
                    const long double term = static_cast<long double>(to - x) * g.values[n];
                    at.along += term;
                    at.square += term * term;
                    x = to;
                }
            },
            moved);
        moved.d_out.reset();
        const Results r = asked(moved);
        at.f = f_of(r.at("out"));
        return at;
    }

    Slope difference(std::string_view input, const NamedTensor& g, const NamedTensor& out,
                     std::span<const double> u, double step) const {
        std::array<Point, 3> ahead, behind;  // 1, 2 and 4 steps
        for (std::size_t n = 0; n < 3; ++n) {
            ahead[n] = point(input, g, u, step * static_cast<double>(1 << n));
            behind[n] = point(input, g, u, -step * static_cast<double>(1 << n));
        }
        const auto combine = [&](long double Point::*member, std::size_t n) {
            return (8 * (ahead[n].*member - behind[n].*member) -
                    (ahead[n + 1].*member - behind[n + 1].*member)) /
                   12;
        };
        const long double numeric = combine(&Point::f, 0), analytic = combine(&Point::along, 0);
        // Twice the step, both sides, so that the rounding of the inputs is not taken for truncation.
        const long double curved = combine(&Point::f, 1) - combine(&Point::along, 1);
        long double square = 0;
        for (std::size_t n = 0; n < out.values.size(); ++n) {
            const long double term = static_cast<long double>(out.values[n]) * p_.d_out->data()[n];
            square += term * term;
        }
        const long double rounding = u_ * (8 * std::sqrt(square) + 16 * std::sqrt(ahead[0].square));
        long double truncation = std::abs(curved / 2 - (numeric - analytic));
        if (p_.config.attention.normalise == Normalise::sparsemax)
            for (std::size_t n = 0; n < 3; ++n)  // a kink on the way shows in the second differences
                truncation +=
                    std::abs(ahead[n].f - 2 * f_of(out) + behind[n].f) / static_cast<long double>(1 << n);
        if (!std::isfinite(numeric) || !std::isfinite(analytic))
            throw NoSlope{sentence("the slope is not finite: got ", static_cast<double>(analytic),
                                   ", expected ", static_cast<double>(numeric))};
        return {static_cast<double>(analytic / step), static_cast<double>(numeric / step),
                static_cast<double>(rounding / step), static_cast<double>(truncation / step), step};
    }

    const Candidate& candidate_;
    const Problem& p_;
    const GradcheckOptions& options_;
    double u_;
};

}  // namespace detail

/// A verdict for the gradient of every input and parameter.
inline std::vector<GradientVerdict> check_gradients(const Candidate& candidate, const Problem& p,
                                                    const GradcheckOptions& options = {}) {
    return detail::Gradcheck(candidate, p, options).run();
}

}  // namespace mta::oracle
