/*
 * A schema document to nodes. Each schema object is read once, keyword by keyword, through the table
 * `keywords`; "$ref"s are resolved from a work list after the object that holds them is complete, so
 * recursion is bounded by the nesting of the text and cycles are cheap. Only what the root reaches is read: a
 * fault in an unused definition does no harm.
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
    return fmp_fail(b->err, FMP_E_DATA, "%s/%s: expected %s, found %s", n->path, value->string, what,
                    kind_of(value));
}

static fmp_status node_of(build *b, const cJSON *source, const char *base, const char *path,
                          schema_node **out);

static void *take(build *b, size_t count, size_t size)
{
    return fmp_arena_take_zero(b->s->arena, count ? count : 1, size);
}

static size_t count_of(const cJSON *parent)
{
    size_t n = 0;
    for (const cJSON *m = parent->child; m; m = m->next) {
        n++;
    }
    return n;
}

/* ----------------------------------------------------------------------------------------- keyword values */

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
                            "%s/type: expected null, boolean, integer, number, string, array, object or a "
                            "list of these, found %s%s%s",
                            n->path, cJSON_IsString(one) ? "\"" : kind_of(one),
                            cJSON_IsString(one) ? one->valuestring : "", cJSON_IsString(one) ? "\"" : "");
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
            return fmp_fail(b->err, FMP_E_DATA, "%s/%s: expected strings only, found %s", n->path,
                            value->string, kind_of(m));
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
        for (size_t i = 0; i < n->n_props && member; i++) {
            again = again || n->props[i].name == member->string;
        }
        if (member && !again) { FMP_TRY(add_prop(b, n, member, path)); }
    }
    for (const cJSON *m = value->child; m; m = m->next) {
        if (!listed(order, m->string)) { FMP_TRY(add_prop(b, n, m, path)); }
    }
    for (size_t i = 0; i < n->n_props; i++) {
        n->by_name[i] = &n->props[i];
    }
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
        FMP_TRY(schema_pattern_compile(b->s, m->string, at, p, b->err));
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

/* ---------------------------------------------------------------------------------------------- keywords */

static fmp_status read_items(build *b, schema_node *n, const cJSON *value)
{
    if (cJSON_IsArray(value)) { return read_list(b, n, value, &n->prefix); }
    n->items_keyword = "items";
    return read_schema(b, n, value, &n->items);
}

static fmp_status read_additional_items(build *b, schema_node *n, const cJSON *value)
{
    if (!cJSON_IsArray(fmp_json_get(n->source, "items"))) {
        return FMP_OK;
    } /* means something beside a tuple only */
    n->items_keyword = "additionalItems";
    return read_schema(b, n, value, &n->items);
}

/* Draft 4 has booleans that change "minimum"; later drafts have numbers of their own. */
static fmp_status read_exclusive(build *b, schema_node *n, const cJSON *value, const char *plain,
                                 const cJSON **out)
{
    if (!cJSON_IsBool(value)) { return read_number(b, n, value, out); }
    const cJSON *bound = fmp_json_get(n->source, plain);
    return cJSON_IsTrue(value) && bound ? read_number(b, n, bound, out) : FMP_OK;
}

static fmp_status read_bound(build *b, schema_node *n, const cJSON *value)
{
    if (strcmp(value->string, "minimum") == 0) { return read_number(b, n, value, &n->minimum); }
    if (strcmp(value->string, "maximum") == 0) { return read_number(b, n, value, &n->maximum); }
    if (strcmp(value->string, "exclusiveMinimum") == 0) {
        return read_exclusive(b, n, value, "minimum", &n->exclusive_minimum);
    }
    return read_exclusive(b, n, value, "maximum", &n->exclusive_maximum);
}

static fmp_status read_multiple(build *b, schema_node *n, const cJSON *value)
{
    double v;
    if (!fmp_json_number(value, &v) || !(v > 0)) { return expected(b, n, value, "a number greater than 0"); }
    n->multiple_of = value;
    return FMP_OK;
}

static fmp_status read_enum(build *b, schema_node *n, const cJSON *value)
{
    if (!cJSON_IsArray(value)) { return expected(b, n, value, "an array of values"); }
    n->enum_values = value;
    return FMP_OK;
}

static fmp_status read_const(build *b, schema_node *n, const cJSON *value)
{
    (void)b;
    n->const_value = value;
    return FMP_OK;
}

static fmp_status read_own_pattern(build *b, schema_node *n, const cJSON *value)
{
    if (!cJSON_IsString(value)) { return expected(b, n, value, "a regular expression"); }
    n->pattern = take(b, 1, sizeof *n->pattern);
    FMP_TRY(fmp_arena_ok(b->s->arena, b->err));
    return schema_pattern_compile(b->s, value->valuestring, schema_path_join(b->s, n->path, "pattern"),
                                  n->pattern, b->err);
}

static fmp_status read_format(build *b, schema_node *n, const cJSON *value)
{
    if (!cJSON_IsString(value)) { return expected(b, n, value, "the name of a format"); }
    n->format_name = value->valuestring;
    n->format = b->s->assert_formats ? schema_format_find(value->valuestring) : NULL;
    return FMP_OK;
}

static fmp_status read_required(build *b, schema_node *n, const cJSON *value)
{
    if (cJSON_IsBool(value)) {
        return FMP_OK;
    } /* draft 3's per-property flag, common in the wild, says nothing here */
    return read_strings(b, n, value, &n->required);
}

static fmp_status read_ref(build *b, schema_node *n, const cJSON *value)
{
    if (!cJSON_IsString(value)) { return expected(b, n, value, "a reference"); }
    if (strlen(value->valuestring) > 4096) {
        return expected(b, n, value, "a reference of at most 4096 bytes");
    }
    n->ref_text = value->valuestring;
    return FMP_OK;
}

static fmp_status refuse(build *b, schema_node *n, const cJSON *value)
{
    return fmp_fail(b->err, FMP_E_UNSUPPORTED, "%s/%s: this keyword is not supported", n->path,
                    value->string);
}

enum { COUNT = 1, FLAG, SCHEMA, LIST, SPECIAL };

typedef struct keyword {
    const char *name;
    int shape;
    size_t offset; /* of the member in schema_node, where `shape` is not SPECIAL */
    fmp_status (*read)(build *b, schema_node *n, const cJSON *value);
} keyword;

#define AT(member) offsetof(schema_node, member), NULL
static const keyword keywords[] = {{"type", SPECIAL, 0, read_type},
                                   {"properties", SPECIAL, 0, read_properties},
                                   {"required", SPECIAL, 0, read_required},
                                   {"items", SPECIAL, 0, read_items},
                                   {"enum", SPECIAL, 0, read_enum},
                                   {"const", SPECIAL, 0, read_const},
                                   {"additionalProperties", SCHEMA, AT(additional)},
                                   {"patternProperties", SPECIAL, 0, read_patterns},
                                   {"propertyNames", SCHEMA, AT(names)},
                                   {"minProperties", COUNT, AT(min_properties)},
                                   {"maxProperties", COUNT, AT(max_properties)},
                                   {"prefixItems", LIST, AT(prefix)},
                                   {"additionalItems", SPECIAL, 0, read_additional_items},
                                   {"minItems", COUNT, AT(min_items)},
                                   {"maxItems", COUNT, AT(max_items)},
                                   {"uniqueItems", FLAG, AT(unique)},
                                   {"contains", SCHEMA, AT(contains)},
                                   {"minContains", COUNT, AT(min_contains)},
                                   {"maxContains", COUNT, AT(max_contains)},
                                   {"minimum", SPECIAL, 0, read_bound},
                                   {"maximum", SPECIAL, 0, read_bound},
                                   {"exclusiveMinimum", SPECIAL, 0, read_bound},
                                   {"exclusiveMaximum", SPECIAL, 0, read_bound},
                                   {"multipleOf", SPECIAL, 0, read_multiple},
                                   {"minLength", COUNT, AT(min_length)},
                                   {"maxLength", COUNT, AT(max_length)},
                                   {"pattern", SPECIAL, 0, read_own_pattern},
                                   {"format", SPECIAL, 0, read_format},
                                   {"anyOf", LIST, AT(any_of)},
                                   {"allOf", LIST, AT(all_of)},
                                   {"oneOf", LIST, AT(one_of)},
                                   {"not", SCHEMA, AT(not_)},
                                   {"if", SCHEMA, AT(if_)},
                                   {"then", SCHEMA, AT(then_)},
                                   {"else", SCHEMA, AT(else_)},
                                   {"dependentRequired", SPECIAL, 0, read_dependents},
                                   {"dependentSchemas", SPECIAL, 0, read_dependents},
                                   {"dependencies", SPECIAL, 0, read_dependents},
                                   {"$ref", SPECIAL, 0, read_ref},
                                   {"$dynamicRef", SPECIAL, 0, refuse},
                                   {"$recursiveRef", SPECIAL, 0, refuse},
                                   {"unevaluatedItems", SPECIAL, 0, refuse},
                                   {"unevaluatedProperties", SPECIAL, 0, refuse}};

static bool newer_than_draft7(const char *name)
{
    static const char *const newer[] = {"prefixItems",       "minContains",      "maxContains",
                                        "dependentRequired", "dependentSchemas", "$dynamicRef",
                                        "$recursiveRef",     "unevaluatedItems", "unevaluatedProperties"};
    for (size_t i = 0; i < sizeof newer / sizeof newer[0]; i++) {
        if (strcmp(name, newer[i]) == 0) { return true; }
    }
    return false;
}

static fmp_status read_keyword(build *b, schema_node *n, const cJSON *value)
{
    const keyword *k = keywords, *end = keywords + sizeof keywords / sizeof keywords[0];
    while (k < end && strcmp(k->name, value->string) != 0) {
        k++;
    }
    if (k == end || (b->s->draft == FMP_SCHEMA_DRAFT7 && newer_than_draft7(k->name))) {
        return FMP_OK;
    } /* an annotation */
    void *member = (char *)n + k->offset;
    switch (k->shape) {
    case COUNT: return read_count(b, n, value, member);
    case FLAG: return read_flag(b, n, value, member);
    case SCHEMA: return read_schema(b, n, value, member);
    case LIST: return read_list(b, n, value, member);
    default: return k->read(b, n, value);
    }
}

/* ---------------------------------------------------------------------------------------------- nodes */

static fmp_status add_node(build *b, const cJSON *source, const char *base, const char *path,
                           schema_node **out)
{
    fmp_schema *s = b->s;
    schema_node *n = take(b, 1, sizeof *n);
    FMP_TRY(fmp_arena_ok(s->arena, b->err));
    if (!schema_grow((void **)&s->nodes, s->n_nodes, &s->nodes_cap, sizeof *s->nodes)) {
        return fmp_fail(b->err, FMP_E_NOMEM, "out of memory");
    }
    s->nodes[s->n_nodes++] = n;
    n->source = source;
    n->path = path;
    n->base = base;
    n->types = TYPE_ANY;
    n->open = true;
    n->max_length = n->max_items = n->max_properties = n->max_contains = UINT64_MAX;
    n->min_contains = 1;
    *out = n;
    return FMP_OK;
}

/*
 * The node of one schema, made when first asked for. An object's valueint, which cJSON uses for numbers only,
 * holds its node's index + 1.
 */
static fmp_status node_of(build *b, const cJSON *source, const char *base, const char *path,
                          schema_node **out)
{
    fmp_schema *s = b->s;
    if (cJSON_IsBool(source)) {
        FMP_TRY(add_node(b, source, base, path, out));
        (*out)->never = cJSON_IsFalse(source);
        return FMP_OK;
    }
    if (!cJSON_IsObject(source)) {
        return fmp_fail(b->err, FMP_E_DATA, "%s: expected a schema (an object, true or false), found %s",
                        path, kind_of(source));
    }
    if (source->valueint > 0) {
        *out = s->nodes[source->valueint - 1];
        return FMP_OK;
    }
    if (s->n_nodes >= INT32_MAX) {
        return fmp_fail(b->err, FMP_E_RANGE, "more than 2^31 schemas in one document");
    }
    FMP_TRY(add_node(b, source, schema_base(s, source, base), path, out));
    schema_node *n = *out;
    ((cJSON *)(uintptr_t)source)->valueint = (int)s->n_nodes; /* the copy is ours */
    const cJSON *ref = fmp_json_get(source, "$ref");
    if (s->draft == FMP_SCHEMA_DRAFT7 && cJSON_IsString(ref)) { return read_ref(b, n, ref); }
    for (const cJSON *m = source->child; m; m = m->next) {
        FMP_TRY(read_keyword(b, n, m));
    }
    n->open = !(n->additional && n->additional->never);
    return FMP_OK;
}

static fmp_status resolve_refs(build *b)
{
    fmp_schema *s = b->s;
    for (size_t i = 0; i < s->n_nodes; i++) { /* grows while targets are read */
        schema_node *n = s->nodes[i];
        const cJSON *place;
        const char *path, *base;
        if (!n->ref_text) { continue; }
        FMP_TRY(schema_resolve(s, n->ref_text, n->base, n->path, &place, &path, &base, b->err));
        FMP_TRY(node_of(b, place, base, path, &n->ref));
    }
    return fmp_arena_ok(s->arena, b->err);
}

static void clear_marks(cJSON *node)
{
    if (cJSON_IsObject(node)) { node->valueint = 0; }
    for (cJSON *m = node->child; m; m = m->next) {
        clear_marks(m);
    }
}

static bool deeper_than(const cJSON *node, int left)
{
    if (left == 0) { return true; }
    for (const cJSON *m = node->child; m; m = m->next) {
        if (deeper_than(m, left - 1)) { return true; }
    }
    return false;
}

static fmp_schema_draft draft_of(const cJSON *source, fmp_schema *s)
{
    const char *uri = fmp_json_str(source, "$schema", "");
    if (strstr(uri, "draft-04") || strstr(uri, "draft-03")) { s->id_key = "id"; }
    if (strstr(uri, "draft-0")) { return FMP_SCHEMA_DRAFT7; }
    return strstr(uri, "2020-12") || strstr(uri, "2019-09") ? FMP_SCHEMA_2020_12 : FMP_SCHEMA_AUTO;
}

static fmp_status compile(fmp_schema *s, const cJSON *schema, const fmp_schema_options *options, fmp_err *err)
{
    build b = {s, err};
    fmp_arena *scope = fmp_json_scope(NULL); /* the copy outlives any scope of the caller */
    s->source = cJSON_Duplicate(schema, true);
    (void)fmp_json_scope(scope);
    s->arena = fmp_arena_new(256u << 20);
    s->match = pcre2_match_context_create(NULL);
    if (!s->source || !s->arena || !s->match) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
    clear_marks(s->source);
    pcre2_set_match_limit(s->match, 1000000);
    pcre2_set_depth_limit(s->match, 1000);
    pcre2_set_heap_limit(s->match, 16384);
    s->id_key = "$id";
    s->draft = draft_of(schema, s);
    if (options) {
        s->draft = options->draft ? options->draft : s->draft;
        s->assert_formats = options->assert_formats;
    }
    FMP_TRY(schema_scan(s, err));
    FMP_TRY(node_of(&b, s->source, "", "#", &s->root));
    return resolve_refs(&b);
}

fmp_status fmp_schema_compile(const cJSON *schema, const fmp_schema_options *options, fmp_schema **out,
                              fmp_err *err)
{
    *out = NULL;
    if (!schema) {
        return fmp_fail(err, FMP_E_DATA, "expected a schema (an object, true or false), found nothing");
    }
    if (deeper_than(schema, MAX_SCHEMA_DEPTH)) {
        return fmp_fail(err, FMP_E_RANGE, "expected a schema nested at most %d deep", MAX_SCHEMA_DEPTH);
    }
    fmp_schema *s = calloc(1, sizeof *s);
    if (!s) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
    fmp_status status = compile(s, schema, options, err);
    if (status != FMP_OK) {
        fmp_schema_free(s);
        return status;
    }
    *out = s;
    return FMP_OK;
}

void fmp_schema_free(fmp_schema *s)
{
    if (!s) { return; }
    for (size_t i = 0; i < s->n_codes; i++) {
        pcre2_code_free(s->codes[i]);
    }
    free(s->codes);
    free(s->nodes);
    free(s->resources);
    free(s->anchors);
    pcre2_match_context_free(s->match);
    fmp_arena_free(s->arena);
    fmp_arena *scope = fmp_json_scope(NULL);
    cJSON_Delete(s->source);
    (void)fmp_json_scope(scope);
    free(s);
}
