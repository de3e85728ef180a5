/* The C interface of the oracle: how a library in any language offers its multi-token attention to be judged.
 * SPDX-License-Identifier: MIT
 *
 * Plain C11, valid C++. A candidate exports
 *
 *     int my_forward(const mta_call* call);
 *     int my_backward(const mta_call* call);      (optional)
 *
 * and is judged by  mta-oracle check --lib ./libmine.so --symbol my_forward --backward-symbol my_backward.
 *
 * Inputs    q (B, H, S, D), k and v (B, Hkv, S, D), then as configured pre.kernel (H, cq, ck),
 *           pre.mix (H/ch, ch, ch; row = output head), post.kernel, post.mix, norm.weight (D),
 *           gate.weight (1 or D, D), gate.bias (1 or D); the backward function also gets d_out (B, H, S, D).
 * Outputs   forward: out (B, H, S, D), and stage.<name> of every stage that is configured.
 *           backward: grad.q, grad.k, grad.v, grad.<parameter>, and stage.d_<name>.
 *           logits, pre_conv, pre_mix, weights, post_conv, post_mix are (B, H, S, S); context, norm, gate are
 *           (B, H, S, D).
 * Stages    are offered, not owed: a stage whose elements are all left untouched is not exported. Of a score
 *           stage that is exported, the elements of hidden keys (j > i, another document) may be left
 *           untouched; logits under mask `exact` also owe the keys j < i + cq that the convolution reads.
 * Memory    The caller allocates everything. Inputs are read only, outputs hold garbage on entry and every
 *           element of out and grad.* is owed. Nothing outside a tensor's elements may be touched, padding
 *           between rows included. Pointers are valid during the call only. Data are aligned to 64 bytes and
 *           contiguous unless the caller says that it tries element-aligned data or padded rows; the last
 *           axis always has stride 1. Who cannot read a layout returns MTA_UNSUPPORTED.
 * Types     Inputs, out and grad.* have one type; stages have float64 where that type is float64, else
 *           float32.
 * Process   Both functions are called in one process, forward first, on one thread other than the main one;
 *           more threads may be started. No exception may leave a function.
 * Growth    Fields are only ever appended. `size` is sizeof(mta_call) as the caller knew it: a field at or
 *           beyond it is not there. abi_version changes only when old fields change their meaning.
 */
#ifndef MTA_ORACLE_C_API_H
#define MTA_ORACLE_C_API_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MTA_ABI_VERSION 1

/* What a function returns; every other number is an error too. */
enum {
    MTA_OK = 0,
    MTA_UNSUPPORTED = 1, /* this configuration, type or layout is not implemented: no error */
    MTA_ERROR = 2
};

/* mta_tensor.dtype */
enum { MTA_FLOAT64 = 1, MTA_FLOAT32 = 2, MTA_FLOAT16 = 3, MTA_BFLOAT16 = 4 };

/* mta_config.normalise */
enum { MTA_SOFTMAX = 0, MTA_SPARSEMAX = 1 };
/* mta_config.mask: Eq. 5 (twice), Eq. 4 (exact) of arXiv:2504.00927, not causal */
enum { MTA_MASK_TWICE = 0, MTA_MASK_EXACT = 1, MTA_MASK_NONE = 2 };
/* mta_score_mixing.key_padding: the first tap reads (ck-1)/2, ck-1 or 0 keys to the left */
enum { MTA_PADDING_BOTH = 0, MTA_PADDING_LEFT = 1, MTA_PADDING_RIGHT = 2 };
/* mta_config.norm */
enum { MTA_NORM_NONE = 0, MTA_NORM_RMS = 1, MTA_NORM_RMS_DEPTH = 2, MTA_NORM_RMS_LAYER = 3 };
/* mta_config.gate */
enum { MTA_GATE_NONE = 0, MTA_GATE_SCALAR = 1, MTA_GATE_VECTOR = 2 };

typedef struct mta_tensor {
    const char* name;
    void* data;
    int32_t dtype;
    int32_t ndim;
    const int64_t* shape;  /* ndim extents */
    const int64_t* stride; /* ndim strides, in elements */
} mta_tensor;

/* What happens to scores on one side of the softmax; 0 means that the stage is left out. */
typedef struct mta_score_mixing {
    int64_t query_kernel; /* cq */
    int64_t key_kernel;   /* ck */
    int64_t left;      /* keys that the first tap reads to the left of the output's: key_padding in numbers */
    int64_t mix_group; /* ch */
    int32_t key_padding;
    int32_t reserved;
} mta_score_mixing;

/* The configuration in numbers, so that no JSON parser is needed; defaults are filled in. */
typedef struct mta_config {
    size_t size; /* sizeof(mta_config) of the caller */
    int64_t batch, heads, kv_heads, sequence, head_dim;
    mta_score_mixing pre, post; /* before and after the softmax */
    double scale;               /* of the logits */
    double eps;                 /* of the norm */
    double norm_factor;         /* the depth factor that norm and layer_index mean; 1 for MTA_NORM_RMS */
    int64_t layer_index;
    int32_t normalise, mask, norm, gate;
    /* Packed documents: position i of batch row b lies in [document_begin[b*S+i], document_end[b*S+i]). */
    const int64_t* document_begin;
    const int64_t* document_end;
    int32_t packed; /* 0: every batch row is one document */
    int32_t reserved;
} mta_config;

typedef struct mta_call {
    int32_t abi_version; /* MTA_ABI_VERSION of the caller */
    int32_t n_inputs;
    int32_t n_outputs;
    int32_t reserved;
    size_t size; /* sizeof(mta_call) of the caller */
    const mta_tensor* inputs;
    const mta_tensor* outputs;
    const char* config_json; /* the configuration as the oracle's files hold it */
    const mta_config* config;
    char* message;       /* room for a sentence that explains a code other than MTA_OK; may be left alone */
    size_t message_size; /* bytes of it, the final 0 included */
} mta_call;

/* A candidate's function, forward or backward. */
typedef int (*mta_function)(const mta_call* call);

#ifdef __cplusplus
}
#endif

#endif
