/* pipeline_private.h: the steps of fmp_pipeline_load, in the order in which they run. */
#ifndef FMP_ENGINE_PIPELINE_PRIVATE_H
#define FMP_ENGINE_PIPELINE_PRIVATE_H

#include "options.h"

/* Where stage names come from: the registry, or a table in a test. */
typedef struct fmp_stage_finder {
    void *arg;
    fmp_status (*find)(void *arg, const char *use, const char *base_dir, const fmp_stage_info **out,
                       fmp_err *err);
} fmp_stage_finder;

typedef struct fmp_digests fmp_digests;

typedef struct fmp_loader {
    const fmp_stage_finder *finder;
    fmp_digests *digests; /* NULL: files are not read */
    fmp_pipeline *p;
    fmp_arena *arena;
    fmp_diags *diags;
    fmp_err *err;
    const char *cwd;
    fmp_yaml **from; /* of each stage: its from: node, or NULL */
} fmp_loader;

/* 1. pipeline_file.c: read `path` and what it extends, merged. *root is NULL after problems. */
FMP_MUST_USE fmp_status fmp_pipeline_read_(fmp_loader *l, const char *path, fmp_yaml **root);
/* 2. pipeline_vars.c: put --set values into the tree; replace ${name} in every scalar. */
void fmp_pipeline_set_(fmp_loader *l, fmp_yaml *root, const fmp_set *sets, size_t n_sets);
void fmp_pipeline_substitute_(fmp_loader *l, fmp_yaml *root);
/* 3. pipeline.c: fields, stages, options. 4. pipeline_links.c: connections. */
void fmp_pipeline_connect_(fmp_loader *l);

/* Names of `keys` that may stand in `map`; others are errors with the nearest. `what`: "of a stage". */
void fmp_check_keys_(fmp_loader *l, const fmp_yaml *map, const char *const *keys, const char *what);

FMP_MUST_USE fmp_status fmp_pipeline_load_with(const fmp_stage_finder *finder, const char *path,
                                               const fmp_set *sets, size_t n_sets, bool digest_files,
                                               const char *store_dir, fmp_pipeline **out, fmp_diags *diags,
                                               fmp_err *err);

/* file_digests.c: content digests of files and folders, remembered in <store>/digests.json while they are
 * unchanged. */
FMP_MUST_USE fmp_status fmp_digests_open(const char *store_dir, fmp_digests **out, fmp_err *err);
FMP_MUST_USE fmp_status fmp_digests_get(fmp_digests *d, const char *path, char hex[65], fmp_err *err);
/* Write what is new, and free. A store that cannot be written only costs time next time. */
void fmp_digests_close(fmp_digests *d);

#endif
