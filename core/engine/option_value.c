/*
 * option_value.c: one value against its type, range and choices.
 */
#include "options_private.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#define EXACT_INT 9007199254740992 /* 2^53: beyond it a double skips integers */

bool fmp_value_error_(fmp_value_check *v, const char *fmt, ...)
{
    char text[600];
    va_list ap;
    va_start(ap, fmt);
    int need = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    fmp_err_clip_(text, sizeof text, need);
    fmp_diags_error(v->check->diags, &v->node->mark, "'%s': %s", v->path, text);
    fmp_diags_option(v->check->diags, v->path);
    return false;
}

const char *fmp_node_string_(const fmp_yaml *node)
{
    return node->kind == FMP_YAML_STRING || node->verbatim ? node->text : NULL;
}

static bool wrong_type(fmp_value_check *v, const char *expected)
{
    char found[96];
    fmp_value_error_(v, "expected %s, found %s", expected, fmp_yaml_describe(v->node, found));
    bool scalar =
        v->node->kind == FMP_YAML_BOOL || v->node->kind == FMP_YAML_INT || v->node->kind == FMP_YAML_FLOAT;
    if (scalar && strstr(expected, "string")) {
        fmp_diags_hint(v->check->diags, "put it in quotes: \"%s\"", v->node->text);
    }
    return false;
}

static bool take(fmp_value_check *v, cJSON *value)
{
    v->value = value;
    v->key = value ? cJSON_Duplicate(value, true) : NULL;
    if (v->value && v->key) { return true; }
    cJSON_Delete(v->value);
    return fmp_value_error_(v, "out of memory");
}

static bool has_range(const fmp_option *o)
{
    return o->min != 0 || o->max != 0;
}

static bool in_range(fmp_value_check *v, double number, const char *shown)
{
    const fmp_option *o = v->opt;
    if (!has_range(o) || (number >= o->min && number <= o->max)) { return true; }
    return fmp_value_error_(v, "expected %.15g … %.15g%s%s, found %s", o->min, o->max, o->unit ? " " : "",
                            o->unit ? o->unit : "", shown);
}

static bool take_int64(fmp_value_check *v, int64_t number)
{
    char digits[32];
    snprintf(digits, sizeof digits, "%" PRId64, number);
    if (!in_range(v, (double)number, digits)) { return false; }
    bool exact = number >= -EXACT_INT && number <= EXACT_INT;
    return take(v, exact ? cJSON_CreateNumber((double)number) : cJSON_CreateRaw(digits));
}

static bool check_int(fmp_value_check *v)
{
    const fmp_yaml *n = v->node;
    if (n->kind != FMP_YAML_INT) {
        wrong_type(v, "an integer");
        bool whole =
            n->kind == FMP_YAML_FLOAT && n->number == floor(n->number) && fabs(n->number) < EXACT_INT;
        if (whole) { fmp_diags_hint(v->check->diags, "write %.0f", n->number); }
        return false;
    }
    errno = 0;
    int64_t number = strtoll(n->digits, NULL, 10);
    if (errno != 0) { return fmp_value_error_(v, "expected an integer of 64 bits, found %.40s", n->digits); }
    return take_int64(v, number);
}

static bool check_float(fmp_value_check *v)
{
    const fmp_yaml *n = v->node;
    if (n->kind != FMP_YAML_INT && n->kind != FMP_YAML_FLOAT) { return wrong_type(v, "a number"); }
    if (!isfinite(n->number)) {
        return fmp_value_error_(v, "expected a finite number, found %.40s", n->text);
    }
    return in_range(v, n->number, n->text) && take(v, cJSON_CreateNumber(n->number));
}

static bool check_string(fmp_value_check *v)
{
    const char *text = fmp_node_string_(v->node);
    if (!text) { return wrong_type(v, "a string"); }
    const fmp_option *o = v->opt;
    double len = (double)strlen(text);
    if (has_range(o) && (len < o->min || len > o->max)) {
        return fmp_value_error_(v, "expected a string of %.15g … %.15g bytes, found one of %.15g", o->min,
                                o->max, len);
    }
    return take(v, cJSON_CreateString(text));
}

static bool check_bool(fmp_value_check *v)
{
    if (v->node->kind == FMP_YAML_BOOL) { return take(v, cJSON_CreateBool(v->node->truth)); }
    wrong_type(v, "true or false");
    static const char *const yes[] = {"yes", "on", "y"}, *const no[] = {"no", "off", "n"};
    for (size_t i = 0; i < 3 && v->node->kind == FMP_YAML_STRING; i++) {
        if (strcmp(v->node->text, yes[i]) == 0) { fmp_diags_hint(v->check->diags, "write true"); }
        if (strcmp(v->node->text, no[i]) == 0) { fmp_diags_hint(v->check->diags, "write false"); }
    }
    return false;
}

/* ---- ENUM ---- */

/* The choices of "a|b|c" as a NULL-ended array in the arena. */
static const char **split_choices(fmp_arena *arena, const char *choices)
{
    size_t n = 1;
    for (const char *p = choices; *p; p++) {
        n += *p == '|';
    }
    const char **names = fmp_arena_take(arena, (n + 1) * sizeof *names);
    for (size_t i = 0; i < n; i++) {
        size_t len = strcspn(choices, "|");
        names[i] = fmp_arena_strndup(arena, choices, len);
        choices += len + (choices[len] == '|');
    }
    names[n] = NULL;
    return names;
}

static bool check_enum(fmp_value_check *v)
{
    const char **names = split_choices(v->check->arena, v->opt->choices ? v->opt->choices : "");
    const char *text = v->node->text; /* a choice may look like a number or a boolean */
    for (const char **name = names; text && *name; name++) {
        if (strcmp(*name, text) == 0) { return take(v, cJSON_CreateString(text)); }
    }
    char list[400] = "", found[96];
    size_t used = 0;
    for (const char **name = names; *name && used + 1 < sizeof list; name++) {
        const char *between = name == names ? "" : name[1] ? ", " : " or ";
        int need = snprintf(list + used, sizeof list - used, "%s%s", between, *name);
        fmp_err_clip_(list + used, sizeof list - used, need);
        used = strlen(list);
    }
    fmp_value_error_(v, "expected %s, found %s", list, fmp_yaml_describe(v->node, found));
    const char *near = text ? fmp_nearest_name(text, names) : NULL;
    if (near) { fmp_diags_hint(v->check->diags, "did you mean '%s'?", near); }
    return false;
}

/* ---- SIZE ---- */

static bool size_unit(const char *text, uint64_t *unit)
{
    static const struct {
        const char *name;
        uint64_t bytes;
    } units[] = {{"", 1},
                 {"B", 1},
                 {"KiB", (uint64_t)1 << 10},
                 {"MiB", (uint64_t)1 << 20},
                 {"GiB", (uint64_t)1 << 30},
                 {"TiB", (uint64_t)1 << 40},
                 {"kB", 1000},
                 {"KB", 1000},
                 {"MB", 1000000},
                 {"GB", 1000000000},
                 {"TB", 1000000000000}};
    while (*text == ' ') {
        text++;
    }
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (strcmp(text, units[i].name) == 0) {
            *unit = units[i].bytes;
            return true;
        }
    }
    return false;
}

static bool check_size(fmp_value_check *v)
{
    const fmp_yaml *n = v->node;
    const char *text = n->kind == FMP_YAML_INT ? n->digits : n->kind == FMP_YAML_STRING ? n->text : "";
    size_t digits = strspn(text, "0123456789");
    uint64_t unit = 0, size = 0;
    errno = 0;
    uint64_t number = digits > 0 ? strtoull(text, NULL, 10) : 0;
    bool readable = digits > 0 && errno == 0 && size_unit(text + digits, &unit);
    if (!readable || __builtin_mul_overflow(number, unit, &size) || size > INT64_MAX) {
        return wrong_type(v, "a size such as 4096, 64KiB or 2GiB");
    }
    return take_int64(v, (int64_t)size);
}

/* ---- LIST, MAP, TABLE, JSON ---- */

static bool list_item(fmp_value_check *v, const fmp_yaml *node, cJSON *list)
{
    const char *text = fmp_node_string_(node);
    if (text && cJSON_AddItemToArray(list, cJSON_CreateString(text))) { return true; }
    fmp_value_check item = *v;
    item.node = node;
    return wrong_type(&item, "a string in the list");
}

static bool check_list(fmp_value_check *v)
{
    const fmp_yaml *n = v->node;
    if (n->kind != FMP_YAML_LIST && !fmp_node_string_(n)) { return wrong_type(v, "a list of strings"); }
    cJSON *list = cJSON_CreateArray();
    bool ok = list != NULL;
    if (n->kind != FMP_YAML_LIST) { ok = ok && list_item(v, n, list); }
    for (size_t i = 0; n->kind == FMP_YAML_LIST && i < n->n; i++) {
        fmp_value_check item = *v;
        item.path = fmp_arena_printf(v->check->arena, "%s[%zu]", v->path, i);
        ok = list_item(&item, n->items[i], list) && ok;
    }
    if (ok && has_range(v->opt) && !(n->n >= v->opt->min && n->n <= v->opt->max)) {
        ok = fmp_value_error_(v, "expected %.15g … %.15g entries, found %zu", v->opt->min, v->opt->max, n->n);
    }
    if (ok) { return take(v, list); }
    cJSON_Delete(list);
    return false;
}

static bool take_json(fmp_value_check *v)
{
    cJSON *json = NULL;
    fmp_err err = FMP_ERR_INIT;
    if (fmp_yaml_to_json(v->node, &json, &err) != FMP_OK) { return fmp_value_error_(v, "%s", err.message); }
    return take(v, json);
}

static bool check_map(fmp_value_check *v)
{
    const fmp_yaml *n = v->node;
    if (n->kind != FMP_YAML_MAP) { return wrong_type(v, "a map"); }
    bool ok = true;
    for (size_t i = 0; i < n->n; i++) {
        fmp_value_check item = *v;
        item.node = n->items[i];
        item.path = fmp_arena_printf(v->check->arena, "%s.%s", v->path, n->keys[i]->text);
        if (item.node->kind == FMP_YAML_LIST || item.node->kind == FMP_YAML_MAP) {
            ok = wrong_type(&item, "a string, number or boolean");
        }
    }
    return ok && take_json(v);
}

static bool check_table(fmp_value_check *v)
{
    const fmp_yaml *n = v->node;
    if (n->kind != FMP_YAML_LIST) { return wrong_type(v, "a list of maps"); }
    v->value = cJSON_CreateArray();
    v->key = cJSON_CreateArray();
    bool ok = v->value && v->key;
    for (size_t i = 0; ok && i < n->n; i++) {
        fmp_value_check item = *v;
        item.node = n->items[i];
        item.path = fmp_arena_printf(v->check->arena, "%s[%zu]", v->path, i);
        if (item.node->kind != FMP_YAML_MAP) {
            wrong_type(&item, "a map");
            continue;
        }
        cJSON *values = cJSON_CreateObject(), *keys = cJSON_CreateObject();
        const char *prefix = fmp_arena_printf(v->check->arena, "%s.", item.path);
        fmp_table_check_(v->check, v->opt->items, item.node, prefix, values, keys);
        cJSON_AddItemToArray(v->value, values);
        cJSON_AddItemToArray(v->key, keys);
    }
    if (!ok) { fmp_value_error_(v, "out of memory"); }
    return true;
}

bool fmp_value_check_(fmp_value_check *v)
{
    switch (v->opt->type) {
    case FMP_OPT_BOOL: return check_bool(v);
    case FMP_OPT_INT: return check_int(v);
    case FMP_OPT_FLOAT: return check_float(v);
    case FMP_OPT_STRING: return check_string(v);
    case FMP_OPT_ENUM: return check_enum(v);
    case FMP_OPT_SIZE: return check_size(v);
    case FMP_OPT_PATH: return fmp_value_check_path_(v);
    case FMP_OPT_PATHS: return fmp_value_check_paths_(v);
    case FMP_OPT_LIST: return check_list(v);
    case FMP_OPT_TABLE: return check_table(v);
    case FMP_OPT_MAP: return check_map(v);
    case FMP_OPT_JSON: return take_json(v);
    }
    return fmp_value_error_(v, "is of the unknown type %d (a defect of the plugin)", (int)v->opt->type);
}
