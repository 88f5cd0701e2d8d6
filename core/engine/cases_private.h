/* cases_private.h: what cases.c (the format) and cases_run.c (running one case) share. */
#ifndef FMP_ENGINE_CASES_PRIVATE_H
#define FMP_ENGINE_CASES_PRIVATE_H

#include "cases.h"

typedef enum case_kind {
    CASE_STAGE,
    CASE_WITH,
    CASE_SEED,
    CASE_FILE,
    CASE_INPUT,
    CASE_EXPECT, /* records or text; arg: port */
    CASE_EXPECT_REJECTS,
    CASE_EXPECT_ERROR,
    CASE_EXPECT_COUNTS,
    CASE_EXPECT_FACTS,
    CASE_EXPECT_SUMMARY
} case_kind;

typedef struct case_section {
    case_kind kind;
    const char *arg;   /* port or file name; NULL: none           */
    bool escaped;      /* file NAME escaped                       */
    const char *text;  /* content, `\` in front of headings taken off; ends in a newline where not empty */
    uint32_t line;     /* of the heading, 1-based                 */
    size_t body_begin; /* byte range of the body in the file: what --update replaces */
    size_t body_end;
    size_t head_begin;
    size_t inline_begin; /* after the heading's colon             */
} case_section;

typedef struct case_text {
    const char *name;
    uint32_t line;
    size_t begin, end; /* byte range in the file, from its == line */
    case_section *sections;
    size_t n_sections;
} case_text;

enum { CASE_MAX_PORTS = 8 };

/* What came out, as text ready to be compared and written. */
typedef struct case_outcome {
    size_t n_ports;
    const char *ports[CASE_MAX_PORTS];
    fmp_buf records[CASE_MAX_PORTS];
    fmp_buf rejects, error, counts, facts, summary;
} case_outcome;

const case_section *fmp_case_section_(const case_text *c, case_kind kind, const char *arg);
/* Run one case. `base`: a fresh folder with the case's files in it. Errors of the stage are part of the
 * outcome. */
FMP_MUST_USE fmp_status fmp_case_run_(const case_text *c, const fmp_cases_options *options, const char *base,
                                      case_outcome *out, fmp_err *err);
void fmp_case_outcome_free_(case_outcome *out);

#endif
