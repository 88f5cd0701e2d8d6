/*
 * run.h: plan and run a checked pipeline.
 *
 * plan   every stage's action key, whether its result is in the store, and if not, why
 * run    segments of source/map/sink stages stream over the pool; gather and task stages run one after
 *        another; artifacts are published in the store; the run folder gets manifest, log, metrics, rejects,
 *        links to results
 */
#ifndef FMP_ENGINE_RUN_H
#define FMP_ENGINE_RUN_H

#include "pipeline.h"

typedef enum fmp_action { FMP_ACTION_CACHED, FMP_ACTION_RUN } fmp_action;

typedef struct fmp_stage_plan {
    char key[65]; /* action key; "" while an input of it is not known yet                     */
    fmp_action action;
    const char *reason; /* "NEW", "PLUGIN", "CONFIG(augment.rename)", "INPUT(records)", "BASE_MODEL", "SEED",
                            "NUMERIC_ENV", "FORCED", "STREAM(guide)"; CACHED: ""                     */
    const char *detail; /* a person's sentence: "option augment.rename changed (false → true)"      */
    int segment;        /* stages with the same number stream together                              */
    bool known;         /* false: depends on what an earlier stage will produce                     */
    /*
     * What the stage took when it last ran under this id, by the record in the store; -1: no record, or the
     * id was another stage then. Seconds are scaled by the number of input records where both are known.
     */
    double seconds;
    double peak_bytes; /* most memory of the whole process up to the stage's end */
    bool resumes;      /* an interrupted run left work of it to go on from */
} fmp_stage_plan;

typedef struct fmp_plan {
    fmp_stage_plan *stages;
    size_t n_stages;
    fmp_arena *arena;
} fmp_plan;

typedef struct fmp_run_options {
    const char *store_dir; /* --store                                      */
    const char *runs_dir;  /* --runs; default "runs"                        */
    uint32_t n_threads;    /* --threads; 0: cores this process may use     */
    const char *const *force;
    size_t n_force;           /* --force STAGE                      */
    const volatile int *stop; /* 0 none, 1 finish the step and save, 2 abort  */
    bool verbose;
    bool verify_store; /* --verify-store: hash every input from the store, whatever its size */
    /* Embedding programs and tests: how a stage's callbacks and its plugin's extensions are found; NULL: from
       the plugin's file (fmp_plugin_load, fmp_plugin_extension). */
    fmp_status (*load)(void *arg, const fmp_stage_info *info, const fmp_stage **out, fmp_err *err);
    const void *(*extension)(void *arg, const fmp_stage_info *info, const char *name);
    void *load_arg;
} fmp_run_options;

/* What the CLI shows; every member optional; called from one thread at a time. */
typedef struct fmp_events {
    void *arg;
    void (*event)(
        void *arg,
        const cJSON *event); /* {"event":"run.start"|"stage.start"|"stage.progress"|"stage.end"|"log"|
                                                     "reject"|"run.end", ...}; schemas/event.schema.json */
} fmp_events;

typedef struct fmp_run_result {
    bool ok;
    char run_id[64];
    char *run_dir;   /* heap */
    cJSON *manifest; /* heap */
} fmp_run_result;

FMP_MUST_USE fmp_status fmp_plan_make(const fmp_pipeline *p, const fmp_run_options *o, fmp_plan **out,
                                      fmp_err *err);
void fmp_plan_free(fmp_plan *plan);
/*
 * fmp_run: run what must run. Before a run folder is made and the first stage starts, every stage that must
 * run is created, configured and destroyed; each option that its plugin refuses is one of `diags` (may be
 * NULL), the first one also *err, and out->run_dir stays NULL.
 */
FMP_MUST_USE fmp_status fmp_run(const fmp_pipeline *p, const fmp_run_options *o, const fmp_events *events,
                                fmp_diags *diags, fmp_run_result *out, fmp_err *err);
void fmp_run_result_free(fmp_run_result *r);
/* The stored preimages of a stage's key now and last time, and their difference.       returned; heap */
FMP_MUST_USE fmp_status fmp_explain(const fmp_pipeline *p, const fmp_run_options *o, const char *stage,
                                    cJSON **out, fmp_err *err);

#endif
