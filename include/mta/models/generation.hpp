// Generation: a decoder reads tokens and writes more, computing each token once.
// SPDX-License-Identifier: MIT
//
// Formula   token s is drawn from the logits at position s - 1; the logits of new tokens are those that the decoder has
//           for the whole sequence (models/decoder.hpp), from caches of what the old tokens left.
// Shapes    prompt: (B, n)    logits: (B, n, V)    B sequences side by side, all of one length
// Units     tokens: rows of the embedding table; positions: tokens, counted on from the session's length.
// Promise   With ReferenceAttentionCache and ReferenceDense the logits are the bits of decoder_logits, whether tokens
//           come one by one, in chunks or all at once; with AttentionCache and FastDense they agree within rounding.
//           Row b draws from a stream of its own: with the reference, its tokens depend on (seed, first_row + b)
//           and its own prompt, never on the rows beside it.
// Traps     1. The session refers to the parameters; they must outlive it, and not change while it holds tokens.
//           2. The last token that generate returns has not been read: it has to begin the next call's prompt.
//           3. There is no padding: prompts of different lengths need sessions of their own.
// Errors    ShapeError: parameters, batch, or more tokens than the capacity. ValueError: a token that is not in the
//           vocabulary; what sampling.hpp throws. An error in the arguments leaves the session as it was; logits that
//           cannot be drawn from (NaN) end generate with the tokens so far read: clear() the session.
#pragma once

#include <cstdint>
#include <mta/layers/attention_cache.hpp>
#include <mta/models/decoder.hpp>
#include <mta/models/sampling.hpp>
#include <optional>
#include <utility>
#include <vector>

namespace mta {

/// A decoder that remembers the tokens it has read. `Cache`: one attention cache per layer, with the interface of
/// ReferenceAttentionCache.
template <class Scalar, class Cache = ReferenceAttentionCache<Scalar>, class Dense = ReferenceDense>
class DecoderSession {
  public:
    static_assert(DenseBackend<Dense, Scalar>);

    /// Room for `batch` sequences of up to `capacity` tokens.
    DecoderSession(const DecoderParams<Scalar>& params, const DecoderConfig& config, Index batch,
                   Index capacity)
        : params_{&params}, config_{config}, batch_{batch}, capacity_{capacity} {
        check_config(config_);
        check_decoder_params(params, config_);
        require(batch >= 1, "DecoderSession: batch: got ", batch, ", expected at least 1");
        require(capacity >= 1, "DecoderSession: capacity: got ", capacity, ", expected at least 1");
        output_ = decoder_output_params(params);
        caches_.reserve(config_.attention.size());  // growing would copy what the caches hold
        for (const auto& attention : config_.attention)
            caches_.emplace_back(attention, batch, capacity);
    }
    DecoderSession(DecoderParams<Scalar>&&, const DecoderConfig&, Index, Index) = delete;

    Index batch() const { return batch_; }
    /// Tokens read so far; the next one stands at this position.
    Index length() const { return length_; }
    Index capacity() const { return capacity_; }
    /// Forgets all tokens.
    void clear() {
        length_ = 0;
        for (auto& cache : caches_)
            cache.clear();
    }

    /// Reads n more tokens per row (B, n); returns their logits (B, n, V).
    template <TensorOf<2> Tokens>
    Tensor<Scalar, 3> extend(const Tokens& tokens) {
        return head(read(tokens));
    }

    /// As extend, but the logits (B, V) of the last token only: a long prompt and a large vocabulary make many others.
    template <TensorOf<2> Tokens>
    Tensor<Scalar, 2> extend_last(const Tokens& tokens) {
        const auto x = read(tokens);
        const Index n = x.dimension(1), d = x.dimension(2), V = config_.vocabulary;
        Tensor<Scalar, 3> last(batch_, Index{1}, d);
        for (Index b = 0; b < batch_; ++b)
            std::copy_n(&x(b, n - 1, 0), d, &last(b, 0, 0));
        const auto logits = head(last);
        return ConstTensorView<Scalar, 2>(logits.data(), batch_, V);
    }

  private:
    Tensor<Scalar, 3> head(const Tensor<Scalar, 3>& x) const {
        return decoder_head<Dense>(x, params_->norm, output_, config_);
    }

    // The last layer's output for the new tokens. Arguments are checked before a cache changes.
    template <class Tokens>
    Tensor<Scalar, 3> read(const Tokens& tokens) {
        const Index n = tokens.dimension(1);
        require_same("DecoderSession: batch of tokens", tokens.dimension(0), batch_);
        require(n >= 1, "DecoderSession: tokens: got none, expected at least 1 per row");
        require(n <= capacity_ - length_, "DecoderSession: tokens: got ", n, " after ", length_,
                ", expected at most the capacity, ", capacity_, ", together");
        auto x = embedding_forward(tokens, params_->tok_embeddings);
        try {
            for (std::size_t l = 0; l < caches_.size(); ++l)
                x = read_layer(l, x);
        } catch (...) {  // out of memory: some caches hold the tokens and some do not
            clear();
            throw;
        }
        length_ += n;
        return x;
    }

    Tensor<Scalar, 3> read_layer(std::size_t l, const Tensor<Scalar, 3>& x) {
        const auto& layer = params_->layers[l];
        const auto heads = decoder_heads<Dense>(x, layer, config_, length_);
        const auto attended = caches_[l].extend(heads.q, heads.k, heads.v, layer.attention.mta);
        return decoder_after_attention<Dense>(x, attended, layer, config_).out;
    }

    const DecoderParams<Scalar>* params_;
    DecoderConfig config_;
    Index batch_, capacity_, length_ = 0;
    LinearParams<Scalar> output_;  // a copy of the table when it is tied
    std::vector<Cache> caches_;    // one per layer
};

/// The stream of Random from which generated row number `row` draws. The upper bits keep it apart from streams that
/// others draw from the same seed.
inline std::uint64_t sampling_stream(std::uint64_t row) {
    return 0x5A3D000000000000 | row;
}

namespace detail {

// The tokens drawn for every row, until it stopped.
struct GeneratedRows {
    std::vector<std::vector<std::int32_t>> tokens;
    std::optional<std::int32_t> stop;

    bool stopped(std::size_t b) const { return stop && !tokens[b].empty() && tokens[b].back() == *stop; }
    bool all_stopped() const {
        for (std::size_t b = 0; b < tokens.size(); ++b)
            if (!stopped(b)) return false;
        return true;
    }
    // One token per row to read next. A row that stopped goes on with its stop token; nobody looks at what follows.
    Tensor<std::int32_t, 2> last() const {
        Tensor<std::int32_t, 2> next(static_cast<Index>(tokens.size()), Index{1});
        for (std::size_t b = 0; b < tokens.size(); ++b)
            next(static_cast<Index>(b), 0) = tokens[b].back();
        return next;
    }
};

}  // namespace detail

/// Reads the prompt (B, n) and returns up to `count` more tokens per row, drawn as `sampling` says. A row ends after
/// `stop`, which it then holds. `first_row`: the number of row 0 among all rows that are drawn with this seed.
template <class Session, TensorOf<2> Tokens>
std::vector<std::vector<std::int32_t>> generate(Session& session, const Tokens& prompt, Index count,
                                                const SamplingConfig& sampling, std::uint64_t seed,
                                                std::optional<std::int32_t> stop = std::nullopt,
                                                std::uint64_t first_row = 0) {
    check_config(sampling);
    require<ValueError>(count >= 1, "generate: count: got ", count, " tokens, expected at least 1");
    const Index room = session.capacity() - session.length() - prompt.dimension(1);
    require(count - 1 <= room, "generate: count: got ", count, " tokens after a prompt of ",
            prompt.dimension(1), " and ", session.length(),
            " before it, expected all but the last within the capacity, ", session.capacity());
    const auto rows = static_cast<std::size_t>(session.batch());
    detail::GeneratedRows made{std::vector<std::vector<std::int32_t>>(rows), stop};
    std::vector<Random> random;
    for (std::size_t b = 0; b < rows; ++b)
        random.emplace_back(seed, sampling_stream(first_row + b));
    auto logits = session.extend_last(prompt);
    for (Index n = 0;; ++n) {
        for (std::size_t b = 0; b < rows; ++b)
            if (!made.stopped(b))
                made.tokens[b].push_back(
                    sample_token(row(logits, static_cast<Index>(b)), sampling, random[b]));
        if (n + 1 == count || made.all_stopped()) return std::move(made.tokens);
        logits = session.extend_last(made.last());
    }
}

}  // namespace mta
