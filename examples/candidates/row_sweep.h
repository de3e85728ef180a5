/* What happens to one query's row of scores or values: convolution, mixing, normalisation, norm, gate; and back.
 * SPDX-License-Identifier: MIT
 *
 * The macros WRONG_... plant one classic bug each; without them everything here is right.
 */
#ifndef MTA_EXAMPLES_ROW_SWEEP_H
#define MTA_EXAMPLES_ROW_SWEEP_H

#include <math.h>
#include <mta/oracle/c_api.h>
#include <string.h>

/* Parameters and their gradients have the same members. */
typedef struct {
    float *pre_kernel, *pre_mix, *post_kernel, *post_mix, *norm_weight, *gate_weight, *gate_bias;
} Parameters;

/* Stages of one batch row: score stages (H, S, S), the others (H, S, D). A stage that is left out is the one
 * before it, the very same memory. Hidden entries stay 0. */
typedef struct {
    float *logits, *pre_conv, *pre_mix, *weights, *post_conv, *post_mix, *context, *norm, *gate;
} Stages;

typedef struct {
    const mta_config* config;
    int64_t b;              /* the batch row */
    const float *q, *k, *v; /* of this batch row */
    Parameters p;
    Stages s;
} Sweep;

typedef struct {
    int64_t begin, end;
} Range;

static Range document_of(const Sweep* w, int64_t i) {
    const mta_config* c = w->config;
    const Range document = {c->document_begin[w->b * c->sequence + i],
                            c->document_end[w->b * c->sequence + i]};
    return document;
}
static Range visible_keys(const Sweep* w, int64_t i) {
    Range keys = document_of(w, i);
    if (w->config->mask != MTA_MASK_NONE) keys.end = i + 1;
    return keys;
}
/* Keys of which logits are needed. */
static Range logit_keys(const Sweep* w, int64_t i) {
    const mta_config* c = w->config;
    const Range document = document_of(w, i);
    Range keys = visible_keys(w, i);
    if (c->mask == MTA_MASK_EXACT && c->pre.query_kernel > 0) keys.end = i + c->pre.query_kernel;
#ifdef WRONG_NO_ZERO_MASK
    if (c->pre.query_kernel > 0) keys.end = document.end;
#endif
    if (keys.end > document.end) keys.end = document.end;
    return keys;
}

/* One side's convolution, at one output: the tap (u, v) of query i and key j reads query p and key m. */
typedef struct {
    const mta_score_mixing* m;
    Range document;
    int64_t i, last_key; /* taps of later keys do not count */
} Taps;

static Taps taps_of(const Sweep* w, const mta_score_mixing* m, int64_t i) {
    const int exact = w->config->mask == MTA_MASK_EXACT && m == &w->config->pre;
    Taps t = {m, document_of(w, i), i, 0};
    t.last_key = exact ? i : t.document.end - 1;
    return t;
}
static int tap(const Taps* t, int64_t j, int64_t u, int64_t v, int64_t* p, int64_t* m) {
    *p = t->i + u - (t->m->query_kernel - 1);
    *m = j + v - t->m->left;
    return *p >= t->document.begin && *m >= t->document.begin && *m < t->document.end && *m <= t->last_key;
}
static int64_t weight_index(const mta_score_mixing* m, int64_t h, int64_t u, int64_t v) {
#ifdef WRONG_FLIPPED_KEYS
    v = m->key_kernel - 1 - v;
#endif
    return (h * m->query_kernel + u) * m->key_kernel + v;
}
/* Where mix[group][output head][input head] lies. */
static int64_t mix_index(const mta_score_mixing* m, int64_t out, int64_t in) {
    const int64_t ch = m->mix_group, group = out / ch;
#ifdef WRONG_MIX_TRANSPOSED
    return (group * ch + in % ch) * ch + out % ch;
#else
    return (group * ch + out % ch) * ch + in % ch;
#endif
}

static void conv_row(const Sweep* w, const mta_score_mixing* m, const float* kernel, const float* in,
                     float* out, int64_t i) {
    const int64_t S = w->config->sequence;
    const Range keys = visible_keys(w, i);
    const Taps taps = taps_of(w, m, i);
    for (int64_t h = 0; h < w->config->heads; ++h)
        for (int64_t j = keys.begin; j < keys.end; ++j) {
            float sum = 0;
            int64_t p, q;
            for (int64_t u = 0; u < m->query_kernel; ++u)
                for (int64_t v = 0; v < m->key_kernel; ++v)
                    if (tap(&taps, j, u, v, &p, &q))
                        sum += kernel[weight_index(m, h, u, v)] * in[(h * S + p) * S + q];
            out[(h * S + i) * S + j] = sum;
        }
}
static void conv_row_backward(const Sweep* w, const mta_score_mixing* m, const float* kernel, const float* in,
                              const float* d_out, float* d_in, float* d_kernel, int64_t i) {
    const int64_t S = w->config->sequence;
    const Range keys = visible_keys(w, i);
    const Taps taps = taps_of(w, m, i);
    for (int64_t h = 0; h < w->config->heads; ++h)
        for (int64_t u = 0; u < m->query_kernel; ++u)
            for (int64_t v = 0; v < m->key_kernel; ++v) {
                float sum = 0;
                int64_t p, q;
                const int64_t at = weight_index(m, h, u, v);
                for (int64_t j = keys.begin; j < keys.end; ++j)
                    if (tap(&taps, j, u, v, &p, &q)) {
                        const float d = d_out[(h * S + i) * S + j];
                        sum += in[(h * S + p) * S + q] * d;
                        d_in[(h * S + p) * S + q] += kernel[at] * d;
                    }
                d_kernel[at] += sum;
            }
}

static void mix_row(const Sweep* w, const mta_score_mixing* m, const float* mix, const float* in, float* out,
                    int64_t i) {
    const int64_t S = w->config->sequence, ch = m->mix_group;
    const Range keys = visible_keys(w, i);
    for (int64_t h = 0; h < w->config->heads; ++h)
        for (int64_t j = keys.begin; j < keys.end; ++j) {
            float sum = 0;
            for (int64_t c = h / ch * ch; c < (h / ch + 1) * ch; ++c)
                sum += mix[mix_index(m, h, c)] * in[(c * S + i) * S + j];
            out[(h * S + i) * S + j] = sum;
        }
}
/* Writes row i of d_in and adds to d_mix. */
static void mix_row_backward(const Sweep* w, const mta_score_mixing* m, const float* mix, const float* in,
                             const float* d_out, float* d_in, float* d_mix, int64_t i) {
    const int64_t S = w->config->sequence, ch = m->mix_group;
    const Range keys = visible_keys(w, i);
    for (int64_t c = 0; c < w->config->heads; ++c)
        for (int64_t j = keys.begin; j < keys.end; ++j) {
            float sum = 0;
            for (int64_t h = c / ch * ch; h < (c / ch + 1) * ch; ++h) {
                const float d = d_out[(h * S + i) * S + j];
                sum += mix[mix_index(m, h, c)] * d;
                d_mix[mix_index(m, h, c)] += in[(c * S + i) * S + j] * d;
            }
            d_in[(c * S + i) * S + j] = sum;
        }
}

static void softmax_row(const float* x, float* y, Range keys) {
    float most = x[keys.begin], sum = 0;
    for (int64_t j = keys.begin; j < keys.end; ++j)
        most = x[j] > most ? x[j] : most;
    for (int64_t j = keys.begin; j < keys.end; ++j)
        sum += y[j] = expf(x[j] - most);
    for (int64_t j = keys.begin; j < keys.end; ++j)
        y[j] /= sum;
}
/* The support shrinks until its threshold removes nobody (Michelot's algorithm). */
static void sparsemax_row(const float* x, float* y, Range keys) {
    float most = x[keys.begin], threshold = -INFINITY;
    for (int64_t j = keys.begin; j < keys.end; ++j)
        most = x[j] > most ? x[j] : most;
    for (int64_t before = -1, count = 0; count != before;) {
        float sum = 0;
        before = count;
        count = 0;
        for (int64_t j = keys.begin; j < keys.end; ++j)
            if (x[j] - most > threshold) sum += x[j] - most, ++count;
        threshold = (sum - 1) / (float)count;
    }
    for (int64_t j = keys.begin; j < keys.end; ++j)
        y[j] = x[j] - most > threshold ? x[j] - most - threshold : 0;
}

static void norm_row(const mta_config* c, const float* weight, const float* x, float* y) {
    float squares = 0;
    for (int64_t d = 0; d < c->head_dim; ++d)
        squares += x[d] * x[d];
    const float r = 1 / sqrtf(squares / (float)c->head_dim + (float)c->eps);
    for (int64_t d = 0; d < c->head_dim; ++d)
        y[d] = (float)c->norm_factor * weight[d] * x[d] * r;
}
static void norm_row_backward(const mta_config* c, const float* weight, const float* x, const float* d_y,
                              float* d_x, float* d_weight) {
    const float D = (float)c->head_dim, f = (float)c->norm_factor;
    float squares = 0, along = 0;
    for (int64_t d = 0; d < c->head_dim; ++d) {
        squares += x[d] * x[d];
        along += f * weight[d] * d_y[d] * x[d];
    }
    const float r = 1 / sqrtf(squares / D + (float)c->eps);
    for (int64_t d = 0; d < c->head_dim; ++d) {
        d_x[d] = r * f * weight[d] * d_y[d] - x[d] * r * r * r * (along / D);
        d_weight[d] += f * d_y[d] * x[d] * r;
    }
}

static float sigmoid(float z) {
    return z >= 0 ? 1 / (1 + expf(-z)) : expf(z) / (1 + expf(z));
}

/* Gate number g of a row. */
static float gate_input(const mta_config* c, const Parameters* p, const float* x, int64_t g) {
    float z = p->gate_bias[g];
    for (int64_t d = 0; d < c->head_dim; ++d)
        z += p->gate_weight[g * c->head_dim + d] * x[d];
    return z;
}
static void gate_row(const mta_config* c, const Parameters* p, const float* x, float* y) {
    const int vector = c->gate == MTA_GATE_VECTOR;
    const float one = vector ? 0 : sigmoid(gate_input(c, p, x, 0));
    for (int64_t d = 0; d < c->head_dim; ++d)
        y[d] = x[d] * (vector ? sigmoid(gate_input(c, p, x, d)) : one);
}
static void gate_row_backward(const mta_config* c, const Parameters* p, const float* x, const float* d_y,
                              float* d_x, Parameters* g) {
    const int64_t D = c->head_dim, gates = c->gate == MTA_GATE_VECTOR ? D : 1;
    memset(d_x, 0, sizeof(float) * (size_t)D);
    for (int64_t n = 0; n < gates; ++n) {
        const float z = gate_input(c, p, x, n), s = sigmoid(z);
        float d_s = 0;
        for (int64_t d = gates == 1 ? 0 : n; d < (gates == 1 ? D : n + 1); ++d) {
            d_s += d_y[d] * x[d];
            d_x[d] += d_y[d] * s;
        }
        const float d_z = d_s * s * sigmoid(-z);
        g->gate_bias[n] += d_z;
        for (int64_t d = 0; d < D; ++d) {
            g->gate_weight[n * D + d] += d_z * x[d];
            d_x[d] += d_z * p->gate_weight[n * D + d];
        }
    }
}

#endif
