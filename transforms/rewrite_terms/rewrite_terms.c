/*
 * example.rewrite_terms: replace wordings in message texts, by rules with regular expressions.
 *
 * Product names change, a style guide forbids a phrase, a markup has to go. Each rule is applied to the
 * whole text before the next one; what it replaced is counted under its name. Patterns run in the host's
 * regex service, which bounds their effort: a text on which a pattern gives up is refused with the reason
 * "regex_limit".
 */
#include <fmpipe/plugin.h>

#include <stdlib.h>

enum { MAX_RULES = 256, MAX_GROUPS = 10 };

typedef struct rule {
    fmp_regex *regex;
    const char *name, *to; /* borrowed from the option values */
    const cJSON *roles;    /* empty: all */
} rule;

typedef struct rewrite_terms {
    const fmp_host *host;
    const fmp_ext_regex *regex;
    rule rules[MAX_RULES];
    int n_rules;
} rewrite_terms;

/* Text being built in the batch's arena. */
typedef struct text_buf {
    const fmp_call *call;
    char *data;
    size_t len, cap;
    bool failed;
} text_buf;

static const fmp_option rule_options[] = {
    {.name = "name",
     .type = FMP_OPT_STRING,
     .flags = FMP_OPT_REQUIRED,
     .min = 1,
     .max = 60,
     .help = "Name under which replacements are counted."},
    {.name = "from",
     .type = FMP_OPT_STRING,
     .flags = FMP_OPT_REQUIRED,
     .min = 1,
     .max = 4096,
     .help = "Pattern (PCRE2)."},
    {.name = "to",
     .type = FMP_OPT_STRING,
     .def = "",
     .help = "What stands there instead; $0 to $9 are groups, $$ is a dollar sign."},
    {.name = "roles",
     .type = FMP_OPT_LIST,
     .def = "[]",
     .help = "Only in messages of these roles; empty: in all."},
    {.name = "ignore_case", .type = FMP_OPT_BOOL, .def = "false", .help = "Match without regard to case."},
    {.name = NULL}};

static const fmp_option options[] = {{.name = "rules",
                                      .type = FMP_OPT_TABLE,
                                      .flags = FMP_OPT_REQUIRED,
                                      .items = rule_options,
                                      .help = "The rules, applied in order."},
                                     {.name = NULL}};

static const fmp_port inputs[] = {{.name = "records", .type = FMP_PORT_RECORDS, .help = "Conversations."},
                                  {.name = NULL}};
static const fmp_port outputs[] = {
    {.name = "records", .type = FMP_PORT_RECORDS, .help = "The same, with the new wordings."},
    {.name = NULL}};

static void add(text_buf *b, const char *data, size_t n)
{
    if (b->failed || n == 0) { return; }
    if (n > b->cap - b->len) {
        size_t cap = (b->len + n) * 2;
        char *grown = b->call->arena_take(b->call, cap + 1);
        if (!grown) {
            b->failed = true;
            return;
        }
        if (b->len > 0) { memcpy(grown, b->data, b->len); }
        b->data = grown;
        b->cap = cap;
    }
    memcpy(b->data + b->len, data, n);
    b->len += n;
    b->data[b->len] = '\0';
}

/* The replacement with its group references filled in; a group that took no part is empty. */
static void add_replacement(text_buf *b, const char *to, const char *text, const fmp_regex_group *groups,
                            size_t n_groups)
{
    while (*to) {
        size_t plain = strcspn(to, "$");
        add(b, to, plain);
        to += plain;
        if (*to == '$' && to[1] >= '0' && to[1] <= '9') {
            size_t g = (size_t)(to[1] - '0');
            if (g < n_groups && groups[g].begin != SIZE_MAX) {
                add(b, text + groups[g].begin, groups[g].end - groups[g].begin);
            }
            to += 2;
        } else if (*to == '$') {
            add(b, to, 1);
            to += 1 + (to[1] == '$');
        }
    }
}

static size_t char_length(const char *text)
{
    size_t n = 1;
    while (((unsigned char)text[n] & 0xC0) == 0x80) {
        n++;
    }
    return n;
}

/* *text replaced by what the rule makes of it; *n: replacements. */
static fmp_status apply_rule(const rewrite_terms *s, const rule *r, const fmp_call *call, const char **text,
                             int64_t *n, fmp_err *err)
{
    const char *in = *text;
    size_t len = strlen(in), from = 0, copied = 0;
    text_buf out = {.call = call};
    *n = 0;
    while (from <= len) {
        fmp_regex_group groups[MAX_GROUPS];
        size_t n_groups = MAX_GROUPS;
        FMP_TRY(s->regex->match(r->regex, in, len, from, groups, &n_groups, err));
        if (n_groups == 0) { break; }
        add(&out, in + copied, groups[0].begin - copied);
        add_replacement(&out, r->to, in, groups, n_groups);
        copied = groups[0].end;
        from = groups[0].end;
        if (groups[0].end == groups[0].begin) {
            from += from < len ? char_length(in + from) : 1;
        } /* an empty match moves on */
        (*n)++;
    }
    if (*n == 0) { return FMP_OK; }
    add(&out, in + copied, len - copied);
    if (out.failed) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
    *text = out.data ? out.data : "";
    return FMP_OK;
}

static bool has_role(const rule *r, const char *role)
{
    const cJSON *item;
    if (!r->roles->child) { return true; }
    cJSON_ArrayForEach(item, r->roles)
    {
        if (strcmp(item->valuestring, role) == 0) { return true; }
    }
    return false;
}

/* One message of our copy; *changed where a rule replaced something. */
static fmp_status rewrite_message(const rewrite_terms *s, cJSON *message, const fmp_call *call, bool *changed,
                                  fmp_err *err)
{
    const cJSON *role = cJSON_GetObjectItemCaseSensitive(message, "role");
    const cJSON *content = cJSON_GetObjectItemCaseSensitive(message, "content");
    if (!cJSON_IsString(role) || !cJSON_IsString(content)) { return FMP_OK; }
    const char *text = content->valuestring;
    for (int i = 0; i < s->n_rules; i++) {
        int64_t n = 0;
        if (!has_role(&s->rules[i], role->valuestring)) { continue; }
        FMP_TRY(apply_rule(s, &s->rules[i], call, &text, &n, err));
        if (n > 0) { call->count(call, s->rules[i].name, n); }
    }
    if (text == content->valuestring) { return FMP_OK; }
    *changed = true;
    cJSON *node = cJSON_CreateString(text);
    if (!node || !cJSON_ReplaceItemInObjectCaseSensitive(message, "content", node)) {
        return fmp_fail(err, FMP_E_NOMEM, "out of memory");
    }
    return FMP_OK;
}

static fmp_status process(void *self, const fmp_record *record, const fmp_call *call, fmp_err *err)
{
    const rewrite_terms *s = self;
    cJSON *doc = cJSON_Duplicate(record->doc, true), *message;
    bool changed = false;
    int index = 0;
    if (!doc) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
    cJSON_ArrayForEach(message, cJSON_GetObjectItemCaseSensitive(doc, "messages"))
    {
        fmp_err why = FMP_ERR_INIT;
        fmp_status status = rewrite_message(s, message, call, &changed, &why);
        if (status == FMP_E_RANGE) {
            char path[48];
            snprintf(path, sizeof path, "messages[%d].content", index);
            return fmp_reject_record(call, "regex_limit", path, why.message, err);
        }
        if (status != FMP_OK) {
            if (err) { *err = why; }
            return status;
        }
        index++;
    }
    return changed ? call->emit(call, doc, err) : call->pass(call, err);
}

static fmp_status create(const fmp_host *host, void **self, fmp_err *err)
{
    rewrite_terms *s = calloc(1, sizeof *s);
    if (!s) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
    *self = s;
    s->host = host;
    s->regex = host->get_extension(host, FMP_EXT_REGEX);
    return s->regex ? FMP_OK : fmp_fail(err, FMP_E_UNSUPPORTED, "this host offers no %s", FMP_EXT_REGEX);
}

static fmp_status configure(void *self, const cJSON *values, fmp_err *err)
{
    rewrite_terms *s = self;
    const cJSON *row;
    cJSON_ArrayForEach(row, fmp_value(values, "rules"))
    {
        if (s->n_rules == MAX_RULES) {
            return fmp_fail(err, FMP_E_CONFIG, "expected at most %d rules", MAX_RULES);
        }
        rule *r = &s->rules[s->n_rules];
        r->name = fmp_value_str(row, "name");
        r->to = fmp_value_str(row, "to");
        r->roles = fmp_value(row, "roles");
        fmp_status status = s->regex->compile(s->host, fmp_value_str(row, "from"),
                                              fmp_value_bool(row, "ignore_case"), &r->regex, err);
        if (status != FMP_OK) {
            if (err) { snprintf(err->option, sizeof err->option, "rules[%d].from", s->n_rules); }
            return status;
        }
        s->n_rules++;
    }
    return FMP_OK;
}

static void destroy(void *self)
{
    rewrite_terms *s = self;
    for (int i = 0; i < s->n_rules; i++) {
        s->regex->free(s->rules[i].regex);
    }
    free(s);
}

static const fmp_stage stage = {FMP_STAGE_HEADER,
                                .name = "example.rewrite_terms",
                                .version = 1,
                                .kind = FMP_MAP,
                                .summary =
                                    "Replace wordings in message texts by rules with regular expressions.",
                                .inputs = inputs,
                                .outputs = outputs,
                                .options = options,
                                .create = create,
                                .configure = configure,
                                .process = process,
                                .destroy = destroy};

static const fmp_stage *const stages[] = {&stage, NULL};
static const fmp_plugin plugin = {FMP_PLUGIN_HEADER(0), .name = "rewrite-terms", .version = "0.1.0",
                                  .license = "Apache-2.0", .stages = stages};
FMP_PLUGIN_ENTRY(&plugin)
