/*
 * embed.c: rows of a table, and their gradient.
 *
 * Backward: several tokens share a row, so threads divide the channels, not the tokens; each walks all tokens
 * in order and owns its columns of dE.
 */
#include "internal.h"

#define ROWS 64
#define COLS 32

typedef struct embed_job {
    int64_t T, C;
    const float *src;
    const uint32_t *id;
    float *dst;
} embed_job;

static void fwd_task(void *arg, size_t i)
{
    const embed_job *job = arg;
    int64_t t0 = (int64_t)i * ROWS;
    for (int64_t t = t0; t < fmk_min(t0 + ROWS, job->T); t++) {
        memcpy(job->dst + t * job->C, job->src + (int64_t)job->id[t] * job->C,
               (size_t)job->C * sizeof *job->dst);
    }
}

void fmk_embed_fwd(fmk_ctx *ctx, int64_t T, int64_t C, const float *E, const uint32_t *id, float *x)
{
    embed_job job = {.T = T, .C = C, .src = E, .id = id, .dst = x};
    fmk_par(ctx, fmk_ceil_div(T, ROWS), (double)C * ROWS / 8, fwd_task, &job);
}

FMK_INLINE void bwd_cols_body(const embed_job *job, int64_t c0, int64_t n)
{
    for (int64_t t = 0; t < job->T; t++) {
        const float *dx = job->src + t * job->C + c0;
        float *dE = job->dst + (int64_t)job->id[t] * job->C + c0;
        if (n == COLS) {
            for (int c = 0; c < COLS; c++) {
                dE[c] += dx[c];
            }
        } else {
            for (int64_t c = 0; c < n; c++) {
                dE[c] += dx[c];
            }
        }
    }
}
FMK_BY_ISA(bwd_cols, (const embed_job *job, int64_t c0, int64_t n), (job, c0, n))

static void bwd_task(void *arg, size_t i)
{
    const embed_job *job = arg;
    int64_t c0 = (int64_t)i * COLS;
    bwd_cols(job, c0, fmk_min(COLS, job->C - c0));
}

void fmk_embed_bwd(fmk_ctx *ctx, int64_t T, int64_t C, int64_t V, const uint32_t *id, const float *dx,
                   float *dE)
{
    (void)V; /* the caller's promise about id, of use to backends that divide the table */
    embed_job job = {.T = T, .C = C, .src = dx, .id = id, .dst = dE};
    fmk_par(ctx, fmk_ceil_div(C, COLS), (double)T * COLS / 4, bwd_task, &job);
}

void fmk_embed_fwd_ref(int64_t T, int64_t C, const float *E, const uint32_t *id, float *x)
{
    for (int64_t t = 0; t < T; t++) {
        for (int64_t c = 0; c < C; c++) {
            x[t * C + c] = E[id[t] * C + c];
        }
    }
}

void fmk_embed_bwd_ref(int64_t T, int64_t C, int64_t V, const uint32_t *id, const float *dx, float *dE)
{
    for (int64_t t = 0; t < T; t++) {
        if ((int64_t)id[t] >= V) { continue; }
        for (int64_t c = 0; c < C; c++) {
            dE[id[t] * C + c] += dx[t * C + c];
        }
    }
}
