/*
 * yaml_scalar.c: the YAML 1.2 core schema, and the small tree operations on nodes.
 *
 * YAML 1.2.2 section 10.3.2 lists exactly which plain scalars are null, booleans, integers and floats;
 * everything else is a string. Integers keep canonical decimal digits beside the double, so that none loses
 * bits.
 */
#include "yaml_private.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

static bool is_one_of(const char *text, const char *const *words)
{
    for (; *words; words++) {
        if (strcmp(text, *words) == 0) { return true; }
    }
    return false;
}

static bool is_special(fmp_yaml *node)
{
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL", NULL};
    static const char *const trues[] = {"true", "True", "TRUE", NULL};
    static const char *const falses[] = {"false", "False", "FALSE", NULL};
    static const char *const infs[] = {".inf", ".Inf", ".INF", NULL};
    static const char *const nans[] = {".nan", ".NaN", ".NAN", NULL};
    const char *unsigned_text = node->text + (node->text[0] == '-' || node->text[0] == '+');
    if (is_one_of(node->text, nulls)) {
        node->kind = FMP_YAML_NULL;
    } else if (is_one_of(node->text, trues) || is_one_of(node->text, falses)) {
        node->kind = FMP_YAML_BOOL;
        node->truth = is_one_of(node->text, trues);
    } else if (is_one_of(unsigned_text, infs)) {
        node->kind = FMP_YAML_FLOAT;
        node->number = node->text[0] == '-' ? -INFINITY : INFINITY;
    } else if (is_one_of(node->text, nans)) {
        node->kind = FMP_YAML_FLOAT;
        node->number = NAN;
    } else {
        return false;
    }
    return true;
}

static size_t skip_digits(const char *text, size_t i)
{
    while (text[i] >= '0' && text[i] <= '9') {
        i++;
    }
    return i;
}

/* [-+]? [0-9]+ */
static bool is_decimal_int(const char *text)
{
    size_t start = text[0] == '-' || text[0] == '+';
    size_t end = skip_digits(text, start);
    return end > start && text[end] == '\0';
}

/* [-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )? */
static bool is_float(const char *text)
{
    size_t i = text[0] == '-' || text[0] == '+';
    size_t whole = skip_digits(text, i) - i;
    i += whole;
    size_t fraction = 0;
    if (text[i] == '.') {
        fraction = skip_digits(text, i + 1) - (i + 1);
        i += 1 + fraction;
    }
    if (whole + fraction == 0) { return false; }
    if (text[i] == 'e' || text[i] == 'E') {
        i++;
        i += text[i] == '-' || text[i] == '+';
        size_t end = skip_digits(text, i);
        if (end == i) { return false; }
        i = end;
    }
    return text[i] == '\0';
}

/* "+007" -> "7", "-0" -> "0": the digits as JSON writes an integer. */
static const char *canonical_digits(fmp_arena *arena, const char *text)
{
    bool negative = text[0] == '-';
    const char *digits = text + (text[0] == '-' || text[0] == '+');
    while (digits[0] == '0' && digits[1] != '\0') {
        digits++;
    }
    return fmp_arena_printf(arena, "%s%s", negative && strcmp(digits, "0") != 0 ? "-" : "", digits);
}

/* 0o17 and 0x1F, up to 64 bits. */
static bool is_based_int(fmp_arena *arena, fmp_yaml *node)
{
    const char *text = node->text;
    bool octal = text[0] == '0' && text[1] == 'o', hex = text[0] == '0' && text[1] == 'x';
    if (!octal && !hex) { return false; }
    size_t n = strspn(text + 2, octal ? "01234567" : "0123456789abcdefABCDEF");
    if (n == 0 || text[2 + n] != '\0') { return false; }
    errno = 0;
    unsigned long long value = strtoull(text + 2, NULL, octal ? 8 : 16);
    if (errno != 0) { return false; }
    node->kind = FMP_YAML_INT;
    node->number = (double)value;
    node->digits = fmp_arena_printf(arena, "%llu", value);
    return true;
}

void fmp_yaml_type_(fmp_arena *arena, fmp_yaml *node)
{
    node->kind = FMP_YAML_STRING;
    if (is_special(node) || is_based_int(arena, node)) { return; }
    if (is_decimal_int(node->text)) {
        node->kind = FMP_YAML_INT;
        node->digits = canonical_digits(arena, node->text);
        node->number = strtod(node->digits, NULL);
    } else if (is_float(node->text)) {
        node->kind = FMP_YAML_FLOAT;
        node->number = strtod(node->text, NULL);
    }
}

/* ---- nodes ---- */

static fmp_yaml *make_node(fmp_arena *arena, fmp_yaml_kind kind, const fmp_mark *mark, const char *dir)
{
    fmp_yaml *node = fmp_arena_take_zero(arena, 1, sizeof *node);
    node->kind = kind;
    node->mark = *mark;
    node->dir = dir;
    return node;
}

fmp_yaml *fmp_yaml_string(fmp_arena *arena, const char *text, const fmp_mark *mark, const char *dir)
{
    fmp_yaml *node = make_node(arena, FMP_YAML_STRING, mark, dir);
    node->text = fmp_arena_strdup(arena, text);
    return node;
}

fmp_yaml *fmp_yaml_scalar(fmp_arena *arena, const char *text, const fmp_mark *mark, const char *dir)
{
    fmp_yaml *node = fmp_yaml_string(arena, text, mark, dir);
    node->plain = true;
    fmp_yaml_type_(arena, node);
    return node;
}

fmp_yaml *fmp_yaml_map(fmp_arena *arena, const fmp_mark *mark, const char *dir)
{
    return make_node(arena, FMP_YAML_MAP, mark, dir);
}

fmp_yaml *fmp_yaml_get(const fmp_yaml *map, const char *key)
{
    if (!map || map->kind != FMP_YAML_MAP) { return NULL; }
    for (size_t i = 0; i < map->n; i++) {
        if (map->keys[i]->text && strcmp(map->keys[i]->text, key) == 0) { return map->items[i]; }
    }
    return NULL;
}

void fmp_yaml_put(fmp_arena *arena, fmp_yaml *map, const char *key, fmp_yaml *value, const fmp_mark *at)
{
    for (size_t i = 0; i < map->n; i++) {
        if (map->keys[i]->text && strcmp(map->keys[i]->text, key) == 0) {
            map->items[i] = value;
            return;
        }
    }
    fmp_yaml **items = fmp_arena_take(arena, (map->n + 1) * sizeof *items);
    fmp_yaml **keys = fmp_arena_take(arena, (map->n + 1) * sizeof *keys);
    if (map->n > 0) {
        memcpy(items, map->items, map->n * sizeof *items);
        memcpy(keys, map->keys, map->n * sizeof *keys);
    }
    items[map->n] = value;
    keys[map->n] = fmp_yaml_string(arena, key, at, value->dir);
    map->items = items;
    map->keys = keys;
    map->n++;
}

/* ---- to and from JSON ---- */

static fmp_status number_to_json(const fmp_yaml *node, cJSON **out, fmp_err *err)
{
    if (!isfinite(node->number)) {
        return fmp_fail(err, FMP_E_CONFIG, "expected a finite number, found %s", node->text);
    }
    /* At 2^53 and beyond, neighbours share a double. */
    bool exact = node->kind == FMP_YAML_FLOAT || fabs(node->number) < 9007199254740992.0;
    *out = exact ? cJSON_CreateNumber(node->number) : cJSON_CreateRaw(node->digits);
    return FMP_OK;
}

static fmp_status collection_to_json(const fmp_yaml *node, cJSON **out, fmp_err *err)
{
    bool map = node->kind == FMP_YAML_MAP;
    *out = map ? cJSON_CreateObject() : cJSON_CreateArray();
    for (size_t i = 0; *out && i < node->n; i++) {
        cJSON *child = NULL;
        fmp_status status = fmp_yaml_to_json(node->items[i], &child, err);
        if (status != FMP_OK) {
            cJSON_Delete(*out);
            *out = NULL;
            return status;
        }
        if (map) {
            cJSON_AddItemToObject(*out, node->keys[i]->text, child);
        } else {
            cJSON_AddItemToArray(*out, child);
        }
    }
    return FMP_OK;
}

fmp_status fmp_yaml_to_json(const fmp_yaml *node, cJSON **out, fmp_err *err)
{
    *out = NULL;
    fmp_status status = FMP_OK;
    switch (node->kind) {
    case FMP_YAML_NULL: *out = cJSON_CreateNull(); break;
    case FMP_YAML_BOOL: *out = cJSON_CreateBool(node->truth); break;
    case FMP_YAML_STRING: *out = cJSON_CreateString(node->text); break;
    case FMP_YAML_INT:
    case FMP_YAML_FLOAT: status = number_to_json(node, out, err); break;
    case FMP_YAML_LIST:
    case FMP_YAML_MAP: status = collection_to_json(node, out, err); break;
    }
    if (status == FMP_OK && !*out) {
        return fmp_fail(err, FMP_E_NOMEM, "out of memory while making a JSON value");
    }
    return status;
}

static fmp_yaml *from_json(fmp_arena *arena, const cJSON *json, const char *dir, int depth);

static bool children_from_json(fmp_arena *arena, const cJSON *json, fmp_yaml *node, int depth)
{
    size_t n = (size_t)cJSON_GetArraySize(json), i = 0;
    node->items = fmp_arena_take(arena, (n + 1) * sizeof *node->items);
    node->keys = cJSON_IsObject(json) ? fmp_arena_take(arena, (n + 1) * sizeof *node->keys) : NULL;
    const cJSON *child;
    cJSON_ArrayForEach(child, json)
    {
        node->items[i] = from_json(arena, child, node->dir, depth + 1);
        if (!node->items[i]) { return false; }
        if (node->keys) { node->keys[i] = fmp_yaml_string(arena, child->string, &node->mark, node->dir); }
        i++;
    }
    node->n = n;
    return true;
}

static fmp_yaml *from_json(fmp_arena *arena, const cJSON *json, const char *dir, int depth)
{
    const fmp_mark nowhere = {"", 0, 0, 1};
    if (depth > FMP_YAML_MAX_DEPTH) { return NULL; }
    if (cJSON_IsString(json)) { return fmp_yaml_string(arena, json->valuestring, &nowhere, dir); }
    if (cJSON_IsNull(json)) { return make_node(arena, FMP_YAML_NULL, &nowhere, dir); }
    if (cJSON_IsBool(json)) {
        return fmp_yaml_scalar(arena, cJSON_IsTrue(json) ? "true" : "false", &nowhere, dir);
    }
    if (cJSON_IsArray(json) || cJSON_IsObject(json)) {
        fmp_yaml *node = make_node(arena, cJSON_IsArray(json) ? FMP_YAML_LIST : FMP_YAML_MAP, &nowhere, dir);
        return children_from_json(arena, json, node, depth) ? node : NULL;
    }
    fmp_buf text = {0};
    fmp_json_print(json, FMP_JSON_COMPACT, &text);
    fmp_yaml *node = text.failed ? NULL : fmp_yaml_scalar(arena, text.data, &nowhere, dir);
    fmp_buf_free(&text);
    return node;
}

fmp_yaml *fmp_yaml_from_json(fmp_arena *arena, const cJSON *json, const char *dir)
{
    return from_json(arena, json, dir, 0);
}

/* ---- words ---- */

/* `text` with control characters as '?', cut at 40 bytes. */
static void quote_text(const char *text, char *out, size_t size)
{
    size_t n = 0;
    for (; text[n] && n < 40 && n + 4 < size; n++) {
        unsigned char c = (unsigned char)text[n];
        out[n] = c < 0x20 || c == 0x7F ? '?' : (char)c;
    }
    bool cut = text[n] != '\0';
    while (cut && n > 0 && ((unsigned char)text[n] & 0xC0) == 0x80) {
        n--;
    }
    memcpy(out + n, cut ? "..." : "", cut ? 4 : 1);
}

const char *fmp_yaml_describe(const fmp_yaml *node, char out[96])
{
    char text[64] = "";
    if (node->text) { quote_text(node->text, text, sizeof text); }
    switch (node->kind) {
    case FMP_YAML_NULL: snprintf(out, 96, "nothing (null)"); break;
    case FMP_YAML_BOOL: snprintf(out, 96, "the boolean %s", text); break;
    case FMP_YAML_INT: snprintf(out, 96, "the integer %s", text); break;
    case FMP_YAML_FLOAT: snprintf(out, 96, "the number %s", text); break;
    case FMP_YAML_STRING: snprintf(out, 96, "the string '%s'", text); break;
    case FMP_YAML_LIST: snprintf(out, 96, node->n ? "a list" : "an empty list"); break;
    case FMP_YAML_MAP: snprintf(out, 96, "a map"); break;
    }
    return out;
}

void fmp_diags_error(fmp_diags *diags, const fmp_mark *mark, const char *fmt, ...)
{
    fmp_err err = FMP_ERR_INIT;
    va_list ap;
    va_start(ap, fmt);
    fmp_err_vset_(&err, fmt, ap);
    va_end(ap);
    err.code = FMP_E_CONFIG;
    fmp_err_at(&err, mark->file, mark->line, mark->column, UINT64_MAX);
    fmp_diags_add(diags, FMP_SEV_ERROR, &err, mark->span);
}

void fmp_diags_hint(fmp_diags *diags, const char *fmt, ...)
{
    if (diags->n == 0 || diags->n_dropped > 0) { return; }
    char hint[384];
    va_list ap;
    va_start(ap, fmt);
    int need = vsnprintf(hint, sizeof hint, fmt, ap);
    va_end(ap);
    fmp_err_clip_(hint, sizeof hint, need);
    fmp_err_hint(&diags->items[diags->n - 1].err, "%s", hint);
}

void fmp_diags_option(fmp_diags *diags, const char *option)
{
    if (diags->n == 0 || diags->n_dropped > 0) { return; }
    fmp_err *err = &diags->items[diags->n - 1].err;
    int need = snprintf(err->option, sizeof err->option, "%s", option);
    fmp_err_clip_(err->option, sizeof err->option, need);
}
