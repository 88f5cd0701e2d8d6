/*
 * chat.tokenize: conversations to packed, memory-mapped token ids with a loss weight each.
 *
 * Rendering, encoding and masking are one call of fmtext (fmp_chat_encode), so the mask follows the
 * template's provenance. Records stream through in batches (tokenize_encode.c); what stays in memory is 26
 * bytes a sequence. What is too long is never cut unsaid: `overflow` must be chosen.
 */
#include "tokenize.h"

#include <fmpipe/fs.h>
#include <fmpipe/sources.h>
#include <fmpipe/token_view.h>

#include <stdlib.h>

enum { MAX_PIECES = 64, N_GOLDEN = 8 };

static const fmp_option options[] = {
    {.name = "max_tokens",
     .type = FMP_OPT_INT,
     .def = "1024",
     .unit = "tokens",
     .min = 8,
     .max = 1048576,
     .help = "Longest sequence."},
    {.name = "overflow",
     .type = FMP_OPT_ENUM,
     .flags = FMP_OPT_REQUIRED,
     .choices = "error|drop|split",
     .help = "A conversation longer than max_tokens: error rejects it under on_bad, drop counts it and goes "
             "on, split makes several sequences of it, at ends of turns where it can. There is no default, "
             "because each loses something."},
    {.name = "pack",
     .type = FMP_OPT_BOOL,
     .def = "true",
     .help = "Put several sequences into one row (best fit; attention stays inside each, none is cut)."},
    {.name = "bin_size",
     .type = FMP_OPT_INT,
     .def = "0",
     .unit = "tokens",
     .min = 0,
     .max = 1048576,
     .help = "Tokens of a packed row; 0: max_tokens."},
    {.name = "supervise",
     .type = FMP_OPT_ENUM,
     .def = "assistant",
     .choices = "assistant|last|all|roles|weight",
     .help =
         "What is learned: every assistant turn, the last one only, all text (pre-training), every message "
         "of the roles in 'roles', or every message with a weight above 0. A message's weight multiplies "
         "its loss in any case."},
    {.name = "roles", .type = FMP_OPT_LIST, .help = "With supervise: roles, which ones."},
    {.name = "expand",
     .type = FMP_OPT_ENUM,
     .def = "none",
     .choices = "none|per_turn",
     .help = "per_turn makes a sequence of each learned turn with its past as a model will see it then: for "
             "templates that rewrite earlier turns (the fact rewritten_turns says so) or write no end behind "
             "tool calls."},
    {.name = "check_past",
     .type = FMP_OPT_BOOL,
     .def = "false",
     .help = "Count rewritten_turns exactly: renders every learned turn twice more."},
    {.name = "context_weight",
     .type = FMP_OPT_FLOAT,
     .def = "1",
     .min = 0.0001,
     .max = 1,
     .help = "With supervise: all, the loss weight of everything that is no assistant turn; assistant turns "
             "have 1."},
    {.name = "template",
     .type = FMP_OPT_ENUM,
     .def = "model",
     .choices = "model|fm-chat|adapter-toolkit",
     .help = "The model's chat template, or a built-in one in its place."},
    {.name = "template_file", .type = FMP_OPT_PATH, .help = "A .jinja file in place of both."},
    {.name = "template_name",
     .type = FMP_OPT_STRING,
     .help = "Which of the model's templates, where it has several by name. Left out: tool_use for "
             "conversations with tools, default for all others."},
    {.name = "variables",
     .type = FMP_OPT_JSON,
     .help = "A map of more variables for the template, such as {enable_thinking: false}."},
    {.name = "date",
     .type = FMP_OPT_STRING,
     .min = 10,
     .max = 10,
     .help = "The day that a template's strftime_now() sees (2026-11-21), so that no result depends on a "
             "clock. Left out: 2024-07-26."},
    {.name = "stops",
     .type = FMP_OPT_LIST,
     .help =
         "More texts that end an assistant turn, where the tokenizer's own end tokens do not, such as the "
         "marker in front of a tool's result. What serves the model must stop there, too."},
    {.name = "tokenizer", .type = FMP_OPT_PATH, .help = "Tokenizer folder in place of the model's."},
    {.name = NULL}};

static const fmp_port inputs[] = {{.name = "records", .type = FMP_PORT_RECORDS, .help = "Conversations."},
                                  {.name = "model",
                                   .type = FMP_PORT_MODEL,
                                   .flags = FMP_PORT_OPTIONAL,
                                   .help = "Whose tokenizer and chat template are used."},
                                  {.name = "tokenizer",
                                   .type = FMP_PORT_PACKAGE,
                                   .flags = FMP_PORT_OPTIONAL,
                                   .help = "A tokenizer folder made by a stage, in place of the model's."},
                                  {.name = NULL}};
static const fmp_port outputs[] = {{.name = "tokens",
                                    .type = FMP_PORT_TOKENS,
                                    .help = "Packed token ids, loss weights and where each came from."},
                                   {.name = NULL}};

/* One run of the stage. */
typedef struct work {
    const chat_tokenize *s;
    const fmp_task *task;
    const fmp_chat *chat;
    piece *pieces;
    size_t n_pieces;
    fmp_reader *reader;
    fmp_tokens_writer *writer;
    fmp_golden *golden;
    fmp_sources sources;
    fmp_chat_result result; /* for golden conversations and views */
    totals totals;
} work;

/* ---- writing ---- */

/* For golden.json and the report. A template may refuse a whole conversation of which it renders the turns;
 * such a one is no example. */
static fmp_status keep_example(work *w, const fmp_record *record, uint64_t rank, fmp_err *err)
{
    fmp_err why = FMP_ERR_INIT;
    fmp_status status = fmp_golden_add(w->golden, w->chat, record->doc, rank, &w->result, &why);
    if (status == FMP_OK) { status = totals_view(&w->totals, w->s, w->chat, record, rank, &w->result, &why); }
    return status == FMP_E_NOMEM ? fmp_fail(err, FMP_E_NOMEM, "out of memory") : FMP_OK;
}

static fmp_status write_record(work *w, const piece *p, size_t k, fmp_err *err)
{
    const fmp_record *record = &p->records[k];
    const encoded *e = &p->items[k];
    if (e->status != FMP_OK) {
        fmp_reject why = {.struct_size = (uint32_t)sizeof why, .reason = e->reason, .message = e->message};
        return w->s->records->reject(w->task, record, &why, err);
    }
    if (e->is_dropped) {
        w->totals.n_dropped++;
        w->totals.n_too_long += e->n_too_long;
        w->s->metrics->count(w->s->host, "too_long", 1);
        return FMP_OK;
    }
    for (size_t i = e->first; i < e->first + e->n; i++) {
        const sequence *q = &p->seqs[i];
        FMP_TRY(fmp_tokens_append(w->writer, p->ids + q->begin, p->weight + q->begin, q->n, record->id,
                                  fmp_json_str(record->doc, "locale", ""), err));
        FMP_TRY(fmp_sources_add(&w->sources, record->doc, err));
    }
    FMP_TRY(totals_add(&w->totals, w->s, record, e, p, err));
    return fmp_golden_wants(w->golden, e->rank) ? keep_example(w, record, e->rank, err) : FMP_OK;
}

static fmp_status tokenize_all(work *w, fmp_err *err)
{
    const fmp_host *host = w->s->host;
    const fmp_ext_parallel *parallel = host->get_extension(host, FMP_EXT_PARALLEL);
    const fmp_ext_progress *progress = host->get_extension(host, FMP_EXT_PROGRESS);
    for (;;) {
        const fmp_record *batch;
        size_t n;
        FMP_TRY(w->s->records->next(w->reader, &batch, &n, err));
        if (n == 0) { return FMP_OK; }
        if (!pieces_share(w->pieces, w->n_pieces, batch, n)) {
            return fmp_fail(err, FMP_E_NOMEM, "out of memory");
        }
        parallel->for_each(host, w->n_pieces, piece_encode, w->pieces);
        for (size_t i = 0; i < w->n_pieces; i++) {
            piece *p = &w->pieces[i];
            if (p->status != FMP_OK) { return fmp_fail(err, p->status, "out of memory while encoding"); }
            for (size_t k = 0; k < p->n_records; k++) {
                FMP_TRY(write_record(w, p, k, err));
            }
        }
        if (progress) { progress->update(host, w->totals.n_records, 0, "conversations", NULL); }
    }
}

/* The tokenizer's files, and the template that was used, whatever stood there. */
static fmp_status copy_tokenizer(const char *from_dir, const fmp_chat *chat, const char *out_dir,
                                 fmp_err *err)
{
    const char *text = fmp_chat_template_text(chat);
    char *to = fmp_path_join(out_dir, "tokenizer"),
         *template_ = to ? fmp_path_join(to, "chat_template.jinja") : NULL;
    fmp_status status = template_ ? fmp_mkdirs(to, err) : fmp_fail(err, FMP_E_NOMEM, "out of memory");
    if (status == FMP_OK) { status = fmp_tokenizer_copy(from_dir, to, NULL, err); }
    char *others = status == FMP_OK ? fmp_path_join(to, "additional_chat_templates") : NULL;
    if (others && fmp_path_exists(others)) { status = fmp_remove_tree(others, err); }
    free(others);
    if (status == FMP_OK) { status = fmp_write_file(template_, text, strlen(text), err); }
    free(to);
    free(template_);
    return status;
}

/* ---- run ---- */

static const char *tokenizer_dir(const chat_tokenize *s, const fmp_task *task)
{
    const char *dir = s->tokenizer;
    for (size_t i = 0; i < task->n_inputs; i++) {
        bool tokenizer = strcmp(task->inputs[i].port, "tokenizer") == 0;
        if (tokenizer || (!dir && strcmp(task->inputs[i].port, "model") == 0)) { dir = task->inputs[i].path; }
    }
    return dir;
}

static fmp_status work_open(work *w, fmp_err *err)
{
    const chat_tokenize *s = w->s;
    const fmp_ext_parallel *parallel = s->host->get_extension(s->host, FMP_EXT_PARALLEL);
    const fmp_tokenizer *tok = fmp_chat_tokenizer(w->chat);
    fmp_tokens_info info = {.tokenizer_digest = fmp_tokenizer_digest(tok),
                            .template_digest = fmp_chat_template_digest(w->chat),
                            .vocab_size = fmp_tokenizer_size(tok),
                            .max_tokens = s->max_tokens,
                            .bin_size = s->bin_size};
    w->n_pieces = (size_t)parallel->n_threads(s->host) * 2;
    if (w->n_pieces > MAX_PIECES) { w->n_pieces = MAX_PIECES; }
    w->pieces = calloc(w->n_pieces, sizeof *w->pieces);
    if (!w->pieces) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
    for (size_t i = 0; i < w->n_pieces; i++) {
        FMP_TRY(piece_init(&w->pieces[i], s, w->chat, err));
    }
    FMP_TRY(fmp_chat_result_init(&w->result, err));
    FMP_TRY(fmp_golden_new(N_GOLDEN, &w->golden, err));
    FMP_TRY(fmp_tokens_writer_new(w->task->outputs[0].path, &info, &w->writer, err));
    return s->records->open(w->task, &w->task->inputs[0], &w->reader, err);
}

static void work_close(work *w)
{
    if (w->reader) { w->s->records->close(w->reader); }
    fmp_tokens_writer_free(w->writer);
    fmp_golden_free(w->golden);
    fmp_sources_free(&w->sources);
    fmp_chat_result_free(&w->result);
    for (size_t i = 0; w->pieces && i < w->n_pieces; i++) {
        piece_free(&w->pieces[i]);
    }
    free(w->pieces);
    totals_free(&w->totals);
}

static fmp_status run_with(const chat_tokenize *s, const fmp_task *task, const fmp_chat *chat,
                           const char *dir, fmp_err *err)
{
    work w = {.s = s, .task = task, .chat = chat};
    const char *out = task->outputs[0].path;
    fmp_tokens made = {0};
    fmp_status status = work_open(&w, err);
    if (status == FMP_OK) { status = tokenize_all(&w, err); }
    if (status == FMP_OK) { status = fmp_tokens_finish(w.writer, s->pack, err); }
    if (status == FMP_OK) { status = fmp_sources_write(&w.sources, out, err); }
    if (status == FMP_OK) { status = fmp_golden_write(w.golden, chat, &s->setup.open, out, err); }
    if (status == FMP_OK) { status = copy_tokenizer(dir, chat, out, err); }
    if (status == FMP_OK) { status = fmp_tokens_open(out, &made, err); } /* what was written reads back */
    if (status == FMP_OK) { totals_report(&w.totals, s, chat, &made, w.pieces, w.n_pieces); }
    fmp_tokens_close(&made);
    work_close(&w);
    return status;
}

static fmp_status tokenize_run(void *self, const fmp_task *task, fmp_err *err)
{
    chat_tokenize *s = self;
    const char *dir = tokenizer_dir(s, task);
    fmp_chat *chat = NULL;
    s->records = s->host->get_extension(s->host, FMP_EXT_RECORDS);
    s->metrics = s->host->get_extension(s->host, FMP_EXT_METRICS);
    if (!dir) {
        (void)fmp_fail(err, FMP_E_CONFIG,
                       "no tokenizer: expected a model, a tokenizer input or the option 'tokenizer'");
        return fmp_err_hint(err, "set 'base:' in the pipeline, or 'tokenizer: FOLDER'");
    }
    FMP_TRY(fmp_chat_open_with(dir, &s->setup.open, &chat, err));
    fmp_status status = fmp_chat_check(chat, err);
    if (status == FMP_OK) { status = run_with(s, task, chat, dir, err); }
    fmp_chat_free(chat);
    return status;
}

/* ---- life ---- */

static fmp_status tokenize_create(const fmp_host *host, void **self, fmp_err *err)
{
    chat_tokenize *s = calloc(1, sizeof *s);
    if (!s) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
    s->host = host;
    *self = s;
    s->arena = fmp_arena_new(0);
    return s->arena ? FMP_OK : fmp_fail(err, FMP_E_NOMEM, "out of memory");
}

static void tokenize_destroy(void *self)
{
    chat_tokenize *s = self;
    fmp_arena_free(s->arena);
    free(s);
}

static fmp_status tokenize_configure(void *self, const cJSON *values, fmp_err *err)
{
    chat_tokenize *s = self;
    const char *overflow_text = fmp_value_str(values, "overflow");
    s->max_tokens = (uint32_t)fmp_value_int(values, "max_tokens");
    s->bin_size = (uint32_t)fmp_value_int(values, "bin_size");
    s->overflow = strcmp(overflow_text, "drop") == 0    ? OVERFLOW_DROP
                  : strcmp(overflow_text, "split") == 0 ? OVERFLOW_SPLIT
                                                        : OVERFLOW_ERROR;
    s->pack = fmp_value_bool(values, "pack");
    s->tokenizer = fmp_value_str(values, "tokenizer");
    FMP_TRY(fmp_chat_setup_read(values, s->arena, &s->setup, err));
    if (s->bin_size == 0) { s->bin_size = s->max_tokens; }
    if (s->bin_size < s->max_tokens) {
        (void)fmp_fail(err, FMP_E_CONFIG, "expected a bin_size of at least max_tokens (%u), found %u",
                       s->max_tokens, s->bin_size);
        if (err) { snprintf(err->option, sizeof err->option, "bin_size"); }
        return FMP_E_CONFIG;
    }
    return FMP_OK;
}

static const fmp_stage stage = {FMP_STAGE_HEADER,
                                .name = "chat.tokenize",
                                .version = 2,
                                .kind = FMP_TASK,
                                .summary = "Render, encode, mask and pack conversations for training.",
                                .inputs = inputs,
                                .outputs = outputs,
                                .options = options,
                                .create = tokenize_create,
                                .configure = tokenize_configure,
                                .run = tokenize_run,
                                .destroy = tokenize_destroy};

static const fmp_stage *const stages[] = {&stage, NULL};
static const fmp_plugin plugin = {FMP_PLUGIN_HEADER(0), .name = "chat-tokenize", .version = "0.1.0",
                                  .license = "Apache-2.0", .stages = stages};
FMP_PLUGIN_ENTRY(&plugin)
