/*
 * refusal.c: a refused record as a line of rejected.jsonl and as a diagnostic.
 */
#include "engine.h"

#include <stdlib.h>

/* "messages[3].role" in a row that is the bare message array is "[3].role". */
static bool locate(const fmp_refusal *r, const char *path, size_t *offset)
{
    static const char prefix[] = "messages[";
    if (fmp_json_locate(r->row, r->row_len, path, offset)) { return true; }
    return strncmp(path, prefix, sizeof prefix - 1) == 0 &&
           fmp_json_locate(r->row, r->row_len, path + sizeof prefix - 2, offset);
}

static uint32_t column_of(const fmp_refusal *r, const char *path, uint32_t known)
{
    size_t offset;
    if (known || !path) { return known; }
    return locate(r, path, &offset) && offset < UINT32_MAX ? (uint32_t)offset + 1 : 0;
}

void fmp_refusal_locate(fmp_refusal *r)
{
    if (!r->row || !r->row_is_source) { return; }
    r->column = column_of(r, r->path, r->column);
    for (size_t i = 0; i < r->n_more; i++) {
        r->more[i].column = column_of(r, r->more[i].path, r->more[i].column);
    }
}

#define MORE_MAX 32

fmp_status fmp_reject_more(const fmp_reject *why, fmp_arena *arena, fmp_problem **out, size_t *n,
                           fmp_err *err)
{
    *out = NULL;
    *n = 0;
    bool has = why->struct_size >= offsetof(fmp_reject, n_more) + sizeof why->n_more;
    if (!has || !why->more || why->n_more == 0) { return FMP_OK; }
    size_t count = why->n_more < MORE_MAX ? why->n_more : MORE_MAX;
    fmp_problem *copy = fmp_arena_take_zero(arena, count, sizeof *copy);
    FMP_TRY(fmp_arena_ok(arena, err));
    for (size_t i = 0; i < count; i++) {
        const fmp_problem *p = &why->more[i];
        copy[i].reason = fmp_arena_strdup(arena, p->reason ? p->reason : "unspecified");
        copy[i].message = fmp_arena_strdup(arena, p->message ? p->message : "the stage gave no message");
        copy[i].path = p->path ? fmp_arena_strdup(arena, p->path) : NULL;
        copy[i].column = p->column;
    }
    *out = copy;
    *n = count;
    return fmp_arena_ok(arena, err);
}

/* A row need not be UTF-8, but rejected.jsonl must be: what is not becomes U+FFFD. */
static char *valid_text(const char *text, size_t len, bool *changed)
{
    fmp_buf out = {0};
    *changed = false;
    while (len > 0) {
        size_t good = fmp_utf8_invalid_at(text, len);
        const char *nul = memchr(text, '\0', good);
        if (nul) { good = (size_t)(nul - text); }
        fmp_buf_add(&out, text, good);
        if (good == len) { break; }
        fmp_buf_puts(&out, "\xEF\xBF\xBD");
        *changed = true;
        text += good + 1;
        len -= good + 1;
    }
    if (out.failed) { fmp_buf_free(&out); }
    return out.data;
}

static void add_text(cJSON *line, const char *name, const char *text)
{
    bool changed;
    char *copy = valid_text(text, strlen(text), &changed);
    cJSON_AddStringToObject(line, name, copy ? copy : "");
    free(copy);
}

static void add_problem(cJSON *line, const char *reason, const char *message, const char *path)
{
    add_text(line, "reason", reason);
    add_text(line, "message", message);
    if (path) { add_text(line, "path", path); }
}

void fmp_refusal_print(const fmp_refusal *r, fmp_buf *out)
{
    fmp_arena *scope = fmp_json_scope(NULL);
    cJSON *line = cJSON_CreateObject();
    cJSON_AddStringToObject(line, "id", r->id);
    add_text(line, "file", r->origin.file ? r->origin.file : "");
    cJSON_AddNumberToObject(line, "line", (double)r->origin.line);
    cJSON_AddNumberToObject(line, "column", (double)r->column);
    cJSON_AddNumberToObject(line, "offset", (double)r->origin.offset);
    add_problem(line, r->reason, r->message, r->path);
    cJSON *more = r->n_more ? cJSON_AddArrayToObject(line, "more") : NULL;
    for (size_t i = 0; i < r->n_more; i++) {
        cJSON *item = cJSON_CreateObject();
        cJSON_AddNumberToObject(item, "column", (double)r->more[i].column);
        add_problem(item, r->more[i].reason, r->more[i].message, r->more[i].path);
        cJSON_AddItemToArray(more, item);
    }
    if (r->row) {
        bool changed;
        char *row = valid_text(r->row, r->row_len, &changed);
        cJSON_AddStringToObject(line, "row", row ? row : "");
        if (changed) { cJSON_AddTrueToObject(line, "row_repaired"); }
        free(row);
    }
    fmp_json_print(line, FMP_JSON_COMPACT, out);
    fmp_buf_putc(out, '\n');
    cJSON_Delete(line);
    fmp_json_scope(scope);
}

static void add_diag(const fmp_refusal *r, const fmp_problem *p, fmp_diags *diags)
{
    fmp_err err = FMP_ERR_INIT;
    uint32_t line = r->origin.line > UINT32_MAX ? UINT32_MAX : (uint32_t)r->origin.line;
    (void)fmp_fail(&err, FMP_E_DATA, "%s", p->message);
    (void)fmp_err_at(&err, r->origin.file, line, p->column, r->origin.offset);
    (void)snprintf(err.record, sizeof err.record, "%s", r->id);
    if (p->path) { (void)fmp_err_note(&err, "at %s of record %s", p->path, r->id); }
    fmp_diags_add(diags, FMP_SEV_ERROR, &err, 1);
}

void fmp_refusal_diag(const fmp_refusal *r, fmp_diags *diags)
{
    const fmp_problem first = {r->reason, r->message, r->path, r->column};
    add_diag(r, &first, diags);
    for (size_t i = 0; i < r->n_more; i++) {
        add_diag(r, &r->more[i], diags);
    }
}
