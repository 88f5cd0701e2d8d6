/*
 * Applying a compiled schema to a value. One recursive function per group of keywords; the first failure
 * fills the caller's fault and everything returns false. Alternatives (anyOf, not, if, contains) are tried
 * with the fault switched off. Work and depth are bounded, because a schema and a value of a few hundred
 * bytes can ask for exponential time. Read check_node first.
 */
#include "schema_private.h"

#include <math.h>
#include <stdlib.h>

/* Where in the value we are: a chain on the stack, written out only when something is wrong. */
typedef struct place {
    const struct place *up;
    const char *name; /* member, or NULL: item `index` */
    size_t index;
} place;

typedef struct check {
    const fmp_schema *schema;
    fmp_schema_fault *fault; /* NULL: not wanted */
    size_t steps;
    unsigned depth;
    fmp_status status; /* not FMP_OK: given up; every result is meaningless */
    fmp_err *err;
} check;

static bool check_node(check *c, const schema_node *n, const cJSON *value, const place *at);

/* ---------------------------------------------------------------------------------------------- faults */

static void clipped(char *out, size_t size, const char *text)
{
    int need = snprintf(out, size, "%s", text);
    fmp_err_clip_(out, size, need);
}

static void add_place(fmp_buf *out, const place *at)
{
    if (!at) { return; }
    add_place(out, at->up);
    if (at->name) {
        fmp_buf_printf(out, "%s%s", out->len > 0 ? "." : "", at->name);
    } else {
        fmp_buf_printf(out, "[%zu]", at->index);
    }
}

static const char *kind_of(const cJSON *value)
{
    switch (schema_type_of(value)) {
    case TYPE_NULL: return "null";
    case TYPE_BOOLEAN: return cJSON_IsTrue(value) ? "true" : "false";
    case TYPE_STRING: return "a string";
    case TYPE_ARRAY: return "an array";
    case TYPE_OBJECT: return "an object";
    default: return "a number";
    }
}

/* Scalars are shown as they are, containers by kind. */
static void show(fmp_buf *out, const cJSON *value)
{
    if (cJSON_IsObject(value) || cJSON_IsArray(value)) {
        fmp_buf_puts(out, kind_of(value));
    } else {
        fmp_json_print(value, FMP_JSON_SPACED, out);
    }
}

static void fault_at(check *c, const schema_node *n, const char *keyword, const place *at)
{
    fmp_buf where = {0};
    add_place(&where, at);
    clipped(c->fault->instance, sizeof c->fault->instance, where.data ? where.data : "");
    fmp_buf_free(&where);
    int need =
        snprintf(c->fault->schema, sizeof c->fault->schema, "%s%s%s", n->path, *keyword ? "/" : "", keyword);
    fmp_err_clip_(c->fault->schema, sizeof c->fault->schema, need);
}

/* Says what is wrong, if anybody wants to know. `found` NULL: the value itself. Returns false. */
static bool wrong(check *c, const schema_node *n, const char *keyword, const place *at, const cJSON *value,
                  const char *found, const char *what)
{
    if (!c->fault || c->status != FMP_OK) { return false; }
    fault_at(c, n, keyword, at);
    clipped(c->fault->expected, sizeof c->fault->expected, what);
    fmp_buf text = {0};
    if (!found) { show(&text, value); }
    clipped(c->fault->found, sizeof c->fault->found, found ? found : text.data ? text.data : "");
    fmp_buf_free(&text);
    return false;
}

/* The same, expected a number of something. */
static bool wrong_count(check *c, const schema_node *n, const char *keyword, const place *at,
                        const char *bound, uint64_t limit, size_t found, const char *unit)
{
    char what[96], got[64];
    if (!c->fault || c->status != FMP_OK) { return false; }
    snprintf(what, sizeof what, "%s %llu %s%s", bound, (unsigned long long)limit, unit,
             limit == 1 ? "" : "s");
    snprintf(got, sizeof got, "%zu %s%s", found, unit, found == 1 ? "" : "s");
    return wrong(c, n, keyword, at, NULL, got, what);
}

/* The same, expected one JSON value or one of several, or a bound: `words` then the value. */
static bool wrong_value(check *c, const schema_node *n, const char *keyword, const place *at,
                        const cJSON *value, const char *words, const cJSON *wanted)
{
    if (!c->fault || c->status != FMP_OK) { return false; }
    fmp_buf text = {0};
    fmp_buf_puts(&text, words);
    if (cJSON_IsArray(wanted) && strcmp(keyword, "enum") == 0) {
        for (const cJSON *m = wanted->child; m && text.len < 300; m = m->next) {
            fmp_json_print(m, FMP_JSON_SPACED, &text);
            if (m->next) { fmp_buf_puts(&text, ", "); }
        }
    } else {
        fmp_json_print(wanted, FMP_JSON_SPACED, &text);
    }
    wrong(c, n, keyword, at, value, NULL, text.data ? text.data : words);
    fmp_buf_free(&text);
    return false;
}

static bool give_up(check *c, const schema_node *n, const char *what)
{
    if (c->status == FMP_OK) {
        c->status =
            fmp_fail(c->err, FMP_E_RANGE, "%s: the value is %s to check against this schema", n->path, what);
    }
    return false;
}

/* Try without reporting. */
static bool quietly(check *c, const schema_node *n, const cJSON *value, const place *at)
{
    fmp_schema_fault *fault = c->fault;
    c->fault = NULL;
    bool ok = check_node(c, n, value, at);
    c->fault = fault;
    return ok;
}

/* ---------------------------------------------------------------------------------------------- scalars */

unsigned schema_type_of(const cJSON *value)
{
    if (cJSON_IsNull(value)) { return TYPE_NULL; }
    if (cJSON_IsBool(value)) { return TYPE_BOOLEAN; }
    if (cJSON_IsString(value)) { return TYPE_STRING; }
    if (cJSON_IsArray(value)) { return TYPE_ARRAY; }
    if (cJSON_IsObject(value)) { return TYPE_OBJECT; }
    return schema_is_integer(value) ? TYPE_INTEGER | TYPE_NUMBER : TYPE_NUMBER;
}

static bool check_type(check *c, const schema_node *n, const cJSON *value, const place *at)
{
    static const char *const names[] = {"null",     "a boolean", "an integer", "a number",
                                        "a string", "an array",  "an object"};
    char what[128];
    size_t len = 0;
    if (n->types == TYPE_ANY || schema_type_of(value) & n->types) { return true; }
    if (!c->fault) { return false; }
    what[0] = '\0';
    for (unsigned i = 0; i < 7; i++) {
        if (!(n->types >> i & 1)) { continue; }
        int need = snprintf(what + len, sizeof what - len, "%s%s", len > 0 ? " or " : "", names[i]);
        len += need > 0 ? (size_t)need : 0;
    }
    bool number = (schema_type_of(value) & TYPE_NUMBER) != 0;
    return wrong(c, n, "type", at, value, number ? NULL : kind_of(value), what);
}

static bool check_values(check *c, const schema_node *n, const cJSON *value, const place *at)
{
    if (n->const_value && !fmp_json_equal(n->const_value, value)) {
        return wrong_value(c, n, "const", at, value, "", n->const_value);
    }
    if (!n->enum_values) { return true; }
    for (const cJSON *m = n->enum_values->child; m; m = m->next) {
        c->steps++;
        if (fmp_json_equal(m, value)) { return true; }
    }
    return wrong_value(c, n, "enum", at, value, "one of ", n->enum_values);
}

static bool check_number(check *c, const schema_node *n, const cJSON *value, const place *at)
{
    if (n->minimum && schema_compare(value, n->minimum) < 0) {
        return wrong_value(c, n, "minimum", at, value, "at least ", n->minimum);
    }
    if (n->maximum && schema_compare(value, n->maximum) > 0) {
        return wrong_value(c, n, "maximum", at, value, "at most ", n->maximum);
    }
    if (n->exclusive_minimum && schema_compare(value, n->exclusive_minimum) <= 0) {
        return wrong_value(c, n, "exclusiveMinimum", at, value, "more than ", n->exclusive_minimum);
    }
    if (n->exclusive_maximum && schema_compare(value, n->exclusive_maximum) >= 0) {
        return wrong_value(c, n, "exclusiveMaximum", at, value, "less than ", n->exclusive_maximum);
    }
    if (n->multiple_of && !schema_is_multiple(value, n->multiple_of)) {
        return wrong_value(c, n, "multipleOf", at, value, "a multiple of ", n->multiple_of);
    }
    return true;
}

static bool matches(check *c, const schema_node *n, const schema_pattern *pattern, const char *text)
{
    int code = schema_match(c->schema, pattern, text);
    if (code < 0) { (void)give_up(c, n, "too costly (its pattern hit the match limit)"); }
    return code > 0;
}

static size_t code_points(const char *text)
{
    size_t n = 0;
    for (; *text; text++) {
        n += ((unsigned char)*text & 0xC0) != 0x80;
    }
    return n;
}

static bool check_string(check *c, const schema_node *n, const cJSON *value, const place *at)
{
    const char *text = value->valuestring;
    if (n->min_length > 0 || n->max_length < UINT64_MAX) {
        size_t len = code_points(text);
        if (len < n->min_length) {
            return wrong_count(c, n, "minLength", at, "at least", n->min_length, len, "character");
        }
        if (len > n->max_length) {
            return wrong_count(c, n, "maxLength", at, "at most", n->max_length, len, "character");
        }
    }
    if (n->pattern && !matches(c, n, n->pattern, text)) {
        fmp_buf what = {0};
        fmp_buf_printf(&what, "text that matches /%s/", n->pattern->text);
        wrong(c, n, "pattern", at, value, NULL, what.data ? what.data : "");
        fmp_buf_free(&what);
        return false;
    }
    if (n->format && !n->format(text, strlen(text))) {
        char what[64];
        snprintf(what, sizeof what, "a string of the format %s", n->format_name);
        return wrong(c, n, "format", at, value, NULL, what);
    }
    return true;
}

/* ---------------------------------------------------------------------------------------------- arrays */

typedef struct hashed {
    uint64_t hash;
    size_t index;
    const cJSON *value;
} hashed;

static uint64_t mix(uint64_t h, uint64_t v)
{
    h = (h ^ v) * UINT64_C(0x9E3779B97F4A7C15);
    return h ^ h >> 29;
}

static uint64_t hash_text(const char *text)
{
    uint64_t h = 14695981039346656037u; /* FNV-1a */
    for (; *text; text++) {
        h = (h ^ (unsigned char)*text) * 1099511628211u;
    }
    return h;
}

/*
 * Equal values have equal hashes: members add up in any order, numbers go by value. Order of results never
 * depends on it.
 */
static uint64_t hash_of(check *c, const cJSON *value)
{
    unsigned type = schema_type_of(value);
    uint64_t h = type & TYPE_NUMBER ? TYPE_NUMBER : type, bits;
    c->steps++;
    if (type & TYPE_NUMBER) {
        double v = 0;
        (void)fmp_json_number(value, &v);
        v = v == 0 ? 0 : v; /* -0 equals 0 */
        memcpy(&bits, &v, sizeof bits);
        return mix(h, bits);
    }
    if (type == TYPE_BOOLEAN) { return mix(h, cJSON_IsTrue(value)); }
    if (type == TYPE_STRING) { return mix(h, hash_text(value->valuestring)); }
    for (const cJSON *m = value->child; m; m = m->next) {
        h = type == TYPE_OBJECT ? h + mix(hash_text(m->string), hash_of(c, m)) : mix(h, hash_of(c, m));
    }
    return h;
}

static int by_hash(const void *a, const void *b)
{
    const hashed *x = a, *y = b;
    if (x->hash != y->hash) { return x->hash < y->hash ? -1 : 1; }
    return x->index < y->index ? -1 : x->index > y->index;
}

/* The first item that equals an earlier one, and that one; false: all differ. */
static bool find_repeat(check *c, hashed *items, size_t n, size_t *first, size_t *second)
{
    qsort(items, n, sizeof *items, by_hash);
    *second = SIZE_MAX;
    for (size_t i = 0; i < n; i++) {
        for (size_t j = i + 1; j < n && items[j].hash == items[i].hash && c->steps < MAX_STEPS; j++) {
            c->steps++;
            if (items[j].index < *second && fmp_json_equal(items[i].value, items[j].value)) {
                *first = items[i].index;
                *second = items[j].index;
            }
        }
    }
    return *second != SIZE_MAX;
}

static bool check_unique(check *c, const schema_node *n, const cJSON *value, size_t count, const place *at)
{
    char got[80];
    size_t i = 0, first = 0, second = 0;
    if (count < 2) { return true; }
    hashed *items = calloc(count, sizeof *items);
    if (!items) {
        c->status = fmp_fail(c->err, FMP_E_NOMEM, "out of memory");
        return false;
    }
    for (const cJSON *m = value->child; m; m = m->next, i++) {
        items[i] = (hashed){hash_of(c, m), i, m};
    }
    bool repeated = find_repeat(c, items, count, &first, &second);
    free(items);
    if (!repeated) { return true; }
    snprintf(got, sizeof got, "items %zu and %zu that are equal", first, second);
    return wrong(c, n, "uniqueItems", at, value, got, "items that all differ");
}

static bool check_contains(check *c, const schema_node *n, const cJSON *value, const place *at)
{
    uint64_t hits = 0;
    size_t i = 0;
    for (const cJSON *m = value->child; m && c->status == FMP_OK; m = m->next, i++) {
        place here = {at, NULL, i};
        hits += quietly(c, n->contains, m, &here);
    }
    if (c->status != FMP_OK) { return false; }
    if (hits < n->min_contains) {
        const char *keyword = fmp_json_get(n->source, "minContains") ? "minContains" : "contains";
        return wrong_count(c, n, keyword, at, "at least", n->min_contains, (size_t)hits, "matching item");
    }
    if (hits > n->max_contains) {
        return wrong_count(c, n, "maxContains", at, "at most", n->max_contains, (size_t)hits,
                           "matching item");
    }
    return true;
}

static bool check_array(check *c, const schema_node *n, const cJSON *value, const place *at)
{
    size_t i = 0;
    for (const cJSON *m = value->child; m; m = m->next, i++) {
        const schema_node *item = i < n->prefix.n ? n->prefix.item[i] : n->items;
        place here = {at, NULL, i};
        if (!item) { continue; }
        if (item->never) {
            char what[64];
            snprintf(what, sizeof what, "at most %zu item%s", i, i == 1 ? "" : "s");
            return wrong(c, item, "", at, value, "more", what);
        }
        if (!check_node(c, item, m, &here)) { return false; }
    }
    if (i < n->min_items) { return wrong_count(c, n, "minItems", at, "at least", n->min_items, i, "item"); }
    if (i > n->max_items) { return wrong_count(c, n, "maxItems", at, "at most", n->max_items, i, "item"); }
    if (n->unique && !check_unique(c, n, value, i, at)) { return false; }
    return !n->contains || check_contains(c, n, value, at);
}

/* ---------------------------------------------------------------------------------------------- objects */

static bool check_required(check *c, const schema_node *n, const cJSON *list, const char *keyword,
                           const cJSON *value, const place *at)
{
    for (const cJSON *m = list->child; m; m = m->next) {
        c->steps++;
        if (fmp_json_get(value, m->valuestring)) { continue; }
        if (!c->fault) { return false; }
        char what[200];
        int need = snprintf(what, sizeof what, "a member '%s'", m->valuestring);
        fmp_err_clip_(what, sizeof what, need);
        return wrong(c, n, keyword, at, value, "none", what);
    }
    return true;
}

static bool check_member(check *c, const schema_node *n, const cJSON *m, const place *at)
{
    const schema_prop *prop = schema_find_prop(n, m->string);
    place here = {at, m->string, 0};
    bool declared = prop != NULL;
    if (prop && !check_node(c, prop->schema, m, &here)) { return false; }
    for (size_t i = 0; i < n->n_patterns; i++) {
        if (!matches(c, n, &n->patterns[i], m->string)) { continue; }
        declared = true;
        if (!check_node(c, n->patterns[i].schema, m, &here)) { return false; }
    }
    if (c->status != FMP_OK) { return false; }
    if (!declared && n->additional) {
        if (n->additional->never) {
            return wrong(c, n, "additionalProperties", &here, m, NULL, "no member of this name");
        }
        if (!check_node(c, n->additional, m, &here)) { return false; }
    }
    if (!n->names) { return true; }
    cJSON name = {0};
    name.type = cJSON_String;
    name.valuestring = m->string;
    return check_node(c, n->names, &name, &here);
}

static bool check_object(check *c, const schema_node *n, const cJSON *value, const place *at)
{
    size_t count = 0;
    bool members = n->n_props > 0 || n->n_patterns > 0 || n->additional || n->names;
    if (n->required && !check_required(c, n, n->required, "required", value, at)) { return false; }
    for (const cJSON *m = value->child; m; m = m->next) {
        count++;
        if (members && !check_member(c, n, m, at)) { return false; }
    }
    if (count < n->min_properties) {
        return wrong_count(c, n, "minProperties", at, "at least", n->min_properties, count, "member");
    }
    if (count > n->max_properties) {
        return wrong_count(c, n, "maxProperties", at, "at most", n->max_properties, count, "member");
    }
    for (size_t i = 0; i < n->n_dependents; i++) {
        const schema_dependent *d = &n->dependents[i];
        if (!fmp_json_get(value, d->name)) { continue; }
        if (d->required && !check_required(c, n, d->required, d->keyword, value, at)) { return false; }
        if (d->schema && !check_node(c, d->schema, value, at)) { return false; }
    }
    return true;
}

/* ------------------------------------------------------------------------------------------- combinations */

/* None of the branches holds: tell of the one that got furthest into the value, else how many there were. */
static bool wrong_branches(check *c, const schema_node *n, const cJSON *value, const place *at)
{
    fmp_schema_fault *fault = c->fault, best = {"", "", "", ""}, one;
    char what[64];
    if (!fault) { return false; }
    fault_at(c, n, "anyOf", at);
    size_t here = strlen(fault->instance), deepest = here;
    const schema_list *list = n->any_of.n > 0 ? &n->any_of : &n->one_of;
    for (size_t i = 0; i < list->n && c->status == FMP_OK; i++) {
        c->fault = &one;
        if (!check_node(c, list->item[i], value, at) && c->status == FMP_OK &&
            strlen(one.instance) > deepest) {
            best = one;
            deepest = strlen(one.instance);
        }
    }
    c->fault = fault;
    if (deepest > here) {
        *fault = best;
        return false;
    }
    snprintf(what, sizeof what, "a value that one of %zu alternatives allows", list->n);
    return wrong(c, n, list == &n->any_of ? "anyOf" : "oneOf", at, value, NULL, what);
}

static bool check_one_of(check *c, const schema_node *n, const cJSON *value, const place *at)
{
    size_t first = 0, hits = 0, last = 0;
    for (size_t i = 0; i < n->one_of.n && c->status == FMP_OK; i++) {
        if (!quietly(c, n->one_of.item[i], value, at)) { continue; }
        last = i;
        if (hits++ == 0) { first = i; }
    }
    if (c->status != FMP_OK) { return false; }
    if (hits == 1) { return true; }
    if (hits > 1) {
        char got[80];
        snprintf(got, sizeof got, "one that %zu allow (%zu and %zu among them)", hits, first, last);
        return wrong(c, n, "oneOf", at, value, got, "a value that exactly one alternative allows");
    }
    return n->any_of.n == 0
               ? wrong_branches(c, n, value, at)
               : wrong(c, n, "oneOf", at, value, NULL, "a value that exactly one alternative allows");
}

static bool check_any_of(check *c, const schema_node *n, const cJSON *value, const place *at)
{
    for (size_t i = 0; i < n->any_of.n && c->status == FMP_OK; i++) {
        if (quietly(c, n->any_of.item[i], value, at)) { return true; }
    }
    return c->status == FMP_OK && wrong_branches(c, n, value, at);
}

static bool check_combined(check *c, const schema_node *n, const cJSON *value, const place *at)
{
    for (size_t i = 0; i < n->all_of.n; i++) {
        if (!check_node(c, n->all_of.item[i], value, at)) { return false; }
    }
    if (n->any_of.item && !check_any_of(c, n, value, at)) { return false; }
    if (n->one_of.item && !check_one_of(c, n, value, at)) { return false; }
    if (n->not_ && quietly(c, n->not_, value, at)) {
        return wrong(c, n, "not", at, value, NULL, "a value that the schema in 'not' does not allow");
    }
    if (n->if_ && (n->then_ || n->else_)) {
        const schema_node *next = quietly(c, n->if_, value, at) ? n->then_ : n->else_;
        if (next && !check_node(c, next, value, at)) { return false; }
    }
    return c->status == FMP_OK;
}

static bool check_keywords(check *c, const schema_node *n, const cJSON *value, const place *at)
{
    if (n->ref && !check_node(c, n->ref, value, at)) { return false; }
    if (!check_type(c, n, value, at) || !check_values(c, n, value, at)) { return false; }
    if (cJSON_IsString(value)) {
        if (!check_string(c, n, value, at)) { return false; }
    } else if (cJSON_IsObject(value)) {
        if (!check_object(c, n, value, at)) { return false; }
    } else if (cJSON_IsArray(value)) {
        if (!check_array(c, n, value, at)) { return false; }
    } else if (schema_is_number(value) && !check_number(c, n, value, at)) {
        return false;
    }
    return check_combined(c, n, value, at);
}

/* `value` under schema `n`; false with c->fault filled, or with c->status set where the work was given up. */
static bool check_node(check *c, const schema_node *n, const cJSON *value, const place *at)
{
    if (c->status != FMP_OK) { return false; }
    if (++c->steps > MAX_STEPS) { return give_up(c, n, "too costly (more than 4 million steps)"); }
    if (n->never) { return wrong(c, n, "", at, value, NULL, "nothing here"); }
    if (cJSON_IsBool(n->source)) { return true; }
    if (c->depth == MAX_VALIDATE_DEPTH) { return give_up(c, n, "too deep (512 schemas within each other)"); }
    c->depth++;
    bool ok = check_keywords(c, n, value, at);
    c->depth--;
    return ok && c->status == FMP_OK;
}

fmp_status schema_holds(const fmp_schema *s, const schema_node *node, const cJSON *value, bool *valid,
                        fmp_err *err)
{
    check c = {.schema = s, .err = err};
    *valid = check_node(&c, node, value, NULL);
    return c.status;
}

fmp_status fmp_schema_validate(const fmp_schema *schema, const cJSON *value, bool *valid,
                               fmp_schema_fault *fault, fmp_err *err)
{
    check c = {.schema = schema, .fault = fault, .err = err};
    if (fault) { *fault = (fmp_schema_fault){"", "", "", ""}; }
    *valid = check_node(&c, schema->root, value, NULL);
    if (c.status != FMP_OK) { *valid = false; }
    return c.status;
}
