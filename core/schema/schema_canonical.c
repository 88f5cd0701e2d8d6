/*
 * The form in which a model is shown a schema, and in which it answers: one order of keys for both, so that
 * what is trained is what constrained decoding will ask for.
 */
#include "schema_private.h"

/* ---------------------------------------------------------------------------------------------- schemas */

static const char *const first_keys[] = {"type",     "description",          "enum",  "items", "properties",
                                         "required", "additionalProperties", "$defs", "anyOf", NULL};

static bool in_words(const char *word, const char *const *words)
{
    while (*words && strcmp(*words, word) != 0) {
        words++;
    }
    return *words != NULL;
}

static cJSON *canonical(const cJSON *schema, unsigned depth);

/*
 * Adds `value` (taken) under `key`, or as an item where it is NULL; frees it and returns false when that
 * fails.
 */
static bool add(cJSON *parent, const char *key, cJSON *value)
{
    if (value && (key ? cJSON_AddItemToObject(parent, key, value) : cJSON_AddItemToArray(parent, value))) {
        return true;
    }
    cJSON_Delete(value);
    return false;
}

/* An object or array of schemas. */
static cJSON *canonical_members(const cJSON *parent, const cJSON *order, unsigned depth)
{
    cJSON *out = cJSON_IsArray(parent) ? cJSON_CreateArray() : cJSON_CreateObject();
    bool ok = out != NULL;
    for (const cJSON *m = cJSON_IsArray(order) ? order->child : NULL; m && ok; m = m->next) {
        const cJSON *named = cJSON_IsString(m) ? fmp_json_get(parent, m->valuestring) : NULL;
        if (named && !fmp_json_get(out, named->string)) {
            ok = add(out, named->string, canonical(named, depth));
        }
    }
    for (const cJSON *m = parent->child; m && ok; m = m->next) {
        if (m->string && fmp_json_get(out, m->string)) { continue; }
        ok = add(out, m->string, canonical(m, depth));
    }
    if (ok) { return out; }
    cJSON_Delete(out);
    return NULL;
}

/*
 * The value of one keyword: schemas inside it in canonical form, data (enum, const, default, examples) as it
 * is.
 */
static cJSON *canonical_value(const cJSON *schema, const cJSON *value, unsigned depth)
{
    static const char *const maps[] = {"properties",       "$defs", "definitions", "patternProperties",
                                       "dependentSchemas", NULL};
    static const char *const lists[] = {"anyOf", "allOf", "oneOf", "prefixItems", NULL};
    static const char *const schemas[] = {"items",
                                          "additionalProperties",
                                          "additionalItems",
                                          "contains",
                                          "propertyNames",
                                          "not",
                                          "if",
                                          "then",
                                          "else",
                                          NULL};
    bool object = cJSON_IsObject(value), array = cJSON_IsArray(value);
    if (object && in_words(value->string, maps)) {
        bool ordered = strcmp(value->string, "properties") == 0;
        return canonical_members(value, ordered ? fmp_json_get(schema, "x-order") : NULL, depth);
    }
    if (array && (in_words(value->string, lists) || strcmp(value->string, "items") == 0)) {
        return canonical_members(value, NULL, depth);
    }
    return object && in_words(value->string, schemas) ? canonical(value, depth)
                                                      : cJSON_Duplicate(value, true);
}

static cJSON *canonical(const cJSON *schema, unsigned depth)
{
    if (!cJSON_IsObject(schema) || depth > MAX_SCHEMA_DEPTH) { return cJSON_Duplicate(schema, true); }
    cJSON *out = cJSON_CreateObject();
    bool ok = out != NULL;
    for (const char *const *key = first_keys; *key && ok; key++) {
        const cJSON *value = fmp_json_get(schema, *key);
        if (value) { ok = add(out, value->string, canonical_value(schema, value, depth + 1)); }
    }
    for (const cJSON *m = schema->child; m && ok; m = m->next) {
        if (!in_words(m->string, first_keys)) {
            ok = add(out, m->string, canonical_value(schema, m, depth + 1));
        }
    }
    if (ok) { return out; }
    cJSON_Delete(out);
    return NULL;
}

fmp_status fmp_schema_canonical(const cJSON *schema, cJSON **out, fmp_err *err)
{
    *out = canonical(schema, 0);
    return *out ? FMP_OK : fmp_fail(err, FMP_E_NOMEM, "out of memory");
}

/* ---------------------------------------------------------------------------------------------- values */

typedef struct arranger {
    const fmp_schema *s;
    size_t steps;
    fmp_err *err;
} arranger;

static fmp_status arrange(arranger *a, const schema_node *n, cJSON *value, unsigned depth);

static void move_to_end(cJSON *object, cJSON *member)
{
    cJSON_DetachItemViaPointer(object, member);
    cJSON_AddItemToArray(object, member); /* appends and leaves the name alone */
}

/*
 * Declared members to the front, in order: they are moved to the end one by one, then what was not declared
 * follows.
 */
static fmp_status arrange_object(arranger *a, const schema_node *n, cJSON *value, unsigned depth)
{
    if (n->n_props > 0) {
        for (size_t i = 0; i < n->n_props; i++) {
            cJSON *m = cJSON_GetObjectItemCaseSensitive(value, n->props[i].name);
            if (m) { move_to_end(value, m); }
        }
        cJSON *m = value->child;
        while (m && !schema_find_prop(n, m->string)) {
            cJSON *next = m->next;
            move_to_end(value, m);
            m = next;
        }
    }
    for (cJSON *m = value->child; m; m = m->next) {
        const schema_prop *prop = schema_find_prop(n, m->string);
        if (prop) {
            FMP_TRY(arrange(a, prop->schema, m, depth));
            continue;
        }
        bool matched = false;
        for (size_t i = 0; i < n->n_patterns && !matched; i++) {
            matched = schema_match(a->s, &n->patterns[i], m->string) > 0;
            if (matched) { FMP_TRY(arrange(a, n->patterns[i].schema, m, depth)); }
        }
        if (!matched && n->additional) { FMP_TRY(arrange(a, n->additional, m, depth)); }
    }
    return FMP_OK;
}

static fmp_status arrange_array(arranger *a, const schema_node *n, cJSON *value, unsigned depth)
{
    size_t i = 0;
    for (cJSON *m = value->child; m; m = m->next, i++) {
        const schema_node *item = i < n->prefix.n ? n->prefix.item[i] : n->items;
        if (item) { FMP_TRY(arrange(a, item, m, depth)); }
    }
    return FMP_OK;
}

static fmp_status arrange_branch(arranger *a, const schema_list *list, cJSON *value, unsigned depth)
{
    for (size_t i = 0; i < list->n; i++) {
        bool valid;
        FMP_TRY(schema_holds(a->s, list->item[i], value, &valid, a->err));
        if (valid) { return arrange(a, list->item[i], value, depth); }
    }
    return FMP_OK;
}

/* Outer keywords last: where several schemas order the same object, the one that holds it decides. */
static fmp_status arrange(arranger *a, const schema_node *n, cJSON *value, unsigned depth)
{
    if (!cJSON_IsObject(value) && !cJSON_IsArray(value)) { return FMP_OK; }
    if (depth == 0 || ++a->steps > MAX_STEPS) {
        return fmp_fail(a->err, FMP_E_RANGE,
                        "%s: the value is too deep or too costly to arrange by this schema", n->path);
    }
    if (n->ref) { FMP_TRY(arrange(a, n->ref, value, depth - 1)); }
    for (size_t i = 0; i < n->all_of.n; i++) {
        FMP_TRY(arrange(a, n->all_of.item[i], value, depth - 1));
    }
    FMP_TRY(arrange_branch(a, &n->any_of, value, depth - 1));
    FMP_TRY(arrange_branch(a, &n->one_of, value, depth - 1));
    return cJSON_IsObject(value) ? arrange_object(a, n, value, depth - 1)
                                 : arrange_array(a, n, value, depth - 1);
}

fmp_status fmp_schema_arrange(const fmp_schema *schema, const cJSON *value, cJSON **out, fmp_err *err)
{
    arranger a = {schema, 0, err};
    *out = cJSON_Duplicate(value, true);
    if (!*out) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
    fmp_status status = arrange(&a, schema->root, *out, MAX_VALIDATE_DEPTH);
    if (status != FMP_OK) {
        cJSON_Delete(*out);
        *out = NULL;
    }
    return status;
}
