/*
 * model_batch.h: what tests of training share beside model_test.h: one packed row of four texts with weights, an adapter,
 * and noise on everything that a trainer trains.
 */
#ifndef MODEL_BATCH_H
#define MODEL_BATCH_H

#include "model_test.h"

#include <fmpipe/fs.h>
#include <string.h>

enum { V = 67, T = 61, N_SEG = 4 };

/* The second text has one token; keys name the texts' dropout. */
static const uint32_t segs[N_SEG + 1] = {0, 9, 10, 40, T}, keys[N_SEG] = {11, 7, 300000, 2};
static uint32_t ids[T];
static float weights[T];
static double total; /* of the weights */
static const fmp_batch batch = {
    .n_tokens = T, .n_segments = N_SEG, .id = ids, .weight = weights, .seg = segs, .key = keys};

/* A cmocka group's set-up. */
static inline int fill_batch(void **state)
{
    (void)state;
    total = 0.0;
    for (size_t t = 0, s = 0; t < T; t++) {
        bool first = segs[s] == t;
        s += first && s + 1 < N_SEG;
        ids[t] = (uint32_t)fmp_rng_below(40, 1, t, V);
        weights[t] = first || t % 5 == 2 ? 0.0f : t % 7 == 3 ? 0.25f : 1.0f;
        total += weights[t];
    }
    return 0;
}

static inline fmp_status make_adapter(fmp_model *m, const char *target, bool dora, double dropout,
                                      fmp_adapter **out, fmp_err *err)
{
    const fmp_adapter_options o = {.rank = 4,
                                   .alpha = 6.0,
                                   .targets = &target,
                                   .n_targets = 1,
                                   .seed = 3,
                                   .dora = dora,
                                   .dropout = dropout};
    return fmp_adapter_new(m, &o, out, err);
}

/* Every trained value moved by the host, as somebody who holds their addresses may. FMP_E_IO if they cannot be had. */
static inline fmp_status add_noise(fmp_trainer *tr, double size, fmp_err *err)
{
    float *w = NULL;
    size_t n = 0;
    for (size_t i = 0; fmp_trainer_tensor(tr, i, NULL, NULL); i++) {
        if (!fmp_trainer_tensor(tr, i, &w, &n)) {
            return fmp_fail(err, FMP_E_IO, "tensor %zu does not come", i);
        }
        for (size_t k = 0; k < n; k++) {
            w[k] += (float)(size * fmp_rng_normal(99, i, k));
        }
    }
    return FMP_OK;
}

#endif
