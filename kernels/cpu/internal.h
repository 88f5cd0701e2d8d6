/*
 * internal.h: what the kernel files share: the context, scratch memory, instruction-set dispatch, 16-lane
 * helpers.
 *
 * Tasks     fmk_par runs fn(arg, 0..n-1); a task owns its outputs, its bounds depend on shapes only.
 * ISA       A loop is written once as an always-inline `x_body`; FMK_BY_ISA makes three copies compiled for
 *           AVX-512, AVX2+FMA and the baseline, and `x` picks one at run time. No ifunc: sanitizers dislike
 * resolvers. Scratch   One reserved address range, taken stack-wise within one kernel call (fmk_take /
 * fmk_release), touched pages stay for the next call. Kernels cut their work so that they stay inside
 * FMK_PACK_LIMIT.
 */
#ifndef FMK_INTERNAL_H
#define FMK_INTERNAL_H

#include <assert.h>
#include <fmk.h>
#include <fmk_ref.h>
#include <fmpipe/fs.h>
#include <math.h>

#if defined(__x86_64__)
#define FMK_X86 1
#else
#define FMK_X86 0
#endif

enum { FMK_ISA_BASE, FMK_ISA_AVX2, FMK_ISA_AVX512 };

#define FMK_INLINE static inline __attribute__((always_inline))
#if defined(__clang__) /* full-width vectors are its default */
#define FMK_T512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")))
#else
#define FMK_T512                                                                                             \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,prefer-vector-width=512")))
#endif
#define FMK_T256 __attribute__((target("avx2,fma")))

#if FMK_X86
#define FMK_BY_ISA(name, params, args)                                                                       \
    FMK_T512 static void name##_512 params                                                                   \
    {                                                                                                        \
        name##_body args;                                                                                    \
    }                                                                                                        \
    FMK_T256 static void name##_256 params                                                                   \
    {                                                                                                        \
        name##_body args;                                                                                    \
    }                                                                                                        \
    static void name params                                                                                  \
    {                                                                                                        \
        switch (fmk_isa()) {                                                                                 \
        case FMK_ISA_AVX512: name##_512 args; break;                                                         \
        case FMK_ISA_AVX2: name##_256 args; break;                                                           \
        default: name##_body args; break;                                                                    \
        }                                                                                                    \
    }
#else
#define FMK_BY_ISA(name, params, args)                                                                       \
    static void name params                                                                                  \
    {                                                                                                        \
        name##_body args;                                                                                    \
    }
#endif

/* Columns of a packed panel, rows of a tile, largest head size (attention keeps its tiles on the stack). */
#define FMK_NR        32
#define FMK_TILE_ROWS 48
#define FMK_MAX_D     256
/* Elements of the largest packed operand that a kernel lays out at once. */
#define FMK_PACK_LIMIT ((int64_t)16 << 20)
/* Work below this many elementary operations is not worth waking a thread. */
#define FMK_INLINE_WORK 60000.0

typedef struct fmk_dnn fmk_dnn;
typedef struct fmk_room fmk_room;

struct fmk_ctx {
    fmp_pool *pool;
    fmk_dnn *dnn;           /* NULL until asked for; on a CPU with AMX from the start */
    bool dnn_f32, dnn_bf16; /* products that oneDNN computes */
    unsigned char *scratch;
    size_t scratch_cap, scratch_used;
    fmk_room *room; /* where the next packed weights go, or NULL */
    char describe[192];
};

/* FMK_ISA_*: the best this machine runs. */
int fmk_isa(void);
/* True if bf16 pairs are multiplied by the CPU; else inputs are rounded to bf16 and multiplied in f32. */
bool fmk_has_bf16(void);

/* `work`: elementary operations of one task, to decide whether other threads are worth waking. */
void fmk_par(fmk_ctx *ctx, int64_t n, double work, void (*fn)(void *arg, size_t i), void *arg);

/* 64-byte aligned scratch until fmk_release(ctx, mark). */
size_t fmk_mark(const fmk_ctx *ctx);
void *fmk_take(fmk_ctx *ctx, size_t count, size_t size_bytes);
void fmk_release(fmk_ctx *ctx, size_t mark);

/*
 * fmk_tile: c (M,N) = a b (+ c if add), by one thread; each element is one chain of multiply-adds in order of
 * k, so that a row's result depends on neither M nor N nor the other rows. a   element (i,k) at a[i*ars +
 * k*acs]; one of ars, acs is 1 b   panels of FMK_NR columns: element (k,j) at b[(j/NR)*b_panel + k*b_row +
 * j%NR]; readable to a whole panel bf16: the same with 32-bit elements that hold the pairs (2k, 2k+1), K
 * counting pairs, acs == 1.
 */
typedef struct fmk_tile {
    int64_t M, N, K;
    const void *a;
    int64_t ars, acs;
    const void *b;
    int64_t b_panel, b_row;
    float *c;
    int64_t ldc;
    bool add;
} fmk_tile;
void fmk_tile_f32(const fmk_tile *t);
void fmk_tile_bf16(const fmk_tile *t);

/* A frozen weight (N,K), in 32-bit units: see fmk_pair. What the way back needs is turned when it is needed. */
struct fmk_packed {
    int64_t N, K;
    bool bf16;
    uint32_t *panels; /* (n_units) W^T in panels over N */
    size_t n_units;
    fmk_room *room;  /* where they lie */
    uint16_t *plain; /* (N,K) for oneDNN, or NULL */
};
/*
 * W's columns from k0 (a multiple of FMK_NR) as one panel over K: for rows n0 (too) .. n0+n-1, as the right operand of a
 * product that sums over them: out [ceil(n/pair)][FMK_NR], zeros behind K.
 */
void fmk_turn_panel(const fmk_packed *w, int64_t k0, int64_t n0, int64_t n, uint32_t *out);

/*
 * room.c: `count` elements, 64-byte aligned, until fmk_room_drop(*holder); NULL where memory ran out. *current is the
 * room that is cut from, first NULL, at last left; weights that passes read one after another share one.
 */
void *fmk_room_take(fmk_room **current, size_t count, size_t size_bytes, fmk_room **holder);
void fmk_room_drop(fmk_room *room); /* NULL: nothing */
void fmk_room_leave(fmk_room **current);

/* b (K,N) or, when t, (N,K) into panels [N/NR][K][NR] f32, or [N/NR][(K+1)/2][NR] bf16 pairs; zero padded. */
void fmk_pack_panels(fmk_ctx *ctx, int64_t N, int64_t K, bool t, const float *b, int64_t ldb, bool bf16,
                     uint32_t *out);
/* The same for a caller with a loop of its own: fmk_pack_task(job, i) makes panel i. */
typedef struct fmk_pack_job {
    int64_t N, K, ldb;
    bool t, bf16;
    const float *b;
    uint32_t *out;
} fmk_pack_job;
void fmk_pack_task(void *job, size_t i);
/* One panel (D,FMK_NR) from w <= FMK_NR rows of D values, transposed; the other columns zero. */
void fmk_pack_block_t(int64_t D, int64_t w, const float *rows, int64_t ld, float *panel);
size_t fmk_panels_count(int64_t N, int64_t K, bool bf16); /* 32-bit elements */

/*
 * What a bf16 product reads, in 32-bit units: pairs of bf16 where the CPU multiplies them (fmk_pair() == 2), else one
 * rounded f32 each (1). fmk_tile_rounded is the tile over such units.
 *   fmk_round_rows   rows (m,n) to (m, ceil(n/pair)), ld_out units apart: left operands, pairs along a row
 *   fmk_round_cols   rows (m,n) to (ceil(m/pair), n), ld_out units apart: pairs of rows; n rounded up to whole panels
 *                    when `pad`, zeros there
 *   fmk_pair_rows    the same from rows that fmk_round_rows made, ld units apart
 */
FMK_INLINE int64_t fmk_pair(void)
{
    return fmk_has_bf16() ? 2 : 1;
}
void fmk_round_rows(int64_t m, int64_t n, const float *x, int64_t ld, uint32_t *out, int64_t ld_out);
void fmk_round_cols(int64_t m, int64_t n, const float *x, int64_t ld, uint32_t *out, int64_t ld_out,
                    bool pad);
void fmk_pair_rows(int64_t m, int64_t n, const uint32_t *rows, int64_t ld, uint32_t *out, int64_t ld_out,
                   bool pad);
void fmk_tile_rounded(const fmk_tile *t);

/* out (M,N) = op(A) panels + beta*out */
void fmk_mm_panels(fmk_ctx *ctx, const fmk_mm *mm, const float *a, const uint32_t *panels, float *out);

FMK_INLINE int64_t fmk_min(int64_t a, int64_t b)
{
    return a < b ? a : b;
}
FMK_INLINE int64_t fmk_max(int64_t a, int64_t b)
{
    return a > b ? a : b;
}
FMK_INLINE int64_t fmk_ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

/* At least n 32-bit units, an odd number of cache lines: rows so far apart share no place in a cache. */
FMK_INLINE int64_t fmk_odd_lines(int64_t n)
{
    return (fmk_ceil_div(n, 16) | 1) * 16;
}

FMK_INLINE uint32_t fmk_bits(float x)
{
    union {
        float f;
        uint32_t u;
    } v = {.f = x};
    return v.u;
}
FMK_INLINE float fmk_float(uint32_t x)
{
    union {
        uint32_t u;
        float f;
    } v = {.u = x};
    return v.f;
}

/* Round to nearest even; a NaN stays a (quiet) NaN. */
FMK_INLINE uint32_t fmk_bf16_bits(float x)
{
    uint32_t u = fmk_bits(x);
    uint32_t rounded = (u + 0x7FFFu + ((u >> 16) & 1u)) >> 16;
    uint32_t quiet = (u >> 16) | 0x40u;
    return (u & 0x7FFFFFFFu) > 0x7F800000u ? quiet : rounded;
}
FMK_INLINE float fmk_bf16_round(float x)
{
    return fmk_float(fmk_bf16_bits(x) << 16);
}

/*
 * e^x for loops that the compiler vectorises: x = n ln2 + r, |r| <= ln2/2, Taylor polynomial of degree 7 (its
 * error, 5e-9, is below 0.1 ulp), scaled by 2^n through the exponent bits. Error <= 2 ulp; 0 below -87,
 * capped above 88; a NaN stays one.
 */
FMK_INLINE float fmk_exp(float x)
{
    float z = x > 88.0f ? 88.0f : x;
    z = z < -88.0f ? -88.0f : z;
    float shifted = z * 1.44269504f + 12582912.0f; /* 1.5 * 2^23: the sum's low bits are round(z log2 e) */
    float n = shifted - 12582912.0f;
    float r = z - n * 0.693145752f; /* ln2 with 15 trailing zero bits: the product is exact */
    r = r - n * 1.42860677e-6f;
    float p = 1.0f / 5040.0f;
    p = p * r + 1.0f / 720.0f;
    p = p * r + 1.0f / 120.0f;
    p = p * r + 1.0f / 24.0f;
    p = p * r + 1.0f / 6.0f;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    float y = fmk_float(fmk_bits(p) + (fmk_bits(shifted) << 23));
    return x < -87.0f ? 0.0f : y;
}

/* cap * tanh(s / cap), by tanh x = 1 - 2 / (e^2x + 1): it flattens beyond the range of fmk_exp as tanh does. */
FMK_INLINE float fmk_softcap(float cap, float s)
{
    return cap - 2.0f * cap / (fmk_exp(2.0f * s / cap) + 1.0f);
}

/* Sixteen lanes, any alignment: sums run in lanes and are folded by one fixed tree. */
typedef float fmk_v16 __attribute__((vector_size(64), aligned(4), may_alias));

FMK_INLINE float fmk_fold_add(const float lane[16])
{
    float s8[8], s4[4];
    for (int i = 0; i < 8; i++) {
        s8[i] = lane[i] + lane[i + 8];
    }
    for (int i = 0; i < 4; i++) {
        s4[i] = s8[i] + s8[i + 4];
    }
    return (s4[0] + s4[2]) + (s4[1] + s4[3]);
}

FMK_INLINE float fmk_dot(int64_t n, const float *x, const float *y)
{
    fmk_v16 sum = {0};
    float lane[16];
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) {
        sum += *(const fmk_v16 *)(x + i) * *(const fmk_v16 *)(y + i);
    }
    *(fmk_v16 *)lane = sum;
    for (; i < n; i++) {
        lane[i & 15] += x[i] * y[i];
    }
    return fmk_fold_add(lane);
}

FMK_INLINE float fmk_row_sum(int64_t n, const float *x)
{
    fmk_v16 sum = {0};
    float lane[16];
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) {
        sum += *(const fmk_v16 *)(x + i);
    }
    *(fmk_v16 *)lane = sum;
    for (; i < n; i++) {
        lane[i & 15] += x[i];
    }
    return fmk_fold_add(lane);
}

/* Four lanes: wider comparisons are taken apart lane by lane where the CPU has none so wide. */
typedef float fmk_v4 __attribute__((vector_size(16), aligned(4), may_alias));
typedef int32_t fmk_i4 __attribute__((vector_size(16), aligned(4), may_alias));

/* Lane by lane; y where neither is larger. */
FMK_INLINE fmk_v4 fmk_larger(fmk_v4 x, fmk_v4 y)
{
    fmk_i4 more = x > y;
    return (fmk_v4)((more & (fmk_i4)x) | (~more & (fmk_i4)y));
}

/* Largest of n values; n >= 1. */
FMK_INLINE float fmk_row_max(int64_t n, const float *x)
{
    float lane[4];
    int64_t i = 0;
    fmk_v4 top[4];
    top[0] = top[1] = top[2] = top[3] = (fmk_v4){0} - INFINITY;
    for (; i + 16 <= n; i += 16) {
        for (int k = 0; k < 4; k++) {
            top[k] = fmk_larger(*(const fmk_v4 *)(x + i + 4 * k), top[k]);
        }
    }
    *(fmk_v4 *)lane = fmk_larger(fmk_larger(top[0], top[2]), fmk_larger(top[1], top[3]));
    for (; i < n; i++) {
        lane[i & 3] = x[i] > lane[i & 3] ? x[i] : lane[i & 3];
    }
    float a = lane[0] > lane[2] ? lane[0] : lane[2], b = lane[1] > lane[3] ? lane[1] : lane[3];
    return a > b ? a : b;
}

#endif
