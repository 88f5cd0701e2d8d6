/*
 * text.filter: keep the conversations that are worth training on, by size, roles, locale and patterns.
 *
 * A condition that fails names itself; `action` says whether the conversation is then rejected (listed in
 * rejected.jsonl with the condition as its reason, the default) or dropped with a count only. Patterns run
 * through the host's regex service.
 */
#include <fmpipe/plugin.h>

#include <stdlib.h>

enum { MAX_PATTERNS = 32 };

typedef struct text_filter {
    const fmp_host *host;
    const fmp_ext_regex *regex;
    int64_t min_messages, max_messages, min_chars, max_chars, min_assistant_chars, max_assistant_chars;
    bool require_tools, require_system, drop;
    const cJSON *locales;
    fmp_regex *keep[MAX_PATTERNS], *refuse[MAX_PATTERNS];
    int n_keep, n_refuse;
} text_filter;

static const fmp_option options[] = {
    {.name = "min_messages",
     .type = FMP_OPT_INT,
     .def = "0",
     .unit = "messages",
     .min = 0,
     .max = 1e6,
     .help = "Fewest messages."},
    {.name = "max_messages",
     .type = FMP_OPT_INT,
     .unit = "messages",
     .min = 1,
     .max = 1e6,
     .help = "Most messages."},
    {.name = "min_chars",
     .type = FMP_OPT_INT,
     .def = "0",
     .unit = "characters",
     .min = 0,
     .max = 1e12,
     .help = "Fewest characters (code points) of text in the whole conversation."},
    {.name = "max_chars",
     .type = FMP_OPT_INT,
     .unit = "characters",
     .min = 1,
     .max = 1e12,
     .help = "Most characters of text in the whole conversation."},
    {.name = "min_assistant_chars",
     .type = FMP_OPT_INT,
     .def = "0",
     .unit = "characters",
     .min = 0,
     .max = 1e12,
     .help = "Fewest characters in each assistant message that calls no tool."},
    {.name = "max_assistant_chars",
     .type = FMP_OPT_INT,
     .unit = "characters",
     .min = 1,
     .max = 1e12,
     .help = "Most characters in each assistant message."},
    {.name = "locales",
     .type = FMP_OPT_LIST,
     .def = "[]",
     .help = "Keep only conversations of these locales; empty keeps all."},
    {.name = "require_tools",
     .type = FMP_OPT_BOOL,
     .def = "false",
     .help = "Keep only conversations that declare tools."},
    {.name = "require_system",
     .type = FMP_OPT_BOOL,
     .def = "false",
     .help = "Keep only conversations with a system message."},
    {.name = "keep_regex",
     .type = FMP_OPT_LIST,
     .def = "[]",
     .help = "Keep only conversations in which each of these patterns matches some message."},
    {.name = "drop_regex",
     .type = FMP_OPT_LIST,
     .def = "[]",
     .help = "Refuse conversations in which one of these patterns matches."},
    {.name = "action",
     .type = FMP_OPT_ENUM,
     .def = "reject",
     .choices = "reject|drop",
     .help = "What happens to a conversation that fails: reject lists it with its reason under the stage's "
             "on_bad policy; drop "
             "only counts it."},
    {.name = NULL}};

static const fmp_port inputs[] = {{.name = "records", .type = FMP_PORT_RECORDS, .help = "Conversations."},
                                  {.name = NULL}};
static const fmp_port outputs[] = {
    {.name = "records", .type = FMP_PORT_RECORDS, .help = "Those that pass, unchanged."}, {.name = NULL}};

typedef struct verdict {
    const char *reason; /* NULL: passes */
    char message[200];
} verdict;

FMP_PRINTF(3, 4) static void refuse(verdict *v, const char *reason, const char *fmt, ...)
{
    if (v->reason) { return; }
    v->reason = reason;
    va_list ap;
    va_start(ap, fmt);
    fmp_err_clip_(v->message, sizeof v->message, vsnprintf(v->message, sizeof v->message, fmt, ap));
    va_end(ap);
}

/* Code points of valid UTF-8: bytes that do not continue another. */
static int64_t count_chars(const char *text)
{
    int64_t n = 0;
    for (; *text; text++) {
        n += ((unsigned char)*text & 0xC0) != 0x80;
    }
    return n;
}

static void check_range(verdict *v, int64_t n, int64_t min, int64_t max, const char *low, const char *high,
                        const char *what)
{
    if (n < min) {
        refuse(v, low, "expected at least %lld %s, found %lld", (long long)min, what, (long long)n);
    } else if (max > 0 && n > max) {
        refuse(v, high, "expected at most %lld %s, found %lld", (long long)max, what, (long long)n);
    }
}

static const char *text_of(const cJSON *message)
{
    const cJSON *content = cJSON_GetObjectItemCaseSensitive(message, "content");
    return cJSON_IsString(content) ? content->valuestring : "";
}

static const char *role_of(const cJSON *message)
{
    const cJSON *role = cJSON_GetObjectItemCaseSensitive(message, "role");
    return cJSON_IsString(role) ? role->valuestring : "";
}

static void check_sizes(const text_filter *s, const cJSON *messages, verdict *v)
{
    int64_t n = 0, total = 0;
    bool need_chars =
        s->min_chars > 0 || s->max_chars > 0 || s->min_assistant_chars > 0 || s->max_assistant_chars > 0;
    const cJSON *m;
    cJSON_ArrayForEach(m, messages)
    {
        if (need_chars) {
            int64_t chars = count_chars(text_of(m));
            total += chars;
            if (strcmp(role_of(m), "assistant") == 0) {
                bool calls = cJSON_GetObjectItemCaseSensitive(m, "tool_calls") != NULL;
                check_range(v, chars, calls ? 0 : s->min_assistant_chars, s->max_assistant_chars,
                            "assistant_too_short", "assistant_too_long",
                            "characters in an assistant message");
            }
        }
        n++;
    }
    check_range(v, n, s->min_messages, s->max_messages, "too_few_messages", "too_many_messages", "messages");
    if (need_chars) {
        check_range(v, total, s->min_chars, s->max_chars, "too_short", "too_long", "characters");
    }
    if (s->require_system && strcmp(role_of(cJSON_GetArrayItem(messages, 0)), "system") != 0) {
        refuse(v, "no_system", "expected a system message first");
    }
}

static void check_locale(const text_filter *s, const cJSON *doc, verdict *v)
{
    if (!s->locales->child) { return; }
    const cJSON *locale = cJSON_GetObjectItemCaseSensitive(doc, "locale"), *allowed;
    const char *tag = cJSON_IsString(locale) ? locale->valuestring : "";
    cJSON_ArrayForEach(allowed, s->locales)
    {
        if (strcmp(allowed->valuestring, tag) == 0) { return; }
    }
    if (*tag) {
        refuse(v, "locale", "expected one of the locales asked for, found '%s'", tag);
    } else {
        refuse(v, "locale", "expected one of the locales asked for, found none");
    }
}

static fmp_status matches(const text_filter *s, const fmp_regex *pattern, const cJSON *messages, bool *found,
                          fmp_err *err)
{
    const cJSON *m;
    *found = false;
    cJSON_ArrayForEach(m, messages)
    {
        const char *text = text_of(m);
        fmp_regex_group group;
        size_t n = 1;
        FMP_TRY(s->regex->match(pattern, text, strlen(text), 0, &group, &n, err));
        if (n > 0) {
            *found = true;
            return FMP_OK;
        }
    }
    return FMP_OK;
}

static fmp_status check_patterns(const text_filter *s, const cJSON *messages, verdict *v, fmp_err *err)
{
    bool found;
    for (int i = 0; i < s->n_keep && !v->reason; i++) {
        FMP_TRY(matches(s, s->keep[i], messages, &found, err));
        if (!found) { refuse(v, "keep_regex", "keep_regex[%d] matches no message", i); }
    }
    for (int i = 0; i < s->n_refuse && !v->reason; i++) {
        FMP_TRY(matches(s, s->refuse[i], messages, &found, err));
        if (found) { refuse(v, "drop_regex", "drop_regex[%d] matches a message", i); }
    }
    return FMP_OK;
}

static fmp_status filter_process(void *self, const fmp_record *record, const fmp_call *call, fmp_err *err)
{
    const text_filter *s = self;
    const cJSON *messages = cJSON_GetObjectItemCaseSensitive(record->doc, "messages");
    verdict v = {.reason = NULL};
    check_sizes(s, messages, &v);
    check_locale(s, record->doc, &v);
    const cJSON *tools = cJSON_GetObjectItemCaseSensitive(record->doc, "tools");
    if (s->require_tools && (!tools || !tools->child)) {
        refuse(&v, "no_tools", "expected declared tools, found none");
    }
    if (!v.reason && s->n_keep + s->n_refuse > 0) {
        fmp_err why = FMP_ERR_INIT;
        fmp_status status = check_patterns(s, messages, &v, &why);
        if (status == FMP_E_RANGE) {
            refuse(&v, "regex_limit", "%s", why.message);
        } else if (status != FMP_OK) {
            if (err) { *err = why; }
            return status;
        }
    }
    if (!v.reason) { return call->pass(call, err); }
    call->count(call, v.reason, 1);
    return s->drop ? FMP_OK : fmp_reject_record(call, v.reason, NULL, v.message, err);
}

static fmp_status filter_create(const fmp_host *host, void **self, fmp_err *err)
{
    text_filter *s = calloc(1, sizeof *s);
    if (!s) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
    s->host = host;
    s->regex = host->get_extension(host, FMP_EXT_REGEX);
    *self = s;
    return FMP_OK;
}

static fmp_status compile_all(text_filter *s, const cJSON *values, const char *option, fmp_regex **out,
                              int *n, fmp_err *err)
{
    const cJSON *pattern;
    cJSON_ArrayForEach(pattern, fmp_value(values, option))
    {
        fmp_status status = FMP_OK;
        if (!s->regex) {
            status = fmp_fail(err, FMP_E_UNSUPPORTED, "this host offers no %s", FMP_EXT_REGEX);
        } else if (*n == MAX_PATTERNS) {
            status = fmp_fail(err, FMP_E_CONFIG, "expected at most %d patterns", MAX_PATTERNS);
        } else {
            status = s->regex->compile(s->host, pattern->valuestring, false, &out[*n], err);
        }
        if (status != FMP_OK) {
            if (err) { snprintf(err->option, sizeof err->option, "%s[%d]", option, *n); }
            return status;
        }
        (*n)++;
    }
    return FMP_OK;
}

static fmp_status check_order(int64_t min, int64_t max, const char *option, fmp_err *err)
{
    if (max == 0 || min <= max) { return FMP_OK; }
    fmp_fail(err, FMP_E_CONFIG, "expected at least the minimum, %lld, found %lld", (long long)min,
             (long long)max);
    if (err) { snprintf(err->option, sizeof err->option, "%s", option); }
    return FMP_E_CONFIG;
}

static fmp_status filter_configure(void *self, const cJSON *values, fmp_err *err)
{
    text_filter *s = self;
    s->min_messages = fmp_value_int(values, "min_messages");
    s->max_messages = fmp_value_int(values, "max_messages");
    s->min_chars = fmp_value_int(values, "min_chars");
    s->max_chars = fmp_value_int(values, "max_chars");
    s->min_assistant_chars = fmp_value_int(values, "min_assistant_chars");
    s->max_assistant_chars = fmp_value_int(values, "max_assistant_chars");
    s->require_tools = fmp_value_bool(values, "require_tools");
    s->require_system = fmp_value_bool(values, "require_system");
    s->drop = strcmp(fmp_value_str(values, "action"), "drop") == 0;
    s->locales = fmp_value(values, "locales");
    FMP_TRY(check_order(s->min_messages, s->max_messages, "max_messages", err));
    FMP_TRY(check_order(s->min_chars, s->max_chars, "max_chars", err));
    FMP_TRY(check_order(s->min_assistant_chars, s->max_assistant_chars, "max_assistant_chars", err));
    FMP_TRY(compile_all(s, values, "keep_regex", s->keep, &s->n_keep, err));
    return compile_all(s, values, "drop_regex", s->refuse, &s->n_refuse, err);
}

static void filter_destroy(void *self)
{
    text_filter *s = self;
    for (int i = 0; i < s->n_keep; i++) {
        s->regex->free(s->keep[i]);
    }
    for (int i = 0; i < s->n_refuse; i++) {
        s->regex->free(s->refuse[i]);
    }
    free(s);
}

static const fmp_stage stage = {FMP_STAGE_HEADER,
                                .name = "text.filter",
                                .version = 1,
                                .kind = FMP_MAP,
                                .summary = "Keep conversations by size, roles, locale and patterns.",
                                .inputs = inputs,
                                .outputs = outputs,
                                .options = options,
                                .create = filter_create,
                                .configure = filter_configure,
                                .process = filter_process,
                                .destroy = filter_destroy};

static const fmp_stage *const stages[] = {&stage, NULL};
static const fmp_plugin plugin = {FMP_PLUGIN_HEADER(0), .name = "text-filter", .version = "0.1.0",
                                  .license = "Apache-2.0", .stages = stages};
FMP_PLUGIN_ENTRY(&plugin)
