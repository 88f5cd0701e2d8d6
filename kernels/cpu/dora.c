/*
 * dora.c: the row-wise scaling of DoRA (Liu et al. 2024, "DoRA: Weight-Decomposed Low-Rank Adaptation"): with
 * z = (W + scale B A) x and g = magnitude / norm of each row of W + scale B A, y = g z.
 *
 * The norm counts as a constant in the backward pass (section 4.3 of the paper).
 */
#include "internal.h"

enum { ROWS = 16, COLS = 64 };

typedef struct dora_job {
    int64_t T, N;
    const float *z, *g, *bias, *dy, *inv_norm;
    bool add;
    float *y, *dz, *dmag;
} dora_job;

FMK_INLINE void fwd_row_body(int64_t N, const float *z, const float *g, const float *bias, bool add, float *y)
{
    for (int64_t j = 0; j < N; j++) {
        float v = g[j] * z[j];
        v = bias ? v + bias[j] : v;
        y[j] = add ? y[j] + v : v;
    }
}
FMK_BY_ISA(fwd_row, (int64_t N, const float *z, const float *g, const float *bias, bool add, float *y),
           (N, z, g, bias, add, y))

static void fwd_task(void *arg, size_t task)
{
    const dora_job *job = arg;
    int64_t end = fmk_min(((int64_t)task + 1) * ROWS, job->T);
    for (int64_t t = (int64_t)task * ROWS; t < end; t++) {
        fwd_row(job->N, job->z + t * job->N, job->g, job->bias, job->add, job->y + t * job->N);
    }
}

void fmk_dora_fwd(fmk_ctx *ctx, int64_t T, int64_t N, const float *z, const float *g, const float *bias,
                  bool add, float *y)
{
    dora_job job = {.T = T, .N = N, .z = z, .g = g, .bias = bias, .add = add, .y = y};
    fmk_par(ctx, fmk_ceil_div(T, ROWS), ROWS * (double)N / 4.0, fwd_task, &job);
}

/* One block of columns, rows in order: the sum for a column is one chain, whoever computes it. */
FMK_INLINE void bwd_columns_body(const dora_job *job, int64_t j0, int64_t n)
{
    float sum[COLS] = {0};
    for (int64_t t = 0; t < job->T; t++) {
        const float *z = job->z + t * job->N + j0, *dy = job->dy + t * job->N + j0; /* (n) */
        float *dz = job->dz + t * job->N + j0;
        for (int64_t j = 0; j < n; j++) {
            sum[j] += dy[j] * z[j];
            dz[j] = job->g[j0 + j] * dy[j];
        }
    }
    for (int64_t j = 0; j < n; j++) {
        job->dmag[j0 + j] += job->inv_norm[j0 + j] * sum[j];
    }
}
FMK_BY_ISA(bwd_columns, (const dora_job *job, int64_t j0, int64_t n), (job, j0, n))

static void bwd_task(void *arg, size_t task)
{
    const dora_job *job = arg;
    int64_t j0 = (int64_t)task * COLS;
    bwd_columns(job, j0, fmk_min(COLS, job->N - j0));
}

void fmk_dora_bwd(fmk_ctx *ctx, int64_t T, int64_t N, const float *z, const float *g, const float *inv_norm,
                  const float *dy, float *dz, float *dmag)
{
    dora_job job = {.T = T, .N = N, .z = z, .g = g, .inv_norm = inv_norm, .dy = dy, .dz = dz, .dmag = dmag};
    fmk_par(ctx, fmk_ceil_div(N, COLS), COLS * (double)T / 4.0, bwd_task, &job);
}

void fmk_dora_fwd_ref(int64_t T, int64_t N, const float *z, const float *g, const float *bias, bool add,
                      float *y)
{
    for (int64_t i = 0; i < T * N; i++) {
        double v = (double)g[i % N] * z[i] + (bias ? (double)bias[i % N] : 0.0);
        y[i] = (float)(add ? y[i] + v : v);
    }
}

void fmk_dora_bwd_ref(int64_t T, int64_t N, const float *z, const float *g, const float *inv_norm,
                      const float *dy, float *dz, float *dmag)
{
    for (int64_t j = 0; j < N; j++) {
        double sum = 0.0;
        for (int64_t t = 0; t < T; t++) {
            sum += (double)dy[t * N + j] * z[t * N + j];
            dz[t * N + j] = g[j] * dy[t * N + j];
        }
        dmag[j] = (float)(dmag[j] + inv_norm[j] * sum);
    }
}
