/*
 * data.mix: several record streams as one, in stated proportions.
 *
 * Each source gets a quota from its weight; a source larger than its quota gives the records with the
 * lowest random numbers of (seed, source, index), in their own order; a smaller one is an error unless
 * repetition is asked for. The quotas are then interleaved evenly: record k of a quota of n stands at (k +
 * 1/2) / n, ties in the order of the inputs. One pass to count, one to emit. Memory: one bit a record, and
 * 16 bytes for each of the largest source while choosing.
 */
#include <fmpipe/fs.h>
#include <fmpipe/plugin.h>

#include <math.h>
#include <stdlib.h>

enum { MAX_SOURCES = 64 };

typedef struct data_mix {
    const fmp_host *host;
    const cJSON *weights;
    double temperature;
    int64_t total;
    bool repeat;
} data_mix;

typedef struct source {
    const fmp_input *input;
    uint64_t n;     /* records it has  */
    uint64_t quota; /* records to give */
    double share;
    uint8_t *taken; /* (n) bits: part of the quota; NULL: all, perhaps several times */
    fmp_reader *reader;
    const fmp_record *batch;
    size_t at, in_batch;
    uint64_t index, given;
} source;

static const fmp_option options[] = {
    {.name = "weights",
     .type = FMP_OPT_MAP,
     .help = "Share of each input, by the id of the stage it comes from; they need not add up to 1. Left "
             "out: by size."},
    {.name = "temperature",
     .type = FMP_OPT_FLOAT,
     .def = "1",
     .min = 0.1,
     .max = 100,
     .help = "Without weights, shares are size^(1/temperature): above 1 small inputs count for more."},
    {.name = "total",
     .type = FMP_OPT_INT,
     .unit = "records",
     .min = 1,
     .max = 1e12,
     .help = "Records in all. Left out: as many as the shares allow without repeating any."},
    {.name = "oversample",
     .type = FMP_OPT_ENUM,
     .def = "error",
     .choices = "error|repeat",
     .help = "When an input is smaller than its share of total: an error, or repeat its records."},
    {.name = NULL}};

static const fmp_port inputs[] = {
    {.name = "records", .type = FMP_PORT_RECORDS, .flags = FMP_PORT_MANY, .help = "The streams to mix."},
    {.name = NULL}};
static const fmp_port outputs[] = {{.name = "records", .type = FMP_PORT_RECORDS, .help = "The mixture."},
                                   {.name = NULL}};

static fmp_status refuse(fmp_err *err, const char *option, const char *text, const char *name)
{
    fmp_fail(err, FMP_E_CONFIG, "%s '%s'", text, name);
    if (err) { snprintf(err->option, sizeof err->option, "%s", option); }
    return FMP_E_CONFIG;
}

static fmp_status count_records(const fmp_task *task, const fmp_ext_records *records, source *s, fmp_err *err)
{
    fmp_reader *reader = NULL;
    FMP_TRY(records->open(task, s->input, &reader, err));
    const fmp_record *batch;
    size_t n = 0;
    fmp_status status;
    while ((status = records->next(reader, &batch, &n, err)) == FMP_OK && n > 0) {
        s->n += n;
    }
    records->close(reader);
    return status;
}

static fmp_status shares(const data_mix *m, source *s, size_t n, fmp_err *err)
{
    double sum = 0;
    const cJSON *w;
    cJSON_ArrayForEach(w, m->weights)
    {
        bool known = false;
        for (size_t i = 0; i < n; i++) {
            known = known || strcmp(s[i].input->stage, w->string) == 0;
        }
        if (!known) { return refuse(err, "weights", "no input comes from a stage", w->string); }
    }
    for (size_t i = 0; i < n; i++) {
        if (m->weights) {
            w = cJSON_GetObjectItemCaseSensitive(m->weights, s[i].input->stage);
            if (!cJSON_IsNumber(w) || !(w->valuedouble >= 0)) {
                return refuse(err, "weights", "expected a number of 0 or more for the input",
                              s[i].input->stage);
            }
            s[i].share = w->valuedouble;
        } else {
            s[i].share = s[i].n ? pow((double)s[i].n, 1.0 / m->temperature) : 0;
        }
        sum += s[i].share;
    }
    if (!(sum > 0)) {
        return fmp_fail(err, FMP_E_DATA, "nothing to mix: every input is empty or has the weight 0");
    }
    for (size_t i = 0; i < n; i++) {
        s[i].share /= sum;
    }
    return FMP_OK;
}

/* Quotas that add up to the total: floors first, then the largest remainders, ties in input order. */
static fmp_status quotas(const data_mix *m, source *s, size_t n, fmp_err *err)
{
    double total = (double)m->total;
    if (m->total == 0) {
        total = INFINITY;
        for (size_t i = 0; i < n; i++) {
            if (s[i].share > 0) { total = fmin(total, floor((double)s[i].n / s[i].share + 1e-9)); }
        }
    }
    for (size_t i = 0; i < n; i++) {
        if (s[i].share > 0 && s[i].n == 0) {
            fmp_fail(err, FMP_E_DATA, "input '%s' has no records but a share of the mixture",
                     s[i].input->stage);
            return fmp_err_hint(err, "set its weight to 0, or leave the input out");
        }
    }
    uint64_t given = 0, want = (uint64_t)total;
    for (size_t i = 0; i < n; i++) {
        s[i].quota = (uint64_t)floor(total * s[i].share + 1e-9);
        given += s[i].quota;
    }
    while (given < want) {
        size_t best = n;
        double most = -1;
        for (size_t i = 0; i < n; i++) {
            double left = total * s[i].share - (double)s[i].quota;
            if (s[i].share > 0 && left > most + 1e-12) {
                most = left;
                best = i;
            }
        }
        s[best].quota++;
        given++;
    }
    for (size_t i = 0; i < n; i++) {
        if (s[i].quota > s[i].n && (!m->repeat || s[i].n == 0)) {
            fmp_fail(err, FMP_E_DATA, "input '%s' has %llu records, its share of the total is %llu",
                     s[i].input->stage, (unsigned long long)s[i].n, (unsigned long long)s[i].quota);
            return fmp_err_hint(err, "lower total or its weight, or set oversample: repeat");
        }
    }
    return FMP_OK;
}

typedef struct draw {
    uint64_t key, index;
} draw;

static int by_key(const void *a, const void *b)
{
    const draw *x = a, *y = b;
    if (x->key != y->key) { return x->key < y->key ? -1 : 1; }
    return x->index < y->index ? -1 : x->index > y->index;
}

static fmp_status choose(source *s, uint64_t seed, uint64_t stream, fmp_err *err)
{
    if (s->quota >= s->n) { return FMP_OK; }
    draw *all = malloc(s->n * sizeof *all);
    s->taken = calloc(s->n / 8 + 1, 1);
    if (!all || !s->taken) {
        free(all);
        return fmp_fail(err, FMP_E_NOMEM, "out of memory for %llu records", (unsigned long long)s->n);
    }
    for (uint64_t i = 0; i < s->n; i++) {
        all[i] = (draw){fmp_rng_u64(seed, stream, i), i};
    }
    qsort(all, s->n, sizeof *all, by_key);
    for (uint64_t i = 0; i < s->quota; i++) {
        s->taken[all[i].index / 8] |= (uint8_t)(1u << (all[i].index % 8));
    }
    free(all);
    return FMP_OK;
}

/* The next record of the quota; starts over at the end when records repeat. */
static fmp_status advance(const fmp_task *task, const fmp_ext_records *records, source *s,
                          const fmp_record **out, fmp_err *err)
{
    for (;;) {
        if (!s->reader) {
            FMP_TRY(records->open(task, s->input, &s->reader, err));
            s->at = s->in_batch = 0;
            s->index = 0;
        }
        if (s->at == s->in_batch) {
            FMP_TRY(records->next(s->reader, &s->batch, &s->in_batch, err));
            s->at = 0;
            if (s->in_batch == 0) {
                records->close(s->reader);
                s->reader = NULL;
                continue;
            }
        }
        const fmp_record *record = &s->batch[s->at++];
        uint64_t i = s->index++;
        if (!s->taken || (s->taken[i / 8] >> (i % 8) & 1)) {
            *out = record;
            return FMP_OK;
        }
    }
}

static fmp_status interleave(const fmp_task *task, const fmp_ext_records *records, source *s, size_t n,
                             fmp_err *err)
{
    for (;;) {
        size_t first = n;
        double position = INFINITY;
        for (size_t i = 0; i < n; i++) {
            double p = s[i].given < s[i].quota ? ((double)s[i].given + 0.5) / (double)s[i].quota : INFINITY;
            if (p < position) {
                position = p;
                first = i;
            }
        }
        if (first == n) { return FMP_OK; }
        const fmp_record *record;
        FMP_TRY(advance(task, records, &s[first], &record, err));
        FMP_TRY(records->emit(task, &task->outputs[0], record, NULL, err));
        s[first].given++;
    }
}

static void report(const data_mix *m, const source *s, size_t n)
{
    const fmp_ext_metrics *metrics = m->host->get_extension(m->host, FMP_EXT_METRICS);
    if (!metrics) { return; }
    uint64_t total = 0;
    cJSON *fact = cJSON_CreateArray(); /* not by stage id: one stage may give several inputs */
    for (size_t i = 0; i < n; i++) {
        cJSON *row = cJSON_CreateObject();
        cJSON_AddItemToArray(fact, row);
        cJSON_AddStringToObject(row, "stage", s[i].input->stage);
        cJSON_AddNumberToObject(row, "has", (double)s[i].n);
        cJSON_AddNumberToObject(row, "gives", (double)s[i].quota);
        total += s[i].quota;
    }
    metrics->fact(m->host, "sources", fact);
    metrics->summary(m->host, "%llu from %zu inputs", (unsigned long long)total, n);
}

static fmp_status mix_run(void *self, const fmp_task *task, fmp_err *err)
{
    data_mix *m = self;
    source s[MAX_SOURCES] = {{0}};
    size_t n = task->n_inputs;
    const fmp_ext_records *records = m->host->get_extension(m->host, FMP_EXT_RECORDS);
    if (!records) { return fmp_fail(err, FMP_E_UNSUPPORTED, "this host offers no %s", FMP_EXT_RECORDS); }
    if (n > MAX_SOURCES) {
        return fmp_fail(err, FMP_E_RANGE, "expected at most %d inputs, found %zu", MAX_SOURCES, n);
    }
    fmp_status status = FMP_OK;
    for (size_t i = 0; i < n && status == FMP_OK; i++) {
        s[i].input = &task->inputs[i];
        status = count_records(task, records, &s[i], err);
    }
    if (status == FMP_OK) { status = shares(m, s, n, err); }
    if (status == FMP_OK) { status = quotas(m, s, n, err); }
    for (size_t i = 0; i < n && status == FMP_OK; i++) {
        status = choose(&s[i], task->seed, i, err);
    }
    if (status == FMP_OK) { status = interleave(task, records, s, n, err); }
    if (status == FMP_OK) { report(m, s, n); }
    for (size_t i = 0; i < n; i++) {
        if (s[i].reader) { records->close(s[i].reader); }
        free(s[i].taken);
    }
    return status;
}

static fmp_status mix_create(const fmp_host *host, void **self, fmp_err *err)
{
    data_mix *m = calloc(1, sizeof *m);
    if (!m) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
    m->host = host;
    *self = m;
    return FMP_OK;
}

static fmp_status mix_configure(void *self, const cJSON *values, fmp_err *err)
{
    (void)err;
    data_mix *m = self;
    m->weights = fmp_value(values, "weights");
    m->temperature = fmp_value_num(values, "temperature");
    m->total = fmp_value_int(values, "total");
    m->repeat = strcmp(fmp_value_str(values, "oversample"), "repeat") == 0;
    return FMP_OK;
}

static const fmp_stage stage = {FMP_STAGE_HEADER,
                                .name = "data.mix",
                                .version = 1,
                                .kind = FMP_GATHER,
                                .summary = "Mix several record streams in stated proportions.",
                                .inputs = inputs,
                                .outputs = outputs,
                                .options = options,
                                .create = mix_create,
                                .configure = mix_configure,
                                .run = mix_run,
                                .destroy = free};

static const fmp_stage *const stages[] = {&stage, NULL};
static const fmp_plugin plugin = {FMP_PLUGIN_HEADER(0), .name = "data-mix", .version = "0.1.0",
                                  .license = "Apache-2.0", .stages = stages};
FMP_PLUGIN_ENTRY(&plugin)
