/*
 * pipeline.h: a pipeline file, read, checked and resolved; the one code path of validate, plan and run.
 *
 *   fmpipe: 1                      format version, required
 *   name: quickstart               [a-z0-9_-]+
 *   seed: 7                        default 0
 *   extends: ../base.yaml          deep merge: maps by key, the stages list by id; this file wins;
 *                                  a null takes a key away, {id: X, remove: true} a stage
 *   vars:                          bool, int, float, string or path; used as ${name} in any scalar value
 *     data: {type: path, default: data/train.jsonl, help: What to train on.}
 *   base: ${model}                 a folder: the model that `model` inputs get unless they name another
 *   stages:
 *     - id: read                   [a-z][a-z0-9_-]*, unique
 *       use: jsonl.read            stage name, ./file.so or ./file.so#stage
 *       from: split.train          optional; default: first output of the stage before (sources: none)
 *                                  STAGE or STAGE.PORT | list of them (MANY) | map PORT: string or list
 *       on_bad: fail               fail | skip | {limit: N}   (record stages; default fail)
 *       isolation: inprocess       inprocess | process         (map stages)
 *       seed: 9                    optional, overrides the pipeline's
 *       with: {...}                the stage's options
 */
#ifndef FMP_ENGINE_PIPELINE_H
#define FMP_ENGINE_PIPELINE_H

#include "diag.h"
#include "host.h"

typedef struct fmp_mark {
    const char *file;
    uint32_t line, column, span; /* 1-based; span in bytes */
} fmp_mark;

/* One connection: an output of an earlier stage, or the pipeline's base model (stage == -1). */
typedef struct fmp_link {
    const fmp_port *in; /* of the consuming stage                    */
    int stage;          /* index into fmp_pipeline.stages, -1: base  */
    int out;            /* index of that stage's output port; 0 for base */
    fmp_mark mark;
} fmp_link;

typedef enum fmp_on_bad { FMP_ON_BAD_FAIL, FMP_ON_BAD_SKIP, FMP_ON_BAD_LIMIT } fmp_on_bad;

/* One option value with where it was written (defaults: the stage's mark). */
typedef struct fmp_option_mark {
    const char *path; /* "rules[2].pattern" */
    fmp_mark mark;
} fmp_option_mark;

/* A file that a path option names, with its content digest: what the cache key holds instead of the path. */
typedef struct fmp_file_input {
    const char *option; /* option path                */
    const char *path;   /* absolute                   */
    const char *shown;  /* as the user wrote it, or the glob's match relative to the pipeline file */
    char digest[65];
} fmp_file_input;

typedef struct fmp_stage_node {
    const char *id;
    const fmp_stage_info *info;
    fmp_mark mark;     /* of the id               */
    cJSON *values;     /* after defaults, paths absolute: what configure gets          */
    cJSON *key_values; /* output-affecting only, paths replaced by content digests     */
    const fmp_option_mark *marks;
    size_t n_marks;
    const fmp_file_input *files;
    size_t n_files;
    const fmp_link *links;
    size_t n_links;
    fmp_on_bad on_bad;
    uint64_t bad_limit;
    bool isolated;
    uint64_t seed;
} fmp_stage_node;

typedef struct fmp_pipeline {
    const char *file; /* as given                                  */
    const char *dir;  /* absolute folder of the file               */
    const char *name;
    uint64_t seed;
    const char *base_path; /* absolute; NULL: none                      */
    const char *base_shown;
    char base_digest[65];
    fmp_mark base_mark;
    fmp_stage_node *stages;
    size_t n_stages;
    fmp_arena *arena;
} fmp_pipeline;

/* One --set stage.option=value, --set var=value or --set seed=3, in the order given; later wins. */
typedef struct fmp_set {
    const char *text;
} fmp_set;

/*
 * fmp_pipeline_load: read, merge, substitute, check, connect, digest the files.
 *   digest_files   hash the contents of path options and the base (validate may skip it)
 *   store_dir      where digests of unchanged files (device, inode, size, mtime) are kept; NULL: nowhere
 * Every problem found goes to `diags`; the status is FMP_E_CONFIG if there was any error.
 */
FMP_MUST_USE fmp_status fmp_pipeline_load(const char *path, fmp_registry *reg, const fmp_set *sets,
                                          size_t n_sets, bool digest_files, const char *store_dir,
                                          fmp_pipeline **out, fmp_diags *diags, fmp_err *err);
void fmp_pipeline_free(fmp_pipeline *p);
/* Where an option was written, or the nearest thing around it: its list, its map, the stage's id. */
fmp_mark fmp_option_where(const fmp_stage_node *stage, const char *option_path);

/* Check one stage's values against its table, outside any pipeline (text cases, plugin check, workers):
 * `given` an object, or NULL for all defaults. *values returned; heap. */
FMP_MUST_USE fmp_status fmp_options_check(const fmp_option *table, const cJSON *given, const char *base_dir,
                                          cJSON **values, fmp_err *err);

/* draft-07 JSON Schema of pipeline files, from all manifests.                   returned; heap */
FMP_MUST_USE fmp_status fmp_pipeline_schema(fmp_registry *reg, cJSON **out, fmp_err *err);

#endif
