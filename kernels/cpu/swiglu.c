/*
 * swiglu.c: h = silu(gate) * up, silu(z) = z / (1 + e^-z) (Shazeer 2020). Elementwise, cut into blocks.
 *
 * Rows of gate and up may lie ld apart (a fused projection makes both in one row): then a block is a row.
 */
#include "internal.h"

#define BLOCK 8192

typedef struct swiglu_job {
    fmk_glu_cut cut;
    const float *gate, *up, *dh;
    float *h, *dgate, *dup;
} swiglu_job;

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

static void fwd_task(void *arg, size_t i)
{
    const swiglu_job *job = arg;
    int64_t at, out, n = fmk_glu_block(&job->cut, (int64_t)i, &at, &out);
    fwd_block(n, job->gate + at, job->up + at, job->h + out);
}

static void bwd_task(void *arg, size_t i)
{
    const swiglu_job *job = arg;
    int64_t at, out, n = fmk_glu_block(&job->cut, (int64_t)i, &at, &out);
    bwd_block(n, job->gate + at, job->up + at, job->dh + out, job->dgate + at, job->dup + at);
}

void fmk_swiglu_fwd(fmk_ctx *ctx, int64_t T, int64_t F, int64_t ld, const float *gate, const float *up,
                    float *h)
{
    swiglu_job job = {.cut = fmk_glu_cut_of(T, F, ld, BLOCK), .gate = gate, .up = up, .h = h};
    fmk_par(ctx, job.cut.n_blocks, (double)job.cut.block, fwd_task, &job);
}

void fmk_swiglu_bwd(fmk_ctx *ctx, int64_t T, int64_t F, int64_t ld, const float *gate, const float *up,
                    const float *dh, float *dgate, float *dup)
{
    swiglu_job job = {
        .cut = fmk_glu_cut_of(T, F, ld, BLOCK), .gate = gate, .up = up, .dh = dh, .dgate = dgate, .dup = dup};
    fmk_par(ctx, job.cut.n_blocks, 2.0 * (double)job.cut.block, bwd_task, &job);
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
