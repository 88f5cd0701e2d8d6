/*
 * kv.c: the cache of keys and values, and one new token's attention to it.
 *
 * A cache holds the rows as f32, as bf16, or as 8-bit numbers with one scale for each head's row: what is
 * read at every step is then a half or a quarter. Rows are widened in registers where they are used; scores,
 * weights and sums are f32 for every kind. Same online softmax as attention.c (Dao et al. 2022), CHUNK keys
 * at a time; a head's bits depend on its own row and cache only.
 */
#include "internal.h"

#define CHUNK  128
#define Q8_MAX 127.0f

typedef uint16_t u16x16 __attribute__((vector_size(32), aligned(2), may_alias));
typedef uint32_t u32x16 __attribute__((vector_size(64), aligned(4), may_alias));
typedef int8_t s8x16 __attribute__((vector_size(16), aligned(1), may_alias));
typedef float f32x8 __attribute__((vector_size(32)));
typedef float f32x4 __attribute__((vector_size(16)));
typedef int16_t s16x16 __attribute__((vector_size(32), aligned(2), may_alias));
typedef int32_t s32x16 __attribute__((vector_size(64), aligned(4), may_alias));

static size_t value_bytes(fmk_kv_kind kind)
{
    return kind == FMK_KV_F32 ? sizeof(float) : kind == FMK_KV_BF16 ? sizeof(uint16_t) : sizeof(int8_t);
}

/* ---- rows in ---- */

/* One head's row to 8 bits: x is within half a scale of q * scale. */
FMK_INLINE void quantize_row_body(int64_t D, const float *restrict x, int8_t *restrict q, float *scale)
{
    float most = 0.0f;
    for (int64_t d = 0; d < D; d++) {
        float a = fabsf(x[d]);
        most = a > most ? a : most;
    }
    float up = most > 0.0f ? Q8_MAX / most : 0.0f;
    for (int64_t d = 0; d < D; d++) {
        float y = rintf(x[d] * up);
        y = y > Q8_MAX ? Q8_MAX : y < -Q8_MAX ? -Q8_MAX : y;
        q[d] = (int8_t)y;
    }
    *scale = most / Q8_MAX;
}
FMK_BY_ISA(quantize_row, (int64_t D, const float *restrict x, int8_t *restrict q, float *scale),
           (D, x, q, scale))

static void store_rows(const fmk_kv *kv, int64_t at, int64_t n, const float *x, void *rows, float *scales)
{
    int64_t values = n * kv->G * kv->D, first = at * kv->G * kv->D;
    switch (kv->kind) {
    case FMK_KV_F32: memcpy((float *)rows + first, x, (size_t)values * sizeof *x); break;
    case FMK_KV_BF16: fmk_f32_to_bf16(values, x, (uint16_t *)rows + first); break;
    case FMK_KV_Q8:
        for (int64_t i = 0; i < n * kv->G; i++) {
            quantize_row(kv->D, x + i * kv->D, (int8_t *)rows + first + i * kv->D, scales + at * kv->G + i);
        }
        break;
    }
}

void fmk_kv_store(const fmk_kv *kv, int64_t slot, int64_t pos, int64_t n, const float *k, const float *v)
{
    assert(pos >= 0 && n >= 0 && pos + n <= kv->cap);
    store_rows(kv, slot * kv->cap + pos, n, k, kv->k, kv->k_scale);
    store_rows(kv, slot * kv->cap + pos, n, v, kv->v, kv->v_scale);
}

void fmk_kv_store_ref(const fmk_kv *kv, int64_t slot, int64_t pos, int64_t n, const float *k, const float *v)
{
    int64_t row = kv->D, first = (slot * kv->cap + pos) * kv->G;
    for (int64_t i = 0; i < n * kv->G; i++) {
        for (int side = 0; side < 2; side++) {
            const float *x = (side ? v : k) + i * row;
            void *out = side ? kv->v : kv->k;
            float most = 0.0f;
            for (int64_t d = 0; d < row; d++) {
                most = fmaxf(most, fabsf(x[d]));
            }
            for (int64_t d = 0; d < row; d++) {
                int64_t to = (first + i) * row + d;
                if (kv->kind == FMK_KV_F32) { ((float *)out)[to] = x[d]; }
                if (kv->kind == FMK_KV_BF16) { fmk_f32_to_bf16_ref(1, x + d, (uint16_t *)out + to); }
                if (kv->kind == FMK_KV_Q8) {
                    ((int8_t *)out)[to] = most > 0.0f ? (int8_t)lrint((double)x[d] * Q8_MAX / most) : 0;
                }
            }
            if (kv->kind == FMK_KV_Q8) { (side ? kv->v_scale : kv->k_scale)[first + i] = most / Q8_MAX; }
        }
    }
}

/* ---- attention ---- */

/* `kind` is a constant at each place of use. */
FMK_INLINE float widen(fmk_kv_kind kind, const void *row, int64_t d)
{
    if (kind == FMK_KV_F32) { return ((const float *)row)[d]; }
    if (kind == FMK_KV_BF16) { return fmk_float((uint32_t)((const uint16_t *)row)[d] << 16); }
    return (float)((const int8_t *)row)[d];
}

/* Sixteen values of a row from d on. */
FMK_INLINE fmk_v16 widen16(fmk_kv_kind kind, const void *row, int64_t d)
{
    if (kind == FMK_KV_F32) { return *(const fmk_v16 *)((const float *)row + d); }
    if (kind == FMK_KV_BF16) {
        return (fmk_v16)(__builtin_convertvector(*(const u16x16 *)((const uint16_t *)row + d), u32x16) << 16);
    }
    s16x16 half = __builtin_convertvector(*(const s8x16 *)((const int8_t *)row + d), s16x16);
    s32x16 whole = __builtin_convertvector(half, s32x16);
    return __builtin_convertvector(whole, fmk_v16);
}

/* fmk_fold_add, in registers: the same additions. */
FMK_INLINE float fold(fmk_v16 x)
{
    f32x8 s8 = __builtin_shufflevector(x, x, 0, 1, 2, 3, 4, 5, 6, 7) +
               __builtin_shufflevector(x, x, 8, 9, 10, 11, 12, 13, 14, 15);
    f32x4 s4 = __builtin_shufflevector(s8, s8, 0, 1, 2, 3) + __builtin_shufflevector(s8, s8, 4, 5, 6, 7);
    return (s4[0] + s4[2]) + (s4[1] + s4[3]);
}

FMK_INLINE float dot_row(fmk_kv_kind kind, int64_t D, const float *q, const void *row)
{
    fmk_v16 sum = {0};
    float lane[16];
    int64_t d = 0;
    for (; d + 16 <= D; d += 16) {
        sum += *(const fmk_v16 *)(q + d) * widen16(kind, row, d);
    }
    if (d == D) { return fold(sum); }
    *(fmk_v16 *)lane = sum;
    for (; d < D; d++) {
        lane[d & 15] += q[d] * widen(kind, row, d);
    }
    return fmk_fold_add(lane);
}

typedef struct attend_job {
    const fmk_kv_attn *a;
    const fmk_kv *kv;
    const float *q;
    float *o;
} attend_job;

/* A row of the cache: token j of `slot`, head g. */
FMK_INLINE const void *row_at(fmk_kv_kind kind, const void *rows, const fmk_kv *kv, int64_t slot, int64_t j,
                              int64_t g)
{
    return (const char *)rows + (size_t)(((slot * kv->cap + j) * kv->G + g) * kv->D) * value_bytes(kind);
}

/* One query head against tokens from..len-1 of one slot. With a constant D the sums stay in registers. */
FMK_INLINE void attend_head(fmk_kv_kind kind, int64_t D, const attend_job *job, int64_t slot, int64_t g,
                            int64_t from, int64_t len, const float *q, float *out)
{
    const fmk_kv *kv = job->kv;
    float p[CHUNK], o[FMK_MAX_D];
    float max = -INFINITY, sum = 0.0f;
    for (int64_t d = 0; d < D; d++) {
        o[d] = 0.0f;
    }
    for (int64_t j0 = from; j0 < len; j0 += CHUNK) {
        int64_t n = fmk_min(CHUNK, len - j0);
        int64_t first = (slot * kv->cap + j0) * kv->G + g; /* of the scales */
        for (int64_t j = 0; j < n; j++) {
            float dot = dot_row(kind, D, q, row_at(kind, kv->k, kv, slot, j0 + j, g));
            if (kind == FMK_KV_Q8) { dot *= kv->k_scale[first + j * kv->G]; }
            p[j] = dot * job->a->scale;
        }
        for (int64_t j = 0; j < n && job->a->softcap > 0.0f; j++) {
            p[j] = fmk_softcap(job->a->softcap, p[j]);
        }
        float top = fmk_row_max(n, p);
        float now = top > max ? top : max;
        float keep = fmk_exp(max - now);
        for (int64_t j = 0; j < n; j++) {
            p[j] = fmk_exp(p[j] - now);
        }
        sum = sum * keep + fmk_row_sum(n, p);
        max = now;
        for (int64_t d = 0; d < D; d++) {
            o[d] *= keep;
        }
        for (int64_t j = 0; j < n; j++) {
            const void *v_j = row_at(kind, kv->v, kv, slot, j0 + j, g); /* (D) */
            float w = kind == FMK_KV_Q8 ? p[j] * kv->v_scale[first + j * kv->G] : p[j];
            for (int64_t d = 0; d < D; d++) {
                o[d] += w * widen(kind, v_j, d);
            }
        }
    }
    float inv = 1.0f / sum;
    for (int64_t d = 0; d < D; d++) {
        out[d] = o[d] * inv;
    }
}

FMK_INLINE void attend_kind(fmk_kv_kind kind, const attend_job *job, int64_t slot, int64_t g, int64_t from,
                            int64_t len, const float *q, float *out)
{
    switch (job->kv->D) {
    case 64: attend_head(kind, 64, job, slot, g, from, len, q, out); break;
    case 128: attend_head(kind, 128, job, slot, g, from, len, q, out); break;
    default: attend_head(kind, job->kv->D, job, slot, g, from, len, q, out); break;
    }
}

FMK_INLINE void attend_any_body(const attend_job *job, int64_t slot, int64_t g, int64_t from, int64_t len,
                                const float *q, float *out)
{
    switch (job->kv->kind) {
    case FMK_KV_F32: attend_kind(FMK_KV_F32, job, slot, g, from, len, q, out); break;
    case FMK_KV_BF16: attend_kind(FMK_KV_BF16, job, slot, g, from, len, q, out); break;
    case FMK_KV_Q8: attend_kind(FMK_KV_Q8, job, slot, g, from, len, q, out); break;
    }
}
FMK_BY_ISA(attend_any,
           (const attend_job *job, int64_t slot, int64_t g, int64_t from, int64_t len, const float *q,
            float *out),
           (job, slot, g, from, len, q, out))

static void attend_task(void *arg, size_t i)
{
    const attend_job *job = arg;
    const fmk_kv_attn *a = job->a;
    const fmk_kv *kv = job->kv;
    int64_t b = (int64_t)i / a->H, h = (int64_t)i % a->H, len = a->len[b];
    int64_t from = a->window > 0 ? fmk_max(0, len - a->window) : 0;
    int64_t ldq = a->ldq > 0 ? a->ldq : a->H * kv->D;
    assert(len >= 1 && len <= kv->cap);
    attend_any(job, a->slot[b], h / (a->H / kv->G), from, len, job->q + b * ldq + h * kv->D,
               job->o + (b * a->H + h) * kv->D);
}

void fmk_kv_attend(fmk_ctx *ctx, const fmk_kv_attn *a, const fmk_kv *kv, const float *q, float *o)
{
    assert(kv->D >= 1 && kv->D <= FMK_MAX_D && a->H % kv->G == 0);
    attend_job job = {.a = a, .kv = kv, .q = q, .o = o};
    double total = 0.0;
    for (int64_t b = 0; b < a->B; b++) {
        total += (double)a->len[b];
    }
    double work = a->B > 0 ? total / (double)a->B * (double)kv->D / 4.0 : 0.0;
    fmk_par(ctx, a->B * a->H, work, attend_task, &job);
}

/* ---- by the definition, in f64 ---- */

static double ref_value(const fmk_kv *kv, bool is_k, int64_t row, int64_t d)
{
    const float *scale = is_k ? kv->k_scale : kv->v_scale;
    double x = widen(kv->kind, is_k ? kv->k : kv->v, row * kv->D + d);
    return kv->kind == FMK_KV_Q8 ? x * scale[row] : x;
}

static void ref_head(const fmk_kv_attn *a, const fmk_kv *kv, int64_t b, int64_t h, const float *q, float *o)
{
    double acc[FMK_MAX_D] = {0}, sum = 0.0, max = -INFINITY;
    int64_t from = a->window > 0 ? fmk_max(0, a->len[b] - a->window) : 0;
    for (int pass = 0; pass < 2; pass++) {
        for (int64_t j = from; j < a->len[b]; j++) {
            int64_t row = (a->slot[b] * kv->cap + j) * kv->G + h / (a->H / kv->G);
            double s = 0.0;
            for (int64_t d = 0; d < kv->D; d++) {
                s += q[d] * ref_value(kv, true, row, d);
            }
            s *= a->scale;
            if (a->softcap > 0.0f) { s = a->softcap * tanh(s / a->softcap); }
            max = pass == 0 ? fmax(max, s) : max;
            for (int64_t d = 0; d < kv->D && pass == 1; d++) {
                acc[d] += exp(s - max) * ref_value(kv, false, row, d);
            }
            sum += pass == 1 ? exp(s - max) : 0.0;
        }
    }
    for (int64_t d = 0; d < kv->D; d++) {
        o[d] = (float)(acc[d] / sum);
    }
}

void fmk_kv_attend_ref(const fmk_kv_attn *a, const fmk_kv *kv, const float *q, float *o)
{
    for (int64_t b = 0; b < a->B; b++) {
        for (int64_t h = 0; h < a->H; h++) {
            int64_t ldq = a->ldq > 0 ? a->ldq : a->H * kv->D;
            ref_head(a, kv, b, h, q + b * ldq + h * kv->D, o + (b * a->H + h) * kv->D);
        }
    }
}
