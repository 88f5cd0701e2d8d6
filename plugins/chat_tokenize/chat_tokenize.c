/*
 * chat.tokenize: conversations to packed, memory-mapped token ids with a loss weight each.
 *
 * Rendering, encoding and masking are one call of fmtext (fmp_chat_encode), so the mask follows the template's provenance. A
 * batch of records is cut into a fixed number of pieces for the threads; results are written in record order. What is too
 * long is never cut unsaid: `overflow` must be chosen.
 */
#include <fmpipe/chat.h>
#include <fmpipe/fs.h>
#include <fmpipe/json.h>
#include <fmpipe/plugin.h>
#include <fmpipe/tokens.h>

#include <inttypes.h>
#include <stdlib.h>

enum { MAX_PIECES = 64, N_BUCKETS = 32, N_GOLDEN = 4, MAX_LOCALES = 4096 };

typedef enum overflow { OVERFLOW_ERROR, OVERFLOW_DROP, OVERFLOW_SPLIT } overflow;

typedef struct chat_tokenize {
    const fmp_host *host;
    const fmp_ext_records *records;
    const fmp_ext_metrics *metrics;
    const char *tokenizer, *template_;
    uint32_t max_tokens, bin_size;
    overflow overflow;
    bool pack;
    fmp_chat_options chat;
} chat_tokenize;

static const fmp_option options[] = {
    {.name = "max_tokens", .type = FMP_OPT_INT, .def = "1024", .unit = "tokens", .min = 8, .max = 1048576,
     .help = "Longest sequence."},
    {.name = "overflow", .type = FMP_OPT_ENUM, .flags = FMP_OPT_REQUIRED, .choices = "error|drop|split",
     .help = "A conversation longer than max_tokens: error rejects it under on_bad, drop counts it and goes on, split makes several "
             "sequences of it. There is no default, because each loses something."},
    {.name = "pack", .type = FMP_OPT_BOOL, .def = "true", .help = "Put several conversations into one row (attention stays inside each)."},
    {.name = "bin_size", .type = FMP_OPT_INT, .def = "0", .unit = "tokens", .min = 0, .max = 1048576,
     .help = "Tokens of a packed row; 0: max_tokens."},
    {.name = "supervise", .type = FMP_OPT_ENUM, .def = "assistant", .choices = "assistant|last|all",
     .help = "What is learned: every assistant turn, the last one only, or all text (pre-training)."},
    {.name = "context_weight", .type = FMP_OPT_FLOAT, .def = "1", .min = 0.0001, .max = 1,
     .help = "With supervise: all, the loss weight of everything that is no assistant turn; assistant turns have 1."},
    {.name = "template", .type = FMP_OPT_ENUM, .def = "model", .choices = "model|fm-chat|adapter-toolkit",
     .help = "The model's chat template, or a built-in one in its place."},
    {.name = "template_file", .type = FMP_OPT_PATH, .help = "A .jinja file in place of both."},
    {.name = "tokenizer", .type = FMP_OPT_PATH, .help = "Tokenizer folder in place of the model's."},
    {.name = NULL}};

static const fmp_port inputs[] = {
    {.name = "records", .type = FMP_PORT_RECORDS, .help = "Conversations."},
    {.name = "model", .type = FMP_PORT_MODEL, .flags = FMP_PORT_OPTIONAL, .help = "Whose tokenizer and chat template are used."},
    {.name = "tokenizer", .type = FMP_PORT_PACKAGE, .flags = FMP_PORT_OPTIONAL, .help = "A tokenizer folder made by a stage, in place of the model's."},
    {.name = NULL}};
static const fmp_port outputs[] = {
    {.name = "tokens", .type = FMP_PORT_TOKENS, .help = "Packed token ids, loss weights and where each came from."}, {.name = NULL}};

/* ---------------------------------------------------------------------------------------------- pieces */

/* One record of a piece: its tokens lie in the piece's arrays. */
typedef struct encoded {
    size_t begin, n;
    uint32_t n_supervised;
    fmp_status status;
    char reason[32], message[400];
} encoded;

typedef struct piece {
    const chat_tokenize *s;
    const fmp_chat *chat;
    fmp_chat_result result;
    const fmp_record *records;
    size_t n_records;
    encoded *items;
    size_t items_cap;
    uint32_t *ids;
    float *weight;
    size_t n, cap;
    uint64_t n_straddling, n_control_text;
    fmp_status status; /* what ends the stage: out of memory */
} piece;

static bool room_for(piece *p, size_t extra)
{
    if (p->n + extra <= p->cap) { return true; }
    size_t cap = (p->n + extra) * 2;
    uint32_t *ids = realloc(p->ids, cap * sizeof *ids);
    if (ids) { p->ids = ids; }
    float *weight = realloc(p->weight, cap * sizeof *weight);
    if (weight) { p->weight = weight; }
    if (!ids || !weight) { return false; }
    p->cap = cap;
    return true;
}

static const char *reason_for(fmp_status status)
{
    return status == FMP_E_MISMATCH ? "template_not_prefix" : status == FMP_E_RANGE ? "limit" : "not_trainable";
}

static void encode_piece(void *arg, size_t i)
{
    piece *p = (piece *)arg + i;
    p->n = 0;
    p->status = FMP_OK;
    for (size_t k = 0; k < p->n_records && p->status == FMP_OK; k++) {
        encoded *e = &p->items[k];
        fmp_err err = FMP_ERR_INIT;
        *e = (encoded){.begin = p->n};
        e->status = fmp_chat_encode(p->chat, p->records[k].doc, &p->s->chat, &p->result, &err);
        if (e->status == FMP_E_NOMEM || (e->status == FMP_OK && !room_for(p, p->result.tokens.n))) {
            p->status = FMP_E_NOMEM;
        } else if (e->status != FMP_OK) {
            snprintf(e->reason, sizeof e->reason, "%s", reason_for(e->status));
            snprintf(e->message, sizeof e->message, "%.390s", err.message);
        } else {
            e->n = p->result.tokens.n;
            e->n_supervised = (uint32_t)p->result.n_supervised;
            memcpy(p->ids + p->n, p->result.tokens.ids, e->n * sizeof *p->ids);
            memcpy(p->weight + p->n, p->result.weight, e->n * sizeof *p->weight);
            p->n += e->n;
            p->n_straddling += p->result.n_straddling;
            p->n_control_text += p->result.n_control_text;
        }
    }
}

/* ---------------------------------------------------------------------------------------------- totals */

typedef struct by_locale {
    char tag[40];
    uint64_t n_records, n_tokens, n_supervised;
} by_locale;

typedef struct totals {
    uint64_t n_records, n_tokens, n_supervised, n_dropped, n_split, n_windows_skipped;
    uint64_t bucket[N_BUCKETS];
    uint32_t longest;
    by_locale *locale; /* (n_locales) in byte order of the tags */
    uint32_t n_locales;
    cJSON *golden;
} totals;

static int by_tag(const void *a, const void *b)
{
    return strcmp(((const by_locale *)a)->tag, ((const by_locale *)b)->tag);
}

static by_locale *locale_totals(const totals *t, const char *tag)
{
    by_locale key;
    snprintf(key.tag, sizeof key.tag, "%s", tag);
    return t->n_locales > 0 ? bsearch(&key, t->locale, t->n_locales, sizeof *t->locale, by_tag) : NULL;
}

static fmp_status add_locale(totals *t, const char *tag, fmp_err *err)
{
    if (locale_totals(t, tag)) { return FMP_OK; }
    if (t->n_locales == MAX_LOCALES) { return fmp_fail(err, FMP_E_RANGE, "more than %d different locales", MAX_LOCALES); }
    by_locale *grown = realloc(t->locale, (t->n_locales + 1) * sizeof *grown);
    if (!grown) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
    t->locale = grown;
    memset(&grown[t->n_locales], 0, sizeof *grown);
    snprintf(grown[t->n_locales].tag, sizeof grown->tag, "%s", tag);
    qsort(grown, ++t->n_locales, sizeof *grown, by_tag);
    return FMP_OK;
}

/* A first pass for the list of locales, which the artifact numbers. */
static fmp_status find_locales(const chat_tokenize *s, const fmp_task *task, totals *t, fmp_err *err)
{
    fmp_reader *reader = NULL;
    FMP_TRY(s->records->open(task, &task->inputs[0], &reader, err));
    const fmp_record *batch;
    size_t n = 0;
    fmp_status status;
    while ((status = s->records->next(reader, &batch, &n, err)) == FMP_OK && n > 0) {
        for (size_t i = 0; i < n && status == FMP_OK; i++) { status = add_locale(t, fmp_json_str(batch[i].doc, "locale", ""), err); }
        if (status != FMP_OK) { break; }
    }
    s->records->close(reader);
    return status;
}

static void note_lengths(const chat_tokenize *s, totals *t, const fmp_record *record, const encoded *e)
{
    by_locale *l = locale_totals(t, fmp_json_str(record->doc, "locale", ""));
    size_t bucket = e->n * N_BUCKETS / ((size_t)s->max_tokens + 1);
    t->bucket[bucket < N_BUCKETS ? bucket : N_BUCKETS - 1]++;
    t->longest = e->n > t->longest ? (uint32_t)e->n : t->longest;
    l->n_records++;
    l->n_tokens += e->n;
    l->n_supervised += e->n_supervised;
    t->n_records++;
    t->n_tokens += e->n;
    t->n_supervised += e->n_supervised;
}

/* A conversation and its exact ids: what a server must reproduce. */
static void note_golden(totals *t, const fmp_record *record, const encoded *e, const uint32_t *ids)
{
    if (cJSON_GetArraySize(t->golden) >= N_GOLDEN) { return; }
    cJSON *row = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(row, "ids");
    for (size_t i = 0; i < e->n; i++) { cJSON_AddItemToArray(list, cJSON_CreateNumber(ids[i])); }
    cJSON_AddItemToObject(row, "messages", cJSON_Duplicate(fmp_json_get(record->doc, "messages"), true));
    static const char *const others[] = {"tools", "response_format"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        const cJSON *value = fmp_json_get(record->doc, others[i]);
        if (value) { cJSON_AddItemToObject(row, others[i], cJSON_Duplicate(value, true)); }
    }
    cJSON_AddItemToArray(t->golden, row);
}

/* ---------------------------------------------------------------------------------------------- writing */

static uint32_t locale_index(const totals *t, const fmp_record *record)
{
    return (uint32_t)(locale_totals(t, fmp_json_str(record->doc, "locale", "")) - t->locale);
}

/* Windows of max_tokens; one without anything to learn is left out and counted. */
static fmp_status write_windows(const chat_tokenize *s, fmp_tokens_writer *w, totals *t, const fmp_record *record, const encoded *e,
                                const uint32_t *ids, float *weight, fmp_err *err)
{
    uint32_t locale = locale_index(t, record);
    t->n_split++;
    for (size_t at = 0; at < e->n; at += s->max_tokens) {
        size_t n = e->n - at < s->max_tokens ? e->n - at : s->max_tokens;
        bool learns = false;
        weight[at] = 0.0f; /* a window's first token has nothing before it */
        for (size_t i = at; i < at + n; i++) { learns = learns || weight[i] > 0.0f; }
        if (!learns) {
            t->n_windows_skipped++;
            continue;
        }
        FMP_TRY(fmp_tokens_append(w, ids + at, weight + at, (uint32_t)n, record->id, locale, err));
    }
    return FMP_OK;
}

static fmp_status write_record(const chat_tokenize *s, const fmp_task *task, fmp_tokens_writer *w, totals *t, const fmp_record *record,
                               const encoded *e, const uint32_t *ids, float *weight, fmp_err *err)
{
    char message[128];
    fmp_reject why = {.struct_size = (uint32_t)sizeof why, .reason = e->reason, .message = e->message};
    if (e->status != FMP_OK) { return s->records->reject(task, record, &why, err); }
    if (e->n <= s->max_tokens || s->overflow == OVERFLOW_SPLIT) {
        note_lengths(s, t, record, e);
        note_golden(t, record, e, ids);
        if (e->n > s->max_tokens) { return write_windows(s, w, t, record, e, ids, weight, err); }
        return fmp_tokens_append(w, ids, weight, (uint32_t)e->n, record->id, locale_index(t, record), err);
    }
    if (s->overflow == OVERFLOW_DROP) {
        t->n_dropped++;
        s->metrics->count(s->host, "too_long", 1);
        return FMP_OK;
    }
    snprintf(message, sizeof message, "the conversation has %zu tokens, expected at most %u", e->n, s->max_tokens);
    why.reason = "too_long";
    why.message = message;
    return s->records->reject(task, record, &why, err);
}

static bool prepare_pieces(piece *pieces, size_t n_pieces, const fmp_record *batch, size_t n)
{
    for (size_t i = 0; i < n_pieces; i++) {
        size_t from = n * i / n_pieces, to = n * (i + 1) / n_pieces;
        pieces[i].records = batch + from;
        pieces[i].n_records = to - from;
        if (pieces[i].n_records > pieces[i].items_cap) {
            encoded *items = realloc(pieces[i].items, pieces[i].n_records * sizeof *items);
            if (!items) { return false; }
            pieces[i].items = items;
            pieces[i].items_cap = pieces[i].n_records;
        }
    }
    return true;
}

static fmp_status tokenize_all(const chat_tokenize *s, const fmp_task *task, piece *pieces, size_t n_pieces, fmp_reader *reader,
                               fmp_tokens_writer *w, totals *t, fmp_err *err)
{
    const fmp_ext_parallel *parallel = s->host->get_extension(s->host, FMP_EXT_PARALLEL);
    const fmp_ext_progress *progress = s->host->get_extension(s->host, FMP_EXT_PROGRESS);
    for (;;) {
        const fmp_record *batch;
        size_t n;
        FMP_TRY(s->records->next(reader, &batch, &n, err));
        if (n == 0) { return FMP_OK; }
        if (!prepare_pieces(pieces, n_pieces, batch, n)) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
        parallel->for_each(s->host, n_pieces, encode_piece, pieces);
        for (size_t i = 0; i < n_pieces; i++) {
            piece *p = &pieces[i];
            if (p->status != FMP_OK) { return fmp_fail(err, p->status, "out of memory while encoding"); }
            for (size_t k = 0; k < p->n_records; k++) {
                const encoded *e = &p->items[k];
                FMP_TRY(write_record(s, task, w, t, &p->records[k], e, p->ids + e->begin, p->weight + e->begin, err));
            }
        }
        if (progress) { progress->update(s->host, t->n_records, 0, "conversations", NULL); }
    }
}

/* ---------------------------------------------------------------------------------------------- meta and facts */

static double share(uint64_t part, uint64_t whole)
{
    return whole > 0 ? (double)part / (double)whole : 0;
}

static cJSON *histogram(const chat_tokenize *s, const totals *t)
{
    cJSON *out = cJSON_CreateObject(), *counts = cJSON_CreateArray();
    for (int i = 0; i < N_BUCKETS; i++) { cJSON_AddItemToArray(counts, cJSON_CreateNumber((double)t->bucket[i])); }
    cJSON_AddNumberToObject(out, "bucket_tokens", ((double)s->max_tokens + 1) / N_BUCKETS);
    cJSON_AddNumberToObject(out, "longest", t->longest);
    cJSON_AddItemToObject(out, "counts", counts);
    return out;
}

static cJSON *locale_shares(const totals *t)
{
    cJSON *out = cJSON_CreateObject();
    for (size_t i = 0; i < t->n_locales; i++) {
        const by_locale *l = &t->locale[i];
        cJSON *row = cJSON_AddObjectToObject(out, *l->tag ? l->tag : "(none)");
        cJSON_AddNumberToObject(row, "records", (double)l->n_records);
        cJSON_AddNumberToObject(row, "tokens", (double)l->n_tokens);
        cJSON_AddNumberToObject(row, "supervised_share", share(l->n_supervised, l->n_tokens));
    }
    return out;
}

/* golden.json: the first conversations with the exact ids that template and tokenizer give them. */
static fmp_status write_golden(const char *dir, const totals *t, fmp_err *err)
{
    char *path = fmp_path_join(dir, "golden.json"), *text = fmp_json_text(t->golden, FMP_JSON_COMPACT);
    fmp_status status = path && text ? fmp_write_file(path, text, strlen(text), err) : fmp_fail(err, FMP_E_NOMEM, "out of memory");
    free(path);
    free(text);
    return status;
}

static fmp_status new_writer(const chat_tokenize *s, const fmp_task *task, const fmp_chat *chat, const totals *t, fmp_tokens_writer **out,
                             fmp_err *err)
{
    const char **tags = calloc((size_t)t->n_locales + 1, sizeof *tags);
    if (!tags) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
    for (uint32_t i = 0; i < t->n_locales; i++) { tags[i] = t->locale[i].tag; }
    fmp_tokens_info info = {.tokenizer_digest = fmp_tokenizer_digest(fmp_chat_tokenizer(chat)),
                            .template_digest = fmp_chat_template_digest(chat),
                            .vocab_size = fmp_tokenizer_size(fmp_chat_tokenizer(chat)),
                            .max_tokens = s->max_tokens,
                            .bin_size = s->bin_size,
                            .locales = tags,
                            .n_locales = t->n_locales};
    fmp_status status = fmp_tokens_writer_new(task->outputs[0].path, &info, out, err);
    free(tags);
    return status;
}

/* 1234567 -> "1,234,567". */
static const char *grouped(uint64_t n, char *out, size_t size)
{
    char digits[24];
    int len = snprintf(digits, sizeof digits, "%" PRIu64, n);
    size_t k = 0;
    for (int i = 0; i < len && k + 2 < size; i++) {
        if (i > 0 && (len - i) % 3 == 0) { out[k++] = ','; }
        out[k++] = digits[i];
    }
    out[k] = '\0';
    return out;
}

static void report(const chat_tokenize *s, const totals *t, const fmp_tokens *made, const piece *pieces, size_t n_pieces)
{
    char tokens[32], bins[32], size[32];
    uint64_t n_bins = made->n_bins, straddling = 0, control = 0;
    double fill = share(made->n_tokens, n_bins * s->bin_size);
    for (size_t i = 0; i < n_pieces; i++) {
        straddling += pieces[i].n_straddling;
        control += pieces[i].n_control_text;
    }
    s->metrics->fact(s->host, "records", cJSON_CreateNumber((double)t->n_records));
    s->metrics->fact(s->host, "tokens", cJSON_CreateNumber((double)t->n_tokens));
    s->metrics->fact(s->host, "supervised_share", cJSON_CreateNumber(share(t->n_supervised, t->n_tokens)));
    s->metrics->fact(s->host, "bins", cJSON_CreateNumber((double)n_bins));
    s->metrics->fact(s->host, "fill", cJSON_CreateNumber(fill));
    s->metrics->fact(s->host, "histogram", histogram(s, t));
    s->metrics->fact(s->host, "by_locale", locale_shares(t));
    s->metrics->fact(s->host, "split", cJSON_CreateNumber((double)t->n_split));
    s->metrics->fact(s->host, "dropped_too_long", cJSON_CreateNumber((double)t->n_dropped));
    s->metrics->fact(s->host, "windows_without_labels", cJSON_CreateNumber((double)t->n_windows_skipped));
    s->metrics->fact(s->host, "straddling_tokens", cJSON_CreateNumber((double)straddling));
    s->metrics->fact(s->host, "control_text_neutralised", cJSON_CreateNumber((double)control));
    s->metrics->summary(s->host, "%s tokens · %.0f %% supervised · %s rows of %s (%.0f %% full)", grouped(t->n_tokens, tokens, sizeof tokens),
                        100 * share(t->n_supervised, t->n_tokens), grouped(n_bins, bins, sizeof bins), grouped(s->bin_size, size, sizeof size),
                        100 * fill);
}

static fmp_status copy_tokenizer(const char *from_dir, const fmp_chat *chat, const char *out_dir, fmp_err *err)
{
    static const char *const files[] = {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "generation_config.json"};
    char *dir = fmp_path_join(out_dir, "tokenizer"), *template_ = dir ? fmp_path_join(dir, "chat_template.jinja") : NULL;
    fmp_status status = template_ ? fmp_mkdirs(dir, err) : fmp_fail(err, FMP_E_NOMEM, "out of memory");
    for (size_t i = 0; status == FMP_OK && i < sizeof files / sizeof files[0]; i++) {
        char *from = fmp_path_join(from_dir, files[i]), *to = fmp_path_join(dir, files[i]);
        if (!from || !to) {
            status = fmp_fail(err, FMP_E_NOMEM, "out of memory");
        } else if (fmp_path_exists(from)) {
            status = fmp_copy_tree(from, to, err);
        }
        free(from);
        free(to);
    }
    const char *text = fmp_chat_template_text(chat);
    if (status == FMP_OK) { status = fmp_write_file(template_, text, strlen(text), err); }
    free(dir);
    free(template_);
    return status;
}

/* ---------------------------------------------------------------------------------------------- run */

static const char *tokenizer_dir(const chat_tokenize *s, const fmp_task *task)
{
    const char *dir = s->tokenizer;
    for (size_t i = 0; i < task->n_inputs; i++) {
        bool tokenizer = strcmp(task->inputs[i].port, "tokenizer") == 0;
        if (tokenizer || (!dir && strcmp(task->inputs[i].port, "model") == 0)) { dir = task->inputs[i].path; }
    }
    return dir;
}

static fmp_status make_pieces(const chat_tokenize *s, const fmp_chat *chat, piece *pieces, size_t n, fmp_err *err)
{
    for (size_t i = 0; i < n; i++) {
        pieces[i].s = s;
        pieces[i].chat = chat;
        FMP_TRY(fmp_chat_result_init(&pieces[i].result, err));
    }
    return FMP_OK;
}

static void free_pieces(piece *pieces, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        fmp_chat_result_free(&pieces[i].result);
        free(pieces[i].items);
        free(pieces[i].ids);
        free(pieces[i].weight);
    }
    free(pieces);
}

static fmp_status run_with(chat_tokenize *s, const fmp_task *task, const fmp_chat *chat, const char *dir, fmp_err *err)
{
    const fmp_ext_parallel *parallel = s->host->get_extension(s->host, FMP_EXT_PARALLEL);
    size_t n_pieces = (size_t)parallel->n_threads(s->host) * 2;
    if (n_pieces > MAX_PIECES) { n_pieces = MAX_PIECES; }
    piece *pieces = calloc(n_pieces, sizeof *pieces);
    totals *t = calloc(1, sizeof *t);
    fmp_reader *reader = NULL;
    fmp_tokens_writer *w = NULL;
    fmp_tokens made = {0};
    fmp_status status = pieces && t ? make_pieces(s, chat, pieces, n_pieces, err) : fmp_fail(err, FMP_E_NOMEM, "out of memory");
    if (status == FMP_OK) {
        t->golden = cJSON_CreateArray();
        status = find_locales(s, task, t, err);
    }
    if (status == FMP_OK) { status = new_writer(s, task, chat, t, &w, err); }
    if (status == FMP_OK) { status = s->records->open(task, &task->inputs[0], &reader, err); }
    if (status == FMP_OK) { status = tokenize_all(s, task, pieces, n_pieces, reader, w, t, err); }
    if (status == FMP_OK) { status = fmp_tokens_finish(w, s->pack, err); }
    if (status == FMP_OK) { status = write_golden(task->outputs[0].path, t, err); }
    if (status == FMP_OK) { status = copy_tokenizer(dir, chat, task->outputs[0].path, err); }
    if (status == FMP_OK) { status = fmp_tokens_open(task->outputs[0].path, &made, err); } /* what was written reads back */
    if (status == FMP_OK) { report(s, t, &made, pieces, n_pieces); }
    if (reader) { s->records->close(reader); }
    fmp_tokens_writer_free(w);
    if (status == FMP_OK) { fmp_tokens_close(&made); }
    if (t) {
        cJSON_Delete(t->golden);
        free(t->locale);
    }
    free(t);
    if (pieces) { free_pieces(pieces, n_pieces); }
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
        fmp_fail(err, FMP_E_CONFIG, "no tokenizer: expected a model, a tokenizer input or the option 'tokenizer'");
        return fmp_err_hint(err, "set 'base:' in the pipeline, or 'tokenizer: FOLDER'");
    }
    FMP_TRY(fmp_chat_open(dir, s->template_, &chat, err));
    fmp_status status = run_with(s, task, chat, dir, err);
    fmp_chat_free(chat);
    return status;
}

static fmp_status tokenize_create(const fmp_host *host, void **self, fmp_err *err)
{
    chat_tokenize *s = calloc(1, sizeof *s);
    if (!s) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
    s->host = host;
    *self = s;
    return FMP_OK;
}

static fmp_status tokenize_configure(void *self, const cJSON *values, fmp_err *err)
{
    chat_tokenize *s = self;
    const char *overflow_text = fmp_value_str(values, "overflow"), *supervise = fmp_value_str(values, "supervise");
    s->max_tokens = (uint32_t)fmp_value_int(values, "max_tokens");
    s->bin_size = (uint32_t)fmp_value_int(values, "bin_size");
    s->overflow = strcmp(overflow_text, "drop") == 0    ? OVERFLOW_DROP
                  : strcmp(overflow_text, "split") == 0 ? OVERFLOW_SPLIT
                                                        : OVERFLOW_ERROR;
    s->pack = fmp_value_bool(values, "pack");
    s->template_ = fmp_value_str(values, "template_file");
    if (!s->template_ && strcmp(fmp_value_str(values, "template"), "model") != 0) { s->template_ = fmp_value_str(values, "template"); }
    s->tokenizer = fmp_value_str(values, "tokenizer");
    s->chat = (fmp_chat_options){.supervise = true,
                                 .all_text = strcmp(supervise, "all") == 0,
                                 .context_weight = (float)fmp_value_num(values, "context_weight"),
                                 .policy = strcmp(supervise, "last") == 0 ? FMP_MASK_LAST : FMP_MASK_ALL};
    if (s->bin_size == 0) { s->bin_size = s->max_tokens; }
    if (s->bin_size < s->max_tokens) {
        fmp_fail(err, FMP_E_CONFIG, "expected a bin_size of at least max_tokens (%u), found %u", s->max_tokens, s->bin_size);
        if (err) { snprintf(err->option, sizeof err->option, "bin_size"); }
        return FMP_E_CONFIG;
    }
    return FMP_OK;
}

static const fmp_stage stage = {FMP_STAGE_HEADER,
                                .name = "chat.tokenize",
                                .version = 1,
                                .kind = FMP_TASK,
                                .summary = "Render, encode, mask and pack conversations for training.",
                                .inputs = inputs,
                                .outputs = outputs,
                                .options = options,
                                .create = tokenize_create,
                                .configure = tokenize_configure,
                                .run = tokenize_run,
                                .destroy = free};

static const fmp_stage *const stages[] = {&stage, NULL};
static const fmp_plugin plugin = {FMP_PLUGIN_HEADER(0),
                                  .name = "chat-tokenize",
                                  .version = "0.1.0",
                                  .license = "Apache-2.0",
                                  .stages = stages};
FMP_PLUGIN_ENTRY(&plugin)
