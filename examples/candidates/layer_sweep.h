/* Multi-token attention of one batch row: one sweep over the queries forward, one backward.
 * SPDX-License-Identifier: MIT
 *
 * Row i of every stage needs rows up to i of the stage before it, so one sweep computes all stages. The gradient
 * of a row is complete once all later rows have given their part, so one sweep in the other direction does too.
 */
#ifndef MTA_EXAMPLES_LAYER_SWEEP_H
#define MTA_EXAMPLES_LAYER_SWEEP_H

#include "row_sweep.h"

/* Everything that one call works on; zeros where nothing was read or computed yet. */
typedef struct {
    Sweep sweep;
    float *q, *k, *v, *d_out;
    Stages d;
    Parameters grads;
    float *d_q, *d_k, *d_v;
    float* block; /* holds the stages, their gradients and the gradients of parameters and inputs */
    float* free;  /* the unused rest of it */
} Work;

static void logits_row(const Sweep* w, int64_t i) {
    const mta_config* c = w->config;
    const int64_t S = c->sequence, D = c->head_dim;
    const Range keys = logit_keys(w, i);
    for (int64_t h = 0; h < c->heads; ++h) {
        const float* q = w->q + (h * S + i) * D;
        const float* k = w->k + h / (c->heads / c->kv_heads) * S * D;
        for (int64_t j = keys.begin; j < keys.end; ++j) {
            float sum = 0;
            for (int64_t d = 0; d < D; ++d)
                sum += q[d] * k[j * D + d];
            w->s.logits[(h * S + i) * S + j] = (float)c->scale * sum;
        }
    }
}

static void context_row(const Sweep* w, int64_t i) {
    const mta_config* c = w->config;
    const int64_t S = c->sequence, D = c->head_dim;
    const Range keys = visible_keys(w, i);
    for (int64_t h = 0; h < c->heads; ++h) {
        const float* f = w->s.post_mix + (h * S + i) * S;
        const float* v = w->v + h / (c->heads / c->kv_heads) * S * D;
        float* o = w->s.context + (h * S + i) * D;
        for (int64_t j = keys.begin; j < keys.end; ++j)
            for (int64_t d = 0; d < D; ++d)
                o[d] += f[j] * v[j * D + d];
    }
}

static void forward_row(const Sweep* w, int64_t i) {
    const mta_config* c = w->config;
    const Stages* s = &w->s;
    const int64_t S = c->sequence, D = c->head_dim;
    logits_row(w, i);
    if (s->pre_conv != s->logits) conv_row(w, &c->pre, w->p.pre_kernel, s->logits, s->pre_conv, i);
    if (s->pre_mix != s->pre_conv) mix_row(w, &c->pre, w->p.pre_mix, s->pre_conv, s->pre_mix, i);
    for (int64_t h = 0; h < c->heads; ++h) {
        const int64_t row = (h * S + i) * S;
        (c->normalise == MTA_SOFTMAX ? softmax_row : sparsemax_row)(s->pre_mix + row, s->weights + row,
                                                                    visible_keys(w, i));
    }
    if (s->post_conv != s->weights) conv_row(w, &c->post, w->p.post_kernel, s->weights, s->post_conv, i);
    if (s->post_mix != s->post_conv) mix_row(w, &c->post, w->p.post_mix, s->post_conv, s->post_mix, i);
    context_row(w, i);
    for (int64_t h = 0; h < c->heads; ++h) {
        const int64_t row = (h * S + i) * D;
        if (s->norm != s->context) norm_row(c, w->p.norm_weight, s->context + row, s->norm + row);
        if (s->gate != s->norm) gate_row(c, &w->p, s->norm + row, s->gate + row);
    }
}

/* From the gradient of the weights to that of what they were made of. */
static void weights_row_backward(const Work* w, int64_t i) {
    const mta_config* c = w->sweep.config;
    const int64_t S = c->sequence;
    const Range keys = visible_keys(&w->sweep, i);
    for (int64_t h = 0; h < c->heads; ++h) {
        const float *a = w->sweep.s.weights + (h * S + i) * S, *d_a = w->d.weights + (h * S + i) * S;
        float term = 0, support = 0;
        for (int64_t j = keys.begin; j < keys.end; ++j) {
            term += c->normalise == MTA_SOFTMAX ? a[j] * d_a[j] : a[j] > 0 ? d_a[j] : 0;
            support += a[j] > 0;
        }
        if (c->normalise == MTA_SPARSEMAX) term /= support;
#ifdef WRONG_SOFTMAX_ROW_TERM
        const int64_t row = (h * S + i) * c->head_dim;
        if (c->normalise == MTA_SOFTMAX) term = 0;
        for (int64_t d = 0; c->normalise == MTA_SOFTMAX && d < c->head_dim; ++d)
            term += w->d.context[row + d] * w->sweep.s.context[row + d];
#endif
        for (int64_t j = keys.begin; j < keys.end; ++j) {
            const float scale = c->normalise == MTA_SOFTMAX ? a[j] : a[j] > 0;
            w->d.pre_mix[(h * S + i) * S + j] = scale * (d_a[j] - term);
        }
    }
}

static void context_row_backward(const Work* w, int64_t i) {
    const mta_config* c = w->sweep.config;
    const int64_t S = c->sequence, D = c->head_dim;
    const Range keys = visible_keys(&w->sweep, i);
    for (int64_t h = 0; h < c->heads; ++h) {
        const int64_t kv = h / (c->heads / c->kv_heads);
        const float *d_o = w->d.context + (h * S + i) * D, *v = w->sweep.v + kv * S * D;
        const float* f = w->sweep.s.post_mix + (h * S + i) * S;
        float* d_v = w->d_v + (w->sweep.b * c->kv_heads + kv) * S * D;
        for (int64_t j = keys.begin; j < keys.end; ++j) {
            float sum = 0;
            for (int64_t d = 0; d < D; ++d) {
                sum += d_o[d] * v[j * D + d];
                d_v[j * D + d] += f[j] * d_o[d];
            }
            w->d.post_mix[(h * S + i) * S + j] = sum;
        }
    }
}

static void logits_row_backward(const Work* w, int64_t i) {
    const mta_config* c = w->sweep.config;
    const int64_t S = c->sequence, D = c->head_dim, shared = c->heads / c->kv_heads;
    const Range keys = logit_keys(&w->sweep, i);
    for (int64_t h = 0; h < c->heads; ++h) {
        const float *q = w->sweep.q + (h * S + i) * D, *k = w->sweep.k + h / shared * S * D;
        float* d_q = w->d_q + ((w->sweep.b * c->heads + h) * S + i) * D;
        float* d_k = w->d_k + (w->sweep.b * c->kv_heads + h / shared) * S * D;
        for (int64_t j = keys.begin; j < keys.end; ++j) {
            const float d = (float)c->scale * w->d.logits[(h * S + i) * S + j];
            for (int64_t n = 0; n < D; ++n) {
                d_q[n] += d * k[j * D + n];
#ifdef WRONG_DK_OF_ONE_HEAD
                if (h % shared == 0)
#endif
                    d_k[j * D + n] += d * q[n];
            }
        }
    }
}

/* All later rows were here before. */
static void backward_row(Work* w, int64_t i) {
    const Sweep* f = &w->sweep;
    const mta_config* c = f->config;
    const Stages *s = &f->s, *d = &w->d;
    for (int64_t h = 0; h < c->heads; ++h) {
        const int64_t row = (h * c->sequence + i) * c->head_dim;
        if (d->gate != d->norm)
            gate_row_backward(c, &f->p, s->norm + row, d->gate + row, d->norm + row, &w->grads);
        if (d->norm != d->context)
            norm_row_backward(c, f->p.norm_weight, s->context + row, d->norm + row, d->context + row,
                              w->grads.norm_weight);
    }
    context_row_backward(w, i);
    if (d->post_mix != d->post_conv)
        mix_row_backward(f, &c->post, f->p.post_mix, s->post_conv, d->post_mix, d->post_conv,
                         w->grads.post_mix, i);
    if (d->post_conv != d->weights)
        conv_row_backward(f, &c->post, f->p.post_kernel, s->weights, d->post_conv, d->weights,
                          w->grads.post_kernel, i);
    weights_row_backward(w, i);
    if (d->pre_mix != d->pre_conv)
        mix_row_backward(f, &c->pre, f->p.pre_mix, s->pre_conv, d->pre_mix, d->pre_conv, w->grads.pre_mix, i);
    if (d->pre_conv != d->logits)
        conv_row_backward(f, &c->pre, f->p.pre_kernel, s->logits, d->pre_conv, d->logits, w->grads.pre_kernel,
                          i);
    logits_row_backward(w, i);
}

#endif
