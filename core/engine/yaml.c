/*
 * yaml.c: libyaml's events to a tree of nodes with marks, refusing what is not in fmpipe's subset.
 *
 * libyaml counts columns in characters and follows YAML 1.1 in what it takes for a line break; both are put
 * right here: columns become bytes, and the three Unicode line breaks of 1.1 are refused with a hint. Its
 * error texts are reworded as expected and found. Scalars are typed in yaml_scalar.c.
 */
#include "yaml_private.h"

#include <stdlib.h>
#include <yaml.h>

#define MAX_BYTES ((size_t)4 << 20)
#define MAX_NODES 100000u

typedef struct node_list {
    fmp_yaml **items;
    size_t n, cap;
} node_list;

typedef struct open_node {
    fmp_yaml *node;
    node_list items, keys;
} open_node;

typedef struct reader {
    const char *text;
    size_t len;
    const char *file, *dir;
    fmp_arena *arena;
    fmp_diags *diags;
    fmp_err *err;
    size_t *line_starts;
    size_t n_lines;
    size_t n_nodes, n_documents;
    int depth; /* open[depth - 1] is the innermost list or map */
    open_node open[FMP_YAML_MAX_DEPTH];
    fmp_yaml *root;
    bool stop;
    bool unusable; /* a key without a text: nobody may look at the tree */
} reader;

static fmp_status out_of_memory(fmp_err *err)
{
    return fmp_fail(err, FMP_E_NOMEM, "out of memory while reading YAML");
}

static bool list_add(node_list *list, fmp_yaml *node)
{
    if (list->n == list->cap) {
        size_t cap = list->cap ? list->cap * 2 : 8;
        fmp_yaml **items = realloc(list->items, cap * sizeof *items);
        if (!items) { return false; }
        list->items = items;
        list->cap = cap;
    }
    list->items[list->n++] = node;
    return true;
}

/* ---- positions ---- */

static fmp_status index_lines(reader *r)
{
    size_t n = 1;
    for (size_t i = 0; i < r->len; i++) {
        n += r->text[i] == '\n' || r->text[i] == '\r';
    }
    r->line_starts = malloc(n * sizeof *r->line_starts);
    if (!r->line_starts) { return out_of_memory(r->err); }
    r->line_starts[r->n_lines++] = 0;
    for (size_t i = 0; i < r->len; i++) {
        if (r->text[i] == '\r' && i + 1 < r->len && r->text[i + 1] == '\n') { continue; }
        if (r->text[i] == '\n' || r->text[i] == '\r') { r->line_starts[r->n_lines++] = i + 1; }
    }
    return FMP_OK;
}

static size_t line_end(const reader *r, size_t line)
{
    size_t end = line + 1 < r->n_lines ? r->line_starts[line + 1] : r->len;
    while (end > r->line_starts[line] && (r->text[end - 1] == '\n' || r->text[end - 1] == '\r')) {
        end--;
    }
    return end;
}

/* libyaml's (line, column in characters), both from 0, as a byte offset of the text. */
static size_t mark_offset(const reader *r, const yaml_mark_t *m)
{
    if (m->line >= r->n_lines) { return r->len; }
    size_t at = r->line_starts[m->line], end = line_end(r, m->line);
    for (size_t k = 0; k < m->column && at < end; k++) {
        do {
            at++;
        } while (at < end && ((unsigned char)r->text[at] & 0xC0) == 0x80);
    }
    return at;
}

static fmp_mark mark_at_offset(const reader *r, size_t offset, size_t span)
{
    size_t low = 0, high = r->n_lines;
    while (high - low > 1) {
        size_t mid = low + (high - low) / 2;
        if (r->line_starts[mid] <= offset) {
            low = mid;
        } else {
            high = mid;
        }
    }
    size_t end = line_end(r, low);
    if (span > end - (offset < end ? offset : end)) { span = end - (offset < end ? offset : end); }
    return (fmp_mark){r->file, (uint32_t)low + 1, (uint32_t)(offset - r->line_starts[low]) + 1,
                      span ? (uint32_t)span : 1};
}

static fmp_mark event_mark(const reader *r, const yaml_event_t *event)
{
    size_t from = mark_offset(r, &event->start_mark), to = mark_offset(r, &event->end_mark);
    bool block = event->type == YAML_SCALAR_EVENT && (event->data.scalar.style == YAML_LITERAL_SCALAR_STYLE ||
                                                      event->data.scalar.style == YAML_FOLDED_SCALAR_STYLE);
    bool scalar = event->type == YAML_SCALAR_EVENT || event->type == YAML_ALIAS_EVENT;
    return mark_at_offset(r, from, scalar && !block && to > from ? to - from : 1);
}

static fmp_mark yaml_mark(const reader *r, const yaml_mark_t *m)
{
    return mark_at_offset(r, mark_offset(r, m), 1);
}

/* ---- text that is refused before libyaml sees it ---- */

static const char *refused_character(const unsigned char *p, size_t left)
{
    if (p[0] < 0x20 && p[0] != '\t' && p[0] != '\n' && p[0] != '\r') { return "a control character"; }
    if (p[0] == 0x7F) { return "a control character"; }
    if (left >= 2 && p[0] == 0xC2 && p[1] == 0x85) { return "the line break U+0085"; }
    if (left >= 3 && p[0] == 0xE2 && p[1] == 0x80 && p[2] == 0xA8) { return "the line break U+2028"; }
    if (left >= 3 && p[0] == 0xE2 && p[1] == 0x80 && p[2] == 0xA9) { return "the line break U+2029"; }
    return NULL;
}

static void check_characters(reader *r)
{
    size_t bad = fmp_utf8_invalid_at(r->text, r->len);
    if (bad < r->len) {
        fmp_mark mark = mark_at_offset(r, bad, 1);
        fmp_diags_error(r->diags, &mark, "expected UTF-8 text, found the byte 0x%02x, which is no part of it",
                        (unsigned char)r->text[bad]);
        r->stop = true;
        return;
    }
    for (size_t i = 0; i < r->len; i++) {
        const char *what = refused_character((const unsigned char *)r->text + i, r->len - i);
        if (!what) { continue; }
        fmp_mark mark = mark_at_offset(r, i, 1);
        fmp_diags_error(r->diags, &mark, "expected printable text, found %s (byte 0x%02x)", what,
                        (unsigned char)r->text[i]);
        fmp_diags_hint(r->diags, "in a double-quoted string it can be written as an escape such as \\u2028");
        r->stop = true;
        return;
    }
}

/* ---- libyaml's syntax errors in our words ---- */

typedef struct rewording {
    const char *problem; /* libyaml's text begins so */
    const char *expected;
    const char *hint;
} rewording;

static const rewording rewordings[] = {
    {"mapping values are not allowed", "expected one value",
     "a text with ': ' in it needs quotes; a map needs a line of its own"},
    {"did not find expected key", "expected the next key of the map",
     "all keys of one map begin in the same column"},
    {"did not find expected '-' indicator", "expected '-', the next item of the list",
     "all items of one list begin in the same column"},
    {"did not find expected ',' or ']'", "expected ',' or ']'", "close the list that was opened with '['"},
    {"did not find expected ',' or '}'", "expected ',' or '}'", "close the map that was opened with '{'"},
    {"block sequence entries are not allowed", "expected a value",
     "a list that follows a key begins on a line of its own"},
    {"block mapping", "expected a value", "write the map on lines of its own, indented below its key"},
    {"found unexpected document indicator", "expected the closing quote", "close the quoted text before it"},
    {"found unknown escape character", "expected a known escape after '\\'",
     "write \\\\ for a backslash, or use single quotes"},
    {"did not find expected <document start>", "expected the end of the file", "one file holds one document"},
    {"did not find expected node content", "expected a value", NULL},
    {"found undefined tag handle", "expected a plain value",
     "tags (!name) are not supported: remove the tag"},
    {"did not find expected alphabetic or numeric", "expected a value",
     "a text that begins with '*' or '&' needs quotes"},
    {"found a tab character", "expected spaces for indentation", "replace the tab by spaces"},
};

static void describe_found(const reader *r, size_t offset, char *out, size_t size)
{
    if (offset >= r->len) {
        snprintf(out, size, "the end of the file");
    } else if (r->text[offset] == '\n' || r->text[offset] == '\r') {
        snprintf(out, size, "the end of the line");
    } else if (r->text[offset] == '\t') {
        snprintf(out, size, "a tab");
    } else {
        size_t n = 1;
        while (n < 24 && offset + n < r->len && !strchr(" \t\r\n,:]}", r->text[offset + n])) {
            n++;
        }
        while (n > 1 && offset + n < r->len && ((unsigned char)r->text[offset + n] & 0xC0) == 0x80) {
            n--;
        }
        snprintf(out, size, "'%.*s'", (int)n, r->text + offset);
    }
}

static void report_start_character(reader *r, const fmp_mark *mark, size_t offset, const char *found)
{
    if (offset < r->len && r->text[offset] == '\t') {
        fmp_diags_error(r->diags, mark, "expected spaces for indentation, found a tab");
        fmp_diags_hint(r->diags, "replace the tab by spaces");
        return;
    }
    fmp_diags_error(r->diags, mark, "expected a value, found %s, with which no plain value can begin", found);
    fmp_diags_hint(r->diags, "put the text in quotes");
}

static void report_unclosed(reader *r, const yaml_parser_t *p)
{
    fmp_mark open = yaml_mark(r, &p->context_mark);
    bool single =
        mark_offset(r, &p->context_mark) < r->len && r->text[mark_offset(r, &p->context_mark)] == '\'';
    fmp_diags_error(r->diags, &open, "expected a closing %s quote, found the end of the file",
                    single ? "single" : "double");
}

static void report_syntax(reader *r, const yaml_parser_t *p)
{
    const char *problem = p->problem ? p->problem : "unknown problem";
    const char *context = p->context ? p->context : "";
    size_t offset = mark_offset(r, &p->problem_mark);
    fmp_mark mark = yaml_mark(r, &p->problem_mark);
    char found[64];
    describe_found(r, offset, found, sizeof found);
    if (strncmp(problem, "found character that cannot start", 33) == 0) {
        report_start_character(r, &mark, offset, found);
        return;
    }
    if (strncmp(problem, "found unexpected end of stream", 30) == 0) {
        report_unclosed(r, p);
        return;
    }
    if (strncmp(problem, "could not find expected ':'", 27) == 0) {
        fmp_mark key = yaml_mark(r, &p->context_mark);
        key.span = (uint32_t)(line_end(r, key.line - 1) - mark_offset(r, &p->context_mark));
        fmp_diags_error(r->diags, &key, "expected 'key: value', found no ':' after the key");
        return;
    }
    for (size_t i = 0; i < sizeof rewordings / sizeof *rewordings; i++) {
        const rewording *w = &rewordings[i];
        if (strncmp(problem, w->problem, strlen(w->problem)) != 0) { continue; }
        fmp_diags_error(r->diags, &mark, "%s, found %s", w->expected, found);
        bool variable = offset > 0 && offset < r->len && r->text[offset] == '{' && r->text[offset - 1] == '$';
        if (variable) {
            fmp_diags_hint(r->diags, "inside { } and [ ] a variable needs quotes: \"${name}\"");
        } else if (w->hint) {
            fmp_diags_hint(r->diags, "%s", w->hint);
        }
        return;
    }
    fmp_diags_error(r->diags, &mark, "expected well-formed YAML, found %s: %s%s%s", found, context,
                    *context ? ", " : "", problem);
}

/* ---- events ---- */

static fmp_yaml *new_node(reader *r, const yaml_event_t *event, fmp_yaml_kind kind)
{
    fmp_mark mark = event_mark(r, event);
    if (++r->n_nodes > MAX_NODES) {
        fmp_diags_error(r->diags, &mark, "expected at most %u values in one file, found more", MAX_NODES);
        r->stop = true;
        return NULL;
    }
    fmp_yaml *node = fmp_arena_take_zero(r->arena, 1, sizeof *node);
    node->kind = kind;
    node->mark = mark;
    node->dir = r->dir;
    return node;
}

static void refuse_tag(reader *r, const fmp_mark *mark, const yaml_char_t *tag)
{
    if (!tag) { return; }
    fmp_diags_error(r->diags, mark, "expected a plain value, found the tag '%.40s'", (const char *)tag);
    fmp_diags_hint(r->diags, "tags are not supported; quotes make a string: \"12\"");
}

static void refuse_anchor(reader *r, const fmp_mark *mark, const yaml_char_t *anchor)
{
    if (!anchor) { return; }
    fmp_diags_error(r->diags, mark, "expected a plain value, found the anchor '&%.40s'",
                    (const char *)anchor);
    fmp_diags_hint(r->diags, "anchors and aliases are not supported; use vars: and ${name}");
}

static void check_key(reader *r, const fmp_yaml *key)
{
    char found[96];
    if (key->kind == FMP_YAML_LIST || key->kind == FMP_YAML_MAP) {
        fmp_diags_error(r->diags, &key->mark, "expected a string as key, found a %s",
                        key->kind == FMP_YAML_LIST ? "list" : "map");
        r->unusable = true;
    } else if (key->plain && strcmp(key->text, "<<") == 0) {
        fmp_diags_error(r->diags, &key->mark, "expected a key, found the merge key '<<'");
        fmp_diags_hint(r->diags, "merge keys are not supported; use extends: to build on another file");
    } else if (key->kind != FMP_YAML_STRING) {
        fmp_diags_error(r->diags, &key->mark, "expected a string as key, found %s",
                        fmp_yaml_describe(key, found));
        fmp_diags_hint(r->diags, "put the key in quotes");
    }
}

/* Three places where libyaml reads on and YAML 1.2 says something else, or nothing. */
static void check_surroundings(reader *r, const yaml_event_t *event, const fmp_mark *mark)
{
    size_t from = mark_offset(r, &event->start_mark), to = mark_offset(r, &event->end_mark);
    bool scalar = event->type == YAML_SCALAR_EVENT;
    bool plain = scalar && event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    bool quoted = scalar && (event->data.scalar.style == YAML_SINGLE_QUOTED_SCALAR_STYLE ||
                             event->data.scalar.style == YAML_DOUBLE_QUOTED_SCALAR_STYLE);
    bool ends = event->type == YAML_SEQUENCE_END_EVENT || event->type == YAML_MAPPING_END_EVENT;
    bool closed = quoted || (ends && to > from && strchr("]}", r->text[to - 1]));
    if (scalar && from < to && from > 0 && r->text[from - 1] == '?') {
        fmp_diags_error(r->diags, mark, "expected a space after '?', found none");
        fmp_diags_hint(r->diags, "put a text that begins with '?' in quotes");
    } else if (plain && event->data.scalar.length == 1 && event->data.scalar.value[0] == '-') {
        fmp_diags_error(r->diags, mark, "expected a value, found '-' alone");
        fmp_diags_hint(r->diags, "put it in quotes: \"-\"");
    } else if (closed && to < r->len && r->text[to] == '#') {
        fmp_mark comment = mark_at_offset(r, to, 1);
        fmp_diags_error(r->diags, &comment, "expected a space before a comment, found none");
    }
}

/* Hang a finished or just opened node where it belongs. */
static fmp_status attach(reader *r, fmp_yaml *node)
{
    if (r->depth == 0) {
        r->root = node;
        return FMP_OK;
    }
    open_node *top = &r->open[r->depth - 1];
    bool is_key = top->node->kind == FMP_YAML_MAP && top->keys.n == top->items.n;
    if (is_key) { check_key(r, node); }
    return list_add(is_key ? &top->keys : &top->items, node) ? FMP_OK : out_of_memory(r->err);
}

/* Something has to stand where the refused alias stood. */
static fmp_status attach_alias(reader *r, const fmp_mark *mark)
{
    fmp_yaml *node = fmp_yaml_string(r->arena, "", mark, r->dir);
    node->failed = true;
    return attach(r, node);
}

static fmp_status open_collection(reader *r, const yaml_event_t *event, fmp_yaml_kind kind)
{
    fmp_yaml *node = new_node(r, event, kind);
    if (!node) { return FMP_OK; }
    bool map = kind == FMP_YAML_MAP;
    refuse_tag(r, &node->mark, map ? event->data.mapping_start.tag : event->data.sequence_start.tag);
    refuse_anchor(r, &node->mark, map ? event->data.mapping_start.anchor : event->data.sequence_start.anchor);
    if (r->depth == FMP_YAML_MAX_DEPTH) {
        fmp_diags_error(r->diags, &node->mark, "expected at most %d levels of nesting, found more",
                        FMP_YAML_MAX_DEPTH);
        r->stop = true;
        return FMP_OK;
    }
    FMP_TRY(attach(r, node));
    r->open[r->depth++] = (open_node){.node = node};
    return FMP_OK;
}

static int key_order(const void *a, const void *b)
{
    const fmp_yaml *x = *(fmp_yaml *const *)a, *y = *(fmp_yaml *const *)b;
    int order = strcmp(x->text, y->text);
    if (order != 0) { return order; }
    if (x->mark.line != y->mark.line) { return x->mark.line < y->mark.line ? -1 : 1; }
    return x->mark.column < y->mark.column ? -1 : x->mark.column > y->mark.column;
}

static fmp_status check_duplicates(reader *r, const node_list *keys)
{
    fmp_yaml **sorted = malloc((keys->n + 1) * sizeof *sorted);
    if (!sorted) { return out_of_memory(r->err); }
    size_t n = 0;
    for (size_t i = 0; i < keys->n; i++) {
        if (keys->items[i]->text) { sorted[n++] = keys->items[i]; }
    }
    if (n > 1) { qsort(sorted, n, sizeof *sorted, key_order); }
    for (size_t i = 1; i < n; i++) {
        if (strcmp(sorted[i]->text, sorted[i - 1]->text) != 0) { continue; }
        const fmp_mark *first = &sorted[i - 1]->mark;
        fmp_diags_error(r->diags, &sorted[i]->mark,
                        "expected every key once, found '%.40s' again; it is also in %u:%u", sorted[i]->text,
                        first->line, first->column);
        fmp_diags_hint(r->diags, "remove one of the two");
    }
    free(sorted);
    return FMP_OK;
}

static fmp_yaml **keep_list(reader *r, const node_list *list)
{
    fmp_yaml **kept = fmp_arena_take(r->arena, (list->n + 1) * sizeof *kept);
    if (list->n > 0) { memcpy(kept, list->items, list->n * sizeof *kept); }
    return kept;
}

static fmp_status close_collection(reader *r)
{
    open_node *top = &r->open[--r->depth];
    fmp_status status = FMP_OK;
    top->node->n = top->items.n;
    top->node->items = keep_list(r, &top->items);
    if (top->node->kind == FMP_YAML_MAP) {
        top->node->keys = keep_list(r, &top->keys);
        status = check_duplicates(r, &top->keys);
    }
    free(top->items.items);
    free(top->keys.items);
    return status;
}

static fmp_status add_scalar(reader *r, const yaml_event_t *event)
{
    fmp_yaml *node = new_node(r, event, FMP_YAML_STRING);
    if (!node) { return FMP_OK; }
    refuse_tag(r, &node->mark, event->data.scalar.tag);
    refuse_anchor(r, &node->mark, event->data.scalar.anchor);
    const char *text = (const char *)event->data.scalar.value;
    if (memchr(text, 0, event->data.scalar.length)) {
        fmp_diags_error(r->diags, &node->mark,
                        "expected a text without the character U+0000, found one in it");
    }
    node->text = fmp_arena_strdup(r->arena, text);
    node->plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    check_surroundings(r, event, &node->mark);
    if (node->plain) { fmp_yaml_type_(r->arena, node); }
    return attach(r, node);
}

static void check_directives(reader *r, const yaml_event_t *event)
{
    fmp_mark mark = yaml_mark(r, &event->start_mark);
    const yaml_version_directive_t *v = event->data.document_start.version_directive;
    if (v && (v->major != 1 || v->minor != 2)) {
        fmp_diags_error(r->diags, &mark, "expected YAML 1.2, found a directive that asks for %d.%d", v->major,
                        v->minor);
    }
    if (event->data.document_start.tag_directives.start != event->data.document_start.tag_directives.end) {
        fmp_diags_error(r->diags, &mark, "expected no tags, found a %%TAG directive");
    }
}

static fmp_status on_event(reader *r, const yaml_event_t *event)
{
    fmp_mark mark;
    switch (event->type) {
    case YAML_DOCUMENT_START_EVENT:
        mark = yaml_mark(r, &event->start_mark);
        if (r->n_documents++ > 0) {
            fmp_diags_error(r->diags, &mark, "expected the end of the file, found a second document");
            r->stop = true;
        }
        check_directives(r, event);
        return FMP_OK;
    case YAML_ALIAS_EVENT:
        mark = event_mark(r, event);
        fmp_diags_error(r->diags, &mark, "expected a plain value, found the alias '*%.40s'",
                        (const char *)event->data.alias.anchor);
        fmp_diags_hint(r->diags, "anchors and aliases are not supported; use vars: and ${name}");
        return attach_alias(r, &mark);
    case YAML_SCALAR_EVENT: return add_scalar(r, event);
    case YAML_SEQUENCE_START_EVENT: return open_collection(r, event, FMP_YAML_LIST);
    case YAML_MAPPING_START_EVENT: return open_collection(r, event, FMP_YAML_MAP);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        mark = event_mark(r, event);
        check_surroundings(r, event, &mark);
        return close_collection(r);
    case YAML_STREAM_END_EVENT: r->stop = true; return FMP_OK;
    default: return FMP_OK;
    }
}

static fmp_status read_events(reader *r)
{
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser)) { return out_of_memory(r->err); }
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, (const unsigned char *)r->text, r->len);
    fmp_status status = FMP_OK;
    while (status == FMP_OK && !r->stop) {
        yaml_event_t event;
        if (!yaml_parser_parse(&parser, &event)) {
            if (parser.error == YAML_MEMORY_ERROR) {
                status = out_of_memory(r->err);
            } else {
                report_syntax(r, &parser);
            }
            r->root = NULL;
            break;
        }
        status = on_event(r, &event);
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    if (r->depth > 0) { r->root = NULL; }
    while (r->depth > 0) {
        r->depth--;
        free(r->open[r->depth].items.items);
        free(r->open[r->depth].keys.items);
    }
    return status;
}

/* libyaml drops white space that ends a file without a line break; in a block scalar it is content. */
static bool ends_in_blanks(const char *text, size_t len)
{
    return len > 0 && (text[len - 1] == ' ' || text[len - 1] == '\t');
}

fmp_status fmp_yaml_parse(const char *text, size_t len, const char *file, const char *dir, fmp_arena *arena,
                          fmp_yaml **out, fmp_diags *diags, fmp_err *err)
{
    *out = NULL;
    size_t errors_before = diags->n_errors;
    if (len >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0) {
        text += 3;
        len -= 3;
    }
    if (ends_in_blanks(text, len) && len <= MAX_BYTES) {
        char *copy = fmp_arena_take(arena, len + 1);
        memcpy(copy, text, len);
        copy[len++] = '\n';
        text = copy;
    }
    reader r = {
        .text = text, .len = len, .file = file, .dir = dir, .arena = arena, .diags = diags, .err = err};
    if (len > MAX_BYTES) {
        fmp_mark mark = {file, 0, 0, 1};
        fmp_diags_error(diags, &mark, "expected at most %zu bytes of YAML, found %zu", MAX_BYTES, len);
        return fmp_fail(err, FMP_E_CONFIG, "%s: too large", file);
    }
    fmp_status status = index_lines(&r);
    if (status == FMP_OK) {
        check_characters(&r);
        if (!r.stop) { status = read_events(&r); }
    }
    if (status == FMP_OK && !r.root && diags->n_errors == errors_before) {
        fmp_mark mark = mark_at_offset(&r, 0, 1);
        fmp_diags_error(diags, &mark, "expected a document, found an empty file");
    }
    free(r.line_starts);
    FMP_TRY(status);
    FMP_TRY(fmp_arena_ok(arena, err));
    *out = r.unusable ? NULL : r.root;
    return diags->n_errors == errors_before
               ? FMP_OK
               : fmp_fail(err, FMP_E_CONFIG, "%s: not the YAML that fmpipe reads", file);
}
