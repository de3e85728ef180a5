// Everything that one call through the C interface points to: tensors in guarded memory, configuration, names.
// SPDX-License-Identifier: MIT
#pragma once

#include <mta/oracle/c_api.h>

#include <deque>
#include <mta/oracle/detail/guarded_buffer.hpp>
#include <mta/oracle/detail/judged_positions.hpp>
#include <mta/oracle/problem.hpp>
#include <mta/oracle/results.hpp>

namespace mta::oracle::detail {

/// How the tensors of one call are laid out and what outputs hold before it.
struct CallLayout {
    int parity = 0;  // which tensors touch a forbidden region with their end, and which with their start
    Poison poison = Poison::nan;
    bool misaligned = false, padded_rows = false;
};

inline std::int32_t dtype_code(io::DType dtype) {
    switch (dtype) {
        case io::DType::F64:
            return MTA_FLOAT64;
        case io::DType::F32:
            return MTA_FLOAT32;
        case io::DType::F16:
            return MTA_FLOAT16;
        default:
            return MTA_BFLOAT16;
    }
}

/// Stages that a configuration has, in the order of the pipeline.
inline std::vector<std::string> configured_stages(const MultiTokenAttentionConfig& c) {
    const auto present = [&](std::string_view name) {
        if (name == "pre_conv") return c.pre.has_conv();
        if (name == "pre_mix") return c.pre.has_mix();
        if (name == "post_conv") return c.post.has_conv();
        if (name == "post_mix") return c.post.has_mix();
        if (name == "norm") return c.norm.has_value();
        if (name == "gate") return c.gate.has_value();
        return name != "dropout";
    };
    std::vector<std::string> names;
    for (const auto name : stage_names)
        if (present(name)) names.emplace_back(name);
    return names;
}

/// Tensors that a forward or a backward function fills.
inline std::vector<TensorPlan> planned_outputs(const Problem& p, bool backward, bool stages) {
    using Extents = std::vector<std::int64_t>;
    const std::int64_t B = p.batch(), H = p.config.attention.heads, S = p.sequence(), D = p.q.dimension(3);
    std::vector<TensorPlan> plans;
    if (!backward) plans.push_back({"out", p.dtype, {B, H, S, D}});
    if (backward)
        for_each_input(
            [&](std::string_view name, const auto& t) {
                if (name == "d_out") return;
                plans.push_back({"grad." + std::string(name), p.dtype,
                                 Extents(t.dimensions().begin(), t.dimensions().end())});
            },
            p);
    const auto precise = p.dtype == io::DType::F64 ? io::DType::F64 : io::DType::F32;
    if (!stages) return plans;
    for (const auto& stage : configured_stages(p.config.attention)) {
        const std::string name = (backward ? "stage.d_" : "stage.") + stage;
        plans.push_back({name, precise, {B, H, S, is_score_stage(name) ? S : D}});
    }
    return plans;
}

/// The configuration in numbers, with the lists it points to.
class CallConfig {
  public:
    explicit CallConfig(const Problem& p) : json_{oracle::to_json(p.config).dump()} {
        const auto& c = p.config.attention;
        config_.size = sizeof config_;
        config_.batch = p.batch();
        config_.heads = c.heads;
        config_.kv_heads = c.key_value_heads();
        config_.sequence = p.sequence();
        config_.head_dim = c.head_dim;
        config_.pre = numbers(c.pre);
        config_.post = numbers(c.post);
        config_.scale = c.scale.value_or(1.0 / std::sqrt(static_cast<double>(c.head_dim)));
        config_.eps = c.eps;
        config_.norm_factor = rms_norm_factor({c.eps, c.norm.value_or(RmsNormFactor::one), c.layer_index});
        config_.layer_index = c.layer_index;
        config_.normalise = c.normalise == Normalise::softmax ? MTA_SOFTMAX : MTA_SPARSEMAX;
        config_.mask = c.mask == MaskRule::twice   ? MTA_MASK_TWICE
                       : c.mask == MaskRule::exact ? MTA_MASK_EXACT
                                                   : MTA_MASK_NONE;
        config_.norm = norm_code(c);
        config_.gate = !c.gate                       ? MTA_GATE_NONE
                       : *c.gate == GateKind::scalar ? MTA_GATE_SCALAR
                                                     : MTA_GATE_VECTOR;
        set_documents(p);
    }
    CallConfig(const CallConfig&) = delete;
    CallConfig& operator=(const CallConfig&) = delete;

    const mta_config* numbers() const { return &config_; }
    const char* json() const { return json_.c_str(); }

  private:
    static mta_score_mixing numbers(const ScoreMixingConfig& c) {
        mta_score_mixing m{};
        m.query_kernel = c.query_kernel;
        m.key_kernel = c.key_kernel;
        m.left = c.has_conv() ? keys_to_the_left(c.key_kernel, c.key_padding) : 0;
        m.mix_group = c.mix_group;
        m.key_padding = c.key_padding == KeyPadding::both   ? MTA_PADDING_BOTH
                        : c.key_padding == KeyPadding::left ? MTA_PADDING_LEFT
                                                            : MTA_PADDING_RIGHT;
        return m;
    }
    static std::int32_t norm_code(const MultiTokenAttentionConfig& c) {
        if (!c.norm) return MTA_NORM_NONE;
        return *c.norm == RmsNormFactor::one     ? MTA_NORM_RMS
               : *c.norm == RmsNormFactor::depth ? MTA_NORM_RMS_DEPTH
                                                 : MTA_NORM_RMS_LAYER;
    }
    void set_documents(const Problem& p) {
        const auto documents = p.config.call().documents;
        for (Index b = 0; b < p.batch(); ++b)
            for (Index i = 0; i < p.sequence(); ++i) {
                const KeyRange around = documents.around(b, i, p.sequence());
                begin_.push_back(around.begin);
                end_.push_back(around.end);
            }
        config_.document_begin = begin_.data();
        config_.document_end = end_.data();
        config_.packed = documents.single() ? 0 : 1;
    }

    std::string json_;
    mta_config config_{};
    std::vector<std::int64_t> begin_, end_;
};

/// The tensors of one call in guarded memory.
class CallMemory {
  public:
    CallMemory(const Problem& p, bool backward, bool stages, CallLayout layout)
        : problem_{p}, layout_{layout} {
        for_each_input([&](std::string_view name, const auto& t) { add_input(name, t); }, p);
        add_outputs(planned_outputs(p, false, stages), forward_);
        if (backward) add_outputs(planned_outputs(p, true, stages), backward_);
    }

    /// Inputs in the order of the contract: d_out, where there is one, is the last.
    const std::deque<GuardedBuffer>& inputs() const { return inputs_; }
    const std::deque<GuardedBuffer>& outputs(bool backward) const { return backward ? backward_ : forward_; }

    /// Calls f(buffer) for every buffer; the numbering is that of fault reports.
    template <class F>
    void for_each_buffer(F&& f) const {
        for (const auto* list : {&inputs_, &forward_, &backward_})
            for (const auto& buffer : *list)
                f(buffer);
    }

    /// The first broken promise about memory, as a sentence without its subject; nothing when all were kept.
    std::string violation() const {
        for (std::size_t n = 0; n < inputs_.size(); ++n)
            if (const auto bits = inputs_[n].bits(); bits != given_[n]) {
                std::size_t at = 0;
                while (bits[at] == given_[n][at])
                    ++at;
                return sentence("changed its input '", inputs_[n].plan().name, "' at ", place(inputs_[n], at),
                                ": it holds ", decode(bits[at], problem_.dtype), ", was ",
                                decode(given_[n][at], problem_.dtype));
            }
        std::string said;
        for_each_buffer([&](const GuardedBuffer& buffer) {
            const auto damage = said.empty() ? buffer.damage() : std::nullopt;
            if (damage) said = sentence("wrote outside '", buffer.plan().name, "', ", *damage);
        });
        return said;
    }

    static std::vector<Index> place(const GuardedBuffer& buffer, std::size_t n) {
        std::vector<Index> index(buffer.plan().shape.size());
        for (std::size_t axis = index.size(); axis-- > 0;) {
            const auto extent = static_cast<std::size_t>(buffer.plan().shape[axis]);
            index[axis] = static_cast<Index>(n % extent);
            n /= extent;
        }
        return index;
    }

  private:
    BufferLayout next_layout() {
        const bool at_end = (count_++ + layout_.parity) % 2 == 0;
        return {at_end ? Edge::end : Edge::start, layout_.misaligned, layout_.padded_rows};
    }
    template <class T>
    void add_input(std::string_view name, const T& t) {
        TensorPlan plan{std::string(name), problem_.dtype, {t.dimensions().begin(), t.dimensions().end()}};
        inputs_.emplace_back(std::move(plan), next_layout());
        inputs_.back().fill(elements(t));
        given_.push_back(inputs_.back().bits());
    }
    void add_outputs(std::vector<TensorPlan> plans, std::deque<GuardedBuffer>& into) {
        for (auto& plan : plans) {
            into.emplace_back(std::move(plan), next_layout());
            into.back().poison(layout_.poison);
        }
    }

    const Problem& problem_;
    CallLayout layout_;
    int count_ = 0;
    std::deque<GuardedBuffer> inputs_, forward_, backward_;
    std::vector<std::vector<std::uint64_t>> given_;
};

}  // namespace mta::oracle::detail
