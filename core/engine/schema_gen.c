/*
 * schema_gen.c: the JSON Schema (draft-07) of pipeline files, from the stages' option tables.
 *
 * It is for editors: completion, help on hover, red underlines. What it cannot say (types of connections,
 * files that must exist) the checker says. Every stage is one branch of an if/then on `use`. A scalar that
 * is a ${variable} is allowed wherever the checker would see the variable's value.
 */
#include "options.h"

#include <math.h>

static cJSON *typed(const char *type)
{
    cJSON *schema = cJSON_CreateObject();
    cJSON_AddStringToObject(schema, "type", type);
    return schema;
}

static cJSON *matching(const char *pattern)
{
    cJSON *schema = typed("string");
    cJSON_AddStringToObject(schema, "pattern", pattern);
    return schema;
}

/* {"anyOf":[schema, a variable]} */
static cJSON *or_variable(cJSON *schema)
{
    cJSON *either = cJSON_CreateObject(), *any = cJSON_AddArrayToObject(either, "anyOf");
    cJSON_AddItemToArray(any, schema);
    cJSON_AddItemToArray(any, matching("^\\$\\{[A-Za-z0-9_-]+\\}$"));
    return either;
}

static void add_range(cJSON *schema, const fmp_option *o, const char *min, const char *max)
{
    if (o->min == 0 && o->max == 0) { return; }
    if (isfinite(o->min)) { cJSON_AddNumberToObject(schema, min, o->min); }
    if (isfinite(o->max)) { cJSON_AddNumberToObject(schema, max, o->max); }
}

static cJSON *one_or_list(const char *items)
{
    cJSON *schema = cJSON_CreateObject(), *any = cJSON_AddArrayToObject(schema, "anyOf"),
          *list = typed("array");
    cJSON_AddItemToObject(list, "items", typed(items));
    cJSON_AddItemToArray(any, typed(items));
    cJSON_AddItemToArray(any, list);
    return schema;
}

static cJSON *enum_schema(const char *choices)
{
    cJSON *schema = cJSON_CreateObject(), *names = cJSON_AddArrayToObject(schema, "enum");
    while (choices && *choices) {
        char name[128];
        size_t n = strcspn(choices, "|");
        snprintf(name, sizeof name, "%.*s", (int)n, choices);
        cJSON_AddItemToArray(names, cJSON_CreateString(name));
        choices += n + (choices[n] == '|');
    }
    return schema;
}

static cJSON *options_schema(const fmp_option *table);

static cJSON *map_schema(void)
{
    cJSON *schema = typed("object"), *values = cJSON_AddObjectToObject(schema, "additionalProperties");
    cJSON *types = cJSON_AddArrayToObject(values, "type");
    cJSON_AddItemToArray(types, cJSON_CreateString("string"));
    cJSON_AddItemToArray(types, cJSON_CreateString("number"));
    cJSON_AddItemToArray(types, cJSON_CreateString("boolean"));
    cJSON_AddItemToArray(types, cJSON_CreateString("null"));
    return schema;
}

static cJSON *size_schema(void)
{
    cJSON *schema = cJSON_CreateObject(), *any = cJSON_AddArrayToObject(schema, "anyOf");
    cJSON_AddItemToArray(any, typed("integer"));
    cJSON_AddItemToArray(any, matching("^[0-9]+ ?([kKMGT]i?)?B?$"));
    return schema;
}

static cJSON *type_schema(const fmp_option *o)
{
    cJSON *schema = NULL;
    switch (o->type) {
    case FMP_OPT_BOOL: return or_variable(typed("boolean"));
    case FMP_OPT_INT:
    case FMP_OPT_FLOAT:
        schema = typed(o->type == FMP_OPT_INT ? "integer" : "number");
        add_range(schema, o, "minimum", "maximum");
        return or_variable(schema);
    case FMP_OPT_STRING: return typed("string");
    case FMP_OPT_ENUM: return or_variable(enum_schema(o->choices));
    case FMP_OPT_SIZE: return or_variable(size_schema());
    case FMP_OPT_PATH: return typed("string");
    case FMP_OPT_PATHS:
    case FMP_OPT_LIST: return one_or_list("string");
    case FMP_OPT_TABLE:
        schema = typed("array");
        cJSON_AddItemToObject(schema, "items", options_schema(o->items));
        return schema;
    case FMP_OPT_MAP: return map_schema();
    case FMP_OPT_JSON: break;
    }
    return cJSON_CreateObject();
}

/* The default as a value, for the editor to insert. */
static void add_default(cJSON *schema, const fmp_option *o)
{
    fmp_arena *arena = o->def ? fmp_arena_new(0) : NULL;
    if (!arena) { return; }
    const fmp_mark nowhere = {"", 0, 0, 1};
    bool text = o->type == FMP_OPT_STRING || o->type == FMP_OPT_ENUM || o->type == FMP_OPT_PATH;
    fmp_yaml *node = NULL;
    fmp_diags ignored = {0};
    if (!text && strchr("[{", o->def[0]) && o->def[0]) {
        if (fmp_yaml_parse(o->def, strlen(o->def), "", NULL, arena, &node, &ignored, NULL) != FMP_OK) {
            node = NULL;
        }
    }
    if (!node) {
        node = text ? fmp_yaml_string(arena, o->def, &nowhere, NULL)
                    : fmp_yaml_scalar(arena, o->def, &nowhere, NULL);
    }
    cJSON *value = NULL;
    if (fmp_yaml_to_json(node, &value, NULL) == FMP_OK) { cJSON_AddItemToObject(schema, "default", value); }
    fmp_diags_free(&ignored);
    fmp_arena_free(arena);
}

static cJSON *option_schema(const fmp_option *o)
{
    cJSON *schema = type_schema(o);
    fmp_buf help = {0};
    fmp_buf_puts(&help, o->help ? o->help : "");
    if (o->unit) { fmp_buf_printf(&help, "%sUnit: %s.", help.len ? " " : "", o->unit); }
    if (help.len > 0) { cJSON_AddStringToObject(schema, "description", help.data); }
    fmp_buf_free(&help);
    add_default(schema, o);
    return schema;
}

static cJSON *closed_object(void)
{
    cJSON *schema = typed("object");
    cJSON_AddBoolToObject(schema, "additionalProperties", false);
    cJSON_AddObjectToObject(schema, "properties");
    return schema;
}

static void require(cJSON *schema, const char *name)
{
    cJSON *list = cJSON_GetObjectItemCaseSensitive(schema, "required"), *item;
    if (!list) { list = cJSON_AddArrayToObject(schema, "required"); }
    cJSON_ArrayForEach(item, list)
    {
        if (strcmp(item->valuestring, name) == 0) { return; }
    }
    cJSON_AddItemToArray(list, cJSON_CreateString(name));
}

/* Put an option where its dotted name says. */
static void add_property(cJSON *schema, const char *name, const fmp_option *o)
{
    for (;;) {
        char key[128];
        size_t n = strcspn(name, ".");
        snprintf(key, sizeof key, "%.*s", (int)n, name);
        cJSON *properties = cJSON_GetObjectItemCaseSensitive(schema, "properties");
        if (o->flags & FMP_OPT_REQUIRED) { require(schema, key); }
        if (name[n] == '\0') {
            cJSON_AddItemToObject(properties, key, option_schema(o));
            return;
        }
        cJSON *below = cJSON_GetObjectItemCaseSensitive(properties, key);
        if (!below) {
            below = closed_object();
            cJSON_AddItemToObject(properties, key, below);
        }
        schema = below;
        name += n + 1;
    }
}

static cJSON *options_schema(const fmp_option *table)
{
    cJSON *schema = closed_object();
    for (; table && table->name; table++) {
        add_property(schema, table->name, table);
    }
    return schema;
}

static bool has_required(const fmp_option *table)
{
    for (; table->name; table++) {
        if (table->flags & FMP_OPT_REQUIRED) { return true; }
    }
    return false;
}

/* {"if":{"properties":{"use":{"const":name}}},"then":{"properties":{"with":...}}} */
static cJSON *stage_branch(const fmp_stage_info *stage)
{
    cJSON *branch = cJSON_CreateObject();
    cJSON *when = cJSON_AddObjectToObject(branch, "if");
    cJSON *use = cJSON_AddObjectToObject(cJSON_AddObjectToObject(when, "properties"), "use");
    cJSON_AddStringToObject(use, "const", stage->name);
    require(when, "use");
    cJSON *then = cJSON_AddObjectToObject(branch, "then");
    cJSON_AddItemToObject(cJSON_AddObjectToObject(then, "properties"), "with",
                          options_schema(stage->options));
    if (has_required(stage->options)) { require(then, "with"); }
    return branch;
}

static cJSON *described(cJSON *schema, const char *text)
{
    cJSON_AddStringToObject(schema, "description", text);
    return schema;
}

static cJSON *policy_schema(void)
{
    cJSON *schema = cJSON_CreateObject(), *any = cJSON_AddArrayToObject(schema, "anyOf"),
          *limit = closed_object();
    cJSON_AddItemToArray(any, enum_schema("fail|skip"));
    cJSON *n = typed("integer");
    cJSON_AddNumberToObject(n, "minimum", 0);
    cJSON_AddItemToObject(cJSON_GetObjectItemCaseSensitive(limit, "properties"), "limit", n);
    require(limit, "limit");
    cJSON_AddItemToArray(any, limit);
    return schema;
}

static cJSON *from_schema(void)
{
    cJSON *schema = one_or_list("string"), *ports = typed("object");
    cJSON_AddItemToObject(ports, "additionalProperties", one_or_list("string"));
    cJSON_AddItemToArray(cJSON_GetObjectItemCaseSensitive(schema, "anyOf"), ports);
    return schema;
}

static cJSON *use_schema(const fmp_plugin_info *const *plugins, size_t n)
{
    cJSON *schema = cJSON_CreateObject(), *any = cJSON_AddArrayToObject(schema, "anyOf");
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < plugins[i]->n_stages; k++) {
            cJSON *one = cJSON_CreateObject();
            cJSON_AddStringToObject(one, "const", plugins[i]->stages[k].name);
            cJSON_AddStringToObject(one, "description", plugins[i]->stages[k].summary);
            cJSON_AddItemToArray(any, one);
        }
    }
    cJSON_AddItemToArray(any, described(matching("\\.so(#.+)?$"), "A plugin file, or FILE.so#STAGE."));
    return schema;
}

static cJSON *stage_schema(const fmp_plugin_info *const *plugins, size_t n)
{
    cJSON *schema = closed_object(), *p = cJSON_GetObjectItemCaseSensitive(schema, "properties");
    cJSON_AddItemToObject(p, "id", described(matching("^[a-z][a-z0-9_-]*$"), "Unique name of this stage."));
    cJSON_AddItemToObject(p, "use", use_schema(plugins, n));
    cJSON_AddItemToObject(p, "from",
                          described(from_schema(), "STAGE or STAGE.PORT; default: the stage before."));
    cJSON_AddItemToObject(p, "on_bad", described(policy_schema(), "What happens when records are refused."));
    cJSON_AddItemToObject(p, "isolation",
                          described(enum_schema("inprocess|process"), "Where a map stage runs."));
    cJSON_AddItemToObject(p, "seed", described(typed("integer"), "Instead of the pipeline's seed."));
    cJSON_AddItemToObject(p, "with", cJSON_CreateObject());
    cJSON *remove = cJSON_CreateObject();
    cJSON_AddTrueToObject(remove, "const");
    cJSON_AddItemToObject(p, "remove", described(remove, "Take this stage of the extended file away."));
    require(schema, "id");
    cJSON *branches = cJSON_AddArrayToObject(schema, "allOf");
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < plugins[i]->n_stages; k++) {
            cJSON_AddItemToArray(branches, stage_branch(&plugins[i]->stages[k]));
        }
    }
    return schema;
}

static cJSON *vars_schema(void)
{
    cJSON *schema = typed("object"), *var = closed_object();
    cJSON *p = cJSON_GetObjectItemCaseSensitive(var, "properties");
    cJSON_AddItemToObject(p, "type", enum_schema("bool|int|float|string|path"));
    cJSON_AddItemToObject(p, "default", cJSON_CreateObject());
    cJSON_AddItemToObject(p, "help", typed("string"));
    cJSON_AddItemToObject(schema, "additionalProperties", var);
    return schema;
}

fmp_status fmp_pipeline_schema(fmp_registry *reg, cJSON **out, fmp_err *err)
{
    const fmp_plugin_info *const *plugins = NULL;
    size_t n = 0;
    *out = NULL;
    FMP_TRY(fmp_registry_list(reg, &plugins, &n, err));
    fmp_arena *scope = fmp_json_scope(NULL);
    cJSON *schema = closed_object(), *p = cJSON_GetObjectItemCaseSensitive(schema, "properties");
    cJSON_AddStringToObject(schema, "$schema", "http://json-schema.org/draft-07/schema#");
    cJSON_AddStringToObject(schema, "title", "fmpipe pipeline");
    cJSON *version = cJSON_AddObjectToObject(p, "fmpipe");
    cJSON_AddNumberToObject(version, "const", 1);
    cJSON_AddStringToObject(version, "description", "Version of the format.");
    cJSON_AddItemToObject(p, "name", matching("^[a-z0-9_-]+$"));
    cJSON_AddItemToObject(p, "seed", typed("integer"));
    cJSON_AddItemToObject(p, "extends",
                          described(typed("string"), "A pipeline file that this one builds on."));
    cJSON_AddItemToObject(p, "vars", described(vars_schema(), "Variables, used as ${name}."));
    cJSON_AddItemToObject(p, "base", described(typed("string"), "Folder of the base model."));
    cJSON *stages = typed("array");
    cJSON_AddItemToObject(stages, "items", stage_schema(plugins, n));
    cJSON_AddItemToObject(p, "stages", stages);
    require(schema, "fmpipe");
    /* Only a file that extends another may leave out what a stage is. */
    require(cJSON_AddObjectToObject(schema, "if"), "extends");
    cJSON *alone = cJSON_AddObjectToObject(cJSON_AddObjectToObject(schema, "else"), "properties");
    require(cJSON_AddObjectToObject(cJSON_AddObjectToObject(alone, "stages"), "items"), "use");
    fmp_json_scope(scope);
    *out = schema;
    return FMP_OK;
}
