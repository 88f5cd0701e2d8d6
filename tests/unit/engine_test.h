/*
 * engine_test.h: small stages and hand-made pipelines for the tests of the engine. No plugin files: the run
 * options' `load` finds the descriptors below by name.
 */
#ifndef ENGINE_TEST_H
#define ENGINE_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <fmpipe/fs.h>
#include <run.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- a source of numbered documents: {"i":0} … ; options n, block (rows a block) ---- */
typedef struct count_source {
    uint64_t n, per_block, at;
} count_source;

/* Blocks between fetch and the end of decode right now, and the most there ever were. */
static atomic_int blocks_fetched, blocks_done, blocks_most;
/* Die (SIGKILL) once so many blocks are decoded; 0: never. */
static int kill_after_blocks;

static fmp_status count_create(const fmp_host *host, void **self, fmp_err *err)
{
    (void)host;
    *self = calloc(1, sizeof(count_source));
    return *self ? FMP_OK : fmp_fail(err, FMP_E_NOMEM, "out of memory");
}

static fmp_status count_configure(void *self, const cJSON *values, fmp_err *err)
{
    count_source *s = self;
    s->n = (uint64_t)fmp_value_int(values, "n");
    s->per_block = fmp_value_int(values, "block") ? (uint64_t)fmp_value_int(values, "block") : 100;
    if (fmp_value_bool(values, "refuse")) {
        (void)fmp_fail(err, FMP_E_CONFIG, "expected n below 10");
        (void)snprintf(err->option, sizeof err->option, "n");
        return FMP_E_CONFIG;
    }
    return FMP_OK;
}

static fmp_status count_fetch(void *self, fmp_block *block, bool *more, fmp_err *err)
{
    (void)err;
    count_source *s = self;
    uint64_t left = s->n - s->at;
    block->first_row = s->at;
    block->n_rows = left < s->per_block ? left : s->per_block;
    s->at += block->n_rows;
    *more = s->at < s->n;
    int open = atomic_fetch_add(&blocks_fetched, 1) + 1 - atomic_load(&blocks_done);
    if (open > atomic_load(&blocks_most)) { atomic_store(&blocks_most, open); }
    return FMP_OK;
}

static fmp_status count_decode(void *self, const fmp_block *block, const fmp_call *call, fmp_err *err)
{
    (void)self;
    for (uint64_t i = 0; i < block->n_rows; i++) {
        cJSON *doc = cJSON_CreateObject();
        cJSON_AddNumberToObject(doc, "i", (double)(block->first_row + i));
        call->count(call, "made", 1);
        FMP_TRY(call->emit(call, doc, err));
    }
    if (atomic_fetch_add(&blocks_done, 1) + 1 == kill_after_blocks) { (void)raise(SIGKILL); }
    return FMP_OK;
}

static void free_self(void *self)
{
    free(self);
}

static const fmp_port no_ports[] = {{0}};
static const fmp_port records_in[] = {{.name = "records", .type = FMP_PORT_RECORDS}, {0}};
static const fmp_port records_out[] = {{.name = "records", .type = FMP_PORT_RECORDS}, {0}};
static const fmp_port split_out[] = {
    {.name = "even", .type = FMP_PORT_RECORDS}, {.name = "odd", .type = FMP_PORT_RECORDS}, {0}};
static const fmp_port package_out[] = {{.name = "file", .type = FMP_PORT_PACKAGE}, {0}};
static const fmp_option no_options[] = {{0}};

static const fmp_stage count_stage = {
    FMP_STAGE_HEADER,      .name = "test.count",   .version = 1,
    .kind = FMP_SOURCE,    .inputs = no_ports,     .outputs = records_out,
    .options = no_options, .create = count_create, .configure = count_configure,
    .fetch = count_fetch,  .decode = count_decode, .destroy = free_self,
};

/* ---- a source of text lines; option path. "bad" in a row refuses it at that byte ---- */
typedef struct lines_source {
    FILE *in;
    char path[512];
    uint64_t line, offset;
} lines_source;

static fmp_status lines_create(const fmp_host *host, void **self, fmp_err *err)
{
    (void)host;
    *self = calloc(1, sizeof(lines_source));
    return *self ? FMP_OK : fmp_fail(err, FMP_E_NOMEM, "out of memory");
}

static fmp_status lines_configure(void *self, const cJSON *values, fmp_err *err)
{
    lines_source *s = self;
    (void)snprintf(s->path, sizeof s->path, "%s", fmp_value_str(values, "path"));
    s->in = fopen(s->path, "r");
    s->line = 1;
    return s->in ? FMP_OK : fmp_fail(err, FMP_E_IO, "cannot open %s", s->path);
}

static fmp_status lines_fetch(void *self, fmp_block *block, bool *more, fmp_err *err)
{
    lines_source *s = self;
    char line[4096];
    block->file = s->path;
    block->first_line = s->line;
    block->offset = s->offset;
    *more = false;
    for (int i = 0; i < 7 && fgets(line, sizeof line, s->in); i++) {
        size_t n = strlen(line);
        if (block->len + n > block->cap && !block->grow(block, 2 * (block->len + n))) {
            return fmp_fail(err, FMP_E_NOMEM, "out of memory");
        }
        memcpy(block->data + block->len, line, n);
        block->len += n;
        s->line++;
        *more = i == 6;
    }
    s->offset += block->len;
    return FMP_OK;
}

static fmp_status lines_decode(void *self, const fmp_block *block, const fmp_call *call, fmp_err *err)
{
    (void)self;
    fmp_origin at = {.file = block->file, .line = block->first_line, .offset = block->offset};
    for (const char *p = block->data, *end = p + block->len; p < end; at.line++) {
        const char *stop = memchr(p, '\n', (size_t)(end - p));
        size_t n = stop ? (size_t)(stop - p) : (size_t)(end - p);
        const char *bad = memmem(p, n, "bad", 3);
        at.offset = block->offset + (uint64_t)(p - block->data);
        if (bad) {
            fmp_reject why = {.struct_size = sizeof why,
                              .reason = "bad_word",
                              .message = "expected no bad word",
                              .origin = at,
                              .column = (uint32_t)(bad - p) + 1,
                              .text = p,
                              .text_len = n};
            FMP_TRY(call->reject(call, &why, err));
        } else {
            cJSON *doc = NULL;
            FMP_TRY(fmp_json_parse(p, n, NULL, &doc, err));
            FMP_TRY(call->emit_row(call, doc, &at, err));
        }
        p += n + 1;
    }
    return FMP_OK;
}

static void lines_destroy(void *self)
{
    lines_source *s = self;
    if (s->in) { (void)fclose(s->in); }
    free(s);
}

static const fmp_stage lines_stage = {
    FMP_STAGE_HEADER,      .name = "test.lines",   .version = 1,
    .kind = FMP_SOURCE,    .inputs = no_ports,     .outputs = records_out,
    .options = no_options, .create = lines_create, .configure = lines_configure,
    .fetch = lines_fetch,  .decode = lines_decode, .destroy = lines_destroy,
};

/* ---- maps. Option `at`: the number they act on ---- */
typedef struct map_self {
    int64_t at, every;
    char tag[32];
} map_self;

static fmp_status map_create(const fmp_host *host, void **self, fmp_err *err)
{
    (void)host;
    *self = calloc(1, sizeof(map_self));
    return *self ? FMP_OK : fmp_fail(err, FMP_E_NOMEM, "out of memory");
}

static fmp_status map_configure(void *self, const cJSON *values, fmp_err *err)
{
    (void)err;
    map_self *m = self;
    const char *tag = fmp_value_str(values, "tag");
    m->at = fmp_value_int(values, "at");
    m->every = fmp_value_int(values, "every");
    (void)snprintf(m->tag, sizeof m->tag, "%s", tag ? tag : "");
    return FMP_OK;
}

static int64_t number_of(const fmp_record *record)
{
    return (int64_t)fmp_json_num(record->doc, "i", -1.0);
}

/* Every record twice: as it is, and with a tag. */
static fmp_status twice_process(void *self, const fmp_record *record, const fmp_call *call, fmp_err *err)
{
    const map_self *m = self;
    FMP_TRY(call->pass(call, err));
    cJSON *copy = cJSON_Duplicate(record->doc, true);
    cJSON_AddStringToObject(copy, "tag", m->tag);
    return call->emit(call, copy, err);
}

static fmp_status drop_odd_process(void *self, const fmp_record *record, const fmp_call *call, fmp_err *err)
{
    (void)self;
    if (number_of(record) % 2) {
        call->count(call, "odd", 1);
        return FMP_OK;
    }
    return call->pass(call, err);
}

static fmp_status refuse_process(void *self, const fmp_record *record, const fmp_call *call, fmp_err *err)
{
    const map_self *m = self;
    int64_t i = number_of(record);
    if (m->every ? i % m->every == m->at : i == m->at) {
        return fmp_reject_record(call, "unwanted", "i", "expected another number", err);
    }
    return call->pass(call, err);
}

static fmp_status broken_process(void *self, const fmp_record *record, const fmp_call *call, fmp_err *err)
{
    const map_self *m = self;
    if (number_of(record) >= m->at) {
        return fmp_fail(err, FMP_E_FAILED, "cannot do %d", (int)number_of(record));
    }
    return call->pass(call, err);
}

#define TEST_MAP(variable, stage_name, function)                                                             \
    static const fmp_stage variable = {                                                                      \
        FMP_STAGE_HEADER,           .name = stage_name,     .version = 1,          .kind = FMP_MAP,          \
        .inputs = records_in,       .outputs = records_out, .options = no_options, .create = map_create,     \
        .configure = map_configure, .process = function,    .destroy = free_self,                            \
    }
TEST_MAP(twice_stage, "test.twice", twice_process);
TEST_MAP(drop_odd_stage, "test.drop_odd", drop_odd_process);
TEST_MAP(refuse_stage, "test.refuse", refuse_process);
TEST_MAP(broken_stage, "test.broken", broken_process);

/* ---- a sink: one line a record ---- */
static fmp_status sink_encode(void *self, const fmp_record *record, const fmp_call *call, fmp_err *err)
{
    (void)self;
    char line[128];
    const char *tag = fmp_json_str(record->doc, "tag", "");
    int n = snprintf(line, sizeof line, "%s %d %s\n", record->id, (int)number_of(record), tag);
    return call->write(call, line, (size_t)n, err);
}

static const char *sink_file_name(void *self)
{
    (void)self;
    return "out.txt";
}

static const fmp_stage sink_stage = {
    FMP_STAGE_HEADER,      .name = "test.sink",         .version = 1,
    .kind = FMP_SINK,      .inputs = records_in,        .outputs = package_out,
    .options = no_options, .create = map_create,        .configure = map_configure,
    .encode = sink_encode, .file_name = sink_file_name, .destroy = free_self,
};

/* ---- gather and task, with the host's tables ---- */
typedef struct task_self {
    const fmp_host *host;
    int64_t steps;
} task_self;

/* The run's stop flag. */
static volatile int test_stop;

static fmp_status task_create(const fmp_host *host, void **self, fmp_err *err)
{
    task_self *t = calloc(1, sizeof *t);
    *self = t;
    if (!t) { return fmp_fail(err, FMP_E_NOMEM, "out of memory"); }
    t->host = host;
    return FMP_OK;
}

static fmp_status task_configure(void *self, const cJSON *values, fmp_err *err)
{
    (void)err;
    ((task_self *)self)->steps = fmp_value_int(values, "steps");
    return FMP_OK;
}

static const fmp_ext_records *records_of(const task_self *t)
{
    return t->host->get_extension(t->host, FMP_EXT_RECORDS);
}

/* Even numbers to one output, odd ones to the other. */
static fmp_status split_run(void *self, const fmp_task *task, fmp_err *err)
{
    const fmp_ext_records *ext = records_of(self);
    fmp_reader *reader;
    FMP_TRY(ext->open(task, &task->inputs[0], &reader, err));
    const fmp_record *records;
    size_t n;
    fmp_status st;
    while ((st = ext->next(reader, &records, &n, err)) == FMP_OK && n > 0) {
        for (size_t i = 0; st == FMP_OK && i < n; i++) {
            st = ext->emit(task, &task->outputs[number_of(&records[i]) % 2], &records[i], NULL, err);
        }
        if (st != FMP_OK) { break; }
    }
    ext->close(reader);
    return st;
}

/* Refuses every record; how many it was let. */
static int refuse_all_seen;

static fmp_status refuse_all_run(void *self, const fmp_task *task, fmp_err *err)
{
    const fmp_ext_records *ext = records_of(self);
    const fmp_problem more = {.reason = "long", .message = "expected a shorter record", .path = "i"};
    const fmp_reject why = {.struct_size = sizeof why,
                            .reason = "no",
                            .message = "expected another record",
                            .more = &more,
                            .n_more = 1};
    fmp_reader *reader;
    const fmp_record *records;
    size_t n;
    fmp_status st;
    FMP_TRY(ext->open(task, &task->inputs[0], &reader, err));
    while ((st = ext->next(reader, &records, &n, err)) == FMP_OK && n > 0) {
        for (size_t i = 0; st == FMP_OK && i < n; i++) {
            refuse_all_seen++;
            st = ext->reject(task, &records[i], &why, err);
        }
        if (st != FMP_OK) { break; }
    }
    ext->close(reader);
    return st;
}

static const fmp_stage refuse_all_stage = {
    FMP_STAGE_HEADER,      .name = "test.refuse_all", .version = 1,
    .kind = FMP_GATHER,    .inputs = records_in,      .outputs = split_out,
    .options = no_options, .create = task_create,     .configure = task_configure,
    .run = refuse_all_run, .destroy = free_self,
};

static const fmp_stage split_stage = {
    FMP_STAGE_HEADER,      .name = "test.split",  .version = 1,
    .kind = FMP_GATHER,    .inputs = records_in,  .outputs = split_out,
    .options = no_options, .create = task_create, .configure = task_configure,
    .run = split_run,      .destroy = free_self,
};

/* Dies (SIGKILL) or stops at this step; -1: never. */
static int64_t sum_kill_at = -1, sum_stop_at = -1;

/* Adds up all numbers in `steps` rounds; each finished round is kept in the work folder. */
static fmp_status sum_run(void *self, const fmp_task *task, fmp_err *err)
{
    task_self *t = self;
    const fmp_ext_records *ext = records_of(t);
    const fmp_ext_metrics *metrics = t->host->get_extension(t->host, FMP_EXT_METRICS);
    char path[1024];
    fmp_buf state = {0};
    long long sum = 0, step = 0;
    (void)snprintf(path, sizeof path, "%s/state", task->work_dir);
    if (fmp_path_exists(path)) {
        FMP_TRY(fmp_read_file(path, 100, &state, err));
        if (sscanf(state.data, "%lld %lld", &step, &sum) != 2) { step = sum = 0; }
        metrics->count(t->host, "resumed_at", step);
        fmp_buf_free(&state);
    }
    for (; step < t->steps; step++) {
        fmp_reader *reader;
        const fmp_record *records;
        size_t n;
        fmp_status st;
        FMP_TRY(ext->open(task, &task->inputs[0], &reader, err));
        while ((st = ext->next(reader, &records, &n, err)) == FMP_OK && n > 0) {
            for (size_t i = 0; i < n; i++) {
                sum += number_of(&records[i]);
            }
        }
        ext->close(reader);
        FMP_TRY(st);
        (void)snprintf(path, sizeof path, "%s/state", task->work_dir);
        char text[64];
        int len = snprintf(text, sizeof text, "%lld %lld", step + 1, sum);
        FMP_TRY(fmp_write_file(path, text, (size_t)len, err));
        metrics->point(t->host, "sum", (uint64_t)step, (double)sum);
        if (step == sum_kill_at) { (void)raise(SIGKILL); }
        if (step == sum_stop_at) { return fmp_fail(err, FMP_E_CANCELLED, "stopped after step %lld", step); }
    }
    (void)snprintf(path, sizeof path, "%s/sum.txt", task->outputs[0].path);
    char text[32];
    int len = snprintf(text, sizeof text, "%lld\n", sum);
    metrics->summary(t->host, "sum %lld", sum);
    metrics->fact(t->host, "sum", cJSON_CreateNumber((double)sum));
    return fmp_write_file(path, text, (size_t)len, err);
}

static const fmp_stage sum_stage = {
    FMP_STAGE_HEADER,      .name = "test.sum",    .version = 1,
    .kind = FMP_TASK,      .inputs = records_in,  .outputs = package_out,
    .options = no_options, .create = task_create, .configure = task_configure,
    .run = sum_run,        .destroy = free_self,
};

static const fmp_stage *const test_stages[] = {&count_stage,  &lines_stage,     &twice_stage, &drop_odd_stage,
                                               &refuse_stage, &broken_stage,    &sink_stage,  &split_stage,
                                               &sum_stage,    &refuse_all_stage};
#define N_TEST_STAGES (sizeof test_stages / sizeof *test_stages)

static fmp_status find_test_stage(void *arg, const fmp_stage_info *info, const fmp_stage **out, fmp_err *err)
{
    (void)arg;
    for (size_t i = 0; i < N_TEST_STAGES; i++) {
        if (strcmp(test_stages[i]->name, info->name) == 0) {
            *out = test_stages[i];
            return FMP_OK;
        }
    }
    return fmp_fail(err, FMP_E_PLUGIN, "no test stage %s", info->name);
}

/* ---------------------------------------------------------------------------------------------- pipelines */

#define MAX_NODES 10

typedef struct bench {
    char dir[256]; /* temporary folder of the test */
    char store[300], runs[300];
    fmp_plugin_info plugin;
    fmp_stage_info infos[MAX_NODES];
    fmp_stage_node nodes[MAX_NODES];
    fmp_link links[MAX_NODES];
    fmp_file_input files[MAX_NODES];
    fmp_pipeline p;
    fmp_run_options o;
    fmp_diags diags;
    fmp_run_result result;
    fmp_err err;
} bench;

static void bench_begin(bench *b)
{
    const char *tmp = getenv("TMPDIR");
    memset(b, 0, sizeof *b);
    (void)snprintf(b->dir, sizeof b->dir, "%s/fmpipe-test-XXXXXX", tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(b->dir));
    (void)snprintf(b->store, sizeof b->store, "%s/store", b->dir);
    (void)snprintf(b->runs, sizeof b->runs, "%s/runs", b->dir);
    char plugin_name[] = "test";
    b->plugin.name = strdup(plugin_name);
    memset(b->plugin.digest, 'a', 64);
    b->p = (fmp_pipeline){.file = "test.yaml", .dir = b->dir, .name = "test", .stages = b->nodes};
    b->o = (fmp_run_options){.store_dir = b->store,
                             .runs_dir = b->runs,
                             .n_threads = 2,
                             .load = find_test_stage,
                             .stop = &test_stop};
    test_stop = 0;
    sum_kill_at = sum_stop_at = -1;
    kill_after_blocks = 0;
    fmp_json_install_hooks();
}

/* A stage at the end of the pipeline. values: JSON; from: index of the producer (-1: none), out: its port. */
static fmp_stage_node *bench_add(bench *b, const char *id, const fmp_stage *stage, const char *values,
                                 int from, int out)
{
    size_t n = b->p.n_stages++;
    assert_true(n < MAX_NODES);
    b->infos[n] = (fmp_stage_info){.name = stage->name,
                                   .version = stage->version,
                                   .kind = stage->kind,
                                   .flags = stage->flags,
                                   .inputs = stage->inputs,
                                   .outputs = stage->outputs,
                                   .options = stage->options,
                                   .plugin = &b->plugin};
    b->nodes[n] = (fmp_stage_node){.id = id,
                                   .info = &b->infos[n],
                                   .values = cJSON_Parse(values),
                                   .key_values = cJSON_Parse(values),
                                   .mark = {.file = "test.yaml", .line = (uint32_t)n + 1}};
    assert_non_null(b->nodes[n].values);
    if (from >= 0) {
        b->links[n] = (fmp_link){.in = &stage->inputs[0], .stage = from, .out = out};
        b->nodes[n].links = &b->links[n];
        b->nodes[n].n_links = 1;
    }
    return &b->nodes[n];
}

static void bench_set(bench *b, size_t stage, const char *values)
{
    cJSON_Delete(b->nodes[stage].values);
    cJSON_Delete(b->nodes[stage].key_values);
    b->nodes[stage].values = cJSON_Parse(values);
    b->nodes[stage].key_values = cJSON_Parse(values);
}

/* The text file that a test.lines stage reads. */
static void bench_file(bench *b, size_t stage, const char *name, const char *text)
{
    char path[512], values[700];
    (void)snprintf(path, sizeof path, "%s/%s", b->dir, name);
    assert_int_equal(fmp_write_file(path, text, strlen(text), &b->err), FMP_OK);
    (void)snprintf(values, sizeof values, "{\"path\":\"%s\"}", path);
    cJSON_Delete(b->nodes[stage].values);
    b->nodes[stage].values = cJSON_Parse(values);
    fmp_file_input *f = &b->files[stage];
    free((char *)(uintptr_t)f->path);
    *f = (fmp_file_input){.option = "path", .path = strdup(path), .shown = name};
    assert_int_equal(fmp_sha256_file(path, f->digest, &b->err), FMP_OK);
    (void)snprintf(values, sizeof values, "{\"path\":\"%s\"}", f->digest);
    cJSON_Delete(b->nodes[stage].key_values);
    b->nodes[stage].key_values = cJSON_Parse(values);
    b->nodes[stage].files = f;
    b->nodes[stage].n_files = 1;
}

static fmp_status bench_run(bench *b)
{
    fmp_run_result_free(&b->result);
    fmp_diags_free(&b->diags);
    memset(&b->diags, 0, sizeof b->diags);
    fmp_err_clear(&b->err);
    return fmp_run(&b->p, &b->o, NULL, &b->diags, &b->result, &b->err);
}

#define RUN_OK(b)                                                                                            \
    do {                                                                                                     \
        fmp_status run_status_ = bench_run(b);                                                               \
        if (run_status_ != FMP_OK) { print_message("%s\n%s\n", (b)->err.message, (b)->err.notes); }          \
        assert_int_equal(run_status_, FMP_OK);                                                               \
    } while (0)

static const cJSON *stage_result(const bench *b, const char *id)
{
    const cJSON *stage;
    cJSON_ArrayForEach(stage, fmp_json_get(b->result.manifest, "stages"))
    {
        if (strcmp(fmp_json_str(stage, "id", ""), id) == 0) { return stage; }
    }
    fail_msg("no stage %s in the manifest", id);
    return NULL;
}

static void assert_action(const bench *b, const char *id, const char *action, const char *reason)
{
    assert_string_equal(fmp_json_str(stage_result(b, id), "action", ""), action);
    assert_string_equal(fmp_json_str(stage_result(b, id), "reason", ""), reason);
}

/* A file of the last run's folder. */
static fmp_buf read_result(const bench *b, const char *name)
{
    char path[1024];
    fmp_buf text = {0};
    fmp_err err = FMP_ERR_INIT;
    (void)snprintf(path, sizeof path, "%s/%s", b->result.run_dir, name);
    if (fmp_read_file(path, 0, &text, &err) != FMP_OK) { fail_msg("%s", err.message); }
    return text;
}

static void assert_result(const bench *b, const char *name, const char *expected)
{
    fmp_buf text = read_result(b, name);
    assert_string_equal(text.data ? text.data : "", expected);
    fmp_buf_free(&text);
}

static void bench_end(bench *b)
{
    for (size_t i = 0; i < b->p.n_stages; i++) {
        cJSON_Delete(b->nodes[i].values);
        cJSON_Delete(b->nodes[i].key_values);
        free((char *)(uintptr_t)b->files[i].path);
    }
    free(b->plugin.name);
    fmp_run_result_free(&b->result);
    fmp_diags_free(&b->diags);
    assert_int_equal(fmp_remove_tree(b->dir, &b->err), FMP_OK);
}

#endif
