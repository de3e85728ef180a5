// The model: a second evaluator of the whole operator, with switches for bugs and for where a kernel rounds.
// SPDX-License-Identifier: MIT
//
// Three uses. With no deviation and exact arithmetic it is an independent witness for the reference. With
// perturbed arithmetic its spread says how far a correct kernel of a rounding profile may be off. With a
// deviation it is a wrong kernel, of which a candidate's mistakes can be recognised.
// Resynchronisation   every stage that the candidate exported replaces the model's own after that was kept, so each
//                     tensor is what the stage makes of the candidate's previous one: a local expectation.
// Names, shapes       as in the file contract; stages hold 0 where a key is not visible.
#pragma once

#include <mta/oracle/detail/model_outputs.hpp>
#include <mta/oracle/results.hpp>

namespace mta::oracle {

namespace detail {

/// One run of the model.
class Model {
  public:
    Model(const Problem& problem, Arithmetic& arithmetic, const Deviation& deviation,
          const Results* candidate)
        : c_{problem, arithmetic},
          f_{deviation.forward},
          g_{deviation.backward},
          p_{deviation.parameters},
          candidate_{candidate} {}

    void forward() {
        scores_forward();
        outputs_forward();
    }
    /// Needs forward() and a d_out.
    void backward() { outputs_backward(); }
    /// From here on gradients are wrong in another way. The forward pass that was run must be that deviation's.
    void follow(const Deviation& deviation) {
        g_ = deviation.backward;
        p_ = deviation.parameters;
    }
    const Results& results() const { return results_; }
    Results take_results() { return std::move(results_); }

  private:
    bool present(std::string_view name) const {
        const auto& config = c_.config;
        return name == "pre_conv"    ? config.pre.has_conv() && !f_.pre.skip
               : name == "pre_mix"   ? config.pre.has_mix() && !f_.pre_mix.skip
               : name == "post_conv" ? config.post.has_conv() && !f_.post.skip
                                     : config.post.has_mix() && !f_.post_mix.skip;
    }

    // Keeps a stage of scores in the results, then lets the candidate's own take its place.
    void keep_scores(const std::string& name, Grid& grid) {
        const bool logits = name == "stage.logits" || name == "stage.d_logits";
        const bool ahead = logits && c_.config.mask == MaskRule::exact && c_.config.pre.has_conv();
        const AttentionMask mask{c_.config.mask, c_.documents};
        NamedTensor t{name, {c_.B, c_.H, c_.S, c_.S}, std::vector<double>(grid.x.size())};
        const NamedTensor* foreign = exported(name, t.shape);
        for (Index b = 0; b < c_.B; ++b)
            for (Index h = 0; h < c_.H; ++h)
                for (Index i = 0; i < c_.S; ++i) {
                    const KeyRange range = mask.keys(b, i, c_.S, ahead ? c_.config.pre.query_kernel - 1 : 0);
                    for (Index j = range.begin; j < range.end; ++j) {
                        double& x = grid.row(b, h, i)[j];
                        const auto at = static_cast<std::size_t>(&x - grid.x.data());
                        t.values[at] = x;
                        if (foreign != nullptr) x = foreign->values[at];
                    }
                }
        results_.put(std::move(t));
    }
    void keep_outputs(const std::string& name, Grid& grid) {
        for (double& x : grid.x)
            x = c_.stored(c_.arithmetic.profile().outputs, x);
        keep_vectors(name, grid);
    }
    void keep_vectors(const std::string& name, Grid& grid) {
        NamedTensor t{name, {c_.B, grid.heads, c_.S, c_.D}, grid.x};
        if (const NamedTensor* foreign = exported(name, t.shape)) grid.x = foreign->values;
        results_.put(std::move(t));
    }
    void keep_parameter(const std::string& name, const std::vector<double>& values) {
        MultiTokenAttentionParams<double>::for_each(
            [&](std::string_view parameter, const auto& t) {
                if (name != parameter) return;
                const auto extents = t.dimensions();
                results_.put(NamedTensor{"grad." + name, {extents.begin(), extents.end()}, values});
            },
            c_.problem.params);
    }
    const NamedTensor* exported(const std::string& name, const std::vector<Index>& shape) const {
        const NamedTensor* t = candidate_ == nullptr ? nullptr : candidate_->find(name);
        return t != nullptr && t->shape == shape ? t : nullptr;
    }

    void scores_forward() {
        const bool wide = reaches_future(c_, f_);
        logits_ = logits_forward(c_, f_);
        keep_scores("stage.logits", logits_);
        mixed_ = logits_;
        mix_forward(true, wide, mixed_, pre_conv_);
        weights_ = weights_forward(c_, f_, mixed_);
        keep_scores("stage.weights", weights_);
        final_ = weights_;
        mix_forward(false, wide, final_, post_conv_);
    }
    // A bug: heads are mixed and then convolved.
    bool mixes_first(const Knobs& k, bool before) const {
        const auto& config = before ? c_.config.pre : c_.config.post;
        return (before ? k.pre_mix : k.post_mix).before_conv && config.has_conv() && config.has_mix();
    }
    // Convolution and mixing on one side of the softmax: `scores` in and out, `conv` what the second of them read.
    void mix_forward(bool before, bool wide, Grid& scores, Grid& conv) {
        const std::string side = before ? "pre" : "post";
        const auto& config = before ? c_.config.pre : c_.config.post;
        if (mixes_first(f_, before)) {
            conv = scores = mix_scores(c_, f_, before, scores, /*wide=*/true, /*adjoint=*/false);
            keep_scores("stage." + side + "_mix", scores);
        }
        if (config.has_conv()) {
            if (present(side + "_conv")) scores = conv_forward(c_, f_, before, scores, wide);
            keep_scores("stage." + side + "_conv", scores);
        }
        if (!config.has_mix() || mixes_first(f_, before)) return;
        conv = scores;
        if (present(side + "_mix")) scores = mix_scores(c_, f_, before, scores, wide, /*adjoint=*/false);
        keep_scores("stage." + side + "_mix", scores);
    }

    void outputs_forward() {
        context_ =
            context_forward(c_, f_, f_.context_from_weights ? weights_ : final_, reads_future_values(c_, f_));
        keep_outputs("stage.context", context_);
        norm_ = context_;
        if (c_.config.norm) {
            if (!f_.norm.skip) norm_ = Norm(c_, f_).forward(context_);
            keep_outputs("stage.norm", norm_);
        }
        Grid out = norm_;
        if (c_.config.gate) {
            if (!f_.gate.skip) out = Gate(c_, f_).forward(norm_, f_.gate.reads_context ? context_ : norm_);
            keep_outputs("stage.gate", out);
        }
        for (double& x : out.x)
            x = c_.stored(c_.arithmetic.profile().io, x);
        results_.put(NamedTensor{"out", {c_.B, c_.H, c_.S, c_.D}, std::move(out.x)});
    }

    void outputs_backward() {
        Grid d(c_.B, c_.H, c_.S, c_.D), d_context(c_.B, c_.H, c_.S, c_.D);
        std::copy_n(c_.problem.d_out->data(), d.x.size(), d.x.begin());
        if (c_.config.gate) {
            keep_vectors("stage.d_gate", d);
            d = gate_backward(d, d_context);
        }
        if (c_.config.norm) {
            keep_outputs("stage.d_norm", d);
            keep_parameter("norm.weight",
                           p_.norm.skip ? zeros("norm.weight") : Norm(c_, p_).backward_weight(d, context_));
            if (!g_.norm.skip) d = Norm(c_, g_).backward(d, context_);
        }
        for (std::size_t n = 0; n < d.x.size(); ++n)
            d.x[n] += d_context.x[n];
        keep_outputs("stage.d_context", d);
        scores_backward(d);
    }
    Grid gate_backward(const Grid& d, Grid& d_context) {
        std::vector<double> d_weight = zeros("gate.weight"), d_bias = zeros("gate.bias");
        const auto read = [&](const Knobs& k) -> const Grid& {
            return k.gate.reads_context ? context_ : norm_;
        };
        if (!p_.gate.skip) Gate(c_, p_).backward_params(d, norm_, read(p_), d_weight, d_bias);
        keep_parameter("gate.weight", d_weight);
        keep_parameter("gate.bias", d_bias);
        if (g_.gate.skip) return d;
        Grid d_read(c_.B, c_.H, c_.S, c_.D);
        Grid d_x = Gate(c_, g_).backward(d, norm_, read(g_), d_read);
        Grid& into = g_.gate.reads_context ? d_context : d_x;
        for (std::size_t n = 0; n < d_read.x.size(); ++n)
            into.x[n] += d_read.x[n];
        return d_x;
    }

    void scores_backward(const Grid& d_context) {
        const bool wide = reaches_future(c_, g_), reads = reads_future_values(c_, g_);
        Grid d_v(c_.B, c_.Hkv, c_.S, c_.D);
        context_backward_values(c_, g_, d_context, final_, weights_, reads, d_v);
        Grid d = context_backward_weights(c_, g_, d_context, final_, reads);
        Grid unused(c_.B, c_.H, c_.S, c_.S);  // a bug: nothing reads the post-softmax stages
        mix_backward(false, wide, g_.context_from_weights ? unused : d, weights_, post_conv_);
        keep_scores("stage.d_weights", d);
        Grid from_output(c_.B, c_.H, c_.S, 1);
        for (std::size_t n = 0; n < d_context.x.size(); ++n)
            from_output.x[n / static_cast<std::size_t>(c_.D)] += d_context.x[n] * context_.x[n];
        const Grid remade = g_.weights_from_logits ? weights_forward(c_, g_, logits_) : Grid();
        d = weights_backward(c_, g_, mixed_,
                             g_.weights_from_logits    ? remade
                             : g_.final_weights_factor ? final_
                                                       : weights_,
                             d, from_output);
        mix_backward(true, wide, d, logits_, pre_conv_);
        keep_scores("stage.d_logits", d);
        Grid d_q(c_.B, c_.H, c_.S, c_.D), d_k(c_.B, c_.Hkv, c_.S, c_.D);
        logits_backward(c_, g_, d, d_q, d_k);
        keep_vectors("grad.q", d_q);
        keep_vectors("grad.k", d_k);
        keep_vectors("grad.v", d_v);
    }
    // Backwards through mixing and convolution; `scores` are their input, `conv` what the second of them read.
    void mix_backward(bool before, bool wide, Grid& d, const Grid& scores, const Grid& conv) {
        if (mixes_first(g_, before)) {
            conv_stage_backward(before, wide, d, conv);
            return mix_stage_backward(before, /*wide=*/true, d, scores);
        }
        const bool from_input = (before ? p_.pre_mix : p_.post_mix).from_conv_input;
        mix_stage_backward(before, wide, d, from_input ? scores : conv);
        conv_stage_backward(before, wide, d, scores);
    }
    void mix_stage_backward(bool before, bool wide, Grid& d, const Grid& in) {
        const std::string side = before ? "pre" : "post";
        if (!(before ? c_.config.pre : c_.config.post).has_mix()) return;
        keep_scores("stage.d_" + side + "_mix", d);
        const MixKnobs &p = before ? p_.pre_mix : p_.post_mix, &g = before ? g_.pre_mix : g_.post_mix;
        keep_parameter(side + ".mix",
                       p.skip ? zeros(side + ".mix") : mix_backward_weights(c_, p_, before, d, in, wide));
        if (!g.skip) d = mix_scores(c_, g_, before, d, wide, /*adjoint=*/true);
    }
    void conv_stage_backward(bool before, bool wide, Grid& d, const Grid& in) {
        const std::string side = before ? "pre" : "post";
        if (!(before ? c_.config.pre : c_.config.post).has_conv()) return;
        keep_scores("stage.d_" + side + "_conv", d);
        const ConvKnobs &p = before ? p_.pre : p_.post, &g = before ? g_.pre : g_.post;
        keep_parameter(side + ".kernel",
                       p.skip ? zeros(side + ".kernel") : conv_backward_kernel(c_, p_, before, d, in, wide));
        if (!g.skip) d = conv_backward_scores(c_, g_, before, d, wide);
    }
    std::vector<double> zeros(const std::string& parameter) const {
        std::size_t size = 0;
        MultiTokenAttentionParams<double>::for_each(
            [&](std::string_view name, const auto& t) {
                if (name == parameter) size = static_cast<std::size_t>(t.size());
            },
            c_.problem.params);
        return std::vector<double>(size);
    }

    ModelContext c_;
    Knobs f_, g_, p_;  // of the forward pass, of the gradients of inputs, of those of parameters
    const Results* candidate_;
    Results results_;
    Grid logits_, pre_conv_, mixed_, weights_, post_conv_, final_, context_, norm_;
};

}  // namespace detail

/// Every tensor of the file contract for this problem: stages, out, and with d_out all gradients.
inline Results run_model(const Problem& problem, Arithmetic& arithmetic, const Deviation& deviation = {},
                         const Results* resynchronise_with = nullptr) {
    detail::Model model(problem, arithmetic, deviation, resynchronise_with);
    model.forward();
    if (problem.d_out) model.backward();
    return model.take_results();
}

}  // namespace mta::oracle
