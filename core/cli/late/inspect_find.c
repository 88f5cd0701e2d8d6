/*
 * inspect_find.c: the conversation that `inspect tokens` is about, in one of two places: among the records
 * that a run gave to the stage that made tokens of them, or, with --model, in a data file as it is.
 */
#include "inspect.h"

#include <limits.h>
#include <options.h>
#include <records.h>
#include <stdlib.h>
#include <store.h>
#include <trial.h>

void subject_free(subject *s)
{
    fmp_chat_free(s->chat);
    cJSON_Delete(s->doc);
    cJSON_Delete(s->manifest);
    cJSON_Delete(s->options);
    fmp_arena_free(s->arena);
    free(s->artifact);
    memset(s, 0, sizeof *s);
}

/* ---- what was asked for ---- */

/* "data/x.jsonl:12" -> file and line; no line: the first. */
static void split_place(wanted *w, const char *text)
{
    size_t n = strlen(text), digits = 0;
    while (digits < n && text[n - 1 - digits] >= '0' && text[n - 1 - digits] <= '9') {
        digits++;
    }
    bool has_line = digits > 0 && digits < 18 && digits < n && text[n - 1 - digits] == ':';
    snprintf(w->file, sizeof w->file, "%.*s", (int)(has_line ? n - digits - 1 : n), text);
    w->line = has_line ? strtoull(text + n - digits, NULL, 10) : 1;
}

void wanted_read(const char *text, wanted *out)
{
    memset(out, 0, sizeof *out);
    out->text = text;
    if (strlen(text) == 16 && strspn(text, "0123456789abcdef") == 16) {
        out->id = text;
    } else {
        split_place(out, text);
    }
}

/* ---- in a run ---- */

static bool ends_in_path(const char *text, const char *tail)
{
    size_t n = strlen(text), m = strlen(tail);
    return n > m && m > 0 && strcmp(text + n - m, tail) == 0 && text[n - m - 1] == '/';
}

/* The name that a run knows a file by, against the one that was asked for. */
static bool same_file(const char *known, const char *asked)
{
    char a[PATH_MAX], b[PATH_MAX];
    if (strcmp(known, asked) == 0 || ends_in_path(known, asked) || ends_in_path(asked, known)) {
        return true;
    }
    return realpath(known, a) && realpath(asked, b) && strcmp(a, b) == 0;
}

/* The head of a line of records.jsonl against what is wanted; the whole line is read only if it fits. */
static bool is_wanted(const fmp_records *in, const wanted *w, const char *line)
{
    char id[17];
    long file = -1;
    uint64_t number = 0;
    if (sscanf(line, "{\"id\":\"%16[0-9a-f]\",\"file\":%ld,\"line\":%" SCNu64, id, &file, &number) != 3) {
        return false;
    }
    if (w->id) { return strcmp(id, w->id) == 0; }
    return number == w->line && file >= 0 && (size_t)file < in->files.n &&
           same_file(in->files.names[file], w->file);
}

static fmp_status take_line(subject *s, const fmp_records *in, const char *line, size_t len, uint64_t number,
                            fmp_err *err)
{
    fmp_item item;
    fmp_arena *outer = fmp_json_scope(s->arena);
    fmp_status status = fmp_records_parse(in, line, len, number, &item, err);
    fmp_json_scope(outer);
    if (status != FMP_OK) { return status; }
    s->doc = cJSON_Duplicate(item.record.doc, true);
    memcpy(s->id, item.record.id, sizeof s->id);
    s->line = item.record.origin.line;
    s->file = fmp_arena_strdup(s->arena, item.record.origin.file ? item.record.origin.file : "");
    return s->doc ? FMP_OK : fmp_fail(err, FMP_E_NOMEM, "out of memory");
}

/* s->doc stays NULL where the records do not have it. */
static fmp_status search_records(subject *s, const wanted *w, const char *dir, fmp_err *err)
{
    fmp_records in;
    fmp_buf text = {0};
    uint64_t number = 0;
    FMP_TRY(fmp_records_open(dir, &in, err));
    fmp_status status = FMP_OK;
    while (status == FMP_OK && !s->doc) {
        status = fmp_records_fetch(&in, (size_t)4 << 20, &text, &number, err);
        if (status != FMP_OK || text.len == 0) { break; }
        for (char *p = text.data, *end = text.data + text.len; p < end && status == FMP_OK && !s->doc;
             number++) {
            char *stop = memchr(p, '\n', (size_t)(end - p));
            if (!stop) { stop = end; }
            if (is_wanted(&in, w, p)) { status = take_line(s, &in, p, (size_t)(stop - p), number, err); }
            p = stop + 1;
        }
    }
    fmp_buf_free(&text);
    fmp_records_close(&in);
    return status;
}

static const cJSON *stage_named(const cJSON *manifest, const char *id)
{
    const cJSON *stage;
    cJSON_ArrayForEach(stage, fmp_json_get(manifest, "stages"))
    {
        if (strcmp(fmp_json_str(stage, "id", ""), id) == 0) { return stage; }
    }
    return NULL;
}

/* Digest of the records that a stage read, or NULL. */
static const char *records_of(const cJSON *manifest, const cJSON *stage)
{
    const cJSON *input;
    cJSON_ArrayForEach(input, fmp_json_get(stage, "inputs"))
    {
        if (strcmp(fmp_json_str(input, "port", ""), "records") != 0) { continue; }
        const cJSON *from = stage_named(manifest, fmp_json_str(input, "stage", ""));
        return fmp_json_str(fmp_json_get(from, "outputs"), fmp_json_str(input, "output", "records"), NULL);
    }
    return NULL;
}

/* A stage that made tokens, and what it read; NULL where the store does not have both any more. */
static fmp_status try_stage(subject *s, const wanted *w, const fmp_store *store, const cJSON *stage,
                            bool *gone, fmp_err *err)
{
    const char *tokens = fmp_json_str(fmp_json_get(stage, "outputs"), "tokens", NULL);
    const char *records = tokens ? records_of(s->manifest, stage) : NULL;
    char *dir = NULL, *artifact = NULL;
    if (!records) { return FMP_OK; }
    bool have = fmp_store_object(store, records, FMP_CHECK_SIZES, &dir, NULL) == FMP_OK &&
                fmp_store_object(store, tokens, FMP_CHECK_SIZES, &artifact, NULL) == FMP_OK;
    *gone = *gone || !have;
    fmp_status status = have ? search_records(s, w, dir, err) : FMP_OK;
    if (s->doc) {
        s->stage = stage;
        s->artifact = artifact;
        artifact = NULL;
    }
    free(dir);
    free(artifact);
    return status;
}

static fmp_status open_run_chat(subject *s, fmp_err *err)
{
    const cJSON *options = fmp_json_get(s->stage, "options");
    FMP_TRY(fmp_chat_setup_read(options, s->arena, &s->setup, err));
    s->setup.open.template_ = s->setup.open.template_name = NULL; /* the artifact has the one that was used */
    char *dir = fmp_path_join(s->artifact, "tokenizer");
    if (!dir) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
    fmp_status status = fmp_chat_open_with(dir, &s->setup.open, &s->chat, err);
    free(dir);
    return status;
}

static fmp_status not_found(const wanted *w, const char *run_dir, bool gone, fmp_err *err)
{
    (void)fmp_fail(err, FMP_E_DATA, "no record that run %s made tokens of is '%s'", run_dir, w->text);
    if (gone) {
        return fmp_err_hint(err, "some of the run's results are gone from the store: run the pipeline again");
    }
    return fmp_err_hint(
        err, "a stage may have refused or dropped it (rejected.jsonl); to see a line of a file as it is, "
             "give --model DIR");
}

fmp_status find_in_run(const fmp_cli *cli, const wanted *w, subject *s, fmp_err *err)
{
    char run_dir[PATH_MAX];
    const char *given = fmp_cli_option_value(cli, "run");
    fmp_store *store = NULL;
    bool gone = false;
    snprintf(run_dir, sizeof run_dir, "%s%s", given ? given : cli->runs_dir, given ? "" : "/latest");
    char *path = fmp_path_join(run_dir, "manifest.json");
    if (!path) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
    fmp_status status = fmp_json_load(path, NULL, &s->manifest, err);
    free(path);
    if (status != FMP_OK) {
        return fmp_err_hint(err, "run a pipeline first, name one with --run DIR, or give --model DIR");
    }
    if (!fmp_path_exists(cli->store_dir)) {
        (void)fmp_fail(err, FMP_E_IO, "there is no store at %s", cli->store_dir);
        return fmp_err_hint(err, "name the one that the run used with --store DIR");
    }
    FMP_TRY(fmp_store_open(cli->store_dir, &store, err));
    const cJSON *stage;
    cJSON_ArrayForEach(stage, fmp_json_get(s->manifest, "stages"))
    {
        if (status == FMP_OK && !s->doc) { status = try_stage(s, w, store, stage, &gone, err); }
    }
    fmp_store_close(store);
    if (status != FMP_OK) { return status; }
    return s->doc ? open_run_chat(s, err) : not_found(w, run_dir, gone, err);
}

/* ---- in a file ---- */

/* The reader's decision on one block: the row of the wanted line, or why it was refused. */
static fmp_status take_row(subject *s, const wanted *w, fmp_trial *trial, const fmp_block *block,
                           fmp_err *err)
{
    fmp_catch caught;
    fmp_catch_begin(&caught, trial, s->arena, 0, NULL);
    fmp_status status = fmp_catch_block(&caught, block, err);
    for (size_t i = 0; status == FMP_OK && i < caught.n_docs; i++) {
        if (caught.docs[i].origin.line != w->line) { continue; }
        s->doc = cJSON_Duplicate(caught.docs[i].doc, true);
        if (!s->doc) { status = fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
    }
    for (size_t i = 0; status == FMP_OK && i < caught.n_rejects; i++) {
        if (caught.rejects[i].origin.line != w->line) { continue; }
        status = fmp_fail(err, FMP_E_DATA, "%s", caught.rejects[i].message);
        (void)fmp_err_at(err, w->file, (uint32_t)w->line, caught.rejects[i].column, UINT64_MAX);
    }
    fmp_buf_free(&caught.written);
    return status;
}

static uint64_t lines_of(const fmp_block *block)
{
    uint64_t n = 0;
    for (size_t i = 0; i < block->len; i++) {
        n += block->data[i] == '\n';
    }
    return n + 1;
}

static fmp_status read_blocks(subject *s, const wanted *w, fmp_trial *trial, fmp_err *err)
{
    fmp_block block;
    bool more = true;
    fmp_status status = FMP_OK;
    while (more && status == FMP_OK && !s->doc) {
        fmp_block_init(&block);
        status = trial->stage->fetch(trial->self, &block, &more, err);
        bool inside = w->line >= block.first_line && w->line < block.first_line + lines_of(&block);
        if (status == FMP_OK && inside && block.len > 0) { status = take_row(s, w, trial, &block, err); }
        free(block.data);
    }
    if (status == FMP_OK && !s->doc) {
        (void)fmp_fail(err, FMP_E_DATA, "line %" PRIu64 " is not in the file, or is blank", w->line);
        status = fmp_err_at(err, w->file, 0, 0, UINT64_MAX);
    }
    return status;
}

/* The row as the stage that reads such files sees it: any of its forms, with all its checks. */
static fmp_status read_row(subject *s, const wanted *w, fmp_err *err)
{
    fmp_registry *registry = NULL;
    const fmp_stage_info *info = NULL;
    const fmp_stage *stage = NULL;
    fmp_trial *trial = NULL;
    cJSON *values = NULL, *given = cJSON_CreateObject();
    cJSON_AddStringToObject(given, "path", w->file);
    cJSON_AddStringToObject(given, "require_last", "any");
    fmp_status status = fmp_registry_new(NULL, &registry, err);
    if (status == FMP_OK) { status = fmp_registry_find(registry, "jsonl.read", ".", &info, err); }
    if (status == FMP_OK) { status = fmp_plugin_load(info, &stage, err); }
    if (status == FMP_OK) { status = fmp_options_check(info->options, given, ".", &values, err); }
    if (status == FMP_OK) { status = fmp_trial_new(stage, 0, NULL, &trial, err); }
    if (status == FMP_OK) { status = fmp_trial_open(trial, values, 1, err); }
    if (status == FMP_OK) { status = read_blocks(s, w, trial, err); }
    fmp_trial_close(trial);
    cJSON_Delete(values);
    cJSON_Delete(given);
    fmp_registry_free(registry);
    return status;
}

fmp_status find_in_file(const fmp_cli *cli, const wanted *w, subject *s, fmp_err *err)
{
    const char *template_ = fmp_cli_option_value(cli, "template"),
               *what = fmp_cli_option_value(cli, "supervise");
    if (w->id) {
        (void)fmp_fail(err, FMP_E_USAGE, "a record's id is looked up in a run; with --model give FILE:LINE");
        return FMP_E_USAGE;
    }
    s->options = cJSON_CreateObject();
    if (what) { cJSON_AddStringToObject(s->options, "supervise", what); }
    if (template_) { cJSON_AddStringToObject(s->options, "template_file", template_); }
    FMP_TRY(fmp_chat_setup_read(s->options, s->arena, &s->setup, err));
    FMP_TRY(fmp_chat_open_with(fmp_cli_option_value(cli, "model"), &s->setup.open, &s->chat, err));
    FMP_TRY(read_row(s, w, err));
    s->file = fmp_arena_strdup(s->arena, w->file);
    s->line = w->line;
    return fmp_arena_ok(s->arena, err);
}
