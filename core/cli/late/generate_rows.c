/*
 * generate_rows.c: `fmpipe generate FILE.jsonl`: every row a prompt, every answer a line, in the order of
 * the rows.
 *
 * Rows are taken a few batches at a time, so that memory does not grow with the file and the first answers
 * come while the rest is unread; with --batch 1 each row is answered before the next one is read, for a
 * program at the other end of a pipe. A row that cannot be asked is reported with its place, and the rest
 * goes on.
 */
#include "generate.h"

#include <errno.h>
#include <stdlib.h>

#define BATCHES 4 /* read ahead: a batch's last texts then run beside the next one's first */

typedef struct asked {
    uint64_t line;
    char *id; /* the row's "id", or NULL; in the arena */
} asked;

typedef struct row_reader {
    generator *g;
    const char *path; /* as it is named in messages */
    FILE *file;
    char *line;
    size_t cap;
    uint64_t n_lines;
} row_reader;

/* The conversation of a row, taken; or, raw, the text alone. */
static fmp_status doc_of(const generator *g, cJSON **value, const char **text, fmp_err *err)
{
    const char *prompt = fmp_json_str(*value, "prompt", NULL);
    *text = prompt;
    if (g->raw) {
        return prompt ? FMP_OK : fmp_fail(err, FMP_E_DATA, "expected an object with a \"prompt\" text");
    }
    cJSON *doc = NULL;
    if (cJSON_IsArray(*value)) {
        doc = cJSON_CreateObject();
        cJSON_AddItemToObject(doc, "messages", *value);
        *value = doc;
    } else if (cJSON_IsArray(fmp_json_get(*value, "messages"))) {
        return FMP_OK;
    } else if (prompt) {
        doc = gen_conversation(g, prompt);
        cJSON_Delete(*value);
        *value = doc;
    } else {
        return fmp_fail(err, FMP_E_DATA, "expected \"messages\", a \"prompt\" text, or an array of messages");
    }
    return FMP_OK;
}

static fmp_status read_row(row_reader *r, size_t len, asked *row, fmp_prompt *prompt, fmp_err *err)
{
    generator *g = r->g;
    cJSON *value = NULL;
    const char *text = NULL;
    fmp_err_clear(err);
    fmp_status status = fmp_json_parse(r->line, len, NULL, &value, err);
    *row = (asked){.line = r->n_lines};
    if (status == FMP_OK) {
        const char *id = fmp_json_str(value, "id", NULL);
        row->id = id ? fmp_arena_strdup(g->arena, id) : NULL;
        status = doc_of(g, &value, &text, err);
    }
    *prompt = (fmp_prompt){.stream = r->n_lines};
    if (status == FMP_OK) { status = gen_encode(g, value, text, prompt, err); }
    cJSON_Delete(value);
    return status;
}

/* Trouble of the row alone. */
static bool is_rows_fault(fmp_status status)
{
    return status == FMP_E_DATA || status == FMP_E_RANGE || status == FMP_E_MISMATCH;
}

/* Up to `most` rows that can be asked; *n of them, fewer at the end of the file. */
static fmp_status read_rows(row_reader *r, size_t most, asked *rows, fmp_prompt *prompts, size_t *n,
                            fmp_err *err)
{
    ssize_t len;
    *n = 0;
    errno = 0;
    while (*n < most && !fmp_cli_stop && (len = getline(&r->line, &r->cap, r->file)) >= 0) {
        r->n_lines++;
        len -= len > 0 && r->line[len - 1] == '\n';
        if (strspn(r->line, " \t\r\n") >= (size_t)len) { continue; }
        fmp_status status = read_row(r, (size_t)len, &rows[*n], &prompts[*n], err);
        if (status == FMP_OK) {
            (*n)++;
            continue;
        }
        (void)fmp_err_at(err, r->path, (uint32_t)r->n_lines, err->column, UINT64_MAX);
        if (!is_rows_fault(status)) { return status; }
        fmp_cli_fail(r->g->cli, err);
        r->g->n_rejected++;
    }
    if (ferror(r->file)) { return fmp_fail(err, FMP_E_IO, "cannot read %s: %s", r->path, strerror(errno)); }
    return FMP_OK;
}

static void put_answers(const generator *g, const asked *rows, const fmp_prompt *prompts,
                        const fmp_generated *answers, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        fmp_out_json(gen_event(rows[i].line, rows[i].id, &prompts[i], &answers[i], &g->texts[i]));
    }
}

static fmp_status answer_rows(row_reader *r, size_t most, asked *rows, fmp_prompt *prompts,
                              fmp_generated *answers, fmp_err *err)
{
    for (size_t n = 1; n > 0 && !fmp_cli_stop;) {
        FMP_TRY(read_rows(r, most, rows, prompts, &n, err));
        FMP_TRY(gen_answer(r->g, prompts, n, answers, err));
        /* Stopped: what is there of these answers may be cut off. */
        if (!fmp_cli_stop) { put_answers(r->g, rows, prompts, answers, n); }
        fmp_arena_reset(r->g->arena, 1 << 20);
    }
    return FMP_OK;
}

fmp_status gen_rows(generator *g, const char *path, fmp_err *err)
{
    size_t most = g->o.max_batch > 1 ? g->o.max_batch * BATCHES : 1;
    bool is_stdin = strcmp(path, "-") == 0;
    row_reader r = {.g = g, .path = is_stdin ? "stdin" : path, .file = is_stdin ? stdin : fopen(path, "r")};
    if (!r.file) { return fmp_fail(err, FMP_E_IO, "cannot read %s: %s", path, strerror(errno)); }
    asked *rows = calloc(most, sizeof *rows);
    fmp_prompt *prompts = calloc(most, sizeof *prompts);
    fmp_generated *answers = calloc(most, sizeof *answers);
    fmp_status status = rows && prompts && answers ? answer_rows(&r, most, rows, prompts, answers, err)
                                                   : fmp_fail(err, FMP_E_NOMEM, "out of memory");
    free(rows);
    free(prompts);
    free(answers);
    free(r.line);
    if (!is_stdin) { fclose(r.file); }
    return status;
}
