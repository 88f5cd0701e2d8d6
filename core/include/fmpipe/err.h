/*
 * err.h: how every fallible function of fmpipe reports what went wrong.
 *
 * A function that can fail returns fmp_status and takes a caller-owned `fmp_err *err` as its last argument. The
 * error is raised once, where expected and found are known (fmp_fail); each layer above adds one "while ..." note
 * (fmp_err_note); the command line prints it once. Everything here is inline: a plugin links nothing for it.
 * `err` may be NULL where the caller needs the status only.
 */
#ifndef FMPIPE_ERR_H
#define FMPIPE_ERR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define FMP_MUST_USE __attribute__((warn_unused_result))
#define FMP_PRINTF(f, a) __attribute__((format(printf, f, a)))
#define FMP_UNUSED_FN __attribute__((unused))
#else
#define FMP_MUST_USE
#define FMP_PRINTF(f, a)
#define FMP_UNUSED_FN
#endif

/* The order is part of the ABI: append only. */
typedef enum fmp_status {
    FMP_OK = 0,
    FMP_E_USAGE = 1,      /* the command line is wrong                                   exit 2  */
    FMP_E_CONFIG = 2,     /* the pipeline file or an option is wrong                     exit 3  */
    FMP_E_DATA = 3,       /* input data is malformed                                     exit 3  */
    FMP_E_RANGE = 4,      /* a length, count or value is outside its stated limits       exit 3  */
    FMP_E_UNSUPPORTED = 5,/* well-formed, but a feature fmpipe does not have; named      exit 3  */
    FMP_E_PLUGIN = 6,     /* a plugin was refused or broke the contract                  exit 4  */
    FMP_E_MISMATCH = 7,   /* a digest, lock or version differs                           exit 5  */
    FMP_E_IO = 8,         /* the system refused a file operation; the message has path   exit 74 */
    FMP_E_NOMEM = 9,      /* out of memory, or a memory budget exceeded                  exit 74 */
    FMP_E_CANCELLED = 10, /* stopped on request; what was done is resumable              exit 75 */
    FMP_E_FAILED = 11,    /* a pipeline, test or check failed on its merits              exit 1  */
    FMP_E_INTERNAL = 12   /* a defect of fmpipe itself                                   exit 70 */
} fmp_status;

/* Strings are always terminated; a text that does not fit is cut at a UTF-8 boundary and ends in "...". */
typedef struct fmp_err {
    uint32_t struct_size; /* sizeof(fmp_err) of whoever made it                                         */
    int32_t code;         /* fmp_status                                                                 */
    uint64_t offset;      /* byte offset in `file` or the record; UINT64_MAX where unknown              */
    uint32_t line;        /* 1-based; 0 where unknown                                                   */
    uint32_t column;      /* 1-based, in bytes; 0 where unknown                                         */
    char file[512];       /* path as the user wrote it; "" where unknown                                */
    char option[128];     /* option path, "augment.rename" or "rules[2].pattern"; "" where unknown      */
    char record[64];      /* record id; "" where unknown                                                */
    char message[768];    /* one sentence: what was expected, what was found                            */
    char hint[384];       /* what to do next; "" where there is nothing to add                          */
    char notes[768];      /* "while ..." lines, innermost first, '\n' between them                      */
} fmp_err;

#define FMP_ERR_INIT                                                                                                   \
    { (uint32_t)sizeof(fmp_err), 0, UINT64_MAX, 0, 0, "", "", "", "", "", "" }

/* Leave the function with the callee's status if it is not FMP_OK. The only macro here that returns. */
#define FMP_TRY(call)                                                                                                  \
    do {                                                                                                               \
        fmp_status fmp_try_status_ = (call);                                                                           \
        if (fmp_try_status_ != FMP_OK) { return fmp_try_status_; }                                                     \
    } while (0)

/* Cut `text` (size bytes of room) at a UTF-8 boundary when it was too long; `need` is what snprintf returned. */
static inline void fmp_err_clip_(char *text, size_t size, int need)
{
    if (need < 0 || (size_t)need < size) { return; }
    size_t n = size - 4;
    while (n > 0 && ((unsigned char)text[n] & 0xC0) == 0x80) { n--; }
    memcpy(text + n, "...", 4);
}

FMP_PRINTF(2, 0) static inline void fmp_err_vset_(fmp_err *err, const char *fmt, va_list ap)
{
    int need = vsnprintf(err->message, sizeof err->message, fmt, ap);
    fmp_err_clip_(err->message, sizeof err->message, need);
}

static inline void fmp_err_clear(fmp_err *err)
{
    static const fmp_err empty = FMP_ERR_INIT;
    if (err) { *err = empty; }
}

/* Raise: fills code and message, clears the rest, returns `code` so that `return fmp_fail(...)` reads well. */
FMP_PRINTF(3, 4) FMP_UNUSED_FN static fmp_status fmp_fail(fmp_err *err, fmp_status code, const char *fmt, ...)
{
    if (err) {
        va_list ap;
        fmp_err_clear(err);
        err->code = (int32_t)code;
        va_start(ap, fmt);
        fmp_err_vset_(err, fmt, ap);
        va_end(ap);
    }
    return code;
}

/* What to do next, in the imperative. Returns the error's code. */
FMP_PRINTF(2, 3) FMP_UNUSED_FN static fmp_status fmp_err_hint(fmp_err *err, const char *fmt, ...)
{
    if (!err) { return FMP_E_INTERNAL; }
    va_list ap;
    va_start(ap, fmt);
    int need = vsnprintf(err->hint, sizeof err->hint, fmt, ap);
    fmp_err_clip_(err->hint, sizeof err->hint, need);
    va_end(ap);
    return (fmp_status)err->code;
}

/* Where: `file` may be NULL; line and column are 1-based, 0 where unknown. Returns the error's code. */
FMP_UNUSED_FN static fmp_status fmp_err_at(fmp_err *err, const char *file, uint32_t line, uint32_t column,
                                           uint64_t offset)
{
    if (!err) { return FMP_E_INTERNAL; }
    int need = snprintf(err->file, sizeof err->file, "%s", file ? file : "");
    fmp_err_clip_(err->file, sizeof err->file, need);
    err->line = line;
    err->column = column;
    err->offset = offset;
    return (fmp_status)err->code;
}

/* One layer up: "while reading tokenizer.json". Notes that no longer fit are left out. */
FMP_PRINTF(2, 3) FMP_UNUSED_FN static fmp_status fmp_err_note(fmp_err *err, const char *fmt, ...)
{
    if (!err) { return FMP_E_INTERNAL; }
    size_t used = strlen(err->notes);
    if (used + 2 >= sizeof err->notes) { return (fmp_status)err->code; }
    if (used > 0) { err->notes[used++] = '\n'; }
    va_list ap;
    va_start(ap, fmt);
    int need = vsnprintf(err->notes + used, sizeof err->notes - used, fmt, ap);
    if (sizeof err->notes - used > 4) { fmp_err_clip_(err->notes + used, sizeof err->notes - used, need); }
    va_end(ap);
    return (fmp_status)err->code;
}

#ifdef __cplusplus
}
#endif
#endif
