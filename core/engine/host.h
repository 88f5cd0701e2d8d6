/*
 * host.h: finding plugins, reading their manifests, loading them, and stage instances in this process or a
 * worker.
 */
#ifndef FMP_ENGINE_HOST_H
#define FMP_ENGINE_HOST_H

#include "manifest.h"

/* ---- registry: name -> stage, from manifests only ---- */
typedef struct fmp_registry fmp_registry;

/*
 * Plugins are the *.so of: each of `dirs` (NULL-ended), then the FMPIPE_PLUGIN_PATH folders, then
 * ../lib/fmpipe/plugins beside the program. A stage name found twice is an error naming both files unless
 * the digests are equal. The folder is listed and notes are read on first use of a name (`fmpipe --help`
 * must stay under 10 ms).
 */
FMP_MUST_USE fmp_status fmp_registry_new(const char *const *dirs, fmp_registry **out, fmp_err *err);
void fmp_registry_free(fmp_registry *reg);
/*
 * Resolve what a pipeline writes after `use:`: a stage name ("text.filter"), a plugin file with one stage
 * ("./build/shout.so"), or file and stage ("./build/team.so#team.shout"). base_dir: of the pipeline file.
 * Errors   FMP_E_CONFIG unknown name, with the nearest; FMP_E_PLUGIN refused file, with the reason.
 */
FMP_MUST_USE fmp_status fmp_registry_find(fmp_registry *reg, const char *use, const char *base_dir,
                                          const fmp_stage_info **out, fmp_err *err);
/* All plugins in byte order of their names.                                     borrowed from reg */
FMP_MUST_USE fmp_status fmp_registry_list(fmp_registry *reg, const fmp_plugin_info *const **out, size_t *n,
                                          fmp_err *err);
/* Why each *.so of the folders that is no plugin of this host was refused; their number. borrowed from
 * reg */
size_t fmp_registry_refused(fmp_registry *reg, const fmp_err **out);
/* Manifest of one file: from its note, else by reading the descriptor in a child process. returned;
 * fmp_plugin_info_free */
FMP_MUST_USE fmp_status fmp_plugin_read(const char *path, fmp_plugin_info **out, fmp_err *err);
void fmp_plugin_info_free(fmp_plugin_info *info);
/* Write the note into a freshly linked plugin (the build helper's last step). Idempotent; other bytes
 * unchanged. */
FMP_MUST_USE fmp_status fmp_plugin_write_note(const char *path, fmp_err *err);

/* ---- loading: the hashed bytes are the loaded ones (sealed memfd); RTLD_NOW, RTLD_LOCAL, no dlclose ---- */
FMP_MUST_USE fmp_status fmp_plugin_load(const fmp_stage_info *info, const fmp_stage **out, fmp_err *err);

/* An extension that the loaded plugin of this stage offers (its get_extension), or NULL. After
 * fmp_plugin_load. */
const void *fmp_plugin_extension(const fmp_stage_info *info, const char *name);

/* ---- services: what an instance's fmp_host gives back to the engine ---- */
/* The engine implements these; every instance gets one. All functions any thread. */
typedef struct fmp_services {
    void *arg;
    uint64_t seed; /* of this stage */
    void (*log)(void *arg, fmp_log_level level, const char *text);
    void (*count)(void *arg, const char *name, int64_t n);
    void (*fact)(void *arg, const char *name, cJSON *value); /* value taken */
    void (*point)(void *arg, const char *series, uint64_t step, double value);
    void (*summary)(void *arg, const char *text);
    void (*progress)(void *arg, uint64_t done, uint64_t total, const char *unit, const char *text);
    bool (*cancelled)(void *arg);
    uint32_t (*n_threads)(void *arg);
    void (*for_each)(void *arg, size_t n, void (*fn)(void *, size_t), void *fn_arg);
    const fmp_ext_records *records; /* the engine's own tables, NULL outside gather/task */
    const fmp_ext_run *run;
} fmp_services;

/* An fmp_host over `services` (borrowed until free): log, rng, regex, parallel, progress, metrics,
 * cancel, records, run. */
FMP_MUST_USE fmp_status fmp_host_new(const fmp_services *services, fmp_host **out, fmp_err *err);
void fmp_host_free(fmp_host *host);

/* ---- refused records ---- */
/*
 * The further problems of a refusal, which an older plugin's struct does not have, copied into `arena`; of
 * their texts only path may be NULL. The caller may fill in columns. *out NULL: none.
 */
FMP_MUST_USE fmp_status fmp_reject_more(const fmp_reject *why, fmp_arena *arena, fmp_problem **out, size_t *n,
                                        fmp_err *err);

/* ---- isolation: process ---- */
/*
 * A map stage in `n` exec'd worker processes (`fmpipe --stage-worker FD`), framed JSON over a socket pair.
 * To the engine it is a fmp_stage like any other: the proxy's process() sends the record and replays the
 * worker's emits, rejects, counts and log lines. A worker that dies gives FMP_E_PLUGIN naming signal,
 * record id and origin; others go on.
 */
FMP_MUST_USE fmp_status fmp_isolated_stage(const fmp_stage_info *info, const fmp_services *services,
                                           const fmp_stage **proxy, void **self, fmp_err *err);
int fmp_stage_worker_main(int fd); /* the worker's whole life; returns its exit code */

#endif
