/*
 * A schema document to nodes. Each schema object is read once, keyword by keyword, through the table `keywords`; "$ref"s
 * are resolved from a work list after the object that holds them is complete, so recursion is bounded by the nesting of
 * the text and cycles are cheap. Only what the root reaches is read: a fault in an unused definition does no harm.
 */
#include "schema_private.h"

#include <math.h>
#include <stdlib.h>

typedef struct build {
    fmp_schema *s;
    fmp_err *err;
} build;

bool schema_grow(void **items, size_t n, size_t *cap, size_t size)
{
    if (n < *cap) { return true; }
    size_t want = *cap ? *cap * 2 : 16, bytes;
    if (!fmp_mul_ok(want, size, &bytes)) { return false; }
    void *grown = realloc(*items, bytes);
    if (!grown) { return false; }
    *items = grown;
    *cap = want;
    return true;
}

static const char *kind_of(const cJSON *node)
{
    if (!node) { return "nothing"; }
    if (cJSON_IsString(node)) { return "a string"; }
    if (cJSON_IsObject(node)) { return "an object"; }
    if (cJSON_IsArray(node)) { return "an array"; }
    if (cJSON_IsNull(node)) { return "null"; }
    return cJSON_IsBool(node) ? "a boolean" : "a number";
}

static fmp_status expected(build *b, const schema_node *n, const cJSON *value, const char *what)
{
    return fmp_fail(b->err, FMP_E_DATA, "%s/%s: expected %s, found %s", n->path, value->string, what, kind_of(value));
}

static fmp_status node_of(build *b, const cJSON *source, const char *base, const char *path, schema_node **out);

static void *take(build *b, size_t count, size_t size)
{
    return fmp_arena_take_zero(b->s->arena, count ? count : 1, size);
}

static size_t count_of(const cJSON *parent)
{
    size_t n = 0;
    for (const cJSON *m = parent->child; m; m = m->next) { n++; }
    return n;
}

/* ---------------------------------------------------------------------------------------------- keyword values */

static fmp_status read_type(build *b, schema_node *n, const cJSON *value)
{
    static const char *const names[] = {"null", "boolean", "integer", "number", "string", "array", "object"};
    const cJSON *one = cJSON_IsArray(value) ? value->child : value;
    n->types = 0;
    n->type = value;
    for (; one; one = cJSON_IsArray(value) ? one->next : NULL) {
        unsigned bit = 0;
        for (unsigned i = 0; i < sizeof names / sizeof names[0] && cJSON_IsString(one); i++) {
            if (strcmp(one->valuestring, names[i]) == 0) { bit = 1u << i; }
        }
        if (!bit) {
            return fmp_fail(b->err, FMP_E_DATA,
                            "%s/type: expected null, boolean, integer, number, string, array, object or a list of these, found %s%s%s",
                            n->path, cJSON_IsString(one) ? "\"" : kind_of(one), cJSON_IsString(one) ? one->valuestring : "",
                            cJSON_IsString(one) ? "\"" : "");
        }
        n->types |= bit;
    }
    return FMP_OK;
}

static fmp_status read_number(build *b, const schema_node *n, const cJSON *value, const cJSON **out)
{
    if (!schema_is_number(value)) { return expected(b, n, value, "a number"); }
    *out = value;
    return FMP_OK;
}

static fmp_status read_count(build *b, const schema_node *n, const cJSON *value, uint64_t *out)
{
    double v;
    if (!fmp_json_number(value, &v) || !schema_is_integer(value) || v < 0) {
        return expected(b, n, value, "a whole number of 0 or more");
    }
    *out = v >= 0x1p63 ? UINT64_MAX : (uint64_t)v;
    return FMP_OK;
}

static fmp_status read_flag(build *b, const schema_node *n, const cJSON *value, bool *out)
{
    if (!cJSON_IsBool(value)) { return expected(b, n, value, "true or false"); }
    *out = cJSON_IsTrue(value);
    return FMP_OK;
}

static fmp_status read_strings(build *b, const schema_node *n, const cJSON *value, const cJSON **out)
{
    if (!cJSON_IsArray(value)) { return expected(b, n, value, "an array of strings"); }
    for (const cJSON *m = value->child; m; m = m->next) {
        if (!cJSON_IsString(m)) {
            return fmp_fail(b->err, FMP_E_DATA, "%s/%s: expected strings only, found %s", n->path, value->string, kind_of(m));
        }
    }
    *out = value;
    return FMP_OK;
}

static fmp_status read_schema(build *b, const schema_node *n, const cJSON *value, schema_node **out)
{
    return node_of(b, value, n->base, schema_path_join(b->s, n->path, value->string), out);
}

static fmp_status read_list(build *b, const schema_node *n, const cJSON *value, schema_list *out)
{
    char index[24];
    const char *path = schema_path_join(b->s, n->path, value->string);
    if (!cJSON_IsArray(value)) { return expected(b, n, value, "an array of schemas"); }
    out->item = take(b, count_of(value), sizeof *out->item);
    FMP_TRY(fmp_arena_ok(b->s->arena, b->err));
    for (const cJSON *m = value->child; m; m = m->next) {
        snprintf(index, sizeof index, "%zu", out->n);
        FMP_TRY(node_of(b, m, n->base, schema_path_join(b->s, path, index), &out->item[out->n]));
        out->n++;
    }
    return FMP_OK;
}

/* ECMA 262 in PCRE2's terms: \u, $ only at the very end, [^] and [], \d and \w of ASCII. */
static fmp_status read_pattern(build *b, const char *text, const char *path, schema_pattern *out)
{
    fmp_schema *s = b->s;
    int code;
    PCRE2_SIZE at;
    PCRE2_UCHAR why[120];
    if (!schema_grow((void **)&s->codes, s->n_codes, &s->codes_cap, sizeof *s->codes)) {
        return fmp_fail(b->err, FMP_E_NOMEM, "out of memory");
    }
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    if (!context) { return fmp_fail(b->err, FMP_E_NOMEM, "out of memory"); }
    pcre2_set_max_pattern_length(context, 65536);
    pcre2_set_compile_extra_options(context, PCRE2_EXTRA_ALT_BSUX);
    pcre2_code *compiled =
        pcre2_compile((PCRE2_SPTR)text, strlen(text),
                      PCRE2_UTF | PCRE2_DOLLAR_ENDONLY | PCRE2_ALLOW_EMPTY_CLASS | PCRE2_MATCH_UNSET_BACKREF
                          | PCRE2_NEVER_BACKSLASH_C,
                      &code, &at, context);
    pcre2_compile_context_free(context);
    if (!compiled) {
        pcre2_get_error_message(code, why, sizeof why);
        return fmp_fail(b->err, FMP_E_DATA, "%s: expected a regular expression, found '%s': %s at byte %zu", path, text,
                        (const char *)why, (size_t)at);
    }
    /* Without JIT (no room, or a platform without it) matching is slower, not different. */
    (void)pcre2_jit_compile(compiled, PCRE2_JIT_COMPLETE);
    s->codes[s->n_codes++] = compiled;
    out->text = text;
    out->code = compiled;
    return FMP_OK;
}

/* ---------------------------------------------------------------------------------------------- objects */

static bool is_required(const cJSON *source, const char *name)
{
    const cJSON *required = fmp_json_get(source, "required");
    for (const cJSON *m = cJSON_IsArray(required) ? required->child : NULL; m; m = m->next) {
        if (cJSON_IsString(m) && strcmp(m->valuestring, name) == 0) { return true; }
    }
    return false;
}

static fmp_status add_prop(build *b, schema_node *n, const cJSON *member, const char *path)
{
    schema_prop *p = &n->props[n->n_props];
    FMP_TRY(node_of(b, member, n->base, schema_path_join(b->s, path, member->string), &p->schema));
    p->name = member->string;
    p->required = is_required(n->source, p->name);
    n->n_props++;
    return FMP_OK;
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(schema_prop *const *)a)->name, (*(schema_prop *const *)b)->name);
}

const schema_prop *schema_find_prop(const schema_node *node, const char *name)
{
    size_t low = 0, high = node->n_props;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int order = strcmp(name, node->by_name[mid]->name);
        if (order == 0) { return node->by_name[mid]; }
        if (order < 0) {
            high = mid;
        } else {
            low = mid + 1;
        }
    }
    return NULL;
}

static bool listed(const cJSON *list, const char *name)
{
    for (const cJSON *m = cJSON_IsArray(list) ? list->child : NULL; m; m = m->next) {
        if (cJSON_IsString(m) && strcmp(m->valuestring, name) == 0) { return true; }
    }
    return false;
}

/* First those that "x-order" lists, in its order, then the others as written. */
static fmp_status read_properties(build *b, schema_node *n, const cJSON *value)
{
    const cJSON *order = fmp_json_get(n->source, "x-order");
    const char *path = schema_path_join(b->s, n->path, value->string);
    if (!cJSON_IsObject(value)) { return expected(b, n, value, "an object of schemas"); }
    size_t count = count_of(value);
    n->props = take(b, count, sizeof *n->props);
    n->by_name = take(b, count, sizeof(schema_prop *));
    FMP_TRY(fmp_arena_ok(b->s->arena, b->err));
    for (const cJSON *m = cJSON_IsArray(order) ? order->child : NULL; m; m = m->next) {
        const cJSON *member = cJSON_IsString(m) ? fmp_json_get(value, m->valuestring) : NULL;
        bool again = false;
        for (size_t i = 0; i < n->n_props && member; i++) { again = again || n->props[i].name == member->string; }
        if (member && !again) { FMP_TRY(add_prop(b, n, member, path)); }
    }
    for (const cJSON *m = value->child; m; m = m->next) {
        if (!listed(order, m->string)) { FMP_TRY(add_prop(b, n, m, path)); }
    }
    for (size_t i = 0; i < n->n_props; i++) { n->by_name[i] = &n->props[i]; }
    qsort(n->by_name, n->n_props, sizeof(schema_prop *), by_name);
    return FMP_OK;
}

static fmp_status read_patterns(build *b, schema_node *n, const cJSON *value)
{
    const char *path = schema_path_join(b->s, n->path, value->string);
    if (!cJSON_IsObject(value)) { return expected(b, n, value, "an object of schemas"); }
    n->patterns = take(b, count_of(value), sizeof *n->patterns);
    FMP_TRY(fmp_arena_ok(b->s->arena, b->err));
    for (const cJSON *m = value->child; m; m = m->next) {
        schema_pattern *p = &n->patterns[n->n_patterns];
        const char *at = schema_path_join(b->s, path, m->string);
        FMP_TRY(read_pattern(b, m->string, at, p));
        FMP_TRY(node_of(b, m, n->base, at, &p->schema));
        n->n_patterns++;
    }
    return FMP_OK;
}

/* The three spellings are one list; room is made for all of them at once. */
static fmp_status read_dependents(build *b, schema_node *n, const cJSON *value)
{
    static const char *const spellings[] = {"dependentRequired", "dependentSchemas", "dependencies"};
    const char *path = schema_path_join(b->s, n->path, value->string);
    if (!cJSON_IsObject(value)) { return expected(b, n, value, "an object"); }
    if (!n->dependents) {
        size_t room = 0;
        for (size_t i = 0; i < 3; i++) {
            const cJSON *all = fmp_json_get(n->source, spellings[i]);
            room += all ? count_of(all) : 0;
        }
        n->dependents = take(b, room, sizeof *n->dependents);
        FMP_TRY(fmp_arena_ok(b->s->arena, b->err));
    }
    bool schemas = strcmp(value->string, "dependentSchemas") == 0;
    for (const cJSON *m = value->child; m; m = m->next) {
        schema_dependent *d = &n->dependents[n->n_dependents];
        d->name = m->string;
        d->keyword = value->string;
        if (cJSON_IsArray(m) && !schemas) {
            FMP_TRY(read_strings(b, n, m, &d->required));
        } else if (strcmp(value->string, "dependentRequired") == 0) {
            return expected(b, n, m, "an array of strings");
        } else {
            FMP_TRY(node_of(b, m, n->base, schema_path_join(b->s, path, m->string), &d->schema));
        }
        n->n_dependents++;
    }
    return FMP_OK;
}
