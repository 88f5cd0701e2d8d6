/*
 * inspect.h: `inspect tokens`: what it is about (inspect_find.c) and how it is shown (cmd_inspect_tokens.c).
 */
#ifndef FMP_CLI_INSPECT_H
#define FMP_CLI_INSPECT_H

#include "late.h"

#include <fmpipe/fs.h>

/* What was asked for: a record's id, or a line of a file. */
typedef struct wanted {
    const char *text, *id; /* id NULL: file and line */
    char file[4096];
    uint64_t line;
} wanted;
void wanted_read(const char *text, wanted *out);

/* A conversation with the tokenizer, template and options to encode it with. {.arena} before the first
 * use. */
typedef struct subject {
    fmp_arena *arena;
    cJSON *doc;
    char id[17]; /* "" where it is not from a run */
    const char *file;
    uint64_t line;
    fmp_chat *chat;
    fmp_chat_setup setup;
    cJSON *options;     /* what `setup` was read from, if it is not the run's */
    cJSON *manifest;    /* of the run, or NULL             */
    const cJSON *stage; /* of the manifest                 */
    char *artifact;     /* its tokens, or NULL             */
} subject;
void subject_free(subject *s);

/* Errors: FMP_E_DATA where it is not there, with what to do; those of reading. */
FMP_MUST_USE fmp_status find_in_run(const fmp_cli *cli, const wanted *w, subject *s, fmp_err *err);
FMP_MUST_USE fmp_status find_in_file(const fmp_cli *cli, const wanted *w, subject *s, fmp_err *err);

#endif
