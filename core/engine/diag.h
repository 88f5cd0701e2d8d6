/*
 * diag.h: problems of the user's files, collected so that all of one file are shown in one go.
 *
 * A diagnostic is one fmp_err with a severity; the list prints as
 *   file:line:col: error: message / source line with a caret / help: hint
 * or, with --json, as {"v":1,"event":"diagnostic",...}. Only the CLI prints.
 */
#ifndef FMP_ENGINE_DIAG_H
#define FMP_ENGINE_DIAG_H

#include <fmpipe/json.h>

typedef enum fmp_severity { FMP_SEV_ERROR, FMP_SEV_WARNING, FMP_SEV_NOTE } fmp_severity;

typedef struct fmp_diag {
    fmp_severity severity;
    uint32_t span; /* bytes to underline, at least 1 */
    fmp_err err;
} fmp_diag;

typedef struct fmp_diags {
    fmp_diag *items; /* in file order after fmp_diags_sort */
    size_t n, cap;
    size_t n_errors;
    size_t n_dropped; /* beyond the limit of 100 */
} fmp_diags;

void fmp_diags_add(fmp_diags *diags, fmp_severity severity, const fmp_err *err, uint32_t span);
void fmp_diags_sort(fmp_diags *diags);
void fmp_diags_free(fmp_diags *diags);
/* The diagnostics as text: position, source line, caret, hint, notes. `color`: ANSI. Control characters are
 * escaped, long lines cut around the caret. */
void fmp_diags_print(const fmp_diags *diags, bool color, fmp_buf *out);
cJSON *fmp_diag_json(const fmp_diag *diag); /* returned; heap */

/* Best of `names` (NULL-ended) within edit distance max(2, len/3) of `word`, or NULL. */
const char *fmp_nearest_name(const char *word, const char *const *names);

#endif
