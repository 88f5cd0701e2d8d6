/*
 * data.split: train, eval and test parts that stay put.
 *
 * A record's place is a number in [0, 1) made from what `by` names and the seed, compared with the
 * fractions: adding or removing other records never moves it, and with the default (content) exact
 * duplicates always share a side. A second look lifts strata (locales) that would have too few evaluation
 * records, lowest numbers first. Two passes over the records: the first keeps 16 bytes for each.
 */
#include <fmpipe/fs.h>
#include <fmpipe/json.h>
#include <fmpipe/plugin.h>

#include <stdlib.h>

enum { TRAIN, EVAL, TEST, N_PARTS };
enum { MAX_STRATA = 4096 };

typedef struct data_split {
    const fmp_host *host;
    double eval, test;
    uint64_t min_per_stratum, max_eval;
    const char *by, *stratify;
    bool by_content, by_id;
} data_split;

typedef struct place {
    double u; /* [0, 1) */
    uint32_t stratum;
    uint8_t part;
} place;

typedef struct strata {
    char *name[MAX_STRATA];
    uint64_t n[MAX_STRATA][N_PARTS];
    uint32_t count;
} strata;

typedef struct places {
    place *item;
    size_t n, cap;
} places;

static const fmp_option options[] = {
    {.name = "eval",
     .type = FMP_OPT_FLOAT,
     .def = "0.05",
     .unit = "fraction",
     .min = 0,
     .max = 1,
     .help = "Share of the records for evaluation."},
    {.name = "test",
     .type = FMP_OPT_FLOAT,
     .def = "0",
     .unit = "fraction",
     .min = 0,
     .max = 1,
     .help = "Share of the records for a final test."},
    {.name = "by",
     .type = FMP_OPT_STRING,
     .def = "content",
     .min = 1,
     .max = 200,
     .help = "What decides the side: content (the messages), id, or a field such as meta.user: records with "
             "the same value stay "
             "together."},
    {.name = "stratify",
     .type = FMP_OPT_STRING,
     .def = "locale",
     .min = 0,
     .max = 200,
     .help = "Field whose values are the strata that min_per_stratum and the counts refer to; empty: one "
             "stratum."},
    {.name = "min_per_stratum",
     .type = FMP_OPT_INT,
     .def = "0",
     .unit = "records",
     .min = 0,
     .max = 1e9,
     .help = "Fewest evaluation records of each stratum that has more than twice as many."},
    {.name = "max_eval",
     .type = FMP_OPT_INT,
     .unit = "records",
     .min = 1,
     .max = 1e9,
     .help = "Most evaluation records in all; those beyond it, by their number, go to train."},
    {.name = NULL}};

static const fmp_port inputs[] = {{.name = "records", .type = FMP_PORT_RECORDS, .help = "All records."},
                                  {.name = NULL}};
static const fmp_port outputs[] = {
    {.name = "train", .type = FMP_PORT_RECORDS, .help = "For training."},
    {.name = "eval", .type = FMP_PORT_RECORDS, .help = "For evaluation while training."},
    {.name = "test", .type = FMP_PORT_RECORDS, .help = "For a final test."},
    {.name = NULL}};

static void *grown(void *items, size_t n, size_t *cap, size_t size)
{
    if (n < *cap) { return items; }
    size_t want = *cap ? *cap * 2 : 4096;
    void *out = realloc(items, want * size);
    if (out) { *cap = want; }
    return out;
}

/* The place of one record: SHA-256 of seed and key, as a fraction of 2^53. */
static fmp_status unit_of(const data_split *s, uint64_t seed, const fmp_record *record, fmp_buf *scratch,
                          double *u, fmp_err *err)
{
    unsigned char digest[32];
    scratch->len = 0;
    fmp_buf_printf(scratch, "%llu ", (unsigned long long)seed);
    if (s->by_id) {
        fmp_buf_puts(scratch, record->id);
    } else {
        const cJSON *node = fmp_value(record->doc, s->by_content ? "messages" : s->by);
        if (!node) {
            return fmp_fail(err, FMP_E_DATA, "record %s has no field '%s', which 'by' names", record->id,
                            s->by);
        }
        fmp_json_print(node, FMP_JSON_SORTED, scratch);
    }
    FMP_TRY(fmp_buf_ok(scratch, err));
    fmp_sha256_bytes(scratch->data, scratch->len, digest);
    uint64_t bits = 0;
    for (int i = 0; i < 8; i++) {
        bits = bits << 8 | digest[i];
    }
    *u = (double)(bits >> 11) * 0x1p-53;
    return FMP_OK;
}

static fmp_status stratum_of(const data_split *s, const fmp_record *record, strata *all, uint32_t *out,
                             fmp_err *err)
{
    const cJSON *node = *s->stratify ? fmp_value(record->doc, s->stratify) : NULL;
    const char *name = cJSON_IsString(node) ? node->valuestring : *s->stratify ? "(none)" : "all";
    for (uint32_t i = 0; i < all->count; i++) {
        if (strcmp(all->name[i], name) == 0) {
            *out = i;
            return FMP_OK;
        }
    }
    if (all->count == MAX_STRATA) {
        return fmp_fail(err, FMP_E_RANGE,
                        "more than %d different values of '%s'; expected a field with few values", MAX_STRATA,
                        s->stratify);
    }
    all->name[all->count] = strdup(name);
    if (!all->name[all->count]) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
    *out = all->count++;
    return FMP_OK;
}

static fmp_status place_all(const data_split *s, const fmp_task *task, const fmp_ext_records *records,
                            places *out, strata *all, fmp_err *err)
{
    fmp_reader *reader = NULL;
    fmp_buf scratch = {0};
    fmp_status status = records->open(task, &task->inputs[0], &reader, err);
    while (status == FMP_OK) {
        const fmp_record *batch;
        size_t n;
        status = records->next(reader, &batch, &n, err);
        if (status != FMP_OK || n == 0) { break; }
        for (size_t i = 0; i < n && status == FMP_OK; i++) {
            place *item = grown(out->item, out->n, &out->cap, sizeof *item);
            if (!item) {
                status = fmp_fail(err, FMP_E_NOMEM, "out of memory after %zu records", out->n);
                break;
            }
            out->item = item;
            place *p = &out->item[out->n++];
            status = unit_of(s, task->seed, &batch[i], &scratch, &p->u, err);
            if (status == FMP_OK) { status = stratum_of(s, &batch[i], all, &p->stratum, err); }
            p->part = p->u < s->eval ? EVAL : p->u < s->eval + s->test ? TEST : TRAIN;
        }
    }
    if (reader) { records->close(reader); }
    fmp_buf_free(&scratch);
    return status;
}

/* Indices of the places, by u and then by position: the order in which strata are lifted and the cap cuts. */
static int by_u(const void *a, const void *b)
{
    const place *x = *(place *const *)a, *y = *(place *const *)b;
    if (x->u != y->u) { return x->u < y->u ? -1 : 1; }
    return x < y ? -1 : x > y;
}

static void move_to(place *p, strata *groups, uint8_t part)
{
    groups->n[p->stratum][p->part]--;
    groups->n[p->stratum][part]++;
    p->part = part;
}

/* Records with the same number are one group: they move together or not at all. */
static size_t group_end(place *const *order, size_t begin, size_t n)
{
    size_t end = begin + 1;
    while (end < n && order[end]->u == order[begin]->u) {
        end++;
    }
    return end;
}

static bool wants_more(const data_split *s, const uint64_t n[N_PARTS])
{
    return n[EVAL] < s->min_per_stratum && n[TRAIN] + n[EVAL] + n[TEST] > 2 * s->min_per_stratum;
}

static void lift_strata(const data_split *s, place **order, size_t n, strata *groups)
{
    for (size_t i = 0, end; i < n; i = end) {
        bool lift = false;
        end = group_end(order, i, n);
        for (size_t k = i; k < end && order[i]->part == TRAIN; k++) {
            lift = lift || wants_more(s, groups->n[order[k]->stratum]);
        }
        for (size_t k = i; k < end && lift; k++) {
            move_to(order[k], groups, EVAL);
        }
    }
}

static void cap_eval(const data_split *s, place **order, size_t n, strata *groups)
{
    uint64_t n_eval = 0;
    for (size_t i = 0, end; i < n && s->max_eval > 0; i = end) {
        end = group_end(order, i, n);
        if (order[i]->part != EVAL) { continue; }
        n_eval += end - i;
        for (size_t k = i; n_eval > s->max_eval && k < end; k++) {
            move_to(order[k], groups, TRAIN);
        }
    }
}

static fmp_status adjust(const data_split *s, places *all, strata *groups, fmp_err *err)
{
    place **order = malloc((all->n ? all->n : 1) * sizeof(place *));
    if (!order) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
    for (size_t i = 0; i < all->n; i++) {
        order[i] = &all->item[i];
        groups->n[all->item[i].stratum][all->item[i].part]++;
    }
    qsort(order, all->n, sizeof *order, by_u);
    lift_strata(s, order, all->n, groups);
    cap_eval(s, order, all->n, groups);
    free(order);
    return FMP_OK;
}

static fmp_status emit_all(const fmp_task *task, const fmp_ext_records *records, const places *all,
                           fmp_err *err)
{
    fmp_reader *reader = NULL;
    size_t at = 0;
    fmp_status status = records->open(task, &task->inputs[0], &reader, err);
    while (status == FMP_OK) {
        const fmp_record *batch;
        size_t n;
        status = records->next(reader, &batch, &n, err);
        if (status != FMP_OK || n == 0) { break; }
        for (size_t i = 0; i < n && status == FMP_OK; i++) {
            status = records->emit(task, &task->outputs[all->item[at++].part], &batch[i], NULL, err);
        }
    }
    if (reader) { records->close(reader); }
    return status;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Facts: {"by_stratum": {"de-DE": {"train": 10, "eval": 2, "test": 0}, …}}, strata in byte order. */
static void report(const data_split *s, const strata *all)
{
    const fmp_ext_metrics *metrics = s->host->get_extension(s->host, FMP_EXT_METRICS);
    uint64_t total[N_PARTS] = {0};
    if (!metrics) { return; }
    char **names = malloc((all->count ? all->count : 1) * sizeof(char *));
    cJSON *fact = cJSON_CreateObject();
    for (uint32_t i = 0; names && i < all->count; i++) {
        names[i] = all->name[i];
    }
    if (names) { qsort(names, all->count, sizeof *names, by_name); }
    for (uint32_t k = 0; names && k < all->count; k++) {
        uint32_t i = 0;
        while (all->name[i] != names[k]) {
            i++;
        }
        cJSON *row = cJSON_AddObjectToObject(fact, names[k]);
        cJSON_AddNumberToObject(row, "train", (double)all->n[i][TRAIN]);
        cJSON_AddNumberToObject(row, "eval", (double)all->n[i][EVAL]);
        cJSON_AddNumberToObject(row, "test", (double)all->n[i][TEST]);
        for (int part = 0; part < N_PARTS; part++) {
            total[part] += all->n[i][part];
        }
    }
    free(names);
    metrics->fact(s->host, "by_stratum", fact);
    if (total[TEST] > 0) {
        metrics->summary(s->host, "%llu train · %llu eval · %llu test", (unsigned long long)total[TRAIN],
                         (unsigned long long)total[EVAL], (unsigned long long)total[TEST]);
    } else {
        metrics->summary(s->host, "%llu train · %llu eval", (unsigned long long)total[TRAIN],
                         (unsigned long long)total[EVAL]);
    }
}

static fmp_status split_run(void *self, const fmp_task *task, fmp_err *err)
{
    data_split *s = self;
    const fmp_ext_records *records = s->host->get_extension(s->host, FMP_EXT_RECORDS);
    if (!records) { return fmp_fail(err, FMP_E_UNSUPPORTED, "this host offers no %s", FMP_EXT_RECORDS); }
    places all = {0};
    strata *groups = calloc(1, sizeof *groups);
    if (!groups) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
    fmp_status status = place_all(s, task, records, &all, groups, err);
    if (status == FMP_OK) { status = adjust(s, &all, groups, err); }
    if (status == FMP_OK) { status = emit_all(task, records, &all, err); }
    if (status == FMP_OK) { report(s, groups); }
    for (uint32_t i = 0; i < groups->count; i++) {
        free(groups->name[i]);
    }
    free(groups);
    free(all.item);
    return status;
}

static fmp_status split_create(const fmp_host *host, void **self, fmp_err *err)
{
    data_split *s = calloc(1, sizeof *s);
    if (!s) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
    s->host = host;
    *self = s;
    return FMP_OK;
}

static fmp_status split_configure(void *self, const cJSON *values, fmp_err *err)
{
    data_split *s = self;
    s->eval = fmp_value_num(values, "eval");
    s->test = fmp_value_num(values, "test");
    s->by = fmp_value_str(values, "by");
    s->by_content = strcmp(s->by, "content") == 0;
    s->by_id = strcmp(s->by, "id") == 0;
    s->stratify = fmp_value_str(values, "stratify");
    s->min_per_stratum = (uint64_t)fmp_value_int(values, "min_per_stratum");
    s->max_eval = (uint64_t)fmp_value_int(values, "max_eval");
    if (s->eval + s->test > 1.0) {
        fmp_fail(err, FMP_E_CONFIG, "expected eval + test to be at most 1, found %g", s->eval + s->test);
        if (err) { snprintf(err->option, sizeof err->option, "test"); }
        return FMP_E_CONFIG;
    }
    return FMP_OK;
}

static const fmp_stage stage = {FMP_STAGE_HEADER,
                                .name = "data.split",
                                .version = 1,
                                .kind = FMP_GATHER,
                                .summary = "Split records into train, eval and test parts that stay put.",
                                .inputs = inputs,
                                .outputs = outputs,
                                .options = options,
                                .create = split_create,
                                .configure = split_configure,
                                .run = split_run,
                                .destroy = free};

static const fmp_stage *const stages[] = {&stage, NULL};
static const fmp_plugin plugin = {FMP_PLUGIN_HEADER(0), .name = "data-split", .version = "0.1.0",
                                  .license = "Apache-2.0", .stages = stages};
FMP_PLUGIN_ENTRY(&plugin)
