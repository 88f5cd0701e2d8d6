/*
 * show.h: a run's events for a person: one line a stage, a live line, tables and artifacts at the end.
 */
#ifndef FMP_CLI_SHOW_H
#define FMP_CLI_SHOW_H

#include "cli.h"

typedef struct fmp_show fmp_show;

/* NULL: out of memory. `cli` and `p` borrowed until fmp_show_free. */
fmp_show *fmp_show_new(const fmp_cli *cli, const fmp_pipeline *p);
/* An fmp_events callback; arg is the fmp_show. */
void fmp_show_event(void *arg, const cJSON *event);
/* After fmp_run returned: what the run made, how long it took. run_dir: NULL if it got none.
 * same_as: the earlier run that has the same results, or NULL. */
void fmp_show_end(fmp_show *show, bool ok, const char *run_dir, const char *same_as);
void fmp_show_free(fmp_show *show);

/* show_table.c: a stage's fact "table" as lines of text; anything else adds nothing. */
void fmp_show_table(const cJSON *table, fmp_buf *out);

#endif
