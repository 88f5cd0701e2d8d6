/*
 * rmsnorm.c: y = x / sqrt(mean(x^2) + eps) * (offset + g), and its gradient (Zhang & Sennrich 2019).
 *
 * Rows are independent. The gain's gradient sums over rows: each block of ROWS rows makes a partial sum, and
 * the partial sums are added in the order of the blocks.
 */
#include "internal.h"

#define ROWS 32

typedef struct norm_job {
    int64_t T, C;
    float eps, offset;
    const float *x, *g, *dy;
    float *y, *rstd, *dx;
    const float *rstd_in;
    float *partial; /* (blocks,C) or NULL */
    float *dg;
} norm_job;

FMK_INLINE void fwd_rows_body(const norm_job *job, int64_t t0, int64_t t1)
{
    int64_t C = job->C;
    for (int64_t t = t0; t < t1; t++) {
        const float *x = job->x + t * C; /* (C) */
        float *y = job->y + t * C;       /* (C) */
        float rstd = 1.0f / sqrtf(fmk_dot(C, x, x) / (float)C + job->eps);
        for (int64_t c = 0; c < C; c++) {
            y[c] = x[c] * rstd * (job->offset + job->g[c]);
        }
        job->rstd[t] = rstd;
    }
}
FMK_BY_ISA(fwd_rows, (const norm_job *job, int64_t t0, int64_t t1), (job, t0, t1))

static void fwd_task(void *arg, size_t i)
{
    const norm_job *job = arg;
    int64_t t0 = (int64_t)i * ROWS;
    fwd_rows(job, t0, fmk_min(t0 + ROWS, job->T));
}

void fmk_rmsnorm_fwd(fmk_ctx *ctx, int64_t T, int64_t C, float eps, float offset, const float *x,
                     const float *g, float *y, float *rstd)
{
    norm_job job = {.T = T, .C = C, .eps = eps, .offset = offset, .x = x, .g = g, .y = y, .rstd = rstd};
    fmk_par(ctx, fmk_ceil_div(T, ROWS), (double)C * ROWS / 4, fwd_task, &job);
}

/* sum of x (offset + g) z */
FMK_INLINE float dot3(int64_t n, float offset, const float *x, const float *g, const float *z)
{
    fmk_v16 sum = {0};
    float lane[16];
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) {
        sum += *(const fmk_v16 *)(x + i) * (offset + *(const fmk_v16 *)(g + i)) * *(const fmk_v16 *)(z + i);
    }
    *(fmk_v16 *)lane = sum;
    for (; i < n; i++) {
        lane[i & 15] += x[i] * (offset + g[i]) * z[i];
    }
    return fmk_fold_add(lane);
}

FMK_INLINE void bwd_rows_body(const norm_job *job, int64_t t0, int64_t t1, float *restrict dg)
{
    int64_t C = job->C;
    for (int64_t t = t0; t < t1; t++) {
        const float *x = job->x + t * C;   /* (C) */
        const float *dy = job->dy + t * C; /* (C) */
        float *dx = job->dx + t * C;       /* (C) */
        float rstd = job->rstd_in[t];
        float along = dot3(C, job->offset, dy, job->g, x) * rstd * rstd * rstd / (float)C;
        for (int64_t c = 0; c < C; c++) {
            dx[c] += dy[c] * (job->offset + job->g[c]) * rstd - x[c] * along;
        }
        for (int64_t c = 0; dg && c < C; c++) {
            dg[c] += dy[c] * x[c] * rstd;
        }
    }
}
FMK_BY_ISA(bwd_rows, (const norm_job *job, int64_t t0, int64_t t1, float *restrict dg), (job, t0, t1, dg))

static void bwd_task(void *arg, size_t i)
{
    const norm_job *job = arg;
    int64_t t0 = (int64_t)i * ROWS;
    float *dg = job->partial ? job->partial + (int64_t)i * job->C : NULL;
    if (dg) { memset(dg, 0, (size_t)job->C * sizeof *dg); }
    bwd_rows(job, t0, fmk_min(t0 + ROWS, job->T), dg);
}

FMK_INLINE void sum_blocks_body(int64_t n_blocks, int64_t C, const float *partial, float *restrict dg)
{
    for (int64_t b = 0; b < n_blocks; b++) {
        for (int64_t c = 0; c < C; c++) {
            dg[c] += partial[b * C + c];
        }
    }
}
FMK_BY_ISA(sum_blocks, (int64_t n_blocks, int64_t C, const float *partial, float *restrict dg),
           (n_blocks, C, partial, dg))

void fmk_rmsnorm_bwd(fmk_ctx *ctx, int64_t T, int64_t C, float offset, const float *x, const float *g,
                     const float *rstd, const float *dy, float *dx, float *dg)
{
    size_t mark = fmk_mark(ctx);
    int64_t n_blocks = fmk_ceil_div(T, ROWS);
    norm_job job = {.T = T, .C = C, .offset = offset, .x = x, .g = g, .rstd_in = rstd, .dy = dy, .dx = dx};
    if (dg) { job.partial = fmk_take(ctx, (size_t)(n_blocks * C), sizeof *job.partial); }
    fmk_par(ctx, n_blocks, (double)C * ROWS / 2, bwd_task, &job);
    if (dg) { sum_blocks(n_blocks, C, job.partial, dg); }
    fmk_release(ctx, mark);
}

void fmk_rmsnorm_fwd_ref(int64_t T, int64_t C, float eps, float offset, const float *x, const float *g,
                         float *y, float *rstd)
{
    for (int64_t t = 0; t < T; t++) {
        double ss = 0.0;
        for (int64_t c = 0; c < C; c++) {
            ss += (double)x[t * C + c] * x[t * C + c];
        }
        double r = 1.0 / sqrt(ss / (double)C + eps);
        for (int64_t c = 0; c < C; c++) {
            y[t * C + c] = (float)(x[t * C + c] * r * ((double)offset + g[c]));
        }
        rstd[t] = (float)r;
    }
}

void fmk_rmsnorm_bwd_ref(int64_t T, int64_t C, float offset, const float *x, const float *g,
                         const float *rstd, const float *dy, float *dx, float *dg)
{
    for (int64_t t = 0; t < T; t++) {
        double r = rstd[t];
        double along = 0.0;
        for (int64_t c = 0; c < C; c++) {
            along += (double)dy[t * C + c] * ((double)offset + g[c]) * x[t * C + c];
        }
        along *= r * r * r / (double)C;
        for (int64_t c = 0; c < C; c++) {
            int64_t i = t * C + c;
            dx[i] += (float)((double)dy[i] * ((double)offset + g[c]) * r - x[i] * along);
            if (dg) { dg[c] += (float)((double)dy[i] * x[i] * r); }
        }
    }
}
