/*
 * generate.c: batched decoding with a cache of keys and values (kv_cache.c).
 *
 * Waiting prompts enter free slots, each as its own segment of one packed pass; then every running sequence
 * takes one token per step. Slots 0..n_running-1 are in use: a finished sequence's slot is filled with the
 * last one's. The end of a prompt longer than PROMPT_PASS is read in pieces against the cache, so that
 * activations stay bounded.
 *
 * A row's numbers do not depend on its neighbours (see fmk.h), so neither order nor batch size shows in the
 * output. Where oneDNN computes larger products that is not so: there a pass holds one prompt only, and steps
 * have few enough rows to be computed by fmpipe's own tiles.
 */
#include "internal.h"

#define PREFILL_TOKENS 2048 /* of several prompts in one pass */
#define PROMPT_PASS    8192 /* of one                         */
#define PIECE_TOKENS   256

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
    bool alone;    /* one prompt a pass */
    sequence *seq; /* (n_slots), n_running in use */
    int64_t n_running;
    fmp_kv_cache cache;
    int64_t cap;               /* tokens that a slot holds */
    float *logits;             /* (n_slots,V), the host's copy of: */
    void *logits_dev;          /* (n_slots,V) */
    fmp_candidate *candidates; /* (V) */
    uint32_t *id, *seg;        /* (longest pass), (most segments + 1) */
    int32_t *slot, *len;       /* (most segments) */
    bool *ended;               /* (n_slots) */
} decoder;

/* ---- checks ---- */

static fmp_status check_options(const fmp_generate_options *o, fmp_err *err)
{
    if (o->max_new_tokens == 0) { return fmp_fail(err, FMP_E_RANGE, "max_new_tokens: expected 1 or more"); }
    if (!(o->temperature >= 0.0f && o->temperature < INFINITY)) {
        return fmp_fail(err, FMP_E_RANGE, "temperature: expected 0 or more, found %g",
                        (double)o->temperature);
    }
    if (!(o->top_p >= 0.0f && o->top_p <= 1.0f)) {
        return fmp_fail(err, FMP_E_RANGE, "top_p: expected 0 to 1, found %g", (double)o->top_p);
    }
    if (!(o->min_p >= 0.0f && o->min_p <= 1.0f)) {
        return fmp_fail(err, FMP_E_RANGE, "min_p: expected 0 to 1, found %g", (double)o->min_p);
    }
    return FMP_OK;
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

/* ---- memory ---- */

/* New tokens that a prompt has room for. */
static size_t room_of(const decoder *d, const fmp_prompt *p)
{
    size_t room = d->m->spec.max_positions - p->n;
    return d->o->max_new_tokens < room ? d->o->max_new_tokens : room;
}

static void free_decoder(decoder *d)
{
    fmp_kv_free(&d->cache);
    if (d->logits_dev) { d->m->be->free(d->m->device->dev, d->logits_dev); }
    free(d->seq);
    free(d->logits);
    free(d->candidates);
    free(d->id);
    free(d->seg);
    free(d->slot);
    free(d->len);
    free(d->ended);
}

static fmp_status take_memory(decoder *d, fmp_arena *arena, fmp_err *err)
{
    size_t B = (size_t)d->n_slots, V = d->m->spec.vocab_size, pass = PREFILL_TOKENS + B, longest = 0;
    size_t segments = B > PIECE_TOKENS ? B : PIECE_TOKENS;
    for (size_t i = 0; i < d->n_prompts; i++) {
        size_t n = d->prompts[i].n, most = room_of(d, &d->prompts[i]);
        longest = n + most > longest ? n + most : longest;
        n = n < PROMPT_PASS ? n : PROMPT_PASS;
        pass = n > pass ? n : pass;
        d->out[i] = (fmp_generated){.id = fmp_arena_take_zero(arena, most + 1, sizeof(uint32_t))};
    }
    FMP_TRY(fmp_arena_ok(arena, err));
    d->seq = calloc(B, sizeof *d->seq);
    d->logits = malloc(B * V * sizeof *d->logits);
    d->candidates = malloc(V * sizeof *d->candidates);
    d->id = malloc(pass * sizeof *d->id);
    d->seg = malloc((segments + 1) * sizeof *d->seg);
    d->slot = malloc(segments * sizeof *d->slot);
    d->len = malloc(segments * sizeof *d->len);
    d->ended = malloc(B * sizeof *d->ended);
    if (!d->seq || !d->logits || !d->candidates || !d->id || !d->seg || !d->slot || !d->len || !d->ended) {
        return fmp_fail(err, FMP_E_NOMEM, "out of memory for generation");
    }
    FMP_TRY(d->m->be->alloc(d->m->device->dev, B * V * sizeof(fmk_f32), &d->logits_dev, err));
    d->cap = (int64_t)longest;
    return fmp_kv_new(d->m, d->o->cache, d->n_slots, d->cap, &d->cache, err);
}

/* ---- passes ---- */

/* Logits of rows seg[1]-1, seg[2]-1, ... of the pass's output into d->logits: waits for the pass. */
static fmp_status last_logits(decoder *d, const fmp_pass *p, size_t n_seg, const uint32_t *seg, fmp_err *err)
{
    fmp_model *m = d->m;
    fmp_work *w = p->w;
    int64_t C = m->spec.n_channels, n = (int64_t)n_seg;
    const fmk_f32 *x = w->x[m->spec.n_layers];
    if (n < p->T) {
        for (int64_t s = 0; s < n; s++) {
            w->staging.row[s] = seg[s + 1] - 1;
        }
        m->be->upload(m->q, w->row, w->staging.row, n_seg * sizeof *w->staging.row);
        m->be->embed_fwd(m->q, n, C, x, w->row, w->x_lab);
        x = w->x_lab;
    }
    fmp_norm_forward(m, n, C, x, m->norm, w->n_lab, w->rstd_lab);
    fmp_head_forward(m, n, w->n_lab, d->logits_dev);
    m->be->download(m->q, d->logits, d->logits_dev, n_seg * m->spec.vocab_size * sizeof *d->logits);
    return m->be->sync(m->q, err);
}

/* d->id, d->seg, d->slot say which tokens go where; with `len`, each is a segment, seen as the len-th. */
static fmp_status run_pass(decoder *d, size_t n_tokens, size_t n_seg, const int32_t *len, fmp_pass *p,
                           fmp_err *err)
{
    *p = (fmp_pass){.m = d->m,
                    .ad = d->ad,
                    .T = (int64_t)n_tokens,
                    .n_seg = n_seg,
                    .id = d->id,
                    .seg = d->seg,
                    .cache = &d->cache,
                    .slot_of_seg = d->slot,
                    .len = len};
    FMP_TRY(fmp_work_shared(d->m, d->ad, p->T, &p->w, err));
    fmp_pass_begin(p);
    fmp_pass_forward(p);
    return FMP_OK;
}

/* ---- tokens ---- */

/* By their exponents, a loop that compilers vectorise. */
static bool all_finite(int64_t n, const float *x)
{
    uint32_t bad = 0;
    for (int64_t i = 0; i < n; i++) {
        uint32_t u = 0;
        memcpy(&u, x + i, sizeof u);
        bad |= (uint32_t)((u & 0x7F800000u) == 0x7F800000u);
    }
    return bad == 0;
}

/* Take the token of row `row` for sequence `q`; *ended: its text is complete. */
static fmp_status accept(decoder *d, sequence *q, int64_t row, bool *ended, fmp_err *err)
{
    const fmp_prompt *prompt = &d->prompts[q->prompt];
    fmp_generated *out = &d->out[q->prompt];
    int64_t V = d->m->spec.vocab_size;
    const float *logits = d->logits + row * V;
    if (!all_finite(V, logits)) {
        fmp_fail(err, FMP_E_DATA, "prompt %zu: the scores of token %zu are not finite numbers", q->prompt,
                 out->n);
        return fmp_err_hint(err, "the model or the adapter is damaged, or its values overflow");
    }
    uint32_t id = fmp_sample_token(d->o, prompt->stream, out->n, V, logits, d->candidates);
    out->id[out->n++] = id;
    q->next = id;
    for (size_t i = 0; i < d->o->n_stop; i++) {
        out->stopped = out->stopped || d->o->stop[i] == id;
    }
    if (d->o->on_token) { FMP_TRY(d->o->on_token(d->o->on_token_arg, q->prompt, id, &out->ended, err)); }
    *ended = out->stopped || out->ended || out->n >= room_of(d, prompt);
    return FMP_OK;
}

/*
 * Tokens for slots first..n_running-1, whose logits are rows 0.. of d->logits; then the ended ones leave,
 * from the back, so that what fills a slot has been looked at.
 */
static fmp_status accept_all(decoder *d, int64_t first, fmp_err *err)
{
    int64_t n = d->n_running - first;
    for (int64_t i = 0; i < n; i++) {
        FMP_TRY(accept(d, &d->seq[first + i], i, &d->ended[i], err));
    }
    for (int64_t i = n; i-- > 0;) {
        if (!d->ended[i]) { continue; }
        int64_t last = --d->n_running;
        if (first + i == last) { continue; }
        fmp_kv_move(&d->cache, last, first + i, d->seq[last].n_past);
        d->seq[first + i] = d->seq[last];
    }
    return FMP_OK;
}

/* The rest of a long prompt, a piece at a time, every token against the cache; *p: the last pass. */
static fmp_status read_rest(decoder *d, sequence *q, fmp_pass *p, fmp_err *err)
{
    const fmp_prompt *prompt = &d->prompts[q->prompt];
    int32_t slot = d->slot[0];
    while ((size_t)q->n_past < prompt->n) {
        size_t left = prompt->n - (size_t)q->n_past, n = left < PIECE_TOKENS ? left : PIECE_TOKENS;
        memcpy(d->id, prompt->id + q->n_past, n * sizeof *d->id);
        for (size_t i = 0; i < n; i++) {
            d->seg[i] = (uint32_t)i;
            d->slot[i] = slot;
            d->len[i] = q->n_past + (int32_t)i + 1;
        }
        d->seg[n] = (uint32_t)n;
        FMP_TRY(run_pass(d, n, n, d->len, p, err));
        q->n_past += (int32_t)n;
    }
    return FMP_OK;
}

/* Let waiting prompts into the free slots, as many as one pass holds. */
static fmp_status prefill(decoder *d, fmp_err *err)
{
    int64_t first = d->n_running;
    size_t T = 0, n = 0;
    fmp_pass p;
    d->seg[0] = 0;
    while (d->n_started < d->n_prompts && d->n_running < d->n_slots) {
        const fmp_prompt *prompt = &d->prompts[d->n_started];
        size_t take = prompt->n < PROMPT_PASS ? prompt->n : PROMPT_PASS;
        if (n > 0 && (d->alone || T + prompt->n > PREFILL_TOKENS)) { break; }
        memcpy(d->id + T, prompt->id, take * sizeof *d->id);
        T += take;
        d->slot[n] = (int32_t)d->n_running;
        d->seg[++n] = (uint32_t)T;
        d->seq[d->n_running++] = (sequence){.prompt = d->n_started++, .n_past = (int32_t)take};
    }
    FMP_TRY(run_pass(d, T, n, NULL, &p, err));
    sequence *q = &d->seq[first];
    if ((size_t)q->n_past < d->prompts[q->prompt].n) { /* then it is alone in its pass */
        FMP_TRY(read_rest(d, q, &p, err));
        FMP_TRY(last_logits(d, &p, 1, (const uint32_t[]){0, (uint32_t)p.T}, err));
    } else {
        FMP_TRY(last_logits(d, &p, n, d->seg, err));
    }
    return accept_all(d, first, err);
}

/* One token for every running sequence. */
static fmp_status step(decoder *d, fmp_err *err)
{
    int64_t B = d->n_running;
    fmp_pass p;
    for (int64_t i = 0; i < B; i++) {
        d->id[i] = d->seq[i].next;
        d->seg[i] = (uint32_t)i;
        d->slot[i] = (int32_t)i;
        d->len[i] = ++d->seq[i].n_past;
    }
    d->seg[B] = (uint32_t)B;
    FMP_TRY(run_pass(d, (size_t)B, (size_t)B, d->len, &p, err));
    FMP_TRY(last_logits(d, &p, (size_t)B, d->seg, err));
    return accept_all(d, 0, err);
}

static fmp_status decode_all(decoder *d, fmp_arena *arena, fmp_err *err)
{
    FMP_TRY(check_prompts(d, err));
    FMP_TRY(fmp_model_ready(d->m, true, err));
    FMP_TRY(take_memory(d, arena, err));
    FMP_TRY(fmp_model_positions(d->m, d->cap, err));
    while (d->n_started < d->n_prompts || d->n_running > 0) {
        if (d->n_started < d->n_prompts && d->n_running < d->n_slots) {
            FMP_TRY(prefill(d, err));
        } else {
            FMP_TRY(step(d, err));
        }
    }
    return FMP_OK;
}

static int64_t min_of(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

fmp_status fmp_generate(fmp_model *m, const fmp_adapter *ad, const fmp_prompt *prompts, size_t n_prompts,
                        const fmp_generate_options *o, fmp_arena *arena, fmp_generated *out, fmp_err *err)
{
    if (n_prompts == 0) { return FMP_OK; }
    FMP_TRY(check_options(o, err));
    int64_t exact = m->be->exact_rows(m->device->dev, fmp_model_is_bf16(m));
    int64_t slots = min_of(o->max_batch ? (int64_t)o->max_batch : 16, exact);
    decoder d = {.m = m,
                 .ad = ad,
                 .prompts = prompts,
                 .n_prompts = n_prompts,
                 .o = o,
                 .out = out,
                 .n_slots = min_of(slots, (int64_t)n_prompts),
                 .alone = exact < INT64_MAX};
    fmp_status status = decode_all(&d, arena, err);
    free_decoder(&d);
    return status;
}
