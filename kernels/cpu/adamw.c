/*
 * adamw.c: AdamW (Loshchilov & Hutter 2019), elementwise, in the order of operations of the reference
 * implementations: decay the weight, update both moments, take the bias-corrected step.
 */
#include "internal.h"

#define BLOCK 8192

typedef struct adamw_job {
    int64_t n;
    float *w, *m, *v;
    const float *g;
    float g_scale, keep, beta1, beta2, eps, step_size, inv_sqrt_bias2;
} adamw_job;

FMK_INLINE void adamw_block_body(const adamw_job *job, int64_t n, float *restrict w, const float *restrict g,
                                 float *restrict m, float *restrict v)
{
    float b1 = job->beta1, b2 = job->beta2, keep = job->keep, eps = job->eps;
    float scale = job->g_scale, step = job->step_size, inv = job->inv_sqrt_bias2;
    for (int64_t i = 0; i < n; i++) {
        float d = g[i] * scale;
        m[i] = b1 * m[i] + (1.0f - b1) * d;
        v[i] = b2 * v[i] + (1.0f - b2) * d * d;
        w[i] = w[i] * keep - step * m[i] / (sqrtf(v[i]) * inv + eps);
    }
}
FMK_BY_ISA(adamw_block,
           (const adamw_job *job, int64_t n, float *restrict w, const float *restrict g, float *restrict m,
            float *restrict v),
           (job, n, w, g, m, v))

static void adamw_task(void *arg, size_t i)
{
    const adamw_job *job = arg;
    int64_t at = (int64_t)i * BLOCK;
    adamw_block(job, fmk_min(BLOCK, job->n - at), job->w + at, job->g + at, job->m + at, job->v + at);
}

void fmk_adamw(fmk_ctx *ctx, int64_t n, float *w, const float *g, float *m, float *v, float g_scale, float lr,
               float beta1, float beta2, float eps, float weight_decay, int64_t step)
{
    assert(step >= 1);
    double bias1 = 1.0 - pow(beta1, (double)step);
    double bias2 = 1.0 - pow(beta2, (double)step);
    adamw_job job = {.n = n,
                     .w = w,
                     .m = m,
                     .v = v,
                     .g = g,
                     .g_scale = g_scale,
                     .beta1 = beta1,
                     .beta2 = beta2,
                     .eps = eps,
                     .keep = (float)(1.0 - (double)lr * weight_decay),
                     .step_size = (float)(lr / bias1),
                     .inv_sqrt_bias2 = (float)(1.0 / sqrt(bias2))};
    fmk_par(ctx, fmk_ceil_div(n, BLOCK), BLOCK, adamw_task, &job);
}

void fmk_adamw_ref(int64_t n, float *w, const float *g, float *m, float *v, float g_scale, float lr,
                   float beta1, float beta2, float eps, float weight_decay, int64_t step)
{
    for (int64_t i = 0; i < n; i++) {
        double d = (double)g[i] * g_scale;
        double mi = beta1 * (double)m[i] + (1.0 - beta1) * d;
        double vi = beta2 * (double)v[i] + (1.0 - beta2) * d * d;
        double mhat = mi / (1.0 - pow(beta1, (double)step));
        double vhat = vi / (1.0 - pow(beta2, (double)step));
        w[i] = (float)(w[i] * (1.0 - (double)lr * weight_decay) - lr * mhat / (sqrt(vhat) + eps));
        m[i] = (float)mi;
        v[i] = (float)vi;
    }
}
