// Identities between gradients that need no reference: what a change of units must leave alone.
// SPDX-License-Identifier: MIT
//
// Source    Multi-Token Attention, arXiv:2504.00927, Secs. 3.1 to 3.3: every stage but the softmax, the norm and
//           the gate is linear in each of its factors, so scaling one factor is scaling another. Derivations,
//           index conventions and conditions: docs/oracle/identities.md.
// Names     qk, qk_channels, q_pre_kernel, q_pre_mix, pre_kernel_pre_mix, keys_sum; v_post_mix, v_post_kernel,
//           post_kernel_post_mix, v_out, v_norm, norm_weight, values_sum.
// Cost      O(inputs): nothing of the size S x S is computed.
// Errors    none: an identity that cannot be judged says why in its sentence.
#pragma once

#include <mta/oracle/detail/identity_check.hpp>

namespace mta::oracle {

/// Accepted error, relative to the sum of the magnitudes of all terms. Sums in float or double lose some roundoffs on
/// their way (docs/oracle/identities.md: 25 were seen); storing what is summed in 16 bits costs one per factor.
inline double identity_tolerance(double unit_roundoff) {
    return std::min(256 * unit_roundoff, 4 * unit_roundoff + 256 * 0x1p-24);
}

namespace detail {

// Kernel and mix sum logits times gradients: what cancels there counts as terms. A kernel of n taps, a mix of n heads
// adds up root n of it.
inline Sums with_offsets(const IdentityCheck& x, Sums s) {
    double terms = 1;
    if (x.c.pre.has_conv()) terms *= static_cast<double>(x.c.pre.query_kernel * x.c.pre.key_kernel);
    if (x.c.pre.has_mix()) terms *= static_cast<double>(x.c.pre.mix_group);
    const auto sizes = offset_sizes(x.p, x.places, x.r.at("grad.q"));
    for (std::size_t h = 0; h < sizes.size(); ++h)
        if (s.size[h] > 0) s.size[h] += std::sqrt(terms) * sizes[h];
    return s;
}

// Scaling the logits of head h is scaling q_h, its key head, its kernel, or its column of the mix.
inline void query_side_identities(IdentityCheck& x) {
    const auto& pre = x.p.params.pre;
    if (auto* v = x.begin("qk", "<dQ,Q> = <dK,K>", "kv head", {"grad.q", "grad.k"}))
        x.judge(*v, x.to_kv_heads(x.by_head("grad.q", x.p.q)), x.by_head("grad.k", x.p.k));
    if (auto* v = x.begin("qk_channels", "dQ'Q = (dK'K)'", "batch, token, kv head", {"grad.q", "grad.k"}))
        x.judge(*v, projected(x.p, x.places, x.r.at("grad.q"), x.p.q, x.along.a, x.along.b),
                projected(x.p, x.places, x.r.at("grad.k"), x.p.k, x.along.b, x.along.a), x.places.names);
    if (pre.conv)
        if (auto* v = x.begin("q_pre_kernel", "<dQ,Q> = <dKpre,Kpre>", "head", {"grad.q", "grad.pre.kernel"}))
            x.judge(*v, with_offsets(x, x.by_head("grad.q", x.p.q)),
                    x.by_kernel_head("grad.pre.kernel", pre.conv->kernel));
    if (pre.mix)
        if (auto* v = x.begin("q_pre_mix", "<dQ,Q> = sum_o dWpre[o,h] Wpre[o,h]", "head",
                              {"grad.q", "grad.pre.mix"}))
            x.judge(*v, with_offsets(x, x.by_head("grad.q", x.p.q)),
                    x.by_mix_input("grad.pre.mix", pre.mix->mix));
    if (pre.conv && pre.mix)
        if (auto* v = x.begin("pre_kernel_pre_mix", "<dKpre,Kpre> = sum_o dWpre[o,h] Wpre[o,h]", "head",
                              {"grad.pre.kernel", "grad.pre.mix", "grad.q"}))
            x.judge(*v, with_offsets(x, x.by_kernel_head("grad.pre.kernel", pre.conv->kernel)),
                    x.by_mix_input("grad.pre.mix", pre.mix->mix));
}

// Scaling the context of head g is scaling row g of the mix, without one the kernel of g, and v of its key head
// scales all of its query heads. Norm and gate come later and do not matter.
inline void value_side_identities(IdentityCheck& x) {
    const auto& post = x.p.params.post;
    if (post.mix)
        if (auto* v = x.begin("v_post_mix", "<dV,V> = sum_h dWpost[g,h] Wpost[g,h]", "kv head",
                              {"grad.v", "grad.post.mix"}))
            x.judge(*v, x.by_head("grad.v", x.p.v),
                    x.to_kv_heads(x.by_mix_output("grad.post.mix", post.mix->mix)));
    if (post.conv && !post.mix)
        if (auto* v = x.begin("v_post_kernel", "<dV,V> = <dKpost,Kpost>", "kv head",
                              {"grad.v", "grad.post.kernel"}))
            x.judge(*v, x.by_head("grad.v", x.p.v),
                    x.to_kv_heads(x.by_kernel_head("grad.post.kernel", post.conv->kernel)));
    if (post.conv && post.mix)
        if (auto* v = x.begin("post_kernel_post_mix", "<dKpost,Kpost> = sum_g dWpost[g,h] Wpost[g,h]", "head",
                              {"grad.post.kernel", "grad.post.mix"}))
            x.judge(*v, x.by_kernel_head("grad.post.kernel", post.conv->kernel),
                    x.by_mix_input("grad.post.mix", post.mix->mix));
}

/// <d_out, out> + <d gate.weight, gate.weight>, by channel: what the gate receives, seen from behind.
inline Sums behind_the_gate(const IdentityCheck& x) {
    const Index D = x.c.head_dim;
    Sums s = products(x.r.at("out"), *x.p.d_out, D, x.p.dtype, [=](Index n) { return n % D; });
    if (x.p.params.gate) s.add(x.by_channel("grad.gate.weight", x.p.params.gate->weight));
    return s;
}

inline std::vector<const char*> with_gate(const IdentityCheck& x, std::vector<const char*> needed) {
    if (x.p.params.gate) needed.push_back("grad.gate.weight");
    return needed;
}

// The context against what comes out of it: exact without a norm, also through a gate.
inline void output_identities(IdentityCheck& x) {
    const std::string why_not = x.p.d_out ? "" : "the problem has no d_out";
    if (!x.p.params.norm) {
        const auto needed = with_gate(x, {"grad.v", "out"});
        if (auto* v = x.begin("v_out", "<dV,V> = <d_out,out> + <dWgate,Wgate>", "channel", needed, why_not))
            x.judge(*v, x.by_channel("grad.v", x.p.v), behind_the_gate(x));
        return;
    }
    const auto needed = with_gate(x, {"grad.norm.weight", "out"});
    if (auto* v = x.begin("norm_weight", "dw w = <d_out,out> + <dWgate,Wgate>", "channel", needed, why_not))
        x.judge(*v, x.by_channel("grad.norm.weight", x.p.params.norm->weight), behind_the_gate(x));
}

// What the norm gives out and its gradient: exported stages, or, without a gate, the output itself.
struct NormSeen {
    const double *n = nullptr, *d_n = nullptr;
    std::string why_not;

    explicit NormSeen(const IdentityCheck& x) {
        const auto *stage = x.r.find("stage.norm"), *d_stage = x.r.find("stage.d_norm"),
                   *out = x.r.find("out");
        const auto fits = [&](const NamedTensor* t) {
            return t != nullptr && std::ssize(t->values) == x.p.q.size();
        };
        if (!x.c.gate && fits(out) && x.p.d_out)
            n = out->values.data(), d_n = x.p.d_out->data();
        else if (fits(stage) && fits(d_stage))
            n = stage->values.data(), d_n = d_stage->values.data();
        else
            why_not = "a gate hides the norm, and stage.norm and stage.d_norm are not there";
        for (const double w : elements(x.p.params.norm->weight))
            if (w == 0) why_not = "the norm's weight holds a 0";
    }
};

// <d x, x> of a normalised row is <d n, n> eps r^2, and eps r^2 = 1 - mean (n / (factor weight))^2.
inline void norm_identity(IdentityCheck& x) {
    if (!x.p.params.norm) return;
    const NormSeen seen(x);
    auto* v = x.begin("v_norm", "<dV,V> = <dN,N> eps r^2", "kv head", {"grad.v"}, seen.why_not);
    if (v == nullptr) return;
    const Index D = x.c.head_dim, Hkv = x.c.key_value_heads();
    const long double factor = rms_norm_factor({x.c.eps, *x.c.norm, x.c.layer_index});
    const auto& weight = x.p.params.norm->weight;
    Sums right(Hkv);
    for_each_row(x.p, x.places, x.c.heads, [&](Index key, Index row, Index) {
        long double square = 0, inner = 0, size = 0;
        for (Index d = 0; d < D; ++d) {
            const long double n = seen.n[row * D + d], unit = n / (factor * weight(d));
            square += unit * unit / static_cast<long double>(D);
            inner += n * seen.d_n[row * D + d];
            size += std::abs(n * seen.d_n[row * D + d]);
        }
        // Both terms of the difference carry an error of the size of their own.
        right.add(key % Hkv, inner * (1 - square), size * (1 + square));
    });
    x.judge(*v, x.by_head("grad.v", x.p.v), right);
}

inline double largest_in_channel(const Tensor<double, 4>& t, Index channel) {
    double most = 0;
    for (Index n = channel; n < t.size(); n += t.dimension(3))
        most = std::max(most, std::abs(t.data()[n]));
    return most;
}

/// The largest, over heads, of the sum of |t| under a head.
template <class Key>
long double largest_sum(const Tensor<double, 3>& t, Index heads, Key&& key) {
    std::vector<long double> sums(static_cast<std::size_t>(heads));
    for (Index n = 0; n < t.size(); ++n)
        sums[static_cast<std::size_t>(key(n))] += std::abs(t.data()[n]);
    return *std::max_element(sums.begin(), sums.end());
}

// A bound on |d logits[i,j]| / weights[i,j], where nothing follows the context: the size of what cancels in it.
inline long double logit_gradient_bound(const IdentityCheck& x) {
    long double bound = 0;
    for (Index d = 0; d < x.c.head_dim; ++d)
        bound += static_cast<long double>(largest_in_channel(*x.p.d_out, d)) * largest_in_channel(x.p.v, d);
    if (const auto& conv = x.p.params.post.conv) {
        const Index taps = conv->kernel.dimension(1) * conv->kernel.dimension(2);
        bound *= largest_sum(conv->kernel, x.c.heads, [=](Index n) { return n / taps; });
    }
    for (const auto* side : {&x.p.params.post, &x.p.params.pre}) {
        if (!side->mix) continue;
        const Index Ch = side->mix->mix.dimension(1);
        bound *= largest_sum(side->mix->mix, x.c.heads, [=](Index n) { return n / (Ch * Ch) * Ch + n % Ch; });
    }
    return bound * std::abs(x.c.scale.value_or(1 / std::sqrt(static_cast<double>(x.c.head_dim))));
}

inline std::string not_linear_after_the_weights(const IdentityCheck& x) {
    if (!x.p.d_out) return "the problem has no d_out";
    return x.c.norm || x.c.gate ? "a norm or gate follows the context" : "";
}

// One vector added to every key adds the same to every score of a row, which the normalisation does not see.
inline void keys_sum_identity(IdentityCheck& x) {
    auto* v = x.begin("keys_sum", "sum_j dK[j] = 0", "batch, token, kv head", {"grad.k"},
                      x.c.pre.has_conv() ? "the convolution before the softmax has zeros around it"
                                         : not_linear_after_the_weights(x));
    if (v == nullptr) return;
    const auto one = [](Index) { return Projection(1); };
    const Sums left =
        summed(x.p, x.places, x.r.at("grad.k").values.data(), x.c.key_value_heads(), x.along.a, one);
    const auto queries = summed(x.p, x.places, x.p.q.data(), x.c.heads, x.along.a, one);
    Sums zero(x.places.keys());
    const long double bound = logit_gradient_bound(x);
    for (std::size_t n = 0; n < queries.size.size(); ++n)
        zero.add(static_cast<Index>(n), 0, left.size[n] > 0 ? bound * queries.size[n] : 0);
    x.judge(*v, left, zero, x.places.names);
}

// Rows of weights sum to 1, after the mix to the sum of its row.
inline void values_sum_identity(IdentityCheck& x) {
    auto* v = x.begin(
        "values_sum", "sum_j dV[j] = sum_i d_out[i] sum_h Wpost[g,h]", "batch, token, kv head", {"grad.v"},
        x.c.post.has_conv() ? "rows of post_conv do not sum to 1" : not_linear_after_the_weights(x));
    if (v == nullptr) return;
    const auto one = [](Index) { return Projection(1); };
    const auto row_sum = [&](Index g) {
        if (!x.p.params.post.mix) return Projection(1);
        const auto& mix = x.p.params.post.mix->mix;
        const Index Ch = mix.dimension(1);
        const std::vector<double> ones(static_cast<std::size_t>(Ch), 1.0);
        return Projection(ones, mix.data() + g * Ch);
    };
    x.judge(*v, summed(x.p, x.places, x.r.at("grad.v").values.data(), x.c.key_value_heads(), x.along.a, one),
            summed(x.p, x.places, x.p.d_out->data(), x.c.heads, x.along.a, row_sum), x.places.names);
}

}  // namespace detail

/// Judges every identity that the configuration has on the candidate's gradients. `unit_roundoff` is that of the
/// coarsest arithmetic that the gradients went through: 2^-53 double, 2^-24 float, 2^-8 bf16.
inline std::vector<IdentityVerdict> check_identities(const Problem& p, const Results& r,
                                                     double unit_roundoff) {
    detail::IdentityCheck x(p, r, identity_tolerance(unit_roundoff));
    detail::query_side_identities(x);
    detail::keys_sum_identity(x);
    detail::value_side_identities(x);
    detail::output_identities(x);
    detail::norm_identity(x);
    detail::values_sum_identity(x);
    return std::move(x.verdicts);
}

}  // namespace mta::oracle
