/*
 * pipeline_vars.c: values from the command line (--set) and variables (${name}).
 *
 * --set changes the tree before anything is checked, so that what it gives meets exactly the checks of the
 * file. A scalar that is one ${name} takes the variable's value with its type, place and folder; elsewhere
 * the text is put in.
 */
#include "pipeline_private.h"

enum { MAX_VARS = 256 };
#define MAX_EXPANDED ((size_t)16 << 20) /* bytes that all substitutions of a file may make */

typedef enum var_type { VAR_BOOL, VAR_INT, VAR_FLOAT, VAR_STRING, VAR_PATH, VAR_INVALID } var_type;

static const char *const type_names[] = {"bool", "int", "float", "string", "path", NULL};

typedef struct variable {
    const char *name;
    var_type type;
    fmp_yaml *value; /* NULL: none, or an invalid one that has been reported */
} variable;

typedef struct variables {
    variable item[MAX_VARS];
    const char *names[MAX_VARS + 1];
    size_t n;
    size_t expanded;
    fmp_loader *l;
} variables;

/* ---- --set ---- */

static void mark_tree(fmp_yaml *node, const fmp_mark *mark)
{
    node->mark = *mark;
    for (size_t i = 0; i < node->n; i++) {
        if (node->keys) { node->keys[i]->mark = *mark; }
        mark_tree(node->items[i], mark);
    }
}

static fmp_yaml *set_value(fmp_loader *l, const char *text, const fmp_mark *mark)
{
    fmp_yaml *node = NULL;
    if (text[0] == '[' || text[0] == '{') {
        fmp_diags ignored = {0};
        if (fmp_yaml_parse(text, strlen(text), mark->file, l->cwd, l->arena, &node, &ignored, NULL) !=
            FMP_OK) {
            node = NULL; /* not a list or map after all: a text */
        }
        fmp_diags_free(&ignored);
    }
    if (!node) { node = fmp_yaml_scalar(l->arena, text, mark, l->cwd); }
    mark_tree(node, mark);
    node->verbatim = true;
    node->text = fmp_arena_strdup(l->arena, text);
    return node;
}

/* The map at `key` in `map`, made if there is none. */
static fmp_yaml *map_below(fmp_loader *l, fmp_yaml *map, const char *key, const fmp_mark *mark)
{
    fmp_yaml *below = fmp_yaml_get(map, key);
    if (below && below->kind == FMP_YAML_MAP) { return below; }
    below = fmp_yaml_map(l->arena, mark, l->cwd);
    fmp_yaml_put(l->arena, map, key, below, mark);
    return below;
}

static void set_option(fmp_loader *l, fmp_yaml *root, const char *name, fmp_yaml *value, const fmp_mark *mark)
{
    const fmp_yaml *stages = fmp_yaml_get(root, "stages");
    size_t n = stages && stages->kind == FMP_YAML_LIST ? stages->n : 0, len = strcspn(name, ".");
    const char **ids = fmp_arena_take(l->arena, (n + 1) * sizeof *ids);
    const char *id = fmp_arena_strndup(l->arena, name, len);
    size_t n_ids = 0;
    for (size_t i = 0; i < n; i++) {
        const fmp_yaml *other = fmp_yaml_get(stages->items[i], "id");
        if (!other || !other->text) { continue; }
        ids[n_ids++] = other->text;
        if (strcmp(other->text, id) != 0) { continue; }
        fmp_yaml *map = map_below(l, stages->items[i], "with", mark);
        const char *rest = name + len + 1;
        for (size_t k; rest[k = strcspn(rest, ".")] == '.'; rest += k + 1) {
            map = map_below(l, map, fmp_arena_strndup(l->arena, rest, k), mark);
        }
        fmp_yaml_put(l->arena, map, rest, value, mark);
        return;
    }
    ids[n_ids] = NULL;
    const char *near = fmp_nearest_name(id, ids);
    fmp_diags_error(l->diags, mark, "expected STAGE.OPTION=VALUE, found no stage '%.60s'", id);
    if (near) { fmp_diags_hint(l->diags, "did you mean '%s.%s'?", near, name + len + 1); }
}

static void set_variable(fmp_loader *l, fmp_yaml *root, const char *name, fmp_yaml *value,
                         const fmp_mark *mark)
{
    fmp_yaml *vars = fmp_yaml_get(root, "vars"), *var = fmp_yaml_get(vars, name);
    if (var && var->kind == FMP_YAML_MAP) {
        fmp_yaml_put(l->arena, var, "default", value, mark);
        return;
    }
    if (strcmp(name, "seed") == 0 || strcmp(name, "base") == 0 || strcmp(name, "name") == 0) {
        fmp_yaml_put(l->arena, root, name, value, mark);
        return;
    }
    size_t n = vars && vars->kind == FMP_YAML_MAP ? vars->n : 0;
    const char **names = fmp_arena_take(l->arena, (n + 4) * sizeof *names);
    for (size_t i = 0; i < n; i++) {
        names[i] = vars->keys[i]->text;
    }
    names[n] = "seed";
    names[n + 1] = "base";
    names[n + 2] = "name";
    names[n + 3] = NULL;
    const char *near = fmp_nearest_name(name, names);
    fmp_diags_error(l->diags, mark, "unknown variable '%.60s'", name);
    if (near) {
        fmp_diags_hint(l->diags, "did you mean '%s'? An option of a stage is STAGE.OPTION=VALUE", near);
    } else {
        fmp_diags_hint(l->diags, "it is VARIABLE=VALUE, seed=N, base=FOLDER or STAGE.OPTION=VALUE");
    }
}

void fmp_pipeline_set_(fmp_loader *l, fmp_yaml *root, const fmp_set *sets, size_t n_sets)
{
    for (size_t i = 0; i < n_sets; i++) {
        const char *equals = strchr(sets[i].text, '=');
        fmp_mark mark = {fmp_arena_printf(l->arena, "--set %s", sets[i].text), 0, 0, 1};
        if (!equals || equals == sets[i].text) {
            fmp_diags_error(l->diags, &mark, "expected NAME=VALUE");
            continue;
        }
        const char *name = fmp_arena_strndup(l->arena, sets[i].text, (size_t)(equals - sets[i].text));
        fmp_yaml *value = set_value(l, equals + 1, &mark);
        if (strchr(name, '.')) {
            set_option(l, root, name, value, &mark);
        } else {
            set_variable(l, root, name, value, &mark);
        }
    }
}

/* ---- variables ---- */

static bool has_type(const fmp_yaml *value, var_type type)
{
    switch (type) {
    case VAR_BOOL: return value->kind == FMP_YAML_BOOL;
    case VAR_INT: return value->kind == FMP_YAML_INT;
    case VAR_FLOAT: return value->kind == FMP_YAML_INT || value->kind == FMP_YAML_FLOAT;
    case VAR_STRING:
    case VAR_PATH: return value->kind == FMP_YAML_STRING || value->verbatim;
    default: return false;
    }
}

static var_type read_type(fmp_loader *l, const char *name, const fmp_yaml *var)
{
    const fmp_yaml *type = fmp_yaml_get(var, "type");
    char found[96];
    if (!type) {
        fmp_diags_error(l->diags, &var->mark,
                        "variable '%.60s': expected a type (bool, int, float, string or path)", name);
        return VAR_INVALID;
    }
    for (int t = 0; type_names[t] && type->text; t++) {
        if (strcmp(type->text, type_names[t]) == 0) { return (var_type)t; }
    }
    fmp_diags_error(l->diags, &type->mark, "expected bool, int, float, string or path, found %s",
                    fmp_yaml_describe(type, found));
    const char *near = type->text ? fmp_nearest_name(type->text, type_names) : NULL;
    if (near) { fmp_diags_hint(l->diags, "did you mean '%s'?", near); }
    return VAR_INVALID;
}

static void read_variable(variables *vars, const fmp_yaml *key, fmp_yaml *var)
{
    static const char *const keys[] = {"type", "default", "help", NULL};
    fmp_loader *l = vars->l;
    char found[96];
    variable *v = &vars->item[vars->n];
    *v = (variable){.name = key->text, .type = VAR_INVALID};
    vars->names[vars->n++] = key->text;
    if (var->kind != FMP_YAML_MAP) {
        fmp_diags_error(l->diags, &var->mark, "expected a map with type, default and help, found %s",
                        fmp_yaml_describe(var, found));
        fmp_diags_hint(l->diags, "%s: {type: string, default: ..., help: ...}", key->text);
        return;
    }
    fmp_check_keys_(l, var, keys, "of a variable");
    v->type = read_type(l, key->text, var);
    fmp_yaml *value = fmp_yaml_get(var, "default");
    if (!value || v->type == VAR_INVALID) {
        if (!value) {
            fmp_diags_error(l->diags, &key->mark, "variable '%s' has no default and was not set", key->text);
            fmp_diags_hint(l->diags, "run with --set %s=VALUE", key->text);
        }
        return;
    }
    if (!has_type(value, v->type)) {
        fmp_diags_error(l->diags, &value->mark, "variable '%s': expected a value of type %s, found %s",
                        key->text, type_names[v->type], fmp_yaml_describe(value, found));
        return;
    }
    if (value->kind == FMP_YAML_STRING && strstr(value->text, "${")) {
        fmp_diags_error(l->diags, &value->mark,
                        "variable '%s': expected a plain value, found another variable in it", key->text);
        return;
    }
    v->value = value;
}

static void read_variables(variables *vars, const fmp_yaml *root)
{
    const fmp_yaml *node = fmp_yaml_get(root, "vars");
    char found[96];
    if (!node || node->kind == FMP_YAML_NULL) { return; }
    if (node->kind != FMP_YAML_MAP) {
        fmp_diags_error(vars->l->diags, &node->mark, "expected a map of variables, found %s",
                        fmp_yaml_describe(node, found));
        return;
    }
    for (size_t i = 0; i < node->n; i++) {
        if (vars->n == MAX_VARS) {
            fmp_diags_error(vars->l->diags, &node->keys[i]->mark, "expected at most %d variables, found more",
                            MAX_VARS);
            return;
        }
        read_variable(vars, node->keys[i], node->items[i]);
    }
}

static const variable *find_variable(const variables *vars, const char *name, size_t len)
{
    for (size_t i = 0; i < vars->n; i++) {
        if (strlen(vars->item[i].name) == len && memcmp(vars->item[i].name, name, len) == 0) {
            return &vars->item[i];
        }
    }
    return NULL;
}

/* The variable of the "${name}" at `text`, its whole length in *len; NULL after a diagnostic. */
static const variable *variable_at(variables *vars, const fmp_yaml *node, const char *text, size_t *len)
{
    fmp_loader *l = vars->l;
    size_t n = strspn(text + 2, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-");
    fmp_mark mark = node->mark;
    if (node->plain && mark.line > 0 && mark.span >= strlen(node->text)) {
        mark.column += (uint32_t)(text - node->text);
        mark.span = (uint32_t)n + 3;
    }
    if (n == 0 || text[2 + n] != '}') {
        fmp_diags_error(l->diags, &mark, "expected a variable as in ${name}, found '%.*s'", (int)n + 2, text);
        fmp_diags_hint(l->diags, "write $${ for the text ${");
        return NULL;
    }
    *len = n + 3;
    const variable *v = find_variable(vars, text + 2, n);
    if (v) { return v; }
    char name[64];
    snprintf(name, sizeof name, "%.*s", (int)n, text + 2);
    vars->names[vars->n] = NULL;
    const char *near = fmp_nearest_name(name, vars->names);
    fmp_diags_error(l->diags, &mark, "unknown variable '%s'", name);
    if (near) {
        fmp_diags_hint(l->diags, "did you mean '%s'?", near);
    } else {
        fmp_diags_hint(l->diags, "declare it under vars:, or write $${ for the text ${");
    }
    return NULL;
}

/* `node` with the texts of its variables put in. */
static fmp_yaml *expand_text(variables *vars, fmp_yaml *node)
{
    fmp_loader *l = vars->l;
    fmp_buf out = {0};
    const char *dir = node->dir;
    bool failed = false;
    for (const char *p = node->text; *p;) {
        size_t len = 0;
        if (p[0] == '$' && p[1] == '$' && p[2] == '{') {
            fmp_buf_puts(&out, "${");
            p += 3;
        } else if (p[0] == '$' && p[1] == '{') {
            const variable *v = variable_at(vars, node, p, &len);
            failed = failed || !v || !v->value;
            if (!v) { break; }
            if (v->value) { fmp_buf_puts(&out, v->value->text); }
            if (v->value && v->type == VAR_PATH && p == node->text) { dir = v->value->dir; }
            p += len;
        } else {
            fmp_buf_putc(&out, *p++);
        }
        if (vars->expanded + out.len > MAX_EXPANDED) {
            fmp_diags_error(l->diags, &node->mark, "variables make more than %zu bytes of text",
                            MAX_EXPANDED);
            break;
        }
    }
    vars->expanded += out.len;
    fmp_yaml *made = fmp_yaml_string(l->arena, out.data ? out.data : "", &node->mark, dir);
    made->failed = failed;
    fmp_buf_free(&out);
    return made;
}

static void substitute(variables *vars, fmp_yaml **slot)
{
    fmp_yaml *node = *slot;
    for (size_t i = 0; i < node->n; i++) {
        substitute(vars, &node->items[i]);
    }
    if (node->kind != FMP_YAML_STRING || !strstr(node->text, "${")) { return; }
    size_t len = 0;
    if (strncmp(node->text, "${", 2) == 0 && strcspn(node->text, "}") + 1 == strlen(node->text)) {
        const variable *v = variable_at(vars, node, node->text, &len);
        if (v && v->value) {
            *slot = v->value;
        } else {
            node->failed = true;
        }
        return;
    }
    *slot = expand_text(vars, node);
}

void fmp_pipeline_substitute_(fmp_loader *l, fmp_yaml *root)
{
    variables *vars = fmp_arena_take_zero(l->arena, 1, sizeof *vars);
    vars->l = l;
    read_variables(vars, root);
    for (size_t i = 0; i < root->n; i++) {
        if (strcmp(root->keys[i]->text, "vars") != 0) { substitute(vars, &root->items[i]); }
    }
}
