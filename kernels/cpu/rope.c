/*
 * rope.c: rotary position embedding (Su et al. 2021), in place, each pair of a head's first n_rot values
 * turned by pos * theta^(-2i/n_rot).
 */
#include "internal.h"

#define ROWS 32

typedef struct rope_job {
    int64_t T, n_heads, D, n_rot, ld;
    const int32_t *pos;
    const float *cos_t, *sin_t;
    bool interleaved, inverse;
    float *x;
} rope_job;

FMK_INLINE void turn_half_split(int64_t half, const float *c, const float *s, float sign, float *restrict lo,
                                float *restrict hi)
{
    for (int64_t i = 0; i < half; i++) {
        float a = lo[i], b = hi[i], sn = sign * s[i];
        lo[i] = a * c[i] - b * sn;
        hi[i] = a * sn + b * c[i];
    }
}

FMK_INLINE void turn_interleaved(int64_t half, const float *c, const float *s, float sign, float *x)
{
    for (int64_t i = 0; i < half; i++) {
        float a = x[2 * i], b = x[2 * i + 1], sn = sign * s[i];
        x[2 * i] = a * c[i] - b * sn;
        x[2 * i + 1] = a * sn + b * c[i];
    }
}

FMK_INLINE void rope_rows_body(const rope_job *job, int64_t t0, int64_t t1)
{
    int64_t half = job->n_rot / 2;
    float sign = job->inverse ? -1.0f : 1.0f;
    for (int64_t t = t0; t < t1; t++) {
        const float *c = job->cos_t + job->pos[t] * half; /* (n_rot/2) */
        const float *s = job->sin_t + job->pos[t] * half; /* (n_rot/2) */
        for (int64_t h = 0; h < job->n_heads; h++) {
            float *x = job->x + t * job->ld + h * job->D; /* (D) */
            if (job->interleaved) {
                turn_interleaved(half, c, s, sign, x);
            } else {
                turn_half_split(half, c, s, sign, x, x + half);
            }
        }
    }
}
FMK_BY_ISA(rope_rows, (const rope_job *job, int64_t t0, int64_t t1), (job, t0, t1))

static void rope_task(void *arg, size_t i)
{
    const rope_job *job = arg;
    int64_t t0 = (int64_t)i * ROWS;
    rope_rows(job, t0, fmk_min(t0 + ROWS, job->T));
}

void fmk_rope(fmk_ctx *ctx, int64_t T, int64_t n_heads, int64_t D, int64_t n_rot, int64_t ld,
              const int32_t *pos, const float *cos_t, const float *sin_t, bool interleaved, bool inverse,
              float *x)
{
    assert(n_rot % 2 == 0 && n_rot <= D);
    rope_job job = {.T = T,
                    .n_heads = n_heads,
                    .D = D,
                    .n_rot = n_rot,
                    .ld = ld,
                    .pos = pos,
                    .cos_t = cos_t,
                    .sin_t = sin_t,
                    .interleaved = interleaved,
                    .inverse = inverse,
                    .x = x};
    fmk_par(ctx, fmk_ceil_div(T, ROWS), (double)(n_heads * D) * ROWS / 4, rope_task, &job);
}

void fmk_rope_ref(int64_t T, int64_t n_heads, int64_t D, int64_t n_rot, int64_t ld, const int32_t *pos,
                  const float *cos_t, const float *sin_t, bool interleaved, bool inverse, float *x)
{
    for (int64_t t = 0; t < T; t++) {
        for (int64_t h = 0; h < n_heads; h++) {
            for (int64_t i = 0; i < n_rot / 2; i++) {
                float *p = x + t * ld + h * D;
                float *a = interleaved ? p + 2 * i : p + i;
                float *b = interleaved ? p + 2 * i + 1 : p + i + n_rot / 2;
                double c = cos_t[pos[t] * (n_rot / 2) + i];
                double s = sin_t[pos[t] * (n_rot / 2) + i] * (inverse ? -1.0 : 1.0);
                double u = *a * c - *b * s;
                double w = *a * s + *b * c;
                *a = (float)u;
                *b = (float)w;
            }
        }
    }
}
