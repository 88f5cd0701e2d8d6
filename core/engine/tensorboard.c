/*
 * tensorboard.c: event files: TFRecord framing (length, masked CRC-32C of the length, data, masked CRC-32C of
 * the data, little-endian) around protobuf messages of type tensorflow.Event.
 *
 * Source  tensorflow/core/util/event.proto, core/framework/summary.proto, core/lib/io/record_writer.h; CRC-32C:
 *         RFC 3720, appendix B.4; protobuf wire format: protobuf.dev/programming-guides/encoding.
 */
#include "tensorboard.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define FLUSH_BYTES 65536

typedef struct stage_file {
    struct stage_file *next;
    char *stage;
    int fd;
    fmp_buf pending;
} stage_file;

struct fmp_tboard {
    char *dir;
    stage_file *files;
    int failed; /* errno of the first failure */
};

/* ------------------------------------------------------------------------------------------------ framing */

static uint32_t crc32c(const unsigned char *p, size_t n)
{
    uint32_t crc = 0xFFFFFFFFu;
    for (size_t i = 0; i < n; i++) {
        crc ^= p[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc >> 1) ^ (crc & 1 ? 0x82F63B78u : 0);
        }
    }
    return ~crc;
}

static void put_little(fmp_buf *out, uint64_t value, int n_bytes)
{
    for (int i = 0; i < n_bytes; i++) {
        fmp_buf_putc(out, (char)(value >> 8 * i & 0xFF));
    }
}

/* A checksum of data that holds checksums is weak; the format therefore turns and shifts them. */
static void put_masked_crc(fmp_buf *out, const void *data, size_t n)
{
    uint32_t crc = crc32c(data, n);
    put_little(out, (uint32_t)(((crc >> 15) | (crc << 17)) + 0xA282EAD8u), 4);
}

void fmp_tboard_record(fmp_buf *out, const void *data, size_t len)
{
    unsigned char length[8];
    for (int i = 0; i < 8; i++) {
        length[i] = (unsigned char)((uint64_t)len >> 8 * i & 0xFF);
    }
    fmp_buf_add(out, length, sizeof length);
    put_masked_crc(out, length, sizeof length);
    fmp_buf_add(out, data, len);
    put_masked_crc(out, data, len);
}

/* ------------------------------------------------------------------------------------------------ messages */

enum { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 };

static void put_varint(fmp_buf *out, uint64_t v)
{
    for (; v >= 0x80; v >>= 7) {
        fmp_buf_putc(out, (char)((v & 0x7F) | 0x80));
    }
    fmp_buf_putc(out, (char)v);
}

static void put_key(fmp_buf *out, unsigned field, unsigned wire)
{
    put_varint(out, field << 3 | wire);
}

static void put_bytes(fmp_buf *out, unsigned field, const void *data, size_t len)
{
    put_key(out, field, BYTES);
    put_varint(out, len);
    fmp_buf_add(out, data, len);
}

static void put_wall_time(fmp_buf *out, double seconds)
{
    uint64_t bits;
    memcpy(&bits, &seconds, sizeof bits);
    put_key(out, 1, FIXED64);
    put_little(out, bits, 8);
}

void fmp_tboard_event(fmp_buf *out, double wall_time, uint64_t step, const char *tag, float value)
{
    fmp_buf item = {0}, summary = {0};
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    put_bytes(&item, 1, tag, strlen(tag));
    put_key(&item, 2, FIXED32);
    put_little(&item, bits, 4);
    put_bytes(&summary, 1, item.data, item.len);
    put_wall_time(out, wall_time);
    put_key(out, 2, VARINT);
    put_varint(out, step);
    put_bytes(out, 5, summary.data, summary.len);
    fmp_buf_free(&item);
    fmp_buf_free(&summary);
}

/* ------------------------------------------------------------------------------------------------ files */

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

fmp_tboard *fmp_tboard_new(const char *run_dir)
{
    fmp_tboard *t = calloc(1, sizeof *t);
    if (t) { t->dir = fmp_path_join(run_dir, "tensorboard.events"); }
    if (!t || !t->dir) {
        free(t);
        return NULL;
    }
    return t;
}

static void flush_file(fmp_tboard *t, stage_file *f)
{
    fmp_err err = FMP_ERR_INIT;
    if (!t->failed && fmp_buf_ok(&f->pending, &err) != FMP_OK) { t->failed = ENOMEM; }
    const char *p = f->pending.data;
    size_t left = f->pending.len;
    while (left > 0 && !t->failed) {
        ssize_t n = write(f->fd, p, left);
        if (n < 0 && errno == EINTR) { continue; }
        if (n < 0) {
            t->failed = errno;
            break;
        }
        p += n;
        left -= (size_t)n;
    }
    f->pending.len = 0;
}

/* The first record names the version of the format. */
static void put_head(fmp_buf *out)
{
    static const char version[] = "brain.Event:2";
    fmp_buf event = {0};
    put_wall_time(&event, now());
    put_bytes(&event, 3, version, sizeof version - 1);
    fmp_tboard_record(out, event.data, event.len);
    fmp_buf_free(&event);
}

static int open_file(const char *dir, const char *stage)
{
    char name[64];
    fmp_err err = FMP_ERR_INIT;
    (void)snprintf(name, sizeof name, "events.out.tfevents.%lld.fmpipe", (long long)time(NULL));
    char *folder = fmp_path_join(dir, stage), *path = folder ? fmp_path_join(folder, name) : NULL;
    int fd = -1;
    if (path && fmp_mkdirs(folder, &err) == FMP_OK) {
        fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    }
    int why = path ? errno : ENOMEM;
    free(path);
    free(folder);
    errno = why;
    return fd;
}

/* The stage's file, made at its first point; NULL if that fails. */
static stage_file *file_of(fmp_tboard *t, const char *stage)
{
    for (stage_file *f = t->files; f; f = f->next) {
        if (strcmp(f->stage, stage) == 0) { return f; }
    }
    stage_file *f = calloc(1, sizeof *f);
    if (f) { f->stage = strdup(stage); }
    if (!f || !f->stage) {
        free(f);
        t->failed = ENOMEM;
        return NULL;
    }
    f->fd = open_file(t->dir, stage);
    if (f->fd < 0) { t->failed = errno; }
    f->next = t->files;
    t->files = f;
    put_head(&f->pending);
    return f;
}

void fmp_tboard_point(fmp_tboard *t, const char *stage, const char *series, uint64_t step, double value)
{
    if (!t || t->failed || !isfinite(value)) { return; }
    stage_file *f = file_of(t, stage);
    if (!f || f->fd < 0) { return; }
    fmp_buf event = {0};
    fmp_tboard_event(&event, now(), step, series, (float)value);
    fmp_tboard_record(&f->pending, event.data, event.len);
    fmp_buf_free(&event);
    if (f->pending.len >= FLUSH_BYTES) { flush_file(t, f); }
}

void fmp_tboard_flush(fmp_tboard *t)
{
    for (stage_file *f = t ? t->files : NULL; f; f = f->next) {
        flush_file(t, f);
    }
}

int fmp_tboard_free(fmp_tboard *t)
{
    if (!t) { return 0; }
    fmp_tboard_flush(t);
    int failed = t->failed;
    for (stage_file *f = t->files, *next; f; f = next) {
        next = f->next;
        if (f->fd >= 0 && close(f->fd) != 0 && !failed) { failed = errno; }
        fmp_buf_free(&f->pending);
        free(f->stage);
        free(f);
    }
    free(t->dir);
    free(t);
    return failed;
}
