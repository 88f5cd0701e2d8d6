/*
 * bf16.c: f32 to bf16, and operands of bf16 products; see fmk_bf16_bits in internal.h for the one rounding
 * in use. The CPU's own conversion differs from it in one point, subnormals, which become zero; its bf16 products
 * read subnormals as zero too, so that no product can tell.
 */
#include "internal.h"

#if FMK_X86
#include <immintrin.h>
#endif

FMK_INLINE void to_bf16_body(int64_t n, const float *restrict x, uint16_t *restrict y)
{
    for (int64_t i = 0; i < n; i++) {
        y[i] = (uint16_t)fmk_bf16_bits(x[i]);
    }
}
FMK_BY_ISA(to_bf16, (int64_t n, const float *restrict x, uint16_t *restrict y), (n, x, y))

void fmk_f32_to_bf16(int64_t n, const float *x, uint16_t *y)
{
    to_bf16(n, x, y);
}

/* ---- operands ---- */
#if FMK_X86
#define T512_BF16 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,avx512bf16")))

T512_BF16 static void pair_rows_512(int64_t m, int64_t n, const float *x, int64_t ld, uint32_t *out,
                                    int64_t ld_out)
{
    for (int64_t i = 0; i < m; i++) {
        const float *row = x + i * ld;
        uint32_t *to = out + i * ld_out;
        int64_t j = 0;
        for (; j + 32 <= n; j += 32) {
            __m512bh both = _mm512_cvtne2ps_pbh(_mm512_loadu_ps(row + j + 16), _mm512_loadu_ps(row + j));
            _mm512_storeu_si512(to + j / 2, (__m512i)both);
        }
        for (; j < n; j += 2) {
            to[j / 2] = fmk_bf16_bits(row[j]) | (j + 1 < n ? fmk_bf16_bits(row[j + 1]) << 16 : 0);
        }
    }
}

/* Sixteen columns of two rows: the lower halves are the first row's. */
T512_BF16 FMK_INLINE __m512i two_rows(__m512 lo, __m512 hi)
{
    const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23,
                                           7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    return _mm512_permutexvar_epi16(order, (__m512i)_mm512_cvtne2ps_pbh(hi, lo));
}

T512_BF16 static void pair_cols_512(int64_t m, int64_t n, const float *x, int64_t ld, uint32_t *out,
                                    int64_t ld_out)
{
    for (int64_t i = 0; i < m; i += 2) {
        const float *row = x + i * ld;
        uint32_t *to = out + i / 2 * ld_out;
        int64_t j = 0;
        for (; j + 16 <= n && i + 1 < m; j += 16) {
            _mm512_storeu_si512(to + j, two_rows(_mm512_loadu_ps(row + j), _mm512_loadu_ps(row + ld + j)));
        }
        for (; j < n; j += 16) {
            __mmask16 have = n - j >= 16 ? 0xFFFF : (__mmask16)((1u << (n - j)) - 1u);
            __m512 lo = _mm512_maskz_loadu_ps(have, row + j);
            __m512 hi = i + 1 < m ? _mm512_maskz_loadu_ps(have, row + ld + j) : _mm512_setzero_ps();
            _mm512_mask_storeu_epi32(to + j, have, two_rows(lo, hi));
        }
    }
}

/* Thirty-two columns of two rows of pairs: pairs along the rows become pairs of rows. */
T512_BF16 static void turn_pairs_512(int64_t m, int64_t n, const uint32_t *rows, int64_t ld, uint32_t *out,
                                     int64_t ld_out)
{
    __m512i order = _mm512_set_epi16(47, 15, 46, 14, 45, 13, 44, 12, 43, 11, 42, 10, 41, 9, 40, 8, 39, 7, 38,
                                     6, 37, 5, 36, 4, 35, 3, 34, 2, 33, 1, 32, 0);
    __m512i behind = _mm512_add_epi16(order, _mm512_set1_epi16(16));
    for (int64_t i = 0; i < m; i += 2) {
        const uint16_t *lo = (const uint16_t *)(rows + i * ld), *hi = (const uint16_t *)(rows + (i + 1) * ld);
        uint32_t *to = out + i / 2 * ld_out;
        for (int64_t j = 0; j < n; j += 32) {
            __mmask32 have = n - j >= 32 ? 0xFFFFFFFFu : (1u << (n - j)) - 1u;
            __m512i x = _mm512_maskz_loadu_epi16(have, lo + j);
            __m512i y = i + 1 < m ? _mm512_maskz_loadu_epi16(have, hi + j) : _mm512_setzero_si512();
            _mm512_mask_storeu_epi32(to + j, (__mmask16)have, _mm512_permutex2var_epi16(x, order, y));
            if (n - j > 16) {
                _mm512_mask_storeu_epi32(to + j + 16, (__mmask16)(have >> 16),
                                         _mm512_permutex2var_epi16(x, behind, y));
            }
        }
    }
}
#endif

FMK_INLINE void round_some_body(int64_t m, int64_t n, const float *x, int64_t ld, float *out, int64_t ld_out)
{
    for (int64_t i = 0; i < m; i++) {
        for (int64_t j = 0; j < n; j++) {
            out[i * ld_out + j] = fmk_bf16_round(x[i * ld + j]);
        }
    }
}
FMK_BY_ISA(round_some, (int64_t m, int64_t n, const float *x, int64_t ld, float *out, int64_t ld_out),
           (m, n, x, ld, out, ld_out))

void fmk_round_rows(int64_t m, int64_t n, const float *x, int64_t ld, uint32_t *out, int64_t ld_out)
{
#if FMK_X86
    if (fmk_has_bf16()) {
        pair_rows_512(m, n, x, ld, out, ld_out);
        return;
    }
#endif
    round_some(m, n, x, ld, (float *)out, ld_out);
}

/* Zeros behind n columns, up to a whole panel. */
static void pad_panel(int64_t m, int64_t n, uint32_t *out, int64_t ld_out)
{
    int64_t wide = fmk_ceil_div(n, FMK_NR) * FMK_NR;
    for (int64_t i = 0; i < fmk_ceil_div(m, fmk_pair()) && wide > n; i++) {
        memset(out + i * ld_out + n, 0, (size_t)(wide - n) * sizeof *out);
    }
}

void fmk_pair_rows(int64_t m, int64_t n, const uint32_t *rows, int64_t ld, uint32_t *out, int64_t ld_out,
                   bool pad)
{
    if (pad) { pad_panel(m, n, out, ld_out); }
#if FMK_X86
    if (fmk_pair() == 2) {
        turn_pairs_512(m, n, rows, ld, out, ld_out);
        return;
    }
#endif
    for (int64_t i = 0; i < m; i++) {
        memcpy(out + i * ld_out, rows + i * ld, (size_t)n * sizeof *out);
    }
}

void fmk_round_cols(int64_t m, int64_t n, const float *x, int64_t ld, uint32_t *out, int64_t ld_out, bool pad)
{
    if (pad) { pad_panel(m, n, out, ld_out); }
#if FMK_X86
    if (fmk_pair() == 2) {
        pair_cols_512(m, n, x, ld, out, ld_out);
        return;
    }
#endif
    round_some(m, n, x, ld, (float *)out, ld_out);
}

/* By the definition: the nearer of the two neighbours, the one with an even last bit when both are as near.
 */
void fmk_f32_to_bf16_ref(int64_t n, const float *x, uint16_t *y)
{
    for (int64_t i = 0; i < n; i++) {
        uint32_t u = fmk_bits(x[i]);
        uint32_t low = u & 0xFFFFu, high = u >> 16;
        if (isnan(x[i])) {
            y[i] = (uint16_t)(high | 0x40u);
        } else {
            y[i] = (uint16_t)(high + (low > 0x8000u || (low == 0x8000u && (high & 1u))));
        }
    }
}
