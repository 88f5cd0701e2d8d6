/*
 * pack.c: lay a matrix out in panels of FMK_NR columns, the order in which a tile reads it.
 *
 * A panel holds, for k = 0, 1, ..., the FMK_NR values of its columns side by side; columns past N are zero,
 * so a tile may compute them and throw them away. With bf16 the unit is a pair (k, k+1) in 32 bits, an odd
 * last k padded by zero. On a CPU without bf16 products a "bf16" panel holds the rounded values in f32
 * instead.
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
