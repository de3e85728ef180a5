// Norm and gate on one row of D numbers, forward and backward, without memory of their own.
// SPDX-License-Identifier: MIT
//
// Source    ops/rms_norm.hpp and ops/gate.hpp state the equations; rows and their order are those of the layer.
#pragma once

#include <cmath>
#include <mta/core/numeric.hpp>
#include <mta/layers/multi_token_attention_config.hpp>

namespace mta::fast {

/// The stages after the context; either may be absent.
template <class Scalar>
struct OutputStages {
    const RmsNormParams<Scalar>* norm = nullptr;
    const GateParams<Scalar>* gate = nullptr;
    Scalar factor{1}, eps{0};
    Index D = 1, gates = 0;

    OutputStages(const MultiTokenAttentionParams<Scalar>& params, const MultiTokenAttentionConfig& config)
        : norm{params.norm ? &*params.norm : nullptr},
          gate{params.gate ? &*params.gate : nullptr},
          eps{static_cast<Scalar>(config.eps)},
          D{config.head_dim},
          gates{params.gate ? params.gate->bias.size() : 0} {
        if (config.norm)
            factor = static_cast<Scalar>(rms_norm_factor({config.eps, *config.norm, config.layer_index}));
    }

    bool any() const { return norm != nullptr || gate != nullptr; }
    /// Scalars of room that a row needs: its normalised numbers, their gradients, the gates.
    Index room() const { return 3 * D; }
    /// Scalars of the gradients of the parameters: norm.weight, gate.weight, gate.bias.
    Index gradient_size() const { return (norm ? D : 0) + gates * (D + 1); }

    Scalar inverse_rms(const Scalar* x) const {
        Scalar sum{0};
        for (Index d = 0; d < D; ++d)
            sum += x[d] * x[d];
        return Scalar(1) / std::sqrt(sum / static_cast<Scalar>(D) + eps);
    }
    void normalise(const Scalar* x, Scalar* n) const {
        if (norm == nullptr) {
            std::copy_n(x, D, n);
            return;
        }
        const Scalar inverse = inverse_rms(x);
        for (Index d = 0; d < D; ++d)
            n[d] = factor * norm->weight.data()[d] * (x[d] * inverse);
    }
    Scalar gate_logit(const Scalar* n, Index o) const {
        Scalar z = gate->bias.data()[o];
        for (Index d = 0; d < D; ++d)
            z += gate->weight.data()[o * D + d] * n[d];
        return z;
    }

    /// out from the context of one token and head.
    void forward(const Scalar* context, Scalar* out, Scalar* room) const {
        normalise(context, room);
        const Index features = gates > 0 ? D / gates : D;
        for (Index o = 0; o < std::max<Index>(gates, 1); ++o) {
            const Scalar open = gate ? sigmoid(gate_logit(room, o)) : Scalar(1);
            for (Index d = o * features; d < (o + 1) * features; ++d)
                out[d] = gate ? room[d] * open : room[d];
        }
    }

    /// d_context; `gradients`: sums to add to, or null. A row without cotangent passes none, whatever it holds.
    void backward(const Scalar* d_out, const Scalar* context, Scalar* d_context, Scalar* gradients,
                  Scalar* room) const {
        if (all_zero(std::span(d_out, static_cast<std::size_t>(D))) || !any()) {
            std::copy_n(d_out, D, d_context);
            return;
        }
        Scalar *n = room, *d_n = room + D;
        normalise(context, n);
        std::copy_n(d_out, D, d_n);
        if (gate != nullptr)
            gate_backward(n, d_n, room + 2 * D, gradients == nullptr ? nullptr : gradients + (norm ? D : 0));
        norm_backward(context, d_n, d_context, gradients);
    }

  private:
    // d_n: the gradient of the output on entry, of the gate's input on return.
    void gate_backward(const Scalar* n, Scalar* d_n, Scalar* d_z, Scalar* gradients) const {
        const Index features = D / gates;
        for (Index o = 0; o < gates; ++o) {
            const Scalar z = gate_logit(n, o), open = sigmoid(z);
            Scalar d_open{0};
            for (Index d = o * features; d < (o + 1) * features; ++d) {
                d_open += d_n[d] * n[d];
                d_n[d] *= open;
            }
            d_z[o] = d_open * open * sigmoid(-z);
        }
        for (Index o = 0; o < gates; ++o) {
            for (Index d = 0; d < D; ++d)
                d_n[d] += d_z[o] * gate->weight.data()[o * D + d];
            if (gradients == nullptr) continue;
            for (Index d = 0; d < D; ++d)
                gradients[o * D + d] += d_z[o] * n[d];
            gradients[gates * D + o] += d_z[o];
        }
    }

    void norm_backward(const Scalar* x, const Scalar* d_n, Scalar* d_x, Scalar* gradients) const {
        if (norm == nullptr) {
            std::copy_n(d_n, D, d_x);
            return;
        }
        const Scalar inverse = inverse_rms(x);
        const Scalar* weight = norm->weight.data();
        Scalar along{0};
        for (Index d = 0; d < D; ++d)
            along += factor * weight[d] * d_n[d] * (x[d] * inverse);
        along /= static_cast<Scalar>(D);
        for (Index d = 0; d < D; ++d) {
            const Scalar normal = x[d] * inverse, d_out = d_n[d];
            if (gradients != nullptr) gradients[d] += factor * d_out * normal;
            d_x[d] = inverse * (factor * weight[d] * d_out - normal * along);
        }
    }
};

}  // namespace mta::fast
