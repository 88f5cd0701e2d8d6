/*
 * Scores of tool calls and JSON answers. Parallel calls come in any order, so calls are paired: as many as
 * possible with right arguments (augmenting paths: with lists of accepted values a greedy choice can block a
 * better one).
 */
#include "schema_private.h"

#include <stdlib.h>

enum { MAX_CALLS = 1024 };

/* One call, whichever way it was written. */
typedef struct call_view {
    const char *name;       /* NULL: malformed */
    const cJSON *arguments; /* an object */
    cJSON *parsed;          /* owned; where the arguments were text */
} call_view;

/* ---------------------------------------------------------------------------------------------- reading */

static void view_call(const cJSON *call, call_view *v)
{
    const cJSON *function = fmp_json_get(call, "function");
    const cJSON *from = function ? function : call, *arguments = fmp_json_get(from, "arguments");
    *v = (call_view){fmp_json_str(from, "name", NULL), arguments, NULL};
    if (cJSON_IsString(arguments)) {
        if (fmp_json_parse(arguments->valuestring, strlen(arguments->valuestring), NULL, &v->parsed, NULL) !=
            FMP_OK) {
            v->parsed = NULL;
        }
        v->arguments = v->parsed;
    }
    if (!cJSON_IsObject(v->arguments)) { v->name = NULL; }
}

/* {NAME: {ARGUMENT: [accepted value, ...]}} */
static void view_answer(const cJSON *answer, call_view *v)
{
    const cJSON *only = cJSON_IsObject(answer) ? answer->child : NULL;
    *v = (call_view){NULL, only, NULL};
    if (only && !only->next && cJSON_IsObject(only)) { v->name = only->string; }
    for (const cJSON *m = v->name ? only->child : NULL; m; m = m->next) {
        if (!cJSON_IsArray(m)) { v->name = NULL; }
    }
}

static void free_views(call_view *views, size_t n)
{
    for (size_t i = 0; i < n && views; i++) {
        cJSON_Delete(views[i].parsed);
    }
    free(views);
}

static fmp_status view_all(const cJSON *list, bool answers, call_view **out, size_t *n, fmp_err *err)
{
    *out = NULL;
    *n = 0;
    for (const cJSON *m = cJSON_IsArray(list) ? list->child : NULL; m; m = m->next) {
        ++*n;
    }
    if (*n > MAX_CALLS) {
        return fmp_fail(err, FMP_E_RANGE, "expected at most %d tool calls, found %zu", MAX_CALLS, *n);
    }
    call_view *views = calloc(*n + 1, sizeof *views);
    if (!views) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
    size_t i = 0;
    for (const cJSON *m = cJSON_IsArray(list) ? list->child : NULL; m; m = m->next, i++) {
        if (answers) {
            view_answer(m, &views[i]);
        } else {
            view_call(m, &views[i]);
        }
    }
    *out = views;
    return FMP_OK;
}

/* ---------------------------------------------------------------------------------------- accepted values */

/* The next byte that counts: no spaces and ,./-_*^, lower case, ' as ". 0: the end. */
static char loose_next(const char **p)
{
    while (**p && strchr(" ,./-_*^", **p)) {
        ++*p;
    }
    char c = **p;
    if (c) { ++*p; }
    if (c >= 'A' && c <= 'Z') { return (char)(c + 32); }
    return c == '\'' ? '"' : c;
}

static bool loosely_equal(const char *a, const char *b)
{
    for (;;) {
        char x = loose_next(&a), y = loose_next(&b);
        if (x != y) { return false; }
        if (!x) { return true; }
    }
}

static bool accepts(const cJSON *accepted, const cJSON *value);

static bool may_be_absent(const cJSON *accepted_list)
{
    for (const cJSON *m = cJSON_IsArray(accepted_list) ? accepted_list->child : NULL; m; m = m->next) {
        if (cJSON_IsString(m) && !m->valuestring[0]) { return true; }
    }
    return false;
}

/* Lists of accepted values; deeper down some hold one bare value instead. */
static bool accepts_any(const cJSON *accepted_list, const cJSON *value)
{
    if (accepted_list && !cJSON_IsArray(accepted_list)) { return accepts(accepted_list, value); }
    for (const cJSON *m = cJSON_IsArray(accepted_list) ? accepted_list->child : NULL; m; m = m->next) {
        if (accepts(m, value)) { return true; }
    }
    return false;
}

/* Every member given is accepted; every member not given may be absent. */
static bool accepts_members(const cJSON *accepted, const cJSON *value)
{
    for (const cJSON *m = value->child; m; m = m->next) {
        if (!accepts_any(fmp_json_get(accepted, m->string), m)) { return false; }
    }
    for (const cJSON *m = accepted->child; m; m = m->next) {
        if (!fmp_json_get(value, m->string) && !may_be_absent(m)) { return false; }
    }
    return true;
}

static bool accepts(const cJSON *accepted, const cJSON *value)
{
    if (cJSON_IsString(accepted) && cJSON_IsString(value)) {
        return loosely_equal(accepted->valuestring, value->valuestring);
    }
    if (cJSON_IsObject(accepted) && cJSON_IsObject(value)) { return accepts_members(accepted, value); }
    if (cJSON_IsArray(accepted) && cJSON_IsArray(value)) {
        const cJSON *a = accepted->child, *v = value->child;
        while (a && v && accepts(a, v)) {
            a = a->next;
            v = v->next;
        }
        return !a && !v;
    }
    return fmp_json_equal(accepted, value);
}

/* ---------------------------------------------------------------------------------------------- pairing */

typedef struct pairing {
    const call_view *expected, *got;
    size_t n_expected, n_got;
    bool *right;     /* (n_expected, n_got) */
    size_t *pair_of; /* (n_got) expected call it is paired with, SIZE_MAX: none */
    bool *seen;      /* (n_got) */
} pairing;

static bool same_name(const call_view *a, const call_view *b)
{
    return a->name && b->name && strcmp(a->name, b->name) == 0;
}

static bool same_call(const call_view *expected, const call_view *got, unsigned flags)
{
    if (!same_name(expected, got)) { return false; }
    return flags & FMP_SCORE_ACCEPTED ? accepts_members(expected->arguments, got->arguments)
                                      : fmp_json_equal(expected->arguments, got->arguments);
}

/* Kuhn's augmenting path from expected call `i`. */
static bool augment(pairing *p, size_t i)
{
    for (size_t j = 0; j < p->n_got; j++) {
        if (!p->right[i * p->n_got + j] || p->seen[j]) { continue; }
        p->seen[j] = true;
        if (p->pair_of[j] == SIZE_MAX || augment(p, p->pair_of[j])) {
            p->pair_of[j] = i;
            return true;
        }
    }
    return false;
}

/* Pairs by name alone: for each name, as many as both sides have. */
static size_t pairs_by_name(const pairing *p)
{
    size_t n = 0;
    memset(p->seen, 0, p->n_got);
    for (size_t i = 0; i < p->n_expected; i++) {
        size_t j = 0;
        while (j < p->n_got && (p->seen[j] || !same_name(&p->expected[i], &p->got[j]))) {
            j++;
        }
        if (j == p->n_got) { continue; }
        p->seen[j] = true;
        n++;
    }
    return n;
}

static void score_any_order(pairing *p, unsigned flags, fmp_call_score *out)
{
    for (size_t i = 0; i < p->n_expected; i++) {
        for (size_t j = 0; j < p->n_got; j++) {
            p->right[i * p->n_got + j] = same_call(&p->expected[i], &p->got[j], flags);
        }
    }
    for (size_t j = 0; j < p->n_got; j++) {
        p->pair_of[j] = SIZE_MAX;
    }
    for (size_t i = 0; i < p->n_expected; i++) {
        memset(p->seen, 0, p->n_got);
        out->args_exact += augment(p, i);
    }
    out->name_exact = pairs_by_name(p);
}

static void score_in_order(const pairing *p, unsigned flags, fmp_call_score *out)
{
    for (size_t i = 0; i < p->n_expected && i < p->n_got; i++) {
        out->name_exact += same_name(&p->expected[i], &p->got[i]);
        out->args_exact += same_call(&p->expected[i], &p->got[i], flags);
    }
}

static fmp_status score_pairs(pairing *p, unsigned flags, fmp_call_score *out, fmp_err *err)
{
    for (size_t i = 0; i < p->n_expected; i++) {
        if (!p->expected[i].name) {
            return fmp_fail(err, FMP_E_DATA, "expected call %zu: %s", i,
                            flags & FMP_SCORE_ACCEPTED ? "expected {NAME: {ARGUMENT: [accepted value, ...]}}"
                                                       : "expected a name and arguments that are an object");
        }
    }
    p->right = calloc(p->n_expected * p->n_got + 1, sizeof *p->right);
    p->pair_of = calloc(p->n_got + 1, sizeof *p->pair_of);
    p->seen = calloc(p->n_got + 1, sizeof *p->seen);
    if (!p->right || !p->pair_of || !p->seen) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
    out->n_expected = p->n_expected;
    out->n_got = p->n_got;
    if (flags & FMP_SCORE_ORDERED) {
        score_in_order(p, flags, out);
    } else {
        score_any_order(p, flags, out);
    }
    out->missing = p->n_expected - out->name_exact;
    out->extra = p->n_got - out->name_exact;
    out->exact = p->n_expected == p->n_got && out->args_exact == p->n_expected;
    return FMP_OK;
}

fmp_status fmp_score_tool_calls(const cJSON *expected, const cJSON *got, unsigned flags, fmp_call_score *out,
                                fmp_err *err)
{
    call_view *wanted = NULL, *made = NULL;
    pairing p = {0};
    *out = (fmp_call_score){0};
    fmp_status status = view_all(expected, flags & FMP_SCORE_ACCEPTED, &wanted, &p.n_expected, err);
    if (status == FMP_OK) { status = view_all(got, false, &made, &p.n_got, err); }
    if (status == FMP_OK) {
        p.expected = wanted;
        p.got = made;
        status = score_pairs(&p, flags, out, err);
    }
    free_views(wanted, p.n_expected);
    free_views(made, p.n_got);
    free(p.right);
    free(p.pair_of);
    free(p.seen);
    return status;
}

/* ------------------------------------------------------------------------------------------- JSON answers */

FMP_PRINTF(2, 3) static void tell(fmp_json_score *out, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int need = vsnprintf(out->why, sizeof out->why, fmt, ap);
    va_end(ap);
    fmp_err_clip_(out->why, sizeof out->why, need);
}

fmp_status fmp_score_json(const cJSON *expected, const char *text, size_t len, const fmp_schema *schema,
                          fmp_json_score *out, fmp_err *err)
{
    cJSON *value = NULL;
    fmp_err why = FMP_ERR_INIT;
    fmp_schema_fault fault;
    *out = (fmp_json_score){.why = ""};
    fmp_status status = fmp_json_parse(text, len, NULL, &value, &why);
    if (status == FMP_E_NOMEM) { return fmp_fail(err, status, "%s", why.message); }
    if (status != FMP_OK) {
        tell(out, "not JSON: %s (byte %llu)", why.message, (unsigned long long)why.offset);
        return FMP_OK;
    }
    out->parses = out->valid = true;
    out->exact = expected && fmp_json_equal(expected, value);
    status = schema ? fmp_schema_validate(schema, value, &out->valid, &fault, err) : FMP_OK;
    if (status == FMP_OK && !out->valid) {
        tell(out, "%s%sexpected %s, found %s (%s)", fault.instance, *fault.instance ? ": " : "",
             fault.expected, fault.found, fault.schema);
    } else if (status == FMP_OK && expected && !out->exact) {
        tell(out, "another value than expected");
    }
    cJSON_Delete(value);
    return status;
}
