/*
 * engine.h: what the files of a run share: the run's context, one stage while it works, and how refused
 * records are kept.
 */
#ifndef FMP_ENGINE_ENGINE_H
#define FMP_ENGINE_ENGINE_H

#include "event.h"
#include "graph.h"
#include "records.h"

#include <pthread.h>

/* One run. Everything borrowed by the parts that get it. */
typedef struct fmp_engine {
    const fmp_pipeline *p;
    const fmp_run_options *o;
    fmp_store *store;
    fmp_pool *pool;
    fmp_emitter *emit;
    fmp_diags *diags; /* may be NULL */
    const char *run_dir;
    cJSON *manifest; /* the run so far */
} fmp_engine;

bool fmp_engine_stopping(const fmp_engine *e);
/* 1234567 as "1,234,567". */
const char *fmp_commas(uint64_t n, char text[32]);
/* Values in the .safetensors files of a folder; 0: none, or one that cannot be read. */
uint64_t fmp_base_params(const char *dir);
/* To whole milliseconds: what a person reads. */
double fmp_round_ms(double seconds);

/* ---- counters by name ---- */
typedef struct fmp_tally {
    struct fmp_tally_item {
        const char *name;
        int64_t n;
    } * items;
    size_t n, cap;
} fmp_tally;
/* Names are copied. arena: where the table lives; NULL: the heap. Out of memory: the count is lost. */
void fmp_tally_add(fmp_tally *t, fmp_arena *arena, const char *name, int64_t n);
void fmp_tally_free(fmp_tally *t);         /* heap tables only */
cJSON *fmp_tally_json(const fmp_tally *t); /* sorted by name; returned; heap */

/* ---- refused records ---- */
/* All borrowed. `row`: the raw row or the document's text, NULL where unknown. */
typedef struct fmp_refusal {
    char id[17];
    fmp_origin origin;
    uint32_t column;
    const char *reason, *message, *path;
    const char *row;
    size_t row_len;
    bool row_is_source; /* the row is a line of origin.file: a byte in it is a column there */
    fmp_problem *more;  /* what else is wrong */
    size_t n_more;
} fmp_refusal;
/* Fills the columns from the paths where it can. */
void fmp_refusal_locate(fmp_refusal *r);
/* Its line of rejected.jsonl without the stage: {"id":…}\n. */
void fmp_refusal_print(const fmp_refusal *r, fmp_buf *out);
/* As diagnostics, one for each problem. */
void fmp_refusal_diag(const fmp_refusal *r, fmp_diags *diags);

/* ---- one stage while it works ---- */
typedef struct fmp_live {
    fmp_engine *e;
    const fmp_stage_node *node;
    const char *key;
    const fmp_stage *stage;
    void *self;
    fmp_host *host;
    fmp_services services;
    pthread_mutex_t lock; /* guards what the services change: counts, facts, summary */
    fmp_tally counts, reasons;
    cJSON *facts;
    char *summary;
    uint64_t n_in, n_out, n_rejected;
    cJSON *out_by; /* records per output port of a gather; NULL elsewhere */
    double seconds;
    fmp_file_writer spool; /* refused records; fd -1: none so far */
    fmp_store_tmp spool_tmp;
    char *spool_path; /* of the finished spool */
    uint32_t n_shown; /* reject events sent */
    bool open;
    bool blamed; /* the run failed because of this stage */
} fmp_live;

FMP_MUST_USE fmp_status fmp_live_init(fmp_live *live, fmp_engine *e, const fmp_stage_node *node,
                                      const char *key, fmp_err *err);
/* load, create, configure. records, run: the tables for gather and task stages, or NULL. */
FMP_MUST_USE fmp_status fmp_live_open(fmp_live *live, const fmp_ext_records *records, const fmp_ext_run *run,
                                      fmp_err *err);
/* destroy the instance; facts and counts stay. */
void fmp_live_close(fmp_live *live);
void fmp_live_free(fmp_live *live);
/* Append finished lines to the spool; `n` of them. */
FMP_MUST_USE fmp_status fmp_live_spool(fmp_live *live, const char *lines, size_t len, fmp_err *err);
FMP_MUST_USE fmp_status fmp_live_spool_end(fmp_live *live, fmp_err *err);
/* The first few refusals become events; up to 20 diagnostics if the policy does not let them pass. */
void fmp_live_show(fmp_live *live, const fmp_refusal *r);
/* Once more is refused than the policy allows, so many problems are collected before the work ends. */
#define FMP_PROBLEMS_WANTED 20
/* More refused than the policy allows? */
bool fmp_live_over_limit(const fmp_live *live);
/* FMP_E_DATA that names the policy, if it is over the limit. */
FMP_MUST_USE fmp_status fmp_live_policy(fmp_live *live, fmp_err *err);
/* An error of `configure` to the place where its option is written, unless it names a place. Returns the
 * span. */
uint32_t fmp_live_place_option(const fmp_stage_node *node, fmp_status st, fmp_err *err);
/* Adds where and in which stage an error of its callbacks happened. */
fmp_status fmp_live_blame(fmp_live *live, fmp_status st, fmp_err *err);
/* The action record.                                                              returned; heap */
cJSON *fmp_live_record(const fmp_live *live, const cJSON *preimage, cJSON *outputs, bool streamed);

/* ---- preflight.c ---- */
/*
 * Create, configure and destroy each stage that must run. Every refusal goes to `diags` (may be NULL), the
 * first one also to `err`; its status is returned.
 */
FMP_MUST_USE fmp_status fmp_preflight(const fmp_graph *g, fmp_diags *diags, fmp_err *err);

/* ---- segment.c and task.c ---- */
/* What gather and task stages find behind their host. */
void fmp_task_tables(const fmp_ext_records **records, const fmp_ext_run **run);
/* What a segment left behind, ready for publishing. */
typedef struct fmp_segment_output {
    fmp_store_file file; /* the one written on the way; path is heap */
} fmp_segment_output;
/*
 * fmp_segment_run: stream records through lives[0..n), in order.
 *   input   data folder of the records artifact to read, or NULL: lives[0] is a source
 *   data    folder that gets the last stage's records or file
 * Errors   FMP_E_DATA when a policy is broken; whatever a stage gives; FMP_E_CANCELLED.
 * Cost     memory: (2 × threads + 2) blocks of 256 KiB and what their documents need.
 */
FMP_MUST_USE fmp_status fmp_segment_run(fmp_engine *e, fmp_live *lives, size_t n, const char *input,
                                        const char *data, fmp_segment_output *out, fmp_err *err);
/*
 * fmp_task_run: one gather or task stage.
 *   inputs (n_inputs)   in the port table's order       outputs   one folder for each port of the table
 * known (one for each output): records outputs get the digest of their records.jsonl, path NULL for the
 * others.
 */
FMP_MUST_USE fmp_status fmp_task_run(fmp_live *live, const fmp_input *inputs, size_t n_inputs,
                                     fmp_output *outputs, size_t n_outputs, const char *work_dir,
                                     fmp_store_file *known, fmp_err *err);

#endif
