/*
 * check.h: the conformance suite of `fmpipe plugin check`: what a stage must do beyond giving the right
 * answer. Each test runs in a child process with a timeout, so that a plugin that crashes or hangs fails
 * one test.
 */
#ifndef FMP_ENGINE_CHECK_H
#define FMP_ENGINE_CHECK_H

#include "host.h"

typedef enum fmp_check_verdict {
    FMP_CHECK_PASS,
    FMP_CHECK_FAIL,
    FMP_CHECK_WARN,
    FMP_CHECK_SKIP
} fmp_check_verdict;

typedef struct fmp_check_result {
    const char *stage;
    const char *test;    /* "input_not_modified" */
    const char *promise; /* one line: what the test shows */
    fmp_check_verdict verdict;
    char detail[512]; /* why; "" when passed */
} fmp_check_result;

typedef struct fmp_check_options {
    const char *stage;    /* NULL: every stage of the plugin                                     */
    const char *test;     /* NULL: every test                                                    */
    const cJSON *with;    /* option values; NULL: made up for required ones where that can be done */
    const cJSON *record;  /* one more document to try; NULL: none                                  */
    const char *base_dir; /* of paths in `with`                                                    */
    uint32_t timeout_s;   /* of one test; 0: 60                                                    */
    void (*each)(void *arg, const fmp_check_result *result); /* results as they come */
    void *arg;
} fmp_check_options;

/* Runs the suite; *n_failed counts FAIL. When: a program with one thread (it forks). Errors: the file cannot
 * be read at all. */
FMP_MUST_USE fmp_status fmp_check_plugin(const char *path, const fmp_check_options *options, size_t *n_failed,
                                         fmp_err *err);

#endif
