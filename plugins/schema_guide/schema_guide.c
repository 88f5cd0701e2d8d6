/*
 * schema.guide: conversations whose answers are JSON under a schema (guided generation).
 *
 * For each user message with a response_format (its own, the conversation's, or one injected from a file) the
 * schema is brought to canonical form and the answer that follows is checked against it and rewritten the way
 * a constrained decoder would write it: ", " and ": ", keys in the schema's order. A wrong answer refuses the
 * record: training on it would teach the model to break its schema. Read guide_turn first.
 */
#include "guide_augment.h"

#include <fmpipe/schema.h>
#include <stdlib.h>

typedef struct schema_guide {
    const fmp_host *host;
    const fmp_ext_rng *rng;
    bool arrange, assert_formats, closed, annotate;
    double rename, drop_description, forced_weight;
    cJSON *inject; /* array of rules, or NULL; owned, on the heap */
} schema_guide;

/* One record on its way through. */
typedef struct guide {
    const schema_guide *s;
    const fmp_record *record;
    const fmp_call *call;
    cJSON *doc;
    guide_names *names; /* NULL: nothing is renamed */
    bool drop, touched;
    int64_t n_schemas, n_answers, n_injected, n_unmarked; /* counted once the record has made it */
    const char *reason;                                   /* set where the record is refused */
    char path[160];
    fmp_err why;
} guide;

static const fmp_option options[] = {
    {.name = "order",
     .type = FMP_OPT_ENUM,
     .def = "schema",
     .choices = "schema|keep",
     .help =
         "Order of the keys in answers: as the schema's properties stand (x-order first), or as written."},
    {.name = "formats",
     .type = FMP_OPT_BOOL,
     .def = "false",
     .help = "Check \"format\" too (date, time, date-time, email, uuid, uri, ipv4, ipv6, hostname)."},
    {.name = "augment.rename",
     .type = FMP_OPT_FLOAT,
     .def = "0",
     .unit = "fraction",
     .min = 0,
     .max = 1,
     .help = "Share of the records whose properties get made-up names, in schema and answers alike: the "
             "model learns to read the "
             "schema instead of remembering names."},
    {.name = "augment.drop_description",
     .type = FMP_OPT_FLOAT,
     .def = "0",
     .unit = "fraction",
     .min = 0,
     .max = 1,
     .help = "Share of the records whose schemas lose their descriptions."},
    {.name = "inject",
     .type = FMP_OPT_PATH,
     .help = "JSON file of schemas to put in place: a list of {response_format, id | lines: [first, last], "
             "message}; a rule for an "
             "id beats one for lines, which beats one for all records; one for a message beats one for all "
             "messages."},
    {.name = "forced_weight",
     .type = FMP_OPT_FLOAT,
     .unit = "factor",
     .min = 0,
     .max = 1,
     .help = "Loss weight of the bytes of an answer that constrained decoding forces (braces, keys, "
             "separators, the rest of an enum "
             "value). Left out: answers carry no such marks."},
    {.name = "closed",
     .type = FMP_OPT_BOOL,
     .def = "true",
     .help = "For forced_weight: the decoder writes declared properties only, also where the schema allows "
             "others."},
    {.name = NULL}};

static const fmp_port inputs[] = {{.name = "records", .type = FMP_PORT_RECORDS, .help = "Conversations."},
                                  {.name = NULL}};
static const fmp_port outputs[] = {
    {.name = "records", .type = FMP_PORT_RECORDS, .help = "The same, schemas and answers in canonical form."},
    {.name = NULL}};

/* ------------------------------------------------------------------------------------------- small things */

/* The record will be refused: where and why. Returns FMP_E_DATA so that callers unwind. */
FMP_PRINTF(4, 5)
static fmp_status refuse(guide *g, const char *reason, const char *path, const char *fmt, ...)
{
    va_list ap;
    g->reason = reason;
    snprintf(g->path, sizeof g->path, "%s", path);
    fmp_err_clear(&g->why);
    g->why.code = FMP_E_DATA;
    va_start(ap, fmt);
    fmp_err_vset_(&g->why, fmt, ap);
    va_end(ap);
    return FMP_E_DATA;
}

static fmp_status no_memory(guide *g)
{
    return fmp_fail(&g->why, FMP_E_NOMEM, "out of memory");
}

/* A member's new value (taken), at the member's place; appended where there is none. */
static fmp_status set(guide *g, cJSON *object, const char *key, cJSON *value)
{
    cJSON *old = cJSON_GetObjectItemCaseSensitive(object, key);
    bool ok = value && (old ? cJSON_ReplaceItemInObjectCaseSensitive(object, key, value)
                            : cJSON_AddItemToObject(object, key, value));
    if (ok) { return FMP_OK; }
    cJSON_Delete(value);
    return no_memory(g);
}

/* The record's own stream of random numbers. */
static uint64_t stream_of(const fmp_record *record)
{
    uint64_t v = 0;
    for (const char *p = record->id; *p; p++) {
        v = v << 4 | (uint64_t)(*p <= '9' ? *p - '0' : (*p | 0x20) - 'a' + 10);
    }
    return v;
}

/* ---------------------------------------------------------------------------------------------- injection */

/* How closely a rule fits: 0 not at all; an id counts more than lines, a message breaks ties. */
static int rule_rank(const cJSON *rule, const fmp_record *record, int message)
{
    const char *id = fmp_json_str(rule, "id", NULL);
    const cJSON *lines = fmp_json_get(rule, "lines"), *which = fmp_json_get(rule, "message");
    int rank = 1;
    if (id) {
        if (strcmp(id, record->id) != 0) { return 0; }
        rank = 5;
    } else if (lines) {
        double first = lines->child->valuedouble, last = lines->child->next->valuedouble,
               line = (double)record->origin.line;
        if (line < first || line > last) { return 0; }
        rank = 3;
    }
    if (cJSON_IsNumber(which)) { return which->valueint == message ? rank + 1 : 0; }
    return rank;
}

static const cJSON *injected(const schema_guide *s, const fmp_record *record, int message)
{
    const cJSON *best = NULL, *rule;
    int best_rank = 0;
    cJSON_ArrayForEach(rule, s->inject)
    {
        int rank = rule_rank(rule, record, message);
        if (rank > best_rank) {
            best_rank = rank;
            best = rule;
        }
    }
    return best ? fmp_json_get(best, "response_format") : NULL;
}

static fmp_status check_rule(const cJSON *rule, int i, fmp_err *err)
{
    static const char *const known[] = {"response_format", "id", "lines", "message"};
    const cJSON *lines = fmp_json_get(rule, "lines"), *id = fmp_json_get(rule, "id"),
                *message = fmp_json_get(rule, "message");
    const cJSON *format = fmp_json_get(rule, "response_format");
    for (const cJSON *m = cJSON_IsObject(rule) ? rule->child : NULL; m; m = m->next) {
        size_t k = 0;
        while (k < 4 && strcmp(known[k], m->string) != 0) {
            k++;
        }
        if (k == 4) {
            return fmp_fail(err, FMP_E_CONFIG,
                            "rule %d: expected response_format, id, lines or message, found '%s'", i,
                            m->string);
        }
    }
    if (!cJSON_IsObject(fmp_json_get(fmp_json_get(format, "json_schema"), "schema"))) {
        return fmp_fail(err, FMP_E_CONFIG, "rule %d: expected response_format.json_schema.schema, found none",
                        i);
    }
    if (id && (!cJSON_IsString(id) || lines)) {
        return fmp_fail(err, FMP_E_CONFIG, "rule %d: expected id as a string, and not beside lines", i);
    }
    if (lines && (!cJSON_IsArray(lines) || cJSON_GetArraySize(lines) != 2 || !cJSON_IsNumber(lines->child) ||
                  !cJSON_IsNumber(lines->child->next))) {
        return fmp_fail(err, FMP_E_CONFIG, "rule %d: expected lines as [first, last]", i);
    }
    if (message && !cJSON_IsNumber(message) &&
        (!cJSON_IsString(message) || strcmp(message->valuestring, "all") != 0)) {
        return fmp_fail(err, FMP_E_CONFIG, "rule %d: expected message as a number or \"all\"", i);
    }
    return FMP_OK;
}

static fmp_status load_rules(schema_guide *s, const char *path, fmp_err *err)
{
    const cJSON *rule;
    int i = 0;
    fmp_arena *scope = fmp_json_scope(NULL); /* the rules live as long as the stage */
    fmp_status status = fmp_json_load(path, NULL, &s->inject, err);
    (void)fmp_json_scope(scope);
    if (status == FMP_OK && !cJSON_IsArray(s->inject)) {
        status = fmp_fail(err, FMP_E_CONFIG, "%s: expected a list of rules", path);
    }
    cJSON_ArrayForEach(rule, s->inject)
    {
        if (status == FMP_OK) { status = check_rule(rule, i++, err); }
    }
    if (status != FMP_OK && err) { snprintf(err->option, sizeof err->option, "inject"); }
    return status;
}

/* ---------------------------------------------------------------------------------------------- answers */

static cJSON *range_list(const fmp_byte_range *ranges, size_t n)
{
    cJSON *list = cJSON_CreateArray();
    for (size_t i = 0; i < n && list; i++) {
        cJSON *pair = cJSON_CreateArray(), *begin = cJSON_CreateNumber((double)ranges[i].begin);
        cJSON *end = cJSON_CreateNumber((double)ranges[i].end);
        if (!pair || !begin || !end) { return NULL; }
        cJSON_AddItemToArray(pair, begin);
        cJSON_AddItemToArray(pair, end);
        cJSON_AddItemToArray(list, pair);
    }
    return list;
}

/* "fmp": {"forced": [[begin, end], ...], "forced_weight": w} on the message. */
static fmp_status annotate(guide *g, const fmp_schema *schema, cJSON *message, const char *text)
{
    fmp_arena *arena = fmp_arena_new(0);
    fmp_byte_range *ranges;
    size_t n;
    fmp_err why = FMP_ERR_INIT;
    fmp_status status = fmp_schema_forced(schema, text, strlen(text), g->s->closed ? FMP_FORCED_CLOSED : 0,
                                          arena, &ranges, &n, &why);
    if (status == FMP_E_DATA ||
        status == FMP_E_RANGE) { /* written in another way than a decoder would: no bytes are forced */
        g->n_unmarked++;
        fmp_arena_free(arena);
        return FMP_OK;
    }
    cJSON *list = status == FMP_OK ? range_list(ranges, n) : NULL;
    fmp_arena_free(arena);
    cJSON *note = cJSON_GetObjectItemCaseSensitive(message, "fmp");
    if (!note) { note = cJSON_AddObjectToObject(message, "fmp"); }
    if (!list || !note) { return no_memory(g); }
    FMP_TRY(set(g, note, "forced", list));
    return set(g, note, "forced_weight", cJSON_CreateNumber(g->s->forced_weight));
}

static fmp_status check_answer(guide *g, const fmp_schema *schema, const cJSON *value, const char *path)
{
    bool valid;
    fmp_schema_fault fault;
    fmp_status status = fmp_schema_validate(schema, value, &valid, &fault, &g->why);
    if (status == FMP_E_RANGE) {
        g->reason = "schema_limit";
        snprintf(g->path, sizeof g->path, "%s", path);
        return status;
    }
    if (status != FMP_OK || valid) { return status; }
    return refuse(g, "answer_invalid", path, "%s%sexpected %s, found %s (%s)", fault.instance,
                  *fault.instance ? ": " : "", fault.expected, fault.found, fault.schema);
}

static fmp_status parse_answer(guide *g, const cJSON *message, const char *path, cJSON **value)
{
    const char *text = fmp_json_str(message, "content", NULL);
    fmp_err why = FMP_ERR_INIT;
    if (!text) { return refuse(g, "answer_not_json", path, "expected JSON text, found something else"); }
    if (fmp_json_parse(text, strlen(text), NULL, value, &why) == FMP_OK) { return FMP_OK; }
    return refuse(g, "answer_not_json", path, "expected JSON text: %s (byte %llu)", why.message,
                  (unsigned long long)why.offset);
}

/* `schema` NULL: any JSON text will do, and it stays as it is. */
static fmp_status guide_answer(guide *g, const fmp_schema *schema, cJSON *message, int index)
{
    char path[64];
    cJSON *value = NULL, *arranged = NULL;
    snprintf(path, sizeof path, "messages[%d].content", index);
    FMP_TRY(parse_answer(g, message, path, &value));
    g->n_answers++;
    if (!schema) { return FMP_OK; }
    if (g->names) { value = guide_rename_value(value, g->names); }
    if (!value) { return no_memory(g); }
    FMP_TRY(check_answer(g, schema, value, path));
    if (g->s->arrange) { FMP_TRY(fmp_schema_arrange(schema, value, &arranged, &g->why)); }
    char *text = fmp_json_text(arranged ? arranged : value, FMP_JSON_SPACED);
    if (!text) { return no_memory(g); }
    fmp_status status = set(g, message, "content", cJSON_CreateString(text));
    if (status == FMP_OK && g->s->annotate) { status = annotate(g, schema, message, text); }
    free(text);
    return status;
}

/* ---------------------------------------------------------------------------------------------- formats */

/* The schema in its canonical form, renamed and stripped as drawn, in place in `format`. */
static fmp_status guide_schema(guide *g, cJSON *format, const char *path, fmp_schema **out)
{
    cJSON *holder = cJSON_GetObjectItemCaseSensitive(format, "json_schema"), *schema = NULL;
    const cJSON *given = fmp_json_get(holder, "schema");
    fmp_schema_options how = {.assert_formats = g->s->assert_formats};
    char where[128];
    snprintf(where, sizeof where, "%s.json_schema.schema", path);
    if (!cJSON_IsObject(given)) {
        return refuse(g, "schema_missing", where, "expected a schema, found none");
    }
    FMP_TRY(fmp_schema_canonical(given, &schema, &g->why));
    if (g->names) { schema = guide_rename_schema(schema, g->names); }
    if (!schema) { return no_memory(g); }
    if (g->drop) { guide_drop_descriptions(schema); }
    fmp_status status = fmp_schema_compile(schema, &how, out, &g->why);
    if (status == FMP_E_NOMEM) { return status; }
    if (status != FMP_OK) {
        g->reason = "schema_invalid";
        snprintf(g->path, sizeof g->path, "%s", where);
        return status;
    }
    g->n_schemas++;
    return set(g, holder, "schema", schema);
}

/*
 * The answer to the user message `user`: the last plain assistant message before the next user message; NULL:
 * none.
 */
static cJSON *answer_to(cJSON *user, int index, int *answer_index)
{
    cJSON *answer = NULL;
    for (cJSON *m = user->next; m && strcmp(fmp_json_str(m, "role", ""), "user") != 0; m = m->next) {
        index++;
        if (strcmp(fmp_json_str(m, "role", ""), "assistant") != 0 || fmp_json_get(m, "tool_calls")) {
            continue;
        }
        answer = m;
        *answer_index = index;
    }
    return answer;
}

/* One user message: `format` is in the document already. */
static fmp_status guide_turn(guide *g, cJSON *user, int index, cJSON *format, const char *path)
{
    const char *type = fmp_json_str(format, "type", "");
    fmp_schema *schema = NULL;
    int at = 0;
    if (strcmp(type, "text") == 0) { return FMP_OK; }
    if (strcmp(type, "json_object") != 0 && strcmp(type, "json_schema") != 0) {
        return refuse(g, "format_type", path,
                      "expected a response_format of the type json_schema, json_object or text, found '%s'",
                      type);
    }
    if (strcmp(type, "json_schema") == 0) {
        g->touched = true;
        FMP_TRY(guide_schema(g, format, path, &schema));
    }
    cJSON *answer = answer_to(user, index, &at);
    fmp_status status = answer ? guide_answer(g, schema, answer, at) : FMP_OK;
    fmp_schema_free(schema);
    return status;
}

static fmp_status inject_all(guide *g)
{
    cJSON *m;
    int i = -1;
    cJSON_ArrayForEach(m, cJSON_GetObjectItemCaseSensitive(g->doc, "messages"))
    {
        i++;
        const cJSON *format =
            strcmp(fmp_json_str(m, "role", ""), "user") == 0 ? injected(g->s, g->record, i) : NULL;
        if (!format) { continue; }
        FMP_TRY(set(g, m, "response_format", cJSON_Duplicate(format, true)));
        g->n_injected++;
        g->touched = true;
    }
    return FMP_OK;
}

/*
 * The conversation's format is answered by every user message that has none of its own; it is brought to form
 * once.
 */
static fmp_status guide_document(guide *g)
{
    cJSON *common = cJSON_GetObjectItemCaseSensitive(g->doc, "response_format"), *m;
    cJSON *original = common ? cJSON_Duplicate(common, true) : NULL;
    int i = -1;
    if (common && !original) { return no_memory(g); }
    cJSON_ArrayForEach(m, cJSON_GetObjectItemCaseSensitive(g->doc, "messages"))
    {
        char path[96];
        i++;
        if (strcmp(fmp_json_str(m, "role", ""), "user") != 0) { continue; }
        cJSON *own = cJSON_GetObjectItemCaseSensitive(m, "response_format");
        snprintf(path, sizeof path, own ? "messages[%d].response_format" : "response_format", i);
        if (own) {
            FMP_TRY(guide_turn(g, m, i, own, path));
        } else if (common) {
            cJSON *fresh = cJSON_Duplicate(original, true);
            FMP_TRY(fresh ? guide_turn(g, m, i, fresh, path) : no_memory(g));
            FMP_TRY(set(g, g->doc, "response_format", fresh));
        }
    }
    return FMP_OK;
}

/* ---------------------------------------------------------------------------------------------- records */

/* Every schema of the document under one key each, for drawing names that fit all of them. */
static cJSON *all_schemas(const cJSON *doc)
{
    cJSON *list = cJSON_CreateArray(), *holder = cJSON_CreateObject();
    const cJSON *m,
        *schema = fmp_json_get(fmp_json_get(fmp_json_get(doc, "response_format"), "json_schema"), "schema");
    if (!list || !holder) { return NULL; }
    if (schema) { cJSON_AddItemToArray(list, cJSON_Duplicate(schema, true)); }
    cJSON_ArrayForEach(m, fmp_json_get(doc, "messages"))
    {
        schema = fmp_json_get(fmp_json_get(fmp_json_get(m, "response_format"), "json_schema"), "schema");
        if (schema) { cJSON_AddItemToArray(list, cJSON_Duplicate(schema, true)); }
    }
    cJSON_AddItemToObject(holder, "allOf", list);
    return holder;
}

static fmp_status start_document(guide *g)
{
    cJSON_Delete(g->doc);
    g->doc = cJSON_Duplicate(g->record->doc, true);
    g->touched = false;
    g->n_schemas = g->n_answers = g->n_injected = g->n_unmarked = 0;
    g->reason = NULL;
    if (!g->doc) { return no_memory(g); }
    return g->s->inject ? inject_all(g) : FMP_OK;
}

/*
 * With other names first, where drawn. A schema that names its properties in places that renaming does not
 * know (a pattern, a const object, a $ref into properties) no longer holds then, and the record keeps its
 * names.
 */
static fmp_status guide_record(guide *g)
{
    const schema_guide *s = g->s;
    uint64_t stream = stream_of(g->record);
    bool rename = s->rename > 0 && s->rng->unit(s->host, stream, 0) < s->rename;
    g->drop = s->drop_description > 0 && s->rng->unit(s->host, stream, 1) < s->drop_description;
    FMP_TRY(start_document(g));
    if (!rename) { return guide_document(g); }
    cJSON *schemas = all_schemas(g->doc);
    guide_names *names = malloc(sizeof *names);
    if (!schemas || !names) {
        free(names);
        return no_memory(g);
    }
    fmp_status status = FMP_E_DATA;
    if (guide_names_make(schemas, s->host, s->rng, stream, names)) {
        g->names = names->n > 0 ? names : NULL;
        status = guide_document(g);
    }
    g->names = NULL;
    free(names);
    if (status == FMP_OK || status == FMP_E_NOMEM) {
        if (status == FMP_OK && g->touched) { g->call->count(g->call, "renamed", 1); }
        return status;
    }
    FMP_TRY(start_document(g));
    return guide_document(g);
}

static void count_all(const guide *g)
{
    const struct {
        const char *name;
        int64_t n;
    } counts[] = {{"schemas", g->n_schemas},
                  {"answers", g->n_answers},
                  {"injected", g->n_injected},
                  {"unmarked", g->n_unmarked}};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        if (counts[i].n > 0) { g->call->count(g->call, counts[i].name, counts[i].n); }
    }
}

static fmp_status guide_process(void *self, const fmp_record *record, const fmp_call *call, fmp_err *err)
{
    guide g = {.s = self, .record = record, .call = call, .why = FMP_ERR_INIT};
    fmp_status status = guide_record(&g);
    if (status == FMP_OK) {
        count_all(&g);
        return g.touched ? call->emit(call, g.doc, err) : call->pass(call, err);
    }
    if (g.reason && status != FMP_E_NOMEM) {
        return fmp_reject_record(call, g.reason, g.path, g.why.message, err);
    }
    if (err) { *err = g.why; }
    return status;
}

/* --------------------------------------------------------------------------------------------- life cycle */

static fmp_status guide_configure(void *self, const cJSON *values, fmp_err *err)
{
    schema_guide *s = self;
    const char *inject = fmp_value_str(values, "inject");
    s->arrange = strcmp(fmp_value_str(values, "order"), "schema") == 0;
    s->assert_formats = fmp_value_bool(values, "formats");
    s->rename = fmp_value_num(values, "augment.rename");
    s->drop_description = fmp_value_num(values, "augment.drop_description");
    s->annotate = fmp_value(values, "forced_weight") != NULL;
    s->forced_weight = fmp_value_num(values, "forced_weight");
    s->closed = fmp_value_bool(values, "closed");
    if ((s->rename > 0 || s->drop_description > 0) && !s->rng) {
        return fmp_fail(err, FMP_E_UNSUPPORTED, "this host offers no %s", FMP_EXT_RNG);
    }
    return inject ? load_rules(s, inject, err) : FMP_OK;
}

static fmp_status guide_create(const fmp_host *host, void **self, fmp_err *err)
{
    schema_guide *s = calloc(1, sizeof *s);
    if (!s) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
    s->host = host;
    s->rng = host->get_extension(host, FMP_EXT_RNG);
    *self = s;
    return FMP_OK;
}

static void guide_destroy(void *self)
{
    schema_guide *s = self;
    cJSON_Delete(s->inject);
    free(s);
}

static const fmp_stage stage = {FMP_STAGE_HEADER,
                                .name = "schema.guide",
                                .version = 1,
                                .kind = FMP_MAP,
                                .summary = "Check and canonicalise JSON answers under their schemas.",
                                .inputs = inputs,
                                .outputs = outputs,
                                .options = options,
                                .create = guide_create,
                                .configure = guide_configure,
                                .process = guide_process,
                                .destroy = guide_destroy};

static const fmp_stage *const stages[] = {&stage, NULL};
static const fmp_plugin plugin = {FMP_PLUGIN_HEADER(0), .name = "schema-guide", .version = "0.1.0",
                                  .license = "Apache-2.0", .stages = stages};
FMP_PLUGIN_ENTRY(&plugin)
