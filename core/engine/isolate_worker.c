/*
 * The other side of an isolated stage: a process that loads one plugin (its bytes checked against the
 * digest the run planned with), makes one instance, and answers one frame at a time until the stream ends.
 * Its standard output is the program's standard error: a plugin that prints cannot mix with the run's data.
 */
#include "isolate_private.h"

#include "trial.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

typedef struct worker {
    int fd;
    fmp_plugin_info *info;
    fmp_trial *trial;
    cJSON *values;    /* heap */
    fmp_arena *arena; /* of the request at hand */
    fmp_buf in, out;
} worker;

static void print_error(worker *w, fmp_status status, const fmp_err *e)
{
    fmp_arena *scope = fmp_json_scope(NULL);
    cJSON *answer = cJSON_CreateObject(), *error = cJSON_AddObjectToObject(answer, "error");
    cJSON_AddNumberToObject(error, "code", status);
    cJSON_AddStringToObject(error, "message", e->message);
    cJSON_AddStringToObject(error, "option", e->option);
    cJSON_AddStringToObject(error, "hint", e->hint);
    cJSON_AddStringToObject(error, "notes", e->notes);
    w->out.len = 0;
    fmp_json_print(answer, FMP_JSON_COMPACT, &w->out);
    cJSON_Delete(answer);
    fmp_json_scope(scope);
}

/* What the instance said since the last answer, as members "counts" and "log"; then forgotten. */
static void print_said(worker *w)
{
    fmp_trial *t = w->trial;
    fmp_arena *scope = fmp_json_scope(NULL);
    cJSON *counts = fmp_trial_counts_json(t);
    fmp_buf_puts(&w->out, "\"counts\":");
    fmp_json_print(counts, FMP_JSON_COMPACT, &w->out);
    fmp_buf_puts(&w->out, ",\"log\":");
    fmp_json_print(t->log, FMP_JSON_COMPACT, &w->out);
    cJSON_Delete(counts);
    cJSON_Delete(t->log);
    t->log = cJSON_CreateArray();
    for (size_t i = 0; i < t->n_counts; i++) {
        free(t->counts[i].name);
    }
    t->n_counts = 0;
    fmp_json_scope(scope);
}

static fmp_status open_stage(worker *w, const cJSON *request, fmp_err *err)
{
    const char *path = fmp_json_str(request, "path", ""), *digest = fmp_json_str(request, "digest", "");
    const char *name = fmp_json_str(request, "stage", "");
    const fmp_stage *stage = NULL;
    uint64_t seed = 0;
    FMP_TRY(fmp_plugin_read(path, &w->info, err));
    if (strcmp(w->info->digest, digest) != 0) {
        return fmp_fail(
            err, FMP_E_MISMATCH,
            "plugin '%.300s' changed since the run was planned: expected sha256:%.12s, found sha256:%.12s",
            path, digest, w->info->digest);
    }
    for (size_t i = 0; i < w->info->n_stages && !stage; i++) {
        if (strcmp(w->info->stages[i].name, name) == 0) {
            FMP_TRY(fmp_plugin_load(&w->info->stages[i], &stage, err));
        }
    }
    if (!stage || stage->kind != FMP_MAP) {
        return fmp_fail(err, FMP_E_PLUGIN, "plugin '%.300s' has no map stage '%s'", path, name);
    }
    if (sscanf(fmp_json_str(request, "seed", "0"), "%" SCNu64, &seed) != 1) {
        return fmp_fail(err, FMP_E_INTERNAL, "no seed");
    }
    fmp_arena *scope = fmp_json_scope(NULL);
    w->values = cJSON_Duplicate(fmp_json_get(request, "values"), true);
    fmp_status status = w->values ? fmp_trial_new(stage, seed, NULL, &w->trial, err)
                                  : fmp_fail(err, FMP_E_NOMEM, "out of memory");
    if (status == FMP_OK) {
        w->trial->log = cJSON_CreateArray();
        status = fmp_trial_open(w->trial, w->values, 1, err);
    }
    fmp_json_scope(scope);
    FMP_TRY(status);
    fmp_buf_putc(&w->out, '{');
    print_said(w);
    fmp_buf_putc(&w->out, '}');
    return FMP_OK;
}

static void add_problem(cJSON *row, const char *reason, const char *message, const char *path)
{
    cJSON_AddStringToObject(row, "reason", reason);
    cJSON_AddStringToObject(row, "message", message);
    if (path) { cJSON_AddStringToObject(row, "path", path); }
}

static void print_rejects(worker *w, const fmp_catch *c)
{
    for (size_t i = 0; i < c->n_rejects; i++) {
        cJSON *row = cJSON_CreateObject();
        const fmp_caught_reject *r = &c->rejects[i];
        add_problem(row, r->reason, r->message, r->path);
        cJSON *more = cJSON_AddArrayToObject(row, "more");
        for (size_t k = 0; k < r->n_more; k++) {
            cJSON *item = cJSON_CreateObject();
            add_problem(item, r->more[k].reason, r->more[k].message, r->more[k].path);
            cJSON_AddItemToArray(more, item);
        }
        if (i > 0) { fmp_buf_putc(&w->out, ','); }
        fmp_json_print(row, FMP_JSON_COMPACT, &w->out);
    }
}

static fmp_status do_record(worker *w, const cJSON *request, fmp_err *err)
{
    double line = fmp_json_num(request, "line", 0), offset = fmp_json_num(request, "offset", 0);
    fmp_record record = {.struct_size = (uint32_t)sizeof record, .doc = fmp_json_get(request, "doc")};
    fmp_catch c;
    if (!w->trial || !record.doc) {
        return fmp_fail(err, FMP_E_INTERNAL, "a record before the stage was opened");
    }
    snprintf(record.id, sizeof record.id, "%.16s", fmp_json_str(request, "id", ""));
    record.origin = (fmp_origin){
        .file = fmp_json_str(request, "file", ""), .line = (uint64_t)line, .offset = (uint64_t)offset};
    fmp_catch_begin(&c, w->trial, w->arena, 0, &record);
    alarm((unsigned)fmp_worker_seconds_() * 2); /* for a worker that outlives its program */
    fmp_status status = fmp_catch_record(&c, err);
    alarm(0);
    fmp_buf_free(&c.written);
    FMP_TRY(status);
    fmp_buf_puts(&w->out, "{\"docs\":[");
    for (size_t i = 0; i < c.n_docs; i++) {
        if (i > 0) { fmp_buf_putc(&w->out, ','); }
        if (c.docs[i].passed) {
            fmp_buf_puts(&w->out, "null");
        } else {
            fmp_json_print(c.docs[i].doc, FMP_JSON_COMPACT, &w->out);
        }
    }
    fmp_buf_puts(&w->out, "],\"rejects\":[");
    print_rejects(w, &c);
    fmp_buf_puts(&w->out, "],");
    print_said(w);
    fmp_buf_putc(&w->out, '}');
    return FMP_OK;
}

static fmp_status do_finish(worker *w, fmp_err *err)
{
    if (!w->trial) { return fmp_fail(err, FMP_E_INTERNAL, "finish before the stage was opened"); }
    fmp_arena *scope = fmp_json_scope(NULL);
    fmp_status status = fmp_trial_finish(w->trial, err);
    if (status == FMP_OK) {
        cJSON *summary = w->trial->summary ? cJSON_CreateString(w->trial->summary) : NULL;
        fmp_buf_puts(&w->out, "{\"facts\":");
        fmp_json_print(w->trial->facts, FMP_JSON_COMPACT, &w->out);
        if (summary) {
            fmp_buf_puts(&w->out, ",\"summary\":");
            fmp_json_print(summary, FMP_JSON_COMPACT, &w->out);
        }
        fmp_buf_putc(&w->out, ',');
        print_said(w);
        fmp_buf_putc(&w->out, '}');
        cJSON_Delete(summary);
    }
    fmp_json_scope(scope);
    return status;
}

static fmp_status answer(worker *w, fmp_err *err)
{
    cJSON *request = NULL;
    w->out.len = 0;
    FMP_TRY(fmp_json_parse(w->in.data, w->in.len, &fmp_frame_limits_, &request, err));
    const char *op = fmp_json_str(request, "op", "");
    if (strcmp(op, "record") == 0) { return do_record(w, request, err); }
    if (strcmp(op, "finish") == 0) { return do_finish(w, err); }
    if (strcmp(op, "open") == 0 && !w->info) { return open_stage(w, request, err); }
    return fmp_fail(err, FMP_E_INTERNAL, "unknown request '%.20s'", op);
}

static int serve(worker *w)
{
    for (;;) {
        size_t n = 0;
        fmp_err err = FMP_ERR_INIT;
        if (fmp_frame_receive_(w->fd, &w->in, &n, &err) != FMP_OK) { return 74; }
        if (n == 0) { return 0; }
        fmp_arena *scope = fmp_json_scope(w->arena);
        fmp_status status = answer(w, &err);
        if (status == FMP_OK) { status = fmp_buf_ok(&w->out, &err); }
        fmp_json_scope(scope);
        if (status != FMP_OK) { print_error(w, status, &err); }
        if (fmp_frame_send_(w->fd, w->out.data, w->out.len, &err) != FMP_OK) { return 74; }
        fmp_arena_reset(w->arena, 1 << 20);
    }
}

int fmp_stage_worker_main(int fd)
{
    worker w = {.fd = fd, .arena = fmp_arena_new(0)};
    fmp_json_install_hooks();
    signal(SIGINT, SIG_IGN); /* a stop goes to the run, which finishes its records and then ends the stream */
    signal(SIGTERM, SIG_IGN);
    if (!w.arena || dup2(STDERR_FILENO, STDOUT_FILENO) < 0) { return 74; }
    int code = serve(&w);
    fmp_trial_close(w.trial);
    cJSON_Delete(w.values);
    fmp_plugin_info_free(w.info);
    fmp_arena_free(w.arena);
    fmp_buf_free(&w.in);
    fmp_buf_free(&w.out);
    return code;
}
