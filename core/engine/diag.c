/*
 * diag.c: the list of problems of the user's files and its two forms, text with a caret and JSON.
 *
 * The source line is read again from the file when a problem is shown: diagnostics are rare and files
 * small, so nothing of the text is kept. What is shown comes from files we did not write: control
 * characters are escaped, long lines are cut around the caret.
 */
#include "diag.h"

#include <ctype.h>
#include <fmpipe/fs.h>
#include <stdlib.h>

#define DIAGS_MAX  100u
#define LINE_WIDTH 100u /* bytes of a source line that are shown */

void fmp_diags_add(fmp_diags *diags, fmp_severity severity, const fmp_err *err, uint32_t span)
{
    if (!diags) { return; }
    if (severity == FMP_SEV_ERROR) { diags->n_errors++; }
    if (diags->n >= DIAGS_MAX) {
        diags->n_dropped++;
        return;
    }
    if (diags->n == diags->cap) {
        size_t cap = diags->cap ? diags->cap * 2 : 8;
        fmp_diag *items = realloc(diags->items, cap * sizeof *items);
        if (!items) {
            diags->n_dropped++;
            return;
        }
        diags->items = items;
        diags->cap = cap;
    }
    fmp_diag *d = &diags->items[diags->n++];
    d->severity = severity;
    d->span = span ? span : 1;
    d->err = *err;
}

static bool comes_before(const fmp_diag *a, const fmp_diag *b)
{
    int order = strcmp(a->err.file, b->err.file);
    if (order != 0) { return order < 0; }
    if (a->err.line != b->err.line) { return a->err.line < b->err.line; }
    return a->err.column < b->err.column;
}

/* Insertion sort: at most DIAGS_MAX items, and the order of equals is kept. */
void fmp_diags_sort(fmp_diags *diags)
{
    for (size_t i = 1; i < diags->n; i++) {
        fmp_diag item = diags->items[i];
        size_t k = i;
        for (; k > 0 && comes_before(&item, &diags->items[k - 1]); k--) {
            diags->items[k] = diags->items[k - 1];
        }
        diags->items[k] = item;
    }
}

void fmp_diags_free(fmp_diags *diags)
{
    free(diags->items);
    memset(diags, 0, sizeof *diags);
}

/* ---- text ---- */

typedef struct shown_line {
    const char *text;
    size_t len;
} shown_line;

/* Line `number` of `text` without its line break; false if there is none. */
static bool find_line(const fmp_buf *text, uint32_t number, shown_line *out)
{
    const char *p = text->data, *end = p ? p + text->len : p;
    for (uint32_t line = 1; p && line < number; line++) {
        p = memchr(p, '\n', (size_t)(end - p));
        if (p) { p++; }
    }
    if (!p || p >= end) { return false; }
    const char *stop = memchr(p, '\n', (size_t)(end - p));
    out->text = p;
    out->len = (size_t)((stop ? stop : end) - p);
    if (out->len > 0 && p[out->len - 1] == '\r') { out->len--; }
    return true;
}

/* Bytes [from, to) of the line with control characters escaped; returns the columns they take on a
 * terminal. */
static size_t add_shown(fmp_buf *out, const shown_line *line, size_t from, size_t to)
{
    size_t columns = 0;
    for (size_t i = from; i < to && i < line->len; i++) {
        unsigned char c = (unsigned char)line->text[i];
        if (c == '\t') {
            if (out) { fmp_buf_putc(out, ' '); }
            columns++;
        } else if (c < 0x20 || c == 0x7F) {
            if (out) { fmp_buf_printf(out, "\\x%02x", c); }
            columns += 4;
        } else {
            if (out) { fmp_buf_putc(out, (char)c); }
            columns += (c & 0xC0) != 0x80;
        }
    }
    return columns;
}

static size_t char_start(const shown_line *line, size_t i)
{
    while (i > 0 && i < line->len && ((unsigned char)line->text[i] & 0xC0) == 0x80) {
        i--;
    }
    return i;
}

/* Bytes to underline: what the reader said, or in a row of data the whole of the JSON string that begins
 * there. */
static size_t span_of(const fmp_diag *d, const shown_line *line, size_t at)
{
    size_t end = at + 1;
    if (!d->err.record[0] || d->span > 1 || at >= line->len || line->text[at] != '"') { return d->span; }
    while (end < line->len && line->text[end] != '"') {
        end += line->text[end] == '\\' ? 2 : 1;
    }
    return end < line->len ? end + 1 - at : d->span;
}

static void print_source(const fmp_diag *d, const shown_line *line, bool color, fmp_buf *out)
{
    size_t at = d->err.column ? d->err.column - 1 : 0, from = 0, to = line->len;
    if (at > line->len) { at = line->len; }
    if (line->len > LINE_WIDTH) {
        from = at > LINE_WIDTH / 2 ? char_start(line, at - LINE_WIDTH / 2) : 0;
        if (from + LINE_WIDTH < line->len) { to = char_start(line, from + LINE_WIDTH); }
    }
    fmp_buf_printf(out, "%5u | %s", d->err.line, from > 0 ? "…" : "");
    add_shown(out, line, from, to);
    fmp_buf_puts(out, to < line->len ? "…\n" : "\n");
    if (d->err.column == 0) { return; }
    fmp_buf_puts(out, "      | ");
    size_t indent = add_shown(NULL, line, from, at) + (from > 0);
    for (size_t i = 0; i < indent; i++) {
        fmp_buf_putc(out, ' ');
    }
    size_t span = span_of(d, line, at), end = at + span < to ? at + span : to;
    size_t width = add_shown(NULL, line, at, end);
    fmp_buf_puts(out, color ? "\033[1;32m^" : "^");
    for (size_t i = 1; i < width; i++) {
        fmp_buf_putc(out, '~');
    }
    fmp_buf_puts(out, color ? "\033[0m\n" : "\n");
}

static void add_escaped(fmp_buf *out, const char *text)
{
    shown_line line = {text, strlen(text)};
    add_shown(out, &line, 0, line.len);
}

static void print_notes(const char *notes, fmp_buf *out)
{
    while (*notes) {
        size_t len = strcspn(notes, "\n");
        shown_line line = {notes, len};
        fmp_buf_puts(out, "  ");
        add_shown(out, &line, 0, len);
        fmp_buf_putc(out, '\n');
        notes += len + (notes[len] == '\n');
    }
}

static void print_place(const fmp_err *err, fmp_buf *out)
{
    if (!err->file[0]) { return; }
    add_escaped(out, err->file);
    if (err->line) { fmp_buf_printf(out, ":%u", err->line); }
    if (err->line && err->column) { fmp_buf_printf(out, ":%u", err->column); }
    fmp_buf_puts(out, ": ");
}

static void print_diag(const fmp_diag *d, const fmp_buf *text, bool color, fmp_buf *out)
{
    static const char *const words[] = {"error", "warning", "note"};
    static const char *const colors[] = {"\033[1;31m", "\033[1;33m", "\033[1;36m"};
    print_place(&d->err, out);
    fmp_buf_printf(out, "%s%s:%s ", color ? colors[d->severity] : "", words[d->severity],
                   color ? "\033[0m" : "");
    add_escaped(out, d->err.message);
    fmp_buf_putc(out, '\n');
    shown_line line;
    if (d->err.line && find_line(text, d->err.line, &line)) { print_source(d, &line, color, out); }
    if (d->err.hint[0]) {
        fmp_buf_puts(out, "  help: ");
        add_escaped(out, d->err.hint);
        fmp_buf_putc(out, '\n');
    }
    print_notes(d->err.notes, out);
}

void fmp_diags_print(const fmp_diags *diags, bool color, fmp_buf *out)
{
    fmp_buf text = {0};
    const char *held = ""; /* the file whose content is in `text` */
    for (size_t i = 0; i < diags->n; i++) {
        const fmp_err *err = &diags->items[i].err;
        if (strcmp(held, err->file) != 0) {
            fmp_buf_free(&text);
            text = (fmp_buf){0};
            held = err->file;
            /* A file that cannot be read now is shown without its lines. */
            if (err->line && fmp_read_file(err->file, (size_t)64 << 20, &text, NULL) != FMP_OK) {
                text.len = 0;
            }
        }
        print_diag(&diags->items[i], &text, color, out);
    }
    fmp_buf_free(&text);
    if (diags->n_dropped > 0) { fmp_buf_printf(out, "... and %zu more\n", diags->n_dropped); }
}

/* ---- JSON ---- */

cJSON *fmp_diag_json(const fmp_diag *d)
{
    static const char *const words[] = {"error", "warning", "note"};
    cJSON *o = cJSON_CreateObject();
    cJSON_AddNumberToObject(o, "v", 1);
    cJSON_AddStringToObject(o, "event", "diagnostic");
    cJSON_AddStringToObject(o, "severity", words[d->severity]);
    if (d->err.file[0]) { cJSON_AddStringToObject(o, "file", d->err.file); }
    if (d->err.line) { cJSON_AddNumberToObject(o, "line", d->err.line); }
    if (d->err.column) {
        cJSON_AddNumberToObject(o, "column", d->err.column);
        cJSON_AddNumberToObject(o, "span", d->span);
    }
    if (d->err.option[0]) { cJSON_AddStringToObject(o, "option", d->err.option); }
    if (d->err.record[0]) { cJSON_AddStringToObject(o, "record", d->err.record); }
    cJSON_AddStringToObject(o, "message", d->err.message);
    if (d->err.hint[0]) { cJSON_AddStringToObject(o, "hint", d->err.hint); }
    if (d->err.notes[0]) { cJSON_AddStringToObject(o, "notes", d->err.notes); }
    return o;
}

/* ---- nearest name ---- */

static int fold(char c)
{
    return c == '-' ? '_' : tolower((unsigned char)c);
}

/* Optimal string alignment distance (Damerau 1964) with '-' equal to '_' and case ignored. */
static size_t edit_distance(const char *a, size_t n, const char *b, size_t m)
{
    enum { MAX = 64 };
    size_t rows[3][MAX + 1];
    if (n > MAX || m > MAX) { return SIZE_MAX; }
    for (size_t j = 0; j <= m; j++) {
        rows[0][j] = j;
    }
    for (size_t i = 1; i <= n; i++) {
        size_t *row = rows[i % 3], *up = rows[(i - 1) % 3], *up2 = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t best = up[j - 1] + (fold(a[i - 1]) != fold(b[j - 1]));
            if (up[j] + 1 < best) { best = up[j] + 1; }
            if (row[j - 1] + 1 < best) { best = row[j - 1] + 1; }
            bool swapped =
                i > 1 && j > 1 && fold(a[i - 1]) == fold(b[j - 2]) && fold(a[i - 2]) == fold(b[j - 1]);
            if (swapped && up2[j - 2] + 1 < best) { best = up2[j - 2] + 1; }
            row[j] = best;
        }
    }
    return rows[n % 3][m];
}

const char *fmp_nearest_name(const char *word, const char *const *names)
{
    size_t len = strlen(word);
    size_t limit = len / 3 > 2 ? len / 3 : 2;
    const char *best = NULL;
    for (; *names; names++) {
        size_t d = edit_distance(word, len, *names, strlen(*names));
        if (d <= limit && d < len && (!best || d < limit)) {
            best = *names;
            limit = d;
        }
    }
    return best;
}
