// The model's norm and gate, forward and backward, with switches for bugs.
// SPDX-License-Identifier: MIT
#pragma once

#include <mta/oracle/detail/model_context.hpp>

namespace mta::oracle::detail {

/// The norm of one problem, right or wrong: y = factor * weight * (x - centre) * inverse.
class Norm {
  public:
    Norm(const ModelContext& c, const Knobs& k) : c_{c}, k_{k.norm}, batch_{k.batch} {
        RmsNormConfig config{c.config.eps, *c.config.norm,
                             c.config.layer_index + (k_.layer_from_one ? 1 : 0)};
        if (k_.other_factor && config.factor != RmsNormFactor::one)
            config.factor =
                config.factor == RmsNormFactor::depth ? RmsNormFactor::layer : RmsNormFactor::depth;
        factor_ = k_.no_factor ? 1 : rms_norm_factor(config);
        eps_ = k_.no_eps ? 0 : k_.small_eps ? c.config.eps / 10 : c.config.eps;
        together_ = k_.all_heads ? c.H : 1;
    }

    Grid forward(const Grid& x) const {
        Grid y = x;
        each_row(x, [&](Index b, Index h, Index i, double centre, double inverse) {
            for (Index d = 0; d < c_.D; ++d)
                y.row(b, h, i)[d] =
                    accumulated(c_, factor_ * weight(d) * ((x.row(b, h, i)[d] - centre) * inverse));
        });
        return y;
    }

    Grid backward(const Grid& d_y, const Grid& x) const {
        Grid d_x = x;
        each_row(x, [&](Index b, Index h, Index i, double centre, double inverse) {
            double along = 0, mean = 0;
            Sum sum;
            for (Index o = h / together_ * together_; o < (h / together_ + 1) * together_; ++o)
                for (Index d = 0; d < c_.D; ++d)
                    c_.arithmetic.add(sum, factor_ * weight(d) * d_y.row(b, o, i)[d],
                                      x.row(b, o, i)[d] - centre);
            for (Index d = 0; d < c_.D && k_.centred; ++d)
                mean += factor_ * weight(d) * d_y.row(b, h, i)[d] / static_cast<double>(c_.D);
            if (!k_.no_coupling) along = c_.arithmetic.finish(sum) * slope(inverse);
            for (Index d = 0; d < c_.D; ++d)
                d_x.row(b, h, i)[d] = accumulated(
                    c_, inverse * (accumulated(c_, factor_ * weight(d) * d_y.row(b, h, i)[d]) - mean) -
                            accumulated(c_, (x.row(b, h, i)[d] - centre) * along));
        });
        return d_x;
    }

    std::vector<double> backward_weight(const Grid& d_y, const Grid& x) const {
        ParameterSums sums(c_, static_cast<std::size_t>(c_.D));
        each_row(x, [&](Index b, Index h, Index i, double centre, double inverse) {
            const double scale = k_.unnormalised_weight_gradient ? factor_ : factor_ * inverse;
            for (Index d = 0; d < c_.D && !k_.no_weight; ++d)
                sums.add(b, static_cast<std::size_t>(d), d_y.row(b, h, i)[d],
                         accumulated(c_, scale * (x.row(b, h, i)[d] - centre)));
        });
        return sums.finish(batch_);
    }

  private:
    double weight(Index d) const {
        const double own = c_.problem.params.norm->weight(d);
        return k_.no_weight ? 1 : k_.weight_plus_one ? 1 + own : own;
    }

    // How the inverse depends on an element: d inverse / d x = -slope * x.
    double slope(double inverse) const {
        const double width = static_cast<double>(c_.D * together_);
        if (k_.sum_of_squares) return inverse * inverse * inverse;
        if (!k_.eps_outside) return inverse * inverse * inverse / width;
        return inverse * inverse / (width * (1 / inverse - eps_));
    }

    // Calls f(b, h, i, centre, inverse) for the vector of every head of every token.
    template <class F>
    void each_row(const Grid& x, F&& f) const {
        for (Index b = 0; b < c_.B; ++b)
            for (Index h = 0; h < c_.H; ++h)
                for (Index i = 0; i < c_.S; ++i) {
                    double centre = 0;
                    for (Index d = 0; d < c_.D && k_.centred; ++d)
                        centre += x.row(b, h, i)[d] / static_cast<double>(c_.D);
                    f(b, h, i, centre, inverse(x, b, h, i, centre));
                }
    }
    double inverse(const Grid& x, Index b, Index h, Index i, double centre) const {
        Sum sum;
        for (Index o = h / together_ * together_; o < (h / together_ + 1) * together_; ++o)
            for (Index d = 0; d < c_.D; ++d) {
                const double z = x.row(b, o, i)[d] - centre;
                c_.arithmetic.add(sum, z, z);
            }
        const double width = k_.sum_of_squares ? 1 : static_cast<double>(c_.D * together_);
        const double mean = c_.arithmetic.finish(sum) / width;
        return accumulated(c_, k_.eps_outside ? 1 / (std::sqrt(mean) + eps_) : 1 / std::sqrt(mean + eps_));
    }

    const ModelContext& c_;
    NormKnobs k_;
    BatchKnob batch_;
    double factor_ = 1, eps_ = 0;
    Index together_ = 1;  // heads that share a statistic
};

/// The gate of one problem, right or wrong: y = x * sigmoid(gate(read)), where read is x unless a bug reads another.
class Gate {
  public:
    Gate(const ModelContext& c, const Knobs& k)
        : c_{c}, k_{k.gate}, batch_{k.batch}, gates_{c.config.gate == GateKind::vector ? c.D : 1} {}

    Grid forward(const Grid& x, const Grid& read) const {
        Grid y = x;
        each_gate(read, [&](Index b, Index h, Index i, Index o, double z) {
            const double factor = value(z) + (k_.residual ? 1 : 0);
            for (Index d = first(o); d < last(o); ++d)
                y.row(b, h, i)[d] = accumulated(c_, x.row(b, h, i)[d] * factor);
        });
        return y;
    }

    /// d_x, and added to d_read what flows through the gate.
    Grid backward(const Grid& d_y, const Grid& x, const Grid& read, Grid& d_read) const {
        Grid d_x = d_y;
        each_gate(read, [&](Index b, Index h, Index i, Index o, double z) {
            const double factor = k_.no_direct_path ? 0 : value(z) + (k_.residual ? 1 : 0);
            for (Index d = first(o); d < last(o); ++d)
                d_x.row(b, h, i)[d] = accumulated(c_, d_y.row(b, h, i)[d] * factor);
            const double d_z = k_.no_gate_path ? 0 : gradient(d_y, x, b, h, i, o, z);
            for (Index d = 0; d < c_.D; ++d)
                d_read.row(b, h, i)[d] += accumulated(c_, d_z * weight(o, d));
        });
        return d_x;
    }

    void backward_params(const Grid& d_y, const Grid& x, const Grid& read, std::vector<double>& d_weight,
                         std::vector<double>& d_bias) const {
        ParameterSums weights(c_, static_cast<std::size_t>(gates_ * c_.D)),
            bias(c_, static_cast<std::size_t>(gates_));
        each_gate(read, [&](Index b, Index h, Index i, Index o, double z) {
            const double d_z = gradient(d_y, x, b, h, i, o, z);
            if (!k_.no_bias && !k_.no_bias_gradient && (!k_.last_token_bias || i == c_.S - 1))
                bias.add(b, static_cast<std::size_t>(o), d_z, 1);
            for (Index d = 0; d < c_.D; ++d)
                weights.add(b, place(o, d), d_z, read.row(b, h, i)[d]);
        });
        d_weight = weights.finish(batch_);
        d_bias = bias.finish(batch_);
    }

  private:
    std::size_t place(Index o, Index d) const {
        return static_cast<std::size_t>(k_.transposed && gates_ > 1 ? d * gates_ + o : o * c_.D + d);
    }
    double weight(Index o, Index d) const { return c_.problem.params.gate->weight.data()[place(o, d)]; }
    Index first(Index o) const { return gates_ == 1 ? 0 : o; }
    Index last(Index o) const { return gates_ == 1 ? c_.D : o + 1; }
    double value(double z) const {
        return accumulated(c_, k_.tanh  ? std::tanh(z)
                               : z >= 0 ? 1 / (1 + std::exp(-z))
                                        : std::exp(z) / (1 + std::exp(z)));
    }
    double gradient(const Grid& d_y, const Grid& x, Index b, Index h, Index i, Index o, double z) const {
        Sum sum;
        for (Index d = first(o); d < last(o); ++d)
            c_.arithmetic.add(sum, d_y.row(b, h, i)[d], x.row(b, h, i)[d]);
        const double s = value(z), other = k_.tanh ? 1 - s * s : value(-z);
        const double slope = k_.slope == GateSlopeKnob::of_tanh    ? 1 - s * s
                             : k_.slope == GateSlopeKnob::of_value ? s
                             : k_.tanh                             ? other
                                                                   : s * other;
        return accumulated(c_, c_.arithmetic.finish(sum) * slope);
    }
    template <class F>
    void each_gate(const Grid& read, F&& f) const {
        for (Index b = 0; b < c_.B; ++b)
            for (Index h = 0; h < c_.H; ++h)
                for (Index i = 0; i < c_.S; ++i)
                    for (Index o = 0; o < gates_; ++o) {
                        Sum sum;
                        for (Index d = 0; d < c_.D; ++d)
                            c_.arithmetic.add(sum, weight(o, d), read.row(b, h, i)[d]);
                        const double bias = k_.no_bias ? 0 : c_.problem.params.gate->bias(o);
                        f(b, h, i, o, accumulated(c_, c_.arithmetic.finish(sum) + bias));
                    }
    }

    const ModelContext& c_;
    GateKnobs k_;
    BatchKnob batch_;
    Index gates_;
};

}  // namespace mta::oracle::detail
