/*
 * example.persona_system: give each conversation the system message of its locale.
 *
 * An assistant that answers in twelve languages has twelve system messages, and its training data must show
 * each conversation under the right one. The table is searched for the whole locale ("pt-BR"), then for its
 * language ("pt"), then for "*".
 */
#include <fmpipe/plugin.h>

#include <stdlib.h>

typedef enum existing_mode { EXISTING_REPLACE, EXISTING_KEEP, EXISTING_PREPEND } existing_mode;

typedef struct persona_system {
    const cJSON *personas; /* rows of the table, borrowed from the option values */
    existing_mode existing;
    bool keep_missing;
} persona_system;

static const fmp_option persona_options[] = {{.name = "locale",
                                              .type = FMP_OPT_STRING,
                                              .flags = FMP_OPT_REQUIRED,
                                              .min = 1,
                                              .max = 60,
                                              .help = "Locale (pt-BR), language (pt), or * for all others."},
                                             {.name = "text",
                                              .type = FMP_OPT_STRING,
                                              .flags = FMP_OPT_REQUIRED,
                                              .min = 1,
                                              .max = 65536,
                                              .help = "The system message."},
                                             {.name = NULL}};

static const fmp_option options[] = {
    {.name = "personas",
     .type = FMP_OPT_TABLE,
     .flags = FMP_OPT_REQUIRED,
     .items = persona_options,
     .help = "System messages by locale."},
    {.name = "existing",
     .type = FMP_OPT_ENUM,
     .def = "replace",
     .choices = "replace|keep|prepend",
     .help = "What becomes of a system message that is there: replaced, kept instead of ours, or ours put "
             "before it."},
    {.name = "missing",
     .type = FMP_OPT_ENUM,
     .def = "reject",
     .choices = "reject|keep",
     .help = "A conversation whose locale has no row: refuse it, or leave it as it is."},
    {.name = NULL}};

static const fmp_port inputs[] = {
    {.name = "records", .type = FMP_PORT_RECORDS, .help = "Conversations with a locale."}, {.name = NULL}};
static const fmp_port outputs[] = {
    {.name = "records", .type = FMP_PORT_RECORDS, .help = "The same, each under its system message."},
    {.name = NULL}};

static const char *text_for(const persona_system *s, const char *locale, size_t len)
{
    const cJSON *row;
    cJSON_ArrayForEach(row, s->personas)
    {
        const char *key = fmp_value_str(row, "locale");
        if (strlen(key) == len && memcmp(key, locale, len) == 0) { return fmp_value_str(row, "text"); }
    }
    return NULL;
}

static const char *persona_of(const persona_system *s, const char *locale)
{
    const char *text = text_for(s, locale, strlen(locale));
    if (!text) { text = text_for(s, locale, strcspn(locale, "-")); }
    return text ? text : text_for(s, "*", 1);
}

/* `ours`, a blank line, `theirs`; in the batch's arena. NULL: out of memory. */
static const char *joined(const fmp_call *call, const char *ours, const char *theirs)
{
    size_t a = strlen(ours), b = strlen(theirs);
    char *text = call->arena_take(call, a + b + 3);
    if (!text) { return NULL; }
    memcpy(text, ours, a);
    memcpy(text + a, "\n\n", 2);
    memcpy(text + a + 2, theirs, b + 1);
    return text;
}

static bool is_system(const cJSON *message)
{
    const cJSON *role = cJSON_GetObjectItemCaseSensitive(message, "role");
    return cJSON_IsString(role) && strcmp(role->valuestring, "system") == 0;
}

static fmp_status set_content(cJSON *message, const char *text, fmp_err *err)
{
    cJSON *content = text ? cJSON_CreateString(text) : NULL;
    bool there = cJSON_GetObjectItemCaseSensitive(message, "content") != NULL;
    bool ok = content && (there ? cJSON_ReplaceItemInObjectCaseSensitive(message, "content", content)
                                : cJSON_AddItemToObject(message, "content", content));
    return ok ? FMP_OK : fmp_fail(err, FMP_E_NOMEM, "out of memory");
}

static fmp_status process(void *self, const fmp_record *record, const fmp_call *call, fmp_err *err)
{
    const persona_system *s = self;
    const cJSON *locale = cJSON_GetObjectItemCaseSensitive(record->doc, "locale");
    const char *text = persona_of(s, cJSON_IsString(locale) ? locale->valuestring : "");
    if (!text && s->keep_missing) { return call->pass(call, err); }
    if (!text) {
        char message[160];
        snprintf(message, sizeof message, "expected a locale with a row in 'personas', found %.60s",
                 cJSON_IsString(locale) ? locale->valuestring : "no locale");
        return fmp_reject_record(call, "no_persona", "locale", message, err);
    }
    cJSON *doc = cJSON_Duplicate(record->doc, true);
    cJSON *messages = cJSON_GetObjectItemCaseSensitive(doc, "messages");
    if (!doc || !messages) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
    cJSON *first = messages->child;
    if (first && is_system(first)) {
        const cJSON *theirs = cJSON_GetObjectItemCaseSensitive(first, "content");
        if (s->existing == EXISTING_KEEP) { return call->pass(call, err); }
        if (s->existing == EXISTING_PREPEND && cJSON_IsString(theirs)) {
            text = joined(call, text, theirs->valuestring);
        }
        FMP_TRY(set_content(first, text, err));
        call->count(call, "changed", 1);
        return call->emit(call, doc, err);
    }
    cJSON *message = cJSON_CreateObject();
    bool ok = message && cJSON_AddStringToObject(message, "role", "system") &&
              cJSON_AddStringToObject(message, "content", text);
    ok = ok &&
         (first ? cJSON_InsertItemInArray(messages, 0, message) : cJSON_AddItemToArray(messages, message));
    if (!ok) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
    call->count(call, "added", 1);
    return call->emit(call, doc, err);
}

static fmp_status create(const fmp_host *host, void **self, fmp_err *err)
{
    (void)host;
    *self = calloc(1, sizeof(persona_system));
    return *self ? FMP_OK : fmp_fail(err, FMP_E_NOMEM, "out of memory");
}

static fmp_status configure(void *self, const cJSON *values, fmp_err *err)
{
    persona_system *s = self;
    const char *mode = fmp_value_str(values, "existing");
    int n = 0;
    s->personas = fmp_value(values, "personas");
    s->existing = strcmp(mode, "keep") == 0      ? EXISTING_KEEP
                  : strcmp(mode, "prepend") == 0 ? EXISTING_PREPEND
                                                 : EXISTING_REPLACE;
    s->keep_missing = strcmp(fmp_value_str(values, "missing"), "keep") == 0;
    const cJSON *row, *other;
    cJSON_ArrayForEach(row, s->personas)
    {
        for (other = s->personas->child; other != row; other = other->next) {
            if (strcmp(fmp_value_str(row, "locale"), fmp_value_str(other, "locale")) != 0) { continue; }
            fmp_fail(err, FMP_E_CONFIG, "the locale '%s' has two rows", fmp_value_str(row, "locale"));
            if (err) { snprintf(err->option, sizeof err->option, "personas[%d].locale", n); }
            return FMP_E_CONFIG;
        }
        n++;
    }
    return FMP_OK;
}

static void destroy(void *self)
{
    free(self);
}

static const fmp_stage stage = {FMP_STAGE_HEADER,
                                .name = "example.persona_system",
                                .version = 1,
                                .kind = FMP_MAP,
                                .summary = "Give each conversation the system message of its locale.",
                                .inputs = inputs,
                                .outputs = outputs,
                                .options = options,
                                .create = create,
                                .configure = configure,
                                .process = process,
                                .destroy = destroy};

static const fmp_stage *const stages[] = {&stage, NULL};
static const fmp_plugin plugin = {FMP_PLUGIN_HEADER(0), .name = "persona-system", .version = "0.1.0",
                                  .license = "Apache-2.0", .stages = stages};
FMP_PLUGIN_ENTRY(&plugin)
