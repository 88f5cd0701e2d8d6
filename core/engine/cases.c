/*
 * Text cases: reading the format of docs/reference/cases.md, comparing, and rewriting expectations in place.
 * cases_run.c runs one case.
 */
#include "cases_private.h"

#include <fmpipe/fs.h>

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

enum { MAX_SECTIONS = 64, MAX_FILE_BYTES = 16 << 20 };

/* ---- reading ---- */

typedef struct heading {
    case_kind kind;
    const char *arg;
    size_t arg_len;
    bool escaped;
    size_t len; /* up to and with the colon */
} heading;

static bool word_is(const char *word, size_t len, const char *want)
{
    return strlen(want) == len && memcmp(word, want, len) == 0;
}

static bool expect_kind(const char *arg, size_t len, case_kind *kind)
{
    static const struct {
        const char *word;
        case_kind kind;
    } kinds[] = {{"rejects", CASE_EXPECT_REJECTS},
                 {"error", CASE_EXPECT_ERROR},
                 {"counts", CASE_EXPECT_COUNTS},
                 {"facts", CASE_EXPECT_FACTS},
                 {"summary", CASE_EXPECT_SUMMARY}};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (word_is(arg, len, kinds[i].word)) {
            *kind = kinds[i].kind;
            return true;
        }
    }
    return false;
}

/* "word:", "word arg:" or "file arg escaped:" at the start of a line. */
static bool parse_heading(const char *line, size_t len, heading *h)
{
    static const struct {
        const char *word;
        case_kind kind;
        int max_args;
    } words[] = {{"stage", CASE_STAGE, 0}, {"with", CASE_WITH, 0},   {"seed", CASE_SEED, 0},
                 {"file", CASE_FILE, 2},   {"input", CASE_INPUT, 1}, {"expect", CASE_EXPECT, 1}};
    size_t word = 0;
    while (word < len && islower((unsigned char)line[word])) {
        word++;
    }
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (!word_is(line, word, words[i].word)) { continue; }
        size_t at = word;
        *h = (heading){.kind = words[i].kind};
        for (int n = 0; n < words[i].max_args && at < len && line[at] == ' '; n++) {
            size_t begin = ++at;
            while (at < len && line[at] != ' ' && line[at] != ':') {
                at++;
            }
            if (n == 0) {
                h->arg = line + begin;
                h->arg_len = at - begin;
            } else {
                h->escaped = word_is(line + begin, at - begin, "escaped");
                if (!h->escaped) { return false; }
            }
        }
        if (at >= len || line[at] != ':' || (h->arg && h->arg_len == 0) ||
            (h->kind == CASE_FILE && !h->arg)) {
            return false;
        }
        if (h->kind == CASE_EXPECT && h->arg && expect_kind(h->arg, h->arg_len, &h->kind)) { h->arg = NULL; }
        h->len = at + 1;
        return true;
    }
    return false;
}

typedef struct reader {
    const char *path, *text;
    size_t len, at;
    uint32_t line; /* of text[at] */
    fmp_arena *arena;
} reader;

static size_t line_length(const reader *r)
{
    const char *end = memchr(r->text + r->at, '\n', r->len - r->at);
    return end ? (size_t)(end - (r->text + r->at)) : r->len - r->at;
}

static void next_line(reader *r)
{
    r->at += line_length(r);
    if (r->at < r->len) { r->at++; }
    r->line++;
}

static bool at_case(const reader *r)
{
    return r->len - r->at >= 3 && memcmp(r->text + r->at, "== ", 3) == 0;
}

static fmp_status bad_line(const reader *r, fmp_err *err, const char *what)
{
    fmp_fail(err, FMP_E_DATA, "%s", what);
    fmp_err_hint(err, "docs/reference/cases.md has the format");
    return fmp_err_at(err, r->path, r->line, 1, r->at);
}

/* Lines up to the next heading; trailing blank ones are left to whatever follows. */
static void read_body(reader *r, case_section *s, const char *first, size_t first_len)
{
    fmp_buf text = {0};
    heading h;
    size_t content = 0;
    while (first_len > 0 && first[0] == ' ') {
        first++, first_len--;
    }
    if (first_len > 0) {
        fmp_buf_add(&text, first, first_len);
        fmp_buf_putc(&text, '\n');
        content = text.len;
    }
    s->body_begin = s->body_end = r->at;
    while (r->at < r->len && !at_case(r)) {
        const char *line = r->text + r->at;
        size_t n = line_length(r);
        if (parse_heading(line, n, &h)) { break; }
        size_t skip = n > 0 && line[0] == '\\' && !s->escaped;
        fmp_buf_add(&text, line + skip, n - skip);
        fmp_buf_putc(&text, '\n');
        next_line(r);
        if (n > 0) {
            content = text.len;
            s->body_end = r->at;
        }
    }
    s->text = fmp_arena_strndup(r->arena, text.data ? text.data : "", content);
    fmp_buf_free(&text);
}

static fmp_status read_case(reader *r, case_text *c, fmp_err *err)
{
    c->begin = r->at;
    c->line = r->line;
    c->name = fmp_arena_strndup(r->arena, r->text + r->at + 3, line_length(r) - 3);
    c->sections = fmp_arena_take_zero(r->arena, MAX_SECTIONS, sizeof *c->sections);
    FMP_TRY(fmp_arena_ok(r->arena, err));
    next_line(r);
    while (r->at < r->len && !at_case(r)) {
        heading h;
        size_t n = line_length(r);
        if (n == 0) {
            next_line(r);
            continue;
        }
        if (!parse_heading(r->text + r->at, n, &h)) {
            return bad_line(r, err, "expected a section heading, as 'input:'");
        }
        if (c->n_sections == MAX_SECTIONS) { return bad_line(r, err, "too many sections in one case"); }
        case_section *s = &c->sections[c->n_sections];
        s->kind = h.kind;
        s->arg = h.arg ? fmp_arena_strndup(r->arena, h.arg, h.arg_len) : NULL;
        s->escaped = h.escaped;
        s->line = r->line;
        s->head_begin = r->at;
        s->inline_begin = r->at + h.len;
        if (fmp_case_section_(c, s->kind, s->arg)) {
            return bad_line(r, err, "this section occurs twice in the case");
        }
        c->n_sections++;
        const char *first = r->text + s->inline_begin;
        size_t first_len = n - h.len;
        next_line(r);
        read_body(r, s, first, first_len);
    }
    c->end = r->at;
    if (!fmp_case_section_(c, CASE_EXPECT, NULL) && !fmp_case_section_(c, CASE_EXPECT_ERROR, NULL)) {
        return bad_line(r, err, "the case before this line has neither 'expect:' nor 'expect error:'");
    }
    return fmp_arena_ok(r->arena, err);
}

static fmp_status read_cases(reader *r, case_text **out, size_t *n, fmp_err *err)
{
    size_t cap = 0;
    r->line = 1;
    *n = 0;
    *out = NULL;
    for (const char *p = r->text; (p = strstr(p, "== ")) != NULL; p += 3) {
        cap += p == r->text || p[-1] == '\n';
    }
    case_text *cases = fmp_arena_take_zero(r->arena, cap + 1, sizeof *cases);
    FMP_TRY(fmp_arena_ok(r->arena, err));
    while (r->at < r->len && !at_case(r)) {
        size_t len = line_length(r);
        if (len > 0 && r->text[r->at] != '#') { return bad_line(r, err, "expected '== NAME' or a comment"); }
        next_line(r);
    }
    while (r->at < r->len) {
        FMP_TRY(read_case(r, &cases[(*n)++], err));
    }
    if (*n == 0) { return bad_line(r, err, "the file has no case"); }
    *out = cases;
    return FMP_OK;
}

const case_section *fmp_case_section_(const case_text *c, case_kind kind, const char *arg)
{
    for (size_t i = 0; i < c->n_sections; i++) {
        const case_section *s = &c->sections[i];
        if (s->kind == kind && (arg == NULL || s->arg == NULL ? arg == s->arg : strcmp(arg, s->arg) == 0)) {
            return s;
        }
    }
    return NULL;
}

/* ---- comparing ---- */

/* JSON lines in one spelling: compact, members in order, blank lines left out. Text that is no JSON stays as
 * it is. */
static void normalise(const char *text, fmp_buf *out)
{
    while (*text) {
        size_t n = strcspn(text, "\n");
        cJSON *node = NULL;
        if (strspn(text, " \t\r") < n) {
            if (fmp_json_parse(text, n, NULL, &node, NULL) == FMP_OK) {
                fmp_json_print(node, FMP_JSON_COMPACT, out);
            } else {
                fmp_buf_add(out, text, n);
            }
            fmp_buf_putc(out, '\n');
            cJSON_Delete(node);
        }
        text += n + (text[n] == '\n');
    }
}

static const char *text_of(const fmp_buf *buf)
{
    return buf->data ? buf->data : "";
}

/* First line in which two texts differ, for the report. */
static void report_difference(fmp_buf *report, const char *what, const char *want, const char *found)
{
    size_t line = 1;
    while (*want && *found) {
        size_t a = strcspn(want, "\n"), b = strcspn(found, "\n");
        if (a != b || memcmp(want, found, a) != 0) { break; }
        want += a + (want[a] == '\n');
        found += b + (found[b] == '\n');
        line++;
    }
    fmp_buf_printf(report, "    %s, line %zu\n      expected  %.*s\n      found     %.*s\n", what, line,
                   *want ? (int)strcspn(want, "\n") : 9, *want ? want : "(nothing)",
                   *found ? (int)strcspn(found, "\n") : 9, *found ? found : "(nothing)");
}

static bool same_records(const char *want, const fmp_buf *found, const char *what, fmp_buf *report)
{
    fmp_buf a = {0}, b = {0};
    normalise(want, &a);
    normalise(text_of(found), &b);
    bool same = strcmp(text_of(&a), text_of(&b)) == 0;
    if (!same) { report_difference(report, what, text_of(&a), text_of(&b)); }
    fmp_buf_free(&a);
    fmp_buf_free(&b);
    return same;
}

/* Every member that `want` writes is in `found` with that value. */
static bool line_covers(const char *want, size_t want_len, const char *found, size_t found_len)
{
    cJSON *a = NULL, *b = NULL;
    bool same = fmp_json_parse(want, want_len, NULL, &a, NULL) == FMP_OK &&
                fmp_json_parse(found, found_len, NULL, &b, NULL) == FMP_OK;
    for (const cJSON *m = same ? a->child : NULL; m && same; m = m->next) {
        const cJSON *other = fmp_json_get(b, m->string);
        same = other && fmp_json_equal(m, other);
    }
    cJSON_Delete(a);
    cJSON_Delete(b);
    return same;
}

static bool same_rejects(const char *want, const fmp_buf *rejects, fmp_buf *report)
{
    const char *found = text_of(rejects);
    for (size_t line = 1; *want || *found; line++) {
        size_t a = strcspn(want, "\n"), b = strcspn(found, "\n");
        if (a == 0 || b == 0 || !line_covers(want, a, found, b)) {
            fmp_buf_printf(report, "    rejects, line %zu\n      expected  %.*s\n      found     %.*s\n",
                           line, a ? (int)a : 9, a ? want : "(nothing)", b ? (int)b : 9,
                           b ? found : "(nothing)");
            return false;
        }
        want += a + (want[a] == '\n');
        found += b + (found[b] == '\n');
    }
    return true;
}

/* Every fact that `want` writes; others are not compared. */
static bool same_facts(const char *want, const fmp_buf *facts, fmp_buf *report)
{
    const char *found = text_of(facts);
    bool same = line_covers(want, strlen(want), found, strlen(found));
    if (!same) { report_difference(report, "facts", want, found); }
    return same;
}

/* The first line always; the help line only where the case writes one. */
static bool same_error(const char *want, const fmp_buf *error, fmp_buf *report)
{
    const char *found = text_of(error);
    size_t a = strcspn(want, "\n"), b = strcspn(found, "\n");
    bool same = a == b && memcmp(want, found, a) == 0 &&
                (want[a] == '\0' || want[a + 1] == '\0' || strcmp(want, found) == 0);
    if (!same) { report_difference(report, "error", want, found); }
    return same;
}

static bool compare_section(const case_section *s, const case_outcome *o, bool is_text, fmp_buf *report)
{
    switch (s->kind) {
    case CASE_EXPECT_REJECTS: return same_rejects(s->text, &o->rejects, report);
    case CASE_EXPECT_ERROR: return same_error(s->text, &o->error, report);
    case CASE_EXPECT_COUNTS: return same_records(s->text, &o->counts, "counts", report);
    case CASE_EXPECT_FACTS: return same_facts(s->text, &o->facts, report);
    case CASE_EXPECT_SUMMARY: return same_records(s->text, &o->summary, "summary", report);
    case CASE_EXPECT: break;
    default: return true;
    }
    for (size_t i = 0; i < o->n_ports; i++) {
        if (s->arg ? strcmp(s->arg, o->ports[i]) != 0 : i > 0) { continue; }
        if (!is_text) { return same_records(s->text, &o->records[i], s->arg ? s->arg : "records", report); }
        bool same = strcmp(s->text, text_of(&o->records[i])) == 0;
        if (!same) { report_difference(report, "text", s->text, text_of(&o->records[i])); }
        return same;
    }
    fmp_buf_printf(report, "    line %u: the stage has no output port '%s'\n", s->line,
                   s->arg ? s->arg : "records");
    return false;
}

static bool compare(const case_text *c, const case_outcome *o, bool is_text, fmp_buf *report)
{
    bool wants_error = fmp_case_section_(c, CASE_EXPECT_ERROR, NULL) != NULL;
    if (!wants_error && o->error.len > 0) {
        fmp_buf_printf(report, "    failed: %s", o->error.data);
        return false;
    }
    bool same = true;
    if (!fmp_case_section_(c, CASE_EXPECT_REJECTS, NULL) && o->rejects.len > 0) {
        fmp_buf_printf(report, "    refused a row: %.*s\n", (int)strcspn(o->rejects.data, "\n"),
                       o->rejects.data);
        same = false;
    }
    for (size_t i = 0; i < c->n_sections; i++) {
        if (wants_error && c->sections[i].kind == CASE_EXPECT) {
            continue;
        } /* what came before an error is not compared */
        same = compare_section(&c->sections[i], o, is_text, report) && same;
    }
    return same;
}

/* ---- updating ---- */

static const fmp_buf *found_for(const case_section *s, const case_outcome *o)
{
    switch (s->kind) {
    case CASE_EXPECT_REJECTS: return &o->rejects;
    case CASE_EXPECT_ERROR: return &o->error;
    case CASE_EXPECT_COUNTS: return &o->counts;
    case CASE_EXPECT_FACTS: return &o->facts;
    case CASE_EXPECT_SUMMARY: return &o->summary;
    case CASE_EXPECT: break;
    default: return NULL;
    }
    for (size_t i = 0; i < o->n_ports; i++) {
        if (s->arg ? strcmp(s->arg, o->ports[i]) == 0 : i == 0) { return &o->records[i]; }
    }
    return NULL;
}

static void add_escaped(fmp_buf *out, const char *text)
{
    heading h;
    while (*text) {
        size_t n = strcspn(text, "\n");
        if (text[0] == '\\' || parse_heading(text, n, &h) || strncmp(text, "== ", 3) == 0) {
            fmp_buf_putc(out, '\\');
        }
        fmp_buf_add(out, text, n);
        fmp_buf_putc(out, '\n');
        text += n + (text[n] == '\n');
    }
}

/* The facts that the case writes, as they came out; all of them where it writes none. */
static void add_facts(const case_section *s, const fmp_buf *found, fmp_buf *out)
{
    cJSON *want = NULL, *all = NULL, *picked = cJSON_CreateObject();
    bool partial = fmp_json_parse(s->text, strlen(s->text), NULL, &want, NULL) == FMP_OK && want->child &&
                   fmp_json_parse(text_of(found), found->len, NULL, &all, NULL) == FMP_OK;
    for (const cJSON *m = partial ? want->child : NULL; m; m = m->next) {
        const cJSON *fact = fmp_json_get(all, m->string);
        if (fact) { cJSON_AddItemToObject(picked, m->string, cJSON_Duplicate(fact, true)); }
    }
    if (partial) {
        fmp_json_print(picked, FMP_JSON_COMPACT, out);
        fmp_buf_putc(out, '\n');
    } else {
        add_escaped(out, text_of(found));
    }
    cJSON_Delete(want);
    cJSON_Delete(all);
    cJSON_Delete(picked);
}

/* The case's text with what came out in place of what was expected; all else byte for byte. */
static void rewrite(const case_text *c, const case_outcome *o, const char *file, fmp_buf *out)
{
    size_t at = c->begin;
    bool has_rejects = fmp_case_section_(c, CASE_EXPECT_REJECTS, NULL) != NULL;
    bool failed = o->error.len > 0;
    for (size_t i = 0; i < c->n_sections; i++) {
        const case_section *s = &c->sections[i];
        const fmp_buf *found = found_for(s, o);
        if (!found) { continue; }
        bool drop = found->len == 0 && (s->kind == CASE_EXPECT_REJECTS || s->kind == CASE_EXPECT_ERROR);
        fmp_buf_add(out, file + at, (drop ? s->head_begin : s->inline_begin) - at);
        if (!drop) {
            fmp_buf_putc(out, '\n');
            if (s->kind == CASE_EXPECT_FACTS) {
                add_facts(s, found, out);
            } else {
                add_escaped(out, text_of(found));
            }
        }
        at = s->body_end;
        if (s->kind == CASE_EXPECT_ERROR && drop && !fmp_case_section_(c, CASE_EXPECT, NULL)) {
            fmp_buf_puts(out, "expect:\n");
            add_escaped(out, text_of(&o->records[0]));
        }
    }
    const case_section *last = &c->sections[c->n_sections - 1];
    size_t content_end = last->body_end > at ? last->body_end : at;
    fmp_buf_add(out, file + at, content_end - at);
    if (failed && !fmp_case_section_(c, CASE_EXPECT_ERROR, NULL)) {
        fmp_buf_puts(out, "expect error:\n");
        add_escaped(out, o->error.data);
    } else if (!failed && !has_rejects && o->rejects.len > 0) {
        fmp_buf_puts(out, "expect rejects:\n");
        add_escaped(out, o->rejects.data);
    }
    fmp_buf_add(out, file + content_end, c->end - content_end);
}

/* ---- a file ---- */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') { return c - '0'; }
    if (c >= 'a' && c <= 'f') { return c - 'a' + 10; }
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static void unescape(const char *text, fmp_buf *out)
{
    for (; *text; text++) {
        if (*text == '\n') { continue; }
        if (*text != '\\' || !text[1]) {
            fmp_buf_putc(out, *text);
            continue;
        }
        text++;
        if (*text == 'x' && hex_digit(text[1]) >= 0 && hex_digit(text[2]) >= 0) {
            fmp_buf_putc(out, (char)(hex_digit(text[1]) << 4 | hex_digit(text[2])));
            text += 2;
        } else {
            fmp_buf_putc(out, *text == 'n' ? '\n' : *text == 'r' ? '\r' : *text == 't' ? '\t' : *text);
        }
    }
}

static fmp_status write_case_file(const char *base, const case_section *s, fmp_err *err)
{
    if (s->arg[0] == '/' || strstr(s->arg, "..")) {
        return fmp_fail(err, FMP_E_DATA, "line %u: expected a file name inside the case's folder, found '%s'",
                        s->line, s->arg);
    }
    fmp_buf content = {0};
    if (s->escaped) {
        unescape(s->text, &content);
    } else {
        fmp_buf_puts(&content, s->text);
    }
    char *path = fmp_path_join(base, s->arg);
    char *slash = path ? strrchr(path, '/') : NULL;
    fmp_status status = slash ? fmp_buf_ok(&content, err) : fmp_fail(err, FMP_E_NOMEM, "out of memory");
    if (status == FMP_OK) {
        *slash = '\0';
        status = fmp_mkdirs(path, err);
        *slash = '/';
    }
    if (status == FMP_OK) { status = fmp_write_file(path, text_of(&content), content.len, err); }
    fmp_buf_free(&content);
    free(path);
    return status;
}

static fmp_status run_one(const case_text *c, const fmp_cases_options *options, case_outcome *out,
                          fmp_err *err)
{
    char base[512];
    int n = snprintf(base, sizeof base, "%s/fmpipe-case-XXXXXX", options->temp_dir);
    if (n < 0 || (size_t)n >= sizeof base || !mkdtemp(base)) {
        return fmp_fail(err, FMP_E_IO, "cannot make a folder in '%s': %s", options->temp_dir,
                        strerror(errno));
    }
    fmp_status status = FMP_OK;
    for (size_t i = 0; i < c->n_sections && status == FMP_OK; i++) {
        if (c->sections[i].kind == CASE_FILE) { status = write_case_file(base, &c->sections[i], err); }
    }
    if (status == FMP_OK) { status = fmp_case_run_(c, options, base, out, err); }
    fmp_status removed = fmp_remove_tree(base, status == FMP_OK ? err : NULL);
    return status != FMP_OK ? status : removed;
}

static bool expects_text(const case_outcome *o)
{
    return o->n_ports > 0 && strcmp(o->ports[0], "(text)") == 0;
}

static fmp_status run_file(reader *r, const fmp_cases_options *options, fmp_buf *report, fmp_buf *updated,
                           fmp_cases_result *out, fmp_err *err)
{
    case_text *cases;
    size_t n, done = 0;
    FMP_TRY(read_cases(r, &cases, &n, err));
    fmp_buf_add(updated, r->text, cases[0].begin);
    for (size_t i = 0; i < n; i++) {
        case_outcome outcome;
        fmp_buf why = {0};
        memset(&outcome, 0, sizeof outcome);
        fmp_status status = run_one(&cases[i], options, &outcome, err);
        if (status != FMP_OK) {
            fmp_buf_free(&why);
            fmp_case_outcome_free_(&outcome);
            fmp_err_note(err, "while running the case '%s'", cases[i].name);
            return fmp_err_at(err, r->path, cases[i].line, 1, cases[i].begin);
        }
        bool same = compare(&cases[i], &outcome, expects_text(&outcome), &why);
        if (!same && options->update) {
            rewrite(&cases[i], &outcome, r->text, updated);
            out->n_updated++;
        } else {
            fmp_buf_add(updated, r->text + cases[i].begin, cases[i].end - cases[i].begin);
        }
        if (!same && !options->update) {
            fmp_buf_printf(report, "%s:%u: %s\n%s", r->path, cases[i].line, cases[i].name, text_of(&why));
            out->n_failed++;
        }
        fmp_buf_free(&why);
        fmp_case_outcome_free_(&outcome);
        done++;
    }
    out->n_cases += done;
    return fmp_buf_ok(report, err);
}

fmp_status fmp_cases_run(const char *path, const fmp_cases_options *options, fmp_buf *report,
                         fmp_cases_result *out, fmp_err *err)
{
    fmp_buf text = {0}, updated = {0};
    size_t before = out->n_updated;
    FMP_TRY(fmp_read_file(path, MAX_FILE_BYTES, &text, err));
    reader r = {.path = path, .text = text_of(&text), .len = text.len, .arena = fmp_arena_new(0)};
    fmp_status status = fmp_arena_ok(r.arena, err);
    if (status == FMP_OK) { status = run_file(&r, options, report, &updated, out, err); }
    if (status == FMP_OK && out->n_updated > before) {
        status = fmp_buf_ok(&updated, err);
        if (status == FMP_OK) { status = fmp_write_file(path, updated.data, updated.len, err); }
    }
    fmp_arena_free(r.arena);
    fmp_buf_free(&text);
    fmp_buf_free(&updated);
    return status;
}
