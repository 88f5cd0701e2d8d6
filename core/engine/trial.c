/*
 * A stage instance with a host that keeps everything in memory. The engine's segments do the same work at
 * speed; this is the plain form, for text cases, the conformance suite and isolation workers.
 */
#include "trial.h"

#include <stdlib.h>

/* ---- services ---- */

static void trial_log(void *arg, fmp_log_level level, const char *text)
{
    fmp_trial *t = arg;
    if (!t->log) { return; }
    pthread_mutex_lock(&t->lock);
    fmp_arena *scope = fmp_json_scope(NULL);
    cJSON *line = cJSON_CreateArray();
    cJSON_AddItemToArray(line, cJSON_CreateNumber((double)level));
    cJSON_AddItemToArray(line, cJSON_CreateString(text));
    if (!cJSON_AddItemToArray(t->log, line)) { t->failed = true; }
    fmp_json_scope(scope);
    pthread_mutex_unlock(&t->lock);
}

static fmp_trial_count *count_named(fmp_trial *t, const char *name)
{
    for (size_t i = 0; i < t->n_counts; i++) {
        if (strcmp(t->counts[i].name, name) == 0) { return &t->counts[i]; }
    }
    if (t->n_counts == t->cap_counts) {
        size_t cap = t->cap_counts ? t->cap_counts * 2 : 16;
        fmp_trial_count *grown = realloc(t->counts, cap * sizeof *grown);
        if (!grown) { return NULL; }
        t->counts = grown;
        t->cap_counts = cap;
    }
    char *copy = strdup(name);
    if (!copy) { return NULL; }
    t->counts[t->n_counts] = (fmp_trial_count){copy, 0};
    return &t->counts[t->n_counts++];
}

static void trial_count(void *arg, const char *name, int64_t n)
{
    fmp_trial *t = arg;
    pthread_mutex_lock(&t->lock);
    fmp_trial_count *count = count_named(t, name);
    if (count) {
        count->n += n;
    } else {
        t->failed = true;
    }
    pthread_mutex_unlock(&t->lock);
}

static void trial_fact(void *arg, const char *name, cJSON *value)
{
    fmp_trial *t = arg;
    pthread_mutex_lock(&t->lock);
    fmp_arena *scope = fmp_json_scope(NULL);
    cJSON_DeleteItemFromObjectCaseSensitive(t->facts, name);
    if (!cJSON_AddItemToObject(t->facts, name, value)) {
        cJSON_Delete(value);
        t->failed = true;
    }
    fmp_json_scope(scope);
    pthread_mutex_unlock(&t->lock);
}

static void trial_point(void *arg, const char *series, uint64_t step, double value)
{
    (void)arg, (void)series, (void)step, (void)value;
}

static void trial_summary(void *arg, const char *text)
{
    fmp_trial *t = arg;
    pthread_mutex_lock(&t->lock);
    free(t->summary);
    t->summary = strdup(text);
    pthread_mutex_unlock(&t->lock);
}

static void trial_progress(void *arg, uint64_t done, uint64_t total, const char *unit, const char *text)
{
    (void)arg, (void)done, (void)total, (void)unit, (void)text;
}

static bool trial_cancelled(void *arg)
{
    return ((fmp_trial *)arg)->stop;
}

static uint32_t trial_n_threads(void *arg)
{
    const fmp_trial *t = arg;
    return t->pool ? (uint32_t)fmp_pool_threads(t->pool) : 1;
}

static void trial_for_each(void *arg, size_t n, void (*fn)(void *, size_t), void *fn_arg)
{
    fmp_trial *t = arg;
    if (t->pool) {
        fmp_pool_for(t->pool, n, fn, fn_arg);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        fn(fn_arg, i);
    }
}

/* ---- life ---- */

fmp_status fmp_trial_new(const fmp_stage *stage, uint64_t seed, fmp_pool *pool, fmp_trial **out, fmp_err *err)
{
    fmp_trial *t = calloc(1, sizeof *t);
    *out = t;
    if (!t) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
    pthread_mutex_init(&t->lock, NULL);
    t->stage = stage;
    t->pool = pool;
    t->facts = cJSON_CreateObject();
    if (!t->facts) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
    t->services = (fmp_services){.arg = t,
                                 .seed = seed,
                                 .log = trial_log,
                                 .count = trial_count,
                                 .fact = trial_fact,
                                 .point = trial_point,
                                 .summary = trial_summary,
                                 .progress = trial_progress,
                                 .cancelled = trial_cancelled,
                                 .n_threads = trial_n_threads,
                                 .for_each = trial_for_each};
    return fmp_host_new(&t->services, &t->host, err);
}

fmp_status fmp_trial_open(fmp_trial *t, const cJSON *values, uint32_t n_workers, fmp_err *err)
{
    FMP_TRY(t->stage->create(t->host, &t->self, err));
    FMP_TRY(t->stage->configure(t->self, values, err));
    bool streams = t->stage->kind == FMP_SOURCE || t->stage->kind == FMP_MAP || t->stage->kind == FMP_SINK;
    return streams && t->stage->start ? t->stage->start(t->self, n_workers, err) : FMP_OK;
}

fmp_status fmp_trial_finish(fmp_trial *t, fmp_err *err)
{
    if (t->stage->finish) { FMP_TRY(t->stage->finish(t->self, err)); }
    return t->failed ? fmp_fail(err, FMP_E_NOMEM, "out of memory") : FMP_OK;
}

void fmp_trial_close(fmp_trial *t)
{
    if (!t) { return; }
    if (t->self) { t->stage->destroy(t->self); }
    fmp_host_free(t->host);
    for (size_t i = 0; i < t->n_counts; i++) {
        free(t->counts[i].name);
    }
    free(t->counts);
    cJSON_Delete(t->facts);
    cJSON_Delete(t->log);
    free(t->summary);
    pthread_mutex_destroy(&t->lock);
    free(t);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const fmp_trial_count *)a)->name, ((const fmp_trial_count *)b)->name);
}

cJSON *fmp_trial_counts_json(fmp_trial *t)
{
    cJSON *out = cJSON_CreateObject();
    if (t->n_counts > 0) { qsort(t->counts, t->n_counts, sizeof *t->counts, by_name); }
    for (size_t i = 0; out && i < t->n_counts; i++) {
        if (!cJSON_AddNumberToObject(out, t->counts[i].name, (double)t->counts[i].n)) {
            cJSON_Delete(out);
            return NULL;
        }
    }
    return out;
}

/* ---- calls ---- */

/* Room for one more element of `size` bytes in an arena array; unchanged where the arena has failed. */
static void *more(fmp_arena *arena, void *items, size_t n, size_t *cap, size_t size)
{
    if (n < *cap) { return items; }
    size_t want = *cap ? *cap * 2 : 4;
    void *grown = fmp_arena_take_zero(arena, want, size);
    if (fmp_arena_ok(arena, NULL) != FMP_OK) { return items; }
    if (n > 0) { memcpy(grown, items, n * size); }
    *cap = want;
    return grown;
}

static void *catch_take(const fmp_call *call, size_t size_bytes)
{
    fmp_catch *c = call->impl;
    void *p = fmp_arena_take(c->arena, size_bytes);
    return fmp_arena_ok(c->arena, NULL) == FMP_OK ? p : NULL;
}

static fmp_status add_doc(fmp_catch *c, const cJSON *doc, bool passed, const fmp_origin *origin, fmp_err *err)
{
    c->docs = more(c->arena, c->docs, c->n_docs, &c->cap_docs, sizeof *c->docs);
    FMP_TRY(fmp_arena_ok(c->arena, err));
    fmp_caught_doc *d = &c->docs[c->n_docs++];
    d->doc = doc;
    d->passed = passed;
    if (origin) { d->origin = *origin; }
    return FMP_OK;
}

static fmp_status catch_emit(const fmp_call *call, cJSON *doc, fmp_err *err)
{
    if (!doc) { return fmp_fail(err, FMP_E_NOMEM, "the stage emitted no document (out of memory?)"); }
    fmp_catch *c = call->impl;
    return add_doc(c, doc, false, c->record ? &c->record->origin : NULL, err);
}

static fmp_status catch_emit_row(const fmp_call *call, cJSON *doc, const fmp_origin *origin, fmp_err *err)
{
    if (!doc) { return fmp_fail(err, FMP_E_NOMEM, "the stage emitted no document (out of memory?)"); }
    return add_doc(call->impl, doc, false, origin, err);
}

static fmp_status catch_pass(const fmp_call *call, fmp_err *err)
{
    fmp_catch *c = call->impl;
    if (!c->record) {
        return fmp_fail(err, FMP_E_PLUGIN, "pass was called by a stage that has no input record");
    }
    return add_doc(c, c->record->doc, true, &c->record->origin, err);
}

static fmp_status catch_reject(const fmp_call *call, const fmp_reject *why, fmp_err *err)
{
    fmp_catch *c = call->impl;
    c->rejects = more(c->arena, c->rejects, c->n_rejects, &c->cap_rejects, sizeof *c->rejects);
    FMP_TRY(fmp_arena_ok(c->arena, err));
    fmp_caught_reject *r = &c->rejects[c->n_rejects++];
    r->reason = fmp_arena_strdup(c->arena, why->reason ? why->reason : "");
    r->message = fmp_arena_strdup(c->arena, why->message ? why->message : "");
    r->path = why->path ? fmp_arena_strdup(c->arena, why->path) : NULL;
    r->origin = c->record ? c->record->origin : why->origin;
    r->column = why->column;
    return fmp_reject_more(why, c->arena, &r->more, &r->n_more, err);
}

static fmp_status catch_write(const fmp_call *call, const void *data, size_t len, fmp_err *err)
{
    fmp_catch *c = call->impl;
    if (c->trial->stage->kind != FMP_SINK) {
        return fmp_fail(err, FMP_E_PLUGIN, "write was called by a stage that is no sink");
    }
    fmp_buf_add(&c->written, data, len);
    return fmp_buf_ok(&c->written, err);
}

static void catch_count(const fmp_call *call, const char *name, int64_t n)
{
    trial_count(((fmp_catch *)call->impl)->trial, name, n);
}

void fmp_catch_begin(fmp_catch *c, fmp_trial *trial, fmp_arena *arena, uint32_t worker,
                     const fmp_record *record)
{
    memset(c, 0, sizeof *c);
    c->trial = trial;
    c->arena = arena;
    c->record = record;
    c->call = (fmp_call){.struct_size = (uint32_t)sizeof c->call,
                         .worker = worker,
                         .impl = c,
                         .arena_take = catch_take,
                         .emit = catch_emit,
                         .emit_row = catch_emit_row,
                         .pass = catch_pass,
                         .reject = catch_reject,
                         .write = catch_write,
                         .count = catch_count};
}

fmp_status fmp_catch_record(fmp_catch *c, fmp_err *err)
{
    const fmp_stage *stage = c->trial->stage;
    fmp_arena *scope = fmp_json_scope(c->arena);
    fmp_status status = stage->kind == FMP_SINK ? stage->encode(c->trial->self, c->record, &c->call, err)
                                                : stage->process(c->trial->self, c->record, &c->call, err);
    fmp_json_scope(scope);
    return status != FMP_OK ? status : fmp_arena_ok(c->arena, err);
}

fmp_status fmp_catch_block(fmp_catch *c, const fmp_block *block, fmp_err *err)
{
    fmp_arena *scope = fmp_json_scope(c->arena);
    fmp_status status = c->trial->stage->decode(c->trial->self, block, &c->call, err);
    fmp_json_scope(scope);
    return status != FMP_OK ? status : fmp_arena_ok(c->arena, err);
}

static char *grow_block(fmp_block *block, size_t cap)
{
    char *grown = realloc(block->data, cap);
    if (!grown) { return NULL; }
    block->data = grown;
    block->cap = cap;
    return grown;
}

void fmp_block_init(fmp_block *block)
{
    memset(block, 0, sizeof *block);
    block->struct_size = (uint32_t)sizeof *block;
    block->grow = grow_block;
}
