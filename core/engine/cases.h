/*
 * cases.h: text cases of stages, run and updated. The format is docs/reference/cases.md.
 */
#ifndef FMP_ENGINE_CASES_H
#define FMP_ENGINE_CASES_H

#include "host.h"

typedef struct fmp_cases_options {
    fmp_registry *registry; /* finds stages by name                                                */
    const char *plugin;     /* file whose stages the cases may name, or NULL                       */
    bool update;            /* rewrite the expectations of cases that differ                       */
    const char *temp_dir;   /* where `file` sections are written, in a fresh folder for each case  */
} fmp_cases_options;

typedef struct fmp_cases_result {
    size_t n_cases, n_failed, n_updated;
} fmp_cases_result;

/*
 * fmp_cases_run: every case of one file. What failed and how goes to `report` as text; counts are added to
 * `out`. Errors   FMP_E_DATA where the file is not a case file, with its line; FMP_E_IO. A failed case is
 * no error.
 */
FMP_MUST_USE fmp_status fmp_cases_run(const char *path, const fmp_cases_options *options, fmp_buf *report,
                                      fmp_cases_result *out, fmp_err *err);

#endif
