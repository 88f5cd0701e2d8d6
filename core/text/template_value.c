/*
 * template_value.c: the values of a render: Python's, as far as templates see them.
 *
 * The context is a cJSON tree that is never changed. Its containers become tpl_seq and tpl_dict one level at
 * a time, when they are first looked into, and get their path nodes then: what a template does not read
 * costs nothing.
 */
#include <math.h>
#include <stdlib.h>

#include "template_impl.h"

/* ---- memory, limits, errors ---- */

#define CHUNK_BYTES ((size_t)16 << 10)

void *tpl_take(tpl_rt *rt, size_t size)
{
    size = size ? (size + 15) & ~(size_t)15 : 16;
    if (size > rt->bump_left) {
        size_t want = size > CHUNK_BYTES ? size : CHUNK_BYTES;
        if (want > rt->max_memory - rt->memory) {
            (void)tpl_fail(rt, FMP_E_RANGE, "the render needs more memory than the limit of %zu bytes",
                           rt->max_memory);
            return NULL;
        }
        char *m = fmp_arena_take(rt->arena, want);
        if (fmp_arena_ok(rt->arena, rt->err) != FMP_OK) { return NULL; }
        rt->memory += want;
        if (size > CHUNK_BYTES / 4) { return m; } /* a large piece has its own block; the chunk goes on */
        rt->bump = m;
        rt->bump_left = want;
    }
    void *m = rt->bump;
    rt->bump += size;
    rt->bump_left -= size;
    return m;
}

fmp_status tpl_fail(tpl_rt *rt, fmp_status code, const char *fmt, ...)
{
    char text[600];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    (void)fmp_fail(rt->err, code, "%s", text);
    const tpl_node *n = rt->at;
    if (!n) { return code; }
    (void)fmp_err_at(rt->err, rt->tmpl->name, n->line, n->column, n->src_begin);
    if (n->kind < S_BLOCK) {
        uint32_t len = n->src_end - n->src_begin;
        (void)fmp_err_note(rt->err, "while evaluating: %.*s%s", (int)(len > 120 ? 120 : len),
                           rt->tmpl->source + n->src_begin, len > 120 ? "..." : "");
    }
    return code;
}

fmp_status tpl_step(tpl_rt *rt, uint64_t cost)
{
    if (cost <= rt->max_steps - rt->steps) {
        rt->steps += cost;
        return FMP_OK;
    }
    return tpl_fail(rt, FMP_E_RANGE, "the template takes more than the limit of %llu steps",
                    (unsigned long long)rt->max_steps);
}

/* ---- making values ---- */

tpl_val tpl_none(void)
{
    return (tpl_val){.type = T_NONE, .origin = ORIGIN_COMPUTED};
}

tpl_val tpl_bool(bool b)
{
    return (tpl_val){.type = T_BOOL, .origin = ORIGIN_COMPUTED, .u.b = b};
}

tpl_val tpl_int(int64_t i)
{
    return (tpl_val){.type = T_INT, .origin = ORIGIN_COMPUTED, .u.i = i};
}

tpl_val tpl_float(double f)
{
    return (tpl_val){.type = T_FLOAT, .origin = ORIGIN_COMPUTED, .u.f = f};
}

tpl_val tpl_of_str(const tpl_str *s)
{
    return (tpl_val){.type = T_STR, .u.s = s};
}

tpl_val tpl_undefined(const tpl_str *name, uint8_t of_type)
{
    return (tpl_val){.type = T_UNDEFINED, .flag = of_type, .u.s = name};
}

fmp_status tpl_seq_new(tpl_rt *rt, tpl_seq_kind kind, size_t n, tpl_val *out)
{
    tpl_seq *q;
    if (n > UINT32_MAX / sizeof(tpl_val)) { return tpl_fail(rt, FMP_E_RANGE, "a list of %zu items", n); }
    TPL_TAKE(rt, q, 1);
    memset(q, 0, sizeof *q);
    q->kind = (uint8_t)kind;
    q->n = (uint32_t)n;
    TPL_TAKE(rt, q->items, n);
    *out = (tpl_val){.type = T_SEQ, .origin = ORIGIN_COMPUTED, .u.q = q};
    return FMP_OK;
}

fmp_status tpl_dict_new(tpl_rt *rt, size_t cap, tpl_val *out)
{
    tpl_dict *d;
    if (cap > UINT32_MAX / sizeof(tpl_val)) {
        return tpl_fail(rt, FMP_E_RANGE, "an object of %zu members", cap);
    }
    TPL_TAKE(rt, d, 1);
    memset(d, 0, sizeof *d);
    d->cap = (uint32_t)cap;
    TPL_TAKE(rt, d->keys, cap);
    TPL_TAKE(rt, d->vals, cap);
    *out = (tpl_val){.type = T_DICT, .origin = ORIGIN_COMPUTED, .u.d = d};
    return FMP_OK;
}

/* ---- dictionaries ---- */

#define INDEX_FROM 16u /* fewer members are searched one by one */

static uint32_t hash_text(const char *p, size_t len)
{
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < len; i++) {
        h = (h ^ (unsigned char)p[i]) * 16777619u;
    }
    return h;
}

static bool key_is(const tpl_val *key, const char *p, size_t len)
{
    return key->type == T_STR && key->u.s->len == len && memcmp(key->u.s->p, p, len) == 0;
}

static void index_put(tpl_dict *d, uint32_t i)
{
    if (d->keys[i].type != T_STR) { return; }
    uint32_t mask = d->index_size - 1, at = hash_text(d->keys[i].u.s->p, d->keys[i].u.s->len) & mask;
    while (d->index[at] != UINT32_MAX) {
        at = (at + 1) & mask;
    }
    d->index[at] = i;
}

static fmp_status build_index(tpl_rt *rt, tpl_dict *d)
{
    uint32_t size = 64;
    while (size < d->cap * 2u) {
        size *= 2;
    }
    TPL_TAKE(rt, d->index, size);
    d->index_size = size;
    memset(d->index, 0xFF, size * sizeof *d->index);
    for (uint32_t i = 0; i < d->n; i++) {
        index_put(d, i);
    }
    return FMP_OK;
}

tpl_val *tpl_dict_get_text(tpl_dict *d, const char *key, size_t len)
{
    if (d->index) {
        uint32_t mask = d->index_size - 1;
        for (uint32_t at = hash_text(key, len) & mask; d->index[at] != UINT32_MAX; at = (at + 1) & mask) {
            if (key_is(&d->keys[d->index[at]], key, len)) { return &d->vals[d->index[at]]; }
        }
        return NULL;
    }
    for (uint32_t i = 0; i < d->n; i++) {
        if (key_is(&d->keys[i], key, len)) { return &d->vals[i]; }
    }
    return NULL;
}

fmp_status tpl_dict_get(tpl_rt *rt, tpl_dict *d, const tpl_val *key, tpl_val **slot)
{
    *slot = NULL;
    if (key->type == T_STR) {
        *slot = tpl_dict_get_text(d, key->u.s->p, key->u.s->len);
        return FMP_OK;
    }
    if (key->type == T_DICT || (key->type == T_SEQ && key->u.q->kind == Q_LIST)) {
        return tpl_fail(rt, FMP_E_DATA, "unhashable type: '%s'", tpl_type_name(key));
    }
    FMP_TRY(tpl_step(rt, d->n / 8));
    for (uint32_t i = 0; i < d->n; i++) {
        bool same;
        FMP_TRY(tpl_equal(rt, &d->keys[i], key, &same));
        if (same) {
            *slot = &d->vals[i];
            return FMP_OK;
        }
    }
    return FMP_OK;
}

fmp_status tpl_dict_put(tpl_rt *rt, tpl_dict *d, const tpl_val *key, const tpl_val *val)
{
    tpl_val *slot;
    FMP_TRY(tpl_dict_get(rt, d, key, &slot));
    if (slot) {
        *slot = *val;
        return FMP_OK;
    }
    if (d->n == d->cap) {
        uint32_t cap = d->cap ? d->cap * 2 : 4;
        tpl_val *keys, *vals;
        TPL_TAKE(rt, keys, cap);
        TPL_TAKE(rt, vals, cap);
        if (d->n) {
            memcpy(keys, d->keys, d->n * sizeof *keys);
            memcpy(vals, d->vals, d->n * sizeof *vals);
        }
        d->keys = keys;
        d->vals = vals;
        d->cap = cap;
        if (cap > INDEX_FROM) { FMP_TRY(build_index(rt, d)); }
    }
    d->keys[d->n] = *key;
    d->vals[d->n++] = *val;
    if (d->index) {
        index_put(d, d->n - 1);
    } else if (d->n > INDEX_FROM) {
        return build_index(rt, d);
    }
    return FMP_OK;
}

/* ---- the lazy view of the context ---- */

fmp_status tpl_add_path(tpl_rt *rt, uint32_t parent, const char *key, uint32_t index, uint32_t *id)
{
    if (rt->n_paths == rt->cap_paths) {
        size_t cap = rt->cap_paths * 2;
        tpl_path *paths;
        TPL_TAKE(rt, paths, cap);
        memcpy(paths, rt->paths, rt->n_paths * sizeof *paths);
        rt->paths = paths;
        rt->cap_paths = cap;
    }
    *id = (uint32_t)rt->n_paths;
    rt->paths[rt->n_paths++] = (tpl_path){parent, index, key, NULL};
    return FMP_OK;
}

static size_t count_children(const cJSON *json)
{
    size_t n = 0;
    for (const cJSON *c = json->child; c; c = c->next) {
        n++;
    }
    return n;
}

static fmp_status open_array(tpl_rt *rt, const cJSON *json, uint32_t origin, tpl_val *out)
{
    size_t n = count_children(json);
    uint32_t i = 0;
    if (rt->paths[origin].parent == ORIGIN_ROOT && n > rt->overrides->n_messages &&
        strcmp(rt->paths[origin].key, "messages") == 0) {
        n = rt->overrides->n_messages;
    }
    FMP_TRY(tpl_step(rt, n / 8));
    FMP_TRY(tpl_seq_new(rt, Q_LIST, n, out));
    out->origin = origin;
    for (const cJSON *c = json->child; c && i < n; c = c->next, i++) {
        tpl_val *slot = &out->u.q->items[i];
        *slot = (tpl_val){.type = T_LAZY, .u.json = c};
        FMP_TRY(tpl_add_path(rt, origin, NULL, i, &slot->origin));
    }
    return FMP_OK;
}

static fmp_status open_object(tpl_rt *rt, const cJSON *json, uint32_t origin, tpl_val *out)
{
    size_t n = count_children(json);
    FMP_TRY(tpl_step(rt, n / 8));
    FMP_TRY(tpl_dict_new(rt, n, out));
    out->origin = origin;
    if (n > INDEX_FROM) { FMP_TRY(build_index(rt, out->u.d)); }
    for (const cJSON *c = json->child; c; c = c->next) {
        tpl_val key, val = {.type = T_LAZY, .u.json = c};
        const char *name = c->string ? c->string : "";
        FMP_TRY(tpl_add_path(rt, origin, name, 0, &val.origin));
        FMP_TRY(tpl_str_new(rt, name, strlen(name), origin, SRC_NONE, &key));
        FMP_TRY(tpl_dict_put(rt, out->u.d, &key, &val));
    }
    return FMP_OK;
}

/* A number as json.loads reads its text: an int unless it has a fraction or an exponent. */
static fmp_status number_of_text(tpl_rt *rt, const char *text, uint32_t origin, tpl_val *out)
{
    char *end;
    if (strpbrk(text, ".eE")) {
        *out = tpl_float(strtod(text, &end));
    } else {
        size_t digits = strspn(text + (text[0] == '-'), "0123456789");
        if (digits > 18) {
            FMP_TRY(tpl_str_new(rt, text, strlen(text), origin, SRC_NONE, out));
            out->type = T_BIG;
        } else {
            *out = tpl_int(strtoll(text, &end, 10));
        }
    }
    out->origin = origin;
    return FMP_OK;
}

static void open_number(double v, uint32_t origin, tpl_val *out)
{
    if (v == floor(v) && fabs(v) < 1e15) {
        *out = tpl_int((int64_t)v);
        out->origin = origin;
        return;
    }
    /* Above that, cJSON prints some integers with an exponent: such a text was a float. */
    char text[40], *end;
    snprintf(text, sizeof text, "%1.15g", v);
    if (strtod(text, &end) != v) { snprintf(text, sizeof text, "%1.17g", v); }
    if (v == floor(v) && !strpbrk(text, ".eE") && strlen(text) <= 18) {
        *out = tpl_int(strtoll(text, &end, 10));
    } else {
        *out = tpl_float(v);
    }
    out->origin = origin;
}

fmp_status tpl_force(tpl_rt *rt, tpl_val *slot)
{
    if (slot->type != T_LAZY) { return FMP_OK; }
    const cJSON *json = slot->u.json;
    uint32_t origin = slot->origin;
    if (cJSON_IsString(json)) {
        const char *text = json->valuestring ? json->valuestring : "";
        FMP_TRY(tpl_str_new(rt, text, strlen(text), origin, 0, slot));
        slot->origin = origin; /* what an empty string has instead of runs */
        return FMP_OK;
    }
    if (cJSON_IsObject(json)) { return open_object(rt, json, origin, slot); }
    if (cJSON_IsArray(json)) { return open_array(rt, json, origin, slot); }
    if (cJSON_IsNumber(json)) {
        open_number(json->valuedouble, origin, slot);
        return FMP_OK;
    }
    if (cJSON_IsRaw(json) && json->valuestring) {
        return number_of_text(rt, json->valuestring, origin, slot);
    }
    *slot = cJSON_IsBool(json) ? tpl_bool(cJSON_IsTrue(json)) : tpl_none();
    slot->origin = origin;
    return FMP_OK;
}

/* ---- what kind of value ---- */

const char *tpl_type_name(const tpl_val *v)
{
    static const char *const seq[] = {"list",        "tuple",      "generator", "dict_keys",
                                      "dict_values", "dict_items", "range"};
    switch ((tpl_type)v->type) {
    case T_UNDEFINED: return "Undefined";
    case T_NONE: return "None";
    case T_BOOL: return "bool";
    case T_INT:
    case T_BIG: return "int";
    case T_FLOAT: return "float";
    case T_STR: return "str";
    case T_SEQ: return seq[v->u.q->kind];
    case T_DICT: return "dict";
    case T_NAMESPACE: return "namespace";
    case T_MACRO: return "macro";
    case T_METHOD: return "method";
    case T_FUNCTION: return "function";
    case T_LOOP: return "loop";
    case T_CYCLER: return "cycler";
    case T_JOINER: return "joiner";
    case T_LAZY: break;
    }
    return "value";
}

fmp_status tpl_fail_undefined(tpl_rt *rt, const tpl_val *v)
{
    static const char *const names[] = {
        [T_DICT] = "dict", [T_STR] = "str",     [T_SEQ] = "list",  [T_NONE] = "None",
        [T_INT] = "int",   [T_FLOAT] = "float", [T_BOOL] = "bool", [T_NAMESPACE] = "namespace",
        [T_LOOP] = "loop"};
    int n = (int)(v->u.s->len > 80 ? 80 : v->u.s->len);
    if (v->flag == 255) { return tpl_fail(rt, FMP_E_DATA, "'%.*s' is undefined", n, v->u.s->p); }
    const char *of = v->flag < sizeof names / sizeof *names && names[v->flag] ? names[v->flag] : "this";
    return tpl_fail(rt, FMP_E_DATA, "'%s object' has no attribute '%.*s'", of, n, v->u.s->p);
}

bool tpl_truth(const tpl_val *v)
{
    switch ((tpl_type)v->type) {
    case T_UNDEFINED:
    case T_NONE: return false;
    case T_BOOL: return v->u.b;
    case T_INT: return v->u.i != 0;
    case T_FLOAT: return v->u.f != 0.0;
    case T_STR: return v->u.s->len > 0;
    case T_SEQ: return v->u.q->kind == Q_GENERATOR || v->u.q->n > 0;
    case T_DICT: return v->u.d->n > 0;
    case T_LAZY:
    default: return true;
    }
}

bool tpl_is_number(const tpl_val *v)
{
    return v->type == T_INT || v->type == T_FLOAT || v->type == T_BOOL || v->type == T_BIG;
}

double tpl_as_double(const tpl_val *v)
{
    char *end;
    switch ((tpl_type)v->type) {
    case T_BOOL: return v->u.b ? 1.0 : 0.0;
    case T_INT: return (double)v->u.i;
    case T_FLOAT: return v->u.f;
    case T_BIG: return strtod(v->u.s->p, &end); /* the text of a cJSON_Raw node: terminated */
    default: return 0.0;
    }
}

fmp_status tpl_to_int(tpl_rt *rt, const tpl_val *v, const char *what, int64_t *out)
{
    if (v->type == T_INT || v->type == T_BOOL) {
        *out = v->type == T_INT ? v->u.i : v->u.b;
        return FMP_OK;
    }
    if (v->type == T_UNDEFINED) { return tpl_fail_undefined(rt, v); }
    return tpl_fail(rt, FMP_E_DATA, "%s: expected an int, found %s", what, tpl_type_name(v));
}

fmp_status tpl_to_str(tpl_rt *rt, const tpl_val *v, tpl_val *out)
{
    if (v->type == T_STR) {
        *out = *v;
        return FMP_OK;
    }
    tpl_sink k = {0};
    FMP_TRY(tpl_print(rt, &k, v, false, 0));
    return tpl_sink_done(rt, &k, out);
}

/* ---- equality and order ---- */

static fmp_status seq_equal(tpl_rt *rt, const tpl_seq *a, const tpl_seq *b, bool *out)
{
    *out = a == b;
    if (*out || a->kind != b->kind || a->n != b->n || a->kind == Q_GENERATOR || a->kind == Q_VALUES) {
        return FMP_OK;
    }
    *out = true;
    for (uint32_t i = 0; *out && i < a->n; i++) {
        FMP_TRY(tpl_force(rt, &a->items[i]));
        FMP_TRY(tpl_force(rt, &b->items[i]));
        FMP_TRY(tpl_equal(rt, &a->items[i], &b->items[i], out));
    }
    return FMP_OK;
}

static fmp_status dict_equal(tpl_rt *rt, tpl_dict *a, tpl_dict *b, bool *out)
{
    *out = a == b;
    if (*out || a->n != b->n) { return FMP_OK; }
    *out = true;
    for (uint32_t i = 0; *out && i < a->n; i++) {
        tpl_val *other;
        FMP_TRY(tpl_dict_get(rt, b, &a->keys[i], &other));
        if (!other) {
            *out = false;
            return FMP_OK;
        }
        FMP_TRY(tpl_force(rt, &a->vals[i]));
        FMP_TRY(tpl_force(rt, other));
        FMP_TRY(tpl_equal(rt, &a->vals[i], other, out));
    }
    return FMP_OK;
}

fmp_status tpl_equal(tpl_rt *rt, const tpl_val *a, const tpl_val *b, bool *out)
{
    FMP_TRY(tpl_step(rt, 1));
    *out = false;
    if (tpl_is_number(a) && tpl_is_number(b)) {
        if (a->type == T_BIG && b->type == T_BIG) {
            *out = tpl_str_eq(a->u.s, b->u.s);
        } else if (a->type == T_INT && b->type == T_INT) {
            *out = a->u.i == b->u.i;
        } else {
            *out = tpl_as_double(a) == tpl_as_double(b);
        }
        return FMP_OK;
    }
    if (a->type != b->type) { return FMP_OK; }
    switch ((tpl_type)a->type) {
    case T_UNDEFINED:
    case T_NONE: *out = true; return FMP_OK;
    case T_STR: *out = tpl_str_eq(a->u.s, b->u.s); return FMP_OK;
    case T_SEQ:
    case T_DICT: break;
    default: *out = a->u.d == b->u.d; return FMP_OK;
    }
    if (++rt->depth > TPL_MAX_RUN_DEPTH) {
        return tpl_fail(rt, FMP_E_RANGE, "values nested too deep to compare");
    }
    fmp_status st =
        a->type == T_SEQ ? seq_equal(rt, a->u.q, b->u.q, out) : dict_equal(rt, a->u.d, b->u.d, out);
    rt->depth--;
    return st;
}

fmp_status tpl_order(tpl_rt *rt, const tpl_val *a, const tpl_val *b, int *out)
{
    FMP_TRY(tpl_step(rt, 1));
    if (tpl_is_number(a) && tpl_is_number(b)) {
        if (a->type == T_INT && b->type == T_INT) {
            *out = (a->u.i > b->u.i) - (a->u.i < b->u.i);
        } else {
            double x = tpl_as_double(a), y = tpl_as_double(b);
            *out = (x > y) - (x < y);
        }
        return FMP_OK;
    }
    if (a->type == T_STR && b->type == T_STR) { /* UTF-8 bytes sort as code points do */
        size_t n = a->u.s->len < b->u.s->len ? a->u.s->len : b->u.s->len;
        int c = memcmp(a->u.s->p, b->u.s->p, n);
        *out = c ? (c > 0) - (c < 0) : (a->u.s->len > b->u.s->len) - (a->u.s->len < b->u.s->len);
        return FMP_OK;
    }
    if (a->type == T_SEQ && b->type == T_SEQ && a->u.q->kind == b->u.q->kind && a->u.q->kind <= Q_TUPLE) {
        const tpl_seq *x = a->u.q, *y = b->u.q;
        if (++rt->depth > TPL_MAX_RUN_DEPTH) {
            return tpl_fail(rt, FMP_E_RANGE, "values nested too deep to compare");
        }
        *out = 0;
        for (uint32_t i = 0; *out == 0 && i < x->n && i < y->n; i++) {
            FMP_TRY(tpl_force(rt, &x->items[i]));
            FMP_TRY(tpl_force(rt, &y->items[i]));
            bool same; /* as in Python: equal items need no order */
            FMP_TRY(tpl_equal(rt, &x->items[i], &y->items[i], &same));
            if (!same) { FMP_TRY(tpl_order(rt, &x->items[i], &y->items[i], out)); }
        }
        if (*out == 0) { *out = (x->n > y->n) - (x->n < y->n); }
        rt->depth--;
        return FMP_OK;
    }
    if (a->type == T_UNDEFINED) { return tpl_fail_undefined(rt, a); }
    if (b->type == T_UNDEFINED) { return tpl_fail_undefined(rt, b); }
    return tpl_fail(rt, FMP_E_DATA, "cannot order %s and %s", tpl_type_name(a), tpl_type_name(b));
}

/* ---- containers ---- */

fmp_status tpl_contains(tpl_rt *rt, const tpl_val *box, const tpl_val *item, bool *out)
{
    *out = false;
    if (box->type == T_STR) {
        if (item->type == T_UNDEFINED) { return tpl_fail_undefined(rt, item); }
        if (item->type != T_STR) {
            return tpl_fail(rt, FMP_E_DATA, "'in <string>' requires a string as left operand, found %s",
                            tpl_type_name(item));
        }
        *out = tpl_str_find(box->u.s, item->u.s, 0) != SIZE_MAX;
        return FMP_OK;
    }
    if (box->type == T_DICT) {
        tpl_val *slot;
        FMP_TRY(tpl_dict_get(rt, box->u.d, item, &slot));
        *out = slot != NULL;
        return FMP_OK;
    }
    if (box->type != T_SEQ && box->type != T_UNDEFINED) {
        return tpl_fail(rt, FMP_E_DATA, "argument of type '%s' is not iterable", tpl_type_name(box));
    }
    const tpl_val *items;
    uint32_t n;
    FMP_TRY(tpl_iterate(rt, box, &items, &n));
    for (uint32_t i = 0; !*out && i < n; i++) {
        FMP_TRY(tpl_equal(rt, &items[i], item, out));
    }
    return FMP_OK;
}

static fmp_status characters(tpl_rt *rt, const tpl_val *v, const tpl_val **items, uint32_t *n)
{
    size_t count = tpl_str_count(v->u.s), at = 0;
    tpl_val list = tpl_none();
    FMP_TRY(tpl_step(rt, count));
    FMP_TRY(tpl_seq_new(rt, Q_LIST, count, &list));
    for (size_t i = 0; i < count; i++) {
        size_t len = tpl_utf8_len(v->u.s->p + at, v->u.s->len - at);
        FMP_TRY(tpl_str_slice(rt, v, at, at + len, &list.u.q->items[i]));
        list.u.q->items[i].flag = 0;
        at += len;
    }
    *items = list.u.q->items;
    *n = (uint32_t)count;
    return FMP_OK;
}

fmp_status tpl_iterate(tpl_rt *rt, const tpl_val *v, const tpl_val **items, uint32_t *n)
{
    *items = NULL;
    *n = 0;
    switch ((tpl_type)v->type) {
    case T_UNDEFINED: return FMP_OK;
    case T_STR: return characters(rt, v, items, n);
    case T_DICT:
        *items = v->u.d->keys;
        *n = v->u.d->n;
        return tpl_step(rt, *n);
    case T_SEQ:
        if (v->u.q->spent) { return FMP_OK; }
        v->u.q->spent = v->u.q->kind == Q_GENERATOR;
        *items = v->u.q->items;
        *n = v->u.q->n;
        FMP_TRY(tpl_step(rt, *n));
        for (uint32_t i = 0; i < *n; i++) {
            FMP_TRY(tpl_force(rt, &v->u.q->items[i]));
        }
        return FMP_OK;
    default: return tpl_fail(rt, FMP_E_DATA, "'%s' object is not iterable", tpl_type_name(v));
    }
}

fmp_status tpl_length(tpl_rt *rt, const tpl_val *v, size_t *out)
{
    *out = 0;
    if (v->type == T_STR) {
        *out = tpl_str_count(v->u.s);
    } else if (v->type == T_DICT) {
        *out = v->u.d->n;
    } else if (v->type == T_LOOP) {
        *out = v->u.loop->n;
    } else if (v->type == T_SEQ && v->u.q->kind != Q_GENERATOR) {
        *out = v->u.q->n;
    } else if (v->type != T_UNDEFINED) {
        return tpl_fail(rt, FMP_E_DATA, "object of type '%s' has no length", tpl_type_name(v));
    }
    return FMP_OK;
}

/* Python's repr of a float: the shortest digits that read back as the same number. */
size_t tpl_float_repr(double f, char out[40])
{
    char digits[40], *end;
    if (isnan(f)) { return (size_t)snprintf(out, 40, "nan"); }
    if (isinf(f)) { return (size_t)snprintf(out, 40, f < 0 ? "-inf" : "inf"); }
    int precision = 1;
    do {
        snprintf(digits, sizeof digits, "%.*e", precision - 1, f);
    } while (strtod(digits, &end) != f && precision++ < 17);
    const char *e = strchr(digits, 'e');
    int exponent = (int)strtol(e + 1, &end, 10);
    if (exponent < -4 || exponent >= 16) {
        int mantissa = (int)(e - digits);
        return (size_t)snprintf(out, 40, "%.*se%c%02d", mantissa, digits, exponent < 0 ? '-' : '+',
                                abs(exponent));
    }
    int decimals = precision - 1 - exponent;
    return (size_t)snprintf(out, 40, "%.*f", decimals > 0 ? decimals : 1, f);
}
