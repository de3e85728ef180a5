/* Reads NAME.in.safetensors of a case and makes its inputs again: cc -std=c99 read_vectors.c -o read_vectors -lm
 * SPDX-License-Identifier: MIT
 *
 * Usage   read_vectors FILE...: one line per tensor; exit status 1 when a bit differs or a file is malformed.
 * Reads   what mta-oracle writes: 8 bytes of header length, a JSON header whose metadata hold "mta.case" and whose
 *         entries are "NAME":{"dtype":T,"shape":[...],"data_offsets":[begin,end]}, then the data. Every offset is
 *         checked against the file before it is used.
 * Makes   the fills normal, uniform and offset, by the recipe of docs/oracle/cases.md; other fills are named and
 *         passed over. Types fp32, bf16 and fp16. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char* const streams[] = {"q",           "k",           "v",        "pre.kernel",
                                      "pre.mix",     "post.kernel", "post.mix", "norm.weight",
                                      "gate.weight", "gate.bias",   "d_out"};
enum { stream_count = sizeof streams / sizeof *streams };

/* Philox4x32-10 of element n of a stream. */
static void philox(uint64_t seed, uint32_t stream, uint64_t n, uint32_t w[4]) {
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    w[0] = (uint32_t)n, w[1] = (uint32_t)(n >> 32), w[2] = stream, w[3] = 0;
    for (int round = 0; round < 10; ++round) {
        const uint64_t a = UINT64_C(0xD2511F53) * w[0], b = UINT64_C(0xCD9E8D57) * w[2];
        const uint32_t w0 = (uint32_t)(b >> 32) ^ w[1] ^ k0, w2 = (uint32_t)(a >> 32) ^ w[3] ^ k1;
        w[0] = w0, w[1] = (uint32_t)b, w[2] = w2, w[3] = (uint32_t)a;
        k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
    }
}

static double bell(const uint32_t w[4], int width) {
    int64_t sum = -2 * ((INT64_C(1) << (width - 1)) - 1);
    for (int n = 0; n < 4; ++n)
        sum += w[n] >> (33 - width);
    return ldexp((double)sum, 2 - width);
}
static double flat(const uint32_t w[4], int width) {
    return ldexp((double)((int64_t)(w[0] >> (32 - width)) - (INT64_C(1) << (width - 1))), 1 - width);
}
static double around_one(const uint32_t w[4], int width) {
    return ldexp((double)((int64_t)(w[0] >> (33 - width)) + (INT64_C(1) << (width - 2))), 1 - width);
}
/* Half the number of bits of n. */
static int half_log(uint64_t n) {
    int bits = 0;
    for (; n != 0; n >>= 1)
        ++bits;
    return bits / 2;
}

struct tensor {
    uint32_t stream;
    int width; /* bits of the significand */
    uint64_t shape[4], rank, count;
    const unsigned char* data;
};

/* Element n of a tensor, exactly. */
static double element(const char* fill, uint64_t seed, const struct tensor* t, uint64_t n) {
    const char* name = streams[t->stream];
    uint32_t w[4];
    philox(seed, t->stream, n, w);
    if (strcmp(name, "norm.weight") == 0) return around_one(w, t->width);
    if (strcmp(name, "gate.bias") == 0) return flat(w, t->width);
    if (strcmp(name, "gate.weight") == 0) return ldexp(bell(w, t->width), -half_log(t->shape[1]));
    if (strstr(name, ".kernel")) return ldexp(bell(w, t->width), -half_log(t->shape[1] * t->shape[2]));
    if (strstr(name, ".mix")) return ldexp(bell(w, t->width), -half_log(t->shape[1]));
    if (strcmp(fill, "uniform") == 0) return flat(w, t->width);
    if (strcmp(fill, "offset") == 0 && strcmp(name, "d_out") != 0) return around_one(w, t->width);
    return bell(w, t->width);
}

/* The number that is stored at `at`, of 4 or 2 little-endian bytes. */
static double stored(const unsigned char* at, int width) {
    if (width == 24 || width == 8) {
        uint32_t bits = (uint32_t)at[0] | (uint32_t)at[1] << 8;
        float x;
        bits = width == 24 ? bits | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24 : bits << 16;
        memcpy(&x, &bits, sizeof x);
        return x;
    }
    const unsigned bits = at[0] | (unsigned)at[1] << 8, exponent = bits >> 10 & 31, mantissa = bits & 1023;
    const double size = exponent == 31  ? HUGE_VAL
                        : exponent == 0 ? ldexp(mantissa, -24)
                                        : ldexp(mantissa | 1024, (int)exponent - 25);
    return bits >> 15 ? -size : size;
}

/* A file in memory, with a header that ends in NUL. */
struct file {
    char* header;
    unsigned char* data;
    uint64_t data_size;
};

static int read_file(const char* path, struct file* f) {
    unsigned char prefix[8];
    uint64_t size = 0;
    long end;
    FILE* in = fopen(path, "rb");
    if (!in) return 0;
    if (fread(prefix, 1, 8, in) != 8 || fseek(in, 0, SEEK_END) != 0 || (end = ftell(in)) < 8)
        return fclose(in), 0;
    for (int n = 7; n >= 0; --n)
        size = size << 8 | prefix[n];
    if (size > (uint64_t)end - 8 || fseek(in, 8, SEEK_SET) != 0) return fclose(in), 0;
    f->data_size = (uint64_t)end - 8 - size;
    f->header = calloc(1, (size_t)size + 1);
    f->data = malloc((size_t)f->data_size + 1);
    const int whole = f->header && f->data && fread(f->header, 1, (size_t)size, in) == size &&
                      fread(f->data, 1, (size_t)f->data_size, in) == f->data_size;
    fclose(in);
    return whole;
}

/* Finds a tensor in the header. 1: there, 0: not there, -1: malformed. */
static int find_tensor(const struct file* f, uint32_t stream, struct tensor* t) {
    char key[32], *at, *end;
    snprintf(key, sizeof key, "\"%s\":{\"dtype\":\"", streams[stream]);
    if (!(at = strstr(f->header, key))) return 0;
    at += strlen(key);
    *t = (struct tensor){.stream = stream, .shape = {1, 1, 1, 1}, .count = 1};
    t->width = strncmp(at, "F32\"", 4) == 0    ? 24
               : strncmp(at, "BF16\"", 5) == 0 ? 8
               : strncmp(at, "F16\"", 4) == 0  ? 11
                                               : 0;
    if (t->width == 0 || !(at = strchr(at, '['))) return -1;
    for (++at; t->rank < 4; ++at) {
        const uint64_t extent = strtoull(at, &end, 10);
        if (end == at || extent == 0 || extent > f->data_size || t->count > f->data_size / extent) return -1;
        t->shape[t->rank++] = extent, t->count *= extent, at = end;
        if (*at == ']') break;
        if (*at != ',') return -1;
    }
    if (*at != ']' || strncmp(at, "],\"data_offsets\":[", 18) != 0) return -1;
    const uint64_t begin = strtoull(at + 18, &end, 10), stop = *end == ',' ? strtoull(end + 1, &end, 10) : 0;
    const uint64_t element_size = t->width == 24 ? 4 : 2;
    if (*end != ']' || begin > stop || stop > f->data_size || stop - begin != t->count * element_size)
        return -1;
    t->data = f->data + begin;
    return 1;
}

/* Compares one tensor bit for bit; returns the number of elements that differ. */
static uint64_t differences(const char* fill, uint64_t seed, const struct tensor* t) {
    uint64_t differ = 0;
    for (uint64_t n = 0; n < t->count; ++n) {
        const double got = stored(t->data + n * (t->width == 24 ? 4 : 2), t->width),
                     want = element(fill, seed, t, n);
        differ += memcmp(&got, &want, sizeof got) != 0;
    }
    return differ;
}

/* Checks one open file; returns whether it is as it should be. */
static int check(const char* path, const struct file* f) {
    char fill[32];
    unsigned long long seed;
    const char *line = strstr(f->header, "\"mta.case\":\""), *words = line ? strstr(line, " fill=") : NULL;
    if (!words || sscanf(words, " fill=%31s seed=%llu", fill, &seed) != 2)
        return fprintf(stderr, "%s: got no mta.case with fill and seed, expected a case of mta-oracle\n",
                       path),
               0;
    if (strcmp(fill, "normal") != 0 && strcmp(fill, "uniform") != 0 && strcmp(fill, "offset") != 0)
        return printf("%s: fill %s is not read here\n", path, fill), 1;
    int fine = 1;
    for (uint32_t stream = 0; stream < stream_count; ++stream) {
        struct tensor t;
        const int found = find_tensor(f, stream, &t);
        if (found < 0) return fprintf(stderr, "%s: %s: got a malformed entry\n", path, streams[stream]), 0;
        if (found == 0) continue;
        const uint64_t differ = differences(fill, seed, &t);
        printf("%s: %s: %llu numbers, %llu differ\n", path, streams[stream], (unsigned long long)t.count,
               (unsigned long long)differ);
        fine = fine && differ == 0;
    }
    return fine;
}

int main(int count, char** paths) {
    int fine = count > 1;
    for (int n = 1; n < count; ++n) {
        struct file f = {NULL, NULL, 0};
        if (read_file(paths[n], &f))
            fine = check(paths[n], &f) && fine;
        else
            fine = (fprintf(stderr, "%s: cannot be read as a safetensors file\n", paths[n]), 0);
        free(f.header);
        free(f.data);
    }
    return fine ? 0 : 1;
}
