/*
 * example.schema_inject: put response formats (JSON Schemas) on user messages, by the sample they belong
 * to.
 *
 * Guided generation is trained with the schema beside the question; data is often collected without it. A
 * rules file says which sample gets which format: one message of a sample, all its user messages, or those
 * of a range of samples. The narrower rule wins. A sample is named by its line in the source file, which
 * every record keeps.
 */
#include <fmpipe/plugin.h>

#include <stdlib.h>

enum { MAX_FILE_BYTES = 64 << 20, ALL_MESSAGES = -1 };

typedef struct rule {
    uint64_t first, last; /* lines, inclusive; equal for one sample */
    int message;          /* index, or ALL_MESSAGES                 */
    const cJSON *format;  /* borrowed from `file`                   */
    int number;           /* in the file, for messages              */
} rule;

typedef struct schema_inject {
    cJSON *file;
    rule *samples, *ranges; /* sorted: samples by line and message, ranges by first line */
    size_t n_samples, n_ranges;
    bool replace, keep;
} schema_inject;

static const fmp_option options[] = {
    {.name = "rules",
     .type = FMP_OPT_PATH,
     .flags = FMP_OPT_REQUIRED,
     .help = "JSON file: {\"formats\": {NAME: response format}, \"rules\": [...]}; README.md has the form."},
    {.name = "existing",
     .type = FMP_OPT_ENUM,
     .def = "reject",
     .choices = "reject|keep|replace",
     .help = "A message that has a response format already: refuse the record, keep the message's own, or "
             "put ours in its place."},
    {.name = NULL}};

static const fmp_port inputs[] = {
    {.name = "records", .type = FMP_PORT_RECORDS, .help = "Conversations read from files."}, {.name = NULL}};
static const fmp_port outputs[] = {
    {.name = "records", .type = FMP_PORT_RECORDS, .help = "The same, with the response formats."},
    {.name = NULL}};

/* ---- records ---- */

/* How many rules of a sorted table begin before `line`. */
static size_t rules_before(const rule *rules, size_t n, uint64_t line)
{
    size_t low = 0, high = n;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (rules[mid].first < line) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}

/* The format for message `index` of the sample in `line`, or NULL. */
static const cJSON *format_for(const schema_inject *s, uint64_t line, int index)
{
    const cJSON *all = NULL;
    for (size_t i = rules_before(s->samples, s->n_samples, line);
         i < s->n_samples && s->samples[i].first == line; i++) {
        if (s->samples[i].message == index) { return s->samples[i].format; }
        if (s->samples[i].message == ALL_MESSAGES) { all = s->samples[i].format; }
    }
    if (all) { return all; }
    size_t n = rules_before(s->ranges, s->n_ranges, line + 1); /* the last of these may hold the line */
    return n > 0 && s->ranges[n - 1].last >= line ? s->ranges[n - 1].format : NULL;
}

/* A rule for one message must meet a user message; returns the index of one that does not, or -1. */
static int misplaced(const schema_inject *s, uint64_t line, const cJSON *messages)
{
    int n = cJSON_GetArraySize(messages);
    for (size_t i = rules_before(s->samples, s->n_samples, line);
         i < s->n_samples && s->samples[i].first == line; i++) {
        const rule *r = &s->samples[i];
        if (r->message == ALL_MESSAGES) { continue; }
        const cJSON *role =
            r->message < n
                ? cJSON_GetObjectItemCaseSensitive(cJSON_GetArrayItem(messages, r->message), "role")
                : NULL;
        if (!cJSON_IsString(role) || strcmp(role->valuestring, "user") != 0) { return r->message; }
    }
    return -1;
}

static fmp_status put_format(cJSON *message, const cJSON *format, bool there, fmp_err *err)
{
    cJSON *copy = cJSON_Duplicate(format, true);
    bool ok = copy && (there ? cJSON_ReplaceItemInObjectCaseSensitive(message, "response_format", copy)
                             : cJSON_AddItemToObject(message, "response_format", copy));
    return ok ? FMP_OK : fmp_fail(err, FMP_E_NOMEM, "out of memory");
}

static fmp_status process(void *self, const fmp_record *record, const fmp_call *call, fmp_err *err)
{
    const schema_inject *s = self;
    uint64_t line = record->origin.line;
    cJSON *doc = cJSON_Duplicate(record->doc, true);
    cJSON *messages = cJSON_GetObjectItemCaseSensitive(doc, "messages"), *message;
    char path[48];
    int index = 0;
    int64_t n = 0;
    if (!doc) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
    int wrong = misplaced(s, line, messages);
    if (wrong >= 0) {
        snprintf(path, sizeof path, "messages[%d]", wrong);
        return fmp_reject_record(call, "not_a_user_message", path,
                                 "expected a user message, which a rule gives a response format", err);
    }
    cJSON_ArrayForEach(message, messages)
    {
        const cJSON *role = cJSON_GetObjectItemCaseSensitive(message, "role");
        bool there = cJSON_GetObjectItemCaseSensitive(message, "response_format") != NULL;
        const cJSON *format = cJSON_IsString(role) && strcmp(role->valuestring, "user") == 0
                                  ? format_for(s, line, index)
                                  : NULL;
        if (format && there && !s->replace && !s->keep) {
            snprintf(path, sizeof path, "messages[%d].response_format", index);
            return fmp_reject_record(call, "has_format", path, "expected no response format, found one", err);
        }
        if (format && !(there && s->keep)) {
            FMP_TRY(put_format(message, format, there, err));
            n++;
        }
        index++;
    }
    if (n == 0) { return call->pass(call, err); }
    call->count(call, "injected", n);
    return call->emit(call, doc, err);
}

/* ---- the rules file ---- */

static fmp_status bad(fmp_err *err, const char *path, const char *what)
{
    fmp_fail(err, FMP_E_CONFIG, "%s", what);
    if (err) { snprintf(err->option, sizeof err->option, "rules"); }
    return fmp_err_at(err, path, 0, 0, UINT64_MAX);
}

static fmp_status read_json(const char *path, cJSON **out, fmp_err *err)
{
    FILE *f = fopen(path, "rb");
    if (!f) { return bad(err, path, "cannot open the rules file"); }
    size_t cap = 1 << 16, len = 0;
    char *text = malloc(cap + 1);
    while (text && len < MAX_FILE_BYTES) {
        size_t n = fread(text + len, 1, cap - len, f);
        len += n;
        if (n == 0) { break; }
        if (len == cap) {
            char *grown = realloc(text, cap * 2 + 1);
            if (!grown) { free(text); }
            text = grown;
            cap *= 2;
        }
    }
    fclose(f);
    if (!text) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
    text[len] = '\0';
    *out = cJSON_ParseWithLengthOpts(text, len + 1, NULL, true);
    free(text);
    return cJSON_IsObject(*out)
               ? FMP_OK
               : bad(err, path, "expected a JSON object, found something else or damaged JSON");
}

/* A whole number from 0; false where the member is something else. `*present` false where it is missing. */
static bool whole(const cJSON *row, const char *key, uint64_t *out, bool *present)
{
    const cJSON *node = cJSON_GetObjectItemCaseSensitive(row, key);
    *present = node != NULL;
    *out = 0;
    if (!node) { return true; }
    if (!cJSON_IsNumber(node) || !(node->valuedouble >= 0 && node->valuedouble < 9e15) ||
        node->valuedouble != (double)(uint64_t)node->valuedouble) {
        return false;
    }
    *out = (uint64_t)node->valuedouble;
    return true;
}

static fmp_status read_rule(schema_inject *s, const cJSON *row, int number, const char *path, fmp_err *err)
{
    char text[200];
    uint64_t sample, message, from, to;
    bool has_sample, has_message, has_from, has_to;
    const cJSON *name = cJSON_GetObjectItemCaseSensitive(row, "format");
    const cJSON *format = cJSON_IsString(name)
                              ? cJSON_GetObjectItemCaseSensitive(
                                    cJSON_GetObjectItemCaseSensitive(s->file, "formats"), name->valuestring)
                              : NULL;
    bool ok = whole(row, "sample", &sample, &has_sample) && whole(row, "message", &message, &has_message) &&
              whole(row, "from", &from, &has_from) && whole(row, "to", &to, &has_to);
    bool one = has_sample && !has_from && !has_to && sample > 0,
         range = !has_sample && !has_message && has_from && has_to && from > 0 && from <= to;
    if (!ok || !(one || range) || message > 100000) {
        snprintf(text, sizeof text,
                 "rules[%d]: expected sample and, if one message is meant, message; or from and to", number);
        return bad(err, path, text);
    }
    if (!cJSON_IsObject(format)) {
        snprintf(text, sizeof text, "rules[%d]: 'format' names none of the formats", number);
        return bad(err, path, text);
    }
    rule *r = one ? &s->samples[s->n_samples++] : &s->ranges[s->n_ranges++];
    *r = (rule){one ? sample : from, one ? sample : to, has_message ? (int)message : ALL_MESSAGES, format,
                number};
    return FMP_OK;
}

static int by_place(const void *a, const void *b)
{
    const rule *x = a, *y = b;
    if (x->first != y->first) { return x->first < y->first ? -1 : 1; }
    return x->message != y->message ? (x->message < y->message ? -1 : 1) : 0;
}

/* Two rules for the same place would leave the choice to chance. */
static fmp_status check_rules(const schema_inject *s, const char *path, fmp_err *err)
{
    char text[200];
    for (size_t i = 1; i < s->n_samples; i++) {
        if (by_place(&s->samples[i - 1], &s->samples[i]) != 0) { continue; }
        snprintf(text, sizeof text, "rules[%d] and rules[%d] are for the same sample and message",
                 s->samples[i - 1].number, s->samples[i].number);
        return bad(err, path, text);
    }
    for (size_t i = 1; i < s->n_ranges; i++) {
        if (s->ranges[i - 1].last < s->ranges[i].first) { continue; }
        snprintf(text, sizeof text, "the ranges of rules[%d] and rules[%d] overlap", s->ranges[i - 1].number,
                 s->ranges[i].number);
        return bad(err, path, text);
    }
    return FMP_OK;
}

static fmp_status configure(void *self, const cJSON *values, fmp_err *err)
{
    schema_inject *s = self;
    const char *path = fmp_value_str(values, "rules"), *mode = fmp_value_str(values, "existing");
    s->replace = strcmp(mode, "replace") == 0;
    s->keep = strcmp(mode, "keep") == 0;
    FMP_TRY(read_json(path, &s->file, err));
    const cJSON *rows = cJSON_GetObjectItemCaseSensitive(s->file, "rules"), *row;
    if (!cJSON_IsArray(rows)) { return bad(err, path, "expected 'rules' to be a list"); }
    size_t n = (size_t)cJSON_GetArraySize(rows) + 1;
    s->samples = calloc(n, sizeof *s->samples);
    s->ranges = calloc(n, sizeof *s->ranges);
    if (!s->samples || !s->ranges) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
    int number = 0;
    cJSON_ArrayForEach(row, rows)
    {
        FMP_TRY(read_rule(s, row, number++, path, err));
    }
    qsort(s->samples, s->n_samples, sizeof *s->samples, by_place);
    qsort(s->ranges, s->n_ranges, sizeof *s->ranges, by_place);
    return check_rules(s, path, err);
}

static fmp_status create(const fmp_host *host, void **self, fmp_err *err)
{
    (void)host;
    *self = calloc(1, sizeof(schema_inject));
    return *self ? FMP_OK : fmp_fail(err, FMP_E_NOMEM, "out of memory");
}

static void destroy(void *self)
{
    schema_inject *s = self;
    cJSON_Delete(s->file);
    free(s->samples);
    free(s->ranges);
    free(s);
}

static const fmp_stage stage = {
    FMP_STAGE_HEADER,
    .name = "example.schema_inject",
    .version = 1,
    .kind = FMP_MAP,
    .summary = "Put response formats on user messages, by sample, message or range of samples.",
    .inputs = inputs,
    .outputs = outputs,
    .options = options,
    .create = create,
    .configure = configure,
    .process = process,
    .destroy = destroy};

static const fmp_stage *const stages[] = {&stage, NULL};
static const fmp_plugin plugin = {FMP_PLUGIN_HEADER(0), .name = "schema-inject", .version = "0.1.0",
                                  .license = "Apache-2.0", .stages = stages};
FMP_PLUGIN_ENTRY(&plugin)
