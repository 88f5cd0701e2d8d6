/*
 * buf.c: growable byte buffers.
 *
 * Failure is sticky: after the first refused growth nothing more is added, so a half-written text can
 * never be taken for a whole one by an owner who asks fmp_buf_ok once at the end.
 */
#include <fmpipe/mem.h>

#include <stdlib.h>

#define FIRST_CAP_BYTES ((size_t)64)

void fmp_buf_free(fmp_buf *buf)
{
    if (!buf) { return; }
    free(buf->data);
    *buf = (fmp_buf){0};
}

static bool make_room(fmp_buf *buf, size_t need)
{
    size_t cap = buf->cap > SIZE_MAX / 2 ? need : buf->cap * 2;
    if (cap < need) { cap = need; }
    if (cap < FIRST_CAP_BYTES) { cap = FIRST_CAP_BYTES; }
    char *data = realloc(buf->data, cap);
    if (!data) {
        buf->failed = true;
        return false;
    }
    buf->data = data;
    buf->cap = cap;
    return true;
}

char *fmp_buf_grow(fmp_buf *buf, size_t extra)
{
    size_t need;
    if (buf->failed) { return NULL; }
    if (!fmp_add_ok(buf->len, extra, &need) || !fmp_add_ok(need, 1, &need)) {
        buf->failed = true;
        return NULL;
    }
    if (need > buf->cap && !make_room(buf, need)) { return NULL; }
    /* Terminated both as it stands and once the caller has filled all of `extra`. */
    buf->data[buf->len] = '\0';
    buf->data[need - 1] = '\0';
    return buf->data + buf->len;
}

void fmp_buf_add(fmp_buf *buf, const void *data, size_t len)
{
    char *at = fmp_buf_grow(buf, len);
    if (!at || len == 0) { return; }
    memcpy(at, data, len);
    buf->len += len;
}

void fmp_buf_puts(fmp_buf *buf, const char *text)
{
    fmp_buf_add(buf, text, strlen(text));
}

void fmp_buf_putc(fmp_buf *buf, char c)
{
    char *at = fmp_buf_grow(buf, 1);
    if (!at) { return; }
    *at = c;
    buf->len++;
}

void fmp_buf_printf(fmp_buf *buf, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int need = vsnprintf(NULL, 0, fmt, ap);
    char *at = need >= 0 ? fmp_buf_grow(buf, (size_t)need) : NULL;
    if (at) {
        vsnprintf(at, (size_t)need + 1, fmt, again);
        buf->len += (size_t)need;
    } else {
        buf->failed = true;
    }
    va_end(again);
    va_end(ap);
}

fmp_status fmp_buf_ok(const fmp_buf *buf, fmp_err *err)
{
    if (!buf->failed) { return FMP_OK; }
    return fmp_fail(err, FMP_E_NOMEM, "out of memory while growing a buffer of %zu bytes", buf->cap);
}
