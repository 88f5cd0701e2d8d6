/*
 * attention_ref.c: attention by its definition, one query at a time, in f64: what attention.c and attention_bwd.c
 * are compared with. With a->bf16 the operands that a caller gives are rounded; probabilities and gradients are not.
 */
#include "internal.h"

static void ref_range(const fmk_attn *a, int64_t s, int64_t t, int64_t *from)
{
    *from = a->seg[s];
    if (a->window > 0) { *from = fmk_max(*from, t + 1 - a->window); }
}

/* A product's operand */
static double ref_value(const fmk_attn *a, float x)
{
    return (double)(a->bf16 ? fmk_bf16_round(x) : x);
}

static double ref_score(const fmk_attn *a, int64_t t, int64_t j, int64_t h, const float *q, const float *k)
{
    int64_t g = h / (a->H / a->G);
    double s = 0.0;
    for (int64_t d = 0; d < a->D; d++) {
        s += ref_value(a, q[t * a->ldq + h * a->D + d]) * ref_value(a, k[j * a->ldk + g * a->D + d]);
    }
    s *= a->scale;
    return a->softcap > 0.0f ? a->softcap * tanh(s / a->softcap) : s;
}

static void ref_fwd_row(const fmk_attn *a, int64_t from, int64_t t, int64_t h, const float *q, const float *k,
                        const float *v, float *o, float *lse)
{
    int64_t g = h / (a->H / a->G);
    double acc[FMK_MAX_D] = {0};
    double max = -INFINITY, sum = 0.0;
    for (int64_t j = from; j <= t; j++) {
        max = fmax(max, ref_score(a, t, j, h, q, k));
    }
    for (int64_t j = from; j <= t; j++) {
        double p = exp(ref_score(a, t, j, h, q, k) - max);
        sum += p;
        for (int64_t d = 0; d < a->D; d++) {
            acc[d] += p * ref_value(a, v[j * a->ldv + g * a->D + d]);
        }
    }
    for (int64_t d = 0; d < a->D; d++) {
        o[t * a->ldo + h * a->D + d] = (float)(acc[d] / sum);
    }
    lse[t * a->H + h] = (float)(max + log(sum));
}

void fmk_attn_fwd_ref(const fmk_attn *a, const float *q, const float *k, const float *v, float *o, float *lse)
{
    for (int64_t s = 0; s < a->n_seg; s++) {
        for (int64_t t = a->seg[s]; t < a->seg[s + 1]; t++) {
            int64_t from;
            ref_range(a, s, t, &from);
            for (int64_t h = 0; h < a->H; h++) {
                ref_fwd_row(a, from, t, h, q, k, v, o, lse);
            }
        }
    }
}

static void ref_bwd_row(const fmk_attn *a, int64_t from, int64_t t, int64_t h, const float *q, const float *k,
                        const float *v, const float *o, const float *lse, const float *d_o, float *dq,
                        float *dk, float *dv)
{
    int64_t D = a->D, g = h / (a->H / a->G);
    double delta = 0.0;
    for (int64_t d = 0; d < D; d++) {
        delta += (double)d_o[t * a->ldo + h * D + d] * o[t * a->ldo + h * D + d];
    }
    for (int64_t j = from; j <= t; j++) {
        double score = ref_score(a, t, j, h, q, k), p = exp(score - lse[t * a->H + h]);
        double slope = a->softcap > 0.0f ? 1.0 - pow(score / a->softcap, 2.0) : 1.0;
        double dp = 0.0;
        for (int64_t d = 0; d < D; d++) {
            dp += ref_value(a, d_o[t * a->ldo + h * D + d]) * ref_value(a, v[j * a->ldv + g * D + d]);
        }
        double ds = p * (dp - delta) * slope * a->scale;
        for (int64_t d = 0; d < D; d++) {
            dq[t * a->ldq + h * D + d] += (float)(ds * ref_value(a, k[j * a->ldk + g * D + d]));
            dk[j * a->ldk + g * D + d] += (float)(ds * ref_value(a, q[t * a->ldq + h * D + d]));
            dv[j * a->ldv + g * D + d] += (float)(p * ref_value(a, d_o[t * a->ldo + h * D + d]));
        }
    }
}

static void ref_zero(int64_t T, int64_t n, int64_t ld, float *x)
{
    for (int64_t t = 0; t < T; t++) {
        memset(x + t * ld, 0, (size_t)n * sizeof *x);
    }
}

void fmk_attn_bwd_ref(const fmk_attn *a, const float *q, const float *k, const float *v, const float *o,
                      const float *lse, const float *d_o, float *dq, float *dk, float *dv)
{
    ref_zero(a->T, a->H * a->D, a->ldq, dq);
    ref_zero(a->T, a->G * a->D, a->ldk, dk);
    ref_zero(a->T, a->G * a->D, a->ldv, dv);
    for (int64_t s = 0; s < a->n_seg; s++) {
        for (int64_t t = a->seg[s]; t < a->seg[s + 1]; t++) {
            int64_t from;
            ref_range(a, s, t, &from);
            for (int64_t h = 0; h < a->H; h++) {
                ref_bwd_row(a, from, t, h, q, k, v, o, lse, d_o, dq, dk, dv);
            }
        }
    }
}
