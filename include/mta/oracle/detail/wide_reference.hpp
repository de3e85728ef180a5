// The reference in long double, its results split into a double and what is missing from it.
// SPDX-License-Identifier: MIT
#pragma once

#include <mta/oracle/problem.hpp>

namespace mta::oracle::detail {

/// Evaluates one problem in long double.
class WideReference {
  public:
    explicit WideReference(const Problem& p) : p_{p} {}

    /// out and, with d_out, every gradient; each as <name> and <name>.low.
    Results results() {
        using Wide = long double;
        const auto q = cast<Wide>(p_.q), k = cast<Wide>(p_.k), v = cast<Wide>(p_.v);
        auto params = make_multi_token_attention_params<Wide>(p_.config.attention);
        MultiTokenAttentionParams<Wide>::for_each(
            [](std::string_view, auto& to, const auto& from) { to = cast<Wide>(from); }, params, p_.params);
        const auto call = p_.config.call();
        const auto trace = multi_token_attention_forward(q, k, v, params, p_.config.attention, call);
        put("out", trace.out());
        if (!p_.d_out) return std::move(made_);
        const auto g = multi_token_attention_backward(cast<Wide>(*p_.d_out), q, k, v, params,
                                                      p_.config.attention, call, trace);
        put("grad.q", g.d_q);
        put("grad.k", g.d_k);
        put("grad.v", g.d_v);
        MultiTokenAttentionParams<Wide>::for_each(
            [&](std::string_view name, const auto& d) { put("grad." + std::string(name), d); }, g.d_params);
        return std::move(made_);
    }

  private:
    template <class T>
    void put(const std::string& name, const T& t) {
        auto high = zeros_like(cast<double>(t)), low = high;
        for (Index n = 0; n < t.size(); ++n) {
            high.data()[n] = static_cast<double>(t.data()[n]);
            low.data()[n] = static_cast<double>(t.data()[n] - static_cast<long double>(high.data()[n]));
        }
        made_.put(name, high);
        made_.put(name + ".low", low);
    }

    const Problem& p_;
    Results made_;
};

/// A tensor of results as F64.
inline io::StoredTensor stored(const NamedTensor& t) {
    io::StoredTensor made{t.name, io::DType::F64, {t.shape.begin(), t.shape.end()}, {}};
    made.bytes.resize(t.values.size() * sizeof(double));
    for (std::size_t n = 0; n < t.values.size(); ++n)
        io::detail::set_element_bits(made, n, std::bit_cast<std::uint64_t>(t.values[n]));
    return made;
}

}  // namespace mta::oracle::detail
