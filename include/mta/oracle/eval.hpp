// Evaluates a case: tensors in, output, gradients and stages of the reference (or another backend) out.
// SPDX-License-Identifier: MIT
//
// Tensors in    q, k, v; pre.kernel, pre.mix, post.kernel, post.mix, norm.weight, gate.weight, gate.bias as
//               configured; optional d_out.
// Tensors out   out; with d_out grad.q, grad.k, grad.v, grad.<parameter>; with trace stage.<name> and, with
//               d_out, stage.d_<name>.
// Metadata out  mta.config, mta.generator, the input's mta.seed if it has one, sha256.<tensor>. Where the input
//               carries sha256.<tensor>, it must hold.
// Errors        FileError: a tensor is missing, misnamed, damaged or not floating point. ShapeError: its
//               shape against the configuration. UnsupportedError: the reference would not fit into memory.
#pragma once

#include <unistd.h>

#include <functional>
#include <mta/io/safetensors.hpp>
#include <mta/layers/attention_backend.hpp>
#include <mta/oracle/config.hpp>
#include <mta/oracle/sha256.hpp>
#include <mta/version.hpp>
#include <string>
#include <vector>

namespace mta::oracle {

/// A case that is valid, and more than this program or machine can run.
struct UnsupportedError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

struct EvalOptions {
    io::DType dtype = io::DType::F64;  // F64 or F32: the arithmetic and the type of what is written
    bool trace = false;                // write the stages too
};

/// What evaluate found worth saying although it is no error.
using Notes = std::vector<std::string>;

namespace detail {

inline const std::vector<std::string> input_names{"q",           "k",           "v",        "pre.kernel",
                                                  "pre.mix",     "post.kernel", "post.mix", "norm.weight",
                                                  "gate.weight", "gate.bias",   "d_out"};

// Refuses names that mean nothing; notes tensors that this configuration does not read.
inline void check_input_names(const io::SafetensorsFile& in, const MultiTokenAttentionConfig& config,
                              Notes& notes) {
    std::vector<std::string> used{"q", "k", "v", "d_out"};
    const auto shapes = make_multi_token_attention_params<ShapeOnly>(config);
    MultiTokenAttentionParams<ShapeOnly>::for_each(
        [&](std::string_view name, const auto&) { used.emplace_back(name); }, shapes);
    const auto contains = [](const auto& names, const auto& name) {
        return std::find(names.begin(), names.end(), name) != names.end();
    };
    for (const auto& t : in.tensors) {
        require<io::FileError>(contains(input_names, t.name), "input: unknown tensor ",
                               io::detail::in_quotes(t.name), ", ", io::nearest_or_all(t.name, input_names));
        if (!contains(used, t.name))
            notes.push_back(sentence("input: tensor ", io::detail::in_quotes(t.name),
                                     " is not read: the configuration has no such stage"));
    }
}

inline void check_digests(const io::SafetensorsFile& in) {
    for (const auto& t : in.tensors) {
        const auto expected = in.metadata_value("sha256." + t.name);
        if (!expected) continue;
        const std::string got = sha256(t.bytes);
        require<io::FileError>(got == *expected, "input: tensor ", io::detail::in_quotes(t.name),
                               ": got SHA-256 ", got, ", expected ", io::detail::in_quotes(*expected),
                               " as its metadata says");
    }
}

// The input's tensor of this name; `shape` is for the sentence when there is none.
inline const io::StoredTensor& input(const io::SafetensorsFile& in, std::string_view name,
                                     const std::string& shape) {
    if (const io::StoredTensor* found = in.find(name)) return *found;
    const auto names = in.tensor_names();
    const std::string nearest =
        names.empty() ? ""
                      : "; the nearest name there is " + io::detail::in_quotes(io::nearest_name(name, names));
    throw io::FileError(sentence("input: tensor ", io::detail::in_quotes(name),
                                 ": got none of this name, expected one of shape ", shape, nearest));
}

// Throws unless the input holds a floating-point tensor of this name and shape.
inline void check_input(const io::SafetensorsFile& in, std::string_view name,
                        const std::vector<std::int64_t>& shape) {
    const auto& t = input(in, name, sentence(shape));
    const std::string where = "input: tensor " + io::detail::in_quotes(name);
    require<io::FileError>(io::is_floating(t.dtype), where, ": got dtype ", io::dtype_name(t.dtype),
                           ", expected F64, F32, F16 or BF16");
    require_same_shape(where, t.shape, shape);
}

// Judges every shape before anything of a configured size is allocated.
inline void check_inputs(const io::SafetensorsFile& in, const MultiTokenAttentionConfig& config) {
    const auto& q = input(in, "q", "[B, H, S, D]").shape;
    require(q.size() == 4, "input: tensor 'q': got shape ", q, ", expected 4 dimensions [B, H, S, D]");
    const std::int64_t B = q[0], S = q[2], D = config.head_dim;
    check_input(in, "q", {B, config.heads, S, D});
    check_input(in, "k", {B, config.key_value_heads(), S, D});
    check_input(in, "v", {B, config.key_value_heads(), S, D});
    const auto params = make_multi_token_attention_params<ShapeOnly>(config);
    MultiTokenAttentionParams<ShapeOnly>::for_each(
        [&](std::string_view name, const auto& shape) {
            check_input(in, name, {shape.dimensions().begin(), shape.dimensions().end()});
        },
        params);
    if (in.find("d_out") != nullptr) check_input(in, "d_out", {B, config.heads, S, D});
}

// What a case needs at once: `maps` score matrices (B, H, S, S) and `vectors` tensors of the size of q.
struct MemoryNeed {
    std::vector<std::int64_t> q;  // shape
    int maps = 0;
    int vectors = 16;
    std::size_t element_size = sizeof(double);

    double bytes() const {
        const auto extent = [&](std::size_t axis) { return static_cast<double>(q[axis]); };
        return extent(0) * extent(1) * extent(2) * (maps * extent(2) + vectors * extent(3)) *
               static_cast<double>(element_size);
    }
};

// Refuses what would not fit into this machine; `what` begins the sentence.
inline void require_memory(std::string_view what, const MemoryNeed& need) {
    const double memory =
        static_cast<double>(::sysconf(_SC_PHYS_PAGES)) * static_cast<double>(::sysconf(_SC_PAGESIZE));
    if (need.bytes() > memory)
        throw UnsupportedError(sentence(what, ": the reference needs about ",
                                        std::ceil(need.bytes() / 0x1p30), " GiB for q of shape ", need.q,
                                        " and ", need.maps, " score matrices, expected at most the ",
                                        std::floor(memory / 0x1p30), " GiB of this machine"));
}

inline int score_stages(const MultiTokenAttentionConfig& config) {
    return 2 + config.pre.has_conv() + config.pre.has_mix() + config.post.has_conv() + config.post.has_mix();
}

// Refuses a case whose largest tensors alone would not fit: what is alive at once are the score matrices of
// every stage, as many of their gradients, copies of both to be written, and temporaries.
inline void check_memory(const io::SafetensorsFile& in, const MultiTokenAttentionConfig& config,
                         EvalOptions options) {
    const int maps = score_stages(config) * (in.find("d_out") ? 2 : 1) * (options.trace ? 2 : 1) + 3;
    require_memory("eval", {in.at("q").shape, maps, 16, io::dtype_size(options.dtype)});
}

/// A backend under the name that files carry as mta.generator.
template <class Backend>
struct NamedBackend {
    std::string_view name;
    Backend backend;
};

// One evaluation in one scalar type.
template <class Scalar, class Backend>
class Evaluation {
  public:
    Evaluation(const CaseConfig& config, const io::SafetensorsFile& in, EvalOptions options,
               const NamedBackend<Backend>& who)
        : config_{config}, in_{in}, options_{options}, who_{who} {}

    io::SafetensorsFile run() {
        const auto q = tensor<4>("q"), k = tensor<4>("k"), v = tensor<4>("v");
        auto params = make_multi_token_attention_params<Scalar>(config_.attention);
        MultiTokenAttentionParams<Scalar>::for_each(
            [&]<class T>(std::string_view name, T& member) { member = tensor<rank_of<T>>(name); }, params);
        const AttentionCall call = config_.call();
        const auto result = who_.backend.forward(q, k, v, params, config_.attention, call);
        put("out", result.out);
        put_stages("stage.", result.saved);
        if (in_.find("d_out") != nullptr)
            put_gradients(who_.backend.backward(tensor<4>("d_out"), q, k, v, params, config_.attention, call,
                                                result.saved));
        return finish();
    }

  private:
    template <int Rank>
    Tensor<Scalar, Rank> tensor(std::string_view name) const {
        return io::to_tensor<Scalar, Rank>(in_, name, io::Narrowing::round);
    }
    template <class T>
    void put(const std::string& name, const T& t) {
        out_.tensors.push_back(io::from_tensor(name, t, options_.dtype));
    }
    // What another backend saves is its own business.
    template <class Saved>
    void put_stages(const std::string&, const Saved&) {}
    void put_stages(const std::string& prefix, const MultiTokenAttentionTrace<Scalar>& trace) {
        if (!options_.trace) return;
        MultiTokenAttentionTrace<Scalar>::for_each(
            [&](std::string_view name, const auto& stage) { put(prefix + std::string(name), stage); }, trace);
    }
    template <class Grads>
    void put_gradients(const Grads& g) {
        put("grad.q", g.d_q);
        put("grad.k", g.d_k);
        put("grad.v", g.d_v);
        MultiTokenAttentionParams<Scalar>::for_each(
            [&](std::string_view name, const auto& d) { put("grad." + std::string(name), d); }, g.d_params);
        if constexpr (requires { g.d_trace; }) put_stages("stage.d_", g.d_trace);
    }
    io::SafetensorsFile finish() {
        io::sort_as_python(out_);
        io::Metadata metadata{{"mta.config", to_json(config_).dump()},
                              {"mta.generator", sentence("mta ", MTA_VERSION_STRING, " ", who_.name, " ",
                                                         io::dtype_name(options_.dtype))}};
        if (const auto seed = in_.metadata_value("mta.seed")) metadata.emplace_back("mta.seed", *seed);
        for (const auto& t : out_.tensors)
            metadata.emplace_back("sha256." + t.name, sha256(t.bytes));
        out_.metadata = std::move(metadata);
        return std::move(out_);
    }

    const CaseConfig& config_;
    const io::SafetensorsFile& in_;
    EvalOptions options_;
    const NamedBackend<Backend>& who_;
    io::SafetensorsFile out_;
};

}  // namespace detail

/// The tensors that a backend computes for this case; `who` goes into the metadata. Only the reference has stages and
/// needs memory for them.
template <class Backend>
io::SafetensorsFile evaluate_with(std::string_view who, const Backend& backend, const CaseConfig& config,
                                  const io::SafetensorsFile& in, EvalOptions options, Notes& notes) {
    constexpr bool reference = std::is_same_v<Backend, Reference>;
    require<ValueError>(options.dtype == io::DType::F64 || options.dtype == io::DType::F32,
                        "evaluate: dtype: got ", io::dtype_name(options.dtype), ", expected F64 or F32");
    if (options.trace && !reference)
        throw UnsupportedError(mta::detail::sentence("eval: --trace: got the backend '", who,
                                                     "', which keeps no stages, expected 'reference'"));
    detail::check_input_names(in, config.attention, notes);
    detail::check_inputs(in, config.attention);
    if (reference) detail::check_memory(in, config.attention, options);
    detail::check_digests(in);
    const detail::NamedBackend<Backend> named{who, backend};
    if (options.dtype == io::DType::F32)
        return detail::Evaluation<float, Backend>(config, in, options, named).run();
    return detail::Evaluation<double, Backend>(config, in, options, named).run();
}

/// The tensors that the reference computes for this case.
inline io::SafetensorsFile evaluate(const CaseConfig& config, const io::SafetensorsFile& in,
                                    EvalOptions options, Notes& notes) {
    return evaluate_with("reference", Reference{}, config, in, options, notes);
}

}  // namespace mta::oracle
