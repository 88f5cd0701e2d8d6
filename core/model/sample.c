/*
 * sample.c: the next token: the most likely, or drawn after temperature, top-k, top-p and min-p.
 *
 * The filters act in this order, the one of transformers' logits processors, so that settings from a model's
 * generation_config.json mean what they mean there; temperature comes first because top-p and min-p speak of
 * the probabilities that are drawn from. Candidates are ordered by falling logit, then by id; each filter
 * keeps a beginning of that order, so what is kept is the shortest of the three:
 *
 *   top-k   the k first                                                            Fan et al. 2018
 *   top-p   the fewest whose probabilities reach p; of what top-k kept, which is 1  Holtzman et al. 2020
 *   min-p   those at least min_p times as likely as the first                      Nguyen et al. 2024
 *
 * The draw takes the candidate at which the running sum of probabilities passes u times what was kept, u a
 * function of (seed, the prompt's stream, the position). So a text depends on neither the batch nor the
 * number of threads. Sorting all of a vocabulary costs more than the model's own step: candidates leave a
 * heap one by one, only as far as the answer needs.
 */
#include "internal.h"

/* The heap is c[0..size); what has left it lies at the end of c, the first at c[n-1]. */
typedef struct heap {
    fmp_candidate *c;
    int64_t n, size;
    double max, temperature;
} heap;

static bool is_before(fmp_candidate x, fmp_candidate y)
{
    return x.logit != y.logit ? x.logit > y.logit : x.id < y.id;
}

static void sift(heap *h, int64_t i)
{
    fmp_candidate x = h->c[i];
    for (;;) {
        int64_t k = 2 * i + 1;
        if (k >= h->size) { break; }
        if (k + 1 < h->size && is_before(h->c[k + 1], h->c[k])) { k++; }
        if (is_before(x, h->c[k])) { break; }
        h->c[i] = h->c[k];
        i = k;
    }
    h->c[i] = x;
}

/* The i-th candidate in order. */
static fmp_candidate ranked(heap *h, int64_t i)
{
    while (h->n - h->size <= i) {
        fmp_candidate top = h->c[0];
        h->c[0] = h->c[--h->size];
        if (h->size > 0) { sift(h, 0); }
        h->c[h->size] = top;
    }
    return h->c[h->n - 1 - i];
}

static double likelihood(const heap *h, float logit) /* relative to the first candidate's */
{
    return exp((logit - h->max) / h->temperature);
}

static void start(heap *h, const float *logits)
{
    for (int64_t j = 0; j < h->n; j++) {
        h->c[j] = (fmp_candidate){.logit = logits[j], .id = (uint32_t)j};
    }
    for (int64_t i = h->n / 2; i-- > 0;) {
        sift(h, i);
    }
    h->max = h->c[0].logit;
}

static int64_t argmax(int64_t V, const float *logits)
{
    int64_t best = 0;
    for (int64_t j = 1; j < V; j++) {
        best = logits[j] > logits[best] ? j : best;
    }
    return best;
}

/* How many candidates are kept; *mass: the sum of their likelihoods. */
static int64_t keep(const fmp_generate_options *o, heap *h, const float *logits, double *mass)
{
    int64_t n = o->top_k > 0 && o->top_k < h->n ? o->top_k : h->n;
    double total = 0.0, kept = 0.0;
    for (int64_t j = 0; j < n; j++) {
        total += likelihood(h, n < h->n ? ranked(h, j).logit : logits[j]);
    }
    bool by_mass = o->top_p > 0.0f && o->top_p < 1.0f;
    *mass = total;
    if (!by_mass && !(o->min_p > 0.0f)) { return n; }
    int64_t k = 0;
    for (; k < n && (!by_mass || kept < (double)o->top_p * total); k++) {
        double p = likelihood(h, ranked(h, k).logit);
        if (k > 0 && p < (double)o->min_p) { break; }
        kept += p;
    }
    *mass = kept;
    return k;
}

uint32_t fmp_sample_token(const fmp_generate_options *o, uint64_t stream, uint64_t position, int64_t V,
                          const float *logits, fmp_candidate *scratch)
{
    if (!(o->temperature > 0.0f)) { return (uint32_t)argmax(V, logits); }
    heap h = {.c = scratch, .n = V, .size = V, .temperature = o->temperature};
    double mass = 0.0;
    start(&h, logits);
    int64_t n = keep(o, &h, logits, &mass);
    double u = fmp_rng_unit(o->seed, stream, position) * mass;
    for (int64_t j = 0; j + 1 < n; j++) {
        fmp_candidate c = ranked(&h, j);
        u -= likelihood(&h, c.logit);
        if (u < 0.0) { return c.id; }
    }
    return ranked(&h, n - 1).id;
}
