/*
 * live.c: one stage while it works: its instance, the services behind its host, its counts and its refused
 * records.
 */
#include "engine.h"

#include <stdlib.h>

#define EVENTS_SHOWN 5

#ifndef FMP_VERSION
#define FMP_VERSION "0.1.0"
#endif

bool fmp_engine_stopping(const fmp_engine *e)
{
    return e->o->stop && *e->o->stop != 0;
}

const char *fmp_commas(uint64_t n, char text[32])
{
    char digits[24];
    int len = snprintf(digits, sizeof digits, "%" PRIu64, n);
    char *p = text;
    for (int i = 0; i < len; i++) {
        if (i > 0 && (len - i) % 3 == 0) { *p++ = ','; }
        *p++ = digits[i];
    }
    *p = '\0';
    return text;
}

double fmp_round_ms(double seconds)
{
    return (double)(int64_t)(seconds * 1000.0 + 0.5) / 1000.0;
}

/* ----------------------------------------------------------------------------------------------- counters */

static bool tally_grow(fmp_tally *t, fmp_arena *arena)
{
    size_t cap = t->cap ? 2 * t->cap : 8;
    struct fmp_tally_item *items;
    if (arena) {
        items = fmp_arena_take(arena, cap * sizeof *items);
        if (fmp_arena_ok(arena, NULL) != FMP_OK) { return false; }
        if (t->n) { memcpy(items, t->items, t->n * sizeof *items); }
    } else {
        items = reallocarray(t->items, cap, sizeof *items);
        if (!items) { return false; }
    }
    t->items = items;
    t->cap = cap;
    return true;
}

void fmp_tally_add(fmp_tally *t, fmp_arena *arena, const char *name, int64_t n)
{
    for (size_t i = 0; i < t->n; i++) {
        if (strcmp(t->items[i].name, name) == 0) {
            t->items[i].n += n;
            return;
        }
    }
    if (t->n == t->cap && !tally_grow(t, arena)) { return; }
    char *copy = arena ? fmp_arena_strdup(arena, name) : strdup(name);
    if (!copy) { return; }
    t->items[t->n++] = (struct fmp_tally_item){copy, n};
}

void fmp_tally_free(fmp_tally *t)
{
    for (size_t i = 0; i < t->n; i++) {
        free((char *)(uintptr_t)t->items[i].name);
    }
    free(t->items);
    *t = (fmp_tally){0};
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct fmp_tally_item *)a)->name, ((const struct fmp_tally_item *)b)->name);
}

cJSON *fmp_tally_json(const fmp_tally *t)
{
    cJSON *out = cJSON_CreateObject();
    if (t->n > 1) { qsort(t->items, t->n, sizeof *t->items, by_name); }
    for (size_t i = 0; i < t->n; i++) {
        cJSON_AddNumberToObject(out, t->items[i].name, (double)t->items[i].n);
    }
    return out;
}

/* ----------------------------------------------------------------------------------------------- services */

static void serve_log(void *arg, fmp_log_level level, const char *text)
{
    const fmp_live *live = arg;
    fmp_emit_log(live->e->emit, live->node->id, level, text);
}

static void serve_count(void *arg, const char *name, int64_t n)
{
    fmp_live *live = arg;
    pthread_mutex_lock(&live->lock);
    fmp_tally_add(&live->counts, NULL, name, n);
    pthread_mutex_unlock(&live->lock);
}

static void serve_fact(void *arg, const char *name, cJSON *value)
{
    fmp_live *live = arg;
    fmp_arena *scope = fmp_json_scope(NULL);
    pthread_mutex_lock(&live->lock);
    cJSON_DeleteItemFromObjectCaseSensitive(live->facts, name);
    if (!value || !cJSON_AddItemToObject(live->facts, name, value)) { cJSON_Delete(value); }
    pthread_mutex_unlock(&live->lock);
    fmp_json_scope(scope);
}

static void serve_point(void *arg, const char *series, uint64_t step, double value)
{
    const fmp_live *live = arg;
    fmp_emit_point(live->e->emit, live->node->id, series, step, value);
}

static void serve_summary(void *arg, const char *text)
{
    fmp_live *live = arg;
    char *copy = strdup(text);
    pthread_mutex_lock(&live->lock);
    free(live->summary);
    live->summary = copy;
    pthread_mutex_unlock(&live->lock);
}

static void serve_progress(void *arg, uint64_t done, uint64_t total, const char *unit, const char *text)
{
    const fmp_live *live = arg;
    fmp_emit_progress(live->e->emit, live->node->id, done, total, unit, text);
}

static bool serve_cancelled(void *arg)
{
    const fmp_live *live = arg;
    return fmp_engine_stopping(live->e);
}

static uint32_t serve_n_threads(void *arg)
{
    const fmp_live *live = arg;
    return (uint32_t)fmp_pool_threads(live->e->pool);
}

static void serve_for_each(void *arg, size_t n, void (*fn)(void *, size_t), void *fn_arg)
{
    const fmp_live *live = arg;
    fmp_pool_for(live->e->pool, n, fn, fn_arg);
}

/* ------------------------------------------------------------------------------------------------ life */

fmp_status fmp_live_init(fmp_live *live, fmp_engine *e, const fmp_stage_node *node, const char *key,
                         fmp_err *err)
{
    *live = (fmp_live){.e = e, .node = node, .key = key, .spool = {.fd = -1}, .spool_tmp = {.lock = -1}};
    live->facts = cJSON_CreateObject();
    if (!live->facts) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for stage '%s'", node->id); }
    pthread_mutex_init(&live->lock, NULL);
    live->services = (fmp_services){
        .arg = live,
        .seed = node->seed,
        .log = serve_log,
        .count = serve_count,
        .fact = serve_fact,
        .point = serve_point,
        .summary = serve_summary,
        .progress = serve_progress,
        .cancelled = serve_cancelled,
        .n_threads = serve_n_threads,
        .for_each = serve_for_each,
    };
    return FMP_OK;
}

static fmp_status make_instance(fmp_live *live, fmp_err *err)
{
    const fmp_stage_node *node = live->node;
    if (node->isolated) {
        return fmp_isolated_stage(node->info, &live->services, &live->stage, &live->self, err);
    }
    FMP_TRY(fmp_engine_load_stage(live->e->o, node->info, &live->stage, err));
    FMP_TRY(fmp_host_new(&live->services, &live->host, err));
    return live->stage->create ? live->stage->create(live->host, &live->self, err) : FMP_OK;
}

uint32_t fmp_live_place_option(const fmp_stage_node *node, fmp_status st, fmp_err *err)
{
    if (err && err->code == FMP_OK) {
        (void)fmp_fail(err, st, "stage %s refused its options and gave no reason", node->info->name);
    }
    if (!err || err->file[0]) { return 1; }
    fmp_mark mark = err->option[0] ? fmp_option_where(node, err->option) : node->mark;
    (void)fmp_err_at(err, mark.file, mark.line, mark.column, UINT64_MAX);
    return mark.span;
}

fmp_status fmp_live_open(fmp_live *live, const fmp_ext_records *records, const fmp_ext_run *run, fmp_err *err)
{
    live->services.records = records;
    live->services.run = run;
    live->open = true;
    fmp_status st = make_instance(live, err);
    if (st == FMP_OK && live->stage->configure) {
        st = live->stage->configure(live->self, live->node->values, err);
        if (st != FMP_OK) { (void)fmp_live_place_option(live->node, st, err); }
    }
    return st == FMP_OK ? FMP_OK : fmp_live_blame(live, st, err);
}

void fmp_live_close(fmp_live *live)
{
    if (!live->open) { return; }
    if (live->stage && live->stage->destroy && live->self) { live->stage->destroy(live->self); }
    fmp_host_free(live->host);
    live->self = NULL;
    live->host = NULL;
    live->open = false;
}

void fmp_live_free(fmp_live *live)
{
    if (!live->e) { return; }
    fmp_live_close(live);
    fmp_tally_free(&live->counts);
    fmp_tally_free(&live->reasons);
    cJSON_Delete(live->facts);
    cJSON_Delete(live->out_by);
    free(live->summary);
    fmp_file_writer_free(&live->spool);
    fmp_store_tmp_drop(&live->spool_tmp);
    free(live->spool_path);
    pthread_mutex_destroy(&live->lock);
    live->e = NULL;
}

fmp_status fmp_live_blame(fmp_live *live, fmp_status st, fmp_err *err)
{
    live->blamed = true;
    const fmp_mark *mark = &live->node->mark;
    if (err && err->code == FMP_OK) { /* a callback that failed without saying why */
        (void)fmp_fail(err, st, "stage '%s' failed with status %d and gave no message", live->node->id,
                       (int)st);
    }
    (void)fmp_err_note(err, "while running stage '%s' (%s, %s:%" PRIu32 ")", live->node->id,
                       live->node->info->name, mark->file ? mark->file : "", mark->line);
    return st;
}

/* ---------------------------------------------------------------------------------------- refused records */

fmp_status fmp_live_spool(fmp_live *live, const char *lines, size_t len, fmp_err *err)
{
    if (len == 0) { return FMP_OK; }
    if (!live->spool_path) {
        FMP_TRY(fmp_store_tmp_new(live->e->store, &live->spool_tmp, err));
        live->spool_path = fmp_path_join(live->spool_tmp.path, "rejects.jsonl");
        if (!live->spool_path) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for refused records"); }
        FMP_TRY(fmp_file_writer_open(live->spool_path, &live->spool, err));
    }
    return fmp_file_writer_add(&live->spool, lines, len, err);
}

fmp_status fmp_live_spool_end(fmp_live *live, fmp_err *err)
{
    return live->spool.fd >= 0 ? fmp_file_writer_end(&live->spool, NULL, err) : FMP_OK;
}

static bool passes(const fmp_live *live)
{
    return live->node->on_bad == FMP_ON_BAD_SKIP;
}

void fmp_live_show(fmp_live *live, const fmp_refusal *r)
{
    if (!passes(live) && live->e->diags && live->e->diags->n < FMP_PROBLEMS_WANTED) {
        fmp_refusal_diag(r, live->e->diags);
    }
    if (live->n_shown++ >= EVENTS_SHOWN) { return; }
    cJSON *event = fmp_event_new("reject", live->node->id);
    fmp_arena *scope = fmp_json_scope(NULL);
    cJSON_AddStringToObject(event, "id", r->id);
    cJSON_AddStringToObject(event, "file", r->origin.file ? r->origin.file : "");
    cJSON_AddNumberToObject(event, "line", (double)r->origin.line);
    cJSON_AddNumberToObject(event, "column", (double)r->column);
    cJSON_AddStringToObject(event, "reason", r->reason);
    cJSON_AddStringToObject(event, "text", r->message);
    fmp_json_scope(scope);
    fmp_emit(live->e->emit, event);
}

bool fmp_live_over_limit(const fmp_live *live)
{
    if (live->node->on_bad == FMP_ON_BAD_SKIP) { return false; }
    return live->n_rejected > (live->node->on_bad == FMP_ON_BAD_LIMIT ? live->node->bad_limit : 0);
}

fmp_status fmp_live_policy(fmp_live *live, fmp_err *err)
{
    if (!fmp_live_over_limit(live)) { return FMP_OK; }
    live->blamed = true;
    char bad[32], all[32], policy[48] = "fail";
    if (live->node->on_bad == FMP_ON_BAD_LIMIT) {
        (void)snprintf(policy, sizeof policy, "{limit: %" PRIu64 "}", live->node->bad_limit);
    }
    (void)fmp_fail(err, FMP_E_DATA,
                   "%s of %s records are refused (%s/rejected.jsonl); the policy of '%s' is on_bad: %s",
                   fmp_commas(live->n_rejected, bad), fmp_commas(live->n_in, all), live->e->run_dir,
                   live->node->id, policy);
    return fmp_err_hint(err, "repair them, or set on_bad: skip, or limit: %" PRIu64, live->n_rejected);
}

/* ------------------------------------------------------------------------------------------------ record */

cJSON *fmp_live_record(const fmp_live *live, const cJSON *preimage, cJSON *outputs, bool streamed)
{
    cJSON *record = cJSON_CreateObject();
    cJSON_AddNumberToObject(record, "v", 1);
    cJSON_AddStringToObject(record, "key", live->key);
    cJSON_AddItemToObject(record, "preimage", cJSON_Duplicate(preimage, true));
    cJSON_AddItemToObject(record, "outputs", outputs);
    cJSON_AddBoolToObject(record, "streamed", streamed);
    cJSON_AddNumberToObject(record, "in", (double)live->n_in);
    cJSON_AddNumberToObject(record, "out", (double)live->n_out);
    if (live->out_by) { cJSON_AddItemToObject(record, "out_by", cJSON_Duplicate(live->out_by, true)); }
    cJSON_AddNumberToObject(record, "rejected", (double)live->n_rejected);
    cJSON_AddItemToObject(record, "rejected_by", fmp_tally_json(&live->reasons));
    cJSON_AddItemToObject(record, "counts", fmp_tally_json(&live->counts));
    cJSON_AddItemToObject(record, "facts", cJSON_Duplicate(live->facts, true));
    cJSON_AddStringToObject(record, "summary", live->summary ? live->summary : "");
    cJSON_AddNumberToObject(record, "seconds", fmp_round_ms(live->seconds));
    cJSON_AddNumberToObject(record, "peak_bytes", (double)fmp_peak_rss());
    cJSON_AddStringToObject(record, "created_by", "fmpipe " FMP_VERSION);
    return record;
}
