/*
 * softcap.c: y = cap * tanh(y / cap), in place: logits that may not grow beyond +-cap (Gemma 2). The capped
 * scores of attention are in attention.c and kv.c, the capped logits of training in xent.c.
 */
#include "internal.h"

#define BLOCK 8192

typedef struct softcap_job {
    int64_t n;
    float cap;
    float *y;
} softcap_job;

FMK_INLINE void cap_block_body(int64_t n, float cap, float *y)
{
    for (int64_t i = 0; i < n; i++) {
        y[i] = fmk_softcap(cap, y[i]);
    }
}
FMK_BY_ISA(cap_block, (int64_t n, float cap, float *y), (n, cap, y))

static void cap_task(void *arg, size_t i)
{
    const softcap_job *job = arg;
    int64_t at = (int64_t)i * BLOCK;
    cap_block(fmk_min(BLOCK, job->n - at), job->cap, job->y + at);
}

void fmk_softcap_fwd(fmk_ctx *ctx, int64_t n, float cap, float *y)
{
    softcap_job job = {.n = n, .cap = cap, .y = y};
    fmk_par(ctx, fmk_ceil_div(n, BLOCK), BLOCK, cap_task, &job);
}

void fmk_softcap_fwd_ref(int64_t n, float cap, float *y)
{
    for (int64_t i = 0; i < n; i++) {
        y[i] = (float)(cap * tanh((double)y[i] / cap));
    }
}
