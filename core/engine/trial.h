/*
 * trial.h: one stage instance outside a pipeline, with everything it says kept in memory. Text cases,
 * `plugin check` and the workers of isolated stages run stages this way.
 */
#ifndef FMP_ENGINE_TRIAL_H
#define FMP_ENGINE_TRIAL_H

#include "host.h"
#include <fmpipe/fs.h>
#include <pthread.h>

typedef struct fmp_trial_count {
    char *name;
    int64_t n;
} fmp_trial_count;

/* An instance and its host. Counts, facts and log lines pile up until they are read or the trial is
 * closed. */
typedef struct fmp_trial {
    const fmp_stage *stage;
    void *self;
    fmp_services services; /* arg is the trial */
    fmp_host *host;
    fmp_pool *pool; /* borrowed; for fmp.parallel; NULL: one thread */
    pthread_mutex_t lock;
    fmp_trial_count *counts; /* in order of first use */
    size_t n_counts, cap_counts;
    cJSON *facts;       /* object; heap */
    cJSON *log;         /* array of [level, text]; heap; NULL: log lines are not kept */
    char *summary;      /* heap, or NULL */
    volatile bool stop; /* what fmp.cancel answers */
    bool failed;        /* something above could not be kept: out of memory */
} fmp_trial;

/* An empty trial of `stage` with a host; nothing of the plugin runs.     returned; fmp_trial_close, also
 * after a failure */
FMP_MUST_USE fmp_status fmp_trial_new(const fmp_stage *stage, uint64_t seed, fmp_pool *pool, fmp_trial **out,
                                      fmp_err *err);
/* create, configure (values borrowed until close), and start for streaming kinds. */
FMP_MUST_USE fmp_status fmp_trial_open(fmp_trial *trial, const cJSON *values, uint32_t n_workers,
                                       fmp_err *err);
FMP_MUST_USE fmp_status fmp_trial_finish(fmp_trial *trial, fmp_err *err);
/* destroy and free. Safe on NULL. */
void fmp_trial_close(fmp_trial *trial);
/* {"name":n,…} in byte order of the names.   returned; heap; NULL: out of memory */
cJSON *fmp_trial_counts_json(fmp_trial *trial);

/* ---- one process, decode or encode call ---- */
typedef struct fmp_caught_doc {
    const cJSON *doc; /* the input's own document where it was passed on */
    bool passed;
    fmp_origin origin;
} fmp_caught_doc;

typedef struct fmp_caught_reject { /* strings are copies in the arena; path may be NULL */
    const char *reason, *message, *path;
    fmp_origin origin;
    uint32_t column;
    fmp_problem *more;
    size_t n_more;
} fmp_caught_reject;

/* What a call gave back; everything in `arena`, but `written`, which is on the heap. */
typedef struct fmp_catch {
    fmp_call call; /* give &catch.call to the stage */
    fmp_trial *trial;
    fmp_arena *arena;
    const fmp_record *record; /* NULL for decode */
    fmp_caught_doc *docs;
    size_t n_docs, cap_docs;
    fmp_caught_reject *rejects;
    size_t n_rejects, cap_rejects;
    fmp_buf written;
} fmp_catch;

/* Ready for one call; the arena is the caller's. fmp_buf_free(&c->written) when done. */
void fmp_catch_begin(fmp_catch *c, fmp_trial *trial, fmp_arena *arena, uint32_t worker,
                     const fmp_record *record);
/* process or encode, by the stage's kind, with the thread's JSON scope set to the arena. */
FMP_MUST_USE fmp_status fmp_catch_record(fmp_catch *c, fmp_err *err);
FMP_MUST_USE fmp_status fmp_catch_block(fmp_catch *c, const fmp_block *block, fmp_err *err);

/* A block whose bytes are on the heap.   free(block->data) */
void fmp_block_init(fmp_block *block);

#endif
