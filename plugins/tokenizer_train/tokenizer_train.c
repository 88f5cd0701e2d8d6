/*
 * tokenizer.train: a byte-level BPE vocabulary from conversations, for a base model of one's own.
 *
 * The texts are conversations as the chat template renders them, so that merges fit what the model will
 * read; special tokens are cut out of the text by the trainer. The result is a folder with tokenizer.json,
 * tokenizer_config.json and the chat template: what a model folder needs beside its weights.
 */
#include <fmpipe/chat_template.h>
#include <fmpipe/fs.h>
#include <fmpipe/json.h>
#include <fmpipe/plugin.h>
#include <fmpipe/tokenizer.h>

#include <stdlib.h>

enum { MAX_SPECIAL = 256 };

typedef struct tokenizer_train {
    const fmp_host *host;
    const char *template_name, *bos, *eos, *pad, *pattern;
    const char *special[MAX_SPECIAL];
    uint32_t n_special, vocab_size;
    uint64_t min_count, max_records;
} tokenizer_train;

static const fmp_option options[] = {
    {.name = "vocab_size",
     .type = FMP_OPT_INT,
     .def = "4096",
     .unit = "tokens",
     .min = 512,
     .max = 1e6,
     .help = "Tokens in all: special tokens, 256 bytes and merges."},
    {.name = "template",
     .type = FMP_OPT_STRING,
     .def = "fm-chat",
     .min = 1,
     .max = 200,
     .help = "Built-in chat template that renders the conversations; it becomes part of the result."},
    {.name = "special",
     .type = FMP_OPT_LIST,
     .def = "[<|pad|>, <|bos|>, <|end|>, <|system|>, <|user|>, <|assistant|>, <|tool|>, <|tools|>, <|call|>, "
            "<|schema|>]",
     .help = "Special tokens, ids 0 and up in this order."},
    {.name = "bos",
     .type = FMP_OPT_STRING,
     .def = "<|bos|>",
     .help = "Which special token begins a sequence."},
    {.name = "eos", .type = FMP_OPT_STRING, .def = "<|end|>", .help = "Which special token ends a turn."},
    {.name = "pad", .type = FMP_OPT_STRING, .def = "<|pad|>", .help = "Which special token pads."},
    {.name = "pattern",
     .type = FMP_OPT_ENUM,
     .def = "fm",
     .choices = "fm|gpt2",
     .help = "How texts are cut into words before pairs are counted: fm cuts a word the same way wherever it "
             "stands, which suits small models; gpt2 keeps the space before a word with it."},
    {.name = "min_count",
     .type = FMP_OPT_INT,
     .def = "2",
     .min = 1,
     .max = 1e9,
     .help = "Fewest occurrences of a pair that is merged."},
    {.name = "max_records",
     .type = FMP_OPT_INT,
     .def = "0",
     .unit = "records",
     .min = 0,
     .max = 1e12,
     .help = "Learn from the first so many records; 0: all."},
    {.name = NULL}};

static const fmp_port inputs[] = {
    {.name = "records", .type = FMP_PORT_RECORDS, .help = "Conversations to learn from."}, {.name = NULL}};
static const fmp_port outputs[] = {
    {.name = "tokenizer",
     .type = FMP_PORT_PACKAGE,
     .help = "Folder with tokenizer.json, tokenizer_config.json, chat_template.jinja."},
    {.name = NULL}};

typedef struct feed {
    const tokenizer_train *s;
    const fmp_ext_records *records;
    fmp_reader *reader;
    const fmp_record *batch;
    size_t at, n;
    uint64_t given;
    fmp_template *tmpl;
    fmp_rendered rendered;
} feed;

static fmp_status render(feed *f, const cJSON *doc, fmp_err *err)
{
    cJSON *context = cJSON_CreateObject();
    for (const cJSON *m = doc->child; m; m = m->next) {
        cJSON_AddItemReferenceToObject(context, m->string, (cJSON *)(uintptr_t)m);
    }
    if (!fmp_json_get(doc, "tools")) { cJSON_AddNullToObject(context, "tools"); }
    cJSON_AddFalseToObject(context, "add_generation_prompt");
    cJSON_AddStringToObject(context, "bos_token", f->s->bos);
    cJSON_AddStringToObject(context, "eos_token", f->s->eos);
    fmp_status status = fmp_template_render(f->tmpl, context, NULL, &f->rendered, err);
    cJSON_Delete(context);
    return status;
}

static fmp_status next_text(void *arg, const char **text, size_t *len, fmp_err *err)
{
    feed *f = arg;
    *text = NULL;
    if (f->at == f->n) {
        FMP_TRY(f->records->next(f->reader, &f->batch, &f->n, err));
        f->at = 0;
    }
    if (f->n == 0 || (f->s->max_records > 0 && f->given == f->s->max_records)) { return FMP_OK; }
    const fmp_record *record = &f->batch[f->at++];
    f->given++;
    if (render(f, record->doc, err) != FMP_OK) {
        fmp_err_note(err, "while rendering record %s (%s:%llu)", record->id, record->origin.file,
                     (unsigned long long)record->origin.line);
        return err ? (fmp_status)err->code : FMP_E_DATA;
    }
    *text = f->rendered.text.data;
    *len = f->rendered.text.len;
    return FMP_OK;
}

static fmp_status write_template(const char *dir, const char *text, fmp_err *err)
{
    char *path = fmp_path_join(dir, "chat_template.jinja");
    fmp_status status =
        path ? fmp_write_file(path, text, strlen(text), err) : fmp_fail(err, FMP_E_NOMEM, "out of memory");
    free(path);
    return status;
}

/* What was written, read back: its size is less than asked for where the texts ran out of pairs. */
static fmp_status report(const tokenizer_train *s, const char *dir, const fmp_ext_metrics *metrics,
                         uint64_t n_conversations, fmp_err *err)
{
    fmp_tokenizer *tok = NULL;
    FMP_TRY(fmp_tokenizer_load(dir, &tok, err));
    if (metrics) {
        uint32_t n = fmp_tokenizer_size(tok);
        metrics->fact(s->host, "tokens", cJSON_CreateNumber(n));
        metrics->fact(s->host, "conversations", cJSON_CreateNumber((double)n_conversations));
        char asked[40] = "";
        if (n < s->vocab_size) { snprintf(asked, sizeof asked, " of %u asked for,", s->vocab_size); }
        metrics->summary(s->host, "%u tokens%s from %llu conversations", n, asked,
                         (unsigned long long)n_conversations);
    }
    fmp_tokenizer_free(tok);
    return FMP_OK;
}

static fmp_status train_run(void *self, const fmp_task *task, fmp_err *err)
{
    tokenizer_train *s = self;
    feed f = {.s = s, .records = s->host->get_extension(s->host, FMP_EXT_RECORDS)};
    const fmp_ext_metrics *metrics = s->host->get_extension(s->host, FMP_EXT_METRICS);
    const char *text = fmp_template_builtin(s->template_name);
    if (!f.records) { return fmp_fail(err, FMP_E_UNSUPPORTED, "this host offers no %s", FMP_EXT_RECORDS); }
    fmp_tok_train_options o = {.vocab_size = s->vocab_size,
                               .special = s->special,
                               .n_special = s->n_special,
                               .min_count = s->min_count,
                               .bos = s->bos,
                               .eos = s->eos,
                               .pad = s->pad,
                               .pattern = s->pattern};
    fmp_status status = fmp_template_parse(text, strlen(text), s->template_name, &f.tmpl, err);
    if (status == FMP_OK) { status = f.records->open(task, &task->inputs[0], &f.reader, err); }
    if (status == FMP_OK) { status = fmp_tokenizer_train(&o, next_text, &f, task->outputs[0].path, err); }
    if (status == FMP_OK) { status = write_template(task->outputs[0].path, text, err); }
    if (f.reader) { f.records->close(f.reader); }
    fmp_rendered_free(&f.rendered);
    fmp_template_free(f.tmpl);
    return status == FMP_OK ? report(s, task->outputs[0].path, metrics, f.given, err) : status;
}

static fmp_status train_create(const fmp_host *host, void **self, fmp_err *err)
{
    tokenizer_train *s = calloc(1, sizeof *s);
    if (!s) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
    s->host = host;
    *self = s;
    return FMP_OK;
}

static fmp_status train_configure(void *self, const cJSON *values, fmp_err *err)
{
    tokenizer_train *s = self;
    s->vocab_size = (uint32_t)fmp_value_int(values, "vocab_size");
    s->min_count = (uint64_t)fmp_value_int(values, "min_count");
    s->max_records = (uint64_t)fmp_value_int(values, "max_records");
    s->template_name = fmp_value_str(values, "template");
    s->bos = fmp_value_str(values, "bos");
    s->eos = fmp_value_str(values, "eos");
    s->pad = fmp_value_str(values, "pad");
    bool gpt2 = strcmp(fmp_value_str(values, "pattern"), "gpt2") == 0;
    s->pattern = gpt2 ? FMP_TOK_PATTERN_GPT2 : FMP_TOK_PATTERN_FM;
    if (!fmp_template_builtin(s->template_name)) {
        fmp_fail(err, FMP_E_CONFIG, "expected the name of a built-in template such as fm-chat, found '%s'",
                 s->template_name);
        if (err) { snprintf(err->option, sizeof err->option, "template"); }
        return FMP_E_CONFIG;
    }
    const cJSON *item;
    cJSON_ArrayForEach(item, fmp_value(values, "special"))
    {
        if (s->n_special == MAX_SPECIAL) {
            return fmp_fail(err, FMP_E_CONFIG, "expected at most %d special tokens", MAX_SPECIAL);
        }
        s->special[s->n_special++] = item->valuestring;
    }
    return FMP_OK;
}

static const fmp_stage stage = {FMP_STAGE_HEADER,
                                .name = "tokenizer.train",
                                .version = 1,
                                .kind = FMP_TASK,
                                .summary = "Learn a byte-level BPE tokenizer from conversations.",
                                .inputs = inputs,
                                .outputs = outputs,
                                .options = options,
                                .create = train_create,
                                .configure = train_configure,
                                .run = train_run,
                                .destroy = free};

static const fmp_stage *const stages[] = {&stage, NULL};
static const fmp_plugin plugin = {FMP_PLUGIN_HEADER(0), .name = "tokenizer-train", .version = "0.1.0",
                                  .license = "Apache-2.0", .stages = stages};
FMP_PLUGIN_ENTRY(&plugin)
