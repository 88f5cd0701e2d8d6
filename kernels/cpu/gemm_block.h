/*
 * gemm_block.h: the register-blocked inner product, included once per instruction set by gemm.c.
 *
 * The includer defines GB(name) to make names, GB_TARGET, GB_MR rows and GB_V (a vector of GB_VW floats): a
 * block is GB_MR x 2 vectors of sums in registers, and for each k one broadcast of A meets two vectors of B.
 * GB_E is the element type (float, or a 32-bit bf16 pair), GB_FMA(acc, a, b) multiplies and adds, GB_BV is
 * B's vector type.
 */
GB_TARGET FMK_INLINE void GB(store)(int mr, int nv, GB_V sum[GB_MR][2], float *c, int64_t ldc, int64_t n,
                                    bool add)
{
    if (n >= nv * GB_VW) {
#pragma GCC unroll 16
        for (int i = 0; i < mr; i++) {
            for (int v = 0; v < nv; v++) {
                GB_V *out = (GB_V *)(c + i * ldc + v * GB_VW);
                if (add) { sum[i][v] += *out; }
                *out = sum[i][v];
            }
        }
        return;
    }
#pragma GCC unroll 16
    for (int i = 0; i < mr; i++) {
        float part[2 * GB_VW];
        for (int v = 0; v < nv; v++) {
            *(GB_V *)(part + v * GB_VW) = sum[i][v];
        }
        for (int64_t j = 0; j < n; j++) {
            c[i * ldc + j] = add ? c[i * ldc + j] + part[j] : part[j];
        }
    }
}

/* mr rows x nv vectors, of which n columns are stored. */
GB_TARGET FMK_INLINE void GB(block)(int mr, int nv, int64_t K, const GB_E *a, int64_t ars, int64_t acs,
                                    const GB_E *b, int64_t b_row, float *c, int64_t ldc, int64_t n, bool add)
{
    GB_V sum[GB_MR][2];
#pragma GCC unroll 16
    for (int i = 0; i < mr; i++) {
        sum[i][0] = (GB_V){0};
        sum[i][1] = (GB_V){0};
    }
    const GB_E *three[(GB_MR + 2) / 3]; /* rows 0, 3, 6, ...: so few pointers that each has a register */
#pragma GCC unroll 16
    for (int i = 0; i < mr; i += 3) {
        three[i / 3] = a + i * ars;
        __asm__("" : "+r"(three[i / 3])); /* nor does the compiler make one of each row again */
    }
    for (int64_t k = 0; k < K; k++) {
        GB_BV b0 = *(const GB_BV *)(b + k * b_row);
        GB_BV b1 = *(const GB_BV *)(b + k * b_row + (nv - 1) * GB_VW);
#pragma GCC unroll 16
        for (int i = 0; i < mr; i++) {
            const GB_E *x = three[i / 3] + i % 3 * ars + k * acs;
            sum[i][0] = GB_FMA(sum[i][0], *x, b0);
            if (nv > 1) { sum[i][1] = GB_FMA(sum[i][1], *x, b1); }
        }
    }
    GB(store)(mr, nv, sum, c, ldc, n, add);
}

/* All rows of one column block. nv, and acs or ars, are constants at each place of use. */
GB_TARGET FMK_INLINE void GB(rows)(const fmk_tile *t, int nv, int64_t K, const GB_E *a, int64_t ars,
                                   int64_t acs, const GB_E *b, float *c, int64_t n, bool add)
{
    int64_t i = 0;
    for (; i + GB_MR <= t->M; i += GB_MR) {
        GB(block)(GB_MR, nv, K, a + i * ars, ars, acs, b, t->b_row, c + i * t->ldc, t->ldc, n, add);
    }
    for (; i + 4 <= t->M && GB_MR > 4; i += 4) {
        GB(block)(4, nv, K, a + i * ars, ars, acs, b, t->b_row, c + i * t->ldc, t->ldc, n, add);
    }
    for (; i + 2 <= t->M; i += 2) {
        GB(block)(2, nv, K, a + i * ars, ars, acs, b, t->b_row, c + i * t->ldc, t->ldc, n, add);
    }
    for (; i < t->M; i++) {
        GB(block)(1, nv, K, a + i * ars, ars, acs, b, t->b_row, c + i * t->ldc, t->ldc, n, add);
    }
}

GB_TARGET static void GB(tile)(const fmk_tile *t)
{
    for (int64_t k0 = 0; k0 < t->K; k0 += KC) {
        const GB_E *a = (const GB_E *)t->a + k0 * t->acs;
        int64_t kc = fmk_min(KC, t->K - k0);
        bool add = t->add || k0 > 0;
        for (int64_t j0 = 0; j0 < t->N; j0 += 2 * GB_VW) {
            const GB_E *b = (const GB_E *)t->b + j0 / FMK_NR * t->b_panel + k0 * t->b_row + j0 % FMK_NR;
            int64_t n = t->N - j0;
            float *c = t->c + j0;
            if (t->acs != 1) {
                GB(rows)(t, 2, kc, a, 1, t->acs, b, c, n, add);
            } else if (n > GB_VW) {
                GB(rows)(t, 2, kc, a, t->ars, 1, b, c, n, add);
            } else {
                GB(rows)(t, 1, kc, a, t->ars, 1, b, c, n, add);
            }
        }
    }
}

#undef GB
#undef GB_TARGET
#undef GB_MR
#undef GB_VW
#undef GB_V
#undef GB_BV
#undef GB_E
#undef GB_FMA
