/* check_private.h: the tests of the suite and what they work on. */
#ifndef FMP_ENGINE_CHECK_PRIVATE_H
#define FMP_ENGINE_CHECK_PRIVATE_H

#include "check.h"
#include "trial.h"

/* What a test gets: in a child process, with the manifest read and nothing of the plugin loaded yet. */
typedef struct check_context {
    const fmp_check_options *options;
    const fmp_stage_info *info;
    const cJSON *values; /* checked options, or NULL: see values_missing */
    char values_missing[256];
    fmp_check_result *result;
} check_context;

typedef struct check_test {
    const char *name, *promise;
    unsigned kinds;    /* bit 1 << fmp_stage_kind */
    bool needs_values; /* skipped without option values */
    void (*run)(check_context *c);
} check_test;

enum {
    ON_SOURCE = 1u << FMP_SOURCE,
    ON_MAP = 1u << FMP_MAP,
    ON_SINK = 1u << FMP_SINK,
    ON_RECORDS = ON_MAP | ON_SINK,
    ON_ALL = ON_RECORDS | ON_SOURCE | 1u << FMP_GATHER | 1u << FMP_TASK
};

/* End the test with a verdict; only the first call counts. */
FMP_PRINTF(3, 4) void fmp_check_say_(check_context *c, fmp_check_verdict verdict, const char *fmt, ...);

extern const check_test fmp_check_static_[], fmp_check_life_[],
    fmp_check_records_[]; /* ended by a NULL name */

/* ---- check_support.c ---- */
/* The stage's callbacks, or NULL after saying FAIL. */
const fmp_stage *fmp_check_load_(check_context *c);
/* An opened instance, or NULL after saying FAIL. */
fmp_trial *fmp_check_open_(check_context *c, uint64_t seed, uint32_t n_workers);

/* The documents every record stage is tried with. */
typedef struct check_docs {
    cJSON **doc; /* heap */
    const char *const *name;
    size_t n;
} check_docs;
FMP_MUST_USE bool fmp_check_docs_(check_context *c, check_docs *out);
void fmp_check_docs_free_(check_docs *docs);

/* One record through an instance: everything that came out as text, in a fresh arena. False after saying
 * FAIL. */
FMP_MUST_USE bool fmp_check_one_(check_context *c, fmp_trial *t, uint32_t worker, const cJSON *doc,
                                 const char *name, fmp_buf *out);
/* The same for all documents, in order or backwards; out[i] is document i's text. */
FMP_MUST_USE bool fmp_check_all_(check_context *c, fmp_trial *t, const check_docs *docs, bool backwards,
                                 fmp_buf *out);
void fmp_check_bufs_free_(fmp_buf *bufs, size_t n);
/* Everything the life tests watch over: open, all documents, finish, close. False after saying FAIL. */
FMP_MUST_USE bool fmp_check_workload_(check_context *c);
size_t fmp_check_entries_(const char *dir); /* of /proc/self/fd, /proc/self/task */
bool fmp_check_takes_records_(const fmp_stage_info *info);

#endif
