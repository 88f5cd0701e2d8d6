/*
 * Plugin manifests: a descriptor as JSON, and that JSON back as the same structs. The JSON comes out of a
 * file, so reading checks every member's type and range; what is not understood is refused, never skipped.
 */
#include "manifest.h"

#include <stdlib.h>

/* The order is that of the enums; index = value - 1. */
static const char *const type_names[] = {"bool", "int",   "float", "string", "enum", "size",
                                         "path", "paths", "list",  "table",  "map",  "json"};
static const char *const kind_names[] = {"source", "map", "sink", "gather", "task"};
enum {
    N_TYPES = sizeof type_names / sizeof type_names[0],
    N_KINDS = sizeof kind_names / sizeof kind_names[0],
    MAX_ITEMS = 4096
};

/* ------------------------------------------------------------------------------------- descriptor -> JSON */

static void add_text(cJSON *object, const char *key, const char *text)
{
    if (text) { cJSON_AddStringToObject(object, key, text); }
}

/* Tables of a plugin built against an older header have smaller rows; members it lacks read as zero. */
static fmp_option option_at(const fmp_option *table, size_t stride, size_t i)
{
    fmp_option o;
    memset(&o, 0, sizeof o);
    memcpy(&o, (const char *)table + i * stride, stride < sizeof o ? stride : sizeof o);
    return o;
}

static fmp_port port_at(const fmp_port *table, size_t stride, size_t i)
{
    fmp_port p;
    memset(&p, 0, sizeof p);
    memcpy(&p, (const char *)table + i * stride, stride < sizeof p ? stride : sizeof p);
    return p;
}

static cJSON *options_json(const fmp_option *table, size_t stride, int depth)
{
    cJSON *out = cJSON_CreateArray();
    for (size_t i = 0; table && i < MAX_ITEMS && depth < 8; i++) {
        fmp_option o = option_at(table, stride, i);
        if (!o.name) { break; }
        cJSON *row = cJSON_CreateObject();
        cJSON_AddStringToObject(row, "name", o.name);
        cJSON_AddStringToObject(row, "type",
                                o.type >= 1 && (int)o.type <= N_TYPES ? type_names[o.type - 1] : "?");
        if (o.flags) { cJSON_AddNumberToObject(row, "flags", o.flags); }
        add_text(row, "default", o.def);
        add_text(row, "unit", o.unit);
        if (o.min < o.max) {
            cJSON_AddNumberToObject(row, "min", o.min);
            cJSON_AddNumberToObject(row, "max", o.max);
        }
        add_text(row, "choices", o.choices);
        add_text(row, "help", o.help);
        if (o.items) { cJSON_AddItemToObject(row, "items", options_json(o.items, stride, depth + 1)); }
        cJSON_AddItemToArray(out, row);
    }
    return out;
}

static cJSON *ports_json(const fmp_port *table, size_t stride)
{
    cJSON *out = cJSON_CreateArray();
    for (size_t i = 0; table && i < MAX_ITEMS; i++) {
        fmp_port p = port_at(table, stride, i);
        if (!p.name) { break; }
        cJSON *row = cJSON_CreateObject();
        cJSON_AddStringToObject(row, "name", p.name);
        add_text(row, "type", p.type);
        if (p.flags) { cJSON_AddNumberToObject(row, "flags", p.flags); }
        add_text(row, "help", p.help);
        cJSON_AddItemToArray(out, row);
    }
    return out;
}

cJSON *fmp_manifest_from_descriptor(const fmp_plugin *plugin)
{
    cJSON *out = cJSON_CreateObject(), *stages = cJSON_CreateArray();
    cJSON_AddNumberToObject(out, "abi_major", plugin->abi_major);
    cJSON_AddNumberToObject(out, "abi_minor_needed", plugin->abi_minor_needed);
    add_text(out, "name", plugin->name);
    add_text(out, "version", plugin->version);
    add_text(out, "license", plugin->license);
    for (size_t i = 0; plugin->stages && plugin->stages[i]; i++) {
        const fmp_stage *s = plugin->stages[i];
        cJSON *row = cJSON_CreateObject();
        add_text(row, "name", s->name);
        cJSON_AddNumberToObject(row, "version", s->version);
        cJSON_AddStringToObject(row, "kind",
                                s->kind >= 1 && (int)s->kind <= N_KINDS ? kind_names[s->kind - 1] : "?");
        if (s->flags) { cJSON_AddNumberToObject(row, "flags", s->flags); }
        add_text(row, "summary", s->summary);
        cJSON_AddItemToObject(row, "inputs", ports_json(s->inputs, plugin->port_size));
        cJSON_AddItemToObject(row, "outputs", ports_json(s->outputs, plugin->port_size));
        cJSON_AddItemToObject(row, "options", options_json(s->options, plugin->option_size, 0));
        cJSON_AddItemToArray(stages, row);
    }
    cJSON_AddItemToObject(out, "stages", stages);
    return out;
}

/* ------------------------------------------------------------------------------------------- JSON -> info */

static fmp_status wrong(fmp_err *err, const char *where, const char *key, const char *want)
{
    return fmp_fail(err, FMP_E_PLUGIN, "plugin manifest: expected '%s' of %s to be %s", key, where, want);
}

/* A string member, copied; required ones may not be missing or empty. */
static fmp_status text_of(fmp_arena *arena, const cJSON *row, const char *key, bool required,
                          const char **out, fmp_err *err)
{
    const cJSON *node = fmp_json_get(row, key);
    *out = NULL;
    if (!node && !required) { return FMP_OK; }
    if (!cJSON_IsString(node) || (required && !node->valuestring[0])) {
        return wrong(err, "a row", key, "text");
    }
    *out = fmp_arena_strdup(arena, node->valuestring);
    return FMP_OK;
}

static fmp_status u32_of(const cJSON *row, const char *key, uint32_t *out, fmp_err *err)
{
    const cJSON *node = fmp_json_get(row, key);
    double v = 0;
    *out = 0;
    if (!node) { return FMP_OK; }
    if (!fmp_json_number(node, &v) || v < 0 || v > UINT32_MAX || v != (double)(uint32_t)v) {
        return wrong(err, "a row", key, "a whole number");
    }
    *out = (uint32_t)v;
    return FMP_OK;
}

static int index_of(const char *word, const char *const *names, int n)
{
    for (int i = 0; word && i < n; i++) {
        if (strcmp(word, names[i]) == 0) { return i; }
    }
    return -1;
}

static fmp_status parse_options(fmp_arena *arena, const cJSON *rows, int depth, const fmp_option **out,
                                fmp_err *err)
{
    size_t n = (size_t)cJSON_GetArraySize(rows), i = 0;
    if ((rows && !cJSON_IsArray(rows)) || n > MAX_ITEMS || depth > 7) {
        return wrong(err, "a stage", "options", "a list");
    }
    fmp_option *table = fmp_arena_take_zero(arena, n + 1, sizeof *table);
    FMP_TRY(fmp_arena_ok(arena, err));
    const cJSON *row;
    cJSON_ArrayForEach(row, rows)
    {
        fmp_option *o = &table[i++];
        FMP_TRY(text_of(arena, row, "name", true, &o->name, err));
        int type = index_of(fmp_json_str(row, "type", NULL), type_names, N_TYPES);
        if (type < 0) { return wrong(err, o->name, "type", "an option type"); }
        o->type = (fmp_opt_type)(type + 1);
        FMP_TRY(u32_of(row, "flags", &o->flags, err));
        FMP_TRY(text_of(arena, row, "default", false, &o->def, err));
        FMP_TRY(text_of(arena, row, "unit", false, &o->unit, err));
        FMP_TRY(text_of(arena, row, "choices", false, &o->choices, err));
        FMP_TRY(text_of(arena, row, "help", false, &o->help, err));
        if (fmp_json_get(row, "min") && !fmp_json_number(fmp_json_get(row, "min"), &o->min)) {
            return wrong(err, o->name, "min", "a number");
        }
        if (fmp_json_get(row, "max") && !fmp_json_number(fmp_json_get(row, "max"), &o->max)) {
            return wrong(err, o->name, "max", "a number");
        }
        if (o->type == FMP_OPT_ENUM && !o->choices) {
            return wrong(err, o->name, "choices", "the allowed words");
        }
        if (o->type == FMP_OPT_TABLE) {
            FMP_TRY(parse_options(arena, fmp_json_get(row, "items"), depth + 1, &o->items, err));
            if (!o->items->name) { return wrong(err, o->name, "items", "the options of a row"); }
        }
    }
    *out = table;
    return FMP_OK;
}

static fmp_status parse_ports(fmp_arena *arena, const cJSON *rows, const fmp_port **out, fmp_err *err)
{
    size_t n = (size_t)cJSON_GetArraySize(rows), i = 0;
    if ((rows && !cJSON_IsArray(rows)) || n > MAX_ITEMS) {
        return wrong(err, "a stage", "inputs and outputs", "lists");
    }
    fmp_port *table = fmp_arena_take_zero(arena, n + 1, sizeof *table);
    FMP_TRY(fmp_arena_ok(arena, err));
    const cJSON *row;
    cJSON_ArrayForEach(row, rows)
    {
        fmp_port *p = &table[i++];
        FMP_TRY(text_of(arena, row, "name", true, &p->name, err));
        FMP_TRY(text_of(arena, row, "type", true, &p->type, err));
        FMP_TRY(text_of(arena, row, "help", false, &p->help, err));
        FMP_TRY(u32_of(row, "flags", &p->flags, err));
    }
    *out = table;
    return FMP_OK;
}

/* "team.verb": lower case, digits and '_' in at least two parts. */
static bool stage_name_ok(const char *name)
{
    bool dot = false;
    for (const char *p = name; *p; p++) {
        bool word = (*p >= 'a' && *p <= 'z') || (*p >= '0' && *p <= '9') || *p == '_';
        if (*p == '.') {
            if (p == name || p[-1] == '.' || !p[1]) { return false; }
            dot = true;
        } else if (!word) {
            return false;
        }
    }
    return dot && strlen(name) < 64;
}

static fmp_status parse_stage(fmp_plugin_info *info, const cJSON *row, fmp_stage_info *s, fmp_err *err)
{
    FMP_TRY(text_of(info->arena, row, "name", true, &s->name, err));
    if (!stage_name_ok(s->name)) {
        return wrong(err, s->name, "name", "of the form team.verb, in lower case, digits and _");
    }
    FMP_TRY(u32_of(row, "version", &s->version, err));
    FMP_TRY(u32_of(row, "flags", &s->flags, err));
    int kind = index_of(fmp_json_str(row, "kind", NULL), kind_names, N_KINDS);
    if (kind < 0) { return wrong(err, s->name, "kind", "source, map, sink, gather or task"); }
    s->kind = (fmp_stage_kind)(kind + 1);
    FMP_TRY(text_of(info->arena, row, "summary", false, &s->summary, err));
    FMP_TRY(parse_ports(info->arena, fmp_json_get(row, "inputs"), &s->inputs, err));
    FMP_TRY(parse_ports(info->arena, fmp_json_get(row, "outputs"), &s->outputs, err));
    FMP_TRY(parse_options(info->arena, fmp_json_get(row, "options"), 0, &s->options, err));
    s->plugin = info;
    for (const fmp_option *o = s->options; o->name; o++) {
        for (const fmp_option *p = s->options; p < o; p++) {
            if (strcmp(o->name, p->name) == 0) { return wrong(err, s->name, o->name, "declared once"); }
        }
    }
    return FMP_OK;
}

static fmp_status parse_into(fmp_plugin_info *out, fmp_err *err)
{
    const cJSON *row, *rows = fmp_json_get(out->json, "stages");
    const char *text;
    size_t i = 0;
    FMP_TRY(u32_of(out->json, "abi_major", &out->abi_major, err));
    FMP_TRY(u32_of(out->json, "abi_minor_needed", &out->abi_minor_needed, err));
    FMP_TRY(text_of(out->arena, out->json, "name", true, &text, err));
    out->name = fmp_arena_strdup(out->arena, text);
    FMP_TRY(text_of(out->arena, out->json, "version", true, &text, err));
    out->version = fmp_arena_strdup(out->arena, text);
    FMP_TRY(text_of(out->arena, out->json, "license", false, &text, err));
    out->license = fmp_arena_strdup(out->arena, text ? text : "");
    if (!cJSON_IsArray(rows) || !rows->child || cJSON_GetArraySize(rows) > MAX_ITEMS) {
        return wrong(err, "the plugin", "stages", "a list of stages");
    }
    out->n_stages = (size_t)cJSON_GetArraySize(rows);
    out->stages = fmp_arena_take_zero(out->arena, out->n_stages, sizeof *out->stages);
    FMP_TRY(fmp_arena_ok(out->arena, err));
    cJSON_ArrayForEach(row, rows)
    {
        FMP_TRY(parse_stage(out, row, &out->stages[i++], err));
    }
    return fmp_arena_ok(out->arena, err);
}

fmp_status fmp_manifest_parse(const char *json, size_t len, fmp_plugin_info *out, fmp_err *err)
{
    fmp_json_limits limits = {.max_bytes = 4u << 20, .max_depth = 32};
    memset(out, 0, sizeof *out);
    out->arena = fmp_arena_new(64u << 20);
    if (!out->arena) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
    fmp_arena *outer = fmp_json_scope(out->arena);
    fmp_status status = fmp_json_parse(json, len, &limits, &out->json, err);
    fmp_json_scope(outer);
    if (status == FMP_OK) { status = parse_into(out, err); }
    if (status != FMP_OK) {
        fmp_arena_free(out->arena);
        memset(out, 0, sizeof *out);
        fmp_err_note(err, "while reading the plugin's manifest");
        return err ? (fmp_status)(err->code = FMP_E_PLUGIN) : FMP_E_PLUGIN;
    }
    return FMP_OK;
}
