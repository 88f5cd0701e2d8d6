/*
 * mem.h: arenas, growable byte buffers, checked arithmetic.
 *
 * Three lifetimes, one mechanism: an arena for a run, a batch or a scratch piece of work. Taking memory never
 * returns NULL to check at each call: an arena that runs out hands out a small shared sink and sets `failed`,
 * which the owner tests once after taking everything (fmp_arena_ok). The same holds for fmp_buf.
 */
#ifndef FMPIPE_MEM_H
#define FMPIPE_MEM_H

#include <fmpipe/err.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct fmp_arena fmp_arena;

/*
 * fmp_arena_new: an empty arena. `limit_bytes` caps what it may hold (0: no cap).   returned; fmp_arena_free
 * NULL when out of memory; every function below takes NULL for an arena that has failed.
 * Blocks of all arenas lie in one reserved address range, so fmp_arena_owns() is two comparisons.
 * When     any thread; one arena is used by one thread at a time.
 */
fmp_arena *fmp_arena_new(size_t limit_bytes);
void fmp_arena_free(fmp_arena *arena);
/* Forget everything taken, keep up to `keep_bytes` of blocks for the next batch. */
void fmp_arena_reset(fmp_arena *arena, size_t keep_bytes);
/* 16-byte aligned, not zeroed. A request that cannot be met sets `failed`. Requests larger than the limit fail. */
void *fmp_arena_take(fmp_arena *arena, size_t size_bytes);
void *fmp_arena_take_zero(fmp_arena *arena, size_t count, size_t size_bytes);
char *fmp_arena_strdup(fmp_arena *arena, const char *text);
char *fmp_arena_strndup(fmp_arena *arena, const char *text, size_t len);
FMP_PRINTF(2, 3) char *fmp_arena_printf(fmp_arena *arena, const char *fmt, ...);
/* FMP_OK, or FMP_E_NOMEM if any request since the last reset failed. */
FMP_MUST_USE fmp_status fmp_arena_ok(const fmp_arena *arena, fmp_err *err);
size_t fmp_arena_used(const fmp_arena *arena);
/* True if `p` points into a block of any arena of the process. */
bool fmp_arena_owns(const void *p);

/* Growable bytes; `data` is always terminated by a NUL that `len` does not count. {0} is a valid empty buffer. */
typedef struct fmp_buf {
    char *data;
    size_t len;
    size_t cap;
    bool failed;
} fmp_buf;

void fmp_buf_free(fmp_buf *buf);
/* Ensure room for `extra` more bytes; returns where they start, or NULL and sets `failed`. */
char *fmp_buf_grow(fmp_buf *buf, size_t extra);
void fmp_buf_add(fmp_buf *buf, const void *data, size_t len);
void fmp_buf_puts(fmp_buf *buf, const char *text);
void fmp_buf_putc(fmp_buf *buf, char c);
FMP_PRINTF(2, 3) void fmp_buf_printf(fmp_buf *buf, const char *fmt, ...);
FMP_MUST_USE fmp_status fmp_buf_ok(const fmp_buf *buf, fmp_err *err);

/* Checked arithmetic for sizes that come from files: false, and *out untouched, on overflow. */
static inline bool fmp_add_ok(size_t a, size_t b, size_t *out)
{
#if defined(__GNUC__)
    size_t r;
    if (__builtin_add_overflow(a, b, &r)) { return false; }
    *out = r;
    return true;
#else
    if (a > SIZE_MAX - b) { return false; }
    *out = a + b;
    return true;
#endif
}

static inline bool fmp_mul_ok(size_t a, size_t b, size_t *out)
{
#if defined(__GNUC__)
    size_t r;
    if (__builtin_mul_overflow(a, b, &r)) { return false; }
    *out = r;
    return true;
#else
    if (b != 0 && a > SIZE_MAX / b) { return false; }
    *out = a * b;
    return true;
#endif
}

#ifdef __cplusplus
}
#endif
#endif
