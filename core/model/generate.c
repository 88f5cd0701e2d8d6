/*
 * generate.c: batched decoding with an f32 cache of keys and values.
 *
 * Waiting prompts enter free slots, each as its own segment of one packed pass; then every running sequence
 * takes one token per step. Slots 0..n_running-1 are in use: a finished sequence's slot is filled with the
 * last one's. A row's numbers do not depend on its neighbours (see fmk.h), so neither order nor batch size
 * shows in the output.
 */
#include "internal.h"

#define PREFILL_TOKENS 2048

typedef struct sequence {
    size_t prompt;  /* index of its prompt            */
    uint32_t next;  /* token to be fed at the next step */
    int32_t n_past; /* tokens in the cache            */
} sequence;

typedef struct decoder {
    fmp_model *m;
    const fmp_adapter *ad;
    const fmp_prompt *prompts;
    size_t n_prompts, n_started;
    const fmp_generate_options *o;
    fmp_generated *out;
    int64_t n_slots;
    sequence *seq; /* (n_slots), n_running in use */
    int64_t n_running;
    fmp_kv_cache cache;
    float *logits;             /* (n_slots,V) */
    fmp_candidate *candidates; /* (V) */
    uint32_t *id, *seg;        /* (longest pass), (n_slots+1) */
    int32_t *slot, *len;       /* (n_slots) */
    bool *ended;               /* (n_slots) */
} decoder;

static size_t longest_text(const decoder *d)
{
    size_t most = 0, limit = d->m->spec.max_positions;
    for (size_t i = 0; i < d->n_prompts; i++) {
        size_t room = limit - d->prompts[i].n;
        size_t all = d->prompts[i].n + (d->o->max_new_tokens < room ? d->o->max_new_tokens : room);
        most = all > most ? all : most;
    }
    return most;
}

static fmp_status check_prompts(const decoder *d, fmp_err *err)
{
    const fmp_model_spec *s = &d->m->spec;
    for (size_t i = 0; i < d->n_prompts; i++) {
        const fmp_prompt *p = &d->prompts[i];
        if (p->n == 0) { return fmp_fail(err, FMP_E_DATA, "prompt %zu is empty", i); }
        if (p->n >= s->max_positions) {
            return fmp_fail(err, FMP_E_RANGE, "prompt %zu has %zu tokens; the model's positions end at %u", i,
                            p->n, s->max_positions);
        }
        for (size_t t = 0; t < p->n; t++) {
            if (p->id[t] >= s->vocab_size) {
                return fmp_fail(err, FMP_E_DATA,
                                "prompt %zu, token %zu: id %u is outside the vocabulary of %u", i, t,
                                p->id[t], s->vocab_size);
            }
        }
    }
    return FMP_OK;
}

static void free_decoder(decoder *d)
{
    size_t L = d->m->spec.n_layers;
    for (size_t l = 0; l < L; l++) {
        if (d->cache.k) { free(d->cache.k[l]); }
        if (d->cache.v) { free(d->cache.v[l]); }
    }
    free(d->cache.k);
    free(d->cache.v);
    free(d->seq);
    free(d->logits);
    free(d->candidates);
    free(d->id);
    free(d->seg);
    free(d->slot);
    free(d->len);
    free(d->ended);
}

static fmp_status take_cache(decoder *d, fmp_err *err)
{
    const fmp_model_spec *s = &d->m->spec;
    size_t L = s->n_layers, values = 0;
    d->cache.n_slots = d->n_slots;
    d->cache.cap = (int64_t)longest_text(d);
    d->cache.k = calloc(L, sizeof *d->cache.k);
    d->cache.v = calloc(L, sizeof *d->cache.v);
    bool ok = d->cache.k && d->cache.v &&
              fmp_mul_ok((size_t)(d->n_slots * d->cache.cap), (size_t)s->n_kv_heads * s->head_size, &values);
    for (size_t l = 0; l < L && ok; l++) {
        d->cache.k[l] = calloc(values, sizeof(float));
        d->cache.v[l] = calloc(values, sizeof(float));
        ok = d->cache.k[l] && d->cache.v[l];
    }
    return ok ? FMP_OK
              : fmp_fail(err, FMP_E_NOMEM, "out of memory for the cache of %lld sequences of %lld tokens",
                         (long long)d->n_slots, (long long)d->cache.cap);
}

static fmp_status take_memory(decoder *d, fmp_arena *arena, fmp_err *err)
{
    size_t B = (size_t)d->n_slots, V = d->m->spec.vocab_size, pass = PREFILL_TOKENS + B;
    for (size_t i = 0; i < d->n_prompts; i++) {
        pass = d->prompts[i].n > pass ? d->prompts[i].n : pass;
        size_t room = d->m->spec.max_positions - d->prompts[i].n;
        size_t most = d->o->max_new_tokens < room ? d->o->max_new_tokens : room;
        d->out[i] = (fmp_generated){.id = fmp_arena_take_zero(arena, most + 1, sizeof(uint32_t))};
    }
    FMP_TRY(fmp_arena_ok(arena, err));
    d->seq = calloc(B, sizeof *d->seq);
    d->logits = malloc(B * V * sizeof *d->logits);
    d->candidates = malloc(V * sizeof *d->candidates);
    d->id = malloc(pass * sizeof *d->id);
    d->seg = malloc((B + 1) * sizeof *d->seg);
    d->slot = malloc(B * sizeof *d->slot);
    d->len = malloc(B * sizeof *d->len);
    d->ended = malloc(B * sizeof *d->ended);
    if (!d->seq || !d->logits || !d->candidates || !d->id || !d->seg || !d->slot || !d->len || !d->ended) {
        return fmp_fail(err, FMP_E_NOMEM, "out of memory for generation");
    }
    return take_cache(d, err);
}

/* Logits of the last row of each segment into d->logits, in segment order. */
static void last_logits(decoder *d, const fmp_pass *p)
{
    fmp_model *m = d->m;
    fmp_work *w = p->w;
    int64_t C = m->spec.n_channels, n = (int64_t)p->n_seg;
    const float *x = w->x[m->spec.n_layers];
    for (int64_t s = 0; s < n; s++) {
        memcpy(w->x_lab + s * C, x + ((int64_t)p->seg[s + 1] - 1) * C, (size_t)C * sizeof *x);
    }
    fmk_rmsnorm_fwd(m->ctx, n, C, (float)m->spec.norm_eps, w->x_lab, fmp_param_view(m->norm), w->n_lab,
                    w->rstd_lab);
    fmp_head_forward(m, n, w->n_lab, d->logits);
}

/* Take the token of row `row` for sequence `q`; false when its text has ended. */
static bool accept(decoder *d, sequence *q, int64_t row)
{
    const fmp_prompt *prompt = &d->prompts[q->prompt];
    fmp_generated *out = &d->out[q->prompt];
    int64_t V = d->m->spec.vocab_size;
    uint32_t id = fmp_sample_token(d->o, prompt->stream, out->n, V, d->logits + row * V, d->candidates);
    out->id[out->n++] = id;
    q->next = id;
    for (size_t i = 0; i < d->o->n_stop; i++) {
        out->stopped = out->stopped || d->o->stop[i] == id;
    }
    return !out->stopped && out->n < d->o->max_new_tokens && prompt->n + out->n < d->m->spec.max_positions;
}

/* Move slot `from` to slot `to`. */
static void move_slot(decoder *d, int64_t from, int64_t to)
{
    size_t row = (size_t)d->m->spec.n_kv_heads * d->m->spec.head_size;
    size_t stride = (size_t)d->cache.cap * row, used = (size_t)d->seq[from].n_past * row;
    for (size_t l = 0; l < d->m->spec.n_layers; l++) {
        memcpy(d->cache.k[l] + (size_t)to * stride, d->cache.k[l] + (size_t)from * stride,
               used * sizeof(float));
        memcpy(d->cache.v[l] + (size_t)to * stride, d->cache.v[l] + (size_t)from * stride,
               used * sizeof(float));
    }
    d->seq[to] = d->seq[from];
}

/*
 * Tokens for slots first..n_running-1, whose logits are rows 0.. of d->logits; then the ended ones leave,
 * from the back, so that what fills a slot has been looked at.
 */
static void accept_all(decoder *d, int64_t first)
{
    int64_t n = d->n_running - first;
    for (int64_t i = 0; i < n; i++) {
        d->ended[i] = !accept(d, &d->seq[first + i], i);
    }
    for (int64_t i = n; i-- > 0;) {
        if (!d->ended[i]) { continue; }
        int64_t last = --d->n_running;
        if (first + i != last) { move_slot(d, last, first + i); }
    }
}

static fmp_status run_pass(decoder *d, fmp_pass *p, fmp_err *err)
{
    FMP_TRY(fmp_work_shared(d->m, d->ad, p->T, &p->w, err));
    if (p->len) {
        for (int64_t i = 0; i < p->T; i++) {
            p->w->pos[i] = p->len[i] - 1;
        }
    } else {
        fmp_pass_positions(p);
    }
    fmp_pass_forward(p);
    last_logits(d, p);
    return FMP_OK;
}

/* Let waiting prompts into the free slots, as many as one pass holds. */
static fmp_status prefill(decoder *d, fmp_err *err)
{
    int64_t first = d->n_running;
    size_t T = 0, n = 0;
    d->seg[0] = 0;
    while (d->n_started < d->n_prompts && d->n_running < d->n_slots) {
        const fmp_prompt *prompt = &d->prompts[d->n_started];
        if (n > 0 && T + prompt->n > PREFILL_TOKENS) { break; }
        memcpy(d->id + T, prompt->id, prompt->n * sizeof *d->id);
        T += prompt->n;
        d->slot[n] = (int32_t)d->n_running;
        d->seg[++n] = (uint32_t)T;
        d->seq[d->n_running++] = (sequence){.prompt = d->n_started++, .n_past = (int32_t)prompt->n};
    }
    fmp_pass p = {.m = d->m,
                  .ad = d->ad,
                  .T = (int64_t)T,
                  .n_seg = n,
                  .id = d->id,
                  .seg = d->seg,
                  .cache = &d->cache,
                  .slot_of_seg = d->slot};
    FMP_TRY(run_pass(d, &p, err));
    accept_all(d, first);
    return FMP_OK;
}

/* One token for every running sequence. */
static fmp_status step(decoder *d, fmp_err *err)
{
    int64_t B = d->n_running;
    for (int64_t i = 0; i < B; i++) {
        d->id[i] = d->seq[i].next;
        d->seg[i] = (uint32_t)i;
        d->slot[i] = (int32_t)i;
        d->len[i] = ++d->seq[i].n_past;
    }
    d->seg[B] = (uint32_t)B;
    fmp_pass p = {.m = d->m,
                  .ad = d->ad,
                  .T = B,
                  .n_seg = (size_t)B,
                  .id = d->id,
                  .seg = d->seg,
                  .cache = &d->cache,
                  .slot_of_seg = d->slot,
                  .len = d->len};
    FMP_TRY(run_pass(d, &p, err));
    accept_all(d, 0);
    return FMP_OK;
}

static fmp_status decode_all(decoder *d, fmp_arena *arena, fmp_err *err)
{
    FMP_TRY(check_prompts(d, err));
    FMP_TRY(fmp_model_ready(d->m, true, err));
    FMP_TRY(take_memory(d, arena, err));
    FMP_TRY(fmp_model_positions(d->m, d->cache.cap, err));
    while (d->n_started < d->n_prompts || d->n_running > 0) {
        if (d->n_started < d->n_prompts && d->n_running < d->n_slots) {
            FMP_TRY(prefill(d, err));
        } else {
            FMP_TRY(step(d, err));
        }
    }
    return FMP_OK;
}

fmp_status fmp_generate(fmp_model *m, const fmp_adapter *ad, const fmp_prompt *prompts, size_t n_prompts,
                        const fmp_generate_options *o, fmp_arena *arena, fmp_generated *out, fmp_err *err)
{
    if (n_prompts == 0) { return FMP_OK; }
    if (o->max_new_tokens == 0) { return fmp_fail(err, FMP_E_RANGE, "max_new_tokens: expected 1 or more"); }
    size_t slots = o->max_batch ? o->max_batch : 16;
    decoder d = {.m = m,
                 .ad = ad,
                 .prompts = prompts,
                 .n_prompts = n_prompts,
                 .o = o,
                 .out = out,
                 .n_slots = (int64_t)(slots < n_prompts ? slots : n_prompts)};
    fmp_status status = decode_all(&d, arena, err);
    free_decoder(&d);
    return status;
}
