/* A candidate in plain C: the whole of multi-token attention in float32, forward and backward.
 * SPDX-License-Identifier: MIT
 *
 *     cc -O2 -shared -fPIC -I include examples/candidates/right.c -lm -o libright.so
 *     mta-oracle check --lib ./libright.so --symbol my_mta_forward --backward-symbol my_mta_backward
 *
 * It takes float32, float16 and bfloat16 tensors with any strides and exports every stage. The mathematics is in
 * row_sweep.h and layer_sweep.h.
 */
#include <stdio.h>

#include "layer_sweep.h"
#include "tensor_access.h"

static float* take(Work* w, int64_t count) {
    float* taken = w->free;
    w->free += count;
    return taken;
}

static void place_stages(Work* w, const mta_config* c, Stages* s) {
    const int64_t scores = c->heads * c->sequence * c->sequence,
                  values = c->heads * c->sequence * c->head_dim;
    s->logits = take(w, scores);
    s->pre_conv = c->pre.query_kernel > 0 ? take(w, scores) : s->logits;
    s->pre_mix = c->pre.mix_group > 0 ? take(w, scores) : s->pre_conv;
    s->weights = take(w, scores);
    s->post_conv = c->post.query_kernel > 0 ? take(w, scores) : s->weights;
    s->post_mix = c->post.mix_group > 0 ? take(w, scores) : s->post_conv;
    s->context = take(w, values);
    s->norm = c->norm != MTA_NORM_NONE ? take(w, values) : s->context;
    s->gate = c->gate != MTA_GATE_NONE ? take(w, values) : s->norm;
}

/* The parameters in the order of the contract, with their names. */
enum { PARAMETERS = 7 };
static const char* const parameter_names[PARAMETERS] = {
    "pre.kernel", "pre.mix", "post.kernel", "post.mix", "norm.weight", "gate.weight", "gate.bias"};
static float** parameter(Parameters* p, int n) {
    float** const all[PARAMETERS] = {&p->pre_kernel,  &p->pre_mix,     &p->post_kernel, &p->post_mix,
                                     &p->norm_weight, &p->gate_weight, &p->gate_bias};
    return all[n];
}

static float* read_input(const mta_call* call, const char* name) {
    const mta_tensor* t = find_tensor(call->inputs, call->n_inputs, name);
    return t == NULL ? NULL : read_tensor(t);
}

static void release(Work* w) {
    float* const all[] = {w->q, w->k, w->v, w->d_out, w->block};
    for (int n = 0; n < 5; ++n)
        free(all[n]);
    for (int n = 0; n < PARAMETERS; ++n)
        free(*parameter(&w->sweep.p, n));
}

/* Returns 0 when memory is short. */
static int prepare(Work* w, const mta_call* call, int backward) {
    const mta_config* c = call->config;
    memset(w, 0, sizeof *w);
    w->sweep.config = c;
    w->q = read_input(call, "q");
    w->k = read_input(call, "k");
    w->v = read_input(call, "v");
    w->d_out = read_input(call, "d_out");
    int64_t numbers = 0;
    for (int n = 0; n < PARAMETERS; ++n) {
        const mta_tensor* t = find_tensor(call->inputs, call->n_inputs, parameter_names[n]);
        if (t == NULL) continue;
        *parameter(&w->sweep.p, n) = read_tensor(t);
        numbers += element_count(t);
    }
    const int64_t rows = c->heads * c->sequence,
                  most_stages = 6 * rows * c->sequence + 3 * rows * c->head_dim;
    const int64_t inputs = c->batch * c->sequence * c->head_dim * (c->heads + 2 * c->kv_heads);
    w->block = calloc((size_t)(2 * most_stages + numbers + inputs), sizeof(float));
    if (w->q == NULL || w->k == NULL || w->v == NULL || w->block == NULL || (backward && w->d_out == NULL))
        return 0;
    w->free = w->block;
    place_stages(w, c, &w->sweep.s);
    place_stages(w, c, &w->d);
    for (int n = 0; n < PARAMETERS; ++n) {
        const mta_tensor* t = find_tensor(call->inputs, call->n_inputs, parameter_names[n]);
        if (t != NULL) *parameter(&w->grads, n) = take(w, element_count(t));
    }
    w->d_q = take(w, c->batch * rows * c->head_dim);
    w->d_k = take(w, c->batch * c->kv_heads * c->sequence * c->head_dim);
    w->d_v = take(w, c->batch * c->kv_heads * c->sequence * c->head_dim);
    return 1;
}

/* Begins batch row b: its inputs, and stages of zeros. */
static void begin_batch_row(Work* w, int64_t b) {
    const mta_config* c = w->sweep.config;
    const int64_t rows = c->heads * c->sequence, keys = c->kv_heads * c->sequence * c->head_dim;
    w->sweep.b = b;
    w->sweep.q = w->q + b * rows * c->head_dim;
    w->sweep.k = w->k + b * keys;
    w->sweep.v = w->v + b * keys;
    /* The block begins with the stages, and then their gradients; both have the same size. */
    memset(w->block, 0, sizeof(float) * (size_t)(2 * (w->d.logits - w->sweep.s.logits)));
}

/* Exports the stages of the current batch row, as far as the caller offers room for them. */
static void export_stages(const Work* w, const mta_call* call, const Stages* s, const char* prefix) {
    static const char* const names[] = {"logits",   "pre_conv", "pre_mix", "weights", "post_conv",
                                        "post_mix", "context",  "norm",    "gate"};
    float* const stages[] = {s->logits,   s->pre_conv, s->pre_mix, s->weights, s->post_conv,
                             s->post_mix, s->context,  s->norm,    s->gate};
    for (int n = 0; n < 9; ++n) {
        char name[32];
        snprintf(name, sizeof name, "%s%s", prefix, names[n]);
        const mta_tensor* t = find_tensor(call->outputs, call->n_outputs, name);
        if (t == NULL) continue;
        const int64_t count = element_count(t) / t->shape[0];
        write_tensor(t, w->sweep.b * count, stages[n], count);
    }
}

static int refuse(const mta_call* call, int code, const char* why) {
    if (call->message != NULL && call->message_size > 0)
        snprintf(call->message, call->message_size, "%s", why);
    return code;
}

static int begin(Work* w, const mta_call* call, int backward) {
    if (call->abi_version != MTA_ABI_VERSION)
        return refuse(call, MTA_UNSUPPORTED, "another version of the interface");
    if (call->n_inputs < 3 || !is_readable(&call->inputs[0]))
        return refuse(call, MTA_UNSUPPORTED, "this type of elements; float32, float16 and bfloat16 are");
    if (prepare(w, call, backward)) return MTA_OK;
    release(w);
    return refuse(call, MTA_ERROR, "out of memory");
}

static void write_output(const mta_call* call, const char* name, const float* values) {
    const mta_tensor* t = find_tensor(call->outputs, call->n_outputs, name);
    if (t != NULL && values != NULL) write_tensor(t, 0, values, element_count(t));
}

int my_mta_forward(const mta_call* call) {
    Work w;
    const int code = begin(&w, call, 0);
    if (code != MTA_OK) return code;
    const mta_config* c = call->config;
    const int64_t values = c->heads * c->sequence * c->head_dim;
    for (int64_t b = 0; b < c->batch; ++b) {
        begin_batch_row(&w, b);
        for (int64_t i = 0; i < c->sequence; ++i)
            forward_row(&w.sweep, i);
        write_tensor(find_tensor(call->outputs, call->n_outputs, "out"), b * values, w.sweep.s.gate, values);
        export_stages(&w, call, &w.sweep.s, "stage.");
    }
    release(&w);
    return MTA_OK;
}

int my_mta_backward(const mta_call* call) {
    Work w;
    const int code = begin(&w, call, 1);
    if (code != MTA_OK) return code;
    const mta_config* c = call->config;
    const int64_t values = c->heads * c->sequence * c->head_dim;
    for (int64_t b = 0; b < c->batch; ++b) {
        begin_batch_row(&w, b);
        for (int64_t i = 0; i < c->sequence; ++i)
            forward_row(&w.sweep, i);
        memcpy(w.d.gate, w.d_out + b * values, sizeof(float) * (size_t)values);
        for (int64_t i = c->sequence; i-- > 0;)
            backward_row(&w, i);
        export_stages(&w, call, &w.d, "stage.d_");
    }
    write_output(call, "grad.q", w.d_q);
    write_output(call, "grad.k", w.d_k);
    write_output(call, "grad.v", w.d_v);
    for (int n = 0; n < PARAMETERS; ++n) {
        char name[32];
        snprintf(name, sizeof name, "grad.%s", parameter_names[n]);
        write_output(call, name, *parameter(&w.grads, n));
    }
    release(&w);
    return MTA_OK;
}
