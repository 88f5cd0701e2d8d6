/*
 * refusal.c: a refused record as a line of rejected.jsonl and as a diagnostic.
 */
#include "engine.h"

#include <stdlib.h>

/* "messages[3].role" in a row that is the bare message array is "[3].role". */
static bool locate(const fmp_refusal *r, size_t *offset)
{
    static const char prefix[] = "messages[";
    if (fmp_json_locate(r->row, r->row_len, r->path, offset)) { return true; }
    return strncmp(r->path, prefix, sizeof prefix - 1) == 0 &&
           fmp_json_locate(r->row, r->row_len, r->path + sizeof prefix - 2, offset);
}

void fmp_refusal_locate(fmp_refusal *r)
{
    size_t offset;
    if (r->column || !r->row || !r->row_is_source || !r->path) { return; }
    if (locate(r, &offset) && offset < UINT32_MAX) { r->column = (uint32_t)offset + 1; }
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

void fmp_refusal_print(const fmp_refusal *r, fmp_buf *out)
{
    fmp_arena *scope = fmp_json_scope(NULL);
    cJSON *line = cJSON_CreateObject();
    cJSON_AddStringToObject(line, "id", r->id);
    add_text(line, "file", r->origin.file ? r->origin.file : "");
    cJSON_AddNumberToObject(line, "line", (double)r->origin.line);
    cJSON_AddNumberToObject(line, "column", (double)r->column);
    cJSON_AddNumberToObject(line, "offset", (double)r->origin.offset);
    add_text(line, "reason", r->reason);
    add_text(line, "message", r->message);
    if (r->path) { add_text(line, "path", r->path); }
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

void fmp_refusal_diag(const fmp_refusal *r, fmp_diags *diags)
{
    fmp_err err = FMP_ERR_INIT;
    uint32_t line = r->origin.line > UINT32_MAX ? UINT32_MAX : (uint32_t)r->origin.line;
    (void)fmp_fail(&err, FMP_E_DATA, "%s", r->message);
    (void)fmp_err_at(&err, r->origin.file, line, r->column, r->origin.offset);
    (void)snprintf(err.record, sizeof err.record, "%s", r->id);
    if (r->path) { (void)fmp_err_note(&err, "at %s of record %s", r->path, r->id); }
    fmp_diags_add(diags, FMP_SEV_ERROR, &err, 1);
}
