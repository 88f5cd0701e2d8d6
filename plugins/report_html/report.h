/*
 * report.h: the pieces of the report page, from letters to sections. Everything appends to one buffer,
 * whose failure is tested once at the end (fmp_buf_ok). All texts and trees are borrowed.
 */
#ifndef REPORT_H
#define REPORT_H

#include <fmpipe/json.h>

typedef struct report_options {
    const char *title; /* NULL: the pipeline's name */
    const char *note;  /* "" : none                 */
    size_t max_examples;
} report_options;

/*
 * report_page: the whole page, UTF-8, self-contained, without script.
 *   manifest   as schemas/run-manifest.schema.json; members that are missing are left out of the page
 *   rejects    report_rejects(), or NULL: the table by locale has no such column
 * Errors   FMP_E_NOMEM only: a manifest of any content gives a page.
 */
FMP_MUST_USE fmp_status report_page(const cJSON *manifest, const cJSON *rejects, const report_options *o,
                                    fmp_buf *out, fmp_err *err);

/*
 * report_rejects: {"by_locale": {tag: n}, "examples": [{stage, file, line, reason, message}]} of a run's
 * rejected.jsonl. A row whose locale cannot be read counts under "(unknown)".
 * returned; cJSON_Delete
 */
FMP_MUST_USE fmp_status report_rejects(const char *path, cJSON **out, fmp_err *err);

/* ---- report_data.c, report_runs.c: sections ---- */
void section_data(fmp_buf *out, const cJSON *manifest, const cJSON *rejects);
void section_stages(fmp_buf *out, const cJSON *manifest);
void section_settings(fmp_buf *out, const cJSON *manifest);
void section_origin(fmp_buf *out, const cJSON *manifest);
/* report_tokens.c */
void section_tokens(fmp_buf *out, const cJSON *manifest);
bool has_token_view(const cJSON *manifest);

/* The stage whose tokens the last training read; without a training the first that made tokens; NULL: none. */
const cJSON *training_tokens(const cJSON *manifest);

/* False for a stage whose results are all something else than records: its `out` of 0 is no loss. */
bool makes_records(const cJSON *stage);

/* ---- report_text.c: letters and numbers ---- */
/*
 * Text from data: markup escaped; invalid UTF-8 as U+FFFD; control and direction-changing characters as
 * visible names, so that nothing can hide or reorder what is beside it. Line ends and tabs stay.
 */
void put_text(fmp_buf *out, const char *text);
/* The text of a string node, or the JSON text of any other. */
void put_value(fmp_buf *out, const cJSON *node);
void put_count(fmp_buf *out, double n);          /* 12,345          */
void put_percent(fmp_buf *out, double fraction); /* 73.3%           */
void put_number(fmp_buf *out, double value);     /* four digits     */
void put_seconds(fmp_buf *out, double seconds);  /* 3 min 12 s      */
void put_bytes(fmp_buf *out, double bytes);      /* 25.3 GB         */
/* The node's number in *value; false for null, another type or a number that is not finite. */
bool finite_number(const cJSON *node, double *value);
double count_of(const cJSON *object, const char *key); /* member as a number >= 0; 0 if absent */
/* The member if it is an object, whose members have names; else NULL. */
const cJSON *object_at(const cJSON *object, const char *key);

/* ---- report_svg.c: charts; each has a text alternative ---- */
typedef struct curve {
    const char *name, *style; /* CSS class: line-train, line-eval */
    const cJSON *points;      /* [[step, value], ...]            */
} curve;
void put_curves(fmp_buf *out, const char *label, const curve *curves, size_t n);
/* counts: array of numbers; a bucket is `bucket` units wide. */
void put_histogram(fmp_buf *out, const char *label, const cJSON *counts, double bucket);
/* A horizontal bar of `fraction` of its width; `style`: bar-before, bar-after, bar-plain. */
void put_bar(fmp_buf *out, double fraction, const char *style);
/* Parts of one whole: kept, dropped and rejected, as fractions. */
void put_flow_bar(fmp_buf *out, double kept, double dropped, double rejected);

#endif
