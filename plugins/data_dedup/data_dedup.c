/*
 * data.dedup: drop conversations that repeat others, exactly or nearly, and say which.
 *
 * First pass: one digest and, for minhash, one signature a record, made on all threads. Then clusters
 * (minhash.c, or equal digests). Second pass: the kept record of each cluster goes on; clusters.jsonl lists
 * every cluster with its ids and an example. Memory: 32 bytes a record, and 4 * permutations for minhash;
 * never the records themselves.
 */
#include "minhash.h"

#include <fmpipe/fs.h>
#include <fmpipe/json.h>
#include <fmpipe/plugin.h>

#include <stdlib.h>

typedef struct data_dedup {
    const fmp_host *host;
    const fmp_ext_records *records;
    const fmp_ext_parallel *parallel;
    bool near, keep_longest, user_only, with_tools;
    double threshold;
    uint32_t n_perm, n_gram;
} data_dedup;

typedef struct item {
    char id[17];
    uint64_t digest[2]; /* of the compared text */
    uint32_t chars, cluster;
} item;

typedef struct table {
    item *items;
    uint32_t *sigs; /* (n, n_perm) */
    size_t n, cap;
} table;

static const fmp_option options[] = {
    {.name = "method",
     .type = FMP_OPT_ENUM,
     .def = "minhash",
     .choices = "exact|minhash",
     .help = "exact: equal text. minhash: text whose shingle sets overlap by the threshold, which includes "
             "equal text."},
    {.name = "threshold",
     .type = FMP_OPT_FLOAT,
     .def = "0.8",
     .unit = "fraction",
     .min = 0.3,
     .max = 1,
     .help = "Least Jaccard similarity of near-duplicates (estimated from the signatures)."},
    {.name = "permutations",
     .type = FMP_OPT_INT,
     .def = "128",
     .min = 16,
     .max = 512,
     .help = "Length of the signatures."},
    {.name = "shingle",
     .type = FMP_OPT_INT,
     .def = "5",
     .unit = "characters",
     .min = 2,
     .max = 16,
     .help = "Length of a shingle in code points, so that scripts without spaces work."},
    {.name = "compare",
     .type = FMP_OPT_ENUM,
     .def = "messages",
     .choices = "messages|user|all",
     .help = "messages: all message text and tool calls. user: what the user says. all: messages and tools."},
    {.name = "keep",
     .type = FMP_OPT_ENUM,
     .def = "first",
     .choices = "first|longest",
     .help = "Which record of a cluster stays: the first, or the longest (the first of several)."},
    {.name = NULL}};

static const fmp_port inputs[] = {{.name = "records", .type = FMP_PORT_RECORDS, .help = "All records."},
                                  {.name = NULL}};
static const fmp_port outputs[] = {
    {.name = "records", .type = FMP_PORT_RECORDS, .help = "One record of each cluster, in input order."},
    {.name = "clusters",
     .type = FMP_PORT_PACKAGE,
     .help = "clusters.jsonl: the duplicates found, a cluster a line."},
    {.name = NULL}};

/* ------------------------------------------------------------------------------------ first pass */

static void compared_text(const data_dedup *s, const cJSON *doc, fmp_buf *out)
{
    const cJSON *m;
    cJSON_ArrayForEach(m, fmp_json_get(doc, "messages"))
    {
        const char *role = fmp_json_str(m, "role", "");
        if (s->user_only && strcmp(role, "user") != 0) { continue; }
        const cJSON *content = fmp_json_get(m, "content"), *calls = fmp_json_get(m, "tool_calls");
        if (cJSON_IsString(content)) {
            fmp_buf_puts(out, content->valuestring);
        } else if (content) {
            fmp_json_print(content, FMP_JSON_SORTED, out);
        }
        if (calls) { fmp_json_print(calls, FMP_JSON_SORTED, out); }
        fmp_buf_putc(out, '\n');
    }
    if (s->with_tools && fmp_json_get(doc, "tools")) {
        fmp_json_print(fmp_json_get(doc, "tools"), FMP_JSON_SORTED, out);
    }
}

typedef struct batch_work {
    const data_dedup *s;
    const fmp_record *records;
    item *items;
    uint32_t *sigs;
    bool failed;
} batch_work;

static void describe_record(void *arg, size_t i)
{
    batch_work *w = arg;
    fmp_buf text = {0};
    unsigned char digest[32];
    compared_text(w->s, w->records[i].doc, &text);
    if (text.failed) {
        __atomic_store_n(&w->failed, true, __ATOMIC_RELAXED);
    } else {
        memcpy(w->items[i].id, w->records[i].id, sizeof w->items[i].id);
        fmp_sha256_bytes(text.data ? text.data : "", text.len, digest);
        memcpy(w->items[i].digest, digest, sizeof w->items[i].digest);
        w->items[i].chars = (uint32_t)(text.len < UINT32_MAX ? text.len : UINT32_MAX);
        if (w->sigs) {
            minhash_signature(text.data ? text.data : "", text.len, w->s->n_gram, w->s->n_perm, 1,
                              w->sigs + i * w->s->n_perm);
        }
    }
    fmp_buf_free(&text);
}

static fmp_status reserve(const data_dedup *s, table *t, size_t extra, fmp_err *err)
{
    size_t want = t->cap ? t->cap : 1024;
    while (want < t->n + extra) {
        want *= 2;
    }
    if (want >= UINT32_MAX) { return fmp_fail(err, FMP_E_RANGE, "more than %u records", UINT32_MAX - 1); }
    if (want == t->cap) { return FMP_OK; }
    item *items = realloc(t->items, want * sizeof *items);
    if (items) { t->items = items; }
    uint32_t *sigs = s->near ? realloc(t->sigs, want * s->n_perm * sizeof *sigs) : NULL;
    if (sigs) { t->sigs = sigs; }
    if (!items || (s->near && !sigs)) {
        return fmp_fail(err, FMP_E_NOMEM, "out of memory for %zu records", want);
    }
    t->cap = want;
    return FMP_OK;
}

static fmp_status describe_all(const data_dedup *s, const fmp_task *task, table *t, fmp_err *err)
{
    fmp_reader *reader = NULL;
    FMP_TRY(s->records->open(task, &task->inputs[0], &reader, err));
    fmp_status status;
    for (;;) {
        batch_work w = {.s = s};
        size_t n;
        status = s->records->next(reader, &w.records, &n, err);
        if (status != FMP_OK || n == 0) { break; }
        status = reserve(s, t, n, err);
        if (status != FMP_OK) { break; }
        w.items = t->items + t->n;
        w.sigs = t->sigs ? t->sigs + t->n * s->n_perm : NULL;
        s->parallel->for_each(s->host, n, describe_record, &w);
        if (w.failed) {
            status = fmp_fail(err, FMP_E_NOMEM, "out of memory");
            break;
        }
        t->n += n;
    }
    s->records->close(reader);
    return status;
}

/* ---------------------------------------------------------------------------------------------- clusters */

static int by_digest(const void *a, const void *b, void *arg)
{
    const item *items = arg;
    uint32_t i = *(const uint32_t *)a, j = *(const uint32_t *)b;
    int order = memcmp(items[i].digest, items[j].digest, sizeof items[i].digest);
    return order ? order : (i < j ? -1 : i > j);
}

static fmp_status cluster_equal(table *t, uint32_t *cluster_of, fmp_err *err)
{
    uint32_t *order = malloc((t->n ? t->n : 1) * sizeof *order);
    if (!order) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
    for (size_t i = 0; i < t->n; i++) {
        order[i] = (uint32_t)i;
    }
    qsort_r(order, t->n, sizeof *order, by_digest, t->items);
    for (size_t i = 0; i < t->n; i++) {
        bool same = i > 0 && memcmp(t->items[order[i]].digest, t->items[order[i - 1]].digest, 16) == 0;
        cluster_of[order[i]] = same ? cluster_of[order[i - 1]] : order[i];
    }
    free(order);
    return FMP_OK;
}

/* keep_of[cluster] = index of the record that stays. */
static void choose_kept(const data_dedup *s, const table *t, uint32_t *keep_of)
{
    for (size_t i = 0; i < t->n; i++) {
        uint32_t c = t->items[i].cluster;
        if (c == i || (s->keep_longest && t->items[i].chars > t->items[keep_of[c]].chars)) {
            keep_of[c] = (uint32_t)i;
        }
    }
}

/* ------------------------------------------------------------------------------------ second pass */

typedef struct cluster_line {
    cJSON *node; /* NULL for clusters of one */
} cluster_line;

static void clip_text(const fmp_buf *text, char *out, size_t size)
{
    size_t n = text->len < size - 1 ? text->len : size - 1;
    while (n > 0 && n < text->len && ((unsigned char)text->data[n] & 0xC0) == 0x80) {
        n--;
    }
    if (n > 0) { memcpy(out, text->data, n); }
    out[n] = '\0';
}

static void note_member(const data_dedup *s, cluster_line *line, const fmp_record *record, bool kept)
{
    char excerpt[161];
    fmp_buf text = {0};
    if (!line->node) {
        line->node = cJSON_CreateObject();
        cJSON_AddStringToObject(line->node, "kept", "");
        cJSON_AddArrayToObject(line->node, "dropped");
    }
    compared_text(s, record->doc, &text);
    clip_text(&text, excerpt, sizeof excerpt);
    fmp_buf_free(&text);
    if (kept) {
        cJSON_ReplaceItemInObjectCaseSensitive(line->node, "kept", cJSON_CreateString(record->id));
        cJSON_AddStringToObject(line->node, "text", excerpt);
    } else {
        cJSON_AddItemToArray(cJSON_GetObjectItemCaseSensitive(line->node, "dropped"),
                             cJSON_CreateString(record->id));
        if (!cJSON_GetObjectItemCaseSensitive(line->node, "example")) {
            cJSON_AddStringToObject(line->node, "example", excerpt);
        }
    }
}

static fmp_status emit_kept(const data_dedup *s, const fmp_task *task, const table *t,
                            const uint32_t *keep_of, const uint32_t *size_of, cluster_line *lines,
                            fmp_err *err)
{
    fmp_reader *reader = NULL;
    size_t at = 0;
    FMP_TRY(s->records->open(task, &task->inputs[0], &reader, err));
    fmp_status status;
    for (;;) {
        const fmp_record *batch;
        size_t n;
        status = s->records->next(reader, &batch, &n, err);
        if (status != FMP_OK || n == 0) { break; }
        for (size_t i = 0; i < n && status == FMP_OK; i++, at++) {
            uint32_t c = t->items[at].cluster;
            bool kept = keep_of[c] == at;
            if (size_of[c] > 1) { note_member(s, &lines[c], &batch[i], kept); }
            if (kept) { status = s->records->emit(task, &task->outputs[0], &batch[i], NULL, err); }
        }
        if (status != FMP_OK) { break; }
    }
    s->records->close(reader);
    return status;
}

static fmp_status write_clusters(const fmp_task *task, const cluster_line *lines, size_t n, fmp_err *err)
{
    fmp_buf text = {0};
    for (size_t i = 0; i < n; i++) {
        if (!lines[i].node) { continue; }
        fmp_json_print(lines[i].node, FMP_JSON_COMPACT, &text);
        fmp_buf_putc(&text, '\n');
    }
    char *path = fmp_path_join(task->outputs[1].path, "clusters.jsonl");
    fmp_status status = path ? fmp_buf_ok(&text, err) : fmp_fail(err, FMP_E_NOMEM, "out of memory");
    if (status == FMP_OK) { status = fmp_write_file(path, text.data ? text.data : "", text.len, err); }
    free(path);
    fmp_buf_free(&text);
    return status;
}

static void report(const data_dedup *s, size_t n, size_t n_clusters, size_t n_dropped)
{
    const fmp_ext_metrics *metrics = s->host->get_extension(s->host, FMP_EXT_METRICS);
    if (!metrics) { return; }
    metrics->fact(s->host, "clusters", cJSON_CreateNumber((double)n_clusters));
    metrics->fact(s->host, "dropped", cJSON_CreateNumber((double)n_dropped));
    metrics->count(s->host, "duplicate", (int64_t)n_dropped);
    metrics->summary(s->host, "%zu %sduplicate%s in %zu cluster%s dropped, %zu kept", n_dropped,
                     s->near ? "near-" : "", n_dropped == 1 ? "" : "s", n_clusters,
                     n_clusters == 1 ? "" : "s", n - n_dropped);
}

static fmp_status cluster_and_emit(const data_dedup *s, const fmp_task *task, table *t, fmp_err *err)
{
    size_t n = t->n ? t->n : 1, n_clusters = 0, n_dropped = 0;
    uint32_t *cluster_of = malloc(n * sizeof *cluster_of), *keep_of = calloc(n, sizeof *keep_of),
             *size_of = calloc(n, sizeof *size_of);
    cluster_line *lines = calloc(n, sizeof *lines);
    fmp_status status = FMP_OK;
    if (!cluster_of || !keep_of || !size_of || !lines) {
        status = fmp_fail(err, FMP_E_NOMEM, "out of memory for %zu records", t->n);
    }
    if (status == FMP_OK) {
        status = s->near ? minhash_cluster(t->sigs, t->n, s->n_perm, s->threshold, cluster_of, err)
                         : cluster_equal(t, cluster_of, err);
    }
    if (status == FMP_OK) {
        for (size_t i = 0; i < t->n; i++) {
            t->items[i].cluster = cluster_of[i];
            size_of[cluster_of[i]]++;
        }
        for (size_t i = 0; i < t->n; i++) {
            n_clusters += size_of[i] > 1;
            n_dropped += size_of[i] > 1 ? size_of[i] - 1 : 0;
        }
        choose_kept(s, t, keep_of);
        status = emit_kept(s, task, t, keep_of, size_of, lines, err);
    }
    if (status == FMP_OK) { status = write_clusters(task, lines, t->n, err); }
    if (status == FMP_OK) { report(s, t->n, n_clusters, n_dropped); }
    for (size_t i = 0; lines && i < t->n; i++) {
        cJSON_Delete(lines[i].node);
    }
    free(cluster_of);
    free(keep_of);
    free(size_of);
    free(lines);
    return status;
}

static fmp_status dedup_run(void *self, const fmp_task *task, fmp_err *err)
{
    data_dedup *s = self;
    table t = {0};
    s->records = s->host->get_extension(s->host, FMP_EXT_RECORDS);
    s->parallel = s->host->get_extension(s->host, FMP_EXT_PARALLEL);
    if (!s->records || !s->parallel) {
        return fmp_fail(err, FMP_E_UNSUPPORTED, "this host offers no records or no threads");
    }
    fmp_status status = describe_all(s, task, &t, err);
    if (status == FMP_OK) { status = cluster_and_emit(s, task, &t, err); }
    free(t.items);
    free(t.sigs);
    return status;
}

static fmp_status dedup_create(const fmp_host *host, void **self, fmp_err *err)
{
    data_dedup *s = calloc(1, sizeof *s);
    if (!s) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
    s->host = host;
    *self = s;
    return FMP_OK;
}

static fmp_status dedup_configure(void *self, const cJSON *values, fmp_err *err)
{
    (void)err;
    data_dedup *s = self;
    s->near = strcmp(fmp_value_str(values, "method"), "minhash") == 0;
    s->threshold = fmp_value_num(values, "threshold");
    s->n_perm = (uint32_t)fmp_value_int(values, "permutations");
    s->n_gram = (uint32_t)fmp_value_int(values, "shingle");
    s->user_only = strcmp(fmp_value_str(values, "compare"), "user") == 0;
    s->with_tools = strcmp(fmp_value_str(values, "compare"), "all") == 0;
    s->keep_longest = strcmp(fmp_value_str(values, "keep"), "longest") == 0;
    return FMP_OK;
}

static const fmp_stage stage = {FMP_STAGE_HEADER,
                                .name = "data.dedup",
                                .version = 1,
                                .kind = FMP_GATHER,
                                .summary =
                                    "Drop exact or near-duplicate conversations and list the clusters.",
                                .inputs = inputs,
                                .outputs = outputs,
                                .options = options,
                                .create = dedup_create,
                                .configure = dedup_configure,
                                .run = dedup_run,
                                .destroy = free};

static const fmp_stage *const stages[] = {&stage, NULL};
static const fmp_plugin plugin = {FMP_PLUGIN_HEADER(0), .name = "data-dedup", .version = "0.1.0",
                                  .license = "Apache-2.0", .stages = stages};
FMP_PLUGIN_ENTRY(&plugin)
