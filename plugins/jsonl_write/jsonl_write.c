/*
 * jsonl.write: records as JSON Lines, in the form another program expects.
 *
 * Every form is a view of the canonical document built from references to its nodes, printed once. A form
 * that cannot carry part of a record refuses it unless the part is listed in `drop`: nothing is lost
 * unsaid.
 */
#include <fmpipe/json.h>
#include <fmpipe/plugin.h>

#include <stdlib.h>

/* Of a document, besides its messages. */
enum { N_PARTS = 4 };
static const char *const parts[N_PARTS] = {"tools", "response_format", "locale", "meta"};

typedef enum write_form { FORM_CANONICAL, FORM_OPENAI, FORM_TOOLKIT, FORM_ARRAY } write_form;

typedef struct jsonl_write {
    write_form form;
    bool arguments_as_text;
    unsigned style;
    const char *name;
    const cJSON *drop;
    fmp_buf *line; /* one for each worker: the text being made */
    uint32_t n_workers;
} jsonl_write;

static const fmp_option options[] = {
    {.name = "name",
     .type = FMP_OPT_STRING,
     .def = "records.jsonl",
     .min = 1,
     .max = 200,
     .help = "Name of the file in the artifact; no folders."},
    {.name = "form",
     .type = FMP_OPT_ENUM,
     .def = "messages",
     .choices = "messages|openai|toolkit|messages_array",
     .help = "messages: the canonical document. openai: the fine-tuning form, arguments as JSON text. "
             "toolkit: a bare message "
             "array with the tools on the system message. messages_array: a bare message array."},
    {.name = "arguments",
     .type = FMP_OPT_ENUM,
     .def = "auto",
     .choices = "auto|object|text",
     .help = "Tool-call arguments as a JSON object or as its text. auto: text for openai and toolkit, else "
             "object."},
    {.name = "style",
     .type = FMP_OPT_ENUM,
     .def = "compact",
     .choices = "compact|spaced",
     .help = "Separators: compact {\"a\":1}, or spaced {\"a\": 1}."},
    {.name = "drop",
     .type = FMP_OPT_LIST,
     .def = "[]",
     .help = "Parts that may be left out where the form has no place for them: tools, response_format, "
             "locale, meta."},
    {.name = NULL}};

static const fmp_port inputs[] = {{.name = "records", .type = FMP_PORT_RECORDS, .help = "What to write."},
                                  {.name = NULL}};
static const fmp_port outputs[] = {
    {.name = "file", .type = FMP_PORT_PACKAGE, .help = "A folder with the one file."}, {.name = NULL}};

static bool may_drop(const jsonl_write *s, const char *part)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, s->drop)
    {
        if (strcmp(item->valuestring, part) == 0) { return true; }
    }
    return false;
}

/* A node that shares `node`'s value; the printer only reads it. */
static cJSON *share(const cJSON *node)
{
    cJSON *copy = cJSON_CreateNull();
    if (copy) {
        copy->type = (node->type & 0xFF) | cJSON_IsReference;
        copy->valuestring = node->valuestring;
        copy->valuedouble = node->valuedouble;
        copy->valueint = node->valueint;
        copy->child = node->child;
    }
    return copy;
}

static void put(cJSON *object, const char *key, cJSON *node)
{
    if (node) { cJSON_AddItemToObjectCS(object, key, node); }
}

/* {id, type, function:{name, arguments}} with the arguments as text. */
static cJSON *call_view(const cJSON *call)
{
    cJSON *out = cJSON_CreateObject(), *fn = cJSON_CreateObject();
    for (const cJSON *m = call->child; m; m = m->next) {
        if (strcmp(m->string, "function") != 0) { put(out, m->string, share(m)); }
    }
    const cJSON *function = fmp_json_get(call, "function");
    put(fn, "name", share(fmp_json_get(function, "name")));
    char *text = fmp_json_text(fmp_json_get(function, "arguments"), FMP_JSON_SPACED);
    put(fn, "arguments", cJSON_CreateString(text ? text : ""));
    free(text);
    put(out, "function", fn);
    return out;
}

/* A structured tool result as text, where the form holds text only. */
static cJSON *content_text(const cJSON *content)
{
    char *text = fmp_json_text(content, FMP_JSON_SPACED);
    cJSON *out = cJSON_CreateString(text ? text : "");
    free(text);
    return out;
}

static cJSON *message_view(const jsonl_write *s, const cJSON *m)
{
    cJSON *out = cJSON_CreateObject();
    for (const cJSON *k = m->child; k; k = k->next) {
        if (s->arguments_as_text && strcmp(k->string, "tool_calls") == 0) {
            cJSON *calls = cJSON_CreateArray();
            const cJSON *call;
            cJSON_ArrayForEach(call, k)
            {
                cJSON_AddItemToArray(calls, call_view(call));
            }
            put(out, "tool_calls", calls);
        } else if (s->form == FORM_OPENAI && strcmp(k->string, "content") == 0 && !cJSON_IsString(k)) {
            put(out, "content", content_text(k));
        } else if (!(s->form == FORM_OPENAI && strcmp(k->string, "response_format") == 0)) {
            put(out, k->string, share(k));
        }
    }
    return out;
}

/* The toolkit says `arguments` where OpenAI says `parameters`. */
static cJSON *toolkit_tools(const cJSON *tools)
{
    cJSON *out = cJSON_CreateArray();
    const cJSON *tool;
    cJSON_ArrayForEach(tool, tools)
    {
        cJSON *one = cJSON_CreateObject(), *fn = cJSON_CreateObject();
        put(one, "type", cJSON_CreateString("function"));
        for (const cJSON *k = fmp_json_get(tool, "function")->child; k; k = k->next) {
            put(fn, strcmp(k->string, "parameters") == 0 ? "arguments" : k->string, share(k));
        }
        put(one, "function", fn);
        cJSON_AddItemToArray(out, one);
    }
    return out;
}

static cJSON *messages_view(const jsonl_write *s, const cJSON *doc)
{
    cJSON *out = cJSON_CreateArray();
    const cJSON *m, *tools = s->form == FORM_TOOLKIT ? fmp_json_get(doc, "tools") : NULL;
    cJSON_ArrayForEach(m, fmp_json_get(doc, "messages"))
    {
        cJSON *one = message_view(s, m);
        if (tools && strcmp(fmp_json_str(m, "role", ""), "system") == 0) {
            put(one, "tools", toolkit_tools(tools));
            tools = NULL;
        }
        cJSON_AddItemToArray(out, one);
    }
    return out;
}

static bool has_system(const cJSON *doc)
{
    const cJSON *first = cJSON_GetArrayItem(fmp_json_get(doc, "messages"), 0);
    return strcmp(fmp_json_str(first, "role", ""), "system") == 0;
}

/* OpenAI's rows have response_format beside the messages only. */
static bool has_message_format(const cJSON *doc)
{
    const cJSON *m;
    cJSON_ArrayForEach(m, fmp_json_get(doc, "messages"))
    {
        if (fmp_json_get(m, "response_format")) { return true; }
    }
    return false;
}

/* The first part of `doc` that the form has no place for and that may not be dropped, or NULL. */
static const char *homeless_part(const jsonl_write *s, const cJSON *doc)
{
    for (int i = 0; i < N_PARTS; i++) {
        bool placed = s->form == FORM_CANONICAL || (s->form == FORM_OPENAI && i < 2) ||
                      (s->form == FORM_TOOLKIT && i == 0 && has_system(doc));
        if (!placed && fmp_json_get(doc, parts[i]) && !may_drop(s, parts[i])) { return parts[i]; }
    }
    if (s->form == FORM_OPENAI && has_message_format(doc) && !may_drop(s, "response_format")) {
        return "response_format";
    }
    return NULL;
}

static cJSON *view_of(const jsonl_write *s, const cJSON *doc)
{
    if (s->form == FORM_TOOLKIT || s->form == FORM_ARRAY) { return messages_view(s, doc); }
    cJSON *out = cJSON_CreateObject();
    for (const cJSON *k = doc->child; k; k = k->next) {
        bool openai_lacks =
            s->form == FORM_OPENAI && (strcmp(k->string, "locale") == 0 || strcmp(k->string, "meta") == 0);
        if (strcmp(k->string, "messages") == 0) {
            put(out, "messages", messages_view(s, doc));
        } else if (!openai_lacks) {
            put(out, k->string, share(k));
        }
    }
    return out;
}

static fmp_status write_encode(void *self, const fmp_record *record, const fmp_call *call, fmp_err *err)
{
    const jsonl_write *s = self;
    fmp_buf *line = &s->line[call->worker];
    const char *homeless = homeless_part(s, record->doc);
    if (homeless) {
        char message[160];
        bool needs_system = s->form == FORM_TOOLKIT && strcmp(homeless, "tools") == 0;
        snprintf(message, sizeof message,
                 "the form has no place for '%s'%s; name it in 'drop' if it may be left out", homeless,
                 needs_system ? " without a system message" : "");
        return fmp_reject_record(call, "form_cannot_hold", homeless, message, err);
    }
    line->len = 0;
    bool as_is = s->form == FORM_CANONICAL && !s->arguments_as_text;
    fmp_json_print(as_is ? record->doc : view_of(s, record->doc), s->style, line);
    fmp_buf_putc(line, '\n');
    FMP_TRY(fmp_buf_ok(line, err));
    return call->write(call, line->data, line->len, err);
}

static fmp_status write_create(const fmp_host *host, void **self, fmp_err *err)
{
    (void)host;
    *self = calloc(1, sizeof(jsonl_write));
    return *self ? FMP_OK : fmp_fail(err, FMP_E_NOMEM, "out of memory");
}

static fmp_status refuse(fmp_err *err, const char *option, const char *expected, const char *found)
{
    fmp_fail(err, FMP_E_CONFIG, "expected %s, found '%s'", expected, found);
    if (err) { snprintf(err->option, sizeof err->option, "%s", option); }
    return FMP_E_CONFIG;
}

static fmp_status write_configure(void *self, const cJSON *values, fmp_err *err)
{
    jsonl_write *s = self;
    const char *form = fmp_value_str(values, "form"), *arguments = fmp_value_str(values, "arguments");
    s->form = strcmp(form, "openai") == 0           ? FORM_OPENAI
              : strcmp(form, "toolkit") == 0        ? FORM_TOOLKIT
              : strcmp(form, "messages_array") == 0 ? FORM_ARRAY
                                                    : FORM_CANONICAL;
    bool auto_text = s->form == FORM_OPENAI || s->form == FORM_TOOLKIT;
    s->arguments_as_text = strcmp(arguments, "auto") == 0 ? auto_text : strcmp(arguments, "text") == 0;
    s->style = strcmp(fmp_value_str(values, "style"), "spaced") == 0 ? FMP_JSON_SPACED : FMP_JSON_COMPACT;
    s->drop = fmp_value(values, "drop");
    s->name = fmp_value_str(values, "name");
    if (strchr(s->name, '/') || s->name[0] == '.') {
        return refuse(err, "name", "a plain file name", s->name);
    }
    const cJSON *part;
    int i = 0;
    cJSON_ArrayForEach(part, s->drop)
    {
        char option[24];
        snprintf(option, sizeof option, "drop[%d]", i++);
        bool known = false;
        for (int k = 0; k < N_PARTS; k++) {
            known = known || strcmp(part->valuestring, parts[k]) == 0;
        }
        if (!known) {
            return refuse(err, option, "tools, response_format, locale or meta", part->valuestring);
        }
    }
    return FMP_OK;
}

static fmp_status write_start(void *self, uint32_t n_workers, fmp_err *err)
{
    jsonl_write *s = self;
    s->line = calloc(n_workers, sizeof *s->line);
    s->n_workers = n_workers;
    return s->line ? FMP_OK : fmp_fail(err, FMP_E_NOMEM, "out of memory");
}

static const char *write_file_name(void *self)
{
    return ((jsonl_write *)self)->name;
}

static void write_destroy(void *self)
{
    jsonl_write *s = self;
    for (uint32_t i = 0; i < s->n_workers && s->line; i++) {
        fmp_buf_free(&s->line[i]);
    }
    free(s->line);
    free(s);
}

static const fmp_stage stage = {FMP_STAGE_HEADER,
                                .name = "jsonl.write",
                                .version = 1,
                                .kind = FMP_SINK,
                                .summary =
                                    "Write records to a JSON Lines file in the form another program expects.",
                                .inputs = inputs,
                                .outputs = outputs,
                                .options = options,
                                .create = write_create,
                                .configure = write_configure,
                                .start = write_start,
                                .encode = write_encode,
                                .file_name = write_file_name,
                                .destroy = write_destroy};

static const fmp_stage *const stages[] = {&stage, NULL};
static const fmp_plugin plugin = {FMP_PLUGIN_HEADER(0), .name = "jsonl-write", .version = "0.1.0",
                                  .license = "Apache-2.0", .stages = stages};
FMP_PLUGIN_ENTRY(&plugin)
