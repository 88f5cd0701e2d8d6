/*
 * sample.c: the next token: greedy, or drawn after temperature, top-k and top-p.
 *
 * The random number is a function of (seed, the prompt's stream, the position), so a sample depends on
 * neither the batch nor the number of threads. Candidates are ordered by logit, then by id, and summed in
 * that order.
 */
#include "internal.h"

static uint32_t argmax(int64_t V, const float *logits)
{
    int64_t best = 0;
    for (int64_t j = 1; j < V; j++) {
        best = logits[j] > logits[best] ? j : best;
    }
    return (uint32_t)best;
}

static int by_logit(const void *a, const void *b)
{
    const fmp_candidate *x = a, *y = b;
    if (x->logit != y->logit) { return x->logit > y->logit ? -1 : 1; }
    return (x->id > y->id) - (x->id < y->id);
}

uint32_t fmp_sample_token(const fmp_generate_options *o, uint64_t stream, uint64_t position, int64_t V,
                          const float *logits, fmp_candidate *scratch)
{
    if (!(o->temperature > 0.0f)) { return argmax(V, logits); }
    for (int64_t j = 0; j < V; j++) {
        scratch[j] = (fmp_candidate){.logit = logits[j], .id = (uint32_t)j};
    }
    qsort(scratch, (size_t)V, sizeof *scratch, by_logit);
    int64_t n = o->top_k > 0 && o->top_k < V ? o->top_k : V;
    double max = scratch[0].logit, total = 0.0;
    for (int64_t j = 0; j < n; j++) {
        double p = exp((scratch[j].logit - max) / (double)o->temperature);
        scratch[j].logit = (float)p;
        total += scratch[j].logit;
    }
    if (o->top_p > 0.0f && o->top_p < 1.0f) {
        double kept = 0.0, want = o->top_p * total;
        int64_t k = 0;
        while (k < n && kept < want) {
            kept += scratch[k++].logit;
        }
        n = k > 0 ? k : 1;
        total = k > 0 ? kept : total;
    }
    double u = fmp_rng_unit(o->seed, stream, position) * total;
    for (int64_t j = 0; j < n; j++) {
        u -= scratch[j].logit;
        if (u < 0.0) { return scratch[j].id; }
    }
    return scratch[n - 1].id;
}
