// A problem: a configuration with its inputs, parameters and cotangent; and what the reference makes of it.
// SPDX-License-Identifier: MIT
//
// Numbers are held as double and are exact in the type `dtype`, in which a candidate receives them.
// Errors   as evaluate (eval.hpp): FileError for tensors that are missing, misnamed or damaged, ShapeError for a
//          shape against the configuration.
#pragma once

#include <mta/oracle/eval.hpp>
#include <mta/oracle/results.hpp>

namespace mta::oracle {

struct Problem {
    std::string name;  // of the case; begins error sentences and reports
    CaseConfig config;
    io::DType dtype = io::DType::F32;  // F64, F32, BF16 or F16
    Tensor<double, 4> q, k, v;
    MultiTokenAttentionParams<double> params;
    std::optional<Tensor<double, 4>> d_out;  // none: forward only

    Index batch() const { return q.dimension(0); }
    Index sequence() const { return q.dimension(2); }
};

/// Calls f(name, tensor...) for q, k, v, every parameter and, where there is one, d_out.
template <class F, class... P>
void for_each_input(F&& f, P&... problem) {
    f(std::string_view("q"), problem.q...);
    f(std::string_view("k"), problem.k...);
    f(std::string_view("v"), problem.v...);
    MultiTokenAttentionParams<double>::for_each(f, problem.params...);
    if ((problem.d_out.has_value() && ...)) f(std::string_view("d_out"), *problem.d_out...);
}

/// Throws unless the tensors have the shapes that the configuration asks for.
inline void check_problem(const Problem& p) {
    mta::detail::check_multi_token_attention(p.q, p.k, p.v, p.params, p.config.attention, p.config.call());
    if (p.d_out) require_same_shape("d_out", p.d_out->dimensions(), p.q.dimensions());
}

/// What the reference computes in double: out, with d_out every gradient, with `stages` every stage.
inline Results reference_results(const Problem& p, bool stages = true) {
    Results r;
    const auto& config = p.config.attention;
    const auto call = p.config.call();
    const auto trace = multi_token_attention_forward(p.q, p.k, p.v, p.params, config, call);
    const auto put_stages = [&](const std::string& prefix, const auto& t) {
        MultiTokenAttentionTrace<double>::for_each(
            [&](std::string_view name, const auto& stage) { r.put(prefix + std::string(name), stage); }, t);
    };
    if (stages) put_stages("stage.", trace);
    r.put("out", trace.out());
    if (!p.d_out) return r;
    const auto g = multi_token_attention_backward(*p.d_out, p.q, p.k, p.v, p.params, config, call, trace);
    if (stages) put_stages("stage.d_", g.d_trace);
    r.put("grad.q", g.d_q);
    r.put("grad.k", g.d_k);
    r.put("grad.v", g.d_v);
    MultiTokenAttentionParams<double>::for_each(
        [&](std::string_view name, const auto& d) { r.put("grad." + std::string(name), d); }, g.d_params);
    return r;
}

/// The problem that a configuration and a file of inputs describe; `dtype` is that of q.
inline Problem problem_from_file(std::string name, const CaseConfig& config, const io::SafetensorsFile& in,
                                 Notes& notes) {
    detail::check_input_names(in, config.attention, notes);
    detail::check_inputs(in, config.attention);
    detail::check_digests(in);
    Problem p;
    p.name = std::move(name);
    p.config = config;
    p.dtype = in.find("q")->dtype;
    p.params = make_multi_token_attention_params<double>(config.attention);
    if (in.find("d_out") != nullptr) p.d_out.emplace();
    for_each_input(
        [&]<class T>(std::string_view tensor, T& member) {
            member = io::to_tensor<double, rank_of<T>>(in, tensor, io::Narrowing::round);
        },
        p);
    check_problem(p);
    return p;
}

/// The inputs as a file, in the problem's dtype, with mta.config and a digest of each tensor.
inline io::SafetensorsFile to_safetensors(const Problem& p) {
    io::SafetensorsFile file;
    for_each_input(
        [&](std::string_view name, const auto& t) {
            file.tensors.push_back(io::from_tensor(std::string(name), t, p.dtype));
        },
        p);
    io::sort_as_python(file);
    io::Metadata metadata{{"mta.config", to_json(p.config).dump()},
                          {"mta.generator", detail::sentence("mta ", MTA_VERSION_STRING)}};
    for (const auto& t : file.tensors)
        metadata.emplace_back("sha256." + t.name, sha256(t.bytes));
    file.metadata = std::move(metadata);
    return file;
}

/// Tensors of a file as double. Integer tensors are a FileError.
inline Results results_from_file(const io::SafetensorsFile& file) {
    Results r;
    for (const auto& t : file.tensors) {
        require<io::FileError>(io::is_floating(t.dtype), "result: tensor ", io::detail::in_quotes(t.name),
                               ": got dtype ", io::dtype_name(t.dtype), ", expected F64, F32, F16 or BF16");
        io::StoredTensor flat = t;
        flat.shape = {static_cast<std::int64_t>(t.bytes.size() / io::dtype_size(t.dtype))};
        const auto values = io::to_tensor<double, 1>(flat);
        NamedTensor named{t.name, {t.shape.begin(), t.shape.end()}, {}};
        named.values.assign(values.data(), values.data() + values.size());
        r.put(std::move(named));
    }
    return r;
}

}  // namespace mta::oracle
