/*
 * text.redact: replace personal data in messages by typed placeholders.
 *
 * Rules are PCRE2 patterns run by the host's regex service; presets add a check of the digits (Luhn, IBAN
 * mod 97, address ranges), so that a number that only looks like a card stays. Where matches overlap the
 * leftmost wins, then the longest, then the earlier rule. Redaction covers message text, tool-call
 * arguments and tool results, so that a value is replaced everywhere it is repeated. Read redact_text
 * first.
 */
#include <fmpipe/plugin.h>

#include <stdlib.h>

enum { MAX_RULES = 32, MAX_GROUPS = 10 };

/*
 * How many bytes of a match are what the preset looks for; 0: none. A pattern may take a neighbour's
 * digits along.
 */
typedef size_t (*check_fn)(const char *text, size_t len);

typedef struct rule {
    const char *name;
    char *replacement; /* with $1..$9, $0 and $$; owned */
    fmp_regex *regex;
    check_fn check;
    const cJSON *roles; /* empty or NULL: all */
} rule;

typedef struct text_redact {
    const fmp_host *host;
    const fmp_ext_regex *regex;
    rule rules[MAX_RULES];
    size_t n_rules;
    bool in_content, in_arguments, in_results;
} text_redact;

static const fmp_option rule_options[] = {
    {.name = "name",
     .type = FMP_OPT_STRING,
     .flags = FMP_OPT_REQUIRED,
     .min = 1,
     .max = 40,
     .help = "Name of the rule, for counts and the default placeholder."},
    {.name = "pattern",
     .type = FMP_OPT_STRING,
     .flags = FMP_OPT_REQUIRED,
     .min = 1,
     .max = 4096,
     .help = "PCRE2 pattern."},
    {.name = "replace",
     .type = FMP_OPT_STRING,
     .min = 0,
     .max = 1000,
     .help = "Replacement with $0 to $9 for groups and $$ for a dollar sign. Left out: [NAME] in capitals."},
    {.name = "ignore_case", .type = FMP_OPT_BOOL, .def = "false", .help = "Match without regard to case."},
    {.name = "roles",
     .type = FMP_OPT_LIST,
     .def = "[]",
     .help = "Only in messages of these roles; empty: all."},
    {.name = NULL}};

static const fmp_option options[] = {
    {.name = "presets",
     .type = FMP_OPT_LIST,
     .def = "[email, phone, card, iban, ip]",
     .help = "Built-in rules: email, phone, card (Luhn), iban (check digits), ip (version 4 and 6)."},
    {.name = "rules",
     .type = FMP_OPT_TABLE,
     .items = rule_options,
     .def = "[]",
     .help = "Rules of your own, before the presets."},
    {.name = "scope",
     .type = FMP_OPT_LIST,
     .def = "[content, arguments, results]",
     .help = "Where to look: content (message text), arguments (of tool calls), results (of tools)."},
    {.name = NULL}};

static const fmp_port inputs[] = {{.name = "records", .type = FMP_PORT_RECORDS, .help = "Conversations."},
                                  {.name = NULL}};
static const fmp_port outputs[] = {
    {.name = "records", .type = FMP_PORT_RECORDS, .help = "The same conversations, redacted."},
    {.name = NULL}};

/* ---------------------------------------------------------------------------------------------- checks */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static size_t digits_of(const char *text, size_t len, char *out, size_t cap)
{
    size_t n = 0;
    for (size_t i = 0; i < len && n < cap; i++) {
        if (is_digit(text[i])) { out[n++] = text[i]; }
    }
    return n;
}

/* ISO/IEC 7812 annex B. */
static bool luhn(const char *text, size_t len)
{
    char d[24];
    size_t n = digits_of(text, len, d, sizeof d);
    int sum = 0;
    if (n < 13 || n > 19) { return false; }
    for (size_t i = 0; i < n; i++) {
        int v = d[n - 1 - i] - '0';
        if (i % 2 == 1) { v = v * 2 > 9 ? v * 2 - 9 : v * 2; }
        sum += v;
    }
    return sum % 10 == 0;
}

/* ISO 13616: the first four characters move to the end, letters count 10..35, the number is 1 modulo 97. */
static bool mod97(const char *text, size_t len)
{
    char c[40];
    size_t n = 0;
    for (size_t i = 0; i < len && n < sizeof c; i++) {
        if (text[i] != ' ') { c[n++] = text[i]; }
    }
    if (n < 15 || n > 34) { return false; }
    unsigned rest = 0;
    for (size_t i = 0; i < n; i++) {
        char ch = c[(i + 4) % n];
        if (is_digit(ch)) {
            rest = (rest * 10 + (unsigned)(ch - '0')) % 97;
        } else {
            rest = (rest * 100 + (unsigned)(ch - 'A') + 10) % 97;
        }
    }
    return rest == 1;
}

/*
 * The longest part of text from its start to a gap (or all of it) that passes: "4111 1111 1111 1111
 * 12" is a card and a month.
 */
static size_t longest(const char *text, size_t len, bool (*passes)(const char *, size_t))
{
    if (passes(text, len)) { return len; }
    for (size_t n = len - 1; n > 0; n--) {
        if ((text[n] == ' ' || text[n] == '-') && passes(text, n)) { return n; }
    }
    return 0;
}

static size_t card_length(const char *text, size_t len)
{
    return longest(text, len, luhn);
}

static size_t iban_length(const char *text, size_t len)
{
    return longest(text, len, mod97);
}

/*
 * Lengths of the runs of digits; returns their number, at most `cap`. *separator: the one character
 * between all, else 0.
 */
static size_t digit_runs(const char *text, size_t len, size_t *runs, size_t cap, char *separator)
{
    size_t n = 0;
    *separator = 0;
    for (size_t i = 0; i < len; i++) {
        bool begins = is_digit(text[i]) && (i == 0 || !is_digit(text[i - 1]));
        if (begins && n == cap) { return cap; }
        if (begins) { runs[n++] = 0; }
        if (is_digit(text[i])) {
            runs[n - 1]++;
        } else {
            *separator = n <= 1 || *separator == text[i] ? text[i] : '?';
        }
    }
    return n;
}

/*
 * What looks like a telephone number and is none: dates (2024-03-15, 15-03-2024), ranges of years
 * (2019-2020), amounts in groups of three (1 500 000) and US postal codes (95128-1234).
 */
static bool is_other_number(const char *text, size_t len)
{
    size_t r[6];
    char separator;
    size_t n = digit_runs(text, len, r, 6, &separator);
    if (n == 3 && separator != '?' &&
        ((r[0] == 4 && r[1] <= 2 && r[2] <= 2) || (r[0] <= 2 && r[1] <= 2 && r[2] == 4))) {
        return true;
    }
    if (n == 2 && separator == '-' && r[1] == 4 &&
        (r[0] == 5 || (r[0] == 4 && (text[0] == '1' || text[0] == '2')))) {
        return true;
    }
    bool thousands = n >= 2 && separator == ' ' && r[0] <= 3 && text[0] != '0';
    for (size_t i = 1; i < n; i++) {
        thousands = thousands && r[i] == 3;
    }
    return thousands;
}

/*
 * 7 to 15 digits (ITU-T E.164), and not a plain run of digits, which is more often an amount or an
 * identifier.
 */
static size_t phone_length(const char *text, size_t len)
{
    char d[24];
    size_t n = digits_of(text, len, d, sizeof d);
    bool marked = memchr(text, '-', len) || memchr(text, ' ', len),
         certain = text[0] == '+' || memchr(text, '(', len);
    if (n < 7 || n > 15) { return 0; }
    return certain || (marked && !is_other_number(text, len)) ? len : 0;
}

static bool is_ipv4(const char *text, size_t len)
{
    unsigned value = 0, parts = 0, digits = 0;
    for (size_t i = 0; i <= len; i++) {
        if (i < len && text[i] != '.') {
            value = value * 10 + (unsigned)(text[i] - '0');
            digits++;
        } else {
            if (digits == 0 || digits > 3 || value > 255) { return false; }
            parts++;
            value = digits = 0;
        }
    }
    return parts == 4;
}

/* RFC 4291: eight groups, or two to seven with one "::". */
static bool is_ipv6(const char *text, size_t len)
{
    int groups = 0, gaps = 0, digits = 0;
    if (text[0] == ':' && text[1] != ':') { return false; }
    for (size_t i = 0; i < len; i++) {
        if (text[i] != ':') {
            if (++digits > 4) { return false; }
            groups += digits == 1;
            continue;
        }
        if (i + 1 < len && text[i + 1] == ':') { gaps++; }
        digits = 0;
    }
    return gaps == 1 ? groups <= 7 && groups >= 2 : gaps == 0 && groups == 8;
}

static size_t ip_length(const char *text, size_t len)
{
    if (!memchr(text, ':', len)) { return is_ipv4(text, len) ? len : 0; }
    if (len > 2 && text[len - 1] == ':' && text[len - 2] != ':') { len--; } /* "fe80::1:" ends a clause */
    return is_ipv6(text, len) ? len : 0;
}

static const struct preset {
    const char *name, *pattern;
    check_fn check;
} presets[] = {{"email",
                "(?<![\\w.+-])[A-Za-z0-9._%+-]{1,64}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\\.)+[A-"
                "Za-z]{2,24}(?![\\w-])",
                NULL},
               {"iban",
                "(?<![A-Za-z0-9])[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?![A-Za-z0-9])",
                iban_length},
               {"card", "(?<![0-9.,-])[0-9](?:[ -]?[0-9]){12,18}(?![0-9])", card_length},
               {"ip",
                "(?<![0-9.])[0-9]{1,3}(?:\\.[0-9]{1,3}){3}(?![0-9]|\\.[0-9])|(?<![0-9A-Fa-f:])[0-9A-Fa-f]{0,"
                "4}(?::[0-9A-Fa-f]{0,4}){2,7}(?![0-9A-Fa-f:]|\\.[0-9])",
                ip_length},
               {"phone",
                "(?<![0-9A-Za-z.,:/-])(?:\\+[0-9]{1,3}[ .-]?)?(?:\\([0-9]{1,5}\\)[ .-]?)?[0-9]{1,5}(?:[ "
                ".-]?[0-9]{2,5}){1,4}(?![0-9A-Za-z]|[.,:/-][0-9])",
                phone_length}};

/* ------------------------------------------------------------------------------------ one string */

typedef struct found {
    fmp_regex_group groups[MAX_GROUPS];
    size_t n_groups; /* 0: no more matches of this rule */
    bool fresh;      /* groups[0].begin is at or after the position */
} found;

typedef struct text_out {
    char *data; /* in the batch's arena */
    size_t len, cap;
} text_out;

static fmp_status append(const fmp_call *call, text_out *out, const char *data, size_t len, fmp_err *err)
{
    if (out->cap - out->len < len + 1) {
        size_t cap = (out->len + len + 64) * 2;
        char *grown = call->arena_take(call, cap);
        if (!grown) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
        if (out->len > 0) { memcpy(grown, out->data, out->len); }
        out->data = grown;
        out->cap = cap;
    }
    if (len > 0) { memcpy(out->data + out->len, data, len); }
    out->len += len;
    out->data[out->len] = '\0';
    return FMP_OK;
}

static fmp_status append_replacement(const fmp_call *call, text_out *out, const rule *r, const found *f,
                                     const char *text, fmp_err *err)
{
    for (const char *p = r->replacement; *p; p++) {
        if (*p != '$' || (p[1] != '$' && (p[1] < '0' || p[1] > '9'))) {
            FMP_TRY(append(call, out, p, 1, err));
            continue;
        }
        p++;
        if (*p == '$') {
            FMP_TRY(append(call, out, "$", 1, err));
        } else if ((size_t)(*p - '0') < f->n_groups && f->groups[*p - '0'].begin != SIZE_MAX) {
            const fmp_regex_group *g = &f->groups[*p - '0'];
            FMP_TRY(append(call, out, text + g->begin, g->end - g->begin, err));
        }
    }
    return FMP_OK;
}

static bool applies(const rule *r, const char *role)
{
    const cJSON *item = r->roles ? r->roles->child : NULL;
    if (!item) { return true; }
    for (; item; item = item->next) {
        if (strcmp(item->valuestring, role) == 0) { return true; }
    }
    return false;
}

/* Next match of `r` from `from` that passes its check. */
static fmp_status next_match(const text_redact *s, const rule *r, const char *text, size_t len, size_t from,
                             found *f, fmp_err *err)
{
    f->fresh = true;
    for (;;) {
        f->n_groups = MAX_GROUPS;
        FMP_TRY(s->regex->match(r->regex, text, len, from, f->groups, &f->n_groups, err));
        if (f->n_groups == 0) { return FMP_OK; }
        size_t begin = f->groups[0].begin, end = f->groups[0].end;
        size_t length = end > begin && r->check ? r->check(text + begin, end - begin) : end - begin;
        f->groups[0].end = begin + length;
        if (length > 0) { return FMP_OK; }
        from = begin + 1; /* an empty match or one that fails the check: look further */
        while (from < len && ((unsigned char)text[from] & 0xC0) == 0x80) {
            from++;
        }
        if (from > len) {
            f->n_groups = 0;
            return FMP_OK;
        }
    }
}

/*
 * redact_text: `text` with all rules applied, in the batch's arena; *out stays NULL if nothing matched.
 * `call` NULL: stop at the first match and only say so through *hit.
 */
static fmp_status redact_text(const text_redact *s, const char *text, const char *role, const fmp_call *call,
                              bool *hit, char **out, fmp_err *err)
{
    found f[MAX_RULES];
    text_out made = {0};
    size_t len = strlen(text), at = 0;
    for (size_t i = 0; i < s->n_rules; i++) {
        f[i].fresh = false;
    }
    for (;;) {
        size_t best = s->n_rules;
        for (size_t i = 0; i < s->n_rules; i++) {
            if (!applies(&s->rules[i], role)) { continue; }
            if (!f[i].fresh || (f[i].n_groups > 0 && f[i].groups[0].begin < at)) {
                FMP_TRY(next_match(s, &s->rules[i], text, len, at, &f[i], err));
            }
            if (f[i].n_groups == 0) { continue; }
            const fmp_regex_group *g = &f[i].groups[0], *b = best < s->n_rules ? &f[best].groups[0] : NULL;
            if (!b || g->begin < b->begin || (g->begin == b->begin && g->end > b->end)) { best = i; }
        }
        if (best == s->n_rules) { break; }
        *hit = true;
        if (!call) { return FMP_OK; }
        const fmp_regex_group *g = &f[best].groups[0];
        FMP_TRY(append(call, &made, text + at, g->begin - at, err));
        FMP_TRY(append_replacement(call, &made, &s->rules[best], &f[best], text, err));
        call->count(call, s->rules[best].name, 1);
        at = g->end;
    }
    if (made.data) {
        FMP_TRY(append(call, &made, text + at, len - at, err));
        *out = made.data;
    }
    return FMP_OK;
}

/* ---------------------------------------------------------------------------------------------- documents */

/* Every string value below `node`; with `call`, in place. */
static fmp_status redact_tree(const text_redact *s, cJSON *node, const char *role, const fmp_call *call,
                              bool *hit, fmp_err *err)
{
    if (cJSON_IsString(node)) {
        char *made = NULL;
        FMP_TRY(redact_text(s, node->valuestring, role, call, hit, &made, err));
        if (made && !cJSON_SetValuestring(node, made)) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
        return FMP_OK;
    }
    for (cJSON *m = node ? node->child : NULL; m && (call || !*hit); m = m->next) {
        FMP_TRY(redact_tree(s, m, role, call, hit, err));
    }
    return FMP_OK;
}

static fmp_status redact_document(const text_redact *s, cJSON *doc, const fmp_call *call, bool *hit,
                                  fmp_err *err)
{
    cJSON *m, *one;
    cJSON_ArrayForEach(m, cJSON_GetObjectItemCaseSensitive(doc, "messages"))
    {
        const char *role = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(m, "role"));
        bool result = role && strcmp(role, "tool") == 0;
        if (!role) { continue; }
        if (result ? s->in_results : s->in_content) {
            FMP_TRY(redact_tree(s, cJSON_GetObjectItemCaseSensitive(m, "content"), role, call, hit, err));
        }
        if (!s->in_arguments) { continue; }
        cJSON_ArrayForEach(one, cJSON_GetObjectItemCaseSensitive(m, "tool_calls"))
        {
            cJSON *function = cJSON_GetObjectItemCaseSensitive(one, "function");
            FMP_TRY(redact_tree(s, cJSON_GetObjectItemCaseSensitive(function, "arguments"), role, call, hit,
                                err));
        }
    }
    return FMP_OK;
}

static fmp_status redact_process(void *self, const fmp_record *record, const fmp_call *call, fmp_err *err)
{
    const text_redact *s = self;
    bool hit = false;
    fmp_err why = FMP_ERR_INIT;
    /* Looking only (call NULL) changes nothing, so the borrowed document may be passed. */
    cJSON *looked_at = (cJSON *)(uintptr_t)record->doc;
    fmp_status status = redact_document(s, looked_at, NULL, &hit, &why);
    if (status == FMP_OK && !hit) { return call->pass(call, err); }
    cJSON *copy = NULL;
    if (status == FMP_OK) {
        copy = cJSON_Duplicate(record->doc, true);
        status =
            copy ? redact_document(s, copy, call, &hit, &why) : fmp_fail(&why, FMP_E_NOMEM, "out of memory");
    }
    if (status == FMP_OK) { return call->emit(call, copy, err); }
    if (status == FMP_E_RANGE) { return fmp_reject_record(call, "regex_limit", NULL, why.message, err); }
    if (err) { *err = why; }
    return status;
}

/* ------------------------------------------------------------------------------------ life cycle */

static char *default_replacement(const char *name)
{
    size_t n = strlen(name);
    char *out = malloc(n + 3);
    if (!out) { return NULL; }
    out[0] = '[';
    for (size_t i = 0; i < n; i++) {
        out[i + 1] = name[i] >= 'a' && name[i] <= 'z' ? (char)(name[i] - 32) : name[i];
    }
    memcpy(out + n + 1, "]", 2);
    return out;
}

static fmp_status add_rule(text_redact *s, const char *name, const char *pattern, bool ignore_case,
                           const char *replacement, check_fn check, const cJSON *roles, fmp_err *err)
{
    if (!s->regex) { return fmp_fail(err, FMP_E_UNSUPPORTED, "this host offers no %s", FMP_EXT_REGEX); }
    if (s->n_rules == MAX_RULES) {
        return fmp_fail(err, FMP_E_CONFIG, "expected at most %d rules", MAX_RULES);
    }
    rule *r = &s->rules[s->n_rules];
    FMP_TRY(s->regex->compile(s->host, pattern, ignore_case, &r->regex, err));
    s->n_rules++;
    r->name = name;
    r->check = check;
    r->roles = roles;
    r->replacement = replacement ? strdup(replacement) : default_replacement(name);
    return r->replacement ? FMP_OK : fmp_fail(err, FMP_E_NOMEM, "out of memory");
}

static fmp_status add_preset(text_redact *s, const char *name, fmp_err *err)
{
    for (size_t i = 0; i < sizeof presets / sizeof presets[0]; i++) {
        if (strcmp(presets[i].name, name) == 0) {
            return add_rule(s, presets[i].name, presets[i].pattern, false, NULL, presets[i].check, NULL, err);
        }
    }
    fmp_fail(err, FMP_E_CONFIG, "expected email, phone, card, iban or ip, found '%s'", name);
    if (err) { snprintf(err->option, sizeof err->option, "presets"); }
    return FMP_E_CONFIG;
}

static fmp_status check_roles(const cJSON *roles, int rule_index, fmp_err *err)
{
    static const char *const known[] = {"system", "user", "assistant", "tool"};
    const cJSON *role;
    cJSON_ArrayForEach(role, roles)
    {
        bool ok = false;
        for (int i = 0; i < 4; i++) {
            ok = ok || strcmp(role->valuestring, known[i]) == 0;
        }
        if (!ok) {
            fmp_fail(err, FMP_E_CONFIG, "expected system, user, assistant or tool, found '%s'",
                     role->valuestring);
            if (err) { snprintf(err->option, sizeof err->option, "rules[%d].roles", rule_index); }
            return FMP_E_CONFIG;
        }
    }
    return FMP_OK;
}

static fmp_status redact_configure(void *self, const cJSON *values, fmp_err *err)
{
    text_redact *s = self;
    const cJSON *item;
    int i = 0;
    cJSON_ArrayForEach(item, fmp_value(values, "rules"))
    {
        FMP_TRY(check_roles(fmp_value(item, "roles"), i, err));
        fmp_status status = add_rule(s, fmp_value_str(item, "name"), fmp_value_str(item, "pattern"),
                                     fmp_value_bool(item, "ignore_case"), fmp_value_str(item, "replace"),
                                     NULL, fmp_value(item, "roles"), err);
        if (status != FMP_OK) {
            if (err) { snprintf(err->option, sizeof err->option, "rules[%d].pattern", i); }
            return status;
        }
        i++;
    }
    cJSON_ArrayForEach(item, fmp_value(values, "presets"))
    {
        FMP_TRY(add_preset(s, item->valuestring, err));
    }
    cJSON_ArrayForEach(item, fmp_value(values, "scope"))
    {
        bool *place = strcmp(item->valuestring, "content") == 0     ? &s->in_content
                      : strcmp(item->valuestring, "arguments") == 0 ? &s->in_arguments
                      : strcmp(item->valuestring, "results") == 0   ? &s->in_results
                                                                    : NULL;
        if (!place) {
            fmp_fail(err, FMP_E_CONFIG, "expected content, arguments or results, found '%s'",
                     item->valuestring);
            if (err) { snprintf(err->option, sizeof err->option, "scope"); }
            return FMP_E_CONFIG;
        }
        *place = true;
    }
    return FMP_OK;
}

static fmp_status redact_create(const fmp_host *host, void **self, fmp_err *err)
{
    text_redact *s = calloc(1, sizeof *s);
    if (!s) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
    s->host = host;
    s->regex = host->get_extension(host, FMP_EXT_REGEX);
    *self = s;
    return FMP_OK;
}

static void redact_destroy(void *self)
{
    text_redact *s = self;
    for (size_t i = 0; i < s->n_rules; i++) {
        s->regex->free(s->rules[i].regex);
        free(s->rules[i].replacement);
    }
    free(s);
}

static const fmp_stage stage = {FMP_STAGE_HEADER,
                                .name = "text.redact",
                                .version = 1,
                                .kind = FMP_MAP,
                                .summary = "Replace personal data by typed placeholders.",
                                .inputs = inputs,
                                .outputs = outputs,
                                .options = options,
                                .create = redact_create,
                                .configure = redact_configure,
                                .process = redact_process,
                                .destroy = redact_destroy};

static const fmp_stage *const stages[] = {&stage, NULL};
static const fmp_plugin plugin = {FMP_PLUGIN_HEADER(0), .name = "text-redact", .version = "0.1.0",
                                  .license = "Apache-2.0", .stages = stages};
FMP_PLUGIN_ENTRY(&plugin)
