/*
 * run_folder.h: runs/<YYYYMMDD>-<6 hex>/, a run as a person finds it: manifest.json, log.txt, metrics.jsonl,
 * rejected.jsonl and a link to each result.
 */
#ifndef FMP_ENGINE_RUN_FOLDER_H
#define FMP_ENGINE_RUN_FOLDER_H

#include "engine.h"

typedef struct fmp_run_folder {
    char id[64];
    char *runs_dir;
    char *path;   /* runs_dir/id, as the user would write it */
    int lock;     /* flock of the folder for the run's life  */
    int rejected; /* rejected.jsonl                          */
} fmp_run_folder;

FMP_MUST_USE fmp_status fmp_run_folder_new(const char *runs_dir, fmp_run_folder *out, fmp_err *err);
void fmp_run_folder_free(fmp_run_folder *folder);
/* The newest run of a pipeline, if it did not come to its end. */
typedef struct fmp_broken_run {
    char id[64];
    bool stopped;   /* by a signal that it heard; false: killed, or the machine went down */
    char stage[80]; /* what it was at; "" if that is not known */
    size_t n_done;  /* stages whose results were there */
} fmp_broken_run;
/* False: there is none, or the newest run is still at work. Looks at the 16 newest runs only. */
bool fmp_run_folder_broken(const char *runs_dir, const char *pipeline, fmp_broken_run *out);
/* Append a stage's refused records to rejected.jsonl, each line led by the stage's id. */
FMP_MUST_USE fmp_status fmp_run_folder_rejects(fmp_run_folder *folder, const char *stage, const char *path,
                                               fmp_err *err);
/* A link `name` to `target` (absolute), relative so that a project can be moved; a copy where links cannot
   be made. */
FMP_MUST_USE fmp_status fmp_run_folder_link(const fmp_run_folder *folder, const char *name,
                                            const char *target, fmp_err *err);
/* runs/latest points here. */
FMP_MUST_USE fmp_status fmp_run_folder_latest(const fmp_run_folder *folder, fmp_err *err);
FMP_MUST_USE fmp_status fmp_run_folder_manifest(const fmp_run_folder *folder, const cJSON *manifest,
                                                fmp_err *err);

/* ---- what goes into the manifest: run_manifest.c ---- */
/* CPU, memory, OS, libraries.                                                    returned; heap */
cJSON *fmp_machine_json(void);
/* The manifest at the start of a run: every stage with action "pending".         returned; heap */
FMP_MUST_USE fmp_status fmp_run_manifest_new(const fmp_pipeline *p, const fmp_run_options *o,
                                             const char *run_id, cJSON **out, fmp_err *err);
/* Put stage `s`'s outcome into it. action: "ran", "cached", "failed", "stopped". record may be NULL. */
void fmp_run_manifest_stage(cJSON *manifest, const fmp_graph *g, size_t s, const char *action,
                            const cJSON *record);
/* status: "ok", "failed", "stopped"; err: of a failed run, else NULL. */
void fmp_run_manifest_end(cJSON *manifest, const char *status, double seconds, const fmp_err *err);

#endif
