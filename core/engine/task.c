/*
 * task.c: one gather or task stage, with fmp.records/1 and fmp.run/1 behind its host.
 *
 * The task struct that the stage gets is the first member of the run's own state, so the tables find their
 * way back without a search. Records are written in the order of the stage's calls, from one thread, so their
 * order and the file tables are the stage's doing alone.
 */
#include "engine.h"

#include <stdlib.h>

/* One output port's records. */
typedef struct output_records {
    fmp_file_writer writer; /* fd -1: not opened yet */
    fmp_file_table files;
    fmp_buf line;
    uint64_t n;
} output_records;

typedef struct task_run {
    fmp_task task; /* first */
    fmp_live *live;
    output_records *outputs;
    fmp_reader *readers[64]; /* open ones, to find the item behind a record */
    uint64_t n_after_limit;  /* records refused once the policy was broken */
    fmp_arena *arena;        /* of one refusal */
} task_run;

#define N_READERS (sizeof((task_run *)0)->readers / sizeof(fmp_reader *))

static task_run *run_of(const fmp_task *task)
{
    return (task_run *)(uintptr_t)task;
}

/* ------------------------------------------------------------------------------------------ fmp.records/1 */

static fmp_status records_open(const fmp_task *task, const fmp_input *input, fmp_reader **out, fmp_err *err)
{
    task_run *run = run_of(task);
    *out = NULL;
    if (!input || strcmp(input->type, FMP_PORT_RECORDS) != 0) {
        return fmp_fail(err, FMP_E_PLUGIN, "expected an input of type records, found '%s'",
                        input ? input->type : "none");
    }
    for (size_t i = 0; i < N_READERS; i++) {
        if (run->readers[i]) { continue; }
        FMP_TRY(fmp_reader_open(input->path, run->live->e->pool, out, err));
        fmp_reader_track(*out, &run->readers[i]);
        return FMP_OK;
    }
    return fmp_fail(err, FMP_E_PLUGIN, "expected at most %zu readers open at once", N_READERS);
}

static fmp_status open_output(task_run *run, size_t index, fmp_err *err)
{
    output_records *out = &run->outputs[index];
    if (out->writer.fd >= 0) { return FMP_OK; }
    char *path = fmp_path_join(run->task.outputs[index].path, "records.jsonl");
    fmp_status st = path ? fmp_file_writer_open(path, &out->writer, err)
                         : fmp_fail(err, FMP_E_NOMEM, "out of memory for a records output");
    free(path);
    return st;
}

/* The item as read, if `record` is one of an open reader's batch; else one made from it. */
static fmp_item find_item(const task_run *run, const fmp_record *record, const char **digest)
{
    *digest = NULL;
    for (size_t i = 0; i < N_READERS; i++) {
        const fmp_item *item = run->readers[i] ? fmp_reader_item(run->readers[i], record) : NULL;
        if (!item) { continue; }
        if (item->file != FMP_RECORDS_NO_FILE) {
            *digest = fmp_reader_files(run->readers[i])->digests[item->file];
        }
        return *item;
    }
    return (fmp_item){.record = *record, .file = FMP_RECORDS_NO_FILE};
}

static fmp_status records_emit(const fmp_task *task, const fmp_output *output, const fmp_record *record,
                               const cJSON *doc, fmp_err *err)
{
    task_run *run = run_of(task);
    size_t index = (size_t)(output - task->outputs);
    if (!output || index >= task->n_outputs || strcmp(output->type, FMP_PORT_RECORDS) != 0) {
        return fmp_fail(err, FMP_E_PLUGIN, "expected one of the task's own records outputs");
    }
    if (strlen(record->id) != 16) {
        return fmp_fail(err, FMP_E_PLUGIN, "expected a record id of 16 characters");
    }
    FMP_TRY(open_output(run, index, err));
    output_records *out = &run->outputs[index];
    const char *digest;
    fmp_item item = find_item(run, record, &digest);
    if (doc) {
        item.record.doc = doc;
        item.raw = NULL;
        item.raw_len = 0;
    }
    if (!item.record.doc) { return fmp_fail(err, FMP_E_PLUGIN, "record %s has no document", record->id); }
    uint32_t file = FMP_RECORDS_NO_FILE;
    if (item.record.origin.file && item.record.origin.file[0]) {
        file = fmp_file_table_add(&out->files, item.record.origin.file, digest, err);
        if (file == FMP_RECORDS_NO_FILE) { return FMP_E_NOMEM; }
    }
    out->line.len = 0;
    fmp_records_print(&item, file, &out->line);
    FMP_TRY(fmp_buf_ok(&out->line, err));
    out->n++;
    return fmp_file_writer_add(&out->writer, out->line.data, out->line.len, err);
}

static fmp_status records_reject(const fmp_task *task, const fmp_record *record, const fmp_reject *why,
                                 fmp_err *err)
{
    task_run *run = run_of(task);
    fmp_live *live = run->live;
    const char *digest;
    fmp_item item = find_item(run, record, &digest);
    fmp_refusal r = {.origin = item.record.origin,
                     .reason = why->reason ? why->reason : "unspecified",
                     .message = why->message ? why->message : "the stage gave no message",
                     .path = why->path,
                     .row = item.raw,
                     .row_len = item.raw_len};
    memcpy(r.id, item.record.id, sizeof r.id);
    fmp_arena_reset(run->arena, 0);
    FMP_TRY(fmp_reject_more(why, run->arena, &r.more, &r.n_more, err));
    fmp_buf line = {0};
    fmp_refusal_print(&r, &line);
    fmp_status st = fmp_buf_ok(&line, err);
    if (st == FMP_OK) { st = fmp_live_spool(live, line.data, line.len, err); }
    fmp_buf_free(&line);
    live->n_rejected++;
    fmp_tally_add(&live->reasons, NULL, r.reason, 1);
    fmp_live_show(live, &r);
    FMP_TRY(st);
    /* Beyond the policy, a person gets some more problems in one go; then the stage need not go on. */
    run->n_after_limit += fmp_live_over_limit(live);
    return run->n_after_limit < FMP_PROBLEMS_WANTED ? FMP_OK : fmp_live_policy(live, err);
}

static const fmp_ext_records records_table = {
    .struct_size = (uint32_t)sizeof(fmp_ext_records),
    .open = records_open,
    .next = fmp_reader_next,
    .close = fmp_reader_close,
    .emit = records_emit,
    .reject = records_reject,
};

/* ---------------------------------------------------------------------------------------------- fmp.run/1 */

static const cJSON *run_manifest(const fmp_task *task)
{
    return run_of(task)->live->e->manifest;
}

static const char *run_run_dir(const fmp_task *task)
{
    return run_of(task)->live->e->run_dir;
}

static const fmp_ext_run run_table = {
    .struct_size = (uint32_t)sizeof(fmp_ext_run),
    .manifest = run_manifest,
    .run_dir = run_run_dir,
};

void fmp_task_tables(const fmp_ext_records **records, const fmp_ext_run **run)
{
    *records = &records_table;
    *run = &run_table;
}

/* ------------------------------------------------------------------------------------------------ the run */

static fmp_status count_inputs(fmp_live *live, const fmp_input *inputs, size_t n, fmp_err *err)
{
    for (size_t i = 0; i < n; i++) {
        fmp_records in;
        if (strcmp(inputs[i].type, FMP_PORT_RECORDS) != 0) { continue; }
        FMP_TRY(fmp_records_open(inputs[i].path, &in, err));
        live->n_in += in.n;
        fmp_records_close(&in);
    }
    return FMP_OK;
}

static fmp_status close_outputs(task_run *run, fmp_store_file *known, fmp_err *err)
{
    fmp_live *live = run->live;
    for (size_t i = 0; i < run->task.n_outputs; i++) {
        const fmp_output *port = &run->task.outputs[i];
        output_records *out = &run->outputs[i];
        if (strcmp(port->type, FMP_PORT_RECORDS) != 0) { continue; }
        FMP_TRY(open_output(run, i, err)); /* no record at all is an empty artifact */
        known[i].path = "records.jsonl";
        known[i].size_bytes = out->writer.size_bytes + out->writer.pending.len;
        FMP_TRY(fmp_file_writer_end(&out->writer, known[i].digest, err));
        FMP_TRY(fmp_records_manifest(port->path, &out->files, out->n, err));
        live->n_out += out->n;
        if (!live->out_by) { live->out_by = cJSON_CreateObject(); }
        cJSON_AddNumberToObject(live->out_by, port->port, (double)out->n);
    }
    return FMP_OK;
}

static fmp_status run_stage(task_run *run, fmp_store_file *known, fmp_err *err)
{
    fmp_live *live = run->live;
    FMP_TRY(count_inputs(live, run->task.inputs, run->task.n_inputs, err));
    FMP_TRY(fmp_live_open(live, &records_table, &run_table, err));
    if (!live->stage->run) {
        return fmp_fail(err, FMP_E_PLUGIN, "stage %s has no run function", live->node->info->name);
    }
    run->task.host = live->host;
    fmp_status st = live->stage->run(live->self, &run->task, err);
    if (run->n_after_limit >= FMP_PROBLEMS_WANTED) {
        st = FMP_OK;
    } /* stopped for it: the policy says so below */
    if (st != FMP_OK) { return fmp_live_blame(live, st, err); }
    FMP_TRY(fmp_live_spool_end(live, err));
    FMP_TRY(fmp_live_policy(live, err));
    return close_outputs(run, known, err);
}

fmp_status fmp_task_run(fmp_live *live, const fmp_input *inputs, size_t n_inputs, fmp_output *outputs,
                        size_t n_outputs, const char *work_dir, fmp_store_file *known, fmp_err *err)
{
    double begin = fmp_now();
    task_run run = {.task = {.struct_size = (uint32_t)sizeof(fmp_task),
                             .seed = live->node->seed,
                             .n_inputs = n_inputs,
                             .n_outputs = n_outputs,
                             .inputs = inputs,
                             .outputs = outputs,
                             .work_dir = work_dir,
                             .pipeline_dir = live->e->p->dir},
                    .live = live};
    run.outputs = calloc(n_outputs ? n_outputs : 1, sizeof *run.outputs);
    run.arena = run.outputs ? fmp_arena_new(0) : NULL;
    if (!run.arena) { free(run.outputs); }
    if (!run.arena) { return fmp_fail(err, FMP_E_NOMEM, "out of memory for stage '%s'", live->node->id); }
    for (size_t i = 0; i < n_outputs; i++) {
        run.outputs[i].writer.fd = -1;
    }
    fmp_status st = run_stage(&run, known, err);
    fmp_live_close(live);
    fmp_status spooled = fmp_live_spool_end(live, st == FMP_OK ? err : NULL);
    if (st == FMP_OK) { st = spooled; }
    for (size_t i = 0; i < N_READERS; i++) {
        fmp_reader_close(run.readers[i]);
    } /* what the stage left open */
    for (size_t i = 0; i < n_outputs; i++) {
        fmp_file_writer_free(&run.outputs[i].writer);
        fmp_file_table_free(&run.outputs[i].files);
        fmp_buf_free(&run.outputs[i].line);
    }
    free(run.outputs);
    fmp_arena_free(run.arena);
    live->seconds = fmp_now() - begin;
    return st;
}
