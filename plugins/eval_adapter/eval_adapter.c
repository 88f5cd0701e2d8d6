/*
 * eval.adapter: what a base model cannot do and its adapter can, by locale.
 *
 * Every assistant turn that calls tools or answers under a response schema is a question: the conversation
 * before it is the prompt, generation is greedy, and the result is compared with the turn as JSON values.
 * Base and adapter see the same prompts. The loss is that of all assistant turns. Read eval_run, then
 * collect_record.
 */
#include "eval_private.h"

#include <fmpipe/fs.h>

#include <math.h>
#include <stdlib.h>

typedef struct eval_adapter {
    const fmp_host *host;
    const fmp_ext_records *records;
    const char *style;
    uint32_t max_new_tokens, max_tokens, batch;
    uint64_t max_records;
    size_t n_examples;
    bool bf16;
} eval_adapter;

static const fmp_option options[] = {{.name = "max_records",
                                      .type = FMP_OPT_INT,
                                      .def = "0",
                                      .unit = "records",
                                      .min = 0,
                                      .max = 1e9,
                                      .help = "Ask about the first so many conversations; 0: all."},
                                     {.name = "max_new_tokens",
                                      .type = FMP_OPT_INT,
                                      .def = "128",
                                      .unit = "tokens",
                                      .min = 1,
                                      .max = 65536,
                                      .help = "Longest answer that is generated."},
                                     {.name = "max_tokens",
                                      .type = FMP_OPT_INT,
                                      .def = "2048",
                                      .unit = "tokens",
                                      .min = 16,
                                      .max = 1048576,
                                      .help =
                                          "Longest prompt with its answer, or conversation, and never more "
                                          "than the model has positions; longer ones are counted and "
                                          "not asked."},
                                     {.name = "batch",
                                      .type = FMP_OPT_INT,
                                      .def = "32",
                                      .unit = "prompts",
                                      .min = 1,
                                      .max = 4096,
                                      .flags = FMP_OPT_COSMETIC,
                                      .help = "Prompts generated together; no answer depends on it."},
                                     {.name = "style",
                                      .type = FMP_OPT_ENUM,
                                      .def = "fm-chat",
                                      .choices = "fm-chat|toolkit|hermes",
                                      .help = "How the model's template writes tool calls."},
                                     {.name = "examples",
                                      .type = FMP_OPT_INT,
                                      .def = "24",
                                      .min = 0,
                                      .max = 1000,
                                      .help = "Examples kept for the report."},
                                     {.name = "precision",
                                      .type = FMP_OPT_ENUM,
                                      .def = "f32",
                                      .choices = "f32|bf16",
                                      .help = "Operands of matrix products."},
                                     {.name = NULL}};

static const fmp_port inputs[] = {
    {.name = "records", .type = FMP_PORT_RECORDS, .help = "Held-out conversations."},
    {.name = "adapter",
     .type = FMP_PORT_ADAPTER,
     .flags = FMP_PORT_OPTIONAL,
     .help = "What is compared with the base; unconnected: the base alone."},
    {.name = "model", .type = FMP_PORT_MODEL, .help = "The base model."},
    {.name = NULL}};
static const fmp_port outputs[] = {
    {.name = "metrics",
     .type = FMP_PORT_METRICS,
     .help = "metrics.json, and answers.jsonl with every question and answer."},
    {.name = NULL}};

/* ---------------------------------------------------------------------------------------------- questions */

static fmp_status grow(void **items, size_t n, size_t *cap, size_t size, fmp_err *err)
{
    if (n < *cap) { return FMP_OK; }
    size_t want = *cap ? *cap * 2 : 256;
    void *grown = realloc(*items, want * size);
    if (!grown) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for %zu questions", want); }
    *items = grown;
    *cap = want;
    return FMP_OK;
}

static void *copy(fmp_arena *arena, const void *data, size_t size)
{
    void *to = fmp_arena_take(arena, size ? size : 1);
    if (size > 0) { memcpy(to, data, size); }
    return to;
}

/* The schema that the answer to messages[i] must keep: the nearest user turn's before it, else the
 * conversation's. */
static const cJSON *schema_of(const cJSON *doc, const cJSON *answer)
{
    const cJSON *format = NULL;
    for (const cJSON *m = fmp_json_get(doc, "messages")->child; m && m != answer; m = m->next) {
        if (strcmp(fmp_json_str(m, "role", ""), "user") == 0) { format = fmp_json_get(m, "response_format"); }
    }
    if (!format) { format = fmp_json_get(doc, "response_format"); }
    return fmp_json_get(fmp_json_get(format, "json_schema"), "schema");
}

static const char *last_user_text(const cJSON *doc, const cJSON *answer)
{
    const char *text = "";
    for (const cJSON *m = fmp_json_get(doc, "messages")->child; m && m != answer; m = m->next) {
        if (strcmp(fmp_json_str(m, "role", ""), "user") == 0) { text = fmp_json_str(m, "content", ""); }
    }
    return text;
}

static fmp_status add_question(const eval_adapter *s, exam *e, fmp_chat_result *r, const fmp_record *record,
                               const cJSON *message, size_t i, question_kind kind, const cJSON *schema,
                               fmp_err *err)
{
    fmp_chat_options o = {.n_messages = i, .generation_prompt = true};
    FMP_TRY(fmp_chat_encode(e->chat, record->doc, &o, r, err));
    if (r->tokens.n + s->max_new_tokens > e->max_tokens) {
        e->n_too_long++;
        return FMP_OK;
    }
    FMP_TRY(grow((void **)&e->questions, e->n_questions, &e->cap_questions, sizeof *e->questions, err));
    question *q = &e->questions[e->n_questions];
    *q = (question){.kind = kind, .n_prompt = r->tokens.n};
    q->prompt = copy(e->arena, r->tokens.ids, r->tokens.n * sizeof *r->tokens.ids);
    q->record_id = fmp_arena_strdup(e->arena, record->id);
    q->locale = fmp_arena_strdup(e->arena, fmp_json_str(record->doc, "locale", ""));
    q->shown = fmp_arena_strdup(e->arena, last_user_text(record->doc, message));
    fmp_arena *outer = fmp_json_scope(e->arena);
    q->schema = schema ? cJSON_Duplicate(schema, true) : NULL;
    cJSON *expected = NULL;
    fmp_status status = FMP_OK;
    if (kind == ASK_CALL) {
        expected = cJSON_Duplicate(fmp_json_get(message, "tool_calls"), true);
    } else {
        const char *text = fmp_json_str(message, "content", "");
        status = fmp_json_parse(text, strlen(text), NULL, &expected, err);
    }
    fmp_json_scope(outer);
    if (status != FMP_OK) {
        return fmp_err_note(err, "while reading the expected answer of record %s", record->id);
    }
    q->expected = expected;
    e->n_questions++;
    return FMP_OK;
}

static fmp_status add_sample(exam *e, fmp_chat_result *r, const fmp_record *record, fmp_err *err)
{
    fmp_chat_options o = {.supervise = true};
    FMP_TRY(fmp_chat_encode(e->chat, record->doc, &o, r, err));
    if (r->tokens.n > e->max_tokens) {
        e->n_too_long++;
        return FMP_OK;
    }
    FMP_TRY(grow((void **)&e->samples, e->n_samples, &e->cap_samples, sizeof *e->samples, err));
    e->samples[e->n_samples++] =
        (sample){.locale = fmp_arena_strdup(e->arena, fmp_json_str(record->doc, "locale", "")),
                 .id = copy(e->arena, r->tokens.ids, r->tokens.n * sizeof *r->tokens.ids),
                 .weight = copy(e->arena, r->weight, r->tokens.n * sizeof *r->weight),
                 .n = r->tokens.n};
    return fmp_arena_ok(e->arena, err);
}

static fmp_status ask_about(const eval_adapter *s, exam *e, fmp_chat_result *r, const fmp_record *record,
                            fmp_err *err)
{
    size_t i = 0;
    FMP_TRY(add_sample(e, r, record, err));
    const cJSON *m;
    cJSON_ArrayForEach(m, fmp_json_get(record->doc, "messages"))
    {
        bool assistant =
            i > 0 && strcmp(fmp_json_str(m, "role", ""), "assistant") == 0; /* a first turn has no prompt */
        const cJSON *schema = assistant ? schema_of(record->doc, m) : NULL;
        if (assistant && fmp_json_get(m, "tool_calls")) {
            FMP_TRY(add_question(s, e, r, record, m, i, ASK_CALL, NULL, err));
        } else if (schema) {
            FMP_TRY(add_question(s, e, r, record, m, i, ASK_ANSWER, schema, err));
        }
        i++;
    }
    return FMP_OK;
}

/* A conversation that cannot be asked about is refused as a whole, under the stage's on_bad policy. */
static fmp_status collect_record(const eval_adapter *s, const fmp_task *task, exam *e, fmp_chat_result *r,
                                 const fmp_record *record, fmp_err *err)
{
    size_t n_questions = e->n_questions, n_samples = e->n_samples, n_too_long = e->n_too_long;
    fmp_err why = FMP_ERR_INIT;
    fmp_status status = ask_about(s, e, r, record, &why);
    e->n_records += status == FMP_OK;
    if (status != FMP_E_DATA && status != FMP_E_RANGE && status != FMP_E_MISMATCH) {
        if (status != FMP_OK && err) { *err = why; }
        return status;
    }
    e->n_questions = n_questions;
    e->n_samples = n_samples;
    e->n_too_long = n_too_long;
    fmp_reject reject = {
        .struct_size = (uint32_t)sizeof reject, .reason = "not_askable", .message = why.message};
    return s->records->reject(task, record, &reject, err);
}

static fmp_status collect(const eval_adapter *s, const fmp_task *task, exam *e, fmp_err *err)
{
    fmp_chat_result r;
    fmp_reader *reader = NULL;
    FMP_TRY(fmp_chat_result_init(&r, err));
    fmp_status status = s->records->open(task, &task->inputs[0], &reader, err);
    while (status == FMP_OK && (s->max_records == 0 || e->n_records < s->max_records)) {
        const fmp_record *batch;
        size_t n;
        status = s->records->next(reader, &batch, &n, err);
        if (status != FMP_OK || n == 0) { break; }
        for (size_t i = 0; i < n && status == FMP_OK; i++) {
            if (s->max_records > 0 && e->n_records >= s->max_records) { break; }
            status = collect_record(s, task, e, &r, &batch[i], err);
        }
    }
    if (reader) { s->records->close(reader); }
    fmp_chat_result_free(&r);
    if (status == FMP_OK && e->n_questions == 0) {
        fmp_fail(
            err, FMP_E_DATA,
            "no assistant turn calls a tool or answers under a response schema: there is nothing to ask");
        return fmp_err_hint(err,
                            "give eval.adapter held-out conversations with tool calls or a response_format");
    }
    return status;
}

/* ---------------------------------------------------------------------------------------------- answers */

static fmp_status decode_answer(const exam *e, const fmp_generated *g, const char **out, fmp_err *err)
{
    fmp_buf text = {0};
    size_t n = g->stopped && g->n > 0 ? g->n - 1 : g->n; /* without the token that ended it */
    fmp_status status = fmp_tokenizer_decode(fmp_chat_tokenizer(e->chat), g->id, n, 0, &text, err);
    if (status == FMP_OK) {
        size_t valid = fmp_utf8_invalid_at(text.data ? text.data : "", text.len);
        *out = fmp_arena_strndup(e->arena, text.data ? text.data : "", valid);
    }
    fmp_buf_free(&text);
    return status;
}

static fmp_status answer_all(const eval_adapter *s, exam *e, fmp_model *model, const fmp_adapter *adapter,
                             int side, int n_sides, fmp_err *err)
{
    const fmp_ext_progress *progress = s->host->get_extension(s->host, FMP_EXT_PROGRESS);
    const fmp_ext_cancel *cancel = s->host->get_extension(s->host, FMP_EXT_CANCEL);
    fmp_prompt *prompts = calloc(s->batch, sizeof *prompts);
    fmp_generated *answers = calloc(s->batch, sizeof *answers);
    fmp_generate_options o = {.max_new_tokens = s->max_new_tokens, .max_batch = s->batch};
    fmp_status status = prompts && answers ? FMP_OK : fmp_fail(err, FMP_E_NOMEM, "out of memory");
    o.stop = fmp_chat_stops(e->chat, &o.n_stop);
    for (size_t at = 0; status == FMP_OK && at < e->n_questions; at += s->batch) {
        size_t n = e->n_questions - at < s->batch ? e->n_questions - at : s->batch;
        for (size_t i = 0; i < n; i++) {
            prompts[i] = (fmp_prompt){.id = e->questions[at + i].prompt, .n = e->questions[at + i].n_prompt};
        }
        status = fmp_generate(model, adapter, prompts, n, &o, e->arena, answers, err);
        for (size_t i = 0; status == FMP_OK && i < n; i++) {
            status = decode_answer(e, &answers[i], &e->questions[at + i].answer[side], err);
            if (status == FMP_OK) { status = exam_judge(&e->questions[at + i], side, s->style, err); }
        }
        if (progress) {
            progress->update(s->host, (uint64_t)side * e->n_questions + at + n,
                             (uint64_t)n_sides * e->n_questions, "questions", side ? "adapter" : "base");
        }
        if (status == FMP_OK && cancel && cancel->requested(s->host)) {
            status = fmp_fail(err, FMP_E_CANCELLED, "stopped while evaluating");
        }
    }
    free(prompts);
    free(answers);
    return status;
}

/* Loss of every conversation, several packed into one batch. */
static fmp_status measure_loss(const eval_adapter *s, const exam *e, fmp_model *model,
                               const fmp_adapter *adapter, int side, score_table *t, fmp_err *err)
{
    uint32_t *id = malloc(s->max_tokens * sizeof *id),
             *seg = malloc(((size_t)s->max_tokens + 1) * sizeof *seg);
    float *weight = malloc(s->max_tokens * sizeof *weight);
    fmp_loss *losses = malloc(s->max_tokens * sizeof *losses);
    fmp_status status = id && seg && weight && losses ? FMP_OK : fmp_fail(err, FMP_E_NOMEM, "out of memory");
    for (size_t at = 0; status == FMP_OK && at < e->n_samples;) {
        fmp_loss sum;
        size_t first = at, n = 0, k = 0;
        for (; at < e->n_samples && n + e->samples[at].n <= s->max_tokens; at++, k++) {
            memcpy(id + n, e->samples[at].id, e->samples[at].n * sizeof *id);
            memcpy(weight + n, e->samples[at].weight, e->samples[at].n * sizeof *weight);
            seg[k] = (uint32_t)n;
            n += e->samples[at].n;
        }
        seg[k] = (uint32_t)n;
        fmp_batch batch = {.n_tokens = n, .n_segments = k, .id = id, .weight = weight, .seg = seg};
        status = fmp_model_eval(model, adapter, &batch, &sum, losses, err);
        for (size_t i = 0; status == FMP_OK && i < k; i++) {
            score_row *row = table_row(t, e->samples[first + i].locale), *all = &t->rows[t->n - 1];
            row->nll[side] += losses[i].nll;
            row->weight[side] += losses[i].weight;
            if (row != all) {
                all->nll[side] += losses[i].nll;
                all->weight[side] += losses[i].weight;
            }
        }
    }
    free(id);
    free(seg);
    free(weight);
    free(losses);
    return status;
}

/* ---------------------------------------------------------------------------------------------- results */

static fmp_status write_json(const char *dir, const char *name, const fmp_buf *text, fmp_err *err)
{
    char *path = fmp_path_join(dir, name);
    fmp_status status = path ? fmp_buf_ok(text, err) : fmp_fail(err, FMP_E_NOMEM, "out of memory");
    if (status == FMP_OK) { status = fmp_write_file(path, text->data ? text->data : "", text->len, err); }
    free(path);
    return status;
}

static fmp_status write_results(const exam *e, const score_table *t, int n_sides, const char *dir,
                                fmp_err *err)
{
    fmp_buf text = {0};
    cJSON *json = cJSON_CreateObject(), *all = examples(e, n_sides, e->n_questions), *row;
    cJSON_AddNumberToObject(json, "v", 1);
    cJSON_AddNumberToObject(json, "n_records", (double)e->n_records);
    cJSON_AddNumberToObject(json, "n_questions", (double)e->n_questions);
    cJSON_AddNumberToObject(json, "n_too_long", (double)e->n_too_long);
    cJSON_AddItemToObject(json, "rows", table_as_data(t, n_sides));
    fmp_json_print(json, FMP_JSON_PRETTY, &text);
    fmp_status status = write_json(dir, "metrics.json", &text, err);
    text.len = 0;
    cJSON_ArrayForEach(row, all)
    {
        fmp_json_print(row, FMP_JSON_COMPACT, &text);
        fmp_buf_putc(&text, '\n');
    }
    if (status == FMP_OK) { status = write_json(dir, "answers.jsonl", &text, err); }
    cJSON_Delete(json);
    cJSON_Delete(all);
    fmp_buf_free(&text);
    return status;
}

static void report(const eval_adapter *s, const exam *e, const score_table *t, int n_sides)
{
    const fmp_ext_metrics *m = s->host->get_extension(s->host, FMP_EXT_METRICS);
    const score_row *all = &t->rows[t->n - 1];
    if (!m) { return; }
    m->fact(s->host, "table", table_for_terminal(t, n_sides));
    m->fact(s->host, "evaluation", table_as_data(t, n_sides));
    m->fact(s->host, "examples", examples(e, n_sides, s->n_examples));
    m->fact(s->host, "questions_too_long", cJSON_CreateNumber((double)e->n_too_long));
    double calls = all->n_calls > 0 ? 100.0 / (double)all->n_calls : 0;
    if (all->n_calls == 0) {
        m->summary(s->host, "%zu questions, none for a tool call", e->n_questions);
    } else if (n_sides == 2) {
        m->summary(s->host, "%zu questions · tool call exact %.1f %% → %.1f %%", e->n_questions,
                   calls * (double)all->call_exact[BASE], calls * (double)all->call_exact[ADAPTED]);
    } else {
        m->summary(s->host, "%zu questions · tool call exact %.1f %%", e->n_questions,
                   calls * (double)all->call_exact[BASE]);
    }
}

static const fmp_input *input_at(const fmp_task *task, const char *port)
{
    for (size_t i = 0; i < task->n_inputs; i++) {
        if (strcmp(task->inputs[i].port, port) == 0) { return &task->inputs[i]; }
    }
    return NULL;
}

static fmp_status ask(eval_adapter *s, const fmp_task *task, exam *e, fmp_model *model, score_table *t,
                      fmp_err *err)
{
    const fmp_input *adapter_input = input_at(task, "adapter");
    fmp_adapter *adapter = NULL;
    int n_sides = adapter_input ? 2 : 1;
    fmp_status status = adapter_input ? fmp_adapter_load(model, adapter_input->path, &adapter, err) : FMP_OK;
    for (int side = 0; side < n_sides && status == FMP_OK; side++) {
        status = answer_all(s, e, model, side == ADAPTED ? adapter : NULL, side, n_sides, err);
        if (status == FMP_OK) {
            status = measure_loss(s, e, model, side == ADAPTED ? adapter : NULL, side, t, err);
        }
    }
    if (status == FMP_OK) {
        table_count(e, t, n_sides);
        status = write_results(e, t, n_sides, task->outputs[0].path, err);
    }
    if (status == FMP_OK) { report(s, e, t, n_sides); }
    fmp_adapter_free(adapter);
    return status;
}

static fmp_status open_model(const eval_adapter *s, const char *dir, fmp_model **out, fmp_err *err)
{
    const fmp_ext_parallel *parallel = s->host->get_extension(s->host, FMP_EXT_PARALLEL);
    fmp_model_options o = {.n_threads = parallel ? (int)parallel->n_threads(s->host) : 1,
                           .precision = s->bf16 ? FMP_PRECISION_BF16 : FMP_PRECISION_F32};
    return fmp_model_open(dir, &o, out, err);
}

static fmp_status eval_run(void *self, const fmp_task *task, fmp_err *err)
{
    eval_adapter *s = self;
    const char *model_dir = input_at(task, "model")->path;
    exam e = {.arena = fmp_arena_new(0), .max_tokens = s->max_tokens};
    score_table t = {0};
    fmp_chat *chat = NULL;
    fmp_model *model = NULL;
    s->records = s->host->get_extension(s->host, FMP_EXT_RECORDS);
    if (!e.arena) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
    const fmp_input *adapter = input_at(task, "adapter");
    fmp_status status = fmp_golden_open_chat(model_dir, adapter ? adapter->path : NULL, &chat, err);
    e.chat = chat;
    if (status == FMP_OK) { status = open_model(s, model_dir, &model, err); }
    uint32_t positions = status == FMP_OK ? fmp_model_get_spec(model)->max_positions : 0;
    if (positions < e.max_tokens) { e.max_tokens = positions; }
    if (status == FMP_OK) { status = collect(s, task, &e, err); }
    if (status == FMP_OK) { status = table_make(&e, &t, err); }
    if (status == FMP_OK) { status = ask(s, task, &e, model, &t, err); }
    free(t.rows);
    free(e.questions);
    free(e.samples);
    fmp_model_free(model);
    fmp_chat_free(chat);
    fmp_arena_free(e.arena);
    return status;
}

static fmp_status eval_create(const fmp_host *host, void **self, fmp_err *err)
{
    eval_adapter *s = calloc(1, sizeof *s);
    if (!s) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
    s->host = host;
    *self = s;
    return FMP_OK;
}

static fmp_status eval_configure(void *self, const cJSON *values, fmp_err *err)
{
    eval_adapter *s = self;
    s->max_records = (uint64_t)fmp_value_int(values, "max_records");
    s->max_new_tokens = (uint32_t)fmp_value_int(values, "max_new_tokens");
    s->max_tokens = (uint32_t)fmp_value_int(values, "max_tokens");
    s->batch = (uint32_t)fmp_value_int(values, "batch");
    s->n_examples = (size_t)fmp_value_int(values, "examples");
    s->style = fmp_value_str(values, "style");
    s->bf16 = strcmp(fmp_value_str(values, "precision"), "bf16") == 0;
    if (s->max_new_tokens >= s->max_tokens) {
        fmp_fail(err, FMP_E_CONFIG, "expected max_new_tokens (%u) to be less than max_tokens (%u)",
                 s->max_new_tokens, s->max_tokens);
        if (err) { snprintf(err->option, sizeof err->option, "max_new_tokens"); }
        return FMP_E_CONFIG;
    }
    return FMP_OK;
}

static const fmp_ext_numeric_env numeric_env = {(uint32_t)sizeof numeric_env, fmp_numerics_describe};

static const void *get_extension(const char *name)
{
    return strcmp(name, FMP_EXT_NUMERIC_ENV) == 0 ? &numeric_env : NULL;
}

static const fmp_stage stage = {
    FMP_STAGE_HEADER,
    .name = "eval.adapter",
    .version = 1,
    .kind = FMP_TASK,
    .flags = FMP_STAGE_NUMERIC,
    .summary = "Measure tool calls, schema answers and loss before and after adaptation, by locale.",
    .inputs = inputs,
    .outputs = outputs,
    .options = options,
    .create = eval_create,
    .configure = eval_configure,
    .run = eval_run,
    .destroy = free};

static const fmp_stage *const stages[] = {&stage, NULL};
static const fmp_plugin plugin = {FMP_PLUGIN_HEADER(0), .name = "eval-adapter",
                                  .version = "0.1.0",   .license = "Apache-2.0",
                                  .stages = stages,     .get_extension = get_extension};
FMP_PLUGIN_ENTRY(&plugin)
