/*
 * swiglu.c: h = silu(gate) * up, silu(z) = z / (1 + e^-z) (Shazeer 2020). Elementwise; glu.c cuts it into blocks.
 */
#include "glu.h"

FMK_INLINE void fwd_block_body(int64_t n, const float *restrict gate, const float *restrict up,
                               float *restrict h)
{
    for (int64_t i = 0; i < n; i++) {
        h[i] = gate[i] / (1.0f + fmk_exp(-gate[i])) * up[i];
    }
}
FMK_BY_ISA(fwd_block, (int64_t n, const float *restrict gate, const float *restrict up, float *restrict h),
           (n, gate, up, h))

/* dgate and dup may be gate and up themselves: an element is read before it is written. */
FMK_INLINE void bwd_block_body(int64_t n, const float *gate, const float *up, const float *dh, float *dgate,
                               float *dup)
{
    enum { STRIP = 64 };
    for (int64_t i0 = 0; i0 < n; i0 += STRIP) {
        float du[STRIP], dg[STRIP];
        int64_t m = fmk_min(STRIP, n - i0);
        for (int64_t i = 0; i < m; i++) {
            float z = gate[i0 + i], d = dh[i0 + i];
            float s = 1.0f / (1.0f + fmk_exp(-z));
            du[i] = d * z * s;
            dg[i] = d * up[i0 + i] * s * (1.0f + z * (1.0f - s));
        }
        memcpy(dgate + i0, dg, (size_t)m * sizeof *dg);
        memcpy(dup + i0, du, (size_t)m * sizeof *du);
    }
}
FMK_BY_ISA(bwd_block,
           (int64_t n, const float *gate, const float *up, const float *dh, float *dgate, float *dup),
           (n, gate, up, dh, dgate, dup))

void fmk_swiglu_fwd(fmk_ctx *ctx, int64_t T, int64_t F, int64_t ld, const float *gate, const float *up,
                    float *h)
{
    fmk_glu_fwd(ctx, fwd_block, T, F, ld, gate, up, h);
}

void fmk_swiglu_bwd(fmk_ctx *ctx, int64_t T, int64_t F, int64_t ld, const float *gate, const float *up,
                    const float *dh, float *dgate, float *dup)
{
    fmk_glu_bwd(ctx, bwd_block, T, F, ld, gate, up, dh, dgate, dup);
}

void fmk_swiglu_fwd_ref(int64_t T, int64_t F, int64_t ld, const float *gate, const float *up, float *h)
{
    for (int64_t i = 0; i < T * F; i++) {
        int64_t at = i / F * ld + i % F;
        h[i] = (float)(gate[at] / (1.0 + exp(-(double)gate[at])) * up[at]);
    }
}

void fmk_swiglu_bwd_ref(int64_t T, int64_t F, int64_t ld, const float *gate, const float *up, const float *dh,
                        float *dgate, float *dup)
{
    for (int64_t i = 0; i < T * F; i++) {
        int64_t at = i / F * ld + i % F;
        double z = gate[at], d = dh[i], s = 1.0 / (1.0 + exp(-z));
        double du = d * z * s;
        double dg = d * up[at] * s * (1.0 + z * (1.0 - s));
        dup[at] = (float)du;
        dgate[at] = (float)dg;
    }
}
