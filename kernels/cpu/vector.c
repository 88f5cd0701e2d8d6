/*
 * vector.c: sums, scaling, norms and rounding to bf16 of long vectors.
 *
 * Reductions cut the vector into blocks of BLOCK elements, whatever the number of threads, and add the
 * blocks' f64 sums in order.
 */
#include "internal.h"

#define BLOCK 16384

typedef struct vec_job {
    int64_t n;
    const float *x;
    float *y;
    const uint16_t *x16; /* bf16 in, out */
    uint16_t *y16;
    float a;
    double *partial;
} vec_job;

FMK_INLINE void add_block_body(int64_t n, const float *restrict x, float *restrict y)
{
    for (int64_t i = 0; i < n; i++) {
        y[i] += x[i];
    }
}
FMK_BY_ISA(add_block, (int64_t n, const float *restrict x, float *restrict y), (n, x, y))

FMK_INLINE void scale_block_body(int64_t n, float a, float *y)
{
    for (int64_t i = 0; i < n; i++) {
        y[i] *= a;
    }
}
FMK_BY_ISA(scale_block, (int64_t n, float a, float *y), (n, a, y))

FMK_INLINE void widen_block_body(int64_t n, const uint16_t *restrict x, float *restrict y)
{
    for (int64_t i = 0; i < n; i++) {
        y[i] = fmk_float((uint32_t)x[i] << 16);
    }
}
FMK_BY_ISA(widen_block, (int64_t n, const uint16_t *restrict x, float *restrict y), (n, x, y))

FMK_INLINE void squares_block_body(int64_t n, const float *x, double *out)
{
    double lane[8] = {0};
    for (int64_t i = 0; i + 8 <= n; i += 8) {
        for (int l = 0; l < 8; l++) {
            lane[l] += (double)x[i + l] * x[i + l];
        }
    }
    for (int64_t i = n & ~(int64_t)7; i < n; i++) {
        lane[i & 7] += (double)x[i] * x[i];
    }
    *out = ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}
FMK_BY_ISA(squares_block, (int64_t n, const float *x, double *out), (n, x, out))

static void add_task(void *arg, size_t i)
{
    const vec_job *job = arg;
    int64_t at = (int64_t)i * BLOCK;
    add_block(fmk_min(BLOCK, job->n - at), job->x + at, job->y + at);
}

static void scale_task(void *arg, size_t i)
{
    const vec_job *job = arg;
    int64_t at = (int64_t)i * BLOCK;
    scale_block(fmk_min(BLOCK, job->n - at), job->a, job->y + at);
}

static void narrow_task(void *arg, size_t i)
{
    const vec_job *job = arg;
    int64_t at = (int64_t)i * BLOCK;
    fmk_f32_to_bf16(fmk_min(BLOCK, job->n - at), job->x + at, job->y16 + at);
}

static void widen_task(void *arg, size_t i)
{
    const vec_job *job = arg;
    int64_t at = (int64_t)i * BLOCK;
    widen_block(fmk_min(BLOCK, job->n - at), job->x16 + at, job->y + at);
}

static void squares_task(void *arg, size_t i)
{
    const vec_job *job = arg;
    int64_t at = (int64_t)i * BLOCK;
    squares_block(fmk_min(BLOCK, job->n - at), job->x + at, job->partial + i);
}

void fmk_add(fmk_ctx *ctx, int64_t n, const float *x, float *y)
{
    vec_job job = {.n = n, .x = x, .y = y};
    fmk_par(ctx, fmk_ceil_div(n, BLOCK), BLOCK / 8.0, add_task, &job);
}

void fmk_scale(fmk_ctx *ctx, int64_t n, float a, float *y)
{
    vec_job job = {.n = n, .a = a, .y = y};
    fmk_par(ctx, fmk_ceil_div(n, BLOCK), BLOCK / 8.0, scale_task, &job);
}

void fmk_narrow(fmk_ctx *ctx, int64_t n, const float *x, uint16_t *y)
{
    vec_job job = {.n = n, .x = x, .y16 = y};
    fmk_par(ctx, fmk_ceil_div(n, BLOCK), BLOCK / 4.0, narrow_task, &job);
}

void fmk_widen(fmk_ctx *ctx, int64_t n, const uint16_t *x, float *y)
{
    vec_job job = {.n = n, .x16 = x, .y = y};
    fmk_par(ctx, fmk_ceil_div(n, BLOCK), BLOCK / 8.0, widen_task, &job);
}

double fmk_sum_squares(fmk_ctx *ctx, int64_t n, const float *x)
{
    size_t mark = fmk_mark(ctx);
    int64_t n_blocks = fmk_ceil_div(n, BLOCK);
    vec_job job = {.n = n, .x = x, .partial = fmk_take(ctx, (size_t)n_blocks, sizeof(double))};
    fmk_par(ctx, n_blocks, BLOCK / 4.0, squares_task, &job);
    double sum = 0.0;
    for (int64_t b = 0; b < n_blocks; b++) {
        sum += job.partial[b];
    }
    fmk_release(ctx, mark);
    return sum;
}

void fmk_add_ref(int64_t n, const float *x, float *y)
{
    for (int64_t i = 0; i < n; i++) {
        y[i] = y[i] + x[i];
    }
}

void fmk_scale_ref(int64_t n, float a, float *y)
{
    for (int64_t i = 0; i < n; i++) {
        y[i] = a * y[i];
    }
}

void fmk_widen_ref(int64_t n, const uint16_t *x, float *y)
{
    for (int64_t i = 0; i < n; i++) {
        y[i] = fmk_float((uint32_t)x[i] << 16);
    }
}

double fmk_sum_squares_ref(int64_t n, const float *x)
{
    double sum = 0.0;
    for (int64_t i = 0; i < n; i++) {
        sum += (double)x[i] * x[i];
    }
    return sum;
}
