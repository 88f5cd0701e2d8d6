/*
 * glu.c: what SwiGLU and GeGLU share: rows cut into blocks, a block a task. The functions of an element are theirs.
 *
 * Rows of gate and up may lie ld apart (a fused projection makes both in one row): then a block is a row.
 */
#include "glu.h"

#define BLOCK 8192

typedef struct glu_job {
    int64_t n, n_blocks, block, step; /* values; step: from block to block in gate and up */
    glu_fwd *fwd;
    glu_bwd *bwd;
    const float *gate, *up, *dh;
    float *h, *dgate, *dup;
} glu_job;

static void cut(int64_t T, int64_t F, int64_t ld, glu_job *job)
{
    assert(ld >= F);
    bool whole = ld == F;
    job->n = T * F;
    job->n_blocks = whole ? fmk_ceil_div(T * F, BLOCK) : F > 0 ? T : 0;
    job->block = whole ? BLOCK : F;
    job->step = whole ? BLOCK : ld;
}

static void fwd_task(void *arg, size_t i)
{
    const glu_job *job = arg;
    int64_t at = (int64_t)i * job->step, out = (int64_t)i * job->block;
    job->fwd(fmk_min(job->block, job->n - out), job->gate + at, job->up + at, job->h + out);
}

static void bwd_task(void *arg, size_t i)
{
    const glu_job *job = arg;
    int64_t at = (int64_t)i * job->step, out = (int64_t)i * job->block;
    job->bwd(fmk_min(job->block, job->n - out), job->gate + at, job->up + at, job->dh + out, job->dgate + at,
             job->dup + at);
}

void fmk_glu_fwd(fmk_ctx *ctx, glu_fwd *fwd, int64_t T, int64_t F, int64_t ld, const float *gate,
                 const float *up, float *h)
{
    glu_job job = {.fwd = fwd, .gate = gate, .up = up, .h = h};
    cut(T, F, ld, &job);
    fmk_par(ctx, job.n_blocks, (double)job.block, fwd_task, &job);
}

void fmk_glu_bwd(fmk_ctx *ctx, glu_bwd *bwd, int64_t T, int64_t F, int64_t ld, const float *gate,
                 const float *up, const float *dh, float *dgate, float *dup)
{
    glu_job job = {.bwd = bwd, .gate = gate, .up = up, .dh = dh, .dgate = dgate, .dup = dup};
    cut(T, F, ld, &job);
    fmk_par(ctx, job.n_blocks, 2.0 * (double)job.block, bwd_task, &job);
}
