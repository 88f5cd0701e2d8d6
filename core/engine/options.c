/*
 * options.c: option tables against what was written: unknown names, missing ones, defaults, nesting.
 *
 * A dotted name ("augment.rename") is a member of a nested map. Values come out in the table's order
 * whatever the order in the file, so that equal settings make equal bytes. Types are checked in
 * option_value.c and option_path.c.
 */
#include "options_private.h"

#include <stdlib.h>
#include <unistd.h>

enum { MAX_NAMES = 512 };

/* ---- unknown names ---- */

/* Length of the first component of `name` after `prefix` (both dotted), or 0 if `name` is not below it. */
static size_t component_after(const char *name, const char *prefix, const char **start)
{
    size_t n = strlen(prefix);
    if (strncmp(name, prefix, n) != 0) { return 0; }
    *start = name + n;
    return strcspn(name + n, ".");
}

typedef enum key_meaning { KEY_UNKNOWN, KEY_OPTION, KEY_FOLDER } key_meaning;

static key_meaning key_meaning_of(const fmp_option *table, const char *prefix, const char *key)
{
    size_t len = strlen(key);
    for (; table->name; table++) {
        const char *start;
        size_t n = component_after(table->name, prefix, &start);
        if (n == 0 || n != len || strncmp(start, key, n) != 0) { continue; }
        return start[n] == '.' ? KEY_FOLDER : KEY_OPTION;
    }
    return KEY_UNKNOWN;
}

/* The names that may stand at this level, NULL-ended, then the full dotted names. */
static const char **names_at(fmp_arena *arena, const fmp_option *table, const char *prefix)
{
    const char **names = fmp_arena_take(arena, (2 * MAX_NAMES + 1) * sizeof *names);
    size_t n = 0;
    for (const fmp_option *o = table; o->name && n < MAX_NAMES; o++) {
        const char *start;
        size_t len = component_after(o->name, prefix, &start);
        if (len > 0) { names[n++] = fmp_arena_strndup(arena, start, len); }
    }
    for (const fmp_option *o = table; o->name && n < (size_t)2 * MAX_NAMES; o++) {
        if (strchr(o->name, '.')) { names[n++] = o->name; }
    }
    names[n] = NULL;
    return names;
}

/* The dotted option whose last component is `key`: somebody forgot the map around it. */
static const char *nested_elsewhere(const fmp_option *table, const char *key)
{
    for (; table->name; table++) {
        const char *last = strrchr(table->name, '.');
        if (last && strcmp(last + 1, key) == 0) { return table->name; }
    }
    return NULL;
}

static void report_unknown(fmp_option_check *c, const fmp_option *table, const char *prefix,
                           const char *shown_prefix, const fmp_yaml *key)
{
    const char *full = fmp_arena_printf(c->arena, "%s%s%s", shown_prefix, prefix, key->text);
    if (c->use) {
        fmp_diags_error(c->diags, &key->mark, "unknown option '%.80s' of stage '%s'", full, c->use);
    } else {
        fmp_diags_error(c->diags, &key->mark, "unknown option '%.80s'", full);
    }
    fmp_diags_option(c->diags, full);
    const char **names = names_at(c->arena, table, prefix);
    const char *near = fmp_nearest_name(key->text, names), *nested = nested_elsewhere(table, key->text);
    if (nested) {
        fmp_diags_hint(c->diags, "did you mean '%s'? A dot stands for a nested map", nested);
    } else if (near && strchr(near, '.')) {
        size_t n = strcspn(near, ".");
        fmp_diags_hint(c->diags, "write it nested: %.*s: {%s: ...}", (int)n, near, near + n + 1);
    } else if (near) {
        fmp_diags_hint(c->diags, "did you mean '%s'?", near);
    } else if (c->use) {
        fmp_diags_hint(c->diags, "fmpipe help %s lists its options", c->use);
    }
}

/* Every key of `given` must be an option, or a map on the way to one. */
static void check_names(fmp_option_check *c, const fmp_option *table, const fmp_yaml *given,
                        const char *prefix, const char *shown_prefix)
{
    for (size_t i = 0; i < given->n; i++) {
        const fmp_yaml *key = given->keys[i], *value = given->items[i];
        key_meaning meaning = key_meaning_of(table, prefix, key->text);
        if (meaning == KEY_UNKNOWN) { report_unknown(c, table, prefix, shown_prefix, key); }
        if (meaning != KEY_FOLDER || value->kind == FMP_YAML_NULL) { continue; }
        if (value->failed) { continue; }
        if (value->kind == FMP_YAML_MAP) {
            check_names(c, table, value, fmp_arena_printf(c->arena, "%s%s.", prefix, key->text),
                        shown_prefix);
            continue;
        }
        char found[96];
        fmp_diags_error(c->diags, &value->mark, "'%s%s%s': expected a map, found %s", shown_prefix, prefix,
                        key->text, fmp_yaml_describe(value, found));
    }
}

/* ---- values ---- */

static const fmp_yaml *find_given(const fmp_yaml *given, const char *name)
{
    while (given && *name) {
        char key[128];
        size_t n = strcspn(name, ".");
        if (n >= sizeof key) { return NULL; }
        memcpy(key, name, n);
        key[n] = '\0';
        given = fmp_yaml_get(given, key);
        name += n + (name[n] == '.');
    }
    return given;
}

/* Put `item` under a dotted name, making the objects on the way. */
static void add_nested(cJSON *object, const char *name, cJSON *item)
{
    for (;;) {
        char key[128];
        size_t n = strcspn(name, ".");
        snprintf(key, sizeof key, "%.*s", (int)n, name);
        if (name[n] == '\0') {
            if (!cJSON_AddItemToObject(object, key, item)) { cJSON_Delete(item); }
            return;
        }
        cJSON *next = cJSON_GetObjectItemCaseSensitive(object, key);
        if (!next) { next = cJSON_AddObjectToObject(object, key); }
        object = next;
        name += n + 1;
    }
}

static fmp_yaml *default_node(fmp_option_check *c, const fmp_option *o)
{
    bool text = o->type == FMP_OPT_STRING || o->type == FMP_OPT_ENUM || o->type == FMP_OPT_PATH;
    if (text) { return fmp_yaml_string(c->arena, o->def, &c->mark, c->base_dir); }
    if (o->def[0] != '[' && o->def[0] != '{') {
        return fmp_yaml_scalar(c->arena, o->def, &c->mark, c->base_dir);
    }
    fmp_diags ignored = {0};
    fmp_yaml *node = NULL;
    fmp_status status =
        fmp_yaml_parse(o->def, strlen(o->def), "default", c->base_dir, c->arena, &node, &ignored, NULL);
    fmp_diags_free(&ignored);
    if (status != FMP_OK || !node) { return fmp_yaml_string(c->arena, o->def, &c->mark, c->base_dir); }
    node->mark = c->mark;
    return node;
}

static void add_mark(fmp_option_check *c, const char *path, const fmp_mark *mark)
{
    if (c->n_marks == c->cap_marks) {
        size_t cap = c->cap_marks ? c->cap_marks * 2 : 16;
        fmp_option_mark *marks = fmp_arena_take(c->arena, cap * sizeof *marks);
        if (c->n_marks > 0) { memcpy(marks, c->marks, c->n_marks * sizeof *marks); }
        c->marks = marks;
        c->cap_marks = cap;
    }
    c->marks[c->n_marks++] = (fmp_option_mark){path, *mark};
}

static void report_missing(fmp_option_check *c, const fmp_option *o, const char *path, const fmp_mark *mark)
{
    fmp_diags_error(c->diags, mark, "missing option '%s'%s%s%s, which has no default", path,
                    c->use ? " of stage '" : "", c->use ? c->use : "", c->use ? "'" : "");
    fmp_diags_option(c->diags, path);
    if (o->help) { fmp_diags_hint(c->diags, "%s: %s", o->name, o->help); }
}

void fmp_table_check_(fmp_option_check *c, const fmp_option *table, const fmp_yaml *given, const char *prefix,
                      cJSON *values, cJSON *key_values)
{
    if (given) { check_names(c, table, given, "", prefix); }
    for (const fmp_option *o = table; o->name; o++) {
        const fmp_yaml *node = given ? find_given(given, o->name) : NULL;
        const char *path = fmp_arena_printf(c->arena, "%s%s", prefix, o->name);
        if (node && node->failed) { continue; }
        bool absent = !node || (node->kind == FMP_YAML_NULL && o->type != FMP_OPT_JSON);
        if (absent && (o->flags & FMP_OPT_REQUIRED)) {
            report_missing(c, o, path, given && prefix[0] ? &given->mark : &c->mark);
            continue;
        }
        if (absent && !o->def) { continue; }
        fmp_value_check v = {.check = c, .opt = o, .node = absent ? default_node(c, o) : node, .path = path};
        add_mark(c, path, &v.node->mark);
        if (!fmp_value_check_(&v)) { continue; }
        add_nested(values, o->name, v.value);
        if (o->flags & (FMP_OPT_COSMETIC | FMP_OPT_OUTPUT)) {
            cJSON_Delete(v.key);
        } else {
            add_nested(key_values, o->name, v.key);
        }
    }
}

void fmp_options_resolve(fmp_option_check *c, const fmp_yaml *given)
{
    static const fmp_option none = {.name = NULL};
    c->values = cJSON_CreateObject();
    c->key_values = cJSON_CreateObject();
    if (given && given->failed) { return; }
    if (given && given->kind == FMP_YAML_NULL) { given = NULL; }
    if (given && given->kind != FMP_YAML_MAP) {
        char found[96];
        fmp_diags_error(c->diags, &given->mark, "expected a map of options, found %s",
                        fmp_yaml_describe(given, found));
        given = NULL;
    }
    fmp_table_check_(c, c->table ? c->table : &none, given, "", c->values, c->key_values);
}

fmp_status fmp_options_check(const fmp_option *table, const cJSON *given, const char *base_dir,
                             cJSON **values, fmp_err *err)
{
    *values = NULL;
    fmp_arena *arena = fmp_arena_new(0);
    char *dir = realpath(base_dir ? base_dir : ".", NULL);
    fmp_yaml *node = given && arena && dir ? fmp_yaml_from_json(arena, given, dir) : NULL;
    fmp_diags diags = {0};
    fmp_status status = FMP_OK;
    if (!dir) {
        status = fmp_fail(err, FMP_E_IO, "cannot find the folder '%s'", base_dir ? base_dir : ".");
    } else if (!arena) {
        status = fmp_fail(err, FMP_E_NOMEM, "out of memory while checking options");
    } else if (given && !node) {
        status = fmp_fail(err, FMP_E_RANGE, "expected options nested at most 64 levels deep, found more");
    } else {
        fmp_option_check check = {
            .table = table, .mark = {"", 0, 0, 1}, .base_dir = dir, .arena = arena, .diags = &diags};
        fmp_options_resolve(&check, node);
        cJSON_Delete(check.key_values);
        status = fmp_arena_ok(arena, err);
        if (status == FMP_OK && diags.n > 0) {
            if (err) { *err = diags.items[0].err; }
            status = FMP_E_CONFIG;
        }
        if (status == FMP_OK) {
            *values = check.values;
        } else {
            cJSON_Delete(check.values);
        }
    }
    fmp_diags_free(&diags);
    fmp_arena_free(arena);
    free(dir);
    return status;
}
