/*
 * Running one text case: options through the same checks as in a pipeline, then the stage over its records,
 * once with one thread and once with four; the two must give the same text.
 */
#include "cases_private.h"

#include "records.h"
#include "trial.h"
#include "yaml_tree.h"

#include <ctype.h>
#include <stdlib.h>

enum { SEVERAL = 4, MAX_BLOCKS = 4096 };
#define OUT_DIR "out"

typedef struct records_in {
    const char *port, *stage; /* stage: the id of the stage that it is said to come from */
    fmp_record *items;
    size_t n;
} records_in;

typedef struct case_run {
    const case_text *c;
    const char *base;
    const fmp_stage_info *info;
    const fmp_stage *stage;
    cJSON *values; /* heap */
    uint64_t seed;
    uint32_t n_threads;
    fmp_pool *pool;
    fmp_arena *arena; /* the case's inputs            */
    fmp_trial *trial;
    case_outcome *out;
    records_in inputs[CASE_MAX_PORTS];
    size_t n_inputs;
} case_run;

/* ---------------------------------------------------------------------------------------------- outcome as
 * text */

static const char *code_name(int code)
{
    static const char *const names[] = {"ok",          "usage",  "config",   "data", "range",
                                        "unsupported", "plugin", "mismatch", "io",   "nomem",
                                        "cancelled",   "failed", "internal"};
    return code >= 0 && code < (int)(sizeof names / sizeof names[0]) ? names[code] : "internal";
}

/* Append `text` with the case's folder shown as $DIR. */
static void add_shown(fmp_buf *out, const char *text, const char *base)
{
    size_t n = strlen(base);
    for (const char *at; (at = strstr(text, base)) != NULL; text = at + n) {
        fmp_buf_add(out, text, (size_t)(at - text));
        fmp_buf_puts(out, "$DIR");
    }
    fmp_buf_puts(out, text);
}

static void put_error(const case_run *r, fmp_status status, const fmp_err *err)
{
    fmp_buf text = {0};
    fmp_buf_printf(&text, "%s: ", code_name((int)status));
    if (err->option[0]) { fmp_buf_printf(&text, "%s: ", err->option); }
    fmp_buf_printf(&text, "%s\n", err->message);
    if (err->hint[0]) { fmp_buf_printf(&text, "help: %s\n", err->hint); }
    r->out->error.len = 0;
    if (text.data) { add_shown(&r->out->error, text.data, r->base); }
    fmp_buf_free(&text);
}

static void put_json(const case_run *r, const cJSON *node, fmp_buf *out)
{
    char *text = fmp_json_text(node, FMP_JSON_COMPACT);
    if (!text) {
        out->failed = true;
        return;
    }
    add_shown(out, text, r->base);
    fmp_buf_putc(out, '\n');
    free(text);
}

static void put_reject(const case_run *r, const fmp_caught_reject *reject, size_t row)
{
    cJSON *line = cJSON_CreateObject();
    if (r->stage->kind == FMP_SOURCE) {
        cJSON_AddStringToObject(line, "file", reject->origin.file ? reject->origin.file : "");
        cJSON_AddNumberToObject(line, "line", (double)reject->origin.line);
        if (reject->column) { cJSON_AddNumberToObject(line, "column", reject->column); }
    } else {
        cJSON_AddNumberToObject(line, "row", (double)row);
    }
    cJSON_AddStringToObject(line, "reason", reject->reason);
    if (reject->path) { cJSON_AddStringToObject(line, "path", reject->path); }
    cJSON_AddStringToObject(line, "message", reject->message);
    cJSON *more = reject->n_more ? cJSON_AddArrayToObject(line, "more") : NULL;
    for (size_t i = 0; i < reject->n_more; i++) {
        const fmp_problem *p = &reject->more[i];
        cJSON *item = cJSON_CreateObject();
        if (p->column) { cJSON_AddNumberToObject(item, "column", p->column); }
        cJSON_AddStringToObject(item, "reason", p->reason);
        if (p->path) { cJSON_AddStringToObject(item, "path", p->path); }
        cJSON_AddStringToObject(item, "message", p->message);
        cJSON_AddItemToArray(more, item);
    }
    put_json(r, line, &r->out->rejects);
    cJSON_Delete(line);
}

static void put_catch(const case_run *r, const fmp_catch *c, size_t row)
{
    for (size_t i = 0; i < c->n_docs; i++) {
        put_json(r, c->docs[i].doc, &r->out->records[0]);
    }
    for (size_t i = 0; i < c->n_rejects; i++) {
        put_reject(r, &c->rejects[i], row);
    }
    fmp_buf_add(&r->out->records[0], c->written.data, c->written.len);
}

/* ---------------------------------------------------------------------------------------------- streaming
 * stages */

/* Call i of several: one record, or one block. */
typedef struct stream {
    case_run *run;
    fmp_catch *catches;
    fmp_status *status;
    fmp_err *errors;
    fmp_block *blocks;
    size_t n;
} stream;

/* Worker `w` takes every n_threads-th call, so a worker number is never on two threads at once. */
static void stream_worker(void *arg, size_t w)
{
    stream *s = arg;
    case_run *r = s->run;
    for (size_t i = w; i < s->n; i += r->n_threads) {
        fmp_catch *c = &s->catches[i];
        const fmp_record *record = s->blocks ? NULL : &r->inputs[0].items[i];
        fmp_arena *arena = fmp_arena_new(0);
        fmp_err_clear(&s->errors[i]);
        fmp_catch_begin(c, r->trial, arena, (uint32_t)w, record);
        s->status[i] =
            s->blocks ? fmp_catch_block(c, &s->blocks[i], &s->errors[i]) : fmp_catch_record(c, &s->errors[i]);
    }
}

static fmp_status stream_calls(stream *s, fmp_err *err)
{
    case_run *r = s->run;
    s->catches = calloc(s->n + 1, sizeof *s->catches);
    s->status = calloc(s->n + 1, sizeof *s->status);
    s->errors = calloc(s->n + 1, sizeof *s->errors);
    bool have = s->catches && s->status && s->errors;
    fmp_status status = have ? FMP_OK : fmp_fail(err, FMP_E_NOMEM, "out of memory");
    if (have) { fmp_pool_for(r->pool, r->n_threads, stream_worker, s); }
    for (size_t i = 0; i < s->n && have; i++) {
        if (status == FMP_OK && s->status[i] != FMP_OK) { /* the first in order decides */
            status = s->status[i];
            *err = s->errors[i];
        }
        if (status == FMP_OK) { put_catch(r, &s->catches[i], i + 1); }
        fmp_buf_free(&s->catches[i].written);
        fmp_arena_free(s->catches[i].arena);
    }
    free(s->catches);
    free(s->status);
    free(s->errors);
    return status;
}

static fmp_status fetch_blocks(case_run *r, stream *s, fmp_err *err)
{
    bool more = true;
    while (more) {
        if (s->n == MAX_BLOCKS) {
            return fmp_fail(err, FMP_E_RANGE, "a source of a case made more than %d blocks", MAX_BLOCKS);
        }
        fmp_block *block = &s->blocks[s->n++];
        fmp_block_init(block);
        FMP_TRY(r->stage->fetch(r->trial->self, block, &more, err));
    }
    return FMP_OK;
}

static fmp_status run_stream(case_run *r, fmp_err *err)
{
    stream s = {.run = r, .n = r->inputs[0].n};
    FMP_TRY(fmp_trial_open(r->trial, r->values, r->n_threads, err));
    fmp_status status = FMP_OK;
    if (r->stage->kind == FMP_SOURCE) {
        s.n = 0;
        s.blocks = calloc(MAX_BLOCKS, sizeof *s.blocks);
        status = s.blocks ? fetch_blocks(r, &s, err) : fmp_fail(err, FMP_E_NOMEM, "out of memory");
    }
    if (status == FMP_OK) { status = stream_calls(&s, err); }
    for (size_t i = 0; s.blocks && i < s.n; i++) {
        free(s.blocks[i].data);
    }
    free(s.blocks);
    return status != FMP_OK ? status : fmp_trial_finish(r->trial, err);
}

/* ---------------------------------------------------------------------------------------------- gather
 * stages */

typedef struct gather {
    fmp_task task; /* first: the records table gets from a task to its gather */
    case_run *run;
    fmp_input inputs[CASE_MAX_PORTS];
    fmp_output outputs[CASE_MAX_PORTS];
    cJSON *no_facts;
} gather;

typedef struct cursor {
    const records_in *in;
    bool done;
} cursor;

static fmp_status gather_open(const fmp_task *task, const fmp_input *input, fmp_reader **out, fmp_err *err)
{
    const gather *g = (const gather *)task;
    cursor *c = calloc(1, sizeof *c);
    if (!c) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
    c->in = &g->run->inputs[input - g->inputs];
    *out = (fmp_reader *)c;
    return FMP_OK;
}

static fmp_status gather_next(fmp_reader *reader, const fmp_record **records, size_t *n, fmp_err *err)
{
    (void)err;
    cursor *c = (cursor *)reader;
    *records = c->in->items;
    *n = c->done ? 0 : c->in->n;
    c->done = true;
    return FMP_OK;
}

static void gather_close(fmp_reader *reader)
{
    free(reader);
}

static fmp_status gather_emit(const fmp_task *task, const fmp_output *output, const fmp_record *record,
                              const cJSON *doc, fmp_err *err)
{
    const gather *g = (const gather *)task;
    fmp_buf *out = &g->run->out->records[output - g->outputs];
    put_json(g->run, doc ? doc : record->doc, out);
    return fmp_buf_ok(out, err);
}

static fmp_status gather_reject(const fmp_task *task, const fmp_record *record, const fmp_reject *why,
                                fmp_err *err)
{
    const gather *g = (const gather *)task;
    fmp_caught_reject reject = {
        .reason = why->reason, .message = why->message ? why->message : "", .path = why->path};
    FMP_TRY(fmp_reject_more(why, g->run->arena, &reject.more, &reject.n_more, err));
    put_reject(g->run, &reject, record->origin.line);
    return fmp_buf_ok(&g->run->out->rejects, err);
}

static const fmp_ext_records gather_records = {
    (uint32_t)sizeof(fmp_ext_records), gather_open, gather_next, gather_close, gather_emit, gather_reject};

static size_t count_ports(const fmp_port *ports)
{
    size_t n = 0;
    while (ports[n].name) {
        n++;
    }
    return n;
}

/* Fresh folders for what a task writes: $DIR/out/PORT. */
static fmp_status make_outputs(case_run *r, gather *g, size_t n_outputs, fmp_err *err)
{
    char *out = fmp_arena_printf(r->arena, "%s/" OUT_DIR, r->base);
    FMP_TRY(fmp_arena_ok(r->arena, err));
    FMP_TRY(fmp_remove_tree(out, err));
    for (size_t i = 0; i < n_outputs; i++) {
        const fmp_port *port = &r->info->outputs[i];
        bool folder = r->stage->kind == FMP_TASK;
        const char *path = folder ? fmp_arena_printf(r->arena, "%s/%s", out, port->name) : r->base;
        FMP_TRY(fmp_arena_ok(r->arena, err));
        if (folder) { FMP_TRY(fmp_mkdirs(path, err)); }
        g->outputs[i] = (fmp_output){(uint32_t)sizeof g->outputs[i], port->name, port->type, path};
    }
    return FMP_OK;
}

/* `expect PORT/FILE:` is a file that a task wrote. */
static fmp_status read_files(case_run *r, fmp_err *err)
{
    case_outcome *o = r->out;
    for (size_t i = 0; i < r->c->n_sections; i++) {
        const case_section *s = &r->c->sections[i];
        bool is_file = s->kind == CASE_EXPECT && s->arg && strchr(s->arg, '/') && !strstr(s->arg, "..");
        if (!is_file || o->n_ports == CASE_MAX_PORTS) { continue; }
        const char *path = fmp_arena_printf(r->arena, "%s/" OUT_DIR "/%s", r->base, s->arg);
        FMP_TRY(fmp_arena_ok(r->arena, err));
        o->ports[o->n_ports] = s->arg;
        FMP_TRY(fmp_read_file(path, 0, &o->records[o->n_ports++], err));
    }
    return FMP_OK;
}

static fmp_status run_gather(case_run *r, fmp_err *err)
{
    gather g = {.run = r};
    size_t n_outputs = count_ports(r->info->outputs);
    FMP_TRY(make_outputs(r, &g, n_outputs, err));
    g.no_facts = cJSON_CreateObject();
    if (!g.no_facts) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
    for (size_t i = 0; i < r->n_inputs; i++) {
        g.inputs[i] = (fmp_input){(uint32_t)sizeof g.inputs[i],
                                  r->inputs[i].port,
                                  FMP_PORT_RECORDS,
                                  r->inputs[i].stage,
                                  r->base,
                                  "",
                                  g.no_facts};
    }
    r->trial->services.records = &gather_records;
    g.task = (fmp_task){.struct_size = (uint32_t)sizeof g.task,
                        .host = r->trial->host,
                        .seed = r->seed,
                        .n_inputs = r->n_inputs,
                        .n_outputs = n_outputs,
                        .inputs = g.inputs,
                        .outputs = g.outputs,
                        .work_dir = r->base,
                        .pipeline_dir = r->base};
    fmp_status status = fmp_trial_open(r->trial, r->values, r->n_threads, err);
    if (status == FMP_OK) { status = r->stage->run(r->trial->self, &g.task, err); }
    if (status == FMP_OK && r->stage->kind == FMP_TASK) { status = read_files(r, err); }
    cJSON_Delete(g.no_facts);
    return status;
}

/* ---- set-up ---- */

static fmp_status read_records(case_run *r, const case_section *s, const char *port, const char *stage,
                               fmp_err *err)
{
    if (r->n_inputs == CASE_MAX_PORTS) {
        return fmp_fail(err, FMP_E_UNSUPPORTED, "a case may have %d inputs", CASE_MAX_PORTS);
    }
    records_in *in = &r->inputs[r->n_inputs++];
    size_t cap = 1;
    for (const char *p = s->text; *p; p++) {
        cap += *p == '\n';
    }
    in->port = port;
    in->stage = stage;
    in->items = fmp_arena_take_zero(r->arena, cap, sizeof *in->items);
    FMP_TRY(fmp_arena_ok(r->arena, err));
    fmp_arena *scope = fmp_json_scope(r->arena);
    fmp_status status = FMP_OK;
    for (const char *p = s->text; *p && status == FMP_OK;) {
        size_t n = strcspn(p, "\n");
        if (strspn(p, " \t") < n) {
            fmp_record *record = &in->items[in->n++];
            cJSON *doc = NULL;
            status = fmp_json_parse(p, n, NULL, &doc, err);
            record->struct_size = (uint32_t)sizeof *record;
            const char *from = strcmp(stage, "case") == 0 ? port : stage;
            fmp_record_id(from, in->n - 1, record->id);
            record->origin = (fmp_origin){.file = from, .line = in->n};
            record->doc = doc;
        }
        p += n + (p[n] == '\n');
    }
    fmp_json_scope(scope);
    if (status != FMP_OK) {
        fmp_err_note(err, "while reading row %zu of the section in line %u", in->n, s->line);
    }
    return status;
}

/* A port that takes many connections: each further input section is one, named after the stage it comes
 * from. */
static fmp_status read_many(case_run *r, size_t n_ports, size_t *used, fmp_err *err)
{
    for (size_t i = 0; i < r->c->n_sections; i++) {
        const case_section *s = &r->c->sections[i];
        bool is_port = !s->arg;
        for (size_t k = 0; k < n_ports && !is_port; k++) {
            is_port = strcmp(s->arg, r->info->inputs[k].name) == 0;
        }
        if (s->kind != CASE_INPUT || is_port) { continue; }
        (*used)++;
        FMP_TRY(read_records(r, s, r->info->inputs[0].name, s->arg, err));
    }
    return FMP_OK;
}

/* The sections of a records stage, in the port table's order; a port without a section is not connected. */
static fmp_status read_inputs(case_run *r, fmp_err *err)
{
    size_t n = count_ports(r->info->inputs), used = 0, present = 0;
    if (n > CASE_MAX_PORTS || count_ports(r->info->outputs) > CASE_MAX_PORTS) {
        return fmp_fail(err, FMP_E_UNSUPPORTED, "a case's stage may have %d ports", CASE_MAX_PORTS);
    }
    for (size_t i = 0; i < n; i++) {
        const char *port = r->info->inputs[i].name;
        const case_section *s = fmp_case_section_(r->c, CASE_INPUT, port);
        if (!s && i == 0) { s = fmp_case_section_(r->c, CASE_INPUT, NULL); }
        if (!s) { continue; }
        used++;
        FMP_TRY(read_records(r, s, port, "case", err));
    }
    if (n > 0 && (r->info->inputs[0].flags & FMP_PORT_MANY)) { FMP_TRY(read_many(r, n, &used, err)); }
    for (size_t i = 0; i < r->c->n_sections; i++) {
        present += r->c->sections[i].kind == CASE_INPUT;
    }
    if (present > used) {
        return fmp_fail(err, FMP_E_DATA, "an input section names a port that stage '%s' does not have",
                        r->info->name);
    }
    return FMP_OK;
}

static fmp_status read_options(case_run *r, cJSON **given, fmp_err *err)
{
    const case_section *s = fmp_case_section_(r->c, CASE_WITH, NULL);
    fmp_diags diags = {0};
    fmp_yaml *tree = NULL;
    *given = NULL;
    if (!s) { return FMP_OK; }
    fmp_status status =
        fmp_yaml_parse(s->text, strlen(s->text), "with", r->base, r->arena, &tree, &diags, err);
    if (status != FMP_OK && diags.n > 0) { *err = diags.items[0].err; }
    fmp_diags_free(&diags);
    FMP_TRY(status);
    return tree ? fmp_yaml_to_json(tree, given, err) : FMP_OK;
}

static void trim(const char *text, char *out, size_t size)
{
    while (isspace((unsigned char)*text)) {
        text++;
    }
    size_t n = strlen(text);
    while (n > 0 && isspace((unsigned char)text[n - 1])) {
        n--;
    }
    snprintf(out, size, "%.*s", (int)(n < size ? n : size - 1), text);
}

static fmp_status find_stage(case_run *r, const fmp_cases_options *options, fmp_err *err)
{
    char name[128] = "", use[4352];
    const case_section *s = fmp_case_section_(r->c, CASE_STAGE, NULL);
    if (s) { trim(s->text, name, sizeof name); }
    if (!s && !options->plugin) { return fmp_fail(err, FMP_E_DATA, "the case has no 'stage:' section"); }
    if (options->plugin) {
        int n = snprintf(use, sizeof use, "%s%s%s", options->plugin, *name ? "#" : "", name);
        if (n < 0 || (size_t)n >= sizeof use) {
            return fmp_fail(err, FMP_E_RANGE, "the plugin's path is too long");
        }
    } else {
        snprintf(use, sizeof use, "%s", name);
    }
    FMP_TRY(fmp_registry_find(options->registry, use, ".", &r->info, err));
    return fmp_plugin_load(r->info, &r->stage, err);
}

/* A task that reads records can be run; other artifacts cannot be written down in a case, which then says
 * which options the task takes. */
static fmp_status run_kind(case_run *r, fmp_err *err)
{
    switch (r->stage->kind) {
    case FMP_TASK:
        if (r->n_inputs == 0) { return fmp_trial_open(r->trial, r->values, r->n_threads, err); }
        return run_gather(r, err);
    case FMP_GATHER: return run_gather(r, err);
    default: return run_stream(r, err);
    }
}

static fmp_status run_stage(case_run *r, fmp_err *err)
{
    FMP_TRY(fmp_pool_new((int)r->n_threads, &r->pool, err));
    fmp_status status = fmp_trial_new(r->stage, r->seed, r->pool, &r->trial, err);
    if (status == FMP_OK) { status = run_kind(r, err); }
    if (status == FMP_OK) {
        cJSON *counts = fmp_trial_counts_json(r->trial);
        put_json(r, counts, &r->out->counts);
        put_json(r, r->trial->facts, &r->out->facts);
        if (r->trial->summary) { fmp_buf_printf(&r->out->summary, "%s\n", r->trial->summary); }
        cJSON_Delete(counts);
    }
    fmp_trial_close(r->trial);
    fmp_pool_free(r->pool);
    r->trial = NULL;
    r->pool = NULL;
    return status;
}

static void name_ports(case_run *r)
{
    case_outcome *o = r->out;
    o->n_ports = r->stage->kind == FMP_GATHER ? count_ports(r->info->outputs) : 1;
    for (size_t i = 0; i < o->n_ports; i++) {
        o->ports[i] = r->stage->kind == FMP_SINK ? "(text)"
                      : r->info->outputs[i].name ? r->info->outputs[i].name
                                                 : "records";
    }
}

/* One pass over the case; what the stage refuses is the outcome, what the case itself has wrong is the
 * error. */
static fmp_status run_once(case_run *r, fmp_err *err)
{
    cJSON *given = NULL;
    fmp_err why = FMP_ERR_INIT;
    name_ports(r);
    FMP_TRY(read_options(r, &given, err));
    fmp_status status = fmp_options_check(r->info->options, given, r->base, &r->values, &why);
    if (status == FMP_OK) { status = run_stage(r, &why); }
    if (status != FMP_OK) { put_error(r, status, &why); }
    cJSON_Delete(given);
    cJSON_Delete(r->values);
    r->values = NULL;
    return FMP_OK;
}

static bool same_text(const fmp_buf *a, const fmp_buf *b)
{
    return a->len == b->len && (a->len == 0 || memcmp(a->data, b->data, a->len) == 0);
}

static bool same_outcome(const case_outcome *a, const case_outcome *b)
{
    bool same = same_text(&a->rejects, &b->rejects) && same_text(&a->error, &b->error) &&
                same_text(&a->counts, &b->counts) && same_text(&a->facts, &b->facts) &&
                same_text(&a->summary, &b->summary);
    for (size_t i = 0; i < a->n_ports; i++) {
        same = same && same_text(&a->records[i], &b->records[i]);
    }
    return same;
}

fmp_status fmp_case_run_(const case_text *c, const fmp_cases_options *options, const char *base,
                         case_outcome *out, fmp_err *err)
{
    case_run r = {.c = c, .base = base, .out = out, .n_threads = 1, .arena = fmp_arena_new(0)};
    case_outcome second;
    memset(&second, 0, sizeof second);
    const case_section *seed = fmp_case_section_(c, CASE_SEED, NULL);
    if (seed && sscanf(seed->text, "%" SCNu64, &r.seed) != 1) {
        fmp_arena_free(r.arena);
        return fmp_fail(err, FMP_E_DATA, "line %u: expected a number after 'seed:'", seed->line);
    }
    fmp_status status = find_stage(&r, options, err);
    if (status == FMP_OK) { status = read_inputs(&r, err); }
    if (status == FMP_OK) { status = run_once(&r, err); }
    if (status == FMP_OK && r.stage->kind != FMP_SINK) {
        r.out = &second;
        r.n_threads = SEVERAL;
        status = run_once(&r, err);
        if (status == FMP_OK && !same_outcome(out, &second)) {
            status = fmp_fail(err, FMP_E_FAILED, "one thread and %d threads give different results", SEVERAL);
        }
    }
    fmp_case_outcome_free_(&second);
    fmp_arena_free(r.arena);
    return status;
}

void fmp_case_outcome_free_(case_outcome *o)
{
    for (size_t i = 0; i < CASE_MAX_PORTS; i++) {
        fmp_buf_free(&o->records[i]);
    }
    fmp_buf_free(&o->rejects);
    fmp_buf_free(&o->error);
    fmp_buf_free(&o->counts);
    fmp_buf_free(&o->facts);
    fmp_buf_free(&o->summary);
}
