/*
 * @STAGE@: say here in one or two sentences what it does to a conversation, and why.
 *
 * A map stage: it gets one record at a time and emits, passes or rejects it. Public headers only. Read
 * plugin.h once; it is the whole contract. Read this file from the bottom: the descriptor, the callbacks,
 * then the work.
 */
#include <fmpipe/plugin.h>

#include <stdlib.h>

/* An instance. After configure it is only read, because process runs on several threads at once. */
typedef struct @NAME@ {
    const char *role, *prefix; /* borrowed from the option values, which stay until destroy */
} @NAME@;

static const fmp_option options[] = {
    {.name = "role", .type = FMP_OPT_ENUM, .def = "user", .choices = "system|user|assistant",
     .help = "Messages of this role are changed."},
    {.name = "prefix", .type = FMP_OPT_STRING, .flags = FMP_OPT_REQUIRED, .min = 1, .max = 1000,
     .unit = "bytes", .help = "Text that is put before the message's own."},
    {.name = NULL}};

static const fmp_port inputs[] = {
    {.name = "records", .type = FMP_PORT_RECORDS, .help = "Conversations."}, {.name = NULL}};
static const fmp_port outputs[] = {
    {.name = "records", .type = FMP_PORT_RECORDS, .help = "The same, with the prefix."}, {.name = NULL}};

/* Replace the content of one message of our own copy; false when out of memory. */
static bool put_prefix(const fmp_call *call, const char *prefix, cJSON *message)
{
    const cJSON *content = cJSON_GetObjectItemCaseSensitive(message, "content");
    size_t n = strlen(prefix), len = strlen(content->valuestring);
    char *text = call->arena_take(call, n + len + 1);
    if (!text) { return false; }
    memcpy(text, prefix, n);
    memcpy(text + n, content->valuestring, len + 1);
    cJSON *changed = cJSON_CreateString(text);
    return changed && cJSON_ReplaceItemInObjectCaseSensitive(message, "content", changed);
}

static fmp_status process(void *self, const fmp_record *record, const fmp_call *call, fmp_err *err)
{
    const @NAME@ *s = self;
    cJSON *doc = cJSON_Duplicate(record->doc, true); /* the input is const: change a copy */
    if (!doc) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
    int64_t n_changed = 0;
    cJSON *message;
    cJSON_ArrayForEach(message, cJSON_GetObjectItemCaseSensitive(doc, "messages"))
    {
        const cJSON *role = cJSON_GetObjectItemCaseSensitive(message, "role");
        const cJSON *content = cJSON_GetObjectItemCaseSensitive(message, "content");
        if (!cJSON_IsString(role) || !cJSON_IsString(content)) { continue; }
        if (strcmp(role->valuestring, s->role) != 0) { continue; }
        if (!put_prefix(call, s->prefix, message)) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
        n_changed++;
    }
    if (n_changed == 0) { return call->pass(call, err); } /* unchanged records cost nothing */
    call->count(call, "changed", n_changed);
    return call->emit(call, doc, err);
}

static fmp_status create(const fmp_host *host, void **self, fmp_err *err)
{
    (void)host; /* host->get_extension(host, FMP_EXT_REGEX) and others: plugin.h lists them */
    *self = calloc(1, sizeof(@NAME@));
    return *self ? FMP_OK : fmp_fail(err, FMP_E_NOMEM, "out of memory");
}

/* The host has checked the values against the table above and filled in the defaults. */
static fmp_status configure(void *self, const cJSON *values, fmp_err *err)
{
    @NAME@ *s = self;
    (void)err;
    s->role = fmp_value_str(values, "role");
    s->prefix = fmp_value_str(values, "prefix");
    return FMP_OK;
}

static void destroy(void *self)
{
    free(self);
}

static const fmp_stage stage = {FMP_STAGE_HEADER,
                                .name = "@STAGE@",
                                .version = 1, /* raise it when the same input gives another output */
                                .kind = FMP_MAP,
                                .summary = "Put a text before each message of a role.",
                                .inputs = inputs,
                                .outputs = outputs,
                                .options = options,
                                .create = create,
                                .configure = configure,
                                .process = process,
                                .destroy = destroy};

static const fmp_stage *const stages[] = {&stage, NULL};
static const fmp_plugin plugin = {
    FMP_PLUGIN_HEADER(0), .name = "@NAME@", .version = "0.1.0", .license = "Apache-2.0", .stages = stages};
FMP_PLUGIN_ENTRY(&plugin)
