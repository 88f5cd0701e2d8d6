/*
 * cmd_inspect_tokens.c: `fmpipe inspect tokens`: a conversation as training sees it, token by token, with
 * the field of the input that each came from. On a terminal a coloured text; elsewhere, and with --table, a
 * line a token; with --json the same as NDJSON. Of a token artifact: its counts and lengths.
 */
#include "inspect.h"

#include <fmpipe/tokens.h>

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* One sequence to show: an encoding and its views. */
typedef struct shown {
    const fmp_cli *cli;
    const subject *s;
    const fmp_chat_result *r;
    const fmp_token_view *views; /* (r->tokens.n) */
    size_t turn, n_turns;        /* n_turns > 0: one of several sequences, by turn */
} shown;

/* ---- a line a token ---- */

static void put_row(const shown *v, size_t i, fmp_buf *out)
{
    const fmp_token_view *t = &v->views[i];
    char index[24], id[16], weight[32];
    fmp_buf text = {0}, safe = {0};
    fmp_token_view_text(v->r->rendered.text.data, t->begin, t->end, &text);
    fmp_buf_putc(&safe, '\'');
    fmp_buf_safe(&safe, text.data && text.len > 0 ? text.data : "");
    fmp_buf_putc(&safe, '\'');
    snprintf(index, sizeof index, "%zu", i);
    snprintf(id, sizeof id, "%u", t->id);
    snprintf(weight, sizeof weight, "%.6g", (double)t->weight);
    fmp_buf_padded(out, index, 6);
    fmp_buf_padded(out, id, 8);
    fmp_buf_padded(out, weight, 8);
    fmp_buf_padded(out, fmp_view_kind_name(t->kind), 9);
    fmp_buf_padded(out, safe.data ? safe.data : "", 24);
    fmp_buf_printf(out, " %s\n", t->source);
    fmp_buf_free(&text);
    fmp_buf_free(&safe);
}

static void put_table(const shown *v, fmp_buf *out)
{
    fmp_buf_puts(out, "token id      weight  kind     text                     source\n");
    for (size_t i = 0; i < v->r->tokens.n; i++) {
        put_row(v, i, out);
    }
}

/* ---- a coloured text ---- */

/* Two shades of each kind, one after the other, so that every token is seen. */
static const int shades[][2] = {{236, 238}, {24, 25}, {22, 28}, {94, 130}};

static void put_band(const shown *v, fmp_buf *out)
{
    for (size_t i = 0; i < v->r->tokens.n; i++) {
        const fmp_token_view *t = &v->views[i];
        fmp_buf text = {0};
        if (t->end == t->begin) { continue; }
        fmp_token_view_text(v->r->rendered.text.data, t->begin, t->end, &text);
        fmp_buf_printf(out, "\033[48;5;%dm", shades[t->kind][i % 2]);
        for (const char *p = text.data; p && *p; p++) {
            if (*p == '\n') {
                fmp_buf_printf(out, "⏎\033[0m\n\033[48;5;%dm", shades[t->kind][i % 2]);
            } else if ((unsigned char)*p < 0x20 || *p == 0x7F) {
                fmp_buf_printf(out, "\\x%02x", (unsigned char)*p);
            } else {
                fmp_buf_putc(out, *p);
            }
        }
        fmp_buf_puts(out, "\033[0m");
        fmp_buf_free(&text);
    }
    fmp_buf_puts(out, "\n\n");
    static const char *const words[] = {"template", "input", "learned", "learned, but its schema forces it"};
    for (int k = 0; k < 4; k++) {
        fmp_buf_printf(out, " \033[48;5;%dm  \033[0m %s ", shades[k][0], words[k]);
    }
    fmp_buf_puts(out, "\n a line for each token:  --table\n");
}

/* ---- NDJSON ---- */

static void out_tokens_json(const shown *v)
{
    for (size_t i = 0; i < v->r->tokens.n; i++) {
        const fmp_token_view *t = &v->views[i];
        fmp_buf text = {0};
        char weight[32];
        cJSON *line = cJSON_CreateObject();
        fmp_token_view_text(v->r->rendered.text.data, t->begin, t->end, &text);
        snprintf(weight, sizeof weight, "%.9g", (double)t->weight);
        cJSON_AddNumberToObject(line, "v", 1);
        cJSON_AddStringToObject(line, "event", "token");
        cJSON_AddNumberToObject(line, "index", (double)i);
        cJSON_AddNumberToObject(line, "id", t->id);
        cJSON_AddStringToObject(line, "text", text.data && text.len > 0 ? text.data : "");
        cJSON_AddNumberToObject(line, "begin", t->begin);
        cJSON_AddNumberToObject(line, "end", t->end);
        cJSON_AddBoolToObject(line, "supervised", t->weight > 0);
        cJSON_AddRawToObject(line, "weight", weight);
        cJSON_AddStringToObject(line, "kind", fmp_view_kind_name(t->kind));
        cJSON_AddStringToObject(line, "source", t->source);
        fmp_out_json(line);
        fmp_buf_free(&text);
    }
}

/* ---- where it is in the artifact ---- */

typedef struct place {
    uint64_t n_sequences, first, row;
    uint32_t n_rows;
    bool same; /* this very sequence: ids and weights are what was shown */
} place;

static bool same_sequence(const fmp_tokens *t, uint64_t at, const fmp_chat_result *r)
{
    uint64_t begin = t->seg_begin[at];
    if (t->seg_begin[at + 1] - begin != r->tokens.n) { return false; }
    return memcmp(t->ids + begin, r->tokens.ids, r->tokens.n * sizeof *t->ids) == 0 &&
           memcmp(t->weight + begin, r->weight, r->tokens.n * sizeof *t->weight) == 0;
}

static fmp_status find_place(const shown *v, place *out, fmp_err *err)
{
    fmp_tokens t;
    *out = (place){0};
    FMP_TRY(fmp_tokens_open(v->s->artifact, &t, err));
    out->n_rows = t.n_bins;
    for (uint64_t i = 0; i < t.n_segments; i++) {
        if (memcmp(t.record + i * FMP_TOKENS_RECORD, v->s->id, FMP_TOKENS_RECORD) != 0) { continue; }
        bool same = same_sequence(&t, i, v->r);
        if (out->n_sequences++ == 0 || (same && !out->same)) { out->first = i; }
        out->same = out->same || same;
    }
    for (uint32_t b = 0; b < t.n_bins && out->n_sequences > 0; b++) {
        for (uint32_t k = t.bin_begin[b]; k < t.bin_begin[b + 1]; k++) {
            if (t.bin_seg[k] == out->first) { out->row = b; }
        }
    }
    fmp_tokens_close(&t);
    return FMP_OK;
}

static void put_place(const place *p, fmp_buf *out)
{
    if (p->n_sequences == 0) {
        fmp_buf_puts(out, "\n not among the tokens: it was refused or dropped");
    } else if (p->same) {
        fmp_buf_printf(out, " · sequence %" PRIu64 ", row %" PRIu64 " of %u", p->first, p->row + 1,
                       p->n_rows);
    } else {
        fmp_buf_printf(out, "\n split into %" PRIu64 " sequence%s from %" PRIu64 " on; shown whole",
                       p->n_sequences, p->n_sequences == 1 ? "" : "s", p->first);
    }
}

/* ---- one sequence ---- */

static void out_head_json(const shown *v, size_t n_learned, const place *p)
{
    cJSON *line = cJSON_CreateObject();
    cJSON_AddNumberToObject(line, "v", 1);
    cJSON_AddStringToObject(line, "event", "conversation");
    if (*v->s->id) { cJSON_AddStringToObject(line, "record", v->s->id); }
    cJSON_AddStringToObject(line, "file", v->s->file);
    cJSON_AddNumberToObject(line, "line", (double)v->s->line);
    if (v->s->stage) { cJSON_AddStringToObject(line, "stage", fmp_json_str(v->s->stage, "id", "")); }
    if (v->n_turns > 0) { cJSON_AddNumberToObject(line, "message", (double)v->turn); }
    cJSON_AddNumberToObject(line, "tokens", (double)v->r->tokens.n);
    cJSON_AddNumberToObject(line, "supervised_tokens", (double)n_learned);
    if (v->s->artifact) {
        cJSON_AddNumberToObject(line, "sequences", (double)p->n_sequences);
        cJSON_AddBoolToObject(line, "as_trained", p->same);
        if (p->n_sequences > 0) {
            cJSON_AddNumberToObject(line, "sequence", (double)p->first);
            cJSON_AddNumberToObject(line, "row", (double)p->row);
        }
    }
    cJSON_AddStringToObject(line, "text", v->r->rendered.text.data);
    fmp_out_json(line);
}

static void put_head(const shown *v, size_t n_learned, const place *p, fmp_buf *out)
{
    if (*v->s->id) { fmp_buf_printf(out, "%s · ", v->s->id); }
    fmp_buf_safe(out, v->s->file);
    fmp_buf_printf(out, ":%" PRIu64, v->s->line);
    if (v->s->stage) { fmp_buf_printf(out, " · stage %s", fmp_json_str(v->s->stage, "id", "")); }
    if (v->n_turns > 0) { fmp_buf_printf(out, " · messages[%zu]", v->turn); }
    fmp_buf_printf(out, " · %zu tokens, %zu learned (%.0f %%)", v->r->tokens.n, n_learned,
                   v->r->tokens.n > 0 ? 100.0 * (double)n_learned / (double)v->r->tokens.n : 0.0);
    if (v->s->artifact) { put_place(p, out); }
    fmp_buf_puts(out, "\n\n");
}

static fmp_status show_one(shown *v, fmp_err *err)
{
    fmp_token_view *views = NULL;
    place p = {0};
    size_t n_learned = 0;
    FMP_TRY(fmp_token_views(v->s->doc, v->r, v->s->arena, &views, err));
    v->views = views;
    for (size_t i = 0; i < v->r->tokens.n; i++) {
        n_learned += v->r->weight[i] > 0;
    }
    if (v->s->artifact) { FMP_TRY(find_place(v, &p, err)); }
    if (v->cli->json) {
        out_head_json(v, n_learned, &p);
        out_tokens_json(v);
        return FMP_OK;
    }
    const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");
    bool color = isatty(STDOUT_FILENO) && !(no_color && *no_color) && !(term && strcmp(term, "dumb") == 0) &&
                 !fmp_cli_option_value(v->cli, "no-color");
    fmp_buf out = {0};
    put_head(v, n_learned, &p, &out);
    if (color && !fmp_cli_option_value(v->cli, "table")) {
        put_band(v, &out);
    } else {
        put_table(v, &out);
    }
    fmp_status status = fmp_buf_ok(&out, err);
    if (status == FMP_OK) { fmp_out(out.data, out.len); }
    fmp_buf_free(&out);
    return status;
}

static fmp_status show_turns(shown *v, fmp_chat_result *r, fmp_err *err)
{
    size_t *turns = NULL, n = 0;
    FMP_TRY(fmp_chat_turns(v->s->doc, &v->s->setup.encode, v->s->arena, &turns, &n, err));
    v->n_turns = n;
    for (size_t i = 0; i < n; i++) {
        v->turn = turns[i];
        FMP_TRY(fmp_chat_encode_turn(v->s->chat, v->s->doc, &v->s->setup.encode, turns[i], r, err));
        FMP_TRY(show_one(v, err));
    }
    return FMP_OK;
}

static fmp_status show_subject(const fmp_cli *cli, const subject *s, fmp_err *err)
{
    fmp_chat_result r;
    FMP_TRY(fmp_chat_result_init(&r, err));
    shown v = {.cli = cli, .s = s, .r = &r};
    fmp_status status;
    if (s->setup.per_turn) {
        status = show_turns(&v, &r, err);
    } else {
        status = fmp_chat_encode(s->chat, s->doc, &s->setup.encode, &r, err);
        if (status == FMP_OK) { status = show_one(&v, err); }
    }
    fmp_chat_result_free(&r);
    return status;
}

/* ---- a whole artifact ---- */

static void put_lengths(const cJSON *meta, fmp_buf *out)
{
    const cJSON *length = fmp_json_get(meta, "length"), *one;
    double most = 0;
    char digits[32];
    fmp_buf_printf(
        out, "length     %.0f … %.0f tokens, half up to %.0f, 90 %% up to %.0f, 99 %% up to %.0f\n",
        fmp_json_num(length, "min", 0), fmp_json_num(length, "max", 0), fmp_json_num(length, "p50", 0),
        fmp_json_num(length, "p90", 0), fmp_json_num(length, "p99", 0));
    cJSON_ArrayForEach(one, fmp_json_get(meta, "lengths"))
    {
        double n = fmp_json_num(one, "segments", 0);
        most = n > most ? n : most;
    }
    cJSON_ArrayForEach(one, fmp_json_get(meta, "lengths"))
    {
        double n = fmp_json_num(one, "segments", 0);
        fmp_buf_printf(out, "  up to %7.0f  %12s  ", fmp_json_num(one, "up_to", 0),
                       fmp_group_digits((uint64_t)n, digits));
        for (int k = 0; most > 0 && k < (int)(40 * n / most + 0.999); k++) {
            fmp_buf_puts(out, "━");
        }
        fmp_buf_putc(out, '\n');
    }
}

static void put_artifact(const char *dir, const fmp_tokens *t, const cJSON *meta, fmp_buf *out)
{
    char a[32], b[32], c[32];
    const cJSON *one;
    double fill = t->n_bins > 0 ? (double)t->n_tokens / ((double)t->n_bins * t->bin_size) : 0;
    fmp_buf_printf(out, "%s\ntokens     %s, %.1f %% supervised\n", dir, fmp_group_digits(t->n_tokens, a),
                   100 * fmp_json_num(meta, "supervised_share", 0));
    fmp_buf_printf(out, "sequences  %s in %s rows of %s (%.1f %% full)\n", fmp_group_digits(t->n_segments, a),
                   fmp_group_digits(t->n_bins, b), fmp_group_digits(t->bin_size, c), 100 * fill);
    fmp_buf_printf(out, "tokenizer  sha256:%s\ntemplate   sha256:%s\n", t->tokenizer_digest,
                   t->template_digest);
    put_lengths(meta, out);
    cJSON_ArrayForEach(one, fmp_json_get(meta, "by_locale"))
    {
        const char *locale = fmp_json_str(one, "locale", "");
        fmp_buf_printf(out, "locale     ");
        fmp_buf_padded(out, *locale ? locale : "(none)", 12);
        fmp_buf_printf(out, "%12s tokens, %.1f %% supervised\n",
                       fmp_group_digits((uint64_t)fmp_json_num(one, "tokens", 0), a),
                       100 * fmp_json_num(one, "supervised_share", 0));
    }
}

static fmp_status show_artifact(const fmp_cli *cli, const char *dir, fmp_err *err)
{
    fmp_tokens t;
    cJSON *meta = NULL;
    FMP_TRY(fmp_tokens_open(dir, &t, err));
    char *path = fmp_path_join(dir, "meta.json");
    fmp_status status =
        path ? fmp_json_load(path, NULL, &meta, err) : fmp_fail(err, FMP_E_NOMEM, "out of memory");
    if (status == FMP_OK && cli->json) {
        cJSON_AddNumberToObject(meta, "v", 1);
        fmp_out_json(meta);
        meta = NULL;
    } else if (status == FMP_OK) {
        fmp_buf out = {0};
        put_artifact(dir, &t, meta, &out);
        if (!out.failed) { fmp_out(out.data, out.len); }
        fmp_buf_free(&out);
    }
    cJSON_Delete(meta);
    free(path);
    fmp_tokens_close(&t);
    return status;
}

/* ---- dispatch ---- */

static fmp_status inspect(const fmp_cli *cli, const char *what, fmp_err *err)
{
    wanted w;
    subject s = {.arena = fmp_arena_new(0)};
    if (!s.arena) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
    wanted_read(what, &w);
    fmp_status status =
        fmp_cli_option_value(cli, "model") ? find_in_file(cli, &w, &s, err) : find_in_run(cli, &w, &s, err);
    if (status == FMP_OK) { status = show_subject(cli, &s, err); }
    subject_free(&s);
    return status;
}

int fmp_late_inspect_tokens(fmp_cli *cli)
{
    fmp_err err = FMP_ERR_INIT;
    struct stat st;
    if (cli->n_operands < 2) {
        return fmp_cli_usage(cli, NULL,
                             "inspect tokens: expected a record's id, FILE:LINE, or the folder of tokens");
    }
    const char *what = cli->operands[1];
    bool folder = stat(what, &st) == 0 && S_ISDIR(st.st_mode),
         model = fmp_cli_option_value(cli, "model") != NULL;
    const char *how = folder  ? "inspect tokens of a folder"
                      : model ? "inspect tokens with --model"
                              : "inspect tokens without --model";
    if (!fmp_cli_only(cli, how, folder ? "" : model ? "model template supervise table" : "run table")) {
        return FMP_EXIT_USAGE;
    }
    fmp_status status = folder ? show_artifact(cli, what, &err) : inspect(cli, what, &err);
    return status == FMP_OK ? 0 : fmp_cli_fail(cli, &err);
}
