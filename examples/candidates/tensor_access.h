/* Reads and writes the tensors of an mta_call as contiguous floats, whatever their type and strides.
 * SPDX-License-Identifier: MIT
 */
#ifndef MTA_EXAMPLES_TENSOR_ACCESS_H
#define MTA_EXAMPLES_TENSOR_ACCESS_H

#include <math.h>
#include <mta/oracle/c_api.h>
#include <stdlib.h>
#include <string.h>

/* The tensor of this name, or NULL. */
static const mta_tensor* find_tensor(const mta_tensor* list, int count, const char* name) {
    for (int n = 0; n < count; ++n)
        if (strcmp(list[n].name, name) == 0) return &list[n];
    return NULL;
}

static int64_t element_count(const mta_tensor* t) {
    int64_t count = 1;
    for (int axis = 0; axis < t->ndim; ++axis)
        count *= t->shape[axis];
    return count;
}

/* Where element n, counted in row-major order, lies, in elements. */
static int64_t element_offset(const mta_tensor* t, int64_t n) {
    int64_t offset = 0;
    for (int axis = t->ndim - 1; axis >= 0; --axis) {
        offset += n % t->shape[axis] * t->stride[axis];
        n /= t->shape[axis];
    }
    return offset;
}

static float float_of_bits(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}
static uint32_t bits_of_float(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static float float_of_half(uint16_t h) {
    const int exponent = h >> 10 & 31, mantissa = h & 1023;
    const float sign = (h & 0x8000) != 0 ? -1.0f : 1.0f;
    if (exponent == 31) return mantissa != 0 ? NAN : sign * INFINITY;
    if (exponent == 0) return sign * ldexpf((float)mantissa, -24);
    return sign * ldexpf((float)(mantissa + 1024), exponent - 25);
}

/* To nearest, ties to even. */
static uint16_t half_of_float(float x) {
    const uint16_t sign = (uint16_t)(bits_of_float(x) >> 16 & 0x8000);
    const float size = fabsf(x);
    if (isnan(x)) return (uint16_t)(sign | 0x7e00);
    if (size >= 65520.0f) return (uint16_t)(sign | 0x7c00);
    if (size < 0x1p-14f) return (uint16_t)(sign | (uint16_t)lrintf(ldexpf(size, 24)));
    int exponent;
    const float fraction = frexpf(size, &exponent);     /* in [1/2, 1) */
    const long mantissa = lrintf(ldexpf(fraction, 11)); /* 1024 to 2048: the last carries into the exponent */
    return (uint16_t)(sign | (uint16_t)(((exponent + 14) << 10) + mantissa - 1024));
}

static uint16_t bfloat_of_float(float x) {
    const uint32_t bits = bits_of_float(x);
    if (isnan(x)) return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static int is_readable(const mta_tensor* t) {
    return t->dtype == MTA_FLOAT32 || t->dtype == MTA_FLOAT16 || t->dtype == MTA_BFLOAT16;
}

/* A fresh copy of the tensor; the caller frees it. */
static float* read_tensor(const mta_tensor* t) {
    const int64_t count = element_count(t);
    float* values = malloc(sizeof(float) * (size_t)(count > 0 ? count : 1));
    for (int64_t n = 0; values != NULL && n < count; ++n) {
        const int64_t at = element_offset(t, n);
        if (t->dtype == MTA_FLOAT32)
            values[n] = ((const float*)t->data)[at];
        else if (t->dtype == MTA_FLOAT16)
            values[n] = float_of_half(((const uint16_t*)t->data)[at]);
        else
            values[n] = float_of_bits((uint32_t)((const uint16_t*)t->data)[at] << 16);
    }
    return values;
}

/* Writes `count` elements from number `first` on. */
static void write_tensor(const mta_tensor* t, int64_t first, const float* values, int64_t count) {
    for (int64_t n = 0; n < count; ++n) {
        const int64_t at = element_offset(t, first + n);
        if (t->dtype == MTA_FLOAT32)
            ((float*)t->data)[at] = values[n];
        else if (t->dtype == MTA_FLOAT16)
            ((uint16_t*)t->data)[at] = half_of_float(values[n]);
        else
            ((uint16_t*)t->data)[at] = bfloat_of_float(values[n]);
    }
}

#endif
