/*
 * pack.c: lay a matrix out in panels of FMK_NR columns, the order in which a tile reads it.
 *
 * A panel holds, for k = 0, 1, ..., the FMK_NR values of its columns side by side; columns past N are zero,
 * so a tile may compute them and throw them away. With bf16 the unit is a pair (k, k+1) in 32 bits, an odd
 * last k padded by zero. On a CPU without bf16 products a "bf16" panel holds the rounded values in f32
 * instead.
 *
 * A weight is kept in one direction. The other, with pairs of rows where this one has pairs of columns, is made a
 * panel at a time while it is in the cache: fmk_turn_panel.
 */
#include "internal.h"

#if FMK_X86
#include <immintrin.h>
#endif

/* dst (kn,FMK_NR) from columns of a row-major matrix: src (kn, >= w). */
FMK_INLINE void pack_cols_body(int64_t kn, int64_t w, const float *src, int64_t ld, bool round, float *dst)
{
    for (int64_t k = 0; k < kn; k++) {
        const float *s = src + k * ld;
        float *d = dst + k * FMK_NR;
        if (w == FMK_NR) {
            memcpy(d, s, FMK_NR * sizeof *d);
        } else {
            for (int64_t j = 0; j < FMK_NR; j++) {
                d[j] = j < w ? s[j] : 0.0f;
            }
        }
        if (round) {
            for (int j = 0; j < FMK_NR; j++) {
                d[j] = fmk_bf16_round(d[j]);
            }
        }
    }
}
FMK_BY_ISA(pack_cols, (int64_t kn, int64_t w, const float *src, int64_t ld, bool round, float *dst),
           (kn, w, src, ld, round, dst))

/* The same from rows: src (>= w, kn), transposed. Sixteen k at a time keep reads and writes in cache lines.
 */
FMK_INLINE void pack_rows_body(int64_t kn, int64_t w, const float *src, int64_t ld, bool round, float *dst)
{
    for (int64_t k0 = 0; k0 < kn; k0 += 16) {
        int64_t n = fmk_min(16, kn - k0);
        float block[16][FMK_NR];
        for (int64_t j = 0; j < FMK_NR; j++) {
            const float *s = src + (j < w ? j : 0) * ld + k0;
            for (int64_t k = 0; k < n; k++) {
                block[k][j] = j < w ? s[k] : 0.0f;
            }
        }
        for (int64_t k = 0; k < n; k++) {
            float *d = dst + (k0 + k) * FMK_NR;
            for (int j = 0; j < FMK_NR; j++) {
                d[j] = round ? fmk_bf16_round(block[k][j]) : block[k][j];
            }
        }
    }
}
FMK_BY_ISA(pack_rows, (int64_t kn, int64_t w, const float *src, int64_t ld, bool round, float *dst),
           (kn, w, src, ld, round, dst))

#if FMK_X86
/* dst (16,16), its rows FMK_NR apart, from 16 rows of src transposed: by pairs, by fours, then whole quarters. */
FMK_T512 static void turn_16_512(const float *src, int64_t ld, float *dst)
{
    __m512 x[16], y[16];
#pragma GCC unroll 16
    for (int i = 0; i < 16; i += 2) {
        __m512 a = _mm512_loadu_ps(src + i * ld), b = _mm512_loadu_ps(src + (i + 1) * ld);
        x[i] = _mm512_unpacklo_ps(a, b);
        x[i + 1] = _mm512_unpackhi_ps(a, b);
    }
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++) {
        __m512d a = _mm512_castps_pd(x[i / 4 * 4 + i % 4 / 2]),
                b = _mm512_castps_pd(x[i / 4 * 4 + i % 4 / 2 + 2]);
        y[i] = _mm512_castpd_ps(i % 2 ? _mm512_unpackhi_pd(a, b) : _mm512_unpacklo_pd(a, b));
    }
#pragma GCC unroll 16
    for (int q = 0; q < 4; q++) { /* quarter k of y[4 i + q] is column 4 k + q of rows 4 i .. 4 i + 3 */
        __m512 even = _mm512_shuffle_f32x4(y[q], y[4 + q], 0x88),
               odd = _mm512_shuffle_f32x4(y[q], y[4 + q], 0xDD);
        __m512 even2 = _mm512_shuffle_f32x4(y[8 + q], y[12 + q], 0x88);
        __m512 odd2 = _mm512_shuffle_f32x4(y[8 + q], y[12 + q], 0xDD);
        _mm512_storeu_ps(dst + q * FMK_NR, _mm512_shuffle_f32x4(even, even2, 0x88));
        _mm512_storeu_ps(dst + (4 + q) * FMK_NR, _mm512_shuffle_f32x4(odd, odd2, 0x88));
        _mm512_storeu_ps(dst + (8 + q) * FMK_NR, _mm512_shuffle_f32x4(even, even2, 0xDD));
        _mm512_storeu_ps(dst + (12 + q) * FMK_NR, _mm512_shuffle_f32x4(odd, odd2, 0xDD));
    }
}
#endif

/* pack_rows without rounding; whole squares by themselves */
static void move_rows(int64_t kn, int64_t w, const float *src, int64_t ld, float *dst)
{
    int64_t k = 0;
#if FMK_X86
    bool squares = fmk_isa() == FMK_ISA_AVX512 && w % 16 == 0;
    for (; squares && k + 16 <= kn; k += 16) {
        for (int64_t j = 0; j < w; j += 16) {
            turn_16_512(src + j * ld + k, ld, dst + k * FMK_NR + j);
        }
        for (int64_t i = k; i < k + 16 && w < FMK_NR; i++) {
            memset(dst + i * FMK_NR + w, 0, (size_t)(FMK_NR - w) * sizeof *dst);
        }
    }
#endif
    pack_rows(kn - k, w, src + k, ld, false, dst + k * FMK_NR);
}

/* dst (kn/2,FMK_NR): two f32 rows at a time become one row of bf16 pairs; an odd row meets zeros. */
FMK_INLINE void pair_rows_body(int64_t kn, const float *rows, uint32_t *dst)
{
    static const float zero[FMK_NR];
    for (int64_t k = 0; k < kn; k += 2) {
        const float *lo = rows + k * FMK_NR;
        const float *hi = k + 1 < kn ? lo + FMK_NR : zero;
        uint32_t *d = dst + k / 2 * FMK_NR;
        for (int j = 0; j < FMK_NR; j++) {
            d[j] = fmk_bf16_bits(lo[j]) | fmk_bf16_bits(hi[j]) << 16;
        }
    }
}
FMK_BY_ISA(pair_rows, (int64_t kn, const float *rows, uint32_t *dst), (kn, rows, dst))

static void pack_strip(const fmk_pack_job *job, int64_t j0, int64_t k0, int64_t kn, bool round, float *dst)
{
    int64_t w = fmk_min(FMK_NR, job->N - j0);
    if (job->t && round) {
        pack_rows(kn, w, job->b + j0 * job->ldb + k0, job->ldb, true, dst);
    } else if (job->t) {
        move_rows(kn, w, job->b + j0 * job->ldb + k0, job->ldb, dst);
    } else {
        pack_cols(kn, w, job->b + k0 * job->ldb + j0, job->ldb, round, dst);
    }
}

void fmk_pack_task(void *arg, size_t i)
{
    enum { STRIP = 64 };
    const fmk_pack_job *job = arg;
    int64_t j0 = (int64_t)i * FMK_NR;
    if (!job->bf16) {
        pack_strip(job, j0, 0, job->K, false, (float *)job->out + j0 * job->K);
        return;
    }
    if (!fmk_has_bf16()) {
        pack_strip(job, j0, 0, job->K, true, (float *)job->out + j0 * job->K);
        return;
    }
    uint32_t *panel = job->out + j0 * ((job->K + 1) / 2);
    float strip[STRIP * FMK_NR];
    for (int64_t k0 = 0; k0 < job->K; k0 += STRIP) {
        int64_t kn = fmk_min(STRIP, job->K - k0);
        pack_strip(job, j0, k0, kn, false, strip);
        pair_rows(kn, strip, panel + k0 / 2 * FMK_NR);
    }
}

void fmk_pack_block_t(int64_t D, int64_t w, const float *rows, int64_t ld, float *panel)
{
    move_rows(D, w, rows, ld, panel);
}

size_t fmk_panels_count(int64_t N, int64_t K, bool bf16)
{
    int64_t rows = bf16 && fmk_has_bf16() ? (K + 1) / 2 : K;
    return (size_t)(fmk_ceil_div(N, FMK_NR) * FMK_NR) * (size_t)rows;
}

void fmk_pack_panels(fmk_ctx *ctx, int64_t N, int64_t K, bool t, const float *b, int64_t ldb, bool bf16,
                     uint32_t *out)
{
    fmk_pack_job job = {.N = N, .K = K, .ldb = ldb, .t = t, .bf16 = bf16, .b = b, .out = out};
    fmk_par(ctx, fmk_ceil_div(N, FMK_NR), (double)K * FMK_NR, fmk_pack_task, &job);
}

/* ---- the other direction ---- */

/* A square: FMK_NR rows and columns of a weight, in its panel and in the turned one. */
#if FMK_X86
/* Eight by eight pairs of pairs, rows FMK_NR units apart: (k,k+1) of rows n, n+1 become (n,n+1) of columns k, k+1. */
FMK_T512 static void turn_8_512(const uint32_t *src, uint32_t *dst)
{
    __m512i r[8], t[8];
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) {
        __m512i x = _mm512_loadu_si512(src + i * FMK_NR);
        r[i] = _mm512_shufflelo_epi16(_mm512_shufflehi_epi16(x, 0xD8), 0xD8);
    }
#pragma GCC unroll 8
    for (int i = 0; i < 8; i += 2) {
        t[i] = _mm512_unpacklo_epi64(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi64(r[i], r[i + 1]);
    }
#pragma GCC unroll 2
    for (int odd = 0; odd < 2; odd++) { /* quarter q of t[i + odd] holds column 2 q + odd of rows i, i + 1 */
        __m512i low = _mm512_shuffle_i64x2(t[odd], t[2 + odd], 0x88);
        __m512i low2 = _mm512_shuffle_i64x2(t[4 + odd], t[6 + odd], 0x88);
        __m512i high = _mm512_shuffle_i64x2(t[odd], t[2 + odd], 0xDD);
        __m512i high2 = _mm512_shuffle_i64x2(t[4 + odd], t[6 + odd], 0xDD);
        _mm512_storeu_si512(dst + odd * FMK_NR, _mm512_shuffle_i64x2(low, low2, 0x88));
        _mm512_storeu_si512(dst + (2 + odd) * FMK_NR, _mm512_shuffle_i64x2(high, high2, 0x88));
        _mm512_storeu_si512(dst + (4 + odd) * FMK_NR, _mm512_shuffle_i64x2(low, low2, 0xDD));
        _mm512_storeu_si512(dst + (6 + odd) * FMK_NR, _mm512_shuffle_i64x2(high, high2, 0xDD));
    }
}
#endif

/* From `have` rows of the square in the weight's panel to `want` rows of the turned one. */
static void turn_pairs(int64_t have, int64_t want, const uint32_t *src, uint32_t *dst)
{
    enum { HALF = FMK_NR / 2 };
#if FMK_X86
    if (have == HALF && want == HALF && fmk_isa() == FMK_ISA_AVX512) {
        for (int i = 0; i < 4; i++) {
            int64_t down = i / 2 * 8, right = i % 2 * 8;
            turn_8_512(src + down * FMK_NR + 2 * right, dst + right * FMK_NR + 2 * down);
        }
        return;
    }
#endif
    for (int64_t n = 0; n < want; n++) {
        for (int64_t k = 0; k < HALF; k++) {
            uint32_t a = k < have ? src[k * FMK_NR + 2 * n] : 0,
                     b = k < have ? src[k * FMK_NR + 2 * n + 1] : 0;
            dst[n * FMK_NR + 2 * k] = (a & 0xFFFFu) | b << 16;
            dst[n * FMK_NR + 2 * k + 1] = a >> 16 | (b & 0xFFFF0000u);
        }
    }
}

static void turn_units(int64_t have, int64_t want, const uint32_t *src, uint32_t *dst)
{
    for (int64_t n = 0; n < want; n++) {
        for (int64_t k = 0; k < FMK_NR; k++) {
            dst[n * FMK_NR + k] = k < have ? src[k * FMK_NR + n] : 0;
        }
    }
}

void fmk_turn_panel(const fmk_packed *w, int64_t k0, int64_t n0, int64_t n, uint32_t *out)
{
    int64_t pair = w->bf16 ? fmk_pair() : 1, Ku = fmk_ceil_div(w->K, pair);
    int64_t have = fmk_min(FMK_NR / pair, Ku - k0 / pair);
    for (int64_t i = 0; i < n; i += FMK_NR) {
        int64_t want = fmk_ceil_div(fmk_min(FMK_NR, n - i), pair);
        const uint32_t *src = w->panels + (n0 + i) * Ku + k0 / pair * FMK_NR;
        uint32_t *dst = out + i / pair * FMK_NR;
        if (pair == 2) {
            turn_pairs(have, want, src, dst);
        } else {
            turn_units(have, want, src, dst);
        }
    }
}
