/*
 * geglu.c: h = gelu(gate) * up with the tanh form of GELU (Hendrycks & Gimpel 2016, Shazeer 2020):
 *
 *     gelu(z) = z/2 (1 + tanh u) = z s,   s = 1 / (1 + e^-2u),   u = sqrt(2/pi) (z + 0.044715 z^3)
 *
 * Elementwise; glu.c cuts it into blocks.
 */
#include "glu.h"

/* 2 sqrt(2/pi) and its product with 0.044715 */
#define SLOPE 1.5957691216057308
#define CUBIC 0.07135481282638045

FMK_INLINE float sigmoid_2u(float z)
{
    return 1.0f / (1.0f + fmk_exp(-z * ((float)SLOPE + (float)CUBIC * z * z)));
}

FMK_INLINE void fwd_block_body(int64_t n, const float *restrict gate, const float *restrict up,
                               float *restrict h)
{
    for (int64_t i = 0; i < n; i++) {
        h[i] = gate[i] * sigmoid_2u(gate[i]) * up[i];
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
            float z = gate[i0 + i], d = dh[i0 + i], s = sigmoid_2u(z);
            float rise = (float)SLOPE + 3.0f * (float)CUBIC * z * z; /* d 2u / dz */
            du[i] = d * z * s;
            dg[i] = d * up[i0 + i] * s * (1.0f + z * (1.0f - s) * rise);
        }
        memcpy(dgate + i0, dg, (size_t)m * sizeof *dg);
        memcpy(dup + i0, du, (size_t)m * sizeof *du);
    }
}
FMK_BY_ISA(bwd_block,
           (int64_t n, const float *gate, const float *up, const float *dh, float *dgate, float *dup),
           (n, gate, up, dh, dgate, dup))

void fmk_geglu_fwd(fmk_ctx *ctx, int64_t T, int64_t F, int64_t ld, const float *gate, const float *up,
                   float *h)
{
    fmk_glu_fwd(ctx, fwd_block, T, F, ld, gate, up, h);
}

void fmk_geglu_bwd(fmk_ctx *ctx, int64_t T, int64_t F, int64_t ld, const float *gate, const float *up,
                   const float *dh, float *dgate, float *dup)
{
    fmk_glu_bwd(ctx, bwd_block, T, F, ld, gate, up, dh, dgate, dup);
}

static double ref_tanh_u(double z)
{
    return tanh(SLOPE / 2.0 * (z + 0.044715 * z * z * z));
}

void fmk_geglu_fwd_ref(int64_t T, int64_t F, int64_t ld, const float *gate, const float *up, float *h)
{
    for (int64_t i = 0; i < T * F; i++) {
        int64_t at = i / F * ld + i % F;
        double z = gate[at];
        h[i] = (float)(0.5 * z * (1.0 + ref_tanh_u(z)) * up[at]);
    }
}

void fmk_geglu_bwd_ref(int64_t T, int64_t F, int64_t ld, const float *gate, const float *up, const float *dh,
                       float *dgate, float *dup)
{
    for (int64_t i = 0; i < T * F; i++) {
        int64_t at = i / F * ld + i % F;
        double z = gate[at], d = dh[i], t = ref_tanh_u(z);
        double rise = SLOPE / 2.0 * (1.0 + 3.0 * 0.044715 * z * z);
        double dg = d * up[at] * (0.5 * (1.0 + t) + 0.5 * z * (1.0 - t * t) * rise);
        dup[at] = (float)(d * 0.5 * z * (1.0 + t));
        dgate[at] = (float)dg;
    }
}
