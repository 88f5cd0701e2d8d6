/*
 * tools.format: conversations with tools, made sure of.
 *
 * Every tool declaration is checked (name, schema, no two alike) and every call is checked against the schema
 * of the tool it names: a call that a constrained decoder could not have made would teach the model to make
 * it. Then the list is brought to size and order, and arguments to the order of their schema. Read
 * format_record first.
 */
#include <fmpipe/json.h>
#include <fmpipe/plugin.h>
#include <fmpipe/schema.h>

#include <stdlib.h>

enum { MAX_TOOLS = 256 };

typedef struct tools_format {
    const fmp_host *host;
    const fmp_ext_rng *rng;
    bool arrange, shuffle, drop_descriptions, toolkit, assert_formats, require_tools;
    size_t tools_max; /* 0: all */
} tools_format;

typedef struct tool {
    cJSON *node; /* in the document's list */
    const char *name;
    fmp_schema *schema;
    bool called;
    uint64_t draw; /* decides who stays and where */
} tool;

/* One record on its way through. */
typedef struct work {
    const tools_format *s;
    const fmp_record *record;
    cJSON *doc;
    tool tools[MAX_TOOLS];
    size_t n_tools, n_calls;
    const char *reason; /* set where the record is refused */
    char path[160];
    fmp_err why;
} work;

static const fmp_option options[] = {
    {.name = "arguments",
     .type = FMP_OPT_ENUM,
     .def = "schema",
     .choices = "schema|keep",
     .help =
         "Order of the arguments in calls: as the tool's properties stand (x-order first), or as written."},
    {.name = "formats",
     .type = FMP_OPT_BOOL,
     .def = "false",
     .help = "Check \"format\" in arguments too (date, time, date-time, email, uuid, uri, ipv4, ipv6, "
             "hostname)."},
    {.name = "tools_max",
     .type = FMP_OPT_INT,
     .unit = "tools",
     .min = 1,
     .max = 256,
     .help = "Most tools of a conversation: those that are called stay, the others are sampled. Left out: "
             "all stay."},
    {.name = "shuffle",
     .type = FMP_OPT_BOOL,
     .def = "false",
     .help = "Put the tools in an order drawn for each record, so that no place in the list means anything."},
    {.name = "drop_descriptions",
     .type = FMP_OPT_BOOL,
     .def = "false",
     .help = "Leave out the descriptions of tools and arguments."},
    {.name = "style",
     .type = FMP_OPT_ENUM,
     .def = "openai",
     .choices = "openai|toolkit",
     .help = "Where a tool keeps its schema: parameters (openai) or arguments (toolkit)."},
    {.name = "require_tools",
     .type = FMP_OPT_BOOL,
     .def = "false",
     .help = "Refuse conversations that declare no tools. Calls without a declaration are always refused."},
    {.name = NULL}};

static const fmp_port inputs[] = {{.name = "records", .type = FMP_PORT_RECORDS, .help = "Conversations."},
                                  {.name = NULL}};
static const fmp_port outputs[] = {{.name = "records",
                                    .type = FMP_PORT_RECORDS,
                                    .help = "The same, tools and calls checked and in one form."},
                                   {.name = NULL}};

/* ------------------------------------------------------------------------------------------- small things */

/* The record will be refused: where and why. Returns FMP_E_DATA so that callers unwind. */
FMP_PRINTF(4, 5)
static fmp_status refuse(work *w, const char *reason, const char *path, const char *fmt, ...)
{
    va_list ap;
    w->reason = reason;
    snprintf(w->path, sizeof w->path, "%s", path);
    fmp_err_clear(&w->why);
    w->why.code = FMP_E_DATA;
    va_start(ap, fmt);
    fmp_err_vset_(&w->why, fmt, ap);
    va_end(ap);
    return FMP_E_DATA;
}

static fmp_status no_memory(work *w)
{
    return fmp_fail(&w->why, FMP_E_NOMEM, "out of memory");
}

static uint64_t stream_of(const fmp_record *record)
{
    uint64_t v = 0;
    for (const char *p = record->id; *p; p++) {
        v = v << 4 | (uint64_t)(*p <= '9' ? *p - '0' : (*p | 0x20) - 'a' + 10);
    }
    return v;
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

/* ^[A-Za-z0-9_.-]{1,64}$ */
static bool is_name(const char *name)
{
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-";
    size_t n = strlen(name);
    return n >= 1 && n <= 64 && strspn(name, allowed) == n;
}

static tool *find_tool(work *w, const char *name)
{
    for (size_t i = 0; i < w->n_tools; i++) {
        if (strcmp(w->tools[i].name, name) == 0) { return &w->tools[i]; }
    }
    return NULL;
}

/* Renames a member in place. */
static fmp_status rename_key(work *w, cJSON *object, const char *from, const char *to)
{
    cJSON *member = cJSON_GetObjectItemCaseSensitive(object, from);
    if (!member) { return FMP_OK; }
    cJSON *copy = cJSON_Duplicate(member, true);
    cJSON *anchor = member->next;
    cJSON_DeleteItemFromObjectCaseSensitive(object, from);
    if (!copy || !cJSON_AddItemToObject(object, to, copy)) { return no_memory(w); }
    while (anchor) { /* what stood behind it goes behind it again */
        cJSON *next = anchor->next == copy ? NULL : anchor->next;
        cJSON_DetachItemViaPointer(object, anchor);
        cJSON_AddItemToArray(object, anchor);
        anchor = next;
    }
    return FMP_OK;
}

/* ---------------------------------------------------------------------------------------------- tools */

static cJSON *function_of(cJSON *node)
{
    cJSON *function = cJSON_GetObjectItemCaseSensitive(node, "function");
    return function ? function : node;
}

static const cJSON *schema_of(const cJSON *function)
{
    const cJSON *schema = fmp_json_get(function, "parameters");
    return schema ? schema : fmp_json_get(function, "arguments");
}

/* A tool without a schema takes no arguments. */
static fmp_status compile_tool(work *w, tool *t, const cJSON *schema, const char *path)
{
    fmp_schema_options how = {.assert_formats = w->s->assert_formats};
    char where[120];
    cJSON *none = NULL;
    snprintf(where, sizeof where, "%s.parameters", path);
    if (schema && !cJSON_IsObject(schema)) {
        return refuse(w, "tool_schema", where, "expected a JSON Schema object, found %s", kind_of(schema));
    }
    const cJSON *type = fmp_json_get(schema, "type");
    if (type && strcmp(fmp_json_str(schema, "type", ""), "object") != 0) {
        return refuse(w, "tool_schema", where, "expected the type object, found %s%s%s",
                      cJSON_IsString(type) ? "\"" : "",
                      cJSON_IsString(type) ? type->valuestring : kind_of(type),
                      cJSON_IsString(type) ? "\"" : "");
    }
    if (!schema) {
        none = cJSON_CreateObject();
        if (!none || !cJSON_AddNumberToObject(none, "maxProperties", 0)) { return no_memory(w); }
    }
    fmp_status status = fmp_schema_compile(schema ? schema : none, &how, &t->schema, &w->why);
    cJSON_Delete(none);
    if (status == FMP_OK || status == FMP_E_NOMEM) { return status; }
    w->reason = "tool_schema";
    snprintf(w->path, sizeof w->path, "%s", where);
    return status;
}

static fmp_status check_tool(work *w, cJSON *node, int index)
{
    char path[64];
    cJSON *function = function_of(node);
    const char *name = fmp_json_str(function, "name", NULL);
    snprintf(path, sizeof path, "tools[%d]%s", index, function == node ? "" : ".function");
    if (!name || !is_name(name)) {
        return refuse(w, "tool_name", path,
                      "expected a name of 1 to 64 letters, digits, '_', '.' and '-', found %s%.80s%s",
                      name ? "'" : "", name ? name : "none", name ? "'" : "");
    }
    if (find_tool(w, name)) {
        return refuse(w, "tool_twice", path, "expected each tool once, found '%s' again", name);
    }
    if (w->n_tools == MAX_TOOLS) {
        return refuse(w, "too_many_tools", "tools", "expected at most %d tools, found more", MAX_TOOLS);
    }
    tool *t = &w->tools[w->n_tools++];
    *t = (tool){.node = node, .name = name};
    return compile_tool(w, t, schema_of(function), path);
}

static fmp_status check_tools(work *w)
{
    cJSON *node;
    int i = 0;
    cJSON_ArrayForEach(node, cJSON_GetObjectItemCaseSensitive(w->doc, "tools"))
    {
        FMP_TRY(check_tool(w, node, i++));
    }
    return w->n_tools == 0 && w->s->require_tools
               ? refuse(w, "no_tools", "tools", "expected at least one tool, found none")
               : FMP_OK;
}

/* ---------------------------------------------------------------------------------------------- calls */

/* Arguments as a value; readers make them one, other sources may leave text. */
static fmp_status argument_value(work *w, cJSON *function, const char *path)
{
    cJSON *arguments = cJSON_GetObjectItemCaseSensitive(function, "arguments"), *value = NULL;
    fmp_err why = FMP_ERR_INIT;
    if (cJSON_IsObject(arguments)) { return FMP_OK; }
    if (!cJSON_IsString(arguments)) {
        return refuse(w, "arguments_type", path, "expected an object, found %s", kind_of(arguments));
    }
    if (fmp_json_parse(arguments->valuestring, strlen(arguments->valuestring), NULL, &value, &why) !=
        FMP_OK) {
        return refuse(w, "arguments_not_json", path, "expected the JSON text of an object: %s (byte %llu)",
                      why.message, (unsigned long long)why.offset);
    }
    if (!cJSON_IsObject(value)) {
        return refuse(w, "arguments_type", path, "expected an object, found %s", kind_of(value));
    }
    return cJSON_ReplaceItemInObjectCaseSensitive(function, "arguments", value) ? FMP_OK : no_memory(w);
}

static fmp_status check_arguments(work *w, const tool *t, cJSON *function, const char *path)
{
    bool valid;
    fmp_schema_fault fault;
    cJSON *arguments = cJSON_GetObjectItemCaseSensitive(function, "arguments"), *arranged = NULL;
    fmp_status status = fmp_schema_validate(t->schema, arguments, &valid, &fault, &w->why);
    if (status == FMP_E_RANGE) {
        w->reason = "schema_limit";
        snprintf(w->path, sizeof w->path, "%s", path);
    }
    if (status != FMP_OK) { return status; }
    if (!valid) {
        return refuse(w, "arguments_invalid", path, "%s: %s%sexpected %s, found %s (%s)", t->name,
                      fault.instance, *fault.instance ? ": " : "", fault.expected, fault.found, fault.schema);
    }
    if (!w->s->arrange) { return FMP_OK; }
    FMP_TRY(fmp_schema_arrange(t->schema, arguments, &arranged, &w->why));
    return cJSON_ReplaceItemInObjectCaseSensitive(function, "arguments", arranged) ? FMP_OK : no_memory(w);
}

static fmp_status check_call(work *w, cJSON *call, const char *path)
{
    char where[140];
    cJSON *function = function_of(call);
    const char *name = fmp_json_str(function, "name", "");
    tool *t = find_tool(w, name);
    if (!t) {
        snprintf(where, sizeof where, "%s%s.name", path, function == call ? "" : ".function");
        return refuse(w, "tool_unknown", where, "expected one of the %zu declared tools, found '%.80s'",
                      w->n_tools, name);
    }
    t->called = true;
    w->n_calls++;
    snprintf(where, sizeof where, "%s%s.arguments", path, function == call ? "" : ".function");
    FMP_TRY(argument_value(w, function, where));
    return check_arguments(w, t, function, where);
}

static fmp_status check_calls(work *w)
{
    cJSON *m, *call;
    int i = -1;
    cJSON_ArrayForEach(m, cJSON_GetObjectItemCaseSensitive(w->doc, "messages"))
    {
        int k = 0;
        i++;
        cJSON_ArrayForEach(call, cJSON_GetObjectItemCaseSensitive(m, "tool_calls"))
        {
            char path[64];
            snprintf(path, sizeof path, "messages[%d].tool_calls[%d]", i, k++);
            FMP_TRY(check_call(w, call, path));
        }
    }
    return FMP_OK;
}

/* ---------------------------------------------------------------------------------------------- the list */

/* Called tools first, then by draw; the place in the list settles ties. */
static int by_claim(const void *a, const void *b)
{
    const tool *x = *(tool *const *)a, *y = *(tool *const *)b;
    if (x->called != y->called) { return x->called ? -1 : 1; }
    if (x->draw != y->draw) { return x->draw < y->draw ? -1 : 1; }
    return x < y ? -1 : x > y;
}

static int by_draw(const void *a, const void *b)
{
    const tool *x = *(tool *const *)a, *y = *(tool *const *)b;
    if (x->draw != y->draw) { return x->draw < y->draw ? -1 : 1; }
    return x < y ? -1 : x > y;
}

static int by_place(const void *a, const void *b)
{
    const tool *x = *(tool *const *)a, *y = *(tool *const *)b;
    return x < y ? -1 : x > y;
}

/* Too many go, the rest is put in order. Called tools stay even where they alone are more than tools_max. */
static void arrange_tools(work *w)
{
    tool *order[MAX_TOOLS];
    cJSON *list = cJSON_GetObjectItemCaseSensitive(w->doc, "tools");
    size_t keep = w->n_tools, n_called = 0;
    for (size_t i = 0; i < w->n_tools; i++) {
        w->tools[i].draw = w->s->rng ? w->s->rng->u64(w->s->host, stream_of(w->record), i) : 0;
        n_called += w->tools[i].called;
        order[i] = &w->tools[i];
    }
    if (w->s->tools_max > 0 && keep > w->s->tools_max) {
        keep = n_called > w->s->tools_max ? n_called : w->s->tools_max;
    }
    if (keep == w->n_tools && !w->s->shuffle) { return; }
    qsort(order, w->n_tools, sizeof(tool *), by_claim);
    for (size_t i = 0; i < w->n_tools; i++) {
        cJSON_DetachItemViaPointer(list, order[i]->node);
    }
    for (size_t i = keep; i < w->n_tools; i++) {
        cJSON_Delete(order[i]->node);
    }
    qsort(order, keep, sizeof(tool *), w->s->shuffle ? by_draw : by_place);
    for (size_t i = 0; i < keep; i++) {
        cJSON_AddItemToArray(list, order[i]->node);
    }
}

/* Descriptions of the tool and of all schemas below; a property called "description" stays. */
static void drop_descriptions(cJSON *node, bool names)
{
    static const char *const maps[] = {"properties", "$defs", "definitions", "patternProperties"};
    static const char *const data[] = {"enum", "const", "default", "examples"};
    if (!names && cJSON_IsObject(node)) { cJSON_DeleteItemFromObjectCaseSensitive(node, "description"); }
    for (cJSON *m = node->child; m; m = m->next) {
        bool map = false, skip = false;
        for (size_t i = 0; i < 4 && m->string && !names; i++) {
            map = map || strcmp(m->string, maps[i]) == 0;
            skip = skip || strcmp(m->string, data[i]) == 0;
        }
        if (!skip && (cJSON_IsObject(m) || cJSON_IsArray(m))) { drop_descriptions(m, map); }
    }
}

static fmp_status dress_tools(work *w)
{
    cJSON *node;
    cJSON_ArrayForEach(node, cJSON_GetObjectItemCaseSensitive(w->doc, "tools"))
    {
        cJSON *function = function_of(node);
        if (w->s->drop_descriptions) { drop_descriptions(function, false); }
        FMP_TRY(w->s->toolkit ? rename_key(w, function, "parameters", "arguments")
                              : rename_key(w, function, "arguments", "parameters"));
    }
    return FMP_OK;
}

/* ---------------------------------------------------------------------------------------------- records */

static bool has_tools(const cJSON *doc)
{
    const cJSON *m;
    if (fmp_json_get(doc, "tools")) { return true; }
    cJSON_ArrayForEach(m, fmp_json_get(doc, "messages"))
    {
        if (fmp_json_get(m, "tool_calls")) { return true; }
    }
    return false;
}

static fmp_status format_record(work *w)
{
    w->doc = cJSON_Duplicate(w->record->doc, true);
    if (!w->doc) { return no_memory(w); }
    FMP_TRY(check_tools(w));
    FMP_TRY(check_calls(w));
    arrange_tools(w);
    return dress_tools(w);
}

static fmp_status format_process(void *self, const fmp_record *record, const fmp_call *call, fmp_err *err)
{
    const tools_format *s = self;
    if (!has_tools(record->doc) && !s->require_tools) { return call->pass(call, err); }
    work *w = calloc(1, sizeof *w);
    if (!w) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
    w->s = s;
    w->record = record;
    fmp_status status = format_record(w);
    if (status == FMP_OK) {
        call->count(call, "tools", (int64_t)w->n_tools);
        if (w->n_calls > 0) { call->count(call, "calls", (int64_t)w->n_calls); }
        status = call->emit(call, w->doc, err);
    } else if (w->reason && status != FMP_E_NOMEM) {
        status = fmp_reject_record(call, w->reason, w->path, w->why.message, err);
    } else if (err) {
        *err = w->why;
    }
    for (size_t i = 0; i < w->n_tools; i++) {
        fmp_schema_free(w->tools[i].schema);
    }
    free(w);
    return status;
}

static fmp_status format_configure(void *self, const cJSON *values, fmp_err *err)
{
    tools_format *s = self;
    s->arrange = strcmp(fmp_value_str(values, "arguments"), "schema") == 0;
    s->toolkit = strcmp(fmp_value_str(values, "style"), "toolkit") == 0;
    s->assert_formats = fmp_value_bool(values, "formats");
    s->shuffle = fmp_value_bool(values, "shuffle");
    s->drop_descriptions = fmp_value_bool(values, "drop_descriptions");
    s->require_tools = fmp_value_bool(values, "require_tools");
    s->tools_max = (size_t)fmp_value_int(values, "tools_max");
    if ((s->shuffle || s->tools_max > 0) && !s->rng) {
        return fmp_fail(err, FMP_E_UNSUPPORTED, "this host offers no %s", FMP_EXT_RNG);
    }
    return FMP_OK;
}

static fmp_status format_create(const fmp_host *host, void **self, fmp_err *err)
{
    tools_format *s = calloc(1, sizeof *s);
    if (!s) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
    s->host = host;
    s->rng = host->get_extension(host, FMP_EXT_RNG);
    *self = s;
    return FMP_OK;
}

static const fmp_stage stage = {
    FMP_STAGE_HEADER,
    .name = "tools.format",
    .version = 1,
    .kind = FMP_MAP,
    .summary = "Check tools and calls against their schemas; bring tool lists to one form.",
    .inputs = inputs,
    .outputs = outputs,
    .options = options,
    .create = format_create,
    .configure = format_configure,
    .process = format_process,
    .destroy = free};

static const fmp_stage *const stages[] = {&stage, NULL};
static const fmp_plugin plugin = {FMP_PLUGIN_HEADER(0), .name = "tools-format", .version = "0.1.0",
                                  .license = "Apache-2.0", .stages = stages};
FMP_PLUGIN_ENTRY(&plugin)
